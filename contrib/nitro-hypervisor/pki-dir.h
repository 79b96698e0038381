/*
 * Private files of the keys with which enclaves attest
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NITRO_PKI_DIR_H
#define NITRO_PKI_DIR_H

typedef struct NitroPkiDir {
    char *path;
    int fd;
    int lock_fd;
} NitroPkiDir;

/**
 * nitro_pki_dir_open: open and lock a directory, make it if it is not there
 * @dir: filled in, to be closed in any case
 * @path: absolute path
 * @errp: filled in on failure, also when others may look into the directory
 *
 * Waits for another process that has the lock.
 */
bool nitro_pki_dir_open(NitroPkiDir *dir, const char *path, Error **errp);

/**
 * nitro_pki_dir_unlock: let another process change files
 */
void nitro_pki_dir_unlock(NitroPkiDir *dir);

void nitro_pki_dir_close(NitroPkiDir *dir);

/**
 * nitro_pki_dir_is_empty: are there no files but the lock and those of a write
 *                         that was interrupted?
 */
bool nitro_pki_dir_is_empty(const NitroPkiDir *dir);

/**
 * nitro_pki_dir_read: content of a file
 * @text: set to the content, to be freed with nsm_wipe(), or to NULL when
 *        there is no such file
 * @errp: filled in when there is one that is not private, or cannot be read
 */
bool nitro_pki_dir_read(const NitroPkiDir *dir, const char *name,
                        GString **text, Error **errp);

/**
 * nitro_pki_dir_write: make or replace a file, all of it or nothing
 */
bool nitro_pki_dir_write(const NitroPkiDir *dir, const char *name,
                         const GString *text, Error **errp);

#endif
