/*
 * How much memory an enclave needs to boot an image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The rule, and what it was measured with, are in docs/tools/qemu-eif.rst.
 */

#ifndef TOOLS_EIF_MEMORY_H
#define TOOLS_EIF_MEMORY_H

#include "hw/core/eif-image.h"

/**
 * memory_need: memory to boot the kernel and to unpack the ramdisks
 * @image: parsed image
 * @src: where it lies
 *
 * What the program itself needs comes on top.  Reads the names in the
 * ramdisks, and all of compressed ones.
 *
 * Returns: a number of MiB; 0 when a ramdisk cannot be read, as without
 * libarchive.
 */
uint64_t memory_need(const EifImage *image, const EifSource *src);

#endif
