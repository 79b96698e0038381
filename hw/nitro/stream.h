/*
 * Nitro Enclaves: stream between a socket and a character device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The common part of the console and the application channels, without their
 * devices.  One connection at a time is copied to a character device; it is
 * made by connecting to an address, again and again until that succeeds, or by
 * waiting for somebody to connect.  The address may be any socket address, so
 * that a test needs no vsock.
 *
 * A stream without input copies from the socket only.  It connects at once,
 * connects again when the connection is lost, and keeps the last output for a
 * reader that comes later.
 *
 * A stream with input copies both ways.  When a buffer is full its sender
 * waits.  The connection and the peer of the character device (the client of
 * a socket, the reader of a pty) belong together:
 *
 *  - A connection is made when there is such a peer; one that was accepted may
 *    wait for it.
 *  - When the peer leaves, what it has sent is delivered (for
 *    NITRO_STREAM_LINGER_MS at most), then the connection is closed.
 *  - When the connection ends, what came is delivered, then the character
 *    device is disconnected.  One that cannot be (stdio, file) gets the next
 *    connection.
 *  - End of input alone, as of stdio, closes the connection in this direction.
 *
 * Everything runs in the default main context under the BQL, except the
 * connecting itself, which is done in a thread; nothing blocks.
 */

#ifndef HW_NITRO_STREAM_H
#define HW_NITRO_STREAM_H

#include "chardev/char-fe.h"
#include "io/channel-socket.h"
#include "qapi/qapi-types-nitro.h"
#include "qapi/qapi-types-sockets.h"

#define NITRO_STREAM_LINGER_MS 2000

/* Connections that the kernel keeps until they are accepted */
#define NITRO_STREAM_BACKLOG 16

/*
 * Pauses between attempts to connect double from the first to the last of
 * these.  After a connection was lost the pause is at least AGAIN: the end of
 * the enclave is a common reason, which is then known.
 */
#define NITRO_STREAM_FIRST_MS 20
#define NITRO_STREAM_LAST_MS  2000
#define NITRO_STREAM_AGAIN_MS 500

/* A connection that lasted this long resets the pauses. */
#define NITRO_STREAM_STEADY_MS 2000

typedef struct NitroStream NitroStream;

/**
 * NitroStreamOptions: what makes one stream differ from another
 * @name: of its sockets, for traces; static
 * @peer: who is at the other end of the socket, for messages; static
 * @input: copy from the character device, too
 * @size: bytes to keep in each direction, not 0
 * @overflow: what to do when so many are kept and the reader is slow.  While
 *     nobody is there to read, a stream with input takes no more, one without
 *     drops the oldest.
 * @first_ms: pause after the first attempt to connect, doubled after each
 * @again_ms: shortest pause after a connection was lost
 * @limit_ms: no attempt after this time, counted from the first; 0: no limit
 */
typedef struct NitroStreamOptions {
    const char *name;
    const char *peer;
    bool input;
    uint32_t size;
    NitroConsoleOverflow overflow;
    unsigned first_ms;
    unsigned again_ms;
    unsigned limit_ms;
} NitroStreamOptions;

/**
 * NitroStreamOps: what the owner provides, and is called for
 * @admit: may this peer connect?  If not, the owner traces why.  Only needed
 *     by a stream that listens.
 * @failed: given up; the last attempt to connect has failed with @err, which
 *     belongs to the callee; not called after nitro_stream_finish()
 * @dropped: once per launch: output is dropped now; may be NULL
 * @closed: the state became CLOSED
 */
typedef struct NitroStreamOps {
    bool (*admit)(void *opaque, QIOChannelSocket *sioc);
    void (*failed)(void *opaque, Error *err);
    void (*dropped)(void *opaque, const char *why);
    void (*closed)(void *opaque);
} NitroStreamOps;

/**
 * NitroStreamCounts: since nitro_stream_connect() or _accept()
 * @received: bytes from the socket
 * @sent: bytes to the socket
 * @dropped: bytes of @received that no reader will get
 * @connections: how many were made
 */
typedef struct NitroStreamCounts {
    uint64_t received;
    uint64_t sent;
    uint64_t dropped;
    unsigned connections;
} NitroStreamCounts;

/**
 * nitro_stream_new: make a stream in state IDLE
 * @fe: front end; must live as long as the stream.  Its handlers are installed
 *     here, because a pty stays closed without them.
 * @options: copied
 * @ops: callbacks; must live as long as the stream
 * @opaque: handed to them
 *
 * Returns: the stream, to be freed with nitro_stream_free()
 */
NitroStream *nitro_stream_new(CharBackend *fe,
                              const NitroStreamOptions *options,
                              const NitroStreamOps *ops, void *opaque);

/* Closes the connection; what is in the buffers is lost.  No callbacks. */
void nitro_stream_free(NitroStream *s);

/**
 * nitro_stream_connect: begin a launch: connect
 * @s: the stream; an earlier connection is given up.  Output that it has kept
 *     is forgotten with input, and still there for its reader without.
 * @addr: where to; copied
 */
void nitro_stream_connect(NitroStream *s, const SocketAddress *addr);

/**
 * nitro_stream_listen: begin a launch: open a port, accept nobody yet
 * @s: the stream, with input; what an earlier launch has left is given up
 * @addr: where to listen
 * @errp: filled in when that is not possible
 *
 * Returns: true when the port is open
 */
bool nitro_stream_listen(NitroStream *s, SocketAddress *addr, Error **errp);

/* Begin to accept; the state becomes LISTENING.  After nitro_stream_listen() */
void nitro_stream_accept(NitroStream *s);

/**
 * nitro_stream_finish: the enclave is gone, deliver what it has sent
 * @s: the stream
 *
 * A lost connection is not made again.  Without input, when there was none
 * before, an attempt that runs may still succeed and deliver what the other
 * end has kept.
 *
 * Returns: true when there is something left to do and the closed callback
 * will be called when it is done, false when the state is IDLE or CLOSED
 */
bool nitro_stream_finish(NitroStream *s);

/* OPEN also while there is data that a reader waits for */
NitroEnclaveChannelState nitro_stream_state(const NitroStream *s);

NitroStreamCounts nitro_stream_counts(const NitroStream *s);

#endif
