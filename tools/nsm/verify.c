/*
 * qemu-nsm verify: check that a document proves something
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include "qemu/cutils.h"
#include "document.h"

#define PEM_FILE_MAX 65536

static const char usage[] =
    "Usage: qemu-nsm verify [OPTION]... FILE|-\n"
    "Verify an attestation document, and print the verdicts and the content\n"
    "of the document as JSON.\n"
    "\n"
    "  -r, --root=PEM            file of the trusted root certificate\n"
    "      --root-fingerprint=HEX\n"
    "                            the same by its SHA-256 (default: AWS's)\n"
    "  -p, --pcr=N=HEX           what register N must be; for each register\n"
    "  -i, --image=EIF           PCR0, PCR1, PCR2 and PCR8 must match\n"
    "                            this image\n"
    "  -n, --nonce=VALUE         what the nonce must be: in hexadecimal, or\n"
    "                            @FILE for the content of a file\n"
    "  -u, --user-data=VALUE     same for user_data\n"
    "  -k, --public-key=VALUE    same for public_key\n"
    "  -t, --time=TIME           when it is verified, like\n"
    "                            2026-01-31T12:00:00Z (default: now), or\n"
    "                            \"document\" for the time it claims\n"
    "  -a, --max-age=SECONDS     how old it may be at that time\n"
    "  -d, --allow-debug         accept an enclave in debug mode\n"
    "  -h, --help                this text\n"
    "\n"
    "Exit status: 0 all is well, 1 cannot be checked, 2 malformed, 3 chain,\n"
    "4 signature, 5 dates, 6 a value is not the expected one, 7 debug mode.\n";

enum {
    OPTION_FINGERPRINT = 256,
};

static const struct option long_options[] = {
    { "root", required_argument, NULL, 'r' },
    { "root-fingerprint", required_argument, NULL, OPTION_FINGERPRINT },
    { "pcr", required_argument, NULL, 'p' },
    { "image", required_argument, NULL, 'i' },
    { "nonce", required_argument, NULL, 'n' },
    { "user-data", required_argument, NULL, 'u' },
    { "public-key", required_argument, NULL, 'k' },
    { "time", required_argument, NULL, 't' },
    { "max-age", required_argument, NULL, 'a' },
    { "allow-debug", no_argument, NULL, 'd' },
    { "help", no_argument, NULL, 'h' },
    { }
};

/* Options, and the memory that they need */
typedef struct NSMVerifyOptions {
    NSMExpected expected;
    uint8_t root[NSM_FINGERPRINT_LEN];
    GPtrArray *values; /* of GByteArray */
} NSMVerifyOptions;

/* Values of options */

static NSMBytes keep(NSMVerifyOptions *o, GByteArray *value)
{
    /* An empty value is a value: its data must not be NULL */
    static const uint8_t empty;

    g_ptr_array_add(o->values, value);
    return (NSMBytes) { value->len ? value->data : &empty, value->len };
}

static GByteArray *parse_hex(const char *text, Error **errp)
{
    size_t digits = strspn(text, "0123456789abcdefABCDEF");
    GByteArray *bytes;

    if (text[digits] || digits % 2) {
        error_setg(errp, "'%s' is not an even number of hexadecimal digits",
                   text);
        return NULL;
    }
    bytes = g_byte_array_sized_new(digits / 2);
    for (size_t i = 0; i < digits; i += 2) {
        uint8_t byte = g_ascii_xdigit_value(text[i]) << 4 |
                       g_ascii_xdigit_value(text[i + 1]);

        g_byte_array_append(bytes, &byte, 1);
    }
    return bytes;
}

static bool parse_value(NSMVerifyOptions *o, const char *text, NSMBytes *value,
                        Error **errp)
{
    GByteArray *bytes = *text == '@'
                        ? tool_read_file(text + 1, NSM_FIELD_MAX, errp)
                        : parse_hex(text, errp);

    if (!bytes) {
        return false;
    }
    *value = keep(o, bytes);
    return true;
}

/* Takes @value.  A register is what one option wants it to be */
static bool expect_pcr(NSMVerifyOptions *o, unsigned index, GByteArray *value,
                       Error **errp)
{
    NSMBytes bytes = keep(o, value);

    if (o->expected.pcrs[index].data) {
        error_setg(errp, "register %u is given twice", index);
        return false;
    }
    o->expected.pcrs[index] = bytes;
    return true;
}

static bool parse_pcr(NSMVerifyOptions *o, const char *text, Error **errp)
{
    GByteArray *bytes;
    const char *end;
    int index;

    if (qemu_strtoi(text, &end, 10, &index) < 0 || *end != '=' ||
        index < 0 || index >= NSM_DOC_MAX_PCRS) {
        error_setg(errp, "'%s' is not N=HEX with a register N from 0 to %d",
                   text, NSM_DOC_MAX_PCRS - 1);
        return false;
    }
    bytes = parse_hex(end + 1, errp);
    if (!bytes || !expect_pcr(o, index, bytes, errp)) {
        return false;
    }
    if (bytes->len != NSM_DOC_PCR_LEN) {
        error_setg(errp, "PCR%d has %d hexadecimal digits, '%s' has %u", index,
                   2 * NSM_DOC_PCR_LEN, end + 1, 2 * bytes->len);
        return false;
    }
    return true;
}

static bool parse_fingerprint(NSMVerifyOptions *o, const char *text,
                              Error **errp)
{
    g_autoptr(GByteArray) bytes = NULL;
    g_auto(GStrv) parts = g_strsplit(text, ":", -1); /* as openssl has it */
    g_autofree char *digits = g_strjoinv("", parts);

    bytes = parse_hex(digits, errp);
    if (!bytes) {
        return false;
    }
    if (bytes->len != NSM_FINGERPRINT_LEN) {
        error_setg(errp, "a SHA-256 has %d hexadecimal digits, '%s' has %u",
                   2 * NSM_FINGERPRINT_LEN, text, 2 * bytes->len);
        return false;
    }
    memcpy(o->root, bytes->data, NSM_FINGERPRINT_LEN);
    o->expected.root = o->root;
    return true;
}

static bool parse_root(NSMVerifyOptions *o, const char *path, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GByteArray) text = tool_read_file(path, PEM_FILE_MAX, errp);
    g_autoptr(GByteArray) pem = NULL;
    g_autoptr(GByteArray) der = NULL;

    if (!text) {
        return false;
    }
    pem = eif_pem_certificate(text, &der, errp);
    if (!pem) {
        error_prepend(errp, "%s: ", path);
        return false;
    }
    nsm_fingerprint((NSMBytes) { der->data, der->len }, o->root);
    o->expected.root = o->root;
    return true;
}

static bool measure_image(int fd, EifMeasurements *m, Error **errp)
{
    g_autoptr(EifImage) image = eif_image_open_fd(fd, errp);
    g_autoptr(EifSignature) sig = NULL;
    EifSource src;

    if (!image || !eif_source_init_fd(&src, fd, errp) ||
        !eif_image_measure(image, &src, m, errp)) {
        return false;
    }
    if (m->pcr8_unknown) {
        sig = eif_image_read_signature(image, &src, errp);
        return sig != NULL;
    }
    return true;
}

static bool parse_image(NSMVerifyOptions *o, const char *path, Error **errp)
{
    ERRP_GUARD();
    EifMeasurements m;
    bool ok;
    /* O_NONBLOCK: report a pipe as an error instead of blocking in open() */
    int fd = qemu_open(path, O_RDONLY | O_NONBLOCK, errp);

    if (fd < 0) {
        return false;
    }
    ok = measure_image(fd, &m, errp);
    qemu_close(fd);
    if (!ok) {
        error_prepend(errp, "%s: ", path);
        return false;
    }
    for (size_t i = 0; i < EIF_NR_PCRS; i++) {
        unsigned index = eif_pcr_index[i];
        GByteArray *pcr = g_byte_array_new();

        g_byte_array_append(pcr, eif_measurements_pcr(&m, index), EIF_PCR_LEN);
        if (!expect_pcr(o, index, pcr, errp)) {
            return false;
        }
    }
    return true;
}

static bool parse_when(NSMVerifyOptions *o, const char *text, Error **errp)
{
    o->expected.when_made = g_str_equal(text, "document");
    return o->expected.when_made ||
           tool_parse_time(text, &o->expected.when, errp);
}

static bool parse_max_age(NSMVerifyOptions *o, const char *text, Error **errp)
{
    int seconds;

    if (qemu_strtoi(text, NULL, 10, &seconds) < 0 || seconds < 0) {
        error_setg(errp, "'%s' is not a number of seconds", text);
        return false;
    }
    o->expected.limit_age = true;
    o->expected.max_age = seconds;
    return true;
}

static bool take_nsm_verify(void *opaque, int c, Error **errp)
{
    NSMVerifyOptions *o = opaque;

    if ((c == 'r' || c == OPTION_FINGERPRINT) && o->expected.root) {
        error_setg(errp, "--root and --root-fingerprint exclude each other");
        return false;
    }
    switch (c) {
    case 'r':
        return parse_root(o, optarg, errp);
    case OPTION_FINGERPRINT:
        return parse_fingerprint(o, optarg, errp);
    case 'p':
        return parse_pcr(o, optarg, errp);
    case 'i':
        return parse_image(o, optarg, errp);
    case 'n':
        return parse_value(o, optarg, &o->expected.nonce, errp);
    case 'u':
        return parse_value(o, optarg, &o->expected.user_data, errp);
    case 'k':
        return parse_value(o, optarg, &o->expected.public_key, errp);
    case 't':
        return parse_when(o, optarg, errp);
    case 'a':
        return parse_max_age(o, optarg, errp);
    case 'd':
        o->expected.allow_debug = true;
        return true;
    default:
        g_assert_not_reached();
    }
}

static const ToolOptions nsm_verify_options = {
    "verify", usage, "r:p:i:n:u:k:t:a:dh", long_options, "p"
};

/* Verdicts */

static int exit_status(const NSMVerification *v, NSMCheckId cause)
{
    static const int status[NSM_CHECK__MAX] = {
        [NSM_CHECK_FORM] = NSM_TOOL_MALFORMED,
        [NSM_CHECK_CHAIN] = NSM_TOOL_CHAIN,
        [NSM_CHECK_SIGNATURE] = NSM_TOOL_SIGNATURE,
        [NSM_CHECK_DATES] = NSM_TOOL_DATES,
        [NSM_CHECK_EXPECTED] = NSM_TOOL_MISMATCH,
        [NSM_CHECK_DEBUG] = NSM_TOOL_DEBUG,
    };

    return v->checks[cause].verdict == EIF_VERDICT_BAD ? status[cause]
                                                       : TOOL_FAILED;
}

static void write_checks(JSONWriter *w, const NSMVerification *v)
{
    json_writer_start_object(w, "Checks");
    for (int i = 0; i < NSM_CHECK__MAX; i++) {
        json_writer_str(w, nsm_check_str(i),
                        eif_verdict_str(v->checks[i].verdict));
    }
    json_writer_end_object(w);
}

static void write_root(JSONWriter *w, const NSMVerification *v)
{
    g_autofree char *hex = nsm_hex_str((NSMBytes) { v->root,
                                                    NSM_FINGERPRINT_LEN });

    json_writer_start_object(w, "Root");
    json_writer_str(w, "Subject", v->certs[0] ? v->certs[0]->subject : "");
    json_writer_str(w, "Fingerprint", hex);
    json_writer_bool(w, "IsAWS",
                     !memcmp(v->root, nsm_aws_root, NSM_FINGERPRINT_LEN));
    json_writer_end_object(w);
}

static int print_nsm_verification(const NSMVerification *v)
{
    g_autoptr(JSONWriter) w = json_writer_new(true);
    NSMCheckId cause;
    bool refused = nsm_verification_cause(v, &cause);

    json_writer_start_object(w, NULL);
    json_writer_bool(w, "Valid", !refused);
    if (refused) {
        json_writer_str(w, "Cause", nsm_check_str(cause));
        json_writer_str(w, "Reason", v->checks[cause].reason);
    }
    write_checks(w, v);
    if (v->decoded) {
        write_root(w, v);
        json_writer_start_object(w, "Document");
        nsm_tool_write_claims(w, &v->claims);
        json_writer_end_object(w);
    }
    json_writer_end_object(w);
    tool_print_json(w);
    return refused ? exit_status(v, cause) : TOOL_OK;
}

static int run_nsm_verify(const NSMVerifyOptions *o, int argc, char **argv)
{
    g_autoptr(GByteArray) document = nsm_tool_read("verify", argc, argv);
    g_autoptr(NSMVerification) v = NULL;

    if (!document) {
        return TOOL_FAILED;
    }
    v = nsm_document_verify(document->data, document->len, &o->expected);
    return print_nsm_verification(v);
}

static void free_value(void *value)
{
    g_byte_array_unref(value);
}

int nsm_tool_verify(int argc, char **argv)
{
    NSMVerifyOptions o = {
        .expected.when = g_get_real_time() / G_USEC_PER_SEC,
        .values = g_ptr_array_new_with_free_func(free_value),
    };
    int rc = tool_options(&nsm_verify_options, argc, argv, take_nsm_verify,
                          &o);

    if (rc < 0) {
        rc = run_nsm_verify(&o, argc, argv);
    }
    g_ptr_array_unref(o.values);
    return rc;
}
