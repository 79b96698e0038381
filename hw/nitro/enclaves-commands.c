/*
 * Commands of the Nitro Enclaves PCI function
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One function per command; the table at the end names them with the size
 * of their requests.
 */

#include "qemu/osdep.h"
#include "exec/address-spaces.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qemu/guest-random.h"
#include "qemu/timer.h"
#include "hw/nitro/enclaves-pci.h"
#include "trace.h"

/* A handler that left the answer to the hypervisor; not an errno */
#define ANSWER_LATER 1

/* Fields of a request, zero behind its end */
typedef struct NitroRequest {
    uint64_t arg[3];
} NitroRequest;

typedef struct NitroCommandInfo {
    size_t size;
    int (*run)(NitroEnclavesPCIState *s, const NitroRequest *req,
               NitroReply *reply);
} NitroCommandInfo;

static void hypervisor_missing(NitroEnclavesPCIState *s)
{
    if (!s->refusal_told) {
        warn_report("nitro-enclaves-pci: an enclave cannot be started without "
                    "a hypervisor process; start nitro-hypervisor, and give "
                    "the chardev reconnect-ms=1000 to have it found again");
        s->refusal_told = true;
    }
}

static int command_ask(NitroEnclavesPCIState *s, NitroPciCommand command,
                       NitroControlType type, NitroSlot *slot, const void *body,
                       size_t len)
{
    uint32_t seq = nitro_control_send(&s->control, type, slot->uid, body, len);

    if (!seq) {
        return -EIO;
    }
    s->pending.command = command;
    s->pending.seq = seq;
    s->pending.slot_uid = slot->uid;
    return ANSWER_LATER;
}

/* The body of START: what the slot was given, in the order it was given */
static GByteArray *start_body(const NitroSlot *slot)
{
    GByteArray *body = g_byte_array_new();
    NitroControlStart start = {
        .cid = cpu_to_le64(slot->cid),
        .flags = cpu_to_le64(slot->flags),
        .nr_regions = cpu_to_le32(slot->regions->len),
        .nr_vcpus = cpu_to_le32(slot->vcpus->len),
    };

    g_byte_array_append(body, (const uint8_t *)&start, sizeof(start));
    for (guint i = 0; i < slot->regions->len; i++) {
        const NitroSlotRegion *r = &g_array_index(slot->regions,
                                                  NitroSlotRegion, i);
        NitroControlRegion region = {
            .paddr = cpu_to_le64(r->paddr),
            .size = cpu_to_le64(r->size),
        };

        g_byte_array_append(body, (const uint8_t *)&region, sizeof(region));
    }
    for (guint i = 0; i < slot->vcpus->len; i++) {
        uint32_t id = cpu_to_le32(g_array_index(slot->vcpus, uint32_t, i));

        g_byte_array_append(body, (const uint8_t *)&id, sizeof(id));
    }
    return body;
}

static int run_start(NitroEnclavesPCIState *s, const NitroRequest *req,
                     NitroReply *reply)
{
    NitroSlot *slot = nitro_slots_find(&s->slots, req->arg[0]);
    g_autoptr(GByteArray) body = NULL;
    int rc;

    if (!slot) {
        return -ENOENT;
    }
    reply->slot_uid = slot->uid;
    rc = nitro_slot_start_begin(&s->slots, slot, req->arg[1], req->arg[2]);
    if (rc) {
        return rc;
    }
    body = start_body(slot);
    rc = command_ask(s, NITRO_PCI_CMD_START, NITRO_CONTROL_START, slot,
                     body->data, body->len);
    if (rc < 0) {
        hypervisor_missing(s);
        nitro_slot_start_done(slot, false);
        return rc;
    }
    /* Even if it fails: FREE waits until nothing touches the memory */
    slot->remote = true;
    s->dirty = true;
    return rc;
}

static int run_get_slot(NitroEnclavesPCIState *s, const NitroRequest *req,
                        NitroReply *reply)
{
    NitroSlot *slot = nitro_slots_find_cid(&s->slots, req->arg[0]);

    if (!slot) {
        return -ENOENT;
    }
    reply->slot_uid = slot->uid;
    return 0;
}

/*
 * STOP and FREE never fail without a hypervisor: its enclaves ended with
 * the connection, and a refusal would cost the parent its memory.
 */
static int run_stop(NitroEnclavesPCIState *s, const NitroRequest *req,
                    NitroReply *reply)
{
    NitroSlot *slot = nitro_slots_find(&s->slots, req->arg[0]);

    if (!slot) {
        return -ENOENT;
    }
    reply->slot_uid = slot->uid;
    if (slot->remote &&
        command_ask(s, NITRO_PCI_CMD_STOP, NITRO_CONTROL_STOP, slot, NULL,
                    0) == ANSWER_LATER) {
        return ANSWER_LATER;
    }
    nitro_slot_stopped(slot);
    return 0;
}

static int run_free(NitroEnclavesPCIState *s, const NitroRequest *req,
                    NitroReply *reply)
{
    NitroSlot *slot = nitro_slots_find(&s->slots, req->arg[0]);

    if (!slot) {
        return -ENOENT;
    }
    reply->slot_uid = slot->uid;
    if (slot->remote &&
        command_ask(s, NITRO_PCI_CMD_FREE, NITRO_CONTROL_FREE, slot, NULL,
                    0) == ANSWER_LATER) {
        return ANSWER_LATER;
    }
    nitro_slots_free(&s->slots, slot);
    return 0;
}

static int run_alloc(NitroEnclavesPCIState *s, const NitroRequest *req,
                     NitroReply *reply)
{
    NitroSlot *slot;
    uint16_t random;

    qemu_guest_getrandom_nofail(&random, sizeof(random));
    slot = nitro_slots_alloc(&s->slots, qemu_clock_get_ms(QEMU_CLOCK_HOST),
                             random);

    if (!slot) {
        return -ENOSPC;
    }
    reply->slot_uid = slot->uid;
    reply->mem_regions = s->slots.max_regions;
    return 0;
}

/* Is every byte of the range ordinary RAM of the parent? */
static bool is_guest_ram(uint64_t paddr, uint64_t size)
{
    while (size) {
        MemoryRegionSection section =
            memory_region_find(get_system_memory(), paddr, size);
        uint64_t len;
        bool ram;

        if (!section.mr) {
            return false;
        }
        ram = memory_region_is_ram(section.mr) &&
              !memory_region_is_ram_device(section.mr) &&
              !section.readonly &&
              section.offset_within_address_space == paddr;
        len = MIN(size, int128_get64(section.size));
        memory_region_unref(section.mr);
        if (!ram) {
            return false;
        }
        paddr += len;
        size -= len;
    }
    return true;
}

static int run_add_mem(NitroEnclavesPCIState *s, const NitroRequest *req,
                       NitroReply *reply)
{
    NitroSlot *slot = nitro_slots_find(&s->slots, req->arg[0]);
    int rc;

    if (!slot) {
        return -ENOENT;
    }
    reply->slot_uid = slot->uid;
    rc = nitro_slot_check_memory(&s->slots, slot, req->arg[1], req->arg[2]);
    if (rc) {
        return rc;
    }
    if (!is_guest_ram(req->arg[1], req->arg[2])) {
        return -EFAULT;
    }
    return nitro_slot_add_memory(&s->slots, slot, req->arg[1], req->arg[2]);
}

static int run_add_vcpu(NitroEnclavesPCIState *s, const NitroRequest *req,
                        NitroReply *reply)
{
    NitroSlot *slot = nitro_slots_find(&s->slots, req->arg[0]);

    if (!slot) {
        return -ENOENT;
    }
    reply->slot_uid = slot->uid;
    /* The upper half of the field is padding */
    return nitro_slot_add_vcpu(&s->slots, slot, (uint32_t)req->arg[1]);
}

static int run_count(NitroEnclavesPCIState *s, const NitroRequest *req,
                     NitroReply *reply)
{
    reply->slot_count = s->slots.count;
    return 0;
}

static int run_next(NitroEnclavesPCIState *s, const NitroRequest *req,
                    NitroReply *reply)
{
    NitroSlot *slot = nitro_slots_next(&s->slots, req->arg[0]);

    if (!slot) {
        return -ENOENT;
    }
    reply->slot_uid = slot->uid;
    return 0;
}

static int run_info(NitroEnclavesPCIState *s, const NitroRequest *req,
                    NitroReply *reply)
{
    NitroSlot *slot = nitro_slots_find(&s->slots, req->arg[0]);

    if (!slot) {
        return -ENOENT;
    }
    reply->slot_uid = slot->uid;
    reply->mem_regions = slot->regions->len;
    reply->mem_size = slot->mem_size;
    reply->nr_vcpus = slot->vcpus->len;
    reply->flags = slot->flags;
    reply->state = slot->state;
    return 0;
}

static int run_add_bulk(NitroEnclavesPCIState *s, const NitroRequest *req,
                        NitroReply *reply)
{
    NitroSlot *slot = nitro_slots_find(&s->slots, req->arg[0]);

    if (!slot) {
        return -ENOENT;
    }
    reply->slot_uid = slot->uid;
    return nitro_slot_add_vcpus(&s->slots, slot, req->arg[1]);
}

static const NitroCommandInfo commands[NITRO_PCI_CMD__MAX] = {
    [NITRO_PCI_CMD_START] = { 24, run_start },
    [NITRO_PCI_CMD_GET_SLOT] = { 8, run_get_slot },
    [NITRO_PCI_CMD_STOP] = { 8, run_stop },
    [NITRO_PCI_CMD_ALLOC] = { 1, run_alloc },
    [NITRO_PCI_CMD_FREE] = { 8, run_free },
    [NITRO_PCI_CMD_ADD_MEM] = { 24, run_add_mem },
    [NITRO_PCI_CMD_ADD_VCPU] = { 16, run_add_vcpu },
    [NITRO_PCI_CMD_COUNT] = { 1, run_count },
    [NITRO_PCI_CMD_NEXT] = { 8, run_next },
    [NITRO_PCI_CMD_INFO] = { 8, run_info },
    [NITRO_PCI_CMD_ADD_BULK] = { 16, run_add_bulk },
};

static NitroRequest parse_request(const uint8_t *data, size_t size)
{
    NitroRequest req = { { 0 } };

    for (size_t i = 0; i < size / sizeof(uint64_t); i++) {
        req.arg[i] = ldq_le_p(data + i * sizeof(uint64_t));
    }
    return req;
}

/* A command whose reply is to be lost does not wait for it */
static void detach_pending(NitroEnclavesPCIState *s, const NitroFault *fault)
{
    if (fault->noreply) {
        s->pending.command = 0;
    } else {
        s->pending.fault = *fault;
    }
}

void nitro_enclaves_command(NitroEnclavesPCIState *s, uint32_t command)
{
    NitroReply reply = { .rc = -EINVAL };
    NitroFault fault = { 0 };
    NitroRequest req;

    trace_nitro_enclaves_command(nitro_fault_point_name(command), command);
    if (command < NITRO_PCI_CMD__MAX && commands[command].run) {
        fault = nitro_faults_take(&s->faults, command);
        if (fault.silence) {
            return;
        }
        if (fault.has_value && fault.value < 0) {
            reply.rc = fault.value;
        } else {
            req = parse_request(s->send, commands[command].size);
            reply.rc = commands[command].run(s, &req, &reply);
        }
        if (reply.rc == ANSWER_LATER) {
            detach_pending(s, &fault);
            return;
        }
    }
    nitro_enclaves_deliver(s, &reply, &fault);
}
