/*
 * Mutations of enclave images that keep what surrounds them right
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include <zlib.h> /* crc32 */
#include "eif-mutator.h"
#include "tests/nitro/eif-maker.h"

/* Types 0 to 5 exist, 6 does not */
#define NR_TYPES 7
#define MAX_PARTS 40

typedef struct Part {
    uint16_t type;
    GByteArray *data;
} Part;

static void free_part(void *opaque)
{
    Part *part = opaque;

    g_byte_array_unref(part->data);
    g_free(part);
}

static Part *new_part(uint16_t type, const uint8_t *data, size_t len)
{
    Part *part = g_new(Part, 1);

    part->type = type;
    part->data = g_byte_array_new();
    g_byte_array_append(part->data, data, len);
    return part;
}

/* One section after the other, as long as there are bytes */
static GPtrArray *take_apart(const uint8_t *image, size_t size)
{
    GPtrArray *parts = g_ptr_array_new_with_free_func(free_part);
    size_t pos = HEADER_LEN;

    while (pos + SECTION_HEADER_LEN <= size && parts->len < MAX_PARTS) {
        uint64_t len = ldq_be_p(image + pos + 4);
        uint16_t type = lduw_be_p(image + pos);

        pos += SECTION_HEADER_LEN;
        len = MIN(len, size - pos);
        g_ptr_array_add(parts, new_part(type, image + pos, len));
        pos += len;
    }
    return parts;
}

static GByteArray *put_together(const uint8_t *header, const GPtrArray *parts)
{
    GByteArray *image = eif_maker_new(lduw_be_p(header + AT_VERSION),
                                      lduw_be_p(header + AT_FLAGS));

    for (guint i = 0; i < parts->len; i++) {
        const Part *part = g_ptr_array_index(parts, i);

        eif_maker_add(image, part->type, part->data->data, part->data->len);
    }
    eif_maker_finish(image);
    return image;
}

static void change_data(Part *part, size_t room, GRand *dice,
                        size_t (*blind)(uint8_t *, size_t, size_t))
{
    size_t len = part->data->len;

    g_byte_array_set_size(part->data, len + room);
    g_byte_array_set_size(part->data, blind(part->data->data, len,
                                            len + room));
}

static void change_parts(GPtrArray *parts, size_t room, GRand *dice,
                         size_t (*blind)(uint8_t *, size_t, size_t))
{
    guint i = g_rand_int_range(dice, 0, parts->len);
    guint k = g_rand_int_range(dice, 0, parts->len);
    Part *part = g_ptr_array_index(parts, i);

    switch (g_rand_int_range(dice, 0, 8)) {
    case 0:
        g_ptr_array_insert(parts, k, new_part(part->type, part->data->data,
                                              part->data->len));
        break;
    case 1:
        g_ptr_array_remove_index(parts, i);
        break;
    case 2:
        parts->pdata[i] = parts->pdata[k];
        parts->pdata[k] = part;
        break;
    case 3:
        part->type = g_rand_int_range(dice, 0, NR_TYPES);
        break;
    default:
        change_data(part, room, dice, blind);
        break;
    }
}

static size_t change_structure(uint8_t *image, size_t size, size_t max_size,
                               GRand *dice,
                               size_t (*blind)(uint8_t *, size_t, size_t))
{
    g_autoptr(GPtrArray) parts = take_apart(image, size);
    g_autoptr(GByteArray) result = NULL;

    if (parts->len) {
        change_parts(parts, max_size - size, dice, blind);
    }
    result = put_together(image, parts);
    size = MIN(result->len, max_size);
    memcpy(image, result->data, size);
    return size;
}

void eif_fix_crc(uint8_t *image, size_t size)
{
    uint32_t crc;

    if (size >= HEADER_LEN) {
        crc = crc32(0, image, AT_CRC);
        crc = crc32(crc, image + HEADER_LEN, size - HEADER_LEN);
        stl_be_p(image + AT_CRC, crc);
    }
}

size_t eif_mutate(uint8_t *image, size_t size, size_t max_size, GRand *dice,
                  size_t (*blind)(uint8_t *, size_t, size_t))
{
    unsigned way = g_rand_int_range(dice, 0, 8);

    if (size >= HEADER_LEN && way < 5) {
        return change_structure(image, size, max_size, dice, blind);
    }
    if (way == 5 && size >= HEADER_LEN) {
        /* The header alone; it keeps its length */
        blind(image, HEADER_LEN, HEADER_LEN);
    } else {
        size = blind(image, size, max_size);
    }
    if (way != 7) {
        eif_fix_crc(image, size);
    }
    return size;
}
