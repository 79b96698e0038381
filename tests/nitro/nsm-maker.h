/*
 * Attestation documents with certificates of their own, good and bad
 *
 * Independent of the code that makes and verifies documents: the bytes are
 * put together here, after the layout that hw/core/nsm-document.h describes.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NSM_MAKER_H
#define NSM_MAKER_H

/* 2023-11-14T22:13:20Z, when documents are made */
#define NSM_MAKER_NOW 1700000000

/* Certificates from root to leaf */
enum {
    NSM_MAKER_ROOT,
    NSM_MAKER_REGION,
    NSM_MAKER_ZONE,
    NSM_MAKER_INSTANCE,
    NSM_MAKER_LEAF,
    NSM_MAKER_CERTS,
};

/* What is wrong with the certificates; one at a time */
typedef enum NSMMakerFault {
    NSM_MAKER_GOOD,
    NSM_MAKER_CA_MISSING, /* the zone has no CA flag */
    NSM_MAKER_PATH_SHORT, /* the region allows one CA below, there are two */
    NSM_MAKER_USAGE_CA, /* the instance may not sign certificates */
    NSM_MAKER_USAGE_LEAF, /* the leaf may not sign documents */
    NSM_MAKER_LEAF_CA, /* the leaf is a CA */
    NSM_MAKER_ISSUER_NAME, /* the zone names another issuer */
    NSM_MAKER_ISSUER_KEY, /* the zone is signed with the key of the leaf */
    NSM_MAKER_CURVE, /* the leaf has a key on P-256 */
} NSMMakerFault;

typedef struct NSMMaker NSMMaker;

/**
 * nsm_maker_new: make keys and certificates
 * @fault: what is wrong with them
 *
 * The certificates are valid at NSM_MAKER_NOW for these seconds around it:
 * root a year, region 20 days, zone 5 days, instance a day, leaf 3 s before
 * and 3 hours after.
 *
 * Returns: to be freed with nsm_maker_free().
 */
NSMMaker *nsm_maker_new(NSMMakerFault fault);
void nsm_maker_free(NSMMaker *maker);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NSMMaker, nsm_maker_free)

/**
 * nsm_maker_certificate: one of the certificates, in DER form
 * @maker: the maker
 * @index: NSM_MAKER_ROOT to NSM_MAKER_LEAF
 *
 * Returns: belongs to @maker.
 */
GByteArray *nsm_maker_certificate(const NSMMaker *maker, unsigned index);

/**
 * nsm_maker_pem: the same in PEM form
 * @maker: the maker
 * @index: same
 *
 * Returns: to be freed.
 */
char *nsm_maker_pem(const NSMMaker *maker, unsigned index);

/* What is in a document; zeros make a plain one of a production enclave */
typedef struct NSMMakerFields {
    bool indefinite; /* head of the map */
    bool debug; /* PCR0 to PCR2 are zeros */
    bool pcr16; /* is locked */
    const char *public_key, *user_data, *nonce; /* texts; NULL: null */
} NSMMakerFields;

/* Register I holds 48 bytes of this, but debug mode's zeros */
#define NSM_MAKER_PCR_BYTE(i) ((i) < 5 ? 0x10 + (i) : 0)

/**
 * nsm_maker_payload: make the map of a document
 * @maker: whose certificates
 * @fields: what else
 *
 * Returns: to be freed.
 */
GByteArray *nsm_maker_payload(const NSMMaker *maker,
                              const NSMMakerFields *fields);

/**
 * nsm_maker_sign: make a document of any payload
 * @maker: whose leaf signs it
 * @payload: the payload
 *
 * Returns: the document, to be freed.
 */
GByteArray *nsm_maker_sign(const NSMMaker *maker, const GByteArray *payload);

/**
 * nsm_maker_document: both at once
 * @maker: see nsm_maker_payload()
 * @fields: same
 *
 * Returns: the document, to be freed.
 */
GByteArray *nsm_maker_document(const NSMMaker *maker,
                               const NSMMakerFields *fields);

#endif
