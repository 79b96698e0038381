/*
 * A directory of small files that stands for /sys or another tree
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "temp-tree.h"

void temp_tree_put(const char *top, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(top, name, NULL);
    g_autofree char *dir = g_path_get_dirname(path);

    if (!text) {
        unlink(path);
        return;
    }
    g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
    g_assert(g_file_set_contents(path, text, -1, NULL));
}

void temp_tree_remove(const char *top)
{
    GDir *dir = g_dir_open(top, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *child = g_build_filename(top, name, NULL);

        temp_tree_remove(child);
    }
    g_clear_pointer(&dir, g_dir_close);
    remove(top);
}
