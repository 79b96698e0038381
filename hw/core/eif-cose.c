/*
 * Enclave Image Format: decode the COSE_Sign1 message of a signature
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

static bool refuse(Error **errp, size_t pos, const char *what)
{
    error_setg(errp, "the COSE_Sign1 message is broken: %s expected at byte "
               "%zu", what, pos);
    return false;
}

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
        return refuse(errp, c->pos, what);
    }
    /* Positions count from the start of the message */
    *content = (EifCbor) { c->data, c->pos, c->pos - len };
    return true;
}

static size_t signature_len(EifCoseAlgorithm algorithm)
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
        return refuse(errp, start, "a map of the algorithm alone");
    }
    if (value >= INT_MAX || !signature_len(-1 - (int)value)) {
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
    cose->payload = c.data + c.pos;
    cose->payload_len = eif_cbor_left(&c);
    if (!take_this(&c, EIF_CBOR_MAP, 2)) {
        return refuse(errp, c.pos, "a map of two entries");
    }
    if (!eif_cbor_key(&c, "register_index") ||
        !take_this(&c, EIF_CBOR_UINT, 0)) {
        return refuse(errp, c.pos, "\"register_index\": 0");
    }
    if (!eif_cbor_key(&c, "register_value") ||
        !take_this(&c, EIF_CBOR_ARRAY, EIF_PCR_LEN)) {
        return refuse(errp, c.pos, "\"register_value\": 48 bytes");
    }
    for (int i = 0; i < EIF_PCR_LEN; i++) {
        if (!eif_cbor_byte(&c, &cose->pcr[i])) {
            return refuse(errp, c.pos, "an integer of 8 bits");
        }
    }
    return !eif_cbor_left(&c) || refuse(errp, c.pos, "the end of the payload");
}

static bool decode_signature(EifCbor c, EifCose *cose, Error **errp)
{
    cose->signature = c.data + c.pos;
    cose->signature_len = eif_cbor_left(&c);
    if (cose->signature_len != signature_len(cose->algorithm)) {
        error_setg(errp, "the signature has %zu bytes, its algorithm makes "
                   "%zu", cose->signature_len, signature_len(cose->algorithm));
        return false;
    }
    return true;
}

bool eif_cose_decode(const uint8_t *data, size_t len, EifCose *cose,
                     Error **errp)
{
    EifCbor c = { .data = data, .len = len };
    EifCbor content;

    if (!take_this(&c, EIF_CBOR_ARRAY, SIGN1_PARTS)) {
        return refuse(errp, c.pos, "a list of four");
    }
    if (!take_bytes(&c, &content, "a protected header", errp) ||
        !decode_protected(content, cose, errp)) {
        return false;
    }
    if (!take_this(&c, EIF_CBOR_MAP, 0)) {
        return refuse(errp, c.pos, "an empty map");
    }
    if (!take_bytes(&c, &content, "a payload", errp) ||
        !decode_payload(content, cose, errp) ||
        !take_bytes(&c, &content, "a signature", errp) ||
        !decode_signature(content, cose, errp)) {
        return false;
    }
    return !eif_cbor_left(&c) || refuse(errp, c.pos, "the end");
}

static void append_bytes(GByteArray *cbor, const uint8_t *data, size_t len)
{
    const uint8_t head[] = { EIF_CBOR_BYTES << 5 | 25, len >> 8, len };
    const uint8_t short_head[] = { EIF_CBOR_BYTES << 5 | 24, len };
    const uint8_t tiny_head[] = { EIF_CBOR_BYTES << 5 | len };

    assert(len <= UINT16_MAX); /* EIF_SIGNATURE_MAX bounds it */
    if (len < 24) {
        g_byte_array_append(cbor, tiny_head, sizeof(tiny_head));
    } else if (len <= UINT8_MAX) {
        g_byte_array_append(cbor, short_head, sizeof(short_head));
    } else {
        g_byte_array_append(cbor, head, sizeof(head));
    }
    g_byte_array_append(cbor, data, len);
}

GByteArray *eif_cose_signed_bytes(const EifCose *cose)
{
    static const char start[] = "\x84\x6aSignature1"; /* a list of four */
    GByteArray *cbor = g_byte_array_new();

    g_byte_array_append(cbor, (const uint8_t *)start, sizeof(start) - 1);
    append_bytes(cbor, cose->protected, cose->protected_len);
    append_bytes(cbor, NULL, 0);
    append_bytes(cbor, cose->payload, cose->payload_len);
    return cbor;
}
