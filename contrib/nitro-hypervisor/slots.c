/*
 * Slots: which enclaves there are, and what the device asked for
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/nitro/limits.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "slots.h"


typedef struct Slot {
    NhvEnclave *enclave;
    NitroControlHeader start;   /* the request, to answer it */
    bool doomed;                /* forget it as soon as it is down */
} Slot;

struct NhvSlots {
    NhvEnclaveHost host;
    NhvControl *control;
    NhvParent *parent;
    NhvSlotsIdle *idle;
    void *opaque;
    GPtrArray *table;           /* Slot */
    NitroControlHeader pending; /* STOP, FREE or RESET that takes time */
    bool has_pending;
    bool resetting;
    bool closed;                /* for good */
    guint settle_source;
};

static Slot *find_slot(NhvSlots *slots, uint64_t slot_uid)
{
    unsigned int i;

    for (i = 0; i < slots->table->len; i++) {
        Slot *slot = g_ptr_array_index(slots->table, i);

        if (nhv_enclave_slot_uid(slot->enclave) == slot_uid) {
            return slot;
        }
    }
    return NULL;
}

static Slot *find_enclave(NhvSlots *slots, NhvEnclave *enclave)
{
    return find_slot(slots, nhv_enclave_slot_uid(enclave));
}

static bool cid_in_use(NhvSlots *slots, uint32_t cid)
{
    unsigned int i;

    for (i = 0; i < slots->table->len; i++) {
        Slot *slot = g_ptr_array_index(slots->table, i);

        if (nhv_enclave_cid(slot->enclave) == cid) {
            return true;
        }
    }
    return false;
}

static void slot_forget(NhvSlots *slots, Slot *slot)
{
    nhv_enclave_free(slot->enclave);
    g_ptr_array_remove(slots->table, slot);
    g_free(slot);
}

static void scrub_and_forget(NhvSlots *slots, Slot *slot)
{
    Error *err = NULL;

    if (!nhv_enclave_scrub(slot->enclave, &err)) {
        error_prepend(&err, "donated memory not scrubbed: ");
        warn_report_err(err);
    }
    slot_forget(slots, slot);
}

static void forget_doomed(NhvSlots *slots)
{
    unsigned int i = 0;

    while (i < slots->table->len) {
        Slot *slot = g_ptr_array_index(slots->table, i);

        if (slot->doomed && nhv_enclave_is_down(slot->enclave)) {
            slot_forget(slots, slot);
        } else {
            i++;
        }
    }
}

/* Returns: whether the request could be carried out */
static bool try_pending(NhvSlots *slots, const NitroControlHeader *request)
{
    Slot *slot = find_slot(slots, request->slot_uid);

    if (request->type == NITRO_CONTROL_RESET) {
        return slots->table->len == 0;
    }
    if (slot && !nhv_enclave_is_down(slot->enclave)) {
        return false;
    }
    if (slot && request->type == NITRO_CONTROL_FREE) {
        scrub_and_forget(slots, slot);
    }
    return true;
}

static void settle_pending(NhvSlots *slots)
{
    if (slots->has_pending && try_pending(slots, &slots->pending)) {
        slots->has_pending = false;
        nhv_control_reply(slots->control, &slots->pending, 0);
        nhv_control_continue(slots->control);
    }
}

static gboolean slots_settle(gpointer opaque)
{
    NhvSlots *slots = opaque;

    slots->settle_source = 0;
    forget_doomed(slots);
    settle_pending(slots);
    if (slots->resetting && slots->table->len == 0) {
        slots->resetting = false;
        slots->idle(slots->opaque);
    }
    return G_SOURCE_REMOVE;
}

static void settle_later(NhvSlots *slots)
{
    if (!slots->settle_source) {
        slots->settle_source = g_idle_add_full(G_PRIORITY_DEFAULT, slots_settle,
                                               slots, NULL);
    }
}

static void enclave_started(void *opaque, NhvEnclave *enclave, int rc)
{
    NhvSlots *slots = opaque;
    Slot *slot = find_enclave(slots, enclave);

    nhv_control_reply(slots->control, &slot->start, rc);
    if (rc) {
        slot->doomed = true;
    }
}

static void enclave_exited(void *opaque, NhvEnclave *enclave,
                           uint32_t cause, uint32_t status)
{
    NhvSlots *slots = opaque;

    nhv_control_exited(slots->control, nhv_enclave_slot_uid(enclave),
                       cause, status);
}

static void enclave_down(void *opaque, NhvEnclave *enclave)
{
    settle_later(opaque);
}

static const NhvEnclaveOps enclave_ops = {
    .started = enclave_started,
    .exited = enclave_exited,
    .down = enclave_down,
};

static bool check_regions(const NhvRegion *regions, unsigned int n,
                          Error **errp)
{
    unsigned int i;

    for (i = 0; i < n; i++) {
        if (regions[i].paddr % NITRO_MEMORY_GRANULE ||
            regions[i].size % NITRO_MEMORY_GRANULE) {
            error_setg(errp, "memory region %u (address 0x%" PRIx64
                       ", %" PRIu64 " bytes) is not made of 2 MiB blocks", i,
                       regions[i].paddr, regions[i].size);
            return false;
        }
    }
    return true;
}

static bool read_memory(NhvSlots *slots, NhvMemory *memory,
                        const NitroControlStart *start, Error **errp)
{
    unsigned int i, n = le32_to_cpu(start->nr_regions);
    const NitroControlRegion *wire = (const void *)(start + 1);
    NhvRegion *regions = g_new(NhvRegion, n);

    for (i = 0; i < n; i++) {
        regions[i].paddr = le64_to_cpu(wire[i].paddr);
        regions[i].size = le64_to_cpu(wire[i].size);
    }
    return nhv_memory_init(memory, slots->parent, regions, n, errp) &&
           check_regions(regions, n, errp);
}

/* Nobody would end an enclave that is started now */
static bool refuses_all(const NhvSlots *slots)
{
    return slots->resetting || slots->closed;
}

/* Returns: 0 when the enclave is being started, otherwise -errno */
static int slot_start(NhvSlots *slots, const NitroControlHeader *header,
                      const NitroControlStart *body)
{
    uint64_t cid = le64_to_cpu(body->cid);
    NhvEnclaveConfig config = {
        .slot_uid = header->slot_uid,
        .cid = cid,
        .debug = le64_to_cpu(body->flags) & NITRO_CONTROL_START_DEBUG,
        .vcpus = le32_to_cpu(body->nr_vcpus),
    };
    Error *err = NULL;
    Slot *slot;

    if (refuses_all(slots)) {
        info_report("enclave with CID %" PRIu64 " not started: all enclaves "
                    "are being ended", cid);
        return -ECANCELED;
    }
    if (cid < NITRO_CID_FIRST || cid > NITRO_CID_LAST) {
        error_report("no enclave can have CID %" PRIu64, cid);
        return -EINVAL;
    }
    if (cid_in_use(slots, cid) || find_slot(slots, header->slot_uid)) {
        error_report("CID %" PRIu64 " or slot 0x%" PRIx64 " is in use", cid,
                     header->slot_uid);
        return -EEXIST;
    }
    if (!read_memory(slots, &config.memory, body, &err)) {
        nhv_memory_clear(&config.memory);
        error_report_err(err);
        return -EINVAL;
    }
    slot = g_new0(Slot, 1);
    slot->start = *header;
    slot->enclave = nhv_enclave_start(&slots->host, &config, &enclave_ops,
                                      slots);
    g_ptr_array_add(slots->table, slot);
    return 0;
}

static void stop_all(NhvSlots *slots)
{
    unsigned int i;

    for (i = 0; i < slots->table->len; i++) {
        Slot *slot = g_ptr_array_index(slots->table, i);

        slot->doomed = true;
        nhv_enclave_stop(slot->enclave);
    }
}

bool nhv_slots_request(NhvSlots *slots, const NitroControlHeader *header,
                       const void *body)
{
    Slot *slot = find_slot(slots, header->slot_uid);

    if (header->type == NITRO_CONTROL_START) {
        int rc = slot_start(slots, header, body);

        if (rc) {
            nhv_control_reply(slots->control, header, rc);
        }
        return true;
    }
    if (header->type == NITRO_CONTROL_RESET) {
        stop_all(slots);
    } else if (slot) {
        nhv_enclave_stop(slot->enclave);
    }
    slots->pending = *header;
    slots->has_pending = true;
    settle_later(slots);
    return false;
}

void nhv_slots_reset(NhvSlots *slots)
{
    slots->resetting = true;
    stop_all(slots);
    settle_later(slots);
}

void nhv_slots_close(NhvSlots *slots)
{
    slots->closed = true;
    nhv_slots_reset(slots);
}

NhvSlots *nhv_slots_new(const NhvEnclaveHost *host,
                        NhvSlotsIdle *idle, void *opaque)
{
    NhvSlots *slots = g_new0(NhvSlots, 1);

    slots->host = *host;
    slots->idle = idle;
    slots->opaque = opaque;
    slots->table = g_ptr_array_new();
    return slots;
}

void nhv_slots_connect(NhvSlots *slots, NhvControl *control,
                       NhvParent *parent)
{
    slots->control = control;
    slots->parent = parent;
}

void nhv_slots_free(NhvSlots *slots)
{
    if (!slots) {
        return;
    }
    assert(slots->table->len == 0);
    g_clear_handle_id(&slots->settle_source, g_source_remove);
    g_ptr_array_unref(slots->table);
    g_free(slots);
}
