/*
 * vsock switch: endpoints, addressing and refusals
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "switch-conn.h"

static void switch_report(NhvSwitchPort *port, const char *what)
{
    NhvSwitch *sw = port->sw;

    if (sw->report) {
        sw->report(sw->opaque, port->cid, what);
    }
}

NhvSwitch *nhv_switch_new(unsigned int max_conns,
                          NhvSwitchReport *report, void *opaque)
{
    NhvSwitch *sw = g_new0(NhvSwitch, 1);

    nhv_conn_hash_init();
    sw->max_conns = max_conns;
    sw->max_queued = NHV_SWITCH_MAX_QUEUED;
    sw->report = report;
    sw->opaque = opaque;
    sw->ports = g_hash_table_new(NULL, NULL);
    sw->conns = g_hash_table_new_full(nhv_conn_hash, nhv_conn_equal, NULL,
                                      nhv_conn_destroy);
    return sw;
}

void nhv_switch_free(NhvSwitch *sw)
{
    if (!sw) {
        return;
    }
    assert(g_hash_table_size(sw->ports) == 0);
    g_hash_table_unref(sw->conns);
    g_hash_table_unref(sw->ports);
    g_free(sw);
}

NhvSwitchPort *nhv_switch_attach(NhvSwitch *sw, uint32_t cid,
                                 NhvSwitchReady *ready, void *opaque)
{
    NhvSwitchPort *port;

    if (nhv_switch_port(sw, cid)) {
        return NULL;
    }
    port = g_new0(NhvSwitchPort, 1);
    port->sw = sw;
    port->cid = cid;
    port->ready = ready;
    port->opaque = opaque;
    QTAILQ_INIT(&port->in.flows);
    QTAILQ_INIT(&port->out.flows);
    QTAILQ_INIT(&port->queues);
    g_queue_init(&port->resets);
    g_hash_table_insert(sw->ports, GUINT_TO_POINTER(cid), port);
    return port;
}

static GPtrArray *port_connections(NhvSwitchPort *port)
{
    GPtrArray *found = g_ptr_array_new();
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, port->sw->conns);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        NhvConn *conn = value;

        if (port->cid == NITRO_CID_PARENT || port->cid == conn->key.cid) {
            g_ptr_array_add(found, conn);
        }
    }
    return found;
}

void nhv_switch_detach(NhvSwitchPort *port)
{
    g_autoptr(GPtrArray) conns = port_connections(port);
    int side = port->cid == NITRO_CID_PARENT ? NHV_SIDE_PARENT
                                             : NHV_SIDE_OTHER;
    unsigned int i;

    for (i = 0; i < conns->len; i++) {
        nhv_conn_detach(g_ptr_array_index(conns, i), side);
    }
    assert(QTAILQ_EMPTY(&port->queues) && !port->out.receiver);
    g_hash_table_remove(port->sw->ports, GUINT_TO_POINTER(port->cid));
    g_queue_clear_full(&port->resets, g_free);
    g_free(port);
}

static bool packet_parse(NhvSwitchPort *port, NhvPacket *pkt,
                         const struct iovec *iov, unsigned int iov_cnt)
{
    struct virtio_vsock_hdr *hdr = &pkt->hdr;

    pkt->iov = iov;
    pkt->iov_cnt = iov_cnt;
    if (iov_to_buf(iov, iov_cnt, 0, hdr, sizeof(*hdr)) != sizeof(*hdr)) {
        switch_report(port, "packet shorter than its header");
        return false;
    }
    hdr->src_cid = le64_to_cpu(hdr->src_cid);
    hdr->dst_cid = le64_to_cpu(hdr->dst_cid);
    hdr->src_port = le32_to_cpu(hdr->src_port);
    hdr->dst_port = le32_to_cpu(hdr->dst_port);
    hdr->len = le32_to_cpu(hdr->len);
    hdr->type = le16_to_cpu(hdr->type);
    hdr->op = le16_to_cpu(hdr->op);
    hdr->flags = le32_to_cpu(hdr->flags);
    hdr->buf_alloc = le32_to_cpu(hdr->buf_alloc);
    hdr->fwd_cnt = le32_to_cpu(hdr->fwd_cnt);
    if (hdr->src_cid != port->cid) {
        switch_report(port, "packet with a foreign source CID dropped");
        return false;
    }
    return true;
}

/* Answer a packet that belongs to no connection */
static void switch_refuse(NhvSwitchPort *port, const NhvPacket *pkt)
{
    const struct virtio_vsock_hdr *hdr = &pkt->hdr;
    struct virtio_vsock_hdr *reset;

    if (hdr->op == VIRTIO_VSOCK_OP_RST) {
        return;
    }
    if (g_queue_get_length(&port->resets) >= NHV_SWITCH_MAX_RESETS) {
        switch_report(port, "too many refused packets, reset dropped");
        return;
    }
    reset = g_new0(struct virtio_vsock_hdr, 1);
    reset->src_cid = cpu_to_le64(hdr->dst_cid);
    reset->dst_cid = cpu_to_le64(hdr->src_cid);
    reset->src_port = cpu_to_le32(hdr->dst_port);
    reset->dst_port = cpu_to_le32(hdr->src_port);
    reset->type = cpu_to_le16(hdr->type);
    reset->op = cpu_to_le16(VIRTIO_VSOCK_OP_RST);
    g_queue_push_tail(&port->resets, reset);
    port->ready(port->opaque);
}

/* A new attempt must not be ended by the reset of an old one */
static void forget_refusals(NhvSwitchPort *port, const NhvPacket *pkt)
{
    GList *link = port->resets.head;

    while (link) {
        const struct virtio_vsock_hdr *reset = link->data;
        GList *next = link->next;

        if (le64_to_cpu(reset->src_cid) == pkt->hdr.dst_cid &&
            le32_to_cpu(reset->src_port) == pkt->hdr.dst_port &&
            le32_to_cpu(reset->dst_port) == pkt->hdr.src_port) {
            g_free(link->data);
            g_queue_delete_link(&port->resets, link);
        }
        link = next;
    }
}

static bool is_parent(uint64_t cid)
{
    return cid == NITRO_CID_PARENT || cid == NITRO_CID_HOST;
}

/* Exactly one end is the parent, so enclaves cannot reach each other */
static bool packet_key(const NhvPacket *pkt, NhvConnKey *key, int *side)
{
    const struct virtio_vsock_hdr *hdr = &pkt->hdr;
    bool from_parent = hdr->src_cid == NITRO_CID_PARENT;

    if (from_parent == is_parent(hdr->dst_cid) ||
        hdr->dst_cid > UINT32_MAX) {
        return false;
    }
    *side = from_parent ? NHV_SIDE_PARENT : NHV_SIDE_OTHER;
    key->cid = from_parent ? hdr->dst_cid : hdr->src_cid;
    key->port = from_parent ? hdr->dst_port : hdr->src_port;
    key->parent_port = from_parent ? hdr->src_port : hdr->dst_port;
    return true;
}

static const char *packet_defect(const NhvPacket *pkt)
{
    size_t payload = iov_size(pkt->iov, pkt->iov_cnt) - sizeof(pkt->hdr);

    if (pkt->hdr.type != VIRTIO_VSOCK_TYPE_STREAM) {
        return "packet of a type that was not offered";
    }
    if (pkt->hdr.len > payload) {
        return "packet shorter than the length in its header";
    }
    if (pkt->hdr.len > NHV_SWITCH_MAX_PKT) {
        return "packet longer than 64 KiB";
    }
    if (pkt->hdr.op == VIRTIO_VSOCK_OP_INVALID ||
        pkt->hdr.op > VIRTIO_VSOCK_OP_CREDIT_REQUEST) {
        return "packet with an unknown operation";
    }
    return NULL;
}

static bool too_many(NhvSwitchPort *port)
{
    g_autofree char *text = NULL;

    if (port->nr_conns < port->sw->max_conns) {
        return false;
    }
    text = g_strdup_printf("has %u connections, request refused; the limit "
                           "is --max-connections", port->nr_conns);
    switch_report(port, text);
    return true;
}

/* Returns: what was wrong with the packet, or NULL */
static const char *switch_request(NhvSwitchPort *port, NhvConn *conn,
                                  const NhvConnKey *key, int side,
                                  const NhvPacket *pkt)
{
    NhvSwitchPort *to = nhv_switch_port(port->sw, side == NHV_SIDE_OTHER
                                        ? NITRO_CID_PARENT : key->cid);
    NhvSwitchPort *other = side == NHV_SIDE_OTHER ? port : to;

    if (!to || (!conn && too_many(other))) {
        switch_refuse(port, pkt);
        return NULL;
    }
    forget_refusals(port, pkt);
    if (conn) {
        return nhv_conn_request(conn, side, pkt);
    }
    nhv_conn_open(port->sw, key, side, pkt);
    return NULL;
}

/* The other end knows the parent by one of its names only */
static bool is_of(NhvConn *conn, int side, const NhvPacket *pkt)
{
    return side == NHV_SIDE_PARENT || conn->parent_cid == pkt->hdr.dst_cid;
}

static const char *packet_input(NhvSwitchPort *port,
                                const NhvConnKey *key, int side,
                                const NhvPacket *pkt)
{
    NhvConn *conn = g_hash_table_lookup(port->sw->conns, key);
    const char *defect = packet_defect(pkt);

    if (conn && !is_of(conn, side, pkt) &&
        pkt->hdr.op != VIRTIO_VSOCK_OP_REQUEST) {
        conn = NULL;
    }
    if (defect && conn && conn->state != NHV_CONN_DEAD) {
        nhv_conn_abort(conn);
    } else if (defect) {
        switch_refuse(port, pkt);
    } else if (pkt->hdr.op == VIRTIO_VSOCK_OP_REQUEST) {
        return switch_request(port, conn, key, side, pkt);
    } else if (conn) {
        return nhv_conn_input(conn, side, pkt);
    } else {
        switch_refuse(port, pkt);
    }
    return defect;
}

void nhv_switch_send(NhvSwitchPort *port, const struct iovec *iov,
                     unsigned int iov_cnt)
{
    NhvPacket pkt;
    NhvConnKey key;
    const char *defect;
    int side;

    if (!packet_parse(port, &pkt, iov, iov_cnt)) {
        return;
    }
    if (!packet_key(&pkt, &key, &side)) {
        switch_refuse(port, &pkt);
        return;
    }
    defect = packet_input(port, &key, side, &pkt);
    if (defect) {
        switch_report(port, defect);
    }
}

bool nhv_switch_pending(NhvSwitchPort *port)
{
    return !QTAILQ_EMPTY(&port->queues) || !g_queue_is_empty(&port->resets);
}

size_t nhv_switch_receive(NhvSwitchPort *port, const struct iovec *iov,
                          unsigned int iov_cnt)
{
    g_autofree struct virtio_vsock_hdr *reset = NULL;
    NhvFlow *flow;
    uint16_t op;
    size_t len;

    if (!nhv_switch_pending(port) ||
        iov_size(iov, iov_cnt) <= sizeof(*reset)) {
        return 0;
    }
    reset = g_queue_pop_head(&port->resets);
    if (reset) {
        return iov_from_buf(iov, iov_cnt, 0, reset, sizeof(*reset));
    }
    len = nhv_port_emit(port, iov, iov_cnt, &flow, &op);
    nhv_conn_fetched(flow, op);
    return len;
}
