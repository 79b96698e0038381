/*
 * Nitro Enclaves: huge pages of the host
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_NITRO_MACHINE_HUGEPAGES_H
#define HW_NITRO_MACHINE_HUGEPAGES_H

/**
 * nitro_hugepages_check: are there enough huge pages now?
 * @sysfs: "/sys", or a directory that looks like it
 * @size: bytes that are needed
 * @page_size: size of the pages, in bytes
 * @node: NUMA node they have to be on, -1 when any will do
 * @errp: filled in with what is needed, free, in use and reserved, and with
 *   the command that changes it
 *
 * Returns: true when there are, or when the host does not say
 */
bool nitro_hugepages_check(const char *sysfs, uint64_t size,
                           uint64_t page_size, int node, Error **errp);

/**
 * nitro_hugepages_default: size of the pages to use by default
 * @sysfs: "/sys", or a directory that looks like it
 *
 * The driver takes pages of 2 MiB and more.  The sizes depend on CPU, kernel
 * and, on arm64, on the size of its base pages.
 *
 * Returns: the smallest size of those that the kernel has and the driver
 *   takes; 2 MiB when the host does not say.
 */
uint64_t nitro_hugepages_default(const char *sysfs);

/**
 * nitro_hugepages_sizes: list the sizes that can be used
 * @sysfs: "/sys", or a directory that looks like it
 * @separator: what to put between sizes
 *
 * Returns: sizes that the kernel has and the driver takes, for example "2M"
 *   and "1G"; empty when the host does not say; to be freed.
 */
char *nitro_hugepages_sizes(const char *sysfs, const char *separator);

/**
 * nitro_hugepages_may_come: would there be enough if none were in use?
 * @sysfs: "/sys", or a directory that looks like it
 * @size: bytes that are needed
 * @page_size: size of the pages, in bytes
 *
 * Returns: false when waiting for them cannot help
 */
bool nitro_hugepages_may_come(const char *sysfs, uint64_t size,
                              uint64_t page_size);

/**
 * nitro_machine_size_str: format a size as -m accepts it
 * @size: bytes
 *
 * Returns: for example "512M", to be freed
 */
char *nitro_machine_size_str(uint64_t size);

#endif
