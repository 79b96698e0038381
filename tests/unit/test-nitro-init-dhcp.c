/*
 * Unit tests of the init's DHCP client
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is the server, and the clock.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "contrib/nitro-init/dhcp.h"

#define ID 0x12345678
#define OFFER 2
#define ACK 5
#define NAK 6

/* 10.0.2.15/24, gateway .2, DNS .3, server .2, for a day */
#define MASK "\1\4\377\377\377\0"
#define ROUTER "\3\4\12\0\2\2"
#define SERVER "\66\4\12\0\2\2"
#define DURATION "\63\4\0\1\121\200"
#define USUAL MASK ROUTER SERVER DURATION "\6\4\12\0\2\3"
#define OURS 0x0a00020f

static const uint8_t mac[MAC_LEN] = { 2, 0, 0, 0, 0, 1 };

typedef struct Fixture {
    struct dhcp dhcp;
    int64_t now;
    uint8_t sent[DHCP_MESSAGE];
    size_t sent_len;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
    f->now = 1000;
    dhcp_init(&f->dhcp, mac, ID, f->now);
}

static void teardown(Fixture *f, gconstpointer data)
{
}

/* Let time pass until something is due */
static enum dhcp_event work(Fixture *f)
{
    enum dhcp_event event;

    f->now = MAX(f->now, f->dhcp.next_ms);
    event = dhcp_work(&f->dhcp, f->now, f->sent, &f->sent_len);
    g_assert_cmpint(f->dhcp.next_ms, >, f->now);
    return event;
}

static uint8_t sent_kind(Fixture *f)
{
    g_assert_cmpuint(f->sent_len, ==, DHCP_MESSAGE);
    g_assert_cmpuint(f->sent[0], ==, 1);
    g_assert_cmpuint(ldl_be_p(f->sent + 4), ==, ID);
    g_assert_cmpmem(f->sent + 28, MAC_LEN, mac, MAC_LEN);
    g_assert_cmpuint(f->sent[240], ==, 53);
    return f->sent[242];
}

static const uint8_t *sent_option(Fixture *f, uint8_t option)
{
    const uint8_t *at = f->sent + 240;

    while (*at != 255 && *at != option) {
        at += 2 + at[1];
    }
    return *at == option ? at + 2 : NULL;
}

static size_t reply(uint8_t *message, uint8_t kind, uint32_t address,
                    const char *options, size_t len)
{
    memset(message, 0, 240);
    message[0] = 2;
    message[1] = 1;
    message[2] = MAC_LEN;
    stl_be_p(message + 4, ID);
    stl_be_p(message + 16, address);
    memcpy(message + 28, mac, MAC_LEN);
    stl_be_p(message + 236, 0x63825363);
    message[240] = 53;
    message[241] = 1;
    message[242] = kind;
    memcpy(message + 243, options, len);
    message[243 + len] = 255;
    return 243 + len + 1;
}

static enum dhcp_event answer_bytes(Fixture *f, uint8_t kind,
                                    uint32_t address, const char *options,
                                    size_t len)
{
    uint8_t message[DHCP_MAX_MESSAGE];

    len = reply(message, kind, address, options, len);
    return dhcp_take(&f->dhcp, f->now, message, len);
}

#define ANSWER(f, kind, address, options) \
    answer_bytes(f, kind, address, options, sizeof(options) - 1)

static void bind_to(Fixture *f)
{
    work(f);
    g_assert_cmpint(ANSWER(f, OFFER, OURS, USUAL), ==, DHCP_NOTHING);
    work(f);
    g_assert_cmpint(ANSWER(f, ACK, OURS, USUAL), ==, DHCP_LEASE);
}

static void test_lease(Fixture *f, gconstpointer data)
{
    g_assert_cmpint(work(f), ==, DHCP_NOTHING);
    g_assert_cmpuint(sent_kind(f), ==, 1);
    g_assert_cmpint(ANSWER(f, OFFER, OURS, USUAL), ==, DHCP_NOTHING);
    g_assert_cmpint(f->dhcp.next_ms, ==, f->now);
    g_assert_cmpint(work(f), ==, DHCP_NOTHING);
    g_assert_cmpuint(sent_kind(f), ==, 3);
    g_assert_cmpuint(ldl_be_p(sent_option(f, 50)), ==, OURS);
    g_assert_cmpuint(ldl_be_p(sent_option(f, 54)), ==, 0x0a000202);
    g_assert_cmpint(ANSWER(f, ACK, OURS, USUAL "\32\2\5\224"), ==, DHCP_LEASE);
    g_assert_cmpuint(f->dhcp.lease.address, ==, OURS);
    g_assert_cmpuint(f->dhcp.lease.prefix, ==, 24);
    g_assert_cmpuint(f->dhcp.lease.gateway, ==, 0x0a000202);
    g_assert_cmpuint(f->dhcp.lease.nr_dns, ==, 1);
    g_assert_cmpuint(f->dhcp.lease.dns[0], ==, 0x0a000203);
    g_assert_cmpuint(f->dhcp.lease.mtu, ==, 1428);
    g_assert_cmpint(f->dhcp.next_ms, ==, f->now + 43200000);
}

/* Nobody answers: it asks again, less and less often, for ever */
static void test_silence(Fixture *f, gconstpointer data)
{
    int64_t begin = f->now;

    for (int i = 0; i < 10; i++) {
        work(f);
        g_assert_cmpuint(sent_kind(f), ==, 1);
    }
    g_assert_cmpint(f->now - begin, ==, 1000 * (1 + 2 + 4 + 8 + 5 * 16));
    work(f);
    g_assert_cmpint(ANSWER(f, OFFER, OURS, USUAL), ==, DHCP_NOTHING);
}

/* An offer that is not kept: another server is looked for */
static void test_false_offer(Fixture *f, gconstpointer data)
{
    work(f);
    ANSWER(f, OFFER, OURS, USUAL);
    for (int i = 0; i < 5; i++) {
        work(f);
        g_assert_cmpuint(sent_kind(f), ==, 3);
    }
    work(f);
    g_assert_cmpuint(sent_kind(f), ==, 1);
}

static void test_nak(Fixture *f, gconstpointer data)
{
    work(f);
    ANSWER(f, OFFER, OURS, USUAL);
    work(f);
    g_assert_cmpint(ANSWER(f, NAK, 0, SERVER), ==, DHCP_NOTHING);
    /* A server that only refuses does not make it spin */
    g_assert_cmpint(f->dhcp.next_ms, ==, f->now + 1000);
    work(f);
    g_assert_cmpuint(sent_kind(f), ==, 1);
}

static void test_renewal(Fixture *f, gconstpointer data)
{
    int64_t begin;

    bind_to(f);
    begin = f->now;
    g_assert_cmpint(work(f), ==, DHCP_NOTHING);
    g_assert_cmpint(f->now, ==, begin + 43200000);
    g_assert_cmpuint(sent_kind(f), ==, 3);
    g_assert_cmpuint(ldl_be_p(f->sent + 12), ==, OURS);
    g_assert_null(sent_option(f, 50));
    g_assert_cmpint(ANSWER(f, ACK, OURS + 1, USUAL), ==, DHCP_NOTHING);
    g_assert_cmpint(ANSWER(f, ACK, OURS, USUAL), ==, DHCP_LEASE);
    g_assert_cmpint(f->dhcp.expires_ms, ==, f->now + 86400000);
}

static void test_expiry(Fixture *f, gconstpointer data)
{
    enum dhcp_event event;
    int64_t expires;

    bind_to(f);
    expires = f->dhcp.expires_ms;
    do {
        event = work(f);
    } while (event == DHCP_NOTHING);
    g_assert_cmpint(event, ==, DHCP_LOST);
    g_assert_cmpint(f->now, >=, expires);
    g_assert_cmpint(f->now, <, expires + 60000);
    g_assert_cmpuint(sent_kind(f), ==, 1);
}

static void test_withdrawn(Fixture *f, gconstpointer data)
{
    bind_to(f);
    g_assert_cmpint(ANSWER(f, NAK, 0, SERVER), ==, DHCP_NOTHING);
    work(f);
    g_assert_cmpint(ANSWER(f, NAK, 0, SERVER), ==, DHCP_LOST);
}

/* A lease of no time would make it ask without pause */
static void test_short_lease(Fixture *f, gconstpointer data)
{
    work(f);
    ANSWER(f, OFFER, OURS, MASK SERVER);
    work(f);
    g_assert_cmpint(ANSWER(f, ACK, OURS, MASK SERVER "\63\4\0\0\0\0"), ==,
                    DHCP_LEASE);
    g_assert_cmpint(f->dhcp.next_ms, ==, f->now + 30000);
}

/* What is of no use is no offer */
static void test_useless(Fixture *f, gconstpointer data)
{
    static const uint32_t addresses[] = { 0, 0x7f000001, 0xe0000001,
                                          UINT32_MAX };

    work(f);
    for (size_t i = 0; i < G_N_ELEMENTS(addresses); i++) {
        ANSWER(f, OFFER, addresses[i], USUAL);
        g_assert_cmpint(f->dhcp.state, ==, DHCP_SELECTING);
    }
    ANSWER(f, OFFER, OURS, SERVER);                         /* no mask */
    ANSWER(f, OFFER, OURS, MASK);                           /* no server */
    ANSWER(f, OFFER, OURS, SERVER "\1\4\377\0\377\0");      /* with a hole */
    ANSWER(f, OFFER, OURS, SERVER "\1\4\0\0\0\0");
    ANSWER(f, OFFER, OURS, SERVER "\1\3\377\377\377");
    ANSWER(f, ACK, OURS, USUAL);                            /* of nothing */
    g_assert_cmpint(f->dhcp.state, ==, DHCP_SELECTING);
    ANSWER(f, OFFER, OURS, SERVER "\1\4\377\377\377\377");
    g_assert_cmpint(f->dhcp.state, ==, DHCP_REQUESTING);
    g_assert_cmpuint(f->dhcp.lease.prefix, ==, 32);
}

/* Options that are wrong, too long, too many */
static void test_options(Fixture *f, gconstpointer data)
{
    work(f);
    ANSWER(f, OFFER, OURS, MASK SERVER
           "\0\0\3\4\177\0\0\1"                     /* router 127.0.0.1 */
           "\6\24\1\1\1\1\0\0\0\0\2\2\2\2\3\3\3\3\4\4\4\4"
           "\32\2\0\104"                            /* MTU 68 */
           "\63\4\0\1\121\200\6\377\1");            /* beyond the end */
    g_assert_cmpint(f->dhcp.state, ==, DHCP_REQUESTING);
    g_assert_cmpuint(f->dhcp.lease.gateway, ==, 0);
    g_assert_cmpuint(f->dhcp.lease.nr_dns, ==, 3);
    g_assert_cmpuint(f->dhcp.lease.dns[2], ==, 0x03030303);
    g_assert_cmpuint(f->dhcp.lease.mtu, ==, 0);
    g_assert_cmpint(f->dhcp.lease.duration_ms, ==, 86400000);
}

/* Each beginning of an answer, and each with one byte changed before its end */
static void test_not_for_us(Fixture *f, gconstpointer data)
{
    static const uint8_t places[] = { 0, 4, 28, 33, 236, 239 };
    uint8_t message[DHCP_MAX_MESSAGE];
    size_t len = reply(message, OFFER, OURS, USUAL, sizeof(USUAL) - 1);

    work(f);
    for (size_t n = 0; n < 240; n++) {
        g_autofree uint8_t *exact = g_memdup2(message, n);

        dhcp_take(&f->dhcp, f->now, exact, n);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        message[places[i]] ^= 1;
        dhcp_take(&f->dhcp, f->now, message, len);
        message[places[i]] ^= 1;
    }
    g_assert_cmpint(f->dhcp.state, ==, DHCP_SELECTING);
    dhcp_take(&f->dhcp, f->now, message, len);
    g_assert_cmpint(f->dhcp.state, ==, DHCP_REQUESTING);
}

/* A truncated list of options is read up to its last whole one */
static void test_truncated(Fixture *f, gconstpointer data)
{
    uint8_t message[DHCP_MAX_MESSAGE];
    size_t len = reply(message, OFFER, OURS, USUAL, sizeof(USUAL) - 1);

    for (size_t n = 240; n <= len; n++) {
        g_autofree uint8_t *exact = g_memdup2(message, n);

        setup(f, NULL);
        work(f);
        dhcp_take(&f->dhcp, f->now, exact, n);
        g_assert_cmpint(f->dhcp.state == DHCP_REQUESTING, ==,
                        n >= 243 + sizeof(MASK ROUTER SERVER) - 1);
    }
}

#define ADD(name, function) \
    g_test_add("/nitro/init/dhcp/" name, Fixture, NULL, setup, function, \
               teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("lease", test_lease);
    ADD("silence", test_silence);
    ADD("false-offer", test_false_offer);
    ADD("nak", test_nak);
    ADD("renewal", test_renewal);
    ADD("expiry", test_expiry);
    ADD("withdrawn", test_withdrawn);
    ADD("short-lease", test_short_lease);
    ADD("useless", test_useless);
    ADD("options", test_options);
    ADD("not-for-us", test_not_for_us);
    ADD("truncated", test_truncated);
    return g_test_run();
}
