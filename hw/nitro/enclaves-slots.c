/*
 * Slots of the Nitro Enclaves PCI function
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pure bookkeeping: what belongs to which slot.  The rules of the commands
 * that change it are in include/hw/nitro/enclaves-abi.h and in the header.
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "hw/nitro/enclaves-slots.h"
#include "hw/nitro/limits.h"
#include "trace.h"

void nitro_slots_init(NitroSlotTable *table, uint32_t max_regions,
                      uint32_t nr_cpus)
{
    QTAILQ_INIT(&table->slots);
    table->count = 0;
    table->max_regions = max_regions;
    table->nr_cpus = nr_cpus;
    table->last_uid = 0;
    table->next_cid = NITRO_PCI_CID_FIRST_AUTO;
}

void nitro_slots_clear(NitroSlotTable *table)
{
    NitroSlot *slot, *next;

    QTAILQ_FOREACH_SAFE(slot, &table->slots, next, next) {
        nitro_slots_free(table, slot);
    }
}

NitroSlot *nitro_slots_alloc(NitroSlotTable *table, uint64_t now_ms,
                             uint16_t random)
{
    NitroSlot *slot;

    if (table->count >= NITRO_SLOTS_MAX) {
        return NULL;
    }
    slot = g_new0(NitroSlot, 1);
    slot->uid = MAX(now_ms << 16 | random, table->last_uid + 1);
    slot->state = NITRO_SLOT_INIT;
    slot->regions = g_array_new(false, false, sizeof(NitroSlotRegion));
    slot->vcpus = g_array_new(false, false, sizeof(uint32_t));
    table->last_uid = slot->uid;
    table->count++;
    QTAILQ_INSERT_TAIL(&table->slots, slot, next);
    trace_nitro_slots_alloc(slot->uid, table->count);
    return slot;
}

void nitro_slots_free(NitroSlotTable *table, NitroSlot *slot)
{
    trace_nitro_slots_free(slot->uid, slot->state);
    QTAILQ_REMOVE(&table->slots, slot, next);
    table->count--;
    g_array_free(slot->regions, true);
    g_array_free(slot->vcpus, true);
    g_free(slot);
}

NitroSlot *nitro_slots_find(NitroSlotTable *table, uint64_t uid)
{
    NitroSlot *slot;

    QTAILQ_FOREACH(slot, &table->slots, next) {
        if (slot->uid == uid) {
            return slot;
        }
    }
    return NULL;
}

NitroSlot *nitro_slots_find_cid(NitroSlotTable *table, uint64_t cid)
{
    NitroSlot *slot;

    QTAILQ_FOREACH(slot, &table->slots, next) {
        if (cid && slot->cid == cid) {
            return slot;
        }
    }
    return NULL;
}

NitroSlot *nitro_slots_next(NitroSlotTable *table, uint64_t uid)
{
    NitroSlot *slot;

    QTAILQ_FOREACH(slot, &table->slots, next) {
        if (slot->uid > uid) {
            return slot;
        }
    }
    return NULL;
}

static bool is_open(const NitroSlot *slot)
{
    return slot->state == NITRO_SLOT_INIT && !slot->starting;
}

static bool region_overlaps(const NitroSlotRegion *r, uint64_t paddr,
                            uint64_t size)
{
    /* Neither range wraps, so the last bytes can be compared */
    return paddr <= r->paddr + (r->size - 1) &&
           r->paddr <= paddr + (size - 1);
}

static bool memory_is_taken(NitroSlotTable *table, uint64_t paddr,
                            uint64_t size)
{
    NitroSlot *slot;

    QTAILQ_FOREACH(slot, &table->slots, next) {
        for (guint i = 0; i < slot->regions->len; i++) {
            if (region_overlaps(&g_array_index(slot->regions, NitroSlotRegion,
                                               i), paddr, size)) {
                return true;
            }
        }
    }
    return false;
}

int nitro_slot_check_memory(NitroSlotTable *table, NitroSlot *slot,
                            uint64_t paddr, uint64_t size)
{
    uint64_t last;

    if (!is_open(slot)) {
        return -EBUSY;
    }
    if (!size || size % NITRO_MEMORY_GRANULE || paddr % NITRO_MEMORY_GRANULE ||
        uadd64_overflow(paddr, size - 1, &last)) {
        return -EINVAL;
    }
    if (memory_is_taken(table, paddr, size)) {
        return -EEXIST;
    }
    if (slot->regions->len >= table->max_regions) {
        return -ENOSPC;
    }
    return 0;
}

int nitro_slot_add_memory(NitroSlotTable *table, NitroSlot *slot,
                          uint64_t paddr, uint64_t size)
{
    NitroSlotRegion region = { .paddr = paddr, .size = size };
    int rc = nitro_slot_check_memory(table, slot, paddr, size);

    if (rc) {
        return rc;
    }
    g_array_append_val(slot->regions, region);
    /* No wrap: regions never overlap, so the sum fits the address space */
    slot->mem_size += size;
    return 0;
}

static bool vcpu_is_taken(NitroSlotTable *table, uint32_t vcpu_id)
{
    NitroSlot *slot;

    QTAILQ_FOREACH(slot, &table->slots, next) {
        for (guint i = 0; i < slot->vcpus->len; i++) {
            if (g_array_index(slot->vcpus, uint32_t, i) == vcpu_id) {
                return true;
            }
        }
    }
    return false;
}

int nitro_slot_add_vcpu(NitroSlotTable *table, NitroSlot *slot,
                        uint32_t vcpu_id)
{
    if (!is_open(slot)) {
        return -EBUSY;
    }
    if (vcpu_id >= table->nr_cpus) {
        return -EINVAL;
    }
    if (vcpu_is_taken(table, vcpu_id)) {
        return -EEXIST;
    }
    g_array_append_val(slot->vcpus, vcpu_id);
    return 0;
}

int nitro_slot_add_vcpus(NitroSlotTable *table, NitroSlot *slot, uint64_t nr)
{
    guint before = slot->vcpus->len;

    if (!is_open(slot)) {
        return -EBUSY;
    }
    if (!nr) {
        return -EINVAL;
    }
    for (uint32_t id = 1; id < table->nr_cpus && nr; id++) {
        if (!vcpu_is_taken(table, id)) {
            g_array_append_val(slot->vcpus, id);
            nr--;
        }
    }
    if (nr) {
        g_array_set_size(slot->vcpus, before);
        return -ENOSPC;
    }
    return 0;
}

static uint64_t choose_cid(NitroSlotTable *table)
{
    uint64_t cid;

    /* Ends: there are fewer slots than CIDs */
    do {
        cid = table->next_cid++;
        if (table->next_cid > NITRO_CID_LAST) {
            table->next_cid = NITRO_PCI_CID_FIRST_AUTO;
        }
    } while (nitro_slots_find_cid(table, cid));
    return cid;
}

int nitro_slot_start_begin(NitroSlotTable *table, NitroSlot *slot,
                           uint64_t cid, uint64_t flags)
{
    if (slot->starting || slot->state == NITRO_SLOT_RUNNING) {
        return -EBUSY;
    }
    if (slot->state != NITRO_SLOT_INIT || !slot->regions->len ||
        !slot->vcpus->len || (flags & ~NITRO_PCI_START_DEBUG)) {
        return -EINVAL;
    }
    if (cid && (cid < NITRO_CID_FIRST || cid > NITRO_CID_LAST)) {
        return -EINVAL;
    }
    if (nitro_slots_find_cid(table, cid)) {
        return -EEXIST;
    }
    slot->cid = cid ? cid : choose_cid(table);
    slot->flags = flags;
    slot->starting = true;
    slot->ended_early = false;
    return 0;
}

static void set_state(NitroSlot *slot, NitroSlotState state)
{
    trace_nitro_slot_state(slot->uid, slot->state, state);
    assert(state == NITRO_SLOT_RUNNING ? slot->state == NITRO_SLOT_INIT :
                                         slot->state == NITRO_SLOT_RUNNING);
    slot->state = state;
}

bool nitro_slot_start_done(NitroSlot *slot, bool ok)
{
    if (!slot->starting) {
        return false;
    }
    slot->starting = false;
    if (!ok) {
        slot->cid = 0;
        slot->flags = 0;
        return false;
    }
    set_state(slot, NITRO_SLOT_RUNNING);
    return slot->ended_early;
}

bool nitro_slot_exited(NitroSlot *slot)
{
    if (slot->starting) {
        slot->ended_early = true;
    }
    if (slot->state != NITRO_SLOT_RUNNING) {
        return false;
    }
    set_state(slot, NITRO_SLOT_STOPPED);
    return true;
}

void nitro_slot_stopped(NitroSlot *slot)
{
    if (slot->state == NITRO_SLOT_RUNNING) {
        set_state(slot, NITRO_SLOT_STOPPED);
    }
}
