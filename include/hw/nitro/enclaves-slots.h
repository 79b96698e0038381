/*
 * Slots of the Nitro Enclaves PCI function
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A slot is the device's object for one enclave: what was donated to it,
 * its CID and its state.  This table knows no PCI, no chardev and no guest
 * memory; it checks what can be checked on the numbers alone.
 *
 * States of a slot:
 *
 *           start_begin        start_done(true)      exited/stopped
 *    INIT --------------> INIT ----------------> RUNNING --------> STOPPED
 *      ^                (starting)
 *      '------- start_done(false) --'
 *
 * Functions that return int give 0 or a negative errno that goes to the
 * parent as it is; the numbers used are the same on every host.  Nothing here
 * blocks.  Needs the BQL where the table is used by a device.
 */

#ifndef HW_NITRO_ENCLAVES_SLOTS_H
#define HW_NITRO_ENCLAVES_SLOTS_H

#include "qemu/queue.h"
#include "hw/nitro/enclaves-abi.h"

/* Live slots of one device; far above what any parent can feed */
#define NITRO_SLOTS_MAX 256

typedef struct NitroSlotRegion {
    uint64_t paddr;
    uint64_t size;
} NitroSlotRegion;

/**
 * struct NitroSlot: one enclave, owned by its table
 * @uid: not zero, never used twice; see nitro_slots_alloc()
 * @cid: 0 before the first START; kept from START until the slot is freed
 * @flags: NITRO_PCI_START_* of the last START
 * @state: see above; changed by the functions below only
 * @starting: START was sent and is not answered
 * @remote: the hypervisor may know the slot; left to the table's owner
 * @ended_early: the end was reported before the answer to START
 * @regions: NitroSlotRegion in the order they were added
 * @vcpus: uint32_t in the order they were added
 * @mem_size: sum of the regions, in bytes
 */
typedef struct NitroSlot {
    uint64_t uid;
    uint64_t cid;
    uint64_t flags;
    NitroSlotState state;
    bool starting;
    bool remote;
    bool ended_early;
    GArray *regions;
    GArray *vcpus;
    uint64_t mem_size;
    QTAILQ_ENTRY(NitroSlot) next;
} NitroSlot;

/**
 * struct NitroSlotTable: all slots, in ascending order of uid
 * @count: number of slots
 * @max_regions: limit of memory regions per slot
 * @nr_cpus: vCPU ids are below this
 * @last_uid: highest uid given so far
 * @next_cid: where the search for an automatic CID begins
 */
typedef struct NitroSlotTable {
    QTAILQ_HEAD(, NitroSlot) slots;
    uint32_t count;
    uint32_t max_regions;
    uint32_t nr_cpus;
    uint64_t last_uid;
    uint64_t next_cid;
} NitroSlotTable;

/**
 * nitro_slots_init: make an empty table
 * @table: uninitialised memory
 * @max_regions: limit of memory regions per slot, not 0
 * @nr_cpus: number of CPUs the parent may have
 */
void nitro_slots_init(NitroSlotTable *table, uint32_t max_regions,
                      uint32_t nr_cpus);

/**
 * nitro_slots_clear: free every slot; uids and CIDs go on where they were
 * @table: an initialised table; may be used further
 */
void nitro_slots_clear(NitroSlotTable *table);

/**
 * nitro_slots_alloc: add an empty slot in state INIT
 * @table: the table
 * @now_ms: time of creation, in milliseconds since 1970
 * @random: any number
 *
 * The uid is @now_ms in the upper 48 bits and @random in the lower 16, as on
 * EC2, where it is part of the enclave's ID.  When that is not above all uids
 * so far, the next one is taken: two slots within a millisecond, or a clock
 * that was set back.
 *
 * Returns: the slot, or NULL when there are NITRO_SLOTS_MAX already.
 */
NitroSlot *nitro_slots_alloc(NitroSlotTable *table, uint64_t now_ms,
                             uint16_t random);

/**
 * nitro_slots_free: remove a slot in any state
 * @table: the table
 * @slot: a slot of it; gone afterwards
 */
void nitro_slots_free(NitroSlotTable *table, NitroSlot *slot);

/**
 * nitro_slots_find: the slot with uid @uid, or NULL
 * @table: the table
 * @uid: any number
 */
NitroSlot *nitro_slots_find(NitroSlotTable *table, uint64_t uid);

/**
 * nitro_slots_find_cid: the slot that holds @cid, or NULL
 * @table: the table
 * @cid: any number; 0 finds nothing
 */
NitroSlot *nitro_slots_find_cid(NitroSlotTable *table, uint64_t cid);

/**
 * nitro_slots_next: the slot with the smallest uid above @uid, or NULL
 * @table: the table
 * @uid: any number; 0 gives the first slot
 */
NitroSlot *nitro_slots_next(NitroSlotTable *table, uint64_t uid);

/**
 * nitro_slot_check_memory: may this range be added to a slot?
 * @table: the table
 * @slot: a slot of it
 * @paddr: guest-physical address in the parent
 * @size: in bytes
 *
 * Returns: 0; -EBUSY when the slot was started; -EINVAL for an odd, empty or
 * wrapping range; -EEXIST for an overlap with memory of any slot; -ENOSPC
 * above the limit of regions.
 */
int nitro_slot_check_memory(NitroSlotTable *table, NitroSlot *slot,
                            uint64_t paddr, uint64_t size);

/**
 * nitro_slot_add_memory: check as above, then append the range to the slot
 */
int nitro_slot_add_memory(NitroSlotTable *table, NitroSlot *slot,
                          uint64_t paddr, uint64_t size);

/**
 * nitro_slot_add_vcpu: give a CPU of the parent to a slot
 * @table: the table
 * @slot: a slot of it
 * @vcpu_id: number of the CPU in the parent
 *
 * Returns: 0; -EBUSY when the slot was started; -EINVAL when the parent cannot
 * have that CPU; -EEXIST when a slot has it already.
 */
int nitro_slot_add_vcpu(NitroSlotTable *table, NitroSlot *slot,
                        uint32_t vcpu_id);

/**
 * nitro_slot_add_vcpus: give several CPUs to a slot, the table chooses
 * @table: the table
 * @slot: a slot of it
 * @nr: how many; the lowest unused ids above 0 are taken, all or none
 *
 * Returns: 0; -EBUSY when the slot was started; -EINVAL for 0; -ENOSPC when
 * the parent has not as many.
 */
int nitro_slot_add_vcpus(NitroSlotTable *table, NitroSlot *slot, uint64_t nr);

/**
 * nitro_slot_start_begin: choose the CID and mark the slot as starting
 * @table: the table
 * @slot: a slot of it
 * @cid: CID the driver wishes, or 0 for an automatic one
 * @flags: NITRO_PCI_START_*
 *
 * Returns: 0; -EBUSY when the slot is starting or running; -EINVAL when it has
 * stopped, has no memory or no vCPU, or for a CID or flag out of range; -EEXIST
 * for a CID that another slot holds.
 */
int nitro_slot_start_begin(NitroSlotTable *table, NitroSlot *slot,
                           uint64_t cid, uint64_t flags);

/**
 * nitro_slot_start_done: the outcome of a start is known
 * @slot: a slot that is starting; otherwise nothing happens
 * @ok: true: RUNNING; false: INIT again, without a CID
 *
 * Returns: true when the end of the enclave was reported meanwhile and
 * nitro_slot_exited() is due after the answer was delivered.
 */
bool nitro_slot_start_done(NitroSlot *slot, bool ok);

/**
 * nitro_slot_exited: the enclave ended by itself
 * @slot: a slot in any state
 *
 * A report for a starting slot is kept for nitro_slot_start_done().
 *
 * Returns: true when a running slot became STOPPED, so that the parent has to
 * be notified; false when nothing changed.
 */
bool nitro_slot_exited(NitroSlot *slot);

/**
 * nitro_slot_stopped: the enclave was stopped on the parent's wish
 * @slot: a slot in any state; only a running one changes
 */
void nitro_slot_stopped(NitroSlot *slot);

#endif /* HW_NITRO_ENCLAVES_SLOTS_H */
