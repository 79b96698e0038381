/*
 * Attestation documents of a Nitro Secure Module: make and sign them
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "eif-cbor.h"
#include "hw/core/nsm-certificate.h"
#include "hw/core/nsm-sign.h"

#define CBOR_NULL 0xf6
#define CBOR_INDEFINITE_MAP 0xbf
#define CBOR_BREAK 0xff
/* A number in eight bytes, for any value */
#define CBOR_UINT64 0x1b

struct NSMSigner {
    char *module_id;
    NSMIdentity *instance;
    GPtrArray *chain;           /* DER, root first */
    NSMIdentity *leaf;
    uint8_t scratch[NSM_DOC_MAX]; /* what is signed */
};

/* A place that is filled; nothing is written behind its end */
typedef struct Output {
    uint8_t *data;
    size_t size;
    size_t len;
    bool full;
} Output;

static void put(Output *out, const void *data, size_t len)
{
    if (out->full || len > out->size - out->len) {
        out->full = true;
        return;
    }
    if (len) {
        memcpy(out->data + out->len, data, len);
        out->len += len;
    }
}

static void put_byte(Output *out, uint8_t byte)
{
    put(out, &byte, 1);
}

static void put_head(Output *out, EifCborMajor major, size_t value)
{
    uint8_t head[3];

    assert(value <= UINT16_MAX);
    stw_be_p(head + 1, value);
    if (value < 24) {
        put_byte(out, major << 5 | value);
    } else if (value <= UINT8_MAX) {
        put_byte(out, major << 5 | 24);
        put_byte(out, value);
    } else {
        head[0] = major << 5 | 25;
        put(out, head, sizeof(head));
    }
}

static void put_text(Output *out, const char *text)
{
    put_head(out, EIF_CBOR_TEXT, strlen(text));
    put(out, text, strlen(text));
}

static void put_bytes(Output *out, const uint8_t *data, size_t len)
{
    put_head(out, EIF_CBOR_BYTES, len);
    put(out, data, len);
}

static void put_field(Output *out, const char *key,
                      const NSMDocumentField *field)
{
    put_text(out, key);
    if (field->data) {
        put_bytes(out, field->data, field->len);
    } else {
        put_byte(out, CBOR_NULL);
    }
}

static void put_timestamp(Output *out, int64_t time_ms)
{
    uint8_t item[9] = { CBOR_UINT64 };

    stq_be_p(item + 1, time_ms);
    put_text(out, NSM_DOC_TIMESTAMP);
    put(out, item, sizeof(item));
}

static void put_pcrs(Output *out, const NSMClaims *claims)
{
    size_t n = 0;

    for (unsigned i = 0; i < NSM_DOC_MAX_PCRS; i++) {
        n += !!claims->pcrs[i];
    }
    put_text(out, NSM_DOC_PCRS);
    put_head(out, EIF_CBOR_MAP, n);
    for (unsigned i = 0; i < NSM_DOC_MAX_PCRS; i++) {
        if (claims->pcrs[i]) {
            put_head(out, EIF_CBOR_UINT, i);
            put_bytes(out, claims->pcrs[i], NSM_DOC_PCR_LEN);
        }
    }
}

static void put_certificates(Output *out, const NSMSigner *signer)
{
    const GByteArray *leaf = nsm_identity_der(signer->leaf);

    put_text(out, NSM_DOC_CERTIFICATE);
    put_bytes(out, leaf->data, leaf->len);
    put_text(out, NSM_DOC_CABUNDLE);
    put_head(out, EIF_CBOR_ARRAY, signer->chain->len);
    for (unsigned i = 0; i < signer->chain->len; i++) {
        const GByteArray *der = g_ptr_array_index(signer->chain, i);

        put_bytes(out, der->data, der->len);
    }
}

static void put_payload(Output *out, const NSMSigner *signer,
                        const NSMClaims *claims)
{
    if (claims->definite) {
        put_head(out, EIF_CBOR_MAP, NSM_DOC_KEYS);
    } else {
        put_byte(out, CBOR_INDEFINITE_MAP);
    }
    put_text(out, NSM_DOC_MODULE_ID);
    put_text(out, claims->module_id);
    put_text(out, NSM_DOC_DIGEST);
    put_text(out, NSM_DOC_SHA384);
    put_timestamp(out, claims->time_ms);
    put_pcrs(out, claims);
    put_certificates(out, signer);
    put_field(out, NSM_DOC_PUBLIC_KEY, &claims->public_key);
    put_field(out, NSM_DOC_USER_DATA, &claims->user_data);
    put_field(out, NSM_DOC_NONCE, &claims->nonce);
    if (!claims->definite) {
        put_byte(out, CBOR_BREAK);
    }
}

static void put_protected(Output *out)
{
    put_bytes(out, (const uint8_t *)NSM_DOC_PROTECTED, NSM_DOC_PROTECTED_LEN);
}

/* The array that is signed; the payload is its last item */
static void put_signed(Output *out, const uint8_t *payload, size_t len)
{
    put_head(out, EIF_CBOR_ARRAY, NSM_DOC_ITEMS);
    put_text(out, NSM_DOC_SIGNED_CONTEXT);
    put_protected(out);
    put_bytes(out, NULL, 0);
    put_bytes(out, payload, len);
}

static void put_document(Output *out, const uint8_t *payload, size_t len,
                         const uint8_t *signature)
{
    put_head(out, EIF_CBOR_ARRAY, NSM_DOC_ITEMS);
    put_protected(out);
    put_head(out, EIF_CBOR_MAP, 0);
    put_bytes(out, payload, len);
    put_bytes(out, signature, NSM_DOC_SIGNATURE_LEN);
}

static bool check_dates(const NSMIdentity *identity, int64_t now,
                        Error **errp)
{
    ERRP_GUARD();
    g_autofree char *name = NULL;

    if (now >= nsm_identity_from(identity) &&
        now <= nsm_identity_until(identity)) {
        return true;
    }
    name = nsm_identity_name(identity);
    error_setg(errp, "the certificate of %s is not valid now", name);
    error_append_hint(errp, "Renew the instance's certificate, or set the "
                      "clock of this machine\n");
    return false;
}

bool nsm_signer_document(NSMSigner *signer, const NSMClaims *claims,
                         uint8_t *document, size_t size, size_t *len,
                         Error **errp)
{
    Output payload = { .data = document, .size = size };
    Output text = { .data = signer->scratch, .size = sizeof(signer->scratch) };
    Output out = { .data = document, .size = size };
    uint8_t signature[NSM_DOC_SIGNATURE_LEN];
    const uint8_t *signed_payload;

    *len = 0;
    if (!check_dates(signer->instance, claims->time_ms / 1000, errp) ||
        !check_dates(signer->leaf, claims->time_ms / 1000, errp)) {
        return false;
    }
    put_payload(&payload, signer, claims);
    if (payload.full) {
        return true;
    }
    put_signed(&text, document, payload.len);
    if (text.full) {
        return true;
    }
    if (!nsm_identity_sign(signer->leaf, text.data, text.len, signature,
                           errp)) {
        return false;
    }
    signed_payload = text.data + text.len - payload.len;
    put_document(&out, signed_payload, payload.len, signature);
    *len = out.full ? 0 : out.len;
    return true;
}

static bool ends_soon(const NSMIdentity *identity, int64_t now)
{
    return now >= nsm_identity_until(identity) - NSM_LEAF_RENEWAL;
}

bool nsm_signer_is_due(const NSMSigner *signer, int64_t now)
{
    return !signer->leaf || now < nsm_identity_from(signer->leaf) ||
           ends_soon(signer->leaf, now) || ends_soon(signer->instance, now);
}

bool nsm_signer_load(NSMSigner *signer, const char *pem, const char *password,
                     int64_t now, Error **errp)
{
    g_autoptr(NSMIdentity) instance = nsm_identity_load(pem, password, errp);
    g_autoptr(GPtrArray) chain = NULL;
    NSMIdentity *leaf;

    if (!instance) {
        return false;
    }
    chain = nsm_certificates_load(pem, errp);
    if (!chain || !check_dates(instance, now, errp)) {
        return false;
    }
    leaf = nsm_identity_new(NSM_LEVEL_LEAF, instance, signer->module_id, now,
                            errp);
    if (!leaf) {
        return false;
    }
    nsm_identity_free(signer->leaf);
    nsm_identity_free(signer->instance);
    g_clear_pointer(&signer->chain, g_ptr_array_unref);
    signer->leaf = leaf;
    signer->instance = g_steal_pointer(&instance);
    signer->chain = g_steal_pointer(&chain);
    return true;
}

NSMSigner *nsm_signer_new(const char *module_id)
{
    NSMSigner *signer = g_new0(NSMSigner, 1);

    signer->module_id = g_strdup(module_id);
    return signer;
}

void nsm_signer_free(NSMSigner *signer)
{
    if (signer) {
        nsm_identity_free(signer->leaf);
        nsm_identity_free(signer->instance);
        g_clear_pointer(&signer->chain, g_ptr_array_unref);
        g_free(signer->module_id);
        g_free(signer);
    }
}
