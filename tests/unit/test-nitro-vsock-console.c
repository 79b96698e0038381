/*
 * Nitro Enclaves: console stream with real character devices
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Unix sockets take the place of vsock:
 *
 *     hypervisor  <dir>/console  ---->  stream  ---->  character device
 *
 * The test is the hypervisor, and the reader behind the character device
 * where there is one.
 */

#include "qemu/osdep.h"
#include "nitro-console-util.h"
#include "qapi/qapi-commands-char.h"

static void test_file(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_console(f);
    hypervisor_send_all(f, 3 * MiB + 11);
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_state(f, "closed");
    g_assert_cmpint(nitro_console_bytes(f->con), ==, f->sent);
    assert_file(f->out_path, f->sent);
    assert_file(f->log_path, f->sent);
    g_assert(!nitro_console_finish(f->con));
    settle();
    g_assert_cmpint(f->nr_closed, ==, 1);
}

/* The console's port may open a little later than the enclave starts */
static void test_retry(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_connect(f->con, &f->addr);
    for (int i = 0; i < 10; i++) {
        main_loop_wait(false);
    }
    assert_state(f, "connecting");
    hypervisor_listen(f);
    wait_until(hypervisor_accept(f));
    hypervisor_send_all(f, 1000);
    enclave_ends(f);
    wait_until(f->nr_closed);
    g_assert(!f->failure);
    assert_file(f->out_path, 1000);
}

static void test_give_up(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_set_retry(f->con, 1, 1, 20);
    nitro_console_connect(f->con, &f->addr);
    wait_until(f->nr_closed);
    g_assert(f->failure);
    g_assert(strstr(f->failure, f->console_path));
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

/* More by hand: NITRO_CONSOLE_MIB=1024 */
static size_t much(void)
{
    const char *mib = getenv("NITRO_CONSOLE_MIB");

    return (mib ? atoi(mib) : 8) * MiB;
}

/* The hypervisor is stopped by a reader that does not read */
static void send_until_stopped(Fixture *f, size_t total)
{
    size_t before;

    do {
        before = f->sent;
        hypervisor_send(f, total - f->sent);
        settle();
    } while (f->sent != before);
}

/* A reader that does not read stops the sender, and loses nothing by it */
static void test_slow_reader(Fixture *f, gconstpointer data)
{
    const size_t total = much();
    size_t pos = 0;
    int reader;

    open_socket(f);
    reader = reader_connect(f);
    connect_console(f);
    send_until_stopped(f, total);
    g_assert_cmpint(f->sent, <, 4 * MiB);
    g_assert_cmpint(nitro_console_bytes(f->con), <, f->sent);

    while (pos < total) {
        hypervisor_send(f, total - f->sent);
        pos = reader_read_some(reader, pos);
        main_loop_wait(true);
    }
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_file(f->log_path, total);
    g_assert_cmpint(nitro_console_dropped(f->con), ==, 0);
    g_assert_cmpint(f->nr_told, ==, 0);
    close(reader);
}

/* The other policy: the hypervisor never waits, what is lost is counted */
static void test_drop_oldest(Fixture *f, gconstpointer data)
{
    const size_t total = much();
    size_t got = 0;
    ssize_t len;
    char buf[4096];
    int reader;

    open_socket_policy(f, NITRO_CONSOLE_OVERFLOW_DROP_OLDEST);
    reader = reader_connect(f);
    connect_console(f);
    hypervisor_send_all(f, total);
    wait_until(nitro_console_bytes(f->con) == total);
    g_assert_cmpint(nitro_console_dropped(f->con), >, total / 2);
    g_assert_cmpint(f->nr_told, ==, 1);
    enclave_ends(f);
    g_assert_cmpint(f->nr_closed, ==, 0);
    while (!f->nr_closed) {
        main_loop_wait(true);
        while ((len = read(reader, buf, sizeof(buf))) > 0) {
            got += len;
        }
    }
    while ((len = read(reader, buf, sizeof(buf))) > 0) {
        got += len;
    }
    g_assert_cmpint(got + nitro_console_dropped(f->con), ==, total);
    assert_file(f->log_path, total);
    close(reader);
}

/* Whatever becomes of it in the character device, its log gets it all */
static void assert_all_logged(Fixture *f)
{
    connect_console(f);
    hypervisor_send_all(f, 1 * MiB);
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
    connect_console(f);
    wait_until((hypervisor_send(f, 100000 - f->sent),
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
    close(reader_connect_stuck(f));
    hypervisor_send_all(f, 4 * MiB);
    enclave_ends(f);
    wait_until(f->nr_closed);
    g_assert_cmpint(nitro_console_bytes(f->con), ==, f->sent);
}

static void test_ringbuf(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;

    open_chardev(f, "ringbuf,size=4096");
    connect_console(f);
    g_assert_cmpint(write(f->hypervisor, "Linux version\nbooted\n", 21),
                    ==, 21);
    wait_until(nitro_console_bytes(f->con) == 21);
    text = qmp_ringbuf_read("con", 100, false, 0, &error_abort);
    g_assert_cmpstr(text, ==, "Linux version\nbooted\n");
    hypervisor_send_all(f, 1 * MiB);
    wait_until(nitro_console_bytes(f->con) == 21 + 1 * MiB);
    g_assert_cmpint(nitro_console_dropped(f->con), ==, 0);
}

/* Nobody was there for the whole life of the enclave */
static void test_late_reader(Fixture *f, gconstpointer data)
{
    size_t total = 10 * CONSOLE_BACKLOG + 5, pos = total - CONSOLE_BACKLOG;
    int reader;

    open_socket(f);
    connect_console(f);
    hypervisor_send_all(f, total);
    wait_until(nitro_console_bytes(f->con) == total);
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_state(f, "closed");
    g_assert_cmpint(nitro_console_dropped(f->con), ==, pos);
    g_assert_cmpint(f->nr_told, ==, 1);

    reader = reader_connect(f);
    wait_until((pos = stream_read(reader, pos), pos == total));
    wait_until(nitro_console_state(f->con) ==
               NITRO_ENCLAVE_CONSOLE_STATE_CLOSED);
    close(reader);
}

/* An idle console wakes nobody */
static void test_idle(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_console(f);
    hypervisor_send_all(f, 100);
    wait_until(nitro_console_bytes(f->con) == 100);
    settle();
    for (int i = 0; i < 100; i++) {
        g_assert(!g_main_context_iteration(NULL, FALSE));
    }
}

int main(int argc, char **argv)
{
    stream_test_init(&argc, &argv);

    ADD("file", set_up_listening, test_file);
    ADD("retry", set_up, test_retry);
    ADD("give-up", set_up, test_give_up);
    ADD("slow-reader", set_up_listening, test_slow_reader);
    ADD("drop-oldest", set_up_listening, test_drop_oldest);
    ADD("late-reader", set_up_listening, test_late_reader);
    ADD("pty-unread", set_up_listening, test_pty_unread);
    ADD("pty-read", set_up_listening, test_pty_read);
    ADD("socket-unread", set_up_listening, test_socket_unread);
    ADD("reader-leaves", set_up_listening, test_reader_leaves);
    ADD("ringbuf", set_up_listening, test_ringbuf);
    ADD("idle", set_up_listening, test_idle);
    add_console_end_tests();
    return g_test_run();
}
