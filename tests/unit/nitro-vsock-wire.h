/*
 * Packets as guests send them, for tests of the vsock switch
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NITRO_VSOCK_WIRE_H
#define NITRO_VSOCK_WIRE_H

#include "qemu/bswap.h"
#include "contrib/nitro-hypervisor/switch-conn.h"

typedef struct virtio_vsock_hdr VsockHdr;

/*
 * Header in host byte order, stream type, window as Linux announces it: a
 * reset from no socket has none.
 */
static inline VsockHdr wire_hdr(uint16_t op, uint32_t src_cid,
                                uint32_t src_port, uint32_t dst_cid,
                                uint32_t dst_port)
{
    return (VsockHdr) {
        .src_cid = src_cid, .src_port = src_port,
        .dst_cid = dst_cid, .dst_port = dst_port,
        .op = op, .type = VIRTIO_VSOCK_TYPE_STREAM,
        .buf_alloc = op == VIRTIO_VSOCK_OP_RST ? 0 : NHV_SWITCH_WINDOW,
    };
}

static inline void wire_swap(VsockHdr *h)
{
    h->src_cid = cpu_to_le64(h->src_cid);
    h->dst_cid = cpu_to_le64(h->dst_cid);
    h->src_port = cpu_to_le32(h->src_port);
    h->dst_port = cpu_to_le32(h->dst_port);
    h->len = cpu_to_le32(h->len);
    h->type = cpu_to_le16(h->type);
    h->op = cpu_to_le16(h->op);
    h->flags = cpu_to_le32(h->flags);
    h->buf_alloc = cpu_to_le32(h->buf_alloc);
    h->fwd_cnt = cpu_to_le32(h->fwd_cnt);
}

/* Send @hdr with @len bytes of @data, header split over two pieces */
static inline void wire_send(NhvSwitchPort *port, VsockHdr hdr,
                             const void *data, size_t len)
{
    struct iovec iov[3] = {
        { .iov_base = &hdr, .iov_len = 13 },
        { .iov_base = (uint8_t *)&hdr + 13, .iov_len = sizeof(hdr) - 13 },
        { .iov_base = (void *)data, .iov_len = len },
    };

    hdr.len = hdr.len ? hdr.len : len;
    wire_swap(&hdr);
    nhv_switch_send(port, iov, ARRAY_SIZE(iov));
}

/* Fetch one packet; op 0 when there is none.  Payload goes to @data */
static inline VsockHdr wire_receive(NhvSwitchPort *port, void *data,
                                    size_t size)
{
    VsockHdr hdr = { 0 };
    uint8_t spare[1];
    struct iovec iov[2] = {
        { .iov_base = &hdr, .iov_len = sizeof(hdr) },
        { .iov_base = data ? data : spare, .iov_len = data ? size : 1 },
    };
    size_t got = nhv_switch_receive(port, iov, ARRAY_SIZE(iov));

    wire_swap(&hdr);
    if (got) {
        g_assert_cmpuint(got, ==, sizeof(hdr) + hdr.len);
    }
    return hdr;
}

/* Connections that the switch knows */
static inline unsigned wire_connections(NhvSwitch *sw)
{
    return g_hash_table_size(sw->conns);
}

#endif
