/*
 * The directory with what nitro-cli builds images from
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It has the files bzImage (x86_64) or Image (arm64), cmdline, init and
 * nsm.ko, among others.  AWS's package aws-nitro-enclaves-cli-devel brings it.
 */

#ifndef TOOLS_EIF_BLOBS_H
#define TOOLS_EIF_BLOBS_H

#include "hw/core/eif-image.h"

/**
 * blobs_directory: which one it is
 * @option: the user's choice, or NULL
 *
 * Without a choice the environment variable NITRO_CLI_BLOBS names it, or it is
 * the directory of AWS's package.
 */
const char *blobs_directory(const char *option);

/**
 * blobs_kernel: name of the kernel's file
 * @directory: directory of the blobs
 * @arch: for which architecture; NULL: the one that is there
 * @errp: filled in when there is no kernel
 *
 * Returns: the name, to be freed, or NULL.
 */
char *blobs_kernel(const char *directory, const EifArch *arch, Error **errp);

/**
 * blobs_cmdline: the kernel command line
 * @directory: directory of the blobs
 * @errp: filled in on failure, also for a NUL byte in it
 *
 * Returns: the text without white space at its ends, to be freed, or NULL.
 */
char *blobs_cmdline(const char *directory, Error **errp);

#endif
