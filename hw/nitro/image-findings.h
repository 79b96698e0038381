/*
 * Nitro Enclaves: what was found in an image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Registers, names and signature of an image, and whether a policy accepts
 * them.  Pure code over an image and its bytes: no files, no threads, no BQL.
 */

#ifndef HW_NITRO_IMAGE_FINDINGS_H
#define HW_NITRO_IMAGE_FINDINGS_H

#include "hw/nitro/image.h"

/**
 * NitroImageFindings: all zeros: nothing was looked at
 * @measurement: state of @pcrs
 * @pcrs: the registers, valid with NITRO_ENCLAVE_MEASUREMENT_DONE
 * @failure: why they could not be computed, NULL unless
 *     NITRO_ENCLAVE_MEASUREMENT_FAILED
 * @name: from the metadata, or NULL
 * @version: same
 * @signature: the verdict, NULL before nitro_findings_check()
 */
typedef struct NitroImageFindings {
    NitroEnclaveMeasurement measurement;
    EifMeasurements pcrs;
    Error *failure;
    char *name;
    char *version;
    NitroEnclaveSignature *signature;
} NitroImageFindings;

/**
 * nitro_findings_check: look at an image as a policy wants it
 * @found: all zeros; filled in, on failure as well
 * @policy: what the user asked for
 * @image: the image
 * @src: its bytes
 * @errp: filled in when the image must not be launched: another register, or
 *     the signature
 *
 * Computes registers only when the policy has some to compare, or a signature
 * to verify: see nitro_image_load() for the time that takes.  What is wrong but
 * permitted is a warning.
 *
 * Returns: true when the policy accepts the image
 */
bool nitro_findings_check(NitroImageFindings *found,
                          const NitroImagePolicy *policy,
                          const EifImage *image, const EifSource *src,
                          Error **errp);

/**
 * nitro_findings_read_names: read name and version from the metadata
 * @found: filled in; metadata that cannot be understood is left out
 * @image: the image
 * @src: its bytes
 */
void nitro_findings_read_names(NitroImageFindings *found,
                               const EifImage *image, const EifSource *src);

/**
 * nitro_findings_fill: answer the monitor
 * @found: what was found
 * @info: measurement, registers, names and signature are filled in
 */
void nitro_findings_fill(const NitroImageFindings *found,
                         NitroEnclaveImage *info);

/**
 * nitro_findings_clear: free what is held
 * @found: all zeros afterwards
 */
void nitro_findings_clear(NitroImageFindings *found);

#endif
