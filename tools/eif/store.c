/*
 * Where the parts of a container image lie by name
 *
 * A directory, or an archive that was read into a tree of files of its own.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "crypto/hash.h"
#include "qobject/qjson.h"
#include "qemu/units.h"
#include "store.h"

#define MAX_JSON (4 * MiB)

struct Store {
    char *directory;            /* either this ... */
    FileTree *archive;          /* ... or this */
    GArray *fds;                /* to be closed with it */
};

void store_free(Store *store)
{
    if (!store) {
        return;
    }
    for (guint i = 0; i < store->fds->len; i++) {
        close(g_array_index(store->fds, int, i));
    }
    g_array_unref(store->fds);
    file_tree_free(store->archive);
    g_free(store->directory);
    g_free(store);
}

/* Archives of "docker save" have links to layers that images share */
static const TreeFile *find_in_archive(const Store *store, const char *name)
{
    const TreeFile *file = file_tree_lookup(store->archive, name);
    g_autofree char *dir = NULL, *root = NULL, *target = NULL;

    if (!file || !file->target) {
        return file;
    }
    dir = g_path_get_dirname(name);
    root = g_strconcat("/", dir, NULL);
    target = g_canonicalize_filename(file->target, root);
    file = file_tree_lookup(store->archive, target + 1);
    return file && !file->target ? file : NULL;
}

static bool open_in_archive(Store *store, const char *name, Blob *blob,
                            Error **errp)
{
    const TreeFile *file = find_in_archive(store, name);

    if (!file || !S_ISREG(file->mode)) {
        error_setg(errp, "the archive has no file %s", name);
        return false;
    }
    *blob = (Blob) { file_tree_content(store->archive),
                     MAX(file->offset, 0), file->size };
    return true;
}

static bool open_in_directory(Store *store, const char *name, Blob *blob,
                              Error **errp)
{
    g_autofree char *path = g_build_filename(store->directory, name, NULL);
    int fd = qemu_open(path, O_RDONLY | O_NONBLOCK, errp);
    struct stat st;

    if (fd < 0) {
        return false;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        error_setg(errp, "%s is not a regular file", path);
        close(fd);
        return false;
    }
    g_array_append_val(store->fds, fd);
    *blob = (Blob) { fd, 0, st.st_size };
    return true;
}

bool store_open(Store *store, const char *name, Blob *blob, Error **errp)
{
    return store->archive ? open_in_archive(store, name, blob, errp)
                          : open_in_directory(store, name, blob, errp);
}

bool store_has(Store *store, const char *name)
{
    g_autofree char *path = NULL;

    if (store->archive) {
        return file_tree_lookup(store->archive, name);
    }
    path = g_build_filename(store->directory, name, NULL);
    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static char *read_small(Store *store, const char *name, size_t *len,
                        Error **errp)
{
    g_autofree char *text = NULL;
    Blob blob;
    ssize_t n;

    if (!store_open(store, name, &blob, errp)) {
        return NULL;
    }
    if (blob.size > MAX_JSON) {
        error_setg(errp, "%s has %" PRIu64 " bytes; at most %" PRIu64
                   " are read", name, blob.size, (uint64_t)MAX_JSON);
        return NULL;
    }
    text = g_malloc0(blob.size + 1);
    n = RETRY_ON_EINTR(pread(blob.fd, text, blob.size, blob.offset));
    if (n < 0 || (uint64_t)n != blob.size) {
        error_setg_errno(errp, n < 0 ? errno : EIO, "cannot read %s", name);
        return NULL;
    }
    *len = n;
    return g_steal_pointer(&text);
}

static bool check_digest(const char *name, const char *text, size_t len,
                         const char *digest, Error **errp)
{
    g_autofree char *hex = NULL;

    return !digest ||
           (qcrypto_hash_digest(QCRYPTO_HASH_ALGO_SHA256, text, len, &hex,
                                errp) == 0 &&
            digest_compare(name, hex, digest, errp));
}

QObject *store_parse(Store *store, const char *name, const char *digest,
                     QType type, Error **errp)
{
    ERRP_GUARD();
    size_t len;
    g_autofree char *text = read_small(store, name, &len, errp);
    QObject *object;

    if (!text || !check_digest(name, text, len, digest, errp)) {
        return NULL;
    }
    if (strlen(text) != len) {
        error_setg(errp, "%s has a NUL byte", name);
        return NULL;
    }
    object = qobject_from_json(text, errp);
    if (!object) {
        error_prepend(errp, "%s: ", name);
    } else if (qobject_type(object) != type) {
        error_setg(errp, "%s is not a JSON %s", name,
                   type == QTYPE_QLIST ? "array" : "object");
        qobject_unref(object);
        object = NULL;
    }
    return object;
}

static bool read_archive(Store *store, const char *path,
                         const FileTreeLimits *limits, const char *scratch,
                         Error **errp)
{
    Blob blob;

    if (!open_in_directory(store, path, &blob, errp)) {
        return false;
    }
    store->archive = file_tree_new(scratch, limits, errp);
    return store->archive &&
           layer_apply(store->archive, &blob, NULL, NULL, errp);
}

Store *store_new(const char *path, const FileTreeLimits *limits,
                 const char *scratch, Error **errp)
{
    Store *store = g_new0(Store, 1);

    store->fds = g_array_new(FALSE, FALSE, sizeof(int));
    if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
        store->directory = g_strdup(path);
        return store;
    }
    store->directory = g_strdup(g_path_is_absolute(path) ? "/" : ".");
    if (!read_archive(store, path, limits, scratch, errp)) {
        g_clear_pointer(&store, store_free);
    }
    return store;
}
