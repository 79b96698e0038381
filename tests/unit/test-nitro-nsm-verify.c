/*
 * Attestation documents: decode and verify them
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Documents are made here with certificates that are thrown away, each with
 * one thing wrong.  With EIF_VECTORS set to a directory that holds documents
 * made by AWS (attestation/NAME.bin and expected.json), those are verified
 * under AWS's root, too.
 */

#include "qemu/osdep.h"
#include "hw/core/nsm-verify.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qnull.h"
#include "qobject/qstring.h"
#include "tests/nitro/nsm-maker.h"

#define NOW NSM_MAKER_NOW
#define HOUR 3600
#define DAY (24 * HOUR)

static NSMMaker *maker; /* without fault */

static NSMExpected expect_of(const NSMMaker *of, uint8_t *root)
{
    GByteArray *der = nsm_maker_certificate(of, NSM_MAKER_ROOT);

    nsm_fingerprint((NSMBytes) { der->data, der->len }, root);
    return (NSMExpected) { .root = root, .when = NOW };
}

static void assert_good(const NSMVerification *v)
{
    NSMCheckId cause;

    if (nsm_verification_cause(v, &cause)) {
        g_error("%s: %s", nsm_check_str(cause), v->checks[cause].reason);
    }
}

static void assert_cause(const NSMVerification *v, NSMCheckId wanted,
                         const char *part)
{
    NSMCheckId cause;

    g_assert_true(nsm_verification_cause(v, &cause));
    if (cause != wanted || !strstr(v->checks[cause].reason, part)) {
        g_error("expected %s '%s', found %s: %s", nsm_check_str(wanted), part,
                nsm_check_str(cause), v->checks[cause].reason);
    }
}

/* Good ones */

typedef struct Good {
    const char *name;
    NSMMakerFields fields;
    bool tagged;
    unsigned nr_pcrs;
} Good;

static const Good good[] = {
    { "plain", { }, false, 16 },
    { "indefinite", { .indefinite = true }, false, 16 },
    { "tagged", { }, true, 16 },
    { "pcr16", { .pcr16 = true }, false, 17 },
    { "fields", { .public_key = "key", .user_data = "", .nonce = "n" }, false,
      16 },
};

static void assert_bytes(NSMBytes found, const char *text)
{
    g_assert_true(!found.data == !text);
    if (text) {
        g_assert_cmpmem(found.data, found.len, text, strlen(text));
    }
}

static void assert_pcrs(const NSMDocument *claims, unsigned n)
{
    for (unsigned i = 0; i < NSM_DOC_MAX_PCRS; i++) {
        g_assert_true(!!claims->pcrs[i].data == (i < n));
        if (i < n) {
            g_assert_cmpuint(claims->pcrs[i].len, ==, NSM_DOC_PCR_LEN);
            g_assert_cmpuint(claims->pcrs[i].data[47], ==,
                             NSM_MAKER_PCR_BYTE(i));
        }
    }
}

static void test_good(const void *opaque)
{
    const Good *row = opaque;
    g_autoptr(GByteArray) doc = nsm_maker_document(maker, &row->fields);
    uint8_t root[NSM_FINGERPRINT_LEN];
    NSMExpected expected = expect_of(maker, root);
    g_autoptr(NSMVerification) v = NULL;
    const NSMDocument *claims;

    if (row->tagged) {
        g_byte_array_prepend(doc, (const uint8_t *)"\xd2", 1);
    }
    v = nsm_document_verify(doc->data, doc->len, &expected);
    assert_good(v);
    claims = &v->claims;
    g_assert_true(claims->tagged == row->tagged);
    g_assert_true(claims->indefinite == row->fields.indefinite);
    g_assert_cmpuint(claims->timestamp_ms, ==, NOW * 1000ull + 123);
    g_assert_cmpuint(claims->nr_cabundle, ==, 4);
    assert_bytes(claims->module_id, "i-0123456789abcdef0-enc018bcfe568000001");
    assert_bytes(claims->public_key, row->fields.public_key);
    assert_bytes(claims->user_data, row->fields.user_data);
    assert_bytes(claims->nonce, row->fields.nonce);
    assert_pcrs(claims, row->nr_pcrs);
    g_assert_cmpmem(v->root, sizeof(v->root), root, sizeof(root));
    g_assert_cmpstr(v->certs[4]->subject, ==, "CN=leaf.test,O=Test,C=US");
}

/* Chains */

typedef struct ChainRow {
    const char *name;
    NSMMakerFault fault;
    NSMCheckId cause;
    const char *reason;
} ChainRow;

static const ChainRow chains[] = {
    { "ca-missing", NSM_MAKER_CA_MISSING, NSM_CHECK_CHAIN,
      "certificate 3 of 4 of the cabundle: it is not a CA" },
    { "path-short", NSM_MAKER_PATH_SHORT, NSM_CHECK_CHAIN,
      "certificate 2 of 4 of the cabundle: 2 CAs are below it, its path length "
      "allows 1" },
    { "usage-ca", NSM_MAKER_USAGE_CA, NSM_CHECK_CHAIN,
      "certificate 4 of 4 of the cabundle: its key usage does not allow it to "
      "sign certificates" },
    { "usage-leaf", NSM_MAKER_USAGE_LEAF, NSM_CHECK_CHAIN,
      "leaf certificate: its key usage does not allow it to sign documents" },
    { "leaf-ca", NSM_MAKER_LEAF_CA, NSM_CHECK_CHAIN,
      "leaf certificate: it is a CA" },
    { "issuer-name", NSM_MAKER_ISSUER_NAME, NSM_CHECK_CHAIN,
      "certificate 3 of 4 of the cabundle: its issuer is not the certificate 2 "
      "of 4 of the cabundle" },
    { "issuer-key", NSM_MAKER_ISSUER_KEY, NSM_CHECK_CHAIN,
      "the chain of certificates does not verify: " },
    { "curve", NSM_MAKER_CURVE, NSM_CHECK_SIGNATURE,
      "algorithm ES384 of the signature does not belong to a key on curve "
      "SECP256R1" },
};

static void test_chain(const void *opaque)
{
    const ChainRow *row = opaque;
    g_autoptr(NSMMaker) other = nsm_maker_new(row->fault);
    g_autoptr(GByteArray) doc = nsm_maker_document(other,
                                                   &(NSMMakerFields) { });
    uint8_t root[NSM_FINGERPRINT_LEN];
    NSMExpected expected = expect_of(other, root);
    g_autoptr(NSMVerification) v = nsm_document_verify(doc->data, doc->len,
                                                       &expected);

    assert_cause(v, row->cause, row->reason);
}

static void test_root(void)
{
    g_autoptr(NSMMaker) other = nsm_maker_new(NSM_MAKER_GOOD);
    g_autoptr(GByteArray) doc = nsm_maker_document(maker,
                                                   &(NSMMakerFields) { });
    uint8_t root[NSM_FINGERPRINT_LEN];
    NSMExpected expected = expect_of(other, root);
    g_autoptr(NSMVerification) v = nsm_document_verify(doc->data, doc->len,
                                                       &expected);
    g_autoptr(NSMVerification) aws = NULL;

    assert_cause(v, NSM_CHECK_CHAIN, "the root certificate has the "
                 "fingerprint ");
    g_assert_nonnull(v->certs[0]);
    expected.root = NULL;
    aws = nsm_document_verify(doc->data, doc->len, &expected);
    assert_cause(aws, NSM_CHECK_CHAIN, "trusted is 641a0321a3e244efe456463195d6"
                 "06317ed7cdcc3c1756e09893f3c68f79bb5b (AWS)");
}

/* A leaf of one chain under the CAs of another */
static void test_other_leaf(void)
{
    g_autoptr(NSMMaker) other = nsm_maker_new(NSM_MAKER_GOOD);
    g_autoptr(GByteArray) payload = nsm_maker_payload(maker,
                                                      &(NSMMakerFields) { });
    g_autoptr(GByteArray) doc = nsm_maker_sign(other, payload);
    uint8_t root[NSM_FINGERPRINT_LEN];
    NSMExpected expected = expect_of(maker, root);
    g_autoptr(NSMVerification) v = nsm_document_verify(doc->data, doc->len,
                                                       &expected);

    assert_cause(v, NSM_CHECK_SIGNATURE, "the signature was not made with the "
                 "key of the certificate");
    g_assert_cmpint(v->checks[NSM_CHECK_CHAIN].verdict, ==, EIF_VERDICT_GOOD);
}

/* Dates */

typedef struct DateRow {
    int64_t when;
    int64_t max_age; /* 0: any */
    const char *reason; /* NULL: good */
} DateRow;

static const DateRow dates[] = {
    { NOW - 3, 0, NULL },
    { NOW - 4, 0, "leaf certificate: the certificate is valid from "
      "2023-11-14T22:13:17Z on, it is 2023-11-14T22:13:16Z" },
    { NOW + 3 * HOUR, 0, NULL },
    { NOW + 3 * HOUR + 1, 0, "leaf certificate: the certificate was valid "
      "until 2023-11-15T01:13:20Z, it is 2023-11-15T01:13:21Z" },
    { NOW + DAY + 1, 0, "certificate 4 of 4 of the cabundle: " },
    { NOW + 5 * DAY + 1, 0, "certificate 3 of 4 of the cabundle: " },
    { NOW + 20 * DAY + 1, 0, "certificate 2 of 4 of the cabundle: " },
    { NOW + 365 * DAY + 1, 0, "root certificate: " },
    { NOW + 300, 300, NULL },
    { NOW + 301, 300, "the document was made at 2023-11-14T22:13:20Z, it is "
      "2023-11-14T22:18:21Z: more than 300 seconds later" },
    { NOW - 3, 300, NULL }, /* clocks differ */
    { INT64_MIN, 0, "root certificate: " },
    { INT64_MAX, 1, "root certificate: " },
};

static void test_dates(void)
{
    g_autoptr(GByteArray) doc = nsm_maker_document(maker,
                                                   &(NSMMakerFields) { });
    uint8_t root[NSM_FINGERPRINT_LEN];
    NSMExpected expected = expect_of(maker, root);

    for (size_t i = 0; i < ARRAY_SIZE(dates); i++) {
        g_autoptr(NSMVerification) v = NULL;

        expected.when = dates[i].when;
        expected.limit_age = dates[i].max_age;
        expected.max_age = dates[i].max_age;
        v = nsm_document_verify(doc->data, doc->len, &expected);
        if (dates[i].reason) {
            assert_cause(v, NSM_CHECK_DATES, dates[i].reason);
        } else {
            assert_good(v);
        }
    }
}

static void test_when_made(void)
{
    g_autoptr(GByteArray) doc = nsm_maker_document(maker,
                                                   &(NSMMakerFields) { });
    uint8_t root[NSM_FINGERPRINT_LEN];
    NSMExpected expected = expect_of(maker, root);
    g_autoptr(NSMVerification) v = NULL;

    expected.when = 0;
    expected.when_made = true;
    v = nsm_document_verify(doc->data, doc->len, &expected);
    assert_good(v);
}

/* Values */

#define BYTES(text) { (const uint8_t *)(text), sizeof(text) - 1 }
#define PCR(byte) BYTES(byte byte byte byte byte byte byte byte \
                        byte byte byte byte byte byte byte byte \
                        byte byte byte byte byte byte byte byte \
                        byte byte byte byte byte byte byte byte \
                        byte byte byte byte byte byte byte byte \
                        byte byte byte byte byte byte byte byte)

typedef struct ValueRow {
    NSMMakerFields fields;
    NSMExpected expected;
    NSMCheckId cause; /* NSM_CHECK__MAX: good */
    const char *reason;
} ValueRow;

static const ValueRow values[] = {
    { { }, { .pcrs = { [0] = PCR("\x10"), [4] = PCR("\x14") } },
      NSM_CHECK__MAX },
    { { }, { .pcrs = { [0] = PCR("\x11") } }, NSM_CHECK_EXPECTED,
      "10101010101010101010, expected is 11111111111111111111" },
    { { }, { .pcrs = { [16] = PCR("\0") } }, NSM_CHECK_EXPECTED,
      "PCR16 is absent, expected is 000000" },
    { { .pcr16 = true }, { .pcrs = { [16] = PCR("\0") } }, NSM_CHECK__MAX },
    { { .nonce = "1" }, { .nonce = BYTES("1") }, NSM_CHECK__MAX },
    { { .nonce = "1" }, { .nonce = BYTES("2") }, NSM_CHECK_EXPECTED,
      "nonce is 31, expected is 32" },
    { { .nonce = "12" }, { .nonce = BYTES("1") }, NSM_CHECK_EXPECTED,
      "nonce is 3132, expected is 31" },
    { { }, { .nonce = BYTES("") }, NSM_CHECK_EXPECTED,
      "nonce is absent, expected is empty" },
    { { .user_data = "" }, { .user_data = BYTES("") }, NSM_CHECK__MAX },
    { { .user_data = "" }, { .user_data = BYTES("u") }, NSM_CHECK_EXPECTED,
      "user_data is empty, expected is 75" },
    { { .public_key = "p" }, { .public_key = BYTES("p") }, NSM_CHECK__MAX },
    { { .public_key = "p" }, { .public_key = PCR("p" "q") },
      NSM_CHECK_EXPECTED, "public_key is 70, expected is 7071" },
    { { .debug = true }, { }, NSM_CHECK_DEBUG, "PCR0, PCR1 and PCR2 are zero: "
      "the enclave runs in debug mode" },
    { { .debug = true }, { .pcrs = { [0] = PCR("\x10") } }, NSM_CHECK_DEBUG,
      "debug mode" },
    { { .debug = true }, { .allow_debug = true }, NSM_CHECK__MAX },
    { { .debug = true },
      { .allow_debug = true, .pcrs = { [0] = PCR("\x10") } },
      NSM_CHECK_EXPECTED, "PCR0 is 0000" },
};

static void test_values(void)
{
    uint8_t root[NSM_FINGERPRINT_LEN];
    NSMExpected base = expect_of(maker, root);

    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        const ValueRow *row = &values[i];
        g_autoptr(GByteArray) doc = nsm_maker_document(maker, &row->fields);
        NSMExpected expected = row->expected;
        g_autoptr(NSMVerification) v = NULL;

        expected.root = base.root;
        expected.when = base.when;
        v = nsm_document_verify(doc->data, doc->len, &expected);
        if (row->cause == NSM_CHECK__MAX) {
            assert_good(v);
        } else {
            assert_cause(v, row->cause, row->reason);
        }
    }
}

/* Malformed: one place of the payload is another, and all is signed */

typedef struct Edit {
    const char *name;
    NSMBytes from, to;
    const char *reason; /* NULL: this is allowed */
} Edit;

#define AWAY BYTES("")

static const Edit edits[] = {
    { "map-is-list", BYTES("\xa9\x69module_id"), BYTES("\x89\x69module_id"),
      "a map expected at byte 10" },
    { "map-short", BYTES("\xa9\x69module_id"), BYTES("\xa8\x69module_id"),
      "the end of the payload expected" },
    { "map-long", BYTES("\xa9\x69module_id"), BYTES("\xaa\x69module_id"),
      "another of the nine keys expected" },
    { "map-endless", BYTES("\xa9\x69module_id"), BYTES("\xbf\x69module_id"),
      "another of the nine keys expected" },
    { "map-huge", BYTES("\xa9\x69module_id"),
      BYTES("\xbb\xff\xff\xff\xff\xff\xff\xff\xff\x69module_id"),
      "another of the nine keys expected" },
    { "head-long-form", BYTES("\xa9\x69module_id"),
      BYTES("\xb8\x09\x69module_id"), NULL },
    { "key-unknown", BYTES("\x69module_id"), BYTES("\x69module_ix"),
      "another of the nine keys expected at byte 11" },
    { "key-bytes", BYTES("\x69module_id"), BYTES("\x49module_id"),
      "another of the nine keys expected at byte 11" },
    { "key-twice", BYTES("\x65nonce"), BYTES("\x69user_data"),
      "another of the nine keys expected" },
    { "id-empty", BYTES("\x78\x27i-0123456789abcdef0-enc018bcfe568000001"),
      BYTES("\x60"), "a text that is not empty expected at byte 21" },
    { "id-not-utf8", BYTES("i-0123"), BYTES("\xff-0123"),
      "a text that is not empty" },
    { "id-with-nul", BYTES("i-0123"), BYTES("i\0" "0123"),
      "a text that is not empty" },
    { "id-long", BYTES("\x78\x27"),
      BYTES("\x7b\xff\xff\xff\xff\xff\xff\xff\xf0"),
      "a text that is not empty" },
    { "digest-sha512", BYTES("SHA384"), BYTES("SHA512"),
      "digest \"SHA384\" expected" },
    { "time-zero", BYTES("\x1b\0\0\x01\x8b\xcf\xe5\x68\x7b"), BYTES("\0"),
      "a time in milliseconds expected" },
    { "time-negative", BYTES("\x1b\0\0\x01\x8b\xcf\xe5\x68\x7b"),
      BYTES("\x20"), "a time in milliseconds expected" },
    { "time-huge", BYTES("\x1b\0\0\x01\x8b\xcf\xe5\x68\x7b"),
      BYTES("\x1b\x80\0\0\0\0\0\0\0"), "a time in milliseconds expected" },
    { "pcrs-indefinite", BYTES("\x64pcrs\xb0"), BYTES("\x64pcrs\xbf"),
      "another register from 0 to 31 expected" },
    { "pcrs-many", BYTES("\x64pcrs\xb0"), BYTES("\x64pcrs\xb8\xff"),
      "another register from 0 to 31 expected" },
    { "pcrs-few", BYTES("\x64pcrs\xb0"), BYTES("\x64pcrs\xaf"),
      "another of the nine keys expected" },
    { "pcrs-none", BYTES("\x64pcrs\xb0"), BYTES("\x64pcrs\xa0"),
      "at least one register expected" },
    { "pcrs-list", BYTES("\x64pcrs\xb0"), BYTES("\x64pcrs\x90"),
      "a map of registers expected" },
    { "pcr-twice", BYTES("\x01\x58\x30\x11"), BYTES("\0\x58\x30\x11"),
      "another register from 0 to 31 expected" },
    { "pcr-32", BYTES("\x01\x58\x30\x11"), BYTES("\x18\x20\x58\x30\x11"),
      "another register from 0 to 31 expected" },
    { "pcr-31", BYTES("\x01\x58\x30\x11"), BYTES("\x18\x1f\x58\x30\x11"),
      NULL },
    { "pcr-31-bytes", BYTES("\x04\x58\x30\x14"), BYTES("\x04\x58\x1f\x14"),
      "a string of 32 to 64 bytes expected" },
    { "pcr-49-bytes", BYTES("\x04\x58\x30\x14"), BYTES("\x04\x58\x31\0\x14"),
      "a register of 32, 48 or 64 bytes expected" },
    { "pcr-64-bytes", BYTES("\x04\x58\x30\x14"),
      BYTES("\x04\x58\x40xxxxxxxxxxxxxxxx\x14"), NULL },
    { "pcr-text", BYTES("\x01\x58\x30\x11"), BYTES("\x01\x78\x30\x11"),
      "a string of 32 to 64 bytes expected" },
    { "leaf-null", BYTES("\x6b" "certificate\x59"),
      BYTES("\x6b" "certificate\xf6"), "a string of 1 to 1024 bytes" },
    { "leaf-empty", BYTES("\x6b" "certificate\x59"),
      BYTES("\x6b" "certificate\x40"), "a string of 1 to 1024 bytes" },
    { "bundle-empty", BYTES("\x68" "cabundle\x84"),
      BYTES("\x68" "cabundle\x80"), "at least one certificate expected" },
    { "bundle-map", BYTES("\x68" "cabundle\x84"),
      BYTES("\x68" "cabundle\xa2"), "a list of certificates expected" },
    { "bundle-many", BYTES("\x68" "cabundle\x84"),
      BYTES("\x68" "cabundle\x98\x15"
            "\x41y\x41y\x41y\x41y\x41y\x41y\x41y\x41y\x41y\x41y\x41y\x41y"
            "\x41y\x41y\x41y\x41y\x41y"),
      "the end of the cabundle after 16 certificates expected" },
    { "nonce-text", BYTES("\x65nonce\xf6"), BYTES("\x65nonce\x60"),
      "a string of 0 to 4096 bytes expected" },
    { "nonce-undefined", BYTES("\x65nonce\xf6"), BYTES("\x65nonce\xf7"),
      "a string of 0 to 4096 bytes expected" },
    { "nonce-false", BYTES("\x65nonce\xf6"), BYTES("\x65nonce\xf4"),
      "a string of 0 to 4096 bytes expected" },
    { "nonce-indefinite", BYTES("\x65nonce\xf6"), BYTES("\x65nonce\x5f\xff"),
      "a string of 0 to 4096 bytes expected" },
    { "tail", BYTES("\x65nonce\xf6"), BYTES("\x65nonce\xf6\xf6"),
      "the end of the payload expected" },
};

static size_t find(const GByteArray *in, NSMBytes what)
{
    const uint8_t *at = memmem(in->data, in->len, what.data, what.len);

    g_assert_nonnull(at);
    return at - in->data;
}

static GByteArray *edit(const GByteArray *payload, const Edit *row)
{
    size_t at = find(payload, row->from);
    size_t behind = at + row->from.len;
    GByteArray *edited = g_byte_array_new();

    g_byte_array_append(edited, payload->data, at);
    g_byte_array_append(edited, row->to.data, row->to.len);
    return g_byte_array_append(edited, payload->data + behind,
                               payload->len - behind);
}

static void test_edit(const void *opaque)
{
    const Edit *row = opaque;
    g_autoptr(GByteArray) payload = nsm_maker_payload(maker,
                                                      &(NSMMakerFields) { });
    g_autoptr(GByteArray) edited = edit(payload, row);
    g_autoptr(GByteArray) doc = nsm_maker_sign(maker, edited);
    uint8_t root[NSM_FINGERPRINT_LEN];
    NSMExpected expected = expect_of(maker, root);
    g_autoptr(NSMVerification) v = nsm_document_verify(doc->data, doc->len,
                                                       &expected);

    if (row->reason) {
        assert_cause(v, NSM_CHECK_FORM, row->reason);
    } else {
        assert_good(v);
    }
}

/* A key and its value, here null, is left out */
static void remove_pair(const char *key)
{
    g_autoptr(GByteArray) payload = nsm_maker_payload(maker,
                                                      &(NSMMakerFields) { });
    g_autofree char *text = g_strdup_printf("%c%s", 0x60 + (int)strlen(key),
                                            key);
    size_t at = find(payload, (NSMBytes) { (uint8_t *)text, strlen(text) });
    g_autoptr(GByteArray) doc = NULL;
    NSMDocument claims;

    g_byte_array_remove_range(payload, at, strlen(text) + 1);
    payload->data[0]--;
    doc = nsm_maker_sign(maker, payload);
    nsm_document_decode(doc->data, doc->len, &claims, &error_abort);
}

static void test_left_out(void)
{
    remove_pair("public_key");
    remove_pair("user_data");
    remove_pair("nonce");
}

static void test_key_missing(void)
{
    static const Edit away = {
        "digest", BYTES("\x66" "digest\x66SHA384"), AWAY, NULL,
    };
    g_autoptr(GByteArray) payload = nsm_maker_payload(maker,
                                                      &(NSMMakerFields) { });
    g_autoptr(GByteArray) edited = edit(payload, &away);
    g_autoptr(GByteArray) doc = NULL;
    NSMDocument claims;
    Error *err = NULL;

    edited->data[0]--;
    doc = nsm_maker_sign(maker, edited);
    g_assert_false(nsm_document_decode(doc->data, doc->len, &claims, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "key \"digest\" expected"));
    error_free(err);
}

/* The message around the payload */

static void assert_malformed(const void *data, size_t len, const char *part)
{
    g_autofree uint8_t *copy = g_memdup2(data, len); /* ends where it ends */
    NSMExpected expected = { .when = NOW };
    g_autoptr(NSMVerification) v = nsm_document_verify(copy, len, &expected);

    assert_cause(v, NSM_CHECK_FORM, part);
    for (int i = NSM_CHECK_FORM + 1; i < NSM_CHECK__MAX; i++) {
        g_assert_cmpint(v->checks[i].verdict, ==, EIF_VERDICT_UNKNOWN);
        g_assert_nonnull(v->checks[i].reason);
    }
}

static void test_message(void)
{
    g_autoptr(GByteArray) doc = nsm_maker_document(maker,
                                                   &(NSMMakerFields) { });
    g_autoptr(GByteArray) big = g_byte_array_new();
    const uint8_t *d = doc->data;

    for (guint i = 0; i < doc->len; i++) {
        assert_malformed(d, i, "");
    }
    assert_malformed("\xd2\xd2", 2, "a list of four expected at byte 0");
    assert_malformed("\x84\x43\xa1\x01\x26\xa0\x40\x58\x40"
                     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 73,
                     "algorithm -7, not ES384 (-35)");
    g_byte_array_set_size(big, NSM_DOC_MAX + 1);
    memset(big->data, 0, big->len);
    assert_malformed(big->data, big->len, "an attestation document has at most "
                     "12288 bytes, this one has 12289");
    g_byte_array_append(doc, (const uint8_t *)"", 1);
    assert_malformed(doc->data, doc->len, "the end expected");
}

/* Documents made by AWS */

static QDict *aws_documents(const char *dir)
{
    g_autofree char *path = g_build_filename(dir ?: "", "attestation",
                                             "expected.json", NULL);
    g_autofree char *json = NULL;

    if (!dir || !g_file_get_contents(path, &json, NULL, NULL)) {
        return NULL;
    }
    return qobject_to(QDict, qobject_from_json(json, &error_abort));
}

static void assert_field(const QDict *expected, const char *key,
                         NSMBytes found)
{
    const QObject *value = qdict_get(expected, key);
    g_autofree char *hex = NULL;

    if (qobject_type(value) == QTYPE_QNULL) {
        g_assert_null(found.data);
        return;
    }
    g_assert_nonnull(found.data);
    hex = nsm_hex_str(found);
    g_assert_cmpstr(hex, ==, qdict_get_str(expected, key));
}

static void check_aws(const NSMDocument *claims, const QDict *expected)
{
    const QDict *pcrs = qdict_get_qdict((QDict *)expected, "pcrs");
    g_autofree char *id = g_strndup((const char *)claims->module_id.data,
                                    claims->module_id.len);

    g_assert_cmpstr(id, ==, qdict_get_str(expected, "module_id"));
    g_assert_cmpuint(claims->timestamp_ms, ==,
                     qdict_get_int(expected, "timestamp"));
    assert_field(expected, "user_data", claims->user_data);
    assert_field(expected, "nonce", claims->nonce);
    assert_field(expected, "public_key", claims->public_key);
    for (unsigned i = 0; i < NSM_DOC_MAX_PCRS; i++) {
        g_autofree char *index = g_strdup_printf("%u", i);

        g_assert_true(!!claims->pcrs[i].data == qdict_haskey(pcrs, index));
        if (claims->pcrs[i].data) {
            assert_field(pcrs, index, claims->pcrs[i]);
        }
    }
}

static void verify_aws(const char *dir, const char *name,
                       const QDict *expected)
{
    g_autofree char *file = g_strdup_printf("%s.bin", name);
    g_autofree char *path = g_build_filename(dir, "attestation", file, NULL);
    g_autofree char *data = NULL;
    NSMExpected policy = { .when_made = true };
    g_autoptr(NSMVerification) v = NULL;
    gsize len;

    g_assert(g_file_get_contents(path, &data, &len, NULL));
    v = nsm_document_verify((uint8_t *)data, len, &policy);
    check_aws(&v->claims, expected);
    if (strstr(name, "debug")) {
        assert_cause(v, NSM_CHECK_DEBUG, "debug mode");
    } else {
        assert_good(v);
    }
    for (int i = 0; i < NSM_CHECK_DEBUG; i++) {
        g_assert_cmpint(v->checks[i].verdict, ==, EIF_VERDICT_GOOD);
    }
}

static void test_aws(void)
{
    const char *dir = getenv("EIF_VECTORS");
    g_autoptr(QDict) all = aws_documents(dir);

    if (!all) {
        g_test_skip("EIF_VECTORS names no directory with attestation documents "
                    "made by AWS");
        return;
    }
    for (const QDictEntry *e = qdict_first(all); e; e = qdict_next(all, e)) {
        verify_aws(dir, qdict_entry_key(e),
                   qobject_to(QDict, qdict_entry_value(e)));
    }
    g_assert_cmpuint(qdict_size(all), >, 0);
}

static void add(const char *group, const char *name, const void *row,
                GTestDataFunc func)
{
    g_autofree char *path = g_strdup_printf("/nsm/verify/%s/%s", group, name);

    g_test_add_data_func(path, row, func);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    maker = nsm_maker_new(NSM_MAKER_GOOD);
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        add("good", good[i].name, &good[i], test_good);
    }
    for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
        add("chain", chains[i].name, &chains[i], test_chain);
    }
    for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
        add("edit", edits[i].name, &edits[i], test_edit);
    }
    g_test_add_func("/nsm/verify/root", test_root);
    g_test_add_func("/nsm/verify/other-leaf", test_other_leaf);
    g_test_add_func("/nsm/verify/dates", test_dates);
    g_test_add_func("/nsm/verify/when-made", test_when_made);
    g_test_add_func("/nsm/verify/values", test_values);
    g_test_add_func("/nsm/verify/left-out", test_left_out);
    g_test_add_func("/nsm/verify/key-missing", test_key_missing);
    g_test_add_func("/nsm/verify/message", test_message);
    g_test_add_func("/nsm/verify/aws", test_aws);
    rc = g_test_run();
    nsm_maker_free(maker);
    return rc;
}
