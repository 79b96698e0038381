/*
 * Signatures for enclave images, made with a throwaway key
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include "eif-maker.h"
#include "eif-signer.h"

#define ok(call) g_assert_cmpint(call, >=, 0)

typedef struct Algorithm {
    int id;
    gnutls_sign_algorithm_t sign;
    size_t width; /* of r and of s */
    const char *header; /* map {1: id} as a byte string */
} Algorithm;

static const Algorithm algorithms[] = {
    { -7, GNUTLS_SIGN_ECDSA_SHA256, 32, "\x43\xa1\x01\x26" },
    { -35, GNUTLS_SIGN_ECDSA_SHA384, 48, "\x44\xa1\x01\x38\x22" },
    { -36, GNUTLS_SIGN_ECDSA_SHA512, 66, "\x44\xa1\x01\x38\x23" },
};

static const Algorithm *find_algorithm(const EifSignerParams *params)
{
    int id = params->algorithm;

    if (!id) {
        id = params->curve == 256 ? -7 : params->curve == 521 ? -36 : -35;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(algorithms); i++) {
        if (algorithms[i].id == id) {
            return &algorithms[i];
        }
    }
    g_assert_not_reached();
}

static gnutls_x509_privkey_t make_key(int curve)
{
    gnutls_ecc_curve_t id = curve == 256 ? GNUTLS_ECC_CURVE_SECP256R1
                          : curve == 521 ? GNUTLS_ECC_CURVE_SECP521R1
                          : GNUTLS_ECC_CURVE_SECP384R1;
    gnutls_x509_privkey_t key;

    ok(gnutls_x509_privkey_init(&key));
    ok(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
                                    GNUTLS_CURVE_TO_BITS(id), 0));
    return key;
}

/* Sign the certificate with a key of an authority, which is made for that */
static void sign_by_authority(gnutls_x509_crt_t crt,
                              const EifSignerParams *params)
{
    bool rsa = params->authority == GNUTLS_PK_RSA;
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t authority;

    ok(gnutls_x509_privkey_init(&key));
    ok(gnutls_x509_privkey_generate(key, params->authority, rsa ? 2048 :
        GNUTLS_CURVE_TO_BITS(params->authority == GNUTLS_PK_ECDSA
                             ? GNUTLS_ECC_CURVE_SECP256R1
                             : GNUTLS_ECC_CURVE_ED25519), 0));
    ok(gnutls_x509_crt_init(&authority));
    ok(gnutls_x509_crt_set_dn(authority, params->issuer, NULL));
    ok(gnutls_x509_crt_set_key(authority, key));
    ok(gnutls_x509_crt_sign2(crt, authority, key,
                             params->authority == GNUTLS_PK_EDDSA_ED25519
                             ? GNUTLS_DIG_SHA512 : GNUTLS_DIG_SHA256, 0));
    gnutls_x509_crt_deinit(authority);
    gnutls_x509_privkey_deinit(key);
}

static char *make_pem(gnutls_x509_privkey_t key, const EifSignerParams *params)
{
    int64_t from = params->not_before ?: EIF_SIGNER_NOW - EIF_SIGNER_DAY;
    int64_t to = params->not_after ?: EIF_SIGNER_NOW + EIF_SIGNER_DAY;
    gnutls_x509_crt_t crt;
    gnutls_datum_t pem;
    char *text;

    ok(gnutls_x509_crt_init(&crt));
    ok(gnutls_x509_crt_set_version(crt, 3));
    ok(gnutls_x509_crt_set_serial(crt, "\x01", 1));
    ok(gnutls_x509_crt_set_dn(crt, "C=DE,O=test,CN=eif-signer", NULL));
    ok(gnutls_x509_crt_set_activation_time(crt, from));
    ok(gnutls_x509_crt_set_expiration_time(crt, to));
    ok(gnutls_x509_crt_set_key(crt, key));
    if (params->authority) {
        sign_by_authority(crt, params);
    } else {
        ok(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA384, 0));
    }
    ok(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem));
    text = g_strndup((const char *)pem.data, pem.size);
    gnutls_free(pem.data);
    gnutls_x509_crt_deinit(crt);
    return text;
}

static char *export_key(gnutls_x509_privkey_t key)
{
    gnutls_datum_t pem;
    char *text;

    ok(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem));
    text = g_strndup((const char *)pem.data, pem.size);
    gnutls_free(pem.data);
    return text;
}

static void append(GByteArray *array, const void *data, size_t len)
{
    g_byte_array_append(array, data, len);
}

static void append_str(GByteArray *array, const char *text)
{
    append(array, text, strlen(text));
}

static GByteArray *make_payload(const char *pcr0)
{
    GByteArray *payload = g_byte_array_new();

    append_str(payload, "\xa2\x6eregister_index");
    append(payload, "\0", 1);
    append_str(payload, "\x6eregister_value\x98\x30");
    for (int i = 0; i < 48; i++) {
        uint8_t byte = g_ascii_xdigit_value(pcr0[2 * i]) << 4 |
                       g_ascii_xdigit_value(pcr0[2 * i + 1]);

        if (byte >= 24) {
            append(payload, "\x18", 1);
        }
        append(payload, &byte, 1);
    }
    return payload;
}

/* @number right-aligned in @width bytes */
static void append_number(GByteArray *array, const gnutls_datum_t *number,
                          size_t width)
{
    const uint8_t *data = number->data;
    size_t len = number->size;
    static const uint8_t zero;

    while (len > width) {
        data++;
        len--;
    }
    for (size_t i = len; i < width; i++) {
        append(array, &zero, 1);
    }
    append(array, data, len);
}

static void sign(GByteArray *cose, gnutls_x509_privkey_t key,
                 const Algorithm *algorithm, const GByteArray *bytes)
{
    gnutls_datum_t data = { bytes->data, bytes->len };
    gnutls_datum_t der, r, s;
    gnutls_privkey_t privkey;
    uint8_t head[] = { 0x58, algorithm->width * 2 };

    ok(gnutls_privkey_init(&privkey));
    ok(gnutls_privkey_import_x509(privkey, key, 0));
    ok(gnutls_privkey_sign_data2(privkey, algorithm->sign, 0, &data, &der));
    ok(gnutls_decode_rs_value(&der, &r, &s));
    append(cose, head, 2);
    append_number(cose, &r, algorithm->width);
    append_number(cose, &s, algorithm->width);
    gnutls_free(der.data);
    gnutls_free(r.data);
    gnutls_free(s.data);
    gnutls_privkey_deinit(privkey);
}

static GByteArray *make_cose(gnutls_x509_privkey_t key,
                             const Algorithm *algorithm, const char *pcr0)
{
    GByteArray *cose = g_byte_array_new();
    g_autoptr(GByteArray) payload = make_payload(pcr0);
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint8_t head[] = { 0x58, payload->len };

    append_str(bytes, "\x84\x6aSignature1");
    append_str(bytes, algorithm->header);
    append(bytes, "\x40", 1);
    append(bytes, head, 2);
    append(bytes, payload->data, payload->len);

    append_str(cose, "\x84");
    append_str(cose, algorithm->header);
    append(cose, "\xa0", 1);
    append(cose, head, 2);
    append(cose, payload->data, payload->len);
    sign(cose, key, algorithm, bytes);
    return cose;
}

EifSigner *eif_signer_new(const EifSignerParams *params)
{
    static const EifSignerParams defaults;
    EifSigner *signer = g_new0(EifSigner, 1);
    gnutls_x509_privkey_t key;

    params = params ?: &defaults;
    key = make_key(params->curve);
    signer->sections = params->sections;
    signer->pem = make_pem(key, params);
    signer->key_pem = export_key(key);
    signer->cose = make_cose(key, find_algorithm(params),
                             params->pcr0 ?: EXAMPLE_PCR0);
    gnutls_x509_privkey_deinit(key);
    return signer;
}

void eif_signer_free(EifSigner *signer)
{
    g_free(signer->pem);
    g_free(signer->key_pem);
    g_byte_array_unref(signer->cose);
    g_free(signer);
}

GByteArray *eif_signer_image(const EifSigner *signer, uint16_t flags)
{
    GByteArray *image = eif_maker_image(4, flags,
                                        signer->sections ?: EXAMPLE);
    g_autoptr(GByteArray) section = eif_maker_signature_bytes(
        signer->pem, signer->cose->data, signer->cose->len);

    eif_maker_add(image, 4, section->data, section->len);
    eif_maker_finish(image);
    return image;
}
