/*
 * Nitro Enclaves: which image the machine may launch
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Options of the machine that look at the assembled image where it lies, in
 * the memory that will be donated: so what is checked is what is launched.
 * The image is measured only when an option or a signature asks for it.
 */

#include "qemu/osdep.h"
#include "hw/core/eif-output.h"
#include "hw/core/eif-verify.h"
#include "machine-int.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "trace.h"

/* The image that is about to be launched */
typedef struct Candidate {
    EifImage *image;
    EifSource src;
    EifMeasurements measurements;
} Candidate;

static bool must_measure(const NitroImagePolicy *policy, const EifImage *image)
{
    for (int i = 0; i < EIF_NR_PCRS; i++) {
        if (policy->expect[i].given) {
            return true;
        }
    }
    return policy->signature != NITRO_SIGNATURE_OFF && image->has_signature;
}

static bool check_pcrs(const NitroImagePolicy *policy, const Candidate *c,
                       Error **errp)
{
    for (int i = 0; i < EIF_NR_PCRS; i++) {
        if (policy->expect[i].given &&
            !eif_measurements_expect(&c->measurements, eif_pcr_index[i],
                                     policy->expect[i].pcr, errp)) {
            return false;
        }
    }
    return true;
}

/* For the monitor */

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
static NitroEnclaveSignature *verify_signature(const Candidate *c, Error **err)
{
    g_autoptr(EifSignature) sig = NULL;
    g_autoptr(EifVerification) v = NULL;
    NitroEnclaveSignature *verdict;

    sig = eif_image_read_signature(c->image, &c->src, err);
    if (!sig) {
        error_prepend(err, "the image is not validly signed: ");
        return new_verdict(NITRO_ENCLAVE_SIGNATURE_STATE_INVALID, *err);
    }
    v = eif_signature_verify(sig, c->measurements.pcr0,
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

static NitroEnclaveSignature *find_verdict(NitroSignature policy,
                                           const Candidate *c, Error **err)
{
    if (!c->image->has_signature) {
        return new_verdict(NITRO_ENCLAVE_SIGNATURE_STATE_UNSIGNED, NULL);
    }
    if (policy == NITRO_SIGNATURE_OFF) {
        return new_verdict(NITRO_ENCLAVE_SIGNATURE_STATE_UNCHECKED, NULL);
    }
    return verify_signature(c, err);
}

/* Something about the signature is not as it should be */
static bool must_refuse(NitroSignature policy,
                        NitroEnclaveSignatureState found)
{
    return policy == NITRO_SIGNATURE_REQUIRE ||
           (policy == NITRO_SIGNATURE_CHECK &&
            found == NITRO_ENCLAVE_SIGNATURE_STATE_INVALID);
}

/* A reset does so beside the main loop, which may be asked for the last one */
static void set_verdict(NitroMachineState *nms, NitroEnclaveSignature *verdict)
{
    QEMU_LOCK_GUARD(&nms->signature_lock);
    qapi_free_NitroEnclaveSignature(nms->signature);
    nms->signature = verdict;
}

static bool check_signature(NitroMachineState *nms, const Candidate *c,
                            Error **errp)
{
    ERRP_GUARD();
    NitroSignature policy = nms->policy.signature;
    Error *err = NULL;
    NitroEnclaveSignature *verdict = find_verdict(policy, c, &err);
    NitroEnclaveSignatureState found = verdict->state;

    set_verdict(nms, verdict);
    if (policy == NITRO_SIGNATURE_REQUIRE && !c->image->has_signature) {
        error_setg(errp, "signature=require, but the image is not signed");
        error_append_hint(errp, "Sign it, or leave out signature=require.\n");
        return false;
    }
    if (!err) {
        return true;
    }
    if (!must_refuse(policy, found)) {
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

static bool check_candidate(NitroMachineState *nms, Candidate *c, Error **errp)
{
    const NitroImagePolicy *policy = &nms->policy;

    if (must_measure(policy, c->image)) {
        if (!eif_image_measure(c->image, &c->src, &c->measurements, errp)) {
            return false;
        }
        trace_nitro_machine_image_measured(
            NitroSignature_str(policy->signature), c->image->has_signature);
    }
    return check_pcrs(policy, c, errp) && check_signature(nms, c, errp);
}

static bool write_eif_out(const NitroMachineState *nms, const void *image,
                          uint64_t size, Error **errp)
{
    const char *path = nms->policy.eif_out;

    for (unsigned i = 0; i < nms->nr_ramdisks; i++) {
        if (!eif_output_check_fd(path, "eif-out", nms->ramdisk_fds[i],
                                 "-initrd", errp)) {
            return false;
        }
    }
    return eif_output_check_fd(path, "eif-out", nms->image_fd, "-kernel",
                               errp) &&
           eif_output_data(path, image, size, errp);
}

bool nitro_machine_check_image(MachineState *machine, const void *image,
                               uint64_t size, Error **errp)
{
    NitroMachineState *nms = NITRO_MACHINE(machine);
    const NitroImagePolicy *policy = &nms->policy;
    Candidate c = { .image = eif_image_parse_buffer(image, size, errp) };
    bool ok;

    if (!c.image) {
        return false;
    }
    eif_source_init_buffer(&c.src, image, size);
    ok = check_candidate(nms, &c, errp);
    eif_image_free(c.image);
    /* Once is enough: a reset launches the same */
    return ok && (!policy->eif_out || nms->image ||
                  write_eif_out(nms, image, size, errp));
}

/* Properties; the opaque pointer is a position in eif_pcr_index[] */

static void get_expect(Object *obj, Visitor *v, const char *name, void *opaque,
                       Error **errp)
{
    uintptr_t i = (uintptr_t)opaque;
    const NitroExpectedPcr *expect = &NITRO_MACHINE(obj)->policy.expect[i];
    g_autofree char *text = expect->given ? eif_pcr_str(expect->pcr)
                                          : g_strdup("");

    visit_type_str(v, name, &text, errp);
}

static void set_expect(Object *obj, Visitor *v, const char *name, void *opaque,
                       Error **errp)
{
    ERRP_GUARD();
    uintptr_t i = (uintptr_t)opaque;
    NitroExpectedPcr *expect = &NITRO_MACHINE(obj)->policy.expect[i];
    g_autofree char *text = NULL;

    if (!visit_type_str(v, name, &text, errp)) {
        return;
    }
    if (!eif_pcr_parse(text, expect->pcr, errp)) {
        error_prepend(errp, "%s: ", name);
        return;
    }
    expect->given = true;
}

static int get_signature(Object *obj, Error **errp)
{
    return NITRO_MACHINE(obj)->policy.signature;
}

static void set_signature(Object *obj, int value, Error **errp)
{
    NITRO_MACHINE(obj)->policy.signature = value;
}

static char *get_eif_out(Object *obj, Error **errp)
{
    return g_strdup(NITRO_MACHINE(obj)->policy.eif_out);
}

static void set_eif_out(Object *obj, const char *value, Error **errp)
{
    NitroImagePolicy *policy = &NITRO_MACHINE(obj)->policy;

    g_free(policy->eif_out);
    policy->eif_out = g_strdup(value);
}

void nitro_machine_init_policy(NitroImagePolicy *policy)
{
    policy->signature = NITRO_SIGNATURE_CHECK;
}

void nitro_machine_free_policy(NitroImagePolicy *policy)
{
    g_clear_pointer(&policy->eif_out, g_free);
}

static void add_expect(ObjectClass *oc, uintptr_t i)
{
    g_autofree char *name = g_strdup_printf("expect-pcr%u", eif_pcr_index[i]);
    g_autofree char *help = g_strdup_printf(
        "Refuse an image with another PCR%u; 96 hexadecimal digits",
        eif_pcr_index[i]);

    object_class_property_add(oc, name, "string", get_expect, set_expect,
                              NULL, (void *)i);
    object_class_property_set_description(oc, name, help);
}

void nitro_machine_add_policy(ObjectClass *oc)
{
    for (uintptr_t i = 0; i < EIF_NR_PCRS; i++) {
        add_expect(oc, i);
    }
    object_class_property_add_enum(oc, "signature", "NitroSignature",
                                   &NitroSignature_lookup, get_signature,
                                   set_signature);
    object_class_property_set_description(oc, "signature",
        "What to do about a signature that is not valid: off (do not look), "
        "warn, check (refuse it, default), or require one that is");
    object_class_property_add_str(oc, "eif-out", get_eif_out, set_eif_out);
    object_class_property_set_description(oc, "eif-out",
        "Write the image that is launched to this file");
}
