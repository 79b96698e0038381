/*
 * Enclave Image Format: X.509 certificates of signed images
 *
 * All that needs GnuTLS.  A build without it, or with one before 3.6, says
 * that it cannot verify.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-verify.h"

#ifdef CONFIG_GNUTLS
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#if GNUTLS_VERSION_NUMBER >= 0x030600
#define CAN_VERIFY
#endif
#endif

void eif_certificate_free(EifCertificate *cert)
{
    if (cert) {
        g_array_unref(cert->issuer);
        g_free(cert->subject);
        g_free(cert->algorithm);
        g_clear_pointer(&cert->signature, g_byte_array_unref);
        g_free(cert);
    }
}

#ifdef CAN_VERIFY

#define OID_MAX 128
#define NAME_MAX_BYTES 4096 /* per attribute; longer ones are left out */

/* Tags of ASN.1 strings that are not one byte per character */
#define ASN1_UTF8_STRING 12
#define ASN1_UNIVERSAL_STRING 28
#define ASN1_BMP_STRING 30

static void clear_name(void *opaque)
{
    EifName *name = opaque;

    g_free(name->type);
    g_free(name->value);
}

static EifCertificate *certificate_new(void)
{
    EifCertificate *cert = g_new0(EifCertificate, 1);

    cert->issuer = g_array_new(false, false, sizeof(EifName));
    g_array_set_clear_func(cert->issuer, clear_name);
    return cert;
}

static gnutls_x509_crt_t import_certificate(const GByteArray *der,
                                            Error **errp)
{
    gnutls_datum_t data = { .data = der->data, .size = der->len };
    gnutls_x509_crt_t crt;
    int rc = gnutls_x509_crt_init(&crt);

    if (rc < 0) {
        error_setg(errp, "cannot look at the certificate: %s",
                   gnutls_strerror(rc));
        return NULL;
    }
    rc = gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_DER);
    if (rc < 0) {
        error_setg(errp, "the certificate is broken: %s", gnutls_strerror(rc));
        gnutls_x509_crt_deinit(crt);
        return NULL;
    }
    return crt;
}

/* Character set of an ASN.1 string, by its tag; OpenSSL sees it that way */
static const char *string_charset(unsigned long tag)
{
    switch (tag) {
    case ASN1_UTF8_STRING:
        return "UTF-8";
    case ASN1_BMP_STRING:
        return "UTF-16BE";
    case ASN1_UNIVERSAL_STRING:
        return "UTF-32BE";
    default:
        return "ISO-8859-1";
    }
}

static char *string_value(const gnutls_x509_ava_st *ava)
{
    const char *data = (const char *)ava->value.data;
    char *text = g_convert(data, ava->value.size, "UTF-8",
                           string_charset(ava->value_tag), NULL, NULL, NULL);

    return text ?: g_utf8_make_valid(data, ava->value.size);
}

/* Returns false when there is no such part */
static bool read_part(gnutls_x509_dn_t dn, int i, int k, GArray *issuer)
{
    gnutls_x509_ava_st ava;
    EifName name;

    if (gnutls_x509_dn_get_rdn_ava(dn, i, k, &ava) < 0) {
        return false;
    }
    if (ava.value.size <= NAME_MAX_BYTES) {
        g_autofree char *oid = g_strndup((const char *)ava.oid.data,
                                         ava.oid.size);

        name.type = g_strdup(eif_oid_str(oid));
        name.value = string_value(&ava);
        g_array_append_val(issuer, name);
    }
    return true;
}

/* A name is a list of sets, which mostly have one part each */
static void read_issuer(gnutls_x509_crt_t crt, GArray *issuer)
{
    gnutls_x509_dn_t dn;

    if (gnutls_x509_crt_get_issuer(crt, &dn) < 0) {
        return;
    }
    for (int i = 0; read_part(dn, i, 0, issuer); i++) {
        for (int k = 1; read_part(dn, i, k, issuer); k++) {
            /* the next part of the set */
        }
    }
}

static char *read_subject(gnutls_x509_crt_t crt)
{
    gnutls_datum_t name;
    char *text;

    if (gnutls_x509_crt_get_dn3(crt, &name, 0) < 0) {
        return g_strdup("");
    }
    text = g_utf8_make_valid((char *)name.data, name.size);
    gnutls_free(name.data);
    return text;
}

/* "ecdsa-with-SHA384", or an object identifier */
static char *read_algorithm(gnutls_x509_crt_t crt)
{
    char oid[OID_MAX];
    size_t len = sizeof(oid);

    return g_strdup(gnutls_x509_crt_get_signature_oid(crt, oid, &len) < 0
                    ? "unknown" : eif_oid_str(oid));
}

static GByteArray *read_signature(gnutls_x509_crt_t crt)
{
    GByteArray *signature = g_byte_array_new();
    size_t len = 0;

    if (gnutls_x509_crt_get_signature(crt, NULL, &len) ==
        GNUTLS_E_SHORT_MEMORY_BUFFER) {
        g_byte_array_set_size(signature, len);
        if (gnutls_x509_crt_get_signature(crt, (char *)signature->data,
                                          &len) < 0) {
            len = 0;
        }
        g_byte_array_set_size(signature, len);
    }
    return signature;
}

static bool curve_is_known(gnutls_ecc_curve_t curve)
{
    return curve == GNUTLS_ECC_CURVE_SECP256R1 ||
           curve == GNUTLS_ECC_CURVE_SECP384R1 ||
           curve == GNUTLS_ECC_CURVE_SECP521R1;
}

/* The public key of the certificate and its curve */
static gnutls_pubkey_t import_key(gnutls_x509_crt_t crt,
                                  gnutls_ecc_curve_t *curve, Error **errp)
{
    gnutls_pubkey_t key;
    int rc = gnutls_pubkey_init(&key);

    if (rc < 0) {
        error_setg(errp, "cannot look at the key of the certificate: %s",
                   gnutls_strerror(rc));
        return NULL;
    }
    rc = gnutls_pubkey_import_x509(key, crt, 0);
    if (rc >= 0) {
        rc = gnutls_pubkey_export_ecc_raw(key, curve, NULL, NULL);
    }
    if (rc < 0 || !curve_is_known(*curve)) {
        error_setg(errp, "the certificate has no key on the curves P-256, "
                   "P-384 or P-521 (its type is %s)",
                   gnutls_pk_get_name(gnutls_pubkey_get_pk_algorithm(key,
                                                                     NULL)));
        gnutls_pubkey_deinit(key);
        return NULL;
    }
    return key;
}

bool eif_certificate_supported(void)
{
    return true;
}

EifCertificate *eif_certificate_decode(const GByteArray *der, Error **errp)
{
    gnutls_x509_crt_t crt = import_certificate(der, errp);
    EifCertificate *cert;
    gnutls_ecc_curve_t curve;
    gnutls_pubkey_t key;

    if (!crt) {
        return NULL;
    }
    key = import_key(crt, &curve, errp);
    if (!key) {
        gnutls_x509_crt_deinit(crt);
        return NULL;
    }
    gnutls_pubkey_deinit(key);
    cert = certificate_new();
    cert->subject = read_subject(crt);
    read_issuer(crt, cert->issuer);
    cert->algorithm = read_algorithm(crt);
    cert->not_before = gnutls_x509_crt_get_activation_time(crt);
    cert->not_after = gnutls_x509_crt_get_expiration_time(crt);
    cert->signature = read_signature(crt);
    gnutls_x509_crt_deinit(crt);
    return cert;
}

typedef struct CoseAlgorithm {
    EifCoseAlgorithm id;
    const char *name;
    gnutls_sign_algorithm_t sign;
    gnutls_ecc_curve_t curve;
} CoseAlgorithm;

static const CoseAlgorithm *find_algorithm(EifCoseAlgorithm id)
{
    static const CoseAlgorithm table[] = {
        { EIF_COSE_ES256, "ES256", GNUTLS_SIGN_ECDSA_SHA256,
          GNUTLS_ECC_CURVE_SECP256R1 },
        { EIF_COSE_ES384, "ES384", GNUTLS_SIGN_ECDSA_SHA384,
          GNUTLS_ECC_CURVE_SECP384R1 },
        { EIF_COSE_ES512, "ES512", GNUTLS_SIGN_ECDSA_SHA512,
          GNUTLS_ECC_CURVE_SECP521R1 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (table[i].id == id) {
            return &table[i];
        }
    }
    g_assert_not_reached(); /* eif_cose_decode() takes no other */
}

static bool verify_with_key(gnutls_pubkey_t key, gnutls_ecc_curve_t curve,
                            const EifCose *cose, Error **errp)
{
    const CoseAlgorithm *algorithm = find_algorithm(cose->algorithm);
    g_autoptr(GByteArray) bytes = eif_cose_signed_bytes(cose);
    size_t half = cose->signature_len / 2;
    gnutls_datum_t data = { bytes->data, bytes->len };
    gnutls_datum_t r = { (uint8_t *)cose->signature, half };
    gnutls_datum_t s = { (uint8_t *)cose->signature + half, half };
    gnutls_datum_t signature;
    int rc;

    if (curve != algorithm->curve) {
        error_setg(errp, "algorithm %s of the signature does not belong to a "
                   "key on curve %s", algorithm->name,
                   gnutls_ecc_curve_get_name(curve));
        return false;
    }
    rc = gnutls_encode_rs_value(&signature, &r, &s);
    if (rc >= 0) {
        rc = gnutls_pubkey_verify_data2(key, algorithm->sign, 0, &data,
                                        &signature);
        gnutls_free(signature.data);
    }
    if (rc < 0) {
        error_setg(errp, "the signature was not made with the key of the "
                   "certificate: %s", gnutls_strerror(rc));
        return false;
    }
    return true;
}

bool eif_certificate_check_signature(const GByteArray *der,
                                     const EifCose *cose, Error **errp)
{
    gnutls_x509_crt_t crt = import_certificate(der, errp);
    gnutls_ecc_curve_t curve;
    gnutls_pubkey_t key;
    bool ok = false;

    if (!crt) {
        return false;
    }
    key = import_key(crt, &curve, errp);
    if (key) {
        ok = verify_with_key(key, curve, cose, errp);
        gnutls_pubkey_deinit(key);
    }
    gnutls_x509_crt_deinit(crt);
    return ok;
}

#else

bool eif_certificate_supported(void)
{
    return false;
}

EifCertificate *eif_certificate_decode(const GByteArray *der, Error **errp)
{
    error_setg(errp, "cannot verify: built without gnutls");
    return NULL;
}

bool eif_certificate_check_signature(const GByteArray *der,
                                     const EifCose *cose, Error **errp)
{
    error_setg(errp, "cannot verify: built without gnutls");
    return false;
}

#endif
