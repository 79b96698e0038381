/*
 * Enclave image found in donated memory
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The image is copied out of the parent's memory in slices, so that other
 * enclaves are served in between, into a sealed memfd that nobody can change
 * any more.  Everything is checked on that copy.
 */

#ifndef NHV_IMAGE_H
#define NHV_IMAGE_H

#include "hw/core/eif-image.h"
#include "kernel-unpack.h"
#include "parent.h"

typedef struct NhvImage {
    int fd;                     /* the copy */
    uint64_t size;
    uint64_t copied;
    unsigned int busy;          /* attempts to seal the copy */
    bool unbootable;            /* what failed is the image, not this host */
    /* Filled in by nhv_image_check() */
    EifArch arch;
    uint32_t crc;
    char *sha384;               /* of the whole image, hexadecimal */
    EifMeasurements pcrs;
    bool needs_acpi;            /* see nhv_kernel_needs_acpi() */
    const char *acpi_reason;
    uint64_t cmdline_room;      /* characters its kernel takes in addition */
    char *cmdline_error;        /* why the line is too long, NULL: it is not */
    NhvKernel unpacked;         /* of an x86_64 image */
    /* Of an arm64 image, see nhv_image_split() */
    int kernel_fd;
    int initrd_fd;              /* -1 without a ramdisk */
    char *cmdline;
} NhvImage;

/**
 * nhv_image_new: an image that was not looked for yet
 *
 * Returns: to be freed with nhv_image_free().
 */
NhvImage *nhv_image_new(void);

/**
 * nhv_image_open: find the image in donated memory
 * @image: a new image; size is filled in
 * @mem: the memory
 * @errp: filled in on failure; unbootable says whether the image is at fault
 *
 * Returns: true on success; nothing is copied yet.
 */
bool nhv_image_open(NhvImage *image, NhvMemory *mem, Error **errp);

/**
 * nhv_image_copy: copy the next slice
 * @image: the image
 * @mem: the memory it was opened from
 * @done: set when it was the last slice
 * @errp: filled in on failure
 *
 * Returns: true on success.
 */
bool nhv_image_copy(NhvImage *image, NhvMemory *mem, bool *done,
                    Error **errp);

/**
 * nhv_image_check: verify and measure the copy
 * @image: a completely copied image
 * @errp: filled in when it is not a good image; unbootable is set then, unless
 *        this host failed to check it
 *
 * An image with a signature is good only while that is valid, as on EC2.
 * Takes seconds for large images; callable from any thread.
 *
 * Returns: true for a good image.
 */
bool nhv_image_check(NhvImage *image, Error **errp);

/**
 * nhv_image_split: get the parts of an image that a machine boots
 * @image: kernel_fd, initrd_fd and cmdline are filled in
 * @eif: its structure
 * @bytes: its content
 * @errp: filled in on failure
 *
 * All ramdisks together are the initrd, in their order.
 *
 * Returns: true on success.
 */
bool nhv_image_split(NhvImage *image, const EifImage *eif,
                     const uint8_t *bytes, Error **errp);

void nhv_image_free(NhvImage *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NhvImage, nhv_image_free)

/**
 * nhv_kernel_needs_acpi: how does a kernel find its virtio devices?
 * @kernel: the kernel of the image, unpacked if it could be
 * @cmdline: kernel command line of the image
 * @reason: set to a phrase that says why
 *
 * The nitro-enclave machine describes its devices either in ACPI tables or on
 * the kernel's command line (virtio_mmio.device=), as AWS does.  A kernel
 * without the code for the one needs the other.
 *
 * Returns: true when ACPI tables are the way.
 */
bool nhv_kernel_needs_acpi(const NhvKernel *kernel, const char *cmdline,
                           const char **reason);

#endif
