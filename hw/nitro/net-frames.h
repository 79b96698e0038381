/*
 * Nitro Enclaves: Ethernet frames on a stream
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The framing of -netdev stream, passt and others: each frame follows its
 * length as a big-endian u32.
 *
 *     | length u32 | Ethernet frame, length bytes | length u32 | ...
 *
 * The first one to the enclave is a greeting, which only nitro-init
 * understands.  It has the length up to which the init may send frames with TCP
 * over IPv4 without cutting them to the MTU; 0: it has to cut each.
 *
 * The address is the one that the enclave's interface should have, unless its
 * configuration says net-mac; zeros leave the choice to the enclave.
 *
 *     | ff x 6 | address, 6 bytes | 0x88b5 | "nitronet" | length u32 |
 *
 * Both directions are buffers without a socket.  Many frames go into one read
 * or write: a write costs on vsock about as much with 64 KiB as with 64 bytes.
 */

#ifndef HW_NITRO_NET_FRAMES_H
#define HW_NITRO_NET_FRAMES_H

#include "net/net.h"
#include "qemu/fifo8.h"
#include "qemu/units.h"

#define NITRO_FRAME_HEAD 4

/* A header of Ethernet, and what QEMU's network layer takes at most */
#define NITRO_FRAME_MIN 14
#define NITRO_FRAME_MAX NET_BUFSIZE

/* Bytes of a greeting, as a frame */
#define NITRO_GREETING_LEN 26

/* Bytes for one read or write */
#define NITRO_FRAMES_BATCH (64 * KiB)

/* Bytes that can wait to be sent */
#define NITRO_FRAMES_QUEUE (4 * MiB)

/* Room for the beginning of a frame, and a batch behind it */
#define NITRO_FRAMES_BUFFER \
    (NITRO_FRAME_HEAD + NITRO_FRAME_MAX + NITRO_FRAMES_BATCH)

typedef struct NitroFramesIn {
    uint8_t *data;              /* NITRO_FRAMES_BUFFER bytes */
    size_t start, end;          /* what has come and was not taken */
} NitroFramesIn;

typedef enum NitroFrameResult {
    NITRO_FRAME_NONE,           /* not whole yet */
    NITRO_FRAME_WHOLE,
    NITRO_FRAME_BAD,            /* a length that is out of range */
} NitroFrameResult;

void nitro_frames_in_init(NitroFramesIn *in);
void nitro_frames_in_destroy(NitroFramesIn *in);

/**
 * nitro_frames_space: where to read to
 * @in: all whole frames were taken
 *
 * Returns: room for NITRO_FRAMES_BATCH bytes, to be followed by
 * nitro_frames_added()
 */
uint8_t *nitro_frames_space(NitroFramesIn *in);
void nitro_frames_added(NitroFramesIn *in, size_t len);

/**
 * nitro_frames_peek: look at the first frame
 * @in: bytes that have come
 * @frame: filled in when it is whole; valid until nitro_frames_space()
 * @len: filled in when it is whole or bad: what its header says
 */
NitroFrameResult nitro_frames_peek(const NitroFramesIn *in,
                                   const uint8_t **frame, uint32_t *len);

/* nitro_frames_take: forget the first frame, which is whole */
void nitro_frames_take(NitroFramesIn *in);

/* nitro_frames_left: bytes that were not taken */
size_t nitro_frames_left(const NitroFramesIn *in);

/**
 * nitro_frames_add: queue a frame to be sent
 * @out: of NITRO_FRAMES_QUEUE bytes
 * @frame: copied
 * @len: at most NITRO_FRAME_MAX
 *
 * Returns: false when there is no room for it
 */
bool nitro_frames_add(Fifo8 *out, const uint8_t *frame, size_t len);

/**
 * nitro_frames_greet: queue the greeting
 * @out: is empty
 * @address: that the enclave's interface should have, or zeros
 * @uncut: bytes of the longest frame of that kind
 */
void nitro_frames_greet(Fifo8 *out, const MACAddr *address, uint32_t uncut);

#endif
