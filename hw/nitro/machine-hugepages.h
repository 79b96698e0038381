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
 * Returns: true when there are, or when the host does not tell
 */
bool nitro_hugepages_check(const char *sysfs, uint64_t size,
                           uint64_t page_size, int node, Error **errp);

/**
 * nitro_machine_size_str: a size the way -m takes it
 * @size: bytes
 *
 * Returns: for example "512M", to be freed
 */
char *nitro_machine_size_str(uint64_t size);

#endif
