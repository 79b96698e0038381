/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 */

#ifndef NITRO_LAB_NSM_H
#define NITRO_LAB_NSM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Room for any reply of the security module, in bytes */
#define NSM_REPLY_SIZE 0x3000

/* Ask the security module for register @index and print it as one line */
void nsm_print_pcr(int index);

/* The same for the module's own name, which is the enclave's */
void nsm_print_module(void);

/*
 * Have the security module attest a public key of at most 65535 bytes.
 * @document has room for NSM_REPLY_SIZE bytes; returns how many there are, or
 * -1 with errno set.
 */
ssize_t nsm_attest(const uint8_t *public_key, size_t len, uint8_t *document);

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
