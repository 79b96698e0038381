/*
 * Unit tests of a container's tree as a squashfs
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <archive.h>
#include <archive_entry.h>
#include <glib/gstdio.h>
#include "qemu/units.h"
#include "tests/nitro/layer-maker.h"
#include "tools/eif/layer.h"
#include "tools/eif/squashfs.h"

static const FileTreeLimits limits = { 64 * MiB, 1000 };

static const LayerEntry image[] = {
    { "./", S_IFDIR | 0750, NULL, 3, 4 },
    { "a", S_IFREG | 04755, "hello", 70000, 70001 },
    { "b", 0, "a" },
    { "cap", S_IFREG | 0755, "c", .xattr = "attribute" },
    { "dev/n", S_IFCHR | 0666, NULL, 0, 0, 1, 3 },
    { "dir/", S_IFDIR | 01777, NULL, .xattr = "of a directory" },
    { "empty", S_IFREG | 0644, "" },
    { "l", S_IFLNK | 0777, "a" },
    { "lat\xe4 1", S_IFREG | 0644, "not UTF-8" },
    { "p", S_IFIFO | 0600 },
    { "\xc3\xa4", S_IFREG | 0644, "UTF-8" },
    { }
};

/* As list() has it, in the order of names */
static const char wanted[] =
    "a 104755 70000:70001 1000 =hello\n"
    "b ->a\n"
    "cap 100755 0:0 1000 =c user.note=attribute\n"
    "dev/ 40755 0:0 0\n"
    "dev/n 20666 0:0 1000 1,3\n"
    "dir/ 41777 0:0 1000 user.note=of a directory\n"
    "empty 100644 0:0 1000 =\n"
    "l 120777 0:0 1000 ->a\n"
    "lat\xe4 1 100644 0:0 1000 =not UTF-8\n"
    "p 10600 0:0 1000\n"
    "\xc3\xa4 100644 0:0 1000 =UTF-8\n";

typedef struct Fixture {
    char *dir;
    FileTree *tree;
} Fixture;

static bool is_installed(void)
{
    g_autofree char *writer = g_find_program_in_path("tar2sqfs");
    g_autofree char *reader = g_find_program_in_path("sqfs2tar");

    return writer && reader;
}

static void setup(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) bytes = layer_make(image, NULL);
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("nitro-layer-XXXXXX", &path, NULL);
    Blob blob = { fd, 0, bytes->len };

    unlink(path);
    g_assert_cmpint(write(fd, bytes->data, bytes->len), ==, bytes->len);
    f->dir = g_dir_make_tmp("nitro-squashfs-XXXXXX", NULL);
    f->tree = file_tree_new(f->dir, &limits, &error_abort);
    layer_apply(f->tree, &blob, NULL, NULL, &error_abort);
    close(fd);
}

static void teardown(Fixture *f, gconstpointer data)
{
    file_tree_free(f->tree);
    g_assert_cmpint(rmdir(f->dir), ==, 0);
    g_free(f->dir);
}

static char *make(Fixture *f, gsize *len)
{
    g_autofree char *path = g_build_filename(f->dir, "image", NULL);
    char *bytes;

    squashfs_make(f->tree, path, &error_abort);
    g_assert_true(g_file_get_contents(path, &bytes, len, NULL));
    return bytes;
}

static void list_kind(GString *text, struct archive *a,
                      struct archive_entry *entry)
{
    char content[64] = "";

    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        g_assert_cmpint(archive_read_data(a, content, sizeof(content) - 1),
                        ==, archive_entry_size(entry));
        g_string_append_printf(text, " =%s", content);
        break;
    case AE_IFLNK:
        g_string_append_printf(text, " ->%s", archive_entry_symlink(entry));
        break;
    case AE_IFCHR:
        g_string_append_printf(text, " %u,%u",
                               (unsigned)archive_entry_rdevmajor(entry),
                               (unsigned)archive_entry_rdevminor(entry));
        break;
    default:
        break;
    }
}

static void list_entry(GString *text, struct archive *a,
                       struct archive_entry *entry)
{
    const char *name, *link = archive_entry_hardlink(entry);
    const void *value;
    size_t len;

    g_string_append(text, archive_entry_pathname(entry));
    if (link) {
        g_string_append_printf(text, " ->%s\n", link);
        return;
    }
    g_string_append_printf(text, " %o %u:%u %ld", archive_entry_mode(entry),
                           (unsigned)archive_entry_uid(entry),
                           (unsigned)archive_entry_gid(entry),
                           (long)archive_entry_mtime(entry));
    list_kind(text, a, entry);
    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &len)
           == ARCHIVE_OK) {
        g_string_append_printf(text, " %s=%.*s", name, (int)len,
                               (const char *)value);
    }
    g_string_append_c(text, '\n');
}

/* What another program finds in the file system */
static char *list(const char *path)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *command = g_strdup_printf("sqfs2tar '%s'", path);
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    FILE *pipe = popen(command, "r");
    LayerLocale locale;

    layer_locale_enter(&locale);
    archive_read_support_format_tar(a);
    g_assert_cmpint(archive_read_open_FILE(a, pipe), ==, ARCHIVE_OK);
    while (archive_read_next_header(a, &entry) == ARCHIVE_OK) {
        list_entry(text, a, entry);
    }
    archive_read_free(a);
    layer_locale_leave(&locale);
    g_assert_cmpint(pclose(pipe), ==, 0);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void test_content(Fixture *f, gconstpointer data)
{
    g_autofree char *path = g_build_filename(f->dir, "image", NULL);
    g_autofree char *found = NULL;

    if (!is_installed()) {
        g_test_skip("tar2sqfs or sqfs2tar is not installed");
        return;
    }
    squashfs_make(f->tree, path, &error_abort);
    found = list(path);
    g_assert_cmpstr(found, ==, wanted);
    g_assert_cmpint(unlink(path), ==, 0);
}

/* Neither the clock nor the environment leaves a trace */
static void test_same_bytes(Fixture *f, gconstpointer data)
{
    g_autofree char *path = g_build_filename(f->dir, "image", NULL);
    g_autofree char *first = NULL, *second = NULL;
    gsize first_len, second_len;

    if (!is_installed()) {
        g_test_skip("tar2sqfs is not installed");
        return;
    }
    first = make(f, &first_len);
    g_setenv("SOURCE_DATE_EPOCH", "1234567890", true);
    g_assert_cmpint(g_chmod(path, 0400), ==, 0);
    second = make(f, &second_len);
    g_unsetenv("SOURCE_DATE_EPOCH");
    g_assert_cmpmem(first, first_len, second, second_len);
    g_assert_cmpint(unlink(path), ==, 0);
}

static void assert_refused(Fixture *f, const char *why)
{
    g_autofree char *path = g_build_filename(f->dir, "image", NULL);
    Error *err = NULL;

    g_assert_false(squashfs_make(f->tree, path, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, why);
    error_free(err);
}

/* Without the program, and with one that fails before and behind its input */
static void test_refused(Fixture *f, gconstpointer data)
{
    g_autofree char *tool = g_build_filename(f->dir, "tar2sqfs", NULL);
    g_autofree char *old = g_strdup(g_getenv("PATH"));
    g_autofree char *path = g_strconcat(f->dir, ":", old, NULL);

    g_setenv("PATH", f->dir, true);
    assert_refused(f, "tar2sqfs is needed for --root=squashfs: Failed to"
                   " execute child process \xe2\x80\x9ctar2sqfs\xe2\x80\x9d"
                   " (No such file or directory)");
    g_setenv("PATH", path, true);
    g_assert_true(g_file_set_contents(tool, "#!/bin/sh\necho full >&2\n"
                                      "exit 1\n", -1, NULL));
    g_assert_cmpint(g_chmod(tool, 0755), ==, 0);
    assert_refused(f, "tar2sqfs has failed: full");
    g_assert_true(g_file_set_contents(tool, "#!/bin/sh\ncat >/dev/null\n"
                                      "kill -9 $$\n", -1, NULL));
    g_assert_cmpint(g_chmod(tool, 0755), ==, 0);
    assert_refused(f, "tar2sqfs has failed: ");
    g_assert_cmpint(unlink(tool), ==, 0);
    g_setenv("PATH", old, true);
}

static void add(const char *name, void (*test)(Fixture *f,
                                               gconstpointer data))
{
    g_autofree char *path = g_strdup_printf("/eif/squashfs/%s", name);

    g_test_add(path, Fixture, NULL, setup, test, teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("content", test_content);
    add("same-bytes", test_same_bytes);
    add("refused", test_refused);
    return g_test_run();
}
