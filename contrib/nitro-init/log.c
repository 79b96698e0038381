/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * One write() per line, so that lines of the application do not come between.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

static void __attribute__((format(printf, 1, 0)))
line(const char *format, va_list args, const char *reason)
{
    char text[1024];
    size_t len = snprintf(text, sizeof(text), "nitro-init: ");

    len += vsnprintf(text + len, sizeof(text) - len, format, args);
    if (reason && len < sizeof(text)) {
        len += snprintf(text + len, sizeof(text) - len, ": %s", reason);
    }
    if (len > sizeof(text) - 1) {
        len = sizeof(text) - 1;
    }
    text[len++] = '\n';
    if (write(STDERR_FILENO, text, len) < 0) {
        return;         /* without a console there is nobody to read it */
    }
}

void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    line(format, args, NULL);
    va_end(args);
}

void warn(const char *format, ...)
{
    const char *reason = strerror(errno);
    va_list args;

    va_start(args, format);
    line(format, args, reason);
    va_end(args);
}
