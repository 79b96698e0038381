/*
 * Nitro Enclaves accelerator: answers where it is not built
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The monitor and the CPU models ask in every system emulator.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "system/nitro.h"

bool nitro_allowed;

NitroEnclaveInfo *nitro_accel_query(Error **errp)
{
    error_setg(errp, "this QEMU binary has no nitro accelerator");
    return NULL;
}
