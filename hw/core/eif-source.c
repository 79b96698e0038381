/*
 * Enclave Image Format: where bytes of images and kernels come from
 *
 * Files, block devices and memory behind one interface.  Reads are positional
 * and complete or fail; nothing beyond the end of a source is ever touched.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-image.h"

static bool read_from_fd(const EifSource *src, void *buf, size_t len,
                         uint64_t offset, Error **errp)
{
    ERRP_GUARD();
    size_t done = 0;

    while (done < len) {
        ssize_t n = RETRY_ON_EINTR(pread(src->fd, (uint8_t *)buf + done,
                                         len - done, offset + done));

        if (n < 0) {
            int err = errno;

            error_setg_errno(errp, err, "cannot read %zu bytes at offset %"
                             PRIu64, len - done, offset + done);
            error_append_hint(errp, "%s", err == EFAULT
                              ? "There is no memory to read into; if it is in "
                                "huge pages, reserve more "
                                "(vm.nr_hugepages).\n"
                              : "Look at the file's disk, and at the kernel's "
                                "log: dmesg.\n");
            return false;
        }
        if (n == 0) {
            error_setg(errp, "the file ended at byte %" PRIu64 " of %" PRIu64
                       " while it was being read", offset + done, src->size);
            error_append_hint(errp, EIF_HINT_UNCHANGED);
            return false;
        }
        done += n;
    }
    return true;
}

/* Block devices have no size in their status; leaves the position alone */
static off_t block_device_size(int fd)
{
    off_t old = lseek(fd, 0, SEEK_CUR);
    off_t end = old < 0 ? -1 : lseek(fd, 0, SEEK_END);
    int err = errno;

    if (old >= 0) {
        lseek(fd, old, SEEK_SET);
    }
    errno = err;
    return end;
}

bool eif_source_init_fd(EifSource *src, int fd, Error **errp)
{
    struct stat st;
    off_t size;

    if (fstat(fd, &st) < 0) {
        error_setg_errno(errp, errno, "cannot get the size of the file");
        return false;
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        error_setg(errp, "neither a regular file nor a block device");
        return false;
    }
    size = S_ISBLK(st.st_mode) ? block_device_size(fd) : st.st_size;
    if (size < 0) {
        error_setg_errno(errp, errno, "cannot get the size of the device");
        return false;
    }
    *src = (EifSource) {
        .read = read_from_fd,
        .size = size,
        .open_ended = S_ISBLK(st.st_mode),
        .fd = fd,
    };
    return true;
}

void eif_source_init_buffer(EifSource *src, const void *buf, uint64_t size)
{
    *src = (EifSource) {
        .map = buf,
        .size = size,
        .open_ended = true,
        .fd = -1,
    };
}

bool eif_source_read(const EifSource *src, void *buf, size_t len,
                     uint64_t offset, Error **errp)
{
    if (offset > src->size || len > src->size - offset) {
        error_setg(errp, "%zu bytes at offset %" PRIu64 " are beyond the end "
                   "at %" PRIu64, len, offset, src->size);
        return false;
    }
    if (len == 0) {
        return true;
    }
    if (src->map) {
        memcpy(buf, src->map + offset, len);
        return true;
    }
    return src->read(src, buf, len, offset, errp);
}
