/*
 * Command line tools for Nitro Enclaves: what they share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include "qemu-version.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "crypto/init.h"
#include "nitro-option-once.h"
#include "nitro-tool.h"

static const char *tool_name;

int tool_fail(Error *err)
{
    if (err) {
        error_report_err(err);
    }
    return TOOL_FAILED;
}

/* Point to the help, when the error itself is on stderr */
static int tool_try_help(const char *command)
{
    error_printf("Try '%s %s --help'.\n", tool_name, command);
    return TOOL_FAILED;
}

int tool_bad_usage(const char *command, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    error_vreport(fmt, args);
    va_end(args);
    return tool_try_help(command);
}

static int tool_usage(const char *text)
{
    printf("%s", text);
    return TOOL_OK;
}

static bool check_once(const ToolOptions *o, int c, GHashTable *given,
                       Error **errp)
{
    const struct option *option = o->table;

    while (option->val != c) {
        option++;
    }
    return (o->lists && c <= UCHAR_MAX && strchr(o->lists, c)) ||
           option_once(given, option->name, errp);
}

int tool_options(const ToolOptions *o, int argc, char **argv,
                 ToolTakeOption *take, void *opaque)
{
    g_autoptr(GHashTable) given = g_hash_table_new(g_str_hash, g_str_equal);
    Error *err = NULL;
    int c, rc;

    while ((c = getopt_long(argc, argv, o->letters, o->table, NULL)) != -1) {
        if (c == 'h') {
            return tool_usage(o->usage);
        }
        if (c == '?') {
            return tool_try_help(o->command);
        }
        if (!check_once(o, c, given, &err) || !take(opaque, c, &err)) {
            rc = tool_bad_usage(o->command, "%s", error_get_pretty(err));
            error_free(err);
            return rc;
        }
    }
    return -1;
}

/* A pipe without a writer is empty; one with a writer is waited for */
static int open_small(const char *path, Error **errp)
{
    int fd = qemu_open(path, O_RDONLY | O_NONBLOCK, errp);

    if (fd >= 0) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    }
    return fd;
}

/* Reads until the end, or one byte more than @max */
static ssize_t read_all(int fd, GByteArray *bytes, size_t max)
{
    ssize_t n, len = 0;

    g_byte_array_set_size(bytes, max + 1);
    do {
        n = RETRY_ON_EINTR(read(fd, bytes->data + len, max + 1 - len));
        len += MAX(n, 0);
    } while (n > 0);
    g_byte_array_set_size(bytes, len);
    return n < 0 ? n : len;
}

GByteArray *tool_read_file(const char *path, size_t max, Error **errp)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    int fd = open_small(path, errp);
    ssize_t len;
    int err;

    if (fd < 0) {
        return NULL;
    }
    len = read_all(fd, bytes, max);
    err = errno;
    qemu_close(fd);
    if (len < 0) {
        error_setg_errno(errp, err, "cannot read %s", path);
        return NULL;
    }
    if (len > max) {
        error_setg(errp, "%s has more than %zu bytes", path, max);
        return NULL;
    }
    return g_steal_pointer(&bytes);
}

char *tool_read_text(const char *path, size_t max, Error **errp)
{
    g_autoptr(GByteArray) bytes = tool_read_file(path, max, errp);

    if (!bytes) {
        return NULL;
    }
    if (memchr(bytes->data, 0, bytes->len)) {
        error_setg(errp, "%s has a NUL byte", path);
        return NULL;
    }
    return g_strndup((char *)bytes->data, bytes->len);
}

bool tool_parse_time(const char *text, int64_t *when, Error **errp)
{
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, utc);

    if (!time) {
        error_setg(errp, "'%s' is not a time like 2026-01-31T12:00:00Z", text);
        return false;
    }
    *when = g_date_time_to_unix(time);
    return true;
}

int tool_print_json(JSONWriter *w)
{
    printf("%s\n", json_writer_get(w));
    return TOOL_OK;
}

/* All output has to be written before success is claimed */
static int finish(int rc)
{
    if (ferror(stdout) || fflush(stdout) != 0) {
        error_report("cannot write to stdout: %s", strerror(errno));
        return rc == TOOL_OK ? TOOL_FAILED : rc;
    }
    return rc;
}

static int print_version(void)
{
    printf("%s version " QEMU_FULL_VERSION "\n", tool_name);
    return TOOL_OK;
}

static int run_command(const ToolCommand *commands, const char *name, int argc,
                       char **argv)
{
    for (const ToolCommand *c = commands; c->name; c++) {
        if (g_str_equal(name, c->name)) {
            argv[1] = argv[0]; /* for messages of getopt_long() */
            return c->run(argc - 1, argv + 1);
        }
    }
    if (*name) {
        error_report("there is no command '%s'", name);
    } else {
        error_report("a command is needed");
    }
    error_printf("Try '%s --help'.\n", tool_name);
    return TOOL_FAILED;
}

static bool is_option(const char *text, const char *brief, const char *full)
{
    return g_str_equal(text, brief) || g_str_equal(text, full);
}

int tool_main(const char *name, const char *usage,
              const ToolCommand *commands, int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "";
    Error *err = NULL;

    error_init(argv[0]);
    qemu_init_exec_dir(argv[0]);
    tool_name = name;
    if (qcrypto_init(&err) < 0) {
        return tool_fail(err);
    }
    if (is_option(first, "-h", "--help")) {
        return finish(tool_usage(usage));
    }
    if (is_option(first, "-V", "--version")) {
        return finish(print_version());
    }
    return finish(run_command(commands, first, argc, argv));
}
