/*
 * Writer of cpio archives
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *   "070701" and 13 numbers of 8 hexadecimal digits: inode, mode, uid, gid,
 *   links, mtime, size, device's major and minor, node's major and minor,
 *   length of the name with its NUL, 0
 *   name, NUL, zeros up to a multiple of 4
 *   content, zeros up to a multiple of 4
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "cpio.h"

#define TRAILER "TRAILER!!!"
#define BLOCK 512
#define FLUSH_AT (1 * MiB)
#define COPY_BYTES (1 * MiB)

static bool flush(CpioWriter *w, Error **errp)
{
    const uint8_t *data = w->buffer->data;
    size_t left = w->buffer->len;

    while (left > 0) {
        ssize_t n = RETRY_ON_EINTR(write(w->fd, data, left));

        if (n <= 0) {
            error_setg_errno(errp, n < 0 ? errno : ENOSPC,
                             "cannot write the ramdisk");
            return false;
        }
        data += n;
        left -= n;
    }
    g_byte_array_set_size(w->buffer, 0);
    return true;
}

static bool put(CpioWriter *w, const void *data, size_t len, Error **errp)
{
    g_byte_array_append(w->buffer, data, len);
    w->bytes += len;
    return w->buffer->len < FLUSH_AT || flush(w, errp);
}

static bool pad(CpioWriter *w, unsigned multiple, Error **errp)
{
    static const uint8_t zeros[BLOCK];
    size_t over = w->bytes % multiple;

    return !over || put(w, zeros, multiple - over, errp);
}

static bool put_header(CpioWriter *w, const char *name, unsigned inode,
                       const TreeFile *file, unsigned links, uint32_t size,
                       Error **errp)
{
    g_autofree char *header = g_strdup_printf(
        "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08zx%08x", inode,
        file->mode, file->uid, file->gid, links, tree_file_time(file), size,
        w->style->major, w->style->minor, file->major, file->minor,
        strlen(name) + 1, 0);

    return put(w, header, strlen(header), errp) &&
           put(w, name, strlen(name) + 1, errp) && pad(w, 4, errp);
}

static bool copy_content(CpioWriter *w, const TreeFile *file, int content,
                         Error **errp)
{
    g_autofree uint8_t *buffer = g_malloc(MIN(file->size, COPY_BYTES) + 1);
    uint64_t done = 0;

    while (done < file->size) {
        ssize_t n = RETRY_ON_EINTR(pread(content, buffer,
                                         MIN(file->size - done, COPY_BYTES),
                                         file->offset + done));

        if (n <= 0) {
            error_setg_errno(errp, n < 0 ? errno : EIO,
                             "cannot read a stored file");
            return false;
        }
        if (!put(w, buffer, n, errp)) {
            return false;
        }
        done += n;
    }
    return true;
}

/* Linux gives a later name of a file the content that the first one had */
static bool has_content(const TreeFile *file, bool first)
{
    return S_ISREG(file->mode) && first;
}

static unsigned count_links(const TreeFile *file)
{
    if (S_ISDIR(file->mode)) {
        return 2;
    }
    return file->links ?: 1;
}

static bool check_size(const char *path, const TreeFile *file, Error **errp)
{
    if (file->size > UINT32_MAX) {
        error_setg(errp, "%s has %" PRIu64 " bytes, a ramdisk's files have at "
                   "most %u", path, file->size, UINT32_MAX);
        return false;
    }
    return true;
}

bool cpio_add(CpioWriter *w, const char *path, TreeFile *file, int content,
              const void *data, Error **errp)
{
    bool first = !file->number;
    uint32_t size;
    bool ok;

    if (!check_size(path, file, errp)) {
        return false;
    }
    if (first) {
        file->number = w->inode++;
    }
    size = file->target ? strlen(file->target)
           : has_content(file, first) ? file->size : 0;
    if (!put_header(w, path, file->number, file, count_links(file), size,
                    errp)) {
        return false;
    }
    if (file->target) {
        ok = put(w, file->target, size, errp);
    } else if (size && data) {
        ok = put(w, data, size, errp);
    } else {
        ok = !size || copy_content(w, file, content, errp);
    }
    return ok && pad(w, 4, errp);
}

typedef struct TreeJob {
    CpioWriter *writer;
    FileTree *tree;
    const char *prefix;
} TreeJob;

static bool add_name(const char *path, TreeFile *file, void *opaque,
                     Error **errp)
{
    TreeJob *job = opaque;
    g_autofree char *name = NULL;

    if (!*path && !*job->prefix) {
        return true;
    }
    name = !*job->prefix ? g_strdup(path)
           : !*path ? g_strdup(job->prefix)
           : g_strconcat(job->prefix, "/", path, NULL);
    return cpio_add(job->writer, name, file, file_tree_content(job->tree),
                    NULL, errp);
}

static bool forget_number(const char *path, TreeFile *file, void *opaque,
                          Error **errp)
{
    file->number = 0;
    return true;
}

bool cpio_add_tree(CpioWriter *w, const char *prefix, FileTree *tree,
                   Error **errp)
{
    TreeJob job = { w, tree, prefix };

    return file_tree_walk(tree, forget_number, NULL, errp) &&
           file_tree_walk(tree, add_name, &job, errp);
}

void cpio_begin(CpioWriter *w, int fd, const CpioStyle *style)
{
    *w = (CpioWriter) {
        .fd = fd,
        .style = style,
        .inode = style->first_inode,
        .buffer = g_byte_array_sized_new(FLUSH_AT + COPY_BYTES),
    };
}

bool cpio_end(CpioWriter *w, Error **errp)
{
    static const TreeFile none;
    unsigned inode = w->style->number_trailer ? w->inode : 0;
    bool ok = put_header(w, TRAILER, inode, &none, 1, 0, errp) &&
              pad(w, BLOCK, errp) && flush(w, errp);

    g_byte_array_unref(w->buffer);
    w->buffer = NULL;
    return ok;
}
