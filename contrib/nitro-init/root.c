/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Names are cut: the cause behind them has to fit into a frame of the agent.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "image.h"
#include "mount.h"
#include "root.h"

int root_enter(const struct config *config, char *why, size_t why_size)
{
    const char *failed;

    if (!config->root) {
        return 0;
    }
    failed = config->root_image
        ? image_mount(config->root_image, config->root) : NULL;
    if (failed) {
        snprintf(why, why_size, "cannot mount root-image %.60s at %.60s: "
                 "%.60s: %s", config->root_image, config->root, failed,
                 strerror(errno));
        return -1;
    }
    if (mount_root(config->root)) {
        snprintf(why, why_size, "cannot enter root %.100s: %s", config->root,
                 strerror(errno));
        return -1;
    }
    return 0;
}
