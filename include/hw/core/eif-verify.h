/*
 * Enclave Image Format (EIF): verify who signed an image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The signature section holds an X.509 certificate and a COSE_Sign1 message
 * over the register PCR0 of the image.  Five things must hold, and each of
 * them gets its own verdict, so that tools can say what is wrong:
 *
 *   form          the COSE_Sign1 message has the one shape that is known
 *   certificate   it can be decoded and has a key on P-256, P-384 or P-521
 *   dates         the certificate is valid at the time in question
 *   signature     made with that key, with the algorithm that belongs to it
 *   payload       what was signed is PCR0 of this very image
 *
 * Nobody vouches for the certificate itself, it may be self-signed.
 * PCR8 says which certificate it was.
 *
 * Pure code as in eif-image.h.  X.509 needs GnuTLS; in a build without it
 * certificate, dates and signature get the verdict "unknown".
 */

#ifndef HW_CORE_EIF_VERIFY_H
#define HW_CORE_EIF_VERIFY_H

#include "hw/core/eif-image.h"

/* The COSE_Sign1 message */

/* Algorithms, with the numbers they have in the message */
typedef enum EifCoseAlgorithm {
    EIF_COSE_ES256 = -7, /* ECDSA over SHA-256 with a key on P-256 */
    EIF_COSE_ES384 = -35, /* SHA-384, P-384 */
    EIF_COSE_ES512 = -36, /* SHA-512, P-521 */
} EifCoseAlgorithm;

/* Decoded; the pointers lead into the message */
typedef struct EifCose {
    EifCoseAlgorithm algorithm;
    const uint8_t *protected; /* header that is covered by the signature */
    size_t protected_len;
    const uint8_t *payload;
    size_t payload_len;
    const uint8_t *signature; /* r and s, of the same length each */
    size_t signature_len; /* as the algorithm has it */
    uint8_t pcr[EIF_PCR_LEN]; /* PCR0, as the payload has it */
} EifCose;

/**
 * eif_cose_decode: decode the message of a signature section
 * @data: the message, must stay valid as long as @cose is used
 * @len: its length in bytes
 * @cose: filled in on success
 * @errp: filled in on failure, with what was expected at which byte
 *
 * Returns: true on success.
 */
bool eif_cose_decode(const uint8_t *data, size_t len, EifCose *cose,
                     Error **errp);

/**
 * eif_cose_split: decode a COSE_Sign1 message with any payload
 * @data: the message, must stay valid as long as @cose is used
 * @len: its length in bytes, at most 64 KiB
 * @cose: filled in on success, except the register
 * @errp: filled in on failure, with what was expected at which byte
 *
 * Returns: true on success.
 */
bool eif_cose_split(const uint8_t *data, size_t len, EifCose *cose,
                    Error **errp);

/**
 * eif_cose_signed_bytes: what the signature was made over
 * @cose: from eif_cose_decode()
 *
 * Returns: bytes, not hashed; to be freed.
 */
GByteArray *eif_cose_signed_bytes(const EifCose *cose);

/**
 * eif_cose_signature_len: length of a signature
 * @algorithm: any number
 *
 * Returns: bytes of r and s together; 0 when the algorithm is not known.
 */
size_t eif_cose_signature_len(EifCoseAlgorithm algorithm);

/**
 * eif_cose_protected: the header that names the algorithm
 * @algorithm: the algorithm
 *
 * Returns: bytes for EifCose.protected, to be freed.
 */
GByteArray *eif_cose_protected(EifCoseAlgorithm algorithm);

/**
 * eif_cose_payload: what is to be signed of an image
 * @pcr0: its register
 *
 * Returns: bytes for EifCose.payload, to be freed.
 */
GByteArray *eif_cose_payload(const uint8_t pcr0[EIF_PCR_LEN]);

/**
 * eif_cose_encode: write a message
 * @cose: the message; @algorithm and @pcr are not looked at
 *
 * Returns: the message, to be freed; eif_cose_decode() reads it.
 */
GByteArray *eif_cose_encode(const EifCose *cose);

/* The certificate */

/**
 * eif_oid_str: name of an object identifier that certificates have
 * @oid: the identifier, "2.5.4.3"
 *
 * Returns: "commonName", "ecdsa-with-SHA384", ... as the official tools print
 * it, static; @oid itself when it is not known.
 */
const char *eif_oid_str(const char *oid);

typedef struct EifName {
    char *type; /* "commonName", or an object identifier "2.5.4.13" */
    char *value; /* not escaped */
} EifName;

typedef struct EifCertificate {
    char *subject; /* as in RFC 4514: "CN=signer,C=US" */
    GArray *issuer; /* of EifName */
    char *algorithm; /* of its signature, "ecdsa-with-SHA384" */
    int64_t not_before; /* seconds since 1970 */
    int64_t not_after;
    GByteArray *signature;
} EifCertificate;

/**
 * eif_certificate_decode: read an X.509 certificate
 * @der: the certificate, EifSignature.cert_der
 * @errp: filled in on failure, also in a build without GnuTLS
 *
 * Returns: to be freed with eif_certificate_free(); NULL on failure.
 */
EifCertificate *eif_certificate_decode(const GByteArray *der, Error **errp);
void eif_certificate_free(EifCertificate *cert);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EifCertificate, eif_certificate_free)

/**
 * eif_certificate_check_dates: is a certificate valid at some time?
 * @cert: the certificate
 * @when: seconds since 1970
 * @errp: filled in when not, with the time that counts
 *
 * Returns: true when it is.
 */
bool eif_certificate_check_dates(const EifCertificate *cert, int64_t when,
                                 Error **errp);

/**
 * eif_time_str: a time as text
 * @seconds: since 1970
 *
 * Returns: "2026-01-31T12:00:00Z"; outside of the years 1 to 9999 a number
 * with its unit.  To be freed.
 */
char *eif_time_str(int64_t seconds);

/**
 * eif_certificate_check_signature: does the message carry its signature?
 * @der: the certificate
 * @cose: the message
 * @errp: filled in when not
 *
 * Returns: true when it does.
 */
bool eif_certificate_check_signature(const GByteArray *der,
                                     const EifCose *cose, Error **errp);

/**
 * eif_certificate_supported: can this build look at certificates?
 */
bool eif_certificate_supported(void);

/* All of it */

typedef enum EifCheckId {
    EIF_CHECK_FORM,
    EIF_CHECK_CERTIFICATE,
    EIF_CHECK_DATES,
    EIF_CHECK_SIGNATURE,
    EIF_CHECK_PAYLOAD,
    EIF_CHECK__MAX,
} EifCheckId;

/**
 * eif_check_str: name of a check
 * @id: the check
 *
 * Returns: "form", "certificate", ... as in the list above, static.
 */
const char *eif_check_str(EifCheckId id);

typedef enum EifVerdict {
    EIF_VERDICT_UNKNOWN, /* could not be looked at; reason says why */
    EIF_VERDICT_GOOD,
    EIF_VERDICT_BAD,
} EifVerdict;

/**
 * eif_verdict_str: a verdict as a word
 * @verdict: the verdict
 *
 * Returns: "unknown", "good" or "bad", static.
 */
const char *eif_verdict_str(EifVerdict verdict);

typedef struct EifCheck {
    EifVerdict verdict;
    char *reason; /* a phrase; NULL when good */
} EifCheck;

typedef struct EifVerification {
    EifCheck checks[EIF_CHECK__MAX];
    EifCertificate *cert; /* NULL when it could not be decoded */
} EifVerification;

/**
 * eif_signature_verify: look at everything a signature section claims
 * @sig: the section, from eif_image_read_signature()
 * @pcr0: register of the image, from eif_image_measure()
 * @when: time at which the certificate must be valid, seconds since 1970
 *
 * Takes well below a second and does not read the image.
 *
 * Returns: the verdicts, never NULL; to be freed with
 * eif_verification_free().
 */
EifVerification *eif_signature_verify(const EifSignature *sig,
                                      const uint8_t pcr0[EIF_PCR_LEN],
                                      int64_t when);

/**
 * eif_verification_check: did everything hold?
 * @v: the verdicts
 * @errp: filled in with the first check that is not good
 *
 * A bad verdict counts before an unknown one.
 *
 * Returns: true when all are good.
 */
bool eif_verification_check(const EifVerification *v, Error **errp);

/**
 * eif_verification_is_bad: is something known to be wrong?
 * @v: the verdicts
 *
 * Returns: false when all are good or unknown.
 */
bool eif_verification_is_bad(const EifVerification *v);

void eif_verification_free(EifVerification *v);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EifVerification, eif_verification_free)

#endif
