/*
 * Layers of container images, made for tests
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_NITRO_LAYER_MAKER_H
#define TESTS_NITRO_LAYER_MAKER_H

/* One entry of a layer; an array ends with an empty name */
typedef struct LayerEntry {
    const char *name;
    mode_t mode;            /* type and permissions; 0: hard link to target */
    const char *text;       /* content, target of a link, or NULL */
    unsigned uid, gid;
    unsigned major, minor;
    const char *xattr;      /* value of the attribute user.note, or NULL */
} LayerEntry;

/**
 * layer_make: a tar archive
 * @entries: what is in it
 * @filter: "gzip", "zstd", or NULL for a plain archive
 *
 * Returns: its bytes, to be unreferenced.
 */
GByteArray *layer_make(const LayerEntry *entries, const char *filter);

/* layer_digest: "sha256:" and the digest, to be freed */
char *layer_digest(const void *data, size_t len);

#endif
