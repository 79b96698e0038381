/*
 * Enclave Image Format (EIF): what is unusual about an image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * None of it keeps an image from booting, but its author may not know of it:
 * another tool refuses the image, or the kernel does not see a ramdisk.
 *
 * Pure code as in eif-image.h.
 */

#ifndef HW_CORE_EIF_REMARK_H
#define HW_CORE_EIF_REMARK_H

#include "hw/core/eif-image.h"

/**
 * eif_image_remarks: list what is unusual
 * @image: from eif_image_parse() on the same source
 * @src: where the image lies
 * @errp: filled in when it cannot be read
 *
 * Reads a few KiB of the command line, and the headers of cpio archives.
 *
 * Returns: phrases, none of them when all is as usual; to be freed with
 * g_ptr_array_unref().  NULL on failure.
 */
GPtrArray *eif_image_remarks(const EifImage *image, const EifSource *src,
                             Error **errp);

#endif
