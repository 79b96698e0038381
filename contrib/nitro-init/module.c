/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The kernel reads the file itself and decompresses it if it can.
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "module.h"

/* linux/module.h; kernels before 5.17 do not know it */
#ifndef MODULE_INIT_COMPRESSED_FILE
#define MODULE_INIT_COMPRESSED_FILE 4
#endif

static int is_compressed(const char *path)
{
    const char *suffix = strrchr(path, '.');

    return suffix && strcmp(suffix, ".ko");
}

int module_load(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), result, err;

    if (fd < 0) {
        return -1;
    }
    result = syscall(SYS_finit_module, fd, "", is_compressed(path)
                     ? MODULE_INIT_COMPRESSED_FILE : 0);
    err = errno;
    close(fd);
    errno = err;
    return result && err != EEXIST ? -1 : 0;
}
