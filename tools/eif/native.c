/*
 * Ramdisks of an enclave in which nitro-init runs a container's program
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "contrib/nitro-init/config.h"
#include "native.h"
#include "ramdisks.h"
#include "squashfs.h"

#define ROOT "rootfs"
#define MODULES "nitro/modules"
#define CONFIG "nitro/config"
#define IMAGE "nitro/rootfs.squashfs"

static const CpioStyle style = { .first_inode = 1 };

/* A value as nitro-init reads it: a line feed would end it */
static void add_setting(GString *text, const char *key, const char *value)
{
    g_string_append_printf(text, "%s ", key);
    for (; *value; value++) {
        if (*value == '\n') {
            g_string_append(text, "\\n");
        } else if (*value == '\\') {
            g_string_append(text, "\\\\");
        } else {
            g_string_append_c(text, *value);
        }
    }
    g_string_append_c(text, '\n');
}

static void add_list(GString *text, const char *key, char **values)
{
    for (; values && *values; values++) {
        add_setting(text, key, *values);
    }
}

/* Arguments of the user replace the image's, behind its entrypoint */
static void add_command(GString *text, const Container *c,
                        const NativeParams *p)
{
    char **first = p->command ? c->entrypoint : c->command;
    bool program = true;

    for (int i = 0; i < 2; i++) {
        for (char **word = i ? p->command : first; word && *word; word++) {
            add_setting(text, program ? "exec" : "arg", *word);
            program = false;
        }
    }
}

static char *module_path(const Module *module)
{
    return g_build_filename(MODULES, module->file, NULL);
}

static void add_modules(GString *text, const GPtrArray *modules)
{
    for (guint i = 0; modules && i < modules->len; i++) {
        g_autofree char *path = module_path(g_ptr_array_index(modules, i));
        g_autofree char *absolute = g_strconcat("/", path, NULL);

        add_setting(text, "module", absolute);
    }
}

/* Who has given the value of a generated line, for a message */
static const char *origin(const char *line)
{
    static const char *const origins[][2] = {
        { "exec ", "the container's program" },
        { "arg ", "the program's arguments" },
        { "env ", "the container's Env" },
        { "cwd ", "the container's WorkingDir" },
        { "user ", "the container's User" },
        { "stop-signal ", "the container's StopSignal" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(origins); i++) {
        if (g_str_has_prefix(line, origins[i][0])) {
            return origins[i][1];
        }
    }
    return "qemu-eif's line";
}

static bool read_generated(struct config *config, const char *text,
                           Error **errp)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    char why[512];

    for (char **line = lines; *line; line++) {
        if (settings_line(config, *line, strlen(*line), why, sizeof(why))) {
            error_setg(errp, "nitro-init cannot take %s, %s", origin(*line),
                       why);
            return false;
        }
    }
    return true;
}

/* Lines are counted as in the user's file */
static bool read_settings(struct config *config, const char *settings,
                          Error **errp)
{
    char why[512];

    if (config_lines(config, settings, why, sizeof(why))) {
        error_setg(errp, "nitro-init cannot take settings, %s", why);
        return false;
    }
    if (config_check(config, why, sizeof(why))) {
        error_setg(errp, "nitro-init cannot take the configuration: %s", why);
        return false;
    }
    return true;
}

/* nitro-init's own reader: a mistake must not show only in the enclave */
static bool check_config(const char *generated, const char *settings,
                         Error **errp)
{
    struct config config;
    bool ok;

    config_init(&config);
    ok = read_generated(&config, generated, errp) &&
         read_settings(&config, settings, errp);
    config_free(&config);
    return ok;
}

bool native_has_network(const char *settings)
{
    struct config config;
    char why[512];
    bool has;

    config_init(&config);
    config_parse(&config, settings ?: "", why, sizeof(why));
    has = config.net != NET_OFF;
    config_free(&config);
    return has;
}

static bool is_for(const char *line, const char *key)
{
    size_t len = strlen(key);

    return !strncmp(line, key, len) && (!line[len] || line[len] == ' ');
}

/* A value of the container counts unless the user has a line of that key */
static void add_default(GString *text, const char *key, const char *value,
                        char **lines)
{
    for (; *lines; lines++) {
        if (is_for(*lines, key)) {
            return;
        }
    }
    if (value) {
        add_setting(text, key, value);
    }
}

/*
 * The text of /nitro/config: the container's configuration, joined as a runtime
 * joins it, and what replaces or extends it
 */
static char *native_config(const Container *c, const NativeParams *p,
                           Error **errp)
{
    g_autoptr(GString) text = g_string_new(NULL);
    const char *settings = p->settings ?: "";
    g_auto(GStrv) lines = g_strsplit(settings, "\n", -1);

    if (!container_has_command(c, p->command, errp)) {
        return NULL;
    }
    add_setting(text, "root", "/" ROOT);
    if (p->squashfs) {
        add_setting(text, "root-image", "/" IMAGE);
    }
    add_modules(text, p->modules);
    add_command(text, c, p);
    add_list(text, "env", c->environment);
    add_default(text, "cwd", c->directory, lines);
    add_default(text, "user", c->user, lines);
    add_default(text, "stop-signal", c->stop_signal, lines);
    if (!check_config(text->str, settings, errp)) {
        return NULL;
    }
    g_string_append(text, settings);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* The kernel opens it for process 1 before anything is mounted */
static bool add_console(CpioWriter *w, Error **errp)
{
    TreeFile console = { .mode = S_IFCHR | 0600, .major = 5, .minor = 1 };

    return cpio_add(w, "dev/console", &console, -1, NULL, errp);
}

typedef struct Job {
    Container *container;
    const NativeParams *params;
    const char *scratch;
} Job;

static bool fill_boot(CpioWriter *w, void *opaque, Error **errp)
{
    const NativeParams *p = ((Job *)opaque)->params;

    if (!ramdisk_add_directory(w, "dev", errp) || !add_console(w, errp) ||
        !ramdisk_add_file(w, "init", 0755, p->init, errp) ||
        !ramdisk_add_directory(w, "nitro", errp) ||
        !ramdisk_add_directory(w, MODULES, errp)) {
        return false;
    }
    for (guint i = 0; p->modules && i < p->modules->len; i++) {
        const Module *module = g_ptr_array_index(p->modules, i);
        g_autofree char *path = module_path(module);

        if (!ramdisk_add_data(w, path, 0644, module->data->data,
                              module->data->len, errp)) {
            return false;
        }
    }
    return true;
}

/* tar2sqfs writes to a file that has a name */
static bool add_image(CpioWriter *w, FileTree *tree, const char *scratch,
                      Error **errp)
{
    g_autofree char *path = g_build_filename(scratch, ".qemu-eif-XXXXXX",
                                             NULL);
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
    bool ok;

    if (fd < 0) {
        error_setg_errno(errp, errno, "cannot make a file in %s", scratch);
        return false;
    }
    close(fd);
    ok = squashfs_make(tree, path, errp) &&
         ramdisk_add_directory(w, ROOT, errp) &&
         ramdisk_add_file(w, IMAGE, 0644, path, errp);
    unlink(path);
    return ok;
}

static bool fill_root(CpioWriter *w, void *opaque, Error **errp)
{
    Job *job = opaque;
    g_autofree char *config = native_config(job->container, job->params,
                                            errp);

    return config && ramdisk_add_directory(w, "nitro", errp) &&
           ramdisk_add_data(w, CONFIG, 0644, config, strlen(config), errp) &&
           (job->params->squashfs
            ? add_image(w, job->container->tree, job->scratch, errp)
            : cpio_add_tree(w, ROOT, job->container->tree, errp));
}

bool native_ramdisks(Container *c, const NativeParams *p, const char *scratch,
                     int fds[2], Error **errp)
{
    static RamdiskFill *const fill[] = { fill_boot, fill_root };
    Job job = { c, p, scratch };

    return ramdisks_make(fill, &job, &style, scratch, fds, errp);
}
