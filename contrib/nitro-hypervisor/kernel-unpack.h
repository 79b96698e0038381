/*
 * The ELF kernel inside a bzImage
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Source of the format of a payload: arch/x86/boot/compressed of Linux.
 */

#ifndef NHV_KERNEL_UNPACK_H
#define NHV_KERNEL_UNPACK_H

#include "hw/core/eif-kernel.h"

/* Linux: the device that owns the virtio devices named on the command line */
#define NHV_KERNEL_DEVICES "virtio-mmio-cmdline"

typedef struct NhvKernel {
    int fd;             /* of the ELF file, a memfd; -1: unknown */
    uint64_t size;      /* of the file */
    /* Of the memory to boot, packed or not; 0: a PVH machine cannot enter it */
    uint64_t end;
    bool takes_devices; /* has code for NHV_KERNEL_DEVICES */
} NhvKernel;

/*
 * Attempts to seal a memfd that is busy.  Each may last 150 ms, which Linux
 * waits for pages to become free.
 */
#define NHV_SEAL_ATTEMPTS 40

/**
 * nhv_kernel_unpack: unpack the kernel inside a bzImage
 * @kernel: filled in; to be closed with nhv_kernel_close()
 * @head: what it says of itself, from eif_kernel_probe()
 * @bzimage: the bzImage, or what may be one; @head has its length
 *
 * All who unpack the same bzImage share one file, which is sealed.  The kernel
 * stays unknown if @bzimage is something else, damaged, or packed in a way that
 * libarchive does not know, and in a build without libarchive.
 *
 * Takes a fraction of a second; callable from any thread.
 */
void nhv_kernel_unpack(NhvKernel *kernel, const EifKernel *head,
                       const void *bzimage);

/* nhv_kernel_close: close its file; the kernel is unknown then */
void nhv_kernel_close(NhvKernel *kernel);

#endif
