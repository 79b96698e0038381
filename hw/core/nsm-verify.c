/*
 * Attestation document of a Nitro Secure Module: verify it
 *
 * Runs the checks and keeps a verdict for each: one that fails does not hide
 * the others.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/nsm-verify.h"

#define MS_PER_SECOND 1000
#define CLOCK_SKEW_S 60 /* of the host that made it and the one that verifies */
#define SHOWN_BYTES 64 /* of a value in a message */

const uint8_t nsm_aws_root[NSM_FINGERPRINT_LEN] = {
    0x64, 0x1a, 0x03, 0x21, 0xa3, 0xe2, 0x44, 0xef,
    0xe4, 0x56, 0x46, 0x31, 0x95, 0xd6, 0x06, 0x31,
    0x7e, 0xd7, 0xcd, 0xcc, 0x3c, 0x17, 0x56, 0xe0,
    0x98, 0x93, 0xf3, 0xc6, 0x8f, 0x79, 0xbb, 0x5b,
};

const char *nsm_check_str(NSMCheckId id)
{
    static const char *const names[NSM_CHECK__MAX] = {
        [NSM_CHECK_FORM] = "form",
        [NSM_CHECK_CHAIN] = "chain",
        [NSM_CHECK_SIGNATURE] = "signature",
        [NSM_CHECK_DATES] = "dates",
        [NSM_CHECK_EXPECTED] = "expected",
        [NSM_CHECK_DEBUG] = "debug",
    };

    return names[id];
}

/* Takes @err over */
static void settle(NSMVerification *v, NSMCheckId id, EifVerdict verdict,
                   Error *err)
{
    EifCheck *check = &v->checks[id];

    assert(!check->reason && !err == (verdict == EIF_VERDICT_GOOD));
    check->verdict = verdict;
    if (err) {
        check->reason = g_strdup(error_get_pretty(err));
        error_free(err);
    }
}

static void settle_bool(NSMVerification *v, NSMCheckId id, Error *err)
{
    settle(v, id, err ? EIF_VERDICT_BAD : EIF_VERDICT_GOOD, err);
}

/* chain */

static GByteArray *copy_certificate(const NSMDocument *claims, unsigned index)
{
    NSMBytes der = nsm_document_certificate(claims, index);
    GByteArray *copy = g_byte_array_sized_new(der.len);

    return g_byte_array_append(copy, der.data, der.len);
}

static bool decode_certificates(NSMVerification *v, Error **errp)
{
    ERRP_GUARD();

    for (unsigned i = 0; i <= v->claims.nr_cabundle; i++) {
        g_autoptr(GByteArray) der = copy_certificate(&v->claims, i);
        g_autofree char *name = nsm_certificate_name(&v->claims, i);

        v->certs[i] = eif_certificate_decode(der, errp);
        if (!v->certs[i]) {
            error_prepend(errp, "%s: ", name);
            return false;
        }
    }
    return true;
}

static bool root_is_trusted(const NSMVerification *v,
                            const NSMExpected *expected, Error **errp)
{
    const uint8_t *trusted = expected->root ?: nsm_aws_root;
    g_autofree char *found = NULL;
    g_autofree char *wanted = NULL;

    if (!memcmp(v->root, trusted, NSM_FINGERPRINT_LEN)) {
        return true;
    }
    found = nsm_hex_str((NSMBytes) { v->root, NSM_FINGERPRINT_LEN });
    wanted = nsm_hex_str((NSMBytes) { trusted, NSM_FINGERPRINT_LEN });
    error_setg(errp, "the root certificate has the fingerprint %s, trusted is "
               "%s%s", found, wanted, expected->root ? "" : " (AWS)");
    return false;
}

/* All are decoded for any root, so that a report can name them */
static void check_chain(NSMVerification *v, const NSMExpected *expected)
{
    Error *broken = NULL;
    Error *err = NULL;

    decode_certificates(v, &broken);
    if (!root_is_trusted(v, expected, &err)) {
        error_free(broken);
    } else if (broken) {
        err = broken;
    } else {
        nsm_chain_check(&v->claims, &err);
    }
    settle_bool(v, NSM_CHECK_CHAIN, err);
}

/* signature */

static void check_signature(NSMVerification *v)
{
    g_autoptr(GByteArray) der = copy_certificate(&v->claims,
                                                 v->claims.nr_cabundle);
    Error *err = NULL;

    eif_certificate_check_signature(der, &v->claims.cose, &err);
    settle_bool(v, NSM_CHECK_SIGNATURE, err);
}

/* dates */

static int64_t time_made(const NSMDocument *claims)
{
    return claims->timestamp_ms / MS_PER_SECOND;
}

static bool certificates_are_valid(const NSMVerification *v, int64_t when,
                                   Error **errp)
{
    ERRP_GUARD();

    for (unsigned i = 0; i <= v->claims.nr_cabundle; i++) {
        if (!eif_certificate_check_dates(v->certs[i], when, errp)) {
            g_autofree char *name = nsm_certificate_name(&v->claims, i);

            error_prepend(errp, "%s: ", name);
            return false;
        }
    }
    return true;
}

static bool age_is_allowed(const NSMVerification *v,
                           const NSMExpected *expected, int64_t when,
                           Error **errp)
{
    int64_t made = time_made(&v->claims);
    g_autofree char *then = eif_time_str(made);
    g_autofree char *now = eif_time_str(when);

    if (!expected->limit_age) {
        return true;
    }
    if (made - CLOCK_SKEW_S > when) {
        error_setg(errp, "the document was made at %s, it is %s", then, now);
        return false;
    }
    if (made < when - expected->max_age) {
        error_setg(errp, "the document was made at %s, it is %s: more than %"
                   PRId64 " seconds later", then, now, expected->max_age);
        return false;
    }
    return true;
}

static void check_dates(NSMVerification *v, const NSMExpected *expected)
{
    int64_t when = expected->when_made ? time_made(&v->claims)
                                       : expected->when;
    Error *err = NULL;

    if (certificates_are_valid(v, when, &err)) {
        age_is_allowed(v, expected, when, &err);
    }
    settle_bool(v, NSM_CHECK_DATES, err);
}

/* expected */

static char *value_str(NSMBytes value)
{
    g_autofree char *hex = NULL;

    if (!value.data) {
        return g_strdup("absent");
    }
    if (!value.len) {
        return g_strdup("empty");
    }
    hex = nsm_hex_str((NSMBytes) { value.data, MIN(value.len, SHOWN_BYTES) });
    return value.len <= SHOWN_BYTES
           ? g_steal_pointer(&hex)
           : g_strdup_printf("%s... (%zu bytes)", hex, value.len);
}

static bool value_is(const char *name, NSMBytes found, NSMBytes wanted,
                     Error **errp)
{
    g_autofree char *have = NULL;
    g_autofree char *want = NULL;

    if (!wanted.data ||
        (found.data && found.len == wanted.len &&
         !memcmp(found.data, wanted.data, found.len))) {
        return true;
    }
    have = value_str(found);
    want = value_str(wanted);
    error_setg(errp, "%s is %s, expected is %s", name, have, want);
    return false;
}

static bool pcrs_are(const NSMDocument *claims, const NSMExpected *expected,
                     Error **errp)
{
    for (unsigned i = 0; i < NSM_DOC_MAX_PCRS; i++) {
        g_autofree char *name = g_strdup_printf("PCR%u", i);

        if (!value_is(name, claims->pcrs[i], expected->pcrs[i], errp)) {
            return false;
        }
    }
    return true;
}

static void check_expected(NSMVerification *v, const NSMExpected *expected)
{
    const NSMDocument *claims = &v->claims;
    Error *err = NULL;

    if (pcrs_are(claims, expected, &err) &&
        value_is(NSM_DOC_NONCE, claims->nonce, expected->nonce, &err) &&
        value_is(NSM_DOC_USER_DATA, claims->user_data, expected->user_data,
                 &err)) {
        value_is(NSM_DOC_PUBLIC_KEY, claims->public_key, expected->public_key,
                 &err);
    }
    settle_bool(v, NSM_CHECK_EXPECTED, err);
}

/* debug */

static bool pcr_says_something(NSMBytes pcr)
{
    for (size_t i = 0; i < pcr.len; i++) {
        if (pcr.data[i]) {
            return true;
        }
    }
    return false;
}

static void check_debug(NSMVerification *v, const NSMExpected *expected)
{
    const NSMBytes *pcrs = v->claims.pcrs;
    Error *err = NULL;

    if (!expected->allow_debug && !pcr_says_something(pcrs[0]) &&
        !pcr_says_something(pcrs[1]) && !pcr_says_something(pcrs[2])) {
        error_setg(&err, "PCR0, PCR1 and PCR2 are zero: the enclave runs in "
                   "debug mode");
    }
    settle_bool(v, NSM_CHECK_DEBUG, err);
}

/* All of them */

static void check_form(NSMVerification *v, const uint8_t *data, size_t len)
{
    Error *err = NULL;

    v->decoded = nsm_document_decode(data, len, &v->claims, &err);
    if (v->decoded) {
        nsm_fingerprint(v->claims.cabundle[0], v->root);
    }
    settle_bool(v, NSM_CHECK_FORM, err);
}

static void check_certificates(NSMVerification *v, const NSMExpected *expected)
{
    check_chain(v, expected);
    if (v->certs[v->claims.nr_cabundle]) {
        check_signature(v);
        check_dates(v, expected);
    }
}

static void check_unsupported(NSMVerification *v)
{
    static const NSMCheckId ids[] = {
        NSM_CHECK_CHAIN, NSM_CHECK_SIGNATURE, NSM_CHECK_DATES,
    };

    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        Error *err = NULL;

        nsm_chain_check(&v->claims, &err);
        settle(v, ids[i], EIF_VERDICT_UNKNOWN, err);
    }
}

/* What could not be looked at, because something before it failed */
static void explain_unknown(NSMVerification *v)
{
    const char *reason = v->checks[NSM_CHECK_FORM].reason
                         ?: v->checks[NSM_CHECK_CHAIN].reason;

    for (int i = 0; i < NSM_CHECK__MAX; i++) {
        EifCheck *check = &v->checks[i];

        if (check->verdict == EIF_VERDICT_UNKNOWN && !check->reason) {
            check->reason = g_strdup(reason);
        }
    }
}

NSMVerification *nsm_document_verify(const uint8_t *data, size_t len,
                                     const NSMExpected *expected)
{
    NSMVerification *v = g_new0(NSMVerification, 1);

    check_form(v, data, len);
    if (v->decoded) {
        if (eif_certificate_supported()) {
            check_certificates(v, expected);
        } else {
            check_unsupported(v);
        }
        check_expected(v, expected);
        check_debug(v, expected);
    }
    explain_unknown(v);
    return v;
}

static bool find_verdict(const NSMVerification *v, EifVerdict verdict,
                         NSMCheckId *id)
{
    static const NSMCheckId order[NSM_CHECK__MAX] = {
        NSM_CHECK_FORM, NSM_CHECK_CHAIN, NSM_CHECK_SIGNATURE,
        NSM_CHECK_DATES, NSM_CHECK_DEBUG, NSM_CHECK_EXPECTED,
    };

    for (int i = 0; i < NSM_CHECK__MAX; i++) {
        if (v->checks[order[i]].verdict == verdict) {
            *id = order[i];
            return true;
        }
    }
    return false;
}

bool nsm_verification_cause(const NSMVerification *v, NSMCheckId *id)
{
    return find_verdict(v, EIF_VERDICT_BAD, id) ||
           find_verdict(v, EIF_VERDICT_UNKNOWN, id);
}

void nsm_verification_free(NSMVerification *v)
{
    if (v) {
        for (int i = 0; i < NSM_CHECK__MAX; i++) {
            g_free(v->checks[i].reason);
        }
        for (int i = 0; i <= NSM_CABUNDLE_MAX; i++) {
            eif_certificate_free(v->certs[i]);
        }
        g_free(v);
    }
}
