/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The child prepares itself step by step; the step that fails is reported
 * through a pipe that exec() closes.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:" \
                     "/sbin:/bin"
#define MAX_FILES 65536

/* What the child could not do, to which object, and why */
struct failure {
    int err;
    char what[160];
};

static bool has_variable(const struct strings *environment, const char *name)
{
    return strings_variable(environment, name, strlen(name));
}

/* The last of several settings counts, as with a runtime */
static bool set_environment(const struct config *config,
                            const struct account *account)
{
    const struct strings *environment = &config->environment;

    clearenv();
    for (size_t i = 0; i < environment->count; i++) {
        char *copy = strdup(environment->item[i]);

        if (!copy || putenv(copy)) {
            return false;
        }
    }
    return (has_variable(environment, "PATH") ||
            !setenv("PATH", DEFAULT_PATH, 1)) &&
           (has_variable(environment, "HOME") ||
            !setenv("HOME", account->home, 1));
}

static void reset_signals(void)
{
    struct sigaction action = { .sa_handler = SIG_DFL };
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        sigaction(number, &action, NULL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Only a test's process may lack the right to raise its limit */
static bool set_limits(void)
{
    struct rlimit files = { MAX_FILES, MAX_FILES }, core = { 0, 0 };

    if (setrlimit(RLIMIT_NOFILE, &files) &&
        !getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    return !setrlimit(RLIMIT_CORE, &core);
}

static bool make_directories(const char *path)
{
    char *copy = strdup(path);

    for (char *p = copy; p && (p = strchr(p + 1, '/')); *p = '/') {
        *p = 0;
        mkdir(copy, 0755);
    }
    free(copy);
    return !mkdir(path, 0755) || errno == EEXIST;
}

static bool enter(const char *directory)
{
    return !directory ||
           (make_directories(directory) && !chdir(directory));
}

/* A test's process may lack the right to become what it is already */
static bool become(const struct account *account)
{
    if (account->uid == geteuid() && account->gid == getegid() &&
        !account->group_count) {
        return true;
    }
    return !setgroups(account->group_count, account->groups) &&
           !setgid(account->gid) && !setuid(account->uid);
}

static bool connect_streams(int output, int error)
{
    int null = open("/dev/null", O_RDONLY);

    return null >= 0 && dup2(null, 0) == 0 && dup2(output, 1) == 1 &&
           dup2(error, 2) == 2;
}

static struct failure failed(const char *what, const char *object)
{
    struct failure failure = { .err = errno };

    snprintf(failure.what, sizeof(failure.what), "%s '%.100s'", what, object);
    return failure;
}

/* Returns: only on failure */
static struct failure prepare_and_exec(const struct config *config,
                                       const struct account *account,
                                       int output, int error)
{
    char **argv = config->command.item;

    reset_signals();
    if (setsid() < 0) {
        return failed("start a session for", argv[0]);
    }
    if (!set_limits()) {
        return failed("set the limit", "core");
    }
    if (!enter(config->cwd)) {
        return failed("enter the working directory", config->cwd);
    }
    umask(config->umask);
    if (!become(account)) {
        return failed("become the configured user",
                      config->user ? config->user : "0");
    }
    if (!set_environment(config, account)) {
        return failed("set the environment of", argv[0]);
    }
    if (!connect_streams(output, error)) {
        return failed("connect standard streams to", "/dev/null and pipes");
    }
    execvp(argv[0], argv);
    return failed("run", argv[0]);
}

static void report_failure(int fd, const struct failure *failure)
{
    if (write(fd, failure, sizeof(*failure)) < 0) {
        _exit(126);     /* the parent sees an end without a report */
    }
    _exit(127);
}

/* Returns: whether the child has reported that it failed */
static bool read_failure(int fd, struct failure *failure)
{
    ssize_t n;

    do {
        n = read(fd, failure, sizeof(*failure));
    } while (n < 0 && errno == EINTR);
    return n == sizeof(*failure);
}

static void close_pair(int *pair)
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0) {
            close(pair[i]);
            pair[i] = -1;
        }
    }
}

static void close_pipes(int pipes[3][2])
{
    for (int i = 0; i < 3; i++) {
        close_pair(pipes[i]);
    }
}

/* Pipes for stdout, stderr and the child's report */
static bool open_pipes(int pipes[3][2])
{
    for (int i = 0; i < 3; i++) {
        if (pipe2(pipes[i], O_CLOEXEC)) {
            return false;
        }
    }
    return true;
}

static void close_write_ends(int pipes[3][2])
{
    for (int i = 0; i < 3; i++) {
        close(pipes[i][1]);
        pipes[i][1] = -1;
    }
}

/* The pipe's read end, which its owner closes */
static int take_read_end(int *pair)
{
    int fd = pair[0];

    fcntl(fd, F_SETFL, O_NONBLOCK);
    pair[0] = -1;
    return fd;
}

int app_start(struct app *app, const struct config *config,
              const struct account *account, char *why, size_t why_size)
{
    int pipes[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
    struct failure failure;
    bool has_failed;

    *app = (struct app) { .output = -1, .error = -1 };
    app->pid = open_pipes(pipes) ? fork() : -1;
    if (app->pid < 0) {
        snprintf(why, why_size, "no process: %s", strerror(errno));
        close_pipes(pipes);
        app->pid = 0;
        return -1;
    }
    if (!app->pid) {
        failure = prepare_and_exec(config, account, pipes[0][1],
                                   pipes[1][1]);
        report_failure(pipes[2][1], &failure);
    }
    close_write_ends(pipes);
    has_failed = read_failure(pipes[2][0], &failure);
    if (has_failed) {
        snprintf(why, why_size, "cannot %s: %s", failure.what,
                 strerror(failure.err));
        waitpid(app->pid, NULL, 0);
        app->pid = 0;
    } else {
        app->output = take_read_end(pipes[0]);
        app->error = take_read_end(pipes[1]);
    }
    close_pipes(pipes);
    return has_failed ? -1 : 0;
}

void app_reap(struct app *app)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == app->pid) {
            app->status = status;
            app->ended = true;
        }
    }
}

void app_signal(const struct app *app, int signal)
{
    if (app->pid > 0) {
        kill(-app->pid, signal);
    }
}
