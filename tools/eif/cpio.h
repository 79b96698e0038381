/*
 * Writer of cpio archives in the newc format, as Linux unpacks ramdisks
 *
 * Format: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_CPIO_H
#define TOOLS_EIF_CPIO_H

#include "file-tree.h"

/* How an archive's entries are numbered and marked */
typedef struct CpioStyle {
    unsigned first_inode;
    unsigned major, minor;  /* device the files seem to be on */
    int64_t mtime;          /* s since 1970, of what has no time of its own */
    bool number_trailer;    /* the trailer has an inode, not 0 */
} CpioStyle;

typedef struct CpioWriter {
    int fd;
    const CpioStyle *style;
    unsigned inode;         /* of the next file */
    GByteArray *buffer;     /* not written yet */
    uint64_t bytes;         /* written, and in the buffer */
} CpioWriter;

/**
 * cpio_begin: prepare to write an archive
 * @fd: regular file, at the place where the archive begins; stays the
 *      caller's
 * @style: stays the caller's until cpio_end()
 */
void cpio_begin(CpioWriter *w, int fd, const CpioStyle *style);

/**
 * cpio_add: write one entry
 * @path: name in the archive, without "/" in front
 * @file: attributes; names of one file, as hard links are, become hard links
 * @content: descriptor @file->offset belongs to; -1: @data has the content
 * @data: @file->size bytes, or NULL
 * @errp: filled in on failure: no space, or a file of 4 GiB or more, whose
 *        size the format cannot express
 */
bool cpio_add(CpioWriter *w, const char *path, TreeFile *file, int content,
              const void *data, Error **errp);

/**
 * cpio_add_tree: write all names of a tree
 * @prefix: directory in the archive they get below; "" for none, and the
 *          root itself then has no entry
 */
bool cpio_add_tree(CpioWriter *w, const char *prefix, FileTree *tree,
                   Error **errp);

/**
 * cpio_end: write the trailer and everything that is left
 *
 * Releases what cpio_begin() has made, also on failure; pass a NULL @errp
 * and ignore the result when an entry has failed.
 */
bool cpio_end(CpioWriter *w, Error **errp);

#endif
