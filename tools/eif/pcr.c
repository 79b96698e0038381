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

#define PEM_MAX 65536

static const char usage[] =
    "Usage: qemu-eif pcr [--pcr=NUMBER] IMAGE\n"
    "       qemu-eif pcr --input=FILE\n"
    "       qemu-eif pcr --signing-certificate=FILE\n"
    "Print the registers that an image leads to, one per line: \"PCR0 HEX\".\n"
    "PCR8 is there when the image is signed.  Without an image, print a\n"
    "register as JSON, as nitro-cli does.\n"
    "\n"
    "  -p, --pcr=NUMBER  only the value of this one: 0, 1, 2 or 8\n"
    "  -i, --input=FILE  a register into which this file was extended\n"
    "  -s, --signing-certificate=FILE\n"
    "                    PCR8 of images that are signed with it (PEM)\n"
    "  -h, --help        this text\n";

static const struct option long_options[] = {
    { "pcr", required_argument, NULL, 'p' },
    { "input", required_argument, NULL, 'i' },
    { "signing-certificate", required_argument, NULL, 's' },
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

/* All but PCR8, and why that is not known */
static int print_known(const ToolImage *t, const EifMeasurements *m,
                       const unsigned *index)
{
    g_autoptr(EifSignature) sig = NULL;
    Error *err = NULL;

    if (!index) {
        print_all(m);
    }
    sig = eif_image_read_signature(t->image, &t->src, &err);
    error_prepend(&err, "%s: PCR8 is not known: ", t->path);
    tool_fail(err);
    return TOOL_BAD_SIGNATURE;
}

static int run_pcr(ToolImage *t, const unsigned *index)
{
    EifMeasurements m;
    Error *err = NULL;

    if (!eif_image_measure(t->image, &t->src, &m, &err)) {
        return tool_fail(err);
    }
    if (m.pcr8_unknown && (!index || *index == 8)) {
        return print_known(t, &m, index);
    }
    if (index && *index == 8 && !m.has_pcr8) {
        error_setg(&err, "%s is not signed and so has no PCR8", t->path);
        tool_fail(err);
        return TOOL_BAD_SIGNATURE;
    }
    return index ? print_one(&m, *index) : print_all(&m);
}

static int print_json(const char *name, const EifSource *src)
{
    g_autoptr(JSONWriter) w = json_writer_new(true);
    g_autofree char *value = NULL;
    uint8_t pcr[EIF_PCR_LEN];
    Error *err = NULL;

    if (!eif_source_measure(src, pcr, &err)) {
        return tool_fail(err);
    }
    value = eif_pcr_str(pcr);
    json_writer_start_object(w, NULL);
    json_writer_str(w, name, value);
    json_writer_end_object(w);
    return tool_print_json(w);
}

static int measure_input(const char *path)
{
    Error *err = NULL;
    EifSource src;
    int fd = qemu_open(path, O_RDONLY | O_NONBLOCK, &err);
    int rc;

    if (fd < 0) {
        return tool_fail(err);
    }
    if (eif_source_init_fd(&src, fd, &err)) {
        rc = print_json("PCR", &src);
    } else {
        error_prepend(&err, "%s: ", path);
        rc = tool_fail(err);
    }
    qemu_close(fd);
    return rc;
}

static int measure_certificate(const char *path)
{
    g_autoptr(GByteArray) text = NULL;
    g_autoptr(GByteArray) pem = NULL;
    g_autoptr(GByteArray) der = NULL;
    Error *err = NULL;
    EifSource src;

    text = tool_read_file(path, PEM_MAX, &err);
    if (!text) {
        return tool_fail(err);
    }
    pem = eif_pem_certificate(text, &der, &err);
    if (!pem) {
        error_prepend(&err, "%s: ", path);
        return tool_fail(err);
    }
    eif_source_init_buffer(&src, der->data, der->len);
    return print_json("PCR8", &src);
}

typedef struct PcrOptions {
    bool one;
    unsigned index;
    const char *input;
    const char *certificate;
} PcrOptions;

static bool take_pcr(void *opaque, int c, Error **errp)
{
    static const EifMeasurements any;
    PcrOptions *o = opaque;

    if (c == 'i') {
        o->input = optarg;
        return true;
    }
    if (c == 's') {
        o->certificate = optarg;
        return true;
    }
    o->one = true;
    if (qemu_strtoui(optarg, NULL, 10, &o->index) < 0 ||
        !eif_measurements_pcr(&any, o->index)) {
        error_setg(errp, "'%s' is not 0, 1, 2 or 8", optarg);
        return false;
    }
    return true;
}

static const ToolOptions pcr_options = {
    "pcr", usage, "p:i:s:h", long_options, NULL
};

static int measure_image(const PcrOptions *o, int argc, char **argv)
{
    ToolImage t = TOOL_IMAGE_INIT;
    int rc = tool_image_open(&t, "pcr", argc, argv);

    if (rc == TOOL_OK) {
        rc = run_pcr(&t, o->one ? &o->index : NULL);
    }
    tool_image_close(&t);
    return rc;
}

int tool_pcr(int argc, char **argv)
{
    PcrOptions o = { .one = false };
    int rc = tool_options(&pcr_options, argc, argv, take_pcr, &o);

    if (rc >= 0) {
        return rc;
    }
    if (!o.input && !o.certificate) {
        return measure_image(&o, argc, argv);
    }
    if (o.one || optind != argc || (o.input && o.certificate)) {
        return tool_bad_usage("pcr", "--input and --signing-certificate stand "
                              "alone: no IMAGE, no other option");
    }
    return o.input ? measure_input(o.input)
                   : measure_certificate(o.certificate);
}
