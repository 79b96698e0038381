/*
 * Layers of a container image: archives that are applied to a tree of files
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_LAYER_H
#define TOOLS_EIF_LAYER_H

#include <locale.h>
#include "file-tree.h"

/* A part of a file: a blob of an image, which may lie within an archive */
typedef struct Blob {
    int fd;
    off_t offset;
    uint64_t size;
} Blob;

/**
 * layer_apply: apply one layer to a tree
 * @tree: what the layers before it have made
 * @blob: a tar archive, plain or compressed by gzip or zstd; the descriptor
 *        needs no position
 * @digest: wanted digest of the blob, "sha256:" and 64 digits; NULL: not
 *          compared
 * @diff_id: the same for the uncompressed archive
 * @errp: filled in on failure: the archive is damaged, a digest is another
 *        one, or it has names or types that a layer cannot have
 *
 * Whiteouts take effect on the layers before it only, wherever in the
 * archive they stand (OCI image specification, layer.md).  Blocks as long as
 * reading does.  Memory does not grow with the archive, but for the names.
 *
 * Returns: true on success; on failure @tree holds a part of the layer.
 */
bool layer_apply(FileTree *tree, const Blob *blob, const char *digest,
                 const char *diff_id, Error **errp);

/* What a thread had before layer_locale_enter() */
typedef struct LayerLocale {
    locale_t old, utf8;
} LayerLocale;

/**
 * layer_locale_enter: use UTF-8 in this thread
 *
 * libarchive converts names in PAX headers between UTF-8 and the locale's
 * set, in any locale.
 */
void layer_locale_enter(LayerLocale *locale);
void layer_locale_leave(LayerLocale *locale);

/* digest_check: refuse what is not "sha256:" and 64 digits; NULL, too */
bool digest_check(const char *digest, Error **errp);

/**
 * digest_compare: compare a digest
 * @what: has it, for the message
 * @hex: its 64 digits
 * @wanted: the other one, "sha256:" and 64 digits
 * @errp: filled in when they differ
 */
bool digest_compare(const char *what, const char *hex, const char *wanted,
                    Error **errp);

#endif
