/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * lab vsock proxy PORT PATH: each peer of vsock port PORT gets one of those
 * who connect to the unix socket PATH.  These are relays of the host, of which
 * one always waits; its first line is the peer's CID, then come the peer's
 * bytes.  When one side ends its connection, so does the other.
 */

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "lab.h"

#define BACKLOG 64

static int listen_unix(const char *path)
{
    struct sockaddr_un addr;
    int fd = unix_socket(path, &addr);

    if (fd < 0) {
        return -1;
    }
    unlink(path);
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
        listen(fd, BACKLOG)) {
        return -1;
    }
    return fd;
}

static int listen_vsock(uint32_t port)
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK,
        .svm_cid = VMADDR_CID_ANY,
        .svm_port = port,
    };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
        listen(fd, BACKLOG)) {
        return -1;
    }
    return fd;
}

/* One block; false at the end of either side */
static bool copy_some(int from, int to)
{
    static char buf[65536];
    ssize_t n = read(from, buf, sizeof(buf));

    return n > 0 && write_all(to, buf, n);
}

static void relay_pair(int peer, int relay, unsigned cid)
{
    struct pollfd fds[2] = {
        { .fd = peer, .events = POLLIN },
        { .fd = relay, .events = POLLIN },
    };

    if (dprintf(relay, "%u\n", cid) < 0) {
        return;
    }
    while (poll(fds, 2, -1) > 0) {
        if ((fds[0].revents && !copy_some(peer, relay)) ||
            (fds[1].revents && !copy_some(relay, peer))) {
            return;
        }
    }
}

int vsock_proxy(char **argv)
{
    int peers = listen_vsock(number(argv[0])), relays;

    if (peers < 0) {
        return complain("listen");
    }
    relays = listen_unix(argv[1]);
    if (relays < 0) {
        return complain(argv[1]);
    }
    signal(SIGCHLD, SIG_IGN);
    printf("listening\n");
    fflush(stdout);
    for (;;) {
        struct sockaddr_vm addr;
        socklen_t len = sizeof(addr);
        int relay = accept(relays, NULL, NULL);
        int peer = relay < 0 ? -1
                   : accept(peers, (struct sockaddr *)&addr, &len);

        if (peer < 0) {
            return complain("accept");
        }
        if (!fork()) {
            relay_pair(peer, relay, addr.svm_cid);
            _exit(0);
        }
        close(peer);
        close(relay);
    }
}
