/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Ethernet frames between a TAP device with offloads and a stream to the
 * parent.  On the stream each frame follows its length:
 *
 *   | length u32, big-endian | frame, length bytes | length u32 | ...
 *
 * as with -netdev stream, passt and QEMU's device nitro-net.  One write()
 * carries as many frames as there are, up to FRAMES_BATCH bytes: on EC2 one
 * costs about as much with 64 KiB as with 64 bytes.
 *
 * A nitro-net device begins with a greeting, which is not for the TAP device:
 *
 *   | 6 bytes | address, 6 bytes | 0x88b5 | "nitronet" | u32, big-endian |
 *
 * The address is the one that the enclave's interface should have; zeros leave
 * the choice to the enclave.  The number is offload_split()'s @uncut; it may
 * be 0.
 */

#ifndef NITRO_INIT_FRAMES_H
#define NITRO_INIT_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "offload.h"

#define FRAME_HEAD   4
#define FRAME_MIN    14                 /* a header of Ethernet */
#define FRAME_MAX    (4096 + 65536)     /* as QEMU has it */
#define GREETING_LEN 26
#define FRAMES_BATCH (64 * 1024)
/* For a batch, and 64 KiB of data in frames of the least size that TCP has */
#define FRAMES_SIZE  (512 * 1024)

/* Bytes of one direction */
struct frames {
    uint8_t *data;              /* FRAMES_SIZE bytes */
    size_t start, end;
    struct merge merge;         /* to the device */
    bool begun;                 /* the connection's first frame has come */
    uint32_t uncut;             /* see offload_split() */
    uint8_t mac[MAC_LEN];       /* of a greeting, else zeros */
};

/*
 * frames_init: an empty buffer
 *
 * Returns: 0, or -1 when memory is short
 */
int frames_init(struct frames *frames);

/* frames_reset: forget what is there, for another connection */
void frames_reset(struct frames *frames);

void frames_free(struct frames *frames);

/* frames_pending: bytes that wait */
size_t frames_pending(const struct frames *frames);

/*
 * frames_collect: read frames from a TAP device, until it has no more or a
 * batch is full
 * @tap: in non-blocking mode
 */
void frames_collect(struct frames *frames, int tap);

/*
 * frames_send: write what was collected to the stream
 * @stream: in non-blocking mode; what it does not take stays
 *
 * Returns: 0, or -1 when the stream is broken
 */
int frames_send(struct frames *frames, int stream);

/*
 * frames_receive: read once from the stream
 * @frames: frames_deliver() has taken all that is whole
 *
 * Returns: 0, or -1 when the stream has ended or is broken
 */
int frames_receive(struct frames *frames, int stream);

/*
 * frames_deliver: write all whole frames to a TAP device
 * @frames: has what a greeting said in @uncut and @mac
 * @tap: what it does not take is lost, as on any network
 *
 * Returns: 0; -1 when a length is out of range: no frame that follows can be
 * found any more
 */
int frames_deliver(struct frames *frames, int tap);

#endif
