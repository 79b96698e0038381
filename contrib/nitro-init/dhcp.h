/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Client of DHCP (RFC 2131, options of RFC 2132), without socket and clock:
 * the caller carries messages and passes the time.  The server is the parent's
 * and not trusted: what it says is an address and where its network begins and
 * ends, nothing else is taken.
 */

#ifndef NITRO_INIT_DHCP_H
#define NITRO_INIT_DHCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"

#define DHCP_CLIENT_PORT 68
#define DHCP_SERVER_PORT 67
#define DHCP_MESSAGE     300    /* bytes of each message of the client */
#define DHCP_MAX_MESSAGE 1500   /* longest one of a server that is read */
#define DHCP_MAX_DNS     3

/* MTU that a server may give */
#define DHCP_MIN_MTU 576
#define DHCP_MAX_MTU 65520

/* Addresses are in the byte order of the machine */
struct dhcp_lease {
    uint32_t address, server;
    unsigned prefix;
    uint32_t gateway;           /* 0: none */
    uint32_t dns[DHCP_MAX_DNS];
    unsigned nr_dns;
    unsigned mtu;               /* 0: not said */
    int64_t duration_ms;        /* at least a minute */
};

enum dhcp_state {
    DHCP_SELECTING,             /* looks for a server */
    DHCP_REQUESTING,            /* has an offer */
    DHCP_BOUND,
    DHCP_RENEWING,              /* bound, and half of the time is over */
};

enum dhcp_event {
    DHCP_NOTHING,
    DHCP_LEASE,                 /* @lease holds, anew or for longer */
    DHCP_LOST,                  /* the address must not be used any more */
};

struct dhcp {
    enum dhcp_state state;
    uint8_t mac[MAC_LEN];
    uint32_t id;                /* of the exchange */
    struct dhcp_lease lease;    /* or the offer */
    int64_t next_ms;            /* when dhcp_work() is due */
    int64_t expires_ms;
    unsigned attempt;
};

/*
 * dhcp_init: begin to look for a server
 * @id: random, so that an answer to another client is not taken for ours
 */
void dhcp_init(struct dhcp *dhcp, const uint8_t mac[MAC_LEN], uint32_t id,
               int64_t now_ms);

/*
 * dhcp_work: do what is due
 * @message: DHCP_MESSAGE bytes; filled in with what is to be broadcast
 * @len: set to its length, 0 when there is nothing to send
 *
 * @dhcp->next_ms is when to call it again, later than @now_ms.
 */
enum dhcp_event dhcp_work(struct dhcp *dhcp, int64_t now_ms,
                          uint8_t *message, size_t *len);

/* dhcp_take: take a message; what is not an answer to the last is ignored */
enum dhcp_event dhcp_take(struct dhcp *dhcp, int64_t now_ms,
                          const uint8_t *message, size_t len);

#endif
