/*
 * Enclave images: telling what a file is, and refusing what is no kernel
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-image.h"
#include "tests/nitro/eif-maker.h"

typedef struct Row {
    const char *name;
    const char *data;
    size_t len;
    size_t offset; /* where the magic stands */
    EifFileKind kind;
    const char *phrase;
    const char *hint; /* when given as a kernel */
} Row;

#define DATA(s) .data = s, .len = sizeof(s) - 1
#define BUILD "nitro-cli build-enclave"

static const Row rows[] = {
    { "eif", DATA(".eif"), 0, EIF_KIND_EIF, "an enclave image", BUILD },
    { "bzimage", DATA("\x55\xaa\xeb\x6aHdrS"), 0x1fe, EIF_KIND_BZIMAGE,
      "an x86_64 kernel (bzImage)", "use a kernel built for arm64" },
    { "arm64", DATA("ARM\x64"), 56, EIF_KIND_ARM64_IMAGE,
      "an arm64 kernel (Image)", "use a kernel built for x86_64" },
    { "zboot", DATA("MZ\0\0zimg"), 0, EIF_KIND_EFI_ZBOOT,
      "a compressed EFI kernel (vmlinuz.efi)", "Use arch/arm64/boot/Image" },
    { "uimage", DATA("\x27\x05\x19\x56"), 0, EIF_KIND_UIMAGE,
      "a U-Boot image", "Use the kernel it was made from" },
    { "elf", DATA("\x7f" "ELF\2"), 0, EIF_KIND_ELF,
      "an ELF file (vmlinux or a program)", "Use the bzImage or Image" },
    { "pe", DATA("MZ\x90\0"), 0, EIF_KIND_PE,
      "a PE (Windows or EFI) program", "An EFI program needs firmware" },
    { "gzip", DATA("\x1f\x8b\x08"), 0, EIF_KIND_GZIP, "a gzip file",
      "gzip -dc" },
    { "bzip2", DATA("BZh9"), 0, EIF_KIND_BZIP2, "a bzip2 file",
      "bzip2 -dc" },
    { "xz", DATA("\xfd" "7zXZ\0"), 0, EIF_KIND_XZ, "an xz file", "xz -dc" },
    { "lz4", DATA("\x04\x22\x4d\x18"), 0, EIF_KIND_LZ4, "an lz4 file",
      "lz4 -dc" },
    { "lz4-legacy", DATA("\x02\x21\x4c\x18"), 0, EIF_KIND_LZ4, "an lz4 file",
      "lz4 -dc" },
    { "lzma", DATA("\x5d\0\0\x80"), 0, EIF_KIND_LZMA, "an lzma file",
      "lzma -dc" },
    { "lzo", DATA("\x89LZO\0"), 0, EIF_KIND_LZO, "an lzo file", "lzop -dc" },
    { "zstd", DATA("\x28\xb5\x2f\xfd"), 0, EIF_KIND_ZSTD, "a zstd file",
      "zstd -dc" },
    { "cpio", DATA("070701"), 0, EIF_KIND_CPIO, "a cpio archive",
      "belongs to -initrd" },
    { "qcow2", DATA("QFI\xfb"), 0, EIF_KIND_QCOW2, "a qcow2 disk image",
      BUILD },
    { "unknown", DATA("\1\2\3\4"), 0, EIF_KIND_UNKNOWN,
      "a file of unknown format", BUILD },
};

static void assert_kernel_refused(EifFileKind kind, EifArch arch,
                                  const char *phrase, const char *hint)
{
    g_autofree char *message = g_strdup_printf(
        "cannot start 'vmlinuz': it is %s, wanted is an enclave image or %s",
        phrase, arch == EIF_ARCH_X86_64 ? "an x86_64 kernel (bzImage)"
                                        : "an arm64 kernel (Image)");
    Error *err = NULL;

    g_assert_false(eif_file_check_kernel(kind, arch, "vmlinuz", &err));
    eif_maker_assert_error(err, message, hint);
}

static void test_row(const void *opaque)
{
    const Row *row = opaque;
    uint8_t buf[1024] = { 0 };
    EifFileKind kind;
    int fd;

    memcpy(buf + row->offset, row->data, row->len);
    g_assert_cmpint(eif_buffer_kind(buf, sizeof(buf)), ==, row->kind);
    fd = eif_maker_file(buf, sizeof(buf));
    g_assert_true(eif_file_kind(fd, &kind, &error_abort));
    g_assert_cmpint(kind, ==, row->kind);
    g_assert_cmpstr(eif_file_kind_str(kind), ==, row->phrase);
    close(fd);

    if (kind == EIF_KIND_BZIMAGE) {
        g_assert_true(eif_file_check_kernel(kind, EIF_ARCH_X86_64, "",
                                            &error_abort));
    } else {
        assert_kernel_refused(kind, EIF_ARCH_X86_64, row->phrase, row->hint);
    }
    if (kind == EIF_KIND_ARM64_IMAGE) {
        g_assert_true(eif_file_check_kernel(kind, EIF_ARCH_AARCH64, "",
                                            &error_abort));
    } else {
        assert_kernel_refused(kind, EIF_ARCH_AARCH64, row->phrase, row->hint);
    }
}

/* One byte less than the magic is not enough; nothing is read beyond it */
static void test_cut(const void *opaque)
{
    const Row *row = opaque;
    g_autofree uint8_t *buf = g_malloc0(row->offset + row->len);

    memcpy(buf + row->offset, row->data, row->len);
    for (size_t len = 0; len < row->offset + row->len; len++) {
        g_autofree uint8_t *copy = g_memdup2(buf, len);
        EifFileKind kind = eif_buffer_kind(copy, len);

        g_assert_cmpint(kind == EIF_KIND_EMPTY, ==, len == 0);
        if (row->kind == EIF_KIND_BZIMAGE) {
            g_assert_cmpint(kind, !=, EIF_KIND_BZIMAGE);
        }
    }
}

/* Kernels with EFI stub look like PE programs, too */
static void test_efi_stub(void)
{
    uint8_t buf[1024] = "MZ";

    memcpy(buf + 56, "ARM\x64", 4);
    g_assert_cmpint(eif_buffer_kind(buf, sizeof(buf)), ==,
                    EIF_KIND_ARM64_IMAGE);
    /* What arm64 kernels are packed into has a magic of its own there */
    memcpy(buf + 4, "zimg", 4);
    memcpy(buf + 56, "\xcd\x23\x82\x81", 4);
    g_assert_cmpint(eif_buffer_kind(buf, sizeof(buf)), ==, EIF_KIND_EFI_ZBOOT);
    memset(buf + 4, 0, 4);
    g_assert_cmpint(eif_buffer_kind(buf, sizeof(buf)), ==, EIF_KIND_PE);
    memset(buf + 56, 0, 4);
    memcpy(buf + 0x1fe, "\x55\xaa\0\0HdrS", 8);
    g_assert_cmpint(eif_buffer_kind(buf, sizeof(buf)), ==, EIF_KIND_BZIMAGE);
}

static void test_text(void)
{
    static const struct {
        const char *data;
        size_t len;
        bool is_text;
    } texts[] = {
        { DATA("#!/bin/sh\necho\t1\r\n"), true },
        { DATA("gr\xc3\xbc\xc3\x9f"), true },
        { DATA("a\0b"), false },
        { DATA("a\x7f"), false },
        { DATA("\xff\xfe"), false },
        { DATA("a\x01"), false },
    };
    g_autofree char *long_text = g_strnfill(4096, 'x');

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        g_assert_cmpint(eif_buffer_kind(texts[i].data, texts[i].len), ==,
                        texts[i].is_text ? EIF_KIND_TEXT : EIF_KIND_UNKNOWN);
    }
    long_text[4095] = 0xc3; /* cut within a character */
    g_assert_cmpint(eif_buffer_kind(long_text, 4096), ==, EIF_KIND_TEXT);
    assert_kernel_refused(EIF_KIND_TEXT, EIF_ARCH_X86_64, "a text file",
                          BUILD);
}

static void assert_fd_kind(int fd, EifFileKind want, const char *phrase,
                           const char *hint)
{
    g_autofree char *message = g_strdup_printf("not an enclave image but %s",
                                               phrase);
    EifFileKind kind;
    Error *err = NULL;

    g_assert_cmpint(fd, >=, 0);
    g_assert_true(eif_file_kind(fd, &kind, &error_abort));
    g_assert_cmpint(kind, ==, want);
    assert_kernel_refused(kind, EIF_ARCH_X86_64, phrase, hint);
    g_assert_null(eif_image_open_fd(fd, &err));
    eif_maker_assert_error(err, message, BUILD);
    close(fd);
}

static void test_not_regular(void)
{
    int fds[2];
    EifFileKind kind;
    Error *err = NULL;

    assert_fd_kind(open(g_get_tmp_dir(), O_RDONLY), EIF_KIND_DIRECTORY,
                   "a directory", "Name a file in it");
    assert_fd_kind(open("/dev/null", O_RDONLY), EIF_KIND_SPECIAL,
                   "a pipe, socket or character device", "to a file first");
    g_assert_cmpint(pipe(fds), ==, 0);
    assert_fd_kind(fds[0], EIF_KIND_SPECIAL,
                   "a pipe, socket or character device", "to a file first");
    close(fds[1]);
    assert_fd_kind(eif_maker_file("", 0), EIF_KIND_EMPTY, "an empty file",
                   "it has no content");
    g_assert_false(eif_file_kind(-1, &kind, &err));
    eif_maker_assert_error(err, "cannot get the type of the file: Bad file "
                           "descriptor", NULL);
}

static void test_probe(void)
{
    g_assert_true(eif_image_probe(".eif", 4));
    g_assert_false(eif_image_probe(".eif", 3));
    g_assert_false(eif_image_probe(".eiF", 4));
    g_assert_false(eif_image_probe(NULL, 0));
}

static void add_row(const char *dir, const Row *row,
                    void (*func)(const void *))
{
    g_autofree char *path = g_strdup_printf("/eif/kind/%s/%s", dir, row->name);

    g_test_add_data_func(path, row, func);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        add_row("whole", &rows[i], test_row);
        add_row("cut", &rows[i], test_cut);
    }
    g_test_add_func("/eif/kind/efi-stub", test_efi_stub);
    g_test_add_func("/eif/kind/text", test_text);
    g_test_add_func("/eif/kind/not-regular", test_not_regular);
    g_test_add_func("/eif/kind/probe", test_probe);
    return g_test_run();
}
