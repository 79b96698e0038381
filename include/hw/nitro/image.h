/*
 * Nitro Enclaves: the image that an enclave is made of
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Owns the files that -kernel and -initrd name, from the launch on for as long
 * as QEMU runs: a reset finds them even if their names were removed or reused
 * meanwhile.  The files are opened and parsed once.  Whether they hold an
 * enclave image or a kernel that is made into one is decided here and shows
 * nowhere else but in nitro_image_query().
 *
 * Needs no machine and no accelerator.  Functions need the BQL unless they say
 * otherwise.
 */

#ifndef HW_NITRO_IMAGE_H
#define HW_NITRO_IMAGE_H

#include "hw/core/eif-image.h"
#include "qapi/qapi-types-nitro.h"

typedef struct NitroImage NitroImage;

typedef struct NitroExpectedPcr {
    bool given;
    uint8_t pcr[EIF_PCR_LEN];
} NitroExpectedPcr;

/**
 * NitroImagePolicy: which image may be launched, and what is wanted of it
 * @expect: registers that it must have, in the order of eif_pcr_index
 * @signature: what to do about a signature that is not valid
 * @measure: compute the registers even if nothing is checked against them
 * @eif_out: file to write the image to at the first launch, or NULL
 */
typedef struct NitroImagePolicy {
    NitroExpectedPcr expect[EIF_NR_PCRS];
    NitroSignature signature;
    bool measure;
    char *eif_out;
} NitroImagePolicy;

/**
 * NitroImageParams: what an image is made of
 * @kernel: file name of an enclave image or of a Linux kernel
 * @initrd: file names of ramdisks, separated by commas, where a comma within a
 *     name is doubled; NULL for none
 * @cmdline: command line for a kernel, "" for none
 * @arch: architecture of the enclave
 * @policy: must stay valid as long as the image
 *
 * Strings are copied.
 */
typedef struct NitroImageParams {
    const char *kernel;
    const char *initrd;
    const char *cmdline;
    EifArch arch;
    const NitroImagePolicy *policy;
} NitroImageParams;

/**
 * nitro_image_open: open the files and find out what they are
 * @params: what to open
 * @errp: filled in on failure: names the file, what it is, and what to do
 *
 * Reads a few KiB.  Never waits for a pipe or a device: those are refused.
 *
 * Returns: to be released with nitro_image_unref(); NULL on failure
 */
NitroImage *nitro_image_open(const NitroImageParams *params, Error **errp);

void nitro_image_unref(NitroImage *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NitroImage, nitro_image_unref)

/**
 * nitro_image_size: bytes that nitro_image_load() writes
 */
uint64_t nitro_image_size(const NitroImage *image);

/**
 * nitro_image_kind: an enclave image, or a kernel that is made into one
 */
NitroEnclaveImageKind nitro_image_kind(const NitroImage *image);

/**
 * nitro_image_load: put the image into memory, if the policy accepts it
 * @image: the image
 * @dest: room for nitro_image_size() bytes
 * @fresh: @dest is all zeros: then holes of the files are left out
 * @errp: filled in on failure
 *
 * What is checked is what lies in memory: CRC, kernel, registers, signature.
 * With measure set, a thread computes the registers afterwards, unless a check
 * has needed them before.
 *
 * Each call after the first one loads the same bytes again, or fails: files
 * that hold something else by now are refused.  Such a call does not need the
 * BQL; one thread at a time may make it.
 *
 * Blocks for as long as reading takes, and measuring where the policy asks for
 * registers or a signature: about a second per GiB.
 *
 * Returns: true on success; on false the content of @dest is undefined
 */
bool nitro_image_load(NitroImage *image, void *dest, bool fresh,
                      Error **errp);

/**
 * nitro_image_query: all that is known of the image, for the monitor
 * @image: one that was loaded
 *
 * Reads no file and begins nothing.
 *
 * Returns: to be freed with qapi_free_NitroEnclaveImage()
 */
NitroEnclaveImage *nitro_image_query(const NitroImage *image);

#endif
