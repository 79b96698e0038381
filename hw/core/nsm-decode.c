/*
 * Attestation document of a Nitro Secure Module: decode it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The layout is in hw/core/nsm-document.h.  Positions in messages count from
 * the first byte of the document.
 */

#include "qemu/osdep.h"
#include "hw/core/nsm-verify.h"
#include "eif-cbor.h"

#define TAG_HEAD (0xc0 | NSM_DOC_TAG)

static bool take_bytes(EifCbor *c, NSMBytes *bytes, size_t least, size_t most,
                       Error **errp)
{
    EifCbor at = *c;
    size_t len;
    const uint8_t *data = eif_cbor_string(&at, EIF_CBOR_BYTES, &len);

    if (!data || len < least || len > most) {
        g_autofree char *what =
            g_strdup_printf("a string of %zu to %zu bytes", least, most);

        return eif_cbor_refuse(c, c->pos, what, errp);
    }
    *c = at;
    *bytes = (NSMBytes) { data, len };
    return true;
}

static bool take_module_id(EifCbor *c, NSMDocument *claims, Error **errp)
{
    EifCbor at = *c;
    NSMBytes *id = &claims->module_id;

    id->data = eif_cbor_string(&at, EIF_CBOR_TEXT, &id->len);
    if (!id->data || !id->len ||
        !g_utf8_validate((const char *)id->data, id->len, NULL)) {
        return eif_cbor_refuse(c, c->pos, "a text that is not empty", errp);
    }
    *c = at;
    return true;
}

static bool take_digest(EifCbor *c, NSMDocument *claims, Error **errp)
{
    return eif_cbor_key(c, NSM_DOC_SHA384) ||
           eif_cbor_refuse(c, c->pos, "digest \"" NSM_DOC_SHA384 "\"", errp);
}

static bool take_timestamp(EifCbor *c, NSMDocument *claims, Error **errp)
{
    size_t pos = c->pos;

    /* Later times do not fit into the clocks of those who compare */
    if (!eif_cbor_head(c, EIF_CBOR_UINT, &claims->timestamp_ms) ||
        !claims->timestamp_ms || claims->timestamp_ms > INT64_MAX) {
        return eif_cbor_refuse(c, pos, "a time in milliseconds", errp);
    }
    return true;
}

static bool pcr_len_is_known(size_t len)
{
    return len == 32 || len == NSM_DOC_PCR_LEN || len == 64;
}

static bool take_pcr(EifCbor *c, NSMDocument *claims, Error **errp)
{
    size_t pos = c->pos;
    NSMBytes value;
    uint64_t index;

    if (!eif_cbor_head(c, EIF_CBOR_UINT, &index) ||
        index >= NSM_DOC_MAX_PCRS || claims->pcrs[index].data) {
        return eif_cbor_refuse(c, pos, "another register from 0 to 31", errp);
    }
    pos = c->pos;
    if (!take_bytes(c, &value, 32, 64, errp)) {
        return false;
    }
    if (!pcr_len_is_known(value.len)) {
        return eif_cbor_refuse(c, pos, "a register of 32, 48 or 64 bytes",
                               errp);
    }
    claims->pcrs[index] = value;
    return true;
}

static bool take_pcrs(EifCbor *c, NSMDocument *claims, Error **errp)
{
    size_t pos = c->pos;
    EifCborEntries entries;
    unsigned n = 0;

    if (!eif_cbor_open(c, EIF_CBOR_MAP, &entries)) {
        return eif_cbor_refuse(c, pos, "a map of registers", errp);
    }
    for (; eif_cbor_more(c, &entries); n++) {
        if (!take_pcr(c, claims, errp)) {
            return false;
        }
    }
    return n || eif_cbor_refuse(c, pos, "at least one register", errp);
}

static bool take_certificate(EifCbor *c, NSMDocument *claims, Error **errp)
{
    return take_bytes(c, &claims->certificate, 1, NSM_DOC_CERTIFICATE_MAX,
                      errp);
}

static bool take_cabundle(EifCbor *c, NSMDocument *claims, Error **errp)
{
    size_t pos = c->pos;
    EifCborEntries entries;

    if (!eif_cbor_open(c, EIF_CBOR_ARRAY, &entries)) {
        return eif_cbor_refuse(c, pos, "a list of certificates", errp);
    }
    while (eif_cbor_more(c, &entries)) {
        if (claims->nr_cabundle == NSM_CABUNDLE_MAX) {
            return eif_cbor_refuse(c, c->pos, "the end of the cabundle "
                                   "after 16 certificates", errp);
        }
        if (!take_bytes(c, &claims->cabundle[claims->nr_cabundle++], 1,
                        NSM_DOC_CERTIFICATE_MAX, errp)) {
            return false;
        }
    }
    return claims->nr_cabundle ||
           eif_cbor_refuse(c, pos, "at least one certificate", errp);
}

static bool take_optional(EifCbor *c, NSMBytes *bytes, Error **errp)
{
    return eif_cbor_null(c) || take_bytes(c, bytes, 0, NSM_FIELD_MAX, errp);
}

static bool take_public_key(EifCbor *c, NSMDocument *claims, Error **errp)
{
    return take_optional(c, &claims->public_key, errp);
}

static bool take_user_data(EifCbor *c, NSMDocument *claims, Error **errp)
{
    return take_optional(c, &claims->user_data, errp);
}

static bool take_nonce(EifCbor *c, NSMDocument *claims, Error **errp)
{
    return take_optional(c, &claims->nonce, errp);
}

typedef struct Field {
    const char *key;
    bool optional;
    bool (*take)(EifCbor *c, NSMDocument *claims, Error **errp);
} Field;

static const Field fields[NSM_DOC_KEYS] = {
    { NSM_DOC_MODULE_ID, false, take_module_id },
    { NSM_DOC_DIGEST, false, take_digest },
    { NSM_DOC_TIMESTAMP, false, take_timestamp },
    { NSM_DOC_PCRS, false, take_pcrs },
    { NSM_DOC_CERTIFICATE, false, take_certificate },
    { NSM_DOC_CABUNDLE, false, take_cabundle },
    { NSM_DOC_PUBLIC_KEY, true, take_public_key },
    { NSM_DOC_USER_DATA, true, take_user_data },
    { NSM_DOC_NONCE, true, take_nonce },
};

static bool take_field(EifCbor *c, NSMDocument *claims, unsigned *seen,
                       Error **errp)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        if (!(*seen & 1u << i) && eif_cbor_key(c, fields[i].key)) {
            *seen |= 1u << i;
            return fields[i].take(c, claims, errp);
        }
    }
    return eif_cbor_refuse(c, c->pos, "another of the nine keys", errp);
}

static bool check_complete(const EifCbor *c, unsigned seen, Error **errp)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        if (!fields[i].optional && !(seen & 1u << i)) {
            g_autofree char *what = g_strdup_printf("key \"%s\"",
                                                    fields[i].key);

            return eif_cbor_refuse(c, c->pos, what, errp);
        }
    }
    return true;
}

static bool decode_payload(EifCbor c, NSMDocument *claims, Error **errp)
{
    EifCborEntries entries;
    unsigned seen = 0;

    if (!eif_cbor_open(&c, EIF_CBOR_MAP, &entries)) {
        return eif_cbor_refuse(&c, c.pos, "a map", errp);
    }
    claims->indefinite = entries.indefinite;
    while (eif_cbor_more(&c, &entries)) {
        if (!take_field(&c, claims, &seen, errp)) {
            return false;
        }
    }
    if (eif_cbor_left(&c)) {
        return eif_cbor_refuse(&c, c.pos, "the end of the payload", errp);
    }
    return check_complete(&c, seen, errp);
}

static bool decode_message(const uint8_t *data, size_t len, NSMDocument *claims,
                           Error **errp)
{
    ERRP_GUARD();

    claims->tagged = len && data[0] == TAG_HEAD;
    data += claims->tagged;
    len -= claims->tagged;
    if (!eif_cose_split(data, len, &claims->cose, errp)) {
        error_prepend(errp, "not an attestation document: ");
        return false;
    }
    if (claims->cose.algorithm != EIF_COSE_ES384) {
        error_setg(errp, "the attestation document has algorithm %d, not ES384 "
                   "(%d)", claims->cose.algorithm, EIF_COSE_ES384);
        return false;
    }
    return true;
}

bool nsm_document_decode(const uint8_t *data, size_t len, NSMDocument *claims,
                       Error **errp)
{
    EifCbor payload = { .data = data, .name = "the attestation document" };

    memset(claims, 0, sizeof(*claims));
    if (len > NSM_DOC_MAX) {
        error_setg(errp, "an attestation document has at most %d bytes, this "
                   "one has %zu", NSM_DOC_MAX, len);
        return false;
    }
    if (!decode_message(data, len, claims, errp)) {
        return false;
    }
    payload.pos = claims->cose.payload - data;
    payload.len = payload.pos + claims->cose.payload_len;
    return decode_payload(payload, claims, errp);
}

NSMBytes nsm_document_certificate(const NSMDocument *claims, unsigned index)
{
    assert(index <= claims->nr_cabundle);
    return index < claims->nr_cabundle ? claims->cabundle[index]
                                       : claims->certificate;
}

char *nsm_certificate_name(const NSMDocument *claims, unsigned index)
{
    if (index == claims->nr_cabundle) {
        return g_strdup("leaf certificate");
    }
    if (index == 0) {
        return g_strdup("root certificate");
    }
    return g_strdup_printf("certificate %u of %u of the cabundle", index + 1,
                           claims->nr_cabundle);
}

void nsm_fingerprint(NSMBytes der, uint8_t fingerprint[NSM_FINGERPRINT_LEN])
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    gsize len = NSM_FINGERPRINT_LEN;

    g_checksum_update(sum, der.data, der.len);
    g_checksum_get_digest(sum, fingerprint, &len);
}

char *nsm_hex_str(NSMBytes bytes)
{
    GString *text = g_string_sized_new(2 * bytes.len);

    for (size_t i = 0; i < bytes.len; i++) {
        g_string_append_printf(text, "%02x", bytes.data[i]);
    }
    return g_string_free(text, false);
}
