/*
 * Container images
 *
 * A reference leads through an index to the manifest, that one to
 * configuration and layers.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"
#include "qemu/cutils.h"
#include "container.h"
#include "layer.h"
#include "store.h"

#define MAX_NESTING 8           /* of an index in an index */
#define MAX_LAYERS 512

/* What leads to an image: where its parts are */
typedef struct Manifest {
    char *config;               /* name in the store */
    char *config_digest;        /* or NULL */
    GPtrArray *layers;          /* names in the store */
    GPtrArray *digests;         /* of the layers, or NULL */
} Manifest;

static void manifest_clear(Manifest *m)
{
    g_free(m->config);
    g_free(m->config_digest);
    g_clear_pointer(&m->layers, g_ptr_array_unref);
    g_clear_pointer(&m->digests, g_ptr_array_unref);
}

static void manifest_init(Manifest *m)
{
    *m = (Manifest) {
        .layers = g_ptr_array_new_with_free_func(g_free),
        .digests = g_ptr_array_new_with_free_func(g_free),
    };
}

static QDict *parse_dict(Store *store, const char *name, const char *digest,
                         Error **errp)
{
    return qobject_to(QDict, store_parse(store, name, digest, QTYPE_QDICT,
                                         errp));
}

/* "blobs/sha256/HEX"; NULL: not a digest that could be compared */
static char *blob_name(const char *digest, Error **errp)
{
    if (!digest_check(digest, errp)) {
        return NULL;
    }
    return g_strconcat("blobs/sha256/", digest + strlen("sha256:"), NULL);
}

static const char *oci_arch(EifArch arch)
{
    return arch == EIF_ARCH_AARCH64 ? "arm64" : "amd64";
}

/* Whether the platform fits; one that is not stated is looked at later */
static bool fits(const QDict *descriptor, EifArch arch)
{
    const QDict *platform = qobject_to(QDict,
                                       qdict_get(descriptor, "platform"));
    const char *os, *name;

    if (!platform) {
        return true;
    }
    os = qdict_get_try_str(platform, "os");
    name = qdict_get_try_str(platform, "architecture");
    return (!os || g_str_equal(os, "linux")) &&
           (!name || g_str_equal(name, oci_arch(arch)));
}

static const char *descriptor_tag(const QDict *descriptor)
{
    const QDict *notes = qobject_to(QDict,
                                    qdict_get(descriptor, "annotations"));

    return notes ? qdict_get_try_str(notes,
                                     "org.opencontainers.image.ref.name")
                 : NULL;
}

/* The one descriptor of an index that is meant; NULL: none, or several */
static QDict *choose(const QDict *index, EifArch arch, const char *tag,
                     const char *name, Error **errp)
{
    const QList *manifests = qobject_to(QList, qdict_get(index, "manifests"));
    g_autoptr(GString) tags = g_string_new(NULL);
    QDict *found = NULL;
    const QListEntry *entry;
    int n = 0;

    if (!manifests) {
        error_setg(errp, "%s has no list of manifests", name);
        return NULL;
    }
    QLIST_FOREACH_ENTRY(manifests, entry) {
        QDict *descriptor = qobject_to(QDict, qlist_entry_obj(entry));
        const char *its_tag = descriptor ? descriptor_tag(descriptor) : NULL;

        if (!descriptor || !fits(descriptor, arch)) {
            continue;
        }
        g_string_append_printf(tags, " %s", its_tag ?: "(no tag)");
        if (!tag || g_strcmp0(tag, its_tag) == 0) {
            found = descriptor;
            n++;
        }
    }
    if (n == 1) {
        return found;
    }
    error_setg(errp, "%s has %d images for linux/%s%s%s", name, n,
               oci_arch(arch), tag ? " with tag " : "", tag ?: "");
    error_append_hint(errp, "%s%s\n", tags->len
                      ? "Choose one with :TAG behind the source; there are:"
                      : "Choose another architecture with --arch.",
                      tags->str);
    return NULL;
}

static bool add_layer(Manifest *m, const QDict *descriptor, Error **errp)
{
    const char *digest = descriptor ? qdict_get_try_str(descriptor, "digest")
                                    : NULL;
    char *name = blob_name(digest, errp);

    if (!name) {
        return false;
    }
    if (m->layers->len == MAX_LAYERS) {
        error_setg(errp, "more than %d layers", MAX_LAYERS);
        g_free(name);
        return false;
    }
    g_ptr_array_add(m->layers, name);
    g_ptr_array_add(m->digests, g_strdup(digest));
    return true;
}

static bool take_manifest(const QDict *manifest, const char *name,
                          Manifest *m, Error **errp)
{
    const QDict *config = qobject_to(QDict, qdict_get(manifest, "config"));
    const QList *layers = qobject_to(QList, qdict_get(manifest, "layers"));
    const QListEntry *entry;

    if (!config || !layers) {
        error_setg(errp, "%s has no configuration or no layers", name);
        return false;
    }
    m->config_digest = g_strdup(qdict_get_try_str(config, "digest"));
    m->config = blob_name(m->config_digest, errp);
    if (!m->config) {
        return false;
    }
    QLIST_FOREACH_ENTRY(layers, entry) {
        if (!add_layer(m, qobject_to(QDict, qlist_entry_obj(entry)), errp)) {
            return false;
        }
    }
    return true;
}

/* From an index to the manifest; only the outermost index has tags */
static bool follow_index(Store *store, EifArch arch, const char *tag,
                         Manifest *m, Error **errp)
{
    g_autofree char *name = g_strdup("index.json"), *digest = NULL;
    int depth;

    for (depth = 0; depth < MAX_NESTING; depth++) {
        g_autoptr(QDict) dict = parse_dict(store, name, digest, errp);
        bool leaf = dict && depth > 0 && !qdict_haskey(dict, "manifests");
        QDict *next;

        if (!dict || leaf) {
            return dict && take_manifest(dict, name, m, errp);
        }
        next = choose(dict, arch, depth ? NULL : tag, name, errp);
        if (!next) {
            return false;
        }
        g_free(digest);
        digest = g_strdup(qdict_get_try_str(next, "digest"));
        g_free(name);
        name = blob_name(digest, errp);
        if (!name) {
            return false;
        }
    }
    error_setg(errp, "an index leads through more than %d others",
               MAX_NESTING);
    return false;
}

/* A member that is a list of strings; a missing one is empty */
static char **get_strings(const QDict *dict, const char *key)
{
    g_autoptr(GPtrArray) strings = g_ptr_array_new();
    const QList *list = qobject_to(QList, qdict_get(dict, key));
    const QListEntry *entry;

    if (list) {
        QLIST_FOREACH_ENTRY(list, entry) {
            const QString *text = qobject_to(QString, qlist_entry_obj(entry));

            if (text) {
                g_ptr_array_add(strings, g_strdup(qstring_get_str(text)));
            }
        }
    }
    g_ptr_array_add(strings, NULL);
    return (char **)g_ptr_array_steal(strings, NULL);
}

static bool has_tag(const QDict *image, const char *tag)
{
    g_auto(GStrv) tags = get_strings(image, "RepoTags");

    return g_strv_contains((const char *const *)tags, tag);
}

/* The image of an archive of "docker save" that is meant */
static const QDict *choose_saved(const QList *images, const char *tag,
                                 Error **errp)
{
    const QDict *found = NULL;
    const QListEntry *entry;
    int n = 0;

    QLIST_FOREACH_ENTRY(images, entry) {
        const QDict *image = qobject_to(QDict, qlist_entry_obj(entry));

        if (image && (!tag || has_tag(image, tag))) {
            found = image;
            n++;
        }
    }
    if (n != 1) {
        error_setg(errp, "manifest.json has %d images%s%s", n,
                   tag ? " with tag " : "", tag ?: "");
        error_append_hint(errp, "Choose one with :REPOSITORY:TAG behind the"
                          " source.\n");
        return NULL;
    }
    return found;
}

static bool take_saved(Store *store, const char *tag, Manifest *m,
                       Error **errp)
{
    g_autoptr(QList) images = qobject_to(QList, store_parse(
        store, "manifest.json", NULL, QTYPE_QLIST, errp));
    const QListEntry *entry;
    const QList *layers;
    const QDict *image;

    image = images ? choose_saved(images, tag, errp) : NULL;
    if (!image) {
        return false;
    }
    m->config = g_strdup(qdict_get_try_str(image, "Config"));
    layers = qobject_to(QList, qdict_get(image, "Layers"));
    if (!m->config || !layers || qlist_size(layers) > MAX_LAYERS) {
        error_setg(errp, "manifest.json has no Config, no Layers, or more than"
                   " %d of them", MAX_LAYERS);
        return false;
    }
    QLIST_FOREACH_ENTRY(layers, entry) {
        const QString *name = qobject_to(QString, qlist_entry_obj(entry));

        g_ptr_array_add(m->layers, g_strdup(name ? qstring_get_str(name)
                                                 : ""));
        g_ptr_array_add(m->digests, NULL);
    }
    return true;
}

static bool find_manifest(Store *store, EifArch arch, const char *tag,
                          Manifest *m, Error **errp)
{
    bool saved = store_has(store, "manifest.json");

    if (store_has(store, "index.json") && !(saved && tag)) {
        return follow_index(store, arch, tag, m, errp);
    }
    if (saved) {
        return take_saved(store, tag, m, errp);
    }
    error_setg(errp, "neither an OCI layout (index.json) nor an archive of"
               " 'docker save' (manifest.json)");
    return false;
}

static char *get_text(const QDict *dict, const char *key)
{
    const char *text = qdict_get_try_str(dict, key);

    return text && *text ? g_strdup(text) : NULL;
}

static char **join(char **first, char **second)
{
    guint a = g_strv_length(first), b = g_strv_length(second);
    char **all = g_new0(char *, a + b + 1);

    for (guint i = 0; i < a + b; i++) {
        all[i] = g_strdup(i < a ? first[i] : second[i - a]);
    }
    return all;
}

static void take_settings(Container *c, const QDict *image)
{
    const QDict *config = qobject_to(QDict, qdict_get(image, "config"));
    g_autoptr(QDict) empty = qdict_new();
    g_auto(GStrv) cmd = NULL;

    config = config ?: empty;
    cmd = get_strings(config, "Cmd");
    c->entrypoint = get_strings(config, "Entrypoint");
    c->command = join(c->entrypoint, cmd);
    c->environment = get_strings(config, "Env");
    c->directory = get_text(config, "WorkingDir");
    c->user = get_text(config, "User");
    c->stop_signal = get_text(config, "StopSignal");
    c->created = get_text(image, "created");
}

static bool check_platform(const QDict *image, EifArch arch, Error **errp)
{
    const char *os = qdict_get_try_str(image, "os") ?: "linux";
    const char *name = qdict_get_try_str(image, "architecture") ?: "";

    if (!g_str_equal(os, "linux") || !g_str_equal(name, oci_arch(arch))) {
        error_setg(errp, "the image is for %s/%s, the enclave for linux/%s",
                   os, name, oci_arch(arch));
        error_append_hint(errp, "Give the image's platform with --arch, or a"
                          " kernel of that architecture.\n");
        return false;
    }
    return true;
}

static bool apply_layers(Container *c, Store *store, const Manifest *m,
                         char **diff_ids, Error **errp)
{
    ERRP_GUARD();

    if (g_strv_length(diff_ids) != m->layers->len) {
        error_setg(errp, "the configuration has %u layers, the manifest %u",
                   g_strv_length(diff_ids), m->layers->len);
        return false;
    }
    for (guint i = 0; i < m->layers->len; i++) {
        const char *name = g_ptr_array_index(m->layers, i);
        Blob blob;

        if (!store_open(store, name, &blob, errp) ||
            !layer_apply(c->tree, &blob, g_ptr_array_index(m->digests, i),
                         diff_ids[i], errp)) {
            error_prepend(errp, "layer %u of %u: ", i + 1, m->layers->len);
            return false;
        }
    }
    return true;
}

static bool fill(Container *c, Store *store, const Manifest *m, EifArch arch,
                 Error **errp)
{
    g_autoptr(QDict) image = parse_dict(store, m->config,
                                        m->config_digest, errp);
    g_auto(GStrv) diff_ids = NULL;
    const QDict *rootfs;

    if (!image || !check_platform(image, arch, errp)) {
        return false;
    }
    rootfs = qobject_to(QDict, qdict_get(image, "rootfs"));
    if (!rootfs) {
        error_setg(errp, "%s has no rootfs", m->config);
        return false;
    }
    take_settings(c, image);
    c->image = qobject_ref(image);
    c->digest = g_strdup(m->config_digest);
    diff_ids = get_strings(rootfs, "diff_ids");
    return apply_layers(c, store, m, diff_ids, errp);
}

static bool read_store(Container *c, Store *store, EifArch arch,
                       const char *tag, Error **errp)
{
    Manifest m;
    bool ok;

    manifest_init(&m);
    ok = find_manifest(store, arch, tag, &m, errp) &&
         fill(c, store, &m, arch, errp);
    manifest_clear(&m);
    return ok;
}

/* A name may contain colons itself, so the longest existing part counts */
static char *split_tag(const char *source, const char **tag)
{
    g_autofree char *path = g_strdup(source);
    char *colon;

    *tag = NULL;
    while (!g_file_test(path, G_FILE_TEST_EXISTS) &&
           (colon = strrchr(path, ':'))) {
        *colon = 0;
        *tag = source + (colon - path) + 1;
    }
    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        *tag = NULL;
        return g_strdup(source);
    }
    return g_steal_pointer(&path);
}

static bool read_local(Container *c, const char *source, EifArch arch,
                       const FileTreeLimits *limits, const char *scratch,
                       Error **errp)
{
    ERRP_GUARD();
    const char *tag;
    g_autofree char *path = split_tag(source, &tag);
    Store *store = store_new(path, limits, scratch, errp);
    bool ok = store && read_store(c, store, arch, tag, errp);

    if (!ok) {
        error_prepend(errp, "%s: ", path);
    }
    store_free(store);
    return ok;
}

static bool run_skopeo(const char *source, const char *target, EifArch arch,
                       Error **errp)
{
    const char *argv[] = {
        "skopeo", "--override-os", "linux", "--override-arch",
        oci_arch(arch), "copy", "--quiet", source, target, NULL
    };
    g_autoptr(GError) err = NULL;
    g_autofree char *said = NULL;
    int status;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL,
                      NULL, NULL, &said, &status, &err)) {
        error_setg(errp, "skopeo is needed for %s: %s", source, err->message);
        error_append_hint(errp, "Install it (package skopeo), or give an OCI"
                          " layout or an archive.\n");
        return false;
    }
    if (status != 0) {
        error_setg(errp, "skopeo cannot copy %s: %s", source,
                   g_strstrip(said));
        return false;
    }
    return true;
}

static void remove_layout(const char *dir)
{
    const char *const names[] = { "blobs/sha256", "blobs", "." };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        g_autofree char *path = g_build_filename(dir, names[i], NULL);
        g_autoptr(GDir) list = g_dir_open(path, 0, NULL);
        const char *name;

        while (list && (name = g_dir_read_name(list))) {
            g_autofree char *file = g_build_filename(path, name, NULL);

            g_remove(file);
        }
    }
    rmdir(dir);
}

static bool read_by_skopeo(Container *c, const char *source, EifArch arch,
                           const FileTreeLimits *limits, const char *scratch,
                           Error **errp)
{
    g_autofree char *dir = g_build_filename(scratch, ".qemu-eif-XXXXXX",
                                            NULL);
    g_autofree char *target = NULL;
    bool ok;

    if (!g_mkdtemp(dir)) {
        error_setg_errno(errp, errno, "cannot make a directory in %s",
                         scratch);
        return false;
    }
    target = g_strconcat("oci:", dir, ":image", NULL);
    ok = run_skopeo(source, target, arch, errp) &&
         read_local(c, dir, arch, limits, scratch, errp);
    remove_layout(dir);
    return ok;
}

/* Transports have the names that skopeo uses */
static const char *local_path(const char *source)
{
    const char *path = source;

    if (strstart(source, "oci:", &path) ||
        strstart(source, "oci-archive:", &path) ||
        strstart(source, "docker-archive:", &path)) {
        return path;
    }
    return strstr(source, "://") ||
           strstart(source, "containers-storage:", NULL) ||
           strstart(source, "docker-daemon:", NULL) ? NULL : source;
}

char *container_path(const char *source)
{
    const char *path = local_path(source);
    const char *tag;

    return path ? split_tag(path, &tag) : NULL;
}

Container *container_read(const char *source, EifArch arch,
                          const FileTreeLimits *limits, const char *scratch,
                          Error **errp)
{
    g_autoptr(Container) c = g_new0(Container, 1);
    const char *path = local_path(source);
    bool ok;

    c->tree = file_tree_new(scratch, limits, errp);
    ok = c->tree &&
         (path ? read_local(c, path, arch, limits, scratch, errp)
               : read_by_skopeo(c, source, arch, limits, scratch, errp));
    return ok ? g_steal_pointer(&c) : NULL;
}

bool container_has_command(const Container *c, char **command, Error **errp)
{
    ERRP_GUARD();

    if (*c->command || (command && *command)) {
        return true;
    }
    error_setg(errp, "the image has neither an entrypoint nor a command");
    error_append_hint(errp, "Give the program behind '--'.\n");
    return false;
}

void container_free(Container *c)
{
    file_tree_free(c->tree);
    qobject_unref(c->image);
    g_free(c->digest);
    g_free(c->created);
    g_strfreev(c->command);
    g_strfreev(c->entrypoint);
    g_strfreev(c->environment);
    g_free(c->directory);
    g_free(c->user);
    g_free(c->stop_signal);
    g_free(c);
}
