/*
 * Nitro Enclaves: agent device in whole launches
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is the init: it connects to DIR/PORT and speaks the protocol.
 */
#include "qemu/osdep.h"
#include "nitro-vsock-util.h"

#define ENCLAVE NITRO ",enclave-cid=16"
/* 65536 * 9001 + 16 */
#define PORT "589889552"

#define HELLO "\1\0\0\0" "\0\0\0\4" "\0\1\0\1"
#define RUNNING "\2\0\0\0" "\0\0\0\5" "\1\0\0\0\0"
#define EXITED(status) "\2\0\0\0" "\0\0\0\5" "\2\0\0\0" status
#define SIGNALLED(number) "\2\0\0\0" "\0\0\0\5" "\3\0\0\0" number
#define STDOUT "\3\0\0\0" "\0\0\0\14" "\0\0\0\0\0\0\0\0" "\1" "on\n"
#define LATER "\3\0\0\0" "\0\0\0\14" "\0\0\0\0\0\0\0\24" "\1" "on\n"
#define STDERR "\3\0\0\0" "\0\0\0\15" "\0\0\0\0\0\0\0\3" "\2" "two\n"
#define GO "\23\0\0\0" "\0\0\0\0"
#define STOP "\24\0\0\0" "\0\0\0\0"
#define TAKEN(n) "\26\0\0\0" "\0\0\0\10" "\0\0\0\0\0\0\0" n
#define END "\27\0\0\0" "\0\0\0\0"

#define SEND(fd, bytes)                                                     \
    g_assert_cmpint(write(fd, bytes, sizeof(bytes) - 1), ==,                \
                    sizeof(bytes) - 1)
#define EXPECT(fd, bytes) expect(fd, bytes, sizeof(bytes) - 1)

static void expect(int fd, const char *bytes, size_t len)
{
    g_autofree uint8_t *got = g_malloc(len);

    read_all(fd, got, len);
    g_assert_cmpmem(got, len, bytes, len);
}

/* A launch whose init has a connection and runs a program */
static int start(Run *run, const char *accel, const char *properties)
{
    g_autofree char *more = NULL;
    int fd;

    more = g_strdup_printf("-chardev file,id=out,path=%s/app.out "
                           "-chardev file,id=err,path=%s/app.err "
                           "-device nitro-agent,stdout=out,stderr=err%s",
                           run->dir, run->dir, properties);
    run_start(run, accel, more);
    fd = peer_connect(run, PORT);
    SEND(fd, HELLO RUNNING);
    EXPECT(fd, GO);
    return fd;
}

static QDict *application(Run *run, QDict **reply)
{
    QDict *info;

    *reply = vsock_query(run, &info);
    return qdict_get_qdict(info, "application");
}

static bool in_state(Run *run, const char *expected)
{
    QDict *reply, *info = application(run, &reply);
    bool right = g_str_equal(qdict_get_str(info, "state"), expected);

    qobject_unref(reply);
    return right;
}

static bool is_connected(Run *run)
{
    QDict *reply, *info = application(run, &reply);
    bool connected = qdict_get_bool(info, "connected");

    qobject_unref(reply);
    return connected;
}

static void assert_file(Run *run, const char *name, const char *expected)
{
    g_autofree char *path = g_build_filename(run->dir, name, NULL);
    g_autofree char *text = contents(path);

    g_assert_cmpstr(text, ==, expected);
}

/* QEMU ends with this status when the enclave ends */
static void end_with(Run *run, int fd, int status)
{
    qtest_set_expected_status(run->qts, status);
    close(fd);
    end_enclave(run);
    qtest_wait_qemu(run->qts);
    run_quit(run);
}

static void test_life(void)
{
    Run *run = run_new();
    int fd = start(run, ENCLAVE, ",exit-status=app");
    g_autofree char *text = NULL;
    QDict *reply, *event, *info;

    poll_until(in_state(run, "running"));
    SEND(fd, STDOUT STDERR EXITED("\7"));
    EXPECT(fd, TAKEN("\7") END);
    poll_until(in_state(run, "exited"));
    info = application(run, &reply);
    g_assert_cmpint(qdict_get_int(info, "status"), ==, 7);
    g_assert_cmpint(qdict_get_int(info, "stdout-bytes"), ==, 3);
    g_assert_cmpint(qdict_get_int(info, "stderr-bytes"), ==, 4);
    g_assert_true(qdict_get_bool(info, "connected"));
    qobject_unref(reply);
    text = qtest_hmp(run->qts, "info nitro");
    g_assert_nonnull(strstr(text, "application: exited with status 7, 3 bytes "
                            "of stdout, 4 of stderr, 0 dropped, "
                            "1 connections\r\n"));
    assert_file(run, "app.out", "on\n");
    assert_file(run, "app.err", "two\n");

    send_heartbeat(run);
    assert_state(run, "booted");
    qtest_set_expected_status(run->qts, 7);
    close(fd);
    end_enclave(run);
    event = qtest_qmp_eventwait_ref(run->qts, "NITRO_ENCLAVE_EXITED");
    info = qdict_get_qdict(qdict_get_qdict(event, "data"), "application");
    g_assert_cmpstr(qdict_get_str(info, "state"), ==, "exited");
    g_assert_cmpint(qdict_get_int(info, "status"), ==, 7);
    qobject_unref(event);
    qtest_wait_qemu(run->qts);
    assert_said(run, "has exited with status 7");
    run_quit(run);
}

/* What the enclave had to drop is not lost without a word */
static void test_missing(void)
{
    Run *run = run_new();
    int fd = start(run, ENCLAVE, ",exit-status=app");

    SEND(fd, STDOUT LATER EXITED("\0"));
    EXPECT(fd, TAKEN("\27") END);
    poll_until(in_state(run, "exited"));
    assert_said(run, "17 bytes of the program's output are missing: they came "
                "faster than the enclave with CID 16 could send them");
    send_heartbeat(run);
    assert_state(run, "booted");
    end_with(run, fd, 0);
}

/* The program is asked to end, and has more time than an enclave alone */
static void test_powerdown(void)
{
    Run *run = run_new();
    int fd = start(run, ENCLAVE, ",exit-status=app,stop-timeout=600");

    poll_until(in_state(run, "running"));
    send_heartbeat(run);
    assert_state(run, "booted");
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_powerdown'}");
    EXPECT(fd, STOP);
    assert_said(run, "has 600 s to end by itself");
    SEND(fd, SIGNALLED("\17"));
    EXPECT(fd, END);
    end_with(run, fd, 128 + 15);
}

/* A program that has no connection cannot be asked: as without the device */
static void test_powerdown_alone(void)
{
    Run *run = run_new();
    int fd = start(run, ENCLAVE, ",stop-timeout=600");

    close(fd);
    poll_until(!is_connected(run));
    send_heartbeat(run);
    assert_state(run, "booted");
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_powerdown'}");
    qtest_wait_qemu(run->qts);
    run_quit(run);
}

/* QEMU's own status, unless it was asked for the program's */
static void test_status_of_enclave(void)
{
    Run *run = run_new();
    int fd = start(run, ENCLAVE, "");

    SEND(fd, EXITED("\7"));
    EXPECT(fd, END);
    send_heartbeat(run);
    assert_state(run, "booted");
    end_with(run, fd, 0);
}

/* Each launch has its own program; other enclaves are refused */
static void test_reset(void)
{
    Run *run = run_new();
    int fd = start(run, ENCLAVE, ",exit-status=app");

    for (int i = 0; i < 2; i++) {
        SEND(fd, STDOUT EXITED("\7"));
        EXPECT(fd, TAKEN("\3") END);
        poll_until(in_state(run, "exited"));
        qtest_qmp_assert_success(run->qts, "{'execute': 'system_reset'}");
        assert_end(fd);
        close(fd);
        poll_until(in_state(run, "unknown"));
        fd = peer_connect(run, PORT);
        SEND(fd, HELLO RUNNING);
        EXPECT(fd, GO);
    }
    close(fd);
    run_quit(run);
}

static void test_foreign(void)
{
    Run *run = run_new();
    int fd;

    g_setenv("NE_FAKE_PEER_CID", "17", true);
    run_start(run, ENCLAVE, "-device nitro-agent");
    fd = peer_connect(run, PORT);
    assert_end(fd);
    close(fd);
    poll_until(in_state(run, "unknown"));
    run_quit(run);
}

/* A port without room for a CID behind it is the only one */
static void test_port(void)
{
    Run *run = run_new();
    int fd;

    run_start(run, ENCLAVE, "-device nitro-agent,port=65536");
    fd = peer_connect(run, "65536");
    SEND(fd, HELLO RUNNING);
    EXPECT(fd, GO);
    close(fd);
    run_quit(run);
}

/* The program runs all the same */
static void test_port_taken(void)
{
    Run *run = run_new();
    int other = peer_listen(run, PORT);

    run_start(run, ENCLAVE, "-device nitro-agent");
    assert_said(run, "nitro-agent: cannot listen on vsock port " PORT ": ");
    assert_said(run, "'agent PORT'");
    close(other);
    run_quit(run);
}

void add_agent_tests(void)
{
    qtest_add_func("/nitro/vsock/agent/life", test_life);
    qtest_add_func("/nitro/vsock/agent/missing", test_missing);
    qtest_add_func("/nitro/vsock/agent/powerdown", test_powerdown);
    qtest_add_func("/nitro/vsock/agent/powerdown-alone", test_powerdown_alone);
    qtest_add_func("/nitro/vsock/agent/status-of-enclave",
                   test_status_of_enclave);
    qtest_add_func("/nitro/vsock/agent/reset", test_reset);
    qtest_add_func("/nitro/vsock/agent/foreign", test_foreign);
    qtest_add_func("/nitro/vsock/agent/port", test_port);
    qtest_add_func("/nitro/vsock/agent/port-taken", test_port_taken);
}
