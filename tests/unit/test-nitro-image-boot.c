/*
 * Kernel, initrd and command line out of enclave images
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An image is split by what its structure says, so the tests make up both.
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include "qemu/units.h"
#include "contrib/nitro-hypervisor/image.h"
#include "tests/nitro/eif-maker.h"

#define BIG_RAMDISK (3 * MiB + 5)
#define LONG_LINE (64 * KiB)

static const struct Row {
    const char *name;
    const char *sections;       /* see eif_maker_image() */
    const char *cmdline;
    const char *initrd;         /* NULL: none */
} rows[] = {
    { "no-ramdisk", "KCM", EXAMPLE_CMDLINE, NULL },
    { "one-ramdisk", "KCMR", EXAMPLE_CMDLINE, EXAMPLE_RAMDISK0 },
    { "two-ramdisks", "KCMRr", EXAMPLE_CMDLINE,
      EXAMPLE_RAMDISK0 EXAMPLE_RAMDISK1 },
    { "many-ramdisks", "KCMRrRrRr", EXAMPLE_CMDLINE,
      EXAMPLE_RAMDISK0 EXAMPLE_RAMDISK1 EXAMPLE_RAMDISK0 EXAMPLE_RAMDISK1
      EXAMPLE_RAMDISK0 EXAMPLE_RAMDISK1 },
    { "their-order", "KMrCR", EXAMPLE_CMDLINE,
      EXAMPLE_RAMDISK1 EXAMPLE_RAMDISK0 },
    { "empty-line", "KcMR", "", EXAMPLE_RAMDISK0 },
    { "signed", "KCMRS", EXAMPLE_CMDLINE, EXAMPLE_RAMDISK0 },
};

static NhvImage split(const GByteArray *bytes)
{
    NhvImage image = { .fd = -1, .kernel_fd = -1, .initrd_fd = -1 };
    g_autoptr(EifImage) eif = eif_image_parse_buffer(bytes->data, bytes->len,
                                                     &error_abort);

    g_assert_true(nhv_image_split(&image, eif, bytes->data, &error_abort));
    g_assert_cmpint(image.fd, ==, -1);
    return image;
}

static void drop(NhvImage *image)
{
    close(image->kernel_fd);
    if (image->initrd_fd >= 0) {
        close(image->initrd_fd);
    }
    g_free(image->cmdline);
}

static void assert_content(int fd, const void *want, size_t len)
{
    g_autofree char *found = g_malloc(len + 1);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pread(fd, found, len + 1, 0), ==, len);
    g_assert_cmpmem(found, len, want, len);
}

static void test_row(const void *opaque)
{
    const struct Row *row = opaque;
    g_autoptr(GByteArray) bytes = eif_maker_image(4, EIF_FLAG_AARCH64,
                                                  row->sections);
    NhvImage image = split(bytes);

    assert_content(image.kernel_fd, EXAMPLE_KERNEL, strlen(EXAMPLE_KERNEL));
    g_assert_cmpstr(image.cmdline, ==, row->cmdline);
    if (row->initrd) {
        assert_content(image.initrd_fd, row->initrd, strlen(row->initrd));
    } else {
        g_assert_cmpint(image.initrd_fd, ==, -1);
    }
    drop(&image);
}

/* More than a pipe, a page or the kernel's command line holds */
static void test_large(void)
{
    g_autoptr(GByteArray) bytes = eif_maker_new(3, EIF_FLAG_AARCH64);
    g_autofree char *line = g_strnfill(LONG_LINE, 'c');
    g_autofree char *ramdisk = g_strnfill(BIG_RAMDISK, 'r');
    NhvImage image;

    eif_maker_add(bytes, EIF_SECTION_KERNEL, ramdisk, BIG_RAMDISK);
    eif_maker_add(bytes, EIF_SECTION_CMDLINE, line, LONG_LINE);
    eif_maker_add(bytes, EIF_SECTION_RAMDISK, ramdisk, BIG_RAMDISK);
    eif_maker_finish(bytes);
    image = split(bytes);
    g_assert_cmpstr(image.cmdline, ==, line);
    assert_content(image.kernel_fd, ramdisk, BIG_RAMDISK);
    assert_content(image.initrd_fd, ramdisk, BIG_RAMDISK);
    drop(&image);
}

/* What follows a zero byte is no command line, and no second one either */
static void test_zero_in_line(void)
{
    g_autoptr(GByteArray) bytes = eif_maker_new(3, EIF_FLAG_AARCH64);
    NhvImage image;

    eif_maker_add(bytes, EIF_SECTION_KERNEL, "K", 1);
    eif_maker_add(bytes, EIF_SECTION_CMDLINE, "a b\0c", 5);
    eif_maker_finish(bytes);
    image = split(bytes);
    g_assert_cmpstr(image.cmdline, ==, "a b");
    drop(&image);
}

/* No more files, and files that take no more */
static void test_failures(void)
{
    g_autoptr(GByteArray) bytes = eif_maker_image(4, EIF_FLAG_AARCH64,
                                                  "KCMR");
    g_autoptr(EifImage) eif = eif_image_parse_buffer(bytes->data, bytes->len,
                                                     &error_abort);
    NhvImage image = { .fd = -1, .kernel_fd = -1, .initrd_fd = -1 };
    struct rlimit all, few;
    Error *err = NULL;

    image.initrd_fd = open("/dev/full", O_WRONLY);
    g_assert_cmpint(image.initrd_fd, >=, 0);
    g_assert_false(nhv_image_split(&image, eif, bytes->data, &err));
    eif_maker_assert_error(err, "cannot keep a copy of the ramdisk: "
                           "No space left on device", NULL);
    drop(&image);

    err = NULL;
    image.kernel_fd = -1;
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &all), ==, 0);
    few = all;
    few.rlim_cur = 0;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &few), ==, 0);
    g_assert_false(nhv_image_split(&image, eif, bytes->data, &err));
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &all), ==, 0);
    g_assert_cmpint(image.kernel_fd, ==, -1);
    eif_maker_assert_error(err, "failed to create memfd with flags "
                           "0x1: Too many open files", NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/image-boot/%s",
                                                rows[i].name);

        g_test_add_data_func(path, &rows[i], test_row);
    }
    g_test_add_func("/nitro/image-boot/large", test_large);
    g_test_add_func("/nitro/image-boot/zero-in-line", test_zero_in_line);
    g_test_add_func("/nitro/image-boot/failures", test_failures);
    return g_test_run();
}
