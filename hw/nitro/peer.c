/*
 * Nitro Enclaves: who connects to a device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/nitro/limits.h"
#include "peer.h"
#include "listener.h"
#include "qapi/error.h"
#include "vsock.h"

bool nitro_peer_check_port(const char *name, uint32_t port, uint32_t usual,
                           Error **errp)
{
    ERRP_GUARD();

    if (!port || port == UINT32_MAX || port == NITRO_HEARTBEAT_PORT) {
        error_setg(errp, "%s: vsock port %" PRIu32 " cannot be used", name,
                   port);
        error_append_hint(errp, "Use port=PORT, as in the image's "
                          "configuration (default %" PRIu32 ").\n", usual);
        return false;
    }
    return true;
}

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
                               bool taken, uint32_t *cid)
{
    *cid = 0;
    if (!nitro_vsock_peer_cid(sioc, cid)) {
        return "has no CID";
    }
    if (*cid != wanted) {
        return "is not our enclave";
    }
    if (taken) {
        return "has a connection already";
    }
    if (qio_channel_set_blocking(QIO_CHANNEL(sioc), false, NULL) < 0) {
        return "cannot be set up";
    }
    return NULL;
}
