/*
 * Enclave Image Format: make signatures
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-sign.h"
#include "eif-cbor.h"

#ifdef CONFIG_GNUTLS
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#if GNUTLS_VERSION_NUMBER >= 0x030600
#define CAN_SIGN
#endif
#endif

#ifdef CAN_SIGN

/* Deterministic nonces: the same image is signed with the same bytes */
#if GNUTLS_VERSION_NUMBER >= 0x030700
#define SIGN_FLAGS GNUTLS_PRIVKEY_FLAG_REPRODUCIBLE
#else
#define SIGN_FLAGS 0
#endif

struct EifSigningKey {
    GByteArray *pem; /* certificate, without what may stand around it */
    GByteArray *der;
    EifCertificate *cert;
    gnutls_privkey_t key;
    EifCoseAlgorithm algorithm;
};

static const struct {
    EifCoseAlgorithm algorithm;
    gnutls_ecc_curve_t curve;
    gnutls_sign_algorithm_t sign;
} curves[] = {
    { EIF_COSE_ES256, GNUTLS_ECC_CURVE_SECP256R1, GNUTLS_SIGN_ECDSA_SHA256 },
    { EIF_COSE_ES384, GNUTLS_ECC_CURVE_SECP384R1, GNUTLS_SIGN_ECDSA_SHA384 },
    { EIF_COSE_ES512, GNUTLS_ECC_CURVE_SECP521R1, GNUTLS_SIGN_ECDSA_SHA512 },
};

#define HINT_KEY \
    "Give a key in PEM form on the curve P-256, P-384 or P-521, as openssl\n" \
    "ecparam -name secp384r1 -genkey makes it.\n"

/* GnuTLS says of such a file only that data is not available */
static bool check_is_key(const GByteArray *pem, Error **errp)
{
    static const char label[] = "PRIVATE KEY-----";
    ERRP_GUARD();

    if (memmem(pem->data, pem->len, label, strlen(label))) {
        return true;
    }
    error_setg(errp, "the file has no private key in PEM form");
    error_append_hint(errp, HINT_KEY);
    return false;
}

static gnutls_privkey_t load_key(const GByteArray *pem, Error **errp)
{
    ERRP_GUARD();
    gnutls_datum_t data = { pem->data, pem->len };
    gnutls_privkey_t key;
    int rc = gnutls_privkey_init(&key);

    if (rc < 0) {
        error_setg(errp, "cannot load the private key: %s",
                   gnutls_strerror(rc));
        return NULL;
    }
    rc = gnutls_privkey_import_x509_raw(key, &data, GNUTLS_X509_FMT_PEM, NULL,
                                        0);
    if (rc >= 0) {
        return key;
    }
    gnutls_privkey_deinit(key);
    if (rc == GNUTLS_E_DECRYPTION_FAILED) {
        error_setg(errp, "the private key is encrypted");
        error_append_hint(errp, "Decrypt it: openssl pkey -in KEY -out "
                          "PLAIN\n");
    } else {
        error_setg(errp, "the private key cannot be read: %s",
                   gnutls_strerror(rc));
        error_append_hint(errp, HINT_KEY);
    }
    return NULL;
}

static bool find_curve(EifSigningKey *key, Error **errp)
{
    ERRP_GUARD();
    int type = gnutls_privkey_get_pk_algorithm(key->key, NULL);
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;

    if (type == GNUTLS_PK_ECDSA) {
        gnutls_privkey_export_ecc_raw(key->key, &curve, NULL, NULL, NULL);
    }
    for (size_t i = 0; i < ARRAY_SIZE(curves); i++) {
        if (curves[i].curve == curve) {
            key->algorithm = curves[i].algorithm;
            return true;
        }
    }
    error_setg(errp, "the private key is of type %s%s%s, enclave images are "
               "signed with keys on the curves P-256, P-384 or P-521",
               gnutls_pk_get_name(type), curve ? ", curve " : "",
               curve ? gnutls_ecc_curve_get_name(curve) : "");
    error_append_hint(errp, "Make one: openssl ecparam -name secp384r1 "
                      "-genkey -noout -out KEY\n");
    return false;
}

/* Do key and certificate have one public key? */
static bool check_pair(const EifSigningKey *key, Error **errp)
{
    ERRP_GUARD();
    gnutls_datum_t der = { key->der->data, key->der->len };
    uint8_t ids[2][64];
    size_t lens[2] = { sizeof(ids[0]), sizeof(ids[1]) };
    gnutls_x509_crt_t crt = NULL;
    gnutls_pubkey_t pub = NULL;
    bool ok;

    ok = gnutls_pubkey_init(&pub) >= 0 && gnutls_x509_crt_init(&crt) >= 0 &&
         gnutls_x509_crt_import(crt, &der, GNUTLS_X509_FMT_DER) >= 0 &&
         gnutls_pubkey_import_privkey(pub, key->key, 0, 0) >= 0 &&
         gnutls_pubkey_get_key_id(pub, 0, ids[0], &lens[0]) >= 0 &&
         gnutls_x509_crt_get_key_id(crt, 0, ids[1], &lens[1]) >= 0 &&
         lens[0] == lens[1] && !memcmp(ids[0], ids[1], lens[0]);
    if (crt) {
        gnutls_x509_crt_deinit(crt);
    }
    if (pub) {
        gnutls_pubkey_deinit(pub);
    }
    if (!ok) {
        error_setg(errp, "the certificate does not belong to the private key");
        error_append_hint(errp, "Make one for it: openssl req -x509 -new -key "
                          "KEY -subj /CN=NAME -days 365 -out CERTIFICATE\n");
    }
    return ok;
}

EifSigningKey *eif_signing_key_new(const GByteArray *cert_pem,
                                   const GByteArray *key_pem, Error **errp)
{
    g_autoptr(EifSigningKey) key = g_new0(EifSigningKey, 1);

    key->pem = eif_pem_certificate(cert_pem, &key->der, errp);
    if (!key->pem) {
        return NULL;
    }
    key->key = check_is_key(key_pem, errp) ? load_key(key_pem, errp) : NULL;
    if (!key->key || !find_curve(key, errp)) {
        return NULL;
    }
    key->cert = eif_certificate_decode(key->der, errp);
    if (!key->cert || !check_pair(key, errp)) {
        return NULL;
    }
    return g_steal_pointer(&key);
}

const EifCertificate *eif_signing_key_certificate(const EifSigningKey *key)
{
    return key->cert;
}

/* @number right-aligned in @width bytes; it fits, without leading zeros */
static void append_number(GByteArray *to, const gnutls_datum_t *number,
                          size_t width)
{
    size_t skip = number->size > width ? number->size - width : 0;
    size_t len = number->size - skip;
    guint start = to->len;

    g_byte_array_set_size(to, start + width);
    memset(to->data + start, 0, width - len);
    memcpy(to->data + start + width - len, number->data + skip, len);
}

/* From DER to r and s behind each other */
static GByteArray *split_signature(const gnutls_datum_t *der, size_t width)
{
    GByteArray *signature;
    gnutls_datum_t r, s;

    if (gnutls_decode_rs_value(der, &r, &s) < 0) {
        return NULL;
    }
    signature = g_byte_array_new();
    append_number(signature, &r, width);
    append_number(signature, &s, width);
    gnutls_free(r.data);
    gnutls_free(s.data);
    return signature;
}

static GByteArray *sign_bytes(const EifSigningKey *key,
                              const GByteArray *bytes, Error **errp)
{
    gnutls_datum_t data = { bytes->data, bytes->len };
    gnutls_datum_t der;
    GByteArray *signature;
    size_t i = 0;
    int rc;

    while (curves[i].algorithm != key->algorithm) {
        i++;
    }
    rc = gnutls_privkey_sign_data2(key->key, curves[i].sign, SIGN_FLAGS, &data,
                                   &der);
    if (rc < 0) {
        /* Some policies know random nonces only */
        rc = gnutls_privkey_sign_data2(key->key, curves[i].sign, 0, &data,
                                       &der);
    }
    if (rc < 0) {
        error_setg(errp, "cannot sign: %s", gnutls_strerror(rc));
        return NULL;
    }
    signature = split_signature(&der,
                                eif_cose_signature_len(key->algorithm) / 2);
    gnutls_free(der.data);
    if (!signature) {
        error_setg(errp, "cannot sign: GnuTLS made a broken signature");
    }
    return signature;
}

static GByteArray *make_section(const EifSigningKey *key,
                                const GByteArray *cose)
{
    GByteArray *cbor = g_byte_array_new();

    eif_cbor_put_head(cbor, EIF_CBOR_ARRAY, 1);
    eif_cbor_put_head(cbor, EIF_CBOR_MAP, 2);
    eif_cbor_put_key(cbor, "signing_certificate");
    eif_cbor_put_integers(cbor, key->pem->data, key->pem->len);
    eif_cbor_put_key(cbor, "signature");
    eif_cbor_put_integers(cbor, cose->data, cose->len);
    return cbor;
}

GByteArray *eif_sign_pcr0(const EifSigningKey *key,
                          const uint8_t pcr0[EIF_PCR_LEN], Error **errp)
{
    g_autoptr(GByteArray) protected = eif_cose_protected(key->algorithm);
    g_autoptr(GByteArray) payload = eif_cose_payload(pcr0);
    g_autoptr(GByteArray) signature = NULL;
    g_autoptr(GByteArray) bytes = NULL;
    g_autoptr(GByteArray) message = NULL;
    EifCose cose = {
        .protected = protected->data,
        .protected_len = protected->len,
        .payload = payload->data,
        .payload_len = payload->len,
    };

    bytes = eif_cose_signed_bytes(&cose);
    signature = sign_bytes(key, bytes, errp);
    if (!signature) {
        return NULL;
    }
    cose.signature = signature->data;
    cose.signature_len = signature->len;
    message = eif_cose_encode(&cose);
    return make_section(key, message);
}

void eif_signing_key_free(EifSigningKey *key)
{
    if (key) {
        g_clear_pointer(&key->pem, g_byte_array_unref);
        g_clear_pointer(&key->der, g_byte_array_unref);
        eif_certificate_free(key->cert);
        if (key->key) {
            gnutls_privkey_deinit(key->key);
        }
        g_free(key);
    }
}

#else

EifSigningKey *eif_signing_key_new(const GByteArray *cert_pem,
                                   const GByteArray *key_pem, Error **errp)
{
    error_setg(errp, "cannot sign: built without gnutls");
    return NULL;
}

/* Without GnuTLS there is no key, so these are never called */

const EifCertificate *eif_signing_key_certificate(const EifSigningKey *key)
{
    g_assert_not_reached();
}

GByteArray *eif_sign_pcr0(const EifSigningKey *key,
                          const uint8_t pcr0[EIF_PCR_LEN], Error **errp)
{
    g_assert_not_reached();
}

void eif_signing_key_free(EifSigningKey *key)
{
    assert(!key);
}

#endif
