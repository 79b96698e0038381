/*
 * Nitro Enclaves: vsock addresses
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/vm_sockets.h>
#include "hw/nitro/vsock.h"
#include "qemu/module.h"

QEMU_BUILD_BUG_ON(NITRO_VSOCK_CID_ANY != VMADDR_CID_ANY);

static void test_address(void)
{
    g_autoptr(SocketAddress) addr = nitro_vsock_address(UINT32_MAX, 9000);

    g_assert_cmpint(addr->type, ==, SOCKET_ADDRESS_TYPE_VSOCK);
    g_assert_cmpstr(addr->u.vsock.cid, ==, "4294967295");
    g_assert_cmpstr(addr->u.vsock.port, ==, "9000");
}

static void test_peer(void)
{
    g_autoptr(QIOChannelSocket) sioc = qio_channel_socket_new();
    struct sockaddr_vm *addr = (struct sockaddr_vm *)&sioc->remoteAddr;
    uint32_t cid = 0;

    addr->svm_family = AF_VSOCK;
    addr->svm_cid = 16;
    sioc->remoteAddrLen = sizeof(*addr);
    g_assert_true(nitro_vsock_peer_cid(sioc, &cid));
    g_assert_cmpint(cid, ==, 16);

    sioc->remoteAddrLen = sizeof(*addr) - 1;
    g_assert_false(nitro_vsock_peer_cid(sioc, &cid));
    sioc->remoteAddrLen = sizeof(*addr);
    addr->svm_family = AF_UNIX;
    g_assert_false(nitro_vsock_peer_cid(sioc, &cid));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    g_test_add_func("/nitro/address/made", test_address);
    g_test_add_func("/nitro/address/peer", test_peer);
    return g_test_run();
}
