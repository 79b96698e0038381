/*
 * Nitro Enclaves accelerator: states that may follow, CIDs that may be
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "accel/nitro/nitro-state.h"
#include "tests/nitro/error-text.h"

/*
 *   created -> prepared -> started -> booted -> exited -> created
 *      |          |           |                   ^
 *      +----------+-----------+-------------------+
 */
static const char *const legal[NITRO_STATE__MAX] = {
    /*                          c p s b e */
    [NITRO_STATE_CREATED]  =   "- y - - y",
    [NITRO_STATE_PREPARED] =   "- - y - y",
    [NITRO_STATE_STARTED]  =   "- - - y y",
    [NITRO_STATE_BOOTED]   =   "- - - - y",
    [NITRO_STATE_EXITED]   =   "y - - - -",
};

static void test_moves(void)
{
    for (int from = 0; from < NITRO_STATE__MAX; from++) {
        for (int to = 0; to < NITRO_STATE__MAX; to++) {
            g_test_message("%s -> %s", nitro_state_name(from),
                           nitro_state_name(to));
            g_assert_cmpint(nitro_state_may_move(from, to), ==,
                            legal[from][2 * to] == 'y');
        }
        g_assert(!nitro_state_may_move(from, NITRO_STATE__MAX));
        g_assert(!nitro_state_may_move(NITRO_STATE__MAX, from));
    }
}

static void test_names(void)
{
    static const char *const names[] = {
        "created", "prepared", "started", "booted", "exited", "invalid",
    };

    for (int state = 0; state <= NITRO_STATE__MAX; state++) {
        g_assert_cmpstr(nitro_state_name(state), ==, names[state]);
    }
}

static void test_cids(void)
{
    static const struct {
        uint64_t cid;
        const char *reason;     /* NULL: permitted */
    } rows[] = {
        { 0, NULL },
        { 1, "an enclave cannot have CID 1: it is that of local connections" },
        { 2, "an enclave cannot have CID 2: it is that of the host" },
        { 3, "an enclave cannot have CID 3: it is that of the parent" },
        { 4, NULL },
        { 5, NULL },
        { 16, NULL },
        { 0x7fffffff, NULL },
        { 0x80000000, NULL },
        { 0xfffffffe, NULL },
        { 0xffffffff, "cannot have CID 4294967295: it means any CID" },
        { 0x100000000, "cannot have CID 4294967296: it does not fit in 32" },
        { 0x100000010, "does not fit in 32 bits" },
        { UINT64_MAX, "does not fit in 32 bits" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *text = NULL;
        Error *err = NULL;

        g_assert_cmpint(nitro_cid_valid(rows[i].cid, &err), ==,
                        !rows[i].reason);
        g_assert_cmpint(nitro_cid_valid(rows[i].cid, NULL), ==,
                        !rows[i].reason);
        if (rows[i].reason) {
            text = error_text(err);
            assert_contains(text, rows[i].reason);
            assert_contains(text, "from 4 to 4294967294, or 0 to let");
        } else {
            g_assert_null(err);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nitro/state/moves", test_moves);
    g_test_add_func("/nitro/state/names", test_names);
    g_test_add_func("/nitro/state/cids", test_cids);
    return g_test_run();
}
