/*
 * Attestation documents: what is made, byte by byte, and its signatures
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include "hw/core/nsm-certificate.h"
#include "hw/core/nsm-sign.h"
#include "../nitro/error-text.h"

#define MODULE "i-0123456789abcdef0-enc0199aabbccdd1234"
#define INSTANCE "i-0123456789abcdef0"
#define NOW 1795000000LL
#define HOUR 3600

/* AWS's extensions, by object identifiers */
#define BC "2.5.29.19"
#define KU "2.5.29.15"
#define SKI "2.5.29.14"
#define AKI "2.5.29.35"
#define CRL "2.5.29.31"

typedef struct Lab {
    NSMIdentity *levels[NSM_LEVEL_LEAF];
    GString *pem;               /* key of the instance, and the chain */
} Lab;

static const char *const names[NSM_LEVELS] = {
    [NSM_LEVEL_INSTANCE] = INSTANCE, [NSM_LEVEL_LEAF] = MODULE,
};

static void lab_make(Lab *lab)
{
    NSMIdentity *issuer = NULL;

    lab->pem = g_string_new("");
    for (int i = 0; i < NSM_LEVEL_LEAF; i++) {
        issuer = nsm_identity_new(i, issuer, names[i], NOW, &error_abort);
        lab->levels[i] = issuer;
    }
    nsm_identity_append_key(issuer, lab->pem, &error_abort);
    for (int i = 0; i < NSM_LEVEL_LEAF; i++) {
        nsm_identity_append_certificate(lab->levels[i], lab->pem);
    }
}

static void lab_free(Lab *lab)
{
    for (int i = 0; i < NSM_LEVEL_LEAF; i++) {
        nsm_identity_free(lab->levels[i]);
    }
    nsm_wipe(lab->pem);
}

static gnutls_x509_crt_t import(const uint8_t *der, size_t len)
{
    gnutls_datum_t data = { (unsigned char *)der, len };
    gnutls_x509_crt_t crt;

    g_assert_cmpint(gnutls_x509_crt_init(&crt), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_DER),
                    ==, 0);
    return crt;
}

/* What a certificate of each level has */
typedef struct Shape {
    int64_t before, life;
    const char *subject;
    const char *extensions[6];  /* critical ones with a '!' behind them */
    const char *constraints;
    size_t constraints_len;
    const char *usage;
    size_t serial_min, serial_max;
} Shape;

static const Shape shapes[NSM_LEVELS] = {
    { 0, NSM_ROOT_LIFE, "C O OU CN", { BC "!", SKI, KU "!" },
      "\x30\x03\x01\x01\xff", 5, "\x03\x02\x01\x86", 16, 17 },
    { 0, 20 * 24 * HOUR + HOUR, "C O OU CN",
      { BC "!", AKI, SKI, KU "!", CRL },
      "\x30\x06\x01\x01\xff\x02\x01\x02", 8, "\x03\x02\x01\x86", 16, 17 },
    { 0, 6 * 24 * HOUR, "CN OU O C ST L", { BC "!", AKI, SKI, KU "!", CRL },
      "\x30\x06\x01\x01\xff\x02\x01\x01", 8, "\x03\x02\x01\x86", 16, 17 },
    { 0, 24 * HOUR, "C ST L O OU CN", { BC "!", KU "!", SKI, AKI },
      "\x30\x06\x01\x01\xff\x02\x01\x00", 8, "\x03\x02\x02\x04", 20, 21 },
    { 3, 3 * HOUR, "C ST L O OU CN", { BC "!", KU }, "\x30\x00", 2,
      "\x03\x02\x06\xc0", 16, 16 },
};

static void check_extension(gnutls_x509_crt_t crt, unsigned i,
                            const char *want, const Shape *shape)
{
    g_autofree char *found = NULL;
    char oid[32];
    uint8_t bytes[256];
    size_t oid_len = sizeof(oid), len = sizeof(bytes);
    unsigned critical;

    g_assert_cmpint(gnutls_x509_crt_get_extension_info(crt, i, oid, &oid_len,
                                                       &critical), ==, 0);
    found = g_strdup_printf("%s%s", oid, critical ? "!" : "");
    g_assert_cmpstr(found, ==, want);
    g_assert_cmpint(gnutls_x509_crt_get_extension_data(crt, i, bytes, &len),
                    ==, 0);
    if (g_str_has_prefix(want, BC)) {
        g_assert_cmpmem(bytes, len, shape->constraints,
                        shape->constraints_len);
    }
    if (g_str_has_prefix(want, KU)) {
        g_assert_cmpmem(bytes, len, shape->usage, 4);
    }
}

static void check_extensions(gnutls_x509_crt_t crt, const Shape *shape)
{
    char oid[32];
    size_t oid_len = sizeof(oid);
    unsigned i, critical;

    for (i = 0; shape->extensions[i]; i++) {
        check_extension(crt, i, shape->extensions[i], shape);
    }
    g_assert_cmpint(gnutls_x509_crt_get_extension_info(crt, i, oid, &oid_len,
                                                       &critical), ==,
                    GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE);
}

static void check_subject(gnutls_x509_crt_t crt, const char *want)
{
    g_autoptr(GString) found = g_string_new("");
    gnutls_x509_dn_t dn;
    gnutls_x509_ava_st ava;

    g_assert_cmpint(gnutls_x509_crt_get_subject(crt, &dn), ==, 0);
    for (int i = 0; !gnutls_x509_dn_get_rdn_ava(dn, i, 0, &ava); i++) {
        const char *name = gnutls_x509_dn_oid_name(
            (char *)ava.oid.data, GNUTLS_X509_DN_OID_RETURN_OID);

        g_string_append_printf(found, "%s%s", i ? " " : "", name);
        /* PrintableString, UTF8String */
        g_assert_cmpuint(ava.value_tag, ==, g_str_equal(name, "C") ? 19 : 12);
        /* Whatever else is said, AWS is named only to be denied */
        g_assert_null(memmem(ava.value.data, ava.value.size, "mazon", 5));
    }
    g_assert_cmpstr(found->str, ==, want);
}

static void check_shape(const NSMIdentity *identity, const Shape *shape)
{
    const GByteArray *der = nsm_identity_der(identity);
    gnutls_x509_crt_t crt = import(der->data, der->len);
    uint8_t serial[32];
    size_t serial_len = sizeof(serial);

    g_assert_cmpuint(der->len, <=, NSM_DOC_CERTIFICATE_MAX);
    g_assert_cmpint(gnutls_x509_crt_get_version(crt), ==, 3);
    g_assert_cmpint(gnutls_x509_crt_get_signature_algorithm(crt), ==,
                    GNUTLS_SIGN_ECDSA_SHA384);
    g_assert_cmpint(nsm_identity_from(identity), ==, NOW - shape->before);
    g_assert_cmpint(nsm_identity_until(identity), ==, NOW + shape->life);
    g_assert_cmpint(gnutls_x509_crt_get_serial(crt, serial, &serial_len), ==,
                    0);
    g_assert_cmpuint(serial_len, >=, shape->serial_min);
    g_assert_cmpuint(serial_len, <=, shape->serial_max);
    g_assert_false(serial[0] & 0x80);
    check_subject(crt, shape->subject);
    check_extensions(crt, shape);
    gnutls_x509_crt_deinit(crt);
}

static void test_levels(void)
{
    g_autoptr(NSMIdentity) leaf = NULL;
    Lab lab;

    lab_make(&lab);
    leaf = nsm_identity_new(NSM_LEVEL_LEAF, lab.levels[NSM_LEVEL_INSTANCE],
                            MODULE, NOW, &error_abort);
    for (int i = 0; i < NSM_LEVELS; i++) {
        NSMIdentity *issuer = lab.levels[i ? i - 1 : 0];
        NSMIdentity *one = i == NSM_LEVEL_LEAF ? leaf : lab.levels[i];

        g_test_message("level %d", i);
        check_shape(one, &shapes[i]);
        g_assert_true(nsm_identity_issued_by(one, issuer));
        g_assert_false(i && nsm_identity_issued_by(issuer, one));
    }
    lab_free(&lab);
}

static void test_names(void)
{
    g_autoptr(NSMIdentity) leaf = NULL;
    g_autofree char *name = NULL;
    Lab lab;

    lab_make(&lab);
    for (int i = 0; i < NSM_LEVEL_LEAF; i++) {
        g_free(name);
        name = nsm_identity_name(lab.levels[i]);
        g_assert_true(g_str_has_suffix(name, NSM_LAB_ROOT_NAME));
        g_assert_false(g_str_has_suffix(name, "aws.nitro-enclaves"));
    }
    g_assert_true(g_str_has_prefix(name, INSTANCE "."));
    leaf = nsm_identity_new(NSM_LEVEL_LEAF, lab.levels[NSM_LEVEL_INSTANCE],
                            MODULE, NOW, &error_abort);
    g_free(name);
    name = nsm_identity_name(leaf);
    g_assert_cmpstr(name, ==, MODULE "." NSM_LAB_REGION ".lab");
    lab_free(&lab);
}

/* Size of an identity's private key as PKCS #8 */
static size_t key_size(const NSMIdentity *identity)
{
    g_autoptr(GString) text = g_string_new(NULL);
    gnutls_datum_t pem, der;
    size_t size;

    nsm_identity_append_key(identity, text, &error_abort);
    pem.data = (uint8_t *)text->str;
    pem.size = text->len;
    g_assert_cmpint(gnutls_pem_base64_decode2("PRIVATE KEY", &pem, &der), ==,
                    0);
    size = der.size;
    gnutls_free(der.data);
    return size;
}

/*
 * OpenSSL refuses a private key that is shorter than its curve, as one in 512
 * of GnuTLS' is.  With 48 bytes all is 194 bytes, with a zero in front 195.
 */
static void test_key_size(void)
{
    for (int i = 0; i < 1024; i++) {
        g_autoptr(NSMIdentity) root = nsm_identity_new(
            NSM_LEVEL_ROOT, NULL, "root", NOW, &error_abort);

        g_assert_cmpuint(key_size(root), >=, 194);
    }
}

/* Number of the enclave, time of issue */
static void test_leaf_serial(void)
{
    g_autoptr(NSMIdentity) root = nsm_identity_new(NSM_LEVEL_ROOT, NULL, NULL,
                                                   NOW, &error_abort);
    g_autoptr(NSMIdentity) leaf = nsm_identity_new(NSM_LEVEL_LEAF, root,
                                                   MODULE, NOW, &error_abort);
    const GByteArray *der = nsm_identity_der(leaf);
    gnutls_x509_crt_t crt = import(der->data, der->len);
    uint8_t serial[16];
    size_t len = sizeof(serial);

    g_assert_cmpint(gnutls_x509_crt_get_serial(crt, serial, &len), ==, 0);
    g_assert_cmpuint(len, ==, 16);
    g_assert_cmphex(ldq_be_p(serial), ==, 0x0199aabbccdd1234);
    g_assert_cmpint(ldq_be_p(serial + 8), ==, NOW);
    gnutls_x509_crt_deinit(crt);
}

static void expect(Error *err, const char *part)
{
    g_autofree char *text = error_text(err);

    assert_contains(text, part);
}

static void test_long_name(void)
{
    g_autoptr(NSMIdentity) root = nsm_identity_new(NSM_LEVEL_ROOT, NULL, NULL,
                                                   NOW, &error_abort);
    g_autofree char *name = g_strnfill(53, 'm');
    g_autoptr(NSMIdentity) leaf = NULL;
    Error *err = NULL;

    leaf = nsm_identity_new(NSM_LEVEL_LEAF, root, name, NOW, &err);
    g_assert_null(leaf);
    expect(err, "has 65 characters, the name of a certificate at "
                       "most 64");
}

/* A document with all, or with nothing */
static size_t make(NSMSigner *signer, bool all, bool definite, uint8_t *doc)
{
    static const uint8_t pcr[NSM_DOC_PCR_LEN] = { 1, 2, 3 };
    NSMClaims claims = {
        .module_id = MODULE, .time_ms = NOW * 1000 + 7, .definite = definite,
    };
    size_t len;

    claims.pcrs[0] = pcr;
    if (all) {
        claims.pcrs[31] = pcr;
        claims.public_key = (NSMDocumentField) { pcr, 3 };
        claims.user_data = (NSMDocumentField) { pcr, 0 };
    }
    g_assert_true(nsm_signer_document(signer, &claims, doc, NSM_DOC_MAX, &len,
                                      &error_abort));
    g_assert_cmpuint(len, >, 0);
    return len;
}

#define HEAD "\x84\x44\xa1\x01\x38\x22\xa0\x59"
#define BEGIN "\x69" "module_id\x78\x27" MODULE "\x66" "digest\x66SHA384" \
    "\x69timestamp\x1b"

static void check_signature(const uint8_t *payload, size_t len,
                            const uint8_t *rs, const GByteArray *leaf)
{
    g_autoptr(GByteArray) text = g_byte_array_new();
    uint8_t size[2];
    gnutls_datum_t r = { (unsigned char *)rs, 48 };
    gnutls_datum_t s = { (unsigned char *)rs + 48, 48 };
    gnutls_x509_crt_t crt = import(leaf->data, leaf->len);
    gnutls_datum_t data, sig;
    gnutls_pubkey_t key;

    stw_be_p(size, len);
    g_byte_array_append(text, (uint8_t *)"\x84\x6aSignature1\x44\xa1\x01\x38"
                        "\x22\x40\x59", 19);
    g_byte_array_append(text, size, 2);
    g_byte_array_append(text, payload, len);
    data = (gnutls_datum_t) { text->data, text->len };
    g_assert_cmpint(gnutls_encode_rs_value(&sig, &r, &s), ==, 0);
    g_assert_cmpint(gnutls_pubkey_init(&key), ==, 0);
    g_assert_cmpint(gnutls_pubkey_import_x509(key, crt, 0), ==, 0);
    g_assert_cmpint(gnutls_pubkey_verify_data2(key, GNUTLS_SIGN_ECDSA_SHA384,
                                               0, &data, &sig), >=, 0);
    text->data[text->len - 1] ^= 1;
    g_assert_cmpint(gnutls_pubkey_verify_data2(key, GNUTLS_SIGN_ECDSA_SHA384,
                                               0, &data, &sig), <, 0);
    gnutls_pubkey_deinit(key);
    gnutls_x509_crt_deinit(crt);
    gnutls_free(sig.data);
}

/* The leaf within a payload */
static GByteArray *find_leaf(const uint8_t *payload, size_t len)
{
    static const char key[] = "\x6b" "certificate\x59";
    uint8_t *at = memmem(payload, len, key, sizeof(key) - 1);
    GByteArray *leaf = g_byte_array_new();

    g_assert_nonnull(at);
    at += sizeof(key) - 1;
    g_assert_cmpuint(at + 2 + lduw_be_p(at) - payload, <, len);
    return g_byte_array_append(leaf, at + 2, lduw_be_p(at));
}

static void check_contains(const uint8_t *payload, size_t len,
                           const char *bytes, size_t n)
{
    g_assert_nonnull(memmem(payload, len, bytes, n));
}

#define CONTAINS(bytes) check_contains(payload, len, bytes, sizeof(bytes) - 1)

/* Root first, and directly one after the other */
static void check_chain(const Lab *lab, const uint8_t *payload, size_t len)
{
    static const char key[] = "\x68" "cabundle\x84";
    const uint8_t *at = memmem(payload, len, key, sizeof(key) - 1);

    g_assert_nonnull(at);
    at += sizeof(key) - 1;
    for (int i = 0; i < NSM_LEVEL_LEAF; i++) {
        const GByteArray *der = nsm_identity_der(lab->levels[i]);

        g_assert_cmphex(*at, ==, 0x59);
        g_assert_cmpuint(lduw_be_p(at + 1), ==, der->len);
        g_assert_cmpmem(at + 3, der->len, der->data, der->len);
        at += 3 + der->len;
    }
}

static void check_document(const Lab *lab, bool all, bool definite)
{
    g_autoptr(NSMSigner) signer = nsm_signer_new(MODULE);
    g_autofree uint8_t *doc = g_malloc(NSM_DOC_MAX);
    g_autoptr(GByteArray) leaf = NULL;
    const uint8_t *payload;
    size_t size, len;

    g_assert_true(nsm_signer_load(signer, lab->pem->str, NULL, NOW,
                                  &error_abort));
    size = make(signer, all, definite, doc);
    g_assert_cmpmem(doc, 8, HEAD, 8);
    len = lduw_be_p(doc + 8);
    payload = doc + 10;
    g_assert_cmpuint(size, ==, 10 + len + 2 + 96);
    g_assert_cmpmem(payload + len, 2, "\x58\x60", 2);
    g_assert_cmphex(payload[0], ==, definite ? 0xa9 : 0xbf);
    g_assert_cmpmem(payload + 1, sizeof(BEGIN) - 1, BEGIN, sizeof(BEGIN) - 1);
    g_assert_cmpint(ldq_be_p(payload + sizeof(BEGIN)), ==, NOW * 1000 + 7);
    if (all) {
        CONTAINS("\x64pcrs\xa2\x00\x58\x30\x01\x02\x03\x00");
        CONTAINS("\x00\x18\x1f\x58\x30\x01\x02\x03\x00");
        CONTAINS("\x6apublic_key\x43\x01\x02\x03\x69user_data\x40\x65nonce"
                 "\xf6");
    } else {
        CONTAINS("\x64pcrs\xa1\x00\x58\x30\x01\x02\x03\x00");
        CONTAINS("\x6apublic_key\xf6\x69user_data\xf6\x65nonce\xf6");
    }
    g_assert_cmphex(payload[len - 1], ==, definite ? 0xf6 : 0xff);
    check_chain(lab, payload, len);
    leaf = find_leaf(payload, len);
    check_signature(payload, len, payload + len + 2, leaf);
}

static void test_document(void)
{
    Lab lab;

    lab_make(&lab);
    for (int i = 0; i < 4; i++) {
        check_document(&lab, i & 1, i & 2);
    }
    lab_free(&lab);
}

static void test_no_room(void)
{
    g_autoptr(NSMSigner) signer = nsm_signer_new(MODULE);
    NSMClaims claims = { .module_id = MODULE, .time_ms = NOW * 1000 };
    g_autofree uint8_t *doc = g_malloc(NSM_DOC_MAX);
    size_t len, full;
    Lab lab;

    lab_make(&lab);
    g_assert_true(nsm_signer_load(signer, lab.pem->str, NULL, NOW,
                                  &error_abort));
    g_assert_true(nsm_signer_document(signer, &claims, doc, NSM_DOC_MAX,
                                      &full, &error_abort));
    for (size_t size = 0; size < full; size += size + 97 < full ? 97 : 1) {
        doc[size] = 0x55;
        g_assert_true(nsm_signer_document(signer, &claims, doc, size, &len,
                                          &error_abort));
        g_assert_cmpuint(len, ==, 0);
        g_assert_cmphex(doc[size], ==, 0x55);
    }
    g_assert_true(nsm_signer_document(signer, &claims, doc, full, &len,
                                      &error_abort));
    g_assert_cmpuint(len, ==, full);
    lab_free(&lab);
}

static bool same_leaf(const uint8_t *a, size_t a_len, const uint8_t *b,
                      size_t b_len)
{
    g_autoptr(GByteArray) one = find_leaf(a, a_len);
    g_autoptr(GByteArray) other = find_leaf(b, b_len);

    return one->len == other->len && !memcmp(one->data, other->data, one->len);
}

/* A leaf is used until 15 minutes before its end */
static void test_renewal(void)
{
    g_autoptr(NSMSigner) signer = nsm_signer_new(MODULE);
    g_autofree uint8_t *first = g_malloc(NSM_DOC_MAX);
    g_autofree uint8_t *second = g_malloc(NSM_DOC_MAX);
    size_t len, len2;
    Lab lab;

    lab_make(&lab);
    g_assert_true(nsm_signer_is_due(signer, NOW));
    g_assert_true(nsm_signer_load(signer, lab.pem->str, NULL, NOW,
                                  &error_abort));
    g_assert_false(nsm_signer_is_due(signer, NOW));
    g_assert_false(nsm_signer_is_due(signer, NOW - 3));
    g_assert_true(nsm_signer_is_due(signer, NOW - 4));
    g_assert_false(nsm_signer_is_due(signer, NOW + 165 * 60 - 1));
    g_assert_true(nsm_signer_is_due(signer, NOW + 165 * 60));
    g_assert_true(nsm_signer_load(signer, lab.pem->str, NULL,
                                  NOW + 23 * HOUR + 44 * 60, &error_abort));
    g_assert_false(nsm_signer_is_due(signer, NOW + 23 * HOUR + 44 * 60));
    g_assert_true(nsm_signer_is_due(signer, NOW + 23 * HOUR + 45 * 60));
    g_assert_true(nsm_signer_load(signer, lab.pem->str, NULL, NOW,
                                  &error_abort));
    len = make(signer, true, false, first);
    len2 = make(signer, true, false, second);
    g_assert_true(same_leaf(first, len, second, len2));
    g_assert_true(nsm_signer_load(signer, lab.pem->str, NULL, NOW + 1,
                                  &error_abort));
    len2 = make(signer, true, false, second);
    g_assert_false(same_leaf(first, len, second, len2));
    lab_free(&lab);
}

static void test_expired(void)
{
    g_autoptr(NSMSigner) signer = nsm_signer_new(MODULE);
    g_autofree uint8_t *doc = g_malloc(NSM_DOC_MAX);
    static const int64_t times[] = { NOW - 4, NOW + 3 * HOUR + 1,
                                     NOW + 25 * HOUR };
    size_t len;
    Lab lab;

    lab_make(&lab);
    g_assert_true(nsm_signer_load(signer, lab.pem->str, NULL, NOW,
                                  &error_abort));
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        NSMClaims claims = { .module_id = MODULE,
                             .time_ms = times[i] * 1000 };
        Error *err = NULL;

        g_assert_false(nsm_signer_document(signer, &claims, doc, NSM_DOC_MAX,
                                           &len, &err));
        expect(err, "is not valid now");
    }
    lab_free(&lab);
}

static void refused(const char *pem, const char *password, const char *want)
{
    g_autoptr(NSMSigner) signer = nsm_signer_new(MODULE);
    Error *err = NULL;

    g_test_message("%s", want);
    g_assert_false(nsm_signer_load(signer, pem, password, NOW, &err));
    expect(err, want);
    g_assert_true(nsm_signer_is_due(signer, NOW));
}

static void test_refused(void)
{
    g_autoptr(GString) text = g_string_new("");
    Lab lab;

    lab_make(&lab);
    refused("", NULL, "cannot read the certificates");
    refused("garbage", NULL, "cannot read the certificates");
    nsm_identity_append_certificate(lab.levels[0], text);
    refused(text->str, NULL, "cannot read the private key");
    nsm_identity_append_key(lab.levels[1], text, &error_abort);
    refused(text->str, NULL, "the last certificate does not belong to the key");
    /* From instance to root */
    g_string_truncate(text, 0);
    nsm_identity_append_key(lab.levels[0], text, &error_abort);
    nsm_identity_append_certificate(lab.levels[1], text);
    nsm_identity_append_certificate(lab.levels[0], text);
    refused(text->str, NULL, "certificate 2 does not name certificate 1 as "
            "its issuer");
    g_string_truncate(text, 0);
    for (int i = 0; i <= NSM_CHAIN_MAX; i++) {
        nsm_identity_append_certificate(lab.levels[0], text);
    }
    refused(text->str, NULL, "more than 8 certificates");
    /* Cut in the middle of the last certificate */
    g_string_truncate(text, 0);
    g_string_append_len(text, lab.pem->str, lab.pem->len - 200);
    refused(text->str, NULL, "");
    lab_free(&lab);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nsm/sign/levels", test_levels);
    g_test_add_func("/nsm/sign/names", test_names);
    g_test_add_func("/nsm/sign/key-size", test_key_size);
    g_test_add_func("/nsm/sign/leaf-serial", test_leaf_serial);
    g_test_add_func("/nsm/sign/long-name", test_long_name);
    g_test_add_func("/nsm/sign/document", test_document);
    g_test_add_func("/nsm/sign/no-room", test_no_room);
    g_test_add_func("/nsm/sign/renewal", test_renewal);
    g_test_add_func("/nsm/sign/expired", test_expired);
    g_test_add_func("/nsm/sign/refused", test_refused);
    return g_test_run();
}
