/*
 * Kernel, initrd and command line out of an enclave image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The machine of x86_64 enclaves reads images itself.  The one of arm64
 * enclaves knows nothing of them and boots these three.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/memfd.h"
#include "image.h"

static int memfd_new(const char *name, Error **errp)
{
    return qemu_memfd_create(name, 0, false, 0, 0, errp);
}

static bool append_section(int fd, const EifSection *section,
                           const uint8_t *bytes, Error **errp)
{
    const uint8_t *data = bytes + section->data_offset;

    if (qemu_write_full(fd, data, section->size) != section->size) {
        error_setg_errno(errp, errno, "cannot keep a copy of the %s",
                         eif_section_type_str(section->type));
        return false;
    }
    return true;
}

/* A machine takes no file of no bytes for an initrd */
static bool append_ramdisk(NhvImage *image, const EifSection *section,
                           const uint8_t *bytes, Error **errp)
{
    if (!section->size) {
        return true;
    }
    if (image->initrd_fd < 0) {
        image->initrd_fd = memfd_new("nitro-initrd", errp);
    }
    return image->initrd_fd >= 0 &&
           append_section(image->initrd_fd, section, bytes, errp);
}

static bool take_section(NhvImage *image, const EifSection *section,
                         const uint8_t *bytes, Error **errp)
{
    switch (section->type) {
    case EIF_SECTION_KERNEL:
        image->kernel_fd = memfd_new("nitro-kernel", errp);
        return image->kernel_fd >= 0 &&
               append_section(image->kernel_fd, section, bytes, errp);
    case EIF_SECTION_CMDLINE:
        image->cmdline = g_strndup((const char *)bytes + section->data_offset,
                                   section->size);
        return true;
    case EIF_SECTION_RAMDISK:
        return append_ramdisk(image, section, bytes, errp);
    default:
        return true;
    }
}

bool nhv_image_split(NhvImage *image, const EifImage *eif,
                     const uint8_t *bytes, Error **errp)
{
    unsigned int i;

    for (i = 0; i < eif->nr_sections; i++) {
        if (!take_section(image, &eif->sections[i], bytes, errp)) {
            return false;
        }
    }
    return true;
}
