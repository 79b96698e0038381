/*
 * A tree of files as a squashfs image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tar2sqfs reads a tar archive from its standard input, so that neither a
 * directory nor rights are needed.  mksquashfs can do so as well, but its root
 * directory then has the owner and the time of the call.
 */

#include "qemu/osdep.h"
#include <archive.h>
#include <archive_entry.h>
#include <glib-unix.h>
#include <sys/wait.h>
#include "qemu/units.h"
#include "layer.h"
#include "squashfs.h"

#define PIECE (64 * KiB)
#define MAX_WORDS (4 * KiB)     /* of what tar2sqfs has to say */

typedef struct Writer {
    FileTree *tree;
    struct archive *archive;
    GHashTable *names;      /* TreeFile of several names -> the first one */
    uint8_t *buffer;
    int fd;
    int err;                /* errno of a write to @fd that failed */
} Writer;

static bool fail_archive(Writer *w, Error **errp)
{
    error_setg(errp, "cannot send files to tar2sqfs: %s",
               w->err ? strerror(w->err) :
               archive_error_string(w->archive) ?: "unknown error");
    return false;
}

/* libarchive leaks its buffer after a write that fails: none does */
static la_ssize_t send_piece(struct archive *archive, void *opaque,
                             const void *piece, size_t len)
{
    Writer *w = opaque;

    if (!w->err && qemu_write_full(w->fd, piece, len) != len) {
        w->err = errno;
    }
    return len;
}

/* Namespaces that a squashfs has a number for */
static bool can_hold(const char *name)
{
    return g_str_has_prefix(name, "user.") ||
           g_str_has_prefix(name, "trusted.") ||
           g_str_has_prefix(name, "security.");
}

static void set_xattrs(struct archive_entry *entry, const TreeFile *file)
{
    for (guint i = 0; file->xattrs && i < file->xattrs->len; i++) {
        const TreeXattr *xattr = g_ptr_array_index(file->xattrs, i);
        gsize len;
        const void *value = g_bytes_get_data(xattr->value, &len);

        if (can_hold(xattr->name)) {
            archive_entry_xattr_add_entry(entry, xattr->name, value, len);
        }
    }
}

static void set_attributes(struct archive_entry *entry, const TreeFile *file)
{
    archive_entry_set_mode(entry, file->mode);
    archive_entry_set_uid(entry, file->uid);
    archive_entry_set_gid(entry, file->gid);
    archive_entry_set_mtime(entry, tree_file_time(file), 0);
    archive_entry_set_rdevmajor(entry, file->major);
    archive_entry_set_rdevminor(entry, file->minor);
    if (file->target) {
        archive_entry_set_symlink(entry, file->target);
    }
    set_xattrs(entry, file);
}

static bool write_content(Writer *w, const TreeFile *file, Error **errp)
{
    uint64_t done = 0;

    while (done < file->size) {
        ssize_t n = RETRY_ON_EINTR(pread(file_tree_content(w->tree),
                                         w->buffer,
                                         MIN(PIECE, file->size - done),
                                         file->offset + done));

        if (n <= 0) {
            error_setg_errno(errp, n < 0 ? errno : EIO,
                             "cannot read a stored file");
            return false;
        }
        if (archive_write_data(w->archive, w->buffer, n) != n || w->err) {
            return fail_archive(w, errp);
        }
        done += n;
    }
    return true;
}

static bool write_entry(Writer *w, struct archive_entry *entry,
                        const char *path, TreeFile *file, Error **errp)
{
    const char *first = g_hash_table_lookup(w->names, file);
    bool has_content = S_ISREG(file->mode) && !first;

    archive_entry_set_pathname(entry, *path ? path : "./");
    set_attributes(entry, file);
    if (first) {
        archive_entry_set_hardlink(entry, first);
    } else if (file->links > 1) {
        g_hash_table_insert(w->names, file, g_strdup(path));
    }
    archive_entry_set_size(entry, has_content ? file->size : 0);
    if (archive_write_header(w->archive, entry) < ARCHIVE_WARN || w->err) {
        return fail_archive(w, errp);
    }
    return !has_content || write_content(w, file, errp);
}

static bool add_name(const char *path, TreeFile *file, void *opaque,
                     Error **errp)
{
    struct archive_entry *entry = archive_entry_new();
    bool ok = write_entry(opaque, entry, path, file, errp);

    archive_entry_free(entry);
    return ok;
}

static bool write_tar(FileTree *tree, int fd, Error **errp)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(NULL, NULL, NULL,
                                                        g_free);
    g_autofree uint8_t *buffer = g_malloc(PIECE);
    Writer w = { tree, archive_write_new(), names, buffer, fd };
    LayerLocale locale;
    bool ok;

    layer_locale_enter(&locale);
    archive_write_set_format_pax_restricted(w.archive);
    archive_write_set_format_option(w.archive, "pax", "xattrheader",
                                    "SCHILY");
    ok = archive_write_open(w.archive, &w, NULL, send_piece,
                            NULL) == ARCHIVE_OK
         ? file_tree_walk(tree, add_name, &w, errp)
         : fail_archive(&w, errp);
    if (ok && (archive_write_close(w.archive) != ARCHIVE_OK || w.err)) {
        ok = fail_archive(&w, errp);
    }
    archive_write_free(w.archive);
    layer_locale_leave(&locale);
    return ok;
}

/* Returns: its process, or 0; @said gets what it has to say */
static GPid squashfs_start(const char *path, int input, int said, Error **errp)
{
    const char *argv[] = {
        "tar2sqfs", "--quiet", "--no-skip", "--force", "--compressor", "zstd",
        "--comp-extra", "level=9", path, NULL
    };
    g_auto(GStrv) env = g_environ_setenv(g_get_environ(), "SOURCE_DATE_EPOCH",
                                         "0", true);
    g_autoptr(GError) err = NULL;
    GPid pid = 0;

    if (!g_spawn_async_with_fds(NULL, (char **)argv, env,
                                G_SPAWN_SEARCH_PATH |
                                G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid,
                                input, said, said, &err)) {
        error_setg(errp, "tar2sqfs is needed for --root=squashfs: %s",
                   err->message);
        error_append_hint(errp, "Install it (package squashfs-tools-ng), or"
                          " leave --root out.\n");
        return 0;
    }
    return pid;
}

static char *read_words(int fd)
{
    char *text = g_malloc0(MAX_WORDS + 1);

    if (pread(fd, text, MAX_WORDS, 0) < 0) {
        *text = 0;
    }
    return g_strstrip(text);
}

/* Its own words are a better reason than the pipe that broke, @err */
static bool squashfs_finish(GPid pid, int said, Error *err, Error **errp)
{
    g_autofree char *words = NULL;
    int status;
    bool ok = RETRY_ON_EINTR(waitpid(pid, &status, 0)) == pid && status == 0;

    words = read_words(said);
    if (!ok && (*words || !err)) {
        error_free(err);
        error_setg(errp, "tar2sqfs has failed: %s", words);
    } else {
        error_propagate(errp, err);
    }
    return ok && !err;
}

static bool squashfs_run(FileTree *tree, const char *path, int said,
                         Error **errp)
{
    Error *err = NULL;
    int fds[2];
    GPid pid;

    if (!g_unix_open_pipe(fds, FD_CLOEXEC, NULL)) {
        error_setg_errno(errp, errno, "cannot make a pipe");
        return false;
    }
    pid = squashfs_start(path, fds[0], said, errp);
    close(fds[0]);
    if (pid) {
        write_tar(tree, fds[1], &err);
    }
    close(fds[1]);
    return pid && squashfs_finish(pid, said, err, errp);
}

bool squashfs_make(FileTree *tree, const char *path, Error **errp)
{
    const struct sigaction ignore = { .sa_handler = SIG_IGN };
    g_autofree char *dir = g_path_get_dirname(path);
    int said = file_tree_scratch(dir, errp);
    struct sigaction old;
    bool ok;

    if (said < 0) {
        return false;
    }
    sigaction(SIGPIPE, &ignore, &old);
    ok = squashfs_run(tree, path, said, errp);
    sigaction(SIGPIPE, &old, NULL);
    close(said);
    return ok;
}
