/*
 * Nitro Enclaves: console stream, how it ends and begins again
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "nitro-console-util.h"

/* The enclave has gone, its last words are still here */
static void test_finish(Fixture *f, gconstpointer data)
{
    int reader = reader_connect_stuck(f);
    size_t pos = 0;

    enclave_ends(f);
    settle();
    g_assert(nitro_console_finish(f->con));
    g_assert_cmpint(f->nr_closed, ==, 0);
    wait_until((pos = stream_read(reader, pos), f->nr_closed));
    pos = stream_read(reader, pos);
    g_assert_cmpint(pos, ==, f->sent);
    close(reader);
}

static void test_finish_early(Fixture *f, gconstpointer data)
{
    open_file(f);
    g_assert(!nitro_console_finish(f->con));
    assert_state(f, "idle");

    /* Nobody listens: no more attempts, and no complaint about it */
    nitro_console_connect(f->con, &f->addr);
    if (nitro_console_finish(f->con)) {
        wait_until(f->nr_closed);
    }
    assert_state(f, "closed");
    g_assert(!f->failure);
}

static void test_finish_while_waiting(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_set_retry(f->con, PATIENCE_MS / 2, 1, 2 * PATIENCE_MS);
    nitro_console_connect(f->con, &f->addr);
    /* until the attempt has failed, long before the next one */
    poll_until((main_loop_wait(true),
                f->nr_closed || !nitro_console_finish(f->con)));
    assert_state(f, "closed");
    g_assert(!f->failure);
}

static void test_finish_connecting(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_connect(f->con, &f->addr);
    g_assert(nitro_console_finish(f->con));
    wait_until(hypervisor_accept(f));
    hypervisor_send_all(f, 100);
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_file(f->out_path, 100);
}

/* The hypervisor hangs up, the enclave lives and is heard of again */
static void test_hang_up(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_console(f);
    for (unsigned i = 1; i <= 3; i++) {
        hypervisor_send_all(f, 1000);
        hypervisor_hangs_up(f);
        wait_until(nitro_console_state(f->con) ==
                   NITRO_ENCLAVE_CONSOLE_STATE_CONNECTING);
        wait_until(hypervisor_accept(f));
        wait_until(nitro_console_reconnects(f->con) == i);
        assert_state(f, "open");
    }
    hypervisor_send_all(f, 1000);
    enclave_ends(f);
    wait_until(f->nr_closed);
    g_assert(!f->failure);
    g_assert_cmpint(nitro_console_bytes(f->con), ==, 4000);
    assert_file(f->out_path, 4000);

    /* The next life knows nothing of it */
    connect_console(f);
    g_assert_cmpint(nitro_console_reconnects(f->con), ==, 0);
}

/* The hypervisor hangs up and is not there any more */
static void test_hang_up_for_good(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_set_retry(f->con, 1, 1, 200);
    connect_console(f);
    hypervisor_send_all(f, 100);
    hypervisor_hangs_up(f);
    close(f->listener);
    f->listener = -1;
    unlink(f->console_path);
    wait_until(f->nr_closed);
    g_assert(f->failure);
    assert_file(f->out_path, 100);
    g_assert(!nitro_console_finish(f->con));
}

/* The end of the enclave comes soon after that of its console */
static void test_hang_up_then_end(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_set_retry(f->con, 1, PATIENCE_MS / 2, 2 * PATIENCE_MS);
    connect_console(f);
    hypervisor_send_all(f, 100);
    hypervisor_hangs_up(f);
    wait_until(nitro_console_state(f->con) ==
               NITRO_ENCLAVE_CONSOLE_STATE_CONNECTING);
    if (nitro_console_finish(f->con)) {
        wait_until(f->nr_closed);
    }
    assert_state(f, "closed");
    assert_file(f->out_path, 100);
    settle();
    g_assert(!hypervisor_accept(f));
}

/* The next launch: the old connection does not count any more */
static void test_again(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_console(f);
    enclave_ends(f);
    wait_until(f->nr_closed);
    for (int i = 0; i < 3; i++) {
        int old = f->hypervisor;

        connect_console(f);
        g_assert_cmpint(nitro_console_bytes(f->con), ==, 0);
        if (old >= 0) {
            close(old);
        }
    }
    hypervisor_send_all(f, 100);
    enclave_ends(f);
    wait_until(f->nr_closed == 2);
    assert_file(f->out_path, 100);
}

static void test_free_connecting(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_connect(f->con, &f->addr);
    nitro_console_free(f->con);
    f->con = NULL;
    /* whatever the attempt comes to, it is given up */
    wait_until(hypervisor_accept(f));
    wait_until(recv(f->hypervisor, &(char){ 0 }, 1, 0) == 0);
    g_assert_cmpint(f->nr_closed, ==, 0);
}

void add_console_end_tests(void)
{
    ADD("hang-up", set_up_listening, test_hang_up);
    ADD("hang-up-for-good", set_up_listening, test_hang_up_for_good);
    ADD("hang-up-then-end", set_up_listening, test_hang_up_then_end);
    ADD("finish", set_up_listening, test_finish);
    ADD("finish-early", set_up, test_finish_early);
    ADD("finish-while-waiting", set_up, test_finish_while_waiting);
    ADD("finish-connecting", set_up_listening, test_finish_connecting);
    ADD("again", set_up_listening, test_again);
    ADD("free-connecting", set_up_listening, test_free_connecting);
}
