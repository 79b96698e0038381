/*
 * vsock switch: states of connections
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "switch-conn.h"

/* Resets of one side, in a row, that may be taken for late ones */
#define MAX_DOUBTS 16

/*
 * Both ports of a key are the guests' choice.  With factors that guests do
 * not know they cannot choose keys that all have one hash.
 */
static uint64_t hash_factor[3];

void nhv_conn_hash_init(void)
{
    int i;

    for (i = 0; !hash_factor[2] && i < ARRAY_SIZE(hash_factor); i++) {
        hash_factor[i] = (uint64_t)g_random_int() << 32 | g_random_int() | 1;
    }
}

guint nhv_conn_hash(gconstpointer key)
{
    const NhvConnKey *k = key;

    return (k->cid * hash_factor[0] + k->port * hash_factor[1] +
            k->parent_port * hash_factor[2]) >> 32;
}

gboolean nhv_conn_equal(gconstpointer a, gconstpointer b)
{
    const NhvConnKey *x = a, *y = b;

    return x->cid == y->cid && x->port == y->port &&
           x->parent_port == y->parent_port;
}

/* Frees a connection that is not in the table */
void nhv_conn_destroy(gpointer opaque)
{
    NhvConn *conn = opaque;
    int side;

    if (conn->successor) {
        nhv_conn_destroy(conn->successor);
    }
    for (side = 0; side < 2; side++) {
        nhv_flow_discard(&conn->flow[side]);
    }
    for (side = 0; side < 2; side++) {
        if (conn->port[side]) {
            conn->port[side]->nr_conns--;
        }
    }
    g_free(conn);
}

/* Its requester is to get a reset of this connection, by the name it asked */
static void conn_forget_successor(NhvConn *conn)
{
    NhvConn *successor = g_steal_pointer(&conn->successor);

    if (successor) {
        if (successor->requester == NHV_SIDE_OTHER) {
            conn->parent_cid = successor->parent_cid;
        }
        nhv_conn_destroy(successor);
    }
}

static void flow_credit(NhvFlow *flow, const struct virtio_vsock_hdr *hdr)
{
    flow->buf_alloc = MIN(hdr->buf_alloc, NHV_SWITCH_WINDOW);
    flow->fwd_cnt = hdr->fwd_cnt;
}

static NhvConn *conn_new(NhvSwitch *sw, const NhvConnKey *key, int side,
                         const NhvPacket *pkt)
{
    NhvConn *conn = g_new0(NhvConn, 1);

    conn->sw = sw;
    conn->key = *key;
    conn->parent_cid = side == NHV_SIDE_PARENT ? NITRO_CID_PARENT
                                                 : pkt->hdr.dst_cid;
    conn->requester = side;
    conn->flow[0].conn = conn;
    conn->flow[1].conn = conn;
    conn->port[NHV_SIDE_PARENT] = nhv_switch_port(sw, NITRO_CID_PARENT);
    conn->port[NHV_SIDE_OTHER] = nhv_switch_port(sw, key->cid);
    conn->port[NHV_SIDE_PARENT]->nr_conns++;
    conn->port[NHV_SIDE_OTHER]->nr_conns++;
    flow_credit(&conn->flow[side], &pkt->hdr);
    conn->flow[side].todo = NHV_OP_BIT(REQUEST);
    return conn;
}

static void conn_begin(NhvConn *conn)
{
    g_hash_table_insert(conn->sw->conns, &conn->key, conn);
    nhv_flow_queue(&conn->flow[conn->requester]);
}

void nhv_conn_open(NhvSwitch *sw, const NhvConnKey *key, int side,
                   const NhvPacket *pkt)
{
    conn_begin(conn_new(sw, key, side, pkt));
}

/* A dead connection stays until its resets have been fetched */
static void conn_settle(NhvConn *conn)
{
    NhvConn *successor;

    if (conn->state != NHV_CONN_DEAD ||
        !nhv_flow_empty(&conn->flow[0]) ||
        !nhv_flow_empty(&conn->flow[1])) {
        return;
    }
    successor = g_steal_pointer(&conn->successor);
    g_hash_table_remove(conn->sw->conns, &conn->key);
    if (successor) {
        conn_begin(successor);
    }
}

static void flow_reset(NhvFlow *flow)
{
    if (flow->todo & NHV_OP_BIT(REQUEST)) {
        /* The receiver has never heard of this connection */
        nhv_flow_discard(flow);
        return;
    }
    flow->todo |= NHV_OP_BIT(RST);
    nhv_flow_queue(flow);
}

void nhv_conn_abort(NhvConn *conn)
{
    int side;

    conn->state = NHV_CONN_DEAD;
    conn_forget_successor(conn);
    for (side = 0; side < 2; side++) {
        NhvFlow *flow = &conn->flow[side];

        if (!(flow->todo & NHV_OP_BIT(REQUEST))) {
            nhv_flow_discard(flow);
        }
        flow_reset(flow);
    }
    conn_settle(conn);
}

/* @side sends no more and wants no more; the other gets the rest */
static void conn_end(NhvConn *conn, int side)
{
    conn->state = NHV_CONN_DEAD;
    nhv_flow_discard(&conn->flow[!side]);
    flow_reset(&conn->flow[side]);
    conn_settle(conn);
}

void nhv_conn_detach(NhvConn *conn, int side)
{
    conn_forget_successor(conn);
    nhv_flow_discard(&conn->flow[!side]);
    nhv_flow_dequeue(&conn->flow[side]);
    conn->port[side] = NULL;
    conn_end(conn, side);
}

void nhv_conn_fetched(NhvFlow *flow, uint16_t op)
{
    NhvConn *conn = flow->conn;
    int side = flow - conn->flow;

    if (op == VIRTIO_VSOCK_OP_REQUEST) {
        conn->asked = true;
    } else if (op == VIRTIO_VSOCK_OP_RESPONSE) {
        conn->answers++;
    } else if (op == VIRTIO_VSOCK_OP_RST) {
        conn->reset_seen[!side] = true;
    }
    conn_settle(conn);
}

/*
 * The requester closed its socket before it had the answer, and asks again
 * from the same port.  Linux' peer has one socket for both requests; the
 * answer to the first one is good for the second.  It may have been fetched
 * before the second socket was there, so it is sent once more.
 */
static void conn_ask_again(NhvConn *conn, int side, const NhvPacket *pkt)
{
    flow_credit(&conn->flow[side], &pkt->hdr);
    conn->stale_answers = conn->answers;
    if (conn->state == NHV_CONN_OPEN) {
        conn->flow[!side].todo |= NHV_OP_BIT(RESPONSE);
        nhv_flow_queue(&conn->flow[!side]);
    }
}

static void conn_succeed(NhvConn *conn, int side, const NhvPacket *pkt)
{
    conn_forget_successor(conn);
    conn->successor = conn_new(conn->sw, &conn->key, side, pkt);
    if (conn->state != NHV_CONN_DEAD) {
        conn_end(conn, side);
        return;
    }
    /* A reset for @side would end its new socket */
    nhv_flow_discard(&conn->flow[!side]);
    conn_settle(conn);
}

const char *nhv_conn_request(NhvConn *conn, int side,
                             const NhvPacket *pkt)
{
    bool mine = conn->requester == side;

    if (conn->state == NHV_CONN_REQUESTED && !mine) {
        nhv_conn_abort(conn);
        return "request crosses a request";
    }
    if (conn->state != NHV_CONN_DEAD && mine && !conn->spoken[side] &&
        (side == NHV_SIDE_PARENT || conn->parent_cid == pkt->hdr.dst_cid)) {
        conn_ask_again(conn, side, pkt);
    } else {
        conn_succeed(conn, side, pkt);
    }
    return NULL;
}

static const char *conn_response(NhvConn *conn, int side)
{
    if (conn->state != NHV_CONN_REQUESTED || side == conn->requester) {
        return "response without request";
    }
    conn->state = NHV_CONN_OPEN;
    conn->flow[side].todo |= NHV_OP_BIT(RESPONSE);
    return NULL;
}

static const char *conn_established(NhvConn *conn, int side,
                                    const NhvPacket *pkt)
{
    NhvFlow *flow = &conn->flow[side];

    if (conn->state != NHV_CONN_OPEN) {
        return "packet before response";
    }
    conn->spoken[side] = true;
    switch (pkt->hdr.op) {
    case VIRTIO_VSOCK_OP_RW:
        return flow->shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND ?
               "data after shutdown" : nhv_flow_put(flow, pkt);
    case VIRTIO_VSOCK_OP_SHUTDOWN:
        flow->shutdown |= pkt->hdr.flags & NHV_SHUTDOWN_BOTH;
        /* fall through */
    case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        flow->todo |= BIT(pkt->hdr.op);
        return NULL;
    default:
        return "unknown operation";
    }
}

/*
 * Linux answers a shutdown with a reset and sends another one when the
 * program closes the socket.  By then the ports may have a new connection,
 * which it must not end.  A refusal comes from no socket, so it announces no
 * buffer; a socket that ends has been shut down by one of the two sides.
 */
static bool reset_in_doubt(NhvConn *conn, int side, const NhvPacket *pkt)
{
    return pkt->hdr.buf_alloc && !conn->flow[side].shutdown &&
           conn->flow[!side].shutdown_seen != NHV_SHUTDOWN_BOTH;
}

/*
 * The requester refuses an answer that came for a socket it had closed.  When
 * another CPU of Linux sends the next request meanwhile, that comes first.
 */
static bool refuses_stale_answer(NhvConn *conn, int side)
{
    if (side != conn->requester || conn->spoken[side] ||
        !conn->stale_answers) {
        return false;
    }
    conn->stale_answers--;
    conn->answers--;
    return true;
}

static void conn_reset(NhvConn *conn, int side, const NhvPacket *pkt)
{
    if (conn->state == NHV_CONN_REQUESTED &&
        (side == conn->requester || !conn->asked)) {
        /* Too early for this connection; a response will show who is there */
        return;
    }
    if (refuses_stale_answer(conn, side)) {
        return;
    }
    if (reset_in_doubt(conn, side, pkt)) {
        if (conn->doubts[side]++ == MAX_DOUBTS) {
            /* A socket on @side that is there all the same must not stay */
            nhv_conn_abort(conn);
            return;
        }
        /* The answer is credit, or another reset if nobody is there */
        conn->flow[!side].todo |= NHV_OP_BIT(CREDIT_REQUEST);
        nhv_flow_queue(&conn->flow[!side]);
        return;
    }
    conn_end(conn, side);
}

/* Most come from before the reset was seen; others know of none */
static void conn_dead_input(NhvConn *conn, int side, uint16_t op)
{
    NhvFlow *to = &conn->flow[!side];

    if (op == VIRTIO_VSOCK_OP_RST) {
        return;
    }
    if (conn->successor && conn->successor->requester == side) {
        conn_forget_successor(conn);
        flow_reset(to);
    } else if (!conn->reset_seen[side] && !(to->todo & NHV_OP_BIT(RST))) {
        flow_reset(to);
    }
}

/*
 * An answer that comes before the request was fetched is to one of before,
 * which a refusal of something older has ended here.  Linux has a socket for
 * it, which ignores further requests; so it is the answer to this one.
 */
static void conn_answered(NhvConn *conn)
{
    if (!conn->asked) {
        conn->asked = true;
        nhv_flow_discard(&conn->flow[conn->requester]);
    }
}

const char *nhv_conn_input(NhvConn *conn, int side, const NhvPacket *pkt)
{
    uint16_t op = pkt->hdr.op;
    const char *why;

    if (conn->state == NHV_CONN_DEAD) {
        conn_dead_input(conn, side, op);
        return NULL;
    }
    if (op == VIRTIO_VSOCK_OP_RST) {
        conn_reset(conn, side, pkt);
        return NULL;
    }
    if (conn->state == NHV_CONN_REQUESTED && side != conn->requester) {
        if (op != VIRTIO_VSOCK_OP_RESPONSE) {
            /* From a connection of before, which has been reset */
            return NULL;
        }
        conn_answered(conn);
    }
    conn->doubts[side] = 0;
    flow_credit(&conn->flow[side], &pkt->hdr);
    why = op == VIRTIO_VSOCK_OP_RESPONSE ? conn_response(conn, side)
                                         : conn_established(conn, side, pkt);
    if (why) {
        nhv_conn_abort(conn);
    } else {
        nhv_flow_queue(&conn->flow[side]);
    }
    return why;
}
