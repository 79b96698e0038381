/*
 * Signatures for enclave images, made with a throwaway key
 *
 * Independent of the image library: the messages are put together byte by
 * byte.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef EIF_SIGNER_H
#define EIF_SIGNER_H

/* 2023-11-14, in the middle of the default dates */
#define EIF_SIGNER_NOW 1700000000
#define EIF_SIGNER_DAY (24 * 3600)

/* What to make; what is 0 has a default that is valid */
typedef struct EifSignerParams {
    int curve; /* 256, 384 (default) or 521 */
    int algorithm; /* as COSE has it, default the one of the curve */
    int authority; /* gnutls_pk_algorithm_t of its key, default: self-signed */
    const char *issuer; /* name of the authority, as in RFC 4514 */
    int64_t not_before; /* default a day before EIF_SIGNER_NOW */
    int64_t not_after; /* default a day after */
    const char *sections; /* of the image, default EXAMPLE */
    const char *pcr0; /* in hex, default EXAMPLE_PCR0 */
} EifSignerParams;

typedef struct EifSigner {
    const char *sections;
    char *pem;
    char *key_pem; /* the private key */
    GByteArray *cose;
} EifSigner;

/**
 * eif_signer_new: make a key, a certificate and a signature
 * @params: which; NULL for all defaults
 *
 * Returns: to be freed with eif_signer_free().
 */
EifSigner *eif_signer_new(const EifSignerParams *params);
void eif_signer_free(EifSigner *signer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EifSigner, eif_signer_free)

/**
 * eif_signer_image: an image with a signature section
 * @signer: the signature
 * @flags: flags field
 *
 * Returns: the image.
 */
GByteArray *eif_signer_image(const EifSigner *signer, uint16_t flags);

#endif
