/*
 * Directory for sockets and logs
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Anyone who can connect to its sockets controls the enclaves, so it has to be
 * private.  One process at a time uses it.
 */

#ifndef NHV_RUNTIME_DIR_H
#define NHV_RUNTIME_DIR_H

/* Remedy when others have access to a directory */
#define NHV_HINT_PRIVATE_DIR "a path that does not exist yet, or 'chmod 700' " \
    "a directory of yours\n"

/* All zeros is one that is not open */
typedef struct NhvRuntimeDir {
    char *path;
    int fd;                     /* holds the lock */
    bool made;                  /* did not exist before */
} NhvRuntimeDir;

/**
 * nhv_runtime_dir_open: create or check, and lock, a directory
 * @dir: filled in, to be closed in any case
 * @path: the directory, may exist
 * @errp: filled in when it cannot be used: not private, in use, not creatable
 *
 * Returns: true on success.
 */
bool nhv_runtime_dir_open(NhvRuntimeDir *dir, const char *path,
                          Error **errp);

/**
 * nhv_runtime_dir_close: unlock, remove if it was created and is empty
 * @dir: the directory, open or not
 */
void nhv_runtime_dir_close(NhvRuntimeDir *dir);

#endif
