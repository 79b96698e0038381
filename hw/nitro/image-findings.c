/*
 * Nitro Enclaves: what was found in an image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-verify.h"
#include "image-findings.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-nitro.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "trace.h"

#define MAX_METADATA (64 * KiB)

/* Registers */

static bool must_measure(const NitroImagePolicy *policy, const EifImage *image)
{
    for (int i = 0; i < EIF_NR_PCRS; i++) {
        if (policy->expect[i].given) {
            return true;
        }
    }
    return policy->signature != NITRO_SIGNATURE_OFF && image->has_signature;
}

static bool findings_measure(NitroImageFindings *found,
                             const NitroImagePolicy *policy,
                             const EifImage *image, const EifSource *src,
                             Error **errp)
{
    if (!eif_image_measure(image, src, &found->pcrs, errp)) {
        return false;
    }
    found->measurement = NITRO_ENCLAVE_MEASUREMENT_DONE;
    trace_nitro_image_measured_for(NitroSignature_str(policy->signature),
                                   image->has_signature);
    return true;
}

static bool check_pcrs(const NitroImageFindings *found,
                       const NitroImagePolicy *policy, Error **errp)
{
    for (int i = 0; i < EIF_NR_PCRS; i++) {
        if (policy->expect[i].given &&
            !eif_measurements_expect(&found->pcrs, eif_pcr_index[i],
                                     policy->expect[i].pcr, errp)) {
            return false;
        }
    }
    return true;
}

/* Signature */

static NitroEnclaveSignature *new_verdict(NitroEnclaveSignatureState state,
                                          const Error *err)
{
    NitroEnclaveSignature *verdict = g_new0(NitroEnclaveSignature, 1);

    verdict->state = state;
    verdict->error = err ? g_strdup(error_get_pretty(err)) : NULL;
    return verdict;
}

static void add_certificate(NitroEnclaveSignature *verdict,
                            const EifCertificate *cert)
{
    verdict->subject = g_strdup(cert->subject);
    verdict->has_not_before = verdict->has_not_after = true;
    verdict->not_before = cert->not_before;
    verdict->not_after = cert->not_after;
}

/* Returns the verdict; @err: what is wrong, NULL when nothing is */
static NitroEnclaveSignature *findings_verify(const EifMeasurements *pcrs,
                                              const EifImage *image,
                                              const EifSource *src, Error **err)
{
    g_autoptr(EifSignature) sig = NULL;
    g_autoptr(EifVerification) v = NULL;
    NitroEnclaveSignature *verdict;

    sig = eif_image_read_signature(image, src, err);
    if (!sig) {
        error_prepend(err, "the image is not validly signed: ");
        return new_verdict(NITRO_ENCLAVE_SIGNATURE_STATE_INVALID, *err);
    }
    v = eif_signature_verify(sig, pcrs->pcr0,
                             g_get_real_time() / G_USEC_PER_SEC);
    if (eif_verification_check(v, err)) {
        verdict = new_verdict(NITRO_ENCLAVE_SIGNATURE_STATE_VALID, NULL);
    } else {
        verdict = new_verdict(eif_verification_is_bad(v)
                              ? NITRO_ENCLAVE_SIGNATURE_STATE_INVALID
                              : NITRO_ENCLAVE_SIGNATURE_STATE_UNCHECKED, *err);
    }
    if (v->cert) {
        add_certificate(verdict, v->cert);
    }
    return verdict;
}

static NitroEnclaveSignature *find_verdict(const NitroImageFindings *found,
                                           NitroSignature policy,
                                           const EifImage *image,
                                           const EifSource *src, Error **err)
{
    if (!image->has_signature) {
        return new_verdict(NITRO_ENCLAVE_SIGNATURE_STATE_UNSIGNED, NULL);
    }
    if (policy == NITRO_SIGNATURE_OFF) {
        return new_verdict(NITRO_ENCLAVE_SIGNATURE_STATE_UNCHECKED, NULL);
    }
    return findings_verify(&found->pcrs, image, src, err);
}

static bool must_refuse(NitroSignature policy,
                        NitroEnclaveSignatureState state)
{
    return policy == NITRO_SIGNATURE_REQUIRE ||
           (policy == NITRO_SIGNATURE_CHECK &&
            state == NITRO_ENCLAVE_SIGNATURE_STATE_INVALID);
}

static bool check_signature(NitroImageFindings *found, NitroSignature policy,
                            const EifImage *image, const EifSource *src,
                            Error **errp)
{
    ERRP_GUARD();
    Error *err = NULL;

    found->signature = find_verdict(found, policy, image, src, &err);
    if (policy == NITRO_SIGNATURE_REQUIRE && !image->has_signature) {
        error_setg(errp, "signature=require, but the image is not signed");
        error_append_hint(errp, "Sign it, or leave out signature=require.\n");
        return false;
    }
    if (!err) {
        return true;
    }
    if (!must_refuse(policy, found->signature->state)) {
        warn_report_err(err);
        return true;
    }
    error_propagate(errp, err);
    if (policy == NITRO_SIGNATURE_CHECK) {
        error_append_hint(errp, "An enclave would end at once on EC2; use "
                          "-M signature=warn to launch it all the same.\n");
    }
    return false;
}

bool nitro_findings_check(NitroImageFindings *found,
                          const NitroImagePolicy *policy,
                          const EifImage *image, const EifSource *src,
                          Error **errp)
{
    if (must_measure(policy, image) &&
        !findings_measure(found, policy, image, src, errp)) {
        return false;
    }
    return check_pcrs(found, policy, errp) &&
           check_signature(found, policy->signature, image, src, errp);
}

/* Names */

static QDict *parse_metadata(const EifSource *src, const EifSection *section)
{
    g_autofree char *text = g_malloc0(section->size + 1);
    QObject *object;
    QDict *dict;

    if (!eif_source_read(src, text, section->size, section->data_offset,
                         NULL)) {
        return NULL;
    }
    object = qobject_from_json(text, NULL);
    dict = qobject_to(QDict, object);
    if (!dict) {
        qobject_unref(object);
    }
    return dict;
}

void nitro_findings_read_names(NitroImageFindings *found,
                               const EifImage *image, const EifSource *src)
{
    const EifSection *s = eif_image_section(image, EIF_SECTION_METADATA, 0);
    QDict *dict = s && s->size <= MAX_METADATA ? parse_metadata(src, s) : NULL;

    if (dict) {
        found->name = g_strdup(qdict_get_try_str(dict, "ImageName"));
        found->version = g_strdup(qdict_get_try_str(dict, "ImageVersion"));
        qobject_unref(dict);
    }
}

/* Answers */

void nitro_findings_fill(const NitroImageFindings *found,
                         NitroEnclaveImage *info)
{
    const EifMeasurements *pcrs = &found->pcrs;

    info->name = g_strdup(found->name);
    info->image_version = g_strdup(found->version);
    info->signature = QAPI_CLONE(NitroEnclaveSignature, found->signature);
    info->measurement = found->measurement;
    if (found->failure) {
        info->measurement_error = g_strdup(error_get_pretty(found->failure));
    }
    if (found->measurement == NITRO_ENCLAVE_MEASUREMENT_DONE) {
        info->pcrs = g_new0(NitroEnclavePcrs, 1);
        info->pcrs->pcr0 = eif_pcr_str(pcrs->pcr0);
        info->pcrs->pcr1 = eif_pcr_str(pcrs->pcr1);
        info->pcrs->pcr2 = eif_pcr_str(pcrs->pcr2);
        info->pcrs->pcr8 = pcrs->has_pcr8 ? eif_pcr_str(pcrs->pcr8) : NULL;
    }
}

void nitro_findings_clear(NitroImageFindings *found)
{
    error_free(found->failure);
    g_free(found->name);
    g_free(found->version);
    qapi_free_NitroEnclaveSignature(found->signature);
    *found = (NitroImageFindings) { };
}
