/*
 * Enclave Image Format: verify who signed an image
 *
 * Runs the checks and keeps a verdict for each: one that fails does not hide
 * the others.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-verify.h"

const char *eif_check_str(EifCheckId id)
{
    static const char *const names[EIF_CHECK__MAX] = {
        [EIF_CHECK_FORM] = "form",
        [EIF_CHECK_CERTIFICATE] = "certificate",
        [EIF_CHECK_DATES] = "dates",
        [EIF_CHECK_SIGNATURE] = "signature",
        [EIF_CHECK_PAYLOAD] = "payload",
    };

    return names[id];
}

const char *eif_verdict_str(EifVerdict verdict)
{
    switch (verdict) {
    case EIF_VERDICT_GOOD:
        return "good";
    case EIF_VERDICT_BAD:
        return "bad";
    default:
        return "unknown";
    }
}

static void set_good(EifVerification *v, EifCheckId id)
{
    v->checks[id].verdict = EIF_VERDICT_GOOD;
}

/* Takes @reason over */
static void set_other(EifVerification *v, EifCheckId id, EifVerdict verdict,
                      char *reason)
{
    assert(!v->checks[id].reason);
    v->checks[id].verdict = verdict;
    v->checks[id].reason = reason;
}

static void set_from_error(EifVerification *v, EifCheckId id,
                           EifVerdict verdict, Error *err)
{
    set_other(v, id, verdict, g_strdup(error_get_pretty(err)));
    error_free(err);
}

char *eif_time_str(int64_t seconds)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(seconds);

    return time ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ")
                : g_strdup_printf("%" PRId64 " seconds after 1970", seconds);
}

static bool check_form(EifVerification *v, const EifSignature *sig,
                       EifCose *cose)
{
    Error *err = NULL;

    if (!eif_cose_decode(sig->cose->data, sig->cose->len, cose, &err)) {
        set_from_error(v, EIF_CHECK_FORM, EIF_VERDICT_BAD, err);
        return false;
    }
    set_good(v, EIF_CHECK_FORM);
    return true;
}

static void check_certificate(EifVerification *v, const EifSignature *sig)
{
    EifVerdict verdict = eif_certificate_supported() ? EIF_VERDICT_BAD
                                                     : EIF_VERDICT_UNKNOWN;
    Error *err = NULL;

    v->cert = eif_certificate_decode(sig->cert_der, &err);
    if (v->cert) {
        set_good(v, EIF_CHECK_CERTIFICATE);
    } else {
        set_from_error(v, EIF_CHECK_CERTIFICATE, verdict, err);
    }
}

bool eif_certificate_check_dates(const EifCertificate *cert, int64_t when,
                                 Error **errp)
{
    g_autofree char *now = eif_time_str(when);
    g_autofree char *limit = NULL;

    if (when < cert->not_before) {
        limit = eif_time_str(cert->not_before);
        error_setg(errp, "the certificate is valid from %s on, it is %s",
                   limit, now);
        return false;
    }
    if (when > cert->not_after) {
        limit = eif_time_str(cert->not_after);
        error_setg(errp, "the certificate was valid until %s, it is %s",
                   limit, now);
        return false;
    }
    return true;
}

static void check_dates(EifVerification *v, int64_t when)
{
    Error *err = NULL;

    if (eif_certificate_check_dates(v->cert, when, &err)) {
        set_good(v, EIF_CHECK_DATES);
    } else {
        set_from_error(v, EIF_CHECK_DATES, EIF_VERDICT_BAD, err);
    }
}

static void check_signature(EifVerification *v, const EifSignature *sig,
                            const EifCose *cose)
{
    Error *err = NULL;

    if (eif_certificate_check_signature(sig->cert_der, cose, &err)) {
        set_good(v, EIF_CHECK_SIGNATURE);
    } else {
        set_from_error(v, EIF_CHECK_SIGNATURE, EIF_VERDICT_BAD, err);
    }
}

static void check_payload(EifVerification *v, const EifCose *cose,
                          const uint8_t *pcr0)
{
    g_autofree char *claimed = eif_pcr_str(cose->pcr);
    g_autofree char *found = eif_pcr_str(pcr0);

    if (!memcmp(cose->pcr, pcr0, EIF_PCR_LEN)) {
        set_good(v, EIF_CHECK_PAYLOAD);
        return;
    }
    set_other(v, EIF_CHECK_PAYLOAD, EIF_VERDICT_BAD,
              g_strdup_printf("the signature is for an image with PCR0 %s, "
                              "this one has %s", claimed, found));
}

/* What could not be looked at, because something before it failed */
static void explain_unknown(EifVerification *v)
{
    const EifCheck *form = &v->checks[EIF_CHECK_FORM];
    const EifCheck *cert = &v->checks[EIF_CHECK_CERTIFICATE];

    for (int i = 0; i < EIF_CHECK__MAX; i++) {
        EifCheck *check = &v->checks[i];

        if (check->verdict == EIF_VERDICT_UNKNOWN && !check->reason) {
            check->reason = g_strdup(form->reason && i != EIF_CHECK_DATES
                                     ? form->reason : cert->reason);
        }
    }
}

EifVerification *eif_signature_verify(const EifSignature *sig,
                                      const uint8_t pcr0[EIF_PCR_LEN],
                                      int64_t when)
{
    EifVerification *v = g_new0(EifVerification, 1);
    EifCose cose;
    bool form = check_form(v, sig, &cose);

    check_certificate(v, sig);
    if (v->cert) {
        check_dates(v, when);
    }
    if (form && v->cert) {
        check_signature(v, sig, &cose);
    }
    if (form) {
        check_payload(v, &cose, pcr0);
    }
    explain_unknown(v);
    return v;
}

bool eif_verification_check(const EifVerification *v, Error **errp)
{
    ERRP_GUARD();
    const EifCheck *worst = NULL;

    for (int i = 0; i < EIF_CHECK__MAX; i++) {
        const EifCheck *check = &v->checks[i];

        if (check->verdict != EIF_VERDICT_GOOD &&
            (!worst || check->verdict > worst->verdict)) {
            worst = check;
        }
    }
    if (!worst) {
        return true;
    }
    if (worst->verdict == EIF_VERDICT_UNKNOWN) {
        error_setg(errp, "%s", worst->reason);
        error_append_hint(errp, "Configure QEMU with --enable-gnutls.\n");
        return false;
    }
    error_setg(errp, "the image is not validly signed: %s", worst->reason);
    error_append_hint(errp, worst == &v->checks[EIF_CHECK_DATES]
                      ? "Set the clock, or sign the image with a certificate "
                        "that is valid.\n"
                      : "Sign an unsigned copy of the image again.\n");
    return false;
}

bool eif_verification_is_bad(const EifVerification *v)
{
    for (int i = 0; i < EIF_CHECK__MAX; i++) {
        if (v->checks[i].verdict == EIF_VERDICT_BAD) {
            return true;
        }
    }
    return false;
}

void eif_verification_free(EifVerification *v)
{
    if (v) {
        for (int i = 0; i < EIF_CHECK__MAX; i++) {
            g_free(v->checks[i].reason);
        }
        eif_certificate_free(v->cert);
        g_free(v);
    }
}
