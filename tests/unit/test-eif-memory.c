/*
 * Unit tests of the rule for the memory that an image needs
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "tools/eif/cpio.h"
#include "tools/eif/memory.h"

#define IN_RAM "root=/dev/ram0"

/*
 * What the ramdisk has; the sums are in the comments, in MiB, before a 31st
 * part is added
 */
typedef struct Case {
    const char *name;
    const char *cmdline;
    unsigned kernel_mib;    /* that it asks for in its header */
    unsigned files;         /* each ... */
    unsigned file_bytes;    /* ... of that size */
    unsigned links;         /* further names of the last one */
    const char *filter;     /* program that compresses it */
    uint64_t wanted_mib;
} Case;

static const Case cases[] = {
    { "small", "", 0, 1, 1, 0, NULL, 62 },
    /* 16 + 56, and 1 KiB of ramdisk */
    { "kernel", "", 56, 1, 1, 0, NULL, 74 },
    /* 60 + 10 + 10 */
    { "one-file", IN_RAM, 0, 1, 10 * MiB, 0, NULL, 84 },
    { "rootfstype", "a rootfstype=ramfs", 0, 1, 10 * MiB, 0, NULL, 84 },
    /* 60 + 10 + 2 * 10 */
    { "tmpfs", "quiet", 0, 1, 10 * MiB, 0, NULL, 94 },
    /* 60 + 10 + 10, not 20 */
    { "hard-link", IN_RAM, 0, 1, 10 * MiB, 1, NULL, 84 },
    /* 60 + 1.3 + 14.6: names */
    { "empty-files", IN_RAM, 0, 10000, 0, 0, NULL, 80 },
    /* 60 + 1.3 + 14.6 + 39.1: and a page each */
    { "small-files", IN_RAM, 0, 10000, 1, 0, NULL, 120 },
    /* 60 + 1.3 + 2 * 39.1: a tmpfs counts them in pages */
    { "empty-files-tmpfs", "", 0, 10000, 0, 0, NULL, 144 },
    /* 60 + 0.01 + 10 */
    { "gzip", IN_RAM, 0, 1, 10 * MiB, 0, "gzip", 74 },
    { "xz", IN_RAM, 0, 1, 10 * MiB, 0, "xz", 74 },
    { "not-an-archive", "", 0, 1, 10, 0, "rev", 0 },
};

static char *dir;

static int make_kernel(const Case *c)
{
    uint8_t kernel[8192] = { 0 };
    int fd = file_tree_scratch(dir, &error_abort);

    stw_le_p(kernel + 0x1fe, 0xaa55);
    memcpy(kernel + 0x202, "HdrS", 4);
    stw_le_p(kernel + 0x206, 0x020f);
    stl_le_p(kernel + 0x238, 2047);
    stl_le_p(kernel + 0x260, (c->kernel_mib ?: 1) * MiB);
    g_assert_cmpint(write(fd, kernel, sizeof(kernel)), ==, sizeof(kernel));
    return fd;
}

static void add_files(CpioWriter *w, const Case *c)
{
    g_autofree uint8_t *data = g_malloc0(c->file_bytes + 1);
    TreeFile file;

    for (unsigned i = 0; i < c->files; i++) {
        bool linked = i == c->files - 1 && c->links;
        g_autofree char *name = g_strdup_printf("%u", i);

        file = (TreeFile) {
            .mode = S_IFREG | 0644,
            .size = c->file_bytes,
            .links = linked ? 1 + c->links : 1,
        };
        cpio_add(w, name, &file, -1, data, &error_abort);
    }
    for (unsigned i = 0; i < c->links; i++) {
        g_autofree char *name = g_strdup_printf("link%u", i);

        cpio_add(w, name, &file, -1, data, &error_abort);
    }
}

static int make_ramdisk(const Case *c)
{
    static const CpioStyle style = { .first_inode = 1 };
    g_autofree char *path = g_build_filename(dir, "ramdisk", NULL);
    g_autofree char *command = g_strdup_printf(
        "%s < '%s' > '%s.new' && mv '%s.new' '%s'", c->filter ?: "cat", path,
        path, path, path);
    int fd = g_creat(path, 0600);
    CpioWriter w;

    cpio_begin(&w, fd, &style);
    add_files(&w, c);
    cpio_end(&w, &error_abort);
    close(fd);
    g_assert_cmpint(system(command), ==, 0);
    fd = g_open(path, O_RDONLY, 0);
    g_assert_cmpint(unlink(path), ==, 0);
    return fd;
}

static void test_case(gconstpointer opaque)
{
    const Case *c = opaque;
    EifBuildParams params = {
        .kernel_fd = make_kernel(c),
        .ramdisk_fds = { make_ramdisk(c) },
        .nr_ramdisks = 1,
        .cmdline = c->cmdline,
    };
    g_autoptr(EifBuild) build = eif_build_new(&params, &error_abort);
    g_autoptr(EifImage) image = NULL;
    EifSource src;

    eif_source_init_build(&src, build);
    image = eif_image_parse(&src, &error_abort);
    g_assert_cmpuint(memory_need(image, &src), ==, c->wanted_mib);
    close(params.kernel_fd);
    close(params.ramdisk_fds[0]);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("nitro-memory-XXXXXX", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("/eif/memory/%s",
                                                cases[i].name);

        g_test_add_data_func(path, &cases[i], test_case);
    }
    rc = g_test_run();
    g_assert_cmpint(rmdir(dir), ==, 0);
    g_free(dir);
    return rc;
}
