/*
 * System calls that fail, part of the library to preload
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_NITRO_FAKE_FAULT_H
#define TESTS_NITRO_FAKE_FAULT_H

/* Is this one of the calls to fail?  Counts it; sets errno if so */
bool fake_fault(const char *call);

#endif /* TESTS_NITRO_FAKE_FAULT_H */
