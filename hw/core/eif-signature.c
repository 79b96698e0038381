/*
 * Enclave Image Format: decode the signature section
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The section is CBOR of exactly one shape, with definite lengths:
 *
 *     [ { "signing_certificate": [u8, u8, ...],     PEM text
 *         "signature":           [u8, u8, ...] },   COSE_Sign1
 *       ... ]
 *
 * Both values are arrays of small integers, not byte strings.  Only the first
 * entry counts, but all must have this shape.  Nothing is verified here.
 */

#include "qemu/osdep.h"
#include "qemu/base64.h"
#include "hw/core/eif-image.h"
#include "eif-cbor.h"

#define DER_SEQUENCE 0x30

#define HINT_SIGN \
    "Sign the image again: 'qemu-eif sign' replaces the signature.\n"

static bool take_key(EifCbor *c, const char *key, Error **errp)
{
    g_autofree char *what = NULL;

    if (eif_cbor_key(c, key)) {
        return true;
    }
    what = g_strdup_printf("key \"%s\"", key);
    return eif_cbor_refuse(c, c->pos, what, errp);
}

/* An array of integers below 256, each in its one or two byte form */
static bool take_bytes(EifCbor *c, GByteArray *bytes, Error **errp)
{
    size_t start = c->pos;
    uint64_t n;

    if (!eif_cbor_head(c, EIF_CBOR_ARRAY, &n) || n == 0 ||
        n > eif_cbor_left(c)) {
        return eif_cbor_refuse(c, start, "a list of bytes", errp);
    }
    for (uint64_t i = 0; i < n; i++) {
        uint8_t byte;

        if (!eif_cbor_byte(c, &byte)) {
            return eif_cbor_refuse(c, c->pos, "an integer of 8 bits", errp);
        }
        g_byte_array_append(bytes, &byte, 1);
    }
    return true;
}

static bool take_entry(EifCbor *c, GByteArray *pem, GByteArray *cose,
                       Error **errp)
{
    size_t start = c->pos;
    uint64_t n;

    if (!eif_cbor_head(c, EIF_CBOR_MAP, &n) || n != 2) {
        return eif_cbor_refuse(c, start, "a map of two entries", errp);
    }
    return take_key(c, "signing_certificate", errp) &&
           take_bytes(c, pem, errp) &&
           take_key(c, "signature", errp) &&
           take_bytes(c, cose, errp);
}

/* Length of the value that @der begins with, 0 when it is cut or none */
static size_t der_length(const uint8_t *der, size_t len)
{
    size_t content, head = 2;

    if (len < head || der[0] != DER_SEQUENCE) {
        return 0;
    }
    content = der[1];
    if (content & 0x80) {
        size_t bytes = content & 0x7f;

        if (bytes == 0 || bytes > 2 || bytes > len - head) {
            return 0;
        }
        content = bytes == 1 ? der[2] : der[2] << 8 | der[3];
        head += bytes;
    }
    return content <= len - head ? head + content : 0;
}

/*
 * Labels that OpenSSL takes for a certificate.  Behind a trusted one may be
 * what it is trusted for.
 */
#define LABEL_TRUSTED "TRUSTED CERTIFICATE"
static const char *const pem_labels[] = {
    "CERTIFICATE", "X509 CERTIFICATE", LABEL_TRUSTED,
};

/* A block of PEM: pointers into the text */
typedef struct PemBlock {
    const char *label;
    const char *begin;
    const char *body;
    const char *body_end;
    const char *end;
} PemBlock;

static bool find_label(const char *text, const char *label, PemBlock *block)
{
    g_autofree char *begin = g_strdup_printf("-----BEGIN %s-----", label);
    g_autofree char *end = g_strdup_printf("-----END %s-----", label);

    block->label = label;
    block->begin = strstr(text, begin);
    if (!block->begin) {
        return false;
    }
    block->body = block->begin + strlen(begin);
    block->body_end = strstr(block->body, end);
    if (!block->body_end) {
        return false;
    }
    block->end = block->body_end + strlen(end);
    return true;
}

/* The first block with one of the labels */
static bool find_block(const char *text, PemBlock *first)
{
    bool found = false;

    for (size_t i = 0; i < ARRAY_SIZE(pem_labels); i++) {
        PemBlock block;

        if (find_label(text, pem_labels[i], &block) &&
            (!found || block.begin < first->begin)) {
            *first = block;
            found = true;
        }
    }
    return found;
}

/* The base64 text between the PEM marker lines, without white space */
static char *pem_body(const GByteArray *pem, const char **label)
{
    g_autofree char *text = g_strndup((const char *)pem->data, pem->len);
    PemBlock block;
    GString *body;

    if (!find_block(text, &block)) {
        return NULL;
    }
    *label = block.label;
    body = g_string_new(NULL);
    for (const char *p = block.body; p < block.body_end; p++) {
        if (!g_ascii_isspace(*p)) {
            g_string_append_c(body, *p);
        }
    }
    return g_string_free(body, false);
}

static GByteArray *pem_to_der(const GByteArray *pem, Error **errp)
{
    ERRP_GUARD();
    const char *label;
    g_autofree char *body = pem_body(pem, &label);
    g_autofree uint8_t *der = NULL;
    size_t len = 0, all = 0;

    if (body) {
        der = qbase64_decode(body, -1, &all, NULL);
        len = der ? der_length(der, all) : 0;
    }
    if (!len || (len < all && !g_str_equal(label, LABEL_TRUSTED))) {
        error_setg(errp, "the certificate in the signature section of the "
                   "image (%u bytes) is not an X.509 certificate in PEM form",
                   pem->len);
        error_append_hint(errp, HINT_SIGN);
        return NULL;
    }
    return g_byte_array_new_take(g_steal_pointer(&der), len);
}

/* The line of a marker ends with it, with or without an end of line */
static size_t line_end_len(const char *text)
{
    return g_str_has_prefix(text, "\r\n") ? 2 : *text == '\n';
}

GByteArray *eif_pem_certificate(const GByteArray *text, GByteArray **der,
                                Error **errp)
{
    ERRP_GUARD();
    g_autofree char *copy = g_strndup((const char *)text->data, text->len);
    g_autoptr(GByteArray) pem = g_byte_array_new();
    PemBlock block;
    bool found = find_block(copy, &block);

    if (found) {
        block.end += line_end_len(block.end);
        g_byte_array_append(pem, (const uint8_t *)block.begin,
                            block.end - block.begin);
        *der = pem_to_der(pem, NULL);
    }
    if (!found || !*der) {
        error_setg(errp, "no X.509 certificate in PEM form");
        error_append_hint(errp, "Give a file that has the line "
                          "-----BEGIN CERTIFICATE-----\n");
        return NULL;
    }
    return g_steal_pointer(&pem);
}

EifSignature *eif_signature_decode(const uint8_t *data, size_t len,
                                   Error **errp)
{
    EifCbor c = {
        .data = data, .len = len,
        .name = "the signature section of the image", .hint = HINT_SIGN,
    };
    g_autoptr(GByteArray) pem = g_byte_array_new();
    g_autoptr(EifSignature) sig = g_new0(EifSignature, 1);
    uint64_t n;

    sig->cose = g_byte_array_new();
    if (!eif_cbor_head(&c, EIF_CBOR_ARRAY, &n) || n == 0) {
        eif_cbor_refuse(&c, 0, "a list of at least one signature", errp);
        return NULL;
    }
    if (!take_entry(&c, pem, sig->cose, errp)) {
        return NULL;
    }
    for (uint64_t i = 1; i < n; i++) {
        g_autoptr(GByteArray) ignored = g_byte_array_new();

        if (!take_entry(&c, ignored, ignored, errp)) {
            return NULL;
        }
    }
    if (c.pos != len) {
        eif_cbor_refuse(&c, c.pos, "the end", errp);
        return NULL;
    }
    sig->cert_der = pem_to_der(pem, errp);
    return sig->cert_der ? g_steal_pointer(&sig) : NULL;
}

EifSignature *eif_image_read_signature(const EifImage *image,
                                       const EifSource *src, Error **errp)
{
    const EifSection *s = eif_image_section(image, EIF_SECTION_SIGNATURE, 0);
    g_autofree uint8_t *data = NULL;

    assert(s);
    data = g_malloc(s->size); /* eif_image_parse() bounds it */
    if (!eif_source_read(src, data, s->size, s->data_offset, errp)) {
        return NULL;
    }
    return eif_signature_decode(data, s->size, errp);
}

void eif_signature_free(EifSignature *sig)
{
    if (sig) {
        g_clear_pointer(&sig->cert_der, g_byte_array_unref);
        g_clear_pointer(&sig->cose, g_byte_array_unref);
        g_free(sig);
    }
}
