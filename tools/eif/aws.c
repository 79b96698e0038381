/*
 * Ramdisks of an enclave in which AWS's init runs a container's program
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Three programs have a part in them: Docker adds files to the container's
 * tree, linuxkit leaves out, replaces and adds some, and its writer of cpio
 * archives has habits of its own, such as symbolic links for hard ones.
 */

#include "qemu/osdep.h"
#include "aws.h"
#include "ramdisks.h"

#define ROOT "rootfs"
#define DEFAULT_TIME 1492533000     /* 2017-04-18T16:30:00Z */

static const CpioStyle style = {
    .first_inode = 721,
    .major = 3,
    .minor = 1,
    .mtime = DEFAULT_TIME,
    .number_trailer = true,
};

/* What "docker create" puts over the image; all of root, with mode 0755 */
static const struct {
    const char *path;
    mode_t type;
    const char *target;
} docker_files[] = {
    { ".dockerenv", S_IFREG },
    { "dev", S_IFDIR },
    { "dev/console", S_IFREG },
    { "dev/pts", S_IFDIR },
    { "dev/shm", S_IFDIR },
    { "etc", S_IFDIR },
    { "etc/hostname", S_IFREG },
    { "etc/hosts", S_IFREG },
    { "etc/mtab", S_IFLNK, "/proc/mounts" },
    { "etc/resolv.conf", S_IFREG },
    { "proc", S_IFDIR },
    { "sys", S_IFDIR },
};

static const char hosts[] =
    "127.0.0.1       localhost\n"
    "::1     localhost ip6-localhost ip6-loopback\n"
    "fe00::0 ip6-localnet\n"
    "ff00::0 ip6-mcastprefix\n"
    "ff02::1 ip6-allnodes\n"
    "ff02::2 ip6-allrouters\n";

/* linuxkit leaves these out, unless they are directories */
static const char *const left_out[] = {
    ".dockerenv", "Dockerfile", "dev/console", "dev/pts", "dev/shm",
    "etc/hostname", NULL
};

/* What it makes or makes again, behind the container's files */
static const char *const mount_points[] = {
    ROOT, ROOT "/dev", ROOT "/run", ROOT "/sys", ROOT "/var", ROOT "/proc",
    ROOT "/tmp",
};

static bool add_docker_files(FileTree *tree, Error **errp)
{
    file_tree_layer(tree);
    for (size_t i = 0; i < ARRAY_SIZE(docker_files); i++) {
        TreeFile file = {
            .mode = docker_files[i].type | 0755,
            .mtime = DEFAULT_TIME,
            .target = (char *)docker_files[i].target,
        };

        if (!file_tree_add(tree, docker_files[i].path, &file, errp)) {
            return false;
        }
    }
    return true;
}

/* From the directory of @path to @target, both relative to one root */
static char *relative_target(const char *path, const char *target)
{
    g_auto(GStrv) from = g_strsplit(path, "/", -1);
    g_auto(GStrv) to = g_strsplit(target, "/", -1);
    g_autoptr(GString) link = g_string_new(NULL);
    guint common = 0;

    while (from[common + 1] && to[common + 1] &&
           g_str_equal(from[common], to[common])) {
        common++;
    }
    for (guint i = common; from[i + 1]; i++) {
        g_string_append(link, "../");
    }
    for (guint i = common; to[i]; i++) {
        g_string_append_printf(link, "%s%s", to[i], to[i + 1] ? "/" : "");
    }
    return g_string_free(g_steal_pointer(&link), FALSE);
}

typedef struct Job {
    Container *container;
    const AwsParams *params;
    CpioWriter *writer;
    GHashTable *names;      /* TreeFile of several names -> the first one */
} Job;

/* Inodes distinguish files, so each entry gets its own */
static bool add_as(Job *job, const char *path, const TreeFile *file,
                   mode_t mode, const char *target, Error **errp)
{
    TreeFile copy = *file;
    g_autofree char *name = g_strconcat(ROOT "/", path,
                                        S_ISDIR(mode) ? "/" : "", NULL);

    copy.mode = mode;
    copy.target = (char *)target;
    copy.links = 1;
    copy.number = 0;
    return cpio_add(job->writer, name, &copy,
                    file_tree_content(job->container->tree), NULL, errp);
}

static bool add_hosts(Job *job, const TreeFile *file, Error **errp)
{
    TreeFile copy = *file;

    copy.size = strlen(hosts);
    copy.links = 1;
    copy.number = 0;
    return cpio_add(job->writer, ROOT "/etc/hosts", &copy, -1, hosts, errp);
}

static bool add_exported(const char *path, TreeFile *file, void *opaque,
                         Error **errp)
{
    Job *job = opaque;
    mode_t mode = file->mode;
    const char *first;
    g_autofree char *target = NULL;

    if (!*path || (!S_ISDIR(mode) && g_strv_contains(left_out, path))) {
        return true;
    }
    if (g_str_equal(path, "etc/hosts")) {
        return add_hosts(job, file, errp);
    }
    if (g_str_equal(path, "etc/resolv.conf")) {
        return add_as(job, path, file, S_IFLNK | (mode & 07777),
                      "/run/resolvconf/resolv.conf", errp);
    }
    if (S_ISLNK(mode)) {
        mode = S_IFLNK | 0777;      /* as every file system reports it */
    }
    first = g_hash_table_lookup(job->names, file);
    if (first) {
        target = relative_target(path, first);
        return add_as(job, path, file, S_IFLNK | (mode & 07777), target,
                      errp);
    }
    if (file->links > 1) {
        g_hash_table_insert(job->names, file, g_strdup(path));
    }
    return add_as(job, path, file, mode, file->target, errp);
}

static char **command_words(const Container *c, const AwsParams *p)
{
    char **cmd = c->command + g_strv_length(c->entrypoint);

    if (p->command && *p->command) {
        return p->command;
    }
    return *cmd ? cmd : c->entrypoint;
}

static bool add_lines(CpioWriter *w, const char *path, char **lines,
                      Error **errp)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (; *lines; lines++) {
        g_string_append_printf(text, "%s\n", *lines);
    }
    return ramdisk_add_data(w, path, 0644, text->str, text->len, errp);
}

static bool has_line_feed(char **lines)
{
    for (; *lines; lines++) {
        if (strchr(*lines, '\n')) {
            return true;
        }
    }
    return false;
}

static void add_loss(GPtrArray *losses, bool lost, const char *text)
{
    if (lost) {
        g_ptr_array_add(losses, (char *)text);
    }
}

GPtrArray *aws_losses(const Container *c, const AwsParams *p)
{
    GPtrArray *losses = g_ptr_array_new();
    char **words = command_words(c, p);

    add_loss(losses, *c->entrypoint && words != c->entrypoint,
             "Entrypoint is lost: in the layout aws the command alone is run");
    add_loss(losses, has_line_feed(words) || has_line_feed(c->environment),
             "AWS's init takes an argument or variable with a line feed for"
             " several");
    add_loss(losses, c->user || c->directory || c->stop_signal,
             "User, WorkingDir and StopSignal have no effect in the layout"
             " aws");
    return losses;
}

static bool fill_boot(CpioWriter *w, void *opaque, Error **errp)
{
    const AwsParams *p = ((Job *)opaque)->params;

    return ramdisk_add_directory(w, "dev", errp) &&
           ramdisk_add_file(w, "init", 0755, p->init, errp) &&
           ramdisk_add_file(w, "nsm.ko", 0755, p->module, errp);
}

static bool add_mount_points(CpioWriter *w, Error **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(mount_points); i++) {
        if (!ramdisk_add_directory(w, mount_points[i], errp)) {
            return false;
        }
    }
    return true;
}

static bool fill_root(CpioWriter *w, void *opaque, Error **errp)
{
    Job *job = opaque;
    Container *c = job->container;

    job->writer = w;
    return container_has_command(c, job->params->command, errp) &&
           ramdisk_add_directory(w, ROOT, errp) &&
           file_tree_walk(c->tree, add_exported, job, errp) &&
           add_mount_points(w, errp) &&
           add_lines(w, "cmd", command_words(c, job->params), errp) &&
           add_lines(w, "env", c->environment, errp);
}

bool aws_ramdisks(Container *c, const AwsParams *p, const char *scratch,
                  int fds[2], Error **errp)
{
    static RamdiskFill *const fill[] = { fill_boot, fill_root };
    g_autoptr(GHashTable) names = g_hash_table_new_full(NULL, NULL, NULL,
                                                        g_free);
    Job job = { .container = c, .params = p, .names = names };

    return add_docker_files(c->tree, errp) &&
           ramdisks_make(fill, &job, &style, scratch, fds, errp);
}
