/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Requests to the Nitro Secure Module through /dev/nsm.
 *
 * Each call blocks until the module has answered, which takes milliseconds.
 * They return -1 with errno set when there is no module, and with EPROTO
 * when it answers with an error.
 */

#ifndef NITRO_INIT_NSM_H
#define NITRO_INIT_NSM_H

#include <stddef.h>
#include <stdint.h>

#define NSM_REGISTER_SIZE 48

/* nsm_register: value of PCR @index, 0 to 31 */
int nsm_register(unsigned index, uint8_t value[NSM_REGISTER_SIZE]);

/* nsm_extend: PCR @index = SHA-384(PCR || data); @len up to 2048 bytes */
int nsm_extend(unsigned index, const void *data, size_t len);

/* nsm_lock: nobody can extend PCR @index any more, and documents show it */
int nsm_lock(unsigned index);

/* nsm_time: the hypervisor's clock, in ms since 1970 UTC */
int nsm_time(uint64_t *ms);

#endif
