/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * A root file system that is one file of the ramdisk.
 */

#ifndef NITRO_INIT_IMAGE_H
#define NITRO_INIT_IMAGE_H

/*
 * image_mount: mount a file system image where it can be written to
 * @image: file with a squashfs
 * @target: directory where it is to be seen; made if missing
 *
 * The image stays unchanged: what is written goes to a tmpfs on top of it.
 * Needs /dev, and of the kernel loop, squashfs and overlay.
 *
 * Returns: NULL, or what has failed, with errno set
 */
const char *image_mount(const char *image, const char *target);

#endif
