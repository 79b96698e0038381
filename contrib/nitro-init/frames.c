/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * A buffer is emptied before it is filled again, but for the beginning of a
 * frame; so nothing is moved but that.
 */

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frames.h"

int frames_init(struct frames *frames)
{
    *frames = (struct frames) { .data = malloc(FRAMES_SIZE) };
    return frames->data ? 0 : -1;
}

void frames_reset(struct frames *frames)
{
    frames->start = frames->end = 0;
}

void frames_free(struct frames *frames)
{
    free(frames->data);
    *frames = (struct frames) { 0 };
}

size_t frames_pending(const struct frames *frames)
{
    return frames->end - frames->start;
}

static void move_to_front(struct frames *frames)
{
    size_t pending = frames_pending(frames);

    memmove(frames->data, frames->data + frames->start, pending);
    frames->start = 0;
    frames->end = pending;
}

static size_t read_length(const uint8_t *head)
{
    uint32_t len;

    memcpy(&len, head, sizeof(len));
    return be32toh(len);
}

void frames_collect(struct frames *frames, int tap)
{
    move_to_front(frames);
    while (frames->end < FRAMES_BATCH) {
        uint8_t *head = frames->data + frames->end;
        ssize_t n = read(tap, head + FRAME_HEAD, FRAME_MAX);
        uint32_t len = htobe32(n);

        if (n < FRAME_MIN) {
            return;
        }
        memcpy(head, &len, sizeof(len));
        frames->end += FRAME_HEAD + n;
    }
}

static bool is_transient(void)
{
    return errno == EAGAIN || errno == EINTR;
}

int frames_send(struct frames *frames, int stream)
{
    while (frames_pending(frames)) {
        ssize_t n = write(stream, frames->data + frames->start,
                          frames_pending(frames));

        if (n < 0) {
            return is_transient() ? 0 : -1;
        }
        frames->start += n;
    }
    return 0;
}

int frames_receive(struct frames *frames, int stream)
{
    ssize_t n;

    move_to_front(frames);
    n = read(stream, frames->data + frames->end, FRAMES_BATCH);
    if (n > 0) {
        frames->end += n;
    }
    return n > 0 || (n < 0 && is_transient()) ? 0 : -1;
}

int frames_deliver(struct frames *frames, int tap)
{
    while (frames_pending(frames) >= FRAME_HEAD) {
        const uint8_t *head = frames->data + frames->start;
        size_t len = read_length(head);

        if (len < FRAME_MIN || len > FRAME_MAX) {
            return -1;
        }
        if (frames_pending(frames) - FRAME_HEAD < len) {
            return 0;
        }
        frames->start += FRAME_HEAD + len;
        if (write(tap, head + FRAME_HEAD, len) < 0) {
            continue;
        }
    }
    return 0;
}
