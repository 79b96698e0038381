/*
 * Nitro Enclaves: the parent's CPU pool, as sysfs shows it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver takes the pool's CPUs offline; enclaves get whole cores of it.
 * Only the driver knows which of them other enclaves have.  Reading and
 * checking here lets a launch fail with a reason before the driver is asked for
 * anything; what sysfs does not show is left to the driver.
 *
 * No QOM, no BQL; always built.
 */
#ifndef SYSTEM_NITRO_POOL_H
#define SYSTEM_NITRO_POOL_H

/* Where sysfs is, except in tests */
#define NITRO_SYSFS "/sys"

/* CPU numbers beyond this are taken for mistakes */
#define NITRO_CPU_LAST 8191

/**
 * NitroPool: what sysfs shows of the pool
 * @cpus: uint32_t each, ascending; empty when no pool was set
 * @threads: threads per core of this instance, 0 when not known
 * @step: difference between the numbers of two threads of a core; 0 when not
 *        known
 * @node: NUMA node of the pool, -1 when not known
 */
typedef struct NitroPool {
    GArray *cpus;
    unsigned threads;
    unsigned step;
    int node;
} NitroPool;

/**
 * nitro_pool_read: read the pool
 * @sysfs: NITRO_SYSFS, or a directory that looks like it
 *
 * Returns: the pool, to be freed; NULL when the driver's module is not there,
 * or its parameter cannot be read or understood.
 */
NitroPool *nitro_pool_read(const char *sysfs);

void nitro_pool_free(NitroPool *pool);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NitroPool, nitro_pool_free)

/**
 * nitro_cpus_parse: read the value of -accel nitro,cpus=
 * @text: numbers and ranges, separated by colons: "2:6", "2-3:6-7"
 * @errp: filled in when it is not a list, or names CPU 0 or a CPU twice
 *
 * Returns: the numbers (uint32_t) in the order given, to be unreferenced;
 * NULL on failure.
 */
GArray *nitro_cpus_parse(const char *text, Error **errp);

/**
 * nitro_cpus_str: format a list of CPUs
 * @cpus: numbers (uint32_t)
 * @separator: between numbers and ranges
 *
 * Returns: text to be freed, neighbours joined to ranges.
 */
char *nitro_cpus_str(const GArray *cpus, char separator);

/**
 * nitro_pool_check: would the pool suffice if no other enclave used it?
 * @pool: the pool, NULL when it is not known
 * @cpus: CPUs the user named (uint32_t), NULL or empty: the driver chooses
 * @vcpus: number of vCPUs
 * @errp: filled in with the first reason why not
 *
 * Returns: true when they can, or when it is not known.
 */
bool nitro_pool_check(const NitroPool *pool, const GArray *cpus,
                      unsigned vcpus, Error **errp);

/**
 * nitro_pool_check_node: may memory of this NUMA node be given to an enclave?
 * @pool: the pool, NULL when it is not known
 * @node: the node
 * @id: name of the memory backend that is bound to it
 * @errp: filled in when the pool is on another node
 *
 * Returns: true when it may, or when it is not known.
 */
bool nitro_pool_check_node(const NitroPool *pool, unsigned node,
                           const char *id, Error **errp);

/**
 * nitro_pool_default_vcpus: vCPUs of the smallest enclave, one core
 * @pool: the pool, NULL when it is not known
 *
 * Returns: number of vCPUs, 0 when it is not known.
 */
unsigned nitro_pool_default_vcpus(const NitroPool *pool);

#endif /* SYSTEM_NITRO_POOL_H */
