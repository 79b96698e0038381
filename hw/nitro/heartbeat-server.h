/*
 * Nitro Enclaves: heartbeat protocol, parent's side
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The protocol without the device around it: it accepts connections, lets
 * only those of one CID count, and answers the first that sends the right
 * byte.  How to listen and who a peer is come from the owner, so that a test
 * can use other sockets than vsock.
 *
 * Everything runs in the default main context; nothing blocks.
 */

#ifndef HW_NITRO_HEARTBEAT_SERVER_H
#define HW_NITRO_HEARTBEAT_SERVER_H

#include "hw/nitro/heartbeat.h"
#include "io/channel-socket.h"
#include "system/nitro.h"

#define NITRO_HEARTBEAT_PORT 9000
#define NITRO_HEARTBEAT_BYTE 0xb7

/* Connections of the enclave that may be open at the same time. */
#define NITRO_HEARTBEAT_MAX_PEERS 8

/* A connection that has not sent its byte after this time is dropped. */
#define NITRO_HEARTBEAT_PEER_TIMEOUT_MS 5000

/*
 * Connections that the kernel keeps until the CID is known.  Other enclaves
 * can connect as well, hence more than ours alone could need.
 */
#define NITRO_HEARTBEAT_BACKLOG 128

/**
 * NitroHeartbeatOps: what the owner provides
 * @listen: open a listening stream socket; returns its descriptor, which then
 *     belongs to the server, or a negative errno with @errp set; -EADDRINUSE
 *     is worth another try
 * @peer_cid: find out the CID at the other end; returns false when it has none
 * @booted: called once per launch when the heartbeat was answered
 * @expired: called once per launch when it was not received in time; the port
 *     stays open
 */
typedef struct NitroHeartbeatOps {
    int (*listen)(void *opaque, Error **errp);
    bool (*peer_cid)(void *opaque, QIOChannelSocket *sioc, uint32_t *cid);
    void (*booted)(void *opaque);
    void (*expired)(void *opaque);
} NitroHeartbeatOps;

/**
 * nitro_heartbeat_server_new: make a server in state IDLE
 * @ops: callbacks; must live as long as the server
 * @opaque: handed to them
 *
 * Returns: the server, to be freed with nitro_heartbeat_server_free()
 */
NitroHeartbeatServer *nitro_heartbeat_server_new(const NitroHeartbeatOps *ops,
                                                 void *opaque);
void nitro_heartbeat_server_free(NitroHeartbeatServer *server);

/**
 * nitro_heartbeat_server_set_timeout: how long a silent peer may stay
 * @server: the server
 * @timeout_ms: milliseconds, from the next connection on
 */
void nitro_heartbeat_server_set_timeout(NitroHeartbeatServer *server,
                                        unsigned timeout_ms);

/**
 * nitro_heartbeat_server_acquire: open the port, or wait for it
 * @server: in any state; unless it is WAITING or LISTENING a launch begins
 *     and the one before is forgotten
 * @wait_ms: how long the port may be taken, from the first call on
 * @errp: filled in when the port cannot be had
 *
 * To be called again after NITRO_STEP_LATER; then the state is WAITING.
 * Connections stay in the queue of the socket until the CID is known.
 *
 * Returns: NITRO_STEP_DONE when the state is LISTENING now, NITRO_STEP_FAILED
 * when it is FAILED
 */
NitroStep nitro_heartbeat_server_acquire(NitroHeartbeatServer *server,
                                         unsigned wait_ms, Error **errp);

/**
 * nitro_heartbeat_server_set_deadline: how long an enclave may take to boot
 * @server: the server
 * @deadline_ms: milliseconds from the next nitro_heartbeat_server_set_cid()
 *     on, 0 for no limit
 */
void nitro_heartbeat_server_set_deadline(NitroHeartbeatServer *server,
                                         unsigned deadline_ms);

/**
 * nitro_heartbeat_default_deadline: how long an enclave may take to boot
 * @image_size: bytes of its image
 * @memory_size: bytes of its memory
 *
 * 90 seconds per 6 GiB of image begun, and as many per 100 GiB of memory
 * begun: what nitro-cli allows.
 *
 * Returns: milliseconds
 */
unsigned nitro_heartbeat_default_deadline(uint64_t image_size,
                                          uint64_t memory_size);

/**
 * nitro_heartbeat_server_set_cid: begin to accept connections
 * @server: the server; nothing happens unless it is LISTENING
 * @cid: the only CID that counts
 */
void nitro_heartbeat_server_set_cid(NitroHeartbeatServer *server, uint32_t cid);

/**
 * nitro_heartbeat_server_stop: close the port and all connections
 * @server: the server; when LISTENING it is FAILED afterwards, when WAITING
 *     it is IDLE
 */
void nitro_heartbeat_server_stop(NitroHeartbeatServer *server);

/**
 * nitro_heartbeat_server_reset: be as new, for the next enclave
 * @server: the server; closed if need be, and IDLE afterwards
 */
void nitro_heartbeat_server_reset(NitroHeartbeatServer *server);

NitroEnclaveHeartbeatState
nitro_heartbeat_server_state(const NitroHeartbeatServer *server);

#endif
