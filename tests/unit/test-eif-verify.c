/*
 * Enclave images: verification of the signature section
 *
 * One signature made by the official builder, and many made here with keys
 * that are thrown away, each with one thing wrong.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <gnutls/gnutls.h>
#include "hw/core/eif-verify.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/eif-signer.h"

#define NOW EIF_SIGNER_NOW
#define DAY EIF_SIGNER_DAY
#define HINT "Sign an unsigned copy of the image again"
#define BROKEN "the COSE_Sign1 message is broken: "

/* Of the worked example, as the official builder signed it with ES384 */
static const char official_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBqTCCAS4CFFMFvgrJA3jxLnSdDzVjRjE0Gl0QMAoGCCqGSM49BAMDMDgxCzAJ\n"
    "BgNVBAYTAlVTMQ8wDQYDVQQKDAZnb2xkZW4xGDAWBgNVBAMMD2VpZi1nb2xkZW4t\n"
    "cDM4NDAeFw0yMDAxMDEwMDAwMDBaFw00OTEyMzEyMzU5NTlaMDgxCzAJBgNVBAYT\n"
    "AlVTMQ8wDQYDVQQKDAZnb2xkZW4xGDAWBgNVBAMMD2VpZi1nb2xkZW4tcDM4NDB2\n"
    "MBAGByqGSM49AgEGBSuBBAAiA2IABHf3H5LGY8YMcn/nUZ+n6PSCIqfVyPtvn3FF\n"
    "1paVBtaJzMPpOFuZMXNFL38B6cjJehCyHHIO7S3VJjLo4TKTJjezbo8G9RLA0Y11\n"
    "7FrUs4mjOqlUKT3y7Jcn5EBVjgK8bzAKBggqhkjOPQQDAwNpADBmAjEA8qw7z416\n"
    "59LtoSi3OSY2fQEzA6kO2BMhsiL02B5H1O1VhUkmmzUt4GeBCW8Sc8zgAjEA+SpH\n"
    "rufDSqMfFqZYq93J7Gm0C2DtEjrK7PCPy2ENNKRhnVr/UUMERNgmxqkbzQpn\n"
    "-----END CERTIFICATE-----\n";

static const char official_cose[] =
    "8444a1013822a0587ea26e72656769737465725f696e646578006e7265676973"
    "7465725f76616c756598301848187a189a186b18400d185418351852182b0118"
    "e118d71825188e14187018f5186d18d81870183618ed18be1826187e18681864"
    "182818d5189718d80518f218ed18611893185618ef18991869186d184318c318"
    "d61885188c18b758606aad762710afefe15c048b67ec72630f40ac97b4151b7c"
    "376ff40db5f037039a7ba1944e4ebecf52a3d45795c33c4afc8719d021aaf2ea"
    "69d4b6f6758c39633ca2396eb542d650abcc2e3d354135e1c4bfa2e1a9c69c79"
    "8aa047eaf363f7bf67";

#define OFFICIAL_NOT_BEFORE 1577836800 /* 2020-01-01 00:00:00 */
#define OFFICIAL_NOT_AFTER 2524607999 /* 2049-12-31 23:59:59 */

static GByteArray *from_hex(const char *hex)
{
    GByteArray *bytes = g_byte_array_new();

    for (; *hex; hex += 2) {
        uint8_t byte = g_ascii_xdigit_value(hex[0]) << 4 |
                       g_ascii_xdigit_value(hex[1]);

        g_byte_array_append(bytes, &byte, 1);
    }
    return bytes;
}

static EifSigner *official(void)
{
    EifSigner *signer = g_new0(EifSigner, 1);

    signer->pem = g_strdup(official_pem);
    signer->cose = from_hex(official_cose);
    return signer;
}

/* All the way from an image */
static EifVerification *verify(const EifSigner *signer, int64_t when)
{
    g_autoptr(GByteArray) bytes = eif_signer_image(signer, 0);
    g_autoptr(EifImage) image = eif_image_parse_buffer(bytes->data, bytes->len,
                                                       &error_abort);
    g_autoptr(EifSignature) sig = NULL;
    EifMeasurements m;
    EifSource src;

    eif_source_init_buffer(&src, bytes->data, bytes->len);
    g_assert(eif_image_measure(image, &src, &m, &error_abort));
    sig = eif_image_read_signature(image, &src, &error_abort);
    return eif_signature_verify(sig, m.pcr0, when);
}

/* @expected: one letter per check: g good, b bad, u unknown */
static void assert_verdicts(const EifVerification *v, const char *expected)
{
    char found[EIF_CHECK__MAX + 1] = "";

    for (int i = 0; i < EIF_CHECK__MAX; i++) {
        found[i] = eif_verdict_str(v->checks[i].verdict)[0];
        g_assert(!v->checks[i].reason ==
                 (v->checks[i].verdict == EIF_VERDICT_GOOD));
    }
    g_assert_cmpstr(found, ==, expected);
}

static void assert_bad(const EifVerification *v, EifCheckId id,
                       const char *reason, const char *hint)
{
    g_autofree char *message = g_strdup_printf("the image is not validly "
                                               "signed: %s", reason);
    Error *err = NULL;

    g_assert_cmpstr(v->checks[id].reason, ==, reason);
    g_assert(!eif_verification_check(v, &err));
    eif_maker_assert_error(err, message, hint);
}

static void assert_name(const EifCertificate *cert, guint i, const char *type,
                        const char *value)
{
    const EifName *name = &g_array_index(cert->issuer, EifName, i);

    g_assert_cmpuint(cert->issuer->len, >, i);
    g_assert_cmpstr(name->type, ==, type);
    g_assert_cmpstr(name->value, ==, value);
}

static void test_official(void)
{
    g_autoptr(EifSigner) signer = official();
    g_autoptr(EifVerification) v = verify(signer, NOW);

    assert_verdicts(v, "ggggg");
    g_assert(eif_verification_check(v, &error_abort));
    g_assert_cmpuint(v->cert->issuer->len, ==, 3);
    assert_name(v->cert, 0, "countryName", "US");
    assert_name(v->cert, 1, "organizationName", "golden");
    assert_name(v->cert, 2, "commonName", "eif-golden-p384");
    g_assert_cmpstr(v->cert->subject, ==, "CN=eif-golden-p384,O=golden,C=US");
    g_assert_cmpstr(v->cert->algorithm, ==, "ecdsa-with-SHA384");
    g_assert_cmpint(v->cert->not_before, ==, OFFICIAL_NOT_BEFORE);
    g_assert_cmpint(v->cert->not_after, ==, OFFICIAL_NOT_AFTER);
    g_assert_cmpuint(v->cert->signature->len, ==, 104);
    g_assert_cmpmem(v->cert->signature->data, 4, "\x30\x66\x02\x31", 4);
}

/* Names are not escaped, also where their text form would be */
static void test_authorities(void)
{
    static const struct {
        gnutls_pk_algorithm_t authority;
        const char *algorithm;
    } rows[] = {
        { GNUTLS_PK_RSA, "sha256WithRSAEncryption" },
        { GNUTLS_PK_ECDSA, "ecdsa-with-SHA256" },
        { GNUTLS_PK_EDDSA_ED25519, "ED25519" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const EifSignerParams params = {
            .authority = rows[i].authority,
            /* The last part comes first in the certificate */
            .issuer = "CN=gr\xc3\xbc\xc3\x9f,"
                      "O=Comma\\, Inc. \\+ \\\"Sons\\\",C=DE",
        };
        g_autoptr(EifSigner) signer = eif_signer_new(&params);
        g_autoptr(EifVerification) v = verify(signer, NOW);

        assert_verdicts(v, "ggggg");
        g_assert_cmpstr(v->cert->algorithm, ==, rows[i].algorithm);
        g_assert_cmpuint(v->cert->issuer->len, ==, 3);
        assert_name(v->cert, 0, "countryName", "DE");
        assert_name(v->cert, 1, "organizationName",
                    "Comma, Inc. + \"Sons\"");
        assert_name(v->cert, 2, "commonName", "gr\xc3\xbc\xc3\x9f");
    }
}

static void test_oids(void)
{
    g_assert_cmpstr(eif_oid_str("1.3.101.113"), ==, "ED448");
    g_assert_cmpstr(eif_oid_str("2.5.4.13"), ==, "description");
    g_assert_cmpstr(eif_oid_str("2.5.4.1"), ==, "2.5.4.1");
    g_assert_cmpstr(eif_oid_str(""), ==, "");
}

static void test_dates(void)
{
    static const struct {
        int64_t when;
        const char *verdicts;
        const char *reason;
    } rows[] = {
        { OFFICIAL_NOT_BEFORE - 1, "ggbgg", "the certificate is valid from "
          "2020-01-01T00:00:00Z on, it is 2019-12-31T23:59:59Z" },
        { OFFICIAL_NOT_BEFORE, "ggggg" },
        { OFFICIAL_NOT_AFTER, "ggggg" },
        { OFFICIAL_NOT_AFTER + 1, "ggbgg", "the certificate was valid until "
          "2049-12-31T23:59:59Z, it is 2050-01-01T00:00:00Z" },
        { INT64_MIN, "ggbgg", "the certificate is valid from "
          "2020-01-01T00:00:00Z on, it is -9223372036854775808 seconds after "
          "1970" },
    };
    g_autoptr(EifSigner) signer = official();

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(EifVerification) v = verify(signer, rows[i].when);

        assert_verdicts(v, rows[i].verdicts);
        if (rows[i].reason) {
            assert_bad(v, EIF_CHECK_DATES, rows[i].reason, "Set the clock");
        }
    }
}

static void test_expired(void)
{
    EifSignerParams params = { .not_after = NOW - 1 };
    g_autoptr(EifSigner) signer = eif_signer_new(&params);
    g_autoptr(EifVerification) v = verify(signer, NOW);

    assert_verdicts(v, "ggbgg");
    params.not_after = 0;
    params.not_before = NOW + 1;
    g_clear_pointer(&signer, eif_signer_free);
    g_clear_pointer(&v, eif_verification_free);
    signer = eif_signer_new(&params);
    v = verify(signer, NOW);
    assert_verdicts(v, "ggbgg");
}

static void test_curves(void)
{
    static const int curves[] = { 256, 384, 521 };

    for (size_t i = 0; i < ARRAY_SIZE(curves); i++) {
        EifSignerParams params = { .curve = curves[i] };
        g_autoptr(EifSigner) signer = eif_signer_new(&params);
        g_autoptr(EifVerification) v = verify(signer, NOW);

        assert_verdicts(v, "ggggg");
    }
}

static void test_wrong_algorithm(void)
{
    EifSignerParams params = { .curve = 384, .algorithm = -7 };
    g_autoptr(EifSigner) signer = eif_signer_new(&params);
    g_autoptr(EifVerification) v = verify(signer, NOW);

    assert_verdicts(v, "gggbg");
    assert_bad(v, EIF_CHECK_SIGNATURE, "algorithm ES256 of the signature does "
               "not belong to a key on curve SECP384R1", HINT);
}

static void test_other_image(void)
{
    EifSignerParams params = { .pcr0 = EXAMPLE_PCR1 };
    g_autoptr(EifSigner) signer = eif_signer_new(&params);
    g_autoptr(EifVerification) v = verify(signer, NOW);

    assert_verdicts(v, "ggggb");
    assert_bad(v, EIF_CHECK_PAYLOAD, "the signature is for an image with PCR0 "
               EXAMPLE_PCR1 ", this one has " EXAMPLE_PCR0, HINT);
}

static void test_other_key(void)
{
    g_autoptr(EifSigner) signer = eif_signer_new(NULL);
    g_autoptr(EifSigner) other = eif_signer_new(NULL);
    g_autoptr(EifVerification) v = NULL;

    g_free(signer->pem);
    signer->pem = g_strdup(other->pem);
    v = verify(signer, NOW);
    assert_verdicts(v, "gggbg");
    g_assert_true(g_str_has_prefix(v->checks[EIF_CHECK_SIGNATURE].reason,
                                   "the signature was not made with the key "
                                   "of the certificate: "));
}

static void test_bad_certificate(void)
{
    g_autoptr(EifSigner) signer = official();
    g_autoptr(EifVerification) v = NULL;

    g_free(signer->pem);
    signer->pem = g_strdup(EXAMPLE_PEM); /* DER, but no certificate */
    v = verify(signer, NOW);
    assert_verdicts(v, "gbuug");
    g_assert_true(g_str_has_prefix(v->checks[EIF_CHECK_CERTIFICATE].reason,
                                   "the certificate is broken: "));
    g_assert_cmpstr(v->checks[EIF_CHECK_DATES].reason, ==,
                    v->checks[EIF_CHECK_CERTIFICATE].reason);
}

/* Every byte of the message matters */
static void test_flips(void)
{
    g_autoptr(EifSigner) signer = official();

    for (guint i = 0; i < signer->cose->len; i++) {
        g_autoptr(EifVerification) v = NULL;
        uint8_t good = signer->cose->data[i];

        signer->cose->data[i] ^= 1 << i % 8;
        v = verify(signer, NOW);
        g_assert(!eif_verification_check(v, NULL));
        signer->cose->data[i] = good;
    }
}

static void assert_only_certificate_matters(const EifSignature *sig)
{
    g_autoptr(EifVerification) v = eif_signature_verify(sig, (uint8_t[48]) {},
                                                        NOW);

    g_assert_cmpint(v->checks[EIF_CHECK_FORM].verdict, ==, EIF_VERDICT_GOOD);
    g_assert_cmpint(v->checks[EIF_CHECK_PAYLOAD].verdict, ==, EIF_VERDICT_BAD);
    g_assert(!v->cert == (v->checks[EIF_CHECK_CERTIFICATE].verdict !=
                          EIF_VERDICT_GOOD));
}

/* Any certificate at all, each in memory of exactly its length */
static void test_certificate_flips(void)
{
    g_autoptr(EifSigner) signer = official();
    g_autoptr(GByteArray) section = eif_maker_signature_bytes(
        signer->pem, signer->cose->data, signer->cose->len);
    g_autoptr(EifSignature) sig = eif_signature_decode(
        section->data, section->len, &error_abort);
    g_autoptr(GByteArray) whole = g_steal_pointer(&sig->cert_der);

    for (guint i = 0; i < whole->len; i++) {
        uint8_t *copy = g_memdup2(whole->data, whole->len);

        copy[i] ^= 1 << i % 8;
        sig->cert_der = g_byte_array_new_take(copy, whole->len);
        assert_only_certificate_matters(sig);
        g_clear_pointer(&sig->cert_der, g_byte_array_unref);
    }
    for (guint len = 1; len < whole->len; len++) {
        sig->cert_der = g_byte_array_new_take(g_memdup2(whole->data, len),
                                              len);
        assert_only_certificate_matters(sig);
        g_assert(!eif_certificate_decode(sig->cert_der, NULL));
        g_clear_pointer(&sig->cert_der, g_byte_array_unref);
    }
}

static void test_truncated(void)
{
    g_autoptr(EifSigner) signer = official();
    guint whole = signer->cose->len;

    for (guint len = 1; len < whole; len++) {
        g_autofree uint8_t *copy = g_memdup2(signer->cose->data, len);
        EifCose cose;
        Error *err = NULL;

        g_assert(!eif_cose_decode(copy, len, &cose, &err));
        error_free(err);
    }
}

typedef struct Row {
    const char *name;
    const char *hex;
    const char *error;
} Row;

static const Row bad_cose[] = {
    { "empty", "", BROKEN "a list of four expected at byte 0" },
    { "three", "83", BROKEN "a list of four expected at byte 0" },
    { "tagged", "d28443a10126a0", BROKEN "a list of four expected at byte 0" },
    { "header-text", "8463", BROKEN "a protected header expected at byte 1" },
    { "header-long", "845bffffffffffffffff",
      BROKEN "a protected header expected at byte 1" },
    { "header-empty", "8440", BROKEN "a map of the algorithm alone expected at "
      "byte 2" },
    { "header-key", "8443a10226", BROKEN "a map of the algorithm alone "
      "expected at byte 2" },
    { "header-tail", "8444a1012600", BROKEN "a map of the algorithm alone "
      "expected at byte 2" },
    { "rsa", "8445a101390100", "algorithm -257 of the COSE_Sign1 message is "
      "not ES256 (-7), ES384 (-35) or ES512 (-36)" },
    { "wide", "844ba1013bffffffffffffffff", "algorithm -18446744073709551615 "
      "of the COSE_Sign1 message is not ES256 (-7), ES384 (-35) or ES512 "
      "(-36)" },
    { "unprotected", "8443a10126a10126", BROKEN "an empty map expected at byte "
      "5" },
    { "no-payload", "8443a10126a0f6", BROKEN "a payload expected at byte 6" },
    { "payload-list", "8443a10126a04180", BROKEN "a map of two entries "
      "expected at byte 7" },
    { "payload-key", "8443a10126a04fa26e72656769737465725f696e64657900",
      BROKEN "\"register_index\": 0 expected at byte 8" },
};

static void test_bad_cose(const void *opaque)
{
    const Row *row = opaque;
    g_autoptr(GByteArray) bytes = from_hex(row->hex);
    g_autofree uint8_t *copy = g_memdup2(bytes->data, bytes->len);
    EifCose cose;
    Error *err = NULL;

    g_assert(!eif_cose_decode(copy, bytes->len, &cose, &err));
    eif_maker_assert_error(err, row->error, NULL);
}

static void test_bad_form(void)
{
    g_autoptr(EifSigner) signer = official();
    g_autoptr(EifVerification) v = NULL;

    g_byte_array_set_size(signer->cose, signer->cose->len - 1);
    v = verify(signer, NOW);
    assert_verdicts(v, "bgguu");
    assert_bad(v, EIF_CHECK_FORM, BROKEN "a signature expected at byte 135",
               HINT);
    g_assert_cmpstr(v->checks[EIF_CHECK_PAYLOAD].reason, ==,
                    v->checks[EIF_CHECK_FORM].reason);
}

/* Without GnuTLS the verdicts are like this */
static void test_unknown(void)
{
    EifVerification v = { 0 };
    Error *err = NULL;

    for (int i = 0; i < EIF_CHECK__MAX; i++) {
        v.checks[i].verdict = EIF_VERDICT_GOOD;
    }
    v.checks[EIF_CHECK_CERTIFICATE].verdict = EIF_VERDICT_UNKNOWN;
    v.checks[EIF_CHECK_CERTIFICATE].reason = (char *)"cannot verify";
    g_assert(!eif_verification_check(&v, &err));
    eif_maker_assert_error(err, "cannot verify", "--enable-gnutls");
    err = NULL;
    v.checks[EIF_CHECK_PAYLOAD].verdict = EIF_VERDICT_BAD;
    v.checks[EIF_CHECK_PAYLOAD].reason = (char *)"other image";
    g_assert(!eif_verification_check(&v, &err));
    eif_maker_assert_error(err, "the image is not validly signed: other image",
                           HINT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (size_t i = 0; i < ARRAY_SIZE(bad_cose); i++) {
        g_autofree char *path = g_strdup_printf("/eif/verify/bad-cose/%s",
                                                bad_cose[i].name);

        g_test_add_data_func(path, &bad_cose[i], test_bad_cose);
    }
    g_test_add_func("/eif/verify/truncated", test_truncated);
    g_test_add_func("/eif/verify/unknown", test_unknown);
    g_test_add_func("/eif/verify/official", test_official);
    g_test_add_func("/eif/verify/dates", test_dates);
    g_test_add_func("/eif/verify/expired", test_expired);
    g_test_add_func("/eif/verify/curves", test_curves);
    g_test_add_func("/eif/verify/authorities", test_authorities);
    g_test_add_func("/eif/verify/oids", test_oids);
    g_test_add_func("/eif/verify/wrong-algorithm", test_wrong_algorithm);
    g_test_add_func("/eif/verify/other-image", test_other_image);
    g_test_add_func("/eif/verify/other-key", test_other_key);
    g_test_add_func("/eif/verify/bad-certificate", test_bad_certificate);
    g_test_add_func("/eif/verify/flips", test_flips);
    g_test_add_func("/eif/verify/certificate-flips", test_certificate_flips);
    g_test_add_func("/eif/verify/bad-form", test_bad_form);
    return g_test_run();
}
