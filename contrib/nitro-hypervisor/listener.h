/*
 * Unix socket that serves one peer at a time
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NITRO_LISTENER_H
#define NITRO_LISTENER_H

typedef struct NitroListener NitroListener;

/**
 * NitroAccepted: called from the main loop with a connected peer
 * @opaque: as given to nitro_listener_new()
 * @fd: the connection, close-on-exec, owned by the callee
 *
 * No other peer is accepted until nitro_listener_resume().
 */
typedef void NitroAccepted(void *opaque, int fd);

/**
 * nitro_listener_new: listen on a unix socket
 * @path: where; a stale socket there is replaced
 * @accepted: told about the peer
 * @opaque: passed to @accepted
 * @errp: filled in on failure
 *
 * Returns: the listener, or NULL.
 */
NitroListener *nitro_listener_new(const char *path, NitroAccepted *accepted,
                                  void *opaque, Error **errp);

/**
 * nitro_listener_resume: the peer has gone, accept another one
 * @listener: the listener
 */
void nitro_listener_resume(NitroListener *listener);

/**
 * nitro_listener_free: stop listening and remove the socket
 * @listener: the listener, or NULL
 */
void nitro_listener_free(NitroListener *listener);

#endif
