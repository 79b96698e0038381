/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * What a network card with offloads does, for a TAP device that has them: the
 * kernel hands over TCP segments of up to 64 KiB, which become frames of the
 * MTU, and gets such frames of one connection as one segment.  Its work per
 * packet is most of what a packet costs.
 *
 * In front of each frame of the device is a struct virtio_net_hdr.
 */

#ifndef NITRO_INIT_OFFLOAD_H
#define NITRO_INIT_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <linux/virtio_net.h>

/* From the kernel */

/* Frames, one behind the other */
struct split {
    size_t count;
    size_t len;                 /* of each but the last */
    size_t last;                /* of the last */
};

/*
 * offload_split: make a frame of the kernel's to what the network takes: cut a
 * long TCP segment, compute the checksums that were left out
 * @uncut: frames of so many bytes stay whole if they are TCP over IPv4
 * @frame: is changed, and what is behind it
 * @gap: bytes that are left free between two frames
 * @room: bytes from @frame on
 *
 * Returns: false when the frame is not what @head says, or @room too small
 */
bool offload_split(const struct virtio_net_hdr *head, size_t uncut,
                   uint8_t *frame, size_t len, size_t gap, size_t room,
                   struct split *split);

/* To the kernel */

#define OFFLOAD_PIECES 64

/* A frame, or several that are consecutive segments of one TCP connection */
struct merge {
    struct virtio_net_hdr head;
    struct iovec pieces[1 + OFFLOAD_PIECES];    /* the first is @head */
    unsigned count;             /* of frames */
    size_t tcp, headers;        /* offsets of TCP's header and of its data */
    size_t size, data;          /* bytes of data: of the first frame, of all */
    uint32_t next;              /* number of the byte that has to follow */
    bool verified;              /* the first one's checksums are right */
    bool complete;              /* nothing can follow */
};

/*
 * offload_merge: add a frame
 * @merge: zero bytes in the beginning; the first frame always fits
 * @frame: stays where it is until offload_merged()
 *
 * A frame is only added to another one when both checksums are right.
 *
 * Returns: false when the frame has to stay apart from those before it
 */
bool offload_merge(struct merge *merge, uint8_t *frame, size_t len);

/*
 * offload_merged: finish the frame, for writev() to the device, and forget it
 *
 * Returns: how many of @merge->pieces it has
 */
unsigned offload_merged(struct merge *merge);

#endif
