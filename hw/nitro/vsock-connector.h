/*
 * Nitro Enclaves: connect to a socket, again and again
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the debug console and the application channels have in common when
 * they connect to a port that may not be there yet, or that went away.  The
 * address may be any socket address, so that a test needs no vsock.
 *
 * Everything runs in the default main context under the BQL, except the
 * connecting itself, which is done in a thread; nothing blocks.
 */

#ifndef HW_NITRO_VSOCK_CONNECTOR_H
#define HW_NITRO_VSOCK_CONNECTOR_H

#include "io/channel-socket.h"

/* Pauses between attempts double from the first to the last of these. */
#define NITRO_CONNECTOR_FIRST_MS 20
#define NITRO_CONNECTOR_LAST_MS  2000

/*
 * The pause after a connection was lost is at least this long: the end of the
 * enclave is a common reason, which is then known.
 */
#define NITRO_CONNECTOR_AGAIN_MS 500

/* A connection that lasted so long was a good one: pauses start anew. */
#define NITRO_CONNECTOR_STEADY_MS 2000

typedef struct NitroConnector NitroConnector;

/**
 * NitroConnectorOps: what the owner is told
 * @connected: there is a connection, not blocking; take a reference to keep it
 * @failed: there will be none; @err, the last reason, belongs to the callee
 */
typedef struct NitroConnectorOps {
    void (*connected)(void *opaque, QIOChannelSocket *sioc);
    void (*failed)(void *opaque, Error *err);
} NitroConnectorOps;

/**
 * nitro_connector_new: make a connector that does nothing yet
 * @ops: callbacks; must live as long as the connector
 * @opaque: handed to them
 *
 * Returns: the connector, to be freed with nitro_connector_free()
 */
NitroConnector *nitro_connector_new(const NitroConnectorOps *ops,
                                    void *opaque);

/* Gives up what is under way; no callbacks. */
void nitro_connector_free(NitroConnector *cn);

/**
 * nitro_connector_set_retry: change the times between attempts
 * @cn: the connector
 * @first_ms: pause after the first attempt, doubled after each
 * @again_ms: shortest pause after a connection was lost
 * @limit_ms: no attempt after this time, counted from the first of a series;
 *     0 for no limit
 */
void nitro_connector_set_retry(NitroConnector *cn, unsigned first_ms,
                               unsigned again_ms, unsigned limit_ms);

/**
 * nitro_connector_start: begin to connect, with a series of attempts
 * @cn: the connector; what it does is given up
 * @addr: where to; copied
 */
void nitro_connector_start(NitroConnector *cn, const SocketAddress *addr);

/**
 * nitro_connector_again: the connection was lost, make another one
 * @cn: the connector, which has told of a connection
 * @why: reason; belongs to the callee
 *
 * The series goes on unless the connection has lasted for a while.  The
 * failed callback may be called from within.
 */
void nitro_connector_again(NitroConnector *cn, Error *why);

/**
 * nitro_connector_finish: make no more attempts
 * @cn: the connector
 *
 * One that runs may still succeed; if it does not, failed is called.
 *
 * Returns: true when there is one
 */
bool nitro_connector_finish(NitroConnector *cn);

/* Give up what is under way; no callbacks. */
void nitro_connector_stop(NitroConnector *cn);

/* An attempt runs, or the next one is due */
bool nitro_connector_busy(const NitroConnector *cn);

#endif
