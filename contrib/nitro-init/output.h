/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Output of the application: kept until the parent has taken it.
 *
 * Both streams share one buffer, so their order stays.  Each piece has a
 * position: the number of bytes that both streams had given before it.  A
 * reader that was away sees from the positions how many bytes it missed.
 */

#ifndef NITRO_INIT_OUTPUT_H
#define NITRO_INIT_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OUTPUT_SIZE   (128 * 1024)  /* bytes kept, with 5 a piece for marks */
#define OUTPUT_PIECE  4096          /* most bytes of one piece */

enum output_stream { OUTPUT_STDOUT = 1, OUTPUT_STDERR = 2 };

struct output {
    uint8_t *ring;
    size_t head, used;      /* oldest byte, bytes in use */
    uint64_t first;         /* position of the oldest piece */
    uint64_t next;          /* position of the next piece to come */
    uint64_t dropped;       /* bytes of the application nobody has taken */
};

/* output_init: returns 0, or -1 when memory is short */
int output_init(struct output *output);

/* output_fits: whether a piece of OUTPUT_PIECE bytes fits without a loss */
bool output_fits(const struct output *output);

/*
 * output_add: append @len bytes, at most OUTPUT_PIECE; drops the oldest
 * pieces, and counts their bytes, until these fit
 */
void output_add(struct output *output, enum output_stream stream,
                const void *data, size_t len);

/*
 * output_get: copy the first piece at or behind @position
 * @data: takes OUTPUT_PIECE bytes
 * @stream, @at: filled in with its stream and its position
 *
 * Returns: its length; 0 when nothing is left
 */
size_t output_get(const struct output *output, uint64_t position, void *data,
                  enum output_stream *stream, uint64_t *at);

/* output_taken: forget the pieces that lie wholly before @position */
void output_taken(struct output *output, uint64_t position);

#endif
