/*
 * Nitro Enclaves: query, events and "info nitro"
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whole launches on a driver that is a model, see nitro-accel-test.c.  What
 * the monitor says is compared with what the model did.
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "nitro-monitor-util.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/patience.h"

#define MIB (1024 * 1024)
#define STAYS "-action shutdown=pause "

/* Without an enclave */

static void test_absent(void)
{
    QTestState *qts = qtest_init("-machine none");
    QDict *reply = qtest_qmp(qts, "{'execute': 'query-nitro-enclave'}");
    QDict *error = qdict_get_qdict(reply, "error");
    g_autofree char *text = qtest_hmp(qts, "info nitro");

    assert_str(error, "class", "GenericError");
    assert_str(error, "desc", "there is no enclave: accelerator nitro is not "
               "in use");
    g_assert_nonnull(strstr(text, "accelerator nitro is not in use"));
    qobject_unref(reply);
    qtest_quit(qts);
}

/* States and events */

static void check_vcpus(QDict *info)
{
    QList *vcpus = qdict_get_qlist(info, "vcpus");
    const QListEntry *entry;
    int index = 0;

    g_assert_cmpuint(qlist_size(vcpus), ==, 2);
    QLIST_FOREACH_ENTRY(vcpus, entry) {
        QDict *vcpu = qobject_to(QDict, qlist_entry_obj(entry));

        /* The model's pool begins with the core of CPUs 2 and 3 */
        g_assert_cmpint(qdict_get_int(vcpu, "cpu-index"), ==, index);
        g_assert_cmpint(qdict_get_int(vcpu, "host-cpu"), ==, index + 2);
        index++;
    }
}

static void check_memory(QDict *info)
{
    QList *list = qdict_get_qlist(info, "memory");
    QDict *memory = qobject_to(QDict, qlist_peek(list));

    g_assert_cmpuint(qlist_size(list), ==, 1);
    assert_str(memory, "memdev", "ram");
    g_assert_cmpint(qdict_get_int(memory, "size"), ==, 64 * MIB);
    g_assert_cmpint(qdict_get_int(memory, "page-size"), ==, 2 * MIB);
}

static void check_prepared(Run *run)
{
    QDict *info;
    QDict *reply = query(run->qts, &info);

    assert_str(info, "state", "prepared");
    assert_str(info, "device", "/dev/null");
    g_assert_cmpint(qdict_get_int(info, "slot-uid"), ==, 0x1000);
    g_assert_false(qdict_haskey(info, "cid"));
    g_assert_false(qdict_haskey(info, "uptime-ms"));
    g_assert_false(qdict_haskey(info, "boot-ms"));
    g_assert_false(qdict_haskey(info, "exit-cause"));
    g_assert_false(qdict_haskey(info, "console"));
    g_assert_false(qdict_get_bool(info, "debug-mode"));
    assert_device_state(info, "heartbeat", "idle");
    check_vcpus(info);
    check_memory(info);
    qobject_unref(reply);
}

static void check_started(Run *run)
{
    QDict *info, *data;
    QDict *event = wait_event(run, "NITRO_ENCLAVE_STARTED", &data);
    QDict *reply = query(run->qts, &info);

    g_assert_cmpint(qdict_get_int(data, "cid"), ==, 16);
    g_assert_cmpint(qdict_get_int(data, "slot-uid"), ==, 0x1000);
    g_assert_false(qdict_get_bool(data, "debug-mode"));
    assert_str(info, "state", "started");
    g_assert_cmpint(qdict_get_int(info, "cid"), ==, 16);
    g_assert_cmpint(qdict_get_int(info, "uptime-ms"), >=, 0);
    g_assert_false(qdict_haskey(info, "boot-ms"));
    assert_device_state(info, "heartbeat", "listening");
    qobject_unref(reply);
    qobject_unref(event);
}

static void check_booted(Run *run)
{
    QDict *info, *data;
    QDict *event = wait_event(run, "NITRO_ENCLAVE_BOOTED", &data);
    QDict *reply = query(run->qts, &info);
    int64_t boot_ms = qdict_get_int(data, "boot-ms");

    g_assert_cmpint(qdict_get_int(data, "cid"), ==, 16);
    g_assert_cmpint(boot_ms, >=, 20);
    assert_str(info, "state", "booted");
    g_assert_cmpint(qdict_get_int(info, "boot-ms"), ==, boot_ms);
    g_assert_cmpint(qdict_get_int(info, "uptime-ms"), >=, boot_ms);
    assert_device_state(info, "heartbeat", "done");
    g_assert_cmpint(qdict_get_int(qdict_get_qdict(info, "heartbeat"),
                                  "elapsed-ms"), >=, boot_ms);
    g_assert_cmpint(qdict_get_int(qdict_get_qdict(info, "heartbeat"),
                                  "timeout-ms"), ==, 180000);
    qobject_unref(reply);
    qobject_unref(event);
}

static void check_exited(Run *run, const char *cause)
{
    QDict *info, *data;
    QDict *event = wait_event(run, "NITRO_ENCLAVE_EXITED", &data);
    QDict *reply = query(run->qts, &info);

    assert_str(data, "cause", cause);
    g_assert_cmpint(qdict_get_int(data, "cid"), ==, 16);
    g_assert_false(qdict_haskey(data, "error"));
    assert_str(info, "state", "exited");
    assert_str(info, "exit-cause", cause);
    g_assert_cmpint(qdict_get_int(info, "uptime-ms"), ==,
                    qdict_get_int(data, "uptime-ms"));
    qobject_unref(reply);
    qobject_unref(event);
}

static void test_life(void)
{
    Run *run = run_new();

    run_start(run, NITRO, STAYS "-S");
    check_prepared(run);
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    check_started(run);
    /* So that there is a time to report */
    g_usleep(20000);
    send_heartbeat(run);
    check_booted(run);
    end_enclave(run);
    check_exited(run, "ended");
    run_quit(run);
}

/* An enclave from whom no heartbeat is expected ends as well as any */
static void test_no_heartbeat(void)
{
    Run *run = run_new();

    run_start(run, NITRO, STAYS "-M heartbeat=off");
    end_enclave(run);
    check_exited(run, "ended");
    run_quit(run);
}

static void test_powerdown(void)
{
    Run *run = run_new();

    run_start(run, NITRO, STAYS);
    send_heartbeat(run);
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_powerdown'}");
    check_exited(run, "powerdown");
    run_quit(run);
}

static void test_boot_timeout(void)
{
    Run *run = run_new();

    run_start(run, NITRO, STAYS "-S -global nitro-heartbeat.timeout=1");
    qtest_set_expected_status(run->qts, 5);
    run_continue(run);
    check_exited(run, "boot-timeout");
    run_quit(run);
}

/* Somebody else has the port for a while */
static void test_waiting(void)
{
    Run *run = run_new();
    g_autofree char *path = g_build_filename(run->dir, "9000", NULL);
    int other = peer_listen(run, "9000");
    QDict *info, *reply;

    run_start(run, NITRO, STAYS);
    reply = query(run->qts, &info);
    assert_str(info, "state", "prepared");
    assert_device_state(info, "heartbeat", "waiting");
    g_assert_cmpint(qdict_get_int(qdict_get_qdict(info, "heartbeat"),
                                  "elapsed-ms"), >=, 0);
    qobject_unref(reply);

    close(other);
    unlink(path);
    check_started(run);
    run_quit(run);
}

static void test_unbooted(void)
{
    Run *run = run_new();
    QDict *info, *reply;

    run_start(run, NITRO, STAYS);
    end_enclave(run);
    check_exited(run, "ended-before-boot");
    reply = query(run->qts, &info);
    assert_device_state(info, "heartbeat", "failed");
    qobject_unref(reply);
    run_quit(run);
}

/* NE_START_ENCLAVE is request 0x24 */
static void test_failed_start(void)
{
    Run *run = run_new();
    QDict *info, *data, *event, *reply;

    g_setenv("NE_FAKE_FAIL", "0x24:1:5", true);
    run_start(run, NITRO, STAYS "-S");
    qtest_set_expected_status(run->qts, 3);
    qobject_unref(qtest_qmp(run->qts, "{'execute': 'cont'}"));
    event = wait_event(run, "NITRO_ENCLAVE_EXITED", &data);
    assert_str(data, "cause", "start-failed");
    g_assert_nonnull(strstr(qdict_get_str(data, "error"),
                            "cannot start the enclave (2 vCPUs, 64 MiB"));
    g_assert_false(qdict_haskey(data, "cid"));
    g_assert_false(qdict_haskey(data, "uptime-ms"));

    reply = query(run->qts, &info);
    assert_str(info, "state", "exited");
    assert_str(info, "exit-cause", "start-failed");
    assert_str(info, "exit-error", qdict_get_str(data, "error"));
    qobject_unref(reply);
    qobject_unref(event);
    run_quit(run);
}

static void test_preconfig(void)
{
    Run *run = run_new();
    QDict *info, *reply;

    run_start(run, NITRO, "--preconfig");
    reply = query(run->qts, &info);
    assert_str(info, "state", "created");
    g_assert_true(qlist_empty(qdict_get_qlist(info, "memory")));
    g_assert_true(qlist_empty(qdict_get_qlist(info, "vcpus")));
    g_assert_false(qdict_haskey(info, "image"));
    g_assert_false(qdict_haskey(info, "heartbeat"));
    qobject_unref(reply);
    run_quit(run);
}

/* The console */

static int64_t console_bytes(Run *run)
{
    QDict *info;
    QDict *reply = query(run->qts, &info);
    QDict *console = qdict_get_qdict(info, "console");
    int64_t bytes = qdict_get_int(console, "bytes");

    assert_str(console, "chardev", "con");
    assert_str(console, "lost", NULL);
    qobject_unref(reply);
    return bytes;
}

static void test_console(void)
{
    Run *run = run_new();
    int listener = peer_listen(run, "0-10016");
    QDict *info, *reply;
    int fd;

    run_start(run, NITRO ",debug-mode=on", "-chardev null,id=con "
              "-device nitro-serial-vsock,chardev=con");
    fd = accept(listener, NULL, NULL);
    g_assert_cmpint(write(fd, "hello\n", 6), ==, 6);
    poll_until(console_bytes(run) >= 6);
    g_assert_cmpint(console_bytes(run), ==, 6);
    reply = query(run->qts, &info);
    assert_device_state(info, "console", "open");
    qobject_unref(reply);
    close(fd);
    close(listener);
    run_quit(run);
}

/* The port of this CID's console would be one too large */
static void test_console_lost(void)
{
    Run *run = run_new();
    const char *reason = "10000 + CID 4294957296 is not a vsock port";
    QDict *info, *data, *event, *reply;

    run_start(run, NITRO ",debug-mode=on,enclave-cid=4294957296",
              "-S -chardev null,id=con "
              "-device nitro-serial-vsock,chardev=con");
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    event = wait_event(run, "NITRO_ENCLAVE_CONSOLE_LOST", &data);
    assert_str(data, "reason", reason);
    reply = query(run->qts, &info);
    assert_str(info, "state", "started");
    assert_str(qdict_get_qdict(info, "console"), "lost", reason);
    qobject_unref(reply);
    qobject_unref(event);
    run_quit(run);
}

/* For people */

static void test_info(void)
{
    Run *run = run_new();
    g_autofree char *path = write_eif(run, LAUNCHABLE);
    g_autofree char *text = NULL;
    static const char *const lines[] = {
        "state: prepared\r\n", "CID: 77\r\n", "slot: 0x1000 of /dev/null\r\n",
        "debug mode: off\r\n", "vCPU 0: host CPU 2\r\n",
        "vCPU 1: host CPU 3\r\n", "memory: 64 MiB in pages of 2 MiB (ram)\r\n",
        "image name: kernel.bin\r\n", "921 bytes, CRC 0x", "not signed\r\n",
        "section: cmdline, 13 bytes at 588\r\n", "measurement: done\r\n",
        "image PCR0: " LAUNCHABLE_PCR0 "\r\n",
        "attestation PCR2: " EXAMPLE_PCR2 "\r\n",
        "heartbeat: idle, port 9000, limit 180000 ms\r\n",
    };
    QDict *info, *image;

    start_eif(run, NITRO ",enclave-cid=77", path);
    qobject_unref(query_measured(run->qts, &info, &image));
    text = qtest_hmp(run->qts, "info nitro");
    for (int i = 0; i < ARRAY_SIZE(lines); i++) {
        if (!strstr(text, lines[i])) {
            g_test_message("\"%s\" lacks \"%s\"", text, lines[i]);
            g_test_fail();
        }
    }
    run_quit(run);
}

/* Other accelerators are not said to run it */
static void test_kvm(void)
{
    Run *run = run_new();
    g_autofree char *text = NULL;
    QDict *reply;

    run_start(run, NITRO, "");
    reply = qtest_qmp(run->qts, "{'execute': 'query-kvm'}");
    g_assert_false(qdict_get_bool(qdict_get_qdict(reply, "return"),
                                  "enabled"));
    text = qtest_hmp(run->qts, "info kvm");
    g_assert_null(strstr(text, "enabled"));
    qobject_unref(reply);
    run_quit(run);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!run_prepare()) {
        return 0;
    }

    qtest_add_func("/nitro/monitor/absent", test_absent);
    qtest_add_func("/nitro/monitor/life", test_life);
    qtest_add_func("/nitro/monitor/unbooted", test_unbooted);
    qtest_add_func("/nitro/monitor/no-heartbeat", test_no_heartbeat);
    qtest_add_func("/nitro/monitor/powerdown", test_powerdown);
    qtest_add_func("/nitro/monitor/boot-timeout", test_boot_timeout);
    qtest_add_func("/nitro/monitor/waiting", test_waiting);
    qtest_add_func("/nitro/monitor/failed-start", test_failed_start);
    qtest_add_func("/nitro/monitor/preconfig", test_preconfig);
    add_image_tests();
    qtest_add_func("/nitro/monitor/console", test_console);
    qtest_add_func("/nitro/monitor/console-lost", test_console_lost);
    qtest_add_func("/nitro/monitor/info", test_info);
    qtest_add_func("/nitro/monitor/kvm", test_kvm);
    return g_test_run();
}
