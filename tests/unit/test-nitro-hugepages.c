/*
 * Nitro Enclaves: huge pages of the host
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sysfs is a directory of ordinary files.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/units.h"
#include "hw/nitro/machine-hugepages.h"
#include "tests/nitro/error-text.h"
#include "tests/nitro/temp-tree.h"

#define ALL "kernel/mm"
#define NODE "devices/system/node/node1"

static char *sysfs;

static void put(const char *where, uint64_t page_size, const char *name,
                int value)
{
    g_autofree char *path =
        g_strdup_printf("%s/hugepages/hugepages-%" PRIu64 "kB/%s", where,
                        page_size / KiB, name);
    g_autofree char *text = g_strdup_printf("%d\n", value);

    temp_tree_put(sysfs, path, value < 0 ? NULL : text);
}

/* Pages of 2 MiB; -1: no such file */
static const struct Row {
    uint64_t size;
    int node;
    int total, unused, promised, overcommit, surplus;
    int node_total, node_unused;
    const char *message;        /* NULL: enough */
    const char *hint;
} rows[] = {
    { 64 * MiB, -1, 32, 32, 0, 0, 0, -1, -1 },
    { 64 * MiB, -1, 32, 31, 0, 1, 0, -1, -1 },
    { 64 * MiB, -1, -1, 0, 0, 0, 0, -1, -1 },
    { 64 * MiB, -1, 0, -1, 0, 0, 0, -1, -1 },
    { 64 * MiB, -1, 40, 32, -1, -1, -1, -1, -1 },
    { 64 * MiB, -1, 0, 0, 0, 0, 0, -1, -1,
      "-m 64M needs 32 huge pages of 2M, 0 are free (0 in all, 0 in use, 0 "
      "reserved by others)", "echo 32 > " },
    { 64 * MiB, -1, 40, 33, 5, 0, 0, -1, -1,
      "32 huge pages of 2M, 28 are free (40 in all, 7 in use, 5 reserved by "
      "others)", "echo 44 > " },
    { 64 * MiB, -1, 40, 3, 5, 0, 0, -1, -1, "0 are free (40 in all, 37 in use",
      "echo 72 > " },
    { 64 * MiB, -1, 31, 31, 0, 4, 4, -1, -1, "31 are free", "echo 32 > " },
    { 64 * MiB, -1, 31, 31, 0, 4, 9, -1, -1, "31 are free", "echo 32 > " },
    /* On the pool's node */
    { 64 * MiB, 1, 64, 64, 0, 0, 0, 32, 32 },
    { 64 * MiB, 1, 64, 64, 0, 0, 0, -1, -1 },
    { 64 * MiB, 1, 64, 40, 0, 4, 0, 32, 28 },
    { 64 * MiB, 1, 64, 40, 0, 0, 0, 20, 12,
      "-m 64M needs 32 huge pages of 2M on NUMA node 1, where the enclave "
      "CPU pool is: 12 are free there, 40 in all", "echo 40 > /sys/devices/"
      "system/node/node1/hugepages/hugepages-2048kB/nr_hugepages" },
    { 64 * MiB, 1, 64, 12, 0, 0, 0, 20, 12, "12 are free (64 in all",
      "echo 84 > " },
    { 1 * GiB, -1, 0, 0, 0, 0, 0, -1, -1, "-m 1G needs 512 huge pages of 2M",
      "echo 512 > " },
};

/* Waiting for others is of use: there are as many, or can be */
static bool may_come(const struct Row *row)
{
    int extra = MAX(row->overcommit, 0) - MAX(row->surplus, 0);

    return row->total >= 0 && row->unused >= 0 &&
           row->size / (2 * MiB) <= row->total + MAX(extra, 0);
}

static void test_counts(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Error *err = NULL;
        bool enough;

        put(ALL, 2 * MiB, "nr_hugepages", rows[i].total);
        put(ALL, 2 * MiB, "free_hugepages", rows[i].unused);
        put(ALL, 2 * MiB, "resv_hugepages", rows[i].promised);
        put(ALL, 2 * MiB, "nr_overcommit_hugepages", rows[i].overcommit);
        put(ALL, 2 * MiB, "surplus_hugepages", rows[i].surplus);
        put(NODE, 2 * MiB, "nr_hugepages", rows[i].node_total);
        put(NODE, 2 * MiB, "free_hugepages", rows[i].node_unused);
        enough = nitro_hugepages_check(sysfs, rows[i].size, 2 * MiB,
                                       rows[i].node, &err);
        g_assert_cmpint(enough, ==, !rows[i].message);
        g_assert_cmpint(enough, ==, !err);
        g_assert_cmpint(may_come(&rows[i]), ==,
                        nitro_hugepages_may_come(sysfs, rows[i].size,
                                                 2 * MiB));
        if (err) {
            g_autofree char *text = error_text(err);

            assert_contains(text, rows[i].message);
            assert_contains(text, rows[i].hint);
            assert_contains(text, "Free pages of 2M: ");
            g_assert_null(strstr(text, "page-size"));
        }
    }
}

static void test_other_size(void)
{
    g_autofree char *small = NULL;
    g_autofree char *large = NULL;
    Error *err = NULL;

    put(ALL, 2 * MiB, "nr_hugepages", 0);
    put(ALL, 2 * MiB, "free_hugepages", 0);
    put(ALL, 1 * GiB, "nr_hugepages", 2);
    put(ALL, 1 * GiB, "free_hugepages", 2);
    g_assert_false(nitro_hugepages_check(sysfs, 2 * GiB, 2 * MiB, -1, &err));
    large = error_text(err);
    assert_contains(large, "-m 2G needs 1024 huge pages of 2M, 0 are free");
    assert_contains(large, "Or use -M nitro,page-size=1G: 2 pages of that");

    err = NULL;
    put(ALL, 2 * MiB, "nr_hugepages", 2000);
    put(ALL, 2 * MiB, "free_hugepages", 2000);
    g_assert_false(nitro_hugepages_check(sysfs, 3 * GiB, 1 * GiB, -1, &err));
    small = error_text(err);
    assert_contains(small, "-m 3G needs 3 huge pages of 1G, 2 are free");
    assert_contains(small, "Or use -M nitro,page-size=2M: 2000 pages of that");
}

/* Which sizes there are, and on which nodes */
static void test_inventory(void)
{
    g_autofree char *text = NULL;
    Error *err = NULL;

    put(ALL, 2 * MiB, "nr_hugepages", 64);
    put(ALL, 2 * MiB, "free_hugepages", 20);
    put(ALL, 2 * MiB, "resv_hugepages", 3);
    put(ALL, 1 * GiB, "nr_hugepages", 1);
    put(ALL, 1 * GiB, "free_hugepages", 0);
    put("devices/system/node/node0", 2 * MiB, "nr_hugepages", 32);
    put("devices/system/node/node0", 2 * MiB, "free_hugepages", 8);
    put(NODE, 2 * MiB, "nr_hugepages", 32);
    put(NODE, 2 * MiB, "free_hugepages", 12);
    g_assert_false(nitro_hugepages_check(sysfs, 64 * MiB, 2 * MiB, -1, &err));
    text = error_text(err);
    assert_contains(text, "needs 32 huge pages of 2M, 17 are free (64 in all, "
                    "44 in use, 3 reserved by others)");
    assert_contains(text, "\nFree pages of 2M: 17 of 64, node 0: 8 of 32, "
                    "node 1: 12 of 32.\nFree pages of 1G: 0 of 1.\n");
}

static void take_size(uint64_t page_size)
{
    put(ALL, page_size, "nr_hugepages", -1);
    put(ALL, page_size, "free_hugepages", -1);
}

static void test_no_such_size(void)
{
    g_autofree char *large = NULL;
    g_autofree char *small = NULL;
    Error *err = NULL;

    take_size(1 * GiB);
    put(ALL, 64 * KiB, "nr_hugepages", 0);
    put(ALL, 64 * KiB, "free_hugepages", 0);
    put(ALL, 2 * MiB, "nr_hugepages", 0);
    put(ALL, 2 * MiB, "free_hugepages", 0);
    g_assert_false(nitro_hugepages_check(sysfs, 1 * GiB, 1 * GiB, -1, &err));
    large = error_text(err);
    assert_contains(large, "the kernel has no huge pages of 1G, only of "
                    "64K, 2M");
    assert_contains(large, "Use -M nitro,page-size= with one of: 2M.");
    assert_contains(large, "boot the kernel with hugepagesz=1G");

    err = NULL;
    take_size(2 * MiB);
    g_assert_false(nitro_hugepages_check(sysfs, 64 * MiB, 2 * MiB, -1, &err));
    small = error_text(err);
    assert_contains(small, "no huge pages of 2M, only of 64K");
    g_assert_null(strstr(small, "page-size="));
    take_size(64 * KiB);
    /* Nothing is known */
    g_assert_true(nitro_hugepages_check(sysfs, 64 * MiB, 2 * MiB, -1,
                                        &error_abort));
}

/* Kernels of arm64 by the size of their base pages, and others */
static void test_kernels(void)
{
    static const struct {
        const char *name;
        uint64_t size[5];
        const char *usable;
        uint64_t chosen;
    } kernels[] = {
        { "arm64, 4K", { 64 * KiB, 2 * MiB, 32 * MiB, 1 * GiB },
          "2M, 32M, 1G", 2 * MiB },
        { "arm64, 16K", { 2 * MiB, 32 * MiB, 1 * GiB }, "2M, 32M, 1G",
          2 * MiB },
        { "arm64, 64K", { 2 * MiB, 512 * MiB, 16 * GiB }, "2M, 512M, 16G",
          2 * MiB },
        { "without contiguous pages", { 512 * MiB }, "512M", 512 * MiB },
        { "contiguous pages only", { 64 * KiB }, "", 2 * MiB },
        { "x86", { 2 * MiB, 1 * GiB }, "2M, 1G", 2 * MiB },
        { "none", { 0 }, "", 2 * MiB },
    };

    for (size_t i = 0; i < ARRAY_SIZE(kernels); i++) {
        g_autofree char *usable = NULL;
        const uint64_t *size;

        g_test_message("%s", kernels[i].name);
        take_size(1 * GiB);
        take_size(2 * MiB);
        for (size = kernels[i].size; *size; size++) {
            put(ALL, *size, "nr_hugepages", 0);
            put(ALL, *size, "free_hugepages", 0);
        }
        usable = nitro_hugepages_sizes(sysfs, ", ");
        g_assert_cmpstr(usable, ==, kernels[i].usable);
        g_assert_cmphex(nitro_hugepages_default(sysfs), ==, kernels[i].chosen);
        for (size = kernels[i].size; *size; size++) {
            take_size(*size);
        }
    }
}

/* An administrator of a kernel with 64 KiB pages may have reserved these */
static void test_large_default(void)
{
    g_autofree char *text = NULL;
    Error *err = NULL;

    put(ALL, 2 * MiB, "nr_hugepages", 0);
    put(ALL, 2 * MiB, "free_hugepages", 0);
    put(ALL, 512 * MiB, "nr_hugepages", 3);
    put(ALL, 512 * MiB, "free_hugepages", 2);
    g_assert_false(nitro_hugepages_check(sysfs, 1 * GiB, 2 * MiB, -1, &err));
    text = error_text(err);
    assert_contains(text, "Or use -M nitro,page-size=512M: 2 pages of that "
                    "size are free.");
    assert_contains(text, "Free pages of 512M: 2 of 3");
    take_size(512 * MiB);
    take_size(2 * MiB);
}

static void test_sizes(void)
{
    static const struct {
        uint64_t size;
        const char *text;
    } sizes[] = {
        { 4 * KiB, "4K" }, { 2 * MiB, "2M" }, { 512 * MiB, "512M" },
        { 1 * GiB, "1G" }, { 1536 * MiB, "1536M" }, { 2 * MiB + 4 * KiB,
        "2052K" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree char *text = nitro_machine_size_str(sizes[i].size);

        g_assert_cmpstr(text, ==, sizes[i].text);
    }
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    sysfs = g_dir_make_tmp("nitro-hugepages-XXXXXX", NULL);
    g_assert_nonnull(sysfs);
    g_test_add_func("/nitro/hugepages/counts", test_counts);
    g_test_add_func("/nitro/hugepages/other-size", test_other_size);
    g_test_add_func("/nitro/hugepages/inventory", test_inventory);
    g_test_add_func("/nitro/hugepages/no-such-size", test_no_such_size);
    g_test_add_func("/nitro/hugepages/kernels", test_kernels);
    g_test_add_func("/nitro/hugepages/large-default", test_large_default);
    g_test_add_func("/nitro/hugepages/sizes", test_sizes);
    ret = g_test_run();
    temp_tree_remove(sysfs);
    g_free(sysfs);
    return ret;
}
