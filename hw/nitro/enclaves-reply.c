/*
 * Replies and interrupts of the Nitro Enclaves PCI function
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Below registers, commands and the messages of the hypervisor, all of which
 * cause some.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/timer.h"
#include "hw/nitro/enclaves-pci.h"
#include "hw/pci/msix.h"
#include "trace.h"

/*
 * The driver's handlers are installed before what they use is set up: an
 * interrupt that was left pending from before would bring the parent down.
 * So nothing is kept for the time when MSI-X is enabled.
 */
void nitro_enclaves_notify(NitroEnclavesPCIState *s, unsigned vector)
{
    PCIDevice *pci = PCI_DEVICE(s);

    if (vector < s->nr_vectors && msix_enabled(pci)) {
        msix_notify(pci, vector);
    }
}

static void write_reply(NitroEnclavesPCIState *s, const NitroReply *reply)
{
    NitroPciReply wire = {
        .rc = cpu_to_le32(reply->rc),
        .slot_uid = cpu_to_le64(reply->slot_uid),
        .enclave_cid = cpu_to_le64(reply->enclave_cid),
        .slot_count = cpu_to_le64(reply->slot_count),
        .mem_regions = cpu_to_le64(reply->mem_regions),
        .mem_size = cpu_to_le64(reply->mem_size),
        .nr_vcpus = cpu_to_le64(reply->nr_vcpus),
        .flags = cpu_to_le64(reply->flags),
        .state = cpu_to_le16(reply->state),
    };

    memset(s->recv, 0, sizeof(s->recv));
    memcpy(s->recv, &wire, sizeof(wire));
}

static NitroReply spoil_reply(NitroReply reply, const NitroFault *fault)
{
    if (fault->has_value && reply.rc == 0) {
        reply.rc = fault->value;
    }
    if (fault->fields & (1u << NITRO_FAULT_UID)) {
        reply.slot_uid = fault->field[NITRO_FAULT_UID];
    }
    if (fault->fields & (1u << NITRO_FAULT_CID)) {
        reply.enclave_cid = fault->field[NITRO_FAULT_CID];
    }
    if (fault->fields & (1u << NITRO_FAULT_REGIONS)) {
        reply.mem_regions = fault->field[NITRO_FAULT_REGIONS];
    }
    if (fault->fields & (1u << NITRO_FAULT_STATE)) {
        reply.state = fault->field[NITRO_FAULT_STATE];
    }
    return reply;
}

static void deliver_now(NitroEnclavesPCIState *s, const NitroReply *reply,
                        const NitroFault *fault)
{
    NitroReply out = spoil_reply(*reply, fault);

    if (!fault->stale) {
        write_reply(s, &out);
    }
    s->replies++;
    trace_nitro_enclaves_reply(out.rc, out.slot_uid, out.enclave_cid);
    nitro_enclaves_notify(s, fault->wrong_vector ? NITRO_PCI_VECTOR_EVENT
                                                 : NITRO_PCI_VECTOR_REPLY);
}

void nitro_enclaves_late(void *opaque)
{
    NitroEnclavesPCIState *s = opaque;

    if (!s->late.armed) {
        return;
    }
    s->late.armed = false;
    timer_del(s->late_timer);
    if (s->late.has_reply) {
        deliver_now(s, &s->late.reply, &s->late.fault);
    } else {
        nitro_enclaves_notify(s, NITRO_PCI_VECTOR_REPLY);
    }
}

/* @reply is NULL for an interrupt alone; what was waiting comes first */
static void deliver_later(NitroEnclavesPCIState *s, const NitroReply *reply,
                          const NitroFault *fault, uint32_t delay_ms)
{
    nitro_enclaves_late(s);
    s->late.armed = true;
    s->late.has_reply = reply;
    if (reply) {
        s->late.reply = *reply;
        s->late.fault = *fault;
    }
    timer_mod(s->late_timer,
              qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL) + delay_ms);
}

void nitro_enclaves_deliver(NitroEnclavesPCIState *s, const NitroReply *reply,
                            const NitroFault *fault)
{
    if (fault->noreply) {
        return;
    }
    if (fault->late_ms) {
        deliver_later(s, reply, fault, fault->late_ms);
        return;
    }
    deliver_now(s, reply, fault);
    if (fault->again_ms) {
        deliver_later(s, NULL, NULL, fault->again_ms);
    }
}

void nitro_enclaves_raise_event(NitroEnclavesPCIState *s)
{
    NitroFault fault = nitro_faults_take(&s->faults, NITRO_FAULT_EVENT);

    s->events++;
    trace_nitro_enclaves_event(s->events, fault.silence);
    if (!fault.silence) {
        nitro_enclaves_notify(s, NITRO_PCI_VECTOR_EVENT);
    }
}
