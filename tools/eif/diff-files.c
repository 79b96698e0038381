/*
 * qemu-eif diff: which file of two ramdisks differs first
 *
 * Both archives are read in step: images of one builder have their files in
 * one order.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <archive.h>
#include <archive_entry.h>
#include "qemu/units.h"
#include "diff-files.h"

#define BUFFER (64 * KiB)

typedef struct Reader {
    const DiffPart *part;
    uint64_t used;
    struct archive *archive;
    struct archive_entry *entry;    /* NULL behind the last one */
    uint8_t input[BUFFER], content[BUFFER];
} Reader;

static la_ssize_t read_part(struct archive *a, void *opaque,
                            const void **data)
{
    Reader *r = opaque;
    size_t len = MIN(BUFFER, r->part->size - r->used);

    if (!eif_source_read(r->part->src, r->input, len,
                         r->part->offset + r->used, NULL)) {
        archive_set_error(a, EIO, "cannot be read");
        return ARCHIVE_FATAL;
    }
    r->used += len;
    *data = r->input;
    return len;
}

static Reader *reader_new(const DiffPart *part)
{
    Reader *r = g_new0(Reader, 1);

    r->part = part;
    r->archive = archive_read_new();
    archive_read_support_filter_gzip(r->archive);
    archive_read_support_filter_xz(r->archive);
    archive_read_support_filter_zstd(r->archive);
    archive_read_support_format_cpio(r->archive);
    archive_read_open(r->archive, r, NULL, read_part, NULL);
    return r;
}

static void reader_free(Reader *r)
{
    archive_read_free(r->archive);
    g_free(r);
}

/* Returns: false when this is not an archive, or is damaged */
static bool next(Reader *r)
{
    int rc = archive_read_next_header(r->archive, &r->entry);

    if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) {
        r->entry = NULL;
    }
    return r->entry || rc == ARCHIVE_EOF;
}

static const char *name_of(const Reader *r)
{
    const char *name = r->entry ? archive_entry_pathname(r->entry) : NULL;

    return name ?: "";
}

static const char *target_of(const Reader *r)
{
    const char *target = archive_entry_symlink(r->entry)
                         ?: archive_entry_hardlink(r->entry);

    return target ?: "";
}

static char *differ(const char *name, const char *what, uint64_t a,
                    uint64_t b)
{
    return g_strdup_printf("%s: %s %" PRIu64 " in the first image, %" PRIu64
                           " in the second one", name, what, a, b);
}

static char *compare_numbers(const char *name, struct archive_entry *a,
                             struct archive_entry *b)
{
    const struct {
        const char *what;
        uint64_t a, b;
    } numbers[] = {
        { "owner", archive_entry_uid(a), archive_entry_uid(b) },
        { "group", archive_entry_gid(a), archive_entry_gid(b) },
        { "size", archive_entry_size(a), archive_entry_size(b) },
        { "device major", archive_entry_rdevmajor(a),
          archive_entry_rdevmajor(b) },
        { "device minor", archive_entry_rdevminor(a),
          archive_entry_rdevminor(b) },
        { "links", archive_entry_nlink(a), archive_entry_nlink(b) },
        { "time", archive_entry_mtime(a), archive_entry_mtime(b) },
    };

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (numbers[i].a != numbers[i].b) {
            return differ(name, numbers[i].what, numbers[i].a, numbers[i].b);
        }
    }
    return NULL;
}

static char *compare_attributes(const Reader *a, const Reader *b)
{
    const char *name = name_of(a);
    mode_t mode_a = archive_entry_mode(a->entry);
    mode_t mode_b = archive_entry_mode(b->entry);

    if (mode_a != mode_b) {
        return g_strdup_printf("%s: mode 0%o in the first image, 0%o in the"
                               " second one", name, mode_a, mode_b);
    }
    if (!g_str_equal(target_of(a), target_of(b))) {
        return g_strdup_printf("%s: leads to '%s' in the first image, to '%s'"
                               " in the second one", name, target_of(a),
                               target_of(b));
    }
    return compare_numbers(name, a->entry, b->entry);
}

/* Fill a buffer, so that both readers have the same bytes in theirs */
static size_t read_content(Reader *r)
{
    size_t done = 0;

    while (done < BUFFER) {
        la_ssize_t n = archive_read_data(r->archive, r->content + done,
                                         BUFFER - done);

        if (n <= 0) {
            break;
        }
        done += n;
    }
    return done;
}

static char *compare_content(Reader *a, Reader *b)
{
    uint64_t at = 0;
    size_t len, other;

    do {
        len = read_content(a);
        other = read_content(b);
        for (size_t i = 0; i < MIN(len, other); i++) {
            if (a->content[i] != b->content[i]) {
                return g_strdup_printf("%s: the content differs from byte %"
                                       PRIu64 " on", name_of(a), at + i);
            }
        }
        at += len;
    } while (len == BUFFER && other == BUFFER);
    return NULL;
}

static char *compare_names(const Reader *a, const Reader *b)
{
    if (g_str_equal(name_of(a), name_of(b))) {
        return NULL;
    }
    if (!a->entry || !b->entry) {
        return g_strdup_printf("%s: in the %s image only",
                               name_of(a->entry ? a : b),
                               a->entry ? "first" : "second");
    }
    return g_strdup_printf("%s in the first image is where %s is in the"
                           " second one", name_of(a), name_of(b));
}

static char *compare(Reader *a, Reader *b)
{
    char *found = NULL;

    while (!found && next(a) && next(b)) {
        found = compare_names(a, b);
        if (found || !a->entry || !b->entry) {
            break;
        }
        found = compare_attributes(a, b) ?: compare_content(a, b);
    }
    return found;
}

char *diff_files(const DiffPart *a, const DiffPart *b)
{
    Reader *readers[] = { reader_new(a), reader_new(b) };

    g_autofree char *found = compare(readers[0], readers[1]);

    reader_free(readers[0]);
    reader_free(readers[1]);
    /* Names may hold what controls a terminal */
    return found ? g_strescape(found, "\"\\") : NULL;
}
