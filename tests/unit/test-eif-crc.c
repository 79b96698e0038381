/*
 * Enclave images: CRC-32
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include <zlib.h> /* crc32, the one to agree with */
#include "hw/core/eif-crc.h"

/* The value that catalogues of CRCs give for this text */
static void test_known(void)
{
    g_assert_cmphex(eif_crc32(0, "123456789", 9), ==, 0xcbf43926);
    g_assert_cmphex(eif_crc32(0, "", 0), ==, 0);
}

/* All lengths and alignments at which fast code changes its ways */
static void test_agrees_with_zlib(void)
{
    g_autofree uint8_t *data = g_malloc(4 * KiB);

    for (unsigned i = 0; i < 4 * KiB; i++) {
        data[i] = g_test_rand_int();
    }
    for (unsigned at = 0; at < 64; at++) {
        for (unsigned len = 0; len < 3 * KiB; len += 1 + len / 8) {
            g_assert_cmphex(eif_crc32(7, data + at, len), ==,
                            crc32(7, data + at, len));
        }
    }
}

static void test_continues(void)
{
    g_assert_cmphex(eif_crc32(eif_crc32(0, "1234", 4), "56789", 5), ==,
                    0xcbf43926);
}

static void test_join(void)
{
    uint32_t first = eif_crc32(0, "1234", 4);
    uint32_t second = eif_crc32(0, "56789", 5);

    g_assert_cmphex(eif_crc32_join(first, second, 5), ==, 0xcbf43926);
    g_assert_cmphex(eif_crc32_join(first, 0, 0), ==, first);
    g_assert_cmphex(eif_crc32_join(0, second, 5), ==, second);
}

static void test_zeros(void)
{
    static const uint8_t zeros[1000];
    uint32_t crc = eif_crc32(0, "1234", 4);

    for (unsigned len = 0; len <= sizeof(zeros); len += 125) {
        g_assert_cmphex(eif_crc32_zeros(crc, len), ==,
                        eif_crc32(crc, zeros, len));
    }
    /* More than 32 bits can count: twice 4 GiB is 8 GiB */
    g_assert_cmphex(eif_crc32_zeros(eif_crc32_zeros(crc, 4 * GiB), 4 * GiB),
                    ==, eif_crc32_zeros(crc, 8 * GiB));
    g_assert_cmphex(eif_crc32_zeros(crc, 4 * GiB), !=, crc);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/eif/crc/known", test_known);
    g_test_add_func("/eif/crc/agrees-with-zlib", test_agrees_with_zlib);
    g_test_add_func("/eif/crc/continues", test_continues);
    g_test_add_func("/eif/crc/join", test_join);
    g_test_add_func("/eif/crc/zeros", test_zeros);
    return g_test_run();
}
