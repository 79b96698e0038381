/*
 * Nitro Enclaves PCI function: messages of the hypervisor process
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the hypervisor answers changes the slot it is about, whether or not
 * the parent still waits for the reply of a command.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "hw/nitro/enclaves-pci.h"
#include "system/runstate.h"
#include "trace.h"

/* All is freed; ENABLE may read 0 */
static void enclaves_disabled(NitroEnclavesPCIState *s)
{
    if (!s->enabled && !s->enable_forced) {
        s->enable_readback = 0;
    }
}

/* The slot is gone or was restarted under another uid: nothing to do */
static bool update_slot(NitroEnclavesPCIState *s, NitroControlType type,
                        uint64_t slot_uid, bool ok)
{
    NitroSlot *slot = nitro_slots_find(&s->slots, slot_uid);

    if (!slot) {
        return false;
    }
    if (type == NITRO_CONTROL_START) {
        return nitro_slot_start_done(slot, ok);
    }
    if (ok && type == NITRO_CONTROL_STOP) {
        nitro_slot_stopped(slot);
    }
    if (ok && type == NITRO_CONTROL_FREE) {
        nitro_slots_free(&s->slots, slot);
    }
    return false;
}

static void announce_exit(NitroEnclavesPCIState *s, uint64_t slot_uid)
{
    NitroSlot *slot = nitro_slots_find(&s->slots, slot_uid);

    if (slot && nitro_slot_exited(slot)) {
        nitro_enclaves_raise_event(s);
    }
}

static void finish_pending(NitroEnclavesPCIState *s, int32_t rc)
{
    NitroReply reply = { .rc = rc, .slot_uid = s->pending.slot_uid };
    NitroFault fault = s->pending.fault;
    NitroSlot *slot = nitro_slots_find(&s->slots, s->pending.slot_uid);

    if (slot && s->pending.command == NITRO_PCI_CMD_START) {
        reply.enclave_cid = slot->cid;
    }
    memset(&s->pending, 0, sizeof(s->pending));
    nitro_enclaves_deliver(s, &reply, &fault);
}

static void control_reply(void *opaque, NitroControlType type, uint32_t seq,
                          uint64_t slot_uid, int32_t rc)
{
    NitroEnclavesPCIState *s = opaque;
    bool ended;

    if (type == NITRO_CONTROL_RESET) {
        if (seq == s->reset_seq) {
            s->reset_seq = 0;
            enclaves_disabled(s);
        }
        return;
    }
    ended = update_slot(s, type, slot_uid, rc == 0);
    if (s->pending.command && s->pending.seq == seq) {
        finish_pending(s, rc);
    }
    if (ended) {
        announce_exit(s, slot_uid);
    }
}

static void control_exited(void *opaque, uint64_t slot_uid, uint32_t cause,
                           uint32_t status)
{
    trace_nitro_enclaves_exited(slot_uid, cause, status);
    announce_exit(opaque, slot_uid);
}

/* With the hypervisor all enclaves are gone, so STOP and FREE are done */
static void fail_pending(NitroEnclavesPCIState *s)
{
    NitroSlot *slot = nitro_slots_find(&s->slots, s->pending.slot_uid);
    bool start = s->pending.command == NITRO_PCI_CMD_START;

    if (!s->pending.command) {
        return;
    }
    if (slot && s->pending.command == NITRO_PCI_CMD_FREE) {
        nitro_slots_free(&s->slots, slot);
    }
    finish_pending(s, start ? -EIO : 0);
}

/*
 * Returns the number of ends that the parent does not know of.  No interrupt
 * in here: the guest may point it at our own registers.
 */
static unsigned stop_all(NitroEnclavesPCIState *s)
{
    NitroSlot *slot = nitro_slots_find(&s->slots, s->pending.slot_uid);
    unsigned stopped = 0;

    if (slot && (s->pending.command == NITRO_PCI_CMD_STOP ||
                 s->pending.command == NITRO_PCI_CMD_FREE)) {
        nitro_slot_stopped(slot);
    }
    QTAILQ_FOREACH(slot, &s->slots.slots, next) {
        nitro_slot_start_done(slot, false);
        slot->remote = false;
        if (nitro_slot_exited(slot)) {
            stopped++;
        }
    }
    return stopped;
}

static void control_lost(void *opaque)
{
    NitroEnclavesPCIState *s = opaque;
    unsigned stopped = stop_all(s);

    s->dirty = false;
    s->refusal_told = false;
    fail_pending(s);
    for (unsigned i = 0; i < stopped; i++) {
        nitro_enclaves_raise_event(s);
    }
    /* QEMU closes its character devices when it ends */
    if (stopped && !runstate_check(RUN_STATE_SHUTDOWN)) {
        warn_report("nitro-enclaves-pci: the connection to the hypervisor "
                    "ended, %u running enclave(s) with it; see its log",
                    stopped);
    }
    if (s->reset_seq) {
        s->reset_seq = 0;
        enclaves_disabled(s);
    }
}

void nitro_enclaves_free_all(NitroEnclavesPCIState *s)
{
    memset(&s->pending, 0, sizeof(s->pending));
    nitro_slots_clear(&s->slots);
    if (s->dirty) {
        s->dirty = false;
        s->reset_seq = nitro_control_send(&s->control, NITRO_CONTROL_RESET, 0,
                                          NULL, 0);
    }
}

const NitroControlHandlers nitro_enclaves_control_handlers = {
    .reply = control_reply,
    .exited = control_exited,
    .lost = control_lost,
};
