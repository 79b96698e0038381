/*
 * Where the parts of a container image lie by name
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_STORE_H
#define TOOLS_EIF_STORE_H

#include "qobject/qobject.h"
#include "layer.h"

typedef struct Store Store;

/**
 * store_new: open a store
 * @path: directory, or tar archive, which is read as a whole
 * @limits: how much may be in an archive
 * @scratch: directory for the unnamed file of an archive's contents
 * @errp: filled in on failure
 *
 * Returns: the store, or NULL.
 */
Store *store_new(const char *path, const FileTreeLimits *limits,
                 const char *scratch, Error **errp);
void store_free(Store *store);

/* store_has: whether there is a file or directory of that name */
bool store_has(Store *store, const char *name);

/**
 * store_open: find a part
 * @name: relative; links within an archive are followed once, within it
 * @blob: filled in; its descriptor belongs to the store
 * @errp: filled in on failure
 */
bool store_open(Store *store, const char *name, Blob *blob, Error **errp);

/**
 * store_parse: read a part that is JSON
 * @digest: wanted digest, or NULL
 * @type: QTYPE_QDICT or QTYPE_QLIST
 * @errp: filled in on failure; also when it has more than 4 MiB
 *
 * Returns: the value, to be unreferenced, or NULL.
 */
QObject *store_parse(Store *store, const char *name, const char *digest,
                     QType type, Error **errp);

#endif
