/*
 * Nitro Enclaves accelerator: what the rest of QEMU may ask of it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * This header may be included from common and from per-target code; where the
 * accelerator is not built, accel/stubs/nitro-stub.c answers.  What machine and
 * accelerator have to do with each other is in system/nitro-launch.h.
 */
#ifndef SYSTEM_NITRO_H
#define SYSTEM_NITRO_H

#include "qemu/accel.h"
#include "qapi/qapi-types-nitro.h"

#define TYPE_NITRO_ACCEL ACCEL_CLASS_NAME("nitro")

extern bool nitro_allowed;

/*
 * nitro_enabled(): true when this QEMU runs (or is trying) -accel nitro.
 * False under qtest: there is no driver, RAM is ordinary memory.
 */
#ifdef COMPILING_PER_TARGET
# ifdef CONFIG_NITRO
#  define NITRO_IS_POSSIBLE
# endif
#else
# define NITRO_IS_POSSIBLE
#endif

#ifdef NITRO_IS_POSSIBLE
#define nitro_enabled() (nitro_allowed)
#else
#define nitro_enabled() false
#endif

/**
 * nitro_accel_query: all that is known of the enclave, for the monitor
 * @errp: filled in when another accelerator runs
 *
 * Asks neither driver nor hypervisor.
 *
 * Returns: to be freed with qapi_free_NitroEnclaveInfo(); NULL on failure
 */
NitroEnclaveInfo *nitro_accel_query(Error **errp);

#endif /* SYSTEM_NITRO_H */
