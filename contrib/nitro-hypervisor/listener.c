/*
 * Unix socket that serves one peer at a time
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib-unix.h>
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/sockets.h"
#include "listener.h"

struct NitroListener {
    char *path;
    int fd;
    guint source;
    NitroAccepted *accepted;
    void *opaque;
};

static gboolean peer_waiting(gint fd, GIOCondition condition, gpointer opaque)
{
    NitroListener *listener = opaque;
    int peer = qemu_accept(fd, NULL, NULL);

    if (peer < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            warn_report("cannot accept a connection on %s: %s",
                        listener->path, strerror(errno));
        }
        return G_SOURCE_CONTINUE;
    }
    listener->source = 0;
    listener->accepted(listener->opaque, peer);
    return G_SOURCE_REMOVE;
}

void nitro_listener_resume(NitroListener *listener)
{
    if (!listener->source) {
        listener->source = g_unix_fd_add(listener->fd, G_IO_IN, peer_waiting,
                                         listener);
    }
}

NitroListener *nitro_listener_new(const char *path, NitroAccepted *accepted,
                                  void *opaque, Error **errp)
{
    NitroListener *listener;
    int fd = unix_listen(path, errp);

    if (fd < 0) {
        return NULL;
    }
    qemu_socket_set_nonblock(fd);
    listener = g_new0(NitroListener, 1);
    listener->path = g_strdup(path);
    listener->fd = fd;
    listener->accepted = accepted;
    listener->opaque = opaque;
    nitro_listener_resume(listener);
    return listener;
}

void nitro_listener_free(NitroListener *listener)
{
    if (!listener) {
        return;
    }
    g_clear_handle_id(&listener->source, g_source_remove);
    close(listener->fd);
    unlink(listener->path);
    g_free(listener->path);
    g_free(listener);
}
