/*
 * Layers of a container image
 *
 * Two readers of libarchive in a row: the first one decompresses, the second
 * one reads the archive.  Between them the digest is taken.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <archive.h>
#include <archive_entry.h>
#include "crypto/hash.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "layer.h"

#define BUFFER (64 * KiB)
#define WHITEOUT ".wh."
#define RESERVED ".wh..wh."
#define OPAQUE ".wh..wh..opq"
#define DIGEST_PREFIX "sha256:"

typedef struct Layer {
    FileTree *tree;
    const Blob *blob;
    uint64_t used;              /* bytes of the blob that were read */
    struct archive *unpacker;   /* blob -> archive */
    struct archive *reader;     /* archive -> files */
    QCryptoHash *blob_hash, *archive_hash;  /* NULL: not wanted */
    void *blob_buffer, *archive_buffer;
} Layer;

static bool fail_archive(struct archive *a, const char *what, Error **errp)
{
    error_setg(errp, "%s: %s", what,
               archive_error_string(a) ?: "unexpected end");
    return false;
}

/* Returns: whether @data was hashed, or need not be */
static bool add_to_hash(QCryptoHash *hash, const void *data, size_t len,
                        struct archive *a)
{
    if (hash && len && qcrypto_hash_update(hash, data, len, NULL) < 0) {
        archive_set_error(a, EIO, "no digest can be taken");
        return false;
    }
    return true;
}

/* Next piece of the blob; for the unpacker */
static la_ssize_t read_blob(struct archive *a, void *opaque,
                            const void **data)
{
    Layer *layer = opaque;
    const Blob *blob = layer->blob;
    ssize_t n = RETRY_ON_EINTR(pread(blob->fd, layer->blob_buffer,
                                     MIN(BUFFER, blob->size - layer->used),
                                     blob->offset + layer->used));

    if (n < 0) {
        archive_set_error(a, errno, "%s", strerror(errno));
        return ARCHIVE_FATAL;
    }
    if (!add_to_hash(layer->blob_hash, layer->blob_buffer, n, a)) {
        return ARCHIVE_FATAL;
    }
    layer->used += n;
    *data = layer->blob_buffer;
    return n;
}

/* Next piece of the uncompressed archive; for the reader */
static la_ssize_t read_unpacked(struct archive *reader, void *opaque,
                                const void **data)
{
    Layer *layer = opaque;
    la_ssize_t n = archive_read_data(layer->unpacker, layer->archive_buffer,
                                     BUFFER);

    if (n < 0) {
        archive_set_error(reader, archive_errno(layer->unpacker), "%s",
                          archive_error_string(layer->unpacker)
                          ?: "cannot be decompressed");
        return ARCHIVE_FATAL;
    }
    if (!add_to_hash(layer->archive_hash, layer->archive_buffer, n, reader)) {
        return ARCHIVE_FATAL;
    }
    *data = layer->archive_buffer;
    return n;
}

static bool open_unpacker(Layer *layer, Error **errp)
{
    struct archive *a = layer->unpacker = archive_read_new();
    struct archive_entry *entry;

    archive_read_support_filter_gzip(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_format_raw(a);
    if (archive_read_open(a, layer, NULL, read_blob, NULL) != ARCHIVE_OK ||
        archive_read_next_header(a, &entry) != ARCHIVE_OK) {
        return fail_archive(a, "cannot read the layer", errp);
    }
    return true;
}

static bool open_reader(Layer *layer, Error **errp)
{
    struct archive *a = layer->reader = archive_read_new();

    archive_read_support_format_tar(a);
    if (archive_read_open(a, layer, NULL, read_unpacked, NULL)
        != ARCHIVE_OK) {
        return fail_archive(a, "cannot read the layer", errp);
    }
    return true;
}

static bool read_content(Layer *layer, TreeFile *file, uint64_t size,
                         Error **errp)
{
    const void *data;
    la_int64_t at;
    size_t len;
    int rc;

    file->offset = -1;
    file->size = 0;
    for (;;) {
        rc = archive_read_data_block(layer->reader, &data, &len, &at);
        if (rc == ARCHIVE_EOF) {
            return file_tree_extend(layer->tree, file, size, errp);
        }
        if (rc != ARCHIVE_OK) {
            return fail_archive(layer->reader, "cannot read the content",
                                errp);
        }
        if (!file_tree_write(layer->tree, file, data, len, at, errp)) {
            return false;
        }
    }
}

/* Returns NULL without any, as for nearly every file */
static GPtrArray *read_xattrs(struct archive_entry *entry)
{
    GPtrArray *list = NULL;
    const char *name;
    const void *value;
    size_t len;

    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &len)
           == ARCHIVE_OK) {
        list = list ?: tree_xattrs_new();
        tree_xattrs_add(list, name, value, len);
    }
    return list;
}

static bool add_file(Layer *layer, const char *path,
                     struct archive_entry *entry, Error **errp)
{
    g_autoptr(GPtrArray) xattrs = read_xattrs(entry);
    TreeFile file = {
        .mode = archive_entry_mode(entry),
        .uid = archive_entry_uid(entry),
        .gid = archive_entry_gid(entry),
        .mtime = archive_entry_mtime(entry),
        .xattrs = xattrs,
    };

    switch (file.mode & S_IFMT) {
    case S_IFREG:
        if (!read_content(layer, &file, archive_entry_size(entry), errp)) {
            return false;
        }
        break;
    case S_IFLNK:
        file.target = (char *)archive_entry_symlink(entry);
        if (!file.target || !*file.target) {
            error_setg(errp, "a symbolic link without a target");
            return false;
        }
        break;
    case S_IFCHR:
    case S_IFBLK:
        file.major = archive_entry_rdevmajor(entry);
        file.minor = archive_entry_rdevminor(entry);
        break;
    case S_IFDIR:
    case S_IFIFO:
        break;
    default:
        error_setg(errp, "a layer has no files of type 0%o",
                   file.mode & S_IFMT);
        return false;
    }
    return file_tree_add(layer->tree, path, &file, errp);
}

/* Owners beyond 32 bits would silently become others */
static bool check_owner(struct archive_entry *entry, Error **errp)
{
    if (archive_entry_uid(entry) < 0 || archive_entry_gid(entry) < 0 ||
        archive_entry_uid(entry) > UINT32_MAX ||
        archive_entry_gid(entry) > UINT32_MAX) {
        error_setg(errp, "owner %" PRId64 ":%" PRId64
                   " does not fit in 32 bits",
                   (int64_t)archive_entry_uid(entry),
                   (int64_t)archive_entry_gid(entry));
        return false;
    }
    return true;
}

static bool apply_whiteout(Layer *layer, const char *path, const char *name,
                           Error **errp)
{
    g_autofree char *dir = g_path_get_dirname(path);
    g_autofree char *hidden = NULL;

    if (g_str_equal(name, OPAQUE)) {
        return file_tree_hide_all(layer->tree, dir, errp);
    }
    if (g_str_has_prefix(name, RESERVED)) {
        return true;    /* left by other storage drivers, means nothing */
    }
    name += strlen(WHITEOUT);
    if (!*name || g_str_equal(name, ".") || g_str_equal(name, "..")) {
        error_setg(errp, "a whiteout of no name");
        return false;
    }
    hidden = g_build_filename(dir, name, NULL);
    return file_tree_hide(layer->tree, hidden, errp);
}

static bool apply_entry(Layer *layer, struct archive_entry *entry,
                        Error **errp)
{
    ERRP_GUARD();
    const char *path = archive_entry_pathname(entry), *name, *target;
    bool ok;

    if (!path || !*path) {
        error_setg(errp, "a file without a name");
        return false;
    }
    name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    target = archive_entry_hardlink(entry);
    if (g_str_has_prefix(name, WHITEOUT)) {
        ok = apply_whiteout(layer, path, name, errp);
    } else if (target) {
        ok = file_tree_link(layer->tree, path, target, errp);
    } else {
        ok = check_owner(entry, errp) && add_file(layer, path, entry, errp);
    }
    if (!ok) {
        error_prepend(errp, "%s: ", path);
    }
    return ok;
}

static bool apply_entries(Layer *layer, Error **errp)
{
    struct archive_entry *entry;
    int rc;

    while ((rc = archive_read_next_header(layer->reader, &entry))
           == ARCHIVE_OK || rc == ARCHIVE_WARN) {
        if (!apply_entry(layer, entry, errp)) {
            return false;
        }
    }
    return rc == ARCHIVE_EOF ? true
           : fail_archive(layer->reader, "the layer is damaged", errp);
}

bool digest_compare(const char *what, const char *hex, const char *wanted,
                    Error **errp)
{
    g_autofree char *found = g_strconcat(DIGEST_PREFIX, hex, NULL);

    if (!g_str_equal(found, wanted)) {
        error_setg(errp, "%s has digest %s, not %s", what, found, wanted);
        return false;
    }
    return true;
}

/* @hex gets the digest, to be freed; it stays NULL when none is wanted */
static bool compare_hash(QCryptoHash *hash, const char *what,
                         const char *wanted, char **hex, Error **errp)
{
    return !hash || (qcrypto_hash_finalize_digest(hash, hex, errp) == 0 &&
                     digest_compare(what, *hex, wanted, errp));
}

/* An archive that is not compressed has the digest of its blob */
static bool compare_digests(Layer *layer, const char *digest,
                            const char *diff_id, Error **errp)
{
    static const char what[] = "the uncompressed layer";
    g_autofree char *hex = NULL, *archive_hex = NULL;

    if (!compare_hash(layer->blob_hash, "the layer", digest, &hex, errp)) {
        return false;
    }
    if (layer->archive_hash || !hex || !diff_id) {
        return compare_hash(layer->archive_hash, what, diff_id, &archive_hex,
                            errp);
    }
    return digest_check(diff_id, errp) &&
           digest_compare(what, hex, diff_id, errp);
}

/* What stands behind the archive's end belongs to the digests as well */
static bool read_rest(Layer *layer, Error **errp)
{
    const void *data;
    la_ssize_t n;

    do {
        n = read_unpacked(layer->reader, layer, &data);
    } while (n > 0);
    while (n == 0 && layer->used < layer->blob->size) {
        n = read_blob(layer->reader, layer, &data);
        if (n == 0) {
            error_setg(errp, "the layer is cut off: it has %" PRIu64
                       " of %" PRIu64 " bytes", layer->used,
                       layer->blob->size);
            return false;
        }
        n = MIN(n, 0);
    }
    return n < 0 ? fail_archive(layer->reader, "the layer is damaged", errp)
                 : true;
}

bool digest_check(const char *digest, Error **errp)
{
    const char *hex;

    if (!digest || !strstart(digest, DIGEST_PREFIX, &hex) ||
        strlen(hex) != 64 || strspn(hex, "0123456789abcdef") != 64) {
        error_setg(errp, "digest '%s' is not 'sha256:' and 64 digits",
                   digest ?: "");
        return false;
    }
    return true;
}

/* No digest is wanted: no hash, and no error */
static bool new_hash(QCryptoHash **hash, const char *digest, Error **errp)
{
    if (!digest) {
        return true;
    }
    if (digest_check(digest, errp)) {
        *hash = qcrypto_hash_new(QCRYPTO_HASH_ALGO_SHA256, errp);
    }
    return *hash;
}

static bool is_plain(const Layer *layer)
{
    return archive_filter_code(layer->unpacker, 0) == ARCHIVE_FILTER_NONE;
}

static bool layer_run(Layer *layer, const char *digest, const char *diff_id,
                      Error **errp)
{
    layer->blob_buffer = g_malloc(BUFFER);
    layer->archive_buffer = g_malloc(BUFFER);
    if (!new_hash(&layer->blob_hash, digest, errp) ||
        !open_unpacker(layer, errp)) {
        return false;
    }
    if (!(digest && is_plain(layer)) &&
        !new_hash(&layer->archive_hash, diff_id, errp)) {
        return false;
    }
    file_tree_layer(layer->tree);
    return open_reader(layer, errp) && apply_entries(layer, errp) &&
           read_rest(layer, errp) &&
           compare_digests(layer, digest, diff_id, errp);
}

void layer_locale_enter(LayerLocale *locale)
{
    locale->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale->old = locale->utf8 ? uselocale(locale->utf8) : (locale_t)0;
}

void layer_locale_leave(LayerLocale *locale)
{
    if (locale->utf8) {
        uselocale(locale->old);
        freelocale(locale->utf8);
    }
}

bool layer_apply(FileTree *tree, const Blob *blob, const char *digest,
                 const char *diff_id, Error **errp)
{
    Layer layer = { .tree = tree, .blob = blob };
    LayerLocale locale;
    bool ok;

    layer_locale_enter(&locale);
    ok = layer_run(&layer, digest, diff_id, errp);
    layer_locale_leave(&locale);
    archive_read_free(layer.reader);
    archive_read_free(layer.unpacker);
    qcrypto_hash_free(layer.blob_hash);
    qcrypto_hash_free(layer.archive_hash);
    g_free(layer.blob_buffer);
    g_free(layer.archive_buffer);
    return ok;
}
