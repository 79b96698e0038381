/*
 * Ramdisks of an enclave in which AWS's init runs a container's program
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Both are, byte for byte, what nitro-cli build-enclave (1.5) has linuxkit
 * make of the same container: of the tree that "docker export" gives, which
 * has files that "docker create" adds.  So the registers are the same, too.
 */

#ifndef TOOLS_EIF_AWS_H
#define TOOLS_EIF_AWS_H

#include "container.h"

typedef struct AwsParams {
    const char *init;       /* file that becomes process 1 */
    const char *module;     /* file with the driver of the security module */
    char **command;         /* in place of the image's Cmd; NULL: none */
} AwsParams;

/**
 * aws_ramdisks: make both ramdisks
 * @c: the image; its tree gets the files that "docker create" adds
 * @p: what comes with it
 * @scratch: directory for their unnamed files
 * @fds: filled in with a descriptor each, at the start of an archive
 * @errp: filled in on failure; @fds then hold nothing to be closed
 *
 * The first one has init and module.  The second one has the container's
 * files below rootfs/, the lines of its environment in "env", and in "cmd" its
 * Cmd or, if that is empty, its Entrypoint: the init knows no more.
 */
bool aws_ramdisks(Container *c, const AwsParams *p, const char *scratch,
                  int fds[2], Error **errp);

/**
 * aws_losses: what such an enclave does otherwise than a container would
 * @c: the image
 * @p: what comes with it
 *
 * Returns: static phrases, in an array to be unreferenced.
 */
GPtrArray *aws_losses(const Container *c, const AwsParams *p);

#endif
