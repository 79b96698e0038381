/*
 * Enclave Image Format: the COSE_Sign1 message of a signature
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It is CBOR of exactly one shape, with definite lengths:
 *
 *     [ bytes of { 1: algorithm },
 *       {},
 *       bytes of { "register_index": 0, "register_value": [u8 x 48] },
 *       bytes: r and s of the signature ]
 */

#include "qemu/osdep.h"
#include "hw/core/eif-verify.h"
#include "eif-cbor.h"

#define HEADER_ALGORITHM 1
#define SIGN1_PARTS 4

/* An item of this kind and number; moves @c on success only */
static bool take_this(EifCbor *c, EifCborMajor major, uint64_t expected)
{
    EifCbor at = *c;
    uint64_t value;

    if (!eif_cbor_head(&at, major, &value) || value != expected) {
        return false;
    }
    *c = at;
    return true;
}

/* A reader for the content of the byte string that comes next */
static bool take_bytes(EifCbor *c, EifCbor *content, const char *what,
                       Error **errp)
{
    size_t len;
    const uint8_t *data = eif_cbor_string(c, EIF_CBOR_BYTES, &len);

    if (!data) {
        eif_cbor_refuse(c, c->pos, what, errp);
        return false;
    }
    /* Positions count from the start of the message */
    *content = *c;
    content->pos -= len;
    content->len = c->pos;
    return true;
}

size_t eif_cose_signature_len(EifCoseAlgorithm algorithm)
{
    switch (algorithm) {
    case EIF_COSE_ES256:
        return 2 * 32;
    case EIF_COSE_ES384:
        return 2 * 48;
    case EIF_COSE_ES512:
        return 2 * 66;
    }
    return 0;
}

static bool decode_protected(EifCbor c, EifCose *cose, Error **errp)
{
    uint64_t value;
    size_t start = c.pos;

    cose->protected = c.data + c.pos;
    cose->protected_len = eif_cbor_left(&c);
    if (!take_this(&c, EIF_CBOR_MAP, 1) ||
        !take_this(&c, EIF_CBOR_UINT, HEADER_ALGORITHM) ||
        !eif_cbor_head(&c, EIF_CBOR_NEGATIVE, &value) || eif_cbor_left(&c)) {
        return eif_cbor_refuse(&c, start, "a map of the algorithm alone", errp);
    }
    if (value >= INT_MAX || !eif_cose_signature_len(-1 - (int)value)) {
        error_setg(errp, "algorithm -%" PRIu64 " of the COSE_Sign1 message is "
                   "not ES256 (-7), ES384 (-35) or ES512 (-36)",
                   value == UINT64_MAX ? value : value + 1);
        return false;
    }
    cose->algorithm = -1 - (int)value;
    return true;
}

static bool decode_payload(EifCbor c, EifCose *cose, Error **errp)
{
    if (!take_this(&c, EIF_CBOR_MAP, 2)) {
        return eif_cbor_refuse(&c, c.pos, "a map of two entries", errp);
    }
    if (!eif_cbor_key(&c, "register_index") ||
        !take_this(&c, EIF_CBOR_UINT, 0)) {
        return eif_cbor_refuse(&c, c.pos, "\"register_index\": 0", errp);
    }
    if (!eif_cbor_key(&c, "register_value") ||
        !take_this(&c, EIF_CBOR_ARRAY, EIF_PCR_LEN)) {
        return eif_cbor_refuse(&c, c.pos, "\"register_value\": 48 bytes",
                               errp);
    }
    for (int i = 0; i < EIF_PCR_LEN; i++) {
        if (!eif_cbor_byte(&c, &cose->pcr[i])) {
            return eif_cbor_refuse(&c, c.pos, "an integer of 8 bits", errp);
        }
    }
    return !eif_cbor_left(&c) ||
           eif_cbor_refuse(&c, c.pos, "the end of the payload", errp);
}

static bool decode_signature(EifCbor c, EifCose *cose, Error **errp)
{
    size_t len = eif_cose_signature_len(cose->algorithm);

    cose->signature = c.data + c.pos;
    cose->signature_len = eif_cbor_left(&c);
    if (cose->signature_len != len) {
        error_setg(errp, "the signature has %zu bytes, its algorithm makes "
                   "%zu", cose->signature_len, len);
        return false;
    }
    return true;
}

/* All in front of the payload's content, and the reader of that */
static bool decode_start(EifCbor *c, EifCose *cose, EifCbor *payload,
                         Error **errp)
{
    EifCbor header;

    if (!take_this(c, EIF_CBOR_ARRAY, SIGN1_PARTS)) {
        return eif_cbor_refuse(c, c->pos, "a list of four", errp);
    }
    if (!take_bytes(c, &header, "a protected header", errp) ||
        !decode_protected(header, cose, errp)) {
        return false;
    }
    if (!take_this(c, EIF_CBOR_MAP, 0)) {
        return eif_cbor_refuse(c, c->pos, "an empty map", errp);
    }
    if (!take_bytes(c, payload, "a payload", errp)) {
        return false;
    }
    cose->payload = payload->data + payload->pos;
    cose->payload_len = eif_cbor_left(payload);
    return true;
}

static bool decode_end(EifCbor *c, EifCose *cose, Error **errp)
{
    EifCbor content;

    if (!take_bytes(c, &content, "a signature", errp) ||
        !decode_signature(content, cose, errp)) {
        return false;
    }
    return !eif_cbor_left(c) || eif_cbor_refuse(c, c->pos, "the end", errp);
}

bool eif_cose_decode(const uint8_t *data, size_t len, EifCose *cose,
                     Error **errp)
{
    EifCbor c = {
        .data = data, .len = len, .name = "the COSE_Sign1 message",
    };
    EifCbor payload;

    return decode_start(&c, cose, &payload, errp) &&
           decode_payload(payload, cose, errp) &&
           decode_end(&c, cose, errp);
}

bool eif_cose_split(const uint8_t *data, size_t len, EifCose *cose,
                    Error **errp)
{
    EifCbor c = {
        .data = data, .len = len, .name = "the COSE_Sign1 message",
    };
    EifCbor payload;

    return decode_start(&c, cose, &payload, errp) &&
           decode_end(&c, cose, errp);
}

GByteArray *eif_cose_signed_bytes(const EifCose *cose)
{
    GByteArray *cbor = g_byte_array_new();

    eif_cbor_put_head(cbor, EIF_CBOR_ARRAY, SIGN1_PARTS);
    eif_cbor_put_key(cbor, "Signature1");
    eif_cbor_put_string(cbor, EIF_CBOR_BYTES, cose->protected,
                        cose->protected_len);
    eif_cbor_put_string(cbor, EIF_CBOR_BYTES, NULL, 0);
    eif_cbor_put_string(cbor, EIF_CBOR_BYTES, cose->payload,
                        cose->payload_len);
    return cbor;
}

GByteArray *eif_cose_protected(EifCoseAlgorithm algorithm)
{
    GByteArray *cbor = g_byte_array_new();

    eif_cbor_put_head(cbor, EIF_CBOR_MAP, 1);
    eif_cbor_put_head(cbor, EIF_CBOR_UINT, HEADER_ALGORITHM);
    eif_cbor_put_head(cbor, EIF_CBOR_NEGATIVE, -1 - algorithm);
    return cbor;
}

GByteArray *eif_cose_payload(const uint8_t pcr0[EIF_PCR_LEN])
{
    GByteArray *cbor = g_byte_array_new();

    eif_cbor_put_head(cbor, EIF_CBOR_MAP, 2);
    eif_cbor_put_key(cbor, "register_index");
    eif_cbor_put_head(cbor, EIF_CBOR_UINT, 0);
    eif_cbor_put_key(cbor, "register_value");
    eif_cbor_put_integers(cbor, pcr0, EIF_PCR_LEN);
    return cbor;
}

GByteArray *eif_cose_encode(const EifCose *cose)
{
    GByteArray *cbor = g_byte_array_new();

    eif_cbor_put_head(cbor, EIF_CBOR_ARRAY, SIGN1_PARTS);
    eif_cbor_put_string(cbor, EIF_CBOR_BYTES, cose->protected,
                        cose->protected_len);
    eif_cbor_put_head(cbor, EIF_CBOR_MAP, 0);
    eif_cbor_put_string(cbor, EIF_CBOR_BYTES, cose->payload,
                        cose->payload_len);
    eif_cbor_put_string(cbor, EIF_CBOR_BYTES, cose->signature,
                        cose->signature_len);
    return cbor;
}
