/*
 * Unit tests of the choice between KVM and TCG, with a QEMU that is a script
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include <glib/gstdio.h>
#include "contrib/nitro-hypervisor/accel.h"
#include "qapi/error.h"
#include "qemu/units.h"
#include "tests/nitro/error-text.h"
#include "tests/nitro/patience.h"
#include "tests/nitro/temp-tree.h"

#define FORBIDDEN "no permission for "
#define NO_GUESTS "KVM runs no guests here: "

typedef struct Fixture {
    char *dir;
    char *device;               /* stands for /dev/kvm */
    NhvOptions opts;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("nitro-accel-XXXXXX", NULL);
    f->device = g_build_filename(f->dir, "kvm", NULL);
    temp_tree_put(f->dir, "kvm", "");
    f->opts.accel = g_strdup(NHV_ACCEL_AUTO);
    f->opts.host = NHV_HOST_ARCH;
    g_setenv("NITRO_KVM_SECONDS", PATIENCE_WORD, true);
}

static void teardown(Fixture *f, gconstpointer data)
{
    g_unsetenv("NITRO_KVM_SECONDS");
    temp_tree_remove(f->dir);
    nhv_options_clear(&f->opts);
    g_free(f->device);
    g_free(f->dir);
}

/* The QEMU of this host's architecture becomes a script */
static void fake(Fixture *f, const char *script)
{
    g_autofree char *text = g_strdup_printf("#!/bin/sh\n%s\n", script);
    char **qemu = NHV_HOST_ARCH == EIF_ARCH_AARCH64 ?
                  &f->opts.qemu_aarch64 : &f->opts.qemu;

    temp_tree_put(f->dir, "qemu", text);
    g_free(*qemu);
    *qemu = g_build_filename(f->dir, "qemu", NULL);
    g_assert_cmpint(g_chmod(*qemu, 0755), ==, 0);
}

/* Returns: the message when the answer is no, or NULL; to be freed */
static char *check(Fixture *f)
{
    Error *err = NULL;

    if (nhv_accel_check_kvm(f->device, &f->opts, &err)) {
        g_assert_null(err);
        return NULL;
    }
    return error_text(err);
}

/* Only the whole answer with the right end counts */
static void test_answers(Fixture *f, gconstpointer data)
{
    static const struct {
        const char *script, *no;
    } row[] = {
        { "echo kvm", NULL },
        { "echo 'qemu: warning: old' >&2; echo kvm", NULL },
        { "echo kvm; exit 1", NO_GUESTS "a small guest failed" },
        { "printf k", NO_GUESTS "a small guest failed" },
        { "echo kvm; echo kvm", NO_GUESTS "a small guest failed" },
        { "exit 0", NO_GUESTS "a small guest failed" },
        { "echo 'qemu: warning: old' >&2; echo 'failed to set MSR' >&2; "
          "echo 'Assertion failed' >&2; kill -ABRT $$",
          NO_GUESTS "failed to set MSR" },
        { "exec head -c 1000000 /dev/zero", NO_GUESTS "a small guest failed" },
    };

    for (int i = 0; i < ARRAY_SIZE(row); i++) {
        g_autofree char *no = NULL;

        fake(f, row[i].script);
        no = check(f);
        if (row[i].no) {
            g_assert_nonnull(no);
            assert_contains(no, row[i].no);
        } else {
            g_assert_cmpstr(no, ==, NULL);
        }
    }
}

/* An emulating KVM is too slow; one that stops leaves QEMU paused */
static void test_too_slow(Fixture *f, gconstpointer data)
{
    static const char *const row[] = {
        "printf k; exec sleep 1000", "echo kvm; exec sleep 1000",
        "printf k; sleep 1000; echo vm", "echo kvm; exec sleep 1000 >&- 2>&-",
    };

    g_setenv("NITRO_KVM_SECONDS", "1", true);
    for (int i = 0; i < ARRAY_SIZE(row); i++) {
        g_autofree char *no = NULL;

        fake(f, row[i]);
        no = check(f);
        g_assert_nonnull(no);
        assert_contains(no, NO_GUESTS "a small guest did not end in time");
        assert_contains(no, "It had 1 s; NITRO_KVM_SECONDS= gives it more");
    }
}

/* What was tried is the parent of the lab, and a guest that is there */
static void test_arguments(Fixture *f, gconstpointer data)
{
    g_autofree char *script = g_strdup_printf(
        "cd %s; echo \"$@\" > words\n"
        "grep 'core file' /proc/$$/limits | tr -s ' ' > core\n"
        "for last; do :; done; wc -c < \"$last\" > size; echo kvm", f->dir);
    g_autofree char *words = NULL, *core = NULL, *size = NULL;
    g_autofree char *word_file = g_build_filename(f->dir, "words", NULL);
    g_autofree char *core_file = g_build_filename(f->dir, "core", NULL);
    g_autofree char *size_file = g_build_filename(f->dir, "size", NULL);
    const char *dirs[] = { "/fw", NULL };
    struct rlimit most;

    fake(f, script);
    f->opts.firmware_dirs = g_strdupv((char **)dirs);
    g_assert_cmpstr(check(f), ==, NULL);
    g_assert_true(g_file_get_contents(word_file, &words, NULL, NULL));
    g_assert_true(g_file_get_contents(core_file, &core, NULL, NULL));
    g_assert_true(g_file_get_contents(size_file, &size, NULL, NULL));
    /* 0 does not keep a program that takes core files from being run */
    g_assert_cmpint(getrlimit(RLIMIT_CORE, &most), ==, 0);
    assert_contains(core, most.rlim_max ? "Max core file size 1 1 " :
                    "Max core file size 0 0 ");
    assert_contains(words, "-accel kvm -m 64 -nodefaults -no-user-config "
                    "-no-reboot -display none -monitor none -serial stdio "
                    "-L /fw -M ");
    if (NHV_HOST_ARCH == EIF_ARCH_AARCH64) {
        assert_contains(words, "-M virt,gic-version=host -cpu host -kernel ");
        g_assert_cmpint(atoi(size), >, 0);
    } else {
        assert_contains(words, "-M q35 -cpu host,pmu=off -bios ");
        g_assert_cmpint(atoi(size), ==, 64 * KiB);
    }
}

static void test_cannot_try(Fixture *f, gconstpointer data)
{
    g_autofree char *no_qemu = check(f);
    g_autofree char *no_program = NULL, *no_device = NULL;
    g_autofree char *cannot_open = NULL;

    g_assert_nonnull(no_qemu);
    assert_contains(no_qemu, "enclaves on this host, but no QEMU for them is "
                    "set");
    fake(f, "echo kvm");
    g_chmod(NHV_HOST_ARCH == EIF_ARCH_AARCH64 ? f->opts.qemu_aarch64 :
            f->opts.qemu, 0);
    no_program = check(f);
    g_assert_nonnull(no_program);
    assert_contains(no_program, "cannot run ");
    fake(f, "echo kvm");
    temp_tree_put(f->dir, "kvm", NULL);
    no_device = check(f);
    g_assert_nonnull(no_device);
    assert_contains(no_device, "No such file or directory");
    assert_contains(no_device, "modprobe kvm_amd or kvm_intel");
    /* What access() allows */
    g_assert_cmpint(g_mkdir(f->device, 0700), ==, 0);
    cannot_open = check(f);
    g_assert_nonnull(cannot_open);
    assert_contains(cannot_open, "cannot use ");
}

/* Quietly, but for what the user can change */
static void test_resolve(Fixture *f, gconstpointer data)
{
    static const struct {
        const char *accel, *script, *resolved;
    } row[] = {
        { NHV_ACCEL_AUTO, "echo kvm", "kvm" },
        { NHV_ACCEL_AUTO, "exit 1", NHV_ACCEL_TCG },
        { "kvm", "exit 1", "kvm" },
        { "tcg,thread=single", "echo kvm", "tcg,thread=single" },
    };

    for (int i = 0; i < ARRAY_SIZE(row); i++) {
        g_autofree char *text = NULL;

        fake(f, row[i].script);
        g_free(f->opts.accel);
        f->opts.accel = g_strdup(row[i].accel);
        error_text_begin();
        nhv_accel_resolve(f->device, &f->opts);
        text = error_text_end();
        g_assert_cmpstr(f->opts.accel, ==, row[i].resolved);
        g_assert_cmpstr(text, ==, "");
    }
}

static void test_forbidden(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;

    if (geteuid() == 0) {
        g_test_skip("root may open every device");
        return;
    }
    fake(f, "echo kvm");
    g_assert_cmpint(g_chmod(f->device, 0), ==, 0);
    error_text_begin();
    nhv_accel_resolve(f->device, &f->opts);
    text = error_text_end();
    g_assert_cmpstr(f->opts.accel, ==, NHV_ACCEL_TCG);
    assert_contains(text, FORBIDDEN);
    assert_contains(text, "usermod -aG kvm ");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "/nitro/accel/answers", test_answers },
        { "/nitro/accel/too-slow", test_too_slow },
        { "/nitro/accel/arguments", test_arguments },
        { "/nitro/accel/cannot-try", test_cannot_try },
        { "/nitro/accel/resolve", test_resolve },
        { "/nitro/accel/forbidden", test_forbidden },
    };

    g_test_init(&argc, &argv, NULL);
    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, setup, tests[i].test,
                   teardown);
    }
    return g_test_run();
}
