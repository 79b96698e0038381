/*
 * Nitro Enclaves: stream from a socket to a character device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The debug console without the device around it: it connects to an address,
 * tries again for a while if that fails or when the connection is lost, and
 * copies what comes to a character device front end.  The address may be any
 * socket address, so that a test needs no vsock.
 *
 * Everything runs in the default main context under the BQL; nothing blocks.
 */

#ifndef HW_NITRO_VSOCK_CONSOLE_H
#define HW_NITRO_VSOCK_CONSOLE_H

#include "hw/nitro/serial-vsock.h"
#include "qapi/qapi-types-nitro.h"
#include "qapi/qapi-types-sockets.h"

/* No new attempt after this time, see nitro_connector_set_retry(). */
#define NITRO_CONSOLE_RETRY_LIMIT_MS 20000

/**
 * NitroConsoleOps: what the owner is told
 * @failed: given up; the last attempt to connect has failed with @err, which
 *     belongs to the callee; not called after nitro_console_finish()
 * @dropped: once per nitro_console_connect(): output is dropped now
 * @closed: the state became CLOSED
 */
typedef struct NitroConsoleOps {
    void (*failed)(void *opaque, Error *err);
    void (*dropped)(void *opaque, const char *why);
    void (*closed)(void *opaque);
} NitroConsoleOps;

/**
 * nitro_console_new: make a stream in state IDLE
 * @chr: front end; must live as long as the stream.  Its handlers are
 *     installed here, as a pty would stay closed for ever without.
 * @backlog: bytes to keep for a reader that is slow, or comes later
 * @overflow: what to do when these are full and the reader is slow; without
 *     a reader the oldest are dropped
 * @ops: callbacks; must live as long as the stream
 * @opaque: handed to them
 *
 * Returns: the stream, to be freed with nitro_console_free()
 */
NitroConsole *nitro_console_new(CharFrontend *chr, uint32_t backlog,
                                NitroConsoleOverflow overflow,
                                const NitroConsoleOps *ops, void *opaque);

/* Closes the connection; what is in the backlog is lost.  No callbacks. */
void nitro_console_free(NitroConsole *con);

/**
 * nitro_console_set_retry: change the times between attempts to connect
 * @con: the stream
 * @first_ms, @again_ms, @limit_ms: see nitro_connector_set_retry()
 */
void nitro_console_set_retry(NitroConsole *con, unsigned first_ms,
                             unsigned again_ms, unsigned limit_ms);

/**
 * nitro_console_connect: begin to connect
 * @con: the stream; an earlier connection is given up, the backlog is kept
 * @addr: where to; copied
 */
void nitro_console_connect(NitroConsole *con, const SocketAddress *addr);

/**
 * nitro_console_finish: the sender is gone, deliver what is left
 * @con: the stream
 *
 * A lost connection is not made again.  When there was none before, an
 * attempt that runs may still succeed and deliver what the other end has kept.
 *
 * Returns: true when there is something left to do and the closed callback
 * will tell when it is done, false when the state is IDLE or CLOSED
 */
bool nitro_console_finish(NitroConsole *con);

/* OPEN also while there is data that somebody is there for */
NitroEnclaveConsoleState nitro_console_state(const NitroConsole *con);

/* Bytes received since nitro_console_connect() */
uint64_t nitro_console_bytes(const NitroConsole *con);

/* Bytes since then that no reader will get, as they were dropped */
uint64_t nitro_console_dropped(const NitroConsole *con);

/* Connections since then that took the place of a lost one */
unsigned nitro_console_reconnects(const NitroConsole *con);

#endif
