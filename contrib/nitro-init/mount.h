/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * File systems of the enclave: what an application expects to find.
 */

#ifndef NITRO_INIT_MOUNT_H
#define NITRO_INIT_MOUNT_H

/*
 * mount_early: /dev, /proc and /sys, and the console as standard streams
 *
 * Comes first: everything else reports on the console.
 */
void mount_early(void);

/*
 * mount_root: make directory @root the root, as AWS's init does
 *
 * Returns: 0, or -1 with errno set.  A ramdisk cannot be pivoted away, so
 * the old root stays below, unreachable by name.
 */
int mount_root(const char *root);

/*
 * mount_rest: in the final root, all of /dev, /dev/pts, /dev/shm,
 * /dev/mqueue, /proc, /sys, /sys/fs/cgroup, /run and /tmp, and the links
 * /dev/fd, /dev/stdin, /dev/stdout and /dev/stderr
 *
 * One that fails is a warning: few applications need all of them.
 */
void mount_rest(void);

#endif
