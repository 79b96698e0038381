/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Process 1 for images of the layout aws, where AWS's own cannot be had: it
 * finds what that one finds, /nsm.ko, /cmd, /env and /rootfs, and does the
 * same with it.  It also loads what AWS's kernel has built in and the
 * distribution's has not: modules in the container, in the order of their
 * names.
 */

#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../nitro-init/log.h"
#include "../../nitro-init/module.h"
#include "../../nitro-init/mount.h"
#include "../../nitro-init/vsock.h"

#define MODULES "/rootfs/lib/modules/" "*.ko"
#define NSM "/nsm.ko"
#define MAX_LINES 256
#define HEARTBEAT_ATTEMPTS 50

static void fail(const char *what)
{
    warn("%s", what);
    reboot(RB_AUTOBOOT);
}

static void load_modules(void)
{
    glob_t found;

    if (!glob(MODULES, 0, NULL, &found)) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            if (module_load(found.gl_pathv[i])) {
                warn("%s", found.gl_pathv[i]);
            }
        }
    }
    if (module_load(NSM)) {
        fail(NSM);
    }
    unlink(NSM);
}

/* Up to MAX_LINES lines, behind which @lines has NULL; the file is removed */
static void read_lines(const char *path, char **lines)
{
    FILE *file = fopen(path, "r");
    size_t size = 0, n = 0;

    if (!file) {
        fail(path);
    }
    while (n < MAX_LINES && getline(&lines[n], &size, file) >= 0) {
        lines[n][strcspn(lines[n], "\n")] = 0;
        n++;
        size = 0;
    }
    lines[n] = NULL;
    fclose(file);
    unlink(path);
}

static void run(char **words, char **variables)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    setpgid(0, 0);
    environ = variables;
    putenv((char *)"PATH=/sbin:/usr/sbin:/bin:/usr/bin");
    execvp(words[0], words);
    warn("%s", words[0]);
    _exit(127);
}

int main(void)
{
    static char *words[MAX_LINES + 1], *variables[MAX_LINES + 1];
    sigset_t all;
    pid_t child;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    mount_early();
    load_modules();
    if (vsock_heartbeat(HEARTBEAT_ATTEMPTS)) {
        fail("heartbeat");
    }
    read_lines("/env", variables);
    read_lines("/cmd", words);
    if (mount_root("/rootfs")) {
        fail("/rootfs");
    }
    mount_rest();
    child = fork();
    if (child == 0) {
        run(words, variables);
    }
    while (wait(NULL) != child) {
        continue;
    }
    reboot(RB_AUTOBOOT);
    return 0;
}
