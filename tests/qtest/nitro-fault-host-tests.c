/*
 * Nitro Enclaves accelerator: hosts that are short of something
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Descriptors, memory, huge pages, a readable /sys; and what an image lies on
 * that is no regular file.
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "nitro-fault-util.h"
#include "nitro-launch-util.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/temp-tree.h"

#define MEMFD(size) "-M nitro,memory-backend=ram -m " size " -object " \
    "memory-backend-memfd,id=ram,size=" size ",hugetlb=on,share=on "
#define MOST_FILES 64
#define ANY_MEMORY "0xffffffffffffffff"

static char *make_kernel(Launch *launch)
{
    char *path = launch_path(launch, "kernel");

    write_kernel_file(path, 8192);
    return path;
}

/* Descriptors */

/* Without a descriptor of its own the library sees no enclave end: status 5 */
static int launch_with_files(unsigned max_files, bool ours)
{
    Launch *launch = launch_new();
    g_autofree char *kernel = make_kernel(launch);
    int status;

    launch->max_files = max_files;
    launch_set(launch, "NE_FAKE_SYS", "%s", launch->dir);
    launch_start(launch, "-M nitro -m 64M -global nitro-heartbeat.timeout=1 "
                 "-kernel %s", kernel);
    launch_wait(launch);
    status = launch->status;
    if (ours && status != STATUS_ENDED && status != STATUS_DEADLINE) {
        g_assert(status == STATUS_REFUSED || status == STATUS_DRIVER);
        launch_expect_remedy(launch, "oo many");
        launch_expect_said(launch, "ulimit -n");
    }
    launch_free(launch);
    return status;
}

/*
 * One more at a time.  What there is before the driver is opened, and aborts
 * for lack of descriptors, is QEMU's and GLib's main loop.
 */
static void test_files(void)
{
    bool ours = false;
    unsigned refused = 0;

    for (unsigned n = 3; n < MOST_FILES; n++) {
        int status = launch_with_files(n, ours);

        if (status == STATUS_ENDED) {
            g_test_message("%u limits of files refused, %u suffice", refused,
                           n);
            g_assert_cmpuint(refused, >, 4);
            return;
        }
        ours = ours || status == STATUS_DRIVER;
        refused += ours;
    }
    g_test_fail();
}

/* Memory */

static const struct Memory {
    const char *path;
    const char *options;
    const char *message;
    const char *hint;           /* QEMU's own messages have none */
    const char *host;           /* bytes it has, NULL: any number */
} memories[] = {
    { "exbibyte", "-M nitro -m 1E", "unable to map backing store",
      "needs 549755813888 huge pages of 2M: reserve them" },
    { "most", "-M nitro -m 15E", "failed to resize memfd",
      "needs 8246337208320 huge pages of 2M: reserve them" },
    { "out-of-range", "-M nitro -m 16E", "'16E' is out of range" },
    { "more-than-host", "-M nitro -m 64T", "-m 65536G is more than the memory "
      "of this host, 4096G", "use less of it, or a larger instance",
      "0x40000000000" },
    { "given-exbibyte", MEMFD("1E"), "unable to map backing store" },
};

static void test_memory(const void *opaque)
{
    const struct Memory *memory = opaque;
    Launch *launch = launch_new();
    g_autofree char *kernel = make_kernel(launch);

    /* Nothing there: the kernel does not say how many pages it has */
    launch_set(launch, "NE_FAKE_SYS", "%s", launch->dir);
    launch_set(launch, "NE_FAKE_MEMORY", "%s", memory->host ?: ANY_MEMORY);
    launch_start(launch, "%s -kernel %s", memory->options, kernel);
    launch_wait(launch);
    launch_expect(launch, STATUS_REFUSED);
    launch_expect_said(launch, memory->message);
    launch_expect_said(launch, memory->hint ?: "");
    launch_free(launch);
}

/* Memory for several TiB, none of which is touched */
static void test_tebibytes(void)
{
    Launch *launch = launch_new();
    g_autofree char *kernel = make_kernel(launch);

    launch_set(launch, "NE_FAKE_SYS", "%s", launch->dir);
    launch_set(launch, "NE_FAKE_MEMORY", ANY_MEMORY);
    launch_start(launch, "-M nitro -m 3T -kernel %s", kernel);
    launch_wait(launch);
    launch_expect(launch, STATUS_ENDED);
    g_assert_cmpuint(count_parts(launch->log, "size=3298534883328\n"), ==, 1);
    launch_free(launch);
}

/* Sparse files; what is in them is never read */
static void make_sparse(const char *path, uint64_t size)
{
    g_assert_cmpint(truncate(path, size), ==, 0);
}

static void test_large_kernel(const void *opaque)
{
    const char *option = opaque;
    Launch *launch = launch_new();
    g_autofree char *kernel = make_kernel(launch);
    g_autofree char *large = launch_path(launch, "large");

    write_kernel_file(large, 8192);
    make_sparse(large, 2 * TiB);
    launch_start(launch, LAUNCH_MEMORY "-kernel %s%s%s",
                 option ? kernel : large, option ?: "", option ? large : "");
    launch_wait(launch);
    launch_expect(launch, STATUS_REFUSED);
    launch_expect_remedy(launch, "image needs 21990232");
    launch_expect_said(launch, "Raise -m to at least 2097");
    launch_free(launch);
}

/* The tables say so, too */
static void test_large_sections(const void *opaque)
{
    uint64_t size = GPOINTER_TO_SIZE(opaque);
    Launch *launch = launch_new();
    g_autofree char *path = launch_path(launch, "eif");
    g_autoptr(GByteArray) image =
        eif_maker_image(4, arch_is_arm(), "UCMR");
    uint64_t last = ldq_be_p(image->data + AT_OFFSETS + 8 * 3);
    uint64_t room = size - last - SECTION_HEADER_LEN;

    stq_be_p(image->data + AT_SIZES + 8 * 3, room);
    stq_be_p(image->data + last + 4, room);
    g_assert(g_file_set_contents(path, (char *)image->data, image->len, NULL));
    make_sparse(path, MIN(size, 2 * TiB));
    launch_start(launch, LAUNCH_MEMORY "-kernel %s", path);
    launch_wait(launch);
    launch_expect(launch, STATUS_REFUSED);
    launch_expect_remedy(launch, size > 2 * TiB ? "section 3 (ramdisk)"
                                                : "image needs 2199023255552");
    launch_free(launch);
}

/* /sys */

static const char *const listings[] = {
    "sys/module/nitro_enclaves/parameters/ne_cpus/x",
    "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages/x",
    "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages/x",
    "sys/devices/system/node/possible/x",
    "sys/devices/system/cpu/cpu0/topology/thread_siblings_list/x",
};

/* What cannot be known beforehand is for the driver to refuse */
static void expect_launch(Launch *launch, const char *more)
{
    g_autofree char *kernel = make_kernel(launch);

    launch_start(launch, "-M nitro -m 64M -kernel %s %s", kernel, more);
    launch_wait(launch);
    launch_expect(launch, STATUS_ENDED);
    launch_free(launch);
}

static void test_sys(const void *opaque)
{
    Launch *launch = launch_new();

    launch_set(launch, "NE_FAKE_FAULT", "sys:%d:1", GPOINTER_TO_INT(opaque));
    expect_launch(launch, "");
}

/* Directories in place of files: they open, but cannot be read */
static void test_sys_unreadable(void)
{
    Launch *launch = launch_new();

    for (size_t i = 0; i < ARRAY_SIZE(listings); i++) {
        temp_tree_put(launch->dir, listings[i], "");
    }
    launch_set(launch, "NE_FAKE_SYS", "%s/sys", launch->dir);
    expect_launch(launch, "");
}

/* The driver still refuses, then without numbers */
static void test_sys_refused(void)
{
    Launch *launch = launch_new();
    g_autofree char *kernel = make_kernel(launch);

    launch_set(launch, "NE_FAKE_FAULT", "sys:%d:1", EACCES);
    launch_set(launch, "NE_FAKE_POOL", "1:1");
    launch_start(launch, "-M nitro -m 64M -kernel %s", kernel);
    launch_wait(launch);
    launch_expect(launch, STATUS_DRIVER);
    launch_expect_remedy(launch, "cannot add vCPU 2 of 2: the enclave CPU "
                         "pool has no free CPU left");
    launch_free(launch);
}

/* Pipes and block devices */

static void test_fifo(const void *opaque)
{
    bool initrd = opaque;
    Launch *launch = launch_new();
    g_autofree char *kernel = make_kernel(launch);
    g_autofree char *fifo = launch_path(launch, "fifo");

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    launch_start(launch, LAUNCH_MEMORY "-kernel %s -initrd %s",
                 initrd ? kernel : fifo, fifo);
    launch_wait(launch);
    launch_expect(launch, STATUS_REFUSED);
    launch_expect_remedy(launch, "is a pipe, socket or character device");
    launch_free(launch);
}

static char *write_block_image(Launch *launch)
{
    char *path = launch_path(launch, "image");
    g_autoptr(GByteArray) image =
        eif_maker_image(4, arch_is_arm(), LAUNCHABLE);

    g_assert(g_file_set_contents(path, (char *)image->data, image->len, NULL));
    make_sparse(path, 1 * MiB);
    return path;
}

static char *first_line(const char *command)
{
    g_autofree char *all = NULL;
    int status;

    if (!g_spawn_command_line_sync(command, &all, NULL, &status, NULL) ||
        status) {
        return NULL;
    }
    return g_strndup(all, strcspn(all, "\n"));
}

static void launch_on(Launch *launch, const char *device)
{
    launch_start(launch, LAUNCH_MEMORY "-kernel %s", device);
    launch_wait(launch);
    launch_expect(launch, STATUS_ENDED);
}

static void test_block_device(void)
{
    Launch *launch = launch_new();
    g_autofree char *image = write_block_image(launch);
    g_autofree char *setup = g_strdup_printf("losetup -r -f --show %s", image);
    g_autofree char *device = first_line(setup);
    g_autofree char *detach = g_strdup_printf("losetup -d %s", device);

    if (!device) {
        g_test_skip("no loop device can be had: losetup is missing, or "
                    "the user is not root");
    } else {
        launch_on(launch, device);
        g_free(first_line(detach));
    }
    launch_free(launch);
}

/* The same for everybody: a file with the status of a block device */
static void test_block_status(void)
{
    Launch *launch = launch_new();
    g_autofree char *image = write_block_image(launch);

    launch_set(launch, "NE_FAKE_BLOCK", "%s", image);
    launch_on(launch, image);
    launch_free(launch);
}

static void add_sys_tests(void)
{
    static const int errors[] = { EACCES, EPERM, ENOENT, EIO, ELOOP, ENOMEM };

    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/fault/sys/%d",
                                                errors[i]);

        qtest_add_data_func(path, GINT_TO_POINTER(errors[i]), test_sys);
    }
    qtest_add_func("/nitro/fault/sys/unreadable", test_sys_unreadable);
    qtest_add_func("/nitro/fault/sys/refused", test_sys_refused);
}

void add_fault_host_tests(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(memories); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/fault/memory/%s",
                                                memories[i].path);

        qtest_add_data_func(path, &memories[i], test_memory);
    }
    qtest_add_func("/nitro/fault/memory/tebibytes", test_tebibytes);
    qtest_add_data_func("/nitro/fault/large/kernel", NULL, test_large_kernel);
    qtest_add_data_func("/nitro/fault/large/initrd", " -initrd ",
                        test_large_kernel);
    qtest_add_data_func("/nitro/fault/large/sections",
                        GSIZE_TO_POINTER(2 * TiB), test_large_sections);
    qtest_add_data_func("/nitro/fault/large/lies", GSIZE_TO_POINTER(7 * EiB),
                        test_large_sections);
    qtest_add_data_func("/nitro/fault/fifo/kernel", NULL, test_fifo);
    qtest_add_data_func("/nitro/fault/fifo/initrd", "", test_fifo);
    qtest_add_func("/nitro/fault/block/device", test_block_device);
    qtest_add_func("/nitro/fault/block/status", test_block_status);
    qtest_add_func("/nitro/fault/files", test_files);
    add_sys_tests();
}
