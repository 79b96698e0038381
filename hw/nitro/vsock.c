/*
 * Nitro Enclaves: AF_VSOCK of the parent
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#ifdef CONFIG_AF_VSOCK
#include <linux/vm_sockets.h>
#endif
#include "qemu/sockets.h"
#include "vsock.h"

SocketAddress *nitro_vsock_address(uint32_t cid, uint32_t port)
{
    SocketAddress *addr = g_new0(SocketAddress, 1);

    addr->type = SOCKET_ADDRESS_TYPE_VSOCK;
    addr->u.vsock.cid = g_strdup_printf("%" PRIu32, cid);
    addr->u.vsock.port = g_strdup_printf("%" PRIu32, port);
    return addr;
}

#ifdef CONFIG_AF_VSOCK
int nitro_vsock_listen(uint32_t port, int backlog)
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK,
        .svm_port = port,
        .svm_cid = VMADDR_CID_ANY,
    };
    int fd = qemu_socket(AF_VSOCK, SOCK_STREAM, 0);
    int err;

    if (fd < 0) {
        return -errno;
    }
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(fd, backlog) < 0) {
        err = errno;
        close(fd);
        return -err;
    }
    return fd;
}

bool nitro_vsock_peer_cid(const QIOChannelSocket *sioc, uint32_t *cid)
{
    const struct sockaddr_vm *addr = (struct sockaddr_vm *)&sioc->remoteAddr;

    if (sioc->remoteAddrLen < sizeof(*addr) || addr->svm_family != AF_VSOCK) {
        return false;
    }
    *cid = addr->svm_cid;
    return true;
}

/* Without that buffer the stream is slower, nothing else */
void nitro_vsock_set_buffer(QIOChannelSocket *sioc, uint64_t bytes)
{
    setsockopt(sioc->fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &bytes,
               sizeof(bytes));
    setsockopt(sioc->fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &bytes,
               sizeof(bytes));
}
#else
int nitro_vsock_listen(uint32_t port, int backlog)
{
    return -EAFNOSUPPORT;
}

bool nitro_vsock_peer_cid(const QIOChannelSocket *sioc, uint32_t *cid)
{
    return false;
}

void nitro_vsock_set_buffer(QIOChannelSocket *sioc, uint64_t bytes)
{
}
#endif
