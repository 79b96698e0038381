/*
 * Enclave images: kernels and command lines that cannot boot
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernels are made here: numbers at literal offsets of the boot protocols.
 */

#include "qemu/osdep.h"
#include "hw/core/eif-kernel.h"
#include "qemu/bswap.h"
#include "tests/nitro/eif-maker.h"

#define BZIMAGE_LEN 0x1000
#define IMAGE_LEN 0x2000

/* setup of 2 sectors and the one before; code up to the end; 2047 characters */
static uint8_t *bzimage(void)
{
    uint8_t *k = g_malloc0(BZIMAGE_LEN);

    eif_maker_kernel_header(k, false);
    k[0x1f1] = 2;
    stl_le_p(k + 0x1f4, (BZIMAGE_LEN - 3 * 512) / 16);
    stl_le_p(k + 0x248, 100);
    stl_le_p(k + 0x24c, 200);
    stl_le_p(k + 0x260, 0x10000);
    return k;
}

/* With the header of an EFI program; its two sections reach to the end */
static uint8_t *image(void)
{
    uint8_t *k = g_malloc0(IMAGE_LEN);

    memcpy(k, "MZ", 2);
    stq_le_p(k + 16, 0x8000);
    memcpy(k + 56, "ARM\x64", 4);
    stl_le_p(k + 60, 64);
    memcpy(k + 64, "PE\0", 4);
    stw_le_p(k + 64 + 6, 2);
    stw_le_p(k + 64 + 20, 160);
    stl_le_p(k + 64 + 24 + 160 + 16, 0x800);
    stl_le_p(k + 64 + 24 + 160 + 20, 0x1000);
    stl_le_p(k + 64 + 24 + 200 + 16, 0x800);
    stl_le_p(k + 64 + 24 + 200 + 20, 0x1800);
    return k;
}

static EifKernel probe(const void *bytes, uint64_t len)
{
    EifKernel kernel;
    EifSource src;

    eif_source_init_buffer(&src, bytes, len);
    g_assert_true(eif_kernel_probe(&src, 0, len, &kernel, &error_abort));
    return kernel;
}

static void assert_good(const void *bytes, uint64_t len, EifArch arch)
{
    EifKernel kernel = probe(bytes, len);

    g_assert_true(eif_kernel_check(&kernel, arch, &error_abort));
    g_assert_false(eif_kernel_is_uncertain(&kernel));
}

static void assert_bad(const void *bytes, uint64_t len, EifArch arch,
                       const char *message, const char *hint)
{
    EifKernel kernel = probe(bytes, len);
    Error *err = NULL;

    g_assert_false(eif_kernel_check(&kernel, arch, &err));
    eif_maker_assert_error(err, message, hint);
}

static void test_good(void)
{
    g_autofree uint8_t *x86 = bzimage();
    g_autofree uint8_t *arm = image();

    assert_good(x86, BZIMAGE_LEN, EIF_ARCH_X86_64);
    assert_good(arm, IMAGE_LEN, EIF_ARCH_AARCH64);
    memset(arm, 0, 8); /* no EFI program */
    assert_good(arm, 64, EIF_ARCH_AARCH64);
    stq_le_p(arm + 16, 0); /* before Linux 3.17 */
    assert_good(arm, 64, EIF_ARCH_AARCH64);
}

#define WANT_X86 ", wanted is an x86_64 kernel (bzImage)"
#define WANT_ARM ", wanted is an arm64 kernel (Image)"

static void test_payload(void)
{
    g_autofree uint8_t *x86 = bzimage();
    EifKernel kernel;

    stq_le_p(x86 + 0x258, 0x1000000);
    kernel = probe(x86, BZIMAGE_LEN);
    g_assert_cmpuint(kernel.payload, ==, 3 * 512 + 100);
    g_assert_cmpuint(kernel.payload_len, ==, 200);
    g_assert_cmpuint(kernel.address, ==, 0x1000000);
    stw_le_p(x86 + 0x206, 0x209);
    kernel = probe(x86, BZIMAGE_LEN);
    g_assert_cmpuint(kernel.payload_len, ==, 200);
    g_assert_cmpuint(kernel.address, ==, 0);
    stw_le_p(x86 + 0x206, 0x207);
    kernel = probe(x86, BZIMAGE_LEN);
    g_assert_cmpuint(kernel.payload, ==, 0);
    g_assert_cmpuint(kernel.payload_len, ==, 0);
}

static void test_kinds(void)
{
    static const struct {
        char bytes[9];
        const char *phrase;
        const char *hint;
    } rows[] = {
        { "\x7f" "ELF\2", "an ELF file (vmlinux or a program)",
          "Use the bzImage or Image" },
        { "MZ\0\0zimg", "a compressed EFI kernel (vmlinuz.efi)",
          "Use arch/arm64/boot/Image" },
        { "\x1f\x8b\x08", "a gzip file", "gzip -dc" },
        { "\x28\xb5\x2f\xfd", "a zstd file", "zstd -dc" },
        { ".eif", "an enclave image", "Build the image again" },
        { "\1\2\3\4", "a file of unknown format", "Build the image again" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char buf[512] = { };
        g_autofree char *x86 = g_strconcat("the kernel is ", rows[i].phrase,
                                           WANT_X86, NULL);
        g_autofree char *arm = g_strconcat("the kernel is ", rows[i].phrase,
                                           WANT_ARM, NULL);

        memcpy(buf, rows[i].bytes, 8);
        assert_bad(buf, sizeof(buf), EIF_ARCH_X86_64, x86, rows[i].hint);
        assert_bad(buf, sizeof(buf), EIF_ARCH_AARCH64, arm, rows[i].hint);
    }
    assert_bad("hello\n", 6, EIF_ARCH_X86_64, "the kernel is a text file"
               WANT_X86, "a kernel built for x86_64");
    assert_bad("", 0, EIF_ARCH_AARCH64, "the kernel is an empty file" WANT_ARM,
               "a kernel built for arm64");
}

static void test_other_arch(void)
{
    g_autofree uint8_t *x86 = bzimage();
    g_autofree uint8_t *arm = image();

    assert_bad(x86, BZIMAGE_LEN, EIF_ARCH_AARCH64, "the kernel is an x86_64 "
               "kernel (bzImage)" WANT_ARM, "a kernel built for arm64");
    assert_bad(arm, IMAGE_LEN, EIF_ARCH_X86_64, "the kernel is an arm64 "
               "kernel (Image)" WANT_X86, "a kernel built for x86_64");
}

static void test_uncertain(void)
{
    EifKernel unknown = probe("\1\2\3\4", 4), text = probe("text", 4);

    g_assert_true(eif_kernel_is_uncertain(&unknown));
    g_assert_false(eif_kernel_is_uncertain(&text));
}

/* Every length but the whole one, from where the header is complete on */
static void assert_cut(const uint8_t *k, size_t from, size_t whole,
                       size_t step, EifArch arch)
{
    for (size_t len = from; len < whole; len += step) {
        g_autofree uint8_t *cut = g_memdup2(k, len);
        g_autofree char *message = g_strdup_printf(
            "the kernel is cut short: it has %zu bytes, %zu by its header",
            len, whole);

        assert_bad(cut, len, arch, message, "Copy the kernel");
    }
}

static void test_cut_bzimage(void)
{
    g_autofree uint8_t *k = bzimage();

    assert_cut(k, 0x264, BZIMAGE_LEN, 1, EIF_ARCH_X86_64);
}

static void test_cut_image(void)
{
    g_autofree uint8_t *k = image();

    assert_cut(k, 512, IMAGE_LEN, 7, EIF_ARCH_AARCH64);
}

/* Less than the header itself: nothing beyond the end is looked at */
static void test_cut_header(void)
{
    g_autofree uint8_t *x86 = bzimage();
    g_autofree uint8_t *arm = image();

    for (size_t len = 0; len < 0x264; len++) {
        g_autofree uint8_t *x86_cut = g_memdup2(x86, len);
        g_autofree uint8_t *arm_cut = g_memdup2(arm, len);
        EifKernel x86_kernel = probe(x86_cut, len);
        EifKernel arm_kernel = probe(arm_cut, len);

        g_assert_false(eif_kernel_check(&x86_kernel, EIF_ARCH_X86_64, NULL));
        g_assert_false(eif_kernel_check(&arm_kernel, EIF_ARCH_AARCH64, NULL));
    }
}

/* Each field of a bzImage that says how much there must be */
static void test_bzimage_fields(void)
{
    g_autofree uint8_t *k = bzimage();

    k[0x1f1] = 0; /* means 4 */
    assert_bad(k, BZIMAGE_LEN, EIF_ARCH_X86_64, "the kernel is cut short: it "
               "has 4096 bytes, 5120 by its header", NULL);
    k[0x1f1] = 255;
    assert_bad(k, BZIMAGE_LEN, EIF_ARCH_X86_64, "the kernel is cut short: it "
               "has 4096 bytes, 133632 by its header", NULL);
    k[0x1f1] = 2;
    stl_le_p(k + 0x24c, 2461);
    assert_bad(k, BZIMAGE_LEN, EIF_ARCH_X86_64, "the kernel is cut short: it "
               "has 4096 bytes, 4097 by its header", NULL);
    stl_le_p(k + 0x24c, UINT32_MAX);
    stl_le_p(k + 0x248, UINT32_MAX);
    assert_bad(k, BZIMAGE_LEN, EIF_ARCH_X86_64, "the kernel is cut short: it "
               "has 4096 bytes, 8589936126 by its header", NULL);
    stw_le_p(k + 0x206, 0x207); /* has no such fields yet */
    assert_good(k, BZIMAGE_LEN, EIF_ARCH_X86_64);
    stl_le_p(k + 0x1f4, UINT32_MAX);
    assert_bad(k, BZIMAGE_LEN, EIF_ARCH_X86_64, "the kernel is cut short: it "
               "has 4096 bytes, 68719478256 by its header", NULL);
}

static void test_memory(void)
{
    g_autofree uint8_t *x86 = bzimage();
    g_autofree uint8_t *arm = image();

    stl_le_p(x86 + 0x260, 2559);
    assert_bad(x86, BZIMAGE_LEN, EIF_ARCH_X86_64, "the kernel is damaged: by "
               "its header it occupies 2559 bytes of memory, fewer than the "
               "2560 that are loaded", "Copy the kernel again");
    stl_le_p(x86 + 0x260, 2560);
    assert_good(x86, BZIMAGE_LEN, EIF_ARCH_X86_64);
    stq_le_p(arm + 16, IMAGE_LEN - 1);
    assert_bad(arm, IMAGE_LEN, EIF_ARCH_AARCH64, "the kernel is damaged: by "
               "its header it occupies 8191 bytes of memory, fewer than the "
               "8192 that are loaded", "Copy the kernel again");
}

static void test_evil_pe(void)
{
    for (unsigned i = 60; i < 320; i++) {
        g_autofree uint8_t *k = image();
        EifKernel kernel;

        memset(k + i, 0xff, 8);
        kernel = probe(k, IMAGE_LEN);
        g_assert_cmpuint(kernel.needed, <=, 2ull * UINT32_MAX);
    }
}

static void assert_cmdline(const EifKernel *kernel, uint64_t len,
                           const char *message)
{
    Error *err = NULL;

    g_assert_cmpint(eif_kernel_check_cmdline(kernel, len, &err), ==, !message);
    if (message) {
        eif_maker_assert_error(err, message, "Shorten the command line");
    }
}

static void test_cmdline(void)
{
    g_autofree uint8_t *x86 = bzimage();
    g_autofree uint8_t *arm = image();
    EifKernel kernel = probe(x86, BZIMAGE_LEN);

    assert_cmdline(&kernel, 2047, NULL);
    assert_cmdline(&kernel, 2048, "the command line has 2048 characters, the "
                   "kernel takes 2047");
    stl_le_p(x86 + 0x238, 511);
    kernel = probe(x86, BZIMAGE_LEN);
    assert_cmdline(&kernel, 511, NULL);
    assert_cmdline(&kernel, 2100, "the command line has 2100 characters, the "
                   "kernel takes 511");
    stw_le_p(x86 + 0x206, 0x205);
    kernel = probe(x86, BZIMAGE_LEN);
    assert_cmdline(&kernel, 256, "the command line has 256 characters, the "
                   "kernel takes 255");
    kernel = probe(arm, IMAGE_LEN);
    assert_cmdline(&kernel, 2047, NULL);
    assert_cmdline(&kernel, 2048, "the command line has 2048 characters, the "
                   "kernel takes 2047");
    kernel = probe("text", 4);
    assert_cmdline(&kernel, UINT64_MAX, NULL);
}

static GByteArray *image_with(const void *kernel, size_t kernel_len,
                              const char *cmdline, size_t cmdline_len)
{
    GByteArray *eif = eif_maker_new(3, 0);

    eif_maker_add(eif, EIF_SECTION_KERNEL, kernel, kernel_len);
    eif_maker_add(eif, EIF_SECTION_CMDLINE, cmdline, cmdline_len);
    eif_maker_finish(eif);
    return eif;
}

static bool check_image(const GByteArray *bytes, bool cmdline, Error **errp)
{
    g_autoptr(EifImage) eif = eif_image_parse_buffer(bytes->data, bytes->len,
                                                     &error_abort);
    EifKernel kernel;
    EifSource src;
    uint64_t len;

    eif_source_init_buffer(&src, bytes->data, bytes->len);
    if (!eif_image_probe_kernel(eif, &src, &kernel, errp)) {
        return false;
    }
    if (!cmdline) {
        return eif_kernel_check(&kernel, eif->arch, errp);
    }
    return eif_image_cmdline_len(eif, &src, &len, errp) &&
           eif_kernel_check_cmdline(&kernel, len, errp);
}

/* Lines that count up to a NUL, and without white space at their end */
static void test_image_cmdline(void)
{
    static const struct {
        size_t fill;
        const char *end;
        size_t end_len;
        const char *message;
    } rows[] = {
        { 2047, "", 0, NULL },
        { 2047, "\n", 1, NULL },
        { 2047, " \t\n", 3, NULL },
        { 2047, "\0more", 5, NULL },
        { 0, "", 0, NULL },
        { 2047, "y", 1, "the command line has 2048 characters, the kernel "
          "takes 2047" },
        { 1 << 20, "\n", 1, "the command line has 1048577 characters, the "
          "kernel takes 2047" },
    };
    g_autofree uint8_t *kernel = bzimage();

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *line = g_malloc(rows[i].fill + 8);
        g_autoptr(GByteArray) eif = NULL;
        Error *err = NULL;

        memset(line, 'x', rows[i].fill);
        memcpy(line + rows[i].fill, rows[i].end, rows[i].end_len);
        eif = image_with(kernel, BZIMAGE_LEN, line,
                         rows[i].fill + rows[i].end_len);
        g_assert_true(check_image(eif, false, &error_abort));
        g_assert_cmpint(check_image(eif, true, &err), ==, !rows[i].message);
        if (rows[i].message) {
            eif_maker_assert_error(err, rows[i].message, "Shorten");
        }
    }
}

static void test_image_kernel(void)
{
    g_autoptr(GByteArray) eif = eif_maker_image(4, 0, EXAMPLE);
    Error *err = NULL;

    g_assert_false(check_image(eif, false, &err));
    eif_maker_assert_error(err, "the kernel is a text file" WANT_X86,
                           "Build the image again");
}

static void test_unreadable(void)
{
    EifKernel kernel;
    EifSource src;
    Error *err = NULL;

    eif_source_init_buffer(&src, "abc", 3);
    g_assert_false(eif_kernel_probe(&src, 2, 2, &kernel, &err));
    eif_maker_assert_error(err, "2 bytes at offset 2 are beyond the end at 3",
                           NULL);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*func)(void);
    } tests[] = {
        { "good", test_good },
        { "payload", test_payload },
        { "kinds", test_kinds },
        { "other-arch", test_other_arch },
        { "uncertain", test_uncertain },
        { "cut-bzimage", test_cut_bzimage },
        { "cut-image", test_cut_image },
        { "cut-header", test_cut_header },
        { "bzimage-fields", test_bzimage_fields },
        { "memory", test_memory },
        { "evil-pe", test_evil_pe },
        { "cmdline", test_cmdline },
        { "image-cmdline", test_image_cmdline },
        { "image-kernel", test_image_kernel },
        { "unreadable", test_unreadable },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        g_autofree char *path = g_strconcat("/eif/kernel/", tests[i].name,
                                            NULL);

        g_test_add_func(path, tests[i].func);
    }
    return g_test_run();
}
