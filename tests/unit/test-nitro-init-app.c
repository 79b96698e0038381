/*
 * Unit tests of how the init starts, signals and reaps a program
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "contrib/nitro-init/app.h"

typedef struct Fixture {
    struct config config;
    struct account account;
    struct app app;
    char *dir;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
    config_init(&f->config);
    f->account = (struct account) { .uid = geteuid(), .gid = getegid(),
                                    .home = "/home/test" };
    f->app = (struct app) { .output = -1, .error = -1 };
    f->dir = g_dir_make_tmp("nitro-init-XXXXXX", NULL);
}

static void teardown(Fixture *f, gconstpointer data)
{
    close(f->app.output);
    close(f->app.error);
    config_free(&f->config);
    rmdir(f->dir);
    g_free(f->dir);
}

static void set_script(Fixture *f, const char *script)
{
    const char *words[] = { "sh", "-c", script };

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        strings_add(&f->config.command, words[i], strlen(words[i]));
    }
}

static void start(Fixture *f, const char *script)
{
    char why[512];

    set_script(f, script);
    g_assert_cmpint(app_start(&f->app, &f->config, &f->account, why,
                              sizeof(why)), ==, 0);
}

/* All of a stream until its end */
static char *read_all(int fd)
{
    GString *text = g_string_new(NULL);
    struct pollfd poll_fd = { fd, POLLIN, 0 };
    char data[4096];
    ssize_t n;

    while ((n = read(fd, data, sizeof(data))) != 0) {
        if (n > 0) {
            g_string_append_len(text, data, n);
        } else {
            g_assert_cmpint(errno, ==, EAGAIN);
            poll(&poll_fd, 1, -1);
        }
    }
    return g_string_free(text, FALSE);
}

/* The test's process has SIGCHLD blocked, as the init has */
static int wait_ended(Fixture *f)
{
    sigset_t set;
    int number;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    while (!f->app.ended) {
        app_reap(&f->app);
        if (!f->app.ended) {
            sigwait(&set, &number);
        }
    }
    return f->app.status;
}

static void assert_output(Fixture *f, const char *script, const char *wanted)
{
    g_autofree char *text = NULL;

    start(f, script);
    text = read_all(f->app.output);
    g_assert_cmpstr(text, ==, wanted);
    g_assert_cmpint(wait_ended(f), ==, 0);
}

static void test_exit(Fixture *f, gconstpointer data)
{
    g_autofree char *out = NULL, *err = NULL;

    start(f, "echo out; echo err >&2; exit 7");
    out = read_all(f->app.output);
    err = read_all(f->app.error);
    g_assert_cmpstr(out, ==, "out\n");
    g_assert_cmpstr(err, ==, "err\n");
    g_assert_cmpint(WEXITSTATUS(wait_ended(f)), ==, 7);
}

static void test_environment(Fixture *f, gconstpointer data)
{
    static const char *const variables[] = { "A=one two", "A=last",
                                             "PATH=/bin:/usr/bin" };

    for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
        strings_add(&f->config.environment, variables[i],
                    strlen(variables[i]));
    }
    setenv("NITRO_INIT_LEAK", "yes", 1);
    assert_output(f, "echo $A,$HOME,$PATH,$NITRO_INIT_LEAK",
                  "last,/home/test,/bin:/usr/bin,\n");
}

static void test_default_path(Fixture *f, gconstpointer data)
{
    assert_output(f, "echo $PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:"
                  "/usr/bin:/sbin:/bin\n");
}

static void test_surroundings(Fixture *f, gconstpointer data)
{
    g_autofree char *wanted = NULL;
    struct rlimit files = { 65536, 65536 };

    /* Not everybody may raise this limit; the app then gets all there is */
    if (setrlimit(RLIMIT_NOFILE, &files)) {
        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &files), ==, 0);
    }
    f->config.umask = 027;
    f->config.cwd = g_build_filename(f->dir, "a", "b", NULL);
    wanted = g_strdup_printf("%s\n0027\n%ju\n0\n", f->config.cwd,
                             (uintmax_t)files.rlim_max);
    assert_output(f, "pwd; umask; ulimit -n; ulimit -c", wanted);
    g_assert_cmpint(rmdir(f->config.cwd), ==, 0);
    *strrchr(f->config.cwd, '/') = 0;
    g_assert_cmpint(rmdir(f->config.cwd), ==, 0);
}

/*
 * A session and a process group of its own, no signal blocked or ignored, but
 * for 32: libc's posix_spawn(), which may have started this test, ignores it
 */
static void test_process(Fixture *f, gconstpointer data)
{
    assert_output(f, "cut -d' ' -f1,5,6 /proc/self/stat | { read p g s;"
                  " [ $g = $$ ] && [ $s = $$ ] && echo leader; };"
                  " sed -nE '/^Sig(Blk|Ign):/s/8(0000000)$/0\\1/;"
                  "          /^Sig(Blk|Ign):/p' /proc/self/status",
                  "leader\nSigBlk:\t0000000000000000\n"
                  "SigIgn:\t0000000000000000\n");
}

static void assert_fails(Fixture *f, const char *words)
{
    char why[512] = "";

    g_assert_cmpint(app_start(&f->app, &f->config, &f->account, why,
                              sizeof(why)), ==, -1);
    g_assert_nonnull(strstr(why, words));
    g_assert_cmpint(f->app.pid, ==, 0);
    g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
}

static void test_no_program(Fixture *f, gconstpointer data)
{
    strings_add(&f->config.command, "/nonexistent", 12);
    assert_fails(f, "cannot run '/nonexistent': No such file");
}

static void test_no_directory(Fixture *f, gconstpointer data)
{
    set_script(f, "true");
    f->config.cwd = g_strdup("/dev/null/x");
    assert_fails(f, "cannot enter the working directory '/dev/null/x': ");
}

/* No process may become user -1, whatever its rights */
static void test_no_user(Fixture *f, gconstpointer data)
{
    set_script(f, "true");
    f->config.user = g_strdup("web:data");
    f->account.uid = -1;
    assert_fails(f, "cannot become the configured user 'web:data': ");
}

/* The cause has to be left of a frame's 255 bytes */
static void test_long_name(Fixture *f, gconstpointer data)
{
    g_autofree char *name = g_strnfill(4000, 'x');

    strings_add(&f->config.command, name, strlen(name));
    assert_fails(f, "xxx': File name too long");
}

static void test_signal(Fixture *f, gconstpointer data)
{
    char byte;

    start(f, "trap 'exit 3' TERM; echo; while :; do sleep 0.01; done");
    while (read(f->app.output, &byte, 1) != 1) {
        struct pollfd poll_fd = { f->app.output, POLLIN, 0 };

        poll(&poll_fd, 1, -1);
    }
    app_signal(&f->app, SIGTERM);
    g_assert_cmpint(WEXITSTATUS(wait_ended(f)), ==, 3);
}

static void test_kill(Fixture *f, gconstpointer data)
{
    start(f, "sleep 1000 & exec sleep 1000");
    app_signal(&f->app, SIGKILL);
    g_assert_true(WIFSIGNALED(wait_ended(f)));
    g_assert_cmpint(WTERMSIG(f->app.status), ==, SIGKILL);
}

/* Children of others become those of process 1, which must bury them */
static void test_orphans(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;

    g_assert_cmpint(prctl(PR_SET_CHILD_SUBREAPER, 1), ==, 0);
    start(f, "for i in 1 2 3; do (true & ); done; exit 0");
    text = read_all(f->app.output);
    wait_ended(f);
    while (waitpid(-1, NULL, WNOHANG) >= 0) {
        app_reap(&f->app);
    }
    g_assert_cmpint(errno, ==, ECHILD);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*test)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "exit", test_exit }, { "environment", test_environment },
        { "default-path", test_default_path },
        { "surroundings", test_surroundings }, { "process", test_process },
        { "no-program", test_no_program },
        { "no-directory", test_no_directory },
        { "no-user", test_no_user }, { "long-name", test_long_name },
        { "signal", test_signal },
        { "kill", test_kill }, { "orphans", test_orphans },
    };
    sigset_t set;

    g_test_init(&argc, &argv, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/init-app/%s",
                                                tests[i].name);

        g_test_add(path, Fixture, NULL, setup, tests[i].test, teardown);
    }
    return g_test_run();
}
