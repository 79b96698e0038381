/*
 * Nitro Enclaves accelerator: property on-exit
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "nitro-accel-util.h"
#include "tests/nitro/patience.h"

#define AGAIN NITRO ",on-exit=reset"
#define AGAIN_IN(seconds, nth) "launching it again in " seconds \
    " s, as it did not boot (" nth " in a row)"

static void test_booted(void)
{
    Run *run = run_new();

    run_start(run, AGAIN, "");
    for (unsigned i = 0; i < 3; i++) {
        wait_starts(run, i + 1);
        send_heartbeat(run);
        end_enclave_with(run, 16 + i);
        qtest_qmp_eventwait(run->qts, "RESET");
    }
    wait_starts(run, 4);
    assert_runstate(run, "running");
    run_quit(run);
}

/* Not that of a pause that is over */
static void wait_reset_by_user(Run *run)
{
    bool found = false;

    while (!found) {
        QDict *event = qtest_qmp_eventwait_ref(run->qts, "RESET");
        QDict *data = qdict_get_qdict(event, "data");

        found = g_str_equal(qdict_get_str(data, "reason"),
                            "host-qmp-system-reset");
        qobject_unref(event);
    }
}

/* The pause grows, until a reset or a boot */
static void test_unbooted(void)
{
    Run *run = run_new();
    int64_t cid;

    run_start(run, AGAIN, "");
    end_enclave_with(run, 16);
    wait_said(run, AGAIN_IN("1", "1"));
    assert_runstate(run, "running");
    wait_starts(run, 2);
    end_enclave_with(run, 17);
    wait_said(run, AGAIN_IN("2", "2"));
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_reset'}");
    wait_reset_by_user(run);
    qtest_qmp_eventwait(run->qts, "NITRO_ENCLAVE_STARTED");
    /* 19 if the pause was over before the reset */
    cid = get_cid(run);
    send_heartbeat(run);
    end_enclave_with(run, cid);
    qtest_qmp_eventwait(run->qts, "NITRO_ENCLAVE_STARTED");
    end_enclave_with(run, cid + 1);
    poll_until(times_said(run, AGAIN_IN("1", "1")) == 2);
    run_quit(run);
}

/* Nobody can tell whether it had booted: it did not live long */
static void test_without_heartbeat(void)
{
    Run *run = run_new();

    end_enclave_with(run, 16);
    run_start(run, AGAIN, "-M nitro,heartbeat=off");
    wait_said(run, "launching it again in 1 s");
    wait_starts(run, 2);
    run_quit(run);
}

static void test_deadline(void)
{
    Run *run = run_new();

    run_start(run, AGAIN, "-global nitro-heartbeat.timeout=1");
    wait_said(run, "launching it again in 1 s");
    /* Which may have the same fate, and so on */
    wait_log(run, STARTED "close\n" PREPARED
             "START_ENCLAVE ret=0 cid=17 flags=0\n");
    run_quit(run);
}

/* What the user ends remains ended */
static void test_powerdown(const void *grace)
{
    Run *run = run_new();
    g_autofree char *accel = g_strconcat(AGAIN, grace, NULL);

    run_start(run, accel, "");
    send_heartbeat(run);
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_powerdown'}");
    end_enclave_with(run, 16);
    wait_shutdown(run, "guest-shutdown");
    assert_ends(run, 0);
    run_quit(run);
}

static void test_powerdown_paused(void)
{
    Run *run = run_new();

    run_start(run, AGAIN, "-no-shutdown");
    end_enclave_with(run, 16);
    wait_said(run, "launching it again in 1 s");
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_powerdown'}");
    wait_shutdown(run, "guest-shutdown");
    assert_runstate(run, "shutdown");
    assert_qmp_error(run, "Resetting the Virtual Machine is required",
                     "{'execute': 'cont'}");
    run_quit(run);
}

static void test_no_reboot(void)
{
    Run *run = run_new();

    run_start(run, AGAIN, "-no-reboot");
    send_heartbeat(run);
    end_enclave_with(run, 16);
    wait_shutdown(run, "guest-reset");
    assert_ends(run, 0);
    run_quit(run);
}

static void test_no_reboot_unbooted(void)
{
    Run *run = run_new();

    end_enclave_with(run, 16);
    run_to_end(run, AGAIN, "-action reboot=shutdown", 4);
    run_free(run);
}

/* Who wants to look at a crash is asked first */
static void test_panic_pause(void)
{
    Run *run = run_new();

    run_start(run, AGAIN, "-action panic=pause");
    end_enclave_with(run, 16);
    wait_panic(run, "pause");
    assert_runstate(run, "guest-panicked");
    run_quit(run);
}

static void test_bad_value(void)
{
    Run *run = run_new();

    run_to_end(run, NITRO ",on-exit=reboot", "", 1);
    assert_said(run, "'on-exit' does not accept value 'reboot'");
    run_free(run);
}

void add_on_exit_tests(void)
{
    qtest_add_func("/nitro/accel/on-exit/booted", test_booted);
    qtest_add_func("/nitro/accel/on-exit/unbooted", test_unbooted);
    qtest_add_func("/nitro/accel/on-exit/without-heartbeat",
                   test_without_heartbeat);
    qtest_add_func("/nitro/accel/on-exit/deadline", test_deadline);
    qtest_add_data_func("/nitro/accel/on-exit/powerdown", "", test_powerdown);
    qtest_add_data_func("/nitro/accel/on-exit/powerdown/grace",
                        ",powerdown-grace=600", test_powerdown);
    qtest_add_func("/nitro/accel/on-exit/powerdown/paused",
                   test_powerdown_paused);
    qtest_add_func("/nitro/accel/on-exit/no-reboot", test_no_reboot);
    qtest_add_func("/nitro/accel/on-exit/no-reboot/unbooted",
                   test_no_reboot_unbooted);
    qtest_add_func("/nitro/accel/on-exit/panic-pause", test_panic_pause);
    qtest_add_func("/nitro/accel/on-exit/bad-value", test_bad_value);
}
