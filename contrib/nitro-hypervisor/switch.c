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

NitroSwitchPort *nitro_switch_port(NitroSwitch *sw, uint32_t cid)
{
    return g_hash_table_lookup(sw->ports, GUINT_TO_POINTER(cid));
}

void nitro_switch_report(NitroSwitchPort *port, const char *what)
{
    NitroSwitch *sw = port->sw;

    if (sw->report) {
        sw->report(sw->opaque, port->cid, what);
    }
}

NitroSwitch *nitro_switch_new(NitroSwitchReport *report, void *opaque)
{
    NitroSwitch *sw = g_new0(NitroSwitch, 1);

    sw->report = report;
    sw->opaque = opaque;
    sw->ports = g_hash_table_new(NULL, NULL);
    sw->conns = g_hash_table_new_full(nitro_conn_hash, nitro_conn_equal, NULL,
                                      nitro_conn_destroy);
    return sw;
}

void nitro_switch_free(NitroSwitch *sw)
{
    if (!sw) {
        return;
    }
    assert(g_hash_table_size(sw->ports) == 0);
    g_hash_table_unref(sw->conns);
    g_hash_table_unref(sw->ports);
    g_free(sw);
}

NitroSwitchPort *nitro_switch_attach(NitroSwitch *sw, uint32_t cid,
                                     NitroSwitchReady *ready, void *opaque)
{
    NitroSwitchPort *port;

    if (nitro_switch_in_use(sw, cid)) {
        return NULL;
    }
    port = g_new0(NitroSwitchPort, 1);
    port->sw = sw;
    port->cid = cid;
    port->ready = ready;
    port->opaque = opaque;
    QTAILQ_INIT(&port->flows);
    g_queue_init(&port->resets);
    g_hash_table_insert(sw->ports, GUINT_TO_POINTER(cid), port);
    return port;
}

static GPtrArray *port_connections(NitroSwitchPort *port)
{
    GPtrArray *found = g_ptr_array_new();
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, port->sw->conns);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        NitroConn *conn = value;

        if (port->cid == NITRO_CID_PARENT || port->cid == conn->key.cid) {
            g_ptr_array_add(found, conn);
        }
    }
    return found;
}

void nitro_switch_detach(NitroSwitchPort *port)
{
    g_autoptr(GPtrArray) conns = port_connections(port);
    int side = port->cid == NITRO_CID_PARENT ? NITRO_SIDE_PARENT
                                             : NITRO_SIDE_OTHER;
    unsigned int i;

    for (i = 0; i < conns->len; i++) {
        nitro_conn_detach(g_ptr_array_index(conns, i), side);
    }
    assert(QTAILQ_EMPTY(&port->flows));
    g_hash_table_remove(port->sw->ports, GUINT_TO_POINTER(port->cid));
    g_queue_clear_full(&port->resets, g_free);
    g_free(port);
}

bool nitro_switch_in_use(NitroSwitch *sw, uint32_t cid)
{
    return nitro_switch_port(sw, cid) != NULL;
}

unsigned int nitro_switch_connections(NitroSwitch *sw)
{
    return g_hash_table_size(sw->conns);
}

static bool packet_parse(NitroSwitchPort *port, NitroPacket *pkt,
                         const struct iovec *iov, unsigned int iov_cnt)
{
    struct virtio_vsock_hdr *hdr = &pkt->hdr;

    pkt->iov = iov;
    pkt->iov_cnt = iov_cnt;
    if (iov_to_buf(iov, iov_cnt, 0, hdr, sizeof(*hdr)) != sizeof(*hdr)) {
        nitro_switch_report(port, "packet shorter than its header");
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
        nitro_switch_report(port, "packet with a foreign source CID dropped");
        return false;
    }
    return true;
}

/* Answer a packet that belongs to no connection */
static void refuse(NitroSwitchPort *port, const NitroPacket *pkt)
{
    const struct virtio_vsock_hdr *hdr = &pkt->hdr;
    struct virtio_vsock_hdr *reset;

    if (hdr->op == VIRTIO_VSOCK_OP_RST) {
        return;
    }
    if (g_queue_get_length(&port->resets) >= NITRO_SWITCH_MAX_RESETS) {
        nitro_switch_report(port, "too many refused packets, reset dropped");
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

/* Exactly one end is the parent, so enclaves cannot reach each other */
static bool packet_key(const NitroPacket *pkt, NitroConnKey *key, int *side)
{
    const struct virtio_vsock_hdr *hdr = &pkt->hdr;
    bool from_parent = hdr->src_cid == NITRO_CID_PARENT;

    if (from_parent == (hdr->dst_cid == NITRO_CID_PARENT) ||
        hdr->dst_cid > UINT32_MAX) {
        return false;
    }
    *side = from_parent ? NITRO_SIDE_PARENT : NITRO_SIDE_OTHER;
    key->cid = from_parent ? hdr->dst_cid : hdr->src_cid;
    key->port = from_parent ? hdr->dst_port : hdr->src_port;
    key->parent_port = from_parent ? hdr->src_port : hdr->dst_port;
    return true;
}

static const char *packet_defect(const NitroPacket *pkt)
{
    size_t payload = iov_size(pkt->iov, pkt->iov_cnt) - sizeof(pkt->hdr);

    if (pkt->hdr.type != VIRTIO_VSOCK_TYPE_STREAM) {
        return "packet of a type that was not offered";
    }
    if (pkt->hdr.len > payload) {
        return "packet shorter than the length in its header";
    }
    if (pkt->hdr.len > NITRO_SWITCH_MAX_PKT) {
        return "packet longer than 64 KiB";
    }
    if (pkt->hdr.op == VIRTIO_VSOCK_OP_INVALID ||
        pkt->hdr.op > VIRTIO_VSOCK_OP_CREDIT_REQUEST) {
        return "packet with an unknown operation";
    }
    return NULL;
}

static void request(NitroSwitchPort *port, const NitroConnKey *key, int side,
                    const NitroPacket *pkt)
{
    NitroSwitchPort *to = nitro_switch_port(port->sw, pkt->hdr.dst_cid);
    NitroSwitchPort *other = side == NITRO_SIDE_OTHER ? port : to;

    if (!to) {
        refuse(port, pkt);
    } else if (other->nr_conns >= NITRO_SWITCH_MAX_CONNS) {
        nitro_switch_report(port, "too many connections, request refused");
        refuse(port, pkt);
    } else {
        nitro_conn_open(port->sw, key, side, pkt);
    }
}

static void known_packet(NitroSwitchPort *port, NitroConn *conn, int side,
                         const NitroPacket *pkt, const char *defect)
{
    if (conn->state == NITRO_CONN_DEAD) {
        /* This end has a reset coming, or has sent one */
        if (pkt->hdr.op == VIRTIO_VSOCK_OP_REQUEST) {
            refuse(port, pkt);
        }
        return;
    }
    if (!defect && pkt->hdr.op == VIRTIO_VSOCK_OP_REQUEST) {
        defect = "request for an open connection";
    }
    if (defect) {
        nitro_conn_abort(conn);
    } else {
        defect = nitro_conn_input(conn, side, pkt);
    }
    if (defect) {
        nitro_switch_report(port, defect);
    }
}

void nitro_switch_send(NitroSwitchPort *port, const struct iovec *iov,
                       unsigned int iov_cnt)
{
    NitroPacket pkt;
    NitroConnKey key;
    NitroConn *conn;
    const char *defect;
    int side;

    if (!packet_parse(port, &pkt, iov, iov_cnt)) {
        return;
    }
    if (!packet_key(&pkt, &key, &side)) {
        refuse(port, &pkt);
        return;
    }
    defect = packet_defect(&pkt);
    conn = g_hash_table_lookup(port->sw->conns, &key);
    if (conn) {
        known_packet(port, conn, side, &pkt, defect);
    } else if (defect) {
        nitro_switch_report(port, defect);
        refuse(port, &pkt);
    } else if (pkt.hdr.op == VIRTIO_VSOCK_OP_REQUEST) {
        request(port, &key, side, &pkt);
    } else {
        refuse(port, &pkt);
    }
}

bool nitro_switch_pending(NitroSwitchPort *port)
{
    return !QTAILQ_EMPTY(&port->flows) || !g_queue_is_empty(&port->resets);
}

size_t nitro_switch_receive(NitroSwitchPort *port, const struct iovec *iov,
                            unsigned int iov_cnt)
{
    g_autofree struct virtio_vsock_hdr *reset = NULL;

    if (!nitro_switch_pending(port) ||
        iov_size(iov, iov_cnt) <= sizeof(*reset)) {
        return 0;
    }
    reset = g_queue_pop_head(&port->resets);
    if (reset) {
        return iov_from_buf(iov, iov_cnt, 0, reset, sizeof(*reset));
    }
    return nitro_flow_emit(QTAILQ_FIRST(&port->flows), iov, iov_cnt);
}
