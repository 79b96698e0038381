/*
 * Nitro Enclaves: what differs between the QEMU releases this code fits
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The code uses names of the newest of these releases, 10.2; here is what
 * 10.0 has in their place.  A file that needs one of the headers that moved, or
 * something that was renamed or has other parameters, includes this file.
 */
#ifndef SYSTEM_NITRO_COMPAT_H
#define SYSTEM_NITRO_COMPAT_H

#include "io/channel.h"

#define NITRO_QEMU_SINCE(major, minor) \
    (QEMU_VERSION_MAJOR > (major) || \
     (QEMU_VERSION_MAJOR == (major) && QEMU_VERSION_MINOR >= (minor)))

#if NITRO_QEMU_SINCE(10, 2)

#include "accel/accel-cpu-ops.h"
#include "accel/accel-ops.h"
#include "accel/dummy-cpus.h"
#include "system/address-spaces.h"

/* Parameters of handlers in AccelClass */
#define NITRO_INIT_MACHINE_PARAMS AccelState *as, MachineState *ms
#define NITRO_SETUP_POST_PARAMS AccelState *as

/* Second argument of a class_init */
typedef const void NitroClassData;

#else

#include "exec/address-spaces.h"
#include "qemu/accel.h"
#include "system/accel-ops.h"
#include "system/cpus.h"

#define NITRO_INIT_MACHINE_PARAMS MachineState *ms
#define NITRO_SETUP_POST_PARAMS MachineState *ms, AccelState *as

typedef void NitroClassData;

/* There, an accelerator without such a handler has this one */
#define generic_handle_interrupt NULL

/* A device's side of a character device */
#define CharFrontend CharBackend

#endif

/* qio_channel_set_blocking() returns true, or once returned 0, on success */
static inline bool nitro_set_nonblocking(QIOChannel *ioc, Error **errp)
{
#if NITRO_QEMU_SINCE(10, 2)
    return qio_channel_set_blocking(ioc, false, errp);
#else
    return qio_channel_set_blocking(ioc, false, errp) == 0;
#endif
}

#endif /* SYSTEM_NITRO_COMPAT_H */
