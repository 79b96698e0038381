/*
 * vsock switch: moves packets between the parent, its enclaves and CID 0
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pure packet logic without file descriptors: an endpoint (a VM's virtio
 * device, or the console service) attaches under its CID, hands in the
 * packets it sends and fetches the packets meant for it.
 *
 * What the switch guarantees:
 * - Traffic runs between the parent (CID 3) and one other CID only.  A
 *   request to anything else, to a CID nobody is attached to, or a packet
 *   that fits no connection is answered with a reset.
 * - CID 2 is another name of the parent.  An enclave that connects to it gets
 *   answers from it; the parent sees its own CID.
 * - A packet with a foreign source CID is dropped and counted.
 * - Credit passes through end to end; the advertised buffer is capped at
 *   NHV_SWITCH_WINDOW, so that is also all the switch ever queues for one
 *   direction of a connection.  A sender that ignores its credit loses the
 *   connection.
 * - Packets of an endpoint are always taken: a receiver that does not fetch
 *   its packets stalls its own connections (by credit) and nobody else's.
 * - What waits for an enclave, and what it has sent, is bounded by
 *   NHV_SWITCH_MAX_QUEUED each: beyond it a connection is lost.  The
 *   sender for an enclave can wait instead, see nhv_switch_is_full().
 * - Enclaves share the parent in turn, and connections an enclave.
 * - A request from ports that have a connection opens a new one, behind the
 *   rest and the reset of the old one.
 * - When an endpoint detaches its peers get what it had sent, then a reset.
 *
 * Not thread safe: all calls come from the main loop's thread.
 */

#ifndef NHV_SWITCH_H
#define NHV_SWITCH_H

#include "qemu/iov.h"
#include "hw/nitro/limits.h"
#include "standard-headers/linux/virtio_vsock.h"

/* Largest receive buffer an endpoint can announce to its peer, in bytes */
#define NHV_SWITCH_WINDOW     (256 * 1024)
/* Largest payload of one packet, in bytes */
#define NHV_SWITCH_MAX_PKT    (64 * 1024)
/* Connections that one enclave may have by default */
#define NHV_SWITCH_MAX_CONNS  65536
/* Bytes of memory for what waits in one direction of all these, 256 MiB */
#define NHV_SWITCH_MAX_QUEUED (256 * 1024 * 1024)
/* Resets kept for one endpoint that does not fetch its packets */
#define NHV_SWITCH_MAX_RESETS 1024

typedef struct NhvSwitch NhvSwitch;
typedef struct NhvSwitchPort NhvSwitchPort;

/**
 * NhvSwitchReady: called when packets for an endpoint became available
 * @opaque: as given to nhv_switch_attach()
 *
 * May be called from within any switch function, also repeatedly; must not
 * call back into the switch but arrange for that to happen later.
 */
typedef void NhvSwitchReady(void *opaque);

/**
 * NhvSwitchReport: called for traffic that a proper guest does not send
 * @opaque: as given to nhv_switch_new()
 * @cid: the endpoint that sent it
 * @what: short description
 */
typedef void NhvSwitchReport(void *opaque, uint32_t cid, const char *what);

/**
 * nhv_switch_new: create a switch without endpoints
 * @max_conns: connections one enclave (or the console service) may have
 * @report: called about misbehaviour, not rate limited; may be NULL
 * @opaque: passed to @report
 */
NhvSwitch *nhv_switch_new(unsigned int max_conns,
                          NhvSwitchReport *report, void *opaque);

/**
 * nhv_switch_free: free a switch
 * @sw: the switch; all endpoints must have detached
 */
void nhv_switch_free(NhvSwitch *sw);

/**
 * nhv_switch_attach: bring an endpoint up
 * @sw: the switch
 * @cid: CID of the endpoint
 * @ready: called when there is something to fetch
 * @opaque: passed to @ready
 *
 * Returns: the endpoint's port, or NULL when the CID is attached already.
 */
NhvSwitchPort *nhv_switch_attach(NhvSwitch *sw, uint32_t cid,
                                 NhvSwitchReady *ready, void *opaque);

/**
 * nhv_switch_detach: take an endpoint down
 * @port: the port, freed by this call
 *
 * Every peer with a connection to it gets a reset behind the data that is
 * still queued.  The CID can be attached again at once.
 */
void nhv_switch_detach(NhvSwitchPort *port);

/**
 * nhv_switch_send: hand in one packet from an endpoint
 * @port: the sender
 * @iov: header and payload, little endian as on the wire, any layout
 * @iov_cnt: number of elements in @iov
 *
 * The content is copied.  Nothing in it can make this function fail: bad
 * packets are answered with a reset or dropped, and reported.
 */
void nhv_switch_send(NhvSwitchPort *port, const struct iovec *iov,
                     unsigned int iov_cnt);

/**
 * nhv_switch_is_full: should an endpoint not send for now?
 * @port: the sender
 *
 * True for an enclave when the parent has not fetched most of
 * NHV_SWITCH_MAX_QUEUED bytes of it.  The port's NhvSwitchReady is called
 * when that has changed.
 */
bool nhv_switch_is_full(NhvSwitchPort *port);

/**
 * nhv_switch_pending: is there a packet to fetch?
 * @port: the receiver
 */
bool nhv_switch_pending(NhvSwitchPort *port);

/**
 * nhv_switch_receive: fetch one packet
 * @port: the receiver
 * @iov: where to store header and payload
 * @iov_cnt: number of elements in @iov
 *
 * Stream data is split to what fits.
 *
 * Returns: bytes stored; 0 when nothing is pending, or when @iov cannot hold
 * a header and one byte.
 */
size_t nhv_switch_receive(NhvSwitchPort *port, const struct iovec *iov,
                          unsigned int iov_cnt);

#endif
