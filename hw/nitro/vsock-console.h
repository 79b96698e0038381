/*
 * Nitro Enclaves: stream from a socket to a character device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The debug console without the device around it: it connects to an address,
 * tries again for a while if that fails, and copies what comes to a
 * character device front end.  The address may be any socket address, so that
 * a test needs no vsock.
 *
 * Everything runs in the default main context under the BQL, except the
 * connecting itself, which is done in a thread; nothing blocks.
 */

#ifndef HW_NITRO_VSOCK_CONSOLE_H
#define HW_NITRO_VSOCK_CONSOLE_H

#include "hw/nitro/serial-vsock.h"
#include "qapi/qapi-types-sockets.h"

/* Pauses between attempts double from the first to the last of these. */
#define NITRO_CONSOLE_RETRY_FIRST_MS 20
#define NITRO_CONSOLE_RETRY_LAST_MS  2000

/* No new attempt after this time. */
#define NITRO_CONSOLE_RETRY_LIMIT_MS 20000

/* Output that is kept while the character device takes none. */
#define NITRO_CONSOLE_BUFFER_SIZE (64 * KiB)

/**
 * NitroConsoleState: what the stream does
 * @NITRO_CONSOLE_IDLE: never connected
 * @NITRO_CONSOLE_CONNECTING: an attempt runs, or the next one is due
 * @NITRO_CONSOLE_OPEN: connected; or there is still data in the buffer
 * @NITRO_CONSOLE_CLOSED: all data delivered, or the connection was not made
 */
typedef enum NitroConsoleState {
    NITRO_CONSOLE_IDLE,
    NITRO_CONSOLE_CONNECTING,
    NITRO_CONSOLE_OPEN,
    NITRO_CONSOLE_CLOSED,
    NITRO_CONSOLE__MAX,
} NitroConsoleState;

/**
 * NitroConsoleOps: what the owner is told
 * @failed: the last attempt to connect has failed with @err, which belongs to
 *     the callee; not called after nitro_console_finish()
 * @closed: the state became CLOSED
 */
typedef struct NitroConsoleOps {
    void (*failed)(void *opaque, Error *err);
    void (*closed)(void *opaque);
} NitroConsoleOps;

/**
 * nitro_console_new: make a stream in state IDLE
 * @chr: front end; must live as long as the stream.  Its handlers are
 *     installed here, as a pty would stay closed for ever without.
 * @ops: callbacks; must live as long as the stream
 * @opaque: handed to them
 *
 * Returns: the stream, to be freed with nitro_console_free()
 */
NitroConsole *nitro_console_new(CharBackend *chr, const NitroConsoleOps *ops,
                                void *opaque);

/* Closes the connection; what is in the buffer is lost.  No callbacks. */
void nitro_console_free(NitroConsole *con);

/**
 * nitro_console_set_retry: change the times between attempts to connect
 * @con: the stream
 * @first_ms: pause after the first attempt, doubled after each
 * @limit_ms: no attempt after this time, counted from nitro_console_connect()
 */
void nitro_console_set_retry(NitroConsole *con, unsigned first_ms,
                             unsigned limit_ms);

/**
 * nitro_console_connect: begin to connect
 * @con: the stream; an earlier connection is given up, with its data
 * @addr: where to; copied
 */
void nitro_console_connect(NitroConsole *con, const SocketAddress *addr);

/**
 * nitro_console_finish: the sender is gone, deliver what is left
 * @con: the stream
 *
 * No more attempts are made; one that runs may still succeed and deliver what
 * the other end has kept.
 *
 * Returns: true when there is something left to do and the closed callback
 * will tell when it is done, false when the state is IDLE or CLOSED
 */
bool nitro_console_finish(NitroConsole *con);

NitroConsoleState nitro_console_state(const NitroConsole *con);

/* Bytes received since nitro_console_connect() */
uint64_t nitro_console_bytes(const NitroConsole *con);

/* Name of a state: "idle", "connecting", "open", "closed". */
const char *nitro_console_state_str(NitroConsoleState state);

#endif
