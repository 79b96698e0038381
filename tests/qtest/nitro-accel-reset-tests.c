/*
 * Nitro Enclaves accelerator: a reset launches the enclave again
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver that is a model takes donated memory away: a QEMU that looks at
 * it, or loads the image before it is back, ends by SIGSEGV.
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "nitro-accel-util.h"
#include "tests/nitro/patience.h"

#define RESTARTED(cid) STARTED "close\n" PREPARED \
    "START_ENCLAVE ret=0 cid=" cid " flags=0\n"

static void reset(Run *run)
{
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_reset'}");
}

static QDict *query(Run *run)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'query-nitro-enclave'}");
    QDict *info = qdict_get_qdict(reply, "return");

    g_assert_nonnull(info);
    qobject_ref(info);
    qobject_unref(reply);
    return info;
}

static void assert_launches(Run *run, unsigned count)
{
    QDict *info = query(run);

    g_assert_cmpint(qdict_get_int(info, "launches"), ==, count);
    g_assert(!qdict_get_bool(info, "launch-due"));
    qobject_unref(info);
}

/* The enclave's life ends for this reason */
static void wait_exited(Run *run, const char *cause)
{
    QDict *event = qtest_qmp_eventwait_ref(run->qts, "NITRO_ENCLAVE_EXITED");
    QDict *data = qdict_get_qdict(event, "data");

    g_assert_cmpstr(qdict_get_str(data, "cause"), ==, cause);
    qobject_unref(event);
}

/* Both events of the new life, and nothing left of the old one */
static void test_started(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    reset(run);
    wait_exited(run, "reset");
    qtest_qmp_eventwait(run->qts, "RESET");
    qtest_qmp_eventwait(run->qts, "NITRO_ENCLAVE_STARTED");
    assert_log(run, RESTARTED("17"));
    assert_state(run, "started");
    assert_runstate(run, "running");
    assert_launches(run, 2);
    g_assert_cmpint(get_cid(run), ==, 17);
    run_quit(run);
}

static void test_booted(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    for (unsigned i = 1; i <= 3; i++) {
        wait_starts(run, i);
        assert_state(run, "started");
        assert_heartbeat(run, "listening");
        send_heartbeat(run);
        assert_state(run, "booted");
        reset(run);
        wait_exited(run, "reset");
    }
    wait_starts(run, 4);
    g_assert_cmpint(get_number(run, "boot-time"), ==, 0);
    run_quit(run);
}

static void test_chosen_cid(void)
{
    Run *run = run_new();

    run_start(run, NITRO ",enclave-cid=4711,cpus=2-3", "");
    reset(run);
    wait_starts(run, 2);
    assert_log(run, PREPARED "START_ENCLAVE ret=0 cid=4711 flags=0\n"
               "close\n" PREPARED "START_ENCLAVE ret=0 cid=4711 flags=0\n");
    run_quit(run);
}

/* -S: there is nothing to end yet */
static void test_prepared(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-S");
    reset(run);
    qtest_qmp_eventwait(run->qts, "RESET");
    assert_state(run, "prepared");
    assert_log(run, PREPARED);
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    wait_state(run, "started");
    assert_log(run, STARTED);
    assert_launches(run, 1);
    run_quit(run);
}

static void test_port_wait(void)
{
    Run *run = run_new();
    g_autofree char *port = g_build_filename(run->dir, "9000", NULL);
    int listener = peer_listen(run, "9000");

    run_start(run, NITRO, "");
    wait_said(run, "vsock port 9000 is taken");
    reset(run);
    qtest_qmp_eventwait(run->qts, "RESET");
    assert_state(run, "prepared");
    close(listener);
    unlink(port);
    wait_starts(run, 1);
    assert_log(run, STARTED);
    send_heartbeat(run);
    run_quit(run);
}

static void assert_relaunch(Run *run)
{
    reset(run);
    qtest_qmp_eventwait(run->qts, "RESET");
    assert_runstate(run, "prelaunch");
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    wait_starts(run, 2);
    send_heartbeat(run);
    assert_state(run, "booted");
    assert_runstate(run, "running");
    assert_launches(run, 2);
}

/* The guest panicked, QEMU stays */
static void test_crash(const void *action)
{
    Run *run = run_new();

    run_start(run, NITRO, action);
    end_enclave_with(run, 16);
    wait_panic(run, "pause");
    assert_relaunch(run);
    run_quit(run);
}

static void test_end(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-no-shutdown");
    send_heartbeat(run);
    end_enclave_with(run, 16);
    wait_shutdown(run, "guest-shutdown");
    assert_relaunch(run);
    run_quit(run);
}

/* A status of the life before says nothing about this one */
static void test_deadline(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-no-shutdown -global nitro-heartbeat.timeout=1");
    wait_shutdown(run, "host-error");
    reset(run);
    qtest_qmp_eventwait(run->qts, "RESET");
    wait_state(run, "prepared");
    assert_runstate(run, "prelaunch");
    qtest_qmp_assert_success(run->qts, "{'execute': 'quit'}");
    assert_ends(run, 0);
    run_quit(run);
}

/* The second finds the first one's work under way, or done */
static void test_twice(void)
{
    Run *run = run_new();

    hold_close(run);
    run_start(run, NITRO, "");
    reset(run);
    reset(run);
    wait_exited(run, "reset");
    reset(run);
    assert_state(run, "exited");
    let_go_on(run);
    wait_starts(run, 2);
    assert_log(run, RESTARTED("17"));
    run_quit(run);
}

static void test_no_reboot(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-no-reboot");
    reset(run);
    wait_shutdown(run, "host-qmp-system-reset");
    assert_ends(run, 0);
    assert_log(run, STARTED "close\n");
    run_quit(run);
}

/* What QEMU has of the machine that it runs on */
typedef struct Footprint {
    unsigned fds;
    unsigned threads;
    unsigned rss_kib;
} Footprint;

static unsigned count_entries(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned count = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        count++;
    }
    g_dir_close(dir);
    return count;
}

static Footprint footprint(Run *run)
{
    int pid = qtest_pid(run->qts);
    g_autofree char *fds = g_strdup_printf("/proc/%d/fd", pid);
    g_autofree char *threads = g_strdup_printf("/proc/%d/task", pid);
    g_autofree char *status = g_strdup_printf("/proc/%d/status", pid);
    g_autofree char *text = contents(status);
    const char *rss = strstr(text, "\nVmRSS:");

    g_assert_nonnull(rss);
    return (Footprint) {
        .fds = count_entries(fds),
        .threads = count_entries(threads),
        .rss_kib = atoi(rss + strlen("\nVmRSS:")),
    };
}

static bool no_more(const Footprint *a, const Footprint *b)
{
    return a->fds <= b->fds && a->threads <= b->threads;
}

/* Threads that close or watch an enclave end a moment after it */
static Footprint settled(Run *run, const Footprint *expected)
{
    Footprint now;

    poll_until((now = footprint(run), no_more(&now, expected)));
    return now;
}

static void reset_many(Run *run, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        reset(run);
        qtest_qmp_eventwait(run->qts, "NITRO_ENCLAVE_STARTED");
    }
}

static void test_many(void)
{
    Run *run = run_new();
    Footprint before, after;

    /* As many as one enclave needs: none may be kept */
    g_setenv("NE_FAKE_POOL", "1:2", true);
    run_start(run, NITRO ",debug-mode=on", "-serial null");
    /* The first ones fill caches */
    reset_many(run, 10);
    before = footprint(run);
    reset_many(run, 100);
    after = settled(run, &before);
    g_assert_cmpuint(after.fds, <=, before.fds);
    g_assert_cmpuint(after.threads, <=, before.threads);
#if !defined(QEMU_SANITIZE_ADDRESS) /* which keeps what is freed for a while */
    g_assert_cmpuint(after.rss_kib, <, before.rss_kib + 4096);
#endif
    assert_launches(run, 111);
    send_heartbeat(run);
    run_quit(run);
}

/* The image */

/* Its name may mean something else, or nothing, by now */
static void test_replaced_image(const void *replace)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    unlink(run->kernel);
    if (replace) {
        g_assert(g_file_set_contents(run->kernel, "no kernel", -1, NULL));
    }
    reset(run);
    wait_starts(run, 2);
    assert_state(run, "started");
    run_quit(run);
}

static void fails_to_load(Run *run, const char *message)
{
    QDict *event;

    reset(run);
    wait_exited(run, "reset");
    event = qtest_qmp_eventwait_ref(run->qts, "NITRO_ENCLAVE_EXITED");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(event, "data"), "cause"),
                    ==, "start-failed");
    qobject_unref(event);
    wait_shutdown(run, "host-error");
    assert_ends(run, 1);
    assert_said(run, "cannot load the image again: ");
    assert_said(run, message);
    assert_log(run, STARTED "close\nCREATE_VM ret=0\n"
               "GET_IMAGE_LOAD_INFO ret=0\nclose\n");
    run_quit(run);
}

static void test_changed_image(void)
{
    Run *run = run_new();
    int fd;

    run_start(run, NITRO, "");
    fd = open(run->kernel, O_WRONLY);
    g_assert_cmpint(pwrite(fd, "changed", 7, 4096), ==, 7);
    close(fd);
    fails_to_load(run, "the image has changed since the first launch: ");
}

static void test_cut_image(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    g_assert_cmpint(truncate(run->kernel, 6000), ==, 0);
    fails_to_load(run, "the image has changed since the first launch: ");
}

/* The driver */

static void test_fails(void)
{
    Run *run = run_new();

    g_setenv("NE_FAKE_FAIL", "0x20:2:110", true);
    run_start(run, NITRO, "");
    reset(run);
    wait_exited(run, "reset");
    wait_exited(run, "start-failed");
    wait_shutdown(run, "host-error");
    assert_ends(run, 3);
    assert_said(run, "cannot create an enclave: the hypervisor did not answer");
    assert_log(run, STARTED "close\nCREATE_VM ret=-110\n");
    run_quit(run);
}

/* QEMU stays, says why, and may try once more */
static void test_fails_no_shutdown(void)
{
    Run *run = run_new();
    QDict *info;

    g_setenv("NE_FAKE_FAIL", "0x24:2:22:1", true);
    run_start(run, NITRO, "-no-shutdown");
    reset(run);
    wait_shutdown(run, "host-error");
    assert_state(run, "exited");
    info = query(run);
    g_assert_cmpstr(qdict_get_str(info, "exit-cause"), ==, "start-failed");
    g_assert_nonnull(strstr(qdict_get_str(info, "exit-error"),
                            "cannot start the enclave"));
    g_assert(!qdict_get_bool(info, "launch-due"));
    qobject_unref(info);
    assert_relaunch(run);
    qtest_qmp_assert_success(run->qts, "{'execute': 'quit'}");
    assert_ends(run, 0);
    run_quit(run);
}

/* What an enclave had is not free at once */
static void test_busy(const void *fail)
{
    Run *run = run_new();

    g_setenv("NE_FAKE_FAIL", fail, true);
    run_start(run, NITRO, "");
    wait_starts(run, 1);
    reset(run);
    wait_starts(run, 2);
    assert_state(run, "started");
    assert_launches(run, 2);
    run_quit(run);
}

static void test_slow_close(void)
{
    Run *run = run_new();

    hold_close(run);
    run_start(run, NITRO, "");
    reset(run);
    wait_said(run, "the driver has not freed the enclave with CID 16 yet, "
              "after 1.0 s: it is launched again when its memory is back");
    assert_state(run, "exited");
    let_go_on(run);
    wait_starts(run, 2);
    assert_log(run, RESTARTED("17"));
    run_quit(run);
}

/* "stop" is possible while there is no enclave, and "cont" then goes on */
static void test_stop(void)
{
    Run *run = run_new();

    hold_close(run);
    run_start(run, NITRO, "");
    reset(run);
    wait_exited(run, "reset");
    qtest_qmp_assert_success(run->qts, "{'execute': 'stop'}");
    let_go_on(run);
    wait_state(run, "prepared");
    assert_log(run, STARTED "close\n" PREPARED);
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    wait_state(run, "started");
    assert_log(run, RESTARTED("17"));
    run_quit(run);
}

/* The old enclave is being closed, there is no new one yet */
static void test_signal(void)
{
    Run *run = run_new();

    hold_close(run);
    run_start(run, NITRO, "");
    reset(run);
    wait_exited(run, "reset");
    kill(qtest_pid(run->qts), SIGTERM);
    wait_shutdown(run, "host-signal");
    let_go_on(run);
    assert_ends(run, 0);
    assert_log(run, STARTED "close\n");
    run_quit(run);
}

static void add_driver_tests(void)
{
    qtest_add_func("/nitro/accel/reset/fails", test_fails);
    qtest_add_func("/nitro/accel/reset/fails/no-shutdown",
                   test_fails_no_shutdown);
    qtest_add_data_func("/nitro/accel/reset/busy/first-create",
                        "0x20:1:272:3", test_busy);
    qtest_add_data_func("/nitro/accel/reset/busy/first-vcpu", "0x21:2:16:3",
                        test_busy);
    qtest_add_data_func("/nitro/accel/reset/busy/create", "0x20:2:272:3",
                        test_busy);
    qtest_add_data_func("/nitro/accel/reset/busy/slot", "0x20:2:16:3",
                        test_busy);
    qtest_add_data_func("/nitro/accel/reset/busy/vcpu", "0x21:4:272:3",
                        test_busy);
    qtest_add_func("/nitro/accel/reset/slow-close", test_slow_close);
    qtest_add_func("/nitro/accel/reset/stop", test_stop);
    qtest_add_func("/nitro/accel/reset/signal", test_signal);
}

void add_reset_tests(void)
{
    qtest_add_func("/nitro/accel/reset/started", test_started);
    qtest_add_func("/nitro/accel/reset/booted", test_booted);
    qtest_add_func("/nitro/accel/reset/chosen-cid", test_chosen_cid);
    qtest_add_func("/nitro/accel/reset/prepared", test_prepared);
    qtest_add_func("/nitro/accel/reset/port-wait", test_port_wait);
    qtest_add_data_func("/nitro/accel/reset/crash/pause",
                        "-action panic=pause", test_crash);
    qtest_add_data_func("/nitro/accel/reset/crash/no-shutdown",
                        "-no-shutdown", test_crash);
    qtest_add_func("/nitro/accel/reset/end", test_end);
    qtest_add_func("/nitro/accel/reset/deadline", test_deadline);
    qtest_add_func("/nitro/accel/reset/twice", test_twice);
    qtest_add_func("/nitro/accel/reset/no-reboot", test_no_reboot);
    qtest_add_func("/nitro/accel/reset/many", test_many);
    qtest_add_data_func("/nitro/accel/reset/image/unlinked", NULL,
                        test_replaced_image);
    qtest_add_data_func("/nitro/accel/reset/image/replaced", "",
                        test_replaced_image);
    qtest_add_func("/nitro/accel/reset/image/changed", test_changed_image);
    qtest_add_func("/nitro/accel/reset/image/cut", test_cut_image);
    add_driver_tests();
}
