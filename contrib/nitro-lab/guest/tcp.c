/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * lab tcp: connections to an echo service, and that service.
 *
 *   many ADDRESS PORT COUNT WIDTH
 *                   so many connections, WIDTH of them open at the same time;
 *                   each sends its number and has to get that back, and then
 *                   the end of the stream
 *   serve PORT      echo to any number of peers, from one process
 */

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab.h"

static int dial(const struct sockaddr_in *addr)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *)addr, sizeof(*addr))) {
        exit(complain("connect"));
    }
    return fd;
}

/* Returns: whether exactly the number came back */
static bool is_echoed(int fd, uint32_t value)
{
    uint32_t got = ~value;
    size_t have = 0;
    ssize_t n = 1;

    if (!write_all(fd, &value, sizeof(value)) || shutdown(fd, SHUT_WR)) {
        return false;
    }
    while (have < sizeof(got) && n > 0) {
        n = read(fd, (char *)&got + have, sizeof(got) - have);
        have += n > 0 ? n : 0;
    }
    return got == value && read(fd, &got, 1) == 0;
}

/* Open all, then use all; returns how many were echoed */
static unsigned echo_group(const struct sockaddr_in *addr, uint32_t first,
                           unsigned width)
{
    int *fds = calloc(width, sizeof(*fds));
    unsigned good = 0;

    for (unsigned i = 0; i < width; i++) {
        fds[i] = dial(addr);
    }
    for (unsigned i = 0; i < width; i++) {
        good += is_echoed(fds[i], first + i);
        close(fds[i]);
    }
    free(fds);
    return good;
}

static int many(char **argv)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(number(argv[1])),
    };
    unsigned count = number(argv[2]), width = number(argv[3]), good = 0;

    if (inet_pton(AF_INET, argv[0], &addr.sin_addr) != 1 || !width) {
        fprintf(stderr, "lab: an address and a width are needed\n");
        return 2;
    }
    for (unsigned done = 0; done < count; done += width) {
        good += echo_group(&addr, done, width < count - done ? width
                                                             : count - done);
    }
    printf("%u of %u echoed\n", good, count);
    return good != count;
}

static int serve(char **argv)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(number(argv[0])),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
        return complain("bind");
    }
    return serve_echo(fd);
}

int tcp_main(int argc, char **argv)
{
    if (argc == 6 && !strcmp(argv[1], "many")) {
        return many(argv + 2);
    }
    if (argc == 3 && !strcmp(argv[1], "serve")) {
        return serve(argv + 2);
    }
    fprintf(stderr, "usage: lab tcp many ADDRESS PORT COUNT WIDTH |"
            " serve PORT\n");
    return 2;
}
