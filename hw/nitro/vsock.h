/*
 * Nitro Enclaves: AF_VSOCK of the parent
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_NITRO_VSOCK_H
#define HW_NITRO_VSOCK_H

#include "io/channel-socket.h"
#include "qapi/qapi-types-sockets.h"

/* Listen on each of the parent's own CIDs; the same as VMADDR_CID_ANY */
#define NITRO_VSOCK_CID_ANY UINT32_MAX

/**
 * nitro_vsock_address: put together an address
 *
 * Returns: to be freed with qapi_free_SocketAddress()
 */
SocketAddress *nitro_vsock_address(uint32_t cid, uint32_t port);

/**
 * nitro_vsock_own_port: port of the parent that only one enclave connects to
 * @port: port of the configuration, which enclaves of one image share
 * @cid: of the enclave
 *
 * Several enclaves of a parent cannot have one port.  The init in the enclave
 * follows the same rule.
 *
 * Returns: 65536 * @port + @cid in 32 bits, or @port itself when @port is above
 * 65535 or the sum is VMADDR_PORT_ANY
 */
static inline uint32_t nitro_vsock_own_port(uint32_t port, uint32_t cid)
{
    uint32_t own = (port << 16) + cid;

    return port > UINT16_MAX || own == UINT32_MAX ? port : own;
}

/**
 * nitro_vsock_listen: open a port on each of the parent's own CIDs
 * @port: the port
 * @backlog: connections that the kernel keeps until they are accepted
 *
 * Returns: descriptor of the socket, or a negative errno
 */
int nitro_vsock_listen(uint32_t port, int backlog);

/**
 * nitro_vsock_peer_cid: who is at the other end?
 * @sioc: a connection that was accepted
 * @cid: filled in
 *
 * Returns: false when it is not a vsock connection
 */
bool nitro_vsock_peer_cid(const QIOChannelSocket *sioc, uint32_t *cid);

/**
 * nitro_vsock_set_buffer: enlarge the receive buffer
 * @sioc: a connection
 * @bytes: the wanted size; Linux may choose a smaller one
 */
void nitro_vsock_set_buffer(QIOChannelSocket *sioc, uint64_t bytes);

#endif
