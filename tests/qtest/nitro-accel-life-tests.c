/*
 * Nitro Enclaves accelerator: how an enclave's life begins and ends
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The exit statuses are those of the table in docs/system/nitro-life.rst.
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "nitro-accel-util.h"

#define ENDED "enclave with CID 16 ended after "

/* Ends of an enclave by itself */

static void test_end(void)
{
    Run *run = run_new();
    g_autofree char *log = NULL;

    run_start(run, NITRO, "");
    send_heartbeat(run);
    end_enclave(run);
    wait_shutdown(run, "guest-shutdown");
    assert_ends(run, 0);
    assert_said(run, ENDED);
    assert_said(run, " s, booted after ");
    log = contents(run->log);
    g_assert(g_str_has_suffix(log, "\nclose\n"));
    run_quit(run);
}

static void test_end_no_shutdown(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-no-shutdown");
    send_heartbeat(run);
    end_enclave(run);
    wait_shutdown(run, "guest-shutdown");
    assert_state(run, "exited");
    assert_runstate(run, "shutdown");
    assert_qmp_error(run, "Resetting the Virtual Machine is required",
                     "{'execute': 'cont'}");
    run_quit(run);
}

/* Also an end that comes before NE_START_ENCLAVE has returned */
static void test_unbooted(const void *action)
{
    Run *run = run_new();

    end_enclave(run);
    run_to_end(run, NITRO, action, 4);
    assert_said(run, ENDED);
    assert_said(run, " s, before its heartbeat");
    run_free(run);
}

static void test_unbooted_pause(const void *action)
{
    Run *run = run_new();

    run_start(run, NITRO, action);
    end_enclave(run);
    wait_panic(run, "pause");
    assert_state(run, "exited");
    assert_runstate(run, "guest-panicked");
    assert_qmp_error(run, "the enclave has ended and cannot continue",
                     "{'execute': 'cont'}");
    run_quit(run);
}

static void test_unbooted_run(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-action panic=none");
    end_enclave(run);
    wait_panic(run, "run");
    wait_shutdown(run, "guest-panic");
    assert_ends(run, 4);
    run_quit(run);
}

/* Without a heartbeat nobody can tell whether it had booted */
static void test_end_without_heartbeat(void)
{
    Run *run = run_new();
    g_autofree char *err = NULL;

    end_enclave(run);
    run_to_end(run, NITRO, "-M nitro,heartbeat=off", 0);
    err = contents(run->err);
    g_assert_nonnull(strstr(err, ENDED));
    g_assert_null(strstr(err, "heartbeat"));
    run_free(run);
}

/* The heartbeat's time limit */

static void test_deadline(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-S -global nitro-heartbeat.timeout=1");
    run_continue(run);
    wait_shutdown(run, "host-error");
    assert_ends(run, 5);
    assert_said(run, "the enclave with CID 16 has sent no heartbeat for 1.0 s,"
                " ending it");
    assert_said(run, "-machine nitro,heartbeat=off");
    assert_said(run, ENDED);
    assert_log(run, STARTED "close\n");
    run_quit(run);
}

static void test_deadline_run(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-global nitro-heartbeat.timeout=1 "
              "-global nitro-heartbeat.timeout-action=run");
    wait_said(run, "has sent no heartbeat for 1.0 s\n");
    assert_state(run, "started");
    assert_heartbeat(run, "listening");
    send_heartbeat(run);
    assert_state(run, "booted");
    g_assert_cmpint(get_number(run, "boot-time"), >=, 1000);
    run_quit(run);
}

static void test_bad_deadline(void)
{
    Run *run = run_new();

    run_to_end(run, NITRO, "-global nitro-heartbeat.timeout=-2", 1);
    assert_said(run, "heartbeat: -2 s is not a time limit");
    run_free(run);
}

/* The port belongs to another launch */

#define TAKEN "vsock port 9000 is taken by another launch on this parent"

static void test_port_taken(void)
{
    Run *run = run_new();
    int listener = peer_listen(run, "9000");

    run_start(run, NITRO, "-S -global nitro-heartbeat.port-timeout=1");
    run_continue(run);
    wait_shutdown(run, "host-error");
    assert_ends(run, 1);
    assert_said(run, TAKEN ": waiting for it, up to 1 s");
    assert_said(run, "cannot listen on vsock port 9000: Address already in");
    assert_said(run, "port-timeout=SECONDS");
    assert_log(run, PREPARED "close\n");
    close(listener);
    run_quit(run);
}

static void test_port_no_wait(void)
{
    Run *run = run_new();
    int listener = peer_listen(run, "9000");

    run_to_end(run, NITRO, "-global nitro-heartbeat.port-timeout=0", 1);
    assert_said(run, "cannot listen on vsock port 9000: Address already in");
    assert_log(run, PREPARED "close\n");
    close(listener);
    run_free(run);
}

/* "stop" and "cont" meanwhile begin the wait anew */
static void test_port_wait(void)
{
    Run *run = run_new();
    g_autofree char *port = g_build_filename(run->dir, "9000", NULL);
    int listener = peer_listen(run, "9000");

    run_start(run, NITRO, "");
    wait_said(run, TAKEN);
    assert_state(run, "prepared");
    assert_heartbeat(run, "waiting");
    qtest_qmp_assert_success(run->qts, "{'execute': 'stop'}");
    assert_runstate(run, "paused");
    assert_heartbeat(run, "idle");
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    assert_heartbeat(run, "waiting");
    g_usleep(300000);
    assert_log(run, PREPARED);
    close(listener);
    unlink(port);
    wait_state(run, "started");
    assert_log(run, STARTED);
    send_heartbeat(run);
    run_quit(run);
}

static void test_port_wait_quit(void)
{
    Run *run = run_new();
    int listener = peer_listen(run, "9000");

    run_start(run, NITRO, "");
    wait_said(run, TAKEN);
    kill(qtest_pid(run->qts), SIGTERM);
    assert_ends(run, 0);
    assert_log(run, PREPARED "close\n");
    close(listener);
    run_quit(run);
}

/* Commands and signals */

static void test_stop(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    assert_qmp_error(run, "the enclave with CID 16 cannot be paused",
                     "{'execute': 'stop'}");
    assert_runstate(run, "running");
    send_heartbeat(run);
    assert_qmp_error(run, "cannot be paused", "{'execute': 'stop'}");
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    assert_log(run, STARTED);
    run_quit(run);
}

static void test_powerdown(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-no-shutdown");
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_powerdown'}");
    wait_shutdown(run, "guest-shutdown");
    /* QEMU stays, but the enclave does not */
    wait_log(run, "close\n");
    assert_state(run, "exited");
    assert_runstate(run, "shutdown");
    run_quit(run);
}

/* -S: there is nothing to end yet */
static void test_powerdown_prepared(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-S");
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_powerdown'}");
    wait_shutdown(run, "guest-shutdown");
    assert_ends(run, 0);
    assert_log(run, PREPARED "close\n");
    run_quit(run);
}

static void test_powerdown_grace(void)
{
    Run *run = run_new();
    int64_t start;

    run_start(run, NITRO ",powerdown-grace=1", "");
    start = g_get_monotonic_time();
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_powerdown'}");
    wait_shutdown(run, "guest-shutdown");
    /* QEMU counts in milliseconds, the first of which may be almost over */
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 999000);
    assert_ends(run, 0);
    assert_said(run, "enclave with CID 16 has 1 s to end by itself");
    assert_said(run, "enclave with CID 16 did not end within 1 s and is "
                "terminated; allow more with");
    assert_log(run, STARTED "close\n");
    run_quit(run);
}

static void test_powerdown_in_time(void)
{
    Run *run = run_new();

    run_start(run, NITRO ",powerdown-grace=600", "");
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_powerdown'}");
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_powerdown'}");
    assert_state(run, "started");
    end_enclave(run);
    wait_shutdown(run, "guest-shutdown");
    assert_ends(run, 0);
    run_quit(run);
}

static void test_signal(const void *number)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    kill(qtest_pid(run->qts), GPOINTER_TO_INT(number));
    assert_ends(run, 0);
    assert_log(run, STARTED "close\n");
    run_quit(run);
}

/* A driver that takes its time is told of, and QEMU does not wait for ever */
static void test_slow_close(void)
{
    Run *run = run_new();

    hold_close(run);
    run_start(run, NITRO, "");
    kill(qtest_pid(run->qts), SIGTERM);
    wait_said(run, "fake-ne: QEMU ends, an enclave is being closed");
    assert_said(run, "the driver has not freed the enclave with CID 16 yet");
    let_go_on(run);
    assert_ends(run, 0);
    run_quit(run);
}

/* Whatever others do, QEMU ends: these would keep it up for ever */

/* A monitor that asks a lot and reads nothing */
static int stuck_monitor(Run *run)
{
    static const char ask[] = "{'execute': 'qmp_capabilities'}"
        "{'execute': 'query-qmp-schema'}";
    int fd = peer_connect(run, "mon");

    g_assert_cmpint(fcntl(fd, F_SETFL, O_NONBLOCK), ==, 0);
    g_assert_cmpint(write(fd, ask, strlen(ask)), ==, strlen(ask));
    for (int i = 0; i < 100; i++) {
        if (write(fd, ask + 31, strlen(ask + 31)) < 0) {
            break;
        }
    }
    return fd;
}

static void test_stuck_monitor(const void *number)
{
    Run *run = run_new();
    g_autofree char *more = g_strdup_printf("-qmp unix:%s/mon,server=on,"
                                            "wait=off", run->dir);
    int fd;

    run_start(run, NITRO, more);
    send_heartbeat(run);
    fd = stuck_monitor(run);
    if (number) {
        kill(qtest_pid(run->qts), GPOINTER_TO_INT(number));
    } else {
        end_enclave(run);
    }
    assert_ends(run, 0);
    close(fd);
    run_quit(run);
}

/* A request that is taken from its socket before QEMU ends, handled after */
static void test_late_request(void)
{
    Run *run = run_new();
    g_autofree char *more = g_strdup_printf("-qmp unix:%s/mon,server=on,"
                                            "wait=off", run->dir);
    int fd;

    g_setenv("NE_FAKE_LATE", "!", true);
    run_start(run, NITRO, more);
    fd = peer_connect(run, "mon");
    g_assert_cmpint(write(fd, "!", 1), ==, 1);
    g_usleep(G_USEC_PER_SEC / 10);
    kill(qtest_pid(run->qts), SIGTERM);
    assert_ends(run, 0);
    close(fd);
    run_quit(run);
}

static void *flood(void *opaque)
{
    char block[4096] = { };

    while (send((intptr_t)opaque, block, sizeof(block), MSG_NOSIGNAL) > 0) {
        /* until nobody reads any more */
    }
    return NULL;
}

static void test_flood(const void *number)
{
    Run *run = run_new();
    int listener = peer_listen(run, "0-10016");
    GThread *writer;
    int fd;

    run_start(run, NITRO ",debug-mode=on", "-serial null");
    send_heartbeat(run);
    fd = accept(listener, NULL, NULL);
    writer = g_thread_new("flood", flood, (void *)(intptr_t)fd);
    if (number) {
        kill(qtest_pid(run->qts), GPOINTER_TO_INT(number));
    } else {
        end_enclave(run);
    }
    assert_ends(run, 0);
    g_thread_join(writer);
    close(fd);
    close(listener);
    run_quit(run);
}

/* The driver takes its time to start the enclave, the monitor does not */

static Run *start_held(const char *accel, const char *more)
{
    Run *run = run_new();
    g_autofree char *all = g_strconcat("-S ", more, NULL);

    hold_start(run);
    run_start(run, accel, all);
    run_continue(run);
    assert_state(run, "prepared");
    assert_runstate(run, "running");
    return run;
}

static void test_starting_stop(void)
{
    Run *run = start_held(NITRO, "");

    assert_qmp_error(run, "the enclave is being started and cannot be paused",
                     "{'execute': 'stop'}");
    assert_qmp_error(run, "enclave-cid cannot change any more: the enclave is",
                     "{'execute': 'qom-set', 'arguments': {'path': "
                     "'/machine/nitro', 'property': 'enclave-cid', "
                     "'value': 77}}");
    let_go_on(run);
    wait_state(run, "started");
    send_heartbeat(run);
    run_quit(run);
}

/* What comes while it is being started is not forgotten */
static void test_starting_reset(void)
{
    Run *run = start_held(NITRO, "");

    qtest_qmp_assert_success(run->qts, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(run->qts, "RESET");
    assert_state(run, "prepared");
    let_go_on(run);
    wait_starts(run, 2);
    assert_log(run, STARTED "close\n" PREPARED
               "START_ENCLAVE ret=0 cid=17 flags=0\n");
    send_heartbeat(run);
    run_quit(run);
}

/* A powerdown is not undone by a reset */
static void test_starting_powerdown(void)
{
    Run *run = start_held(NITRO, "-no-shutdown");

    qtest_qmp_assert_success(run->qts, "{'execute': 'system_powerdown'}");
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(run->qts, "RESET");
    assert_state(run, "prepared");
    let_go_on(run);
    wait_shutdown(run, "guest-shutdown");
    assert_state(run, "exited");
    wait_log(run, STARTED "close\n");
    run_quit(run);
}

static void add_starting_tests(void)
{
    qtest_add_func("/nitro/accel/starting/stop", test_starting_stop);
    qtest_add_func("/nitro/accel/starting/reset", test_starting_reset);
    qtest_add_func("/nitro/accel/starting/powerdown",
                   test_starting_powerdown);
}

static void add_end_tests(void)
{
    qtest_add_func("/nitro/accel/end", test_end);
    qtest_add_func("/nitro/accel/end/no-shutdown", test_end_no_shutdown);
    qtest_add_func("/nitro/accel/end/without-heartbeat",
                   test_end_without_heartbeat);
    qtest_add_data_func("/nitro/accel/unbooted", "", test_unbooted);
    qtest_add_data_func("/nitro/accel/unbooted/no-reboot", "-no-reboot",
                        test_unbooted);
    qtest_add_data_func("/nitro/accel/unbooted/exit-failure",
                        "-action panic=exit-failure", test_unbooted);
    qtest_add_data_func("/nitro/accel/unbooted/pause", "-action panic=pause",
                        test_unbooted_pause);
    qtest_add_data_func("/nitro/accel/unbooted/no-shutdown", "-no-shutdown",
                        test_unbooted_pause);
    qtest_add_func("/nitro/accel/unbooted/run", test_unbooted_run);
    qtest_add_func("/nitro/accel/deadline", test_deadline);
    qtest_add_func("/nitro/accel/deadline/run", test_deadline_run);
    qtest_add_func("/nitro/accel/deadline/bad", test_bad_deadline);
}

void add_life_tests(void)
{
    add_end_tests();
    add_starting_tests();
    qtest_add_func("/nitro/accel/port/taken", test_port_taken);
    qtest_add_func("/nitro/accel/port/no-wait", test_port_no_wait);
    qtest_add_func("/nitro/accel/port/wait", test_port_wait);
    qtest_add_func("/nitro/accel/port/wait-quit", test_port_wait_quit);
    qtest_add_func("/nitro/accel/stop", test_stop);
    qtest_add_func("/nitro/accel/powerdown", test_powerdown);
    qtest_add_func("/nitro/accel/powerdown/prepared",
                   test_powerdown_prepared);
    qtest_add_func("/nitro/accel/powerdown/grace", test_powerdown_grace);
    qtest_add_func("/nitro/accel/powerdown/in-time", test_powerdown_in_time);
    qtest_add_data_func("/nitro/accel/signal/term", GINT_TO_POINTER(SIGTERM),
                        test_signal);
    qtest_add_data_func("/nitro/accel/signal/int", GINT_TO_POINTER(SIGINT),
                        test_signal);
    qtest_add_data_func("/nitro/accel/signal/hup", GINT_TO_POINTER(SIGHUP),
                        test_signal);
    qtest_add_func("/nitro/accel/slow-close", test_slow_close);
    qtest_add_data_func("/nitro/accel/stuck-monitor/end", NULL,
                        test_stuck_monitor);
    qtest_add_data_func("/nitro/accel/stuck-monitor/term",
                        GINT_TO_POINTER(SIGTERM), test_stuck_monitor);
    qtest_add_func("/nitro/accel/late-request", test_late_request);
    qtest_add_data_func("/nitro/accel/flood/end", NULL, test_flood);
    qtest_add_data_func("/nitro/accel/flood/term", GINT_TO_POINTER(SIGTERM),
                        test_flood);
}
