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

static bool is_compressed(EifFileKind kind)
{
    return kind == EIF_KIND_GZIP || kind == EIF_KIND_BZIP2 ||
           kind == EIF_KIND_XZ || kind == EIF_KIND_LZ4 ||
           kind == EIF_KIND_ZSTD;
}

static bool ramdisk_kind(Remarks *r, const EifSection *s, EifFileKind *kind,
                         Error **errp)
{
    uint8_t head[RAMDISK_LOOK];
    size_t len = MIN(s->size, sizeof(head));

    if (!eif_source_read(r->src, head, len, s->data_offset, errp)) {
        return false;
    }
    *kind = eif_buffer_kind(head, len);
    return true;
}

/*
 * All ramdisks are joined without padding.  Linux unpacks one archive after
 * the other, finds the next at multiples of 4 bytes only, and most of its
 * decompressors take whatever follows for more of their own.
 */
static bool remark_ramdisks(Remarks *r, Error **errp)
{
    EifFileKind before = EIF_KIND_UNKNOWN;
    uint64_t joined = 0;
    unsigned n = 0;

    for (unsigned i = 0; i < r->image->nr_sections; i++) {
        const EifSection *s = &r->image->sections[i];

        if (s->type != EIF_SECTION_RAMDISK) {
            continue;
        }
        if (joined && s->size && is_compressed(before)) {
            add(r, "the kernel may not see ramdisk %u: the one before it is "
                "%s", n, eif_file_kind_str(before));
        } else if (s->size && joined % INITRAMFS_ALIGN) {
            add(r, "the kernel does not see ramdisk %u: the one before it "
                "ends at byte %" PRIu64 " of them all, which is no multiple "
                "of %d", n, joined, INITRAMFS_ALIGN);
        }
        if (s->size && !ramdisk_kind(r, s, &before, errp)) {
            return false;
        }
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
