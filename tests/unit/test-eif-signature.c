/*
 * Enclave images: decoding of the signature section
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-image.h"
#include "tests/nitro/eif-maker.h"

#define BROKEN "the signature section of the image is broken: "
#define HINT "Sign the image again: 'qemu-eif sign' replaces the signature"
#define CERT_KEY "\x73signing_certificate"
#define SIG_KEY "\x69signature"

typedef struct Row {
    const char *name;
    const char *data;
    size_t len;
    const char *error;
} Row;

/* Literal with NUL bytes in it */
#define DATA(s) .data = s, .len = sizeof(s) - 1

static const Row bad_cbor[] = {
    { "nothing", DATA(""),
      BROKEN "a list of at least one signature expected at byte 0" },
    { "empty-list", DATA("\x80"),
      BROKEN "a list of at least one signature expected at byte 0" },
    { "endless-list", DATA("\x9f\xff"),
      BROKEN "a list of at least one signature expected at byte 0" },
    { "reserved-length", DATA("\x9c\0\0\0\0\0\0\0\0"),
      BROKEN "a list of at least one signature expected at byte 0" },
    { "reserved-length-16", DATA("\x9c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\xa2"),
      BROKEN "a list of at least one signature expected at byte 0" },
    { "cut-length", DATA("\x9b\0\0\0\0\0\0\0"),
      BROKEN "a list of at least one signature expected at byte 0" },
    { "text", DATA("\x61" "a"),
      BROKEN "a list of at least one signature expected at byte 0" },
    { "list-only", DATA("\x81"), BROKEN "a map of two entries expected at "
      "byte 1" },
    { "empty-map", DATA("\x81\xa0"), BROKEN "a map of two entries expected at "
      "byte 1" },
    { "map-of-3", DATA("\x81\xa3" CERT_KEY), BROKEN "a map of two entries "
      "expected at byte 1" },
    { "endless-map", DATA("\x81\xbf" CERT_KEY), BROKEN "a map of two entries "
      "expected at byte 1" },
    { "other-key", DATA("\x81\xa2\x73signing_certificatE"),
      BROKEN "key \"signing_certificate\" expected at byte 2" },
    { "keys-swapped", DATA("\x81\xa2" SIG_KEY "\x81\x01"),
      BROKEN "key \"signing_certificate\" expected at byte 2" },
    { "key-cut", DATA("\x81\xa2\x73signing_certificat"),
      BROKEN "key \"signing_certificate\" expected at byte 2" },
    { "key-endless", DATA("\x81\xa2\x7b\xff\xff\xff\xff\xff\xff\xff\xff" "s"),
      BROKEN "key \"signing_certificate\" expected at byte 2" },
    { "no-value", DATA("\x81\xa2" CERT_KEY),
      BROKEN "a list of bytes expected at byte 22" },
    { "byte-string", DATA("\x81\xa2" CERT_KEY "\x43" "abc"),
      BROKEN "a list of bytes expected at byte 22" },
    { "no-bytes", DATA("\x81\xa2" CERT_KEY "\x80"),
      BROKEN "a list of bytes expected at byte 22" },
    { "too-many-bytes", DATA("\x81\xa2" CERT_KEY "\x9a\xff\xff\xff\xff\x01"),
      BROKEN "a list of bytes expected at byte 22" },
    { "count-wraps", DATA("\x81\xa2" CERT_KEY
                          "\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
      BROKEN "a list of bytes expected at byte 22" },
    { "byte-256", DATA("\x81\xa2" CERT_KEY "\x82\x01\x19\x01\x00"),
      BROKEN "an integer of 8 bits expected at byte 24" },
    { "byte-wide", DATA("\x81\xa2" CERT_KEY "\x81\x19\x00\x01" SIG_KEY),
      BROKEN "an integer of 8 bits expected at byte 23" },
    { "byte-negative", DATA("\x81\xa2" CERT_KEY "\x81\x20" SIG_KEY),
      BROKEN "an integer of 8 bits expected at byte 23" },
    { "byte-cut", DATA("\x81\xa2" CERT_KEY "\x81\x18"),
      BROKEN "an integer of 8 bits expected at byte 23" },
    { "no-second-key", DATA("\x81\xa2" CERT_KEY "\x81\x01"),
      BROKEN "key \"signature\" expected at byte 24" },
    { "no-signature", DATA("\x81\xa2" CERT_KEY "\x81\x01" SIG_KEY "\x80"),
      BROKEN "a list of bytes expected at byte 34" },
    { "tail", DATA("\x81\xa2" CERT_KEY "\x81\x01" SIG_KEY "\x81\x01\xf6"),
      BROKEN "the end expected at byte 36" },
    { "no-second-entry",
      DATA("\x82\xa2" CERT_KEY "\x81\x01" SIG_KEY "\x81\x01"),
      BROKEN "a map of two entries expected at byte 36" },
    { "bad-second-entry",
      DATA("\x82\xa2" CERT_KEY "\x81\x01" SIG_KEY "\x81\x01\x01"),
      BROKEN "a map of two entries expected at byte 36" },
};

/* Decode a copy that ends where its memory ends */
static EifSignature *decode_exact(const void *data, size_t len, Error **errp)
{
    g_autofree uint8_t *copy = g_memdup2(data, len);

    return eif_signature_decode(copy, len, errp);
}

static void test_bad_cbor(const void *opaque)
{
    const Row *row = opaque;
    Error *err = NULL;

    g_assert_null(decode_exact(row->data, row->len, &err));
    eif_maker_assert_error(err, row->error, HINT);
}

static const struct {
    const char *name;
    const char *pem;
} bad_pem[] = {
    { "no-marker", "MAMCAQU=" },
    { "no-end", "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n" },
    { "end-first", "-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----" },
    { "other-marker", "-----BEGIN PUBLIC KEY-----\nMAMCAQU=\n"
                      "-----END PUBLIC KEY-----\n" },
    { "no-body", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n" },
    { "not-base64", "-----BEGIN CERTIFICATE-----\nMAM*AQU=\n"
                    "-----END CERTIFICATE-----\n" },
    { "no-sequence", "-----BEGIN CERTIFICATE-----\nAgEF\n" /* 02 01 05 */
                     "-----END CERTIFICATE-----\n" },
    { "der-cut", "-----BEGIN CERTIFICATE-----\nMAMCAQ==\n" /* 30 03 02 01 */
                 "-----END CERTIFICATE-----\n" },
    { "der-tail", "-----BEGIN CERTIFICATE-----\nMAMCAQUA\n" /* .. 05 00 */
                  "-----END CERTIFICATE-----\n" },
    { "der-tail-x509", "-----BEGIN X509 CERTIFICATE-----\nMAMCAQUA\n"
                       "-----END X509 CERTIFICATE-----\n" },
    { "trusted-cut", "-----BEGIN TRUSTED CERTIFICATE-----\nMAMCAQ==\n"
                     "-----END TRUSTED CERTIFICATE-----\n" },
    { "two-labels", "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n"
                    "-----END X509 CERTIFICATE-----\n" },
    { "der-endless", "-----BEGIN CERTIFICATE-----\nMIACAQU=\n" /* 30 80 */
                     "-----END CERTIFICATE-----\n" },
    { "der-length-cut", "-----BEGIN CERTIFICATE-----\nMII=\n" /* 30 82 */
                        "-----END CERTIFICATE-----\n" },
    { "der-length-long", "-----BEGIN CERTIFICATE-----\n"
                         "MIQAAAAA\n" /* 30 84 00 00 00 00 */
                         "-----END CERTIFICATE-----\n" },
};

static void test_bad_pem(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad_pem); i++) {
        g_autoptr(GByteArray) data = eif_maker_signature(bad_pem[i].pem, "S");
        g_autofree char *message = g_strdup_printf(
            "the certificate in the signature section of the image (%zu "
            "bytes) is not an X.509 certificate in PEM form",
            strlen(bad_pem[i].pem));
        Error *err = NULL;

        g_test_message("%s", bad_pem[i].name);
        g_assert_null(decode_exact(data->data, data->len, &err));
        eif_maker_assert_error(err, message, HINT);
    }
}

static void assert_der(const char *pem, const void *der, size_t len)
{
    g_autoptr(GByteArray) data = eif_maker_signature(pem, "COSE \xff");
    g_autoptr(EifSignature) sig = decode_exact(data->data, data->len,
                                               &error_abort);

    g_assert_cmpmem(sig->cert_der->data, sig->cert_der->len, der, len);
    g_assert_cmpmem(sig->cose->data, sig->cose->len, "COSE \xff", 6);
}

static void test_good_pem(void)
{
    g_autofree char *long_pem = NULL;
    g_autofree char *base64 = NULL;
    uint8_t der[304] = { 0x30, 0x82, 0x01, 0x2c };

    assert_der(EXAMPLE_PEM, "\x30\x03\x02\x01\x05", 5);
    assert_der("text before\r\n-----BEGIN CERTIFICATE-----\r\nMAM\r\n CAQU=\t"
               "-----END CERTIFICATE-----", "\x30\x03\x02\x01\x05", 5);
    /* 30 81 03 .. */
    assert_der("-----BEGIN X509 CERTIFICATE-----\nMAMCAQU=\n"
               "-----END X509 CERTIFICATE-----\n", "\x30\x03\x02\x01\x05", 5);
    /* what it is trusted for is no part of the certificate */
    assert_der("-----BEGIN TRUSTED CERTIFICATE-----\nMAMCAQUwAA==\n"
               "-----END TRUSTED CERTIFICATE-----\n",
               "\x30\x03\x02\x01\x05", 5);
    assert_der("-----BEGIN TRUSTED CERTIFICATE-----\nMAMCAQU=\n"
               "-----END TRUSTED CERTIFICATE-----\n",
               "\x30\x03\x02\x01\x05", 5);
    assert_der("-----BEGIN CERTIFICATE-----\nMIEDAgEF\n"
               "-----END CERTIFICATE-----\n", "\x30\x81\x03\x02\x01\x05", 6);
    base64 = g_base64_encode(der, sizeof(der));
    long_pem = g_strdup_printf("-----BEGIN CERTIFICATE-----\n%s\n"
                               "-----END CERTIFICATE-----\n", base64);
    assert_der(long_pem, der, sizeof(der));
}

static void test_second_entry_ignored(void)
{
    g_autoptr(GByteArray) first = eif_maker_signature(EXAMPLE_PEM, "first");
    g_autoptr(GByteArray) second = eif_maker_signature("junk", "second");
    g_autoptr(EifSignature) sig = NULL;

    first->data[0] = 0x82;
    g_byte_array_append(first, second->data + 1, second->len - 1);
    sig = decode_exact(first->data, first->len, &error_abort);
    g_assert_cmpmem(sig->cert_der->data, sig->cert_der->len,
                    "\x30\x03\x02\x01\x05", 5);
    g_assert_cmpmem(sig->cose->data, sig->cose->len, "first", 5);
}

static void test_truncated(void)
{
    g_autoptr(GByteArray) data = eif_maker_signature(EXAMPLE_PEM, "COSE");

    for (guint len = 0; len < data->len; len++) {
        Error *err = NULL;

        g_assert_null(decode_exact(data->data, len, &err));
        g_assert_nonnull(strstr(error_get_pretty(err), BROKEN));
        error_free(err);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (size_t i = 0; i < ARRAY_SIZE(bad_cbor); i++) {
        g_autofree char *path = g_strdup_printf("/eif/signature/bad/%s",
                                                bad_cbor[i].name);

        g_test_add_data_func(path, &bad_cbor[i], test_bad_cbor);
    }
    g_test_add_func("/eif/signature/bad-pem", test_bad_pem);
    g_test_add_func("/eif/signature/good-pem", test_good_pem);
    g_test_add_func("/eif/signature/second-ignored",
                    test_second_entry_ignored);
    g_test_add_func("/eif/signature/truncated", test_truncated);
    return g_test_run();
}
