/*
 * qemu-nsm: the document that its commands look at
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_NSM_DOCUMENT_H
#define TOOLS_NSM_DOCUMENT_H

#include "hw/core/nsm-verify.h"
#include "tools/nitro-tool.h"

/* Exit statuses of this tool alone, see docs/tools/qemu-nsm.rst */
enum {
    NSM_TOOL_MALFORMED = 2,
    NSM_TOOL_CHAIN = 3,
    NSM_TOOL_SIGNATURE = 4,
    NSM_TOOL_DATES = 5,
    NSM_TOOL_MISMATCH = 6, /* a value is not the expected one */
    NSM_TOOL_DEBUG = 7,
};

int nsm_tool_show(int argc, char **argv);
int nsm_tool_verify(int argc, char **argv);

/**
 * nsm_tool_read: read the file that the last argument names
 * @command: name of the command, for messages
 * @argc: as main() has it, optind is at the first argument without option
 * @argv: same; "-" is stdin
 *
 * One that is too long is left to those who decode it.
 *
 * Returns: the bytes, to be freed; NULL after an error has been reported.
 */
GByteArray *nsm_tool_read(const char *command, int argc, char **argv);

/**
 * nsm_tool_write_claims: add what a document claims
 * @w: where to; within an object
 * @claims: the document
 */
void nsm_tool_write_claims(JSONWriter *w, const NSMDocument *claims);

#endif
