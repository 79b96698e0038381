/*
 * Keys and certificates with which enclaves of an emulated parent attest
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/wait.h>
#include "qapi/error.h"
#include "hw/core/nsm-certificate.h"
#include "hw/core/nsm-sign.h"
#include "../nitro/error-text.h"
#include "../nitro/temp-tree.h"
#include "contrib/nitro-hypervisor/pki-internal.h"

#define MODULE "i-0123-enc0199aabbccdd1234"
#define DAY (24 * 3600)
#define AT_ONCE 4

typedef struct Fixture {
    char *top;
    char *dir;
} Fixture;

static void setup(Fixture *f, gconstpointer unused)
{
    f->top = g_dir_make_tmp("nitro-pki-XXXXXX", NULL);
    f->dir = g_build_filename(f->top, "pki", NULL);
}

static void teardown(Fixture *f, gconstpointer unused)
{
    temp_tree_remove(f->top);
    g_free(f->top);
    g_free(f->dir);
}

static int64_t time_now(void)
{
    return g_get_real_time() / G_USEC_PER_SEC;
}

static char *path_of(const Fixture *f, const char *name)
{
    return g_build_filename(f->dir, name, NULL);
}

static char *content_of(const Fixture *f, const char *name)
{
    g_autofree char *path = path_of(f, name);
    char *text;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static void put(const Fixture *f, const char *name, const char *text)
{
    g_autofree char *path = path_of(f, name);

    temp_tree_put(f->dir, name, text);
    if (text) {
        g_assert_cmpint(chmod(path, 0600), ==, 0);
    }
}

static unsigned mode_of(const char *path)
{
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return st.st_mode & 07777;
}

/* Fingerprint of the root of a directory that can be used */
static char *open_and_close(const Fixture *f)
{
    NhvPki *pki = nhv_pki_open(f->dir, &error_abort);
    char *fingerprint = nhv_pki_fingerprint(pki);

    nhv_pki_free(pki);
    return fingerprint;
}

static void refused(const Fixture *f, const char *part)
{
    Error *err = NULL;
    NhvPki *pki = nhv_pki_open(f->dir, &err);
    g_autofree char *text = NULL;

    g_assert_null(pki);
    text = error_text(err);
    assert_contains(text, part);
}

static void test_files(Fixture *f, gconstpointer unused)
{
    static const char *const names[] = { "root.pem", "root-key.pem",
                                         "regional-key.pem", "lock" };
    g_autofree char *root = NULL;
    mode_t mask = umask(0);

    g_free(open_and_close(f));
    umask(mask);
    g_assert_cmphex(mode_of(f->dir), ==, 0700);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        g_autofree char *path = path_of(f, names[i]);

        g_assert_cmphex(mode_of(path), ==, 0600);
    }
    root = content_of(f, "root.pem");
    g_assert_null(strstr(root, "PRIVATE"));
}

static void test_kept(Fixture *f, gconstpointer unused)
{
    g_autofree char *first = open_and_close(f);
    g_autofree char *region = content_of(f, "regional-key.pem");
    g_autofree char *second = NULL, *again = NULL;

    /* The certificate alone can be made again; a write was interrupted */
    put(f, "root.pem", NULL);
    put(f, ".new", "half");
    second = open_and_close(f);
    again = content_of(f, "regional-key.pem");
    g_assert_cmpstr(first, ==, second);
    g_assert_cmpstr(region, ==, again);
    g_free(content_of(f, "root.pem"));
}

/* A directory in which the first write was interrupted is as good as new */
static void test_interrupted(Fixture *f, gconstpointer unused)
{
    put(f, ".new", "half");
    put(f, "lock", "");
    g_assert_cmpint(chmod(f->dir, 0700), ==, 0);
    g_free(open_and_close(f));
}

/* Processes that find no directory agree on one root */
static void test_at_once(Fixture *f, gconstpointer unused)
{
    g_autofree char *root = NULL, *last = NULL;
    pid_t pids[AT_ONCE];

    for (int i = 0; i < AT_ONCE; i++) {
        pids[i] = fork();
        if (!pids[i]) {
            NhvPki *pki = nhv_pki_open(f->dir, NULL);
            g_autofree char *mine = pki ? nhv_pki_fingerprint(pki) : NULL;
            g_autofree char *name = g_strdup_printf("%s/%d", f->top, i);

            _exit(!mine || !g_file_set_contents(name, mine, -1, NULL));
        }
    }
    root = NULL;
    for (int i = 0; i < AT_ONCE; i++) {
        g_autofree char *name = g_strdup_printf("%s/%d", f->top, i);
        int status;

        g_assert_cmpint(waitpid(pids[i], &status, 0), ==, pids[i]);
        g_assert_cmpint(status, ==, 0);
        g_free(last);
        g_assert_true(g_file_get_contents(name, &last, NULL, NULL));
        root = root ?: g_strdup(last);
        g_assert_cmpstr(root, ==, last);
    }
}

static void test_refused(Fixture *f, gconstpointer unused)
{
    g_autofree char *good = NULL, *half = NULL, *key = NULL;

    g_free(open_and_close(f));
    good = content_of(f, "root-key.pem");
    half = g_strndup(good, strlen(good) / 2);
    put(f, "root-key.pem", half);
    refused(f, "root-key.pem: cannot read");
    put(f, "root-key.pem", "");
    refused(f, "root-key.pem: cannot read");
    put(f, "root-key.pem", NULL);
    refused(f, "has files, but no root-key.pem");
    put(f, "root-key.pem", good);
    key = path_of(f, "root-key.pem");
    g_assert_cmpint(chmod(key, 0640), ==, 0);
    refused(f, "root-key.pem is open to others");
    g_assert_cmpint(chmod(key, 0600), ==, 0);
    g_assert_cmpint(chmod(f->dir, 0755), ==, 0);
    refused(f, "is open to others or not your directory");
    g_assert_cmpint(chmod(f->dir, 0700), ==, 0);
    g_free(open_and_close(f));
}

static void test_links(Fixture *f, gconstpointer unused)
{
    g_autofree char *real = g_build_filename(f->top, "real", NULL);
    g_autofree char *file = g_build_filename(f->top, "file", NULL);
    g_autofree char *key = path_of(f, "regional-key.pem");

    g_assert_cmpint(mkdir(real, 0700), ==, 0);
    g_assert_cmpint(symlink("real", f->dir), ==, 0);
    refused(f, "cannot use");
    g_assert_cmpint(unlink(f->dir), ==, 0);
    g_free(open_and_close(f));
    g_assert_cmpint(rename(key, file), ==, 0);
    g_assert_cmpint(symlink(file, key), ==, 0);
    refused(f, "cannot read");
}

static void test_no_place(Fixture *f, gconstpointer unused)
{
    Error *err = NULL;
    g_autofree char *text = NULL;

    g_assert_null(nhv_pki_open("/nowhere/at/all", &err));
    text = error_text(err);
    assert_contains(text, "cannot create /nowhere/at/all");
}

static void put_identity(const Fixture *f, const char *name,
                         const NSMIdentity *identity)
{
    GString *text = g_string_new("");

    nsm_identity_append_key(identity, text, &error_abort);
    nsm_identity_append_certificate(identity, text);
    put(f, name, text->str);
    nsm_wipe(text);
}

/* Keys that work, but do not belong here */
static void test_foreign(Fixture *f, gconstpointer unused)
{
    g_autoptr(NSMIdentity) root = nsm_identity_new(
        NSM_LEVEL_ROOT, NULL, NULL, time_now(), &error_abort);
    g_autoptr(NSMIdentity) regional = nsm_identity_new(
        NSM_LEVEL_REGIONAL, root, NULL, time_now(), &error_abort);
    g_autofree char *good = NULL;

    g_free(open_and_close(f));
    good = content_of(f, "root-key.pem");
    put_identity(f, "regional-key.pem", regional);
    refused(f, "was not issued by the root there");
    put_identity(f, "root-key.pem", regional);
    refused(f, "not for lab.nitro-enclaves");
    put(f, "root-key.pem", good);
    put(f, "regional-key.pem", NULL);
    g_free(open_and_close(f));
}

/* A region that ends soon is replaced, an old root is not */
static void test_old(Fixture *f, gconstpointer unused)
{
    g_autofree char *good = NULL, *before = NULL, *after = NULL;
    g_autoptr(NSMIdentity) root = NULL;
    g_autoptr(NSMIdentity) regional = NULL;

    g_free(open_and_close(f));
    good = content_of(f, "root-key.pem");
    root = nsm_identity_load(good, NULL, &error_abort);
    regional = nsm_identity_new(NSM_LEVEL_REGIONAL, root, NULL,
                                time_now() - 15 * DAY, &error_abort);
    put_identity(f, "regional-key.pem", regional);
    before = content_of(f, "regional-key.pem");
    g_free(open_and_close(f));
    after = content_of(f, "regional-key.pem");
    g_assert_cmpstr(before, !=, after);
    nsm_identity_free(root);
    root = nsm_identity_new(NSM_LEVEL_ROOT, NULL, NULL,
                            time_now() - NSM_ROOT_LIFE, &error_abort);
    put_identity(f, "root-key.pem", root);
    refused(f, "is not valid now, or ends soon");
}

static char *read_fd(int fd)
{
    char *text = g_malloc0(64 * 1024);

    g_assert_cmpint(pread(fd, text, 64 * 1024 - 1, 0), >, 0);
    return text;
}

/* One key, that of the instance, and a chain up to the root */
static void test_instance(Fixture *f, gconstpointer unused)
{
    NhvPki *pki = nhv_pki_open(f->dir, &error_abort);
    NhvPkiInstance *one = nhv_pki_issue(pki, "i-0123", &error_abort);
    NhvPkiInstance *two = nhv_pki_issue(pki, "i-0123", &error_abort);
    g_autofree char *text = read_fd(nhv_pki_instance_fd(one));
    g_autofree char *other = read_fd(nhv_pki_instance_fd(two));
    g_autoptr(GPtrArray) chain = nsm_certificates_load(text, &error_abort);
    g_autoptr(GPtrArray) beside = nsm_certificates_load(other, &error_abort);
    g_autoptr(NSMSigner) signer = nsm_signer_new(MODULE);
    const char *key = strstr(text, "BEGIN PRIVATE KEY");

    g_assert_cmpint(pwrite(nhv_pki_instance_fd(one), "x", 1, 0), ==, -1);
    g_assert_cmpuint(chain->len, ==, 4);
    g_assert_nonnull(key);
    g_assert_null(strstr(key + 1, "BEGIN PRIVATE KEY"));
    g_assert_true(nsm_signer_load(signer, text, NULL, time_now(),
                                  &error_abort));
    for (unsigned i = 0; i < 4; i++) {
        GByteArray *a = g_ptr_array_index(chain, i);
        GByteArray *b = g_ptr_array_index(beside, i);

        g_assert_true((i == 3) != (a->len == b->len &&
                                   !memcmp(a->data, b->data, a->len)));
    }
    nhv_pki_instance_free(one);
    nhv_pki_instance_free(two);
    nhv_pki_free(pki);
}

static void test_renewed(Fixture *f, gconstpointer unused)
{
    NhvPki *pki = nhv_pki_open(f->dir, &error_abort);
    NhvPkiInstance *one = nhv_pki_issue(pki, "i-0123", &error_abort);
    g_autofree char *first = read_fd(nhv_pki_instance_fd(one));
    g_autofree char *same = NULL, *second = NULL;
    g_autoptr(NSMSigner) signer = nsm_signer_new(MODULE);

    nhv_pki_renew(pki, time_now() + DAY / 2 - 60);
    same = read_fd(nhv_pki_instance_fd(one));
    g_assert_cmpstr(first, ==, same);
    nhv_pki_renew(pki, time_now() + DAY / 2 + 60);
    second = read_fd(nhv_pki_instance_fd(one));
    g_assert_cmpstr(first, !=, second);
    g_assert_true(nsm_signer_load(signer, second, NULL, time_now(),
                                  &error_abort));
    nhv_pki_instance_free(one);
    nhv_pki_free(pki);
}

/* What is lost must not be taken for printed */
static void test_full(Fixture *f, gconstpointer unused)
{
    static const char *const commands[] = { "show", "export", "renew",
                                            "issue" };

    for (size_t i = 0; i < ARRAY_SIZE(commands) * 2; i++) {
        const char *target = i & 1 ? "/dev/full" : "/dev/null";
        pid_t pid = fork();
        int status;

        if (!pid) {
            _exit(!freopen(target, "w", stdout) ||
                  nhv_pki_command(f->dir, commands[i / 2], MODULE, NULL) !=
                  !(i & 1));
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
    }
}

/* Only what is broken has to go */
static void test_broken_region(Fixture *f, gconstpointer unused)
{
    g_autofree char *path = path_of(f, "regional-key.pem"), *text = NULL;
    Error *err = NULL;
    NhvPki *pki = nhv_pki_open(f->dir, &error_abort);
    g_autofree char *root = nhv_pki_fingerprint(pki), *again = NULL;

    nhv_pki_free(pki);
    put(f, "regional-key.pem", "half");
    g_assert_null(nhv_pki_open(f->dir, &err));
    text = error_text(err);
    assert_contains(text, "remove the file, for another region");
    g_assert_cmpint(g_unlink(path), ==, 0);
    pki = nhv_pki_open(f->dir, &error_abort);
    again = nhv_pki_fingerprint(pki);
    g_assert_cmpstr(again, ==, root);
    nhv_pki_free(pki);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *f, gconstpointer unused);
    } tests[] = {
        { "/pki/files", test_files },
        { "/pki/kept", test_kept },
        { "/pki/interrupted", test_interrupted },
        { "/pki/at-once", test_at_once },
        { "/pki/refused", test_refused },
        { "/pki/links", test_links },
        { "/pki/no-place", test_no_place },
        { "/pki/foreign", test_foreign },
        { "/pki/old", test_old },
        { "/pki/instance", test_instance },
        { "/pki/renewed", test_renewed },
        { "/pki/full", test_full },
        { "/pki/broken-region", test_broken_region },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, setup, tests[i].test,
                   teardown);
    }
    return g_test_run();
}
