/*
 * Nitro Enclaves accelerator: whole launches on a driver that is a model
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU runs with "-accel nitro" and a preloaded library in place of the
 * kernel's driver (tests/nitro/fake-ne.c, whose log says what was asked of
 * it).  vsock is made of unix sockets.
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "nitro-accel-util.h"

/* Launches that succeed */

static void test_launch(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    assert_log(run, STARTED);
    assert_state(run, "started");
    g_assert_cmpint(get_cid(run), ==, 16);
    assert_qmp_error(run, "cannot change any more: the enclave is started",
                     "{'execute': 'qom-set', 'arguments': {'path': "
                     "'/machine/nitro', 'property': 'enclave-cid', "
                     "'value': 17}}");
    run_quit(run);
}

static void test_chosen(void)
{
    Run *run = run_new();

    run_start(run, NITRO ",debug-mode=on,enclave-cid=4711", "");
    assert_log(run, PREPARED "START_ENCLAVE ret=0 cid=4711 flags=1\n");
    g_assert_cmpint(get_cid(run), ==, 4711);
    run_quit(run);
}

static void test_cont(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-S");
    assert_log(run, PREPARED);
    assert_state(run, "prepared");
    g_assert_cmpint(get_cid(run), ==, 0);
    assert_qmp_error(run, "cannot change any more: the enclave is prepared",
                     "{'execute': 'qom-set', 'arguments': {'path': "
                     "'/machine/nitro', 'property': 'debug-mode', "
                     "'value': true}}");
    assert_qmp_error(run, "cannot have CID 3: it belongs to the parent",
                     "{'execute': 'qom-set', 'arguments': {'path': "
                     "'/machine/nitro', 'property': 'enclave-cid', "
                     "'value': 3}}");
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    wait_state(run, "started");
    assert_log(run, STARTED);
    run_quit(run);
}

static void test_preconfig(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "--preconfig");
    assert_log(run, "CREATE_VM ret=0\n");
    assert_state(run, "created");
    qtest_qmp_assert_success(run->qts, "{'execute': 'x-exit-preconfig'}");
    wait_state(run, "started");
    assert_log(run, STARTED);
    run_quit(run);
}

/* As libvirt has it: its own -accel first, ours later */
static void test_fallback(void)
{
    Run *run = run_new();

    run_start(run, "-accel tcg -accel kvm " NITRO ",debug-mode=on", "");
    assert_log(run, PREPARED "START_ENCLAVE ret=0 cid=16 flags=1\n");
    /* Either may be missing in this build; QEMU under qtest hides kvm's case */
    if (qtest_has_accel("tcg")) {
        assert_said(run, "'tcg' cannot run machine 'nitro', skipping it");
    }
    run_quit(run);
}

/* What libvirt wants to read of each vCPU */
static void check_vcpu(Run *run, QDict *cpu)
{
    const char *path = qdict_get_str(cpu, "qom-path");
    QDict *reply;

    g_assert_cmpint(qdict_get_int(cpu, "thread-id"), >, 0);
    if (g_str_equal(qtest_get_arch(), "x86_64")) {
        reply = qtest_qmp(run->qts, "{'execute': 'qom-get', 'arguments': "
                          "{'path': %s, 'property': 'unavailable-features'}}",
                          path);
        g_assert_nonnull(qdict_get_qlist(reply, "return"));
        qobject_unref(reply);
    }
}

/* The command line that libvirt makes of a domain with this machine */
static void test_libvirt(void)
{
    Run *run = run_new();

    run->qts = qtest_initf("-name guest=b2,debug-threads=on -S "
        "-machine nitro,usb=off,dump-guest-core=off,memory-backend=ram "
        "-accel tcg -m size=65536k -object '{\"qom-type\":"
        "\"memory-backend-memfd\",\"id\":\"ram\",\"hugetlb\":true,"
        "\"hugetlbsize\":2097152,\"share\":true,"
        "\"x-use-canonical-path-for-ramblock-id\":false,"
        "\"prealloc\":true,\"size\":67108864}' -overcommit mem-lock=off "
        "-smp 2,sockets=2,cores=1,threads=1 "
        "-uuid cb119353-7ab6-4813-9423-960108a36ec4 -no-user-config "
        "-nodefaults -rtc base=utc -no-shutdown -boot strict=on -kernel %s "
        "-chardev pty,id=charserial0 -device '{\"chardev\":\"charserial0\","
        "\"id\":\"serial0\",\"driver\":\"nitro-serial-vsock\"}' "
        NITRO ",debug-mode=on -msg timestamp=on >%s 2>&1",
        run->kernel, run->err);
    g_unsetenv("LD_PRELOAD");
    assert_log(run, PREPARED);
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    wait_state(run, "started");
    assert_log(run, PREPARED "START_ENCLAVE ret=0 cid=16 flags=1\n");
    run_quit(run);
}

/* Whoever names no accelerator, or in the old way, gets it, too */
static void test_default(const void *accel)
{
    Run *run = run_new();

    end_enclave(run);
    run_to_end(run, accel, "", 4);
    assert_said(run, "enclave with CID 16 ended after ");
    run_free(run);
}

static void test_vcpus(void)
{
    Run *run = run_new();
    const QListEntry *entry;
    QDict *reply;
    QList *cpus;

    run_start(run, NITRO, "-cpu host");
    reply = qtest_qmp(run->qts, "{'execute': 'query-cpus-fast'}");
    cpus = qdict_get_qlist(reply, "return");
    g_assert_cmpuint(qlist_size(cpus), ==, 2);
    QLIST_FOREACH_ENTRY(cpus, entry) {
        check_vcpu(run, qobject_to(QDict, qlist_entry_obj(entry)));
    }
    qobject_unref(reply);
    run_quit(run);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!run_prepare()) {
        return 0;
    }

    qtest_add_func("/nitro/accel/launch", test_launch);
    qtest_add_func("/nitro/accel/chosen", test_chosen);
    qtest_add_func("/nitro/accel/cont", test_cont);
    qtest_add_func("/nitro/accel/preconfig", test_preconfig);
    qtest_add_func("/nitro/accel/fallback", test_fallback);
    qtest_add_func("/nitro/accel/libvirt", test_libvirt);
    qtest_add_data_func("/nitro/accel/default", "", test_default);
    qtest_add_data_func("/nitro/accel/machine-accel", "-machine accel=nitro",
                        test_default);
    qtest_add_func("/nitro/accel/vcpus", test_vcpus);
    add_cpu_tests();
    add_device_tests();
    add_failure_tests();
    add_life_tests();
    add_memory_tests();
    add_monitor_tests();
    add_on_exit_tests();
    add_reset_tests();
    return g_test_run();
}
