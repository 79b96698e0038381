/*
 * Kernel modules that an enclave's ramdisk brings
 *
 * A module names those that it depends on itself, so no index is needed,
 * which only an installed kernel has.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <archive.h>
#include <archive_entry.h>
#include <glib/gstdio.h>
#include "elf.h"
#include "qemu/units.h"
#include "modules.h"

#define MAX_MODULE (64 * MiB)
#define PIECE (64 * KiB)
#define MAX_DEPTH 32
#define BUILTIN "modules.builtin"

static const char *const needed[] = {
    "virtio_mmio", "nsm", "vmw_vsock_virtio_transport", NULL
};
static const char *const needed_for_image[] = {
    "loop", "squashfs", "overlay", NULL
};
static const char *const needed_for_network[] = { "tun", NULL };

static void module_free(gpointer data)
{
    Module *module = data;

    g_free(module->file);
    g_byte_array_unref(module->data);
    g_free(module);
}

GPtrArray *modules_new(void)
{
    return g_ptr_array_new_with_free_func(module_free);
}

/* "vsock" for "net/vmw_vsock/vsock.ko.xz"; the kernel knows no dashes */
static char *module_name(const char *path)
{
    g_autofree char *base = g_path_get_basename(path);
    char *end = strstr(base, ".ko");

    return g_strdelimit(g_strndup(base, end ? end - base : strlen(base)),
                        "-", '_');
}

static bool read_all(struct archive *a, GByteArray *data)
{
    g_autofree uint8_t *piece = g_malloc(PIECE);
    la_ssize_t n;

    while ((n = archive_read_data(a, piece, PIECE)) > 0) {
        if (data->len + n > MAX_MODULE) {
            archive_set_error(a, EFBIG, "it has more than %" PRIu64 " MiB",
                              MAX_MODULE / MiB);
            return false;
        }
        g_byte_array_append(data, piece, n);
    }
    return n == 0;
}

/* Kernels differ in which compression they undo themselves, if any */
static GByteArray *read_module(const char *path, Error **errp)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    bool ok;

    archive_read_support_filter_gzip(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_format_raw(a);
    ok = archive_read_open_filename(a, path, PIECE) == ARCHIVE_OK &&
         archive_read_next_header(a, &entry) == ARCHIVE_OK &&
         read_all(a, data);
    if (!ok) {
        error_setg(errp, "cannot read module %s: %s", path,
                   archive_error_string(a) ?: "it is empty");
    } else if (data->len < SELFMAG || memcmp(data->data, ELFMAG, SELFMAG)) {
        error_setg(errp, "%s is not a kernel module", path);
        ok = false;
    }
    archive_read_free(a);
    return ok ? g_steal_pointer(&data) : NULL;
}

static void append(GPtrArray *list, const char *name, GByteArray *data)
{
    Module *module = g_new0(Module, 1);

    module->file = g_strconcat(name, ".ko", NULL);
    module->data = data;
    g_ptr_array_add(list, module);
}

bool modules_add(GPtrArray *list, const char *path, Error **errp)
{
    GByteArray *data = read_module(path, errp);
    g_autofree char *name = NULL;

    if (!data) {
        return false;
    }
    name = module_name(path);
    append(list, name, data);
    return true;
}

/* A kernel's modules by name */
typedef struct ModuleTree {
    const char *directory;
    GHashTable *paths;      /* name -> path; "" when the kernel has it */
    GHashTable *done;       /* names that were visited */
} ModuleTree;

/* The same path each time, whatever the order of directories */
static void note_path(ModuleTree *tree, const char *path)
{
    char *name = module_name(path);
    const char *known = g_hash_table_lookup(tree->paths, name);

    if (!known || strcmp(path, known) < 0) {
        g_hash_table_replace(tree->paths, name, g_strdup(path));
    } else {
        g_free(name);
    }
}

static void search(ModuleTree *tree, const char *directory, int depth)
{
    g_autoptr(GDir) dir = depth < MAX_DEPTH ? g_dir_open(directory, 0, NULL)
                                            : NULL;
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(directory, name, NULL);
        GStatBuf info;

        if (g_lstat(path, &info) < 0) {
            continue;
        }
        if (S_ISDIR(info.st_mode)) {
            search(tree, path, depth + 1);
        } else if (strstr(name, ".ko")) {
            note_path(tree, path);
        }
    }
}

static void note_builtin(ModuleTree *tree)
{
    g_autofree char *path = g_build_filename(tree->directory, BUILTIN, NULL);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return;
    }
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_hash_table_replace(tree->paths, module_name(*line), g_strdup(""));
    }
}

/* Names in the module's own list, NULL at the end */
static char **dependencies(const GByteArray *data)
{
    static const char key[] = "\0depends=";
    const size_t len = sizeof(key) - 1;
    const char *found = memmem(data->data, data->len, key, len);
    g_autofree char *names = found
        ? g_strndup(found + len, (char *)data->data + data->len - found - len)
        : g_strdup("");

    return g_strsplit(names, ",", -1);
}

static bool visit(ModuleTree *tree, GPtrArray *list, const char *name,
                  Error **errp)
{
    const char *path = g_hash_table_lookup(tree->paths, name);
    GByteArray *data;
    g_auto(GStrv) names = NULL;

    if (path && (!*path || !g_hash_table_add(tree->done, g_strdup(name)))) {
        return true;
    }
    if (!path) {
        error_setg(errp, "no module %s below %s, and none in its " BUILTIN,
                   name, tree->directory);
        error_append_hint(errp, "Take the modules of the kernel, of Linux 6.8"
                          " or newer, or name files with --module.\n");
        return false;
    }
    data = read_module(path, errp);
    if (!data) {
        return false;
    }
    names = dependencies(data);
    for (char **other = names; *other; other++) {
        g_strdelimit(*other, "-", '_');
        if (**other && !visit(tree, list, *other, errp)) {
            g_byte_array_unref(data);
            return false;
        }
    }
    append(list, name, data);
    return true;
}

static bool visit_all(ModuleTree *tree, GPtrArray *list,
                      const char *const *names, Error **errp)
{
    for (; *names; names++) {
        if (!visit(tree, list, *names, errp)) {
            return false;
        }
    }
    return true;
}

bool modules_add_tree(GPtrArray *list, const char *directory,
                      ModulesNeeded more, Error **errp)
{
    ModuleTree tree = {
        .directory = directory,
        .paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                       g_free),
        .done = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
    };
    bool ok;

    search(&tree, directory, 0);
    note_builtin(&tree);
    ok = visit_all(&tree, list, needed, errp) &&
         (!(more & MODULES_ROOT_IMAGE) ||
          visit_all(&tree, list, needed_for_image, errp)) &&
         (!(more & MODULES_NETWORK) ||
          visit_all(&tree, list, needed_for_network, errp));
    g_hash_table_unref(tree.paths);
    g_hash_table_unref(tree.done);
    return ok;
}
