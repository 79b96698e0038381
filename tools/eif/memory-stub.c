/*
 * Without libarchive ramdisks cannot be read
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "memory.h"

uint64_t memory_need(const EifImage *image, const EifSource *src)
{
    return 0;
}
