/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The enclave's clock.  Its sources belong to the hypervisor, not to the
 * parent: a PTP clock, or the time in a document of the security module.
 */

#ifndef NITRO_INIT_CLOCK_H
#define NITRO_INIT_CLOCK_H

#include <stdint.h>

#include "config.h"

#define CLOCK_INTERVAL_S 300    /* between two calls of clock_follow() */

/* clock_ms: ms since the enclave has started, for deadlines; never stepped */
int64_t clock_ms(void);

/*
 * clock_set: set the clock once, before the application starts
 *
 * Steps by any amount to a time between 2024 and 2100, and reports steps of
 * more than half a second.
 */
void clock_set(enum clock_mode mode);

/*
 * clock_follow: slew by up to a second, step by up to an hour, which is
 * reported; more is refused and reported, as no clock drifts like that
 */
void clock_follow(enum clock_mode mode);

#endif
