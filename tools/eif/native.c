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
#include "cpio.h"
#include "native.h"

#define ROOT "rootfs"
#define MODULES "nitro/modules"
#define CONFIG "nitro/config"

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

/* Arguments given here replace those of the image behind its entrypoint */
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

/* nitro-init's own reader: a mistake must not show only in the enclave */
static bool check_config(const char *text, Error **errp)
{
    struct config config;
    char why[512];
    int rc;

    config_init(&config);
    rc = config_parse(&config, text, why, sizeof(why));
    config_free(&config);
    if (rc) {
        error_setg(errp, "nitro-init cannot take the configuration: %s", why);
    }
    return rc == 0;
}

char *native_config(const Container *c, const NativeParams *p, Error **errp)
{
    g_autoptr(GString) text = g_string_new(NULL);

    if (!*c->command && !(p->command && *p->command)) {
        error_setg(errp, "the image has neither an entrypoint nor a command");
        error_append_hint(errp, "Give the program behind '--'.\n");
        return NULL;
    }
    add_setting(text, "root", "/" ROOT);
    add_modules(text, p->modules);
    add_command(text, c, p);
    add_list(text, "env", c->environment);
    if (c->directory) {
        add_setting(text, "cwd", c->directory);
    }
    if (c->user) {
        add_setting(text, "user", c->user);
    }
    if (c->stop_signal) {
        add_setting(text, "stop-signal", c->stop_signal);
    }
    if (p->settings) {
        g_string_append(text, p->settings);
    }
    return check_config(text->str, errp)
           ? g_string_free(g_steal_pointer(&text), FALSE) : NULL;
}

static bool add_directory(CpioWriter *w, const char *path, Error **errp)
{
    TreeFile dir = { .mode = S_IFDIR | 0755 };

    return cpio_add(w, path, &dir, -1, NULL, errp);
}

static bool add_data(CpioWriter *w, const char *path, mode_t mode,
                     const void *data, size_t len, Error **errp)
{
    TreeFile file = { .mode = S_IFREG | mode, .size = len };

    return cpio_add(w, path, &file, -1, data, errp);
}

static bool add_file(CpioWriter *w, const char *path, mode_t mode,
                     const char *source, Error **errp)
{
    TreeFile file = { .mode = S_IFREG | mode };
    int fd = qemu_open(source, O_RDONLY, errp);
    struct stat st;
    bool ok;

    if (fd < 0) {
        return false;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        error_setg(errp, "%s is not a regular file", source);
        close(fd);
        return false;
    }
    file.size = st.st_size;
    ok = cpio_add(w, path, &file, fd, NULL, errp);
    close(fd);
    return ok;
}

/* The kernel opens it for process 1 before anything is mounted */
static bool add_console(CpioWriter *w, Error **errp)
{
    TreeFile console = { .mode = S_IFCHR | 0600, .major = 5, .minor = 1 };

    return cpio_add(w, "dev/console", &console, -1, NULL, errp);
}

static bool write_boot(CpioWriter *w, const NativeParams *p, Error **errp)
{
    if (!add_directory(w, "dev", errp) || !add_console(w, errp) ||
        !add_file(w, "init", 0755, p->init, errp) ||
        !add_directory(w, "nitro", errp) ||
        !add_directory(w, MODULES, errp)) {
        return false;
    }
    for (guint i = 0; p->modules && i < p->modules->len; i++) {
        const Module *module = g_ptr_array_index(p->modules, i);
        g_autofree char *path = module_path(module);

        if (!add_data(w, path, 0644, module->data->data, module->data->len,
                      errp)) {
            return false;
        }
    }
    return true;
}

static bool write_root(CpioWriter *w, Container *c, const NativeParams *p,
                       Error **errp)
{
    g_autofree char *config = native_config(c, p, errp);

    return config && add_directory(w, "nitro", errp) &&
           add_data(w, CONFIG, 0644, config, strlen(config), errp) &&
           cpio_add_tree(w, ROOT, c->tree, errp);
}

static bool write_ramdisk(int i, int fd, Container *c, const NativeParams *p,
                          Error **errp)
{
    CpioWriter w;
    bool ok;

    cpio_begin(&w, fd, &style);
    ok = i ? write_root(&w, c, p, errp) : write_boot(&w, p, errp);
    return cpio_end(&w, ok ? errp : NULL) && ok &&
           lseek(fd, 0, SEEK_SET) == 0;
}

bool native_ramdisks(Container *c, const NativeParams *p, const char *scratch,
                     int fds[2], Error **errp)
{
    bool ok = true;

    fds[0] = fds[1] = -1;
    for (int i = 0; i < 2 && ok; i++) {
        fds[i] = file_tree_scratch(scratch, errp);
        ok = fds[i] >= 0 && write_ramdisk(i, fds[i], c, p, errp);
    }
    for (int i = 0; i < 2 && !ok; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    return ok;
}
