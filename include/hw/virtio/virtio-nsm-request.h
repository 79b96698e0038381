/*
 * Nitro Secure Module: what a guest asks, in the one form the device reads
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Clients of a module are written in many languages, and their libraries write
 * CBOR (RFC 8949) in many ways: integers wider than needed, strings and maps
 * of indefinite length, bytes as an array of integers.  The handlers of the
 * device read one way.
 */

#ifndef HW_VIRTIO_NSM_REQUEST_H
#define HW_VIRTIO_NSM_REQUEST_H

/* As much as the driver of Linux passes on */
#define NSM_REQUEST_MAX 0x1000

/**
 * nsm_request_normalize: write a request in the form the handlers read
 * @request: the guest's bytes; overwritten, never by more than there were
 * @len: how many, at most NSM_REQUEST_MAX
 *
 * Afterwards maps are definite and have each known key at most once, integers
 * have their shortest form, and what stands for bytes is one definite byte
 * string.  An integer above 255 becomes 255: the device refuses that as an
 * index, while the request is well-formed.  Unknown keys and tags are left out.
 *
 * Needs no memory that depends on the request, and time in proportion to @len.
 *
 * Returns: the new length; 0 when this is not a request.
 */
size_t nsm_request_normalize(uint8_t *request, size_t len);

#endif
