/*
 * Nitro Enclaves: who connects to a device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "peer.h"
#include "listener.h"
#include "qapi/error.h"
#include "system/nitro-compat.h"
#include "vsock.h"

QIONetListener *nitro_peer_listen(uint32_t port, uint32_t cid, int backlog,
                                  const char *name, const char *setting,
                                  Error **errp)
{
    ERRP_GUARD();
    uint32_t own = nitro_vsock_own_port(port, cid);
    g_autoptr(SocketAddress) addr = nitro_vsock_address(NITRO_VSOCK_CID_ANY,
                                                        own);
    QIONetListener *listener = nitro_listener_open(addr, backlog, name, errp);

    if (!listener) {
        error_prepend(errp, "%s: cannot listen on vsock port %" PRIu32 ": ",
                      name, own);
        error_append_hint(errp, "End the program that has it (ss --vsock "
                          "-lp), or use port=PORT and the same '%s PORT' in "
                          "the image's configuration.\n", setting);
    }
    return listener;
}

const char *nitro_peer_refusal(QIOChannelSocket *sioc, uint32_t wanted,
                               uint32_t *cid)
{
    *cid = 0;
    if (!nitro_vsock_peer_cid(sioc, cid)) {
        return "has no CID";
    }
    if (*cid != wanted) {
        return "is not our enclave";
    }
    if (!nitro_set_nonblocking(QIO_CHANNEL(sioc), NULL)) {
        return "cannot be set up";
    }
    return NULL;
}
