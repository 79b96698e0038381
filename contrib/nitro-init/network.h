/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The enclave's names and its loopback interface.
 */

#ifndef NITRO_INIT_NETWORK_H
#define NITRO_INIT_NETWORK_H

#include <stddef.h>

/*
 * network_init: bring the loopback interface up, set the host name, and
 * write /etc/hosts and /etc/resolv.conf unless the image has them
 * @hostname: NULL means "enclave"
 *
 * What fails is a warning: an application that speaks vsock needs none of it.
 */
void network_init(const char *hostname);

/*
 * network_resolve: write /etc/resolv.conf
 * @servers: addresses, as text
 *
 * Replaces what the image has there, as container runtimes do.
 */
void network_resolve(const char *const *servers, size_t count);

#endif
