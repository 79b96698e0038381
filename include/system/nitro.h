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

/* The CID of an enclave for which the hypervisor chooses one */
#define NITRO_CID_AUTO      0

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

/*
 * Exit statuses of QEMU.  0: the enclave ended after its boot, or QEMU was
 * asked to end; 1: QEMU itself refused (options, image, memory, port).
 */
#define NITRO_STATUS_DRIVER     3       /* driver or hypervisor refused */
#define NITRO_STATUS_UNBOOTED   4       /* it ended before its heartbeat */
#define NITRO_STATUS_DEADLINE   5       /* no heartbeat in time, given up */

/**
 * nitro_accel_query: all that is known of the enclave, for the monitor
 * @errp: filled in when another accelerator runs
 *
 * Asks neither driver nor hypervisor.
 *
 * Returns: to be freed with qapi_free_NitroEnclaveInfo(); NULL on failure
 */
NitroEnclaveInfo *nitro_accel_query(Error **errp);

/**
 * nitro_cid_valid: may the user ask for this CID?
 * @cid: NITRO_CID_AUTO, or the wanted number
 * @errp: filled in with the reason and the permitted range
 *
 * Pure function, usable without BQL and from any program; only in builds
 * that have the accelerator.
 */
bool nitro_cid_valid(uint64_t cid, Error **errp);

#endif /* SYSTEM_NITRO_H */
