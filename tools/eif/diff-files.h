/*
 * qemu-eif diff: which file of two ramdisks differs first
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_DIFF_FILES_H
#define TOOLS_EIF_DIFF_FILES_H

#include "hw/core/eif-image.h"

/* A ramdisk: a part of an image */
typedef struct DiffPart {
    const EifSource *src;
    uint64_t offset, size;
} DiffPart;

/**
 * diff_files: compare two archives file by file, up to the first difference
 * @a: a cpio archive, plain or compressed
 * @b: another one
 *
 * Both are read to the end of their first archive at most.  Memory use is
 * constant but for the names of hard links.
 *
 * Returns: what differs, a phrase to be freed, with "first image" and "second
 * image" for @a and @b; NULL when nothing does, or when either of them is not
 * such an archive.
 */
char *diff_files(const DiffPart *a, const DiffPart *b);

#endif
