/*
 * Enclave image reader: what it accepts, what it refuses and how
 *
 * Every refusal has a row that provokes it and knows its message.  Images are
 * made by hand.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "crypto/init.h"
#include "hw/core/eif-image.h"
#include "tests/nitro/eif-maker.h"

typedef struct Patch {
    unsigned at; /* 0: no patch */
    unsigned len;
    uint64_t value;
} Patch;

typedef struct Row {
    const char *name;
    const char *sections; /* see eif_maker_image(); NULL: the worked example */
    Patch patch[2];
    int grow; /* bytes to append or, when negative, to cut */
    const char *error;
    const char *hint; /* part of it; NULL: the one to rebuild the image */
} Row;

#define OFFSET(i) (AT_OFFSETS + (i) * 8)
#define SIZE(i) (AT_SIZES + (i) * 8)
/* Section headers of the worked example: type, flags, size */
#define KERNEL_AT 548
#define CMDLINE_AT 576
#define METADATA_AT 601
#define RAMDISK0_AT 857
#define RAMDISK1_AT 901
#define TYPE(at) ((at) + 0)
#define FLAGS(at) ((at) + 2)
#define LEN(at) ((at) + 4)

static const Row bad_rows[] = {
    /* header */
    { "version-0", NULL, { { AT_VERSION, 2, 0 } }, 0,
      "image version 0 is not supported, 2 to 4 are" },
    { "version-1", NULL, { { AT_VERSION, 2, 1 } }, 0,
      "image version 1 is not supported, 2 to 4 are" },
    { "version-5", NULL, { { AT_VERSION, 2, 5 } }, 0,
      "image version 5 is not supported, 2 to 4 are" },
    { "count-0", NULL, { { AT_COUNT, 2, 0 } }, 0,
      "the image header counts 0 sections, 2 to 32 are possible" },
    { "count-1", NULL, { { AT_COUNT, 2, 1 } }, 0,
      "the image header counts 1 sections, 2 to 32 are possible" },
    { "count-33", "KCMRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR", { }, 0,
      "the image header counts 33 sections, 2 to 32 are possible" },
    { "count-max", NULL, { { AT_COUNT, 2, 0xffff } }, 0,
      "the image header counts 65535 sections, 2 to 32 are possible" },
    { "count-too-small", NULL, { { AT_COUNT, 2, 4 } }, 0,
      "20 bytes follow the last section of the image, which ends at 901" },
    { "count-too-large", NULL, { { AT_COUNT, 2, 6 } }, 0,
      "section 5 of the image begins at offset 0, where the section before "
      "it (ends at 921) still is" },
    { "unused-size-max", NULL, { { SIZE(31), 8, UINT64_MAX } }, 0,
      "section 31 of the image is not counted, but has the impossible size "
      "18446744073709551615 in the header" },
    { "unused-size-sign", NULL, { { SIZE(5), 8, 1ULL << 63 } }, 0,
      "section 5 of the image is not counted, but has the impossible size "
      "9223372036854775808 in the header" },

    /* places */
    { "first-in-header", NULL, { { OFFSET(0), 8, 547 } }, 0,
      "section 0 of the image begins at offset 547, where the header before "
      "it (ends at 548) still is" },
    { "first-late", NULL, { { OFFSET(0), 8, 549 } }, 0,
      "section 0 (unknown) of the image has type 256 at offset 549, which "
      "does not exist" },
    { "overlap", NULL, { { OFFSET(1), 8, 575 } }, 0,
      "section 1 of the image begins at offset 575, where the section before "
      "it (ends at 576) still is" },
    { "same-place", NULL, { { OFFSET(4), 8, RAMDISK0_AT } }, 0,
      "section 4 of the image begins at offset 857, where the section before "
      "it (ends at 901) still is" },
    { "gap-to-end", NULL, { { OFFSET(4), 8, 910 } }, 0,
      "section 4 of the image has its header at offset 910, but the image is "
      "cut short at 921" },
    { "gap-beyond-end", NULL, { { OFFSET(4), 8, 922 } }, 0,
      "section 4 of the image has its header at offset 922, but the image is "
      "cut short at 921" },
    { "offset-max", NULL, { { OFFSET(4), 8, UINT64_MAX } }, 0,
      "section 4 of the image has its header at offset 18446744073709551615, "
      "but the image is cut short at 921" },
    { "no-room-for-header", NULL,
      { { AT_COUNT, 2, 6 }, { OFFSET(5), 8, 921 } }, 11,
      "section 5 of the image has its header at offset 921, but the image is "
      "cut short at 932" },

    /* sizes */
    { "table-size-less", NULL, { { SIZE(3), 8, 31 } }, 0,
      "section 3 (ramdisk) of the image has 32 bytes by its own header, 31 by "
      "the image header" },
    { "own-size-more", NULL, { { LEN(KERNEL_AT), 8, 17 } }, 0,
      "section 0 (kernel) of the image has 17 bytes by its own header, 16 by "
      "the image header" },
    { "resigned", "KCMRS", { { SIZE(4), 8, 100 } }, 0,
      "section 4 (signature) of the image has 169 bytes by its own header, "
      "100 by the image header", "sign an unsigned copy" },
    { "size-beyond-end", NULL,
      { { SIZE(4), 8, 9 }, { LEN(RAMDISK1_AT), 8, 9 } }, 0,
      "section 4 (ramdisk) of the image needs 9 bytes at offset 913, but the "
      "image is cut short at 921" },
    { "size-2^48", NULL,
      { { SIZE(0), 8, 1ULL << 48 }, { LEN(KERNEL_AT), 8, 1ULL << 48 } }, 0,
      "section 0 (kernel) of the image needs 281474976710656 bytes at offset "
      "560, but the image is cut short at 921" },
    { "size-wraps", NULL,
      { { SIZE(1), 8, -28ULL }, { LEN(CMDLINE_AT), 8, -28ULL } }, 0,
      "section 1 (cmdline) of the image needs 18446744073709551588 bytes at "
      "offset 588, but the image is cut short at 921" },
    { "cut-by-1", NULL, { }, -1,
      "section 4 (ramdisk) of the image needs 8 bytes at offset 913, but the "
      "image is cut short at 920" },
    { "cut-in-header", NULL, { }, -9,
      "section 4 of the image has its header at offset 901, but the image is "
      "cut short at 912" },
    { "cut-to-header", NULL, { }, -(EXAMPLE_SIZE - HEADER_LEN),
      "section 0 of the image has its header at offset 548, but the image is "
      "cut short at 548" },
    { "header-cut", NULL, { }, -(EXAMPLE_SIZE - HEADER_LEN + 1),
      "the image is cut short: it has 547 bytes, the header alone takes 548" },
    { "magic-only", NULL, { }, -(EXAMPLE_SIZE - 4),
      "the image is cut short: it has 4 bytes, the header alone takes 548" },
    { "empty-kernel", "kCMR", { }, 0,
      "section 0 (kernel) of the image at offset 560 is empty" },
    { "empty-signature", "KCMRs", { }, 0,
      "section 4 (signature) of the image at offset 913 is empty" },
    { "tail-12", NULL, { }, 12,
      "12 bytes follow the last section of the image, which ends at 921" },
    { "tail-4096", NULL, { }, 4096,
      "4096 bytes follow the last section of the image, which ends at 921" },

    /* types */
    { "type-0", NULL, { { TYPE(METADATA_AT), 2, 0 } }, 0,
      "section 2 (invalid) of the image has type 0 at offset 601, which does "
      "not exist" },
    { "type-6", NULL, { { TYPE(METADATA_AT), 2, 6 } }, 0,
      "section 2 (unknown) of the image has type 6 at offset 601, which does "
      "not exist" },
    { "type-max", NULL, { { TYPE(KERNEL_AT), 2, 0xffff } }, 0,
      "section 0 (unknown) of the image has type 65535 at offset 548, which "
      "does not exist" },
    { "two-kernels", "KKCMR", { }, 0,
      "section 1 (kernel) of the image at offset 576 is the second of its "
      "type, only one is allowed" },
    { "two-cmdlines", "KCCMR", { }, 0,
      "section 2 (cmdline) of the image at offset 601 is the second of its "
      "type, only one is allowed" },
    { "two-metadata", "KCMMR", { }, 0,
      "section 3 (metadata) of the image at offset 857 is the second of its "
      "type, only one is allowed" },
    { "two-signatures", "KCMRSS", { }, 0,
      "section 5 (signature) of the image at offset 1082 is the second of its "
      "type, only one is allowed" },
    { "ramdisk-first", "RKCM", { }, 0,
      "section 0 (ramdisk) of the image at offset 548 stands before the "
      "kernel" },
    { "ramdisk-before-kernel", "CMRK", { }, 0,
      "section 2 (ramdisk) of the image at offset 829 stands before the "
      "kernel" },
    { "no-kernel", "CM", { }, 0,
      "the image (version 4, 2 sections) has no kernel section" },
    { "no-cmdline", "KMR", { }, 0,
      "the image (version 4, 3 sections) has no cmdline section" },
    { "no-metadata", "KCR", { }, 0,
      "the image (version 4, 3 sections) has no metadata section" },

    /* not an image */
    { "magic", NULL, { { 1, 1, 'E' } }, 0,
      "not an enclave image but a file of unknown format",
      "nitro-cli build-enclave" },
    { "no-magic-left", NULL, { }, -(EXAMPLE_SIZE - 3),
      "not an enclave image but a text file", "nitro-cli build-enclave" },
    { "empty", NULL, { }, -EXAMPLE_SIZE,
      "not an enclave image but an empty file", "nitro-cli build-enclave" },
};

static GByteArray *row_image(const Row *row)
{
    GByteArray *image = eif_maker_image(4, 0, row->sections ?: EXAMPLE);
    guint len = image->len;

    for (size_t i = 0; i < ARRAY_SIZE(row->patch); i++) {
        uint8_t value[8];

        stq_be_p(value, row->patch[i].value);
        memcpy(image->data + row->patch[i].at,
               value + 8 - row->patch[i].len, row->patch[i].len);
    }
    g_byte_array_set_size(image, len + row->grow);
    if (row->grow > 0) {
        memset(image->data + len, 0, row->grow);
    }
    return image;
}

static void assert_refused(EifImage *image, Error *err, const char *message,
                           const char *hint)
{
    g_assert_null(image);
    eif_maker_assert_error(err, message, hint);
}

/* Parse a copy that ends where its memory ends, so that sanitizers see more */
static EifImage *parse_exact(const GByteArray *image, guint len, Error **errp)
{
    g_autofree uint8_t *copy = g_memdup2(image->data, len);

    return eif_image_parse_buffer(copy, len, errp);
}

static void test_bad_row(const void *opaque)
{
    const Row *row = opaque;
    const char *hint = row->hint ?: "rebuild it with 'nitro-cli build-enclave'";
    g_autoptr(GByteArray) bytes = row_image(row);
    int fd = eif_maker_file(bytes->data, bytes->len);
    Error *err = NULL;
    EifImage *image = eif_image_open_fd(fd, &err);

    assert_refused(image, err, row->error, hint);
    close(fd);
    if (!strstr(row->error, "follow the last section")) {
        err = NULL;
        image = parse_exact(bytes, bytes->len, &err);
        assert_refused(image, err, row->error, hint);
    }
}

typedef struct GoodRow {
    const char *name;
    uint16_t version;
    uint16_t flags;
    const char *sections;
    const char *pcr0; /* NULL: not checked */
    const char *pcr1;
    const char *pcr2;
} GoodRow;

#define NO_RAMDISK_PCR \
    "9c64b36125684b4da8c82ac98aef6ed465ef16bf11aaab30" \
    "88e6d7520fa05e53b732026e298b2d34285c9ad10ada23db"

static const GoodRow good_rows[] = {
    { "example", 4, 0, EXAMPLE, EXAMPLE_PCR0, EXAMPLE_PCR1, EXAMPLE_PCR2 },
    { "arm64", 4, 1, EXAMPLE, EXAMPLE_PCR0, EXAMPLE_PCR1, EXAMPLE_PCR2 },
    { "version-3", 3, 0, "KCRr", EXAMPLE_PCR0, EXAMPLE_PCR1, EXAMPLE_PCR2 },
    { "version-2", 2, 0, "KCRr", EXAMPLE_PCR0, EXAMPLE_PCR1, EXAMPLE_PCR2 },
    { "version-3-metadata", 3, 0, "KCMRr", EXAMPLE_PCR0, EXAMPLE_PCR1,
      EXAMPLE_PCR2 },
    { "one-ramdisk", 4, 0, "KCMR", EXAMPLE_PCR1, EXAMPLE_PCR1, EMPTY_PCR2 },
    { "metadata-last", 4, 0, "KCRrM", EXAMPLE_PCR0, EXAMPLE_PCR1,
      EXAMPLE_PCR2 },
    { "signed", 4, 0, "KCMRrS", EXAMPLE_PCR0, EXAMPLE_PCR1, EXAMPLE_PCR2 },
    { "signature-first", 4, 0, "SKCMRr", EXAMPLE_PCR0, EXAMPLE_PCR1,
      EXAMPLE_PCR2 },
    /* order in the file counts */
    { "cmdline-first", 4, 0, "CKMRr",
      "a927f127d02b9b2f58e8d64b7f30ac5eacff17a0688fd12e"
      "4b55a7e8322b5c9a1dfb265288448a7b2b1dc7cdaa4a7bcf",
      "89145a9c916dde6018d20c67f262b702f43b48a540899e3e"
      "f9cad07c5ad88834d896d87131c9854857eaa5a77f676d60", EXAMPLE_PCR2 },
    { "no-ramdisk", 4, 0, "KCM", NO_RAMDISK_PCR, NO_RAMDISK_PCR,
      EMPTY_PCR2 },
    /* without a byte: as if it were not there */
    { "empty-ramdisk", 4, 0, "KCMe", NO_RAMDISK_PCR, NO_RAMDISK_PCR,
      EMPTY_PCR2 },
    { "empty-ramdisks", 4, 0, "KCeeM", NO_RAMDISK_PCR, NO_RAMDISK_PCR,
      EMPTY_PCR2 },
    { "empty-first", 4, 0, "KCMeRr", EXAMPLE_PCR0, EXAMPLE_PCR1,
      EXAMPLE_PCR2 },
    { "empty-between", 4, 0, "KCMRer", EXAMPLE_PCR0, EXAMPLE_PCR1,
      EXAMPLE_PCR2 },
    { "empty-last", 4, 0, "KCMRe", EXAMPLE_PCR1, EXAMPLE_PCR1, EMPTY_PCR2 },
    { "empty-metadata", 4, 0, "KCmRr", EXAMPLE_PCR0, EXAMPLE_PCR1,
      EXAMPLE_PCR2 },
    { "flags", 4, 0x0240, EXAMPLE, EXAMPLE_PCR0, EXAMPLE_PCR1, EXAMPLE_PCR2 },
    { "all-flags", 4, 0xffff, EXAMPLE, EXAMPLE_PCR0, EXAMPLE_PCR1,
      EXAMPLE_PCR2 },
    { "empty-cmdline", 4, 0, "KcM" },
    { "two-sections", 3, 0, "KC" },
    { "32-sections", 4, 0, "KCMRRRRRRRRRRRRRRRRRRRRRRRRRRRRR" },
};

static void assert_pcr(const uint8_t *pcr, const char *hex)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (int i = 0; i < EIF_PCR_LEN; i++) {
        g_string_append_printf(text, "%02x", pcr[i]);
    }
    if (hex) {
        g_assert_cmpstr(text->str, ==, hex);
    }
}

static void test_good_row(const void *opaque)
{
    const GoodRow *row = opaque;
    g_autoptr(GByteArray) bytes = eif_maker_image(row->version, row->flags,
                                                  row->sections);
    g_autoptr(EifImage) image = parse_exact(bytes, bytes->len, &error_abort);
    bool is_signed = strchr(row->sections, 'S');
    EifMeasurements m;
    EifSource src;

    eif_source_init_buffer(&src, bytes->data, bytes->len);
    g_assert_true(eif_image_verify_crc(image, &src, &error_abort));
    g_assert_true(eif_image_measure(image, &src, &m, &error_abort));
    assert_pcr(m.pcr0, row->pcr0);
    assert_pcr(m.pcr1, row->pcr1);
    assert_pcr(m.pcr2, row->pcr2);
    assert_pcr(m.pcr8, is_signed ? EXAMPLE_PCR8 : ZERO_PCR);
    g_assert_cmpint(m.has_pcr8, ==, is_signed);
    g_assert_cmpint(image->has_signature, ==, is_signed);
    g_assert_cmpint(image->has_metadata, ==, !!strpbrk(row->sections, "Mm"));
    g_assert_cmpint(image->version, ==, row->version);
    g_assert_cmpint(image->arch, ==, row->flags & 1 ? EIF_ARCH_AARCH64
                                                    : EIF_ARCH_X86_64);
    g_assert_cmphex(image->flags, ==, row->flags & 0xfffe);
    g_assert_cmpint(image->nr_sections, ==, strlen(row->sections));
    g_assert_cmpint(image->image_size, ==, bytes->len);
}

/* Section 11 of the description of the format, number by number */
static void test_worked_example(void)
{
    static const EifSection want[] = {
        { EIF_SECTION_KERNEL, 0, 0, 560, 16 },
        { EIF_SECTION_CMDLINE, 0, 0, 588, 13 },
        { EIF_SECTION_METADATA, 0, 0, 613, 244 },
        { EIF_SECTION_RAMDISK, 0, 0, 869, 32 },
        { EIF_SECTION_RAMDISK, 0, 0, 913, 8 },
    };
    g_autoptr(GByteArray) bytes = eif_maker_image(4, 0, EXAMPLE);
    g_autoptr(EifImage) image = parse_exact(bytes, bytes->len, &error_abort);

    g_assert_cmpint(bytes->len, ==, EXAMPLE_SIZE);
    g_assert_cmpint(image->image_size, ==, EXAMPLE_SIZE);
    g_assert_cmphex(image->crc, ==, EXAMPLE_CRC);
    g_assert_cmpint(image->nr_ramdisks, ==, 2);
    g_assert_cmpint(image->nr_sections, ==, ARRAY_SIZE(want));
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        g_assert_cmpint(image->sections[i].type, ==, want[i].type);
        g_assert_cmpint(image->sections[i].data_offset, ==,
                        want[i].data_offset);
        g_assert_cmpint(image->sections[i].size, ==, want[i].size);
        g_assert_cmpint(image->sections[i].gap, ==, 0);
        g_assert_cmpint(image->sections[i].flags, ==, 0);
    }
    g_assert_cmpint(image->flags, ==, 0);
    g_assert_cmpint(image->tail, ==, 0);
}

/* The worked example with @gap bytes of another value before each section */
static GByteArray *with_gaps(uint8_t gap)
{
    static const unsigned at[] = {
        KERNEL_AT, CMDLINE_AT, METADATA_AT, RAMDISK0_AT, RAMDISK1_AT,
        EXAMPLE_SIZE
    };
    g_autoptr(GByteArray) plain = eif_maker_image(4, 0, EXAMPLE);
    g_autofree uint8_t *fill = g_malloc(gap);
    GByteArray *bytes = g_byte_array_new();

    memset(fill, gap, gap);
    g_byte_array_append(bytes, plain->data, HEADER_LEN);
    for (int i = 0; i < 5; i++) {
        g_byte_array_append(bytes, fill, gap);
        stq_be_p(bytes->data + OFFSET(i), bytes->len);
        g_byte_array_append(bytes, plain->data + at[i], at[i + 1] - at[i]);
    }
    eif_maker_finish(bytes);
    return bytes;
}

/* The CRC covers what is between sections, the measurements do not */
static void test_gaps(void)
{
    for (unsigned gap = 1; gap < 100; gap += 7) {
        g_autoptr(GByteArray) bytes = with_gaps(gap);
        g_autoptr(EifImage) image = parse_exact(bytes, bytes->len,
                                                &error_abort);
        EifMeasurements m;
        EifSource src;

        eif_source_init_buffer(&src, bytes->data, bytes->len);
        g_assert_true(eif_image_verify_crc(image, &src, &error_abort));
        g_assert_true(eif_image_measure(image, &src, &m, &error_abort));
        assert_pcr(m.pcr0, EXAMPLE_PCR0);
        assert_pcr(m.pcr1, EXAMPLE_PCR1);
        assert_pcr(m.pcr2, EXAMPLE_PCR2);
        g_assert_cmpint(image->image_size, ==, EXAMPLE_SIZE + 5 * gap);
        for (int i = 0; i < 5; i++) {
            g_assert_cmpint(image->sections[i].gap, ==, gap);
        }
        bytes->data[HEADER_LEN] ^= 1;
        g_assert_false(eif_image_verify_crc(image, &src, NULL));
    }
}

static void test_section_flags(void)
{
    static const unsigned at[] = {
        KERNEL_AT, CMDLINE_AT, METADATA_AT, RAMDISK0_AT, RAMDISK1_AT,
    };

    for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
        g_autoptr(GByteArray) bytes = eif_maker_image(4, 0, EXAMPLE);
        g_autoptr(EifImage) image = NULL;

        stw_be_p(bytes->data + FLAGS(at[i]), 0x8001);
        image = parse_exact(bytes, bytes->len, &error_abort);
        g_assert_cmphex(image->sections[i].flags, ==, 0x8001);
    }
}

static void test_known_crcs(void)
{
    static const struct {
        uint16_t version, flags;
        const char *sections;
        uint32_t crc;
    } rows[] = {
        { 4, 0, EXAMPLE, EXAMPLE_CRC },
        { 4, 1, EXAMPLE, EXAMPLE_CRC_ARM64 },
        { 3, 0, "KCRr", 0x6bfbc5c7 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(GByteArray) bytes = eif_maker_image(rows[i].version,
                                                      rows[i].flags,
                                                      rows[i].sections);
        g_autoptr(EifImage) image = parse_exact(bytes, bytes->len,
                                                &error_abort);

        g_assert_cmphex(image->crc, ==, rows[i].crc);
    }
}

static void test_truncated_everywhere(void)
{
    g_autoptr(GByteArray) bytes = eif_maker_image(4, 0, "KCMRrS");

    for (guint len = 0; len < bytes->len; len++) {
        Error *err = NULL;

        g_assert_null(parse_exact(bytes, len, &err));
        g_assert_nonnull(strstr(error_get_pretty(err), len < 4
                                ? "not an enclave image" : "is cut short"));
        error_free(err);
    }
}

/* No bit of an image can flip unnoticed */
static void test_flipped_everywhere(void)
{
    g_autoptr(GByteArray) bytes = eif_maker_image(4, 0, "KCMRrS");
    EifSource src;

    eif_source_init_buffer(&src, bytes->data, bytes->len);
    for (guint bit = 0; bit < bytes->len * 8; bit++) {
        g_autoptr(EifImage) image = NULL;
        Error *err = NULL;

        bytes->data[bit / 8] ^= 1 << bit % 8;
        image = parse_exact(bytes, bytes->len, &err);
        if (image) {
            g_assert_false(eif_image_verify_crc(image, &src, &err));
            g_assert_nonnull(strstr(error_get_pretty(err), "is damaged"));
        }
        g_assert_nonnull(err);
        error_free(err);
        bytes->data[bit / 8] ^= 1 << bit % 8;
    }
}

/* Fields that nobody looks at may hold anything, as long as the CRC fits */
static void test_ignored_fields(void)
{
    g_autoptr(GByteArray) bytes = eif_maker_image(4, 0, EXAMPLE);
    g_autoptr(EifImage) image = NULL;
    EifSource src;

    memset(bytes->data + 8, 0xff, 18); /* memory, CPUs, reserved */
    memset(bytes->data + OFFSET(5), 0xff, 8);
    memset(bytes->data + 540, 0xff, 4);
    stq_be_p(bytes->data + SIZE(5), INT64_MAX);
    eif_maker_finish(bytes);
    image = parse_exact(bytes, bytes->len, &error_abort);
    eif_source_init_buffer(&src, bytes->data, bytes->len);
    g_assert_true(eif_image_verify_crc(image, &src, &error_abort));
}

static void test_tail(void)
{
    g_autoptr(GByteArray) bytes = eif_maker_image(4, 0, EXAMPLE);
    static const uint8_t tail[64] = { 0xff };

    g_byte_array_append(bytes, tail, sizeof(tail));
    for (guint n = 0; n <= sizeof(tail); n++) {
        g_autoptr(EifImage) in_memory = NULL;
        g_autoptr(EifImage) in_file = NULL;
        int fd = eif_maker_file(bytes->data, EXAMPLE_SIZE + n);

        in_memory = parse_exact(bytes, EXAMPLE_SIZE + n, &error_abort);
        g_assert_cmpint(in_memory->image_size, ==, EXAMPLE_SIZE);
        in_file = eif_image_open_fd(fd, n < 12 ? &error_abort : NULL);
        g_assert_cmpint(!!in_file, ==, n < 12);
        g_assert_cmpint(in_memory->tail, ==, 0);
        g_assert(!in_file || in_file->tail == n);
        close(fd);
    }
}

static void test_arch(void)
{
    g_autoptr(GByteArray) bytes = eif_maker_image(4, 1, EXAMPLE);
    g_autoptr(EifImage) image = parse_exact(bytes, bytes->len, &error_abort);
    Error *err = NULL;

    g_assert_true(eif_image_check_arch(image, EIF_ARCH_AARCH64, &error_abort));
    g_assert_false(eif_image_check_arch(image, EIF_ARCH_X86_64, &err));
    assert_refused(NULL, err, "the image is for arm64, the enclave runs on "
                   "x86_64", "Rebuild the image for x86_64");
}

static void test_big_signature(void)
{
    g_autoptr(GByteArray) sig = eif_maker_signature(EXAMPLE_PEM, "");

    for (int extra = 0; extra < 2; extra++) {
        g_autofree char *cose = g_strnfill(EIF_SIGNATURE_MAX - sig->len + extra,
                                           1);
        g_autoptr(GByteArray) data = eif_maker_signature(EXAMPLE_PEM, cose);
        g_autoptr(GByteArray) bytes = eif_maker_image(4, 0, "KCM");
        g_autoptr(EifImage) image = NULL;
        Error *err = NULL;

        g_assert_cmpint(data->len, ==, EIF_SIGNATURE_MAX + extra);
        eif_maker_add(bytes, EIF_SECTION_SIGNATURE, data->data, data->len);
        image = parse_exact(bytes, bytes->len, &err);
        if (extra) {
            assert_refused(image, err, "section 3 (signature) of the image "
                           "has 32769 bytes, at most 32768 are allowed", NULL);
        } else {
            g_assert_nonnull(image);
        }
    }
}

static void test_broken_signature(void)
{
    g_autoptr(GByteArray) bytes = eif_maker_image(4, 0, "KCM");
    Error *err = NULL;
    g_autoptr(EifImage) image = NULL;
    EifMeasurements m;
    EifSource src;

    eif_maker_add(bytes, EIF_SECTION_SIGNATURE, "\x80", 1);
    image = parse_exact(bytes, bytes->len, &error_abort);
    eif_source_init_buffer(&src, bytes->data, bytes->len);
    g_assert_null(eif_image_read_signature(image, &src, &err));
    assert_refused(NULL, err, "the signature section of the image is broken: "
                   "a list of at least one signature expected at byte 0",
                   "'qemu-eif sign' replaces the signature");
    g_assert_true(eif_image_measure(image, &src, &m, &error_abort));
    g_assert_true(m.pcr8_unknown);
    g_assert_false(m.has_pcr8);
    err = NULL;
    g_assert_false(eif_measurements_expect(&m, 8, m.pcr8, &err));
    assert_refused(NULL, err, "the signature section of the image is broken, "
                   "expected is PCR8 000000000000000000000000000000000000000000"
                   "000000000000000000000000000000000000000000000000000000",
                   NULL);
}

/* Sections beyond 4 GiB, in a file that is nearly all hole */
static void test_huge(void)
{
    const uint64_t big = 9 * GiB;
    g_autoptr(GByteArray) bytes = eif_maker_image(4, 0, EXAMPLE);
    g_autoptr(EifImage) image = NULL;
    int fd;

    stq_be_p(bytes->data + SIZE(3), big);
    stq_be_p(bytes->data + LEN(RAMDISK0_AT), big);
    stq_be_p(bytes->data + OFFSET(4), 869 + big);
    fd = eif_maker_file(bytes->data, 869);
    if (pwrite(fd, bytes->data + RAMDISK1_AT, 20, 869 + big) != 20) {
        g_test_skip("no sparse files of 9 GiB in the directory for "
                    "temporary files");
        close(fd);
        return;
    }
    image = eif_image_open_fd(fd, &error_abort);
    g_assert_cmpint(image->sections[3].size, ==, big);
    g_assert_cmpint(image->sections[4].data_offset, ==, 869 + big + 12);
    g_assert_cmpint(image->image_size, ==, EXAMPLE_SIZE - 32 + big);
    close(fd);
}

static void test_names(void)
{
    g_assert_cmpstr(eif_section_type_str(EIF_SECTION_KERNEL), ==, "kernel");
    g_assert_cmpstr(eif_section_type_str(EIF_SECTION_MAX), ==, "unknown");
    g_assert_cmpstr(eif_section_type_str(UINT16_MAX), ==, "unknown");
    g_assert_cmpstr(eif_arch_str(EIF_ARCH_X86_64), ==, "x86_64");
    g_assert_cmpstr(eif_arch_str(EIF_ARCH_AARCH64), ==, "arm64");
}

static void add_row(const char *dir, const char *name, const void *row,
                    void (*func)(const void *))
{
    g_autofree char *path = g_strdup_printf("/eif/image/%s/%s", dir, name);

    g_test_add_data_func(path, row, func);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qcrypto_init(&error_abort);

    for (size_t i = 0; i < ARRAY_SIZE(bad_rows); i++) {
        add_row("bad", bad_rows[i].name, &bad_rows[i], test_bad_row);
    }
    for (size_t i = 0; i < ARRAY_SIZE(good_rows); i++) {
        add_row("good", good_rows[i].name, &good_rows[i], test_good_row);
    }
    g_test_add_func("/eif/image/worked-example", test_worked_example);
    g_test_add_func("/eif/image/gaps", test_gaps);
    g_test_add_func("/eif/image/section-flags", test_section_flags);
    g_test_add_func("/eif/image/known-crcs", test_known_crcs);
    g_test_add_func("/eif/image/truncated", test_truncated_everywhere);
    g_test_add_func("/eif/image/flipped", test_flipped_everywhere);
    g_test_add_func("/eif/image/ignored-fields", test_ignored_fields);
    g_test_add_func("/eif/image/tail", test_tail);
    g_test_add_func("/eif/image/arch", test_arch);
    g_test_add_func("/eif/image/big-signature", test_big_signature);
    g_test_add_func("/eif/image/broken-signature", test_broken_signature);
    g_test_add_func("/eif/image/huge", test_huge);
    g_test_add_func("/eif/image/names", test_names);
    return g_test_run();
}
