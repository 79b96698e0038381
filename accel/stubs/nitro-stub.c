/*
 * Nitro Enclaves accelerator: answers where it is not built
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Machine and devices are common code: they may be linked into a binary whose
 * target has no nitro accelerator.  Contracts are in system/nitro.h.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "system/nitro.h"
#include "system/runstate.h"

bool nitro_allowed;

void nitro_accel_set_hooks(const NitroAccelHooks *hooks, void *opaque)
{
}

bool nitro_accel_get_image_load_offset(uint64_t *offset, Error **errp)
{
    error_setg(errp, "this QEMU binary has no nitro accelerator");
    return false;
}

uint64_t nitro_accel_get_cid(void)
{
    return NITRO_CID_AUTO;
}

bool nitro_accel_debug_mode(void)
{
    return false;
}

NitroEnclaveInfo *nitro_accel_query(Error **errp)
{
    error_setg(errp, "this QEMU binary has no nitro accelerator");
    return NULL;
}

void nitro_accel_notify_booted(void)
{
}

uint64_t nitro_accel_get_boot_ms(void)
{
    return 0;
}

void nitro_accel_expect_boot(void)
{
}

void nitro_accel_boot_failed(void)
{
}

void nitro_accel_powerdown(void)
{
    qemu_system_shutdown_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
}

void nitro_accel_set_application(const NitroEnclaveApplication *app,
                                 uint32_t stop_grace, int exit_status)
{
}

int nitro_accel_failure_status(void)
{
    return EXIT_FAILURE;
}

void nitro_accel_hold_shutdown(void)
{
}

void nitro_accel_release_shutdown(void)
{
}
