/*
 * Enclave Image Format (EIF): judge a kernel without running it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An enclave boots a bzImage on x86_64 and an uncompressed Image on arm64,
 * nothing else.  What its header says must hold: a kernel that was cut short
 * boots no more than a text does, and a command line that is longer than the
 * kernel takes is cut by it.  Builder, tool, launcher and hypervisor process
 * ask here, so they agree.
 *
 * Places and meanings are in Linux' Documentation/arch/x86/boot.rst and
 * Documentation/arch/arm64/booting.rst.
 *
 * Pure code as in eif-image.h.
 */

#ifndef HW_CORE_EIF_KERNEL_H
#define HW_CORE_EIF_KERNEL_H

#include "hw/core/eif-image.h"

/* What a kernel says of itself */
typedef struct EifKernel {
    EifFileKind kind;
    uint64_t size; /* bytes there are */
    uint64_t needed; /* bytes there must be by its header; 0: unknown */
    uint64_t memory; /* bytes it occupies by its header; 0: unknown */
    uint64_t loaded; /* bytes that are loaded into that memory */
    uint64_t cmdline_max; /* characters, without NUL; UINT64_MAX: unknown */
    /* Of a bzImage, not checked against its size; 0: unknown */
    uint64_t payload, payload_len; /* the packed kernel, from the start */
    uint64_t address; /* of the memory it occupies */
} EifKernel;

/**
 * eif_kernel_probe: learn what a kernel says of itself
 * @src: where it lies
 * @offset: where in the source it begins
 * @size: its length in bytes; must lie within the source
 * @kernel: filled in on success, with any kind of file
 * @errp: filled in when it cannot be read
 *
 * Reads at most 4 KiB.
 *
 * Returns: true when it could be read.
 */
bool eif_kernel_probe(const EifSource *src, uint64_t offset, uint64_t size,
                      EifKernel *kernel, Error **errp);

/**
 * eif_kernel_check: can an enclave boot this kernel?
 * @kernel: from eif_kernel_probe()
 * @arch: architecture of the enclave
 * @errp: filled in when not: what is wrong, with the numbers, and a remedy
 *
 * Refuses other kinds of files, kernels of the other architecture, and those
 * with fewer bytes than their header asks for.  See also
 * eif_kernel_is_uncertain().
 *
 * Returns: true when nothing speaks against it.
 */
bool eif_kernel_check(const EifKernel *kernel, EifArch arch, Error **errp);

/**
 * eif_kernel_is_uncertain: is it something that nobody here knows?
 * @kernel: from eif_kernel_probe()
 *
 * eif_kernel_check() refuses that, too.  Those who do not boot it themselves
 * may take the refusal for a warning.
 */
bool eif_kernel_is_uncertain(const EifKernel *kernel);

/**
 * eif_kernel_check_cmdline: does the kernel take a command line so long?
 * @kernel: from eif_kernel_probe()
 * @len: characters, without a terminating NUL
 * @errp: filled in when not, with both numbers
 *
 * Returns: true when it does, or when its limit is not known.
 */
bool eif_kernel_check_cmdline(const EifKernel *kernel, uint64_t len,
                              Error **errp);

/**
 * eif_image_probe_kernel: eif_kernel_probe() for the kernel of an image
 * @image: from eif_image_parse() on the same source
 * @src: where the image lies
 * @kernel: filled in on success
 * @errp: filled in when it cannot be read
 *
 * Returns: true on success.
 */
bool eif_image_probe_kernel(const EifImage *image, const EifSource *src,
                            EifKernel *kernel, Error **errp);

/**
 * eif_image_cmdline_len: length of the command line of an image
 * @image: from eif_image_parse() on the same source
 * @src: where the image lies
 * @len: set on success: characters before the first NUL, without white space
 *       at their end
 * @errp: filled in when it cannot be read
 *
 * Returns: true on success.
 */
bool eif_image_cmdline_len(const EifImage *image, const EifSource *src,
                           uint64_t *len, Error **errp);

#endif
