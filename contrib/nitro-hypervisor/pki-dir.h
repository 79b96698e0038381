/*
 * Private files of the keys with which enclaves attest
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NHV_PKI_DIR_H
#define NHV_PKI_DIR_H

typedef struct NhvPkiDir {
    char *path;
    int fd;
    int lock_fd;
} NhvPkiDir;

/**
 * nhv_pki_dir_open: open and lock a directory, make it if it is not there
 * @dir: filled in, to be closed in any case
 * @path: absolute path
 * @errp: filled in on failure, also when others may look into the directory
 *
 * Waits for another process that has the lock.
 */
bool nhv_pki_dir_open(NhvPkiDir *dir, const char *path, Error **errp);

/**
 * nhv_pki_dir_unlock: let another process change files
 */
void nhv_pki_dir_unlock(NhvPkiDir *dir);

void nhv_pki_dir_close(NhvPkiDir *dir);

/**
 * nhv_pki_dir_is_empty: are there no files except the lock and what an
 *                       interrupted write has left?
 */
bool nhv_pki_dir_is_empty(const NhvPkiDir *dir);

/**
 * nhv_pki_dir_read: content of a file
 * @text: set to the content, to be freed with nsm_wipe(), or to NULL when
 *        there is no such file
 * @errp: filled in when there is one that is not private, or cannot be read
 */
bool nhv_pki_dir_read(const NhvPkiDir *dir, const char *name,
                      GString **text, Error **errp);

/**
 * nhv_pki_dir_write: make or replace a file, all of it or nothing
 */
bool nhv_pki_dir_write(const NhvPkiDir *dir, const char *name,
                       const GString *text, Error **errp);

#endif
