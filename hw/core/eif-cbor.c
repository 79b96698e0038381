/*
 * Enclave Image Format: read and write CBOR, for signature sections and
 * attestation documents
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/host-utils.h"
#include "eif-cbor.h"

#define CBOR_NULL 0xf6
#define CBOR_BREAK 0xff
#define CBOR_INDEFINITE 31 /* in place of a number in the head */

bool eif_cbor_refuse(const EifCbor *c, size_t pos, const char *what,
                     Error **errp)
{
    ERRP_GUARD();

    error_setg(errp, "%s is broken: %s expected at byte %zu", c->name, what,
               pos);
    if (c->hint) {
        error_append_hint(errp, "%s", c->hint);
    }
    return false;
}

bool eif_cbor_head(EifCbor *c, EifCborMajor major, uint64_t *value)
{
    size_t left = eif_cbor_left(c);
    unsigned info, bytes;

    if (!left || c->data[c->pos] >> 5 != major) {
        return false;
    }
    info = c->data[c->pos] & 0x1f;
    bytes = info < 24 ? 0 : 1u << (info - 24);
    if (info > 27 || bytes > left - 1) {
        return false;
    }
    *value = info < 24 ? info : 0;
    for (unsigned i = 1; i <= bytes; i++) {
        *value = *value << 8 | c->data[c->pos + i];
    }
    c->pos += 1 + bytes;
    return true;
}

const uint8_t *eif_cbor_string(EifCbor *c, EifCborMajor major, size_t *len)
{
    EifCbor at = *c;
    uint64_t n;

    if (!eif_cbor_head(&at, major, &n) || n > eif_cbor_left(&at)) {
        return NULL;
    }
    c->pos = at.pos + n;
    *len = n;
    return c->data + at.pos;
}

bool eif_cbor_key(EifCbor *c, const char *key)
{
    EifCbor at = *c;
    size_t len;
    const uint8_t *text = eif_cbor_string(&at, EIF_CBOR_TEXT, &len);

    if (!text || len != strlen(key) || memcmp(text, key, len)) {
        return false;
    }
    *c = at;
    return true;
}

bool eif_cbor_byte(EifCbor *c, uint8_t *byte)
{
    EifCbor at = *c;
    uint64_t value;

    if (!eif_cbor_head(&at, EIF_CBOR_UINT, &value) || at.pos - c->pos > 2) {
        return false;
    }
    *c = at;
    *byte = value;
    return true;
}

void eif_cbor_put_head(GByteArray *cbor, EifCborMajor major, uint64_t value)
{
    unsigned width = value < 24 ? 0 : value <= UINT8_MAX ? 1
                   : value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;
    uint8_t head = major << 5 | (width ? 24 + ctz32(width) : value);
    uint8_t bytes[8];

    stq_be_p(bytes, value);
    g_byte_array_append(cbor, &head, 1);
    g_byte_array_append(cbor, bytes + sizeof(bytes) - width, width);
}

void eif_cbor_put_string(GByteArray *cbor, EifCborMajor major,
                         const void *data, size_t len)
{
    eif_cbor_put_head(cbor, major, len);
    g_byte_array_append(cbor, data, len);
}

void eif_cbor_put_key(GByteArray *cbor, const char *key)
{
    eif_cbor_put_string(cbor, EIF_CBOR_TEXT, key, strlen(key));
}

void eif_cbor_put_integers(GByteArray *cbor, const uint8_t *data, size_t len)
{
    eif_cbor_put_head(cbor, EIF_CBOR_ARRAY, len);
    for (size_t i = 0; i < len; i++) {
        eif_cbor_put_head(cbor, EIF_CBOR_UINT, data[i]);
    }
}

static bool take_byte(EifCbor *c, uint8_t byte)
{
    if (!eif_cbor_left(c) || c->data[c->pos] != byte) {
        return false;
    }
    c->pos++;
    return true;
}

bool eif_cbor_null(EifCbor *c)
{
    return take_byte(c, CBOR_NULL);
}

bool eif_cbor_open(EifCbor *c, EifCborMajor major, EifCborEntries *entries)
{
    entries->left = 0;
    entries->indefinite = take_byte(c, major << 5 | CBOR_INDEFINITE);
    return entries->indefinite || eif_cbor_head(c, major, &entries->left);
}

bool eif_cbor_more(EifCbor *c, EifCborEntries *entries)
{
    if (entries->indefinite) {
        return !take_byte(c, CBOR_BREAK);
    }
    return entries->left && entries->left--;
}
