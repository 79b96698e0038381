/*
 * Nitro Enclaves: devices on the vsock bus in whole launches
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A driver that is a model and a vsock that consists of unix sockets are
 * preloaded: DIR/16-P is where port P of the enclave with CID 16 is looked
 * for, DIR/0-10016 its console, DIR/P what QEMU listens on at port P.
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "nitro-vsock-util.h"

/* A launch with a console, and the hypervisor's end of it */
typedef struct Console {
    Run *run;
    int listener;
    int peer;
} Console;

/* A console device with these properties; no chardev: a socket DIR/reader */
static void start_console(Console *con, const char *chardev,
                          const char *properties)
{
    g_autofree char *socket = NULL;
    g_autofree char *more = NULL;

    con->run = run_new();
    socket = g_strdup_printf("socket,path=%s/reader,server=on,wait=off",
                             con->run->dir);
    more = g_strdup_printf("-chardev %s,id=con -device nitro-serial-vsock,"
                           "chardev=con%s", chardev ?: socket, properties);
    con->listener = peer_listen(con->run, "0-10016");
    run_start(con->run, NITRO ",debug-mode=on", more);
    con->peer = accept(con->listener, NULL, NULL);
    g_assert_cmpint(con->peer, >=, 0);
}

static void end_console(Console *con)
{
    close(con->listener);
    close(con->peer);
    run_quit(con->run);
}

static int64_t console_number(Console *con, const char *member)
{
    QDict *info, *reply = vsock_query(con->run, &info);
    int64_t value = qdict_get_int(qdict_get_qdict(info, "console"), member);

    qobject_unref(reply);
    return value;
}

static void wait_console(Console *con, const char *member, int64_t expected)
{
    poll_until(console_number(con, member) == expected);
}

static void assert_ringbuf(Run *run, const char *expected)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'ringbuf-read', "
                             "'arguments': {'device': 'con', 'size': 4096}}");

    g_assert_cmpstr(qdict_get_try_str(reply, "return"), ==, expected);
    qobject_unref(reply);
}

static void assert_info(Run *run, const char *line)
{
    g_autofree char *text = qtest_hmp(run->qts, "info nitro");

    g_test_message("%s", text);
    g_assert_nonnull(strstr(text, line));
}

/* The hypervisor hangs up, the enclave runs on, its console comes back */
static void test_reconnect(void)
{
    Console con;
    QDict *info, *reply;

    start_console(&con, "ringbuf,size=4096", "");
    g_assert_cmpint(write(con.peer, "first\n", 6), ==, 6);
    wait_console(&con, "bytes", 6);
    g_assert_cmpint(console_number(&con, "reconnects"), ==, 0);
    close(con.peer);
    con.peer = accept(con.listener, NULL, NULL);
    wait_console(&con, "reconnects", 1);
    g_assert_cmpint(write(con.peer, "second\n", 7), ==, 7);
    wait_console(&con, "bytes", 13);
    assert_ringbuf(con.run, "first\nsecond\n");

    reply = vsock_query(con.run, &info);
    g_assert_false(qdict_haskey(qdict_get_qdict(info, "console"), "lost"));
    qobject_unref(reply);
    assert_info(con.run, "console: open, 13 bytes to con, 1 reconnects\r\n");
    assert_state(con.run, "started");
    end_console(&con);
}

/* What somebody gets who opens the console late */
static void test_late_reader(void)
{
    Console con;
    int reader;

    start_console(&con, NULL, ",backlog=8K");
    send_pattern(con.peer, 0, 100000);
    wait_console(&con, "bytes", 100000);
    g_assert_cmpint(console_number(&con, "dropped"), ==, 100000 - 8192);
    assert_info(con.run, "console: open, 100000 bytes to con, 91808 dropped");
    reader = peer_connect(con.run, "reader");
    read_pattern(reader, 100000 - 8192, 8192);
    send_pattern(con.peer, 100000, 50000);
    read_pattern(reader, 100000, 50000);
    g_assert_cmpint(console_number(&con, "dropped"), ==, 100000 - 8192);
    g_assert_cmpint(times_said(con.run, "console output for character device "
                               "'con' is dropped: nobody has it open"),
                    ==, 1);
    close(reader);
    end_console(&con);
}

/* A reader that stops: with this policy the hypervisor never has to wait */
static void test_drop_oldest(void)
{
    g_autofree uint8_t *got = g_malloc(4 * MiB);
    Console con;
    size_t kept;
    int reader;

    start_console(&con, NULL, ",overflow=drop-oldest");
    reader = peer_connect(con.run, "reader");
    poll_until(chardev_is_open(con.run, "con"));
    send_pattern(con.peer, 0, 4 * MiB);
    wait_console(&con, "bytes", 4 * MiB);
    kept = 4 * MiB - console_number(&con, "dropped");
    g_assert_cmpint(kept, <, 2 * MiB);
    read_all(reader, got, kept);
    assert_pattern(got, 0, kept - 64 * KiB);
    assert_pattern(got + kept - 64 * KiB, 4 * MiB - 64 * KiB, 64 * KiB);
    g_assert_cmpint(times_said(con.run, "is dropped: its reader is too slow"),
                    ==, 1);
    close(reader);
    end_console(&con);
}

/* The other policy: nothing is lost, and QEMU answers meanwhile */
static void test_block(void)
{
    Console con;
    size_t sent;
    int reader;

    start_console(&con, NULL, "");
    reader = peer_connect(con.run, "reader");
    poll_until(chardev_is_open(con.run, "con"));
    sent = send_until_full(con.run, con.peer, 0, 64 * MiB);
    g_assert_cmpint(sent, >, 64 * KiB);
    g_assert_cmpint(sent, <, 16 * MiB);
    assert_state(con.run, "started");
    read_pattern(reader, 0, sent);
    g_assert_cmpint(console_number(&con, "dropped"), ==, 0);
    close(reader);
    end_console(&con);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!run_prepare()) {
        return 0;
    }

    qtest_add_func("/nitro/vsock/console/reconnect", test_reconnect);
    qtest_add_func("/nitro/vsock/console/late-reader", test_late_reader);
    qtest_add_func("/nitro/vsock/console/drop-oldest", test_drop_oldest);
    qtest_add_func("/nitro/vsock/console/block", test_block);
    add_channel_tests();
    add_net_tests();
    add_agent_tests();
    return g_test_run();
}
