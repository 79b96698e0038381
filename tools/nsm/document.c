/*
 * qemu-nsm: the document that its commands look at
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include "document.h"

#define MS_PER_SECOND 1000

/*
 * At most a byte more than a document may have, which shows that it is too
 * long
 */
static GByteArray *read_document(int fd, Error **errp)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint8_t piece[1024];
    ssize_t n;

    do {
        size_t room = MIN(sizeof(piece), NSM_DOC_MAX + 1 - bytes->len);

        n = RETRY_ON_EINTR(read(fd, piece, room));
        if (n < 0) {
            error_setg_errno(errp, errno, "cannot read");
            return NULL;
        }
        g_byte_array_append(bytes, piece, n);
    } while (n && bytes->len <= NSM_DOC_MAX);
    return g_steal_pointer(&bytes);
}

static GByteArray *read_path(const char *path, Error **errp)
{
    ERRP_GUARD();
    int fd = qemu_open(path, O_RDONLY, errp);
    GByteArray *bytes;

    if (fd < 0) {
        return NULL;
    }
    bytes = read_document(fd, errp);
    qemu_close(fd);
    if (!bytes) {
        error_prepend(errp, "%s: ", path);
    }
    return bytes;
}

GByteArray *nsm_tool_read(const char *command, int argc, char **argv)
{
    Error *err = NULL;
    GByteArray *bytes;

    if (argc - optind != 1) {
        tool_bad_usage(command, "one document is needed, there are %d",
                       argc - optind);
        return NULL;
    }
    bytes = g_str_equal(argv[optind], "-")
            ? read_document(STDIN_FILENO, &err)
            : read_path(argv[optind], &err);
    if (!bytes) {
        tool_fail(err);
    }
    return bytes;
}

static void write_bytes(JSONWriter *w, const char *name, NSMBytes bytes)
{
    g_autofree char *hex = NULL;

    if (!bytes.data) {
        json_writer_null(w, name);
        return;
    }
    hex = nsm_hex_str(bytes);
    json_writer_str(w, name, hex);
}

static void write_time(JSONWriter *w, const char *name, int64_t seconds)
{
    g_autofree char *text = eif_time_str(seconds);

    json_writer_str(w, name, text);
}

static void write_pcrs(JSONWriter *w, const NSMDocument *claims)
{
    json_writer_start_object(w, "PCRs");
    for (unsigned i = 0; i < NSM_DOC_MAX_PCRS; i++) {
        g_autofree char *name = g_strdup_printf("PCR%u", i);

        if (claims->pcrs[i].data) {
            write_bytes(w, name, claims->pcrs[i]);
        }
    }
    json_writer_end_object(w);
}

static void write_certificate(JSONWriter *w, NSMBytes der)
{
    g_autoptr(GByteArray) copy = g_byte_array_new();
    g_autoptr(EifCertificate) cert = NULL;
    uint8_t fingerprint[NSM_FINGERPRINT_LEN];

    g_byte_array_append(copy, der.data, der.len);
    nsm_fingerprint(der, fingerprint);
    cert = eif_certificate_decode(copy, NULL);
    json_writer_start_object(w, NULL);
    if (cert) {
        json_writer_str(w, "Subject", cert->subject);
        write_time(w, "NotBefore", cert->not_before);
        write_time(w, "NotAfter", cert->not_after);
    }
    write_bytes(w, "Fingerprint",
                (NSMBytes) { fingerprint, sizeof(fingerprint) });
    json_writer_uint64(w, "Size", der.len);
    json_writer_end_object(w);
}

static void write_certificates(JSONWriter *w, const NSMDocument *claims)
{
    json_writer_start_array(w, "Certificates");
    for (unsigned i = 0; i <= claims->nr_cabundle; i++) {
        write_certificate(w, nsm_document_certificate(claims, i));
    }
    json_writer_end_array(w);
}

void nsm_tool_write_claims(JSONWriter *w, const NSMDocument *claims)
{
    g_autofree char *id = g_strndup((const char *)claims->module_id.data,
                                    claims->module_id.len);

    json_writer_str(w, "ModuleID", id);
    json_writer_uint64(w, "Timestamp", claims->timestamp_ms);
    write_time(w, "Time", claims->timestamp_ms / MS_PER_SECOND);
    json_writer_str(w, "Digest", NSM_DOC_SHA384);
    write_pcrs(w, claims);
    write_bytes(w, "PublicKey", claims->public_key);
    write_bytes(w, "UserData", claims->user_data);
    write_bytes(w, "Nonce", claims->nonce);
    write_certificates(w, claims);
    json_writer_str(w, "MapHead", claims->indefinite ? "indefinite"
                                                     : "definite");
    json_writer_bool(w, "Tagged", claims->tagged);
}
