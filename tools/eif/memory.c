/*
 * How much memory an enclave needs to boot an image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two moments count.  The loader places the kernel at 16 MiB and the ramdisks
 * behind what the kernel asks for.  Later the ramdisks and their files are in
 * memory at once, beside the kernel.
 */

#include "qemu/osdep.h"
#include <archive.h>
#include <archive_entry.h>
#include "hw/core/eif-kernel.h"
#include "hw/nitro/limits.h"
#include "qemu/units.h"
#include "memory.h"

#define PIECE (64 * KiB)
#define PAGE (4 * KiB)          /* of files in memory */

#define KERNEL_AT (16 * MiB)    /* where loaders place it */
#define KERNEL_RUNS (60 * MiB)  /* its own, and what it must have free */
#define KEPT_PART 32            /* of memory: list of pages, what stays free */
#define FILE_BYTES 1536         /* inode and name in the caches */
#define MAX_PAGES (1 * TiB / PAGE)  /* a bomb; its size is not of interest */

typedef struct Reader {
    const EifSource *src;
    const EifSection *section;
    uint64_t used;
    uint8_t buffer[PIECE];
} Reader;

/* What all ramdisks of an image unpack to */
typedef struct Contents {
    uint64_t pages, files;
} Contents;

static la_ssize_t read_piece(struct archive *a, void *opaque,
                             const void **data)
{
    Reader *r = opaque;
    size_t len = MIN(PIECE, r->section->size - r->used);

    if (!eif_source_read(r->src, r->buffer, len,
                         r->section->data_offset + r->used, NULL)) {
        archive_set_error(a, EIO, "cannot be read");
        return ARCHIVE_FATAL;
    }
    r->used += len;
    *data = r->buffer;
    return len;
}

static la_int64_t skip(struct archive *a, void *opaque, la_int64_t wanted)
{
    Reader *r = opaque;
    uint64_t len = MIN((uint64_t)wanted, r->section->size - r->used);

    r->used += len;
    return len;
}

/* A name of a file that came before has no content: no page counts twice */
static bool count_entries(struct archive *a, Contents *c)
{
    struct archive_entry *entry;
    int rc;

    while (((rc = archive_read_next_header(a, &entry)) == ARCHIVE_OK ||
            rc == ARCHIVE_WARN) && c->pages < MAX_PAGES) {
        c->files++;
        if (!archive_entry_hardlink(entry) &&
            archive_entry_filetype(entry) == AE_IFREG) {
            c->pages += DIV_ROUND_UP(archive_entry_size(entry), PAGE);
        }
    }
    return rc == ARCHIVE_EOF;
}

static bool count_ramdisk(const EifSection *section, const EifSource *src,
                          Contents *c)
{
    g_autofree Reader *r = g_new0(Reader, 1);
    struct archive *a = archive_read_new();
    bool ok;

    *r = (Reader) { .src = src, .section = section };
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_bzip2(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_lzma(a);
    archive_read_support_filter_lz4(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_format_cpio(a);
    ok = archive_read_open2(a, r, NULL, read_piece, skip, NULL)
         == ARCHIVE_OK && count_entries(a, c);
    archive_read_free(a);
    return ok;
}

/* Sum of the ramdisks' sizes; false: one of them cannot be read */
static bool count_ramdisks(const EifImage *image, const EifSource *src,
                           Contents *c, uint64_t *bytes)
{
    const EifSection *s;

    for (unsigned i = 0;
         (s = eif_image_section(image, EIF_SECTION_RAMDISK, i)); i++) {
        *bytes += s->size;
        if (s->size && !count_ramdisk(s, src, c)) {
            return false;
        }
    }
    return true;
}

/*
 * Linux unpacks to a tmpfs, which takes half of what is free at that time,
 * unless the command line names another root, as AWS's does.
 */
static bool is_tmpfs(const EifImage *image, const EifSource *src)
{
    const EifSection *s = eif_image_section(image, EIF_SECTION_CMDLINE, 0);
    g_autofree char *text = g_malloc0(MIN(s->size, PAGE) + 1);

    return eif_source_read(src, text, MIN(s->size, PAGE), s->data_offset,
                           NULL) &&
           !strstr(text, "root=") && !strstr(text, "rootfstype=");
}

uint64_t memory_need(const EifImage *image, const EifSource *src)
{
    const EifSection *s = eif_image_section(image, EIF_SECTION_KERNEL, 0);
    uint64_t ramdisks = 0, unpacked, loading, running;
    Contents c = { 0 };
    EifKernel kernel;

    if (!eif_kernel_probe(src, s->data_offset, s->size, &kernel, NULL) ||
        !count_ramdisks(image, src, &c, &ramdisks)) {
        return 0;
    }
    unpacked = c.pages * PAGE + c.files * FILE_BYTES;
    if (is_tmpfs(image, src)) {
        unpacked = MAX(unpacked, 2 * MAX(c.pages, c.files) * PAGE);
    }
    loading = KERNEL_AT + MAX(kernel.memory, s->size) + ramdisks;
    running = KERNEL_RUNS + ramdisks + unpacked;
    running += running / (KEPT_PART - 1);
    return ROUND_UP(MAX(loading, running), NITRO_MEMORY_GRANULE) / MiB;
}
