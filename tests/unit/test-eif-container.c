/*
 * Unit tests of the reader of container images, and of ramdisks made of them
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/units.h"
#include "tests/nitro/layer-maker.h"
#include "tools/eif/container.h"
#include "tools/eif/native.h"

#define REG (S_IFREG | 0644)

static const FileTreeLimits limits = { 64 * MiB, 1000 };

static const LayerEntry lower[] = {
    { "bin/app", S_IFREG | 0755, "program" }, { "etc/name", REG, "lower" },
    { }
};
static const LayerEntry upper[] = { { "etc/name", REG, "upper" }, { } };

static const char settings[] =
    "\"Entrypoint\":[\"/bin/app\",\"-v\"],\"Cmd\":[\"a b\",\"c\\nd\"],"
    "\"Env\":[\"PATH=/bin\",\"A=\\\\1\"],\"WorkingDir\":\"/srv\","
    "\"User\":\"7:8\",\"StopSignal\":\"SIGQUIT\"";

typedef struct Fixture {
    char *dir;              /* layout */
    char *scratch;
    char *manifest;         /* descriptor of the manifest, without platform */
    const char *arch;
} Fixture;

static void put(Fixture *f, const char *name, const void *data, gssize len)
{
    g_autofree char *path = g_build_filename(f->dir, name, NULL);
    g_autofree char *dir = g_path_get_dirname(path);

    g_assert_cmpint(g_mkdir_with_parents(dir, 0755), ==, 0);
    g_assert_true(g_file_set_contents(path, data, len, NULL));
}

/* Returns: its descriptor, without the last brace */
static char *put_blob(Fixture *f, const char *type, const void *data,
                      size_t len)
{
    g_autofree char *digest = layer_digest(data, len);
    g_autofree char *name = g_strconcat("blobs/sha256/", digest + 7, NULL);

    put(f, name, data, len);
    return g_strdup_printf("{\"mediaType\":\"application/vnd.oci.image.%s\","
                           "\"digest\":\"%s\",\"size\":%zu", type, digest,
                           len);
}

static char *put_json(Fixture *f, const char *type, const char *json)
{
    return put_blob(f, type, json, strlen(json));
}

static char *put_layer(Fixture *f, const LayerEntry *entries,
                       const char *filter, char **diff_id)
{
    g_autoptr(GByteArray) plain = layer_make(entries, NULL);
    g_autoptr(GByteArray) bytes = layer_make(entries, filter);

    *diff_id = layer_digest(plain->data, plain->len);
    return put_blob(f, "layer.v1.tar", bytes->data, bytes->len);
}

static void put_image(Fixture *f, const char *config)
{
    g_autofree char *first_id = NULL, *second_id = NULL, *json = NULL;
    g_autofree char *first = put_layer(f, lower, "gzip", &first_id);
    g_autofree char *second = put_layer(f, upper, "zstd", &second_id);
    g_autofree char *image = g_strdup_printf(
        "{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{%s},"
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\",\"%s\"]}}",
        f->arch, config, first_id, second_id);
    g_autofree char *descriptor = put_json(f, "config.v1+json", image);

    json = g_strdup_printf("{\"schemaVersion\":2,\"config\":%s},"
                           "\"layers\":[%s},%s}]}", descriptor, first,
                           second);
    g_free(f->manifest);
    f->manifest = put_json(f, "manifest.v1+json", json);
}

static void put_index(Fixture *f, const char *manifests)
{
    g_autofree char *json = g_strdup_printf(
        "{\"schemaVersion\":2,\"manifests\":[%s]}", manifests);

    put(f, "index.json", json, -1);
}

static void put_plain_index(Fixture *f)
{
    g_autofree char *descriptor = g_strconcat(f->manifest, "}", NULL);

    put_index(f, descriptor);
}

static void setup(Fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("nitro-layout-XXXXXX", NULL);
    f->scratch = g_dir_make_tmp("nitro-scratch-XXXXXX", NULL);
    f->manifest = NULL;
    f->arch = "amd64";
    put(f, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", -1);
    put_image(f, settings);
    put_plain_index(f);
}

static void remove_all(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        remove_all(child);
    }
    if (dir) {
        g_dir_close(dir);
    }
    g_assert_cmpint(g_remove(path), ==, 0);
}

static void teardown(Fixture *f, gconstpointer data)
{
    remove_all(f->dir);
    /* What was made there had no name, or was removed */
    g_assert_cmpint(rmdir(f->scratch), ==, 0);
    g_free(f->dir);
    g_free(f->scratch);
    g_free(f->manifest);
}

static Container *read_image(Fixture *f, const char *source, Error **errp)
{
    return container_read(source, EIF_ARCH_X86_64, &limits, f->scratch, errp);
}

static void assert_refused(Fixture *f, const char *source, const char *why)
{
    Error *err = NULL;

    g_assert_null(read_image(f, source, &err));
    if (!strstr(error_get_pretty(err), why)) {
        g_test_message("%s", error_get_pretty(err));
        g_test_fail();
    }
    error_free(err);
}

static void assert_image(Fixture *f, const char *source)
{
    g_autoptr(Container) c = read_image(f, source, &error_abort);
    const TreeFile *file = file_tree_lookup(c->tree, "etc/name");
    char text[6] = "";

    g_assert_cmpuint(file->size, ==, 5);
    g_assert_cmpint(pread(file_tree_content(c->tree), text, 5, file->offset),
                    ==, 5);
    g_assert_cmpstr(text, ==, "upper");
    g_assert_cmpuint(g_strv_length(c->command), ==, 4);
    g_assert_cmpstr(c->command[3], ==, "c\nd");
    g_assert_cmpuint(g_strv_length(c->entrypoint), ==, 2);
    g_assert_cmpstr(c->environment[1], ==, "A=\\1");
    g_assert_cmpstr(c->directory, ==, "/srv");
    g_assert_cmpstr(c->user, ==, "7:8");
    g_assert_cmpstr(c->stop_signal, ==, "SIGQUIT");
}

static void test_layout(Fixture *f, gconstpointer data)
{
    g_autofree char *named = g_strconcat("oci:", f->dir, NULL);

    assert_image(f, f->dir);
    assert_image(f, named);
}

/* Indexes of builders list one image per platform, and other things */
static void test_platforms(Fixture *f, gconstpointer data)
{
    g_autofree char *ours = g_steal_pointer(&f->manifest);
    g_autofree char *nested = NULL, *outer = NULL, *json = NULL;

    f->arch = "arm64";
    put_image(f, settings);
    json = g_strdup_printf(
        "{\"manifests\":["
        "%s,\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}},"
        "%s,\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}},"
        "%s,\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}}"
        "]}", f->manifest, ours, ours);
    nested = put_json(f, "index.v1+json", json);
    outer = g_strconcat(nested, "}", NULL);
    put_index(f, outer);
    assert_image(f, f->dir);
}

static void put_tagged(Fixture *f)
{
    g_autofree char *json = g_strdup_printf(
        "%s,\"annotations\":{\"org.opencontainers.image.ref.name\":\"one\"}},"
        "%s,\"annotations\":{\"org.opencontainers.image.ref.name\":\"1.2\"}}",
        f->manifest, f->manifest);

    put_index(f, json);
}

static void test_tags(Fixture *f, gconstpointer data)
{
    g_autofree char *one = g_strconcat(f->dir, ":one", NULL);
    g_autofree char *two = g_strconcat("oci:", f->dir, ":1.2", NULL);
    g_autofree char *three = g_strconcat(f->dir, ":three", NULL);

    put_tagged(f);
    assert_image(f, one);
    assert_image(f, two);
    assert_refused(f, three, "has 0 images for linux/amd64 with tag three");
    assert_refused(f, f->dir, "has 2 images for linux/amd64");
}

static void test_wrong_platform(Fixture *f, gconstpointer data)
{
    f->arch = "arm64";
    put_image(f, settings);
    put_plain_index(f);
    assert_refused(f, f->dir, "the image is for linux/arm64, the enclave for"
                   " linux/amd64");
}

/* A blob that was changed is found by its digest, whichever it is */
static void test_changed_blobs(Fixture *f, gconstpointer data)
{
    g_autofree char *blobs = g_build_filename(f->dir, "blobs/sha256", NULL);
    GDir *dir = g_dir_open(blobs, 0, NULL);
    const char *name;
    int n = 0;

    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(blobs, name, NULL);
        g_autofree char *text = NULL;
        size_t len;

        g_assert_true(g_file_get_contents(path, &text, &len, NULL));
        text[len / 2] ^= 1;
        g_assert_true(g_file_set_contents(path, text, len, NULL));
        assert_refused(f, f->dir, "");
        text[len / 2] ^= 1;
        g_assert_true(g_file_set_contents(path, text, len, NULL));
        g_assert_cmpint(unlink(path), ==, 0);
        assert_refused(f, f->dir, "No such file or directory");
        g_assert_true(g_file_set_contents(path, text, len, NULL));
        n++;
    }
    g_dir_close(dir);
    g_assert_cmpint(n, ==, 4);
    assert_image(f, f->dir);
}

typedef struct Damage {
    const char *name, *index, *why;
} Damage;

static const Damage damages[] = {
    { "no-json", "x", "index.json: " },
    { "array", "[]", "is not a JSON object" },
    { "no-manifests", "{}", "has no list of manifests" },
    { "empty", "{\"manifests\":[]}", "has 0 images" },
    { "not-objects", "{\"manifests\":[1,[]]}", "has 0 images" },
    { "no-digest", "{\"manifests\":[{}]}", "is not 'sha256:'" },
    { "upwards", "{\"manifests\":[{\"digest\":\"sha256:../../../../../../"
                 "etc/passwd0000000000000000000000000000000000000000\"}]}",
      "is not 'sha256:'" },
    { "sha512", "{\"manifests\":[{\"digest\":\"sha512:00\"}]}",
      "is not 'sha256:'" },
};

static void test_damage(Fixture *f, gconstpointer opaque)
{
    const Damage *d = opaque;

    put(f, "index.json", d->index, -1);
    assert_refused(f, f->dir, d->why);
}

/* An index that names itself cannot be made, but a chain of them can */
static void test_nesting(Fixture *f, gconstpointer data)
{
    g_autofree char *descriptor = g_strdup(f->manifest);

    for (int i = 0; i < 10; i++) {
        g_autofree char *json = g_strdup_printf("{\"manifests\":[%s}]}",
                                                descriptor);

        g_free(descriptor);
        descriptor = put_json(f, "index.v1+json", json);
        if (i == 9) {
            put(f, "index.json", json, -1);
        }
    }
    assert_refused(f, f->dir, "leads through more than 8 others");
}

static void test_nothing(Fixture *f, gconstpointer data)
{
    assert_refused(f, f->scratch, "neither an OCI layout");
    assert_refused(f, "/nonexistent:tag", "No such file");
}

/* As "docker save" writes them: no index, and layers may be links */
static char *put_saved(Fixture *f, const char *manifest)
{
    g_autoptr(GByteArray) first = layer_make(lower, NULL);
    g_autoptr(GByteArray) second = layer_make(upper, NULL);
    g_autofree char *a = layer_digest(first->data, first->len);
    g_autofree char *b = layer_digest(second->data, second->len);
    g_autofree char *config = g_strdup_printf(
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{%s},"
        "\"rootfs\":{\"diff_ids\":[\"%s\",\"%s\"]}}", settings, a, b);
    char *path = g_build_filename(f->dir, "saved.tar", NULL);
    g_autofree char *command = NULL;

    put(f, "saved/config.json", config, -1);
    put(f, "saved/manifest.json", manifest, -1);
    put(f, "saved/one/layer.tar", first->data, first->len);
    put(f, "saved/two/real.tar", second->data, second->len);
    command = g_strdup_printf(
        "cd '%s/saved' && ln -sf ../two/real.tar one/link.tar &&"
        " tar -cf '%s' .", f->dir, path);
    g_assert_cmpint(system(command), ==, 0);
    return path;
}

#define SAVED(layers) "[{\"Config\":\"config.json\",\"RepoTags\":[\"a:1\"]," \
                      "\"Layers\":[" layers "]}]"

static void test_saved(Fixture *f, gconstpointer data)
{
    g_autofree char *path = put_saved(f, SAVED("\"one/layer.tar\","
                                               "\"one/link.tar\""));
    g_autofree char *tagged = g_strconcat("docker-archive:", path, ":a:1",
                                          NULL);
    g_autofree char *other = g_strconcat(path, ":a:2", NULL);

    assert_image(f, path);
    assert_image(f, tagged);
    assert_refused(f, other, "manifest.json has 0 images with tag a:2");
}

static void test_saved_damaged(Fixture *f, gconstpointer data)
{
    static const struct {
        const char *manifest, *why;
    } rows[] = {
        { "{}", "is not a JSON array" },
        { "[]", "has 0 images" },
        { "[{}]", "no Config, no Layers" },
        { SAVED("\"one/layer.tar\""), "has 2 layers, the manifest 1" },
        { SAVED("\"one/layer.tar\",\"three.tar\""), "has no file three.tar" },
        { SAVED("\"one/layer.tar\",1"), "has no file" },
        { SAVED("\"../etc/passwd\",\"one/layer.tar\""), "has no file ../etc" },
        { SAVED("\"one/link.tar\",\"one/layer.tar\""), "has digest" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *path = put_saved(f, rows[i].manifest);

        assert_refused(f, path, rows[i].why);
    }
}

static void test_no_skopeo(Fixture *f, gconstpointer data)
{
    g_autofree char *path = g_strdup(g_getenv("PATH"));

    g_setenv("PATH", f->scratch, true);
    assert_refused(f, "docker://example.invalid/image", "skopeo is needed");
    assert_refused(f, "docker-daemon:image", "skopeo is needed");
    g_setenv("PATH", path, true);
}

/* Puts a program in front of those of PATH, and returns the PATH before */
static char *put_program(Fixture *f, const char *name, const char *script)
{
    g_autofree char *file = g_build_filename("bin", name, NULL);
    g_autofree char *program = g_build_filename(f->dir, file, NULL);
    g_autofree char *path = NULL;
    char *old = g_strdup(g_getenv("PATH"));

    put(f, file, script, -1);
    g_assert_cmpint(g_chmod(program, 0755), ==, 0);
    path = g_strconcat(f->dir, "/bin:", old, NULL);
    g_setenv("PATH", path, true);
    return old;
}

/* A skopeo that copies, or fails */
static void test_skopeo(Fixture *f, gconstpointer data)
{
    g_autofree char *old = NULL;
    g_autofree char *script = g_strdup_printf(
        "#!/bin/sh\n[ \"$5 $6 $7 $8\" = 'copy --quiet docker://image' ] || "
        "[ \"$7\" = docker://image ] || { echo 'no such image' >&2; exit 1; }"
        "\nto=${8#oci:}\ncp -r '%s'/index.json '%s'/blobs \"${to%%:image}\"\n",
        f->dir, f->dir);

    old = put_program(f, "skopeo", script);
    assert_image(f, "docker://image");
    assert_refused(f, "docker://other", "cannot copy docker://other: no such");
    g_setenv("PATH", old, true);
}

static const char config_text[] =
    "root /rootfs\nmodule /nitro/modules/a.ko\nexec /bin/app\narg -v\n"
    "arg a b\narg c\\nd\nenv PATH=/bin\nenv A=\\\\1\ncwd /srv\nuser 7:8\n"
    "stop-signal SIGQUIT\n";

/* Text of a file in an archive; its fields are at fixed places (man 5 cpio) */
static char *cpio_text(int fd, const char *name)
{
    g_autofree char *archive = NULL;
    size_t len = strlen(name) + 1;
    g_autofree char *size = NULL;
    struct stat st;
    char *at;

    g_assert_cmpint(fstat(fd, &st), ==, 0);
    archive = g_malloc(st.st_size);
    g_assert_cmpint(read(fd, archive, st.st_size), ==, st.st_size);
    at = memmem(archive, st.st_size, name, len);
    g_assert_nonnull(at);
    size = g_strndup(at - 110 + 54, 8);
    return g_strndup(archive + ROUND_UP(at - archive + len, 4),
                     g_ascii_strtoull(size, NULL, 16));
}

/* Returns: the configuration in the ramdisks of the image, or NULL */
static char *read_config(Fixture *f, const NativeParams *params, Error **errp)
{
    g_autofree char *init = g_build_filename(f->dir, "oci-layout", NULL);
    g_autoptr(Container) c = read_image(f, f->dir, &error_abort);
    NativeParams p = *params;
    char *text;
    int fds[2];

    p.init = init;
    if (!native_ramdisks(c, &p, f->scratch, fds, errp)) {
        return NULL;
    }
    text = cpio_text(fds[1], "nitro/config");
    close(fds[0]);
    close(fds[1]);
    return text;
}

static void test_config(Fixture *f, gconstpointer data)
{
    g_autoptr(GPtrArray) modules = g_ptr_array_new();
    g_autoptr(GByteArray) content = g_byte_array_new();
    Module module = { (char *)"a.ko", content };
    char *command[] = { (char *)"x", NULL };
    NativeParams p = { .modules = modules };
    g_autofree char *text = NULL, *other = NULL, *path = NULL;

    g_ptr_array_add(modules, &module);
    text = read_config(f, &p, &error_abort);
    g_assert_cmpstr(text, ==, config_text);
    p.command = command;
    p.settings = "allow-args yes\n";
    other = read_config(f, &p, &error_abort);
    g_assert_nonnull(strstr(other, "arg -v\narg x\nenv"));
    g_assert_true(g_str_has_suffix(other, "\nallow-args yes\n"));
    p.squashfs = true;
    g_free(other);
    path = put_program(f, "tar2sqfs", "#!/bin/sh\ncat >/dev/null\n");
    other = read_config(f, &p, &error_abort);
    g_setenv("PATH", path, true);
    g_assert_true(g_str_has_prefix(other, "root /rootfs\nroot-image "
                                   "/nitro/rootfs.squashfs\n"));
}

/* A line of the user counts in place of what the container says */
static void test_config_override(Fixture *f, gconstpointer data)
{
    NativeParams p = { .settings = "stop-signal INT\ncwd /x\nuser 1\n" };
    g_autofree char *text = read_config(f, &p, &error_abort);

    g_assert_null(strstr(text, "SIGQUIT"));
    g_assert_null(strstr(text, "/srv"));
    g_assert_null(strstr(text, "7:8"));
    g_assert_nonnull(strstr(text, "\nstop-signal INT\ncwd /x\nuser 1\n"));
}

static void test_stop_signals(Fixture *f, gconstpointer data)
{
    static const char *const names[] = { "SIGRTMAX-2", "SIGTTIN", "RTMIN+3" };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        g_autofree char *text = NULL, *config = g_strdup_printf(
            "\"Cmd\":[\"a\"],\"StopSignal\":\"%s\"", names[i]);
        NativeParams p = { 0 };

        put_image(f, config);
        put_plain_index(f);
        text = read_config(f, &p, &error_abort);
        g_assert_nonnull(strstr(text, names[i]));
    }
}

static void assert_no_config(Fixture *f, const char *config,
                             const char *settings_text, const char *why)
{
    NativeParams p = { .settings = settings_text };
    Error *err = NULL;

    put_image(f, config);
    put_plain_index(f);
    g_assert_null(read_config(f, &p, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), why));
    error_free(err);
}

static void test_config_refused(Fixture *f, gconstpointer data)
{
    assert_no_config(f, "", NULL, "neither an entrypoint nor a command");
    assert_no_config(f, "\"Cmd\":[\"a\"],\"StopSignal\":\"SIGX\"", NULL,
                     "the container's StopSignal, 'stop-signal': wants");
    assert_no_config(f, "\"Cmd\":[\"a\"],\"WorkingDir\":\"srv\"", NULL,
                     "the container's WorkingDir, 'cwd': wants");
    assert_no_config(f, "\"Cmd\":[\"a\"],\"Env\":[\"=b\"]", NULL,
                     "the container's Env, 'env': wants");
    assert_no_config(f, "\"Cmd\":[\"\"]", NULL,
                     "the container's program, 'exec': wants");
    assert_no_config(f, "\"Cmd\":[\"a\"]", "nothing 1\n",
                     "settings, line 1, 'nothing': unknown key");
    assert_no_config(f, "\"Cmd\":[\"a\"]", "# a\n\numask 9\n",
                     "settings, line 3, 'umask': wants an octal number");
    assert_no_config(f, "\"Cmd\":[\"a\"]", "agent 9\nagent 9\n",
                     "settings, line 2, 'agent': a second value");
    assert_no_config(f, "\"Cmd\":[\"a\"]", "root /x\n",
                     "settings, line 1, 'root': a second value");
    assert_no_config(f, "\"Cmd\":[\"a\"]", "net static\n",
                     "configuration: net static without a net-address");
}

static char *digest_of(int fd)
{
    g_autofree char *bytes = NULL;
    struct stat st;

    g_assert_cmpint(fstat(fd, &st), ==, 0);
    bytes = g_malloc(st.st_size);
    g_assert_cmpint(read(fd, bytes, st.st_size), ==, st.st_size);
    return layer_digest(bytes, st.st_size);
}

/* The same bytes each time, and a listing by another reader of the format */
static void test_ramdisks(Fixture *f, gconstpointer data)
{
    g_autofree char *init = g_build_filename(f->dir, "oci-layout", NULL);
    g_autoptr(GByteArray) content = g_byte_array_new();
    Module module = { (char *)"a.ko", content };
    g_autoptr(GPtrArray) modules = g_ptr_array_new();
    NativeParams p = { .init = init, .modules = modules };
    g_autofree char *first = NULL;

    g_byte_array_append(content, (const uint8_t *)"module", 6);
    g_ptr_array_add(modules, &module);
    for (int i = 0; i < 2; i++) {
        g_autoptr(Container) c = read_image(f, f->dir, &error_abort);
        g_autofree char *digest = NULL;
        int fds[2];

        g_assert_true(native_ramdisks(c, &p, f->scratch, fds, &error_abort));
        digest = digest_of(fds[1]);
        if (first) {
            g_assert_cmpstr(digest, ==, first);
        }
        g_free(first);
        first = g_steal_pointer(&digest);
        close(fds[0]);
        close(fds[1]);
    }
}

static void test_no_init(Fixture *f, gconstpointer data)
{
    g_autoptr(Container) c = read_image(f, f->dir, &error_abort);
    NativeParams p = { .init = "/nonexistent" };
    Error *err = NULL;
    int fds[2];

    g_assert_false(native_ramdisks(c, &p, f->scratch, fds, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "/nonexistent"));
    error_free(err);
}

static void add(const char *name, gconstpointer data,
                void (*test)(Fixture *f, gconstpointer data))
{
    g_autofree char *path = g_strdup_printf("/eif/container/%s", name);

    g_test_add(path, Fixture, data, setup, test, teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("layout", NULL, test_layout);
    add("platforms", NULL, test_platforms);
    add("tags", NULL, test_tags);
    add("wrong-platform", NULL, test_wrong_platform);
    add("changed-blobs", NULL, test_changed_blobs);
    for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
        g_autofree char *name = g_strconcat("damage/", damages[i].name, NULL);

        add(name, &damages[i], test_damage);
    }
    add("nesting", NULL, test_nesting);
    add("nothing", NULL, test_nothing);
    add("saved", NULL, test_saved);
    add("saved-damaged", NULL, test_saved_damaged);
    add("no-skopeo", NULL, test_no_skopeo);
    add("skopeo", NULL, test_skopeo);
    add("config", NULL, test_config);
    add("config-override", NULL, test_config_override);
    add("stop-signals", NULL, test_stop_signals);
    add("config-refused", NULL, test_config_refused);
    add("ramdisks", NULL, test_ramdisks);
    add("no-init", NULL, test_no_init);
    return g_test_run();
}
