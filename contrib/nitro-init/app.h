/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The application: one process, started as a container runtime starts it,
 * and everything it leaves behind.
 */

#ifndef NITRO_INIT_APP_H
#define NITRO_INIT_APP_H

#include <stdbool.h>
#include <sys/types.h>

#include "account.h"
#include "config.h"

struct app {
    pid_t pid;              /* also its process group; 0: not started */
    int output, error;      /* read ends of its stdout and stderr; -1: closed */
    bool ended;
    int status;             /* as of waitpid(), once ended */
};

/*
 * app_start: start the configured command
 *
 * The process leads a session and a process group of its own; has limits of
 * 65536 descriptors and no core files, the configured environment (PATH and
 * HOME are added if missing), directory (made if missing), umask, user and
 * groups.  Signals are as a fresh process has them.
 *
 * Returns: 0, or -1 with @why filled in: what could not be done in the
 * child, and why.  Does not block longer than exec() takes.
 */
int app_start(struct app *app, const struct config *config,
              const struct account *account, char *why, size_t why_size);

/* app_reap: collect all children that have ended, adopted ones too */
void app_reap(struct app *app);

/* app_signal: send @signal to the application's process group */
void app_signal(const struct app *app, int signal);

#endif
