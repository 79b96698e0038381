/*
 * Nitro Enclaves: who connects to a device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_NITRO_PEER_H
#define HW_NITRO_PEER_H

#include "io/channel-socket.h"
#include "io/net-listener.h"

/**
 * nitro_peer_check_port: can an enclave's own port be this one?
 * @name: of the device
 * @port: its property port
 * @usual: default of that property, for the remedy
 * @errp: filled in when it cannot
 */
bool nitro_peer_check_port(const char *name, uint32_t port, uint32_t usual,
                           Error **errp);

/**
 * nitro_peer_listen: listen on the port of the parent that is an enclave's own
 * @port: property of the device, see nitro_vsock_own_port()
 * @cid: of the enclave
 * @backlog: see nitro_listener_open()
 * @name: of the device
 * @setting: word in the configuration of nitro-init that has @port
 * @errp: filled in when the port is not available, with a remedy
 *
 * Nothing is accepted before qio_net_listener_set_client_func().
 *
 * Returns: to be released with nitro_listener_close(); NULL on failure
 */
QIONetListener *nitro_peer_listen(uint32_t port, uint32_t cid, int backlog,
                                  const char *name, const char *setting,
                                  Error **errp);

/**
 * nitro_peer_refusal: check a connection that was accepted
 * @sioc: the connection; does not block any more when it is good
 * @wanted: CID of the only enclave that may connect
 * @taken: it has the one connection that it may have
 * @cid: filled in with the peer's CID, or 0, for traces
 *
 * Any process of the parent and any enclave can reach a port of the parent.
 *
 * Returns: NULL when the connection is good, else why it is not; static
 */
const char *nitro_peer_refusal(QIOChannelSocket *sioc, uint32_t wanted,
                               bool taken, uint32_t *cid);

#endif
