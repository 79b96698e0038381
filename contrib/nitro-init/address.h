/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Numbers and addresses of the network, out of text.
 */

#ifndef NITRO_INIT_ADDRESS_H
#define NITRO_INIT_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#define MAC_LEN 6

/* An address of either family, in network byte order */
struct address {
    int family;                 /* AF_INET or AF_INET6 */
    uint8_t bytes[16];          /* AF_INET: the first 4 */
    unsigned prefix;            /* leading bits that are the network's */
};

/*
 * parse_number: read all of @text as a number
 * @base: 8 or 10
 * @max: largest number
 *
 * Returns: whether it is one, without sign or space
 */
bool parse_number(const char *text, unsigned base, unsigned long max,
                  unsigned long *number);

/* address_bits: 32 or 128 */
unsigned address_bits(const struct address *address);

/*
 * address_parse: read "ADDRESS", or with @prefixed "ADDRESS/PREFIX"
 *
 * Returns: whether it is one; without @prefixed the prefix is all bits
 */
bool address_parse(struct address *address, const char *text, bool prefixed);

/* mac_parse: read six octets, "02:00:00:00:00:01" */
bool mac_parse(uint8_t mac[MAC_LEN], const char *text);

#endif
