/*
 * qemu-eif: signing, for the commands build and sign
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_SIGNING_H
#define TOOLS_EIF_SIGNING_H

#include "hw/core/eif-sign.h"

/* Names of files; both are NULL when nothing is to be signed */
typedef struct ToolSigning {
    const char *certificate;
    const char *private_key;
} ToolSigning;

/**
 * tool_signing_is_whole: are both names there, or none?
 * @s: the names
 * @errp: filled in when one is missing
 */
bool tool_signing_is_whole(const ToolSigning *s, Error **errp);

/**
 * tool_signing_check_output: refuse to write over key or certificate
 * @s: the names
 * @output: the file that will be written
 * @option: what the user calls it
 * @errp: filled in when it is one of them
 */
bool tool_signing_check_output(const ToolSigning *s, const char *output,
                               const char *option, Error **errp);

/**
 * tool_signing_key: read key and certificate
 * @s: both names
 * @errp: filled in on failure, also when the certificate has expired
 *
 * Warns of a certificate that is not valid yet.
 *
 * Returns: to be freed; NULL on failure.
 */
EifSigningKey *tool_signing_key(const ToolSigning *s, Error **errp);

/**
 * tool_write_signed: write an image with a signature, as a whole or not at all
 * @path: where to; may be the file that @src reads
 * @image: the image, signed or not
 * @src: where it lies
 * @key: the key
 * @m: filled in with the registers of what was written
 * @errp: filled in on failure
 *
 * Returns: true on success.
 */
bool tool_write_signed(const char *path, const EifImage *image,
                       const EifSource *src, const EifSigningKey *key,
                       EifMeasurements *m, Error **errp);

/**
 * tool_print_built: print what was made, as JSON
 * @m: registers of the image
 * @key: the key it was signed with, or NULL
 * @memory_mib: what an enclave needs for it; 0: not known
 *
 * Returns: TOOL_OK.
 */
int tool_print_built(const EifMeasurements *m, const EifSigningKey *key,
                     uint64_t memory_mib);

#endif
