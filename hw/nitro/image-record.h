/*
 * Nitro Enclaves: what is known of the image that was loaded
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Remembers the image for the monitor.  Donated memory may not be looked at,
 * so the files stay open here until the image has been measured, which is done
 * in a thread and only when somebody asks.
 *
 * All functions need the BQL; none blocks.
 */

#ifndef HW_NITRO_IMAGE_RECORD_H
#define HW_NITRO_IMAGE_RECORD_H

#include "hw/core/eif-image.h"
#include "qapi/qapi-types-nitro.h"

typedef struct NitroImageRecord NitroImageRecord;

/**
 * nitro_image_record_eif: remember an enclave image
 * @path: name of its file
 * @fd: the file, duplicated
 * @errp: filled in on failure
 *
 * Returns: to be given to nitro_image_record_unref(); NULL on failure
 */
NitroImageRecord *nitro_image_record_eif(const char *path, int fd,
                                         Error **errp);

/**
 * nitro_image_record_kernel: remember an image that was made of a kernel
 * @path: name of the kernel's file
 * @initrd: name of the ramdisk's file, or NULL
 * @params: what it was made of; its files are duplicated
 * @crc: as it was written
 * @errp: filled in on failure
 *
 * Returns: to be given to nitro_image_record_unref(); NULL on failure
 */
NitroImageRecord *nitro_image_record_kernel(const char *path,
                                            const char *initrd,
                                            const EifBuildParams *params,
                                            uint32_t crc, Error **errp);

void nitro_image_record_unref(NitroImageRecord *rec);

/**
 * nitro_image_record_query: tell what is known
 * @rec: the record
 *
 * The first call begins to measure.
 *
 * Returns: to be freed by the caller; without the verdict on the signature
 */
NitroEnclaveImage *nitro_image_record_query(NitroImageRecord *rec);

#endif
