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

int tool_pcr(int argc, char **argv)
{
    ToolImage t = TOOL_IMAGE_INIT;
    EifMeasurements none;
    unsigned index;
    bool one = false;
    int c, rc;

    while ((c = getopt_long(argc, argv, "p:h", long_options, NULL)) != -1) {
        if (c == 'h') {
            return tool_usage(usage);
        }
        if (c != 'p') {
            return tool_try_help("pcr");
        }
        if (qemu_strtoui(optarg, NULL, 10, &index) < 0 ||
            !eif_measurements_pcr(&none, index)) {
            return tool_bad_usage("pcr", "'%s' is not 0, 1, 2 or 8", optarg);
        }
        one = true;
    }
    rc = tool_image_open(&t, "pcr", argc, argv);
    if (rc == TOOL_OK) {
        rc = run_pcr(&t, one ? &index : NULL);
    }
    tool_image_close(&t);
    return rc;
}
