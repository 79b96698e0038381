/*
 * qemu-eif describe: print what an image holds, as JSON
 *
 * The members are named as in the output of "nitro-cli describe-eif"; our own
 * members are at the end.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include "hw/core/eif-remark.h"
#include "hw/core/eif-verify.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qstring.h"
#include "json-copy.h"
#include "memory.h"
#include "tool.h"

/* Metadata is some KiB; what is read of it must not fill the memory */
#define METADATA_MAX (1 * MiB)
#define METADATA_MEMORY_MAX (8 * MiB)

static const char usage[] =
    "Usage: qemu-eif describe IMAGE\n"
    "Print what an image holds, as JSON, with the names that nitro-cli uses.\n"
    "\n"
    "  -h, --help  this text\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { }
};

static char *read_metadata(ToolImage *t, const EifSection *s, Error **errp)
{
    g_autofree char *text = NULL;

    if (s->size > METADATA_MAX) {
        error_setg(errp, "the metadata of the image has %" PRIu64 " bytes, "
                   "more than %" PRIu64, s->size, (uint64_t)METADATA_MAX);
        return NULL;
    }
    text = g_malloc0(s->size + 1);
    return eif_source_read(&t->src, text, s->size, s->data_offset, errp)
           ? g_steal_pointer(&text) : NULL;
}

/* Short JSON can take long lists: how much memory, at most? */
static uint64_t memory_for(const char *text)
{
    uint64_t bytes = 0;

    for (; *text; text++) {
        switch (*text) {
        case '{':
            bytes += sizeof(QDict) + 512;
            break;
        case '[':
        case ',':
            bytes += 256;
            break;
        default:
            break;
        }
    }
    return bytes;
}

static QObject *parse_text(const char *text, Error **errp)
{
    uint64_t bytes = memory_for(text);

    if (bytes > METADATA_MEMORY_MAX) {
        error_setg(errp, "the metadata of the image is %zu bytes of JSON that "
                   "would take %" PRIu64 " bytes of memory, more than %"
                   PRIu64, strlen(text), bytes,
                   (uint64_t)METADATA_MEMORY_MAX);
        return NULL;
    }
    return qobject_from_json(text, errp);
}

/* What the metadata section holds; NULL when it is absent or unreadable */
static QDict *parse_metadata(ToolImage *t, Error **errp)
{
    const EifSection *s = eif_image_section(t->image, EIF_SECTION_METADATA, 0);
    g_autofree char *text = NULL;
    QObject *value;
    QDict *metadata;

    if (!s) {
        return NULL;
    }
    text = read_metadata(t, s, errp);
    value = text ? parse_text(text, errp) : NULL;
    metadata = qobject_to(QDict, value);
    if (value && !metadata) {
        qobject_unref(value);
        error_setg(errp, "the metadata of the image is not a JSON object");
    }
    return metadata;
}

static void write_string(JSONWriter *w, const QDict *metadata, const char *key)
{
    const char *value = qdict_get_try_str(metadata, key);

    if (value) {
        json_writer_str(w, key, value);
    }
}

static const char *const build_keys[] = {
    "BuildTime", "BuildTool", "BuildToolVersion", "OperatingSystem",
    "KernelVersion",
};

static void write_unless_null(JSONWriter *w, const QDict *metadata,
                              const char *key)
{
    const QObject *value = qdict_get(metadata, key);

    if (value && qobject_type(value) != QTYPE_QNULL) {
        json_copy(w, key, value);
    }
}

static void remove_nulls(QDict *members)
{
    const QDictEntry *e, *next;

    for (e = qdict_first(members); e; e = next) {
        next = qdict_next(members, e);
        if (qobject_type(qdict_entry_value(e)) == QTYPE_QNULL) {
            qdict_del(members, qdict_entry_key(e));
        }
    }
}

/* Members of CustomMetadata move up, unless there is one of that name */
static void write_custom(JSONWriter *w, const QDict *metadata)
{
    const QDict *custom = qobject_to(QDict,
                                     qdict_get(metadata, "CustomMetadata"));
    QDict *members;

    if (!custom) {
        write_unless_null(w, metadata, "CustomMetadata");
        return;
    }
    members = qdict_clone_shallow(custom);
    for (size_t i = 0; i < ARRAY_SIZE(build_keys); i++) {
        qdict_del(members, build_keys[i]);
    }
    qdict_del(members, "DockerInfo");
    remove_nulls(members);
    json_copy_members(w, members);
    qobject_unref(members);
}

/* Those of BuildMetadata as well; what an image does not have is left out */
static void write_metadata(JSONWriter *w, const QDict *metadata)
{
    const QDict *build = qobject_to(QDict,
                                    qdict_get(metadata, "BuildMetadata"));

    write_string(w, metadata, "ImageName");
    write_string(w, metadata, "ImageVersion");
    json_writer_start_object(w, "Metadata");
    for (size_t i = 0; build && i < ARRAY_SIZE(build_keys); i++) {
        write_string(w, build, build_keys[i]);
    }
    write_unless_null(w, metadata, "DockerInfo");
    write_custom(w, metadata);
    json_writer_end_object(w);
}

static void write_time(JSONWriter *w, const char *name, int64_t seconds)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(seconds);
    g_autofree char *month = NULL;
    g_autofree char *rest = NULL;
    g_autofree char *text = NULL;

    if (time) {
        month = g_date_time_format(time, "%b");
        rest = g_date_time_format(time, "%H:%M:%S %Y GMT");
        text = g_strdup_printf("%s %2d %s", month,
                               g_date_time_get_day_of_month(time), rest);
        json_writer_str(w, name, text);
    }
}

/* A name may have parts of one type; of these JSON readers take the last */
static bool is_last_of_type(GArray *names, guint at)
{
    const char *type = g_array_index(names, EifName, at).type;

    for (guint i = at + 1; i < names->len; i++) {
        if (g_str_equal(g_array_index(names, EifName, i).type, type)) {
            return false;
        }
    }
    return true;
}

void tool_write_certificate(JSONWriter *w, const EifCertificate *cert)
{
    g_autoptr(GString) hex = g_string_new(NULL);

    json_writer_start_object(w, "SigningCertificate");
    json_writer_start_object(w, "IssuerName");
    for (guint i = 0; i < cert->issuer->len; i++) {
        const EifName *name = &g_array_index(cert->issuer, EifName, i);

        if (is_last_of_type(cert->issuer, i)) {
            json_writer_str(w, name->type, name->value);
        }
    }
    json_writer_end_object(w);
    json_writer_str(w, "Algorithm", cert->algorithm);
    write_time(w, "NotBefore", cert->not_before);
    write_time(w, "NotAfter", cert->not_after);
    for (guint i = 0; i < cert->signature->len; i++) {
        g_string_append_printf(hex, "%02x", cert->signature->data[i]);
    }
    json_writer_str(w, "Signature", hex->str);
    json_writer_end_object(w);
}

void tool_write_memory(JSONWriter *w, uint64_t mib)
{
    if (mib) {
        json_writer_uint64(w, "MinimumMemoryMiB", mib);
    }
}

/* As nitro-cli means it: made by that key over this image, at any time */
static bool signature_holds(const EifVerification *v)
{
    return v->checks[EIF_CHECK_FORM].verdict == EIF_VERDICT_GOOD &&
           v->checks[EIF_CHECK_SIGNATURE].verdict == EIF_VERDICT_GOOD &&
           v->checks[EIF_CHECK_PAYLOAD].verdict == EIF_VERDICT_GOOD;
}

static void write_verification(JSONWriter *w, const ToolImage *t,
                               const EifSignature *sig,
                               const EifMeasurements *m)
{
    g_autoptr(EifVerification) v = NULL;

    v = eif_signature_verify(sig, m->pcr0,
                             g_get_real_time() / G_USEC_PER_SEC);
    if (v->cert) {
        tool_write_certificate(w, v->cert);
    } else {
        warn_report("%s: %s", t->path,
                    v->checks[EIF_CHECK_CERTIFICATE].reason);
    }
    if (eif_certificate_supported()) {
        json_writer_bool(w, "SignatureCheck", signature_holds(v));
    }
}

static void write_signature(JSONWriter *w, const ToolImage *t,
                            const EifMeasurements *m)
{
    g_autoptr(EifSignature) sig = NULL;
    Error *err = NULL;

    json_writer_bool(w, "IsSigned", t->image->has_signature);
    if (!t->image->has_signature) {
        return;
    }
    sig = eif_image_read_signature(t->image, &t->src, &err);
    if (sig) {
        write_verification(w, t, sig, m);
    } else {
        json_writer_bool(w, "SignatureCheck", false);
        warn_reportf_err(err, "%s: ", t->path);
    }
}

/* A name for the flag that is known, numbers for the others */
static void write_flags(JSONWriter *w, bool aarch64, uint16_t flags)
{
    json_writer_start_array(w, "Flags");
    if (aarch64) {
        json_writer_str(w, NULL, "aarch64");
    }
    for (unsigned bit = 0; bit < 16; bit++) {
        if (flags & 1u << bit) {
            g_autofree char *text = g_strdup_printf("0x%04x", 1u << bit);

            json_writer_str(w, NULL, text);
        }
    }
    json_writer_end_array(w);
}

static void write_section(JSONWriter *w, const EifSection *s)
{
    json_writer_start_object(w, NULL);
    json_writer_str(w, "Type", eif_section_type_str(s->type));
    json_writer_uint64(w, "Offset", s->data_offset);
    json_writer_uint64(w, "Size", s->size);
    if (s->flags) {
        write_flags(w, false, s->flags);
    }
    if (s->gap) {
        json_writer_uint64(w, "Gap", s->gap);
    }
    json_writer_end_object(w);
}

static bool write_remarks(JSONWriter *w, ToolImage *t, Error **errp)
{
    g_autoptr(GPtrArray) remarks = eif_image_remarks(t->image, &t->src, errp);

    if (!remarks) {
        return false;
    }
    json_writer_start_array(w, "Remarks");
    for (guint i = 0; i < remarks->len; i++) {
        json_writer_str(w, NULL, remarks->pdata[i]);
    }
    json_writer_end_array(w);
    return true;
}

/* Not in the output of nitro-cli */
static bool write_own_members(JSONWriter *w, ToolImage *t, Error **errp)
{
    const EifImage *image = t->image;
    bool aarch64 = image->arch == EIF_ARCH_AARCH64;

    json_writer_str(w, "Architecture", aarch64 ? "aarch64" : "x86_64");
    write_flags(w, aarch64, image->flags);
    json_writer_uint64(w, "ImageSize", image->image_size);
    tool_write_memory(w, memory_need(image, &t->src));
    json_writer_start_array(w, "Sections");
    for (unsigned i = 0; i < image->nr_sections; i++) {
        write_section(w, &image->sections[i]);
    }
    json_writer_end_array(w);
    return write_remarks(w, t, errp);
}

static bool describe(JSONWriter *w, ToolImage *t, Error **errp)
{
    EifMeasurements m;
    QDict *metadata;
    Error *err = NULL;

    if (!eif_image_measure(t->image, &t->src, &m, errp)) {
        return false;
    }
    json_writer_start_object(w, NULL);
    json_writer_uint64(w, "EifVersion", t->image->version);
    tool_write_measurements(w, &m);
    write_signature(w, t, &m);
    json_writer_bool(w, "CheckCRC",
                     eif_image_verify_crc(t->image, &t->src, NULL));
    metadata = parse_metadata(t, &err);
    if (metadata) {
        write_metadata(w, metadata);
        qobject_unref(metadata);
    } else if (err) {
        warn_reportf_err(err, "%s: ", t->path);
    }
    if (!write_own_members(w, t, errp)) {
        return false;
    }
    json_writer_end_object(w);
    return true;
}

static int run_describe(ToolImage *t)
{
    g_autoptr(JSONWriter) w = json_writer_new(true);
    Error *err = NULL;

    return describe(w, t, &err) ? tool_print_json(w) : tool_fail(err);
}

static const ToolOptions describe_options = {
    "describe", usage, "h", long_options, NULL
};

int tool_describe(int argc, char **argv)
{
    ToolImage t = TOOL_IMAGE_INIT;
    int rc = tool_options(&describe_options, argc, argv, NULL, NULL);

    if (rc >= 0) {
        return rc;
    }
    rc = tool_image_open(&t, "describe", argc, argv);
    if (rc == TOOL_OK) {
        rc = run_describe(&t);
    }
    tool_image_close(&t);
    return rc;
}
