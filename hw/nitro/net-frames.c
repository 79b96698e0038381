/*
 * Nitro Enclaves: Ethernet frames on a stream
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "net-frames.h"
#include "qemu/bswap.h"

/* For local experiments: a kernel drops what nobody has asked for */
#define ETHERTYPE_EXPERIMENTAL 0x88b5

void nitro_frames_in_init(NitroFramesIn *in)
{
    in->data = g_malloc(NITRO_FRAMES_BUFFER);
    in->start = in->end = 0;
}

void nitro_frames_in_destroy(NitroFramesIn *in)
{
    g_clear_pointer(&in->data, g_free);
    in->start = in->end = 0;
}

size_t nitro_frames_left(const NitroFramesIn *in)
{
    return in->end - in->start;
}

/* What is left is the beginning of one frame, so it can be moved cheaply */
uint8_t *nitro_frames_space(NitroFramesIn *in)
{
    size_t left = nitro_frames_left(in);

    memmove(in->data, in->data + in->start, left);
    in->start = 0;
    in->end = left;
    assert(NITRO_FRAMES_BUFFER - left >= NITRO_FRAMES_BATCH);
    return in->data + left;
}

void nitro_frames_added(NitroFramesIn *in, size_t len)
{
    assert(len <= NITRO_FRAMES_BUFFER - in->end);
    in->end += len;
}

NitroFrameResult nitro_frames_peek(const NitroFramesIn *in,
                                   const uint8_t **frame, uint32_t *len)
{
    size_t left = nitro_frames_left(in);

    if (left < NITRO_FRAME_HEAD) {
        return NITRO_FRAME_NONE;
    }
    *len = ldl_be_p(in->data + in->start);
    if (*len < NITRO_FRAME_MIN || *len > NITRO_FRAME_MAX) {
        return NITRO_FRAME_BAD;
    }
    if (left - NITRO_FRAME_HEAD < *len) {
        return NITRO_FRAME_NONE;
    }
    *frame = in->data + in->start + NITRO_FRAME_HEAD;
    return NITRO_FRAME_WHOLE;
}

void nitro_frames_take(NitroFramesIn *in)
{
    size_t len = NITRO_FRAME_HEAD + ldl_be_p(in->data + in->start);

    assert(len <= nitro_frames_left(in));
    in->start += len;
}

bool nitro_frames_add(Fifo8 *out, const uint8_t *frame, size_t len)
{
    uint8_t head[NITRO_FRAME_HEAD];

    if (fifo8_num_free(out) < sizeof(head) + len) {
        return false;
    }
    stl_be_p(head, len);
    fifo8_push_all(out, head, sizeof(head));
    fifo8_push_all(out, frame, len);
    return true;
}

void nitro_frames_greet(Fifo8 *out, const MACAddr *address, uint32_t uncut)
{
    uint8_t frame[NITRO_GREETING_LEN];

    memset(frame, 0xff, sizeof(address->a));
    memcpy(frame + 6, address->a, sizeof(address->a));
    stw_be_p(frame + 12, ETHERTYPE_EXPERIMENTAL);
    memcpy(frame + 14, "nitronet", 8);
    stl_be_p(frame + 22, uncut);
    nitro_frames_add(out, frame, sizeof(frame));
}
