/*
 * Directory for sockets and logs
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/file.h>
#include "qapi/error.h"
#include "runtime-dir.h"

static bool runtime_dir_create(NhvRuntimeDir *dir, Error **errp)
{
    if (mkdir(dir->path, 0700) == 0) {
        dir->made = true;
    } else if (errno != EEXIST) {
        error_setg_errno(errp, errno, "cannot create runtime directory %s",
                         dir->path);
        error_append_hint(errp, "Give --runtime-dir a path in a directory "
                          "you may write to\n");
        return false;
    }
    return true;
}

/* Somebody else's permissions are not ours to change */
static bool check_private(NhvRuntimeDir *dir, Error **errp)
{
    struct stat st;

    if (stat(dir->path, &st)) {
        error_setg_errno(errp, errno, "cannot use %s as runtime directory",
                         dir->path);
    } else if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
               st.st_mode & 077) {
        error_setg(errp, "%s is open to others or not your directory",
                   dir->path);
    } else {
        return true;
    }
    error_append_hint(errp, "Give --runtime-dir " NHV_HINT_PRIVATE_DIR);
    return false;
}

/* A second process would take the sockets away */
static bool runtime_dir_lock(NhvRuntimeDir *dir, Error **errp)
{
    dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir->fd < 0 || flock(dir->fd, LOCK_EX | LOCK_NB)) {
        error_setg_errno(errp, errno, "cannot lock %s", dir->path);
        error_append_hint(errp, "Another nitro-hypervisor may be using it; "
                          "end that one or use another --runtime-dir\n");
        return false;
    }
    return true;
}

bool nhv_runtime_dir_open(NhvRuntimeDir *dir, const char *path,
                          Error **errp)
{
    *dir = (NhvRuntimeDir) { .path = g_strdup(path), .fd = -1 };
    return runtime_dir_create(dir, errp) && check_private(dir, errp) &&
           runtime_dir_lock(dir, errp);
}

void nhv_runtime_dir_close(NhvRuntimeDir *dir)
{
    if (!dir->path) {
        return;
    }
    if (dir->made) {
        rmdir(dir->path);
    }
    if (dir->fd >= 0) {
        close(dir->fd);
    }
    g_free(dir->path);
    *dir = (NhvRuntimeDir) { };
}
