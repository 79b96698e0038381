/*
 * vsock switch: what waits to be fetched
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "switch-conn.h"

/* Side that sends what is in @flow */
static int flow_sender(NhvFlow *flow)
{
    return flow == &flow->conn->flow[NHV_SIDE_PARENT] ? NHV_SIDE_PARENT
                                                        : NHV_SIDE_OTHER;
}

bool nhv_flow_empty(NhvFlow *flow)
{
    return !flow->todo && !flow->data.used;
}

/* What an enclave has left when it ends waits in the parent's own queue */
static NhvQueue *flow_home(NhvFlow *flow)
{
    NhvSwitchPort *other = flow->conn->port[NHV_SIDE_OTHER];

    if (flow_sender(flow) == NHV_SIDE_PARENT) {
        return &other->in;
    }
    return other ? &other->out : &flow->conn->port[NHV_SIDE_PARENT]->in;
}

static void queue_add(NhvQueue *queue, NhvSwitchPort *receiver,
                      NhvFlow *flow)
{
    QTAILQ_INSERT_TAIL(&queue->flows, flow, next);
    flow->queue = queue;
    if (!queue->receiver) {
        queue->receiver = receiver;
        QTAILQ_INSERT_TAIL(&receiver->queues, queue, next);
    }
}

void nhv_flow_dequeue(NhvFlow *flow)
{
    NhvQueue *queue = g_steal_pointer(&flow->queue);

    if (!queue) {
        return;
    }
    QTAILQ_REMOVE(&queue->flows, flow, next);
    if (QTAILQ_EMPTY(&queue->flows)) {
        QTAILQ_REMOVE(&queue->receiver->queues, queue, next);
        queue->receiver = NULL;
    }
}

bool nhv_switch_is_full(NhvSwitchPort *port)
{
    /* One more packet may double the memory of one flow */
    return port->queued[NHV_SIDE_OTHER] >
           port->sw->max_queued - NHV_SWITCH_WINDOW;
}

/* The ring has changed: account for it, let a sender go on that had to wait */
static void flow_charge(NhvFlow *flow, size_t capacity_before)
{
    NhvSwitchPort *port = flow->conn->port[NHV_SIDE_OTHER];
    bool was_full;

    if (!port || flow->data.capacity == capacity_before) {
        return;
    }
    was_full = nhv_switch_is_full(port);
    port->queued[flow_sender(flow)] += flow->data.capacity;
    port->queued[flow_sender(flow)] -= capacity_before;
    if (was_full && !nhv_switch_is_full(port)) {
        port->ready(port->opaque);
    }
}

void nhv_flow_discard(NhvFlow *flow)
{
    size_t capacity = flow->data.capacity;

    nhv_flow_dequeue(flow);
    flow->todo = 0;
    nhv_ring_clear(&flow->data);
    flow_charge(flow, capacity);
}

void nhv_flow_queue(NhvFlow *flow)
{
    NhvSwitchPort *port = flow->conn->port[!flow_sender(flow)];

    if (!port) {
        nhv_flow_discard(flow);
        return;
    }
    if (!flow->queue && !nhv_flow_empty(flow)) {
        queue_add(flow_home(flow), port, flow);
    }
    port->ready(port->opaque);
}

const char *nhv_flow_put(NhvFlow *flow, const NhvPacket *pkt)
{
    NhvSwitchPort *port = flow->conn->port[NHV_SIDE_OTHER];
    size_t capacity = flow->data.capacity;
    size_t queued = port->queued[flow_sender(flow)];

    if (nhv_ring_growth(&flow->data, pkt->hdr.len) >
        port->sw->max_queued - queued) {
        return "256 MiB wait to be fetched, connection reset";
    }
    if (!nhv_ring_put(&flow->data, pkt->iov, pkt->iov_cnt, sizeof(pkt->hdr),
                      pkt->hdr.len, NHV_SWITCH_WINDOW)) {
        return "data beyond the receiver's credit";
    }
    flow_charge(flow, capacity);
    return NULL;
}

/* Setup first, then the stream, then what ends it */
static uint16_t flow_next_op(NhvFlow *flow)
{
    static const uint16_t order[] = {
        VIRTIO_VSOCK_OP_CREDIT_REQUEST,
        VIRTIO_VSOCK_OP_SHUTDOWN,
        VIRTIO_VSOCK_OP_RST,
        VIRTIO_VSOCK_OP_CREDIT_UPDATE,
    };
    int i;

    if (flow->todo & (NHV_OP_BIT(REQUEST) | NHV_OP_BIT(RESPONSE))) {
        return flow->todo & NHV_OP_BIT(REQUEST) ? VIRTIO_VSOCK_OP_REQUEST
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

static void flow_header(NhvFlow *flow, struct virtio_vsock_hdr *hdr,
                        uint16_t op, uint32_t len)
{
    NhvConn *conn = flow->conn;
    NhvConnKey *key = &conn->key;
    bool from_parent = flow_sender(flow) == NHV_SIDE_PARENT;
    uint32_t shutdown = op == VIRTIO_VSOCK_OP_SHUTDOWN ? flow->shutdown : 0;

    *hdr = (struct virtio_vsock_hdr) {
        .src_cid = cpu_to_le64(from_parent ? conn->parent_cid : key->cid),
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

static size_t flow_take_data(NhvFlow *flow, const struct iovec *iov,
                             unsigned int iov_cnt)
{
    size_t capacity = flow->data.capacity;
    size_t len = nhv_ring_get(&flow->data, iov, iov_cnt,
                              sizeof(struct virtio_vsock_hdr),
                              NHV_SWITCH_MAX_PKT);

    flow_charge(flow, capacity);
    return len;
}

static size_t flow_emit(NhvFlow *flow, const struct iovec *iov,
                        unsigned int iov_cnt, uint16_t op)
{
    struct virtio_vsock_hdr hdr;
    size_t len = 0;

    if (op == VIRTIO_VSOCK_OP_RW) {
        len = flow_take_data(flow, iov, iov_cnt);
    } else if (op == VIRTIO_VSOCK_OP_SHUTDOWN) {
        flow->shutdown_seen = flow->shutdown;
    }
    flow_header(flow, &hdr, op, len);
    iov_from_buf(iov, iov_cnt, 0, &hdr, sizeof(hdr));

    /* Every packet carries the credit state */
    flow->todo &= ~(BIT(op) | NHV_OP_BIT(CREDIT_UPDATE));
    nhv_flow_dequeue(flow);
    if (!nhv_flow_empty(flow)) {
        nhv_flow_queue(flow);
    }
    return sizeof(hdr) + len;
}

size_t nhv_port_emit(NhvSwitchPort *port, const struct iovec *iov,
                     unsigned int iov_cnt, NhvFlow **flow, uint16_t *op)
{
    NhvQueue *queue = QTAILQ_FIRST(&port->queues);

    /* The next packet comes from another queue */
    QTAILQ_REMOVE(&port->queues, queue, next);
    QTAILQ_INSERT_TAIL(&port->queues, queue, next);
    *flow = QTAILQ_FIRST(&queue->flows);
    *op = flow_next_op(*flow);
    return flow_emit(*flow, iov, iov_cnt, *op);
}
