/*
 * Unit tests of the choice of kernel modules for an image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "tests/nitro/temp-tree.h"
#include "tools/eif/modules.h"

typedef struct Fixture {
    char *dir;
    GPtrArray *list;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("eif-modules-XXXXXX", NULL);
    f->list = modules_new();
}

static void teardown(Fixture *f, gconstpointer data)
{
    g_ptr_array_unref(f->list);
    temp_tree_remove(f->dir);
    g_free(f->dir);
}

static void put(Fixture *f, const char *name, const char *data, gssize len)
{
    g_autofree char *path = g_build_filename(f->dir, name, NULL);
    g_autofree char *dir = g_path_get_dirname(path);

    g_assert_cmpint(g_mkdir_with_parents(dir, 0755), ==, 0);
    g_assert_true(g_file_set_contents(path, data, len, NULL));
}

/* @depends: as in the module's own information; NULL leaves it out */
static void put_module(Fixture *f, const char *name, const char *depends)
{
    g_autoptr(GString) data = g_string_new("\177ELF");

    g_string_append_len(data, "\0license=GPL", 13);
    if (depends) {
        g_string_append_printf(data, "depends=%s", depends);
        g_string_append_len(data, "\0", 1);
    }
    g_string_append(data, "rest");
    put(f, name, data->str, data->len);
}

static void put_needed(Fixture *f)
{
    put_module(f, "kernel/virtio/virtio_mmio.ko", "");
    put_module(f, "kernel/misc/nsm.ko", "hw-random,cbor");
    put_module(f, "kernel/net/vmw_vsock_virtio_transport.ko",
               "vmw_vsock_virtio_transport_common,vsock");
    put_module(f, "kernel/net/vmw_vsock_virtio_transport_common.ko", "vsock");
    put_module(f, "kernel/net/vsock.ko", NULL);
    put_module(f, "kernel/other.ko", "missing");
    put(f, "modules.builtin", "kernel/char/hw_random.ko\nkernel/cbor.ko\n",
        -1);
}

static char *names(const Fixture *f)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < f->list->len; i++) {
        const Module *module = g_ptr_array_index(f->list, i);

        g_string_append_printf(text, "%s ", module->file);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* What a module depends on comes first, and once */
static void test_order(Fixture *f, gconstpointer data)
{
    g_autofree char *found = NULL;

    put_needed(f);
    g_assert_true(modules_add_tree(f->list, f->dir, 0, &error_abort));
    found = names(f);
    g_assert_cmpstr(found, ==, "virtio_mmio.ko nsm.ko vsock.ko "
                    "vmw_vsock_virtio_transport_common.ko "
                    "vmw_vsock_virtio_transport.ko ");
}

static void assert_refused(Fixture *f, bool done, Error *err, const char *why)
{
    g_assert_false(done);
    g_assert_nonnull(strstr(error_get_pretty(err), why));
    error_free(err);
}

/* What not every image needs */
static void test_more(Fixture *f, gconstpointer data)
{
    Error *err = NULL;
    bool done;

    put_needed(f);
    put_module(f, "kernel/drivers/net/tun.ko", "");
    g_assert_true(modules_add_tree(f->list, f->dir, MODULES_NETWORK,
                                   &error_abort));
    g_assert_cmpuint(f->list->len, ==, 6);
    g_assert_cmpstr(((Module *)f->list->pdata[5])->file, ==, "tun.ko");
    done = modules_add_tree(f->list, f->dir, MODULES_ROOT_IMAGE, &err);
    assert_refused(f, done, err, "no module loop below ");
}

static void test_circle(Fixture *f, gconstpointer data)
{
    put_needed(f);
    put_module(f, "kernel/net/vsock.ko", "vmw_vsock_virtio_transport");
    g_assert_true(modules_add_tree(f->list, f->dir, 0, &error_abort));
    g_assert_cmpuint(f->list->len, ==, 5);
}

static void test_missing(Fixture *f, gconstpointer data)
{
    Error *err = NULL;
    bool done;

    put_needed(f);
    put_module(f, "kernel/misc/nsm.ko", "none");
    done = modules_add_tree(f->list, f->dir, 0, &err);
    assert_refused(f, done, err, "no module none below ");
}

static void test_file(Fixture *f, gconstpointer data)
{
    g_autofree char *path = g_build_filename(f->dir, "a-b.ko", NULL);
    g_autofree char *found = NULL;
    Error *err = NULL;
    bool done;

    put_module(f, "a-b.ko", "vsock");
    g_assert_true(modules_add(f->list, path, &error_abort));
    found = names(f);
    g_assert_cmpstr(found, ==, "a_b.ko ");
    put(f, "a-b.ko", "text", -1);
    done = modules_add(f->list, path, &err);
    assert_refused(f, done, err, "is not a kernel module");
    err = NULL;
    g_remove(path);
    done = modules_add(f->list, path, &err);
    assert_refused(f, done, err, "cannot read module ");
    g_assert_cmpuint(f->list->len, ==, 1);
}

static void add(const char *name, void (*test)(Fixture *f,
                                               gconstpointer data))
{
    g_autofree char *path = g_strdup_printf("/eif/modules/%s", name);

    g_test_add(path, Fixture, NULL, setup, test, teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("order", test_order);
    add("more", test_more);
    add("circle", test_circle);
    add("missing", test_missing);
    add("file", test_file);
    return g_test_run();
}
