/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * inet_pton() reads the addresses; here is what goes around them.
 */

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "address.h"

bool parse_number(const char *text, unsigned base, unsigned long max,
                  unsigned long *number)
{
    *number = 0;
    if (!*text) {
        return false;
    }
    for (; *text; text++) {
        unsigned digit = *text - '0';

        if (digit >= base || *number > (max - digit) / base) {
            return false;
        }
        *number = *number * base + digit;
    }
    return true;
}

unsigned address_bits(const struct address *address)
{
    return address->family == AF_INET ? 32 : 128;
}

static bool parse_bytes(struct address *address, const char *text)
{
    address->family = strchr(text, ':') ? AF_INET6 : AF_INET;
    return inet_pton(address->family, text, address->bytes) == 1;
}

bool address_parse(struct address *address, const char *text, bool prefixed)
{
    const char *slash = strchr(text, '/');
    char plain[INET6_ADDRSTRLEN];
    unsigned long prefix;

    *address = (struct address) { 0 };
    if (!prefixed) {
        bool good = parse_bytes(address, text);

        address->prefix = address_bits(address);
        return good;
    }
    if (!slash || slash - text >= (int)sizeof(plain)) {
        return false;
    }
    memcpy(plain, text, slash - text);
    plain[slash - text] = 0;
    if (!parse_bytes(address, plain) ||
        !parse_number(slash + 1, 10, address_bits(address), &prefix)) {
        return false;
    }
    address->prefix = prefix;
    return true;
}

bool mac_parse(uint8_t mac[MAC_LEN], const char *text)
{
    unsigned octet[MAC_LEN];
    int used = 0;

    if (strlen(text) != 3 * MAC_LEN - 1 ||
        strspn(text, "0123456789abcdefABCDEF:") != strlen(text) ||
        sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &octet[0], &octet[1],
               &octet[2], &octet[3], &octet[4], &octet[5], &used) != MAC_LEN ||
        text[used]) {
        return false;
    }
    for (int i = 0; i < MAC_LEN; i++) {
        mac[i] = octet[i];
    }
    return true;
}
