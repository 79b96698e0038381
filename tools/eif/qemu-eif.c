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
#include "qemu-version.h"
#include "qemu/error-report.h"
#include "tool.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    { "build", tool_build },
    { "describe", tool_describe },
    { "extract", tool_extract },
    { "pcr", tool_pcr },
    { "sign", tool_sign },
    { "verify", tool_verify },
};

static const char usage[] =
    "Usage: qemu-eif COMMAND [OPTION]... [IMAGE]\n"
    "Work with images of Nitro Enclaves (EIF).\n"
    "\n"
    "Commands:\n"
    "  build      make an image from a kernel and ramdisks, sign it\n"
    "  describe   print what an image holds, as JSON\n"
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

static int run(const char *name, int argc, char **argv)
{
    if (g_str_equal(name, "-h") || g_str_equal(name, "--help")) {
        return tool_usage(usage);
    }
    if (g_str_equal(name, "-V") || g_str_equal(name, "--version")) {
        printf("qemu-eif version " QEMU_FULL_VERSION "\n");
        return TOOL_OK;
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        if (g_str_equal(name, commands[i].name)) {
            argv[1] = argv[0]; /* for messages of getopt_long() */
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    if (*name) {
        error_report("there is no command '%s'", name);
    } else {
        error_report("a command is needed");
    }
    error_printf("Try 'qemu-eif --help'.\n");
    return TOOL_FAILED;
}

int main(int argc, char **argv)
{
    error_init(argv[0]);
    return tool_finish(run(argc > 1 ? argv[1] : "", argc, argv));
}
