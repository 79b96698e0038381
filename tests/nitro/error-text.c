/*
 * What the user would read of an Error, for tests
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "monitor/monitor.h"
#include "error-text.h"

bool error_text_quiet;

static GString *output;

/* In place of stubs/error-printf.c */
int error_vprintf(const char *fmt, va_list ap)
{
    size_t before;

    if (error_text_quiet) {
        return 0;
    }
    if (!output) {
        return vfprintf(stderr, fmt, ap);
    }
    before = output->len;
    g_string_append_vprintf(output, fmt, ap);
    return output->len - before;
}

int error_vprintf_unless_qmp(const char *fmt, va_list ap)
{
    return error_vprintf(fmt, ap);
}

void error_text_begin(void)
{
    g_assert_null(output);
    output = g_string_new(NULL);
}

char *error_text_end(void)
{
    return g_string_free(g_steal_pointer(&output), false);
}

char *error_text(Error *err)
{
    g_autofree char *prefix = g_strdup_printf("%s: ", g_get_prgname());

    g_assert_nonnull(err);
    error_text_begin();
    error_report_err(err);
    if (g_str_has_prefix(output->str, prefix)) {
        g_string_erase(output, 0, strlen(prefix));
    }
    return error_text_end();
}

void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        g_test_message("\"%s\" lacks \"%s\"", text, part);
        g_test_fail();
    }
}
