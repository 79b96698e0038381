/*
 * qemu-eif: what its commands share
 *
 * What they share with other tools is in tools/nitro-tool.h.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_TOOL_H
#define TOOLS_EIF_TOOL_H

#include "hw/core/eif-verify.h"
#include "tools/nitro-tool.h"

/* Exit statuses of this tool alone, see docs/tools/qemu-eif.rst */
enum {
    TOOL_BAD_IMAGE = 2, /* structure or CRC */
    TOOL_BAD_SIGNATURE = 3, /* missing or not valid */
    TOOL_OTHER_PCR = 4, /* not the one that is expected */
    TOOL_NO_BOOT = 5, /* kernel or command line that an enclave cannot boot */
};

int tool_build(int argc, char **argv);
int tool_describe(int argc, char **argv);
int tool_diff(int argc, char **argv);
int tool_extract(int argc, char **argv);
int tool_pcr(int argc, char **argv);
int tool_sign(int argc, char **argv);
int tool_verify(int argc, char **argv);

/* An image file that is being looked at */
typedef struct ToolImage {
    const char *path;
    int fd;
    EifSource src;
    EifImage *image;
} ToolImage;

/**
 * tool_image_open: open the image that the last argument names
 * @t: filled in; to be closed in any case
 * @command: name of the command, for messages
 * @argc: as main() has it, optind is at the first argument without option
 * @argv: same
 *
 * Returns: TOOL_OK, or the exit status after the error has been reported.
 */
int tool_image_open(ToolImage *t, const char *command, int argc, char **argv);
void tool_image_close(ToolImage *t);

#define TOOL_IMAGE_INIT { .fd = -1 }

/**
 * tool_section_name: what users call a section
 * @type: its type
 * @n: how many of that type stand before it; counts for ramdisks
 *
 * Returns: "kernel", "ramdisk-0", ..., to be freed.
 */
char *tool_section_name(uint16_t type, unsigned n);

/**
 * tool_write_measurements: add the object "Measurements"
 * @w: where to
 * @m: the registers
 */
void tool_write_measurements(JSONWriter *w, const EifMeasurements *m);

/**
 * tool_write_memory: add the member "MinimumMemoryMiB"
 * @w: where to
 * @mib: the number; 0: not known, and nothing is added
 */
void tool_write_memory(JSONWriter *w, uint64_t mib);

/**
 * tool_write_certificate: add the object "SigningCertificate"
 * @w: where to
 * @cert: the certificate
 */
void tool_write_certificate(JSONWriter *w, const EifCertificate *cert);

/**
 * tool_custom_metadata: read a file for CustomMetadata
 * @path: its name; it holds one JSON value, of at most 4096 bytes
 * @errp: filled in on failure
 *
 * Returns: the value as JSON with sorted members, to be freed; NULL on failure.
 */
char *tool_custom_metadata(const char *path, Error **errp);

#endif
