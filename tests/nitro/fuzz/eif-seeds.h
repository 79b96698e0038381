/*
 * Enclave images that fuzzing begins with
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NITRO_EIF_SEEDS_H
#define NITRO_EIF_SEEDS_H

#include "fuzz.h"

/* All shapes of good images, and signed ones */
void eif_seeds(FuzzSeed *seed);

#endif
