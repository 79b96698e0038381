/*
 * Nitro Enclaves: application channel with real character devices
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Unix sockets take the place of vsock:
 *
 *     enclave  <dir>/port  <---->  channel  <---->  <dir>/app  client
 *
 * The test is the enclave and the client.
 */

#include "qemu/osdep.h"
#include "nitro-channel-util.h"

static void test_connect(Fixture *f, gconstpointer data)
{
    f->listener = stream_listen(f->port_path);
    nitro_channel_connect(f->ch, &f->addr);
    settle();
    /* Nobody to connect for */
    assert_state(f, "waiting");
    g_assert_cmpint(stream_accept(f->listener), ==, -1);

    client_connects(f);
    enclave_accepts(f);
    transfer(f->client, f->enclave, 0, MUCH);
    transfer(f->enclave, f->client, 0, MUCH);
    g_assert_cmpint(nitro_channel_received(f->ch), ==, MUCH);
    g_assert_cmpint(nitro_channel_sent(f->ch), ==, MUCH);
    g_assert_cmpint(nitro_channel_connections(f->ch), ==, 1);
}

/* What the client says before the enclave listens is not lost */
static void test_late_enclave(Fixture *f, gconstpointer data)
{
    nitro_channel_connect(f->ch, &f->addr);
    client_connects(f);
    g_assert_cmpint(stream_send(f->client, 0, 100), ==, 100);
    for (int i = 0; i < 10; i++) {
        main_loop_wait(false);
    }
    assert_state(f, "connecting");
    f->listener = stream_listen(f->port_path);
    enclave_accepts(f);
    wait_until(nitro_channel_sent(f->ch) == 100);
    g_assert_cmpint(stream_read(f->enclave, 0), ==, 100);
}

static void test_client_leaves(Fixture *f, gconstpointer data)
{
    connect_both(f);
    transfer(f->client, f->enclave, 0, 1000);
    g_assert_cmpint(stream_send(f->enclave, 0, 10), ==, 10);
    hang_up(&f->client);
    wait_until(stream_ended(f->enclave));
    wait_until(in_state(f, "waiting"));
    hang_up(&f->enclave);

    /* The next client has a stream of its own, from its beginning */
    client_connects(f);
    enclave_accepts(f);
    transfer(f->enclave, f->client, 5, 1000);
    transfer(f->client, f->enclave, 0, 1000);
    g_assert_cmpint(nitro_channel_connections(f->ch), ==, 2);
}

/* A client that leaves when the last it said is still in our buffer */
static void test_client_leaves_early(Fixture *f, gconstpointer data)
{
    size_t sent = 0, got = 0, held = 0;

    connect_both(f);
    while (held < NITRO_CHANNEL_BUFFER_SIZE / 2) {
        g_assert_cmpint(stream_send(f->client, sent, sent + 1000), ==,
                        sent + 1000);
        sent += 1000;
        settle();
        held = sent - nitro_channel_sent(f->ch);
    }
    hang_up(&f->client);
    settle();
    assert_state(f, "open");
    wait_until((got = stream_read(f->enclave, got), got == sent));
    wait_until(stream_ended(f->enclave));
}

/* An enclave that never reads keeps a stream for a while, not for ever */
static void test_linger(Fixture *f, gconstpointer data)
{
    connect_both(f);
    send_until_stopped(f->client, MUCH);
    hang_up(&f->client);
    wait_until(in_state(f, "waiting"));
    client_connects(f);
    hang_up(&f->enclave);
    enclave_accepts(f);
    transfer(f->client, f->enclave, 0, 1000);
}

static void test_enclave_leaves(Fixture *f, gconstpointer data)
{
    size_t sent, got = 0;

    connect_both(f);
    sent = send_until_stopped(f->enclave, MUCH);
    hang_up(&f->enclave);
    settle();
    assert_state(f, "open");
    wait_until((got = stream_read(f->client, got), got == sent));
    wait_until(stream_ended(f->client));
    hang_up(&f->client);
    assert_state(f, "waiting");

    client_connects(f);
    enclave_accepts(f);
    transfer(f->client, f->enclave, 0, 1000);
}

/* An enclave that has said all still gets what was on its way */
static void test_half_close(Fixture *f, gconstpointer data)
{
    size_t sent, got = 0;

    connect_both(f);
    sent = send_until_stopped(f->client, 400 * KiB);
    shutdown(f->enclave, SHUT_WR);
    wait_until((got = stream_read(f->enclave, got),
                got > sent - 200 * KiB));
    wait_until((got = stream_read(f->enclave, got),
                stream_ended(f->client)));
    wait_until(in_state(f, "waiting"));
    g_assert_cmpint(nitro_channel_sent(f->ch), <=, sent);
}

/* A character device that is always there gets one stream after the other */
static void test_file(Fixture *f, gconstpointer data)
{
    open_file(f);
    f->listener = stream_listen(f->port_path);
    nitro_channel_connect(f->ch, &f->addr);
    assert_state(f, "connecting");
    for (unsigned i = 1; i <= 3; i++) {
        enclave_accepts(f);
        g_assert_cmpint(nitro_channel_connections(f->ch), ==, i);
        g_assert_cmpint(stream_send(f->enclave, (i - 1) * 100, i * 100), ==,
                        i * 100);
        hang_up(&f->enclave);
        wait_until(!in_state(f, "open"));
    }
    assert_file(f->app_path, 300);
}

static void test_slow_client(Fixture *f, gconstpointer data)
{
    size_t sent, got = 0;

    connect_both(f);
    sent = send_until_stopped(f->enclave, MUCH);
    g_assert_cmpint(sent, <, MUCH);
    wait_until((sent = stream_send(f->enclave, sent, MUCH),
                got = stream_read(f->client, got), got == MUCH));
}

static void test_slow_enclave(Fixture *f, gconstpointer data)
{
    size_t sent, got = 0;

    connect_both(f);
    sent = send_until_stopped(f->client, MUCH);
    g_assert_cmpint(sent, <, MUCH);
    wait_until((sent = stream_send(f->client, sent, MUCH),
                got = stream_read(f->enclave, got), got == MUCH));
}

/* Idle, full or empty: nobody is woken */
static void test_idle(Fixture *f, gconstpointer data)
{
    connect_both(f);
    send_until_stopped(f->client, MUCH);
    send_until_stopped(f->enclave, MUCH);
    for (int i = 0; i < 100; i++) {
        g_assert(!g_main_context_iteration(NULL, FALSE));
    }
}

/* The end of the input alone: the enclave learns, and goes on to speak */
static void test_input_ends(Fixture *f, gconstpointer data)
{
    g_autofree char *options = NULL;
    int writer;

    options = stream_stdio(f->app_path, &writer, &f->client);
    open_chardev(f, options);
    f->listener = stream_listen(f->port_path);
    nitro_channel_connect(f->ch, &f->addr);
    enclave_accepts(f);
    g_assert_cmpint(write(writer, "\0\x1f", 2), ==, 2);
    close(writer);
    wait_until(stream_read(f->enclave, 0) == 2);
    wait_until(stream_ended(f->enclave));
    assert_state(f, "open");
    transfer(f->enclave, f->client, 0, 300000);
    stream_stdio_remove(f->app_path);
}

static void test_limit(Fixture *f, gconstpointer data)
{
    nitro_channel_set_retry(f->ch, 1, 1, 20);
    nitro_channel_connect(f->ch, &f->addr);
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
    nitro_channel_set_retry(f->ch, 1, 1, 20);
    nitro_channel_connect(f->ch, &f->addr);
    wait_until(f->nr_closed);
    assert_state(f, "closed");
    g_assert(f->failure);
    g_assert(!nitro_channel_finish(f->ch));
}

/* The client changes its mind */
static void test_leaves_connecting(Fixture *f, gconstpointer data)
{
    nitro_channel_connect(f->ch, &f->addr);
    client_connects(f);
    wait_until(in_state(f, "connecting"));
    hang_up(&f->client);
    wait_until(in_state(f, "waiting"));
    f->listener = stream_listen(f->port_path);
    client_connects(f);
    enclave_accepts(f);
    settle();
    if (stream_ended(f->enclave)) {
        /* That was an attempt for the first client, too late to be stopped */
        hang_up(&f->enclave);
        enclave_accepts(f);
    }
    transfer(f->client, f->enclave, 0, 100);
}

int main(int argc, char **argv)
{
    stream_test_init(&argc, &argv);

    ADD("connect", set_up_socket, test_connect);
    ADD("late-enclave", set_up_socket, test_late_enclave);
    ADD("client-leaves", set_up_socket, test_client_leaves);
    ADD("client-leaves-early", set_up_socket, test_client_leaves_early);
    ADD("linger", set_up_socket, test_linger);
    ADD("enclave-leaves", set_up_socket, test_enclave_leaves);
    ADD("half-close", set_up_socket, test_half_close);
    ADD("file", set_up, test_file);
    ADD("slow-client", set_up_socket, test_slow_client);
    ADD("slow-enclave", set_up_socket, test_slow_enclave);
    ADD("idle", set_up_socket, test_idle);
    ADD("input-ends", set_up, test_input_ends);
    ADD("limit", set_up_socket, test_limit);
    ADD("limit-file", set_up, test_limit_file);
    ADD("leaves-connecting", set_up_socket, test_leaves_connecting);
    add_channel_life_tests();
    return g_test_run();
}
