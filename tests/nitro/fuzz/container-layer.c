/*
 * Fuzz target: apply layers of a container image, write the ramdisk of them
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is a layer.  It is applied twice, to an empty tree and to what
 * has become of that, so that it also replaces and hides its own files.
 */

#include "qemu/osdep.h"
#include "qemu/memfd.h"
#include "qemu/units.h"
#include "fuzz.h"
#include "tests/nitro/layer-maker.h"
#include "tools/eif/cpio.h"
#include "tools/eif/layer.h"

static const FileTreeLimits limits = { 1 * MiB, 500 };

typedef struct Walk {
    const FileTree *tree;
    unsigned names;
} Walk;

/* Whatever the names in the layer are, those in the tree stay below it */
static bool check_name(const char *path, TreeFile *file, void *opaque,
                       Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    Walk *walk = opaque;

    g_assert_true(file_tree_lookup(walk->tree, path) == file);
    g_assert_cmpuint(strlen(path), <=, FILE_TREE_MAX_PATH);
    for (char **part = parts; *path && *part; part++) {
        g_assert_cmpstr(*part, !=, "");
        g_assert_cmpstr(*part, !=, ".");
        g_assert_cmpstr(*part, !=, "..");
        g_assert_cmpuint(strlen(*part), <=, FILE_TREE_MAX_NAME);
    }
    g_assert_cmpuint(file->links, >=, 1);
    g_assert_true(S_ISLNK(file->mode) == !!file->target);
    if (S_ISREG(file->mode)) {
        g_assert_cmpuint(file->size, <=, limits.bytes);
    }
    walk->names++;
    return true;
}

static void check_tree(FileTree *tree)
{
    Walk walk = { .tree = tree };

    g_assert_true(file_tree_walk(tree, check_name, &walk, &error_abort));
    g_assert_cmpuint(walk.names, <=, limits.files + 1);
}

static void check_ramdisk(FileTree *tree)
{
    static const CpioStyle style = { .first_inode = 1 };
    int fd = qemu_memfd_create("ramdisk", 0, false, 0, 0, &error_abort);
    CpioWriter w;

    cpio_begin(&w, fd, &style);
    g_assert_true(cpio_add_tree(&w, "rootfs", tree, &error_abort));
    g_assert_true(cpio_end(&w, &error_abort));
    g_assert_cmpint(lseek(fd, 0, SEEK_CUR) % 512, ==, 0);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = qemu_memfd_create("layer", 0, false, 0, 0, &error_abort);
    FileTree *tree = file_tree_new(g_get_tmp_dir(), &limits, &error_abort);
    Blob blob = { fd, 0, size };

    g_assert_cmpint(qemu_write_full(fd, data, size), ==, size);
    for (int i = 0; i < 2; i++) {
        Error *err = NULL;

        if (!layer_apply(tree, &blob, NULL, NULL, &err)) {
            g_assert_cmpstr(error_get_pretty(err), !=, "");
            error_free(err);
        }
        check_tree(tree);
    }
    check_ramdisk(tree);
    file_tree_free(tree);
    close(fd);
    return 0;
}

static const LayerEntry entries[] = {
    { "bin/app", S_IFREG | 04755, "program", 1, 2 },
    { "bin/again", 0, "bin/app" },
    { "etc/link", S_IFLNK | 0777, "../bin" },
    { "dev/null", S_IFCHR | 0666, NULL, 0, 0, 1, 3 },
    { "run/pipe", S_IFIFO | 0600 },
    { "etc/.wh.gone", S_IFREG | 0644, "" },
    { "bin/.wh..wh..opq", S_IFREG | 0644, "" },
    { "../out", S_IFREG | 0644, "x" },
    { }
};

void fuzz_seeds(FuzzSeed *seed)
{
    static const char *const filters[] = { NULL, "gzip", "zstd" };
    static const char *const names[] = { "plain", "gzip", "zstd" };

    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        g_autoptr(GByteArray) layer = layer_make(entries, filters[i]);

        seed(names[i], layer->data, layer->len);
    }
}
