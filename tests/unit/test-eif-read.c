/*
 * Enclave images: reading a lot at once, with its CRC
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/memfd.h"
#include "qemu/units.h"
#include <zlib.h> /* crc32 */
#include "hw/core/eif-image.h"
#include "tests/nitro/eif-maker.h"

#define SIZE (40 * MiB + 5) /* some chunks, and not a whole number of them */
#define POSITION 12345
#define DIRT 0xff
#define ISLAND (17 * MiB + 3) /* data in the middle of a sparse file */
#define ISLAND_LEN (9 * MiB)

typedef struct Fixture {
    int fd;
    EifSource src;
    uint8_t *expected;
    uint8_t *dest; /* fresh anonymous memory */
} Fixture;

static void setup(Fixture *f, const void *sparse)
{
    uint64_t begin = sparse ? ISLAND : 0;
    uint64_t len = sparse ? ISLAND_LEN : SIZE;

    f->expected = g_malloc0(SIZE);
    for (uint64_t i = begin; i < begin + len; i++) {
        f->expected[i] = i * 7 + (i >> 12);
    }
    f->fd = qemu_memfd_create("image", SIZE, false, 0, 0, &error_abort);
    g_assert_cmpint(ftruncate(f->fd, SIZE), ==, 0);
    g_assert_cmpint(pwrite(f->fd, f->expected + begin, len, begin), ==, len);
    g_assert_cmpint(lseek(f->fd, POSITION, SEEK_SET), ==, POSITION);
    g_assert_true(eif_source_init_fd(&f->src, f->fd, &error_abort));
    f->dest = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert(f->dest != MAP_FAILED);
    g_assert_cmpint(madvise(f->dest, SIZE, MADV_NOHUGEPAGE), ==, 0);
}

static void teardown(Fixture *f, const void *sparse)
{
    munmap(f->dest, SIZE);
    g_free(f->expected);
    close(f->fd);
}

static void assert_reads(Fixture *f, uint64_t from, uint64_t len, bool fresh)
{
    uint32_t crc = 0x12345678;

    g_assert_true(eif_source_read_crc(&f->src, f->dest, len, from, fresh, &crc,
                                      &error_abort));
    g_assert_cmpmem(f->dest, len, f->expected + from, len);
    g_assert_cmphex(crc, ==, crc32_z(0x12345678, f->expected + from, len));
    g_assert_cmpint(lseek(f->fd, 0, SEEK_CUR), ==, POSITION);
}

static void test_whole(Fixture *f, const void *sparse)
{
    assert_reads(f, 0, SIZE, false);
}

static void test_fresh(Fixture *f, const void *sparse)
{
    assert_reads(f, 0, SIZE, true);
}

static void test_part(Fixture *f, const void *sparse)
{
    assert_reads(f, 3, 23 * MiB + 1, true);
}

static void test_nothing(Fixture *f, const void *sparse)
{
    assert_reads(f, SIZE, 0, true);
}

/* Holes are zeros whatever was in memory before */
static void test_dirty(Fixture *f, const void *sparse)
{
    memset(f->dest, DIRT, SIZE);
    assert_reads(f, 0, SIZE, false);
}

static unsigned resident_pages(const Fixture *f, uint64_t at, uint64_t len)
{
    size_t page = qemu_real_host_page_size();
    g_autofree unsigned char *present = g_malloc(DIV_ROUND_UP(len, page));
    unsigned count = 0;

    g_assert_cmpint(mincore(f->dest + at, len, present), ==, 0);
    for (size_t i = 0; i < DIV_ROUND_UP(len, page); i++) {
        count += present[i] & 1;
    }
    return count;
}

static void test_untouched(Fixture *f, const void *sparse)
{
    uint32_t crc = 0;

    g_assert_true(eif_source_read_crc(&f->src, f->dest, SIZE, 0, true, &crc,
                                      &error_abort));
    g_assert_cmphex(crc, ==, crc32_z(0, f->expected, SIZE));
    g_assert_cmpuint(resident_pages(f, 0, 16 * MiB), ==, 0);
    g_assert_cmpuint(resident_pages(f, 28 * MiB, 12 * MiB), ==, 0);
    g_assert_cmpuint(resident_pages(f, 18 * MiB, 1 * MiB), >, 0);
}

/* The first error in the file, not the first in time; a cut is no hole */
static void test_cut_off(Fixture *f, const void *sparse)
{
    for (int fresh = 0; fresh < 2; fresh++) {
        Error *err = NULL;
        uint32_t crc = 0;

        g_assert_cmpint(ftruncate(f->fd, 10 * MiB + 1), ==, 0);
        g_assert_false(eif_source_read_crc(&f->src, f->dest, SIZE, 0, fresh,
                                           &crc, &err));
        eif_maker_assert_error(err, "the file ended at byte 10485761 of "
                               "41943045 while it was being read",
                               "Do not change the file");
        g_assert_cmpint(lseek(f->fd, 0, SEEK_CUR), ==, POSITION);
    }
}

static void test_short_reads(Fixture *f, const void *sparse)
{
    eif_maker_reads.most = 64 * KiB + 1;
    assert_reads(f, 0, SIZE, false);
    g_assert_cmpuint(eif_maker_reads.calls, >, SIZE / (64 * KiB + 1));
    memset(&eif_maker_reads, 0, sizeof(eif_maker_reads));
}

static void test_from_memory(Fixture *f, const void *sparse)
{
    eif_source_init_buffer(&f->src, f->expected, SIZE);
    assert_reads(f, 0, SIZE, true);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        bool sparse;
        void (*func)(Fixture *f, const void *sparse);
    } tests[] = {
        { "/eif/read/whole", false, test_whole },
        { "/eif/read/part", false, test_part },
        { "/eif/read/nothing", false, test_nothing },
        { "/eif/read/cut-off", false, test_cut_off },
        { "/eif/read/short-reads", false, test_short_reads },
        { "/eif/read/memory", false, test_from_memory },
        { "/eif/read/sparse/whole", true, test_whole },
        { "/eif/read/sparse/part", true, test_part },
        { "/eif/read/sparse/fresh", true, test_fresh },
        { "/eif/read/sparse/dirty", true, test_dirty },
        { "/eif/read/sparse/untouched", true, test_untouched },
        { "/eif/read/sparse/cut-off", true, test_cut_off },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        g_test_add(tests[i].path, Fixture, tests[i].sparse ? "sparse" : NULL,
                   setup, tests[i].func, teardown);
    }
    return g_test_run();
}
