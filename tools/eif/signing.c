/*
 * qemu-eif: signing, for the commands build and sign
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "hw/core/eif-output.h"
#include "signing.h"
#include "tool.h"

#define PEM_MAX 65536

bool tool_signing_is_whole(const ToolSigning *s, Error **errp)
{
    if (!s->certificate == !s->private_key) {
        return true;
    }
    error_setg(errp, "--signing-certificate and --private-key are needed "
               "together, %s is missing", s->certificate
               ? "--private-key" : "--signing-certificate");
    return false;
}

bool tool_signing_check_output(const ToolSigning *s, const char *output,
                               const char *option, Error **errp)
{
    return eif_output_check_input(output, option, s->certificate,
                                  "--signing-certificate", errp) &&
           eif_output_check_input(output, option, s->private_key,
                                  "--private-key", errp);
}

static EifSigningKey *read_pair(const ToolSigning *s, Error **errp)
{
    g_autoptr(GByteArray) cert = NULL;
    g_autoptr(GByteArray) key = NULL;

    cert = tool_read_file(s->certificate, PEM_MAX, errp);
    key = cert ? tool_read_file(s->private_key, PEM_MAX, errp) : NULL;
    return key ? eif_signing_key_new(cert, key, errp) : NULL;
}

/* What is signed now is launched later, so only the past is an error */
static bool check_dates(const EifCertificate *cert, Error **errp)
{
    ERRP_GUARD();
    int64_t now = g_get_real_time() / G_USEC_PER_SEC;
    Error *err = NULL;

    if (eif_certificate_check_dates(cert, now, &err)) {
        return true;
    }
    if (now > cert->not_after) {
        error_propagate(errp, err);
        error_append_hint(errp, "An enclave would not start; sign with a "
                          "certificate that is valid.\n");
        return false;
    }
    warn_report_err(err);
    return true;
}

EifSigningKey *tool_signing_key(const ToolSigning *s, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(EifSigningKey) key = read_pair(s, errp);

    if (!key || !check_dates(eif_signing_key_certificate(key), errp)) {
        error_prepend(errp, "cannot sign with %s and %s: ", s->certificate,
                      s->private_key);
        return NULL;
    }
    return g_steal_pointer(&key);
}

typedef struct SignJob {
    const EifImage *image;
    const EifSource *src;
    GByteArray *section;
    EifMeasurements *m;
} SignJob;

/* Files that changed after they were measured must not look signed */
static bool fill_signed(void *dest, uint64_t size, void *opaque, Error **errp)
{
    ERRP_GUARD();
    SignJob *job = opaque;
    g_autoptr(EifImage) image = NULL;
    EifMeasurements m;
    EifSource src;

    if (!eif_resign_write(job->image, job->src, job->section, dest, errp)) {
        return false;
    }
    image = eif_image_parse_buffer(dest, size, errp);
    eif_source_init_buffer(&src, dest, size);
    if (!image || !eif_image_measure(image, &src, &m, errp)) {
        return false;
    }
    if (memcmp(m.pcr0, job->m->pcr0, EIF_PCR_LEN)) {
        error_setg(errp, "the files changed while they were being read");
        error_append_hint(errp, "Sign again.\n");
        return false;
    }
    *job->m = m;
    return true;
}

bool tool_write_signed(const char *path, const EifImage *image,
                       const EifSource *src, const EifSigningKey *key,
                       EifMeasurements *m, Error **errp)
{
    g_autoptr(GByteArray) section = NULL;
    SignJob job = { .image = image, .src = src, .m = m };
    uint64_t size;

    if (!eif_image_measure(image, src, m, errp)) {
        return false;
    }
    section = eif_sign_pcr0(key, m->pcr0, errp);
    if (!section) {
        return false;
    }
    job.section = section;
    size = eif_resign_size(image, section->len, errp);
    return size && eif_output_file(path, size, fill_signed, &job, errp);
}

int tool_print_built(const EifMeasurements *m, const EifSigningKey *key,
                     uint64_t memory_mib)
{
    g_autoptr(JSONWriter) w = json_writer_new(true);

    json_writer_start_object(w, NULL);
    tool_write_measurements(w, m);
    if (key) {
        tool_write_certificate(w, eif_signing_key_certificate(key));
    }
    tool_write_memory(w, memory_mib);
    json_writer_end_object(w);
    return tool_print_json(w);
}
