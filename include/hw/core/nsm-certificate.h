/*
 * Certificates of a Nitro Secure Module: keys and their certificates
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A document is signed by a leaf, whose chain has four more certificates: root,
 * regional, zonal and instance.  Those made here have the extensions, dates and
 * order of attributes that AWS's have, and names that AWS's never have: all end
 * in "lab.nitro-enclaves" or, the leaf, in ".lab".
 *
 * All keys are on P-384, all signatures ECDSA with SHA-384.  Needs GnuTLS: a
 * build without it makes and loads nothing, and says so.
 */

#ifndef HW_CORE_NSM_CERTIFICATE_H
#define HW_CORE_NSM_CERTIFICATE_H

#define NSM_LAB_ROOT_NAME "lab.nitro-enclaves"
/* Region in the names below the root: none of AWS's */
#define NSM_LAB_REGION "local-1"

/*
 * Lifetimes, in seconds; the root ends before 2050, which X.509 would write in
 * another form
 */
#define NSM_ROOT_LIFE (20LL * 365 * 86400)
#define NSM_REGIONAL_LIFE (20LL * 86400 + 3600)
#define NSM_ZONAL_LIFE (6LL * 86400)
#define NSM_INSTANCE_LIFE (24LL * 3600)
#define NSM_LEAF_LIFE (3LL * 3600)
/* A leaf is valid from before it is made, and replaced before its end */
#define NSM_LEAF_BEFORE 3
#define NSM_LEAF_RENEWAL (15LL * 60)

typedef enum NSMLevel {
    NSM_LEVEL_ROOT,
    NSM_LEVEL_REGIONAL,
    NSM_LEVEL_ZONAL,
    NSM_LEVEL_INSTANCE,
    NSM_LEVEL_LEAF,
    NSM_LEVELS
} NSMLevel;

/* A key and its certificate */
typedef struct NSMIdentity NSMIdentity;

/**
 * nsm_identity_new: make a key and a certificate for it
 * @level: place in the chain
 * @issuer: of the level above; NULL for the root, which signs itself
 * @name: instance ID of an instance, module ID of a leaf, else not used
 * @now: Unix time in s from which it is valid
 * @errp: filled in on failure
 *
 * Takes a few milliseconds; does not block.
 *
 * Returns: the identity, or NULL.
 */
NSMIdentity *nsm_identity_new(NSMLevel level, const NSMIdentity *issuer,
                              const char *name, int64_t now, Error **errp);

/**
 * nsm_identity_load: read a key and its certificate
 * @pem: a private key (PKCS #8 or SEC 1) and a certificate, of the same pair;
 *       of several certificates the last one belongs to the key
 * @password: of an encrypted key, or NULL
 * @errp: filled in on failure
 *
 * Returns: the identity, or NULL.
 */
NSMIdentity *nsm_identity_load(const char *pem, const char *password,
                               Error **errp);

void nsm_identity_free(NSMIdentity *identity);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NSMIdentity, nsm_identity_free)

/**
 * nsm_identity_der: the certificate
 *
 * Returns: its DER; owned by @identity.
 */
const GByteArray *nsm_identity_der(const NSMIdentity *identity);

/**
 * nsm_identity_from: Unix time in s from which the certificate is valid
 */
int64_t nsm_identity_from(const NSMIdentity *identity);

/**
 * nsm_identity_until: Unix time in s of the certificate's end
 */
int64_t nsm_identity_until(const NSMIdentity *identity);

/**
 * nsm_identity_name: common name of the certificate, to be freed
 */
char *nsm_identity_name(const NSMIdentity *identity);

/**
 * nsm_identity_issued_by: is the certificate signed by that key?
 */
bool nsm_identity_issued_by(const NSMIdentity *identity,
                            const NSMIdentity *issuer);

/**
 * nsm_identity_pem: append the certificate, or the key, as text
 * @text: appended to; wipe it after use when it has a key
 */
void nsm_identity_append_certificate(const NSMIdentity *identity,
                                     GString *text);
bool nsm_identity_append_key(const NSMIdentity *identity, GString *text,
                             Error **errp);

/**
 * nsm_identity_sign: sign with the key
 * @data: what to sign; its SHA-384 is
 * @signature: filled in: r and s, NSM_DOC_SIGNATURE_LEN bytes
 * @errp: filled in on failure
 *
 * Returns: true on success.
 */
bool nsm_identity_sign(const NSMIdentity *identity, const uint8_t *data,
                       size_t len, uint8_t *signature, Error **errp);

/**
 * nsm_certificates_load: DER of each certificate in some text
 * @pem: certificates, other things between them are left out
 * @errp: filled in on failure: no certificate, more than
 *        NSM_CHAIN_MAX, one of more than NSM_DOC_CERTIFICATE_MAX bytes, or one
 *        whose issuer is not the one before it
 *
 * Returns: array of GByteArray in the order of the text, or NULL.
 */
#define NSM_CHAIN_MAX 8
GPtrArray *nsm_certificates_load(const char *pem, Error **errp);

/**
 * nsm_wipe: overwrite and free text with a key
 */
void nsm_wipe(GString *text);

#endif
