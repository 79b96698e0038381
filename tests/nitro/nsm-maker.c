/*
 * Attestation documents with certificates of their own, good and bad
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include "hw/core/nsm-document.h"
#include "nsm-maker.h"

#define DAY (24 * 3600)
#define HALF (NSM_DOC_SIGNATURE_LEN / 2) /* bytes of r and of s */

#define ok(call) g_assert_cmpint(call, >=, 0)

struct NSMMaker {
    gnutls_x509_privkey_t keys[NSM_MAKER_CERTS];
    gnutls_x509_crt_t crts[NSM_MAKER_CERTS];
    GByteArray *ders[NSM_MAKER_CERTS];
};

/* Certificates */

typedef struct Profile {
    const char *subject;
    int path_len; /* -1: any; of a CA */
    bool ca;
    unsigned usage;
    int64_t before, after; /* seconds that it is valid around the time */
} Profile;

static const Profile profiles[NSM_MAKER_CERTS] = {
    { "CN=root.test,O=Test,C=US", -1, true, GNUTLS_KEY_KEY_CERT_SIGN,
      365 * DAY, 365 * DAY },
    { "CN=region.test,O=Test,C=US", 2, true, GNUTLS_KEY_KEY_CERT_SIGN,
      20 * DAY, 20 * DAY },
    { "CN=zone.test,O=Test,C=US", 1, true, GNUTLS_KEY_KEY_CERT_SIGN, 5 * DAY,
      5 * DAY },
    { "CN=instance.test,O=Test,C=US", 0, true, GNUTLS_KEY_KEY_CERT_SIGN, DAY,
      DAY },
    { "CN=leaf.test,O=Test,C=US", -1, false,
      GNUTLS_KEY_DIGITAL_SIGNATURE | GNUTLS_KEY_NON_REPUDIATION, 3,
      3 * 3600 },
};

static Profile profile_of(unsigned index, NSMMakerFault fault)
{
    Profile p = profiles[index];

    if (fault == NSM_MAKER_CA_MISSING && index == NSM_MAKER_ZONE) {
        p.ca = false;
    } else if (fault == NSM_MAKER_PATH_SHORT && index == NSM_MAKER_REGION) {
        p.path_len = 1;
    } else if (fault == NSM_MAKER_USAGE_CA && index == NSM_MAKER_INSTANCE) {
        p.usage = GNUTLS_KEY_DIGITAL_SIGNATURE;
    } else if (fault == NSM_MAKER_USAGE_LEAF && index == NSM_MAKER_LEAF) {
        p.usage = GNUTLS_KEY_KEY_AGREEMENT;
    } else if (fault == NSM_MAKER_LEAF_CA && index == NSM_MAKER_LEAF) {
        p.ca = true;
    }
    return p;
}

static gnutls_x509_privkey_t make_key(bool p256)
{
    gnutls_ecc_curve_t curve = p256 ? GNUTLS_ECC_CURVE_SECP256R1
                                    : GNUTLS_ECC_CURVE_SECP384R1;
    gnutls_x509_privkey_t key;

    ok(gnutls_x509_privkey_init(&key));
    ok(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                    GNUTLS_CURVE_TO_BITS(curve), 0));
    return key;
}

static gnutls_x509_crt_t make_crt(const Profile *p, gnutls_x509_privkey_t key,
                                  uint8_t serial)
{
    gnutls_x509_crt_t crt;

    ok(gnutls_x509_crt_init(&crt));
    ok(gnutls_x509_crt_set_version(crt, 3));
    ok(gnutls_x509_crt_set_serial(crt, &serial, 1));
    ok(gnutls_x509_crt_set_dn(crt, p->subject, NULL));
    ok(gnutls_x509_crt_set_activation_time(crt, NSM_MAKER_NOW - p->before));
    ok(gnutls_x509_crt_set_expiration_time(crt, NSM_MAKER_NOW + p->after));
    ok(gnutls_x509_crt_set_basic_constraints(crt, p->ca, p->path_len));
    ok(gnutls_x509_crt_set_key_usage(crt, p->usage));
    ok(gnutls_x509_crt_set_key(crt, key));
    return crt;
}

/* Whose name and whose key a certificate is signed with */
static void sign_crt(NSMMaker *maker, unsigned index, NSMMakerFault fault)
{
    unsigned issuer = index ? index - 1 : 0;
    gnutls_x509_crt_t names = maker->crts[issuer];
    gnutls_x509_privkey_t key = maker->keys[issuer];

    if (fault == NSM_MAKER_ISSUER_NAME && index == NSM_MAKER_ZONE) {
        names = maker->crts[NSM_MAKER_ROOT];
    } else if (fault == NSM_MAKER_ISSUER_KEY && index == NSM_MAKER_ZONE) {
        key = maker->keys[NSM_MAKER_LEAF];
    }
    ok(gnutls_x509_crt_sign2(maker->crts[index], names, key,
                             GNUTLS_DIG_SHA384, 0));
}

static GByteArray *export_der(gnutls_x509_crt_t crt)
{
    GByteArray *der = g_byte_array_new();
    gnutls_datum_t data;

    ok(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &data));
    g_byte_array_append(der, data.data, data.size);
    gnutls_free(data.data);
    return der;
}

NSMMaker *nsm_maker_new(NSMMakerFault fault)
{
    NSMMaker *maker = g_new0(NSMMaker, 1);

    for (unsigned i = 0; i < NSM_MAKER_CERTS; i++) {
        maker->keys[i] = make_key(fault == NSM_MAKER_CURVE &&
                                  i == NSM_MAKER_LEAF);
    }
    for (unsigned i = 0; i < NSM_MAKER_CERTS; i++) {
        Profile p = profile_of(i, fault);

        maker->crts[i] = make_crt(&p, maker->keys[i], i + 1);
        sign_crt(maker, i, fault);
        maker->ders[i] = export_der(maker->crts[i]);
    }
    return maker;
}

void nsm_maker_free(NSMMaker *maker)
{
    for (unsigned i = 0; i < NSM_MAKER_CERTS; i++) {
        gnutls_x509_crt_deinit(maker->crts[i]);
        gnutls_x509_privkey_deinit(maker->keys[i]);
        g_byte_array_unref(maker->ders[i]);
    }
    g_free(maker);
}

GByteArray *nsm_maker_certificate(const NSMMaker *maker, unsigned index)
{
    return maker->ders[index];
}

char *nsm_maker_pem(const NSMMaker *maker, unsigned index)
{
    gnutls_datum_t pem;
    char *text;

    ok(gnutls_x509_crt_export2(maker->crts[index], GNUTLS_X509_FMT_PEM,
                               &pem));
    text = g_strndup((const char *)pem.data, pem.size);
    gnutls_free(pem.data);
    return text;
}

/* CBOR */

enum { UINT = 0, BYTES = 2, TEXT = 3, ARRAY = 4, MAP = 5 };

static void append(GByteArray *to, const void *data, size_t len)
{
    g_byte_array_append(to, data, len);
}

static void append_byte(GByteArray *to, uint8_t byte)
{
    append(to, &byte, 1);
}

static void append_head(GByteArray *to, unsigned major, uint64_t number)
{
    unsigned log = number <= UINT8_MAX ? 0 : number <= UINT16_MAX ? 1
                   : number <= UINT32_MAX ? 2 : 3;

    if (number < 24) {
        append_byte(to, major << 5 | number);
        return;
    }
    append_byte(to, major << 5 | (24 + log));
    for (int shift = 8 * ((1 << log) - 1); shift >= 0; shift -= 8) {
        append_byte(to, number >> shift);
    }
}

static void append_bytes(GByteArray *to, const void *data, size_t len)
{
    append_head(to, BYTES, len);
    append(to, data, len);
}

static void append_text(GByteArray *to, const char *text)
{
    append_head(to, TEXT, strlen(text));
    append(to, text, strlen(text));
}

static void append_optional(GByteArray *to, const char *key, const char *value)
{
    append_text(to, key);
    if (value) {
        append_bytes(to, value, strlen(value));
    } else {
        append_byte(to, 0xf6);
    }
}

static void append_pcrs(GByteArray *to, const NSMMakerFields *fields)
{
    unsigned n = fields->pcr16 ? 17 : 16;
    uint8_t value[NSM_DOC_PCR_LEN];

    append_head(to, MAP, n);
    for (unsigned i = 0; i < n; i++) {
        memset(value, fields->debug && i < 3 ? 0 : NSM_MAKER_PCR_BYTE(i),
               sizeof(value));
        append_head(to, UINT, i);
        append_bytes(to, value, sizeof(value));
    }
}

static void append_certificate(GByteArray *to, const GByteArray *der)
{
    append_bytes(to, der->data, der->len);
}

GByteArray *nsm_maker_payload(const NSMMaker *maker,
                              const NSMMakerFields *fields)
{
    GByteArray *payload = g_byte_array_new();

    append_byte(payload, fields->indefinite ? 0xbf : 0xa9);
    append_text(payload, NSM_DOC_MODULE_ID);
    append_text(payload, "i-0123456789abcdef0-enc018bcfe568000001");
    append_text(payload, NSM_DOC_DIGEST);
    append_text(payload, NSM_DOC_SHA384);
    append_text(payload, NSM_DOC_TIMESTAMP);
    append_head(payload, UINT, NSM_MAKER_NOW * 1000ull + 123);
    append_text(payload, NSM_DOC_PCRS);
    append_pcrs(payload, fields);
    append_text(payload, NSM_DOC_CERTIFICATE);
    append_certificate(payload, maker->ders[NSM_MAKER_LEAF]);
    append_text(payload, NSM_DOC_CABUNDLE);
    append_head(payload, ARRAY, NSM_MAKER_LEAF);
    for (unsigned i = 0; i < NSM_MAKER_LEAF; i++) {
        append_certificate(payload, maker->ders[i]);
    }
    append_optional(payload, NSM_DOC_PUBLIC_KEY, fields->public_key);
    append_optional(payload, NSM_DOC_USER_DATA, fields->user_data);
    append_optional(payload, NSM_DOC_NONCE, fields->nonce);
    if (fields->indefinite) {
        append_byte(payload, 0xff);
    }
    return payload;
}

/* @number, which may have zeros in front or lack some, in HALF bytes */
static void append_half(GByteArray *to, const gnutls_datum_t *number)
{
    const uint8_t *data = number->data;
    size_t len = number->size;

    for (; len > HALF; len--) {
        data++;
    }
    for (size_t i = len; i < HALF; i++) {
        append_byte(to, 0);
    }
    append(to, data, len);
}

static void append_signature(GByteArray *to, gnutls_x509_privkey_t key,
                             const GByteArray *bytes)
{
    gnutls_datum_t data = { bytes->data, bytes->len };
    gnutls_datum_t der, r, s;
    gnutls_privkey_t privkey;

    ok(gnutls_privkey_init(&privkey));
    ok(gnutls_privkey_import_x509(privkey, key, 0));
    ok(gnutls_privkey_sign_data2(privkey, GNUTLS_SIGN_ECDSA_SHA384, 0, &data,
                                 &der));
    ok(gnutls_decode_rs_value(&der, &r, &s));
    append_half(to, &r);
    append_half(to, &s);
    gnutls_free(der.data);
    gnutls_free(r.data);
    gnutls_free(s.data);
    gnutls_privkey_deinit(privkey);
}

GByteArray *nsm_maker_sign(const NSMMaker *maker, const GByteArray *payload)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    GByteArray *document = g_byte_array_new();

    append_head(bytes, ARRAY, NSM_DOC_ITEMS);
    append_text(bytes, NSM_DOC_SIGNED_CONTEXT);
    append_bytes(bytes, NSM_DOC_PROTECTED, NSM_DOC_PROTECTED_LEN);
    append_bytes(bytes, NULL, 0);
    append_bytes(bytes, payload->data, payload->len);

    append_head(document, ARRAY, NSM_DOC_ITEMS);
    append_bytes(document, NSM_DOC_PROTECTED, NSM_DOC_PROTECTED_LEN);
    append_head(document, MAP, 0);
    append_bytes(document, payload->data, payload->len);
    append_head(document, BYTES, NSM_DOC_SIGNATURE_LEN);
    append_signature(document, maker->keys[NSM_MAKER_LEAF], bytes);
    return document;
}

GByteArray *nsm_maker_document(const NSMMaker *maker,
                               const NSMMakerFields *fields)
{
    g_autoptr(GByteArray) payload = nsm_maker_payload(maker, fields);

    return nsm_maker_sign(maker, payload);
}
