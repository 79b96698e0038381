/*
 * Enclave Image Format: files that are written as a whole or not at all
 *
 * A child process writes the file, as a user with few rights or as one that a
 * signal ends while it writes; what it leaves behind is looked at afterwards.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "hw/core/eif-output.h"
#include "tests/nitro/temp-tree.h"

#define ANOTHER_USER 54321
#define ANOTHER_GROUP 54322
#define SIZE (1 << 20)

static char *dir;
static char *path; /* of the file that is written */

typedef void ChildFunc(const void *opaque);

/* Returns the status of a process that runs @func and ends with 0 */
static int in_child(ChildFunc *func, const void *opaque)
{
    int status;
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        func(opaque);
        _exit(0);
    }
    g_assert_cmpint(RETRY_ON_EINTR(waitpid(pid, &status, 0)), ==, pid);
    return status;
}

static void write_former(void)
{
    temp_tree_put(dir, "file", "former");
}

static void remove_file(void)
{
    temp_tree_put(dir, "file", NULL);
}

/* Is there @former and nothing else, or nothing at all? */
static void assert_untouched(bool former)
{
    GDir *list = g_dir_open(dir, 0, NULL);
    const char *name;
    g_autofree char *text = NULL;

    while ((name = g_dir_read_name(list))) {
        g_assert_cmpstr(name, ==, "file");
        g_assert_true(former);
    }
    g_dir_close(list);
    if (former) {
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, "former");
    }
}

/* A file system without O_TMPFILE, such as many network file systems */
static void forbid_unnamed(void)
{
    enum { FLAGS = offsetof(struct seccomp_data, args[2]) +
                   4 * (G_BYTE_ORDER == G_BIG_ENDIAN) };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FLAGS),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { ARRAY_SIZE(code), code };

    g_assert_cmpint(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
    g_assert_cmpint(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), ==,
                    0);
    g_assert_cmpint(open(".", O_TMPFILE | O_RDWR, 0600), ==, -1);
    g_assert_cmpint(errno, ==, EOPNOTSUPP);
}

/* Signals */

typedef struct Ending {
    int signal;
    bool named;
} Ending;

static bool fill_and_end(void *dest, uint64_t size, void *opaque, Error **errp)
{
    const Ending *e = opaque;

    memset(dest, 'x', size);
    g_assert_cmpint(kill(getpid(), e->signal), ==, 0);
    return true;
}

static void write_and_end(const void *opaque)
{
    const Ending *e = opaque;
    struct rlimit none = { 0, 0 };

    setrlimit(RLIMIT_CORE, &none); /* SIGQUIT and SIGXFSZ write one */
    signal(e->signal, SIG_DFL); /* nohup and shells may have it ignored */
    if (e->named) {
        forbid_unnamed();
    }
    eif_output_file(path, SIZE, fill_and_end, (void *)e, &error_abort);
}

static void test_signals(const void *opaque)
{
    static const int signals[] = {
        SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ, SIGKILL,
    };
    bool named = !!opaque;

    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        Ending e = { signals[i], named };

        if (named && signals[i] == SIGKILL) {
            continue; /* nobody can do anything about it */
        }
        for (int former = 0; former < 2; former++) {
            int status;

            remove_file();
            if (former) {
                write_former();
            }
            status = in_child(write_and_end, &e);
            g_assert_true(WIFSIGNALED(status));
            g_assert_cmpint(WTERMSIG(status), ==, signals[i]);
            assert_untouched(former);
        }
    }
}

/* A signal that the program ignores or handles stays its own */
static volatile sig_atomic_t handled;

static void count(int signal_number)
{
    handled++;
}

static void write_handled(const void *opaque)
{
    Ending e = { SIGTERM, true };
    struct sigaction action = { .sa_handler = count };
    struct sigaction after;

    sigaction(SIGTERM, &action, NULL);
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_IGN);
    forbid_unnamed();
    eif_output_file(path, SIZE, fill_and_end, &e, &error_abort);
    e.signal = SIGHUP;
    eif_output_file(path, SIZE, fill_and_end, &e, &error_abort);
    g_assert_cmpint(handled, ==, 1);
    sigaction(SIGTERM, NULL, &after);
    g_assert_true(after.sa_handler == count);
    sigaction(SIGINT, NULL, &after);
    g_assert_true(after.sa_handler == SIG_DFL);
}

static void test_handled(void)
{
    g_autofree char *text = NULL;
    gsize len;

    write_former();
    g_assert_cmpint(in_child(write_handled, NULL), ==, 0);
    g_assert_true(g_file_get_contents(path, &text, &len, NULL));
    g_assert_cmpuint(len, ==, SIZE);
    write_former();
    assert_untouched(true);
}

/* Both ways to write */

static bool fill_not(void *dest, uint64_t size, void *opaque, Error **errp)
{
    error_setg(errp, "not today");
    return false;
}

static void write_several(const void *opaque)
{
    Error *err = NULL;

    if (opaque) {
        forbid_unnamed();
    }
    g_assert_false(eif_output_file(path, SIZE, fill_not, NULL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "not today");
    error_free(err);
    assert_untouched(false);
    eif_output_data(path, "other", 5, &error_abort); /* a new file */
    eif_output_data(path, "former", 6, &error_abort);
    eif_output_data(path, "", 0, &error_abort);
    eif_output_data(path, "former", 6, &error_abort);
    assert_untouched(true);
}

static void test_several(const void *opaque)
{
    remove_file();
    g_assert_cmpint(in_child(write_several, opaque), ==, 0);
}

/* Who may do what with the file */

typedef struct Rights {
    uid_t uid; /* of the former file */
    gid_t gid;
    mode_t mode;
    uid_t uid_after;
    gid_t gid_after;
    mode_t mode_after;
    bool named;
} Rights;

static void write_as_other(const void *opaque)
{
    const Rights *r = opaque;

    g_assert_cmpint(chdir(dir), ==, 0); /* what is above it may be closed */
    g_assert_cmpint(setgroups(0, NULL), ==, 0);
    g_assert_cmpint(setgid(ANOTHER_GROUP), ==, 0);
    g_assert_cmpint(setuid(ANOTHER_USER), ==, 0);
    if (r->named) {
        forbid_unnamed();
    }
    eif_output_data("file", "new", 3, &error_abort);
}

static void write_as_root(const void *opaque)
{
    const Rights *r = opaque;

    if (r->named) {
        forbid_unnamed();
    }
    eif_output_data(path, "new", 3, &error_abort);
}

static void check_rights(Rights r, ChildFunc *func)
{
    struct stat st;

    for (int named = 0; named < 2; named++) {
        r.named = named;
        write_former();
        g_assert_cmpint(chown(path, r.uid, r.gid), ==, 0);
        g_assert_cmpint(chmod(path, r.mode), ==, 0);
        g_assert_cmpint(in_child(func, &r), ==, 0);
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpuint(st.st_uid, ==, r.uid_after);
        g_assert_cmpuint(st.st_gid, ==, r.gid_after);
        g_assert_cmphex(st.st_mode & 0777, ==, r.mode_after);
    }
}

static void test_rights(void)
{
    const uid_t u = ANOTHER_USER;
    const gid_t g = ANOTHER_GROUP;
    const Rights root[] = {
        { 0, 1000, 0640, 0, 1000, 0640 },
        { 1000, 1001, 0664, 1000, 1001, 0664 },
        { 1000, 1001, 0604, 1000, 1001, 0604 },
    };
    const Rights other[] = {
        { u, g, 0640, u, g, 0640 },
        { 0, g, 0640, u, g, 0640 }, /* the group is its own */
        { u, 1000, 0640, u, g, 0600 },
        { u, 1000, 0664, u, g, 0644 },
        { u, 1000, 0604, u, g, 0600 }, /* that group must not read it */
        { u, 1000, 0666, u, g, 0666 },
        { 0, 1000, 0660, u, g, 0600 },
    };

    if (geteuid() != 0) {
        g_test_skip("only root can give a file to somebody else");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(root); i++) {
        check_rights(root[i], write_as_root);
    }
    g_assert_cmpint(chown(dir, u, -1), ==, 0);
    for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
        check_rights(other[i], write_as_other);
    }
    g_assert_cmpint(chown(dir, 0, -1), ==, 0);
}

/* Inputs */

static void test_check_input(void)
{
    static const struct {
        const char *output, *input, *message;
    } rows[] = {
        { "in", "in", "--output and --key name the same file: " },
        { "hard", "in", "--output and --key name the same file: " },
        { "soft", "in", "--output and --key name the same file: " },
        { "in", "soft", "--output and --key name the same file: " },
        { "sub/in", "sub", "--output names a file in the directory of --key" },
        { "soft-sub/in", "sub", "a file in the directory of --key" },
        { "sub/new", "sub" },
        { "in", "su" },
        { "in", "sub" },
        { "new", "new" },
        { "other", "in" },
        { "in", NULL },
    };
    g_autofree char *top = g_dir_make_tmp("eif-output-test-XXXXXX", NULL);

    g_assert_nonnull(top);
    temp_tree_put(top, "in", "1");
    temp_tree_put(top, "other", "1");
    temp_tree_put(top, "sub/in", "1");
    g_assert_cmpint(chdir(top), ==, 0);
    g_assert_cmpint(link("in", "hard"), ==, 0);
    g_assert_cmpint(symlink("in", "soft"), ==, 0);
    g_assert_cmpint(symlink("sub", "soft-sub"), ==, 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Error *err = NULL;
        bool ok = eif_output_check_input(rows[i].output, "--output",
                                         rows[i].input, "--key", &err);

        g_test_message("%s %s", rows[i].output, rows[i].input);
        g_assert_cmpint(ok, ==, !rows[i].message);
        if (!ok) {
            g_assert_nonnull(strstr(error_get_pretty(err), rows[i].message));
            error_free(err);
        }
    }
    g_assert_cmpint(chdir("/"), ==, 0);
    temp_tree_remove(top);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("eif-output-test-XXXXXX", NULL);
    g_assert_nonnull(dir);
    path = g_build_filename(dir, "file", NULL);

    g_test_add_data_func("/eif/output/several", NULL, test_several);
    g_test_add_data_func("/eif/output/several/named", dir, test_several);
    g_test_add_data_func("/eif/output/signals", NULL, test_signals);
    g_test_add_data_func("/eif/output/signals/named", dir, test_signals);
    g_test_add_func("/eif/output/handled", test_handled);
    g_test_add_func("/eif/output/rights", test_rights);
    g_test_add_func("/eif/output/check-input", test_check_input);
    rc = g_test_run();
    temp_tree_remove(dir);
    g_free(path);
    g_free(dir);
    return rc;
}
