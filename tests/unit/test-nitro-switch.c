/*
 * Unit tests of the hypervisor's vsock switch
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *        parent (3) ---+--- switch ---+--- enclave A (16)
 *                      |              +--- enclave B (17)
 *
 * The endpoints are the test itself: it writes and reads packets as guests
 * would see them in their queues.
 */

#include "qemu/osdep.h"
#include "contrib/nitro-hypervisor/switch-conn.h"
#include "nitro-vsock-wire.h"
#include "tests/nitro/fixture.h"

#define CID_P NITRO_CID_PARENT
#define CID_A 16
#define CID_B 17

#define REQUEST  VIRTIO_VSOCK_OP_REQUEST
#define RESPONSE VIRTIO_VSOCK_OP_RESPONSE
#define RST      VIRTIO_VSOCK_OP_RST
#define SHUTDOWN VIRTIO_VSOCK_OP_SHUTDOWN
#define RW       VIRTIO_VSOCK_OP_RW
#define UPDATE   VIRTIO_VSOCK_OP_CREDIT_UPDATE
#define ASK      VIRTIO_VSOCK_OP_CREDIT_REQUEST

typedef struct Fixture {
    NhvSwitch *sw;
    NhvSwitchPort *parent, *a, *b;
    unsigned int ready, reports;
    char *last_report;
} Fixture;

static void count_ready(void *opaque)
{
    ((Fixture *)opaque)->ready++;
}

static void note_report(void *opaque, uint32_t cid, const char *what)
{
    Fixture *f = opaque;

    f->reports++;
    g_free(f->last_report);
    f->last_report = g_strdup(what);
}

static void setup(Fixture *f, gconstpointer data)
{
    f->sw = nhv_switch_new(NHV_SWITCH_MAX_CONNS, note_report, f);
    f->parent = nhv_switch_attach(f->sw, CID_P, count_ready, f);
    f->a = nhv_switch_attach(f->sw, CID_A, count_ready, f);
    f->b = nhv_switch_attach(f->sw, CID_B, count_ready, f);
    g_assert_nonnull(f->b);
}

static void teardown(Fixture *f, gconstpointer data)
{
    nhv_switch_detach(f->parent);
    nhv_switch_detach(f->a);
    nhv_switch_detach(f->b);
    g_assert_cmpuint(wire_connections(f->sw), ==, 0);
    nhv_switch_free(f->sw);
    g_free(f->last_report);
}

static void send_op(NhvSwitchPort *port, uint16_t op, uint32_t src_cid,
                    uint32_t src_port, uint32_t dst_cid, uint32_t dst_port)
{
    wire_send(port, wire_hdr(op, src_cid, src_port, dst_cid, dst_port),
              NULL, 0);
}

static void expect_op(NhvSwitchPort *port, uint16_t op, uint32_t src_cid,
                      uint32_t src_port, uint32_t dst_cid, uint32_t dst_port)
{
    VsockHdr hdr = wire_receive(port, NULL, 0);

    g_assert_cmpuint(hdr.op, ==, op);
    g_assert_cmpuint(hdr.src_cid, ==, src_cid);
    g_assert_cmpuint(hdr.src_port, ==, src_port);
    g_assert_cmpuint(hdr.dst_cid, ==, dst_cid);
    g_assert_cmpuint(hdr.dst_port, ==, dst_port);
}

static void expect_nothing(NhvSwitchPort *port)
{
    g_assert_false(nhv_switch_pending(port));
    g_assert_cmpuint(wire_receive(port, NULL, 0).op, ==, 0);
}

static void expect_report(Fixture *f, const char *what)
{
    g_assert_cmpuint(f->reports, ==, 1);
    g_assert_cmpstr(f->last_report, ==, what);
    f->reports = 0;
}

/* Parent port 1000 <-> enclave's port 5005, opened by the parent */
static void connect_to(Fixture *f, NhvSwitchPort *port, uint32_t cid)
{
    send_op(f->parent, REQUEST, CID_P, 1000, cid, 5005);
    expect_op(port, REQUEST, CID_P, 1000, cid, 5005);
    send_op(port, RESPONSE, cid, 5005, CID_P, 1000);
    expect_op(f->parent, RESPONSE, cid, 5005, CID_P, 1000);
}

static void parent_data(Fixture *f, uint32_t cid, const void *data, size_t len)
{
    wire_send(f->parent, wire_hdr(RW, CID_P, 1000, cid, 5005), data, len);
}

static void test_handshake(Fixture *f, gconstpointer data)
{
    char buf[16];

    /* Enclave to parent, as the heartbeat does */
    send_op(f->a, REQUEST, CID_A, 77, CID_P, 9000);
    g_assert_cmpuint(f->ready, >, 0);
    expect_op(f->parent, REQUEST, CID_A, 77, CID_P, 9000);
    send_op(f->parent, RESPONSE, CID_P, 9000, CID_A, 77);
    expect_op(f->a, RESPONSE, CID_P, 9000, CID_A, 77);
    wire_send(f->a, wire_hdr(RW, CID_A, 77, CID_P, 9000), "\xb7", 1);
    g_assert_cmpuint(wire_receive(f->parent, buf, 16).len, ==, 1);
    g_assert_cmpuint((uint8_t)buf[0], ==, 0xb7);
    wire_send(f->parent, wire_hdr(RW, CID_P, 9000, CID_A, 77), "\xb7", 1);
    g_assert_cmpuint(wire_receive(f->a, buf, 16).op, ==, RW);

    /* Orderly end: shutdown, answered by a reset */
    send_op(f->a, SHUTDOWN, CID_A, 77, CID_P, 9000);
    expect_op(f->parent, SHUTDOWN, CID_A, 77, CID_P, 9000);
    send_op(f->parent, RST, CID_P, 9000, CID_A, 77);
    expect_op(f->a, RST, CID_P, 9000, CID_A, 77);
    g_assert_cmpuint(wire_connections(f->sw), ==, 0);
    g_assert_cmpuint(f->reports, ==, 0);

    connect_to(f, f->a, CID_A);
    connect_to(f, f->b, CID_B);
    g_assert_cmpuint(wire_connections(f->sw), ==, 2);
}

static void test_refusals(Fixture *f, gconstpointer data)
{
    static const struct {
        uint32_t cid;
        uint16_t op;
        const char *why;
    } row[] = {
        { 99, REQUEST, "unknown CID" },
        { 2, REQUEST, "host" },
        { CID_P, REQUEST, "the parent itself" },
        { NITRO_CID_HYPERVISOR, REQUEST, "no console service" },
        { UINT32_MAX, REQUEST, "any" },
        { CID_A, RW, "data without a connection" },
        { CID_A, RESPONSE, "response without a request" },
        { CID_A, SHUTDOWN, "shutdown without a connection" },
        { CID_A, UPDATE, "credit without a connection" },
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(row); i++) {
        g_test_message("%s", row[i].why);
        send_op(f->parent, row[i].op, CID_P, 1000, row[i].cid, 5005);
        expect_op(f->parent, RST, row[i].cid, 5005, CID_P, 1000);
        expect_nothing(f->parent);
        expect_nothing(f->a);
    }
    /* A reset is never answered */
    send_op(f->parent, RST, CID_P, 1000, 99, 5005);
    expect_nothing(f->parent);
}

static void test_wide_cid(Fixture *f, gconstpointer data)
{
    VsockHdr hdr = wire_hdr(REQUEST, CID_P, 1000, 0, 5005);

    hdr.dst_cid = (1ULL << 32) + CID_A;
    wire_send(f->parent, hdr, NULL, 0);
    expect_nothing(f->a);
    hdr = wire_receive(f->parent, NULL, 0);
    g_assert_cmpuint(hdr.op, ==, RST);
    g_assert_cmphex(hdr.src_cid, ==, (1ULL << 32) + CID_A);
}

static void test_no_sibling_traffic(Fixture *f, gconstpointer data)
{
    send_op(f->a, REQUEST, CID_A, 1, CID_B, 5005);
    expect_op(f->a, RST, CID_B, 5005, CID_A, 1);
    send_op(f->a, REQUEST, CID_A, 1, CID_A, 5005);
    expect_op(f->a, RST, CID_A, 5005, CID_A, 1);
    send_op(f->a, REQUEST, CID_A, 1, NITRO_CID_HYPERVISOR, 10017);
    expect_op(f->a, RST, NITRO_CID_HYPERVISOR, 10017, CID_A, 1);
    expect_nothing(f->b);
}

static void test_spoofing(Fixture *f, gconstpointer data)
{
    connect_to(f, f->b, CID_B);
    wire_send(f->a, wire_hdr(RW, CID_B, 5005, CID_P, 1000), "x", 1);
    expect_report(f, "packet with a foreign source CID dropped");
    expect_nothing(f->parent);
    expect_nothing(f->a);
    send_op(f->a, RST, CID_B, 5005, CID_P, 1000);
    expect_nothing(f->parent);
    g_assert_cmpuint(wire_connections(f->sw), ==, 1);
}

static void test_malformed(Fixture *f, gconstpointer data)
{
    VsockHdr hdr = wire_hdr(REQUEST, CID_P, 1000, CID_A, 5005);
    struct iovec stub = { .iov_base = &hdr, .iov_len = sizeof(hdr) - 1 };
    g_autofree char *big = g_malloc0(NHV_SWITCH_MAX_PKT + 1);

    nhv_switch_send(f->parent, &stub, 1);
    expect_report(f, "packet shorter than its header");
    nhv_switch_send(f->parent, NULL, 0);
    expect_report(f, "packet shorter than its header");
    expect_nothing(f->parent);

    hdr.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
    wire_send(f->parent, hdr, NULL, 0);
    expect_report(f, "packet of a type that was not offered");
    hdr = wire_receive(f->parent, NULL, 0);
    g_assert_cmpuint(hdr.op, ==, RST);
    g_assert_cmpuint(hdr.type, ==, VIRTIO_VSOCK_TYPE_SEQPACKET);

    send_op(f->parent, 8, CID_P, 1000, CID_A, 5005);
    expect_report(f, "packet with an unknown operation");
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);

    connect_to(f, f->a, CID_A);
    hdr = wire_hdr(RW, CID_P, 1000, CID_A, 5005);
    hdr.len = 100;
    wire_send(f->parent, hdr, "short", 5);
    expect_report(f, "packet shorter than the length in its header");
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);
    expect_op(f->a, RST, CID_P, 1000, CID_A, 5005);

    connect_to(f, f->a, CID_A);
    parent_data(f, CID_A, big, NHV_SWITCH_MAX_PKT + 1);
    expect_report(f, "packet longer than 64 KiB");
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);
    expect_op(f->a, RST, CID_P, 1000, CID_A, 5005);
}

static void test_wrong_state(Fixture *f, gconstpointer data)
{
    /* Data before the response ends both sides; A has not seen anything */
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    parent_data(f, CID_A, "x", 1);
    expect_report(f, "packet before response");
    expect_nothing(f->a);
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);

    /* The requester cannot answer itself */
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    expect_op(f->a, REQUEST, CID_P, 1000, CID_A, 5005);
    send_op(f->parent, RESPONSE, CID_P, 1000, CID_A, 5005);
    expect_report(f, "response without request");
    expect_op(f->a, RST, CID_P, 1000, CID_A, 5005);
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);

    /* Both ask each other */
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    expect_op(f->a, REQUEST, CID_P, 1000, CID_A, 5005);
    send_op(f->a, REQUEST, CID_A, 5005, CID_P, 1000);
    expect_report(f, "request crosses a request");
    expect_op(f->a, RST, CID_P, 1000, CID_A, 5005);
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);
    g_assert_cmpuint(wire_connections(f->sw), ==, 0);
}

/* The reset may be of an earlier connection: only the answer can tell */
static void test_withdrawn_request(Fixture *f, gconstpointer data)
{
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    send_op(f->parent, RST, CID_P, 1000, CID_A, 5005);
    expect_op(f->a, REQUEST, CID_P, 1000, CID_A, 5005);
    send_op(f->parent, RST, CID_P, 1000, CID_A, 5005);
    expect_nothing(f->a);
    send_op(f->a, RESPONSE, CID_A, 5005, CID_P, 1000);
    expect_op(f->parent, RESPONSE, CID_A, 5005, CID_P, 1000);
    send_op(f->parent, RST, CID_P, 1000, CID_A, 5005);
    expect_op(f->a, RST, CID_P, 1000, CID_A, 5005);
    expect_nothing(f->parent);
    g_assert_cmpuint(wire_connections(f->sw), ==, 0);
}

/* A reset from a socket, as Linux sends when a program closes it */
static void send_late_reset(NhvSwitchPort *port, uint32_t src_cid,
                            uint32_t src_port, uint32_t dst_cid,
                            uint32_t dst_port)
{
    VsockHdr hdr = wire_hdr(RST, src_cid, src_port, dst_cid, dst_port);

    hdr.buf_alloc = NHV_SWITCH_WINDOW;
    hdr.fwd_cnt = 1;
    wire_send(port, hdr, NULL, 0);
}

static void send_shutdown(NhvSwitchPort *port, uint32_t src_cid,
                          uint32_t src_port, uint32_t dst_cid,
                          uint32_t dst_port)
{
    VsockHdr hdr = wire_hdr(SHUTDOWN, src_cid, src_port, dst_cid, dst_port);

    hdr.flags = NHV_SHUTDOWN_BOTH;
    wire_send(port, hdr, NULL, 0);
}

/* One port, again and again; A's program closes late each time */
static void test_late_reset(Fixture *f, gconstpointer data)
{
    int when;

    for (when = 0; when < 3; when++) {
        connect_to(f, f->a, CID_A);
        send_shutdown(f->parent, CID_P, 1000, CID_A, 5005);
        expect_op(f->a, SHUTDOWN, CID_P, 1000, CID_A, 5005);
        send_late_reset(f->a, CID_A, 5005, CID_P, 1000);
        expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);

        send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
        if (when == 0) {
            send_late_reset(f->a, CID_A, 5005, CID_P, 1000);
        }
        expect_op(f->a, REQUEST, CID_P, 1000, CID_A, 5005);
        if (when == 1) {
            send_late_reset(f->a, CID_A, 5005, CID_P, 1000);
        }
        send_op(f->a, RESPONSE, CID_A, 5005, CID_P, 1000);
        expect_op(f->parent, RESPONSE, CID_A, 5005, CID_P, 1000);
        if (when == 2) {
            send_late_reset(f->a, CID_A, 5005, CID_P, 1000);
        }
        if (when) {
            /* The switch makes sure that A has this connection */
            expect_op(f->a, ASK, CID_P, 1000, CID_A, 5005);
            send_op(f->a, UPDATE, CID_A, 5005, CID_P, 1000);
            expect_op(f->parent, UPDATE, CID_A, 5005, CID_P, 1000);
        }
        parent_data(f, CID_A, "x", 1);
        expect_op(f->a, RW, CID_P, 1000, CID_A, 5005);
        expect_nothing(f->parent);
        send_shutdown(f->a, CID_A, 5005, CID_P, 1000);
        expect_op(f->parent, SHUTDOWN, CID_A, 5005, CID_P, 1000);
        send_late_reset(f->parent, CID_P, 1000, CID_A, 5005);
        expect_op(f->a, RST, CID_P, 1000, CID_A, 5005);
    }
    g_assert_cmpuint(f->reports, ==, 0);
}

/* What looks like a late reset, but nobody is there */
static void test_doubted_reset(Fixture *f, gconstpointer data)
{
    connect_to(f, f->a, CID_A);
    send_late_reset(f->a, CID_A, 5005, CID_P, 1000);
    expect_nothing(f->parent);
    expect_op(f->a, ASK, CID_P, 1000, CID_A, 5005);
    send_op(f->a, RST, CID_A, 5005, CID_P, 1000);
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);

    /* A guest whose refusals announce a buffer */
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    expect_op(f->a, REQUEST, CID_P, 1000, CID_A, 5005);
    send_late_reset(f->a, CID_A, 5005, CID_P, 1000);
    while (!nhv_switch_pending(f->parent)) {
        expect_op(f->a, ASK, CID_P, 1000, CID_A, 5005);
        send_late_reset(f->a, CID_A, 5005, CID_P, 1000);
    }
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);
    /* Should A have a socket, it must not stay there without a peer */
    expect_op(f->a, RST, CID_P, 1000, CID_A, 5005);
    g_assert_cmpuint(wire_connections(f->sw), ==, 0);
}

/* Many programs close their sockets late; this one stays */
static void test_many_late_resets(Fixture *f, gconstpointer data)
{
    int i;

    connect_to(f, f->a, CID_A);
    for (i = 0; i < 100; i++) {
        send_late_reset(f->a, CID_A, 5005, CID_P, 1000);
        expect_op(f->a, ASK, CID_P, 1000, CID_A, 5005);
        send_op(f->a, UPDATE, CID_A, 5005, CID_P, 1000);
        expect_op(f->parent, UPDATE, CID_A, 5005, CID_P, 1000);
    }
    expect_nothing(f->parent);
    parent_data(f, CID_A, "x", 1);
    expect_op(f->a, RW, CID_P, 1000, CID_A, 5005);
    g_assert_cmpuint(f->reports, ==, 0);
}

/* The parent ends a connection and asks again before A has fetched that */
static void test_source_port_again(Fixture *f, gconstpointer data)
{
    char buf[16];
    int i;

    connect_to(f, f->a, CID_A);
    for (i = 0; i < 3; i++) {
        parent_data(f, CID_A, "rest", 4);
        wire_send(f->a, wire_hdr(RW, CID_A, 5005, CID_P, 1000), "lost", 4);
        send_shutdown(f->parent, CID_P, 1000, CID_A, 5005);
        if (i) {
            send_op(f->parent, RST, CID_P, 1000, CID_A, 5005);
        }
        send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
        send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
        send_late_reset(f->parent, CID_P, 1000, CID_A, 5005);
        send_op(f->a, UPDATE, CID_A, 5005, CID_P, 1000);
        g_assert_cmpuint(wire_receive(f->a, buf, 16).len, ==, 4);
        expect_op(f->a, SHUTDOWN, CID_P, 1000, CID_A, 5005);
        expect_op(f->a, RST, CID_P, 1000, CID_A, 5005);
        send_op(f->a, UPDATE, CID_A, 5005, CID_P, 1000);
        expect_op(f->a, REQUEST, CID_P, 1000, CID_A, 5005);
        expect_nothing(f->a);
        expect_nothing(f->parent);
        send_op(f->a, RESPONSE, CID_A, 5005, CID_P, 1000);
        expect_op(f->parent, RESPONSE, CID_A, 5005, CID_P, 1000);
    }
    g_assert_cmpuint(f->reports, ==, 0);
    g_assert_cmpuint(wire_connections(f->sw), ==, 1);
}

/* The socket was closed before the answer came; another has the same port */
static void test_hasty_close(Fixture *f, gconstpointer data)
{
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    expect_op(f->a, REQUEST, CID_P, 1000, CID_A, 5005);
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    send_op(f->a, RESPONSE, CID_A, 5005, CID_P, 1000);
    expect_op(f->parent, RESPONSE, CID_A, 5005, CID_P, 1000);
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    expect_op(f->parent, RESPONSE, CID_A, 5005, CID_P, 1000);
    expect_nothing(f->a);

    /* A refused packet's reset would end the new socket */
    send_op(f->parent, RW, CID_P, 1001, CID_A, 5005);
    send_op(f->parent, REQUEST, CID_P, 1001, CID_A, 5005);
    expect_op(f->a, REQUEST, CID_P, 1001, CID_A, 5005);
    expect_nothing(f->parent);
    g_assert_cmpuint(f->reports, ==, 0);
}

/*
 * Linux may send the refusal of an answer that came too late behind the next
 * request.  It is not about the answer to that.
 */
static void test_late_refusal(Fixture *f, gconstpointer data)
{
    connect_to(f, f->a, CID_A);
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    send_op(f->parent, RST, CID_P, 1000, CID_A, 5005);
    expect_op(f->parent, RESPONSE, CID_A, 5005, CID_P, 1000);
    expect_nothing(f->a);

    /* Two answers are on their way to sockets that were given up */
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    expect_op(f->parent, RESPONSE, CID_A, 5005, CID_P, 1000);
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    send_op(f->parent, RST, CID_P, 1000, CID_A, 5005);
    send_op(f->parent, RST, CID_P, 1000, CID_A, 5005);
    expect_op(f->parent, RESPONSE, CID_A, 5005, CID_P, 1000);
    expect_nothing(f->a);

    /* The third is refused, too: nobody is there */
    send_op(f->parent, RST, CID_P, 1000, CID_A, 5005);
    expect_op(f->a, RST, CID_P, 1000, CID_A, 5005);
    expect_nothing(f->parent);
    g_assert_cmpuint(wire_connections(f->sw), ==, 0);
    g_assert_cmpuint(f->reports, ==, 0);
}

/* The other way round, and a socket that uses the first answer */
static void test_refusal_after_use(Fixture *f, gconstpointer data)
{
    send_op(f->a, REQUEST, CID_A, 5005, CID_P, 1000);
    expect_op(f->parent, REQUEST, CID_A, 5005, CID_P, 1000);
    send_op(f->parent, RESPONSE, CID_P, 1000, CID_A, 5005);
    expect_op(f->a, RESPONSE, CID_P, 1000, CID_A, 5005);
    send_op(f->a, REQUEST, CID_A, 5005, CID_P, 1000);
    send_op(f->a, UPDATE, CID_A, 5005, CID_P, 1000);
    expect_op(f->parent, UPDATE, CID_A, 5005, CID_P, 1000);
    expect_op(f->a, RESPONSE, CID_P, 1000, CID_A, 5005);
    send_op(f->a, RST, CID_A, 5005, CID_P, 1000);
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);
    expect_nothing(f->a);
    g_assert_cmpuint(wire_connections(f->sw), ==, 0);
}

/*
 * A refusal of something older ends a request that A has taken.  A's socket
 * would not answer the next one, so what it said is the answer to that.
 */
static void test_late_response(Fixture *f, gconstpointer data)
{
    char buf[16];

    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    expect_op(f->a, REQUEST, CID_P, 1000, CID_A, 5005);
    send_op(f->a, RST, CID_A, 5005, CID_P, 1000);
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);

    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    send_op(f->a, RESPONSE, CID_A, 5005, CID_P, 1000);
    expect_op(f->parent, RESPONSE, CID_A, 5005, CID_P, 1000);
    expect_nothing(f->a);
    parent_data(f, CID_A, "x", 1);
    g_assert_cmpuint(wire_receive(f->a, buf, 16).len, ==, 1);
    g_assert_cmpuint(f->reports, ==, 0);
}

/* One of the two goes away while a request waits behind a reset */
static void test_again_and_gone(Fixture *f, gconstpointer data)
{
    connect_to(f, f->a, CID_A);
    parent_data(f, CID_A, "x", 1);
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    nhv_switch_detach(f->a);
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);
    expect_nothing(f->parent);

    f->a = nhv_switch_attach(f->sw, CID_A, count_ready, f);
    connect_to(f, f->a, CID_A);
    parent_data(f, CID_A, "x", 1);
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    nhv_switch_detach(f->parent);
    expect_op(f->a, RW, CID_P, 1000, CID_A, 5005);
    expect_op(f->a, RST, CID_P, 1000, CID_A, 5005);
    expect_nothing(f->a);
    g_assert_cmpuint(wire_connections(f->sw), ==, 0);
    f->parent = nhv_switch_attach(f->sw, CID_P, count_ready, f);
}

/* CID 2 is the parent, too; the parent itself has one name only */
static void test_host_cid(Fixture *f, gconstpointer data)
{
    char buf[16];

    send_op(f->a, REQUEST, CID_A, 77, 2, 9000);
    expect_op(f->parent, REQUEST, CID_A, 77, CID_P, 9000);
    send_op(f->parent, RESPONSE, CID_P, 9000, CID_A, 77);
    expect_op(f->a, RESPONSE, 2, 9000, CID_A, 77);
    wire_send(f->a, wire_hdr(RW, CID_A, 77, 2, 9000), "x", 1);
    g_assert_cmpuint(wire_receive(f->parent, buf, 16).dst_cid, ==, CID_P);
    wire_send(f->parent, wire_hdr(RW, CID_P, 9000, CID_A, 77), "y", 1);
    g_assert_cmpuint(wire_receive(f->a, buf, 16).src_cid, ==, 2);

    /* By its other name nobody knows this connection */
    send_op(f->a, UPDATE, CID_A, 77, CID_P, 9000);
    expect_op(f->a, RST, CID_P, 9000, CID_A, 77);
    expect_nothing(f->parent);

    /* Asked again by the other name, it is another one */
    send_op(f->a, REQUEST, CID_A, 77, CID_P, 9000);
    expect_op(f->parent, RST, CID_A, 77, CID_P, 9000);
    expect_op(f->parent, REQUEST, CID_A, 77, CID_P, 9000);
    send_op(f->parent, RST, CID_P, 9000, CID_A, 77);
    expect_op(f->a, RST, CID_P, 9000, CID_A, 77);

    /* Refusals come from who was asked, and nobody may pose as CID 2 */
    send_op(f->a, REQUEST, CID_A, 78, 2, 9001);
    expect_op(f->parent, REQUEST, CID_A, 78, CID_P, 9001);
    send_op(f->parent, RST, CID_P, 9001, CID_A, 78);
    expect_op(f->a, RST, 2, 9001, CID_A, 78);
    send_op(f->a, RW, CID_A, 79, 2, 9000);
    expect_op(f->a, RST, 2, 9000, CID_A, 79);
    g_assert_cmpuint(f->reports, ==, 0);
    send_op(f->parent, REQUEST, 2, 1000, CID_A, 5005);
    expect_report(f, "packet with a foreign source CID dropped");
    expect_nothing(f->a);
}

static void test_credit_passes(Fixture *f, gconstpointer data)
{
    VsockHdr hdr = wire_hdr(UPDATE, CID_A, 5005, CID_P, 1000);

    connect_to(f, f->a, CID_A);
    hdr.buf_alloc = 12345;
    hdr.fwd_cnt = 678;
    wire_send(f->a, hdr, NULL, 0);
    hdr = wire_receive(f->parent, NULL, 0);
    g_assert_cmpuint(hdr.op, ==, UPDATE);
    g_assert_cmpuint(hdr.buf_alloc, ==, 12345);
    g_assert_cmpuint(hdr.fwd_cnt, ==, 678);

    /* A thousand updates are one packet, with the latest state */
    hdr = wire_hdr(UPDATE, CID_A, 5005, CID_P, 1000);
    for (hdr.fwd_cnt = 0; hdr.fwd_cnt < 1000; hdr.fwd_cnt++) {
        wire_send(f->a, hdr, NULL, 0);
    }
    send_op(f->a, ASK, CID_A, 5005, CID_P, 1000);
    expect_op(f->parent, ASK, CID_A, 5005, CID_P, 1000);
    expect_nothing(f->parent);

    /* A window beyond the cap is announced as the cap */
    hdr.buf_alloc = UINT32_MAX;
    wire_send(f->a, hdr, NULL, 0);
    hdr = wire_receive(f->parent, NULL, 0);
    g_assert_cmpuint(hdr.buf_alloc, ==, NHV_SWITCH_WINDOW);
}

static void test_credit_ignored(Fixture *f, gconstpointer data)
{
    g_autofree uint8_t *chunk = g_malloc0(NHV_SWITCH_MAX_PKT);
    int i;

    connect_to(f, f->a, CID_A);
    for (i = 0; i < NHV_SWITCH_WINDOW / NHV_SWITCH_MAX_PKT; i++) {
        parent_data(f, CID_A, chunk, NHV_SWITCH_MAX_PKT);
    }
    g_assert_cmpuint(f->reports, ==, 0);
    parent_data(f, CID_A, chunk, 1);
    expect_report(f, "data beyond the receiver's credit");
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);
    expect_op(f->a, RST, CID_P, 1000, CID_A, 5005);
    g_assert_cmpuint(wire_connections(f->sw), ==, 0);
}

static void test_split(Fixture *f, gconstpointer data)
{
    g_autofree uint8_t *out = g_malloc(NHV_SWITCH_MAX_PKT);
    g_autofree uint8_t *in = g_malloc(NHV_SWITCH_MAX_PKT);
    size_t got = 0;
    int i;

    for (i = 0; i < NHV_SWITCH_MAX_PKT; i++) {
        out[i] = i * 7 + i / 251;
    }
    connect_to(f, f->a, CID_A);
    parent_data(f, CID_A, out, NHV_SWITCH_MAX_PKT);
    send_op(f->parent, SHUTDOWN, CID_P, 1000, CID_A, 5005);
    while (got < NHV_SWITCH_MAX_PKT) {
        VsockHdr hdr = wire_receive(f->a, in + got, 3732);

        g_assert_cmpuint(hdr.op, ==, RW);
        g_assert_cmpuint(hdr.len, <=, 3732);
        got += hdr.len;
    }
    g_assert_cmpmem(in, got, out, NHV_SWITCH_MAX_PKT);
    /* What ends the stream comes behind all of it */
    expect_op(f->a, SHUTDOWN, CID_P, 1000, CID_A, 5005);
}

static void test_short_buffer(Fixture *f, gconstpointer data)
{
    VsockHdr hdr;
    struct iovec iov = { .iov_base = &hdr, .iov_len = sizeof(hdr) };

    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    g_assert_cmpuint(nhv_switch_receive(f->a, &iov, 1), ==, 0);
    g_assert_cmpuint(nhv_switch_receive(f->a, NULL, 0), ==, 0);
    expect_op(f->a, REQUEST, CID_P, 1000, CID_A, 5005);
}

/* A does not fetch; what the parent sends to B arrives all the same */
static void test_slow_receiver(Fixture *f, gconstpointer data)
{
    g_autofree uint8_t *chunk = g_malloc0(NHV_SWITCH_MAX_PKT);
    int i;

    connect_to(f, f->a, CID_A);
    connect_to(f, f->b, CID_B);
    for (i = 0; i < NHV_SWITCH_WINDOW / NHV_SWITCH_MAX_PKT; i++) {
        parent_data(f, CID_A, chunk, NHV_SWITCH_MAX_PKT);
    }
    for (i = 0; i < 1000; i++) {
        parent_data(f, CID_B, chunk, NHV_SWITCH_MAX_PKT);
        g_assert_cmpuint(wire_receive(f->b, chunk, NHV_SWITCH_MAX_PKT).len,
                         ==, NHV_SWITCH_MAX_PKT);
    }
    g_assert_cmpuint(f->reports, ==, 0);
    g_assert_cmpuint(wire_receive(f->a, chunk, 4096).op, ==, RW);
}

/* Two streams to one receiver take turns */
static void test_fairness(Fixture *f, gconstpointer data)
{
    g_autofree uint8_t *chunk = g_malloc0(NHV_SWITCH_MAX_PKT);
    int i, bytes[2] = { 0, 0 };

    connect_to(f, f->a, CID_A);
    send_op(f->a, REQUEST, CID_A, 6006, CID_P, 1000);
    expect_op(f->parent, REQUEST, CID_A, 6006, CID_P, 1000);
    send_op(f->parent, RESPONSE, CID_P, 1000, CID_A, 6006);
    expect_op(f->a, RESPONSE, CID_P, 1000, CID_A, 6006);
    parent_data(f, CID_A, chunk, NHV_SWITCH_MAX_PKT);
    wire_send(f->parent, wire_hdr(RW, CID_P, 1000, CID_A, 6006), chunk, 4096);
    for (i = 0; i < 8; i++) {
        VsockHdr hdr = wire_receive(f->a, chunk, 1024);

        bytes[hdr.dst_port == 6006] += hdr.len;
    }
    g_assert_cmpint(bytes[0], ==, 4096);
    g_assert_cmpint(bytes[1], ==, 4096);
}

static void test_death(Fixture *f, gconstpointer data)
{
    char buf[64];

    connect_to(f, f->a, CID_A);
    connect_to(f, f->b, CID_B);
    wire_send(f->a, wire_hdr(RW, CID_A, 5005, CID_P, 1000), "last words", 10);
    parent_data(f, CID_A, "too late", 8);
    nhv_switch_detach(f->a);

    g_assert_cmpuint(wire_receive(f->parent, buf, 64).len, ==, 10);
    g_assert_cmpmem(buf, 10, "last words", 10);
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);
    expect_nothing(f->parent);
    g_assert_cmpuint(wire_connections(f->sw), ==, 1);

    /* Refused while it is gone, as if new when it is back */
    send_op(f->parent, REQUEST, CID_P, 1000, CID_A, 5005);
    expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);
    f->a = nhv_switch_attach(f->sw, CID_A, count_ready, f);
    expect_nothing(f->a);
    connect_to(f, f->a, CID_A);
    g_assert_null(nhv_switch_attach(f->sw, CID_A, count_ready, f));
}

/* The CID comes back before the parent fetched the reset */
static void test_reuse_while_pending(Fixture *f, gconstpointer data)
{
    int i;

    for (i = 0; i < 3; i++) {
        connect_to(f, f->a, CID_A);
        nhv_switch_detach(f->a);
        f->a = nhv_switch_attach(f->sw, CID_A, count_ready, f);
        send_op(f->a, REQUEST, CID_A, 4000 + i, CID_P, 9000);
        expect_op(f->parent, RST, CID_A, 5005, CID_P, 1000);
        expect_op(f->parent, REQUEST, CID_A, 4000 + i, CID_P, 9000);
        send_op(f->parent, RST, CID_P, 9000, CID_A, 4000 + i);
        expect_op(f->a, RST, CID_P, 9000, CID_A, 4000 + i);
    }
    connect_to(f, f->a, CID_A);
    nhv_switch_detach(f->parent);
    expect_op(f->a, RST, CID_P, 1000, CID_A, 5005);
    f->parent = nhv_switch_attach(f->sw, CID_P, count_ready, f);
    connect_to(f, f->a, CID_A);
}

/* An enclave with many busy connections has no larger share */
static void test_fair_enclaves(Fixture *f, gconstpointer data)
{
    g_autofree uint8_t *chunk = g_malloc0(NHV_SWITCH_MAX_PKT);
    int i, packets[2] = { 0, 0 };

    for (i = 0; i < 101; i++) {
        NhvSwitchPort *port = i ? f->a : f->b;
        uint32_t cid = i ? CID_A : CID_B;

        send_op(port, REQUEST, cid, i, CID_P, 9000);
        expect_op(f->parent, REQUEST, cid, i, CID_P, 9000);
        send_op(f->parent, RESPONSE, CID_P, 9000, cid, i);
        expect_op(port, RESPONSE, CID_P, 9000, cid, i);
    }
    for (i = 0; i < 101; i++) {
        wire_send(i ? f->a : f->b, wire_hdr(RW, i ? CID_A : CID_B, i, CID_P,
                                            9000),
                  chunk, NHV_SWITCH_MAX_PKT);
    }
    for (i = 0; i < 16; i++) {
        packets[wire_receive(f->parent, chunk, 4096).src_cid == CID_B]++;
    }
    g_assert_cmpint(packets[0], ==, 8);
    g_assert_cmpint(packets[1], ==, 8);
}

#define QUOTA (16 * NHV_SWITCH_WINDOW)

/* Fill the windows of connections, from port 0 on; returns how many lasted */
static int fill(Fixture *f, NhvSwitchPort *port, uint32_t cid)
{
    g_autofree uint8_t *chunk = g_malloc0(NHV_SWITCH_MAX_PKT);
    int i, j;

    for (i = 0; !f->reports && !nhv_switch_is_full(port); i++) {
        NhvSwitchPort *from = cid == CID_A ? port : f->parent;

        send_op(port, REQUEST, cid, i, CID_P, 9000);
        while (wire_receive(f->parent, chunk, 1).op != REQUEST) {
            /* data of others */
        }
        send_op(f->parent, RESPONSE, CID_P, 9000, cid, i);
        for (j = 0; j < 4; j++) {
            wire_send(from, from == port ? wire_hdr(RW, cid, i, CID_P, 9000)
                      : wire_hdr(RW, CID_P, 9000, cid, i), chunk,
                      NHV_SWITCH_MAX_PKT);
        }
    }
    return i;
}

static void test_quota(Fixture *f, gconstpointer data)
{
    g_autofree uint8_t *chunk = g_malloc0(NHV_SWITCH_MAX_PKT);
    int i, lasted;

    f->sw->max_queued = QUOTA;
    /* B does not fetch: what is too much for it is lost, and reported */
    lasted = fill(f, f->b, CID_B);
    g_assert_cmpint(lasted, ==, QUOTA / NHV_SWITCH_WINDOW + 1);
    g_assert_cmpstr(f->last_report, ==,
                    "256 MiB wait to be fetched, connection reset");
    g_assert_cmpuint(f->b->queued[NHV_SIDE_PARENT], ==, QUOTA);

    /* A sends more than the parent fetches: it can see that */
    f->reports = f->ready = 0;
    fill(f, f->a, CID_A);
    g_assert_cmpuint(f->reports, ==, 0);
    g_assert_true(nhv_switch_is_full(f->a));
    g_assert_cmpuint(f->a->queued[NHV_SIDE_OTHER], <=, QUOTA);
    for (i = 0; nhv_switch_is_full(f->a); i++) {
        g_assert_cmpint(i, <, 2 * QUOTA / NHV_SWITCH_MAX_PKT);
        wire_receive(f->parent, chunk, NHV_SWITCH_MAX_PKT);
    }
    while (nhv_switch_pending(f->parent)) {
        wire_receive(f->parent, chunk, NHV_SWITCH_MAX_PKT);
    }
    while (nhv_switch_pending(f->b)) {
        wire_receive(f->b, chunk, NHV_SWITCH_MAX_PKT);
    }
    g_assert_cmpuint(f->a->queued[NHV_SIDE_OTHER], ==, 0);
    g_assert_cmpuint(f->b->queued[NHV_SIDE_PARENT], ==, 0);
}

static void test_connection_limit(Fixture *f, gconstpointer data)
{
    int i;

    for (i = 0; i < NHV_SWITCH_MAX_CONNS; i++) {
        send_op(f->a, REQUEST, CID_A, i, CID_P, 9000);
    }
    g_assert_cmpuint(f->reports, ==, 0);
    send_op(f->a, REQUEST, CID_A, i, CID_P, 9000);
    expect_report(f, "has 65536 connections, request refused; the limit is "
                  "--max-connections");
    expect_op(f->a, RST, CID_P, 9000, CID_A, i);
    /* Others are not concerned */
    send_op(f->parent, REQUEST, CID_P, 1000, CID_B, 5005);
    expect_op(f->b, REQUEST, CID_P, 1000, CID_B, 5005);
}

static void test_reset_limit(Fixture *f, gconstpointer data)
{
    int i;

    for (i = 0; i < 2 * NHV_SWITCH_MAX_RESETS; i++) {
        send_op(f->a, RW, CID_A, i, CID_P, 1);
    }
    g_assert_cmpuint(f->reports, ==, NHV_SWITCH_MAX_RESETS);
    for (i = 0; i < NHV_SWITCH_MAX_RESETS; i++) {
        expect_op(f->a, RST, CID_P, 1, CID_A, i);
    }
    expect_nothing(f->a);
}

#define BULK (100u * 1000 * 1000)

static uint8_t pattern(uint32_t pos)
{
    return (pos * 2654435761u) >> 24;
}

/* Sender honours the window, receiver returns credit in odd steps */
static void test_bulk(Fixture *f, gconstpointer data)
{
    g_autofree uint8_t *buf = g_malloc(NHV_SWITCH_MAX_PKT);
    uint32_t sent = 0, got = 0, credited = 0, i;
    unsigned int step = 0;

    connect_to(f, f->a, CID_A);
    while (got < BULK) {
        uint32_t len = MIN(step * 7919 % NHV_SWITCH_MAX_PKT + 1,
                           BULK - sent);
        VsockHdr hdr;

        step++;
        if (len && sent + len - credited <= NHV_SWITCH_WINDOW) {
            for (i = 0; i < len; i++) {
                buf[i] = pattern(sent + i);
            }
            parent_data(f, CID_A, buf, len);
            sent += len;
        }
        hdr = wire_receive(f->a, buf, step % 5 ? 4052 : 1);
        for (i = 0; i < hdr.len; i++) {
            g_assert_cmphex(buf[i], ==, pattern(got + i));
        }
        got += hdr.len;
        if (got - credited > 100001 || got == sent) {
            credited = got;
        }
    }
    g_assert_cmpuint(f->reports, ==, 0);
    expect_nothing(f->a);
}

/* Whatever arrives, nothing asserts and everything is bounded */
static void test_noise(Fixture *f, gconstpointer data)
{
    NhvSwitchPort *port[] = { f->parent, f->a, f->b };
    static const uint32_t cids[] = { CID_P, CID_A, CID_B, 0, 99 };
    g_autofree uint8_t *buf = g_malloc0(4096);
    int i;

    for (i = 0; i < 300000; i++) {
        VsockHdr hdr = wire_hdr(g_test_rand_int_range(0, 9),
                                cids[g_test_rand_int_range(0, 5)],
                                g_test_rand_int_range(0, 4),
                                cids[g_test_rand_int_range(0, 5)],
                                g_test_rand_int_range(0, 4));

        hdr.type = g_test_rand_int_range(0, 20) ? 1 : 2;
        hdr.flags = g_test_rand_int();
        hdr.fwd_cnt = g_test_rand_int();
        hdr.buf_alloc = g_test_rand_int();
        wire_send(port[i % 3], hdr, buf, g_test_rand_int_range(0, 4096));
        if (i % 2) {
            wire_receive(port[g_test_rand_int_range(0, 3)], buf,
                         g_test_rand_int_range(1, 4096));
        }
    }
    /* At most the 4 x 4 port pairs of two enclaves */
    g_assert_cmpuint(wire_connections(f->sw), <=, 32);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "/nitro/switch/handshake", test_handshake },
        { "/nitro/switch/refusals", test_refusals },
        { "/nitro/switch/wide-cid", test_wide_cid },
        { "/nitro/switch/no-sibling-traffic", test_no_sibling_traffic },
        { "/nitro/switch/spoofing", test_spoofing },
        { "/nitro/switch/malformed", test_malformed },
        { "/nitro/switch/wrong-state", test_wrong_state },
        { "/nitro/switch/withdrawn-request", test_withdrawn_request },
        { "/nitro/switch/late-reset", test_late_reset },
        { "/nitro/switch/doubted-reset", test_doubted_reset },
        { "/nitro/switch/many-late-resets", test_many_late_resets },
        { "/nitro/switch/source-port-again", test_source_port_again },
        { "/nitro/switch/hasty-close", test_hasty_close },
        { "/nitro/switch/late-refusal", test_late_refusal },
        { "/nitro/switch/refusal-after-use", test_refusal_after_use },
        { "/nitro/switch/late-response", test_late_response },
        { "/nitro/switch/again-and-gone", test_again_and_gone },
        { "/nitro/switch/host-cid", test_host_cid },
        { "/nitro/switch/credit-passes", test_credit_passes },
        { "/nitro/switch/credit-ignored", test_credit_ignored },
        { "/nitro/switch/split", test_split },
        { "/nitro/switch/short-buffer", test_short_buffer },
        { "/nitro/switch/slow-receiver", test_slow_receiver },
        { "/nitro/switch/fairness", test_fairness },
        { "/nitro/switch/fair-enclaves", test_fair_enclaves },
        { "/nitro/switch/quota", test_quota },
        { "/nitro/switch/death", test_death },
        { "/nitro/switch/reuse-while-pending", test_reuse_while_pending },
        { "/nitro/switch/connection-limit", test_connection_limit },
        { "/nitro/switch/reset-limit", test_reset_limit },
        { "/nitro/switch/bulk", test_bulk },
        { "/nitro/switch/noise", test_noise },
    };

    g_test_init(&argc, &argv, NULL);
    ADD_FIXTURE_TESTS(tests, Fixture);
    return g_test_run();
}
