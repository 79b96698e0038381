/*
 * Private files of the keys with which enclaves attest
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <dirent.h>
#include <sys/file.h>
#include "qapi/error.h"
#include "pki-dir.h"
#include "runtime-dir.h"

#define LOCK_NAME "lock"
/* A file that is being written; the lock's owner has the only one */
#define NEW_NAME ".new"
#define FILE_MAX (64 * 1024)

static bool is_private(const struct stat *st)
{
    return st->st_uid == geteuid() && !(st->st_mode & 077);
}

static bool open_directory(NhvPkiDir *dir, Error **errp)
{
    struct stat st;

    if (mkdir(dir->path, 0700) && errno != EEXIST) {
        error_setg_errno(errp, errno, "cannot create %s", dir->path);
        return false;
    }
    dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir->fd < 0 || fstat(dir->fd, &st)) {
        error_setg_errno(errp, errno, "cannot use %s for keys", dir->path);
        return false;
    }
    if (!is_private(&st)) {
        error_setg(errp, "%s is open to others or not your directory",
                   dir->path);
        error_append_hint(errp, "Give " NHV_HINT_PRIVATE_DIR);
        return false;
    }
    return true;
}

static bool take_lock(NhvPkiDir *dir, Error **errp)
{
    dir->lock_fd = openat(dir->fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC |
                          O_NOFOLLOW, 0600);
    if (dir->lock_fd < 0 || RETRY_ON_EINTR(flock(dir->lock_fd, LOCK_EX))) {
        error_setg_errno(errp, errno, "cannot lock %s", dir->path);
        return false;
    }
    return true;
}

bool nhv_pki_dir_open(NhvPkiDir *dir, const char *path, Error **errp)
{
    ERRP_GUARD();

    *dir = (NhvPkiDir) { .path = g_strdup(path), .fd = -1, .lock_fd = -1 };
    return open_directory(dir, errp) && take_lock(dir, errp);
}

void nhv_pki_dir_unlock(NhvPkiDir *dir)
{
    if (dir->lock_fd >= 0) {
        close(dir->lock_fd);
        dir->lock_fd = -1;
    }
}

void nhv_pki_dir_close(NhvPkiDir *dir)
{
    nhv_pki_dir_unlock(dir);
    if (dir->fd >= 0) {
        close(dir->fd);
    }
    g_free(dir->path);
    *dir = (NhvPkiDir) { .fd = -1, .lock_fd = -1 };
}

static bool is_ours(const char *name)
{
    static const char *const names[] = { ".", "..", LOCK_NAME, NEW_NAME, NULL };

    return g_strv_contains(names, name);
}

bool nhv_pki_dir_is_empty(const NhvPkiDir *dir)
{
    DIR *entries = opendir(dir->path);
    struct dirent *entry;
    bool empty = true;

    while (entries && empty && (entry = readdir(entries))) {
        empty = is_ours(entry->d_name);
    }
    if (entries) {
        closedir(entries);
    }
    return entries && empty;
}

static bool check_file(const NhvPkiDir *dir, const char *name, int fd,
                       size_t *size, Error **errp)
{
    ERRP_GUARD();
    struct stat st;

    if (fstat(fd, &st)) {
        error_setg_errno(errp, errno, "cannot read %s/%s", dir->path, name);
        return false;
    }
    if (!S_ISREG(st.st_mode) || !is_private(&st)) {
        error_setg(errp, "%s/%s is open to others or not your file",
                   dir->path, name);
        error_append_hint(errp, "If nobody else had the key, 'chmod 600' the "
                          "file; otherwise remove the directory\n");
        return false;
    }
    if (st.st_size > FILE_MAX) {
        error_setg(errp, "%s/%s has %" PRId64 " bytes, a key with its "
                   "certificate at most %d", dir->path, name,
                   (int64_t)st.st_size, FILE_MAX);
        return false;
    }
    *size = st.st_size;
    return true;
}

static bool read_whole(const NhvPkiDir *dir, const char *name, int fd,
                       GString **text, Error **errp)
{
    size_t size;
    ssize_t n;

    if (!check_file(dir, name, fd, &size, errp)) {
        return false;
    }
    *text = g_string_sized_new(size);
    n = RETRY_ON_EINTR(pread(fd, (*text)->str, size, 0));
    if (n < 0) {
        error_setg_errno(errp, errno, "cannot read %s/%s", dir->path, name);
        g_string_free(*text, true);
        *text = NULL;
        return false;
    }
    g_string_set_size(*text, n);
    return true;
}

bool nhv_pki_dir_read(const NhvPkiDir *dir, const char *name,
                      GString **text, Error **errp)
{
    int fd = openat(dir->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
                    O_NONBLOCK);
    bool ok;

    *text = NULL;
    if (fd < 0 && errno == ENOENT) {
        return true;
    }
    if (fd < 0) {
        error_setg_errno(errp, errno, "cannot read %s/%s", dir->path, name);
        return false;
    }
    ok = read_whole(dir, name, fd, text, errp);
    close(fd);
    return ok;
}

static bool write_whole(int fd, const GString *text)
{
    return qemu_write_full(fd, text->str, text->len) == text->len &&
           !fsync(fd);
}

bool nhv_pki_dir_write(const NhvPkiDir *dir, const char *name,
                       const GString *text, Error **errp)
{
    int fd, err;
    bool ok;

    unlinkat(dir->fd, NEW_NAME, 0);
    fd = openat(dir->fd, NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC |
                O_NOFOLLOW, 0600);
    ok = fd >= 0 && write_whole(fd, text) &&
         !renameat(dir->fd, NEW_NAME, dir->fd, name) && !fsync(dir->fd);
    err = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (!ok) {
        unlinkat(dir->fd, NEW_NAME, 0);
        error_setg_errno(errp, err, "cannot write %s/%s", dir->path, name);
    }
    return ok;
}
