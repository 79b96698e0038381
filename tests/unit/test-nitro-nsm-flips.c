/*
 * Attestation documents: one bit flipped, anywhere
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Every such document is refused, and for a cause that fits the place: a
 * certificate breaks the chain, a value the signature, structure the form or
 * the signature.  Documents are made here; with EIF_VECTORS set to a
 * directory that holds documents made by AWS, those are flipped, too.
 *
 * A quick run flips one bit of each byte of structure, and of some of the
 * bytes of values and certificates.  With "-m slow" it is each bit.
 */

#include "qemu/osdep.h"
#include "hw/core/nsm-verify.h"
#include "tests/nitro/nsm-maker.h"

#define CERTIFICATE_STEP 13
#define VALUE_STEP 5
#define FORM (1u << NSM_CHECK_FORM)
#define CHAIN (1u << NSM_CHECK_CHAIN)
#define SIGNATURE (1u << NSM_CHECK_SIGNATURE)

static bool lies_in(const uint8_t *at, NSMBytes bytes)
{
    return at >= bytes.data && at < bytes.data + bytes.len;
}

static bool is_certificate(const NSMDocument *claims, const uint8_t *at)
{
    for (unsigned i = 0; i <= claims->nr_cabundle; i++) {
        if (lies_in(at, nsm_document_certificate(claims, i))) {
            return true;
        }
    }
    return false;
}

/* Bytes of any value are allowed there */
static bool is_value(const NSMDocument *claims, const uint8_t *at)
{
    for (unsigned i = 0; i < NSM_DOC_MAX_PCRS; i++) {
        if (lies_in(at, claims->pcrs[i])) {
            return true;
        }
    }
    return lies_in(at, claims->public_key) ||
           lies_in(at, claims->user_data) || lies_in(at, claims->nonce) ||
           lies_in(at, (NSMBytes) { claims->cose.signature,
                                    claims->cose.signature_len });
}

static unsigned causes_for(const NSMDocument *claims, const uint8_t *at)
{
    if (is_certificate(claims, at)) {
        return CHAIN;
    }
    return is_value(claims, at) ? SIGNATURE : FORM | SIGNATURE;
}

static void flip(uint8_t *data, size_t len, size_t at, unsigned bit,
                 const NSMExpected *expected, unsigned allowed)
{
    g_autoptr(NSMVerification) v = NULL;
    NSMCheckId cause;

    data[at] ^= 1u << bit;
    v = nsm_document_verify(data, len, expected);
    data[at] ^= 1u << bit;
    if (!nsm_verification_cause(v, &cause) || !(allowed & 1u << cause) ||
        v->checks[cause].verdict != EIF_VERDICT_BAD) {
        g_error("bit %u of byte %zu: %s", bit, at,
                nsm_verification_cause(v, &cause) ? v->checks[cause].reason
                                                  : "is good");
    }
}

static unsigned step_for(unsigned allowed)
{
    return allowed == CHAIN ? CERTIFICATE_STEP
           : allowed == SIGNATURE ? VALUE_STEP : 1;
}

static void flip_all(uint8_t *data, size_t len, const NSMExpected *expected)
{
    g_autoptr(NSMVerification) v = nsm_document_verify(data, len, expected);
    NSMCheckId cause;

    g_assert_false(nsm_verification_cause(v, &cause));
    for (size_t i = 0; i < len; i++) {
        unsigned allowed = causes_for(&v->claims, data + i);

        if (g_test_slow()) {
            for (unsigned bit = 0; bit < 8; bit++) {
                flip(data, len, i, bit, expected, allowed);
            }
        } else if (i % step_for(allowed) == 0) {
            flip(data, len, i, i / CERTIFICATE_STEP % 8, expected, allowed);
        }
    }
}

static void test_made_here(const void *opaque)
{
    const NSMMakerFields *fields = opaque;
    g_autoptr(NSMMaker) maker = nsm_maker_new(NSM_MAKER_GOOD);
    g_autoptr(GByteArray) doc = nsm_maker_document(maker, fields);
    GByteArray *der = nsm_maker_certificate(maker, NSM_MAKER_ROOT);
    uint8_t root[NSM_FINGERPRINT_LEN];
    NSMExpected expected = {
        .root = root, .when = NSM_MAKER_NOW, .allow_debug = fields->debug,
    };

    nsm_fingerprint((NSMBytes) { der->data, der->len }, root);
    flip_all(doc->data, doc->len, &expected);
}

static void test_made_by_aws(const void *opaque)
{
    const char *dir = getenv("EIF_VECTORS");
    g_autofree char *path = g_build_filename(dir ?: "", "attestation", opaque,
                                             NULL);
    g_autofree char *data = NULL;
    NSMExpected expected = { .allow_debug = true };
    NSMDocument claims;
    gsize len;

    if (!dir || !g_file_get_contents(path, &data, &len, NULL)) {
        g_test_skip("EIF_VECTORS names no directory with attestation documents "
                    "made by AWS");
        return;
    }
    /* Not the time of the document: that may be what is flipped */
    nsm_document_decode((uint8_t *)data, len, &claims, &error_abort);
    expected.when = claims.timestamp_ms / 1000;
    flip_all((uint8_t *)data, len, &expected);
}

int main(int argc, char **argv)
{
    static const NSMMakerFields plain = { .nonce = "nonce" };
    static const NSMMakerFields full = {
        .indefinite = true, .debug = true, .pcr16 = true,
        .public_key = "key", .user_data = "", .nonce = "nonce",
    };

    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/nsm/flips/plain", &plain, test_made_here);
    g_test_add_data_func("/nsm/flips/full", &full, test_made_here);
    g_test_add_data_func("/nsm/flips/aws-debug", "d1-debug.bin",
                         test_made_by_aws);
    g_test_add_data_func("/nsm/flips/aws-production", "d2-production.bin",
                         test_made_by_aws);
    g_test_add_data_func("/nsm/flips/aws-pcr16", "d3-pcr16.bin",
                         test_made_by_aws);
    return g_test_run();
}
