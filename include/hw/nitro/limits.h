/*
 * Nitro Enclaves: memory, CIDs and ports that enclaves are bound to
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver and EC2 set these numbers.  Launcher, emulated parent and image
 * tool take them from here.
 */

#ifndef HW_NITRO_LIMITS_H
#define HW_NITRO_LIMITS_H

#include "qemu/units.h"

/* An enclave's memory consists of blocks of this size, which it starts at */
#define NITRO_MEMORY_GRANULE    (2 * MiB)
/* The driver starts no enclave with less */
#define NITRO_MEMORY_MIN        (64 * MiB)
/* Where the image begins in the first block; EC2's driver reports this */
#define NITRO_IMAGE_OFFSET      (8 * MiB)

/* CIDs that an enclave cannot have, and the first and last that it can */
#define NITRO_CID_HYPERVISOR    0
#define NITRO_CID_HOST          2
#define NITRO_CID_PARENT        3
#define NITRO_CID_FIRST         4
#define NITRO_CID_LAST          0xfffffffeU
/* In place of a CID: let the hypervisor choose one */
#define NITRO_CID_AUTO          0

/* vsock port of the parent where the init of an image announces itself */
#define NITRO_HEARTBEAT_PORT    9000

/* The hypervisor has the console of the enclave with CID n at 10000 + n */
#define NITRO_CONSOLE_PORT_BASE 10000

#endif /* HW_NITRO_LIMITS_H */
