/*
 * Nitro Enclaves: application channels in whole launches
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Always in production mode, which has no other way out of the enclave.
 */
#include "qemu/osdep.h"
#include "nitro-vsock-util.h"

/* DIR/NAME as a character device of this name */
static char *chardev(Run *run, const char *name)
{
    return g_strdup_printf(" -chardev socket,id=%s,path=%s/%s,server=on,"
                           "wait=off", name, run->dir, name);
}

/* One device, in front of a character device "app" */
static void start_with(Run *run, const char *accel, const char *properties)
{
    g_autofree char *app = chardev(run, "app");
    g_autofree char *more = NULL;

    more = g_strdup_printf("%s -device nitro-vsock-chardev,id=ch0,"
                           "chardev=app,%s", app, properties);
    run_start(run, accel, more);
}

static void start(Run *run, const char *properties)
{
    start_with(run, NITRO, properties);
}

static QDict *channel(Run *run, unsigned index, QDict **reply)
{
    QDict *info;
    const QListEntry *entry;

    *reply = vsock_query(run, &info);
    entry = qlist_first(qdict_get_qlist(info, "channels"));
    while (index--) {
        entry = qlist_next(entry);
    }
    return qobject_to(QDict, qlist_entry_obj(entry));
}

static char *text_of(Run *run, unsigned index, const char *member)
{
    QDict *reply, *info = channel(run, index, &reply);
    char *text = g_strdup(qdict_get_try_str(info, member));

    qobject_unref(reply);
    return text;
}

static int64_t number_of(Run *run, unsigned index, const char *member)
{
    QDict *reply, *info = channel(run, index, &reply);
    int64_t value = qdict_get_int(info, member);

    qobject_unref(reply);
    return value;
}

static bool in_state(Run *run, unsigned index, const char *expected)
{
    g_autofree char *state = text_of(run, index, "state");

    return g_str_equal(state, expected);
}

static void assert_text(Run *run, unsigned index, const char *member,
                        const char *expected)
{
    g_autofree char *text = text_of(run, index, member);

    g_assert_cmpstr(text, ==, expected);
}

static void test_connect(void)
{
    Run *run = run_new();
    int listener = peer_listen(run, "16-5005");
    g_autofree char *text = NULL;
    int client, enclave;

    start(run, "port=5005");
    assert_text(run, 0, "id", "ch0");
    assert_text(run, 0, "chardev", "app");
    assert_text(run, 0, "direction", "connect");
    assert_text(run, 0, "state", "waiting");
    assert_text(run, 0, "error", NULL);
    g_assert_cmpint(number_of(run, 0, "port"), ==, 5005);
    g_assert_cmpint(number_of(run, 0, "connections"), ==, 0);

    client = peer_connect(run, "app");
    enclave = accept(listener, NULL, NULL);
    send_pattern(client, 0, 1000);
    read_pattern(enclave, 0, 1000);
    send_pattern(enclave, 0, 100000);
    read_pattern(client, 0, 100000);
    poll_until(number_of(run, 0, "sent") == 1000);
    g_assert_cmpint(number_of(run, 0, "received"), ==, 100000);
    text = qtest_hmp(run->qts, "info nitro");
    g_assert_nonnull(strstr(text, "channel: open, connect port 5005, 100000 "
                            "bytes received, 1000 sent, 1 connections "
                            "(ch0)\r\n"));

    /* The service ends this stream; the client sees that, the next is served */
    close(enclave);
    assert_end(client);
    close(client);
    poll_until(in_state(run, 0, "waiting"));
    client = peer_connect(run, "app");
    enclave = accept(listener, NULL, NULL);
    poll_until(number_of(run, 0, "connections") == 2);
    close(client);
    assert_end(enclave);
    close(enclave);
    close(listener);
    run_quit(run);
}

static void test_listen(void)
{
    Run *run = run_new();
    int client, enclave;

    start(run, "port=5006,direction=listen");
    assert_text(run, 0, "direction", "listen");
    assert_text(run, 0, "state", "listening");
    enclave = peer_connect(run, "5006");
    send_pattern(enclave, 0, 30000);
    poll_until(in_state(run, 0, "open"));
    client = peer_connect(run, "app");
    read_pattern(client, 0, 30000);
    send_pattern(client, 0, 100);
    read_pattern(enclave, 0, 100);
    close(client);
    assert_end(enclave);
    close(enclave);
    poll_until(in_state(run, 0, "listening"));
    run_quit(run);
}

/* Another enclave of this parent, or a program in it */
static void test_foreign(void)
{
    Run *run = run_new();
    int fd;

    g_setenv("NE_FAKE_PEER_CID", "17", true);
    start(run, "port=5006,direction=listen");
    fd = peer_connect(run, "5006");
    assert_end(fd);
    close(fd);
    assert_text(run, 0, "state", "listening");
    g_assert_cmpint(number_of(run, 0, "connections"), ==, 0);
    run_quit(run);
}

/* A sender that is faster than its reader waits, in both directions */
static void test_back_pressure(void)
{
    Run *run = run_new();
    int listener = peer_listen(run, "16-5005");
    int client, enclave;
    size_t sent;

    start(run, "port=5005");
    client = peer_connect(run, "app");
    enclave = accept(listener, NULL, NULL);
    sent = send_until_full(run, enclave, 0, 64 * 1024 * 1024);
    g_assert_cmpint(sent, <, 16 * 1024 * 1024);
    read_pattern(client, 0, sent);
    sent = send_until_full(run, client, 0, 64 * 1024 * 1024);
    g_assert_cmpint(sent, <, 16 * 1024 * 1024);
    read_pattern(enclave, 0, sent);
    close(client);
    close(enclave);
    close(listener);
    run_quit(run);
}

static void test_several(void)
{
    Run *run = run_new();
    int listener = peer_listen(run, "16-5005");
    g_autofree char *control = chardev(run, "control");
    g_autofree char *more = NULL;
    g_autofree char *logged = NULL;
    g_autofree char *path = NULL;
    int client, enclave, log;

    more = g_strdup_printf("%s -chardev file,id=log,path=%s/app.log "
                           "-device nitro-vsock-chardev,chardev=control,"
                           "port=5005 -device nitro-vsock-chardev,chardev=log,"
                           "port=5006,direction=listen", control, run->dir);
    run_start(run, NITRO, more);
    client = peer_connect(run, "control");
    enclave = accept(listener, NULL, NULL);
    log = peer_connect(run, "5006");
    send_pattern(client, 0, 10);
    read_pattern(enclave, 0, 10);
    g_assert_cmpint(write(log, "booted\n", 7), ==, 7);
    poll_until(number_of(run, 1, "received") == 7);
    assert_text(run, 0, "chardev", "control");
    assert_text(run, 1, "chardev", "log");
    assert_text(run, 1, "id", NULL);

    /* The last words are in the file when QEMU has ended with the enclave */
    send_heartbeat(run);
    assert_state(run, "booted");
    g_assert_cmpint(write(log, "bye\n", 4), ==, 4);
    close(log);
    close(enclave);
    end_enclave(run);
    qtest_wait_qemu(run->qts);
    path = g_build_filename(run->dir, "app.log", NULL);
    logged = contents(path);
    g_assert_cmpstr(logged, ==, "booted\nbye\n");
    close(client);
    close(listener);
    run_quit(run);
}

/* Each launch has its channels */
static void test_reset(void)
{
    Run *run = run_new();
    int listener = peer_listen(run, "16-5005");

    start_with(run, NITRO ",enclave-cid=16", "port=5005");
    for (int i = 0; i < 3; i++) {
        int client = peer_connect(run, "app");
        int enclave = accept(listener, NULL, NULL);

        send_pattern(client, 0, 1000);
        read_pattern(enclave, 0, 1000);
        send_pattern(enclave, 0, 1000);
        read_pattern(client, 0, 1000);
        poll_until(number_of(run, 0, "sent") == 1000);
        g_assert_cmpint(number_of(run, 0, "connections"), ==, 1);
        qtest_qmp_assert_success(run->qts, "{'execute': 'system_reset'}");
        assert_end(enclave);
        assert_end(client);
        close(enclave);
        close(client);
        poll_until(in_state(run, 0, "waiting") &&
                   number_of(run, 0, "connections") == 0);
    }
    close(listener);
    run_quit(run);
}

static void test_reset_listen(void)
{
    Run *run = run_new();

    start(run, "port=5006,direction=listen");
    for (int i = 0; i < 3; i++) {
        int client = peer_connect(run, "app");
        int enclave = peer_connect(run, "5006");

        send_pattern(enclave, 0, 1000);
        read_pattern(client, 0, 1000);
        qtest_qmp_assert_success(run->qts, "{'execute': 'system_reset'}");
        assert_end(enclave);
        assert_end(client);
        close(enclave);
        close(client);
        poll_until(in_state(run, 0, "listening") &&
                   number_of(run, 0, "connections") == 0);
    }
    run_quit(run);
}

static void test_timeout(void)
{
    Run *run = run_new();
    g_autofree char *error = NULL;

    run_start(run, NITRO, "-chardev null,id=app -device nitro-vsock-chardev,"
              "chardev=app,port=5005,connect-timeout=1");
    poll_until(in_state(run, 0, "closed"));
    error = text_of(run, 0, "error");
    g_assert_nonnull(error);
    assert_said(run, "no connection to vsock port 5005 of the enclave within "
                "1 s: ");
    assert_said(run, error);
    assert_state(run, "started");
    run_quit(run);
}

static void test_port_taken(void)
{
    Run *run = run_new();
    int other = peer_listen(run, "5006");

    run_to_end(run, NITRO, "-chardev null,id=app -device nitro-vsock-chardev,"
               "chardev=app,port=5006,direction=listen", 1);
    assert_said(run, "nitro-vsock-chardev: cannot listen on vsock port 5006: ");
    assert_said(run, strerror(EADDRINUSE));
    assert_said(run, "or use another port=PORT");
    close(other);
    run_free(run);
}

void add_channel_tests(void)
{
    qtest_add_func("/nitro/vsock/channel/connect", test_connect);
    qtest_add_func("/nitro/vsock/channel/listen", test_listen);
    qtest_add_func("/nitro/vsock/channel/foreign", test_foreign);
    qtest_add_func("/nitro/vsock/channel/back-pressure", test_back_pressure);
    qtest_add_func("/nitro/vsock/channel/several", test_several);
    qtest_add_func("/nitro/vsock/channel/reset", test_reset);
    qtest_add_func("/nitro/vsock/channel/reset-listen", test_reset_listen);
    qtest_add_func("/nitro/vsock/channel/timeout", test_timeout);
    qtest_add_func("/nitro/vsock/channel/port-taken", test_port_taken);
}
