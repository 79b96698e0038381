/*
 * Nitro Enclaves: remedies that more than one message has
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SYSTEM_NITRO_HINTS_H
#define SYSTEM_NITRO_HINTS_H

/* No descriptor is left (EMFILE) */
#define NITRO_HINT_FILES "Raise the limit, e.g. ulimit -n 4096."

#endif /* SYSTEM_NITRO_HINTS_H */
