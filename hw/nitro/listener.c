/*
 * Nitro Enclaves: listening socket of a device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "listener.h"

QIONetListener *nitro_listener_adopt(QIOChannelSocket *sioc, const char *name,
                                     Error **errp)
{
    QIONetListener *listener;

    /* accept() must not block if a waiting peer disconnects */
    if (qio_channel_set_blocking(QIO_CHANNEL(sioc), false, errp) < 0) {
        return NULL;
    }
    listener = qio_net_listener_new();
    qio_net_listener_set_name(listener, name);
    qio_net_listener_add(listener, sioc);
    return listener;
}

QIONetListener *nitro_listener_open(SocketAddress *addr, int backlog,
                                    const char *name, Error **errp)
{
    g_autoptr(QIOChannelSocket) sioc = qio_channel_socket_new();

    if (qio_channel_socket_listen_sync(sioc, addr, backlog, errp) < 0) {
        return NULL;
    }
    return nitro_listener_adopt(sioc, name, errp);
}

void nitro_listener_close(QIONetListener **listener)
{
    if (*listener) {
        qio_net_listener_disconnect(*listener);
        object_unref(OBJECT(*listener));
        *listener = NULL;
    }
}
