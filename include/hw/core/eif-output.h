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
 * permissions of the former.  On failure nothing is left behind and the former
 * file is unchanged.  A @path that exists and is no regular file (device,
 * pipe, directory) is refused.  Blocks until the content is on disk.
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

#endif
