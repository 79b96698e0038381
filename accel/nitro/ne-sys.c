/*
 * Nitro Enclaves driver: the system call
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Alone in its file so that unit tests can link a model of the driver instead.
 */
#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include "ne.h"

int ne_ioctl(int fd, unsigned long request, void *arg)
{
    return ioctl(fd, request, arg);
}
