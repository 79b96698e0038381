/*
 * vsock switch: connections and their two directions
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Internal to the switch.  A connection always has the parent at one end
 * (side NITRO_SIDE_PARENT) and an enclave or the console service at the
 * other.  Each direction is a flow: the stream data and the set of control
 * packets that the receiver has not fetched yet.  Control packets carry
 * nothing but the sender's latest state, so one bit per kind is enough and
 * no number of packets makes a flow grow.
 */

#ifndef NITRO_SWITCH_CONN_H
#define NITRO_SWITCH_CONN_H

#include "qemu/queue.h"
#include "ring.h"
#include "switch.h"

enum { NITRO_SIDE_PARENT, NITRO_SIDE_OTHER };

typedef struct NitroConn NitroConn;

typedef struct NitroFlow {
    NitroConn *conn;
    QTAILQ_ENTRY(NitroFlow) next;
    bool queued;                /* is on the receiver's list */
    uint32_t todo;              /* bit per VIRTIO_VSOCK_OP_* */
    uint32_t shutdown;          /* VIRTIO_VSOCK_SHUTDOWN_* seen so far */
    uint32_t buf_alloc;         /* credit state of the sender */
    uint32_t fwd_cnt;
    NitroRing data;
} NitroFlow;

typedef struct NitroConnKey {
    uint32_t cid;               /* the end that is not the parent */
    uint32_t port;
    uint32_t parent_port;
} NitroConnKey;

typedef enum NitroConnState {
    NITRO_CONN_REQUESTED,
    NITRO_CONN_OPEN,
    NITRO_CONN_DEAD,            /* only a reset is left to deliver */
} NitroConnState;

struct NitroConn {
    NitroConnKey key;
    NitroSwitch *sw;
    NitroSwitchPort *port[2];   /* by side; NULL once detached */
    NitroConnState state;
    int requester;              /* side that sent the request */
    NitroFlow flow[2];          /* indexed by the sending side */
};

struct NitroSwitch {
    GHashTable *ports;          /* CID -> NitroSwitchPort */
    GHashTable *conns;          /* NitroConnKey -> NitroConn */
    NitroSwitchReport *report;
    void *opaque;
};

struct NitroSwitchPort {
    NitroSwitch *sw;
    uint32_t cid;
    unsigned int nr_conns;
    NitroSwitchReady *ready;
    void *opaque;
    QTAILQ_HEAD(, NitroFlow) flows;     /* flows with something to fetch */
    GQueue resets;                      /* struct virtio_vsock_hdr */
};

/* One received packet; header in host byte order */
typedef struct NitroPacket {
    struct virtio_vsock_hdr hdr;
    const struct iovec *iov;
    unsigned int iov_cnt;
} NitroPacket;

NitroSwitchPort *nitro_switch_port(NitroSwitch *sw, uint32_t cid);
void nitro_switch_report(NitroSwitchPort *port, const char *what);

/* Hash table helpers for NitroConnKey */
guint nitro_conn_hash(gconstpointer key);
gboolean nitro_conn_equal(gconstpointer a, gconstpointer b);
void nitro_conn_destroy(gpointer conn);

/**
 * nitro_conn_open: record a request and queue it for its receiver
 * @sw: the switch
 * @key: ends, both attached; no connection with this key exists
 * @side: side that sent @pkt
 * @pkt: the request
 */
void nitro_conn_open(NitroSwitch *sw, const NitroConnKey *key, int side,
                     const NitroPacket *pkt);

/**
 * nitro_conn_input: take a packet of an existing, live connection
 * @conn: the connection; may be gone when the function returns
 * @side: side that sent @pkt
 * @pkt: any packet but a request
 *
 * Returns: NULL, or what was wrong with the packet; the connection was then
 * reset towards both ends.
 */
const char *nitro_conn_input(NitroConn *conn, int side,
                             const NitroPacket *pkt);

/**
 * nitro_conn_abort: reset a connection towards both ends
 * @conn: the connection; may be gone when the function returns
 */
void nitro_conn_abort(NitroConn *conn);

/**
 * nitro_conn_detach: the endpoint on one side goes away
 * @conn: the connection; may be gone when the function returns
 * @side: the side whose port is about to be freed
 */
void nitro_conn_detach(NitroConn *conn, int side);

/**
 * nitro_flow_emit: fetch one packet from a flow
 * @flow: a queued flow, the first one on its receiver's list
 * @iov: destination, room for a header and at least one byte
 * @iov_cnt: number of elements in @iov
 *
 * Returns: bytes stored, never 0.  Requeues or dequeues the flow and frees
 * the connection behind its last reset.
 */
size_t nitro_flow_emit(NitroFlow *flow, const struct iovec *iov,
                       unsigned int iov_cnt);

#endif
