/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * lab vsock serve, again, many: many connections, one after another or at
 * once.  "again" ends a connection in one of these ways and connects from
 * the same port as soon as that can be bound:
 *
 *   orderly   exchange a byte, end the stream, wait for its other end, close
 *   both      exchange a byte, shut down both directions, close
 *   early     send a byte, close before the answer has come
 *   hasty     close before the connection is established
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "lab.h"

#define BACKLOG     4096
#define MAX_FILES   1000000
#define MAX_PORTS   64
#define BIND_US     1000
#define BIND_TRIES  20000

static void allow_many_files(void)
{
    struct rlimit limit = { MAX_FILES, MAX_FILES };

    if (setrlimit(RLIMIT_NOFILE, &limit)) {
        complain("RLIMIT_NOFILE");
    }
}

static int bound_socket(uint32_t port)
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK,
        .svm_cid = VMADDR_CID_ANY,
        .svm_port = port,
    };
    int fd = vsock_socket();

    for (int i = 0; i < BIND_TRIES; i++) {
        if (!bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
            return fd;
        }
        if (errno != EADDRINUSE) {
            break;
        }
        /* The connection before is not closed by its peer yet */
        usleep(BIND_US);
    }
    exit(complain("bind"));
}

/* Serving */

static void watch(int epoll, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) {
        exit(complain("epoll"));
    }
}

static void echo_some(int fd)
{
    static char buf[65536];
    ssize_t n = read(fd, buf, sizeof(buf));

    if (n <= 0 || !write_all(fd, buf, n)) {
        close(fd);
    }
}

int serve_echo(int listener)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[64];

    allow_many_files();
    if (epoll < 0 || listen(listener, BACKLOG)) {
        return complain("listen");
    }
    watch(epoll, listener);
    printf("serving\n");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll, events, 64, -1);

        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;

            if (fd == listener) {
                fd = accept(listener, NULL, NULL);
                if (fd < 0) {
                    return complain("accept");
                }
                watch(epoll, fd);
            } else {
                echo_some(fd);
            }
        }
    }
}

int vsock_serve(char **argv)
{
    return serve_echo(bound_socket(number(argv[0])));
}

/* The same ports again and again */

struct again {
    struct sockaddr_vm to;
    const char *how;
    int fds[MAX_PORTS];
    unsigned failed;
    double slowest;
};

static bool is(const struct again *a, const char *how)
{
    return !strcmp(a->how, how);
}

static bool exchange(struct again *a, int fd)
{
    char byte = 'x';

    if (write(fd, &byte, 1) != 1) {
        return false;
    }
    return is(a, "early") || read(fd, &byte, 1) == 1;
}

static bool finish(struct again *a, int fd)
{
    char byte;

    if (!exchange(a, fd)) {
        return false;
    }
    if (is(a, "orderly")) {
        return !shutdown(fd, SHUT_WR) && read(fd, &byte, 1) == 0;
    }
    return is(a, "early") || !shutdown(fd, SHUT_RDWR);
}

static void end(struct again *a, int *fd)
{
    if (*fd >= 0 && !is(a, "hasty") && !finish(a, *fd)) {
        complain("exchange");
        a->failed++;
    }
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

/* An attempt that is given up before the one that counts */
static void begin_hasty(struct again *a, uint32_t port)
{
    int fd = bound_socket(port);

    fcntl(fd, F_SETFL, O_NONBLOCK);
    connect(fd, (struct sockaddr *)&a->to, sizeof(a->to));
    close(fd);
}

static void begin(struct again *a, int *fd, uint32_t port)
{
    double begun;

    if (is(a, "hasty")) {
        begin_hasty(a, port);
    }
    *fd = bound_socket(port);
    begun = now();
    if (connect(*fd, (struct sockaddr *)&a->to, sizeof(a->to))) {
        complain("connect");
        a->failed++;
        close(*fd);
        *fd = -1;
    }
    if (now() - begun > a->slowest) {
        a->slowest = now() - begun;
    }
}

int vsock_again(char **argv)
{
    struct again a = {
        .to = {
            .svm_family = AF_VSOCK,
            .svm_cid = number(argv[0]),
            .svm_port = number(argv[1]),
        },
        .how = argv[5],
    };
    unsigned count = number(argv[2]), source = number(argv[3]);
    unsigned ports = number(argv[4]);
    double begun = now();

    memset(a.fds, -1, sizeof(a.fds));
    if (!ports || ports > MAX_PORTS) {
        fprintf(stderr, "lab: 1 to %d ports\n", MAX_PORTS);
        return 2;
    }
    for (unsigned i = 0; i < count; i++) {
        end(&a, &a.fds[i % ports]);
        begin(&a, &a.fds[i % ports], source + i % ports);
    }
    for (unsigned i = 0; i < ports; i++) {
        end(&a, &a.fds[i]);
    }
    printf("%u connections, %u failed, %.1f s, slowest connect %.0f ms\n",
           count, a.failed, now() - begun, a.slowest * 1e3);
    return a.failed != 0;
}

/* Many at once */

int vsock_many(char **argv)
{
    unsigned count = number(argv[2]);
    int *fds = calloc(count, sizeof(*fds));
    double begun = now(), open;
    char byte = 'x';

    allow_many_files();
    for (unsigned i = 0; i < count; i++) {
        fds[i] = vsock_dial(argv[0], argv[1]);
    }
    open = now();
    for (unsigned i = 0; i < count; i++) {
        if (write(fds[i], &byte, 1) != 1) {
            return complain("write");
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (read(fds[i], &byte, 1) != 1) {
            return complain("read");
        }
    }
    printf("%u connections, open after %.1f s, echoed after %.1f s\n", count,
           open - begun, now() - open);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0) {
        /* until it ends */
    }
    return 0;
}
