/*
 * Nitro Enclaves: stream with input that connects
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "nitro-stream-fixture.h"

static void test_connect(Fixture *f, gconstpointer data)
{
    f->listener = stream_listen(f->port_path);
    nitro_stream_connect(f->stream, &f->addr);
    settle();
    /* Nobody to connect for */
    assert_state(f, "waiting");
    g_assert_cmpint(stream_accept(f->listener), ==, -1);

    client_connects(f);
    peer_accepts(f);
    transfer(f->client, f->peer, 0, MUCH);
    transfer(f->peer, f->client, 0, MUCH);
    g_assert_cmpint(counts(f).received, ==, MUCH);
    g_assert_cmpint(counts(f).sent, ==, MUCH);
    g_assert_cmpint(counts(f).connections, ==, 1);
}

/* What the client says before the enclave listens is not lost */
static void test_late_enclave(Fixture *f, gconstpointer data)
{
    nitro_stream_connect(f->stream, &f->addr);
    client_connects(f);
    g_assert_cmpint(stream_send(f->client, 0, 100), ==, 100);
    for (int i = 0; i < 10; i++) {
        main_loop_wait(false);
    }
    assert_state(f, "connecting");
    f->listener = stream_listen(f->port_path);
    peer_accepts(f);
    wait_until(counts(f).sent == 100);
    g_assert_cmpint(stream_read(f->peer, 0), ==, 100);
}

/* Without a limit: long after one would have ended it */
static void test_no_limit(Fixture *f, gconstpointer data)
{
    int64_t begin = g_get_monotonic_time();

    nitro_stream_connect(f->stream, &f->addr);
    client_connects(f);
    wait_until(g_get_monotonic_time() - begin > 100 * 1000);
    g_assert(!f->failure);
    f->listener = stream_listen(f->port_path);
    peer_accepts(f);
}

static void test_client_leaves(Fixture *f, gconstpointer data)
{
    connect_both(f);
    transfer(f->client, f->peer, 0, 1000);
    g_assert_cmpint(stream_send(f->peer, 0, 10), ==, 10);
    hang_up(&f->client);
    wait_until(stream_ended(f->peer));
    wait_until(in_state(f, "waiting"));
    hang_up(&f->peer);

    /* The next client has a stream of its own, from its beginning */
    client_connects(f);
    peer_accepts(f);
    transfer(f->peer, f->client, 5, 1000);
    transfer(f->client, f->peer, 0, 1000);
    g_assert_cmpint(counts(f).connections, ==, 2);
}

/* Another client is there before anybody has looked after the first */
static void test_client_replaced(Fixture *f, gconstpointer data)
{
    connect_both(f);
    transfer(f->client, f->peer, 0, 1000);
    g_assert_cmpint(stream_send(f->peer, 0, 10), ==, 10);
    hang_up(&f->client);
    f->client = stream_connect(f->out_path);
    wait_until(stream_ended(f->peer));
    hang_up(&f->peer);
    peer_accepts(f);
    transfer(f->peer, f->client, 5, 1000);
    transfer(f->client, f->peer, 0, 1000);
}

/* A client that leaves when the last it said is still in our buffer */
static void test_client_leaves_early(Fixture *f, gconstpointer data)
{
    size_t sent = 0, got = 0, held = 0;

    connect_both(f);
    while (held < BUFFER / 2) {
        g_assert_cmpint(stream_send(f->client, sent, sent + 1000), ==,
                        sent + 1000);
        sent += 1000;
        settle();
        held = sent - counts(f).sent;
    }
    hang_up(&f->client);
    settle();
    assert_state(f, "open");
    wait_until((got = stream_read(f->peer, got), got == sent));
    wait_until(stream_ended(f->peer));
}

/* An enclave that never reads keeps a stream for a while, not for ever */
static void test_linger(Fixture *f, gconstpointer data)
{
    connect_both(f);
    send_until_stopped(f->client, MUCH);
    hang_up(&f->client);
    wait_until(in_state(f, "waiting"));
    client_connects(f);
    hang_up(&f->peer);
    peer_accepts(f);
    transfer(f->client, f->peer, 0, 1000);
}

static void test_enclave_leaves(Fixture *f, gconstpointer data)
{
    size_t sent, got = 0;

    connect_both(f);
    sent = send_until_stopped(f->peer, MUCH);
    hang_up(&f->peer);
    settle();
    assert_state(f, "open");
    wait_until((got = stream_read(f->client, got), got == sent));
    wait_until(stream_ended(f->client));
    hang_up(&f->client);
    assert_state(f, "waiting");

    client_connects(f);
    peer_accepts(f);
    transfer(f->client, f->peer, 0, 1000);
}

/* An enclave that has said all still gets what was on its way */
static void test_half_close(Fixture *f, gconstpointer data)
{
    size_t sent, got = 0;

    connect_both(f);
    sent = send_until_stopped(f->client, 400 * KiB);
    shutdown(f->peer, SHUT_WR);
    wait_until((got = stream_read(f->peer, got),
                got > sent - 200 * KiB));
    wait_until((got = stream_read(f->peer, got),
                stream_ended(f->client)));
    wait_until(in_state(f, "waiting"));
    g_assert_cmpint(counts(f).sent, <=, sent);
}

/* A character device that is always there gets one stream after the other */
static void test_file(Fixture *f, gconstpointer data)
{
    open_file(f);
    f->listener = stream_listen(f->port_path);
    nitro_stream_connect(f->stream, &f->addr);
    assert_state(f, "connecting");
    for (unsigned i = 1; i <= 3; i++) {
        peer_accepts(f);
        g_assert_cmpint(counts(f).connections, ==, i);
        g_assert_cmpint(stream_send(f->peer, (i - 1) * 100, i * 100), ==,
                        i * 100);
        hang_up(&f->peer);
        wait_until(!in_state(f, "open"));
    }
    assert_file(f->out_path, 300);
}

static void test_slow_client(Fixture *f, gconstpointer data)
{
    size_t sent, got = 0;

    connect_both(f);
    sent = send_until_stopped(f->peer, MUCH);
    g_assert_cmpint(sent, <, MUCH);
    wait_until((sent = stream_send(f->peer, sent, MUCH),
                got = stream_read(f->client, got), got == MUCH));
}

static void test_slow_enclave(Fixture *f, gconstpointer data)
{
    size_t sent, got = 0;

    connect_both(f);
    sent = send_until_stopped(f->client, MUCH);
    g_assert_cmpint(sent, <, MUCH);
    wait_until((sent = stream_send(f->client, sent, MUCH),
                got = stream_read(f->peer, got), got == MUCH));
}

/* Idle, full or empty: nobody is woken */
static void test_idle(Fixture *f, gconstpointer data)
{
    connect_both(f);
    send_until_stopped(f->client, MUCH);
    send_until_stopped(f->peer, MUCH);
    for (int i = 0; i < 100; i++) {
        g_assert(!g_main_context_iteration(NULL, FALSE));
    }
}

/* The end of the input alone: the enclave learns, and goes on to speak */
static void test_input_ends(Fixture *f, gconstpointer data)
{
    g_autofree char *options = NULL;
    int writer;

    options = stream_stdio(f->out_path, &writer, &f->client);
    open_chardev(f, options);
    f->listener = stream_listen(f->port_path);
    nitro_stream_connect(f->stream, &f->addr);
    peer_accepts(f);
    g_assert_cmpint(write(writer, "\0\x1f", 2), ==, 2);
    close(writer);
    wait_until(stream_read(f->peer, 0) == 2);
    wait_until(stream_ended(f->peer));
    assert_state(f, "open");
    transfer(f->peer, f->client, 0, 300000);
    stream_stdio_remove(f->out_path);
}

static void test_limit(Fixture *f, gconstpointer data)
{
    set_retry(f, 1, 1, 20);
    nitro_stream_connect(f->stream, &f->addr);
    for (int i = 0; i < 2; i++) {
        client_connects(f);
        wait_until(f->failure);
        g_assert(strstr(f->failure, f->port_path));
        wait_until(stream_ended(f->client));
        hang_up(&f->client);
        assert_state(f, "waiting");
        g_clear_pointer(&f->failure, g_free);
    }
    g_assert_cmpint(f->nr_closed, ==, 0);
}

static void test_limit_file(Fixture *f, gconstpointer data)
{
    open_file(f);
    set_retry(f, 1, 1, 20);
    nitro_stream_connect(f->stream, &f->addr);
    wait_until(f->nr_closed);
    assert_state(f, "closed");
    g_assert(f->failure);
    g_assert(!nitro_stream_finish(f->stream));
}

/* The client changes its mind */
static void test_leaves_connecting(Fixture *f, gconstpointer data)
{
    nitro_stream_connect(f->stream, &f->addr);
    client_connects(f);
    wait_until(in_state(f, "connecting"));
    hang_up(&f->client);
    wait_until(in_state(f, "waiting"));
    f->listener = stream_listen(f->port_path);
    client_connects(f);
    peer_accepts(f);
    settle();
    if (stream_ended(f->peer)) {
        /* That was an attempt for the first client, too late to be stopped */
        hang_up(&f->peer);
        peer_accepts(f);
    }
    transfer(f->client, f->peer, 0, 100);
}

void add_stream_input_tests(void)
{
    ADD("input/connect", set_up_socket, test_connect);
    ADD("input/late-enclave", set_up_socket, test_late_enclave);
    ADD("input/no-limit", set_up_socket, test_no_limit);
    ADD("input/client-leaves", set_up_socket, test_client_leaves);
    ADD("input/client-replaced", set_up_socket, test_client_replaced);
    ADD("input/client-leaves-early", set_up_socket, test_client_leaves_early);
    ADD("input/linger", set_up_socket, test_linger);
    ADD("input/enclave-leaves", set_up_socket, test_enclave_leaves);
    ADD("input/half-close", set_up_socket, test_half_close);
    ADD("input/file", set_up_input, test_file);
    ADD("input/slow-client", set_up_socket, test_slow_client);
    ADD("input/slow-enclave", set_up_socket, test_slow_enclave);
    ADD("input/idle", set_up_socket, test_idle);
    ADD("input/input-ends", set_up_input, test_input_ends);
    ADD("input/limit", set_up_socket, test_limit);
    ADD("input/limit-file", set_up_input, test_limit_file);
    ADD("input/leaves-connecting", set_up_socket, test_leaves_connecting);
}
