/*
 * Enclave Image Format: read and write CBOR, for signature sections and
 * attestation documents
 *
 * Only what these need: no tags, no floats.  Lengths are definite, except with
 * eif_cbor_open(), which takes both forms of a container.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_CORE_EIF_CBOR_H
#define HW_CORE_EIF_CBOR_H

typedef enum EifCborMajor {
    EIF_CBOR_UINT = 0,
    EIF_CBOR_NEGATIVE = 1, /* of value -1 - n */
    EIF_CBOR_BYTES = 2,
    EIF_CBOR_TEXT = 3,
    EIF_CBOR_ARRAY = 4,
    EIF_CBOR_MAP = 5,
} EifCborMajor;

/* A place in some bytes; pos <= len always holds */
typedef struct EifCbor {
    const uint8_t *data;
    size_t len;
    size_t pos;
    const char *name;   /* what the bytes are, for eif_cbor_refuse() */
    const char *hint;   /* remedy when they are broken, or NULL */
} EifCbor;

static inline size_t eif_cbor_left(const EifCbor *c)
{
    return c->len - c->pos;
}

/**
 * eif_cbor_refuse: report that the bytes are not as expected
 * @c: their name and hint
 * @pos: where
 * @what: is expected there
 * @errp: filled in
 *
 * Returns: false.
 */
bool eif_cbor_refuse(const EifCbor *c, size_t pos, const char *what,
                     Error **errp);

/**
 * eif_cbor_head: read the head of one item: its kind and number
 * @c: where to read; moved behind the head on success only
 * @major: the kind it must have
 * @value: filled in with the number: a value, or a count of what follows,
 *         which has not been compared with what is left
 *
 * Returns: true on success.
 */
bool eif_cbor_head(EifCbor *c, EifCborMajor major, uint64_t *value);

/**
 * eif_cbor_string: read a text or byte string
 * @c: where to read; moved on success only
 * @major: EIF_CBOR_TEXT or EIF_CBOR_BYTES
 * @len: filled in with its length
 *
 * Returns: its first byte, within the data; NULL on failure.
 */
const uint8_t *eif_cbor_string(EifCbor *c, EifCborMajor major, size_t *len);

/**
 * eif_cbor_key: read a text string that must be this one
 * @c: where to read; moved on success only
 * @key: the text
 *
 * Returns: true on success.
 */
bool eif_cbor_key(EifCbor *c, const char *key);

/**
 * eif_cbor_byte: read an integer below 256 in its one or two byte form
 * @c: where to read; moved on success only
 * @byte: filled in
 *
 * Returns: true on success.
 */
bool eif_cbor_byte(EifCbor *c, uint8_t *byte);

/**
 * eif_cbor_put_head: append the head of one item, in its shortest form
 * @cbor: where to
 * @major: its kind
 * @value: its number: a value, or a count of what follows
 */
void eif_cbor_put_head(GByteArray *cbor, EifCborMajor major, uint64_t value);

/**
 * eif_cbor_put_string: append a text or byte string
 * @cbor: where to
 * @major: EIF_CBOR_TEXT or EIF_CBOR_BYTES
 * @data: its bytes, NULL allowed when @len is 0
 * @len: how many
 */
void eif_cbor_put_string(GByteArray *cbor, EifCborMajor major,
                         const void *data, size_t len);

/**
 * eif_cbor_put_key: append a text string
 * @cbor: where to
 * @key: the text
 */
void eif_cbor_put_key(GByteArray *cbor, const char *key);

/**
 * eif_cbor_put_integers: append bytes as an array of integers
 * @cbor: where to
 * @data: the bytes
 * @len: how many
 *
 * The signature section has its bytes in this form.
 */
void eif_cbor_put_integers(GByteArray *cbor, const uint8_t *data, size_t len);

/**
 * eif_cbor_null: read null
 * @c: where to read; moved on success only
 *
 * Returns: true on success.
 */
bool eif_cbor_null(EifCbor *c);

/* An array or map whose entries are being read */
typedef struct EifCborEntries {
    bool indefinite; /* ends with a break, not after a number of entries */
    uint64_t left; /* entries, when definite */
} EifCborEntries;

/**
 * eif_cbor_open: read the head of an array or map, of either form
 * @c: where to read; moved behind the head on success only
 * @major: EIF_CBOR_ARRAY or EIF_CBOR_MAP
 * @entries: filled in, for eif_cbor_more()
 *
 * Returns: true on success.
 */
bool eif_cbor_open(EifCbor *c, EifCborMajor major, EifCborEntries *entries);

/**
 * eif_cbor_more: does another entry follow?
 * @c: at the next entry; moved behind the break that ends an indefinite form
 * @entries: from eif_cbor_open(), counted down
 *
 * Says yes to a definite form whose bytes have ended: reading the entry fails
 * then.
 *
 * Returns: true when an entry has to be read.
 */
bool eif_cbor_more(EifCbor *c, EifCborEntries *entries);

#endif
