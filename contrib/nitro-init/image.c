/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * A loop device, the squashfs on it, and an overlay of that and a tmpfs.
 */

#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"

#define LOWER "/nitro/lower"
#define WRITABLE "/nitro/writable"
#define UPPER WRITABLE "/upper"
#define WORK WRITABLE "/work"
#define OPTIONS "lowerdir=" LOWER ",upperdir=" UPPER ",workdir=" WORK

static int free_device(char *name, size_t size)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

    if (control >= 0) {
        close(control);
    }
    snprintf(name, size, "/dev/loop%d", number);
    return number < 0 ? -1 : 0;
}

/* The mount keeps the device, the device keeps the file */
static const char *mount_image(const char *image)
{
    char name[32];
    int file = open(image, O_RDONLY | O_CLOEXEC), device;

    if (file < 0) {
        return "cannot open it";
    }
    if (free_device(name, sizeof(name))) {
        return "no loop device";
    }
    device = open(name, O_RDONLY | O_CLOEXEC);
    if (device < 0 || ioctl(device, LOOP_SET_FD, file)) {
        return "cannot set up a loop device";
    }
    if (mount(name, LOWER, "squashfs", MS_RDONLY, NULL)) {
        return "cannot mount the squashfs";
    }
    close(device);
    close(file);
    return NULL;
}

/* An overlay takes the attributes of its root from the upper directory */
static int copy_attributes(void)
{
    struct stat st;

    return stat(LOWER, &st) || chown(UPPER, st.st_uid, st.st_gid) ||
           chmod(UPPER, st.st_mode & 07777) ? -1 : 0;
}

const char *image_mount(const char *image, const char *target)
{
    const char *failed;

    mkdir(LOWER, 0755);
    mkdir(WRITABLE, 0755);
    mkdir(target, 0755);
    failed = mount_image(image);
    if (failed) {
        return failed;
    }
    if (mount("tmpfs", WRITABLE, "tmpfs", 0, "mode=755") ||
        mkdir(UPPER, 0755) || mkdir(WORK, 0755) || copy_attributes()) {
        return "no memory file system on top of the squashfs";
    }
    return mount("overlay", target, "overlay", 0, OPTIONS)
           ? "cannot mount the overlay" : NULL;
}
