/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The parent has CID 3, and the heartbeat port 9000, on EC2 and here.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "vsock.h"

#define HEARTBEAT_PORT      9000
#define HEARTBEAT           0xb7
#define HEARTBEAT_SECONDS   20
#define RETRY_US            100000

static int close_keeping_errno(int fd)
{
    int err = errno;

    close(fd);
    errno = err;
    return -1;
}

static int open_socket(int flags)
{
    return socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

/* Closes the socket when that fails */
static int connect_socket(int fd, unsigned port)
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK,
        .svm_cid = PARENT_CID,
        .svm_port = port,
    };

    errno = fd < 0 ? errno : 0;
    if (fd < 0 || !connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
        errno == EINPROGRESS) {
        return fd;
    }
    return close_keeping_errno(fd);
}

static int connect_once(unsigned port, int flags)
{
    return connect_socket(open_socket(flags), port);
}

/* Returns: 0 when it is not known */
static unsigned own_port(unsigned port)
{
    int fd = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
    unsigned cid = 0;

    if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid)) {
        cid = 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    return cid && port <= UINT16_MAX ? (port << 16) + cid : 0;
}

static int connect_stream(unsigned port)
{
    uint64_t size = STREAM_BUFFER;
    int fd = open_socket(0);

    if (fd >= 0) {
        setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &size,
                   sizeof(size));
        setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size,
                   sizeof(size));
    }
    fd = connect_socket(fd, port);
    if (fd >= 0 && fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK)) {
        return close_keeping_errno(fd);
    }
    return fd;
}

int vsock_stream(unsigned port)
{
    unsigned own = own_port(port);
    int fd = own ? connect_stream(own) : -1;

    return fd < 0 ? connect_stream(port) : fd;
}

int vsock_begin(unsigned port, bool own, bool *connecting)
{
    int fd = -1;

    port = own ? own_port(port) : port;
    if (port) {
        fd = connect_once(port, SOCK_NONBLOCK);
    }
    *connecting = fd >= 0 && errno == EINPROGRESS;
    return fd;
}

/* In blocking mode; @attempts, 100 ms apart */
static int connect_patiently(unsigned port, int attempts)
{
    int fd = -1;

    for (int i = 0; i < attempts && fd < 0; i++) {
        if (i > 0) {
            usleep(RETRY_US);
        }
        fd = connect_once(port, 0);
    }
    return fd;
}

int vsock_heartbeat(int attempts)
{
    struct timeval limit = { .tv_sec = HEARTBEAT_SECONDS };
    uint8_t byte = HEARTBEAT;
    int fd = connect_patiently(HEARTBEAT_PORT, attempts);
    ssize_t n;

    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (write(fd, &byte, 1) != 1) {
        return close_keeping_errno(fd);
    }
    n = read(fd, &byte, 1);
    if (n < 0) {
        return close_keeping_errno(fd);
    }
    close(fd);
    errno = EPROTO;
    return n == 1 && byte == HEARTBEAT ? 0 : -1;
}
