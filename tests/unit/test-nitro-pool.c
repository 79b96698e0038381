/*
 * Nitro Enclaves: the parent's CPU pool, as sysfs shows it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sysfs is a directory of ordinary files.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "system/nitro-pool.h"
#include "tests/nitro/error-text.h"
#include "tests/nitro/temp-tree.h"

#define POOL "module/nitro_enclaves/parameters/ne_cpus"
#define SIBLINGS "devices/system/cpu/cpu0/topology/thread_siblings_list"
#define ONLINE "devices/system/cpu/online"
#define NODES "devices/system/node/possible"

static char *sysfs;

static void put(const char *name, const char *text)
{
    temp_tree_put(sysfs, name, text);
}

/* The values of cpus= */

static const struct {
    const char *text;
    const char *normal;         /* NULL: refused */
    const char *reason;
} wishes[] = {
    { "2", "2" },
    { "2:6", "2:6" },
    { "6:2", "6:2" },
    { "2-3:6-7", "2-3:6-7" },
    { "2:3:4:8", "2-4:8" },
    { "5-5", "5" },
    { "8191", "8191" },
    { "", NULL, "cpus= is not a list of CPU numbers" },
    { ":", NULL, "cpus=: is not a list" },
    { "2:", NULL, "cpus=2: is not a list" },
    { ":2", NULL, "is not a list" },
    { "2::3", NULL, "is not a list" },
    { "2;3", NULL, "is not a list" },
    { " 2", NULL, "is not a list" },
    { "+2", NULL, "is not a list" },
    { "-2", NULL, "is not a list" },
    { "2-", NULL, "is not a list" },
    { "3-2", NULL, "is not a list" },
    { "2-3-4", NULL, "is not a list" },
    { "0x2", NULL, "is not a list" },
    { "a", NULL, "Use numbers and ranges, separated by colons: cpus=2:6" },
    { "8192", NULL, "is not a list" },
    { "2-4294967298", NULL, "is not a list" },
    { "99999999999999999999", NULL, "is not a list" },
    { "2:6:2", NULL, "cpus=2:6:2 names CPU 2 twice" },
    { "2-5:4", NULL, "names CPU 4 twice" },
    { "0:2", NULL, "cpus=0:2 names CPU 0, which always stays with the parent" },
};

static void test_wishes(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(wishes); i++) {
        Error *err = NULL;
        g_autoptr(GArray) cpus = nitro_cpus_parse(wishes[i].text, &err);
        g_autofree char *text = NULL;

        g_assert_cmpint(!cpus, ==, !wishes[i].normal);
        if (cpus) {
            g_assert_null(err);
            text = nitro_cpus_str(cpus, ':');
            g_assert_cmpstr(text, ==, wishes[i].normal);
        } else {
            text = error_text(err);
            assert_contains(text, wishes[i].reason);
        }
    }
}

/* The pool as the kernel shows it: whatever root wrote */

static const struct {
    const char *text;
    const char *cpus;           /* NULL: not understood */
} pools[] = {
    { "2-3\n", "2-3" },
    { "2,6\n", "2,6" },
    { "6,2,3\n", "2-3,6" },
    { " 1, 3 5-7\t\n", "1,3,5-7" },
    { "2-10:1/2", "2,4,6,8,10" },
    { "0-8:2/4", "0-1,4-5,8" },
    { "1,1-2", "1-2" },
    { "\n", "" },
    { "", "" },
    { "2-N\n", NULL },
    { "all\n", NULL },
    { "2-9999\n", NULL },
    { "2-10:0/2\n", NULL },
    { "2-10:3/2\n", NULL },
    { "2-10:1\n", NULL },
    { "2x\n", NULL },
};

static void test_pools(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(pools); i++) {
        g_autoptr(NitroPool) pool = NULL;
        g_autofree char *text = NULL;

        put(POOL, pools[i].text);
        pool = nitro_pool_read(sysfs);
        g_assert_cmpint(!pool, ==, !pools[i].cpus);
        if (pool) {
            text = nitro_cpus_str(pool->cpus, ',');
            g_assert_cmpstr(text, ==, pools[i].cpus);
        }
    }
    put(POOL, NULL);
    g_assert_null(nitro_pool_read(sysfs));
}

static void test_threads(void)
{
    static const struct {
        const char *siblings;
        unsigned threads;
    } rows[] = {
        { "0-1\n", 2 }, { "0,48\n", 2 }, { "0\n", 1 }, { "0-3\n", 4 },
        { "?\n", 0 }, { NULL, 0 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(NitroPool) pool = NULL;

        put(POOL, "2-7\n");
        put(SIBLINGS, rows[i].siblings);
        pool = nitro_pool_read(sysfs);
        g_assert_cmpuint(pool->threads, ==, rows[i].threads);
        g_assert_cmpuint(nitro_pool_default_vcpus(pool), ==, rows[i].threads);
    }
    g_assert_cmpuint(nitro_pool_default_vcpus(NULL), ==, 0);
    put(POOL, "\n");
    put(SIBLINGS, "0-1\n");
    {
        g_autoptr(NitroPool) pool = nitro_pool_read(sysfs);

        g_assert_cmpuint(nitro_pool_default_vcpus(pool), ==, 0);
    }
}

static int node_of_pool(void)
{
    g_autoptr(NitroPool) pool = nitro_pool_read(sysfs);

    return pool->node;
}

static void test_node(void)
{
    put(POOL, "50-51\n");
    put(NODES, NULL);
    g_assert_cmpint(node_of_pool(), ==, -1);
    put(NODES, "0-1\n");
    g_assert_cmpint(node_of_pool(), ==, -1);
    put("devices/system/cpu/cpu2/node0/cpulist", "0-49\n");
    g_assert_cmpint(node_of_pool(), ==, -1);
    put("devices/system/cpu/cpu50/node1/cpulist", "52-95\n");
    g_assert_cmpint(node_of_pool(), ==, 1);
    put(POOL, "2-3\n");
    g_assert_cmpint(node_of_pool(), ==, 0);
    put(POOL, "\n");
    g_assert_cmpint(node_of_pool(), ==, -1);
}

static void test_other_node(void)
{
    g_autoptr(NitroPool) pool = NULL;
    g_autofree char *text = NULL;
    Error *err = NULL;

    put(POOL, "50-51\n");
    pool = nitro_pool_read(sysfs);
    g_assert_true(nitro_pool_check_node(pool, 1, "ram", &error_abort));
    g_assert_true(nitro_pool_check_node(NULL, 0, "ram", &error_abort));
    g_assert_false(nitro_pool_check_node(pool, 0, "ram", &err));
    text = error_text(err);
    assert_contains(text, "memory backend 'ram' uses NUMA node 0, the enclave "
                    "CPU pool is on node 1");
    assert_contains(text, "Use host-nodes=1,policy=bind.");
    pool->node = -1;
    g_assert_true(nitro_pool_check_node(pool, 0, "ram", &error_abort));
}

/* The checks */

static const struct {
    const char *pool;           /* NULL: none to be read */
    const char *siblings;
    const char *cpus;           /* NULL: the driver chooses */
    unsigned vcpus;
    const char *message;        /* NULL: good */
    const char *hint;
} checks[] = {
    { NULL, "0-1", NULL, 3 },
    { NULL, "0-1", "2:9", 2 },
    { NULL, "0-1", "2:9", 4, "cpus= names 2 CPUs for 4 vCPUs",
      "Use -smp 2, or name 4 CPUs." },
    { "2-7", "0-1", NULL, 2 },
    { "2-7", "0-1", NULL, 6 },
    { "2-7", "0-1", "6-7:3:2", 4 },
    { "2-7", "0", NULL, 3 },
    { "2-7", "?", NULL, 3 },
    { "2,6", "0,4", "2:6", 2 },
    { "", "0-1", NULL, 2, "2 vCPUs requested, the enclave CPU pool is empty",
      "Set cpu_count in /etc/nitro_enclaves/allocator.yaml" },
    { "2-3", "0-1", NULL, 4,
      "4 vCPUs requested, the enclave CPU pool holds 2 (CPUs 2-3)",
      "Use -smp 2, or raise cpu_count in /etc/nitro_enclaves" },
    { "2-7", "0-1", NULL, 3,
      "-smp 3 is not a whole number of cores (2 threads per core)",
      "Use -smp 2 or -smp 4." },
    { "2-7", "0-1", NULL, 1, "-smp 1 is not a whole number of cores",
      "Use -smp 2.\n" },
    { "2-6", "0-1", NULL, 5, "-smp 5 is not a whole", "Use -smp 4.\n" },
    { "4-11", "0-3", NULL, 6, "(4 threads per core)",
      "Use -smp 4 or -smp 8." },
    { "2-7", "0-1", "2:8", 2,
      "CPU 8 is not in the enclave CPU pool (CPUs 2-7)",
      "Pick CPUs of the pool, or add it to cpu_pool" },
    { "2-7", "0-1", "2-4", 3, "-smp 3 is not a whole", "-smp 2 or -smp 4" },
};

static void test_checks(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        g_autoptr(NitroPool) pool = NULL;
        g_autoptr(GArray) cpus = NULL;
        g_autofree char *text = NULL;
        Error *err = NULL;
        bool good;

        put(POOL, checks[i].pool);
        put(SIBLINGS, checks[i].siblings);
        pool = nitro_pool_read(sysfs);
        if (checks[i].cpus) {
            cpus = nitro_cpus_parse(checks[i].cpus, &error_abort);
        }
        good = nitro_pool_check(pool, cpus, checks[i].vcpus, &err);
        g_assert_cmpint(good, ==, !checks[i].message);
        g_assert_cmpint(good, ==, !err);
        if (err) {
            text = error_text(err);
            assert_contains(text, checks[i].message);
            assert_contains(text, checks[i].hint);
        }
    }
}

/* Whole cores, by the numbers of their threads */

static const struct {
    const char *siblings[4];    /* of the CPUs that are online, from 0 on */
    const char *pool;
    const char *cpus;
    const char *message;        /* NULL: good, or not known */
    const char *hint;
} cores[] = {
    { { "0-1", "0-1" }, "2-7", "2:3" },
    { { "0-1", "0-1" }, "2-7", "7:3:2:6" },
    { { "0-1", "0-1" }, "2-7", "3:4", "cpus= names CPU 3, but not CPU 2 of "
      "the same core (2 threads per core)",
      "Name whole cores, e.g. cpus=2-3.\n" },
    { { "0-1", "0-1" }, "2-7", "2:3:4:7", "CPU 4, but not CPU 5",
      "cpus=2-5.\n" },
    { { "0,4", "1,5" }, "2-3,6-7", "2:6" },
    { { "0,4", "1,5" }, "2-3,6-7", "2-3", "CPU 2, but not CPU 6 of",
      "cpus=2:6.\n" },
    { { "0-3", "0-3", "0-3", "0-3" }, "4-11", "4-6:8", "CPU 4, but not CPU 7",
      "cpus=4-7.\n" },
    { { "0", "1" }, "2-7", "3:5:6" },
    /* Numbered in no way that is known */
    { { "0-1", "1,4" }, "2-7", "3:4" },
    { { "0-1", "0-1", "2", "3" }, "4-7", "4:6" },
    { { "0-1", "?" }, "2-7", "3:4" },
    { { "0-1" }, "2-7", "3:4" },
};

static void put_siblings(const char *const siblings[4])
{
    for (int cpu = 0; cpu < 4; cpu++) {
        g_autofree char *name =
            g_strdup_printf("devices/system/cpu/cpu%d/topology/"
                            "thread_siblings_list", cpu);

        put(name, siblings[cpu]);
    }
}

static void test_cores(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(cores); i++) {
        g_autoptr(GArray) cpus = nitro_cpus_parse(cores[i].cpus, &error_abort);
        g_autoptr(NitroPool) pool = NULL;
        g_autofree char *text = NULL;
        Error *err = NULL;

        put(POOL, cores[i].pool);
        put(ONLINE, cores[i].siblings[2] ? "0-3\n" : "0-1\n");
        put_siblings(cores[i].siblings);
        pool = nitro_pool_read(sysfs);
        g_assert_cmpint(nitro_pool_check(pool, cpus, cpus->len, &err), ==,
                        !cores[i].message);
        g_assert_cmpint(!err, ==, !cores[i].message);
        if (err) {
            text = error_text(err);
            assert_contains(text, cores[i].message);
            assert_contains(text, cores[i].hint);
        }
    }
    put(ONLINE, NULL);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    sysfs = g_dir_make_tmp("nitro-pool-XXXXXX", NULL);
    g_assert_nonnull(sysfs);
    g_test_add_func("/nitro/pool/wishes", test_wishes);
    g_test_add_func("/nitro/pool/pools", test_pools);
    g_test_add_func("/nitro/pool/threads", test_threads);
    g_test_add_func("/nitro/pool/node", test_node);
    g_test_add_func("/nitro/pool/other-node", test_other_node);
    g_test_add_func("/nitro/pool/checks", test_checks);
    g_test_add_func("/nitro/pool/cores", test_cores);
    ret = g_test_run();
    temp_tree_remove(sysfs);
    g_free(sysfs);
    return ret;
}
