/*
 * Nitro Enclaves accelerator: launches among faults
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include "nitro-fault-util.h"
#include "nitro-launch-util.h"
#include "tests/nitro/patience.h"
#include "tests/nitro/temp-tree.h"

static char *library;

/* Files around it */

char *launch_path(Launch *launch, const char *name)
{
    return g_build_filename(launch->dir, name, NULL);
}

void launch_set(Launch *launch, const char *name, const char *format, ...)
{
    g_autofree char *value = NULL;
    va_list args;

    va_start(args, format);
    value = g_strdup_vprintf(format, args);
    va_end(args);
    launch->env = g_environ_setenv(launch->env, name, value, true);
}

/* Not beside what the launch leaves there, but where nothing may be left */
static void make_empty_directory(Launch *launch)
{
    g_autofree char *empty = launch_path(launch, "empty");

    g_assert_cmpint(g_mkdir(empty, 0700), ==, 0);
    launch_set(launch, "TMPDIR", "%s", empty);
}

static void preload(Launch *launch)
{
    g_autofree char *asan_options = fake_driver_asan_options();

    launch_set(launch, "LD_PRELOAD", "%s", library);
    launch_set(launch, "ASAN_OPTIONS", "%s", asan_options);
}

Launch *launch_new(void)
{
    Launch *launch = g_new0(Launch, 1);

    launch->dir = g_dir_make_tmp("nitro-fault-XXXXXX", NULL);
    g_assert_nonnull(launch->dir);
    launch->env = g_get_environ();
    make_empty_directory(launch);
    preload(launch);
    launch_set(launch, "NE_FAKE_VSOCK", "%s", launch->dir);
    launch_set(launch, "NE_FAKE_LOG", "%s/log", launch->dir);
    launch_set(launch, "NE_FAKE_END", "%s/end", launch->dir);
    temp_tree_put(launch->dir, "log", "");
    return launch;
}

void launch_free(Launch *launch)
{
    g_assert_cmpint(launch->pid, ==, 0);
    temp_tree_remove(launch->dir);
    g_strfreev(launch->env);
    g_free(launch->dir);
    g_free(launch->said);
    g_free(launch->log);
    g_free(launch);
}

void write_kernel_file(const char *path, size_t size)
{
    g_autofree char *kernel = g_malloc(size);

    for (size_t i = 0; i < size; i++) {
        kernel[i] = i % 251 + 1;
    }
    write_kernel(path, kernel, size);
}

/* Processes */

/* In the child, before QEMU; whatever hangs is ended by a signal */
static void limit(gpointer opaque)
{
    Launch *launch = opaque;
    struct rlimit files = { launch->max_files, launch->max_files };

    alarm(PATIENCE_S);
    if (launch->max_files && setrlimit(RLIMIT_NOFILE, &files)) {
        _exit(126);
    }
}

static int open_in(Launch *launch, const char *name, int flags)
{
    g_autofree char *path = launch_path(launch, name);
    int fd = open(path, flags | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void put_input(Launch *launch)
{
    temp_tree_put(launch->dir, "end", launch->twice ? "17" : "");
    temp_tree_put(launch->dir, "in", "{'execute': 'qmp_capabilities'}\n"
                  "{'execute': 'system_reset'}\n");
}

static void spawn(Launch *launch, char **argv)
{
    g_autofree char *empty = launch_path(launch, "empty");
    int in = open_in(launch, "in", O_RDONLY);
    int out = open_in(launch, "out", O_WRONLY | O_CREAT);
    int err = open_in(launch, "err", O_WRONLY | O_CREAT);

    g_assert(g_spawn_async_with_fds(empty, argv, launch->env,
                                    G_SPAWN_DO_NOT_REAP_CHILD, limit, launch,
                                    &launch->pid, in, out, err, NULL));
    close(in);
    close(out);
    close(err);
}

void launch_start(Launch *launch, const char *format, ...)
{
    g_autofree char *qemu = g_canonicalize_filename(
        getenv("QTEST_QEMU_BINARY"), NULL);
    g_autofree char *more = NULL;
    g_autofree char *command = NULL;
    g_auto(GStrv) argv = NULL;
    va_list args;

    va_start(args, format);
    more = g_strdup_vprintf(format, args);
    va_end(args);
    command = g_strdup_printf("%s -accel nitro -display none -monitor none "
                              "-nodefaults -smp 2 %s %s", qemu,
                              launch->twice ? "-qmp stdio" : "", more);
    g_assert(g_shell_parse_argv(command, NULL, &argv, NULL));
    put_input(launch);
    spawn(launch, argv);
}

static char *read_file(Launch *launch, const char *name)
{
    g_autofree char *path = launch_path(launch, name);
    char *text = NULL;

    g_assert(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static void look_for_rest(Launch *launch)
{
    g_autofree char *empty = launch_path(launch, "empty");
    GDir *dir = g_dir_open(empty, 0, NULL);
    const char *name = g_dir_read_name(dir);

    if (name) {
        launch_fail(launch, name);
    }
    g_dir_close(dir);
    /* With too few files the log has gaps */
    if (!launch->max_files &&
        count_parts(launch->log, "CREATE_VM ret=0\n") !=
        count_parts(launch->log, "close\n")) {
        launch_fail(launch, "an enclave was not closed once");
    }
}

void launch_wait(Launch *launch)
{
    int status;

    g_assert_cmpint(waitpid(launch->pid, &status, 0), ==, launch->pid);
    g_spawn_close_pid(launch->pid);
    launch->pid = 0;
    launch->status = WIFEXITED(status) ? WEXITSTATUS(status)
                                       : 128 + WTERMSIG(status);
    launch->said = read_file(launch, "err");
    launch->log = read_file(launch, "log");
    look_for_rest(launch);
}

void launch_expect_no_children(void)
{
    pid_t pid = waitpid(-1, NULL, WNOHANG);

    g_assert_cmpint(pid, ==, -1);
    g_assert_cmpint(errno, ==, ECHILD);
}

/* Expectations */

void launch_fail(Launch *launch, const char *why)
{
    const char *fault = g_environ_getenv(launch->env, "NE_FAKE_FAULT");
    const char *fail = g_environ_getenv(launch->env, "NE_FAKE_FAIL");

    g_test_message("%s; %s %s, %u files, status %d", why, fail ?: "",
                   fault ?: "", launch->max_files, launch->status);
    g_test_message("%s", launch->log);
    g_test_message("%s", launch->said);
    g_test_fail();
}

void launch_expect(Launch *launch, int status)
{
    g_autofree char *why = NULL;

    if (launch->status != status) {
        why = g_strdup_printf("status is %d, expected is %d", launch->status,
                              status);
        launch_fail(launch, why);
    }
}

void launch_expect_said(Launch *launch, const char *part)
{
    g_autofree char *why = NULL;

    if (!strstr(launch->said, part)) {
        why = g_strdup_printf("lacks \"%s\"", part);
        launch_fail(launch, why);
    }
}

void launch_expect_remedy(Launch *launch, const char *part)
{
    const char *cause = strstr(launch->said, part);
    const char *remedy = cause ? strchr(cause, '\n') : NULL;

    launch_expect_said(launch, part);
    if (remedy && (!remedy[1] || g_str_has_prefix(remedy + 1, "qemu-"))) {
        launch_fail(launch, "no remedy follows the cause");
    }
    if (strstr(launch->said, "Unknown error")) {
        launch_fail(launch, "unknown error");
    }
}

/* Whatever QEMU starts and leaves behind becomes a child of this process */
bool launch_prepare(void)
{
    if (!qtest_has_accel("nitro")) {
        g_test_message("%s has no accelerator nitro",
                       getenv("QTEST_QEMU_BINARY"));
        return false;
    }
    library = fake_driver();
    g_assert(g_file_test(library, G_FILE_TEST_IS_REGULAR));
    g_assert_cmpint(prctl(PR_SET_CHILD_SUBREAPER, 1), ==, 0);
    return true;
}
