/*
 * Nitro Enclaves: texts that remedies in several files share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SYSTEM_NITRO_HINTS_H
#define SYSTEM_NITRO_HINTS_H

/* No descriptor is left (EMFILE) */
#define NITRO_HINT_FILES "Raise the limit, e.g. ulimit -n 4096."

/* Where the enclave CPU pool is set, and what applies the setting */
#define NITRO_HINT_ALLOCATOR "/etc/nitro_enclaves/allocator.yaml and restart " \
    "nitro-enclaves-allocator.service"

/* The number of huge pages of the default size */
#define NITRO_HINT_HUGE_PAGES "/proc/sys/vm/nr_hugepages"

#endif /* SYSTEM_NITRO_HINTS_H */
