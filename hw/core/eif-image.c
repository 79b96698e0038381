/*
 * Enclave Image Format: read an image's structure and check it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reads headers, and refuses what makes no image.  What is unusual but boots is
 * taken, see eif-remark.c.  The content is loaded, summed and measured in
 * eif-load.c; whether a signature is one is left to those who ask for it.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/core/eif-image.h"

/* From 12 bytes on a reader that walks the sections takes a tail for one */
#define TAIL_MAX (sizeof(EifSectionHeader) - 1)

#define HINT_REBUILD \
    "The image is damaged or was built by a faulty tool; copy it again or " \
    "rebuild it with 'nitro-cli build-enclave'.\n"

/* State while walking the sections of one image */
typedef struct Walk {
    const EifSource *src;
    EifImage *image;
    uint64_t pos; /* end of what was accepted so far */
    unsigned seen[EIF_SECTION_MAX];
} Walk;

const char *eif_section_type_str(uint16_t type)
{
    static const char *const names[] = {
        [EIF_SECTION_INVALID] = "invalid",
        [EIF_SECTION_KERNEL] = "kernel",
        [EIF_SECTION_CMDLINE] = "cmdline",
        [EIF_SECTION_RAMDISK] = "ramdisk",
        [EIF_SECTION_SIGNATURE] = "signature",
        [EIF_SECTION_METADATA] = "metadata",
    };

    return type < ARRAY_SIZE(names) ? names[type] : "unknown";
}

/* Set an error about the section in place @i; @type is -1 when not known yet */
static void G_GNUC_PRINTF(4, 5)
section_error(Error **errp, unsigned i, int type, const char *fmt, ...)
{
    ERRP_GUARD();
    g_autofree char *name = NULL;
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    name = type < 0 ? NULL : g_strdup_printf(" (%s)",
                                             eif_section_type_str(type));
    error_setg(errp, "section %u%s of the image %s", i, name ?: "", text);
    error_append_hint(errp, HINT_REBUILD);
}

static void refuse_kind(EifFileKind kind, Error **errp)
{
    ERRP_GUARD();

    error_setg(errp, "not an enclave image but %s", eif_file_kind_str(kind));
    error_append_hint(errp, "Build an image with 'nitro-cli build-enclave'.\n");
}

/* Read the header, decide whether this is an image at all */
static bool read_header(Walk *w, Error **errp)
{
    ERRP_GUARD();
    EifHeader *header = &w->image->header;
    size_t len = MIN(w->src->size, sizeof(*header));

    if (!eif_source_read(w->src, header, len, 0, errp)) {
        return false;
    }
    if (!eif_image_probe(header, len)) {
        refuse_kind(eif_buffer_kind(header, len), errp);
        return false;
    }
    if (len < sizeof(*header)) {
        error_setg(errp, "the image is cut short: it has %zu bytes, the "
                   "header alone takes %zu", len, sizeof(*header));
        error_append_hint(errp, HINT_REBUILD);
        return false;
    }
    w->pos = sizeof(*header);
    return true;
}

static bool check_header(Walk *w, Error **errp)
{
    ERRP_GUARD();
    EifImage *image = w->image;
    uint16_t flags = be16_to_cpu(image->header.flags);

    image->version = be16_to_cpu(image->header.version);
    image->arch = flags & EIF_FLAG_AARCH64 ? EIF_ARCH_AARCH64
                                           : EIF_ARCH_X86_64;
    image->flags = flags & ~EIF_FLAG_AARCH64;
    image->crc = be32_to_cpu(image->header.eif_crc32);
    image->nr_sections = be16_to_cpu(image->header.section_cnt);

    if (image->version < EIF_VERSION_MIN || image->version > EIF_VERSION_MAX) {
        error_setg(errp, "image version %u is not supported, %d to %d are",
                   image->version, EIF_VERSION_MIN, EIF_VERSION_MAX);
    } else if (image->nr_sections < EIF_MIN_SECTIONS ||
               image->nr_sections > EIF_MAX_SECTIONS) {
        error_setg(errp, "the image header counts %u sections, %d to %d are "
                   "possible", image->nr_sections, EIF_MIN_SECTIONS,
                   EIF_MAX_SECTIONS);
    } else {
        return true;
    }
    error_append_hint(errp, HINT_REBUILD);
    return false;
}

/* Entries behind the last section are unused, but must not be absurd */
static bool check_unused_entries(const Walk *w, Error **errp)
{
    for (unsigned i = w->image->nr_sections; i < EIF_MAX_SECTIONS; i++) {
        uint64_t size = be64_to_cpu(w->image->header.section_sizes[i]);

        if (size > INT64_MAX) {
            section_error(errp, i, -1, "is not counted, but has the "
                          "impossible size %" PRIu64 " in the header", size);
            return false;
        }
    }
    return true;
}

/*
 * Sections stand in the order of the header's table, back to back or with
 * something in between that is nobody's
 */
static bool check_place(const Walk *w, unsigned i, uint64_t offset,
                        Error **errp)
{
    if (offset < w->pos) {
        section_error(errp, i, -1, "begins at offset %" PRIu64 ", where the "
                      "%s before it (ends at %" PRIu64 ") still is", offset,
                      i ? "section" : "header", w->pos);
        return false;
    }
    if (offset > w->src->size ||
        w->src->size - offset < sizeof(EifSectionHeader)) {
        section_error(errp, i, -1, "has its header at offset %" PRIu64
                      ", but the image is cut short at %" PRIu64, offset,
                      w->src->size);
        return false;
    }
    return true;
}

static bool check_size(const Walk *w, unsigned i, uint16_t type, uint64_t size,
                       Error **errp)
{
    ERRP_GUARD();
    uint64_t table = be64_to_cpu(w->image->header.section_sizes[i]);

    if (size != table) {
        section_error(errp, i, type, "has %" PRIu64 " bytes by its own "
                      "header, %" PRIu64 " by the image header", size, table);
        if (type == EIF_SECTION_SIGNATURE) {
            error_append_hint(errp, "Signing an image that is signed already "
                              "can cause this; sign an unsigned copy.\n");
        }
    } else if (size > w->src->size - w->pos) {
        section_error(errp, i, type, "needs %" PRIu64 " bytes at offset %"
                      PRIu64 ", but the image is cut short at %" PRIu64,
                      size, w->pos, w->src->size);
    } else if (size == 0 && (type == EIF_SECTION_KERNEL ||
                             type == EIF_SECTION_SIGNATURE)) {
        section_error(errp, i, type, "at offset %" PRIu64 " is empty", w->pos);
    } else if (type == EIF_SECTION_SIGNATURE && size > EIF_SIGNATURE_MAX) {
        section_error(errp, i, type, "has %" PRIu64 " bytes, at most %d are "
                      "allowed", size, EIF_SIGNATURE_MAX);
    } else {
        return true;
    }
    return false;
}

static bool check_type(const Walk *w, unsigned i, uint16_t type, Error **errp)
{
    if (type == EIF_SECTION_INVALID || type >= EIF_SECTION_MAX) {
        section_error(errp, i, type, "has type %u at offset %" PRIu64
                      ", which does not exist", type, w->pos);
    } else if (w->seen[type] && type != EIF_SECTION_RAMDISK) {
        section_error(errp, i, type, "at offset %" PRIu64 " is the second of "
                      "its type, only one is allowed", w->pos);
    } else if (type == EIF_SECTION_RAMDISK && !w->seen[EIF_SECTION_KERNEL]) {
        section_error(errp, i, type, "at offset %" PRIu64 " stands before "
                      "the kernel", w->pos);
    } else {
        return true;
    }
    return false;
}

static bool walk_section(Walk *w, unsigned i, Error **errp)
{
    EifSection *section = &w->image->sections[i];
    uint64_t offset = be64_to_cpu(w->image->header.section_offsets[i]);
    EifSectionHeader raw;

    if (!check_place(w, i, offset, errp) ||
        !eif_source_read(w->src, &raw, sizeof(raw), offset, errp)) {
        return false;
    }
    section->type = be16_to_cpu(raw.section_type);
    section->flags = be16_to_cpu(raw.flags);
    section->gap = offset - w->pos;
    section->size = be64_to_cpu(raw.section_size);
    w->pos = offset;
    if (!check_type(w, i, section->type, errp)) {
        return false;
    }
    w->pos += sizeof(raw);
    section->data_offset = w->pos;
    if (!check_size(w, i, section->type, section->size, errp)) {
        return false;
    }
    w->seen[section->type]++;
    w->pos += section->size;
    return true;
}

/* Are all sections there, and nothing behind them? */
static bool check_complete(const Walk *w, Error **errp)
{
    ERRP_GUARD();
    uint64_t tail = w->src->size - w->pos;
    int missing = !w->seen[EIF_SECTION_KERNEL] ? EIF_SECTION_KERNEL
                : !w->seen[EIF_SECTION_CMDLINE] ? EIF_SECTION_CMDLINE
                : !w->seen[EIF_SECTION_METADATA] && w->image->version >= 4
                ? EIF_SECTION_METADATA : -1;

    if (missing >= 0) {
        error_setg(errp, "the image (version %u, %u sections) has no %s "
                   "section", w->image->version, w->image->nr_sections,
                   eif_section_type_str(missing));
    } else if (tail > TAIL_MAX && !w->src->open_ended) {
        error_setg(errp, "%" PRIu64 " bytes follow the last section of the "
                   "image, which ends at %" PRIu64, tail, w->pos);
    } else {
        return true;
    }
    error_append_hint(errp, HINT_REBUILD);
    return false;
}

static bool walk_image(Walk *w, Error **errp)
{
    EifImage *image = w->image;

    if (!read_header(w, errp) || !check_header(w, errp) ||
        !check_unused_entries(w, errp)) {
        return false;
    }
    for (unsigned i = 0; i < image->nr_sections; i++) {
        if (!walk_section(w, i, errp)) {
            return false;
        }
    }
    image->image_size = w->pos;
    image->tail = w->src->open_ended ? 0 : w->src->size - w->pos;
    image->nr_ramdisks = w->seen[EIF_SECTION_RAMDISK];
    image->has_metadata = w->seen[EIF_SECTION_METADATA];
    image->has_signature = w->seen[EIF_SECTION_SIGNATURE];
    return check_complete(w, errp);
}

EifImage *eif_image_parse(const EifSource *src, Error **errp)
{
    g_autoptr(EifImage) image = g_new0(EifImage, 1);
    Walk w = { .src = src, .image = image };

    return walk_image(&w, errp) ? g_steal_pointer(&image) : NULL;
}

EifImage *eif_image_open_fd(int fd, Error **errp)
{
    EifFileKind kind;
    EifSource src;

    if (!eif_file_kind(fd, &kind, errp)) {
        return NULL;
    }
    if (kind != EIF_KIND_EIF) {
        refuse_kind(kind, errp);
        return NULL;
    }
    return eif_source_init_fd(&src, fd, errp) ? eif_image_parse(&src, errp)
                                              : NULL;
}

EifImage *eif_image_parse_buffer(const void *buf, size_t len, Error **errp)
{
    EifSource src;

    eif_source_init_buffer(&src, buf, len);
    return eif_image_parse(&src, errp);
}

void eif_image_free(EifImage *image)
{
    g_free(image);
}

const EifSection *eif_image_section(const EifImage *image, uint16_t type,
                                    unsigned n)
{
    for (unsigned i = 0; i < image->nr_sections; i++) {
        if (image->sections[i].type == type && n-- == 0) {
            return &image->sections[i];
        }
    }
    return NULL;
}

bool eif_image_check_arch(const EifImage *image, EifArch arch, Error **errp)
{
    ERRP_GUARD();

    if (image->arch == arch) {
        return true;
    }
    error_setg(errp, "the image is for %s, the enclave runs on %s",
               eif_arch_str(image->arch), eif_arch_str(arch));
    error_append_hint(errp, "Rebuild the image for %s, or launch it on %s.\n",
                      eif_arch_str(arch), eif_arch_str(image->arch));
    return false;
}
