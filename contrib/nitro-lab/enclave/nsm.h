/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 */

#ifndef NITRO_LAB_NSM_H
#define NITRO_LAB_NSM_H

/* Ask the security module for register @index and print it as one line */
void nsm_print_pcr(int index);

/* The same for the module's own name, which is the enclave's */
void nsm_print_module(void);

/*
 * Pass requests of a stream on to the security module, and its replies back.
 * All numbers have two bytes, the high one first:
 *
 *   request   length, bytes in CBOR; length 0 reads the module's random bytes
 *             from /dev/hwrng, as many as fit in 64
 *   reply     errno (0 when there are bytes), length, bytes
 */
void nsm_relay(int fd);

#endif
