/*
 * Nitro Enclaves: listening socket of a device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_NITRO_LISTENER_H
#define HW_NITRO_LISTENER_H

#include "io/net-listener.h"

/**
 * nitro_listener_adopt: accept connections of a socket that listens
 * @sioc: the socket; the listener takes a reference of its own
 * @name: of the device
 * @errp: filled in when the socket cannot be set up
 *
 * Nothing is accepted before qio_net_listener_set_client_func().
 *
 * Returns: to be released with nitro_listener_close(); NULL on failure
 */
QIONetListener *nitro_listener_adopt(QIOChannelSocket *sioc, const char *name,
                                     Error **errp);

/**
 * nitro_listener_open: listen at an address
 * @addr: where
 * @backlog: connections that the kernel keeps until they are accepted
 * @name: see nitro_listener_adopt(), as for the rest
 * @errp: filled in on failure
 */
QIONetListener *nitro_listener_open(SocketAddress *addr, int backlog,
                                    const char *name, Error **errp);

/**
 * nitro_listener_close: accept no more connections
 * @listener: released, and NULL afterwards; may be NULL already
 */
void nitro_listener_close(QIONetListener **listener);

#endif
