/*
 * Nitro Enclaves: application channel, where the enclave connects or ends
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "nitro-channel-util.h"

static void test_listen(Fixture *f, gconstpointer data)
{
    begin_listening(f);
    client_connects(f);
    f->enclave = stream_connect(f->port_path);
    wait_until(in_state(f, "open"));
    transfer(f->client, f->enclave, 0, MUCH);
    transfer(f->enclave, f->client, 0, MUCH);

    hang_up(&f->enclave);
    wait_until(stream_ended(f->client));
    hang_up(&f->client);
    assert_state(f, "listening");
    f->enclave = stream_connect(f->port_path);
    client_connects(f);
    transfer(f->enclave, f->client, 0, 1000);
    hang_up(&f->client);
    wait_until(stream_ended(f->enclave));
    wait_until(in_state(f, "listening"));
    g_assert_cmpint(nitro_channel_connections(f->ch), ==, 2);
}

/* The enclave is there first: it waits, nothing is lost */
static void test_listen_early(Fixture *f, gconstpointer data)
{
    size_t sent, got = 0;

    begin_listening(f);
    f->enclave = stream_connect(f->port_path);
    sent = send_until_stopped(f->enclave, MUCH);
    g_assert_cmpint(sent, <, MUCH);
    client_connects(f);
    wait_until((sent = stream_send(f->enclave, sent, MUCH),
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
    f->enclave = stream_connect(f->port_path);
    wait_until(in_state(f, "open"));
    /* One at a time */
    other = stream_connect(f->port_path);
    wait_until(stream_ended(other));
    close(other);
    client_connects(f);
    transfer(f->enclave, f->client, 0, 1000);
    g_assert_cmpint(nitro_channel_connections(f->ch), ==, 1);
}

static void test_port_taken(Fixture *f, gconstpointer data)
{
    Error *err = NULL;

    f->addr.u.q_unix.path = f->dir;
    g_assert(!nitro_channel_listen(f->ch, &f->addr, &err));
    g_assert(strstr(error_get_pretty(err), f->dir));
    error_free(err);
    g_assert(!nitro_channel_finish(f->ch));
    assert_state(f, "idle");
}

/* The enclave has gone, its last words are still here */
static void test_finish(Fixture *f, gconstpointer data)
{
    size_t sent, got = 0;

    connect_both(f);
    sent = send_until_stopped(f->enclave, MUCH);
    hang_up(&f->enclave);
    g_assert(nitro_channel_finish(f->ch));
    wait_until((got = stream_read(f->client, got), f->nr_closed));
    g_assert_cmpint(stream_read(f->client, got), ==, sent);
    wait_until(stream_ended(f->client));
    assert_state(f, "closed");
    g_assert(!nitro_channel_finish(f->ch));
    g_assert_cmpint(f->nr_closed, ==, 1);
}

/* Nobody is there for them: nobody is waited for */
static void test_finish_unread(Fixture *f, gconstpointer data)
{
    begin_listening(f);
    f->enclave = stream_connect(f->port_path);
    wait_until(in_state(f, "open"));
    g_assert_cmpint(stream_send(f->enclave, 0, 1000), ==, 1000);
    hang_up(&f->enclave);
    wait_until(nitro_channel_received(f->ch) == 1000);
    if (nitro_channel_finish(f->ch)) {
        wait_until(f->nr_closed);
    }
    assert_state(f, "closed");
}

static void test_finish_early(Fixture *f, gconstpointer data)
{
    g_assert(!nitro_channel_finish(f->ch));
    assert_state(f, "idle");

    nitro_channel_connect(f->ch, &f->addr);
    g_assert(!nitro_channel_finish(f->ch));
    assert_state(f, "closed");

    nitro_channel_connect(f->ch, &f->addr);
    client_connects(f);
    wait_until(in_state(f, "connecting"));
    g_assert(!nitro_channel_finish(f->ch));
    assert_state(f, "closed");

    unlink(f->port_path);
    begin_listening(f);
    g_assert(!nitro_channel_finish(f->ch));
    assert_state(f, "closed");
}

/* The next launch, however the one before has ended */
static void test_again(Fixture *f, gconstpointer data)
{
    connect_both(f);
    for (int i = 0; i < 5; i++) {
        transfer(f->client, f->enclave, 0, 1000);
        transfer(f->enclave, f->client, 0, 1000);
        if (i % 2) {
            nitro_channel_finish(f->ch);
        }
        nitro_channel_connect(f->ch, &f->addr);
        g_assert_cmpint(nitro_channel_received(f->ch), ==, 0);
        g_assert_cmpint(nitro_channel_sent(f->ch), ==, 0);
        /* It would take the next enclave for the one it has talked to */
        wait_until(stream_ended(f->client));
        wait_until(stream_ended(f->enclave));
        hang_up(&f->client);
        hang_up(&f->enclave);
        client_connects(f);
        enclave_accepts(f);
        g_assert_cmpint(nitro_channel_connections(f->ch), ==, 1);
    }
}

static void test_listen_again(Fixture *f, gconstpointer data)
{
    client_connects(f);
    for (int i = 0; i < 3; i++) {
        unlink(f->port_path);
        begin_listening(f);
        f->enclave = stream_connect(f->port_path);
        wait_until(in_state(f, "open"));
        transfer(f->enclave, f->client, 0, 1000);
        transfer(f->client, f->enclave, 0, 1000);
        g_assert(nitro_channel_finish(f->ch));
        hang_up(&f->enclave);
        wait_until(f->nr_closed == i + 1);
        wait_until(stream_ended(f->client));
        hang_up(&f->client);
        client_connects(f);
    }
}

void add_channel_life_tests(void)
{
    ADD("listen", set_up_socket, test_listen);
    ADD("listen-early", set_up_socket, test_listen_early);
    ADD("listen-refused", set_up_socket, test_listen_refused);
    ADD("port-taken", set_up_socket, test_port_taken);
    ADD("finish", set_up_socket, test_finish);
    ADD("finish-unread", set_up_socket, test_finish_unread);
    ADD("finish-early", set_up_socket, test_finish_early);
    ADD("again", set_up_socket, test_again);
    ADD("listen-again", set_up_socket, test_listen_again);
}
