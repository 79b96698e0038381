/*
 * Growing byte queue with an upper bound
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Holds the bytes of one direction of one connection while the receiver has
 * no buffer for them.  An empty ring owns no memory.
 */

#ifndef NHV_RING_H
#define NHV_RING_H

#include "qemu/iov.h"

typedef struct NhvRing {
    uint8_t *buf;
    size_t capacity;            /* bytes of memory it owns */
    size_t head;
    size_t used;
} NhvRing;

/**
 * nhv_ring_put: append bytes
 * @ring: the ring
 * @iov: where the bytes are
 * @iov_cnt: number of elements in @iov
 * @offset: bytes of @iov to skip
 * @len: bytes to append; @iov holds at least @offset + @len
 * @limit: bytes the ring may hold afterwards
 *
 * Returns: true when all of them were appended; false, with the ring
 * unchanged, when @limit would be exceeded.
 */
bool nhv_ring_put(NhvRing *ring, const struct iovec *iov,
                  unsigned int iov_cnt, size_t offset, size_t len,
                  size_t limit);

/**
 * nhv_ring_growth: find out what appending would cost
 * @ring: the ring
 * @len: bytes to append
 *
 * Returns: bytes by which nhv_ring_put() of @len would raise the capacity.
 */
size_t nhv_ring_growth(const NhvRing *ring, size_t len);

/**
 * nhv_ring_get: take the oldest bytes out
 * @ring: the ring
 * @iov: where to store them
 * @iov_cnt: number of elements in @iov
 * @offset: bytes of @iov to skip
 * @len: most bytes to take
 *
 * Returns: number of bytes moved, limited by the content and by @iov.
 */
size_t nhv_ring_get(NhvRing *ring, const struct iovec *iov,
                    unsigned int iov_cnt, size_t offset, size_t len);

/**
 * nhv_ring_clear: drop the content and give the memory back
 * @ring: the ring
 */
void nhv_ring_clear(NhvRing *ring);

#endif
