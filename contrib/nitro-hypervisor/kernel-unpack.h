/*
 * The ELF kernel inside a bzImage
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Format: Documentation/arch/x86/boot.rst of Linux.
 */

#ifndef NITRO_KERNEL_UNPACK_H
#define NITRO_KERNEL_UNPACK_H

/* Linux: the device that owns the virtio devices named on the command line */
#define NHV_KERNEL_DEVICES "virtio-mmio-cmdline"

typedef struct NhvKernel {
    int fd;             /* of the ELF file, a memfd; -1: it is not known */
    uint64_t size;      /* of the file */
    uint64_t end;       /* of the memory that booting takes, packed or not;
                           0: a PVH machine cannot enter it */
    bool takes_devices; /* has code for NHV_KERNEL_DEVICES */
} NhvKernel;

/**
 * nhv_kernel_unpack: unpack the kernel inside a bzImage
 * @kernel: filled in; to be closed with nhv_kernel_close()
 * @bzimage: the bzImage, or what may be one
 * @len: its length
 *
 * The file is shared by all who unpack the same bzImage, and is not written
 * any more.  It is not known when the bzImage is none, is damaged, or is packed
 * in a way that libarchive does not know; and in a build without libarchive.
 *
 * Takes a fraction of a second; callable from any thread.
 */
void nhv_kernel_unpack(NhvKernel *kernel, const void *bzimage, size_t len);

/* nhv_kernel_close: give it back; a closed one is not known any more */
void nhv_kernel_close(NhvKernel *kernel);

#endif
