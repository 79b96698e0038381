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
 * NitroHeartbeatState: what the server does
 * @NITRO_HEARTBEAT_IDLE: not listening, no launch yet
 * @NITRO_HEARTBEAT_LISTENING: the port is open
 * @NITRO_HEARTBEAT_DONE: heartbeat received and answered, port closed
 * @NITRO_HEARTBEAT_FAILED: could not listen, or the enclave ended before its
 *     heartbeat; port closed
 */
typedef enum NitroHeartbeatState {
    NITRO_HEARTBEAT_IDLE,
    NITRO_HEARTBEAT_LISTENING,
    NITRO_HEARTBEAT_DONE,
    NITRO_HEARTBEAT_FAILED,
    NITRO_HEARTBEAT__MAX,
} NitroHeartbeatState;

/**
 * NitroHeartbeatOps: what the owner provides
 * @listen: open a listening stream socket; returns its descriptor, which then
 *     belongs to the server, or -1 with @errp set
 * @peer_cid: find out the CID at the other end; returns false when it has none
 * @booted: called once per launch when the heartbeat was answered
 */
typedef struct NitroHeartbeatOps {
    int (*listen)(void *opaque, Error **errp);
    bool (*peer_cid)(void *opaque, QIOChannelSocket *sioc, uint32_t *cid);
    void (*booted)(void *opaque);
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
 * nitro_heartbeat_server_listen: open the port
 * @server: in any state; a launch before this one is forgotten
 * @errp: filled in when the port cannot be had
 *
 * Connections stay in the queue of the socket until the CID is known.
 *
 * Returns: true when the state is LISTENING now, otherwise it is FAILED
 */
bool nitro_heartbeat_server_listen(NitroHeartbeatServer *server, Error **errp);

/**
 * nitro_heartbeat_server_set_cid: begin to accept connections
 * @server: the server; nothing happens unless it is LISTENING
 * @cid: the only CID that counts
 */
void nitro_heartbeat_server_set_cid(NitroHeartbeatServer *server, uint32_t cid);

/**
 * nitro_heartbeat_server_stop: close the port and all connections
 * @server: the server; when LISTENING it is FAILED afterwards
 */
void nitro_heartbeat_server_stop(NitroHeartbeatServer *server);

NitroHeartbeatState
nitro_heartbeat_server_state(const NitroHeartbeatServer *server);

/* Name of a state: "idle", "listening", "done", "failed". */
const char *nitro_heartbeat_state_str(NitroHeartbeatState state);

#endif
