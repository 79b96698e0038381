/*
 * Unix socket that serves one peer at a time
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NHV_LISTENER_H
#define NHV_LISTENER_H

typedef struct NhvListener NhvListener;

/**
 * NhvAccepted: called from the main loop with a connected peer
 * @opaque: as given to nhv_listener_new()
 * @fd: the connection, close-on-exec, owned by the callee
 *
 * No other peer is accepted until nhv_listener_resume().
 */
typedef void NhvAccepted(void *opaque, int fd);

/**
 * nhv_listener_new: listen on a unix socket
 * @path: where; a stale socket there is replaced
 * @accepted: called with the peer
 * @opaque: passed to @accepted
 * @errp: filled in on failure
 *
 * Returns: the listener, or NULL.
 */
NhvListener *nhv_listener_new(const char *path, NhvAccepted *accepted,
                              void *opaque, Error **errp);

/**
 * nhv_listener_resume: the peer has gone, accept another one
 * @listener: the listener
 */
void nhv_listener_resume(NhvListener *listener);

/**
 * nhv_listener_free: stop listening and remove the socket
 * @listener: the listener, or NULL
 */
void nhv_listener_free(NhvListener *listener);

#endif
