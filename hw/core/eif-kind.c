/*
 * Enclave Image Format: find out what a file is that may not be an image
 *
 * A refused file is named by what it is, so that the user sees at once which
 * file was mistaken for another.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/core/eif-image.h"

#define LOOK_AT 4096

/* Places in kernel images; Documentation/arch/{x86/boot,arm64/booting}.rst */
#define X86_BOOT_FLAG_OFFSET 0x1fe
#define X86_BOOT_FLAG 0xaa55
#define X86_MAGIC_OFFSET 0x202
#define X86_MAGIC "HdrS"
#define ARM64_MAGIC_OFFSET 56
#define ARM64_MAGIC "ARM\x64"
#define ZBOOT_MAGIC_OFFSET 4
#define ZBOOT_MAGIC "zimg"

typedef struct KindText {
    const char *phrase;
    const char *hint; /* what to do when a kernel was wanted; may be NULL */
} KindText;

static const KindText kinds[EIF_KIND__MAX] = {
    [EIF_KIND_UNKNOWN] = { "a file of unknown format" },
    [EIF_KIND_EMPTY] = { "an empty file",
                         "Check how the file was made; it has no content.\n" },
    [EIF_KIND_DIRECTORY] = { "a directory", "Name a file in it.\n" },
    [EIF_KIND_SPECIAL] = { "a pipe, socket or character device",
                           "Copy its content to a file first.\n" },
    [EIF_KIND_EIF] = { "an enclave image" },
    [EIF_KIND_BZIMAGE] = { "an x86_64 kernel (bzImage)" },
    [EIF_KIND_ARM64_IMAGE] = { "an arm64 kernel (Image)" },
    [EIF_KIND_EFI_ZBOOT] = { "a compressed EFI kernel (vmlinuz.efi)",
                             "Use arch/arm64/boot/Image of the same build.\n" },
    [EIF_KIND_UIMAGE] = { "a U-Boot image",
                          "Use the kernel it was made from.\n" },
    [EIF_KIND_ELF] = { "an ELF file (vmlinux or a program)",
                       "Use the bzImage or Image of the same build.\n" },
    [EIF_KIND_PE] = { "a PE (Windows or EFI) program",
                      "An EFI program needs firmware, which an enclave has not; "
                      "use the\nbzImage or Image that is in it.\n" },
    [EIF_KIND_GZIP] = { "a gzip file",
                        "Unpack it first: gzip -dc FILE > Image\n" },
    [EIF_KIND_BZIP2] = { "a bzip2 file",
                         "Unpack it first: bzip2 -dc FILE > Image\n" },
    [EIF_KIND_XZ] = { "an xz file", "Unpack it first: xz -dc FILE > Image\n" },
    [EIF_KIND_LZ4] = { "an lz4 file",
                       "Unpack it first: lz4 -dc FILE > Image\n" },
    [EIF_KIND_ZSTD] = { "a zstd file",
                        "Unpack it first: zstd -dc FILE > Image\n" },
    [EIF_KIND_LZMA] = { "an lzma file",
                        "Unpack it first: lzma -dc FILE > Image\n" },
    [EIF_KIND_LZO] = { "an lzo file",
                       "Unpack it first: lzop -dc FILE > Image\n" },
    [EIF_KIND_CPIO] = { "a cpio archive",
                        "An initial ramdisk belongs to -initrd.\n" },
    [EIF_KIND_QCOW2] = { "a qcow2 disk image" },
    [EIF_KIND_TEXT] = { "a text file" },
};

static const struct {
    size_t offset;
    size_t len;
    const char *magic;
    EifFileKind kind;
} magics[] = {
    { 0, EIF_MAGIC_LEN, EIF_MAGIC, EIF_KIND_EIF },
    { ARM64_MAGIC_OFFSET, 4, ARM64_MAGIC, EIF_KIND_ARM64_IMAGE },
    { ZBOOT_MAGIC_OFFSET, 4, ZBOOT_MAGIC, EIF_KIND_EFI_ZBOOT },
    { 0, 4, "\x7f" "ELF", EIF_KIND_ELF },
    { 0, 2, "\x1f\x8b", EIF_KIND_GZIP },
    { 0, 3, "BZh", EIF_KIND_BZIP2 },
    { 0, 6, "\xfd" "7zXZ\0", EIF_KIND_XZ },
    { 0, 4, "\x04\x22\x4d\x18", EIF_KIND_LZ4 },
    { 0, 4, "\x02\x21\x4c\x18", EIF_KIND_LZ4 }, /* as kernels have it */
    { 0, 4, "\x28\xb5\x2f\xfd", EIF_KIND_ZSTD },
    { 0, 3, "\x5d\0\0", EIF_KIND_LZMA },
    { 0, 3, "\x89LZ", EIF_KIND_LZO },
    { 0, 4, "\x27\x05\x19\x56", EIF_KIND_UIMAGE },
    { 0, 5, "07070", EIF_KIND_CPIO },
    { 0, 4, "QFI\xfb", EIF_KIND_QCOW2 },
    { 0, 2, "MZ", EIF_KIND_PE }, /* after the kernels that begin so, too */
};

static bool is_bzimage(const uint8_t *buf, size_t len)
{
    return len >= X86_MAGIC_OFFSET + 4 &&
           lduw_le_p(buf + X86_BOOT_FLAG_OFFSET) == X86_BOOT_FLAG &&
           !memcmp(buf + X86_MAGIC_OFFSET, X86_MAGIC, 4);
}

/* UTF-8 without control characters; the last character may be cut */
static bool is_text(const uint8_t *buf, size_t len)
{
    const char *end;

    for (size_t i = 0; i < len; i++) {
        if (buf[i] < ' ' && !strchr("\t\n\r\f\x1b", buf[i])) {
            return false;
        }
        if (buf[i] == '\0' || buf[i] == 0x7f) {
            return false;
        }
    }
    return g_utf8_validate((const char *)buf, len, &end) ||
           (len == LOOK_AT && (const char *)buf + len - end < 4);
}

bool eif_image_probe(const void *buf, size_t len)
{
    return len >= EIF_MAGIC_LEN && !memcmp(buf, EIF_MAGIC, EIF_MAGIC_LEN);
}

EifFileKind eif_buffer_kind(const void *buf, size_t len)
{
    if (len == 0) {
        return EIF_KIND_EMPTY;
    }
    len = MIN(len, LOOK_AT);
    if (eif_image_probe(buf, len)) {
        return EIF_KIND_EIF;
    }
    if (is_bzimage(buf, len)) {
        return EIF_KIND_BZIMAGE;
    }
    for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
        if (len >= magics[i].offset + magics[i].len &&
            !memcmp((const char *)buf + magics[i].offset, magics[i].magic,
                    magics[i].len)) {
            return magics[i].kind;
        }
    }
    return is_text(buf, len) ? EIF_KIND_TEXT : EIF_KIND_UNKNOWN;
}

bool eif_file_kind(int fd, EifFileKind *kind, Error **errp)
{
    uint8_t buf[LOOK_AT];
    struct stat st;
    EifSource src;
    size_t len;

    if (fstat(fd, &st) < 0) {
        error_setg_errno(errp, errno, "cannot get the type of the file");
        return false;
    }
    if (S_ISDIR(st.st_mode)) {
        *kind = EIF_KIND_DIRECTORY;
        return true;
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        *kind = EIF_KIND_SPECIAL;
        return true;
    }
    if (!eif_source_init_fd(&src, fd, errp)) {
        return false;
    }
    len = MIN(src.size, sizeof(buf));
    if (!eif_source_read(&src, buf, len, 0, errp)) {
        return false;
    }
    *kind = eif_buffer_kind(buf, len);
    return true;
}

const char *eif_file_kind_str(EifFileKind kind)
{
    assert(kind < EIF_KIND__MAX);
    return kinds[kind].phrase;
}

const char *eif_file_kind_hint(EifFileKind kind)
{
    assert(kind < EIF_KIND__MAX);
    return kinds[kind].hint;
}

const char *eif_arch_str(EifArch arch)
{
    return arch == EIF_ARCH_AARCH64 ? "arm64" : "x86_64";
}

EifFileKind eif_arch_kernel(EifArch arch)
{
    return arch == EIF_ARCH_AARCH64 ? EIF_KIND_ARM64_IMAGE : EIF_KIND_BZIMAGE;
}

bool eif_file_check_kernel(EifFileKind kind, EifArch arch, const char *name,
                           Error **errp)
{
    ERRP_GUARD();
    EifFileKind wanted = eif_arch_kernel(arch);

    assert(kind < EIF_KIND__MAX);
    if (kind == wanted) {
        return true;
    }
    error_setg(errp, "cannot start '%s': it is %s, wanted is an enclave image "
               "or %s", name, kinds[kind].phrase, kinds[wanted].phrase);
    if (kinds[kind].hint) {
        error_append_hint(errp, "%s", kinds[kind].hint);
    }
    error_append_hint(errp, "Build an enclave image with 'nitro-cli "
                      "build-enclave', or use a kernel built for %s.\n",
                      eif_arch_str(arch));
    return false;
}
