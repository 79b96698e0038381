/*
 * vsock switch: connections and their two directions
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Internal to the switch.  A connection always has the parent at one end
 * (side NHV_SIDE_PARENT) and an enclave or the console service at the
 * other.  Each direction is a flow: the stream data and the set of control
 * packets that the receiver has not fetched yet.  Control packets carry
 * nothing but the sender's latest state, so one bit per kind is enough and
 * no number of packets makes a flow grow.
 *
 * Flows wait in queues.  An enclave fetches from one queue; the parent
 * fetches from one per enclave, in turn, so that an enclave with many
 * connections gets no larger share than one with a single connection.
 */

#ifndef NHV_SWITCH_CONN_H
#define NHV_SWITCH_CONN_H

#include "qemu/bitops.h"
#include "qemu/queue.h"
#include "ring.h"
#include "switch.h"

enum { NHV_SIDE_PARENT, NHV_SIDE_OTHER };

#define NHV_SHUTDOWN_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | \
                           VIRTIO_VSOCK_SHUTDOWN_SEND)

/* Bit of an operation in NhvFlow.todo */
#define NHV_OP_BIT(name) BIT(VIRTIO_VSOCK_OP_ ## name)

typedef struct NhvConn NhvConn;
typedef struct NhvQueue NhvQueue;

typedef struct NhvFlow {
    NhvConn *conn;
    QTAILQ_ENTRY(NhvFlow) next;
    NhvQueue *queue;            /* where it waits, or NULL */
    uint32_t todo;              /* bit per VIRTIO_VSOCK_OP_* */
    uint32_t shutdown;          /* VIRTIO_VSOCK_SHUTDOWN_* seen so far */
    uint32_t shutdown_seen;     /* the part that the receiver has fetched */
    uint32_t buf_alloc;         /* credit state of the sender */
    uint32_t fwd_cnt;
    NhvRing data;
} NhvFlow;

/* Flows with something to fetch */
struct NhvQueue {
    QTAILQ_HEAD(, NhvFlow) flows;
    NhvSwitchPort *receiver;    /* on whose list it is, or NULL */
    QTAILQ_ENTRY(NhvQueue) next;
};

typedef struct NhvConnKey {
    uint32_t cid;               /* the end that is not the parent */
    uint32_t port;
    uint32_t parent_port;
} NhvConnKey;

typedef enum NhvConnState {
    NHV_CONN_REQUESTED,
    NHV_CONN_OPEN,
    NHV_CONN_DEAD,              /* only the rest and a reset to deliver */
} NhvConnState;

struct NhvConn {
    NhvConnKey key;
    uint32_t parent_cid;        /* CID by which the other end knows it */
    NhvSwitch *sw;
    NhvSwitchPort *port[2];     /* by side; NULL once detached */
    NhvConn *successor;         /* opened as soon as this one is settled */
    NhvConnState state;
    int requester;              /* side that sent the request */
    unsigned int doubts[2];     /* by side: resets not believed, in a row */
    unsigned int answers;       /* fetched by the requester, not refused */
    unsigned int stale_answers; /* of these, before its last request */
    bool asked;                 /* the request was fetched */
    bool spoken[2];             /* by side: has used the connection */
    bool reset_seen[2];         /* by side: has fetched a reset */
    NhvFlow flow[2];            /* indexed by the sending side */
};

struct NhvSwitch {
    GHashTable *ports;          /* CID -> NhvSwitchPort */
    GHashTable *conns;          /* NhvConnKey -> NhvConn */
    unsigned int max_conns;
    size_t max_queued;          /* NHV_SWITCH_MAX_QUEUED; tests have less */
    NhvSwitchReport *report;
    void *opaque;
};

struct NhvSwitchPort {
    NhvSwitch *sw;
    uint32_t cid;
    unsigned int nr_conns;
    size_t queued[2];           /* bytes of its flows, by sending side */
    NhvSwitchReady *ready;
    void *opaque;
    NhvQueue in;                /* to it; the parent: from enclaves gone */
    NhvQueue out;               /* from it to the parent */
    QTAILQ_HEAD(, NhvQueue) queues;   /* to fetch from, in turn */
    GQueue resets;                      /* struct virtio_vsock_hdr */
};

/* One received packet; header in host byte order */
typedef struct NhvPacket {
    struct virtio_vsock_hdr hdr;
    const struct iovec *iov;
    unsigned int iov_cnt;
} NhvPacket;

/* The endpoint that is attached with a CID, or NULL */
static inline NhvSwitchPort *nhv_switch_port(NhvSwitch *sw, uint32_t cid)
{
    return g_hash_table_lookup(sw->ports, GUINT_TO_POINTER(cid));
}

/* Hash table helpers for NhvConnKey */
void nhv_conn_hash_init(void);
guint nhv_conn_hash(gconstpointer key);
gboolean nhv_conn_equal(gconstpointer a, gconstpointer b);
void nhv_conn_destroy(gpointer conn);

/**
 * nhv_conn_open: record a request and queue it for its receiver
 * @sw: the switch
 * @key: ends, both attached; no connection with this key exists
 * @side: side that sent @pkt
 * @pkt: the request
 */
void nhv_conn_open(NhvSwitch *sw, const NhvConnKey *key, int side,
                   const NhvPacket *pkt);

/**
 * nhv_conn_request: take a request for a connection that exists
 * @conn: the connection, may be gone when the function returns; both its
 *        ends are attached
 * @side: side that sent @pkt
 * @pkt: the request
 *
 * A side that asks has no socket of this connection any more.  Either its
 * first attempt is still good enough, or another connection follows: the
 * peer gets what is left of the old one and a reset, then the request.
 *
 * Returns: NULL, or what was wrong with the packet, as nhv_conn_input().
 */
const char *nhv_conn_request(NhvConn *conn, int side,
                             const NhvPacket *pkt);

/**
 * nhv_conn_input: take any other packet of an existing connection
 * @conn: the connection; may be gone when the function returns
 * @side: side that sent @pkt
 * @pkt: any packet but a request
 *
 * Returns: NULL, or what was wrong with the packet; the connection was then
 * reset towards both ends.
 */
const char *nhv_conn_input(NhvConn *conn, int side,
                           const NhvPacket *pkt);

/**
 * nhv_conn_abort: reset a connection towards both ends
 * @conn: the connection; may be gone when the function returns
 */
void nhv_conn_abort(NhvConn *conn);

/**
 * nhv_conn_detach: the endpoint on one side goes away
 * @conn: the connection; may be gone when the function returns
 * @side: the side whose port is about to be freed
 */
void nhv_conn_detach(NhvConn *conn, int side);

/**
 * nhv_conn_fetched: the receiver of a flow has fetched one packet of it
 * @flow: the flow; its connection may be gone when the function returns
 * @op: VIRTIO_VSOCK_OP_* of the packet
 */
void nhv_conn_fetched(NhvFlow *flow, uint16_t op);

bool nhv_flow_empty(NhvFlow *flow);

/* Let the receiver know; drops everything when it has detached */
void nhv_flow_queue(NhvFlow *flow);

void nhv_flow_dequeue(NhvFlow *flow);

/* Drop everything */
void nhv_flow_discard(NhvFlow *flow);

/**
 * nhv_flow_put: queue the payload of a packet
 * @flow: the flow, not shut down
 * @pkt: the packet
 *
 * Returns: NULL, or why the payload was not taken.
 */
const char *nhv_flow_put(NhvFlow *flow, const NhvPacket *pkt);

/**
 * nhv_port_emit: fetch one packet
 * @port: the receiver, on whose list there is a queue
 * @iov: destination, room for a header and at least one byte
 * @iov_cnt: number of elements in @iov
 * @flow, @op: set to what was fetched, for nhv_conn_fetched()
 *
 * Returns: bytes stored, never 0.
 */
size_t nhv_port_emit(NhvSwitchPort *port, const struct iovec *iov,
                     unsigned int iov_cnt, NhvFlow **flow, uint16_t *op);

#endif
