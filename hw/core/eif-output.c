/*
 * Enclave Image Format: write files as a whole or not at all
 *
 * The content goes to a file without a name, which then takes the final one:
 * nothing remains of it however the process ends.  Where the file system has
 * no such files, it is a file beside the final one, and signals remove it.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/mman.h>
#include "hw/core/eif-output.h"
#include "qemu/cutils.h"

#define PERMISSIONS_NEW 0666 /* less the umask */
#define PERMISSIONS_FILLING 0600 /* until it gets the old file's */
#define MAX_NAMES 100 /* that are tried before all are held to be taken */

typedef struct Output {
    const char *path;
    char *temp; /* its name while it is not the final one, or NULL */
    int fd;
    bool replaces; /* the file that @former is about */
    struct stat former;
} Output;

static bool output_fail(const char *path, int err, Error **errp)
{
    error_setg_errno(errp, err, "cannot write %s", path);
    return false;
}

/* A device or pipe must not be replaced by a file of its name */
static bool check_target(Output *o, Error **errp)
{
    o->replaces = stat(o->path, &o->former) == 0;
    if (o->replaces && !S_ISREG(o->former.st_mode)) {
        error_setg(errp, "cannot write %s: it is not a regular file", o->path);
        return false;
    }
    return true;
}

/*
 * Signals that end a process while it waits or writes.  A handler removes the
 * one file that has a temporary name, and lets the signal end the process.
 */

static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ };
static struct sigaction former_actions[ARRAY_SIZE(ending)];
static const char *remove_at_signal;

static void remove_and_end(int signal_number)
{
    unlink(remove_at_signal);
    raise(signal_number); /* SA_RESETHAND: now with the default action */
}

/* Only in place of the default: a program that has handlers goes on */
static void watch_signals(const char *name)
{
    struct sigaction action = {
        .sa_handler = remove_and_end,
        .sa_flags = SA_RESETHAND,
    };

    sigfillset(&action.sa_mask);
    remove_at_signal = name;
    for (size_t i = 0; i < ARRAY_SIZE(ending); i++) {
        sigaction(ending[i], NULL, &former_actions[i]);
        if (former_actions[i].sa_handler == SIG_DFL) {
            sigaction(ending[i], &action, NULL);
        }
    }
}

static void unwatch_signals(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(ending); i++) {
        sigaction(ending[i], &former_actions[i], NULL);
    }
}

static void block_signals(sigset_t *former)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(ending); i++) {
        sigaddset(&set, ending[i]);
    }
    pthread_sigmask(SIG_BLOCK, &set, former);
}

static void unblock_signals(const sigset_t *former)
{
    pthread_sigmask(SIG_SETMASK, former, NULL);
}

/* The file that is filled */

static int permissions(const Output *o)
{
    return o->replaces ? PERMISSIONS_FILLING : PERMISSIONS_NEW;
}

static bool link_as(const Output *o, const char *name)
{
    g_autofree char *self = g_strdup_printf("/proc/self/fd/%d", o->fd);

    return linkat(AT_FDCWD, self, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0;
}

/* Returns false where there are no files without a name, or no way to name */
static bool open_unnamed(Output *o)
{
    g_autofree char *dir = g_path_get_dirname(o->path);
    g_autofree char *self = NULL;

    o->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, permissions(o));
    if (o->fd < 0) {
        return false;
    }
    self = g_strdup_printf("/proc/self/fd/%d", o->fd);
    if (access(self, F_OK) == 0) {
        return true;
    }
    close(o->fd);
    return false;
}

static bool open_named(Output *o, Error **errp)
{
    sigset_t former;
    int err;

    o->temp = g_strdup_printf("%s.XXXXXX", o->path);
    block_signals(&former);
    o->fd = g_mkstemp_full(o->temp, O_RDWR | O_CLOEXEC, permissions(o));
    err = errno;
    if (o->fd >= 0) {
        watch_signals(o->temp);
    }
    unblock_signals(&former);
    return o->fd >= 0 || output_fail(o->path, err, errp);
}

static bool fill_file(int fd, const char *path, uint64_t size,
                      EifFillFunc *fill, void *opaque, Error **errp)
{
    void *map;
    bool ok;
    int rc;

    if (size == 0) {
        return true;
    }
    /* With all blocks reserved, writing to the mapping cannot fail */
    rc = posix_fallocate(fd, 0, size);
    if (rc != 0) {
        return output_fail(path, rc, errp);
    }
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        return output_fail(path, errno, errp);
    }
    ok = fill(map, size, opaque, errp);
    munmap(map, size);
    return ok;
}

/*
 * In another group, nobody gets a right that is not both the former group's
 * and everybody's
 */
static mode_t output_narrow_mode(mode_t mode)
{
    mode_t common = mode & mode >> 3 & S_IRWXO;

    return (mode & S_IRWXU) | common << 3 | common;
}

/* Owner, group and permissions of the former file, as far as permitted */
static bool take_rights(const Output *o)
{
    mode_t mode = o->former.st_mode & (S_IRWXU | S_IRWXG | S_IRWXO);

    if (!o->replaces) {
        return true;
    }
    if (fchown(o->fd, o->former.st_uid, o->former.st_gid) < 0 &&
        fchown(o->fd, -1, o->former.st_gid) < 0) {
        mode = output_narrow_mode(mode);
    }
    return fchmod(o->fd, mode) == 0;
}

/* A name beside the final one; on false errno says why */
static bool name_temp(Output *o)
{
    for (int i = 0; i < MAX_NAMES; i++) {
        g_autofree char *name = g_strdup_printf("%s.%06x", o->path,
                                                g_random_int() & 0xffffff);

        if (link_as(o, name)) {
            o->temp = g_steal_pointer(&name);
            return true;
        }
        if (errno != EEXIST) {
            break;
        }
    }
    return false;
}

/* A link cannot replace a file, so a name is needed for a moment */
static bool replace_by_unnamed(Output *o)
{
    sigset_t former;
    bool ok;

    block_signals(&former);
    ok = name_temp(o);
    if (ok && g_rename(o->temp, o->path) < 0) {
        int err = errno;

        unlink(o->temp);
        errno = err;
        ok = false;
    }
    unblock_signals(&former);
    return ok;
}

static bool take_path(Output *o)
{
    if (o->temp) {
        return g_rename(o->temp, o->path) == 0;
    }
    if (!o->replaces && link_as(o, o->path)) {
        return true;
    }
    return replace_by_unnamed(o);
}

static bool finish_file(Output *o, Error **errp)
{
    return (take_rights(o) && fsync(o->fd) == 0 && take_path(o)) ||
           output_fail(o->path, errno, errp);
}

bool eif_output_file(const char *path, uint64_t size, EifFillFunc *fill,
                     void *opaque, Error **errp)
{
    Output o = { .path = path };
    bool ok, named;

    if (!check_target(&o, errp)) {
        return false;
    }
    named = !open_unnamed(&o);
    if (named && !open_named(&o, errp)) {
        g_free(o.temp);
        return false;
    }
    ok = fill_file(o.fd, path, size, fill, opaque, errp) &&
         finish_file(&o, errp);
    if (named) {
        if (!ok) {
            g_unlink(o.temp);
        }
        unwatch_signals();
    }
    close(o.fd);
    g_free(o.temp);
    return ok;
}

static bool fill_copy(void *dest, uint64_t size, void *opaque, Error **errp)
{
    memcpy(dest, opaque, size);
    return true;
}

bool eif_output_data(const char *path, const void *data, uint64_t size,
                     Error **errp)
{
    return eif_output_file(path, size, fill_copy, (void *)data, errp);
}

/* Links lead to the file itself */
static bool lies_in(const char *path, const char *dir)
{
    g_autofree char *file = realpath(path, NULL);
    g_autofree char *top = realpath(dir, NULL);
    const char *rest;

    return file && top && strstart(file, top, &rest) && *rest == '/';
}

#define HINT_ANOTHER "Write to another file.\n"

static bool check_same(const char *path, const char *option,
                       const struct stat *in, const char *input_option,
                       Error **errp)
{
    ERRP_GUARD();
    struct stat out;

    if (stat(path, &out) < 0 || out.st_dev != in->st_dev ||
        out.st_ino != in->st_ino) {
        return true;
    }
    error_setg(errp, "%s and %s name the same file: %s", option, input_option,
               path);
    error_append_hint(errp, HINT_ANOTHER);
    return false;
}

bool eif_output_check_fd(const char *path, const char *option, int fd,
                         const char *input_option, Error **errp)
{
    struct stat in;

    return fstat(fd, &in) < 0 ||
           check_same(path, option, &in, input_option, errp);
}

bool eif_output_check_input(const char *path, const char *option,
                            const char *input, const char *input_option,
                            Error **errp)
{
    ERRP_GUARD();
    struct stat in;

    if (!input || stat(input, &in) < 0) {
        return true;
    }
    if (S_ISDIR(in.st_mode) && lies_in(path, input)) {
        error_setg(errp, "%s names a file in the directory of %s: %s", option,
                   input_option, path);
        error_append_hint(errp, HINT_ANOTHER);
        return false;
    }
    return check_same(path, option, &in, input_option, errp);
}
