/*
 * qemu-nsm show: print what a document claims, as JSON
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include "document.h"

static const char usage[] =
    "Usage: qemu-nsm show FILE|-\n"
    "Print what an attestation document claims, as JSON.  Nothing is\n"
    "verified.\n"
    "\n"
    "  -h, --help  this text\n"
    "\n"
    "Exit status: 0 all is well, 1 cannot be read, 2 malformed.\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { }
};

static int show(const GByteArray *document)
{
    g_autoptr(JSONWriter) w = NULL;
    NSMDocument claims;
    Error *err = NULL;

    if (!nsm_document_decode(document->data, document->len, &claims, &err)) {
        tool_fail(err);
        return NSM_TOOL_MALFORMED;
    }
    w = json_writer_new(true);
    json_writer_start_object(w, NULL);
    nsm_tool_write_claims(w, &claims);
    json_writer_uint64(w, "Size", document->len);
    json_writer_end_object(w);
    return tool_print_json(w);
}

static const ToolOptions nsm_show_options = {
    "show", usage, "h", long_options, NULL
};

int nsm_tool_show(int argc, char **argv)
{
    g_autoptr(GByteArray) document = NULL;
    int rc = tool_options(&nsm_show_options, argc, argv, NULL, NULL);

    if (rc >= 0) {
        return rc;
    }
    document = nsm_tool_read("show", argc, argv);
    return document ? show(document) : TOOL_FAILED;
}
