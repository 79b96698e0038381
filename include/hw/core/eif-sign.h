/*
 * Enclave Image Format (EIF): sign images
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A signature covers PCR0 of an image, so the image is measured before it is
 * signed.  The signature section holds the certificate and the COSE_Sign1
 * message that eif-verify.h describes.
 *
 * Pure code as in eif-image.h.  Signing needs GnuTLS; a build without it
 * refuses to load a key.
 */

#ifndef HW_CORE_EIF_SIGN_H
#define HW_CORE_EIF_SIGN_H

#include "hw/core/eif-verify.h"

/* A private key and the certificate of its public key */
typedef struct EifSigningKey EifSigningKey;

/**
 * eif_signing_key_new: read a key and its certificate
 * @cert_pem: text with an X.509 certificate in PEM form; the first counts
 * @key_pem: private key in PEM form: PKCS #8 or SEC 1, not encrypted
 * @errp: filled in on failure: unreadable, not on P-256, P-384 or P-521, or
 *        not a pair
 *
 * Returns: to be freed with eif_signing_key_free(); NULL on failure.
 */
EifSigningKey *eif_signing_key_new(const GByteArray *cert_pem,
                                   const GByteArray *key_pem, Error **errp);

/**
 * eif_signing_key_certificate: the certificate of a key
 * @key: the key
 *
 * Returns: the certificate, which lives as long as @key.
 */
const EifCertificate *eif_signing_key_certificate(const EifSigningKey *key);

/**
 * eif_sign_pcr0: make the signature section of an image
 * @key: the key
 * @pcr0: register of the image, from eif_image_measure()
 * @errp: filled in on failure
 *
 * The nonce is derived from key and message where GnuTLS can do that (3.7 and
 * later), so the same inputs give the same section.
 *
 * Returns: data of the section, to be freed; NULL on failure.
 */
GByteArray *eif_sign_pcr0(const EifSigningKey *key,
                          const uint8_t pcr0[EIF_PCR_LEN], Error **errp);

void eif_signing_key_free(EifSigningKey *key);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EifSigningKey, eif_signing_key_free)

/* Signatures of images that exist */

/**
 * eif_resign_size: length of an image with another signature section
 * @image: the image, signed or not
 * @section_len: bytes of data in the new section
 * @errp: filled in when the image has no room for the section, or a version
 *        without signatures
 *
 * Returns: bytes, exact; 0 on failure.
 */
uint64_t eif_resign_size(const EifImage *image, size_t section_len,
                         Error **errp);

/**
 * eif_resign_write: copy an image, with another signature section
 * @image: the image, for which eif_resign_size() was called
 * @src: where it lies
 * @section: data of the new section, from eif_sign_pcr0()
 * @dest: room for eif_resign_size() bytes
 * @errp: filled in on failure
 *
 * The section takes the place of the former one, or becomes the last.  Offsets,
 * sizes and CRC are adjusted; everything else, gaps between sections
 * included, is copied unchanged.  Blocks for as long as reading takes.
 *
 * Returns: true on success; on false the content of @dest is undefined.
 */
bool eif_resign_write(const EifImage *image, const EifSource *src,
                      const GByteArray *section, void *dest, Error **errp);

#endif
