/*
 * Nitro Enclaves driver: why a host has no device node of it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The host is a directory of ordinary files.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "accel/nitro/ne-host.h"
#include "tests/nitro/error-text.h"
#include "tests/nitro/temp-tree.h"

#define FUNCTIONS "proc/bus/pci/devices"
#define MODULE "sys/module/nitro_enclaves/refcnt"
#define OTHERS "0000\t80860d57\t0\t0\n0008\t1d0fec20\ta\tc0000000\t\tena\n"
#define ENCLAVES "0028\t1d0fe4c1\t0\tc0100000\n"

static const struct {
    const char *functions;      /* NULL: no such file */
    const char *module;
    const char *message;        /* NULL: not known */
    const char *hint;
} rows[] = {
    { NULL, NULL },
    { NULL, "0\n" },
    { "", NULL, "this is not an EC2 instance with enclaves enabled",
      "Enabled=true" },
    { OTHERS, NULL, "enclaves enabled, PCI function 1d0f:e4c1 is missing",
      "nitro-enclaves-pci" },
    { OTHERS, "0\n", "PCI function 1d0f:e4c1 is missing", "Enabled=true" },
    { OTHERS ENCLAVES, NULL, "its driver is not loaded, PCI function "
      "1d0f:e4c1 is there", "modprobe nitro_enclaves" },
    { OTHERS ENCLAVES, "0\n", "its driver is loaded, but the node is not here",
      "pass the device on" },
};

static void test_causes(void)
{
    char *root = g_dir_make_tmp("nitro-ne-host-XXXXXX", NULL);

    g_assert_nonnull(root);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *text = NULL;
        Error *err = NULL;

        temp_tree_remove(root);
        temp_tree_put(root, FUNCTIONS, rows[i].functions);
        temp_tree_put(root, MODULE, rows[i].module);
        g_assert_cmpint(ne_host_explain(root, &err), ==, !!rows[i].message);
        g_assert_cmpint(!err, ==, !rows[i].message);
        if (err) {
            text = error_text(err);
            assert_contains(text, rows[i].message);
            assert_contains(text, rows[i].hint);
        }
    }
    temp_tree_remove(root);
    g_free(root);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nitro/ne-host/causes", test_causes);
    return g_test_run();
}
