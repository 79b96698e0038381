/*
 * vsock by unix sockets, part of the library to preload
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The real vsock of the machine that runs the tests is never touched.  With
 * NE_FAKE_VSOCK=DIR a listener on port P is the unix socket DIR/P, a
 * connection to port P of CID C goes to DIR/C-P; peers that are accepted seem
 * to have the enclave's CID, or NE_FAKE_PEER_CID.  A port is free again when
 * its listener is closed.  Without NE_FAKE_VSOCK the machine seems to have no
 * vsock.
 */
#include "qemu/osdep.h"
#include <sys/syscall.h>
#include <sys/un.h>
#include <linux/vm_sockets.h>
#include "fake-vsock.h"

#define MAX_FD 1024
#define PARENT_CID 3

static bool is_vsock[MAX_FD];
static char *bound[MAX_FD];             /* path of a listener */
static uint32_t enclave_cid;

void fake_vsock_set_cid(uint32_t cid)
{
    enclave_cid = cid;
}

void fake_vsock_forget(int fd)
{
    if (fd >= 0 && fd < MAX_FD) {
        is_vsock[fd] = false;
        if (bound[fd]) {
            unlink(bound[fd]);
        }
        g_clear_pointer(&bound[fd], g_free);
    }
}

static bool mapped(int fd)
{
    return fd >= 0 && fd < MAX_FD && is_vsock[fd];
}

static int remember(int fd)
{
    if (fd >= 0 && fd < MAX_FD) {
        is_vsock[fd] = true;
    }
    return fd;
}

static uint32_t peer_cid(void)
{
    const char *cid = getenv("NE_FAKE_PEER_CID");

    return cid ? atoi(cid) : enclave_cid;
}

static void unix_path(struct sockaddr_un *un, const struct sockaddr_vm *vm,
                      bool remote)
{
    const char *dir = getenv("NE_FAKE_VSOCK");
    g_autofree char *path = remote
        ? g_strdup_printf("%s/%u-%u", dir, vm->svm_cid, vm->svm_port)
        : g_strdup_printf("%s/%u", dir, vm->svm_port);

    *un = (struct sockaddr_un) { .sun_family = AF_UNIX };
    g_assert(strlen(path) < sizeof(un->sun_path));
    memcpy(un->sun_path, path, strlen(path));
}

static void vsock_address(struct sockaddr *addr, socklen_t *len, uint32_t cid)
{
    struct sockaddr_vm vm = {
        .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = 1024,
    };

    if (addr) {
        memcpy(addr, &vm, MIN(*len, sizeof(vm)));
        *len = sizeof(vm);
    }
}

int socket(int domain, int type, int protocol)
{
    if (domain != AF_VSOCK) {
        return syscall(SYS_socket, domain, type, protocol);
    }
    if (!getenv("NE_FAKE_VSOCK")) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return remember(syscall(SYS_socket, AF_UNIX, type, 0));
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct sockaddr_un un;
    int ret;

    if (!mapped(fd)) {
        return syscall(SYS_bind, fd, addr, len);
    }
    unix_path(&un, (const void *)addr, false);
    ret = syscall(SYS_bind, fd, &un, sizeof(un));
    if (ret == 0) {
        bound[fd] = g_strdup(un.sun_path);
    }
    return ret;
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct sockaddr_un un;

    if (!mapped(fd)) {
        return syscall(SYS_connect, fd, addr, len);
    }
    unix_path(&un, (const void *)addr, true);
    return syscall(SYS_connect, fd, &un, sizeof(un));
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    int ret;

    if (!mapped(fd)) {
        return syscall(SYS_accept4, fd, addr, len, flags);
    }
    ret = syscall(SYS_accept4, fd, NULL, NULL, flags);
    if (ret >= 0) {
        vsock_address(addr, len, peer_cid());
    }
    return remember(ret);
}

int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    return accept4(fd, addr, len, 0);
}

int getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
    if (!mapped(fd)) {
        return syscall(SYS_getsockname, fd, addr, len);
    }
    vsock_address(addr, len, PARENT_CID);
    return 0;
}

int getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
    if (!mapped(fd)) {
        return syscall(SYS_getpeername, fd, addr, len);
    }
    vsock_address(addr, len, peer_cid());
    return 0;
}
