/*
 * Fuzz target: decode, verify and show an attestation document
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is a document.  What is printed of it is qemu-nsm's own code.
 */

#include "qemu/osdep.h"
#include "hw/core/nsm-verify.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "fuzz.h"
#include "tests/nitro/nsm-maker.h"
#include "tools/nsm/document.h"

/* Nobody's: all documents are refused, which must not end the other checks */
static const uint8_t no_root[NSM_FINGERPRINT_LEN];

static void check_bytes(NSMBytes bytes, const uint8_t *data, size_t size)
{
    if (bytes.data) {
        g_assert_true(bytes.data >= data && bytes.data <= data + size);
        g_assert_cmpuint(bytes.len, <=, data + size - bytes.data);
    }
}

static void check_claims(const NSMDocument *claims, const uint8_t *data,
                         size_t size)
{
    g_assert_cmpuint(claims->nr_cabundle, >=, 1);
    g_assert_cmpuint(claims->nr_cabundle, <=, NSM_CABUNDLE_MAX);
    for (unsigned i = 0; i <= claims->nr_cabundle; i++) {
        NSMBytes der = nsm_document_certificate(claims, i);

        g_assert_nonnull(der.data);
        g_assert_cmpuint(der.len, <=, NSM_DOC_CERTIFICATE_MAX);
        check_bytes(der, data, size);
    }
    for (unsigned i = 0; i < NSM_DOC_MAX_PCRS; i++) {
        check_bytes(claims->pcrs[i], data, size);
    }
    check_bytes(claims->module_id, data, size);
    check_bytes(claims->public_key, data, size);
    check_bytes(claims->user_data, data, size);
    check_bytes(claims->nonce, data, size);
}

/* Whatever a document claims, what is shown is JSON */
static void check_shown(const NSMDocument *claims)
{
    g_autoptr(JSONWriter) w = json_writer_new(false);
    QObject *value;

    json_writer_start_object(w, NULL);
    nsm_tool_write_claims(w, claims);
    json_writer_end_object(w);
    value = qobject_from_json(json_writer_get(w), &error_abort);
    g_assert_nonnull(qobject_to(QDict, value));
    qobject_unref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    NSMExpected expected = { .root = no_root, .when_made = true };
    g_autoptr(NSMVerification) v = NULL;
    NSMCheckId cause;

    v = nsm_document_verify(data, size, &expected);
    for (int i = 0; i < NSM_CHECK__MAX; i++) {
        const EifCheck *check = &v->checks[i];

        g_assert_true(!check->reason == (check->verdict == EIF_VERDICT_GOOD));
    }
    g_assert_true(nsm_verification_cause(v, &cause));
    g_assert_true(v->decoded == (cause != NSM_CHECK_FORM));
    if (v->decoded) {
        check_claims(&v->claims, data, size);
        check_shown(&v->claims);
        nsm_chain_check(&v->claims, NULL);
    }
    return 0;
}

static void seed_document(FuzzSeed *seed, const NSMMaker *maker,
                          const char *name, NSMMakerFields fields)
{
    g_autoptr(GByteArray) doc = nsm_maker_document(maker, &fields);

    seed(name, doc->data, doc->len);
}

void fuzz_seeds(FuzzSeed *seed)
{
    g_autoptr(NSMMaker) maker = nsm_maker_new(NSM_MAKER_GOOD);
    g_autoptr(GByteArray) tagged = nsm_maker_document(maker,
                                                      &(NSMMakerFields) { });

    seed_document(seed, maker, "plain", (NSMMakerFields) { });
    seed_document(seed, maker, "debug", (NSMMakerFields) { .debug = true });
    seed_document(seed, maker, "full", (NSMMakerFields) {
        .indefinite = true, .pcr16 = true, .public_key = "key",
        .user_data = "", .nonce = "nonce",
    });
    g_byte_array_prepend(tagged, (const uint8_t *)"\xd2", 1);
    seed("tagged", tagged->data, tagged->len);
}
