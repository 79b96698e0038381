/*
 * Enclave images: signatures that are made, and put into images that exist
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <gnutls/gnutls.h>
#include "crypto/init.h"
#include "hw/core/eif-sign.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/eif-signer.h"

static GByteArray *bytes_of(const char *text)
{
    return g_byte_array_append(g_byte_array_new(), (const uint8_t *)text,
                               strlen(text));
}

static EifSigningKey *new_key(const EifSigner *signer, Error **errp)
{
    g_autoptr(GByteArray) cert = bytes_of(signer->pem);
    g_autoptr(GByteArray) key = bytes_of(signer->key_pem);

    return eif_signing_key_new(cert, key, errp);
}

static GByteArray *sign_example(const EifSigningKey *key)
{
    uint8_t pcr0[EIF_PCR_LEN];

    g_assert_true(eif_pcr_parse(EXAMPLE_PCR0, pcr0, &error_abort));
    return eif_sign_pcr0(key, pcr0, &error_abort);
}

static void assert_good(const GByteArray *section)
{
    g_autoptr(EifSignature) sig = eif_signature_decode(
        section->data, section->len, &error_abort);
    g_autoptr(EifVerification) v = NULL;
    uint8_t pcr0[EIF_PCR_LEN];

    g_assert_true(eif_pcr_parse(EXAMPLE_PCR0, pcr0, &error_abort));
    v = eif_signature_verify(sig, pcr0, EIF_SIGNER_NOW);
    g_assert_true(eif_verification_check(v, &error_abort));
}

/* The test's own signer makes the same message, but for r and s */
static void test_sections(void)
{
    static const int curves[] = { 256, 384, 521 };

    for (size_t i = 0; i < ARRAY_SIZE(curves); i++) {
        EifSignerParams params = { .curve = curves[i] };
        g_autoptr(EifSigner) signer = eif_signer_new(&params);
        g_autoptr(EifSigningKey) key = new_key(signer, &error_abort);
        g_autoptr(GByteArray) section = sign_example(key);
        g_autoptr(EifSignature) sig = eif_signature_decode(
            section->data, section->len, &error_abort);
        size_t numbers = DIV_ROUND_UP(curves[i], 8) * 2;

        assert_good(section);
        g_assert_cmpmem(sig->cose->data, sig->cose->len - numbers,
                        signer->cose->data, signer->cose->len - numbers);
    }
}

static void test_same(void)
{
    g_autoptr(EifSigner) signer = eif_signer_new(NULL);
    g_autoptr(EifSigningKey) key = new_key(signer, &error_abort);
    g_autoptr(GByteArray) first = sign_example(key);

    if (!gnutls_check_version("3.7.0")) {
        g_test_skip("GnuTLS before 3.7 signs with random nonces only");
        return;
    }
    for (int i = 0; i < 8; i++) {
        g_autoptr(GByteArray) again = sign_example(key);

        g_assert_cmpmem(first->data, first->len, again->data, again->len);
    }
}

static void test_no_pair(void)
{
    g_autoptr(EifSigner) one = eif_signer_new(NULL);
    g_autoptr(EifSigner) other = eif_signer_new(NULL);
    Error *err = NULL;

    g_free(one->key_pem);
    one->key_pem = g_strdup(other->key_pem);
    g_assert_null(new_key(one, &err));
    eif_maker_assert_error(err, "the certificate does not belong to the "
                           "private key", "openssl req");
    err = NULL;
    g_free(one->key_pem);
    one->key_pem = g_strndup(other->key_pem, strlen(other->key_pem) / 2);
    g_assert_null(new_key(one, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "cannot be read"));
    error_free(err);
}

/* Everything but the signature, with the place of the ramdisks in the file */
static void assert_rest(const EifImage *image, const GByteArray *bytes)
{
    EifMeasurements m;
    EifSource src;
    g_autofree char *pcr0 = NULL;

    eif_source_init_buffer(&src, bytes->data, bytes->len);
    g_assert_cmpuint(image->image_size, ==, bytes->len);
    g_assert_true(eif_image_verify_crc(image, &src, &error_abort));
    g_assert_true(eif_image_measure(image, &src, &m, &error_abort));
    pcr0 = eif_pcr_str(m.pcr0);
    g_assert_cmpstr(pcr0, ==, EXAMPLE_PCR0);
}

static GByteArray *resign(const GByteArray *bytes, const GByteArray *section)
{
    g_autoptr(EifImage) image = eif_image_parse_buffer(bytes->data, bytes->len,
                                                       &error_abort);
    GByteArray *result = g_byte_array_new();
    EifSource src;

    eif_source_init_buffer(&src, bytes->data, bytes->len);
    g_byte_array_set_size(result, eif_resign_size(image, section->len,
                                                  &error_abort));
    g_assert_true(eif_resign_write(image, &src, section, result->data,
                                   &error_abort));
    return result;
}

/* Wherever it stands, and with whatever length */
static void test_resign(void)
{
    static const char *const layouts[] = {
        "KCMRr", "KCMRrS", "KCSMRr", "SKCMRr", "KCMRSr",
    };
    static const char *const messages[] = { "cose", "x", "longer than it was" };

    for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
        g_autoptr(GByteArray) bytes = eif_maker_image(4, 1, layouts[i]);

        for (size_t j = 0; j < ARRAY_SIZE(messages); j++) {
            g_autoptr(GByteArray) section = eif_maker_signature(
                EXAMPLE_PEM, messages[j]);
            g_autoptr(GByteArray) result = resign(bytes, section);
            g_autoptr(EifImage) image = eif_image_parse_buffer(
                result->data, result->len, &error_abort);

            g_assert_true(image->has_signature);
            g_assert_cmpint(image->nr_sections, ==, 6);
            g_assert_cmpint(image->arch, ==, EIF_ARCH_AARCH64);
            assert_rest(image, result);
            g_assert_nonnull(memmem(result->data, result->len, section->data,
                                    section->len));
        }
    }
}

/* The same as an image that had the section from the start */
static void test_resign_bytes(void)
{
    g_autoptr(GByteArray) plain = eif_maker_image(4, 0, EXAMPLE);
    g_autoptr(GByteArray) want = eif_maker_image(4, 0, EXAMPLE "S");
    g_autoptr(EifImage) image = eif_image_parse_buffer(want->data, want->len,
                                                       &error_abort);
    const EifSection *s = &image->sections[5];
    g_autoptr(GByteArray) section = g_byte_array_append(
        g_byte_array_new(), want->data + s->data_offset, s->size);
    g_autoptr(GByteArray) other = eif_maker_signature(EXAMPLE_PEM, "another");
    g_autoptr(GByteArray) once = resign(plain, section);
    g_autoptr(GByteArray) between = resign(once, other);
    g_autoptr(GByteArray) twice = resign(between, section);

    g_assert_cmpmem(once->data, once->len, want->data, want->len);
    g_assert_cmpmem(twice->data, twice->len, want->data, want->len);
}

static void refuse(GByteArray *bytes, size_t len, const char *message,
                   const char *hint)
{
    g_autoptr(EifImage) image = eif_image_parse_buffer(bytes->data, bytes->len,
                                                       &error_abort);
    Error *err = NULL;

    g_assert_cmpuint(eif_resign_size(image, len, &err), ==, 0);
    eif_maker_assert_error(err, message, hint);
    g_byte_array_unref(bytes);
}

static void test_refusals(void)
{
    g_autoptr(GString) layout = g_string_new(EXAMPLE);

    while (layout->len < EIF_MAX_SECTIONS) {
        g_string_append_c(layout, 'r');
    }
    refuse(eif_maker_image(2, 0, "KCR"), 100, "an image of version 2 cannot be "
           "signed, version 3 is the first that can", "Build the image anew");
    refuse(eif_maker_image(4, 0, layout->str), 100, "the image has 32 sections "
           "already, there is no room for a signature", "fewer ramdisks");
    refuse(eif_maker_image(4, 0, EXAMPLE), EIF_SIGNATURE_MAX + 1,
           "the signature section would have 32769 bytes, at most 32768 are "
           "allowed", "shorter certificate");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qcrypto_init(&error_abort);

    g_test_add_func("/eif/sign/sections", test_sections);
    g_test_add_func("/eif/sign/same", test_same);
    g_test_add_func("/eif/sign/no-pair", test_no_pair);
    g_test_add_func("/eif/sign/resign", test_resign);
    g_test_add_func("/eif/sign/resign/bytes", test_resign_bytes);
    g_test_add_func("/eif/sign/refusals", test_refusals);
    return g_test_run();
}
