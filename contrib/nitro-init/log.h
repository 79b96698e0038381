/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Lines of the init about itself, on the console: "nitro-init: ..."
 */

#ifndef NITRO_INIT_LOG_H
#define NITRO_INIT_LOG_H

/* say: one line */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* warn: one line with the text of errno; the boot goes on */
void warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
