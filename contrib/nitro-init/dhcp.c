/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Everything is broadcast: the only host that sees it is the other end of the
 * stream, and a renewal then needs no route.
 */

#include <string.h>

#include "bytes.h"
#include "dhcp.h"

/* Places in a message */
enum {
    AT_OP = 0, AT_TYPE = 1, AT_LENGTH = 2, AT_ID = 4, AT_FLAGS = 10,
    AT_CLIENT = 12, AT_YOURS = 16, AT_MAC = 28, AT_MAGIC = 236,
    AT_OPTIONS = 240,
};

enum { REQUEST = 1, REPLY = 2, ETHERNET = 1, BROADCAST = 0x80 };
enum { DISCOVER = 1, OFFER = 2, ASK = 3, ACK = 5, NAK = 6 };

enum option {
    PAD = 0, NETMASK = 1, ROUTER = 3, DNS = 6, MTU = 26, ADDRESS = 50,
    DURATION = 51, KIND = 53, SERVER = 54, WANTED = 55, MAX_SIZE = 57,
    LAST = 255,
};

#define MAGIC 0x63825363

#define FIRST_MS 1000           /* until the first repetition, then doubled */
#define MAX_DOUBLINGS 4
#define MIN_LEASE_S 60

/* What a server has said; lease.address is 0 when it is no answer to us */
struct answer {
    struct dhcp_lease lease;
    uint8_t kind;
};

/* Sending */

static uint8_t *add32(uint8_t *to, enum option option, uint32_t value)
{
    to[0] = option;
    to[1] = sizeof(value);
    put32(to + 2, value);
    return to + 2 + sizeof(value);
}

static uint8_t *add_wanted(uint8_t *to)
{
    static const uint8_t options[] = {
        WANTED, 6, NETMASK, ROUTER, DNS, MTU, DURATION, SERVER,
        MAX_SIZE, 2, DHCP_MAX_MESSAGE >> 8, DHCP_MAX_MESSAGE & 0xff,
    };

    memcpy(to, options, sizeof(options));
    return to + sizeof(options);
}

static size_t compose(const struct dhcp *dhcp, uint8_t *message)
{
    uint8_t *to = message + AT_OPTIONS;

    memset(message, 0, DHCP_MESSAGE);
    message[AT_OP] = REQUEST;
    message[AT_TYPE] = ETHERNET;
    message[AT_LENGTH] = MAC_LEN;
    message[AT_FLAGS] = BROADCAST;
    put32(message + AT_ID, dhcp->id);
    memcpy(message + AT_MAC, dhcp->mac, MAC_LEN);
    put32(message + AT_MAGIC, MAGIC);
    *to++ = KIND;
    *to++ = 1;
    *to++ = dhcp->state == DHCP_SELECTING ? DISCOVER : ASK;
    if (dhcp->state == DHCP_REQUESTING) {
        to = add32(to, ADDRESS, dhcp->lease.address);
        to = add32(to, SERVER, dhcp->lease.server);
    } else if (dhcp->state == DHCP_RENEWING) {
        put32(message + AT_CLIENT, dhcp->lease.address);
    }
    to = add_wanted(to);
    *to = LAST;
    return DHCP_MESSAGE;
}

/* Receiving */

/* Number of leading ones; -1 when others follow a zero */
static int mask_prefix(uint32_t mask)
{
    int prefix = mask ? __builtin_clz(~mask | 1) : 0;

    if (mask == UINT32_MAX) {
        return 32;
    }
    return mask == (prefix ? UINT32_MAX << (32 - prefix) : 0) ? prefix : -1;
}

/* May an interface have this address? */
static bool is_host(uint32_t address)
{
    uint8_t first = address >> 24;

    return first != 0 && first != 127 && first < 224;
}

static void take_dns(struct dhcp_lease *lease, const uint8_t *data, size_t len)
{
    lease->nr_dns = 0;
    for (; len >= 4 && lease->nr_dns < DHCP_MAX_DNS; data += 4, len -= 4) {
        if (get32(data)) {
            lease->dns[lease->nr_dns++] = get32(data);
        }
    }
}

static void take_option(struct answer *answer, enum option option,
                        const uint8_t *data, size_t len)
{
    struct dhcp_lease *lease = &answer->lease;

    if (option == KIND && len == 1) {
        answer->kind = data[0];
    } else if (option == NETMASK && len == 4) {
        lease->prefix = mask_prefix(get32(data));
    } else if (option == SERVER && len == 4) {
        lease->server = get32(data);
    } else if (option == ROUTER && len >= 4) {
        lease->gateway = is_host(get32(data)) ? get32(data) : 0;
    } else if (option == DNS) {
        take_dns(lease, data, len);
    } else if (option == DURATION && len == 4) {
        lease->duration_ms = get32(data) * 1000LL;
    } else if (option == MTU && len == 2) {
        lease->mtu = get16(data);
    }
}

/* Options that do not fit into the message end the list */
static void take_options(struct answer *answer, const uint8_t *data,
                         size_t len)
{
    while (len > 0 && *data != LAST) {
        size_t used = 1;

        if (*data != PAD) {
            if (len < 2 || data[1] > len - 2) {
                return;
            }
            used = 2 + data[1];
            take_option(answer, data[0], data + 2, data[1]);
        }
        data += used;
        len -= used;
    }
}

static bool is_for_us(const struct dhcp *dhcp, const uint8_t *message,
                      size_t len)
{
    return len >= AT_OPTIONS && len <= DHCP_MAX_MESSAGE &&
           message[AT_OP] == REPLY && get32(message + AT_ID) == dhcp->id &&
           !memcmp(message + AT_MAC, dhcp->mac, MAC_LEN) &&
           get32(message + AT_MAGIC) == MAGIC;
}

/* A lease that can be used; what is only odd is put right */
static bool is_usable(struct dhcp_lease *lease)
{
    if (!is_host(lease->address) || !lease->server || lease->prefix < 1 ||
        lease->prefix > 32) {
        return false;
    }
    if (lease->mtu < DHCP_MIN_MTU || lease->mtu > DHCP_MAX_MTU) {
        lease->mtu = 0;
    }
    if (lease->duration_ms < MIN_LEASE_S * 1000) {
        lease->duration_ms = MIN_LEASE_S * 1000;
    }
    return true;
}

/* The exchange */

static void enter(struct dhcp *dhcp, enum dhcp_state state, int64_t next_ms)
{
    dhcp->state = state;
    dhcp->next_ms = next_ms;
    dhcp->attempt = 0;
}

void dhcp_init(struct dhcp *dhcp, const uint8_t mac[MAC_LEN], uint32_t id,
               int64_t now_ms)
{
    *dhcp = (struct dhcp) { .id = id };
    memcpy(dhcp->mac, mac, MAC_LEN);
    enter(dhcp, DHCP_SELECTING, now_ms);
}

static void retry(struct dhcp *dhcp, int64_t now_ms)
{
    unsigned doublings = dhcp->attempt < MAX_DOUBLINGS ? dhcp->attempt
                                                       : MAX_DOUBLINGS;

    dhcp->attempt++;
    dhcp->next_ms = now_ms + (FIRST_MS << doublings);
}

static bool is_over(const struct dhcp *dhcp, int64_t now_ms)
{
    return dhcp->state >= DHCP_BOUND && now_ms >= dhcp->expires_ms;
}

enum dhcp_event dhcp_work(struct dhcp *dhcp, int64_t now_ms,
                          uint8_t *message, size_t *len)
{
    bool lost = is_over(dhcp, now_ms);

    *len = 0;
    if (now_ms < dhcp->next_ms) {
        return DHCP_NOTHING;
    }
    if (dhcp->state == DHCP_BOUND) {
        enter(dhcp, DHCP_RENEWING, now_ms);
    }
    /* Nobody answers any more: perhaps there is another server */
    if (lost || (dhcp->state == DHCP_REQUESTING &&
                 dhcp->attempt > MAX_DOUBLINGS)) {
        enter(dhcp, DHCP_SELECTING, now_ms);
    }
    *len = compose(dhcp, message);
    retry(dhcp, now_ms);
    return lost ? DHCP_LOST : DHCP_NOTHING;
}

static enum dhcp_event take_nak(struct dhcp *dhcp, int64_t now_ms)
{
    bool had = dhcp->state == DHCP_RENEWING;

    enter(dhcp, DHCP_SELECTING, now_ms + FIRST_MS);
    return had ? DHCP_LOST : DHCP_NOTHING;
}

static enum dhcp_event take_ack(struct dhcp *dhcp, int64_t now_ms,
                                const struct dhcp_lease *lease)
{
    /* An acknowledgement of another address than was asked for */
    if (lease->address != dhcp->lease.address) {
        return DHCP_NOTHING;
    }
    dhcp->lease = *lease;
    dhcp->expires_ms = now_ms + lease->duration_ms;
    enter(dhcp, DHCP_BOUND, now_ms + lease->duration_ms / 2);
    return DHCP_LEASE;
}

enum dhcp_event dhcp_take(struct dhcp *dhcp, int64_t now_ms,
                          const uint8_t *message, size_t len)
{
    struct answer answer = { .kind = 0 };
    bool asked = dhcp->state == DHCP_REQUESTING ||
                 dhcp->state == DHCP_RENEWING;

    if (!is_for_us(dhcp, message, len)) {
        return DHCP_NOTHING;
    }
    answer.lease.address = get32(message + AT_YOURS);
    take_options(&answer, message + AT_OPTIONS, len - AT_OPTIONS);
    if (answer.kind == NAK && asked) {
        return take_nak(dhcp, now_ms);
    }
    if (!is_usable(&answer.lease)) {
        return DHCP_NOTHING;
    }
    if (answer.kind == OFFER && dhcp->state == DHCP_SELECTING) {
        dhcp->lease = answer.lease;
        enter(dhcp, DHCP_REQUESTING, now_ms);
    } else if (answer.kind == ACK && asked) {
        return take_ack(dhcp, now_ms, &answer.lease);
    }
    return DHCP_NOTHING;
}
