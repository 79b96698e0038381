/*
 * qemu-nsm: look at attestation documents of Nitro Enclaves
 *
 * The commands are one file each; the manual is docs/tools/qemu-nsm.rst.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "document.h"

static const ToolCommand commands[] = {
    { "show", nsm_tool_show },
    { "verify", nsm_tool_verify },
    { }
};

static const char usage[] =
    "Usage: qemu-nsm COMMAND [OPTION]... FILE|-\n"
    "Look at attestation documents of Nitro Enclaves.\n"
    "\n"
    "Commands:\n"
    "  show       print what a document claims, as JSON\n"
    "  verify     check that a document proves something, as JSON\n"
    "\n"
    "Options:\n"
    "  -h, --help     this text; after a command, how to use that\n"
    "  -V, --version  the version\n"
    "\n"
    "Exit status: 0 all is well, 1 wrong usage or a file that cannot be\n"
    "read, 2 the document is malformed, 3 its certificates do not lead to the\n"
    "root, 4 its signature is not valid, 5 it is too old, or a certificate is\n"
    "not valid at the time, 6 a value is not the expected one, 7 debug mode.\n";

int main(int argc, char **argv)
{
    return tool_main("qemu-nsm", usage, commands, argc, argv);
}
