/*
 * Enclave images made by hand, for tests of the image library
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/uio.h>
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include <zlib.h> /* crc32 */
#include "eif-maker.h"
#include "error-text.h"

GByteArray *eif_maker_new(uint16_t version, uint16_t flags)
{
    GByteArray *image = g_byte_array_new();

    g_byte_array_set_size(image, HEADER_LEN);
    memset(image->data, 0, HEADER_LEN);
    memcpy(image->data, ".eif", 4);
    stw_be_p(image->data + AT_VERSION, version);
    stw_be_p(image->data + AT_FLAGS, flags);
    stq_be_p(image->data + 8, 0x40000000);
    stq_be_p(image->data + 16, 2);
    return image;
}

void eif_maker_add(GByteArray *image, uint16_t type, const void *data,
                   size_t len)
{
    uint8_t header[SECTION_HEADER_LEN] = { 0 };
    unsigned i = lduw_be_p(image->data + AT_COUNT);

    stw_be_p(header, type);
    stq_be_p(header + 4, len);
    if (i < 32) {
        stq_be_p(image->data + AT_OFFSETS + i * 8, image->len);
        stq_be_p(image->data + AT_SIZES + i * 8, len);
    }
    stw_be_p(image->data + AT_COUNT, i + 1);
    g_byte_array_append(image, header, sizeof(header));
    g_byte_array_append(image, data, len);
}

void eif_maker_finish(GByteArray *image)
{
    uint32_t crc = crc32(0, image->data, AT_CRC);

    crc = crc32(crc, image->data + HEADER_LEN, image->len - HEADER_LEN);
    stl_be_p(image->data + AT_CRC, crc);
}

void eif_maker_kernel_header(uint8_t *kernel, bool arm64)
{
    memset(kernel, 0, KERNEL_HEADER_LEN);
    if (arm64) {
        memcpy(kernel + 56, "ARM\x64", 4);
        return;
    }
    kernel[0x1f1] = 1;
    stl_le_p(kernel + 0x1f4, 1);
    stw_le_p(kernel + 0x1fe, 0xaa55);
    memcpy(kernel + 0x202, "HdrS", 4);
    stw_le_p(kernel + 0x206, 0x20f);
    stl_le_p(kernel + 0x238, 2047);
    stl_le_p(kernel + 0x260, 0x100000);
}

static void add_kernel(GByteArray *image, bool arm64)
{
    uint8_t kernel[KERNEL_HEADER_LEN + 16];

    eif_maker_kernel_header(kernel, arm64);
    memset(kernel + KERNEL_HEADER_LEN, 'B', 16);
    eif_maker_add(image, 1, kernel, sizeof(kernel));
}

GByteArray *eif_maker_image(uint16_t version, uint16_t flags,
                            const char *sections)
{
    static const struct {
        char letter;
        uint16_t type;
        const char *text;
    } table[] = {
        { 'K', 1, EXAMPLE_KERNEL }, { 'k', 1, "" },
        { 'U', 1, UNKNOWN_KERNEL },
        { 'C', 2, EXAMPLE_CMDLINE }, { 'c', 2, "" },
        { 'R', 3, EXAMPLE_RAMDISK0 }, { 'r', 3, EXAMPLE_RAMDISK1 },
        { 'e', 3, "" }, { 's', 4, "" },
        { 'M', 5, EXAMPLE_METADATA }, { 'm', 5, "" },
    };
    GByteArray *image = eif_maker_new(version, flags);
    g_autoptr(GByteArray) sig = eif_maker_signature(EXAMPLE_PEM, "COSE");

    for (const char *s = sections; *s; s++) {
        if (*s == 'S') {
            eif_maker_add(image, 4, sig->data, sig->len);
        } else if (*s == 'B') {
            add_kernel(image, flags & 1);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
            if (table[i].letter == *s) {
                eif_maker_add(image, table[i].type, table[i].text,
                              strlen(table[i].text));
            }
        }
    }
    eif_maker_finish(image);
    return image;
}

static void add_byte(GByteArray *cbor, uint8_t byte)
{
    g_byte_array_append(cbor, &byte, 1);
}

static void add_pair(GByteArray *cbor, const char *key, const uint8_t *value,
                     size_t len)
{
    uint8_t count[2];

    add_byte(cbor, 0x60 | strlen(key));
    g_byte_array_append(cbor, (const uint8_t *)key, strlen(key));
    stw_be_p(count, len);
    add_byte(cbor, 0x99);
    g_byte_array_append(cbor, count, 2);
    for (size_t i = 0; i < len; i++) {
        if (value[i] >= 24) {
            add_byte(cbor, 0x18);
        }
        add_byte(cbor, value[i]);
    }
}

GByteArray *eif_maker_signature_bytes(const char *pem, const void *cose,
                                      size_t len)
{
    GByteArray *cbor = g_byte_array_new();

    add_byte(cbor, 0x81);
    add_byte(cbor, 0xa2);
    add_pair(cbor, "signing_certificate", (const uint8_t *)pem, strlen(pem));
    add_pair(cbor, "signature", cose, len);
    return cbor;
}

GByteArray *eif_maker_signature(const char *pem, const char *cose)
{
    return eif_maker_signature_bytes(pem, cose, strlen(cose));
}

int eif_maker_file(const void *data, size_t len)
{
    g_autofree char *name = NULL;
    int fd = g_file_open_tmp("eif-test-XXXXXX", &name, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(unlink(name), ==, 0);
    g_assert_cmpint(write(fd, data, len), ==, len);
    return fd;
}

EifMakerReads eif_maker_reads;

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
    struct iovec iov = {
        .iov_base = buf,
        .iov_len = eif_maker_reads.most ? MIN(len, eif_maker_reads.most) : len,
    };

    if (qatomic_fetch_inc(&eif_maker_reads.calls) % 2 == 0 &&
        eif_maker_reads.interrupt) {
        errno = EINTR;
        return -1;
    }
    return preadv(fd, &iov, 1, offset);
}

void eif_maker_assert_error(Error *err, const char *message, const char *hint)
{
    g_autofree char *text = NULL;

    g_assert_nonnull(err);
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    text = error_text(err);
    assert_contains(text, hint ?: "");
}
