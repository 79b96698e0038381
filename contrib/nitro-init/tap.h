/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The enclave's network interface: a TAP device, whose frames a process reads
 * and writes.
 */

#ifndef NITRO_INIT_TAP_H
#define NITRO_INIT_TAP_H

#include "address.h"

#define TAP_NAME "eth0"

/*
 * tap_open: make the interface, which is down
 * @mac: its address; NULL leaves the choice to the kernel
 *
 * Each frame is behind offload.h's header.
 *
 * Returns: a descriptor in non-blocking mode, or -1 with errno set
 */
int tap_open(const uint8_t *mac);

/*
 * tap_mac, tap_set_mac: the interface's address, whether it is up or down
 *
 * Returns: 0, or -1 with errno set
 */
int tap_mac(uint8_t mac[MAC_LEN]);
int tap_set_mac(const uint8_t mac[MAC_LEN]);

/*
 * tap_up, tap_set_mtu, tap_add_address, tap_remove_address, tap_add_gateway:
 * configure the interface; what is there already is no failure
 *
 * Returns: 0, or -1 with errno set
 */
int tap_up(void);
int tap_set_mtu(unsigned mtu);
int tap_add_address(const struct address *address);
int tap_remove_address(const struct address *address);
/* Of the whole world; it need not be in the network of an address */
int tap_add_gateway(const struct address *gateway);

#endif
