/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * A table of mounts, in their order.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "mount.h"

struct mount_point {
    const char *type, *where;
    unsigned long flags;
    const char *options;
    mode_t mode;
};

#define NO_PROGRAMS (MS_NOSUID | MS_NOEXEC)

static const struct mount_point early[] = {
    { "devtmpfs", "/dev", MS_NOSUID, NULL, 0755 },
    { "proc", "/proc", NO_PROGRAMS | MS_NODEV, NULL, 0555 },
    { "sysfs", "/sys", NO_PROGRAMS | MS_NODEV, NULL, 0555 },
};

static const struct mount_point rest[] = {
    { "devpts", "/dev/pts", NO_PROGRAMS, "mode=620,ptmxmode=666", 0755 },
    { "tmpfs", "/dev/shm", NO_PROGRAMS | MS_NODEV, "mode=1777", 01777 },
    { "mqueue", "/dev/mqueue", NO_PROGRAMS | MS_NODEV, NULL, 01777 },
    { "cgroup2", "/sys/fs/cgroup", NO_PROGRAMS | MS_NODEV, NULL, 0555 },
    { "tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755", 0755 },
    { "tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777", 01777 },
};

/* Busy: the kernel has mounted it itself, as CONFIG_DEVTMPFS_MOUNT does */
static int mount_one(const struct mount_point *point)
{
    /* mkdir() applies the umask, which is for files of the application */
    if (!mkdir(point->where, point->mode)) {
        chmod(point->where, point->mode);
    }
    if (!mount(point->type, point->where, point->type, point->flags,
               point->options) || errno == EBUSY) {
        return 0;
    }
    return -1;
}

static void mount_all(const struct mount_point *points, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (mount_one(&points[i])) {
            warn("cannot mount %s at %s", points[i].type, points[i].where);
        }
    }
}

static void open_console(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);

    if (fd < 0) {
        fd = open("/dev/null", O_RDWR);
    }
    for (int i = 0; fd >= 0 && i < 3; i++) {
        dup2(fd, i);
    }
    if (fd > 2) {
        close(fd);
    }
}

void mount_early(void)
{
    mount_all(early, sizeof(early) / sizeof(early[0]));
    open_console();
}

int mount_root(const char *root)
{
    if (mount(root, root, NULL, MS_BIND, NULL) || chdir(root) ||
        mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/")) {
        return -1;
    }
    mount_all(early, sizeof(early) / sizeof(early[0]));
    return 0;
}

static void link_streams(void)
{
    static const char *const links[][2] = {
        { "/proc/self/fd", "/dev/fd" },
        { "/proc/self/fd/0", "/dev/stdin" },
        { "/proc/self/fd/1", "/dev/stdout" },
        { "/proc/self/fd/2", "/dev/stderr" },
    };

    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        if (symlink(links[i][0], links[i][1]) && errno != EEXIST) {
            warn("cannot link %s", links[i][1]);
        }
    }
}

void mount_rest(void)
{
    mount_all(rest, sizeof(rest) / sizeof(rest[0]));
    link_streams();
}
