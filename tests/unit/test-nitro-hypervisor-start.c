/*
 * Unit tests of the hypervisor's command line and runtime directory
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "contrib/nitro-hypervisor/options.h"
#include "contrib/nitro-hypervisor/runtime-dir.h"

#define QEMU "--qemu=/bin/true"
#define NEEDED "--runtime-dir and --qemu or --qemu-aarch64 are needed"
#define DIRECTORY "--runtime-dir=/tmp/x/../y"

/* Returns: the message, or NULL when the words were taken */
static char *parse(NhvOptions *opts, const char *words)
{
    g_auto(GStrv) all = g_strsplit(words, " ", -1);
    unsigned argc = g_strv_length(all);
    /* The parser takes words out of its array, which must not lose them */
    g_autofree char **argv = g_memdup2(all, (argc + 1) * sizeof(*all));
    Error *err = NULL;
    char *message = NULL;

    *opts = (NhvOptions) { };
    if (!nhv_options_parse(opts, argc, argv, &err)) {
        message = g_strdup(error_get_pretty(err));
        error_free(err);
    }
    return message;
}

static void test_options(void)
{
    NhvOptions opts;
    g_autofree char *message = parse(&opts, "nitro-hypervisor " QEMU " "
                                     DIRECTORY " --acpi off --once "
                                     "--max-connections 7 --strict-image "
                                     "--qemu-arg=-d --qemu-arg=int "
                                     "--firmware-dir /a --firmware-dir /b");

    g_assert_cmpstr(message, ==, NULL);
    g_assert_cmpstr(opts.runtime_dir, ==, "/tmp/y");
    g_assert_cmpstr(opts.qemu, ==, "/bin/true");
    g_assert_cmpstr(opts.accel, ==, "tcg,thread=multi");
    g_assert_cmpint(opts.host, ==, NHV_HOST_ARCH);
    g_assert_cmpint(opts.acpi, ==, ON_OFF_AUTO_OFF);
    g_assert_cmpuint(opts.max_connections, ==, 7);
    g_assert_true(opts.once);
    g_assert_true(opts.strict_image);
    g_assert_false(opts.keep_logs);
    g_assert_cmpstr(opts.qemu_args[1], ==, "int");
    g_assert_cmpstr(opts.firmware_dirs[1], ==, "/b");
    nhv_options_clear(&opts);
}

/* One switch does not undo another, whatever their order */
static void test_switches(void)
{
    static const char *const row[] = {
        "x " QEMU " " DIRECTORY " --keep-logs --once --strict-image",
        "x " QEMU " " DIRECTORY " --strict-image --once --keep-logs",
    };

    for (int i = 0; i < ARRAY_SIZE(row); i++) {
        NhvOptions opts;
        g_autofree char *message = parse(&opts, row[i]);

        g_assert_cmpstr(message, ==, NULL);
        g_assert_true(opts.once);
        g_assert_true(opts.strict_image);
        g_assert_true(opts.keep_logs);
        g_assert_false(opts.version);
        nhv_options_clear(&opts);
    }
}

/* Prints and exits */
static void test_help(void)
{
    if (g_test_subprocess()) {
        NhvOptions opts;

        parse(&opts, "nitro-hypervisor --help");
        g_assert_not_reached();
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stdout("*--qemu-aarch64=PATH*for arm64 images*");
    g_test_trap_assert_stdout("*-device vhost-user-vsock-pci,chardev=vs*");
    g_test_trap_assert_stdout("*-M q35 for qemu-system-x86_64*");
    g_test_trap_assert_stdout("*-M virt,gic-version=3*");
}

/* Needs a QEMU, and no directory */
static void test_check_kvm(void)
{
    NhvOptions opts;
    g_autofree char *taken = parse(&opts, "x --check-kvm " QEMU);
    g_autofree char *refused = NULL;

    g_assert_cmpstr(taken, ==, NULL);
    g_assert_true(opts.check_kvm);
    nhv_options_clear(&opts);
    refused = parse(&opts, "x --check-kvm " DIRECTORY);
    g_assert_cmpstr(refused, ==, NEEDED);
    nhv_options_clear(&opts);
}

/* Either architecture alone will do, or both */
static void test_architectures(void)
{
    static const struct {
        const char *words, *x86_64, *aarch64;
    } row[] = {
        { "x " QEMU, "/bin/true", NULL },
        { "x --qemu-aarch64 /bin/false", NULL, "/bin/false" },
        { "x " QEMU " --qemu-aarch64 /bin/false", "/bin/true", "/bin/false" },
    };

    for (int i = 0; i < ARRAY_SIZE(row); i++) {
        NhvOptions opts;
        g_autofree char *words = g_strconcat(row[i].words, " ", DIRECTORY,
                                             NULL);
        g_autofree char *message = parse(&opts, words);

        g_assert_cmpstr(message, ==, NULL);
        g_assert_cmpuint(opts.max_connections, ==, 65536);
        g_assert_cmpstr(nhv_options_qemu(&opts, EIF_ARCH_X86_64), ==,
                        row[i].x86_64);
        g_assert_cmpstr(nhv_options_qemu(&opts, EIF_ARCH_AARCH64), ==,
                        row[i].aarch64);
        nhv_options_clear(&opts);
    }
}

static void test_bad_options(void)
{
    static const struct {
        const char *words, *message;
    } row[] = {
        { "x", NEEDED },
        { "x " QEMU, NEEDED },
        { "x " DIRECTORY, NEEDED },
        { "x " QEMU " " DIRECTORY " more", "arguments that are not options" },
        { "x " QEMU " " DIRECTORY " --acpi maybe",
          "--acpi: invalid parameter value: maybe" },
        { "x " QEMU " " DIRECTORY " --max-connections 0",
          "--max-connections must be 1 to 16777216, not 0" },
        { "x " QEMU " " DIRECTORY " --max-connections 16777217",
          "--max-connections must be 1 to 16777216, not 16777217" },
        { "x " QEMU " " DIRECTORY " --max-connections many",
          "--max-connections must be 1 to 16777216, not many" },
        { "x --qemu /none " DIRECTORY,
          "--qemu: cannot run /none: No such file or directory" },
        { "x " QEMU " --qemu-aarch64 /none " DIRECTORY,
          "--qemu-aarch64: cannot run /none: No such file or directory" },
        { "x --what", "Unknown option --what" },
        { "x " QEMU " " QEMU " " DIRECTORY, "--qemu is given more than once" },
        { "x --once " QEMU " " DIRECTORY " --once",
          "--once is given more than once" },
        { "x " QEMU " " DIRECTORY " --accel bad",
          "--accel bad: cannot run enclaves" },
        { "x " QEMU " " DIRECTORY " --accel auto,thread=single",
          "--accel auto,thread=single: cannot run enclaves" },
        { "x --accel tcg --accel kvm", "--accel is given more than once" },
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(row); i++) {
        NhvOptions opts;
        g_autofree char *message = parse(&opts, row[i].words);

        g_assert_cmpstr(message, ==, row[i].message);
        nhv_options_clear(&opts);
    }
}

static void refuse(const char *path, const char *expected)
{
    g_autofree char *message = g_strdup_printf(expected, path);
    NhvRuntimeDir dir = { };
    Error *err = NULL;

    g_assert_false(nhv_runtime_dir_open(&dir, path, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
    nhv_runtime_dir_close(&dir);
}

static void test_runtime_dir(void)
{
    g_autofree char *base = g_dir_make_tmp("nitro-runtime-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(base, "new", NULL);
    g_autofree char *deep = g_build_filename(path, "er", NULL);
    NhvRuntimeDir dir = { }, again = { };
    struct stat st;

    refuse(deep, "cannot create runtime directory %s: "
           "No such file or directory");
    nhv_runtime_dir_open(&dir, path, &error_abort);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0700);
    refuse(path, "cannot lock %s: Resource temporarily unavailable");
    nhv_runtime_dir_close(&dir);
    g_assert_cmpint(stat(path, &st), ==, -1);

    /* One that was there stays */
    nhv_runtime_dir_open(&again, base, &error_abort);
    nhv_runtime_dir_close(&again);
    g_assert_cmpint(chmod(base, 0750), ==, 0);
    refuse(base, "%s is open to others or not your directory");
    g_assert_cmpint(stat(base, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0750);
    g_assert_cmpint(rmdir(base), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nitro/hypervisor-start/options", test_options);
    g_test_add_func("/nitro/hypervisor-start/switches", test_switches);
    g_test_add_func("/nitro/hypervisor-start/help", test_help);
    g_test_add_func("/nitro/hypervisor-start/architectures",
                    test_architectures);
    g_test_add_func("/nitro/hypervisor-start/check-kvm", test_check_kvm);
    g_test_add_func("/nitro/hypervisor-start/bad-options", test_bad_options);
    g_test_add_func("/nitro/hypervisor-start/runtime-dir", test_runtime_dir);
    return g_test_run();
}
