/*
 * Kernel modules that an enclave's ramdisk brings
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_MODULES_H
#define TOOLS_EIF_MODULES_H

#include "qapi/error.h"

typedef struct Module {
    char *file;             /* its name in the ramdisk, ends in ".ko" */
    GByteArray *data;       /* uncompressed */
} Module;

typedef enum ModulesNeeded {
    MODULES_ROOT_IMAGE = 1,     /* loop, squashfs, overlay */
    MODULES_NETWORK = 2,        /* tun */
} ModulesNeeded;

/* modules_new: an empty list of modules in load order; to be unreferenced */
GPtrArray *modules_new(void);

/**
 * modules_add: append one module
 * @list: of Module
 * @path: its file, plain or compressed by gzip, xz or zstd
 * @errp: filled in on failure: it cannot be read, is not an ELF file, or has
 *        more than 64 MiB
 */
bool modules_add(GPtrArray *list, const char *path, Error **errp);

/**
 * modules_add_tree: append what an enclave needs of a kernel's modules
 * @list: of Module
 * @directory: searched with all below it, for example /lib/modules/VERSION;
 *             links to directories are not followed
 * @more: what else is needed than by every enclave
 * @errp: filled in on failure: one is neither there nor in modules.builtin,
 *        which lists what the kernel itself has
 *
 * These are the modules for devices on a memory bus, vsock, the Nitro Secure
 * Module and the modules of @more, each after its dependencies.
 */
bool modules_add_tree(GPtrArray *list, const char *directory,
                      ModulesNeeded more, Error **errp);

#endif
