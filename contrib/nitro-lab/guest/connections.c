/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * lab connections: the vsock connections of the parent, by the kernel's
 * socket monitoring (needs module vsock_diag).  Prints one line for each:
 *
 *   connection LOCAL-CID LOCAL-PORT CID PORT
 */

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/vm_sockets_diag.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab.h"

#define ESTABLISHED 1

static bool ask(int fd)
{
    struct {
        struct nlmsghdr header;
        struct vsock_diag_req request;
    } message = {
        .header = {
            .nlmsg_len = sizeof(message),
            .nlmsg_type = SOCK_DIAG_BY_FAMILY,
            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
        },
        .request = {
            .sdiag_family = AF_VSOCK,
            .vdiag_states = 1 << ESTABLISHED,
        },
    };

    return send(fd, &message, sizeof(message), 0) == sizeof(message);
}

/* Prints what one datagram holds: 1 there is more, 0 end, -1 error */
static int answer(int fd)
{
    static char buf[65536];
    ssize_t n = recv(fd, buf, sizeof(buf), 0);
    struct nlmsghdr *h = (struct nlmsghdr *)buf;

    if (n <= 0) {
        return -1;
    }
    for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
        struct vsock_diag_msg *m = NLMSG_DATA(h);

        if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY) {
            return h->nlmsg_type == NLMSG_DONE ? 0 : -1;
        }
        if (m->vdiag_state == ESTABLISHED) {
            printf("connection %u %u %u %u\n", m->vdiag_src_cid,
                   m->vdiag_src_port, m->vdiag_dst_cid, m->vdiag_dst_port);
        }
    }
    return 1;
}

int connections_main(int argc, char **argv)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    int more = fd >= 0 && ask(fd) ? 1 : -1;

    while (more > 0) {
        more = answer(fd);
    }
    if (fd >= 0) {
        close(fd);
    }
    return more ? complain("vsock connections") : 0;
}
