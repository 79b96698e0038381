/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * A ring of pieces: one byte for the stream, four for the length, the data.
 */

#include <stdlib.h>
#include <string.h>

#include "output.h"

#define MARK 5

int output_init(struct output *output)
{
    *output = (struct output) { .ring = malloc(OUTPUT_SIZE) };
    return output->ring ? 0 : -1;
}

bool output_fits(const struct output *output)
{
    return OUTPUT_SIZE - output->used >= MARK + OUTPUT_PIECE;
}

static void put(struct output *output, const void *data, size_t len)
{
    size_t at = (output->head + output->used) % OUTPUT_SIZE;
    size_t chunk = len < OUTPUT_SIZE - at ? len : OUTPUT_SIZE - at;

    memcpy(output->ring + at, data, chunk);
    memcpy(output->ring, (const uint8_t *)data + chunk, len - chunk);
    output->used += len;
}

/* Copy @len bytes that begin @skip bytes behind the oldest one */
static void peek(const struct output *output, size_t skip, void *data,
                 size_t len)
{
    size_t at = (output->head + skip) % OUTPUT_SIZE;
    size_t chunk = len < OUTPUT_SIZE - at ? len : OUTPUT_SIZE - at;

    memcpy(data, output->ring + at, chunk);
    memcpy((uint8_t *)data + chunk, output->ring, len - chunk);
}

static size_t peek_mark(const struct output *output, size_t skip,
                        enum output_stream *stream)
{
    uint8_t mark[MARK];
    uint32_t len;

    peek(output, skip, mark, MARK);
    *stream = mark[0];
    memcpy(&len, mark + 1, sizeof(len));
    return len;
}

static size_t forget_oldest(struct output *output)
{
    enum output_stream stream;
    size_t len = peek_mark(output, 0, &stream);

    output->head = (output->head + MARK + len) % OUTPUT_SIZE;
    output->used -= MARK + len;
    output->first += len;
    return len;
}

void output_add(struct output *output, enum output_stream stream,
                const void *data, size_t len)
{
    uint8_t mark[MARK] = { stream };
    uint32_t len32 = len;

    while (OUTPUT_SIZE - output->used < MARK + len) {
        output->dropped += forget_oldest(output);
    }
    memcpy(mark + 1, &len32, sizeof(len32));
    put(output, mark, MARK);
    put(output, data, len);
    output->next += len;
}

size_t output_get(const struct output *output, uint64_t position, void *data,
                  enum output_stream *stream, uint64_t *at)
{
    uint64_t start = output->first;

    for (size_t skip = 0; skip < output->used; ) {
        size_t len = peek_mark(output, skip, stream);

        if (start >= position) {
            peek(output, skip + MARK, data, len);
            *at = start;
            return len;
        }
        skip += MARK + len;
        start += len;
    }
    return 0;
}

void output_taken(struct output *output, uint64_t position)
{
    enum output_stream stream;

    while (output->used && output->first + peek_mark(output, 0, &stream)
           <= position) {
        forget_oldest(output);
    }
}
