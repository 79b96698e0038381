/*
 * AWS nitro-enclave machine: how an enclave is booted
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_I386_NITRO_ENCLAVE_BOOT_H
#define HW_I386_NITRO_ENCLAVE_BOOT_H

#include "qom/object.h"

/**
 * nitro_enclave_boot_properties: add properties to the class of the machine
 *
 * debug-mode: the enclave attests zeros in place of what was measured of its
 * image, as one that was started in debug mode does.
 *
 * unpacked-kernel: an ELF file with the kernel that the image's bzImage
 * unpacks, for which an emulated CPU needs seconds.  It is entered the PVH way,
 * at the address that it is linked for.  The image is measured, not this file:
 * the user has to see to it that both are the same kernel.
 */
void nitro_enclave_boot_properties(ObjectClass *oc);

#endif
