/*
 * Slots of the Nitro Enclaves PCI function: rules as tables
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "hw/nitro/enclaves-slots.h"
#include "hw/nitro/limits.h"

/* A moment in 2022, what is drawn then, and what both make */
#define NOW_MS 0x183d09086c24ULL
#define RANDOM 0x1900
#define UID 0x183d09086c241900ULL

static void fill(NitroSlotTable *t, NitroSlot *slot, unsigned n)
{
    g_assert_cmpint(nitro_slot_add_memory(t, slot, n * GiB, 64 * MiB), ==, 0);
    g_assert_cmpint(nitro_slot_add_vcpu(t, slot, n), ==, 0);
}

static void test_uids(void)
{
    NitroSlotTable t;
    NitroSlot *a, *b, *c;

    nitro_slots_init(&t, 4, 8);
    a = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    b = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    g_assert_cmphex(a->uid, ==, UID);
    /* Twice in a millisecond */
    g_assert_cmphex(b->uid, ==, UID + 1);
    nitro_slots_free(&t, b);
    /* A clock that goes backwards, or no clock, repeats no uid either */
    c = nitro_slots_alloc(&t, 0, 0);
    g_assert_cmphex(c->uid, ==, UID + 2);
    nitro_slots_clear(&t);
    g_assert_cmpuint(t.count, ==, 0);
    a = nitro_slots_alloc(&t, 0, 0);
    g_assert_cmphex(a->uid, ==, UID + 3);
    b = nitro_slots_alloc(&t, NOW_MS + 1, 0);
    g_assert_cmphex(b->uid, ==, (UID | 0xffff) + 1);
    nitro_slots_clear(&t);
}

static void test_zero_hint(void)
{
    NitroSlotTable t;

    nitro_slots_init(&t, 4, 8);
    g_assert_cmphex(nitro_slots_alloc(&t, 0, 0)->uid, !=, 0);
    nitro_slots_clear(&t);
}

static void test_walk(void)
{
    NitroSlotTable t;
    NitroSlot *a, *b;

    nitro_slots_init(&t, 4, 8);
    g_assert_null(nitro_slots_next(&t, 0));
    a = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    b = nitro_slots_alloc(&t, NOW_MS + 100, RANDOM);
    g_assert_true(nitro_slots_next(&t, 0) == a);
    g_assert_true(nitro_slots_next(&t, a->uid) == b);
    /* the uid may have been freed meanwhile */
    g_assert_true(nitro_slots_next(&t, a->uid + 1) == b);
    g_assert_null(nitro_slots_next(&t, b->uid));
    g_assert_null(nitro_slots_next(&t, UINT64_MAX));
    g_assert_true(nitro_slots_find(&t, b->uid) == b);
    g_assert_null(nitro_slots_find(&t, 0));
    nitro_slots_clear(&t);
}

static void test_bound(void)
{
    NitroSlotTable t;

    nitro_slots_init(&t, 4, 8);
    for (int i = 0; i < NITRO_SLOTS_MAX; i++) {
        g_assert_nonnull(nitro_slots_alloc(&t, NOW_MS, RANDOM));
    }
    g_assert_null(nitro_slots_alloc(&t, NOW_MS, RANDOM));
    nitro_slots_free(&t, nitro_slots_next(&t, 0));
    g_assert_nonnull(nitro_slots_alloc(&t, NOW_MS, RANDOM));
    nitro_slots_clear(&t);
}

static void test_memory(void)
{
    static const struct {
        uint64_t paddr, size;
        int rc;
        const char *why;
    } rows[] = {
        { 256 * MiB, 64 * MiB, 0, "plain" },
        { 256 * MiB, 64 * MiB, -EEXIST, "same again" },
        { 254 * MiB, 4 * MiB, -EEXIST, "overlaps the start" },
        { 318 * MiB, 4 * MiB, -EEXIST, "overlaps the end" },
        { 200 * MiB, 256 * MiB, -EEXIST, "covers it" },
        { 258 * MiB, 2 * MiB, -EEXIST, "lies inside" },
        { 320 * MiB, 2 * MiB, 0, "touches the end" },
        { 254 * MiB, 2 * MiB, 0, "touches the start" },
        { 1 * GiB, 0, -EINVAL, "empty" },
        { 1 * GiB, 4 * KiB, -EINVAL, "small" },
        { 1 * GiB, 3 * MiB, -EINVAL, "odd size" },
        { 1 * GiB + 1 * MiB, 2 * MiB, -EINVAL, "odd address" },
        { UINT64_MAX - 2 * MiB + 1, 4 * MiB, -EINVAL, "wraps" },
        { UINT64_MAX - 2 * MiB + 1, 2 * MiB, 0, "ends at the very end" },
        { 2 * GiB, 2 * MiB, -ENOSPC, "one region too many" },
    };
    NitroSlotTable t;
    NitroSlot *slot;

    nitro_slots_init(&t, 4, 8);
    slot = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    for (int i = 0; i < ARRAY_SIZE(rows); i++) {
        g_test_message("%s", rows[i].why);
        g_assert_cmpint(nitro_slot_add_memory(&t, slot, rows[i].paddr,
                                              rows[i].size), ==, rows[i].rc);
    }
    g_assert_cmpuint(slot->regions->len, ==, 4);
    g_assert_cmpuint(slot->mem_size, ==, 70 * MiB);
    g_assert_cmphex(g_array_index(slot->regions, NitroSlotRegion, 2).paddr, ==,
                    254 * MiB);
    nitro_slots_clear(&t);
}

static void test_memory_of_others(void)
{
    NitroSlotTable t;
    NitroSlot *a, *b;

    nitro_slots_init(&t, 4, 8);
    a = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    b = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    fill(&t, a, 1);
    g_assert_cmpint(nitro_slot_add_memory(&t, b, GiB, 2 * MiB), ==, -EEXIST);
    nitro_slots_free(&t, a);
    g_assert_cmpint(nitro_slot_add_memory(&t, b, GiB, 2 * MiB), ==, 0);
    nitro_slots_clear(&t);
}

static void test_vcpus(void)
{
    NitroSlotTable t;
    NitroSlot *a, *b;

    nitro_slots_init(&t, 4, 8);
    a = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    b = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    g_assert_cmpint(nitro_slot_add_vcpu(&t, a, 3), ==, 0);
    g_assert_cmpint(nitro_slot_add_vcpu(&t, a, 3), ==, -EEXIST);
    g_assert_cmpint(nitro_slot_add_vcpu(&t, b, 3), ==, -EEXIST);
    g_assert_cmpint(nitro_slot_add_vcpu(&t, b, 7), ==, 0);
    g_assert_cmpint(nitro_slot_add_vcpu(&t, b, 8), ==, -EINVAL);
    g_assert_cmpint(nitro_slot_add_vcpu(&t, b, UINT32_MAX), ==, -EINVAL);
    /* left are 1 2 4 5 6 */
    g_assert_cmpint(nitro_slot_add_vcpus(&t, b, 6), ==, -ENOSPC);
    g_assert_cmpuint(b->vcpus->len, ==, 1);
    g_assert_cmpint(nitro_slot_add_vcpus(&t, b, UINT64_MAX), ==, -ENOSPC);
    g_assert_cmpint(nitro_slot_add_vcpus(&t, b, 0), ==, -EINVAL);
    g_assert_cmpint(nitro_slot_add_vcpus(&t, b, 5), ==, 0);
    g_assert_cmpuint(b->vcpus->len, ==, 6);
    g_assert_cmpuint(g_array_index(b->vcpus, uint32_t, 3), ==, 4);
    nitro_slots_free(&t, b);
    g_assert_cmpint(nitro_slot_add_vcpu(&t, a, 7), ==, 0);
    nitro_slots_clear(&t);
}

static void test_cid_rules(void)
{
    static const struct {
        uint64_t cid;
        int rc;
    } rows[] = {
        { 1, -EINVAL }, { 2, -EINVAL }, { 3, -EINVAL }, { 4, 0 }, { 16, 0 },
        { 0xfffffffeULL, 0 }, { 0xffffffffULL, -EINVAL },
        { 0x100000000ULL, -EINVAL }, { 0x100000010ULL, -EINVAL },
        { UINT64_MAX, -EINVAL },
    };

    for (int i = 0; i < ARRAY_SIZE(rows); i++) {
        NitroSlotTable t;
        NitroSlot *slot;

        nitro_slots_init(&t, 4, 8);
        slot = nitro_slots_alloc(&t, NOW_MS, RANDOM);
        fill(&t, slot, 1);
        g_assert_cmpint(nitro_slot_start_begin(&t, slot, rows[i].cid, 0), ==,
                        rows[i].rc);
        g_assert_cmpuint(slot->cid, ==, rows[i].rc ? 0 : rows[i].cid);
        nitro_slots_clear(&t);
    }
}

static void test_cids_are_unique(void)
{
    NitroSlotTable t;
    NitroSlot *a, *b, *c;

    nitro_slots_init(&t, 4, 8);
    a = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    b = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    c = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    fill(&t, a, 1);
    fill(&t, b, 2);
    fill(&t, c, 3);
    g_assert_cmpint(nitro_slot_start_begin(&t, a, 17, 0), ==, 0);
    g_assert_cmpint(nitro_slot_start_begin(&t, b, 17, 0), ==, -EEXIST);
    g_assert_cmpint(nitro_slot_start_begin(&t, b, 0, 0), ==, 0);
    g_assert_cmpuint(b->cid, ==, 16);
    g_assert_cmpint(nitro_slot_start_begin(&t, c, 0, 0), ==, 0);
    g_assert_cmpuint(c->cid, ==, 18);
    g_assert_true(nitro_slots_find_cid(&t, 16) == b);
    g_assert_null(nitro_slots_find_cid(&t, 0));
    nitro_slots_free(&t, a);
    g_assert_null(nitro_slots_find_cid(&t, 17));
    nitro_slots_clear(&t);
}

static void test_cids_wrap(void)
{
    NitroSlotTable t;
    NitroSlot *a, *b;

    nitro_slots_init(&t, 4, 8);
    t.next_cid = NITRO_CID_LAST;
    a = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    b = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    fill(&t, a, 1);
    fill(&t, b, 2);
    g_assert_cmpint(nitro_slot_start_begin(&t, a, 0, 0), ==, 0);
    g_assert_cmpint(nitro_slot_start_begin(&t, b, 0, 0), ==, 0);
    g_assert_cmpuint(a->cid, ==, NITRO_CID_LAST);
    g_assert_cmpuint(b->cid, ==, NITRO_PCI_CID_FIRST_AUTO);
    nitro_slots_clear(&t);
}

static void test_life(void)
{
    NitroSlotTable t;
    NitroSlot *slot;

    nitro_slots_init(&t, 4, 8);
    slot = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    /* nothing was donated yet */
    g_assert_cmpint(nitro_slot_start_begin(&t, slot, 0, 0), ==, -EINVAL);
    g_assert_cmpint(nitro_slot_add_vcpu(&t, slot, 1), ==, 0);
    g_assert_cmpint(nitro_slot_start_begin(&t, slot, 0, 0), ==, -EINVAL);
    g_assert_cmpint(nitro_slot_add_memory(&t, slot, GiB, 2 * MiB), ==, 0);
    g_assert_cmpint(nitro_slot_start_begin(&t, slot, 0, 2), ==, -EINVAL);
    g_assert_false(nitro_slot_start_done(slot, true));
    g_assert_cmpint(slot->state, ==, NITRO_SLOT_INIT);

    g_assert_cmpint(nitro_slot_start_begin(&t, slot, 0, 1), ==, 0);
    g_assert_cmpint(nitro_slot_start_begin(&t, slot, 0, 1), ==, -EBUSY);
    g_assert_cmpint(nitro_slot_add_memory(&t, slot, 0, 2 * MiB), ==, -EBUSY);
    g_assert_cmpint(nitro_slot_add_vcpu(&t, slot, 2), ==, -EBUSY);
    g_assert_cmpint(nitro_slot_add_vcpus(&t, slot, 2), ==, -EBUSY);
    /* a failed start may be tried again */
    g_assert_false(nitro_slot_start_done(slot, false));
    g_assert_cmpint(slot->state, ==, NITRO_SLOT_INIT);
    g_assert_cmpuint(slot->cid, ==, 0);

    g_assert_cmpint(nitro_slot_start_begin(&t, slot, 0, 1), ==, 0);
    g_assert_false(nitro_slot_start_done(slot, true));
    g_assert_cmpint(slot->state, ==, NITRO_SLOT_RUNNING);
    g_assert_cmpint(nitro_slot_start_begin(&t, slot, 0, 1), ==, -EBUSY);
    g_assert_true(nitro_slot_exited(slot));
    g_assert_false(nitro_slot_exited(slot));
    g_assert_cmpint(slot->state, ==, NITRO_SLOT_STOPPED);
    g_assert_cmpint(nitro_slot_start_begin(&t, slot, 0, 1), ==, -EINVAL);
    nitro_slot_stopped(slot);
    g_assert_cmpint(slot->state, ==, NITRO_SLOT_STOPPED);
    nitro_slots_clear(&t);
}

static void test_early_end(void)
{
    NitroSlotTable t;
    NitroSlot *slot;

    nitro_slots_init(&t, 4, 8);
    slot = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    g_assert_false(nitro_slot_exited(slot));
    fill(&t, slot, 1);
    g_assert_cmpint(nitro_slot_start_begin(&t, slot, 0, 0), ==, 0);
    /* kept until the start was answered */
    g_assert_false(nitro_slot_exited(slot));
    g_assert_cmpint(slot->state, ==, NITRO_SLOT_INIT);
    g_assert_true(nitro_slot_start_done(slot, true));
    g_assert_true(nitro_slot_exited(slot));
    nitro_slots_clear(&t);
}

static void test_stopped(void)
{
    NitroSlotTable t;
    NitroSlot *slot;

    nitro_slots_init(&t, 4, 8);
    slot = nitro_slots_alloc(&t, NOW_MS, RANDOM);
    nitro_slot_stopped(slot);
    g_assert_cmpint(slot->state, ==, NITRO_SLOT_INIT);
    fill(&t, slot, 1);
    g_assert_cmpint(nitro_slot_start_begin(&t, slot, 0, 0), ==, 0);
    nitro_slot_start_done(slot, true);
    nitro_slot_stopped(slot);
    g_assert_cmpint(slot->state, ==, NITRO_SLOT_STOPPED);
    /* the parent knows; there is no second message */
    g_assert_false(nitro_slot_exited(slot));
    nitro_slots_clear(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nitro/slots/uids", test_uids);
    g_test_add_func("/nitro/slots/zero-hint", test_zero_hint);
    g_test_add_func("/nitro/slots/walk", test_walk);
    g_test_add_func("/nitro/slots/bound", test_bound);
    g_test_add_func("/nitro/slots/memory", test_memory);
    g_test_add_func("/nitro/slots/memory-of-others", test_memory_of_others);
    g_test_add_func("/nitro/slots/vcpus", test_vcpus);
    g_test_add_func("/nitro/slots/cid-rules", test_cid_rules);
    g_test_add_func("/nitro/slots/cids-unique", test_cids_are_unique);
    g_test_add_func("/nitro/slots/cids-wrap", test_cids_wrap);
    g_test_add_func("/nitro/slots/life", test_life);
    g_test_add_func("/nitro/slots/early-end", test_early_end);
    g_test_add_func("/nitro/slots/stopped", test_stopped);
    return g_test_run();
}
