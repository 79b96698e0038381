/*
 * Nitro Enclaves accelerator: memory that an enclave can have
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The preloaded library gives ordinary pages for huge ones; what sysfs says of
 * huge pages is put beside it here.
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "nitro-accel-util.h"

#define BACKEND "-m 64M -M nitro,memory-backend=ram -object memory-backend-"
#define MEMFD BACKEND "memfd,id=ram,size=64M,hugetlb=on"

static bool backend_bool(Run *run, const char *property)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'qom-get', 'arguments': "
                             "{'path': '/objects/ram', 'property': %s}}",
                             property);
    bool value = qdict_get_bool(reply, "return");

    qobject_unref(reply);
    return value;
}

/* The kernel's flags of the mapping of the enclave's memory */
static char *vm_flags(Run *run)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps",
                                            qtest_pid(run->qts));
    g_autofree char *smaps = contents(path);
    char *mapping = strstr(smaps, "memfd:memory-backend-memfd");
    char *flags, *end;

    g_assert_nonnull(mapping);
    flags = strstr(mapping, "VmFlags:");
    g_assert_nonnull(flags);
    end = strchr(flags, '\n');
    g_assert_nonnull(end);
    *end = 0;
    return g_strdup(flags);
}

static void put_pages(Run *run, const char *where, const char *size,
                      const char *total, const char *unused)
{
    g_autofree char *nr = g_strdup_printf("%s/hugepages/hugepages-%skB/"
                                          "nr_hugepages", where, size);
    g_autofree char *free_nr = g_strdup_printf("%s/hugepages/hugepages-%skB/"
                                               "free_hugepages", where, size);

    put_sys(run, nr, total);
    put_sys(run, free_nr, unused);
}

/* Whatever the user says: "dd" is MADV_DONTDUMP, "mg" MADV_MERGEABLE */
static void test_hidden(const void *memory)
{
    Run *run = run_new();
    g_autofree char *flags = NULL;

    put_pages(run, "kernel/mm", "2048", "32\n", "32\n");
    run->memory = memory;
    run_start(run, NITRO, "");
    assert_state(run, "started");
    g_assert_false(backend_bool(run, "dump"));
    g_assert_false(backend_bool(run, "merge"));
    flags = vm_flags(run);
    g_assert_nonnull(strstr(flags, " dd"));
    g_assert_null(strstr(flags, " mg"));
    run_quit(run);
}

static void test_page_size(void)
{
    Run *run = run_new();

    put_pages(run, "kernel/mm", "1048576", "2\n", "2\n");
    run->memory = "-M nitro,page-size=1G -m 2G";
    run_start(run, NITRO, "");
    assert_log(run, "CREATE_VM ret=0\nGET_IMAGE_LOAD_INFO ret=0\n"
               "SET_USER_MEMORY_REGION ret=0 size=2147483648\n"
               "ADD_VCPU ret=0\nADD_VCPU ret=0\n"
               "START_ENCLAVE ret=0 cid=16 flags=0\n");
    run_quit(run);
}

static void *give_pages_back(void *opaque)
{
    Run *run = opaque;

    wait_said(run, "nitro_machine_huge_pages_wait");
    put_pages(run, "kernel/mm", "2048", "32\n", "32\n");
    return NULL;
}

/* Those of an enclave that just ended are free in a moment */
static void test_pages_in_use(void)
{
    Run *run = run_new();
    GThread *other;

    put_pages(run, "kernel/mm", "2048", "32\n", "8\n");
    run->memory = "-M nitro -m 64M";
    g_assert(g_file_set_contents(run->err, "", 0, NULL));
    other = g_thread_new("other", give_pages_back, run);
    run_start(run, NITRO, "-trace nitro_machine_huge_pages_wait");
    g_thread_join(other);
    assert_state(run, "started");
    run_quit(run);
}

static const struct Refusal {
    const char *path;
    const char *memory;
    const char *message;
    const char *hint;
} refusals[] = {
    { "private", MEMFD ",share=off",
      "memory backend 'ram' is a private mapping of a file, so an "
      "enclave may get stale pages", "Use share=on (libvirt: <access" },
    { "ordinary", BACKEND "memfd,id=ram,size=64M,hugetlb=off",
      "memory backend 'ram' has pages of 4K, an enclave needs huge pages",
      "Transparent huge pages will not do" },
    { "anonymous", BACKEND "ram,id=ram,size=64M",
      "memory backend 'ram' has pages of 4K", "Transparent huge pages" },
    { "other-size", MEMFD " -M page-size=1G",
      "memory backend 'ram' has pages of 2M, not of page-size=1G",
      "Leave out page-size= or the backend." },
    { "small-pages", "-m 64M -M nitro,page-size=4K",
      "page-size=4K is not a size of huge pages that an enclave can use",
      "The driver takes pages of 2 MiB and more.  Use page-size=2M" },
    { "contiguous-pages", "-m 64M -M nitro,page-size=64K",
      "page-size=64K is not a size of huge pages that an enclave can use",
      "The driver takes pages of 2 MiB and more.  Use page-size=2M" },
    { "odd-pages", "-m 64M -M nitro,page-size=6M",
      "page-size=6M is not a size of huge pages", "Use page-size=2M" },
    { "part-of-page", "-m 1536M -M nitro,page-size=1G",
      "-m 1536M is not a multiple of page-size=1G",
      "Use -m 2G, or smaller pages." },
};

static void test_refusal(const void *opaque)
{
    const struct Refusal *refusal = opaque;
    Run *run = run_new();

    run->memory = refusal->memory;
    run_to_end(run, NITRO, "", 1);
    assert_said(run, refusal->message);
    assert_said(run, refusal->hint);
    run_free(run);
}

static void test_read_only(void)
{
    Run *run = run_new();
    g_autofree char *file = g_build_filename(run->dir, "memory", NULL);
    g_autofree char *memory = NULL;

    g_assert(g_file_set_contents(file, "", 0, NULL));
    g_assert_cmpint(truncate(file, 64 * 1024 * 1024), ==, 0);
    memory = g_strdup_printf(BACKEND "file,id=ram,size=64M,mem-path=%s,"
                             "share=on,readonly=on", file);
    run->memory = memory;
    run_to_end(run, NITRO, "", 1);
    assert_said(run, "memory backend 'ram' is read-only");
    run_free(run);
}

/* QEMU may have copies of its pages */
static void test_private_file(void)
{
    Run *run = run_new();
    g_autofree char *memory =
        g_strdup_printf(BACKEND "file,id=ram,size=64M,mem-path=%s/memory,"
                        "share=off", run->dir);

    run->memory = memory;
    run_to_end(run, NITRO, "", 1);
    assert_said(run, "memory backend 'ram' is a private mapping of a file");
    run_free(run);
}

static void test_no_such_size(void)
{
    Run *run = run_new();

    put_pages(run, "kernel/mm", "2048", "600\n", "600\n");
    run->memory = "-M nitro,page-size=1G -m 1G";
    run_to_end(run, NITRO, "", 1);
    assert_said(run, "the kernel has no huge pages of 1G, only of 2M");
    assert_said(run, "page-size= with one of: 2M.");
    run_free(run);
}

static void test_no_huge_pages(void)
{
    Run *run = run_new();

    put_pages(run, "kernel/mm", "2048", "40\n", "5\n");
    put_pages(run, "kernel/mm", "1048576", "4\n", "3\n");
    run->memory = "-M nitro -m 1G";
    run_to_end(run, NITRO, "", 1);
    assert_said(run, "-m 1G needs 512 huge pages of 2M, 5 are free (40 in all, "
                "35 in use, 0 reserved by others)");
    assert_said(run, "echo 547 > /");
    assert_said(run, "Or use -M nitro,page-size=1G: 3 pages of that size");
    assert_log(run, "CREATE_VM ret=0\nclose\n");
    run_free(run);
}

static void test_other_node(void)
{
    Run *run = run_new();

    put_sys(run, "module/nitro_enclaves/parameters/ne_cpus", "2-9\n");
    put_sys(run, "devices/system/node/possible", "0-1\n");
    put_sys(run, "devices/system/cpu/cpu2/node1/cpulist", "10-19\n");
    put_pages(run, "kernel/mm", "2048", "600\n", "600\n");
    put_pages(run, "devices/system/node/node1", "2048", "100\n", "90\n");
    run->memory = "-M nitro -m 1G";
    run_to_end(run, NITRO, "", 1);
    assert_said(run, "-m 1G needs 512 huge pages of 2M on NUMA node 1, where "
                "the enclave CPU pool is: 90 are free there, 600 in all");
    assert_said(run, "echo 522 > /sys/devices/system/node/node1/hugepages/");
    run_free(run);
}

static void test_regions(void)
{
    Run *run = run_new();

    g_setenv("NE_FAKE_FAIL", "0x23:1:265", true);
    run_to_end(run, NITRO, "", 3);
    assert_said(run, "cannot donate 64 MiB of RAM in 32 pages of 2 MiB to the "
                "enclave: the pages form more separate regions than the "
                "hypervisor takes");
    assert_said(run, "page-size=1G");
    run_free(run);
}

/* As nitro-cli has it, but the user decides */
static void test_large_image(void)
{
    Run *run = run_new();

    g_assert_cmpint(truncate(run->kernel, 20 * 1024 * 1024), ==, 0);
    run_start(run, NITRO, "");
    assert_state(run, "started");
    assert_said(run, "-m 64M is less than 4 times the image's 2097");
    assert_said(run, "nitro-cli would ask for -m 82M");
    run_quit(run);
}

void add_memory_tests(void)
{
    qtest_add_data_func("/nitro/accel/memory/hidden/given",
                        MEMFD ",share=on,dump=on,merge=on", test_hidden);
    qtest_add_data_func("/nitro/accel/memory/hidden/default", "-M nitro "
                        "-m 64M", test_hidden);
    qtest_add_func("/nitro/accel/memory/page-size", test_page_size);
    qtest_add_func("/nitro/accel/memory/pages-in-use", test_pages_in_use);
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        g_autofree char *path = g_strconcat("/nitro/accel/memory/refused/",
                                            refusals[i].path, NULL);

        qtest_add_data_func(path, &refusals[i], test_refusal);
    }
    qtest_add_func("/nitro/accel/memory/read-only", test_read_only);
    qtest_add_func("/nitro/accel/memory/private-file", test_private_file);
    qtest_add_func("/nitro/accel/memory/no-such-size", test_no_such_size);
    qtest_add_func("/nitro/accel/memory/no-huge-pages", test_no_huge_pages);
    qtest_add_func("/nitro/accel/memory/other-node", test_other_node);
    qtest_add_func("/nitro/accel/memory/regions", test_regions);
    qtest_add_func("/nitro/accel/memory/large-image", test_large_image);
}
