/*
 * qemu-eif: what its commands share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include "qemu/error-report.h"
#include "tool.h"

int tool_image_open(ToolImage *t, const char *command, int argc, char **argv)
{
    Error *err = NULL;

    if (argc - optind != 1) {
        return tool_bad_usage(command, "one image file is needed, there are "
                              "%d", argc - optind);
    }
    t->path = argv[optind];
    /* O_NONBLOCK: report a pipe as an error instead of blocking in open() */
    t->fd = qemu_open(t->path, O_RDONLY | O_NONBLOCK, &err);
    if (t->fd < 0) {
        return tool_fail(err);
    }
    t->image = eif_image_open_fd(t->fd, &err);
    if (!t->image || !eif_source_init_fd(&t->src, t->fd, &err)) {
        error_prepend(&err, "%s: ", t->path);
        error_report_err(err);
        return TOOL_BAD_IMAGE;
    }
    return TOOL_OK;
}

void tool_image_close(ToolImage *t)
{
    eif_image_free(t->image);
    if (t->fd >= 0) {
        qemu_close(t->fd);
    }
}

char *tool_section_name(uint16_t type, unsigned n)
{
    return type == EIF_SECTION_RAMDISK ? g_strdup_printf("ramdisk-%u", n)
           : g_strdup(eif_section_type_str(type));
}

void tool_write_measurements(JSONWriter *w, const EifMeasurements *m)
{
    json_writer_start_object(w, "Measurements");
    json_writer_str(w, "HashAlgorithm", "Sha384 { ... }");
    for (size_t i = 0; i < EIF_NR_PCRS; i++) {
        g_autofree char *name = g_strdup_printf("PCR%u", eif_pcr_index[i]);
        g_autofree char *value =
            eif_pcr_str(eif_measurements_pcr(m, eif_pcr_index[i]));

        if (eif_pcr_index[i] != 8 || m->has_pcr8) {
            json_writer_str(w, name, value);
        }
    }
    json_writer_end_object(w);
}
