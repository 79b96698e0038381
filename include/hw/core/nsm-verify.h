/*
 * Attestation document of a Nitro Secure Module: decode and verify
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whether a document proves anything takes six answers.  Each of them gets a
 * verdict of its own, so that tools can say what is wrong:
 *
 *   form       COSE_Sign1 with ES384, its payload a map as nsm-document.h has
 *              it, every field within its bounds
 *   chain      from the root that is trusted to the leaf each certificate is
 *              signed by the one before, with CA flags, path lengths and key
 *              usages that allow that
 *   signature  the document was signed with the key of the leaf
 *   dates      all certificates are valid at the time in question, and the
 *              document is not older than is allowed
 *   expected   registers and fields have the values that are expected
 *   debug      the enclave did not run in debug mode, where PCR0 to PCR2 are
 *              zeros and so say nothing about its image
 *
 * Revocation is not looked at, as AWS's own rules have it.
 *
 * Pure code as in eif-image.h.  X.509 needs GnuTLS; in a build without it
 * chain, signature and dates get the verdict "unknown".
 */

#ifndef HW_CORE_NSM_VERIFY_H
#define HW_CORE_NSM_VERIFY_H

#include "hw/core/eif-verify.h"
#include "hw/core/nsm-document.h"

/* Bounds of this reader, where the format has none */
#define NSM_CABUNDLE_MAX 16 /* certificates; modules send 4 */
/* Bytes of public_key, user_data and nonce: no request of a module is longer */
#define NSM_FIELD_MAX 4096

#define NSM_FINGERPRINT_LEN 32 /* SHA-256 of a certificate in DER form */

/* Bytes that lie somewhere else; data is NULL when there are none */
typedef struct NSMBytes {
    const uint8_t *data;
    size_t len;
} NSMBytes;

/* Decoded; everything leads into the document */
typedef struct NSMDocument {
    bool tagged; /* the tag of COSE_Sign1 is in front */
    bool indefinite; /* form of the map's head */
    EifCose cose;
    NSMBytes module_id; /* UTF-8 without NUL, not empty */
    uint64_t timestamp_ms; /* since 1970 */
    NSMBytes pcrs[NSM_DOC_MAX_PCRS]; /* data is NULL when not listed */
    NSMBytes certificate; /* the leaf */
    NSMBytes cabundle[NSM_CABUNDLE_MAX]; /* root first */
    unsigned nr_cabundle; /* at least 1 */
    /* data is NULL for null; an empty string has data and no length */
    NSMBytes public_key, user_data, nonce;
} NSMDocument;

/**
 * nsm_document_decode: read a document without verifying anything
 * @data: the document, must stay valid as long as @claims is used
 * @len: its length in bytes
 * @claims: filled in on success
 * @errp: filled in on failure, with what was expected at which byte
 *
 * Takes definite and indefinite heads, keys in any order, and optional ones
 * that are left out instead of null.  Refuses unknown keys and what is behind
 * the end.
 *
 * Returns: true on success.
 */
bool nsm_document_decode(const uint8_t *data, size_t len, NSMDocument *claims,
                       Error **errp);

/**
 * nsm_document_certificate: a certificate of the chain by its number
 * @claims: the document
 * @index: 0 for the root, nr_cabundle for the leaf
 *
 * Returns: its DER form.
 */
NSMBytes nsm_document_certificate(const NSMDocument *claims, unsigned index);

/**
 * nsm_certificate_name: a certificate of the chain for messages
 * @claims: the document
 * @index: as in nsm_document_certificate()
 *
 * Returns: "root certificate", "certificate 2 of 4 of the cabundle" or "leaf
 * certificate", to be freed.
 */
char *nsm_certificate_name(const NSMDocument *claims, unsigned index);

/**
 * nsm_fingerprint: SHA-256 of a certificate
 * @der: the certificate
 * @fingerprint: filled in
 */
void nsm_fingerprint(NSMBytes der, uint8_t fingerprint[NSM_FINGERPRINT_LEN]);

/**
 * nsm_hex_str: bytes as text
 * @bytes: the bytes
 *
 * Returns: lower case hexadecimal digits, to be freed.
 */
char *nsm_hex_str(NSMBytes bytes);

/* AWS's root: CN=aws.nitro-enclaves, of 2019 */
extern const uint8_t nsm_aws_root[NSM_FINGERPRINT_LEN];

/**
 * nsm_chain_check: does each certificate vouch for the next?
 * @claims: the document
 * @errp: filled in when not, with which one and why; also in a build without
 *        GnuTLS
 *
 * Neither asks whether the root is trusted nor looks at dates.  Takes some
 * milliseconds.
 *
 * Returns: true when all is right.
 */
bool nsm_chain_check(const NSMDocument *claims, Error **errp);

/* What a document has to be; zeros are the strictest defaults */
typedef struct NSMExpected {
    const uint8_t *root; /* fingerprint of the one trusted root; NULL: AWS's */
    int64_t when; /* seconds since 1970: the time at which it is verified */
    bool when_made; /* the time of the document instead of @when */
    bool limit_age; /* the document is at most @max_age seconds old */
    int64_t max_age;
    bool allow_debug;
    NSMBytes pcrs[NSM_DOC_MAX_PCRS]; /* data is NULL: any value */
    NSMBytes public_key, user_data, nonce; /* same */
} NSMExpected;

typedef enum NSMCheckId {
    NSM_CHECK_FORM,
    NSM_CHECK_CHAIN,
    NSM_CHECK_SIGNATURE,
    NSM_CHECK_DATES,
    NSM_CHECK_EXPECTED,
    NSM_CHECK_DEBUG,
    NSM_CHECK__MAX,
} NSMCheckId;

/**
 * nsm_check_str: name of a check
 * @id: the check
 *
 * Returns: "form", "chain", ... as in the list above, static.
 */
const char *nsm_check_str(NSMCheckId id);

typedef struct NSMVerification {
    EifCheck checks[NSM_CHECK__MAX];
    bool decoded; /* the next two are valid: the form is good */
    NSMDocument claims;
    uint8_t root[NSM_FINGERPRINT_LEN]; /* the one the document brought */
    /* Root to leaf, of EifCertificate; NULL where one cannot be read */
    EifCertificate *certs[NSM_CABUNDLE_MAX + 1];
} NSMVerification;

/**
 * nsm_document_verify: look at everything a document claims
 * @data: the document, must stay valid as long as the result is used
 * @len: its length in bytes
 * @expected: what it has to be
 *
 * Takes some milliseconds, for any document.
 *
 * Returns: the verdicts, never NULL; to be freed with
 * nsm_verification_free().
 */
NSMVerification *nsm_document_verify(const uint8_t *data, size_t len,
                                     const NSMExpected *expected);

/**
 * nsm_verification_cause: why is the document refused?
 * @v: the verdicts
 * @id: set to the check that explains it, when there is one
 *
 * It is the first bad verdict, else the first unknown one.  Debug mode goes
 * before values that are not the expected ones: it explains them.
 *
 * Returns: false when everything is good.
 */
bool nsm_verification_cause(const NSMVerification *v, NSMCheckId *id);

void nsm_verification_free(NSMVerification *v);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NSMVerification, nsm_verification_free)

#endif
