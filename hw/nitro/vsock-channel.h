/*
 * Nitro Enclaves: stream between a socket and a character device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An application channel without the device around it.  One stream at a time
 * is copied both ways; it is made by connecting to an address, again and again
 * until that succeeds, or by waiting for somebody to connect.  Each direction
 * has a buffer of NITRO_CHANNEL_BUFFER_SIZE; when it is full the sender waits.
 *
 * The stream and the peer of the character device (the client of a socket,
 * the reader of a pty) belong together:
 *
 *  - A stream that connects is made when there is such a peer; one that was
 *    accepted may wait for it.
 *  - When the peer leaves, what it has sent is delivered (for
 *    NITRO_CHANNEL_LINGER_MS at most), then the stream is closed.
 *  - When the stream ends, what came is delivered, then the character device
 *    is disconnected.  One that cannot be (stdio, file) gets the next stream.
 *  - End of input alone, as of stdio, closes the stream in this direction.
 *
 * Everything runs in the default main context under the BQL; nothing blocks.
 */

#ifndef HW_NITRO_VSOCK_CHANNEL_H
#define HW_NITRO_VSOCK_CHANNEL_H

#include "chardev/char-fe.h"
#include "io/channel-socket.h"
#include "qapi/qapi-types-nitro.h"
#include "qapi/qapi-types-sockets.h"
#include "system/nitro-compat.h"

#define NITRO_CHANNEL_BUFFER_SIZE (64 * 1024)
#define NITRO_CHANNEL_LINGER_MS   2000

/* Connections that the kernel keeps until they are accepted */
#define NITRO_CHANNEL_BACKLOG 16

typedef struct NitroChannel NitroChannel;

/**
 * NitroChannelOps: what the owner provides, and is told
 * @admit: may this peer connect?  If not the owner traces why.
 * @failed: no connection was made in time; @err belongs to the callee
 * @closed: the state became CLOSED
 */
typedef struct NitroChannelOps {
    bool (*admit)(void *opaque, QIOChannelSocket *sioc);
    void (*failed)(void *opaque, Error *err);
    void (*closed)(void *opaque);
} NitroChannelOps;

/**
 * nitro_channel_new: make a channel in state IDLE
 * @chr: front end; must live as long as the channel, which installs handlers
 * @ops: callbacks; must live as long as the channel
 * @opaque: handed to them
 *
 * Returns: the channel, to be freed with nitro_channel_free()
 */
NitroChannel *nitro_channel_new(CharFrontend *chr, const NitroChannelOps *ops,
                                void *opaque);

/* Closes the stream; what is in the buffers is lost.  No callbacks. */
void nitro_channel_free(NitroChannel *ch);

/**
 * nitro_channel_set_retry: change the times between attempts to connect
 * @ch: the channel
 * @first_ms, @again_ms, @limit_ms: see nitro_connector_set_retry()
 */
void nitro_channel_set_retry(NitroChannel *ch, unsigned first_ms,
                             unsigned again_ms, unsigned limit_ms);

/**
 * nitro_channel_listen: open a port, accept nobody yet
 * @ch: the channel; what an earlier life has left is given up
 * @addr: where to listen
 * @errp: filled in when that is not possible
 *
 * Returns: true when the port is open
 */
bool nitro_channel_listen(NitroChannel *ch, SocketAddress *addr, Error **errp);

/* Begin to accept; the state becomes LISTENING.  After nitro_channel_listen */
void nitro_channel_accept(NitroChannel *ch);

/**
 * nitro_channel_connect: connect, whenever there is somebody to connect for
 * @ch: the channel; what an earlier life has left is given up
 * @addr: where to; copied
 */
void nitro_channel_connect(NitroChannel *ch, const SocketAddress *addr);

/**
 * nitro_channel_finish: the enclave is gone, deliver what it has sent
 * @ch: the channel
 *
 * Returns: true when there is something left to do and the closed callback
 * will tell when it is done, false when the state is IDLE or CLOSED
 */
bool nitro_channel_finish(NitroChannel *ch);

NitroEnclaveChannelState nitro_channel_state(const NitroChannel *ch);

/* Since nitro_channel_connect() or _accept(): bytes, and streams made */
uint64_t nitro_channel_received(const NitroChannel *ch);
uint64_t nitro_channel_sent(const NitroChannel *ch);
unsigned nitro_channel_connections(const NitroChannel *ch);

#endif
