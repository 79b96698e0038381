/*
 * vsock switch: connections and their two directions
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/bswap.h"
#include "switch-conn.h"

#define OP_BIT(name) BIT(VIRTIO_VSOCK_OP_ ## name)

guint nitro_conn_hash(gconstpointer key)
{
    const NitroConnKey *k = key;

    return (k->cid * 31 + k->port) * 31 + k->parent_port;
}

gboolean nitro_conn_equal(gconstpointer a, gconstpointer b)
{
    const NitroConnKey *x = a, *y = b;

    return x->cid == y->cid && x->port == y->port &&
           x->parent_port == y->parent_port;
}

static int flow_sender(NitroFlow *flow)
{
    return flow == &flow->conn->flow[NITRO_SIDE_PARENT] ? NITRO_SIDE_PARENT
                                                        : NITRO_SIDE_OTHER;
}

static NitroSwitchPort *flow_receiver(NitroFlow *flow)
{
    return flow->conn->port[!flow_sender(flow)];
}

static bool flow_empty(NitroFlow *flow)
{
    return !flow->todo && !flow->data.used;
}

static void flow_dequeue(NitroFlow *flow)
{
    if (flow->queued) {
        QTAILQ_REMOVE(&flow_receiver(flow)->flows, flow, next);
        flow->queued = false;
    }
}

static void flow_discard(NitroFlow *flow)
{
    flow_dequeue(flow);
    flow->todo = 0;
    nitro_ring_clear(&flow->data);
}

static void flow_queue(NitroFlow *flow)
{
    NitroSwitchPort *port = flow_receiver(flow);

    if (!port) {
        flow_discard(flow);
        return;
    }
    if (!flow->queued && !flow_empty(flow)) {
        QTAILQ_INSERT_TAIL(&port->flows, flow, next);
        flow->queued = true;
    }
    port->ready(port->opaque);
}

/* For the connection table only: use conn_remove() to get rid of one */
void nitro_conn_destroy(gpointer opaque)
{
    NitroConn *conn = opaque;
    int side;

    for (side = 0; side < 2; side++) {
        flow_discard(&conn->flow[side]);
    }
    for (side = 0; side < 2; side++) {
        if (conn->port[side]) {
            conn->port[side]->nr_conns--;
        }
    }
    g_free(conn);
}

static void conn_remove(NitroConn *conn)
{
    g_hash_table_remove(conn->sw->conns, &conn->key);
}

/* A dead connection stays until its resets have been fetched */
static void conn_settle(NitroConn *conn)
{
    if (conn->state == NITRO_CONN_DEAD &&
        flow_empty(&conn->flow[0]) && flow_empty(&conn->flow[1])) {
        conn_remove(conn);
    }
}

static void flow_reset(NitroFlow *flow)
{
    if (flow->todo & OP_BIT(REQUEST)) {
        /* The receiver has never heard of this connection */
        flow_discard(flow);
        return;
    }
    flow->todo |= OP_BIT(RST);
    flow_queue(flow);
}

void nitro_conn_abort(NitroConn *conn)
{
    int side;

    conn->state = NITRO_CONN_DEAD;
    for (side = 0; side < 2; side++) {
        NitroFlow *flow = &conn->flow[side];

        if (!(flow->todo & OP_BIT(REQUEST))) {
            flow_discard(flow);
        }
        flow_reset(flow);
    }
    conn_settle(conn);
}

/* @side sends no more and wants no more; the other gets the rest */
static void conn_end(NitroConn *conn, int side)
{
    conn->state = NITRO_CONN_DEAD;
    flow_discard(&conn->flow[!side]);
    flow_reset(&conn->flow[side]);
    conn_settle(conn);
}

void nitro_conn_detach(NitroConn *conn, int side)
{
    flow_discard(&conn->flow[!side]);
    conn->port[side] = NULL;
    conn_end(conn, side);
}

static void flow_credit(NitroFlow *flow, const struct virtio_vsock_hdr *hdr)
{
    flow->buf_alloc = MIN(hdr->buf_alloc, NITRO_SWITCH_WINDOW);
    flow->fwd_cnt = hdr->fwd_cnt;
}

void nitro_conn_open(NitroSwitch *sw, const NitroConnKey *key, int side,
                     const NitroPacket *pkt)
{
    NitroConn *conn = g_new0(NitroConn, 1);

    conn->sw = sw;
    conn->key = *key;
    conn->requester = side;
    conn->flow[0].conn = conn;
    conn->flow[1].conn = conn;
    conn->port[NITRO_SIDE_PARENT] = nitro_switch_port(sw, NITRO_CID_PARENT);
    conn->port[NITRO_SIDE_OTHER] = nitro_switch_port(sw, key->cid);
    conn->port[NITRO_SIDE_PARENT]->nr_conns++;
    conn->port[NITRO_SIDE_OTHER]->nr_conns++;
    g_hash_table_insert(sw->conns, &conn->key, conn);

    flow_credit(&conn->flow[side], &pkt->hdr);
    conn->flow[side].todo = OP_BIT(REQUEST);
    flow_queue(&conn->flow[side]);
}

static const char *conn_response(NitroConn *conn, int side)
{
    if (conn->state != NITRO_CONN_REQUESTED || side == conn->requester) {
        return "response without request";
    }
    conn->state = NITRO_CONN_OPEN;
    conn->flow[side].todo |= OP_BIT(RESPONSE);
    return NULL;
}

static const char *conn_data(NitroConn *conn, int side, const NitroPacket *pkt)
{
    NitroFlow *flow = &conn->flow[side];

    if (flow->shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) {
        return "data after shutdown";
    }
    if (!nitro_ring_put(&flow->data, pkt->iov, pkt->iov_cnt, sizeof(pkt->hdr),
                        pkt->hdr.len, NITRO_SWITCH_WINDOW)) {
        return "data beyond the receiver's credit";
    }
    return NULL;
}

static const char *conn_established(NitroConn *conn, int side,
                                    const NitroPacket *pkt)
{
    NitroFlow *flow = &conn->flow[side];

    if (conn->state != NITRO_CONN_OPEN) {
        return "packet before response";
    }
    switch (pkt->hdr.op) {
    case VIRTIO_VSOCK_OP_RW:
        return conn_data(conn, side, pkt);
    case VIRTIO_VSOCK_OP_SHUTDOWN:
        flow->shutdown |= pkt->hdr.flags & (VIRTIO_VSOCK_SHUTDOWN_RCV |
                                            VIRTIO_VSOCK_SHUTDOWN_SEND);
        /* fall through */
    case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        flow->todo |= BIT(pkt->hdr.op);
        return NULL;
    default:
        return "unknown operation";
    }
}

const char *nitro_conn_input(NitroConn *conn, int side, const NitroPacket *pkt)
{
    const char *why;

    if (pkt->hdr.op == VIRTIO_VSOCK_OP_RST) {
        conn_end(conn, side);
        return NULL;
    }
    flow_credit(&conn->flow[side], &pkt->hdr);
    if (pkt->hdr.op == VIRTIO_VSOCK_OP_RESPONSE) {
        why = conn_response(conn, side);
    } else {
        why = conn_established(conn, side, pkt);
    }
    if (why) {
        nitro_conn_abort(conn);
    } else {
        flow_queue(&conn->flow[side]);
    }
    return why;
}

/* Setup first, then the stream, then what ends it */
static uint16_t flow_next_op(NitroFlow *flow)
{
    static const uint16_t order[] = {
        VIRTIO_VSOCK_OP_CREDIT_REQUEST,
        VIRTIO_VSOCK_OP_SHUTDOWN,
        VIRTIO_VSOCK_OP_RST,
        VIRTIO_VSOCK_OP_CREDIT_UPDATE,
    };
    int i;

    if (flow->todo & (OP_BIT(REQUEST) | OP_BIT(RESPONSE))) {
        return flow->todo & OP_BIT(REQUEST) ? VIRTIO_VSOCK_OP_REQUEST
                                            : VIRTIO_VSOCK_OP_RESPONSE;
    }
    if (flow->data.used) {
        return VIRTIO_VSOCK_OP_RW;
    }
    for (i = 0; i < ARRAY_SIZE(order); i++) {
        if (flow->todo & BIT(order[i])) {
            return order[i];
        }
    }
    g_assert_not_reached();
}

static void flow_header(NitroFlow *flow, struct virtio_vsock_hdr *hdr,
                        uint16_t op, uint32_t len)
{
    NitroConnKey *key = &flow->conn->key;
    bool from_parent = flow_sender(flow) == NITRO_SIDE_PARENT;
    uint32_t shutdown = op == VIRTIO_VSOCK_OP_SHUTDOWN ? flow->shutdown : 0;

    *hdr = (struct virtio_vsock_hdr) {
        .src_cid = cpu_to_le64(from_parent ? NITRO_CID_PARENT : key->cid),
        .dst_cid = cpu_to_le64(from_parent ? key->cid : NITRO_CID_PARENT),
        .src_port = cpu_to_le32(from_parent ? key->parent_port : key->port),
        .dst_port = cpu_to_le32(from_parent ? key->port : key->parent_port),
        .len = cpu_to_le32(len),
        .type = cpu_to_le16(VIRTIO_VSOCK_TYPE_STREAM),
        .op = cpu_to_le16(op),
        .flags = cpu_to_le32(shutdown),
        .buf_alloc = cpu_to_le32(flow->buf_alloc),
        .fwd_cnt = cpu_to_le32(flow->fwd_cnt),
    };
}

size_t nitro_flow_emit(NitroFlow *flow, const struct iovec *iov,
                       unsigned int iov_cnt)
{
    uint16_t op = flow_next_op(flow);
    struct virtio_vsock_hdr hdr;
    size_t len = 0;

    if (op == VIRTIO_VSOCK_OP_RW) {
        len = nitro_ring_get(&flow->data, iov, iov_cnt, sizeof(hdr),
                             NITRO_SWITCH_MAX_PKT);
    }
    flow_header(flow, &hdr, op, len);
    iov_from_buf(iov, iov_cnt, 0, &hdr, sizeof(hdr));

    /* Every packet carries the credit state */
    flow->todo &= ~(BIT(op) | OP_BIT(CREDIT_UPDATE));
    flow_dequeue(flow);
    if (flow_empty(flow)) {
        conn_settle(flow->conn);
    } else {
        flow_queue(flow);
    }
    return sizeof(hdr) + len;
}
