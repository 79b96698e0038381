/*
 * Ramdisks of an enclave in which nitro-init runs a container's program
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_NATIVE_H
#define TOOLS_EIF_NATIVE_H

#include "container.h"
#include "modules.h"

typedef struct NativeParams {
    const char *init;       /* program that is process 1 */
    GPtrArray *modules;     /* of Module, in load order; NULL: none */
    char **command;         /* in place of the image's arguments; NULL: none */
    const char *settings;   /* further lines of the configuration, or NULL */
    bool squashfs;          /* the container's files are in a squashfs */
} NativeParams;

/**
 * native_has_network: do further lines of the configuration ask for one?
 * @settings: those lines, or NULL; whether they are right shows later
 */
bool native_has_network(const char *settings);

/**
 * native_ramdisks: make both ramdisks
 * @c: the image, whose configuration is joined as a runtime joins it
 * @p: what replaces or extends it
 * @scratch: directory for their unnamed files
 * @fds: filled in with a descriptor each, at the start of an archive
 * @errp: filled in on failure: there is no program, nitro-init would not take
 *        the configuration, or a file; @fds then hold nothing to be closed
 *
 * The first one has init and modules, so that PCR1 is the same for all
 * programs; the second one has the configuration and the container's files,
 * below rootfs/ or in a squashfs, made by tar2sqfs.  The same input gives
 * the same bytes.
 */
bool native_ramdisks(Container *c, const NativeParams *p, const char *scratch,
                     int fds[2], Error **errp);

#endif
