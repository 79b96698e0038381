/*
 * Nitro Enclaves: stream with input that listens, or ends
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "nitro-stream-fixture.h"

static void test_listen(Fixture *f, gconstpointer data)
{
    begin_listening(f);
    client_connects(f);
    f->peer = stream_connect(f->port_path);
    wait_until(in_state(f, "open"));
    transfer(f->client, f->peer, 0, MUCH);
    transfer(f->peer, f->client, 0, MUCH);

    hang_up(&f->peer);
    wait_until(stream_ended(f->client));
    hang_up(&f->client);
    assert_state(f, "listening");
    f->peer = stream_connect(f->port_path);
    client_connects(f);
    transfer(f->peer, f->client, 0, 1000);
    hang_up(&f->client);
    wait_until(stream_ended(f->peer));
    wait_until(in_state(f, "listening"));
    g_assert_cmpint(counts(f).connections, ==, 2);
}

/* The enclave is there first: it waits, nothing is lost */
static void test_listen_early(Fixture *f, gconstpointer data)
{
    size_t sent, got = 0;

    begin_listening(f);
    f->peer = stream_connect(f->port_path);
    sent = send_until_stopped(f->peer, MUCH);
    g_assert_cmpint(sent, <, MUCH);
    client_connects(f);
    wait_until((sent = stream_send(f->peer, sent, MUCH),
                got = stream_read(f->client, got), got == MUCH));
}

static void test_listen_refused(Fixture *f, gconstpointer data)
{
    int other;

    begin_listening(f);
    f->refuse = true;
    other = stream_connect(f->port_path);
    wait_until(stream_ended(other));
    close(other);
    assert_state(f, "listening");

    f->refuse = false;
    f->peer = stream_connect(f->port_path);
    wait_until(in_state(f, "open"));
    /* One at a time */
    other = stream_connect(f->port_path);
    wait_until(stream_ended(other));
    close(other);
    client_connects(f);
    transfer(f->peer, f->client, 0, 1000);
    g_assert_cmpint(counts(f).connections, ==, 1);
}

static void test_port_taken(Fixture *f, gconstpointer data)
{
    Error *err = NULL;

    f->addr.u.q_unix.path = f->dir;
    g_assert(!nitro_stream_listen(f->stream, &f->addr, &err));
    g_assert(strstr(error_get_pretty(err), f->dir));
    error_free(err);
    g_assert(!nitro_stream_finish(f->stream));
    assert_state(f, "idle");
}

/* The enclave has gone, its last words are still here */
static void test_finish(Fixture *f, gconstpointer data)
{
    size_t sent, got = 0;

    connect_both(f);
    sent = send_until_stopped(f->peer, MUCH);
    hang_up(&f->peer);
    g_assert(nitro_stream_finish(f->stream));
    wait_until((got = stream_read(f->client, got), f->nr_closed));
    g_assert_cmpint(stream_read(f->client, got), ==, sent);
    wait_until(stream_ended(f->client));
    assert_state(f, "closed");
    g_assert(!nitro_stream_finish(f->stream));
    g_assert_cmpint(f->nr_closed, ==, 1);
}

/* Nobody is there for them: nobody is waited for */
static void test_finish_unread(Fixture *f, gconstpointer data)
{
    begin_listening(f);
    f->peer = stream_connect(f->port_path);
    wait_until(in_state(f, "open"));
    g_assert_cmpint(stream_send(f->peer, 0, 1000), ==, 1000);
    hang_up(&f->peer);
    wait_until(counts(f).received == 1000);
    if (nitro_stream_finish(f->stream)) {
        wait_until(f->nr_closed);
    }
    assert_state(f, "closed");
}

static void test_finish_early(Fixture *f, gconstpointer data)
{
    g_assert(!nitro_stream_finish(f->stream));
    assert_state(f, "idle");

    nitro_stream_connect(f->stream, &f->addr);
    g_assert(!nitro_stream_finish(f->stream));
    assert_state(f, "closed");

    nitro_stream_connect(f->stream, &f->addr);
    client_connects(f);
    wait_until(in_state(f, "connecting"));
    g_assert(!nitro_stream_finish(f->stream));
    assert_state(f, "closed");

    unlink(f->port_path);
    begin_listening(f);
    g_assert(!nitro_stream_finish(f->stream));
    assert_state(f, "closed");
}

/* The next launch, however the one before has ended */
static void test_again(Fixture *f, gconstpointer data)
{
    connect_both(f);
    for (int i = 0; i < 5; i++) {
        transfer(f->client, f->peer, 0, 1000);
        transfer(f->peer, f->client, 0, 1000);
        if (i % 2) {
            nitro_stream_finish(f->stream);
        }
        nitro_stream_connect(f->stream, &f->addr);
        g_assert_cmpint(counts(f).received, ==, 0);
        g_assert_cmpint(counts(f).sent, ==, 0);
        /* It would take the next enclave for the one it has talked to */
        wait_until(stream_ended(f->client));
        wait_until(stream_ended(f->peer));
        hang_up(&f->client);
        hang_up(&f->peer);
        client_connects(f);
        peer_accepts(f);
        g_assert_cmpint(counts(f).connections, ==, 1);
    }
}

static void test_listen_again(Fixture *f, gconstpointer data)
{
    client_connects(f);
    for (int i = 0; i < 3; i++) {
        unlink(f->port_path);
        begin_listening(f);
        f->peer = stream_connect(f->port_path);
        wait_until(in_state(f, "open"));
        transfer(f->peer, f->client, 0, 1000);
        transfer(f->client, f->peer, 0, 1000);
        g_assert(nitro_stream_finish(f->stream));
        hang_up(&f->peer);
        wait_until(f->nr_closed == i + 1);
        wait_until(stream_ended(f->client));
        hang_up(&f->client);
        client_connects(f);
    }
}

void add_stream_life_tests(void)
{
    ADD("input/listen", set_up_socket, test_listen);
    ADD("input/listen-early", set_up_socket, test_listen_early);
    ADD("input/listen-refused", set_up_socket, test_listen_refused);
    ADD("input/port-taken", set_up_socket, test_port_taken);
    ADD("input/finish", set_up_socket, test_finish);
    ADD("input/finish-unread", set_up_socket, test_finish_unread);
    ADD("input/finish-early", set_up_socket, test_finish_early);
    ADD("input/again", set_up_socket, test_again);
    ADD("input/listen-again", set_up_socket, test_listen_again);
}
