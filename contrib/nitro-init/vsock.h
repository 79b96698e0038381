/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Connections to the parent over vsock.
 *
 * All enclaves of an image have the same configured port, of which a parent has
 * one.  So each enclave has a port of its own, too, 65536 * PORT + its CID in
 * 32 bits, which is tried first.  A port beyond 65535 is the only one.
 */

#ifndef NITRO_INIT_VSOCK_H
#define NITRO_INIT_VSOCK_H

#include <stdbool.h>

#define PARENT_CID 3

/*
 * Buffer of a vsock_stream().  Linux resets a stream on which more packets
 * wait than fit into it; with the usual 256 KiB those are about 455.
 */
#define STREAM_BUFFER (8 * 1024 * 1024)

/*
 * vsock_begin: begin to connect to @port of the parent, without blocking
 * @own: to the enclave's own port instead
 * @connecting: whether poll() for POLLOUT and SO_ERROR have the outcome;
 *              otherwise the connection is there
 *
 * Returns: a descriptor in non-blocking mode, or -1
 */
int vsock_begin(unsigned port, bool own, bool *connecting);

/*
 * vsock_stream: connect to the enclave's own port of the parent, or else to
 * @port, for much data
 *
 * Blocks for 2 s at most for each of them.
 *
 * Returns: a descriptor in non-blocking mode, or -1 with errno set
 */
int vsock_stream(unsigned port);

/*
 * vsock_heartbeat: exchange the byte 0xb7 with port 9000 of the parent, by
 * which a launcher knows that the enclave has booted
 * @attempts: how often to try to connect, 100 ms apart; the device may need a
 *            moment after its driver was loaded, a listener one to be there
 *
 * Blocks for @attempts times at most 2 s, Linux' limit for a connection; waits
 * for the answer for 20 s at most.
 *
 * Returns: 0, or -1 with errno set; EPROTO: the answer was another one
 */
int vsock_heartbeat(int attempts);

#endif
