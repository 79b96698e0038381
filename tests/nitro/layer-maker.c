/*
 * Layers of container images, made for tests
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <archive.h>
#include <archive_entry.h>
#include "tests/nitro/layer-maker.h"

static la_ssize_t append(struct archive *a, void *opaque, const void *data,
                         size_t len)
{
    g_byte_array_append(opaque, data, len);
    return len;
}

static void add_entry(struct archive *a, const LayerEntry *e)
{
    struct archive_entry *entry = archive_entry_new();
    size_t len = 0;

    archive_entry_set_pathname(entry, e->name);
    archive_entry_set_mode(entry, e->mode ?: S_IFREG | 0644);
    archive_entry_set_uid(entry, e->uid);
    archive_entry_set_gid(entry, e->gid);
    archive_entry_set_mtime(entry, 1000, 0);
    if (!e->mode) {
        archive_entry_set_hardlink(entry, e->text);
    } else if (S_ISLNK(e->mode)) {
        archive_entry_set_symlink(entry, e->text);
    } else if (S_ISREG(e->mode)) {
        len = e->text ? strlen(e->text) : 0;
        archive_entry_set_size(entry, len);
    } else {
        archive_entry_set_rdevmajor(entry, e->major);
        archive_entry_set_rdevminor(entry, e->minor);
    }
    if (e->xattr) {
        archive_entry_xattr_add_entry(entry, "user.note", e->xattr,
                                      strlen(e->xattr));
    }
    g_assert_cmpint(archive_write_header(a, entry), >=, ARCHIVE_WARN);
    if (len) {
        g_assert_cmpint(archive_write_data(a, e->text, len), ==, len);
    }
    archive_entry_free(entry);
}

GByteArray *layer_make(const LayerEntry *entries, const char *filter)
{
    GByteArray *bytes = g_byte_array_new();
    struct archive *a = archive_write_new();

    archive_write_set_format_pax_restricted(a);
    archive_write_set_bytes_in_last_block(a, 1);
    if (filter) {
        g_assert_cmpint(archive_write_add_filter_by_name(a, filter), ==,
                        ARCHIVE_OK);
    }
    g_assert_cmpint(archive_write_open(a, bytes, NULL, append, NULL), ==,
                    ARCHIVE_OK);
    for (; entries->name; entries++) {
        add_entry(a, entries);
    }
    g_assert_cmpint(archive_write_close(a), ==, ARCHIVE_OK);
    archive_write_free(a);
    return bytes;
}

char *layer_digest(const void *data, size_t len)
{
    g_autofree char *hex = g_compute_checksum_for_data(G_CHECKSUM_SHA256,
                                                       data, len);

    return g_strconcat("sha256:", hex, NULL);
}
