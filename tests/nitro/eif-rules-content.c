/*
 * Rules of the image format: metadata and signatures
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-image.h"
#include "qemu/units.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/eif-rules-int.h"
#include "tests/nitro/eif-signer.h"

static GByteArray *with_metadata(const void *text, size_t len)
{
    GByteArray *image = eif_maker_image(4, 0, "KC");

    eif_maker_add(image, 5, text, len);
    eif_maker_finish(image);
    return image;
}

/* The reader does not look at it; qemu-eif describe does, and survives */
static void try_metadata(const char *text, size_t len)
{
    GByteArray *image = with_metadata(text, len);

    eif_rule_describe(image);
    eif_rule_try(image);
}

void eif_rule_make_metadata(void)
{
    static const char *const list[] = {
        "{", "[", "null", "1e999", "{\"a\":1,\"a\":2}", "{\"a\"", "\"",
        "{\"ImageName\":1,\"BuildMetadata\":[]}", "\xff\xfe", "{} {}", "\\u",
        "{\"DockerInfo\":18446744073709551616,\"CustomMetadata\":-0}",
        "{\"ImageName\":\"\\ud800\"}", "%d%s%n", "{'a':'b'}",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(list); i++) {
        try_metadata(list[i], strlen(list[i]));
    }
    for (size_t n = 1; n < sizeof(EXAMPLE_METADATA); n += 6) {
        try_metadata(EXAMPLE_METADATA, n);
    }
    try_metadata("\0{}", 3);
}

/* JSON that takes a hundred times its size when it is read */
void eif_rule_make_bulky_metadata(void)
{
    static const char *const pieces[] = { "[", "1,", "{\"a\":", "\"\",", "[],",
                                          "{},", "1", "\\\"" };

    for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
        for (unsigned kib = 64; kib <= 4096; kib *= 8) {
            g_autoptr(GString) text =
                g_string_new("{\"CustomMetadata\":[\"\",");

            while (text->len < kib * KiB) {
                g_string_append(text, pieces[i]);
            }
            try_metadata(text->str, text->len);
        }
    }
}

static GByteArray *with_signature(const uint8_t *cbor, size_t len)
{
    GByteArray *image = eif_rule_example();

    eif_maker_add(image, 4, cbor, len);
    eif_maker_finish(image);
    return image;
}

void eif_rule_make_cut_cbor(void)
{
    g_autoptr(GByteArray) cbor = eif_maker_signature(EXAMPLE_PEM, "COSE");

    for (size_t len = 1; len < cbor->len; len++) {
        eif_rule_try(with_signature(cbor->data, len));
    }
}

/* Heads of CBOR items with every major type and length, evil counts */
void eif_rule_make_evil_cbor(void)
{
    for (unsigned head = 0; head < 256; head++) {
        g_autoptr(GByteArray) good = eif_maker_signature(EXAMPLE_PEM, "COSE");
        uint8_t cbor[] = { 0x81, head, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                           0xff, 0xff, 0xff };

        eif_rule_try(with_signature(cbor + 1, sizeof(cbor) - 1));
        eif_rule_try(with_signature(cbor, sizeof(cbor)));
        memset(cbor + 1, head, sizeof(cbor) - 1);
        eif_rule_try(with_signature(cbor, sizeof(cbor)));
        if (head != good->data[1]) {
            good->data[1] = head;
            eif_rule_try(with_signature(good->data, good->len));
        }
    }
}

void eif_rule_make_long_signature(void)
{
    for (unsigned more = 1; more < 200; more += 9) {
        g_autofree uint8_t *cbor = g_malloc0(EIF_SIGNATURE_MAX + more);

        eif_rule_try(with_signature(cbor, EIF_SIGNATURE_MAX + more));
    }
}

/* Position of the COSE message in an image: behind its key */
static size_t cose_at(const GByteArray *image)
{
    const char *key = "isignature"; /* with the CBOR head of a text */
    const uint8_t *at = memmem(image->data, image->len, key, strlen(key));

    g_assert_nonnull(at);
    return at - image->data + strlen(key);
}

void eif_rule_make_changed_cose(void)
{
    g_autoptr(GByteArray) whole = eif_rule_signed_example();

    for (size_t at = cose_at(whole); at < whole->len; at++) {
        GByteArray *image = eif_rule_signed_example();

        image->data[at] ^= 1 << at % 8;
        eif_rule_finish_and_try(image);
    }
}

void eif_rule_make_signed_else(void)
{
    const EifSignerParams late = { .not_after = EIF_SIGNER_NOW - 1 };
    const EifSignerParams early = { .not_before = EIF_SIGNER_NOW + 1 };
    const EifSignerParams other = { .pcr0 = EMPTY_PCR2 };
    const EifSignerParams *const all[] = { &late, &early, &other };
    GByteArray *image = eif_rule_signed_example();

    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        g_autoptr(EifSigner) signer = eif_signer_new(all[i]);

        eif_rule_try(eif_signer_image(signer, 0));
    }
    image->data[eif_rule_section_at(image, 0) + SECTION_HEADER_LEN] ^= 1;
    eif_rule_finish_and_try(image);
}

void eif_rule_make_signed(void)
{
    static const int curves[] = { 256, 384, 521 };

    for (int i = 0; i < 3; i++) {
        const EifSignerParams params = { .curve = curves[i] };
        g_autoptr(EifSigner) signer = eif_signer_new(&params);

        eif_rule_try(eif_signer_image(signer, i & 1));
    }
}
