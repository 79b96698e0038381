/*
 * Nitro Enclaves: stream without input, how it ends and begins again
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "nitro-stream-fixture.h"

/* The enclave has gone, its last words are still here */
static void test_finish(Fixture *f, gconstpointer data)
{
    size_t pos = 0;

    client_stuck(f);
    enclave_ends(f);
    settle();
    g_assert(nitro_stream_finish(f->stream));
    g_assert_cmpint(f->nr_closed, ==, 0);
    wait_until((pos = stream_read(f->client, pos), f->nr_closed));
    pos = stream_read(f->client, pos);
    g_assert_cmpint(pos, ==, f->sent);
}

static void test_finish_early(Fixture *f, gconstpointer data)
{
    open_file(f);
    g_assert(!nitro_stream_finish(f->stream));
    assert_state(f, "idle");

    /* Nobody listens: no more attempts, and no complaint about it */
    nitro_stream_connect(f->stream, &f->addr);
    if (nitro_stream_finish(f->stream)) {
        wait_until(f->nr_closed);
    }
    assert_state(f, "closed");
    g_assert(!f->failure);
}

static void test_finish_while_waiting(Fixture *f, gconstpointer data)
{
    open_file(f);
    set_retry(f, PATIENCE_MS / 2, 1, 2 * PATIENCE_MS);
    nitro_stream_connect(f->stream, &f->addr);
    /* until the attempt has failed, long before the next one */
    poll_until((main_loop_wait(true),
                f->nr_closed || !nitro_stream_finish(f->stream)));
    assert_state(f, "closed");
    g_assert(!f->failure);
}

static void test_finish_connecting(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_stream_connect(f->stream, &f->addr);
    g_assert(nitro_stream_finish(f->stream));
    wait_until(peer_accept(f));
    peer_send_all(f, 100);
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_file(f->out_path, 100);
}

/* The peer hangs up, the enclave lives and is heard of again */
static void test_hang_up(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_peer(f);
    for (unsigned i = 1; i <= 3; i++) {
        peer_send_all(f, 1000);
        hang_up(&f->peer);
        wait_until(in_state(f, "connecting"));
        wait_until(peer_accept(f));
        wait_until(counts(f).connections == i + 1);
        assert_state(f, "open");
    }
    peer_send_all(f, 1000);
    enclave_ends(f);
    wait_until(f->nr_closed);
    g_assert(!f->failure);
    g_assert_cmpint(counts(f).received, ==, 4000);
    assert_file(f->out_path, 4000);

    /* The next life knows nothing of it */
    connect_peer(f);
    g_assert_cmpint(counts(f).connections, ==, 1);
}

/* A peer that hangs up at once is given up in the end, without being hurried */
static void test_hang_up_at_once(Fixture *f, gconstpointer data)
{
    open_file(f);
    set_retry(f, 1, 1, 50);
    nitro_stream_connect(f->stream, &f->addr);
    wait_until(((void)(peer_accept(f) && (hang_up(&f->peer), true)),
                f->nr_closed));
    /* A busy host has time for one only, none has time for many */
    g_assert_cmpint(counts(f).connections, >=, 1);
    g_assert_cmpint(counts(f).connections, <=, 8);
    g_assert(strstr(f->failure, "the peer has closed the connection"));
}

/* The peer hangs up and is not there any more */
static void test_hang_up_for_good(Fixture *f, gconstpointer data)
{
    open_file(f);
    set_retry(f, 1, 1, 200);
    connect_peer(f);
    peer_send_all(f, 100);
    hang_up(&f->peer);
    close(f->listener);
    f->listener = -1;
    unlink(f->port_path);
    wait_until(f->nr_closed);
    g_assert(f->failure);
    assert_file(f->out_path, 100);
    g_assert(!nitro_stream_finish(f->stream));
}

/* The end of the enclave comes soon after that of its output */
static void test_hang_up_then_end(Fixture *f, gconstpointer data)
{
    open_file(f);
    set_retry(f, 1, PATIENCE_MS / 2, 2 * PATIENCE_MS);
    connect_peer(f);
    peer_send_all(f, 100);
    hang_up(&f->peer);
    wait_until(in_state(f, "connecting"));
    if (nitro_stream_finish(f->stream)) {
        wait_until(f->nr_closed);
    }
    assert_state(f, "closed");
    assert_file(f->out_path, 100);
    settle();
    g_assert(!peer_accept(f));
}

/* The next launch: the old connection does not count any more */
static void test_again(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_peer(f);
    enclave_ends(f);
    wait_until(f->nr_closed);
    for (int i = 0; i < 3; i++) {
        int old = f->peer;

        connect_peer(f);
        g_assert_cmpint(counts(f).received, ==, 0);
        if (old >= 0) {
            close(old);
        }
    }
    peer_send_all(f, 100);
    enclave_ends(f);
    wait_until(f->nr_closed == 2);
    assert_file(f->out_path, 100);
}

static void test_free_connecting(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_stream_connect(f->stream, &f->addr);
    nitro_stream_free(f->stream);
    f->stream = NULL;
    /* whatever the attempt comes to, it is given up */
    wait_until(peer_accept(f));
    wait_until(recv(f->peer, &(char){ 0 }, 1, 0) == 0);
    g_assert_cmpint(f->nr_closed, ==, 0);
}

void add_stream_end_tests(void)
{
    ADD("output/hang-up", set_up_listening, test_hang_up);
    ADD("output/hang-up-at-once", set_up_listening, test_hang_up_at_once);
    ADD("output/hang-up-for-good", set_up_listening, test_hang_up_for_good);
    ADD("output/hang-up-then-end", set_up_listening, test_hang_up_then_end);
    ADD("output/finish", set_up_listening, test_finish);
    ADD("output/finish-early", set_up, test_finish_early);
    ADD("output/finish-while-waiting", set_up, test_finish_while_waiting);
    ADD("output/finish-connecting", set_up_listening, test_finish_connecting);
    ADD("output/again", set_up_listening, test_again);
    ADD("output/free-connecting", set_up_listening, test_free_connecting);
}
