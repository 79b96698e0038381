/*
 * Enclave Image Format: write files as a whole or not at all
 *
 * The content goes to a temporary file beside the final one, which then takes
 * its name.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/mman.h>
#include "hw/core/eif-output.h"

#define PERMISSIONS 0666 /* less the umask */

static bool fail(const char *path, int err, Error **errp)
{
    error_setg_errno(errp, err, "cannot write %s", path);
    return false;
}

/*
 * A device or pipe must not be replaced by a file of its name.  @mode: -1, or
 * permissions of the file that is replaced.
 */
static bool check_target(const char *path, int *mode, Error **errp)
{
    struct stat st;

    *mode = -1;
    if (stat(path, &st) == 0) {
        if (!S_ISREG(st.st_mode)) {
            error_setg(errp, "cannot write %s: it is not a regular file",
                       path);
            return false;
        }
        *mode = st.st_mode & 0777;
    }
    return true;
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
        return fail(path, rc, errp);
    }
    map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        return fail(path, errno, errp);
    }
    ok = fill(map, size, opaque, errp);
    munmap(map, size);
    return ok;
}

static bool finish_file(int fd, const char *temp, const char *path, int mode,
                        Error **errp)
{
    if ((mode >= 0 && fchmod(fd, mode) < 0) || fsync(fd) < 0 ||
        g_rename(temp, path) < 0) {
        return fail(path, errno, errp);
    }
    return true;
}

bool eif_output_file(const char *path, uint64_t size, EifFillFunc *fill,
                     void *opaque, Error **errp)
{
    g_autofree char *temp = g_strdup_printf("%s.XXXXXX", path);
    bool ok;
    int fd, mode;

    if (!check_target(path, &mode, errp)) {
        return false;
    }
    fd = g_mkstemp_full(temp, O_RDWR | O_CLOEXEC, PERMISSIONS);
    if (fd < 0) {
        return fail(path, errno, errp);
    }
    ok = fill_file(fd, path, size, fill, opaque, errp) &&
         finish_file(fd, temp, path, mode, errp);
    if (!ok) {
        g_unlink(temp);
    }
    close(fd);
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
