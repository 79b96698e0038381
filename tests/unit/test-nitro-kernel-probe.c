/*
 * Unit tests of the choice between ACPI and command line
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <zlib.h>
#include "qemu/bswap.h"
#include "contrib/nitro-hypervisor/image.h"

#define AWS "reboot=k panic=30 pci=off nomodules console=ttyS0"
#define KERNEL_SIZE (300 * 1024)
#define MARK "virtio-mmio-cmdline"
#define SETUP_SECTS 3
#define PAYLOAD 0x100

typedef struct Kernel {
    uint8_t *bytes;
    size_t len;
} Kernel;

/* Plain kernel; @mark_at: where the tell-tale word is, 0 for nowhere */
static Kernel plain(size_t mark_at)
{
    Kernel k = { .bytes = g_malloc(KERNEL_SIZE), .len = KERNEL_SIZE };
    size_t i;

    for (i = 0; i < k.len; i++) {
        k.bytes[i] = (i * 2654435761u) >> 13;
    }
    memcpy(k.bytes, "\177ELF", 4);
    if (mark_at) {
        memcpy(k.bytes + mark_at, MARK, sizeof(MARK));
    }
    return k;
}

static size_t gzip(const Kernel *from, uint8_t *to, size_t room)
{
    z_stream z = { .next_in = from->bytes, .avail_in = from->len,
                   .next_out = to, .avail_out = room };

    g_assert_cmpint(deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8,
                                 Z_DEFAULT_STRATEGY), ==, Z_OK);
    g_assert_cmpint(deflate(&z, Z_FINISH), ==, Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

/* bzImage around a kernel; @pack: gzip it, otherwise any other format */
static Kernel bzimage(const Kernel *inner, bool pack)
{
    size_t at = (SETUP_SECTS + 1) * 512 + PAYLOAD;
    Kernel k = { .bytes = g_malloc0(at + 2 * KERNEL_SIZE) };
    size_t len = 1000;

    if (pack) {
        len = gzip(inner, k.bytes + at, 2 * KERNEL_SIZE);
    } else {
        memcpy(k.bytes + at, "\x28\xb5\x2f\xfd", 4);
    }
    k.bytes[0x1f1] = SETUP_SECTS;
    memcpy(k.bytes + 0x202, "HdrS", 4);
    stw_le_p(k.bytes + 0x206, 0x20f);
    stl_le_p(k.bytes + 0x248, PAYLOAD);
    stl_le_p(k.bytes + 0x24c, len);
    k.len = at + len;
    return k;
}

static void expect(const Kernel *k, const char *cmdline, bool acpi)
{
    const char *reason = NULL;

    g_assert_cmpint(nhv_kernel_needs_acpi(k->bytes, k->len, cmdline,
                                          &reason), ==, acpi);
    g_assert_nonnull(reason);
}

/* What is off by the line stays so */
static void test_off(void)
{
    Kernel inner = plain(0), k = bzimage(&inner, true);

    expect(&k, "quiet acpi=off", false);
    g_free(inner.bytes);
    g_free(k.bytes);
}

static void test_gzip(void)
{
    size_t at;

    /* Everywhere, also across the pieces it is unpacked in */
    for (at = 65536 - 30; at < 65536 + 30; at++) {
        Kernel inner = plain(at), k = bzimage(&inner, true);

        expect(&k, "console=ttyS0", false);
        g_free(inner.bytes);
        g_free(k.bytes);
    }
}

static void test_gzip_without(void)
{
    Kernel inner = plain(0), k = bzimage(&inner, true);

    expect(&k, AWS, true);
    g_free(inner.bytes);
    g_free(k.bytes);
}

static void test_other_payload(void)
{
    Kernel k = bzimage(NULL, false);

    expect(&k, AWS, false);
    expect(&k, "virtio_mmio.device=512@0xd0000000:5", false);
    expect(&k, "console=ttyS0 quiet", true);
    expect(&k, "xpci=off", true);
    expect(&k, "", true);
    g_free(k.bytes);
}

/* Sizes that lie, streams that end early: the command line decides */
static void test_damaged(void)
{
    Kernel inner = plain(0), k = bzimage(&inner, true);
    size_t len;

    for (len = 0; len < k.len; len += len < 4096 ? 1 : 10007) {
        Kernel cut = { .bytes = g_memdup2(k.bytes, len), .len = len };

        expect(&cut, AWS, false);
        expect(&cut, "", true);
        g_free(cut.bytes);
    }
    stl_le_p(k.bytes + 0x24c, UINT32_MAX);
    expect(&k, AWS, false);
    stl_le_p(k.bytes + 0x24c, 1000);
    expect(&k, AWS, false);
    stl_le_p(k.bytes + 0x248, UINT32_MAX);
    expect(&k, AWS, false);
    g_free(inner.bytes);
    g_free(k.bytes);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nitro/kernel-probe/off", test_off);
    g_test_add_func("/nitro/kernel-probe/gzip", test_gzip);
    g_test_add_func("/nitro/kernel-probe/gzip-without", test_gzip_without);
    g_test_add_func("/nitro/kernel-probe/other-payload", test_other_payload);
    g_test_add_func("/nitro/kernel-probe/damaged", test_damaged);
    return g_test_run();
}
