/*
 * qemu-eif: work with images of Nitro Enclaves
 *
 * The commands are one file each; the manual is docs/tools/qemu-eif.rst.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "tool.h"

static const ToolCommand commands[] = {
    { "build", tool_build },
    { "describe", tool_describe },
    { "diff", tool_diff },
    { "extract", tool_extract },
    { "pcr", tool_pcr },
    { "sign", tool_sign },
    { "verify", tool_verify },
    { }
};

static const char usage[] =
    "Usage: qemu-eif COMMAND [OPTION]... [IMAGE]\n"
    "Work with images of Nitro Enclaves (EIF).\n"
    "\n"
    "Commands:\n"
    "  build      make an image from a kernel and ramdisks, sign it\n"
    "  describe   print what an image holds, as JSON\n"
    "  diff       say why the registers of two images differ\n"
    "  extract    write the parts of an image to files\n"
    "  pcr        print the registers that an image leads to\n"
    "  sign       add a signature to an image, or replace the one it has\n"
    "  verify     check the CRC, the signature and registers of an image\n"
    "\n"
    "Options:\n"
    "  -h, --help     this text; after a command, how to use that\n"
    "  -V, --version  the version\n"
    "\n"
    "Exit status: 0 all is well, 1 wrong usage or a file that cannot be read\n"
    "or written, 2 the image is broken, 3 its signature is missing or not\n"
    "valid, 4 a register is not the expected one.\n";

int main(int argc, char **argv)
{
    return tool_main("qemu-eif", usage, commands, argc, argv);
}
