/*
 * Attestation document of a Nitro Secure Module: names and bounds
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A document is a COSE_Sign1 (RFC 9052) in CBOR (RFC 8949), without its tag:
 *
 *   [ protected: bytes, unprotected: {}, payload: bytes, signature: bytes ]
 *
 * The payload is a map with the nine keys below, always all of them, in this
 * order.  Optional values that are absent are null.  The map may be of
 * indefinite length; the two inside, pcrs and cabundle, never are.
 *
 * Constants only: who makes documents and who verifies them share this file.
 */

#ifndef HW_CORE_NSM_DOCUMENT_H
#define HW_CORE_NSM_DOCUMENT_H

/* Tag of COSE_Sign1: never made, accepted in front of the array */
#define NSM_DOC_TAG 18
/* Items of the array */
#define NSM_DOC_ITEMS 4
/* Protected header { 1: -35 }: ES384, ECDSA on P-384 with SHA-384 */
#define NSM_DOC_PROTECTED "\xa1\x01\x38\x22"
#define NSM_DOC_PROTECTED_LEN 4
/* First item of the signed array: text; then protected, empty, payload */
#define NSM_DOC_SIGNED_CONTEXT "Signature1"
/* r and s, big-endian, each with its leading zeros */
#define NSM_DOC_SIGNATURE_LEN 96

/* Keys of the payload, in the order of the map */
#define NSM_DOC_KEYS 9
#define NSM_DOC_MODULE_ID "module_id"           /* text */
#define NSM_DOC_DIGEST "digest"                 /* text */
#define NSM_DOC_TIMESTAMP "timestamp"           /* Unix time in ms */
#define NSM_DOC_PCRS "pcrs"                     /* map: index to bytes */
#define NSM_DOC_CERTIFICATE "certificate"       /* bytes: DER of the leaf */
#define NSM_DOC_CABUNDLE "cabundle"             /* array of DER, root first */
#define NSM_DOC_PUBLIC_KEY "public_key"         /* bytes or null */
#define NSM_DOC_USER_DATA "user_data"           /* bytes or null */
#define NSM_DOC_NONCE "nonce"                   /* bytes or null */

/* The only value of key digest; length of each register then */
#define NSM_DOC_SHA384 "SHA384"
#define NSM_DOC_PCR_LEN 48
/* Registers are 0 to 31; only locked ones are listed */
#define NSM_DOC_MAX_PCRS 32

/* From root to instance: root, regional, zonal, instance */
#define NSM_DOC_CABUNDLE_MADE 4
/* Bytes of a certificate in cabundle: 1 to this */
#define NSM_DOC_CERTIFICATE_MAX 1024
/* Bytes of public_key, user_data and nonce that verifiers have to take */
#define NSM_DOC_FIELD_MAX 1024
/* Size of the buffer of a module's answer, in which a document has to fit */
#define NSM_DOC_MAX 0x3000

#endif
