/*
 * qemu-eif pcr: print the registers of an image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include "qemu/cutils.h"
#include "tool.h"

static const char usage[] =
    "Usage: qemu-eif pcr [OPTION]... IMAGE\n"
    "Print the registers that an image leads to, one per line: \"PCR0 HEX\".\n"
    "PCR8 is there when the image is signed.\n"
    "\n"
    "  -p, --pcr=NUMBER  only the value of this one: 0, 1, 2 or 8\n"
    "  -h, --help        this text\n";

static const struct option long_options[] = {
    { "pcr", required_argument, NULL, 'p' },
    { "help", no_argument, NULL, 'h' },
    { }
};

static int print_one(const EifMeasurements *m, unsigned index)
{
    g_autofree char *value = eif_pcr_str(eif_measurements_pcr(m, index));

    printf("%s\n", value);
    return TOOL_OK;
}

static int print_all(const EifMeasurements *m)
{
    for (size_t i = 0; i < EIF_NR_PCRS; i++) {
        if (eif_pcr_index[i] != 8 || m->has_pcr8) {
            printf("PCR%u ", eif_pcr_index[i]);
            print_one(m, eif_pcr_index[i]);
        }
    }
    return TOOL_OK;
}

static int run_pcr(ToolImage *t, const unsigned *index)
{
    EifMeasurements m;
    Error *err = NULL;

    if (!eif_image_measure(t->image, &t->src, &m, &err)) {
        return tool_fail(err);
    }
    if (index && *index == 8 && !m.has_pcr8) {
        error_setg(&err, "%s is not signed and so has no PCR8", t->path);
        tool_fail(err);
        return TOOL_BAD_SIGNATURE;
    }
    return index ? print_one(&m, *index) : print_all(&m);
}

typedef struct PcrOptions {
    bool one;
    unsigned index;
} PcrOptions;

static bool take_pcr(void *opaque, int c, Error **errp)
{
    static const EifMeasurements any;
    PcrOptions *o = opaque;

    o->one = true;
    if (qemu_strtoui(optarg, NULL, 10, &o->index) < 0 ||
        !eif_measurements_pcr(&any, o->index)) {
        error_setg(errp, "'%s' is not 0, 1, 2 or 8", optarg);
        return false;
    }
    return true;
}

static const ToolOptions pcr_options = {
    "pcr", usage, "p:h", long_options, NULL
};

int tool_pcr(int argc, char **argv)
{
    ToolImage t = TOOL_IMAGE_INIT;
    PcrOptions o = { .one = false };
    int rc = tool_options(&pcr_options, argc, argv, take_pcr, &o);

    if (rc >= 0) {
        return rc;
    }
    rc = tool_image_open(&t, "pcr", argc, argv);
    if (rc == TOOL_OK) {
        rc = run_pcr(&t, o.one ? &o.index : NULL);
    }
    tool_image_close(&t);
    return rc;
}
