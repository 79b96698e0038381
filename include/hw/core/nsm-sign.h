/*
 * Attestation documents of a Nitro Secure Module: make and sign them
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The layout of a document is in nsm-document.h, nsm-certificate.h has the
 * certificates.  A signer makes a leaf for one module, and uses it for
 * all documents until shortly before its end.
 */

#ifndef HW_CORE_NSM_SIGN_H
#define HW_CORE_NSM_SIGN_H

#include "hw/core/nsm-document.h"

/* An optional value of a document */
typedef struct NSMDocumentField {
    const uint8_t *data;        /* NULL: absent, which is not empty */
    size_t len;
} NSMDocumentField;

/* What a document says */
typedef struct NSMClaims {
    const char *module_id;
    int64_t time_ms;                    /* Unix time */
    const uint8_t *pcrs[NSM_DOC_MAX_PCRS]; /* NULL where not locked */
    NSMDocumentField public_key;
    NSMDocumentField user_data;
    NSMDocumentField nonce;
    bool definite;                      /* form of the payload's map */
} NSMClaims;

/* Signs the documents of one module */
typedef struct NSMSigner NSMSigner;

/**
 * nsm_signer_new: sign for a module
 * @module_id: in the name of its leaf; copied
 *
 * Returns: a signer that has no certificates yet.
 */
NSMSigner *nsm_signer_new(const char *module_id);

void nsm_signer_free(NSMSigner *signer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NSMSigner, nsm_signer_free)

/**
 * nsm_signer_load: take an instance, and make a leaf of it
 * @pem: private key of the instance and the certificates of its chain, from
 *       root to instance
 * @password: of an encrypted key, or NULL
 * @now: Unix time in s
 * @errp: filled in on failure, also when the instance is not valid at @now
 *
 * Returns: true on success; on false the signer is unchanged.
 */
bool nsm_signer_load(NSMSigner *signer, const char *pem, const char *password,
                     int64_t now, Error **errp);

/**
 * nsm_signer_is_due: is it time to load the instance again?
 * @now: Unix time in s
 *
 * Returns: true when there is no leaf, when its end or the instance's is near,
 *          or when it is not valid yet, because the clock was set back.
 */
bool nsm_signer_is_due(const NSMSigner *signer, int64_t now);

/**
 * nsm_signer_document: make and sign a document
 * @claims: what it says
 * @document: filled in
 * @size: room there
 * @len: filled in with the length of the document; 0 when there was no room
 * @errp: filled in on failure, also when a certificate has expired
 *
 * Does not block.  Its time, about a millisecond, depends on @size alone.
 *
 * Returns: true on success.
 */
bool nsm_signer_document(NSMSigner *signer, const NSMClaims *claims,
                         uint8_t *document, size_t size, size_t *len,
                         Error **errp);

#endif
