/*
 * Nitro Enclaves accelerator: which state may follow which
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pure rules over the enum of system/nitro.h; who keeps the state is
 * nitro-launch.c.
 */
#ifndef ACCEL_NITRO_STATE_H
#define ACCEL_NITRO_STATE_H

#include "system/nitro.h"

/* Name for traces and messages, never NULL */
const char *nitro_state_name(NitroState state);

/* May an enclave in state @from get into state @to next? */
bool nitro_state_may_move(NitroState from, NitroState to);

#endif /* ACCEL_NITRO_STATE_H */
