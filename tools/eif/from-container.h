/*
 * qemu-eif build --container: what becomes of a container image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_FROM_CONTAINER_H
#define TOOLS_EIF_FROM_CONTAINER_H

#include "hw/core/eif-image.h"

/* Options of the command that only make sense with --container */
typedef struct FromContainer {
    const char *source;         /* NULL: not from a container */
    const char *layout;         /* "native" or "aws"; NULL: native */
    const char *blobs;          /* directory, or NULL */
    const char *root;           /* "cpio" or "squashfs"; NULL: cpio */
    const char *init;           /* NULL: the one that is installed */
    const char *module_tree;    /* directory, or NULL */
    GPtrArray *modules;         /* files, or NULL */
    const char *settings;       /* file with lines for nitro-init, or NULL */
    const char *max_size;       /* text of the limit, or NULL */
    char **command;             /* NULL: the image's arguments */
    char *name, *version, *time, *info; /* made, for the metadata */
    char *found_init;           /* made, for init */
    char *found_kernel, *found_cmdline, *found_module; /* made, of the blobs */
} FromContainer;

/**
 * from_container_is_whole: whether the options fit together
 * @errp: filled in otherwise
 */
bool from_container_is_whole(const FromContainer *f, Error **errp);

/**
 * from_container_find: find what a directory of blobs has for the image
 * @f: the options
 * @arch: architecture of the image; NULL: the kernel's
 * @kernel: the kernel's file; set if it is NULL
 * @params: gets a command line if it has none
 * @errp: filled in when a file is missing
 *
 * Such a directory is needed in the layout aws, or without a kernel, and is
 * used when it is named.  All texts belong to @f.
 */
bool from_container_find(FromContainer *f, const EifArch *arch,
                         const char **kernel, EifBuildParams *params,
                         Error **errp);

/**
 * from_container_open: read the container image and make its ramdisks
 * @f: the options
 * @output: name of the image to be made; files without a name are made
 *          beside it
 * @params: gets ramdisks, what the metadata says of the container, and command
 *          line, name and version if it has none.  Texts belong to @f
 * @errp: filled in on failure
 */
bool from_container_open(FromContainer *f, const char *output,
                         EifBuildParams *params, Error **errp);

/**
 * from_container_check_output: refuse to write over what these options read
 * @f: the options
 * @output: name of the image to be made
 * @errp: filled in when it is the file of one of them
 */
bool from_container_check_output(const FromContainer *f, const char *output,
                                 Error **errp);

void from_container_clear(FromContainer *f);

#endif
