/*
 * Nitro Enclaves: stream without input, with real character devices
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "nitro-stream-fixture.h"
#include "qapi/qapi-commands-char.h"

static void test_file(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_peer(f);
    peer_send_all(f, 3 * MiB + 11);
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_state(f, "closed");
    g_assert_cmpint(counts(f).received, ==, f->sent);
    assert_file(f->out_path, f->sent);
    assert_file(f->log_path, f->sent);
    g_assert(!nitro_stream_finish(f->stream));
    settle();
    g_assert_cmpint(f->nr_closed, ==, 1);
}

/* The port may open a little later than the enclave starts */
static void test_retry(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_stream_connect(f->stream, &f->addr);
    for (int i = 0; i < 10; i++) {
        main_loop_wait(false);
    }
    assert_state(f, "connecting");
    f->listener = stream_listen(f->port_path);
    wait_until(peer_accept(f));
    peer_send_all(f, 1000);
    enclave_ends(f);
    wait_until(f->nr_closed);
    g_assert(!f->failure);
    assert_file(f->out_path, 1000);
}

static void test_give_up(Fixture *f, gconstpointer data)
{
    open_file(f);
    set_retry(f, 1, 1, 20);
    nitro_stream_connect(f->stream, &f->addr);
    wait_until(f->nr_closed);
    g_assert(f->failure);
    g_assert(strstr(f->failure, f->port_path));
    assert_state(f, "closed");
    assert_file(f->out_path, 0);
}

/* Read a little and check it; returns the position after it */
static size_t reader_read_some(int fd, size_t pos)
{
    char buf[4096];
    ssize_t len = read(fd, buf, sizeof(buf));

    if (len > 0) {
        assert_pattern(buf, len, pos);
        pos += len;
    }
    return pos;
}

/* More by hand: NITRO_STREAM_MIB=1024 */
static size_t much(void)
{
    const char *mib = getenv("NITRO_STREAM_MIB");

    return (mib ? atoi(mib) : 8) * MiB;
}

/* The peer is stopped by a reader that does not read */
static void peer_send_until_stopped(Fixture *f, size_t total)
{
    size_t before;

    do {
        before = f->sent;
        peer_send(f, total - f->sent);
        settle();
    } while (f->sent != before);
}

/* A reader that does not read stops the sender, and loses nothing by it */
static void test_slow_reader(Fixture *f, gconstpointer data)
{
    const size_t total = much();
    size_t pos = 0;

    open_socket(f);
    client_connects(f);
    connect_peer(f);
    peer_send_until_stopped(f, total);
    g_assert_cmpint(f->sent, <, 4 * MiB);
    g_assert_cmpint(counts(f).received, <, f->sent);

    while (pos < total) {
        peer_send(f, total - f->sent);
        pos = reader_read_some(f->client, pos);
        main_loop_wait(true);
    }
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_file(f->log_path, total);
    g_assert_cmpint(counts(f).dropped, ==, 0);
    g_assert_cmpint(f->nr_told, ==, 0);
}

/* The other policy: the peer never waits, what is lost is counted */
static void test_drop_oldest(Fixture *f, gconstpointer data)
{
    const size_t total = much();
    size_t got = 0;
    ssize_t len;
    char buf[4096];

    f->options.overflow = NITRO_CONSOLE_OVERFLOW_DROP_OLDEST;
    open_socket(f);
    client_connects(f);
    connect_peer(f);
    peer_send_all(f, total);
    wait_until(counts(f).received == total);
    g_assert_cmpint(counts(f).dropped, >, total / 2);
    g_assert_cmpint(f->nr_told, ==, 1);
    enclave_ends(f);
    g_assert_cmpint(f->nr_closed, ==, 0);
    while (!f->nr_closed) {
        main_loop_wait(true);
        while ((len = read(f->client, buf, sizeof(buf))) > 0) {
            got += len;
        }
    }
    while ((len = read(f->client, buf, sizeof(buf))) > 0) {
        got += len;
    }
    g_assert_cmpint(got + counts(f).dropped, ==, total);
    assert_file(f->log_path, total);
}

/* Whatever becomes of it in the character device, its log gets it all */
static void assert_all_logged(Fixture *f)
{
    connect_peer(f);
    peer_send_all(f, 1 * MiB);
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_file(f->log_path, 1 * MiB);
}

/* Nobody has the pty open: its log gets everything, the sender never stops */
static void test_pty_unread(Fixture *f, gconstpointer data)
{
    open_chardev(f, "pty");
    assert_all_logged(f);
}

static void test_pty_read(Fixture *f, gconstpointer data)
{
    const char *path;
    size_t pos = 0;
    int reader;

    open_chardev(f, "pty");
    path = f->chr->filename + strlen("pty:");
    reader = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
    g_assert_cmpint(reader, >=, 0);
    /* The pty looks for its reader once a second, and only for a front end */
    wait_until(qemu_chr_fe_backend_open(&f->be));
    connect_peer(f);
    wait_until((peer_send(f, 100000 - f->sent),
                pos = stream_read(reader, pos), pos == 100000));
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_file(f->log_path, 100000);
    close(reader);
}

static void test_socket_unread(Fixture *f, gconstpointer data)
{
    open_socket(f);
    assert_all_logged(f);
}

/* A reader that leaves while its sender waits sets the sender free */
static void test_reader_leaves(Fixture *f, gconstpointer data)
{
    client_stuck(f);
    hang_up(&f->client);
    peer_send_all(f, 4 * MiB);
    enclave_ends(f);
    wait_until(f->nr_closed);
    g_assert_cmpint(counts(f).received, ==, f->sent);
}

static void test_ringbuf(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;

    open_chardev(f, "ringbuf,size=4096");
    connect_peer(f);
    g_assert_cmpint(write(f->peer, "Linux version\nbooted\n", 21),
                    ==, 21);
    wait_until(counts(f).received == 21);
    text = qmp_ringbuf_read("out", 100, false, 0, &error_abort);
    g_assert_cmpstr(text, ==, "Linux version\nbooted\n");
    peer_send_all(f, 1 * MiB);
    wait_until(counts(f).received == 21 + 1 * MiB);
    g_assert_cmpint(counts(f).dropped, ==, 0);
}

/* Nobody was there for the whole life of the enclave */
static void test_late_reader(Fixture *f, gconstpointer data)
{
    size_t total = 10 * BACKLOG + 5, pos = total - BACKLOG;

    open_socket(f);
    connect_peer(f);
    peer_send_all(f, total);
    wait_until(counts(f).received == total);
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_state(f, "closed");
    g_assert_cmpint(counts(f).dropped, ==, pos);
    g_assert_cmpint(f->nr_told, ==, 1);

    client_connects(f);
    wait_until((pos = stream_read(f->client, pos), pos == total));
    wait_until(in_state(f, "closed"));
}

/* An idle stream wakes nobody */
static void test_idle(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_peer(f);
    peer_send_all(f, 100);
    wait_until(counts(f).received == 100);
    settle();
    for (int i = 0; i < 100; i++) {
        g_assert(!g_main_context_iteration(NULL, FALSE));
    }
}

int main(int argc, char **argv)
{
    stream_test_init(&argc, &argv);

    ADD("output/file", set_up_listening, test_file);
    ADD("output/retry", set_up, test_retry);
    ADD("output/give-up", set_up, test_give_up);
    ADD("output/slow-reader", set_up_listening, test_slow_reader);
    ADD("output/drop-oldest", set_up_listening, test_drop_oldest);
    ADD("output/late-reader", set_up_listening, test_late_reader);
    ADD("output/pty-unread", set_up_listening, test_pty_unread);
    ADD("output/pty-read", set_up_listening, test_pty_read);
    ADD("output/socket-unread", set_up_listening, test_socket_unread);
    ADD("output/reader-leaves", set_up_listening, test_reader_leaves);
    ADD("output/ringbuf", set_up_listening, test_ringbuf);
    ADD("output/idle", set_up_listening, test_idle);
    add_stream_end_tests();
    add_stream_input_tests();
    add_stream_life_tests();
    return g_test_run();
}
