/*
 * Enclave image found in donated memory
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/memfd.h"
#include "qemu/units.h"
#include "hw/core/eif-kernel.h"
#include "hw/core/eif-verify.h"
#include "hw/nitro/limits.h"
#include "hw/nitro/nitro-control.h"
#include "image.h"

#define COPY_SLICE (16 * MiB)

/* Donated memory as a source of the image */
typedef struct Donated {
    NhvMemory *mem;
    bool lost;                  /* it cannot be read */
} Donated;

static bool read_donated(const EifSource *src, void *buf, size_t len,
                         uint64_t offset, Error **errp)
{
    Donated *donated = src->opaque;

    donated->lost = !nhv_memory_read(donated->mem, buf, len,
                                     NITRO_IMAGE_OFFSET + offset,
                                     errp);
    return !donated->lost;
}

NhvImage *nhv_image_new(void)
{
    NhvImage *image = g_new0(NhvImage, 1);

    image->fd = image->kernel_fd = image->initrd_fd = -1;
    image->unpacked.fd = -1;
    return image;
}

static bool find_image(NhvImage *image, NhvMemory *mem, Error **errp)
{
    Donated donated = { .mem = mem };
    EifSource src = {
        .read = read_donated,
        .open_ended = true,
        .fd = -1,
        .opaque = &donated,
    };
    g_autoptr(EifImage) eif = NULL;

    if (mem->size <= NITRO_IMAGE_OFFSET) {
        error_setg(errp, "%" PRIu64 " bytes were donated, the image would "
                   "begin at %" PRIu64, mem->size,
                   (uint64_t)NITRO_IMAGE_OFFSET);
        image->unbootable = true;
        return false;
    }
    src.size = mem->size - NITRO_IMAGE_OFFSET;
    eif = eif_image_parse(&src, errp);
    if (!eif) {
        image->unbootable = !donated.lost;
        return false;
    }
    image->size = eif->image_size;
    return true;
}

bool nhv_image_open(NhvImage *image, NhvMemory *mem, Error **errp)
{
    if (!find_image(image, mem, errp)) {
        return false;
    }
    image->fd = qemu_memfd_create("nitro-image", image->size, false, 0,
                                  F_SEAL_GROW | F_SEAL_SHRINK, errp);
    return image->fd >= 0;
}

static bool write_copy(NhvImage *image, const void *from, size_t len,
                       Error **errp)
{
    ssize_t n = RETRY_ON_EINTR(pwrite(image->fd, from, len, image->copied));

    if (n <= 0) {
        error_setg_errno(errp, n ? errno : ENOSPC,
                         "cannot keep a copy of the image");
        return false;
    }
    image->copied += n;
    return true;
}

/*
 * The host's kernel holds pages for moments, for example to reclaim memory, and
 * cannot seal them meanwhile
 */
static bool seal_copy(NhvImage *image, bool *done, Error **errp)
{
    *done = !fcntl(image->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL);
    if (!*done && (errno != EBUSY || ++image->busy == NHV_SEAL_ATTEMPTS)) {
        error_setg_errno(errp, errno, "cannot seal the copy of the image");
        return false;
    }
    return true;
}

bool nhv_image_copy(NhvImage *image, NhvMemory *mem, bool *done,
                    Error **errp)
{
    uint64_t end = MIN(image->size, image->copied + COPY_SLICE);

    while (image->copied < end) {
        uint64_t n = end - image->copied;
        void *from = nhv_memory_map(mem, NITRO_IMAGE_OFFSET +
                                    image->copied, &n, errp);

        if (!from || !write_copy(image, from, n, errp)) {
            return false;
        }
    }
    *done = false;
    return image->copied < image->size || seal_copy(image, done, errp);
}

static void probe_kernel(NhvImage *image, const EifImage *eif,
                         const EifKernel *head, const uint8_t *bytes)
{
    const EifSection *kernel = eif_image_section(eif, EIF_SECTION_KERNEL, 0);
    const EifSection *line = eif_image_section(eif, EIF_SECTION_CMDLINE, 0);
    g_autofree char *cmdline = g_strndup((const char *)bytes +
                                         line->data_offset, line->size);

    nhv_kernel_unpack(&image->unpacked, head, bytes + kernel->data_offset);
    image->needs_acpi = nhv_kernel_needs_acpi(&image->unpacked, cmdline,
                                              &image->acpi_reason);
}

/* A line that is too long boots, without its end */
static bool check_kernel(NhvImage *image, const EifImage *eif,
                         const EifSource *src, EifKernel *kernel,
                         Error **errp)
{
    uint64_t len;
    Error *err = NULL;

    if (!eif_image_probe_kernel(eif, src, kernel, errp) ||
        !eif_kernel_check(kernel, eif->arch, errp) ||
        !eif_image_cmdline_len(eif, src, &len, errp)) {
        return false;
    }
    if (eif_kernel_check_cmdline(kernel, len, &err)) {
        image->cmdline_room = kernel->cmdline_max - len;
    } else {
        image->cmdline_error = g_strdup(error_get_pretty(err));
        error_free(err);
    }
    return true;
}

/* A build that cannot verify says so, and boots the image */
static bool check_signature(const EifImage *eif, const EifSource *src,
                            const uint8_t pcr0[EIF_PCR_LEN], Error **errp)
{
    g_autoptr(EifSignature) sig = NULL;
    g_autoptr(EifVerification) v = NULL;
    Error *err = NULL;

    if (!eif->has_signature) {
        return true;
    }
    sig = eif_image_read_signature(eif, src, errp);
    if (!sig) {
        return false;
    }
    v = eif_signature_verify(sig, pcr0, g_get_real_time() / G_USEC_PER_SEC);
    if (eif_verification_check(v, &err)) {
        return true;
    }
    if (eif_verification_is_bad(v)) {
        error_propagate(errp, err);
        return false;
    }
    warn_report_err(err);
    return true;
}

/* Everything a machine that boots images would look at */
static bool check_eif(NhvImage *image, const EifImage *eif,
                      const EifSource *src, EifKernel *kernel, Error **errp)
{
    if (eif->image_size != image->size) {
        error_setg(errp, "the image changed while it was read");
        return false;
    }
    return eif_image_verify_crc(eif, src, errp) &&
           check_kernel(image, eif, src, kernel, errp) &&
           eif_image_measure(eif, src, &image->pcrs, errp) &&
           check_signature(eif, src, image->pcrs.pcr0, errp);
}

static bool check_bytes(NhvImage *image, const uint8_t *bytes, Error **errp)
{
    g_autoptr(EifImage) eif = NULL;
    EifSource src;
    EifKernel kernel;

    eif_source_init_buffer(&src, bytes, image->size);
    eif = eif_image_parse(&src, errp);
    if (!eif || !check_eif(image, eif, &src, &kernel, errp)) {
        image->unbootable = true;
        return false;
    }
    image->arch = eif->arch;
    image->crc = eif->crc;
    image->sha384 = g_compute_checksum_for_data(G_CHECKSUM_SHA384, bytes,
                                                image->size);
    if (image->arch == EIF_ARCH_AARCH64) {
        return nhv_image_split(image, eif, bytes, errp);
    }
    probe_kernel(image, eif, &kernel, bytes);
    return true;
}

bool nhv_image_check(NhvImage *image, Error **errp)
{
    void *bytes = mmap(NULL, image->size, PROT_READ, MAP_PRIVATE, image->fd,
                       0);
    bool ok;

    if (bytes == MAP_FAILED) {
        error_setg_errno(errp, errno, "cannot map the copy of the image");
        return false;
    }
    ok = check_bytes(image, bytes, errp);
    munmap(bytes, image->size);
    return ok;
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

void nhv_image_free(NhvImage *image)
{
    if (!image) {
        return;
    }
    close_fd(image->fd);
    close_fd(image->kernel_fd);
    close_fd(image->initrd_fd);
    nhv_kernel_close(&image->unpacked);
    g_free(image->cmdline);
    g_free(image->cmdline_error);
    g_free(image->sha384);
    g_free(image);
}
