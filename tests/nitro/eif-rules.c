/*
 * Rules of the image format, each with the images that put it to the test
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-image.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/eif-rules-int.h"
#include "tests/nitro/eif-signer.h"
#include "tests/nitro/fuzz/eif-mutator.h"

void eif_rule_finish_and_try(GByteArray *image)
{
    if (image->len >= HEADER_LEN) {
        eif_maker_finish(image);
    }
    eif_rule_try(image);
}

GByteArray *eif_rule_example(void)
{
    return eif_maker_image(4, 0, EXAMPLE);
}

GByteArray *eif_rule_signed_example(void)
{
    static EifSigner *signer;

    signer = signer ?: eif_signer_new(NULL);
    return eif_signer_image(signer, 0);
}

uint64_t eif_rule_section_at(const GByteArray *image, unsigned i)
{
    return ldq_be_p(image->data + AT_OFFSETS + 8 * i);
}

#define NR_EXAMPLE 5 /* sections */

/* Sizes and offsets that go wrong where sums wrap or signs turn */
static uint64_t evil(unsigned i)
{
    static const uint64_t values[] = {
        UINT64_MAX, INT64_MAX, 1ull << 63, 1ull << 48, 1ull << 32, UINT32_MAX,
        INT32_MAX, 1ull << 31, UINT64_MAX - 11, UINT64_MAX - 547,
        UINT64_MAX - 559, 0, 1, 11, 12, 547, 549, 920, 922, 1 << 20,
    };

    return i < G_N_ELEMENTS(values) ? values[i]
           : ((uint64_t)g_rand_int(eif_rule_dice) << 32 |
              g_rand_int(eif_rule_dice)) >>
             g_rand_int_range(eif_rule_dice, 0, 50);
}

#define NR_EVIL 60

static void set_field(GByteArray *image, size_t at, size_t len, uint64_t value)
{
    stn_be_p(image->data + at, len, value);
}

static void try_field(size_t at, size_t len, uint64_t value)
{
    GByteArray *image = eif_rule_example();

    if (ldn_be_p(image->data + at, len) == value) {
        g_byte_array_unref(image);
        return;
    }
    set_field(image, at, len, value);
    eif_rule_finish_and_try(image);
}

static void make_truncated(void)
{
    for (int is_signed = 0; is_signed < 2; is_signed++) {
        g_autoptr(GByteArray) whole = is_signed ? eif_rule_signed_example()
                                                : eif_rule_example();

        for (guint len = 0; len < whole->len; len++) {
            GByteArray *image = g_byte_array_new();

            g_byte_array_append(image, whole->data, len);
            eif_rule_finish_and_try(image);
        }
    }
}

static void make_magic(void)
{
    for (int i = 0; i < 4 * 256; i++) {
        try_field(i / 256, 1, i % 256);
    }
}

static void make_bad_versions(void)
{
    for (unsigned v = 0; v < 65536; v += v < 300 ? 1 : 251) {
        if (v < 2 || v > 4) {
            try_field(AT_VERSION, 2, v);
        }
    }
}

static void make_old_versions(void)
{
    eif_rule_try(eif_maker_image(2, 0, "KC"));
    eif_rule_try(eif_maker_image(2, 0, "KCRr"));
    eif_rule_try(eif_maker_image(3, 0, "KCR"));
    eif_rule_try(eif_maker_image(3, 0, EXAMPLE));
}

static void make_arm64(void)
{
    GByteArray *image = eif_maker_image(4, 1, EXAMPLE);
    g_autoptr(EifImage) read = eif_image_parse_buffer(image->data, image->len,
                                                      &error_abort);
    Error *err = NULL;

    g_assert_false(eif_image_check_arch(read, EIF_ARCH_X86_64, &err));
    error_free_or_abort(&err);
    g_assert_true(eif_image_check_arch(read, EIF_ARCH_AARCH64, &error_abort));
    eif_rule_try(image);
}

static void make_flags(void)
{
    for (unsigned flags = 2; flags < 65536; flags += 61) {
        try_field(AT_FLAGS, 2, flags);
    }
    for (int bit = 1; bit < 16; bit++) {
        try_field(AT_FLAGS, 2, 1 << bit);
    }
}

static void make_unused_fields(void)
{
    for (unsigned i = 0; i < NR_EVIL; i++) {
        try_field(8, 8, evil(i));
        try_field(16, 8, evil(i));
        try_field(24, 2, evil(i) & 0xffff);
        try_field(540, 4, evil(i) & 0xffffffff);
    }
}

static void make_counts(void)
{
    for (unsigned n = 0; n < 65536; n += n < 300 ? 1 : 509) {
        try_field(AT_COUNT, 2, n);
    }
}

static void make_tables(size_t at)
{
    for (unsigned i = 0; i < NR_EXAMPLE * NR_EVIL; i++) {
        try_field(at + i % NR_EXAMPLE * 8, 8, evil(i / NR_EXAMPLE));
    }
}

static void make_offsets(void)
{
    make_tables(AT_OFFSETS);
}

static void make_table_sizes(void)
{
    make_tables(AT_SIZES);
}

static void make_header_sizes(void)
{
    for (unsigned i = 0; i < NR_EXAMPLE * NR_EVIL; i++) {
        g_autoptr(GByteArray) image = eif_rule_example();

        try_field(eif_rule_section_at(image, i % NR_EXAMPLE) + 4, 8,
                  evil(i / NR_EXAMPLE));
    }
}

/* Both places agree on a size that is not the right one */
static void make_agreed_sizes(void)
{
    for (unsigned i = 0; i < NR_EXAMPLE * NR_EVIL; i++) {
        unsigned section = i % NR_EXAMPLE;
        uint64_t size = evil(i / NR_EXAMPLE);
        GByteArray *image = eif_rule_example();
        uint64_t was = ldq_be_p(image->data + AT_SIZES + 8 * section);

        size += size == was;
        /* A tail of up to 11 bytes is allowed */
        if (section == NR_EXAMPLE - 1 && size < was &&
            was - size < SECTION_HEADER_LEN) {
            size = was + 1;
        }
        set_field(image, AT_SIZES + 8 * section, 8, size);
        set_field(image, eif_rule_section_at(image, section) + 4, 8, size);
        eif_rule_finish_and_try(image);
    }
}

static void make_overlaps(void)
{
    for (unsigned i = 0; i + 1 < NR_EXAMPLE; i++) {
        for (unsigned more = 1; more < 100; more++) {
            GByteArray *image = eif_rule_example();
            uint64_t size = ldq_be_p(image->data + AT_SIZES + 8 * i) + more;

            set_field(image, AT_SIZES + 8 * i, 8, size);
            set_field(image, eif_rule_section_at(image, i) + 4, 8, size);
            eif_rule_finish_and_try(image);
        }
    }
}

static void make_gaps(void)
{
    for (unsigned i = 0; i < NR_EXAMPLE * 50; i++) {
        GByteArray *image = eif_rule_example();
        uint64_t at = eif_rule_section_at(image, i % NR_EXAMPLE);
        size_t gap = i / NR_EXAMPLE + 1, rest = image->len - at;

        g_byte_array_set_size(image, image->len + gap);
        memmove(image->data + at + gap, image->data + at, rest);
        for (unsigned k = i % NR_EXAMPLE; k < NR_EXAMPLE; k++) {
            set_field(image, AT_OFFSETS + 8 * k, 8,
                      eif_rule_section_at(image, k) + gap);
        }
        eif_rule_finish_and_try(image);
    }
}

static void make_absurd_unused(void)
{
    for (unsigned i = NR_EXAMPLE; i < 32; i++) {
        try_field(AT_SIZES + 8 * i, 8, UINT64_MAX);
        try_field(AT_SIZES + 8 * i, 8, 1ull << 63);
    }
}

static void make_unused_entries(void)
{
    for (unsigned i = NR_EXAMPLE; i < 32; i++) {
        try_field(AT_SIZES + 8 * i, 8, INT64_MAX);
        try_field(AT_OFFSETS + 8 * i, 8, evil(i));
    }
}

static void make_section_flags(void)
{
    for (unsigned i = 0; i < NR_EXAMPLE * 100; i++) {
        g_autoptr(GByteArray) image = eif_rule_example();

        try_field(eif_rule_section_at(image, i % NR_EXAMPLE) + 2, 2,
                  1 + i * 131 / 2);
    }
}

static void make_types(void)
{
    for (unsigned type = 0; type < 65536; type += type < 64 ? 1 : 1021) {
        for (unsigned i = 0; i < NR_EXAMPLE; i++) {
            g_autoptr(GByteArray) image = eif_rule_example();

            if (type == 0 || type >= 6) {
                try_field(eif_rule_section_at(image, i), 2, type);
            }
        }
    }
}

static void make_all(const char *const *sections)
{
    for (; *sections; sections++) {
        eif_rule_try(eif_maker_image(4, 0, *sections));
    }
}

static void make_doubled(void)
{
    static const char *const list[] = {
        "KKCM", "KCKM", "KCMRK", "KCCM", "CKCM", "KCMC", "KCMM", "MKCM",
        "KCMRSS", "SKCMS", "KCMRrMR", NULL,
    };

    make_all(list);
}

static void make_missing(void)
{
    static const char *const list[] = {
        "CM", "CMS", "KM", "KMRr", "KMS", "KC", "KCR", "KCRrS", NULL,
    };

    make_all(list);
}

static void make_no_ramdisk(void)
{
    static const char *const list[] = { "KCM", "MCK", "CKM", NULL };

    make_all(list);
}

/* All orders of five sections, either with the kernel first or not */
static void make_orders(bool kernel_first)
{
    for (unsigned n = 0; n < 120; n++) {
        char order[] = EXAMPLE;
        unsigned left = n;

        for (unsigned i = 5; i > 1; i--) {
            char swapped = order[i - 1];

            order[i - 1] = order[left % i];
            order[left % i] = swapped;
            left /= i;
        }
        if ((strcspn(order, "K") < strcspn(order, "Rr")) == kernel_first) {
            eif_rule_try(eif_maker_image(4, 0, order));
        }
    }
}

static void make_ramdisk_first(void)
{
    make_orders(false);
}

static void make_any_order(void)
{
    make_orders(true);
}

static void make_empty(void)
{
    static const char *const list[] = {
        "kCM", "KCMs", "kcm", NULL,
    };

    make_all(list);
}

static void make_empty_ramdisk(void)
{
    static const char *const list[] = {
        "KCm", "KCMe", "KCMRe", "KCMeR", "KeCM", "Kcme", NULL,
    };

    make_all(list);
}

static void make_empty_cmdline(void)
{
    static const char *const list[] = { "KcM", "KcMRr", "cKM", NULL };

    make_all(list);
}

static void make_tails(unsigned from, unsigned to)
{
    for (unsigned n = from; n < to; n++) {
        GByteArray *image = eif_rule_example();

        g_byte_array_set_size(image, image->len + n);
        memset(image->data + image->len - n, n, n);
        eif_rule_try(image);
    }
}

static void make_short_tails(void)
{
    make_tails(1, SECTION_HEADER_LEN);
}

static void make_long_tails(void)
{
    make_tails(SECTION_HEADER_LEN, 300);
}

static void make_crcs(void)
{
    for (unsigned i = 0; i < 500; i++) {
        GByteArray *image = eif_rule_example();

        set_field(image, AT_CRC, 4, EXAMPLE_CRC ^ (i + 1) * 0x9e3779b1u);
        eif_rule_try(image);
    }
}

static void make_bit_flips(void)
{
    for (unsigned bit = 0; bit < 8 * EXAMPLE_SIZE; bit++) {
        GByteArray *image = eif_rule_example();

        image->data[bit / 8] ^= 1 << bit % 8;
        eif_rule_try(image);
    }
}

static void change_bytes(GByteArray *image, unsigned n)
{
    while (n--) {
        image->data[g_rand_int_range(eif_rule_dice, 0, image->len)] ^=
            g_rand_int_range(eif_rule_dice, 1, 256);
    }
}

static void make_changes(void)
{
    for (unsigned i = 0; i < 2000; i++) {
        GByteArray *image = eif_rule_example();

        change_bytes(image, 1 + i % 3 * 2);
        eif_rule_try(image);
    }
}

static void make_summed_changes(void)
{
    for (unsigned i = 0; i < 2000; i++) {
        GByteArray *image = eif_rule_example();

        change_bytes(image, 1 + i % 4);
        eif_rule_finish_and_try(image);
    }
}

static size_t blind(uint8_t *data, size_t size, size_t max_size)
{
    if (size) {
        data[g_rand_int_range(eif_rule_dice, 0, size)] ^= 1 <<
            g_rand_int_range(eif_rule_dice, 0, 8);
    }
    return size && g_rand_int_range(eif_rule_dice, 0, 4) == 0 ? size - 1 : size;
}

static void make_structures(void)
{
    for (unsigned i = 0; i < 3000; i++) {
        GByteArray *image = i % 16 ? eif_rule_example()
                                   : eif_rule_signed_example();
        guint room = image->len + 2 * KiB, len = image->len;

        g_byte_array_set_size(image, room);
        for (unsigned n = 0; n <= i % 4; n++) {
            len = eif_mutate(image->data, len, room, eif_rule_dice,
                             blind);
        }
        g_byte_array_set_size(image, len);
        eif_rule_try(image);
    }
}

#define BIT_OF(outcome) (1u << (outcome))
#define IN_PARSE BIT_OF(EIF_FAILS_PARSE)
#define IN_CRC BIT_OF(EIF_FAILS_CRC)
#define IN_SIGNATURE BIT_OF(EIF_FAILS_SIGNATURE)
#define NOWHERE BIT_OF(EIF_ACCEPTED)

const EifRule eif_rules[EIF_NR_RULES] = {
    { "cut short at any byte", IN_PARSE, make_truncated },
    { "wrong magic", IN_PARSE, make_magic },
    { "version below 2 or above 4", IN_PARSE, make_bad_versions },
    { "version 2 or 3", NOWHERE, make_old_versions },
    { "flag of arm64", NOWHERE, make_arm64 },
    { "any other flag", NOWHERE, make_flags },
    { "unused fields of any value", NOWHERE, make_unused_fields },
    { "wrong number of sections", IN_PARSE, make_counts },
    { "wrong offset in the table", IN_PARSE, make_offsets },
    { "wrong size in the table", IN_PARSE, make_table_sizes },
    { "wrong size in the section header", IN_PARSE, make_header_sizes },
    { "wrong size in both places", IN_PARSE | NOWHERE, make_agreed_sizes },
    { "overlapping sections", IN_PARSE, make_overlaps },
    { "gap between sections", NOWHERE, make_gaps },
    { "impossible size in an unused entry", IN_PARSE, make_absurd_unused },
    { "unused entries of other values", NOWHERE, make_unused_entries },
    { "section flags", NOWHERE, make_section_flags },
    { "section type 0 or unknown", IN_PARSE, make_types },
    { "section doubled", IN_PARSE, make_doubled },
    { "section missing", IN_PARSE, make_missing },
    { "no ramdisk", NOWHERE, make_no_ramdisk },
    { "ramdisk before the kernel", IN_PARSE, make_ramdisk_first },
    { "any other order", NOWHERE, make_any_order },
    { "empty kernel or signature", IN_PARSE, make_empty },
    { "empty ramdisk or metadata", NOWHERE, make_empty_ramdisk },
    { "empty cmdline", NOWHERE, make_empty_cmdline },
    { "tail of up to 11 bytes", NOWHERE, make_short_tails },
    { "tail of 12 bytes or more", IN_PARSE, make_long_tails },
    { "wrong CRC", IN_CRC, make_crcs },
    { "any bit flipped", IN_PARSE | IN_CRC, make_bit_flips },
    { "bytes changed", IN_PARSE | IN_CRC, make_changes },
    { "bytes changed, CRC right", IN_PARSE | NOWHERE, make_summed_changes },
    { "sections changed, tables and CRC right",
      IN_PARSE | IN_CRC | IN_SIGNATURE | NOWHERE, make_structures },
    { "metadata that is no JSON", NOWHERE, eif_rule_make_metadata },
    { "metadata that is bulky JSON", NOWHERE, eif_rule_make_bulky_metadata },
    { "signature cut short", IN_SIGNATURE, eif_rule_make_cut_cbor },
    { "signature of other CBOR", IN_SIGNATURE, eif_rule_make_evil_cbor },
    { "signature too long", IN_PARSE, eif_rule_make_long_signature },
    { "signature changed", IN_SIGNATURE, eif_rule_make_changed_cose },
    { "signed else, or at another time", IN_SIGNATURE,
      eif_rule_make_signed_else },
    { "signed well", NOWHERE, eif_rule_make_signed },
};
