/*
 * Nitro Enclaves: vsock addresses of streams
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#ifdef CONFIG_AF_VSOCK
#include <linux/vm_sockets.h>
#endif
#include "vsock-address.h"

SocketAddress *nitro_vsock_address(uint32_t cid, uint32_t port)
{
    SocketAddress *addr = g_new0(SocketAddress, 1);

    addr->type = SOCKET_ADDRESS_TYPE_VSOCK;
    addr->u.vsock.cid = g_strdup_printf("%" PRIu32, cid);
    addr->u.vsock.port = g_strdup_printf("%" PRIu32, port);
    return addr;
}

#ifdef CONFIG_AF_VSOCK
bool nitro_vsock_peer_cid(const QIOChannelSocket *sioc, uint32_t *cid)
{
    const struct sockaddr_vm *addr = (struct sockaddr_vm *)&sioc->remoteAddr;

    if (sioc->remoteAddrLen < sizeof(*addr) || addr->svm_family != AF_VSOCK) {
        return false;
    }
    *cid = addr->svm_cid;
    return true;
}
#else
bool nitro_vsock_peer_cid(const QIOChannelSocket *sioc, uint32_t *cid)
{
    return false;
}
#endif
