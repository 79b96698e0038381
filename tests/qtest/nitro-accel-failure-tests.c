/*
 * Nitro Enclaves accelerator: launches that fail
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Nothing stays behind, and the message has cause, numbers and remedy.
 */
#include "qemu/osdep.h"
#include "nitro-accel-util.h"

static const struct Failure {
    const char *path;
    const char *fail;           /* NE_FAKE_FAIL */
    const char *accel;
    const char *more;
    const char *message;
    const char *hint;
    int status;                 /* 0: 3 for the driver's, 1 for ours */
} failures[] = {
    { "create", "0x20:1:272", NITRO, "",
      "cannot create an enclave: the enclave CPU pool is empty or wholly in "
      "use (NE_CREATE_VM: NE_ERR_NO_CPUS_AVAIL_IN_POOL, error 272)",
      "Raise cpu_count in /etc/nitro_enclaves/allocator.yaml" },
    { "create-timeout", "0x20:1:110", NITRO, "",
      "(NE_CREATE_VM: Connection timed out, error 110)", "Launch again" },
    { "load-info", "0x22:1:274", NITRO, "",
      "cannot get the image load offset: the driver does not know the flags",
      "Update the kernel" },
    { "memory", "0x23:1:263", NITRO, "",
      "cannot donate 64 MiB of RAM to the enclave: the memory is not backed "
      "by huge pages", "hugetlb=on" },
    { "vcpu", "0x21:2:272", NITRO, "",
      "cannot add vCPU 2 of 2: the enclave CPU pool has no free CPU left",
      "Lower -smp" },
    { "start", "0x24:1:269", NITRO, "",
      "cannot start the enclave (2 vCPUs, 64 MiB, CID 0 = automatic): the "
      "vCPUs are not a whole number of CPU cores", "-smp 2 or -smp 4" },
    { "start-cid", "0x24:1:17", NITRO ",enclave-cid=20", "",
      "cannot start the enclave (2 vCPUs, 64 MiB, CID 20): another enclave "
      "has this CID", "Use enclave-cid=0" },
    { "no-device", NULL, "-accel nitro,device=/nonexistent/ne", "",
      "cannot open /nonexistent/ne: No such file or directory",
      "modprobe nitro_enclaves", 3 },
    { "cid", NULL, NITRO ",enclave-cid=3", "",
      "an enclave cannot have CID 3: it belongs to the parent instance",
      "Use a number from 4 to 4294967294" },
    { "large-cid", NULL, NITRO ",enclave-cid=4294967296", "",
      "cannot have CID 4294967296: it does not fit in 32 bits", "or 0 to let" },
    { "incoming", NULL, NITRO, "-incoming defer",
      "a Nitro enclave cannot be migrated", "" },
    { "only-migratable", NULL, NITRO, "-only-migratable",
      "a Nitro enclave can be neither saved nor migrated", "" },
    { "tcg", NULL, "-accel tcg", "",
      "accelerator 'tcg' cannot run machine 'nitro'",
      "Machine 'nitro' needs -accel nitro" },
    { "other-machine", NULL, NITRO, "-M none -smp 1",
      "accelerator 'nitro' cannot run machine 'none'",
      "Use -M nitro with -accel nitro" },
};

static void test_failure(const void *opaque)
{
    const struct Failure *failure = opaque;
    Run *run = run_new();
    g_autofree char *log = NULL;

    if (failure->fail) {
        g_setenv("NE_FAKE_FAIL", failure->fail, true);
    }
    run_to_end(run, failure->accel, failure->more,
               failure->status ?: failure->fail ? 3 : 1);
    assert_said(run, failure->message);
    assert_said(run, failure->hint);
    log = contents(run->log);
    /* An enclave that was created was closed */
    g_assert_cmpint(g_str_has_prefix(log, "CREATE_VM ret=0\n"), ==,
                    g_str_has_suffix(log, "close\n"));
    run_free(run);
}

static void test_reported_cid(void)
{
    Run *run = run_new();

    g_setenv("NE_FAKE_CID", "0", true);
    run_to_end(run, NITRO, "", 3);
    assert_said(run, "the hypervisor reported CID 0, which no enclave can");
    run_free(run);
}

/* "cont" itself cannot fail: QEMU reports and shuts down with status 3 */
static void test_failed_cont(void)
{
    Run *run = run_new();
    g_autofree char *log = NULL;

    g_setenv("NE_FAKE_FAIL", "0x24:1:22", true);
    run_start(run, NITRO, "-S");
    qtest_set_expected_status(run->qts, 3);
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    wait_shutdown(run, "host-error");
    qtest_wait_qemu(run->qts);
    assert_said(run, "the hypervisor does not take the image");
    /* Closed by a thread of its own, or by the end of the process */
    log = contents(run->log);
    g_assert(g_str_has_prefix(log, PREPARED
                              "START_ENCLAVE ret=-22 cid=0 flags=0\n"));
    run_quit(run);
}

static void test_migrate(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    assert_qmp_error(run, "a Nitro enclave can be neither saved nor migrated",
                     "{'execute': 'migrate', 'arguments': "
                     "{'uri': 'exec:cat >/dev/null'}}");
    run_quit(run);
}

/* Without NE_FAKE_VSOCK the library is a kernel without vsock */
static void test_no_vsock(void)
{
    Run *run = run_new();

    g_unsetenv("NE_FAKE_VSOCK");
    run_to_end(run, NITRO, "", 1);
    assert_said(run, "cannot listen on vsock port 9000: Address family not "
                "supported by protocol");
    assert_said(run, "modprobe vmw_vsock_virtio_transport");
    assert_log(run, PREPARED "close\n");
    run_free(run);
}

void add_failure_tests(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
        g_autofree char *path = g_strconcat("/nitro/accel/failure/",
                                            failures[i].path, NULL);

        /* A build may lack it */
        if (g_str_equal(failures[i].path, "tcg") && !qtest_has_accel("tcg")) {
            continue;
        }
        qtest_add_data_func(path, &failures[i], test_failure);
    }
    qtest_add_func("/nitro/accel/reported-cid", test_reported_cid);
    qtest_add_func("/nitro/accel/failed-cont", test_failed_cont);
    qtest_add_func("/nitro/accel/migrate", test_migrate);
    qtest_add_func("/nitro/accel/failure/no-vsock", test_no_vsock);
}
