/*
 * Enclave Image Format (EIF): write files as a whole or not at all
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_CORE_EIF_OUTPUT_H
#define HW_CORE_EIF_OUTPUT_H

#include "qapi/error.h"

/*
 * Fill in what a file will contain: @size bytes at @dest.  On failure sets
 * @errp and returns false.
 */
typedef bool EifFillFunc(void *dest, uint64_t size, void *opaque,
                         Error **errp);

/**
 * eif_output_file: write a file atomically
 * @path: its name; an existing file is replaced
 * @size: its length in bytes, 0 allowed
 * @fill: called once to fill in the content, straight into the page cache
 * @opaque: passed to @fill
 * @errp: filled in on failure, with the name
 *
 * A reader of @path sees the former file or the whole new one, which has the
 * owner, group and permissions of the former; where the group cannot be kept,
 * neither group nor others have a right that one of them did not have.  On
 * failure nothing is left behind and the former file is unchanged.  A @path
 * that exists and is not a regular file (device, pipe, directory) is refused.
 * Blocks until the content is on disk.
 *
 * When the process ends meanwhile, nothing is left behind either.  Exceptions
 * are SIGKILL at the very end, while @path is replaced, and at any time on a
 * file system without O_TMPFILE: there the signals whose action is the default
 * (SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ) are caught to remove the file.
 * One thread at a time may call this.
 *
 * Returns: true on success.
 */
bool eif_output_file(const char *path, uint64_t size, EifFillFunc *fill,
                     void *opaque, Error **errp);

/**
 * eif_output_data: eif_output_file() from memory
 * @path: see there
 * @data: the content
 * @size: its length in bytes
 * @errp: filled in on failure
 *
 * Returns: true on success.
 */
bool eif_output_data(const char *path, const void *data, uint64_t size,
                     Error **errp);

/**
 * eif_output_check_input: refuse to write over what is read
 * @path: the file that will be written
 * @option: what the user calls it, such as "--output"
 * @input: a file or directory that is read, or NULL
 * @input_option: what the user calls that
 * @errp: filled in when both are one file, also through links, or when @path
 *        is in the directory @input
 *
 * A file that does not exist passes the check.
 *
 * Returns: true when @path may be written.
 */
bool eif_output_check_input(const char *path, const char *option,
                            const char *input, const char *input_option,
                            Error **errp);

/**
 * eif_output_check_fd: the same for an input that is open
 * @path, @option, @input_option, @errp: see there
 * @fd: the input, not a directory
 */
bool eif_output_check_fd(const char *path, const char *option, int fd,
                         const char *input_option, Error **errp);

#endif
