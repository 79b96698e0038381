/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * What the parent adds to the measured configuration: variables, arguments
 * and files that the configuration allows by name.
 *
 * Nothing of it is part of the image's measurements.  So each addition is
 * extended into PCR16, which is locked before the application starts:
 * a document then shows what was added, and nobody can undo or repeat it.
 */

#ifndef NITRO_INIT_ADDITIONS_H
#define NITRO_INIT_ADDITIONS_H

#include <stdbool.h>

#include "agent.h"
#include "config.h"

#define ADDITIONS_REGISTER 16

/* additions_allowed: whether the configuration allows any */
bool additions_allowed(const struct config *config);

/*
 * additions_collect: take the parent's additions until it says that no more
 * come, or for @wait_ms without a word of it; then lock the register
 * @config: gets the variables and arguments
 *
 * An addition that is not allowed, or that could not be measured, is refused
 * and reported; the application still starts.
 */
void additions_collect(struct agent *agent, struct config *config,
                       int wait_ms);

#endif
