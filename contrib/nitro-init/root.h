/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The configured root: its image, if there is one, and the way into it.
 */

#ifndef NITRO_INIT_ROOT_H
#define NITRO_INIT_ROOT_H

#include "config.h"

/*
 * root_enter: mount the configured image and make the configured root "/"
 * @why: filled in on failure with one line: which names, and the cause
 *
 * Returns: 0, also when no root is configured, or -1
 */
int root_enter(const struct config *config, char *why, size_t why_size);

#endif
