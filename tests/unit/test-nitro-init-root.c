/*
 * Unit tests of what the init says when it cannot enter its root
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "contrib/nitro-init/image.h"
#include "contrib/nitro-init/mount.h"
#include "contrib/nitro-init/root.h"

/* What fails; 0: nothing */
static int image_error, root_error;
static const char *entered;

const char *image_mount(const char *image, const char *target)
{
    errno = image_error;
    return image_error ? "cannot set up a loop device" : NULL;
}

int mount_root(const char *root)
{
    entered = root;
    errno = root_error;
    return root_error ? -1 : 0;
}

static int enter(const char *root, const char *image, char *why, size_t size)
{
    struct config config;
    int result;

    config_init(&config);
    config.root = g_strdup(root);
    config.root_image = g_strdup(image);
    entered = NULL;
    result = root_enter(&config, why, size);
    config_free(&config);
    return result;
}

static void test_good(void)
{
    char why[512];

    g_assert_cmpint(enter(NULL, NULL, why, sizeof(why)), ==, 0);
    g_assert_null(entered);
    g_assert_cmpint(enter("/r", "/i", why, sizeof(why)), ==, 0);
    g_assert_nonnull(entered);
}

static void test_no_root(void)
{
    char why[512];

    root_error = ENOENT;
    g_assert_cmpint(enter("/r", NULL, why, sizeof(why)), ==, -1);
    g_assert_cmpstr(why, ==, "cannot enter root /r: "
                    "No such file or directory");
    root_error = 0;
}

static void test_no_image(void)
{
    char why[512];

    image_error = ENODEV;
    g_assert_cmpint(enter("/r", "/i", why, sizeof(why)), ==, -1);
    g_assert_cmpstr(why, ==, "cannot mount root-image /i at /r: "
                    "cannot set up a loop device: No such device");
    g_assert_null(entered);
    image_error = 0;
}

/* A frame of the agent takes 255 bytes, the cause comes last */
static void test_long_names(void)
{
    g_autofree char *name = g_strnfill(4000, 'x');
    char why[256];

    image_error = ENAMETOOLONG;
    g_assert_cmpint(enter(name, name, why, sizeof(why)), ==, -1);
    g_assert_true(g_str_has_suffix(why, ": File name too long"));
    image_error = 0;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nitro/init-root/good", test_good);
    g_test_add_func("/nitro/init-root/no-root", test_no_root);
    g_test_add_func("/nitro/init-root/no-image", test_no_image);
    g_test_add_func("/nitro/init-root/long-names", test_long_names);
    return g_test_run();
}
