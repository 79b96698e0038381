/*
 * Growing byte queue with an upper bound
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "ring.h"

#define RING_MIN_CAPACITY 256

static size_t ring_capacity(const NhvRing *ring, size_t len)
{
    return len <= ring->capacity - ring->used ? ring->capacity :
           MAX(RING_MIN_CAPACITY, pow2ceil(ring->used + len));
}

size_t nhv_ring_growth(const NhvRing *ring, size_t len)
{
    return ring_capacity(ring, len) - ring->capacity;
}

static void ring_grow(NhvRing *ring, size_t capacity)
{
    uint8_t *buf = g_malloc(capacity);
    struct iovec iov = { .iov_base = buf, .iov_len = capacity };
    size_t used = nhv_ring_get(ring, &iov, 1, 0, ring->used);

    g_free(ring->buf);
    ring->buf = buf;
    ring->capacity = capacity;
    ring->head = 0;
    ring->used = used;
}

bool nhv_ring_put(NhvRing *ring, const struct iovec *iov,
                  unsigned int iov_cnt, size_t offset, size_t len,
                  size_t limit)
{
    size_t tail, first;

    if (ring->used > limit || len > limit - ring->used) {
        return false;
    }
    if (!len) {
        return true;
    }
    if (len > ring->capacity - ring->used) {
        ring_grow(ring, ring_capacity(ring, len));
    }
    tail = (ring->head + ring->used) & (ring->capacity - 1);
    first = MIN(len, ring->capacity - tail);
    iov_to_buf(iov, iov_cnt, offset, ring->buf + tail, first);
    iov_to_buf(iov, iov_cnt, offset + first, ring->buf, len - first);
    ring->used += len;
    return true;
}

size_t nhv_ring_get(NhvRing *ring, const struct iovec *iov,
                    unsigned int iov_cnt, size_t offset, size_t len)
{
    size_t room = iov_size(iov, iov_cnt);
    size_t first;

    room = room > offset ? room - offset : 0;
    len = MIN(MIN(len, room), ring->used);
    if (!len) {
        return 0;
    }
    first = MIN(len, ring->capacity - ring->head);
    iov_from_buf(iov, iov_cnt, offset, ring->buf + ring->head, first);
    iov_from_buf(iov, iov_cnt, offset + first, ring->buf, len - first);
    ring->head = (ring->head + len) & (ring->capacity - 1);
    ring->used -= len;
    if (!ring->used) {
        nhv_ring_clear(ring);
    }
    return len;
}

void nhv_ring_clear(NhvRing *ring)
{
    g_free(ring->buf);
    *ring = (NhvRing) { };
}
