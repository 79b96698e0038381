/*
 * Unit tests of the layout aws: ramdisks as nitro-cli builds them
 *
 * The expected archives are written here a second time, by the rules that the
 * tables below state line by line, and compared byte for byte.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/units.h"
#include "tests/nitro/layer-maker.h"
#include "tools/eif/aws.h"
#include "tools/eif/layer.h"

#define DIR S_IFDIR
#define REG S_IFREG
#define LNK S_IFLNK
#define HARD 0

#define LAYER_TIME 1000         /* of layer_make() */
#define USUAL_TIME 1492533000

static const FileTreeLimits limits = { 64 * MiB, 1000 };

/* Odd in every way that has a rule of its own; hard links across it all */
static const LayerEntry image[] = {
    { "bin/", DIR | 0751, NULL, 5, 6 },
    { "bin/sh", REG | 0755, "shell" }, { "bin/ls", HARD, "bin/sh" },
    { "Dockerfile", REG | 0644, "not exported" },
    { "dev/", DIR | 0700, NULL, 3, 4 },
    { "dev/console", REG | 0600, "gone" },
    { "dev/null", S_IFCHR | 0666, NULL, 0, 0, 1, 3 },
    { "dev/pts", REG | 0600, "becomes a directory" },
    { "etc/hostname", REG | 0644, "gone" },
    { "etc/hosts", REG | 0644, "replaced" },
    { "etc/passwd", REG | 0640, "root", 0, 42 },
    { "link", LNK | 0640, "bin/../bin/sh", 7, 8 },
    { "pipe", S_IFIFO | 0600 },
    { "su", REG | 06755, "su", 1, 2 },
    { "tmp/", DIR | 01777 },
    { "usr/lib/Dockerfile", REG | 0644, "kept" },
    { "usr/lib/sh", HARD, "bin/sh" },
    { "var", LNK | 0777, "usr" }, { "var2", HARD, "var" },
    { }
};

/* One entry of an archive, and what differs between them */
typedef struct Row {
    const char *name;
    mode_t mode;
    const char *text;
    unsigned uid, gid;
    long mtime;
    unsigned major, minor;
} Row;

#define HOSTS "127.0.0.1       localhost\n" \
              "::1     localhost ip6-localhost ip6-loopback\n" \
              "fe00::0 ip6-localnet\nff00::0 ip6-mcastprefix\n" \
              "ff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n"

static const Row customer[] = {
    { "rootfs", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/bin/", DIR | 0751, "", 5, 6, LAYER_TIME },
    { "rootfs/bin/ls", REG | 0755, "shell", 0, 0, LAYER_TIME },
    { "rootfs/bin/sh", LNK | 0755, "ls", 0, 0, LAYER_TIME },
    { "rootfs/dev/", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/dev/null", S_IFCHR | 0666, "", 0, 0, LAYER_TIME, 1, 3 },
    { "rootfs/dev/pts/", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/dev/shm/", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/etc/", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/etc/hosts", REG | 0755, HOSTS, 0, 0, USUAL_TIME },
    { "rootfs/etc/mtab", LNK | 0777, "/proc/mounts", 0, 0, USUAL_TIME },
    { "rootfs/etc/passwd", REG | 0640, "root", 0, 42, LAYER_TIME },
    { "rootfs/etc/resolv.conf", LNK | 0755, "/run/resolvconf/resolv.conf", 0,
      0, USUAL_TIME },
    { "rootfs/link", LNK | 0777, "bin/../bin/sh", 7, 8, LAYER_TIME },
    { "rootfs/pipe", S_IFIFO | 0600, "", 0, 0, LAYER_TIME },
    { "rootfs/proc/", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/su", REG | 06755, "su", 1, 2, LAYER_TIME },
    { "rootfs/sys/", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/tmp/", DIR | 01777, "", 0, 0, LAYER_TIME },
    { "rootfs/usr/", DIR | 0755, "", 0, 0, 0 },
    { "rootfs/usr/lib/", DIR | 0755, "", 0, 0, 0 },
    { "rootfs/usr/lib/Dockerfile", REG | 0644, "kept", 0, 0, LAYER_TIME },
    { "rootfs/usr/lib/sh", LNK | 0755, "../../bin/ls", 0, 0, LAYER_TIME },
    { "rootfs/var", LNK | 0777, "usr", 0, 0, LAYER_TIME },
    { "rootfs/var2", LNK | 0777, "var", 0, 0, LAYER_TIME },
    { "rootfs", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/dev", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/run", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/sys", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/var", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/proc", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "rootfs/tmp", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "cmd", REG | 0644, "app\n-v\n", 0, 0, USUAL_TIME },
    { "env", REG | 0644, "A=1\nB=two words\n", 0, 0, USUAL_TIME },
    { }
};

static const Row bootstrap[] = {
    { "dev", DIR | 0755, "", 0, 0, USUAL_TIME },
    { "init", REG | 0755, "process 1", 0, 0, USUAL_TIME },
    { "nsm.ko", REG | 0755, "module", 0, 0, USUAL_TIME },
    { }
};

static void pad(GByteArray *bytes, unsigned multiple)
{
    static const uint8_t zeros[512];

    g_byte_array_append(bytes, zeros, -bytes->len % multiple);
}

static void write_row(GByteArray *bytes, unsigned inode, const Row *row)
{
    g_autofree char *head = g_strdup_printf(
        "070701%08x%08x%08x%08x%08x%08lx%08zx%08x%08x%08x%08x%08zx%08x",
        inode, row->mode, row->uid, row->gid, S_ISDIR(row->mode) ? 2 : 1,
        row->mtime, strlen(row->text), 3, 1, row->major, row->minor,
        strlen(row->name) + 1, 0);

    g_byte_array_append(bytes, (uint8_t *)head, strlen(head));
    g_byte_array_append(bytes, (uint8_t *)row->name, strlen(row->name) + 1);
    pad(bytes, 4);
    g_byte_array_append(bytes, (uint8_t *)row->text, strlen(row->text));
    pad(bytes, 4);
}

static GByteArray *write_rows(const Row *row)
{
    static const Row trailer = { "TRAILER!!!", 0, "" };
    GByteArray *bytes = g_byte_array_new();
    unsigned inode = 721;

    for (; row->name; row++) {
        write_row(bytes, inode++, row);
    }
    write_row(bytes, inode, &trailer);
    pad(bytes, 512);
    return bytes;
}

typedef struct Fixture {
    char *dir;
    char *init, *module;
    Container *container;
    AwsParams params;
} Fixture;

static char *put(Fixture *f, const char *name, const char *text)
{
    char *path = g_build_filename(f->dir, name, NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    return path;
}

static void apply(FileTree *tree, const LayerEntry *entries)
{
    g_autoptr(GByteArray) bytes = layer_make(entries, NULL);
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("nitro-layer-XXXXXX", &path, NULL);
    Blob blob = { fd, 0, bytes->len };

    unlink(path);
    g_assert_cmpint(write(fd, bytes->data, bytes->len), ==, bytes->len);
    layer_apply(tree, &blob, NULL, NULL, &error_abort);
    close(fd);
}

static void set_config(Fixture *f, const char *entrypoint,
                       const char *command, const char *environment)
{
    Container *c = f->container;
    g_autofree char *joined = g_strconcat(
        entrypoint, *entrypoint && *command ? "," : "", command, NULL);

    g_strfreev(c->entrypoint);
    g_strfreev(c->command);
    g_strfreev(c->environment);
    c->entrypoint = g_strsplit(entrypoint, ",", -1);
    c->command = g_strsplit(joined, ",", -1);
    c->environment = g_strsplit(environment, ",", -1);
}

static void setup(Fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("nitro-aws-XXXXXX", NULL);
    f->init = put(f, "init", "process 1");
    f->module = put(f, "module", "module");
    f->params = (AwsParams) { .init = f->init, .module = f->module };
    f->container = g_new0(Container, 1);
    f->container->tree = file_tree_new(f->dir, &limits, &error_abort);
    apply(f->container->tree, image);
    set_config(f, "", "app,-v", "A=1,B=two words");
}

static void teardown(Fixture *f, gconstpointer data)
{
    container_free(f->container);
    g_assert_cmpint(unlink(f->init), ==, 0);
    g_assert_cmpint(unlink(f->module), ==, 0);
    /* What else was made there had no name */
    g_assert_cmpint(rmdir(f->dir), ==, 0);
    g_free(f->init);
    g_free(f->module);
    g_free(f->dir);
}

static GByteArray *read_all(int fd)
{
    GByteArray *bytes = g_byte_array_new();
    struct stat st;

    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_byte_array_set_size(bytes, st.st_size);
    g_assert_cmpint(read(fd, bytes->data, bytes->len), ==, bytes->len);
    close(fd);
    return bytes;
}

/* Names the first byte that differs, and what is there */
static void assert_archive(int fd, const Row *rows)
{
    g_autoptr(GByteArray) found = read_all(fd);
    g_autoptr(GByteArray) wanted = write_rows(rows);
    guint at = 0, len = MIN(found->len, wanted->len);

    while (at < len && found->data[at] == wanted->data[at]) {
        at++;
    }
    if (at < len || found->len != wanted->len) {
        at = MAX(at, 120) - 120;
        g_test_message("%u and %u bytes, at %u: '%.*s', not '%.*s'",
                       found->len, wanted->len, at, 240, found->data + at,
                       240, wanted->data + at);
        g_test_fail();
    }
}

static void test_bytes(Fixture *f, gconstpointer data)
{
    int fds[2];

    g_assert_true(aws_ramdisks(f->container, &f->params, f->dir, fds,
                               &error_abort));
    assert_archive(fds[0], bootstrap);
    assert_archive(fds[1], customer);
}

/* The text of file "cmd" in the second ramdisk: "env" comes behind it */
static char *get_command(Fixture *f)
{
    static const char end_of_header[] = "00000000cmd\0\0";
    g_autoptr(GByteArray) bytes = NULL;
    const char *entry;
    int fds[2];

    g_assert_true(aws_ramdisks(f->container, &f->params, f->dir, fds,
                               &error_abort));
    close(fds[0]);
    bytes = read_all(fds[1]);
    entry = memmem(bytes->data, bytes->len, end_of_header,
                   sizeof(end_of_header));
    g_assert_nonnull(entry);
    entry += sizeof(end_of_header);
    return g_strndup(entry, strcspn(entry, "0"));
}

static void assert_losses(Fixture *f, unsigned n, const char *first)
{
    g_autoptr(GPtrArray) losses = aws_losses(f->container, &f->params);

    g_assert_cmpuint(losses->len, ==, n);
    if (n) {
        g_assert_nonnull(strstr(g_ptr_array_index(losses, 0), first));
    }
}

/* Cmd counts, without it Entrypoint, never both; arguments replace Cmd */
static void test_command(Fixture *f, gconstpointer data)
{
    char *more[] = { (char *)"other", NULL };
    g_autofree char *both = NULL, *entrypoint = NULL, *given = NULL;

    assert_losses(f, 0, NULL);
    set_config(f, "entry,-e", "app", "");
    both = get_command(f);
    g_assert_cmpstr(both, ==, "app\n");
    assert_losses(f, 1, "Entrypoint is lost");
    set_config(f, "entry,-e", "", "");
    entrypoint = get_command(f);
    g_assert_cmpstr(entrypoint, ==, "entry\n-e\n");
    assert_losses(f, 0, NULL);
    f->params.command = more;
    given = get_command(f);
    g_assert_cmpstr(given, ==, "other\n");
    assert_losses(f, 1, "Entrypoint is lost");
}

static void test_losses(Fixture *f, gconstpointer data)
{
    set_config(f, "", "a\nb", "");
    assert_losses(f, 1, "line feed");
    set_config(f, "", "a", "A=b\nc");
    assert_losses(f, 1, "line feed");
    f->container->user = g_strdup("web");
    set_config(f, "", "a", "");
    assert_losses(f, 1, "User");
}

static void assert_refused(Fixture *f, const char *why)
{
    Error *err = NULL;
    int fds[2];

    g_assert_false(aws_ramdisks(f->container, &f->params, f->dir, fds, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), why));
    error_free(err);
}

static void test_refused(Fixture *f, gconstpointer data)
{
    set_config(f, "", "", "");
    assert_refused(f, "neither an entrypoint nor a command");
    set_config(f, "", "app", "");
    f->params.module = "/nonexistent/nsm.ko";
    assert_refused(f, "/nonexistent/nsm.ko");
    f->params.module = "/dev/null";
    assert_refused(f, "is not a regular file");
}

static void add(const char *name, void (*test)(Fixture *f,
                                               gconstpointer data))
{
    g_autofree char *path = g_strdup_printf("/eif/aws/%s", name);

    g_test_add(path, Fixture, NULL, setup, test, teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("bytes", test_bytes);
    add("command", test_command);
    add("losses", test_losses);
    add("refused", test_refused);
    return g_test_run();
}
