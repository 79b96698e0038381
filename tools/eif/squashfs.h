/*
 * A tree of files as a squashfs image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_SQUASHFS_H
#define TOOLS_EIF_SQUASHFS_H

#include "file-tree.h"

/**
 * squashfs_make: have tar2sqfs make a file system
 * @tree: its files, with hard links and extended attributes
 * @path: the file to be made or replaced
 * @errp: filled in on failure, also when there is no tar2sqfs
 *
 * The same tree gives the same bytes with the same tar2sqfs.  Blocks until
 * it has ended.
 */
bool squashfs_make(FileTree *tree, const char *path, Error **errp);

#endif
