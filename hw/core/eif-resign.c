/*
 * Enclave Image Format: give an image another signature section
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/core/eif-crc.h"
#include "hw/core/eif-sign.h"

#define FIRST_SIGNED_VERSION 3

/* Where the section goes, and what of the image stays before and behind it */
typedef struct Place {
    unsigned index;
    uint64_t begin; /* of the section header */
    uint64_t former_end;
} Place;

static Place find_place(const EifImage *image)
{
    Place place = {
        .index = image->nr_sections,
        .begin = image->image_size,
        .former_end = image->image_size,
    };

    for (unsigned i = 0; i < image->nr_sections; i++) {
        const EifSection *s = &image->sections[i];

        if (s->type == EIF_SECTION_SIGNATURE) {
            place.index = i;
            place.begin = s->data_offset - sizeof(EifSectionHeader);
            place.former_end = s->data_offset + s->size;
        }
    }
    return place;
}

uint64_t eif_resign_size(const EifImage *image, size_t section_len,
                         Error **errp)
{
    ERRP_GUARD();
    Place place = find_place(image);

    if (image->version < FIRST_SIGNED_VERSION) {
        error_setg(errp, "an image of version %u cannot be signed, version %d "
                   "is the first that can", image->version,
                   FIRST_SIGNED_VERSION);
        error_append_hint(errp, "Build the image anew.\n");
        return 0;
    }
    if (place.index == EIF_MAX_SECTIONS) {
        error_setg(errp, "the image has %u sections already, there is no room "
                   "for a signature", image->nr_sections);
        error_append_hint(errp, "Build it with fewer ramdisks.\n");
        return 0;
    }
    if (section_len > EIF_SIGNATURE_MAX) {
        error_setg(errp, "the signature section would have %zu bytes, at most "
                   "%d are allowed", section_len, EIF_SIGNATURE_MAX);
        error_append_hint(errp, "Use a shorter certificate.\n");
        return 0;
    }
    return image->image_size - (place.former_end - place.begin) +
           sizeof(EifSectionHeader) + section_len;
}

/* The header without its CRC */
static EifHeader make_header(const EifImage *image, const Place *place,
                             size_t section_len)
{
    EifHeader header = image->header;
    uint64_t end = place->begin + sizeof(EifSectionHeader) + section_len;

    header.section_offsets[place->index] = cpu_to_be64(place->begin);
    header.section_sizes[place->index] = cpu_to_be64(section_len);
    if (place->index == image->nr_sections) {
        header.section_cnt = cpu_to_be16(image->nr_sections + 1);
    }
    for (unsigned i = place->index + 1; i < image->nr_sections; i++) {
        uint64_t former = image->sections[i].data_offset -
                          sizeof(EifSectionHeader);

        header.section_offsets[i] = cpu_to_be64(former - place->former_end +
                                                end);
    }
    return header;
}

static uint8_t *resign_put(uint8_t *to, const void *data, size_t len,
                           uint32_t *crc)
{
    memcpy(to, data, len);
    *crc = eif_crc32(*crc, to, len);
    return to + len;
}

bool eif_resign_write(const EifImage *image, const EifSource *src,
                      const GByteArray *section, void *dest, Error **errp)
{
    const uint64_t body = sizeof(EifHeader);
    Place place = find_place(image);
    EifHeader header = make_header(image, &place, section->len);
    EifSectionHeader section_header = {
        .section_type = cpu_to_be16(EIF_SECTION_SIGNATURE),
        .section_size = cpu_to_be64(section->len),
    };
    uint8_t *to = (uint8_t *)dest + body;
    uint32_t crc = eif_crc32(0, (uint8_t *)&header,
                             offsetof(EifHeader, eif_crc32));

    if (!eif_source_read_crc(src, to, place.begin - body, body, false, &crc,
                             errp)) {
        return false;
    }
    to += place.begin - body;
    to = resign_put(to, &section_header, sizeof(section_header), &crc);
    to = resign_put(to, section->data, section->len, &crc);
    if (!eif_source_read_crc(src, to, image->image_size - place.former_end,
                             place.former_end, false, &crc, errp)) {
        return false;
    }
    header.eif_crc32 = cpu_to_be32(crc);
    memcpy(dest, &header, body);
    return true;
}
