/*
 * Nitro Enclaves accelerator: heartbeat and console in a whole launch
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * DIR/9000 is where the heartbeat is waited for, DIR/0-10016 where the console
 * of CID 16 is looked for.
 */
#include "qemu/osdep.h"
#include "nitro-accel-util.h"

static void test_heartbeat(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    assert_state(run, "started");
    g_assert_cmpint(get_number(run, "boot-time"), ==, 0);
    g_usleep(2000);
    send_heartbeat(run);
    assert_state(run, "booted");
    g_assert_cmpint(get_number(run, "boot-time"), >, 0);
    run_quit(run);
}

static void test_foreign_heartbeat(void)
{
    Run *run = run_new();
    char byte = '\xb7';
    int fd;

    g_setenv("NE_FAKE_PEER_CID", "17", true);
    run_start(run, NITRO, "");
    fd = peer_connect(run, "9000");
    /* QEMU may have closed it already */
    send(fd, &byte, 1, MSG_NOSIGNAL);
    g_assert_cmpint(read(fd, &byte, 1), <=, 0);
    close(fd);
    assert_state(run, "started");
    run_quit(run);
}

/* The enclave's last words arrive, although QEMU ends with it */
static void test_console(void)
{
    Run *run = run_new();
    g_autofree char *more = NULL;
    g_autofree char *file = g_build_filename(run->dir, "console", NULL);
    g_autofree char *text = NULL;
    g_autofree char *block = g_strnfill(256 * 1024, 'x');
    int listener = peer_listen(run, "0-10016");
    int fd;

    more = g_strdup_printf("-chardev file,id=con,path=%s "
                           "-device nitro-serial-vsock,chardev=con", file);
    run_start(run, NITRO ",debug-mode=on", more);
    fd = accept(listener, NULL, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(listener);
    g_assert_cmpint(write(fd, "hello\n", 6), ==, 6);
    g_assert_cmpint(write(fd, block, strlen(block)), ==, strlen(block));
    end_enclave(run);
    wait_log(run, "\nend fd=");
    g_assert_cmpint(write(fd, "bye\n", 4), ==, 4);
    close(fd);
    qtest_set_expected_status(run->qts, 4);
    qtest_wait_qemu(run->qts);

    text = contents(file);
    g_assert_cmpuint(strlen(text), ==, 6 + 256 * 1024 + 4);
    g_assert(g_str_has_prefix(text, "hello\nxxx"));
    g_assert(g_str_has_suffix(text, "xxxbye\n"));
    run_quit(run);
}

/* A console that is never closed delays the end, but not for ever */
static void test_endless_console(void)
{
    Run *run = run_new();
    g_autofree char *more = NULL;
    int listener = peer_listen(run, "0-10016");
    int fd;

    more = g_strdup_printf("-chardev null,id=con "
                           "-device nitro-serial-vsock,chardev=con");
    run_start(run, NITRO ",debug-mode=on", more);
    fd = accept(listener, NULL, NULL);
    end_enclave(run);
    qtest_set_expected_status(run->qts, 4);
    qtest_wait_qemu(run->qts);
    close(fd);
    close(listener);
    run_quit(run);
}

void add_device_tests(void)
{
    qtest_add_func("/nitro/accel/heartbeat", test_heartbeat);
    qtest_add_func("/nitro/accel/foreign-heartbeat", test_foreign_heartbeat);
    qtest_add_func("/nitro/accel/console", test_console);
    qtest_add_func("/nitro/accel/endless-console", test_endless_console);
}
