/*
 * System calls that fail, part of the library to preload
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Environment:
 *   NE_FAKE_FAULT=CALL:ERRNO:NTH[:TIMES[:STEP]]
 *                              the NTH call (from 1) fails, after it every
 *                              STEPth (1), TIMES in all (0: for ever).  CALL:
 *                              open of the driver's node, close of an
 *                              enclave, sys for open() below /sys, read for
 *                              pread(), poll for ppoll()
 *   NE_FAKE_READ=BYTES         pread() gives at most that many
 *   NE_FAKE_RESIZE=NTH:SIZE    the file has this size from the NTH pread() on
 *   NE_FAKE_REWRITE=NTH        at the NTH pread() the file's last byte becomes
 *                              another
 *   NE_FAKE_BLOCK=FILE         this file seems to be a block device
 *   NE_FAKE_MEMORY=BYTES       the host seems to have this much
 *   NE_FAKE_LATE=CHARACTER     who receives just this gets it a second later
 *   NE_FAKE_THREADS=0          no thread can be created by those who can do
 *                              without
 */
#include "qemu/osdep.h"
#include <poll.h>
#include <sys/syscall.h>
#include "qemu/atomic.h"
#include "fake-fault.h"

#define KERNEL_SIGSET_SIZE 8

typedef struct Fault {
    char call[8];
    int err;
    unsigned nth;
    unsigned times;
    unsigned step;
    unsigned calls;
} Fault;

static Fault fault;
static unsigned reads;
static unsigned resize_nth;
static uint64_t resize_size;
static unsigned rewrite_nth;
static size_t most;
static struct stat block;
static char late;

static void __attribute__((constructor)) configure(void)
{
    const char *spec = getenv("NE_FAKE_FAULT");
    const char *resize = getenv("NE_FAKE_RESIZE");
    const char *rewrite = getenv("NE_FAKE_REWRITE");
    const char *bytes = getenv("NE_FAKE_READ");
    const char *device = getenv("NE_FAKE_BLOCK");
    const char *character = getenv("NE_FAKE_LATE");

    fault.step = 1;
    if (spec) {
        g_assert(sscanf(spec, "%7[a-z]:%i:%u:%u:%u", fault.call, &fault.err,
                        &fault.nth, &fault.times, &fault.step) >= 3);
    }
    if (resize) {
        g_assert(sscanf(resize, "%u:%" SCNu64, &resize_nth,
                        &resize_size) == 2);
    }
    rewrite_nth = rewrite ? atoi(rewrite) : 0;
    most = bytes ? atoi(bytes) : SIZE_MAX;
    late = character ? *character : 0;
    g_assert(!device || stat(device, &block) == 0);
}

bool fake_fault(const char *call)
{
    unsigned after;

    if (strcmp(call, fault.call)) {
        return false;
    }
    after = qatomic_fetch_inc(&fault.calls) + 1 - fault.nth;
    if ((int)after < 0 || after % fault.step ||
        (fault.times && after / fault.step >= fault.times)) {
        return false;
    }
    errno = fault.err;
    return true;
}

static void change_last_byte(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    off_t last = lseek(fd, -1, SEEK_END);
    char byte;

    g_assert(syscall(SYS_pread64, fd, &byte, 1, last) == 1);
    byte ^= 1;
    g_assert(pwrite(fd, &byte, 1, last) == 1);
    close(fd);
}

/* As if somebody else did it; the descriptor is open for reading only */
static void change_if_due(int fd)
{
    g_autofree char *path = NULL;
    unsigned nth;

    /* Measurements of how fast files are read must not include this */
    if (!resize_nth && !rewrite_nth) {
        return;
    }
    nth = qatomic_fetch_inc(&reads) + 1;
    path = g_strdup_printf("/proc/self/fd/%d", fd);
    if (nth == resize_nth) {
        g_assert(truncate(path, resize_size) == 0);
    }
    if (nth == rewrite_nth) {
        change_last_byte(path);
    }
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
    if (fake_fault("read")) {
        return -1;
    }
    change_if_due(fd);
    return syscall(SYS_pread64, fd, buf, MIN(len, most), offset);
}

int ppoll(struct pollfd *fds, nfds_t nr, const struct timespec *timeout,
          const sigset_t *mask)
{
    struct timespec left = timeout ? *timeout : (struct timespec) { };

    if (fake_fault("poll")) {
        return -1;
    }
    /* The kernel writes to what it is given, the library's function must not */
    return syscall(SYS_ppoll, fds, nr, timeout ? &left : NULL, mask,
                   KERNEL_SIGSET_SIZE);
}

/* A monitor, which receives single characters, is that far behind */
ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    ssize_t n = syscall(SYS_recvmsg, fd, msg, flags);

    if (late && n == 1 && *(char *)msg->msg_iov->iov_base == late) {
        g_usleep(G_USEC_PER_SEC);
    }
    return n;
}

/* A block device tells its size by its end, not by its status */
int fstat(int fd, struct stat *st)
{
    int ret = fstatat(fd, "", st, AT_EMPTY_PATH);

    if (ret == 0 && st->st_ino == block.st_ino &&
        st->st_dev == block.st_dev && block.st_ino) {
        st->st_mode = S_IFBLK | (st->st_mode & ~S_IFMT);
        st->st_size = 0;
    }
    return ret;
}

/* __sysconf() is the C library's own name of it */
long sysconf(int name)
{
    const char *bytes = name == _SC_PHYS_PAGES ? getenv("NE_FAKE_MEMORY")
                                               : NULL;

    return bytes ? g_ascii_strtoull(bytes, NULL, 0) / __sysconf(_SC_PAGESIZE)
                 : __sysconf(name);
}

GThread *g_thread_try_new(const char *name, GThreadFunc func, gpointer data,
                          GError **error)
{
    if (getenv("NE_FAKE_THREADS")) {
        g_set_error_literal(error, G_THREAD_ERROR, G_THREAD_ERROR_AGAIN,
                            "no more threads");
        return NULL;
    }
    return g_thread_new(name, func, data);
}
