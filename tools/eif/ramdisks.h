/*
 * The two ramdisks of an image that was made of a container
 *
 * What the layouts have in common: how the ramdisks come to be, and entries
 * that are not the container's.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_RAMDISKS_H
#define TOOLS_EIF_RAMDISKS_H

#include "cpio.h"

/* Adds all entries of a ramdisk; @opaque as passed to ramdisks_make() */
typedef bool RamdiskFill(CpioWriter *w, void *opaque, Error **errp);

/**
 * ramdisks_make: make both ramdisks
 * @fill: adds the entries of the first one, and of the second one
 * @opaque: passed to them
 * @style: of both archives
 * @scratch: directory for their unnamed files
 * @fds: filled in with a descriptor each, at the start of an archive
 * @errp: filled in on failure; @fds then hold nothing to be closed
 */
bool ramdisks_make(RamdiskFill *const fill[2], void *opaque,
                   const CpioStyle *style, const char *scratch, int fds[2],
                   Error **errp);

/* ramdisk_add_directory: add a directory of root with mode 0755 */
bool ramdisk_add_directory(CpioWriter *w, const char *path, Error **errp);

/**
 * ramdisk_add_data: add a file of root with given content
 * @path: its name in the archive
 * @mode: its permissions
 * @data: @len bytes
 */
bool ramdisk_add_data(CpioWriter *w, const char *path, mode_t mode,
                      const void *data, size_t len, Error **errp);

/**
 * ramdisk_add_file: add a file of root that has the content of another one
 * @source: name of that one; it is read piece by piece
 */
bool ramdisk_add_file(CpioWriter *w, const char *path, mode_t mode,
                      const char *source, Error **errp);

#endif
