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

/* Pause when there is no descriptor or memory for a connection */
#define RETRY_MS 500

struct NhvListener {
    char *path;
    int fd;
    guint source;               /* accepting, or waiting to try again */
    bool reported;              /* that nobody can be accepted */
    NhvAccepted *accepted;
    void *opaque;
};

static gboolean listener_retry(gpointer opaque)
{
    NhvListener *listener = opaque;

    listener->source = 0;
    nhv_listener_resume(listener);
    return G_SOURCE_REMOVE;
}

/* The peer still waits, so a retry without a pause would only loop */
static void retry_later(NhvListener *listener, int err)
{
    if (!listener->reported) {
        warn_report("cannot accept a connection on %s: %s", listener->path,
                    strerror(err));
    }
    listener->reported = true;
    listener->source = g_timeout_add(RETRY_MS, listener_retry, listener);
}

static gboolean peer_waiting(gint fd, GIOCondition condition, gpointer opaque)
{
    NhvListener *listener = opaque;
    int peer = qemu_accept(fd, NULL, NULL);

    if (peer < 0 && (errno == EAGAIN || errno == EINTR ||
                     errno == ECONNABORTED)) {
        return G_SOURCE_CONTINUE;
    }
    if (peer < 0) {
        retry_later(listener, errno);
        return G_SOURCE_REMOVE;
    }
    listener->source = 0;
    listener->reported = false;
    listener->accepted(listener->opaque, peer);
    return G_SOURCE_REMOVE;
}

void nhv_listener_resume(NhvListener *listener)
{
    if (!listener->source) {
        listener->source = g_unix_fd_add(listener->fd, G_IO_IN, peer_waiting,
                                         listener);
    }
}

NhvListener *nhv_listener_new(const char *path, NhvAccepted *accepted,
                              void *opaque, Error **errp)
{
    NhvListener *listener;
    int fd = unix_listen(path, errp);

    if (fd < 0) {
        return NULL;
    }
    g_unix_set_fd_nonblocking(fd, true, NULL);
    listener = g_new0(NhvListener, 1);
    listener->path = g_strdup(path);
    listener->fd = fd;
    listener->accepted = accepted;
    listener->opaque = opaque;
    nhv_listener_resume(listener);
    return listener;
}

void nhv_listener_free(NhvListener *listener)
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
