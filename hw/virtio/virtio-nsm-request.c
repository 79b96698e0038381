/*
 * Nitro Secure Module: what a guest asks, in the one form the device reads
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/core/eif-cbor.h"
#include "hw/virtio/virtio-nsm-request.h"

/* Kinds of items the image format has not */
#define CBOR_TAG ((EifCborMajor)6)
#define CBOR_SIMPLE ((EifCborMajor)7)

#define CBOR_INDEFINITE 31
#define CBOR_BREAK 0xff
#define CBOR_NULL 0xf6
#define CBOR_UNDEFINED 0xf7

/* Containers in each other, where an unknown key has any value at all */
#define MAX_DEPTH 16
#define MAX_FIELDS 3
/* Not a register; the largest integer the handlers read */
#define NO_INDEX 255

typedef enum FieldKind {
    FIELD_INDEX,
    FIELD_BYTES,
    FIELD_BYTES_OR_NULL,        /* may also be left out */
} FieldKind;

typedef struct Field {
    const char *name;
    FieldKind kind;
} Field;

typedef struct Command {
    const char *name;
    Field fields[MAX_FIELDS];   /* none: the command is a string, not a map */
} Command;

static const Command commands[] = {
    { "GetRandom" },
    { "DescribeNSM" },
    { "DescribePCR", { { "index", FIELD_INDEX } } },
    { "ExtendPCR", { { "index", FIELD_INDEX }, { "data", FIELD_BYTES } } },
    { "LockPCR", { { "index", FIELD_INDEX } } },
    { "LockPCRs", { { "range", FIELD_INDEX } } },
    { "Attestation", { { "user_data", FIELD_BYTES_OR_NULL },
                       { "nonce", FIELD_BYTES_OR_NULL },
                       { "public_key", FIELD_BYTES_OR_NULL } } },
};

/* An item of several parts; @left counts them when it is definite */
typedef struct Parts {
    bool indefinite;
    uint64_t left;
} Parts;

/* A request on its way from one form to the other */
typedef struct Rewriting {
    EifCbor in;
    uint8_t text[NSM_REQUEST_MAX];      /* of the string that was read last */
    size_t text_len;
    uint8_t out[NSM_REQUEST_MAX];
    size_t out_len;
} Rewriting;

static bool take_byte(EifCbor *c, uint8_t byte)
{
    if (!eif_cbor_left(c) || c->data[c->pos] != byte) {
        return false;
    }
    c->pos++;
    return true;
}

static bool next_is(const EifCbor *c, EifCborMajor major)
{
    return eif_cbor_left(c) && c->data[c->pos] >> 5 == major;
}

static bool open_parts(EifCbor *c, EifCborMajor major, Parts *parts)
{
    parts->left = 0;
    parts->indefinite = take_byte(c, major << 5 | CBOR_INDEFINITE);
    return parts->indefinite || eif_cbor_head(c, major, &parts->left);
}

/* A definite item that ends too early has more: reading that fails */
static bool more_parts(EifCbor *c, Parts *parts)
{
    if (parts->indefinite) {
        return !take_byte(c, CBOR_BREAK);
    }
    return parts->left && parts->left--;
}

static void skip_tags(EifCbor *c)
{
    uint64_t tag;

    while (eif_cbor_head(c, CBOR_TAG, &tag)) {
        /* a tag says what an item means, which its place does here */
    }
}

/* What comes has come in at least as many bytes, so it fits */
static void append_text(Rewriting *r, const uint8_t *data, size_t len)
{
    assert(len <= sizeof(r->text) - r->text_len);
    memcpy(r->text + r->text_len, data, len);
    r->text_len += len;
}

static bool read_piece(Rewriting *r, EifCborMajor major)
{
    size_t len;
    const uint8_t *data = eif_cbor_string(&r->in, major, &len);

    if (data) {
        append_text(r, data, len);
    }
    return data;
}

static bool read_string(Rewriting *r, EifCborMajor major)
{
    r->text_len = 0;
    if (!take_byte(&r->in, major << 5 | CBOR_INDEFINITE)) {
        return read_piece(r, major);
    }
    while (!take_byte(&r->in, CBOR_BREAK)) {
        if (!read_piece(r, major)) {
            return false;
        }
    }
    return true;
}

static bool read_integers(Rewriting *r)
{
    Parts parts;
    uint64_t value;

    r->text_len = 0;
    if (!open_parts(&r->in, EIF_CBOR_ARRAY, &parts)) {
        return false;
    }
    while (more_parts(&r->in, &parts)) {
        uint8_t byte;

        if (!eif_cbor_head(&r->in, EIF_CBOR_UINT, &value) ||
            value > UINT8_MAX) {
            return false;
        }
        byte = value;
        append_text(r, &byte, 1);
    }
    return true;
}

static bool skip_item(Rewriting *r, unsigned depth);

static bool skip_parts(Rewriting *r, EifCborMajor major, unsigned depth)
{
    unsigned items = major == EIF_CBOR_MAP ? 2 : 1;
    Parts parts;

    if (depth == MAX_DEPTH || !open_parts(&r->in, major, &parts)) {
        return false;
    }
    while (more_parts(&r->in, &parts)) {
        for (unsigned i = 0; i < items; i++) {
            if (!skip_item(r, depth + 1)) {
                return false;
            }
        }
    }
    return true;
}

static bool skip_item(Rewriting *r, unsigned depth)
{
    EifCborMajor major;
    uint64_t value;

    skip_tags(&r->in);
    if (!eif_cbor_left(&r->in)) {
        return false;
    }
    major = r->in.data[r->in.pos] >> 5;
    switch (major) {
    case EIF_CBOR_BYTES:
    case EIF_CBOR_TEXT:
        return read_string(r, major);
    case EIF_CBOR_ARRAY:
    case EIF_CBOR_MAP:
        return skip_parts(r, major, depth);
    default:
        return eif_cbor_head(&r->in, major, &value);
    }
}

static void put(Rewriting *r, const void *data, size_t len)
{
    assert(len <= sizeof(r->out) - r->out_len);
    memcpy(r->out + r->out_len, data, len);
    r->out_len += len;
}

static void put_head(Rewriting *r, EifCborMajor major, unsigned value)
{
    uint8_t head[3] = { major << 5 | value };
    size_t len = 1;

    if (value > UINT8_MAX) {
        head[0] = major << 5 | 25;
        stw_be_p(head + 1, value);
        len = 3;
    } else if (value >= 24) {
        head[0] = major << 5 | 24;
        head[1] = value;
        len = 2;
    }
    put(r, head, len);
}

static void put_name(Rewriting *r, const char *name)
{
    put_head(r, EIF_CBOR_TEXT, strlen(name));
    put(r, name, strlen(name));
}

static bool rewrite_index(Rewriting *r)
{
    uint64_t value;

    if (!eif_cbor_head(&r->in, EIF_CBOR_UINT, &value)) {
        return false;
    }
    put_head(r, EIF_CBOR_UINT, MIN(value, NO_INDEX));
    return true;
}

static bool rewrite_bytes(Rewriting *r)
{
    bool text = next_is(&r->in, EIF_CBOR_TEXT);

    if (next_is(&r->in, EIF_CBOR_ARRAY)
        ? !read_integers(r)
        : !read_string(r, text ? EIF_CBOR_TEXT : EIF_CBOR_BYTES)) {
        return false;
    }
    put_head(r, EIF_CBOR_BYTES, r->text_len);
    put(r, r->text, r->text_len);
    return true;
}

static bool rewrite_value(Rewriting *r, FieldKind kind)
{
    static const uint8_t null = CBOR_NULL;

    skip_tags(&r->in);
    if (kind == FIELD_INDEX) {
        return rewrite_index(r);
    }
    if (kind == FIELD_BYTES_OR_NULL && (take_byte(&r->in, CBOR_NULL) ||
                                        take_byte(&r->in, CBOR_UNDEFINED))) {
        put(r, &null, 1);
        return true;
    }
    return rewrite_bytes(r);
}

static bool text_is(const Rewriting *r, const char *text)
{
    return r->text_len == strlen(text) && !memcmp(r->text, text, r->text_len);
}

/* Number of the field whose key comes next; MAX_FIELDS when it is unknown */
static bool read_key(Rewriting *r, const Command *command, unsigned *field)
{
    *field = MAX_FIELDS;
    skip_tags(&r->in);
    if (!next_is(&r->in, EIF_CBOR_TEXT)) {
        return skip_item(r, 0);
    }
    if (!read_string(r, EIF_CBOR_TEXT)) {
        return false;
    }
    for (unsigned i = 0; i < MAX_FIELDS && command->fields[i].name; i++) {
        if (text_is(r, command->fields[i].name)) {
            *field = i;
        }
    }
    return true;
}

static bool rewrite_field(Rewriting *r, const Command *command,
                          bool seen[MAX_FIELDS])
{
    const Field *field;
    unsigned i;

    if (!read_key(r, command, &i)) {
        return false;
    }
    if (i == MAX_FIELDS) {
        return skip_item(r, 0);
    }
    field = &command->fields[i];
    if (seen[i]) {
        return false;
    }
    seen[i] = true;
    put_name(r, field->name);
    return rewrite_value(r, field->kind);
}

static bool rewrite_fields(Rewriting *r, const Command *command)
{
    bool seen[MAX_FIELDS] = { };
    size_t head = r->out_len;
    Parts parts;

    put_head(r, EIF_CBOR_MAP, 0);
    skip_tags(&r->in);
    if (!open_parts(&r->in, EIF_CBOR_MAP, &parts)) {
        return false;
    }
    while (more_parts(&r->in, &parts)) {
        if (!rewrite_field(r, command, seen)) {
            return false;
        }
    }
    for (unsigned i = 0; i < MAX_FIELDS && command->fields[i].name; i++) {
        if (!seen[i] && command->fields[i].kind != FIELD_BYTES_OR_NULL) {
            return false;
        }
        r->out[head] += seen[i];
    }
    return true;
}

static const Command *read_command(Rewriting *r)
{
    if (!read_string(r, EIF_CBOR_TEXT)) {
        return NULL;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        if (text_is(r, commands[i].name)) {
            return &commands[i];
        }
    }
    return NULL;
}

static bool rewrite_map(Rewriting *r)
{
    const Command *command;
    Parts parts;

    if (!open_parts(&r->in, EIF_CBOR_MAP, &parts) ||
        !more_parts(&r->in, &parts)) {
        return false;
    }
    skip_tags(&r->in);
    command = read_command(r);
    if (!command || !command->fields[0].name) {
        return false;
    }
    put_head(r, EIF_CBOR_MAP, 1);
    put_name(r, command->name);
    return rewrite_fields(r, command) && !more_parts(&r->in, &parts);
}

static bool rewrite(Rewriting *r)
{
    const Command *command;

    skip_tags(&r->in);
    if (next_is(&r->in, EIF_CBOR_MAP)) {
        return rewrite_map(r);
    }
    command = read_command(r);
    if (!command || command->fields[0].name) {
        return false;
    }
    put_name(r, command->name);
    return true;
}

size_t nsm_request_normalize(uint8_t *request, size_t len)
{
    g_autofree Rewriting *r = g_new(Rewriting, 1);

    assert(len <= NSM_REQUEST_MAX);
    r->in = (EifCbor) { .data = request, .len = len };
    r->out_len = 0;
    if (!rewrite(r) || r->out_len > len) {
        return 0;
    }
    memcpy(request, r->out, r->out_len);
    return r->out_len;
}
