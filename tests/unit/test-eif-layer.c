/*
 * Unit tests of layers of container images, and of the tree they make
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "tests/nitro/layer-maker.h"
#include "tools/eif/layer.h"

#define DIR (S_IFDIR | 0755)
#define REG (S_IFREG | 0644)
#define LNK (S_IFLNK | 0777)
#define HARD 0

#define MAX_LAYERS 3
#define MAX_ENTRIES 8

static char *scratch;

/* Layers in their order, then the listing or the reason of a refusal */
typedef struct Case {
    const char *name;
    LayerEntry layers[MAX_LAYERS][MAX_ENTRIES];
    const char *listing;    /* NULL: refused */
    const char *why;
} Case;

static const Case cases[] = {
    { "plain", { { { "a", DIR }, { "a/b", REG, "text" },
                   { "l", LNK, "a/b" } } }, "a/ a/b=text l->a/b" },
    { "dot-slash", { { { "./", DIR }, { "./a/", DIR }, { "./a/b", REG, "x" },
                       { "a//c", REG, "y" } } }, "a/ a/b=x a/c=y" },
    { "no-parents", { { { "a/b/c", REG, "x" } } }, "a/ a/b/ a/b/c=x" },
    { "sorted", { { { "b", REG, "" }, { "a", REG, "" }, { "a.b", REG, "" },
                    { "a-", REG, "" } } }, "a= a-= a.b= b=" },
    { "upper", { { { "a", REG, "1" } }, { { "a", REG, "2" } } }, "a=2" },
    { "same-name", { { { "a", REG, "1" }, { "a", REG, "2" } } }, "a=2" },
    { "whiteout", { { { "a", REG, "1" }, { "b", REG, "2" } },
                    { { ".wh.a", REG } } }, "b=2" },
    { "whiteout-tree", { { { "d/a", REG, "1" }, { "d/e/b", REG, "2" } },
                         { { ".wh.d", REG } } }, "" },
    { "whiteout-missing", { { { "a", REG, "1" } }, { { "x/.wh.y", REG } } },
      "a=1" },
    { "whiteout-own", { { { "a", REG, "1" } },
                        { { "a", REG, "2" }, { ".wh.a", REG } } }, "a=2" },
    { "whiteout-then-file", { { { "a/x", REG, "1" } },
                              { { ".wh.a", REG }, { "a", REG, "2" } } },
      "a=2" },
    { "whiteout-keeps-own", { { { "d/a", REG, "1" } },
                              { { "d/b", REG, "2" }, { ".wh.d", REG } } },
      "d/ d/b=2" },
    { "whiteout-two-layers-up", { { { "a", REG, "1" } }, { { "b", REG } },
                                  { { ".wh.a", REG } } }, "b=" },
    { "opaque", { { { "d/a", REG, "1" }, { "d/e/f", REG, "2" },
                    { "g", REG, "3" } },
                  { { "d", DIR }, { "d/b", REG, "4" },
                    { "d/.wh..wh..opq", REG } } }, "d/ d/b=4 g=3" },
    { "opaque-root", { { { "a", REG, "1" } },
                       { { ".wh..wh..opq", REG }, { "b", REG, "2" } } },
      "b=2" },
    { "reserved", { { { ".wh..wh.plnk", REG }, { "a", REG, "1" } } }, "a=1" },
    { "file-on-directory", { { { "a/b", REG, "1" } }, { { "a", REG, "2" } } },
      "a=2" },
    { "directory-on-file", { { { "a", REG, "1" } }, { { "a", DIR } } },
      "a/" },
    { "directory-on-directory", { { { "a/b", REG, "1" } }, { { "a", DIR } } },
      "a/ a/b=1" },
    { "directory-on-link", { { { "a", LNK, "b" }, { "b", DIR } },
                             { { "a", DIR }, { "a/c", REG, "1" } } },
      "a/ a/c=1 b/" },
    { "hard-link", { { { "a", REG, "1" }, { "b", HARD, "a" } } },
      "a=1(2) b=1(2)" },
    { "hard-link-lower", { { { "a", REG, "1" } }, { { "b", HARD, "./a" } } },
      "a=1(2) b=1(2)" },
    { "hard-link-replaced", { { { "a", REG, "1" }, { "b", HARD, "a" } },
                              { { "a", REG, "2" } } }, "a=2 b=1" },
    { "hard-link-itself", { { { "a", REG, "1" }, { "a", HARD, "a" } } },
      "a=1" },
    { "device", { { { "n", S_IFCHR | 0666, NULL, 0, 0, 1, 3 },
                    { "f", S_IFIFO | 0600 } } }, "f| n:1,3" },
    { "whiteout-like-name", { { { ".wha", REG, "1" } } }, ".wha=1" },
    { "utf-8", { { { "\xc3\xa4", REG, "1" } } }, "\xc3\xa4=1" },

    { "absolute", { { { "/a", REG, "1" } } }, NULL, "is an absolute name" },
    { "upwards", { { { "a/../../b", REG } } }, NULL, "leads upwards" },
    { "upwards-link", { { { "a", REG }, { "b", HARD, "../a" } } }, NULL,
      "which is missing" },
    { "through-link", { { { "a", LNK, "/etc" } }, { { "a/b", REG } } }, NULL,
      "leads through 'a', which is a symbolic link" },
    { "through-file", { { { "a", REG }, { "a/b", REG } } }, NULL,
      "leads through 'a', which is not a directory" },
    { "hard-link-missing", { { { "b", HARD, "a" } } }, NULL,
      "a hard link to 'a', which is missing" },
    { "hard-link-directory", { { { "a", DIR }, { "b", HARD, "a" } } }, NULL,
      "which is a directory" },
    { "whiteout-nothing", { { { ".wh.", REG } } }, NULL, "of no name" },
    { "whiteout-upwards", { { { "a/.wh...", REG } } }, NULL, "of no name" },
    { "root-is-file", { { { "./", LNK, "x" } } }, NULL, "not a directory" },
};

static FileTree *new_tree(uint64_t bytes, unsigned files)
{
    FileTreeLimits limits = { bytes, files };

    return file_tree_new(scratch, &limits, &error_abort);
}

/* The blob is a file of its own, with something in front of it */
static Blob new_blob(const GByteArray *bytes)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("nitro-layer-XXXXXX", &path, NULL);

    unlink(path);
    g_assert_cmpint(pwrite(fd, bytes->data, bytes->len, 7), ==, bytes->len);
    return (Blob) { fd, 7, bytes->len };
}

static bool apply(FileTree *tree, const GByteArray *bytes,
                  const char *digest, const char *diff_id, Error **errp)
{
    Blob blob = new_blob(bytes);
    bool ok = layer_apply(tree, &blob, digest, diff_id, errp);

    close(blob.fd);
    return ok;
}

typedef struct Listing {
    GString *text;
    FileTree *tree;
} Listing;

static void list_file(Listing *l, const TreeFile *file)
{
    g_autofree char *data = g_malloc0(file->size + 1);

    if (file->size) {
        g_assert_cmpint(pread(file_tree_content(l->tree), data, file->size,
                              file->offset), ==, file->size);
    }
    g_string_append_printf(l->text, "=%s", data);
    if (file->links > 1) {
        g_string_append_printf(l->text, "(%u)", file->links);
    }
}

static bool list(const char *path, TreeFile *file, void *opaque, Error **errp)
{
    Listing *l = opaque;

    if (!*path) {
        return true;
    }
    g_string_append_printf(l->text, "%s%s", l->text->len ? " " : "", path);
    if (S_ISREG(file->mode)) {
        list_file(l, file);
    } else if (S_ISCHR(file->mode)) {
        g_string_append_printf(l->text, ":%u,%u", file->major, file->minor);
    } else {
        g_string_append_printf(l->text, "%s%s", S_ISDIR(file->mode) ? "/"
                               : file->target ? "->" : "|",
                               file->target ?: "");
    }
    return true;
}

static void assert_listing(FileTree *tree, const char *wanted)
{
    Listing l = { g_string_new(NULL), tree };

    g_assert_true(file_tree_walk(tree, list, &l, &error_abort));
    g_assert_cmpstr(l.text->str, ==, wanted);
    g_string_free(l.text, TRUE);
}

static void assert_error(Error *err, const char *why)
{
    g_assert_nonnull(err);
    if (!strstr(error_get_pretty(err), why)) {
        g_test_message("%s", error_get_pretty(err));
        g_test_fail();
    }
    error_free(err);
}

static void test_case(gconstpointer opaque)
{
    const Case *c = opaque;
    FileTree *tree = new_tree(1 * MiB, 100);
    Error *err = NULL;
    bool ok = true;

    for (int i = 0; i < MAX_LAYERS && ok && c->layers[i][0].name; i++) {
        g_autoptr(GByteArray) bytes = layer_make(c->layers[i],
                                                 i == 1 ? "gzip" : NULL);

        ok = apply(tree, bytes, NULL, NULL, &err);
    }
    g_assert_cmpint(ok, ==, c->listing != NULL);
    if (ok) {
        assert_listing(tree, c->listing);
    } else {
        assert_error(err, c->why);
    }
    file_tree_free(tree);
}

static const LayerEntry simple[] = { { "a", REG, "text", 1, 2 }, { } };

static void test_compression(gconstpointer filter)
{
    g_autoptr(GByteArray) plain = layer_make(simple, NULL);
    g_autoptr(GByteArray) bytes = layer_make(simple, filter);
    g_autofree char *digest = layer_digest(bytes->data, bytes->len);
    g_autofree char *diff_id = layer_digest(plain->data, plain->len);
    FileTree *tree = new_tree(1 * MiB, 100);

    g_assert_true(apply(tree, bytes, digest, diff_id, &error_abort));
    assert_listing(tree, "a=text");
    g_assert_cmpuint(file_tree_lookup(tree, "a")->uid, ==, 1);
    g_assert_cmpuint(file_tree_lookup(tree, "a")->gid, ==, 2);
    g_assert_cmpint(file_tree_lookup(tree, "a")->mtime, ==, 1000);
    file_tree_free(tree);
}

/* Neither digest is the right one for the other */
static void test_digests(void)
{
    g_autoptr(GByteArray) plain = layer_make(simple, NULL);
    g_autoptr(GByteArray) bytes = layer_make(simple, "gzip");
    g_autofree char *digest = layer_digest(bytes->data, bytes->len);
    g_autofree char *diff_id = layer_digest(plain->data, plain->len);
    FileTree *tree = new_tree(1 * MiB, 100);
    Error *err = NULL;

    g_assert_false(apply(tree, bytes, diff_id, diff_id, &err));
    assert_error(err, "the layer has digest");
    err = NULL;
    g_assert_false(apply(tree, bytes, digest, digest, &err));
    assert_error(err, "the uncompressed layer has digest");
    err = NULL;
    g_assert_false(apply(tree, plain, diff_id, digest, &err));
    assert_error(err, "the uncompressed layer has digest");
    err = NULL;
    g_assert_false(apply(tree, plain, NULL, digest, &err));
    assert_error(err, "the uncompressed layer has digest");
    err = NULL;
    g_assert_false(apply(tree, plain, diff_id, "sha512:1", &err));
    assert_error(err, "is not 'sha256:' and 64 digits");
    g_assert_true(apply(tree, plain, diff_id, diff_id, &error_abort));
    g_assert_true(apply(tree, plain, diff_id, NULL, &error_abort));
    err = NULL;
    g_assert_false(apply(tree, bytes, "sha512:1", NULL, &err));
    assert_error(err, "is not 'sha256:' and 64 digits");
    file_tree_free(tree);
}

static void test_limits(void)
{
    static const LayerEntry many[] = {
        { "a", REG, "1" }, { "b", REG, "2" }, { "c", REG, "3" }, { }
    };
    g_autofree char *large = g_strnfill(2 * MiB, 'x');
    const LayerEntry bomb[] = { { "a", REG, large }, { } };
    g_autoptr(GByteArray) names = layer_make(many, NULL);
    g_autoptr(GByteArray) bytes = layer_make(bomb, "gzip");
    FileTree *tree = new_tree(1 * MiB, 2);
    Error *err = NULL;

    g_assert_false(apply(tree, names, NULL, NULL, &err));
    assert_error(err, "more than 2 files");
    err = NULL;
    g_assert_false(apply(tree, bytes, NULL, NULL, &err));
    assert_error(err, "more than 1 MiB");
    file_tree_free(tree);
}

static void test_long_names(void)
{
    g_autofree char *part = g_strnfill(256, 'x');
    g_autofree char *path = g_strnfill(4096, 'y');
    const LayerEntry entries[] = { { part, REG }, { } };
    g_autoptr(GString) deep = g_string_new(NULL);
    FileTree *tree = new_tree(1 * MiB, 10000);
    const TreeFile file = { .mode = REG };
    g_autoptr(GByteArray) bytes = layer_make(entries, NULL);
    Error *err = NULL;

    g_assert_false(apply(tree, bytes, NULL, NULL, &err));
    assert_error(err, "has more than 255 bytes");
    err = NULL;
    g_assert_false(file_tree_add(tree, path, &file, &err));
    assert_error(err, "has more than 4095 bytes");
    for (int i = 0; i <= FILE_TREE_MAX_DEPTH; i++) {
        g_string_append(deep, "d/");
    }
    err = NULL;
    g_assert_false(file_tree_add(tree, deep->str, &file, &err));
    assert_error(err, "has more than 512 parts");
    file_tree_free(tree);
}

/* Cut anywhere, or with a bit changed, it is an error or nothing happens */
static void test_damaged(gconstpointer filter)
{
    g_autoptr(GByteArray) bytes = layer_make(simple, filter);
    g_autofree char *digest = layer_digest(bytes->data, bytes->len);

    for (guint len = 0; len < bytes->len; len += len < 600 ? 1 : 97) {
        GByteArray cut = { bytes->data, len };
        FileTree *tree = new_tree(1 * MiB, 100);
        Error *err = NULL;

        g_assert_false(apply(tree, &cut, digest, NULL, &err));
        error_free(err);
        err = NULL;
        bytes->data[len] ^= 0x10;
        g_assert_false(apply(tree, bytes, digest, NULL, &err));
        error_free(err);
        bytes->data[len] ^= 0x10;
        file_tree_free(tree);
    }
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    scratch = g_dir_make_tmp("nitro-layer-XXXXXX", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("/eif/layer/%s",
                                                cases[i].name);

        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_data_func("/eif/layer/compression/gzip", "gzip",
                         test_compression);
    g_test_add_data_func("/eif/layer/compression/zstd", "zstd",
                         test_compression);
    g_test_add_data_func("/eif/layer/compression/none", NULL,
                         test_compression);
    g_test_add_data_func("/eif/layer/damaged/gzip", "gzip", test_damaged);
    g_test_add_data_func("/eif/layer/damaged/zstd", "zstd", test_damaged);
    g_test_add_data_func("/eif/layer/damaged/none", NULL, test_damaged);
    g_test_add_func("/eif/layer/digests", test_digests);
    g_test_add_func("/eif/layer/limits", test_limits);
    g_test_add_func("/eif/layer/long-names", test_long_names);
    rc = g_test_run();
    /* Everything that was made in it had no name */
    g_assert_cmpint(rmdir(scratch), ==, 0);
    g_free(scratch);
    return rc;
}
