/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * lab relay PATH: stdin and stdout become a connection to the unix socket
 * PATH, for instance the QMP socket of the QEMU under test.  The socket may
 * appear up to ten seconds late; SIGTERM ends the wait, but not a relay.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab.h"

#define RETRY_US 20000
#define RETRIES  500

static int connect_unix(const char *path)
{
    struct sockaddr_un addr;
    int fd = unix_socket(path, &addr);

    if (fd < 0) {
        return -1;
    }
    for (int i = 0; i < RETRIES; i++) {
        if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
            return fd;
        }
        if (errno != ENOENT && errno != ECONNREFUSED) {
            return -1;
        }
        usleep(RETRY_US);
    }
    return -1;
}

int relay_main(int argc, char **argv)
{
    int fd;

    if (argc != 2) {
        fprintf(stderr, "usage: lab relay PATH\n");
        return 2;
    }
    fd = connect_unix(argv[1]);
    if (fd < 0) {
        return complain(argv[1]);
    }
    signal(SIGTERM, SIG_IGN);
    return relay_stdio(fd);
}
