/*
 * qemu-eif sign: add a signature to an image, or replace the one it has
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include "memory.h"
#include "signing.h"
#include "tool.h"

static const char usage[] =
    "Usage: qemu-eif sign --signing-certificate=FILE --private-key=FILE\n"
    "                     [--output=FILE] IMAGE\n"
    "Sign an enclave image, in place of the signature it may have, and print\n"
    "its registers as JSON.\n"
    "\n"
    "  -s, --signing-certificate=FILE  X.509 certificate (PEM)\n"
    "  -p, --private-key=FILE          its key (PEM), on the curve P-256,\n"
    "                                  P-384 or P-521\n"
    "  -o, --output=FILE               where to write (default: IMAGE is\n"
    "                                  replaced as a whole)\n"
    "  -h, --help                      this text\n"
    "\n"
    "A damaged image (CRC) is refused.\n";

static const struct option long_options[] = {
    { "signing-certificate", required_argument, NULL, 's' },
    { "private-key", required_argument, NULL, 'p' },
    { "output", required_argument, NULL, 'o' },
    { "help", no_argument, NULL, 'h' },
    { }
};

typedef struct SignOptions {
    ToolSigning signing;
    const char *output;
} SignOptions;

static bool take_sign(void *opaque, int c, Error **errp)
{
    SignOptions *o = opaque;
    const char **target = c == 's' ? &o->signing.certificate
                        : c == 'p' ? &o->signing.private_key : &o->output;

    *target = optarg;
    return true;
}

static int run_sign(ToolImage *t, const SignOptions *o)
{
    g_autoptr(EifSigningKey) key = NULL;
    const char *output = o->output ?: t->path;
    EifMeasurements m;
    Error *err = NULL;

    if (!tool_signing_check_output(&o->signing, output, o->output ? "--output"
                                   : "the image", &err)) {
        return tool_fail(err);
    }
    if (!eif_image_verify_crc(t->image, &t->src, &err)) {
        error_prepend(&err, "%s: ", t->path);
        tool_fail(err);
        return TOOL_BAD_IMAGE;
    }
    key = tool_signing_key(&o->signing, &err);
    if (!key) {
        return tool_fail(err);
    }
    if (!tool_write_signed(output, t->image, &t->src, key, &m,
                           &err)) {
        error_prepend(&err, "%s: ", t->path);
        return tool_fail(err);
    }
    return tool_print_built(&m, key, memory_need(t->image, &t->src));
}

static const ToolOptions sign_options = {
    "sign", usage, "s:p:o:h", long_options, NULL
};

int tool_sign(int argc, char **argv)
{
    ToolImage t = TOOL_IMAGE_INIT;
    SignOptions o = { .output = NULL };
    int rc = tool_options(&sign_options, argc, argv, take_sign, &o);

    if (rc >= 0) {
        return rc;
    }
    if (!o.signing.certificate || !o.signing.private_key) {
        return tool_bad_usage("sign", "--signing-certificate and --private-key "
                              "are needed");
    }
    rc = tool_image_open(&t, "sign", argc, argv);
    if (rc == TOOL_OK) {
        rc = run_sign(&t, &o);
    }
    tool_image_close(&t);
    return rc;
}
