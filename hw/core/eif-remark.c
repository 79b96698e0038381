/*
 * Enclave Image Format: what is unusual about an image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-kernel.h"
#include "hw/core/eif-remark.h"

#define RAMDISK_LOOK 4096
#define INITRAMFS_ALIGN 4 /* of archives in Linux' initramfs */

/* Format newc of cpio: 13 numbers behind the magic, these two among them */
#define CPIO_MAGIC_LEN 6
#define CPIO_HEAD_LEN (CPIO_MAGIC_LEN + 13 * 8)
#define CPIO_FILE_SIZE 6
#define CPIO_NAME_SIZE 11
#define CPIO_TRAILER "TRAILER!!!"

typedef struct Remarks {
    const EifImage *image;
    const EifSource *src;
    GPtrArray *list;
} Remarks;

static void G_GNUC_PRINTF(2, 3) add(Remarks *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_ptr_array_add(r->list, g_strdup_vprintf(fmt, ap));
    va_end(ap);
}

static void remark_header(Remarks *r)
{
    const EifImage *image = r->image;

    if (image->flags) {
        add(r, "the header has flags 0x%04x, whose meaning is not known; an "
            "enclave may attest other registers because of them",
            image->flags);
    }
    if (!image->nr_ramdisks) {
        add(r, "there is no ramdisk");
    }
    if (image->tail) {
        add(r, "%" PRIu64 " bytes follow the last section, which nobody reads",
            image->tail);
    }
}

static void remark_section(Remarks *r, unsigned i)
{
    const EifSection *s = &r->image->sections[i];
    const char *name = eif_section_type_str(s->type);

    if (s->gap) {
        add(r, "%" PRIu64 " bytes stand before section %u (%s), which belong "
            "to none; nitro-cli cannot describe such an image", s->gap, i,
            name);
    }
    if (s->flags) {
        add(r, "section %u (%s) has flags 0x%04x, whose meaning is not known",
            i, name, s->flags);
    }
    if (!s->size && s->type != EIF_SECTION_CMDLINE) {
        add(r, "section %u (%s) is empty", i, name);
    }
}

/* The measurements cover all of it, the kernel takes less */
static bool remark_cmdline(Remarks *r, Error **errp)
{
    const EifSection *s = eif_image_section(r->image, EIF_SECTION_CMDLINE, 0);
    uint64_t len;

    if (!eif_image_cmdline_len(r->image, r->src, &len, errp)) {
        return false;
    }
    if (len < s->size) {
        add(r, "the command line is followed by %" PRIu64 " bytes, a NUL or "
            "white space first, that are measured with it", s->size - len);
    }
    return true;
}

/*
 * All ramdisks are joined without padding.  Linux unpacks one archive after
 * the other and skips zeros between them.  Behind a cpio archive the next one
 * has to begin at a multiple of 4 bytes of them all, and most decompressors
 * take any bytes that follow for more of their own.
 */

/* Position in a ramdisk while its archives are walked through */
typedef struct Archives {
    const Remarks *r;
    const EifSection *s;
    uint64_t joined; /* bytes of the ramdisks before it */
    uint64_t pos;
} Archives;

static bool is_compressed(EifFileKind kind)
{
    return kind == EIF_KIND_GZIP || kind == EIF_KIND_BZIP2 ||
           kind == EIF_KIND_XZ || kind == EIF_KIND_LZ4 ||
           kind == EIF_KIND_ZSTD || kind == EIF_KIND_LZMA ||
           kind == EIF_KIND_LZO;
}

/* Returns how many bytes there are at the position, at most @max; -1: error */
static ssize_t remark_peek(const Archives *a, uint8_t *buf, size_t max,
                           Error **errp)
{
    size_t len = a->pos < a->s->size ? MIN(a->s->size - a->pos, max) : 0;

    return !len || eif_source_read(a->r->src, buf, len,
                                   a->s->data_offset + a->pos, errp)
           ? len : -1;
}

static bool skip_zeros(Archives *a, Error **errp)
{
    uint8_t buf[RAMDISK_LOOK];
    ssize_t len, zeros;

    do {
        len = remark_peek(a, buf, sizeof(buf), errp);
        for (zeros = 0; zeros < len && !buf[zeros]; zeros++) {
            continue;
        }
        a->pos += zeros;
    } while (len > 0 && zeros == len);
    return len >= 0;
}

/* A number of 8 hexadecimal digits in a header; others read as a huge one */
static uint64_t cpio_number(const uint8_t *head, unsigned field)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++) {
        int digit = g_ascii_xdigit_value(head[CPIO_MAGIC_LEN + 8 * field + i]);

        value = digit < 0 ? UINT32_MAX : value << 4 | digit;
    }
    return value;
}

static uint64_t align_up(const Archives *a, uint64_t pos)
{
    return ROUND_UP(a->joined + pos, INITRAMFS_ALIGN) - a->joined;
}

/* To the end of the archive, of which the position is the begin */
static bool skip_cpio(Archives *a, Error **errp)
{
    uint8_t head[CPIO_HEAD_LEN + sizeof(CPIO_TRAILER)];
    ssize_t len;
    bool last;

    do {
        len = remark_peek(a, head, sizeof(head), errp);
        if (len < (ssize_t)CPIO_HEAD_LEN || memcmp(head, "07070", 5)) {
            a->pos = a->s->size;
            return len >= 0;
        }
        last = len == sizeof(head) &&
               !memcmp(head + CPIO_HEAD_LEN, CPIO_TRAILER,
                       sizeof(CPIO_TRAILER));
        a->pos = align_up(a, a->pos + CPIO_HEAD_LEN +
                          cpio_number(head, CPIO_NAME_SIZE));
        a->pos = align_up(a, a->pos + cpio_number(head, CPIO_FILE_SIZE));
    } while (!last);
    return true;
}

/* What the last archive of a ramdisk is; @first: where the first one begins */
static bool last_kind(const Remarks *r, const EifSection *s, uint64_t joined,
                      uint64_t *first, EifFileKind *kind, Error **errp)
{
    Archives a = { r, s, joined };
    uint8_t head[RAMDISK_LOOK];
    ssize_t len;

    if (!skip_zeros(&a, errp)) {
        return false;
    }
    *first = a.pos;
    while (a.pos < s->size) {
        len = remark_peek(&a, head, sizeof(head), errp);
        if (len < 0) {
            return false;
        }
        *kind = eif_buffer_kind(head, len);
        if (*kind != EIF_KIND_CPIO) {
            return true;
        }
        if (!skip_cpio(&a, errp) || !skip_zeros(&a, errp)) {
            return false;
        }
    }
    return true;
}

static void remark_ramdisk(Remarks *r, unsigned n, EifFileKind before,
                           uint64_t begin)
{
    if (is_compressed(before)) {
        add(r, "the kernel may not see ramdisk %u: the one before it ends "
            "with %s", n, eif_file_kind_str(before));
    } else if (begin % INITRAMFS_ALIGN) {
        add(r, "the kernel does not see ramdisk %u: it begins at byte %"
            PRIu64 " of them all, which is not a multiple of %d", n, begin,
            INITRAMFS_ALIGN);
    }
}

static bool remark_ramdisks(Remarks *r, Error **errp)
{
    EifFileKind kind, before = EIF_KIND_UNKNOWN;
    uint64_t first, joined = 0;
    unsigned n = 0;

    for (unsigned i = 0; i < r->image->nr_sections; i++) {
        const EifSection *s = &r->image->sections[i];

        if (s->type != EIF_SECTION_RAMDISK) {
            continue;
        }
        kind = before;
        if (!last_kind(r, s, joined, &first, &kind, errp)) {
            return false;
        }
        if (joined && first < s->size) {
            remark_ramdisk(r, n, before, joined + first);
        }
        before = kind;
        joined += s->size;
        n++;
    }
    return true;
}

GPtrArray *eif_image_remarks(const EifImage *image, const EifSource *src,
                             Error **errp)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
    Remarks r = { .image = image, .src = src, .list = list };

    remark_header(&r);
    for (unsigned i = 0; i < image->nr_sections; i++) {
        remark_section(&r, i);
    }
    return remark_cmdline(&r, errp) && remark_ramdisks(&r, errp)
           ? g_steal_pointer(&list) : NULL;
}
