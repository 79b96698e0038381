/*
 * A tree of files in memory
 *
 * A node is a name, in a hash table of its directory; a file may have several.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "file-tree.h"

typedef struct Node {
    char *name;
    TreeFile *file;
    GHashTable *children;   /* name -> Node; NULL unless a directory */
    unsigned layer;         /* that set it last */
} Node;

struct FileTree {
    Node *root;
    FileTreeLimits limits;
    uint64_t bytes;         /* used of limits.bytes */
    unsigned files;         /* used of limits.files */
    size_t xattr_bytes;     /* of all that were ever added */
    unsigned layer;
    int fd;
    off_t end;              /* where the next content begins */
};

static void free_xattr(gpointer data)
{
    TreeXattr *xattr = data;

    g_free(xattr->name);
    g_bytes_unref(xattr->value);
    g_free(xattr);
}

GPtrArray *tree_xattrs_new(void)
{
    return g_ptr_array_new_with_free_func(free_xattr);
}

void tree_xattrs_add(GPtrArray *list, const char *name, const void *value,
                     size_t len)
{
    TreeXattr *xattr = g_new(TreeXattr, 1);

    xattr->name = g_strdup(name);
    xattr->value = g_bytes_new(value, len);
    g_ptr_array_add(list, xattr);
}

static void unref_file(TreeFile *file)
{
    if (--file->links == 0) {
        g_clear_pointer(&file->xattrs, g_ptr_array_unref);
        g_free(file->target);
        g_free(file);
    }
}

static TreeFile *copy_file(const TreeFile *file)
{
    TreeFile *copy = g_memdup2(file, sizeof(*file));

    copy->target = g_strdup(file->target);
    copy->xattrs = file->xattrs ? g_ptr_array_ref(file->xattrs) : NULL;
    copy->links = 1;
    copy->number = 0;
    return copy;
}

static void free_node(gpointer data)
{
    Node *node = data;

    if (node->children) {
        g_hash_table_unref(node->children);
    }
    unref_file(node->file);
    g_free(node->name);
    g_free(node);
}

static Node *new_node(FileTree *tree, const char *name, TreeFile *file)
{
    Node *node = g_new0(Node, 1);

    node->name = g_strdup(name);
    node->file = file;
    node->layer = tree->layer;
    if (S_ISDIR(file->mode)) {
        node->children = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                               free_node);
    }
    return node;
}

static unsigned count_nodes(const Node *node)
{
    unsigned n = 1;
    GHashTableIter iter;
    gpointer child;

    if (node->children) {
        g_hash_table_iter_init(&iter, node->children);
        while (g_hash_table_iter_next(&iter, NULL, &child)) {
            n += count_nodes(child);
        }
    }
    return n;
}

static void remove_child(FileTree *tree, Node *dir, Node *child)
{
    tree->files -= count_nodes(child);
    g_hash_table_remove(dir->children, child->name);
}

static bool put_child(FileTree *tree, Node *dir, const char *name,
                      TreeFile *file, Error **errp)
{
    Node *node;

    if (tree->files >= tree->limits.files) {
        error_setg(errp, "more than %u files", tree->limits.files);
        unref_file(file);
        return false;
    }
    node = new_node(tree, name, file);
    g_hash_table_replace(dir->children, node->name, node);
    tree->files++;
    return true;
}

static Node *get_child(const Node *dir, const char *name)
{
    return dir->children ? g_hash_table_lookup(dir->children, name) : NULL;
}

/*
 * Components of a path, NULL behind the last; none for the root.  Freed with
 * g_strfreev().
 */
static char **split_path(const char *path, Error **errp)
{
    g_auto(GStrv) parts = NULL;
    size_t n = 0;

    if (*path == '/') {
        error_setg(errp, "'%s' is an absolute name", path);
        return NULL;
    }
    if (strlen(path) > FILE_TREE_MAX_PATH) {
        error_setg(errp, "'%.40s...' has more than %d bytes", path,
                   FILE_TREE_MAX_PATH);
        return NULL;
    }
    parts = g_strsplit(path, "/", -1);
    for (char **part = parts; *part; part++) {
        if (!**part || g_str_equal(*part, ".")) {
            g_free(*part);
        } else {
            parts[n++] = *part;
        }
    }
    parts[n] = NULL;
    for (size_t i = 0; i < n; i++) {
        if (g_str_equal(parts[i], "..")) {
            error_setg(errp, "'%s' leads upwards", path);
            return NULL;
        }
        if (strlen(parts[i]) > FILE_TREE_MAX_NAME) {
            error_setg(errp, "a part of '%.40s...' has more than %d bytes",
                       path, FILE_TREE_MAX_NAME);
            return NULL;
        }
    }
    if (n > FILE_TREE_MAX_DEPTH) {
        error_setg(errp, "'%.40s...' has more than %d parts", path,
                   FILE_TREE_MAX_DEPTH);
        return NULL;
    }
    return g_steal_pointer(&parts);
}

static TreeFile *new_directory(void)
{
    TreeFile *dir = g_new0(TreeFile, 1);

    dir->mode = S_IFDIR | 0755;
    dir->links = 1;
    return dir;
}

/* A layer that writes through a link of another one would leave its place */
static Node *enter(FileTree *tree, Node *dir, const char *name, bool make,
                   const char *path, Error **errp)
{
    Node *child = get_child(dir, name);

    if (!child && make) {
        if (!put_child(tree, dir, name, new_directory(), errp)) {
            return NULL;
        }
        child = get_child(dir, name);
    }
    if (child && !child->children) {
        error_setg(errp, "'%s' leads through '%s', which is %s", path, name,
                   child->file->target ? "a symbolic link"
                                       : "not a directory");
        return NULL;
    }
    return child;
}

/*
 * Directory that holds the last part of a path.  NULL without an error: it
 * is missing, and not to be made.
 */
static Node *find_parent(FileTree *tree, char **parts, bool make,
                         const char *path, Error **errp)
{
    Node *dir = tree->root;

    for (; dir && parts[0] && parts[1]; parts++) {
        dir = enter(tree, dir, parts[0], make, path, errp);
    }
    return dir;
}

static const char *last(char **parts)
{
    return parts[0] ? parts[g_strv_length(parts) - 1] : NULL;
}

static void set_attributes(FileTree *tree, Node *dir, const TreeFile *file)
{
    dir->layer = tree->layer;
    dir->file->mode = file->mode;
    dir->file->uid = file->uid;
    dir->file->gid = file->gid;
    dir->file->mtime = file->mtime;
    g_clear_pointer(&dir->file->xattrs, g_ptr_array_unref);
    dir->file->xattrs = file->xattrs ? g_ptr_array_ref(file->xattrs) : NULL;
}

/* Put @file under its name; it is freed on failure */
static bool replace(FileTree *tree, Node *dir, const char *name,
                    TreeFile *file, Error **errp)
{
    Node *old = get_child(dir, name);

    if (old && old->children && S_ISDIR(file->mode)) {
        set_attributes(tree, old, file);
        unref_file(file);
        return true;
    }
    if (old) {
        remove_child(tree, dir, old);
    }
    return put_child(tree, dir, name, file, errp);
}

static bool claim_xattrs(FileTree *tree, const GPtrArray *xattrs,
                         Error **errp)
{
    for (guint i = 0; xattrs && i < xattrs->len; i++) {
        const TreeXattr *xattr = g_ptr_array_index(xattrs, i);

        tree->xattr_bytes += strlen(xattr->name) + sizeof(*xattr) +
                             g_bytes_get_size(xattr->value);
    }
    if (tree->xattr_bytes > FILE_TREE_MAX_XATTRS) {
        error_setg(errp, "the files have more than %d bytes of extended"
                   " attributes", FILE_TREE_MAX_XATTRS);
        return false;
    }
    return true;
}

bool file_tree_add(FileTree *tree, const char *path, const TreeFile *file,
                   Error **errp)
{
    g_auto(GStrv) parts = split_path(path, errp);
    Node *dir;

    if (!parts || !claim_xattrs(tree, file->xattrs, errp)) {
        return false;
    }
    if (!parts[0]) {
        if (!S_ISDIR(file->mode)) {
            error_setg(errp, "the root is not a directory");
            return false;
        }
        set_attributes(tree, tree->root, file);
        return true;
    }
    dir = find_parent(tree, parts, true, path, errp);
    return dir && replace(tree, dir, last(parts), copy_file(file), errp);
}

static Node *find_node(const FileTree *tree, const char *path)
{
    g_auto(GStrv) parts = split_path(path, NULL);
    Node *node = parts ? tree->root : NULL;

    for (char **part = parts; node && *part; part++) {
        node = get_child(node, *part);
    }
    return node;
}

bool file_tree_link(FileTree *tree, const char *path, const char *target,
                    Error **errp)
{
    Node *node = find_node(tree, target), *dir;
    g_auto(GStrv) parts = NULL;
    TreeFile *file;

    if (!node || node->children) {
        error_setg(errp, "'%s' is a hard link to '%s', which is %s", path,
                   target, node ? "a directory" : "missing");
        return false;
    }
    parts = split_path(path, errp);
    if (!parts) {
        return false;
    }
    if (!parts[0]) {
        error_setg(errp, "the root is not a directory");
        return false;
    }
    dir = find_parent(tree, parts, true, path, errp);
    if (!dir) {
        return false;
    }
    file = node->file;
    file->links++;
    return replace(tree, dir, last(parts), file, errp);
}

static void hide_lower(FileTree *tree, Node *dir);

/* A directory of an earlier layer stays if this layer has put files there */
static void hide_node(FileTree *tree, Node *dir, Node *node)
{
    if (node->children) {
        hide_lower(tree, node);
    }
    if (node->layer < tree->layer &&
        !(node->children && g_hash_table_size(node->children))) {
        remove_child(tree, dir, node);
    }
}

static void hide_lower(FileTree *tree, Node *dir)
{
    g_autoptr(GList) children = g_hash_table_get_values(dir->children);

    for (GList *child = children; child; child = child->next) {
        hide_node(tree, dir, child->data);
    }
}

bool file_tree_hide(FileTree *tree, const char *path, Error **errp)
{
    g_auto(GStrv) parts = split_path(path, errp);
    Node *node = parts ? find_node(tree, path) : NULL;

    if (!parts || !parts[0]) {
        return parts;
    }
    if (node) {
        hide_node(tree, find_parent(tree, parts, false, path, errp), node);
    }
    return true;
}

bool file_tree_hide_all(FileTree *tree, const char *path, Error **errp)
{
    g_auto(GStrv) parts = split_path(path, errp);
    Node *node = parts ? find_node(tree, path) : NULL;

    if (node && node->children) {
        hide_lower(tree, node);
    }
    return parts;
}

void file_tree_layer(FileTree *tree)
{
    tree->layer++;
}

static bool claim(FileTree *tree, uint64_t bytes, Error **errp)
{
    if (bytes > tree->limits.bytes - tree->bytes) {
        error_setg(errp, "the files have more than %" PRIu64 " MiB",
                   tree->limits.bytes / MiB);
        error_append_hint(errp, "If this is meant, raise --max-size.\n");
        return false;
    }
    tree->bytes += bytes;
    return true;
}

bool file_tree_extend(FileTree *tree, TreeFile *file, uint64_t size,
                      Error **errp)
{
    if (file->offset < 0) {
        file->offset = tree->end;
    }
    if (size <= file->size) {
        return true;
    }
    if (!claim(tree, size - file->size, errp)) {
        return false;
    }
    file->size = size;
    tree->end = file->offset + size;
    if (ftruncate(tree->fd, tree->end) < 0) {
        error_setg_errno(errp, errno, "cannot store %" PRIu64 " bytes", size);
        return false;
    }
    return true;
}

bool file_tree_write(FileTree *tree, TreeFile *file, const void *data,
                     size_t len, uint64_t at, Error **errp)
{
    if (at > INT64_MAX - len ||
        !file_tree_extend(tree, file, at + len, errp)) {
        return false;
    }
    while (len > 0) {
        ssize_t n = RETRY_ON_EINTR(pwrite(tree->fd, data, len,
                                          file->offset + at));

        if (n <= 0) {
            error_setg_errno(errp, n < 0 ? errno : ENOSPC,
                             "cannot store a file's content");
            return false;
        }
        data = (const uint8_t *)data + n;
        at += n;
        len -= n;
    }
    return true;
}

int file_tree_content(const FileTree *tree)
{
    return tree->fd;
}

const TreeFile *file_tree_lookup(const FileTree *tree, const char *path)
{
    Node *node = find_node(tree, path);

    return node ? node->file : NULL;
}

static gint compare_names(gconstpointer a, gconstpointer b, gpointer unused)
{
    const Node *left = a, *right = b;

    return strcmp(left->name, right->name);
}

static bool walk(Node *node, GString *path, FileTreeVisit *visit,
                 void *opaque, Error **errp)
{
    g_autoptr(GList) children = NULL;
    size_t len = path->len;

    if (!visit(path->str, node->file, opaque, errp)) {
        return false;
    }
    if (node->children) {
        children = g_list_sort_with_data(
            g_hash_table_get_values(node->children), compare_names, NULL);
    }
    for (GList *child = children; child; child = child->next) {
        Node *next = child->data;

        g_string_append_printf(path, "%s%s", len ? "/" : "", next->name);
        if (!walk(next, path, visit, opaque, errp)) {
            return false;
        }
        g_string_truncate(path, len);
    }
    return true;
}

bool file_tree_walk(FileTree *tree, FileTreeVisit *visit, void *opaque,
                    Error **errp)
{
    g_autoptr(GString) path = g_string_new(NULL);

    return walk(tree->root, path, visit, opaque, errp);
}

int file_tree_scratch(const char *directory, Error **errp)
{
    g_autofree char *path = g_build_filename(directory, ".qemu-eif-XXXXXX",
                                             NULL);
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0) {
        error_setg_errno(errp, errno, "cannot make a file in %s", directory);
        return -1;
    }
    unlink(path);
    return fd;
}

FileTree *file_tree_new(const char *directory, const FileTreeLimits *limits,
                        Error **errp)
{
    int fd = file_tree_scratch(directory, errp);
    FileTree *tree;

    if (fd < 0) {
        return NULL;
    }
    tree = g_new0(FileTree, 1);
    tree->limits = *limits;
    tree->fd = fd;
    tree->root = new_node(tree, "", new_directory());
    return tree;
}

void file_tree_free(FileTree *tree)
{
    if (tree) {
        free_node(tree->root);
        close(tree->fd);
        g_free(tree);
    }
}
