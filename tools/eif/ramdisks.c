/*
 * The two ramdisks of an image that was made of a container
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "ramdisks.h"

bool ramdisk_add_directory(CpioWriter *w, const char *path, Error **errp)
{
    TreeFile dir = { .mode = S_IFDIR | 0755, .mtime = w->style->mtime };

    return cpio_add(w, path, &dir, -1, NULL, errp);
}

bool ramdisk_add_data(CpioWriter *w, const char *path, mode_t mode,
                      const void *data, size_t len, Error **errp)
{
    TreeFile file = {
        .mode = S_IFREG | mode,
        .mtime = w->style->mtime,
        .size = len,
    };

    return cpio_add(w, path, &file, -1, data, errp);
}

bool ramdisk_add_file(CpioWriter *w, const char *path, mode_t mode,
                      const char *source, Error **errp)
{
    TreeFile file = { .mode = S_IFREG | mode, .mtime = w->style->mtime };
    int fd = qemu_open(source, O_RDONLY | O_NONBLOCK, errp);
    struct stat st;
    bool ok;

    if (fd < 0) {
        return false;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        error_setg(errp, "%s is not a regular file", source);
        close(fd);
        return false;
    }
    file.size = st.st_size;
    ok = cpio_add(w, path, &file, fd, NULL, errp);
    close(fd);
    return ok;
}

static bool make_one(int fd, RamdiskFill *fill, void *opaque,
                     const CpioStyle *style, Error **errp)
{
    CpioWriter w;
    bool ok;

    cpio_begin(&w, fd, style);
    ok = fill(&w, opaque, errp);
    return cpio_end(&w, ok ? errp : NULL) && ok &&
           lseek(fd, 0, SEEK_SET) == 0;
}

bool ramdisks_make(RamdiskFill *const fill[2], void *opaque,
                   const CpioStyle *style, const char *scratch, int fds[2],
                   Error **errp)
{
    bool ok = true;

    fds[0] = fds[1] = -1;
    for (int i = 0; i < 2 && ok; i++) {
        fds[i] = file_tree_scratch(scratch, errp);
        ok = fds[i] >= 0 && make_one(fds[i], fill[i], opaque, style, errp);
    }
    for (int i = 0; i < 2 && !ok; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    return ok;
}
