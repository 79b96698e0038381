/*
 * Nitro Enclaves accelerator: which CPUs of which pool
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pool of the model is CORES:THREADS from the second core on; what sysfs
 * says of it is put beside it here, and may differ: other enclaves' CPUs.
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "nitro-accel-util.h"

#define ALL_ADDED_4 "CREATE_VM ret=0\nGET_IMAGE_LOAD_INFO ret=0\n" \
    "SET_USER_MEMORY_REGION ret=0 size=67108864\n" \
    "ADD_VCPU ret=0\nADD_VCPU ret=0\n"

static void put_pool(Run *run, const char *cpus, const char *siblings)
{
    put_sys(run, "module/nitro_enclaves/parameters/ne_cpus", cpus);
    put_sys(run, "devices/system/cpu/cpu0/topology/thread_siblings_list",
            siblings);
}

static void assert_cpus(Run *run, const char *expected)
{
    g_autofree char *cpus = get_string(run, "cpus");

    g_assert_cmpstr(cpus, ==, expected);
}

/* Host CPU of each vCPU object, by the monitor's list */
static void assert_host_cpus(Run *run, unsigned count, const int64_t *expected)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'query-cpus-fast'}");
    QList *cpus = qdict_get_qlist(reply, "return");
    const QListEntry *entry;
    unsigned i = 0;

    g_assert_cmpuint(qlist_size(cpus), ==, count);
    QLIST_FOREACH_ENTRY(cpus, entry) {
        QDict *cpu = qobject_to(QDict, qlist_entry_obj(entry));
        QDict *value = qtest_qmp(run->qts, "{'execute': 'qom-get', "
            "'arguments': {'path': %s, 'property': 'host-cpu'}}",
            qdict_get_str(cpu, "qom-path"));

        g_assert_cmpint(qdict_get_int(value, "return"), ==, expected[i++]);
        qobject_unref(value);
    }
    qobject_unref(reply);
}

static void test_automatic(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    assert_cpus(run, "2-3");
    assert_host_cpus(run, 2, (int64_t[]) { 2, 3 });
    run_quit(run);
}

static void test_named(void)
{
    Run *run = run_new();

    put_pool(run, "2-9\n", "0-1\n");
    run->smp = "-smp 4";
    run_start(run, NITRO ",cpus=6-7:3:2", "-S");
    assert_cpus(run, "6-7:3:2");
    assert_host_cpus(run, 4, (int64_t[]) { 6, 7, 3, 2 });
    assert_qmp_error(run, "cpus cannot change any more: the enclave is",
                     "{'execute': 'qom-set', 'arguments': {'path': "
                     "'/machine/nitro', 'property': 'cpus', "
                     "'value': '2:3'}}");
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    wait_state(run, "started");
    run_quit(run);
}

static void test_default(const void *opaque)
{
    bool threads = opaque;
    Run *run = run_new();

    g_setenv("NE_FAKE_POOL", threads ? "4:2" : "4:1", true);
    put_pool(run, threads ? "2-9\n" : "1-4\n", threads ? "0-1\n" : "0\n");
    run->smp = "";
    run_start(run, NITRO, "");
    assert_cpus(run, threads ? "2-3" : "1");
    assert_state(run, "started");
    run_quit(run);
}

/* Refused before the driver is asked for anything */
static const struct Refusal {
    const char *path;
    const char *pool;
    const char *siblings;
    const char *smp;
    const char *accel;
    const char *message;
    const char *hint;
} refusals[] = {
    { "empty", "\n", "0-1", "-smp 2", NITRO,
      "2 vCPUs requested, the enclave CPU pool is empty",
      "Set cpu_count in /etc/nitro_enclaves/allocator.yaml" },
    { "small", "2-3\n", "0-1", "-smp 4", NITRO,
      "4 vCPUs requested, the enclave CPU pool holds 2 (CPUs 2-3)",
      "Use -smp 2, or raise cpu_count" },
    { "half-core", "2-9\n", "0-1", "-smp 3", NITRO,
      "-smp 3 is not a whole number of cores (2 threads per core)",
      "Use -smp 2 or -smp 4." },
    { "foreign", "2-9\n", "0-1", "-smp 2", NITRO ",cpus=8:12",
      "CPU 12 is not in the enclave CPU pool (CPUs 2-9)",
      "Pick CPUs of the pool" },
    { "count", "2-9\n", "0-1", "-smp 4", NITRO ",cpus=2:3",
      "cpus= names 2 CPUs for 4 vCPUs", "Use -smp 2, or name 4 CPUs." },
    { "twice", "2-9\n", "0-1", "-smp 2", NITRO ",cpus=2:2",
      "cpus=2:2 names CPU 2 twice", "Name each CPU once" },
    { "zero", "2-9\n", "0-1", "-smp 2", NITRO ",cpus=0-1",
      "names CPU 0, which always stays with the parent", "Pick CPUs of /sys" },
    { "no-list", "2-9\n", "0-1", "-smp 2", NITRO ",cpus=2+3",
      "is not a list of CPU numbers", "separated by colons" },
};

static void test_refusal(const void *opaque)
{
    const struct Refusal *refusal = opaque;
    Run *run = run_new();

    put_pool(run, refusal->pool, refusal->siblings);
    run->smp = refusal->smp;
    run_to_end(run, refusal->accel, "", 1);
    assert_said(run, refusal->message);
    assert_said(run, refusal->hint);
    assert_log(run, "");
    run_free(run);
}

/* Where other enclaves have what the pool lacks */

static void test_used_up(void)
{
    Run *run = run_new();
    g_autofree char *log = NULL;

    g_setenv("NE_FAKE_POOL", "1:2", true);
    put_pool(run, "2-7\n", "0-1\n");
    run->smp = "-smp 4";
    run_to_end(run, NITRO, "", 3);
    assert_said(run, "cannot add vCPU 3 of 4 (pool: 6 CPUs, 4 in use by other "
                "enclaves): the enclave CPU pool has no free CPU left");
    log = contents(run->log);
    g_assert(g_str_has_prefix(log, ALL_ADDED_4 "ADD_VCPU ret=-272\n"));
    g_assert(g_str_has_suffix(log, "ADD_VCPU ret=-272\nclose\n"));
    run_free(run);
}

static void test_all_in_use(void)
{
    Run *run = run_new();

    g_setenv("NE_FAKE_FAIL", "0x20:1:272", true);
    put_pool(run, "2-7\n", "0-1\n");
    run_to_end(run, NITRO, "", 3);
    assert_said(run, "cannot create an enclave (pool: CPUs 2-7, all in use): "
                "the enclave CPU pool is empty or wholly in use");
    run_free(run);
}

static void test_named_in_use(void)
{
    Run *run = run_new();

    g_setenv("NE_FAKE_POOL", "1:2", true);
    put_pool(run, "2-7\n", "0-1\n");
    run_to_end(run, NITRO ",cpus=4-5", "", 3);
    assert_said(run, "cannot add CPU 4 as vCPU 1 of 2: the CPU is not in the "
                "enclave CPU pool, or another enclave has it");
    run_free(run);
}

void add_cpu_tests(void)
{
    qtest_add_func("/nitro/accel/cpus/automatic", test_automatic);
    qtest_add_func("/nitro/accel/cpus/named", test_named);
    qtest_add_data_func("/nitro/accel/cpus/default-threads",
                        GINT_TO_POINTER(true), test_default);
    qtest_add_data_func("/nitro/accel/cpus/default-plain", NULL, test_default);
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        g_autofree char *path = g_strconcat("/nitro/accel/cpus/refused/",
                                            refusals[i].path, NULL);

        qtest_add_data_func(path, &refusals[i], test_refusal);
    }
    qtest_add_func("/nitro/accel/cpus/used-up", test_used_up);
    qtest_add_func("/nitro/accel/cpus/all-in-use", test_all_in_use);
    qtest_add_func("/nitro/accel/cpus/named-in-use", test_named_in_use);
}
