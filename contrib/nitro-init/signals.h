/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Signals by their names.
 */

#ifndef NITRO_INIT_SIGNALS_H
#define NITRO_INIT_SIGNALS_H

/*
 * signal_number: "TERM", "SIGTERM", "RTMIN+3", "RTMAX-2" or "15" as a number
 *
 * Returns: the number, 1 to 64; 0 if Linux has no such signal
 */
int signal_number(const char *name);

#endif
