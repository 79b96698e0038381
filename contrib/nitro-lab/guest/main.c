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
    { "connections", connections_main },
    { "attest", attest_main },
    { "dns", dns_main },
    { "tcp", tcp_main },
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

int unix_socket(const char *path, struct sockaddr_un *addr)
{
    *addr = (struct sockaddr_un) { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(addr->sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(addr->sun_path, path, strlen(path));
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* One block from @fd to stdout: 1 copied, 0 end of @fd, -1 error */
static int copy_out(int fd)
{
    static char buf[65536];
    ssize_t n = read(fd, buf, sizeof(buf));

    if (n <= 0) {
        return n;
    }
    return write_all(STDOUT_FILENO, buf, n) ? 1 : -1;
}

/* From stdin to the peer, which may take it late, in part, or not at all */
struct input {
    char buf[65536];
    size_t have, done;
    bool ended;
};

static void end_input(struct input *in, int fd)
{
    shutdown(fd, SHUT_WR);
    in->have = in->done = 0;
    in->ended = true;
}

static void read_input(struct input *in, int fd)
{
    ssize_t n = read(STDIN_FILENO, in->buf, sizeof(in->buf));

    if (n <= 0) {
        end_input(in, fd);
        return;
    }
    in->have = n;
    in->done = 0;
}

static void send_input(struct input *in, int fd)
{
    ssize_t n = send(fd, in->buf + in->done, in->have - in->done,
                     MSG_DONTWAIT);

    if (n >= 0) {
        in->done += n;
    } else if (errno != EAGAIN && errno != EINTR) {
        end_input(in, fd);
    }
}

/*
 * When the peer has closed before our shutdown(), Linux' vsock forgets that
 * it was orderly: read() then fails with ENOTCONN in place of 0.
 *
 * Never waits for the peer to read while the peer may wait for us: echoes
 * would stand still with both directions full.
 */
int relay_stdio(int fd)
{
    static struct input in;

    for (;;) {
        bool full = in.done < in.have;
        struct pollfd fds[2] = {
            { .fd = fd, .events = POLLIN | (full ? POLLOUT : 0) },
            { .fd = full || in.ended ? -1 : STDIN_FILENO, .events = POLLIN },
        };

        if (poll(fds, 2, -1) < 0) {
            return complain("poll");
        }
        if (fds[0].revents & ~POLLOUT) {
            int r = copy_out(fd);

            if (r < 0 && !(in.ended && errno == ENOTCONN)) {
                return complain("read");
            }
            if (r <= 0) {
                return 0;
            }
        }
        if (fds[0].revents & POLLOUT) {
            send_input(&in, fd);
        }
        if (fds[1].revents) {
            read_input(&in, fd);
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
    fprintf(stderr,
            "usage: lab agent | relay | vsock | ne | connections | attest"
            " | dns | tcp ...\n");
    return 2;
}
