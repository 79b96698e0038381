/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 */

#ifndef NITRO_LAB_NSM_H
#define NITRO_LAB_NSM_H

/* Ask the security module for register @index and print it as one line */
void nsm_print_pcr(int index);

#endif
