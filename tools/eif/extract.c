/*
 * qemu-eif extract: write the parts of an image to files
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include <glib/gstdio.h>
#include "hw/core/eif-output.h"
#include "qemu/error-report.h"
#include "tool.h"

static const char usage[] =
    "Usage: qemu-eif extract --output-dir=DIR IMAGE\n"
    "       qemu-eif extract --section=NAME --output=FILE IMAGE\n"
    "Write the parts of an image to files.\n"
    "\n"
    "  -d, --output-dir=DIR  write all parts into this directory, which is\n"
    "                        made if need be: kernel, cmdline, ramdisk-0,\n"
    "                        ramdisk-1, ..., metadata.json, signature.cbor,\n"
    "                        certificate.der\n"
    "  -s, --section=NAME    write one part: kernel, cmdline, ramdisk-N,\n"
    "                        metadata, signature or certificate\n"
    "  -o, --output=FILE     where to write it; replaced as a whole\n"
    "  -h, --help            this text\n"
    "\n"
    "A damaged image (CRC) is refused.\n";

static const struct option long_options[] = {
    { "output-dir", required_argument, NULL, 'd' },
    { "section", required_argument, NULL, 's' },
    { "output", required_argument, NULL, 'o' },
    { "help", no_argument, NULL, 'h' },
    { }
};

typedef struct Options {
    const char *dir;
    const char *section;
    const char *output;
} Options;

/* Name of section @i, to be freed */
static char *part_name(const EifImage *image, unsigned i)
{
    uint16_t type = image->sections[i].type;
    unsigned n = 0;

    for (unsigned j = 0; j < i; j++) {
        n += image->sections[j].type == type;
    }
    return tool_section_name(type, n);
}

static const char *suffix(uint16_t type)
{
    switch (type) {
    case EIF_SECTION_METADATA:
        return ".json";
    case EIF_SECTION_SIGNATURE:
        return ".cbor";
    default:
        return "";
    }
}

typedef struct Part {
    const EifSource *src;
    uint64_t offset;
} Part;

static bool fill_part(void *dest, uint64_t size, void *opaque, Error **errp)
{
    const Part *part = opaque;

    return eif_source_read(part->src, dest, size, part->offset, errp);
}

static bool check_output(const ToolImage *t, const char *path, Error **errp)
{
    return eif_output_check_input(path, "a part", t->path, "the image", errp);
}

static bool write_part(ToolImage *t, const EifSection *s, const char *path,
                       Error **errp)
{
    Part part = { &t->src, s->data_offset };

    return check_output(t, path, errp) &&
           eif_output_file(path, s->size, fill_part, &part, errp);
}

static bool write_certificate(const ToolImage *t, const EifSignature *sig,
                              const char *path, Error **errp)
{
    return check_output(t, path, errp) &&
           eif_output_data(path, sig->cert_der->data, sig->cert_der->len,
                           errp);
}

static bool extract_one(ToolImage *t, const Options *o, Error **errp)
{
    g_autoptr(EifSignature) sig = NULL;

    for (unsigned i = 0; i < t->image->nr_sections; i++) {
        g_autofree char *name = part_name(t->image, i);

        if (g_str_equal(name, o->section)) {
            return write_part(t, &t->image->sections[i], o->output, errp);
        }
    }
    if (g_str_equal(o->section, "certificate") && t->image->has_signature) {
        sig = eif_image_read_signature(t->image, &t->src, errp);
        return sig && write_certificate(t, sig, o->output, errp);
    }
    error_setg(errp, "%s has no section '%s'", t->path, o->section);
    error_append_hint(errp, "'qemu-eif describe' lists the sections.\n");
    return false;
}

static bool extract_all(ToolImage *t, const Options *o, Error **errp)
{
    g_autofree char *certificate = g_build_filename(o->dir, "certificate.der",
                                                    NULL);
    g_autoptr(EifSignature) sig = NULL;
    Error *err = NULL;

    if (g_mkdir(o->dir, 0777) < 0 && errno != EEXIST) {
        error_setg_errno(errp, errno, "cannot make directory %s", o->dir);
        return false;
    }
    for (unsigned i = 0; i < t->image->nr_sections; i++) {
        const EifSection *s = &t->image->sections[i];
        g_autofree char *name = part_name(t->image, i);
        g_autofree char *path = g_strdup_printf("%s/%s%s", o->dir, name,
                                                suffix(s->type));

        if (!write_part(t, s, path, errp)) {
            return false;
        }
    }
    if (!t->image->has_signature) {
        return true;
    }
    sig = eif_image_read_signature(t->image, &t->src, &err);
    if (!sig) {
        /* The other parts are there, which may be what is needed */
        warn_reportf_err(err, "%s: no %s: ", t->path, certificate);
        return true;
    }
    return write_certificate(t, sig, certificate, errp);
}

static int run_extract(ToolImage *t, const Options *o)
{
    Error *err = NULL;

    if (!eif_image_verify_crc(t->image, &t->src, &err)) {
        error_prepend(&err, "%s: ", t->path);
        tool_fail(err);
        return TOOL_BAD_IMAGE;
    }
    if (!(o->dir ? extract_all(t, o, &err) : extract_one(t, o, &err))) {
        return tool_fail(err);
    }
    return TOOL_OK;
}

static bool options_are_whole(const Options *o)
{
    return o->dir ? !o->section && !o->output : o->section && o->output;
}

static bool take_extract(void *opaque, int c, Error **errp)
{
    Options *o = opaque;
    const char **target = c == 'd' ? &o->dir
                        : c == 's' ? &o->section : &o->output;

    *target = optarg;
    return true;
}

static const ToolOptions extract_options = {
    "extract", usage, "d:s:o:h", long_options, NULL
};

int tool_extract(int argc, char **argv)
{
    ToolImage t = TOOL_IMAGE_INIT;
    Options o = { NULL };
    int rc = tool_options(&extract_options, argc, argv, take_extract, &o);

    if (rc >= 0) {
        return rc;
    }
    if (!options_are_whole(&o)) {
        return tool_bad_usage("extract", "either --output-dir or both "
                              "--section and --output are needed");
    }
    rc = tool_image_open(&t, "extract", argc, argv);
    if (rc == TOOL_OK) {
        rc = run_extract(&t, &o);
    }
    tool_image_close(&t);
    return rc;
}
