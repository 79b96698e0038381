/*
 * qemu-eif: what its commands share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include "qemu/error-report.h"
#include "qemu/option-once.h"
#include "tool.h"

int tool_fail(Error *err)
{
    if (err) {
        error_report_err(err);
    }
    return TOOL_FAILED;
}

int tool_try_help(const char *command)
{
    error_printf("Try 'qemu-eif %s --help'.\n", command);
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

int tool_usage(const char *text)
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

int tool_image_open(ToolImage *t, const char *command, int argc, char **argv)
{
    Error *err = NULL;

    if (argc - optind != 1) {
        return tool_bad_usage(command, "one image file is needed, there are "
                              "%d", argc - optind);
    }
    t->path = argv[optind];
    /* Without waiting: whoever names a pipe shall be told, not kept */
    t->fd = qemu_open(t->path, O_RDONLY | O_NONBLOCK, &err);
    if (t->fd < 0) {
        return tool_fail(err);
    }
    t->image = eif_image_open_fd(t->fd, &err);
    if (!t->image || !eif_source_init_fd(&t->src, t->fd, &err)) {
        error_prepend(&err, "%s: ", t->path);
        error_report_err(err);
        return TOOL_BAD_IMAGE;
    }
    return TOOL_OK;
}

void tool_image_close(ToolImage *t)
{
    eif_image_free(t->image);
    if (t->fd >= 0) {
        qemu_close(t->fd);
    }
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

void tool_write_measurements(JSONWriter *w, const EifMeasurements *m)
{
    json_writer_start_object(w, "Measurements");
    json_writer_str(w, "HashAlgorithm", "Sha384 { ... }");
    for (size_t i = 0; i < EIF_NR_PCRS; i++) {
        g_autofree char *name = g_strdup_printf("PCR%u", eif_pcr_index[i]);
        g_autofree char *value =
            eif_pcr_str(eif_measurements_pcr(m, eif_pcr_index[i]));

        if (eif_pcr_index[i] != 8 || m->has_pcr8) {
            json_writer_str(w, name, value);
        }
    }
    json_writer_end_object(w);
}

int tool_print_json(JSONWriter *w)
{
    printf("%s\n", json_writer_get(w));
    return TOOL_OK;
}

int tool_finish(int rc)
{
    if (ferror(stdout) || fflush(stdout) != 0) {
        error_report("cannot write to stdout: %s", strerror(errno));
        return rc == TOOL_OK ? TOOL_FAILED : rc;
    }
    return rc;
}
