/*
 * Fuzz target: packets through the vsock switch
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Input: rows of an action byte and its arguments.  The endpoints are the
 * parent and two enclaves; CID 0 is an endpoint that only sends.
 */

#include "qemu/osdep.h"
#include "contrib/nitro-hypervisor/switch-conn.h"
#include "vsock-input.h"

enum { SEND, SEND_RAW, RECEIVE, ATTACH, DRAIN, NR_ACTIONS };

#define NR_PORTS 4
#define MAX_ACTIONS 400
#define PAYLOAD (NHV_SWITCH_MAX_PKT + 1024)
#define MAX_CONNS 6
#define MAX_QUEUED (2 * NHV_SWITCH_WINDOW)

typedef struct Net {
    NhvSwitch *sw;
    NhvSwitchPort *port[NR_PORTS];
    uint8_t payload[PAYLOAD];
} Net;

static void ready(void *opaque)
{
}

static void report(void *opaque, uint32_t cid, const char *what)
{
    g_assert_cmpint(strlen(what), >, 0);
}

static void attach(Net *net, int i)
{
    if (net->port[i]) {
        nhv_switch_detach(g_steal_pointer(&net->port[i]));
    } else {
        net->port[i] = nhv_switch_attach(net->sw, vsock_cid(i), ready, NULL);
        g_assert_nonnull(net->port[i]);
    }
}

static void send_packet(Net *net, NhvSwitchPort *port, FuzzInput *in)
{
    VsockHdr hdr = vsock_packet(in);
    size_t len = MIN(hdr.len, PAYLOAD);

    /* Sometimes the payload is shorter or longer than it should be */
    wire_send(port, hdr, net->payload, len ^ (hdr.flags >> 2));
}

static void send_raw(Net *net, NhvSwitchPort *port, FuzzInput *in)
{
    size_t len = fuzz_u8(in) % 64;
    struct iovec iov[2] = { { .iov_len = len / 2 } };

    iov[0].iov_base = (void *)fuzz_bytes(in, &iov[0].iov_len);
    iov[1].iov_len = len - len / 2;
    iov[1].iov_base = (void *)fuzz_bytes(in, &iov[1].iov_len);
    nhv_switch_send(port, iov, 2);
}

/* Whatever went in, what comes out is a packet for this endpoint */
static bool receive(Net *net, int i, size_t room)
{
    g_autofree uint8_t *data = g_malloc(room + 1);
    bool pending = nhv_switch_pending(net->port[i]);
    VsockHdr hdr = wire_receive(net->port[i], data, room);

    if (!hdr.op) {
        g_assert_true(!pending || !room);
        return false;
    }
    g_assert_true(pending);
    g_assert_cmpuint(hdr.dst_cid, ==, vsock_cid(i));
    g_assert_true((hdr.src_cid == NITRO_CID_PARENT ||
                   hdr.src_cid == NITRO_CID_HOST) !=
                  (hdr.dst_cid == NITRO_CID_PARENT) ||
                  hdr.op == VIRTIO_VSOCK_OP_RST);
    g_assert_cmpuint(hdr.len, <=, MIN(room, NHV_SWITCH_MAX_PKT));
    g_assert_true(!hdr.len || hdr.op == VIRTIO_VSOCK_OP_RW);
    g_assert_cmpuint(hdr.op, <=, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
    g_assert_true(hdr.op == VIRTIO_VSOCK_OP_RST ||
                  hdr.buf_alloc <= NHV_SWITCH_WINDOW);
    return true;
}

static void act(Net *net, FuzzInput *in)
{
    uint8_t action = fuzz_u8(in);
    int i = (action >> 4) % NR_PORTS;

    action = (action & 0xf) % NR_ACTIONS;
    if (action == ATTACH || !net->port[i]) {
        attach(net, i);
    } else if (action == SEND) {
        send_packet(net, net->port[i], in);
    } else if (action == SEND_RAW) {
        send_raw(net, net->port[i], in);
    } else if (action == RECEIVE) {
        receive(net, i, vsock_amount(fuzz_u16(in)) % PAYLOAD);
    } else {
        while (receive(net, i, PAYLOAD)) {
            /* until there is no more */
        }
    }
}

/* Adds up what a port is accounted for; credit is the limit of each flow */
static unsigned int count(Net *net, NhvSwitchPort *port, size_t queued[2])
{
    unsigned int conns = 0;
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, net->sw->conns);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        NhvConn *conn = value;

        conns += conn->successor &&
                 conn->successor->port[NHV_SIDE_OTHER] == port;
        if (conn->port[NHV_SIDE_OTHER] != port) {
            continue;
        }
        conns++;
        for (int side = 0; side < 2; side++) {
            g_assert_cmpuint(conn->flow[side].data.used, <=,
                             NHV_SWITCH_WINDOW);
            queued[side] += conn->flow[side].data.capacity;
        }
    }
    return conns;
}

static void check_bounds(Net *net)
{
    for (int i = 0; i < NR_PORTS; i++) {
        NhvSwitchPort *port = net->port[i];
        size_t queued[2] = { 0, 0 };

        if (!port) {
            continue;
        }
        g_assert_cmpuint(port->resets.length, <=, NHV_SWITCH_MAX_RESETS);
        if (port->cid == NITRO_CID_PARENT) {
            continue;
        }
        g_assert_cmpuint(port->nr_conns, ==, count(net, port, queued));
        g_assert_cmpuint(port->nr_conns, <=, 2 * MAX_CONNS);
        for (int side = 0; side < 2; side++) {
            g_assert_cmpuint(port->queued[side], ==, queued[side]);
            g_assert_cmpuint(queued[side], <=, MAX_QUEUED);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Net net;
    FuzzInput in = { data, size };

    net.sw = nhv_switch_new(MAX_CONNS, report, NULL);
    net.sw->max_queued = MAX_QUEUED;
    for (int i = 0; i < NR_PORTS; i++) {
        attach(&net, i);
    }
    for (int n = 0; in.size && n < MAX_ACTIONS; n++) {
        act(&net, &in);
    }
    check_bounds(&net);
    for (int i = 0; i < NR_PORTS; i++) {
        if (net.port[i]) {
            attach(&net, i);
        }
    }
    g_assert_cmpuint(wire_connections(net.sw), ==, 0);
    nhv_switch_free(net.sw);
    return 0;
}

/* Who acts is in the upper half; "ends" are destination and source */
#define BY_PARENT 0x00
#define BY_ENCLAVE 0x10
#define TO_ENCLAVE 0x10
#define TO_PARENT 0x01

void fuzz_seeds(FuzzSeed *seed)
{
    g_autoptr(GByteArray) in = g_byte_array_new();

    fuzz_put8(in, BY_PARENT | SEND);
    vsock_put(in, VIRTIO_VSOCK_OP_REQUEST, TO_ENCLAVE, 3, 0, 0, 0);
    fuzz_put8(in, BY_ENCLAVE | DRAIN);
    fuzz_put8(in, BY_ENCLAVE | SEND);
    vsock_put(in, VIRTIO_VSOCK_OP_RESPONSE, TO_PARENT, 0, 3, 0, 0);
    fuzz_put8(in, BY_PARENT | DRAIN);
    for (int i = 0; i < 3; i++) {
        fuzz_put8(in, BY_PARENT | SEND);
        vsock_put(in, VIRTIO_VSOCK_OP_RW, TO_ENCLAVE, 3, 0, 0, 5000);
        fuzz_put8(in, BY_ENCLAVE | RECEIVE);
        fuzz_put16(in, 600);
    }
    fuzz_put8(in, BY_ENCLAVE | SEND);
    vsock_put(in, VIRTIO_VSOCK_OP_CREDIT_UPDATE, TO_PARENT, 0, 3, 1800, 0);
    fuzz_put8(in, BY_ENCLAVE | SEND);
    vsock_put(in, VIRTIO_VSOCK_OP_RW, TO_PARENT, 0, 3, 1800, 100);
    seed("open", in->data, in->len);
    fuzz_put8(in, BY_PARENT | SEND);
    vsock_put(in, VIRTIO_VSOCK_OP_SHUTDOWN, TO_ENCLAVE, 3, 0, 0, 0);
    fuzz_put8(in, BY_ENCLAVE | DRAIN);
    fuzz_put8(in, BY_ENCLAVE | SEND);
    vsock_put(in, VIRTIO_VSOCK_OP_RST, TO_PARENT, 0, 3, 0, 0);
    fuzz_put8(in, BY_PARENT | DRAIN);
    seed("close", in->data, in->len);
    fuzz_put8(in, BY_PARENT | SEND);
    vsock_put(in, VIRTIO_VSOCK_OP_RST, TO_ENCLAVE, 3, 0, 0, 0);
    fuzz_put8(in, BY_PARENT | SEND);
    vsock_put(in, VIRTIO_VSOCK_OP_REQUEST, TO_ENCLAVE, 3, 0, 0, 0);
    fuzz_put8(in, BY_PARENT | SEND);
    vsock_put(in, VIRTIO_VSOCK_OP_REQUEST, TO_ENCLAVE, 3, 0, 0, 0);
    fuzz_put8(in, BY_ENCLAVE | DRAIN);
    seed("again", in->data, in->len);
    g_byte_array_set_size(in, in->len / 2);
    fuzz_put8(in, BY_ENCLAVE | ATTACH);
    fuzz_put8(in, BY_PARENT | DRAIN);
    seed("detach", in->data, in->len);
}
