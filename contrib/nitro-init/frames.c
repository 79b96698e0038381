/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * A buffer is emptied before it is filled again, but for the beginning of a
 * frame; so nothing is moved but that.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "frames.h"

int frames_init(struct frames *frames)
{
    *frames = (struct frames) { .data = malloc(FRAMES_SIZE) };
    return frames->data ? 0 : -1;
}

void frames_reset(struct frames *frames)
{
    frames->start = frames->end = 0;
    frames->begun = false;
    frames->uncut = 0;
    memset(frames->mac, 0, sizeof(frames->mac));
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

/* Returns: as read(), but without the header */
static ssize_t read_frame(int tap, struct virtio_net_hdr *head, uint8_t *to)
{
    struct iovec parts[] = { { head, sizeof(*head) }, { to, FRAME_MAX } };
    ssize_t n = readv(tap, parts, 2);

    return n < 0 ? n : n - (ssize_t)sizeof(*head);
}

static void add_heads(struct frames *frames, const struct split *split)
{
    for (size_t i = 1; i <= split->count; i++) {
        size_t len = i == split->count ? split->last : split->len;

        put32(frames->data + frames->end, len);
        frames->end += FRAME_HEAD + len;
    }
}

/* What cannot be sent is lost */
void frames_collect(struct frames *frames, int tap)
{
    struct virtio_net_hdr head = { 0 };
    struct split split;

    move_to_front(frames);
    while (frames->end < FRAMES_BATCH) {
        uint8_t *frame = frames->data + frames->end + FRAME_HEAD;
        ssize_t n = read_frame(tap, &head, frame);

        if (n < FRAME_MIN) {
            return;
        }
        if (offload_split(&head, frames->uncut, frame, n, FRAME_HEAD,
                          frames->data + FRAMES_SIZE - frame, &split)) {
            add_heads(frames, &split);
        }
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

/* What the device does not take is lost */
static void write_frame(struct frames *frames, int tap)
{
    unsigned count = offload_merged(&frames->merge);

    if (writev(tap, frames->merge.pieces, count) < 0) {
        return;
    }
}

static void deliver_frame(struct frames *frames, int tap, uint8_t *frame,
                          size_t len)
{
    if (!offload_merge(&frames->merge, frame, len)) {
        write_frame(frames, tap);
        offload_merge(&frames->merge, frame, len);
    }
}

/* Only the first one: others may come from somebody in the same network */
static bool take_greeting(struct frames *frames, const uint8_t *frame,
                          size_t len)
{
    static const char word[] = "\x88\xb5nitronet";
    bool is_first = !frames->begun;

    frames->begun = true;
    if (!is_first || len != GREETING_LEN ||
        memcmp(frame + 12, word, sizeof(word) - 1)) {
        return false;
    }
    memcpy(frames->mac, frame + 6, sizeof(frames->mac));
    frames->uncut = get32(frame + 22);
    return true;
}

int frames_deliver(struct frames *frames, int tap)
{
    int result = 0;

    while (frames_pending(frames) >= FRAME_HEAD) {
        uint8_t *head = frames->data + frames->start;
        size_t len = get32(head);

        if (len < FRAME_MIN || len > FRAME_MAX) {
            result = -1;
            break;
        }
        if (frames_pending(frames) - FRAME_HEAD < len) {
            break;
        }
        frames->start += FRAME_HEAD + len;
        if (!take_greeting(frames, head + FRAME_HEAD, len)) {
            deliver_frame(frames, tap, head + FRAME_HEAD, len);
        }
    }
    if (frames->merge.count) {
        write_frame(frames, tap);
    }
    return result;
}
