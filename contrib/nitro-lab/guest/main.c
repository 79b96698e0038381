/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Command dispatch of the parent guest's tool, and what commands share.
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab.h"

static const struct {
    const char *name;
    int (*main)(int argc, char **argv);
} commands[] = {
    { "agent", agent_main },
    { "relay", relay_main },
    { "vsock", vsock_main },
    { "ne", ne_main },
};

int complain(const char *text)
{
    fprintf(stderr, "lab: %s: %s\n", text, strerror(errno));
    return 1;
}

uint64_t number(const char *text)
{
    uint64_t value;
    char rest;

    if (sscanf(text, "%" SCNi64 "%c", (int64_t *)&value, &rest) != 1) {
        fprintf(stderr, "lab: '%s' is not a number\n", text);
        exit(2);
    }
    return value;
}

bool write_all(int fd, const void *buf, size_t len)
{
    const char *p = buf;

    while (len) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EAGAIN) {
            struct pollfd wait = { .fd = fd, .events = POLLOUT };

            poll(&wait, 1, -1);
            continue;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            p += n;
            len -= n;
        }
    }
    return true;
}

/* One block from @from to @to: 1 copied, 0 end of @from, -1 error */
static int copy_block(int from, int to)
{
    static char buf[65536];
    ssize_t n = read(from, buf, sizeof(buf));

    if (n <= 0) {
        return n;
    }
    return write_all(to, buf, n) ? 1 : -1;
}

int relay_stdio(int fd)
{
    struct pollfd fds[2] = {
        { .fd = fd, .events = POLLIN },
        { .fd = STDIN_FILENO, .events = POLLIN },
    };

    for (;;) {
        if (poll(fds, 2, -1) < 0) {
            return complain("poll");
        }
        if (fds[0].revents) {
            int r = copy_block(fd, STDOUT_FILENO);

            if (r <= 0) {
                return r ? complain("read") : 0;
            }
        }
        if (fds[1].revents && copy_block(STDIN_FILENO, fd) <= 0) {
            shutdown(fd, SHUT_WR);
            fds[1].fd = -1;
        }
    }
}

int main(int argc, char **argv)
{
    size_t i;

    signal(SIGPIPE, SIG_IGN);
    for (i = 0; argc > 1 && i < sizeof(commands) / sizeof(*commands); i++) {
        if (!strcmp(argv[1], commands[i].name)) {
            return commands[i].main(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "usage: lab agent | relay | vsock | ne ...\n");
    return 2;
}
