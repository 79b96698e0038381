/*
 * The QEMU process that is an enclave
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib-unix.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include "qapi/error.h"
#include "qemu/sockets.h"
#include "child.h"

#define READ_SIZE  (64 * 1024)
#define LOG_MAX    (1024 * 1024)
#define LAST_WORDS 512
/* Descriptors a child can get */
#define MAX_KEEP   9

/* One stream of output of the process */
typedef struct Output {
    NitroChild *child;
    int fd;
    guint source;
    void (*take)(NitroChild *child, const char *buf, size_t len);
} Output;

struct NitroChild {
    const NitroChildOps *ops;
    void *opaque;
    pid_t pid;
    guint exit_source;
    guint kill_source;
    Output serial;
    Output messages;
    int log_fd;
    size_t logged;
    char *log_path;             /* NULL when it is to be kept */
    GString *last_words;
    char *program;
    int *exec_errno;            /* written by the process when exec fails */
};

static void take_serial(NitroChild *child, const char *buf, size_t len)
{
    child->ops->serial(child->opaque, buf, len);
}

static void take_message(NitroChild *child, const char *buf, size_t len)
{
    size_t room = MIN(len, LOG_MAX - child->logged);

    if (room && child->log_fd >= 0) {
        child->logged += MAX(0, RETRY_ON_EINTR(write(child->log_fd, buf,
                                                     room)));
    }
    g_string_append_len(child->last_words, buf, len);
    if (child->last_words->len > LAST_WORDS) {
        g_string_erase(child->last_words, 0,
                       child->last_words->len - LAST_WORDS);
    }
}

/* Returns: how much was read, 0 at the end of the stream, or -errno */
static ssize_t output_read(Output *output)
{
    g_autofree char *buf = g_malloc(READ_SIZE);
    ssize_t n = RETRY_ON_EINTR(read(output->fd, buf, READ_SIZE));

    if (n < 0) {
        return -errno;
    }
    if (n) {
        output->take(output->child, buf, n);
    }
    return n;
}

static gboolean output_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    Output *output = opaque;
    ssize_t n = output_read(output);

    if (n > 0 || n == -EAGAIN) {
        return G_SOURCE_CONTINUE;
    }
    output->source = 0;
    return G_SOURCE_REMOVE;
}

static void output_open(NitroChild *child, Output *output, int fd,
                        void (*take)(NitroChild *, const char *, size_t))
{
    *output = (Output) { .child = child, .fd = fd, .take = take };
    if (fd >= 0) {
        g_unix_set_fd_nonblocking(fd, true, NULL);
        output->source = g_unix_fd_add(fd, G_IO_IN, output_ready, output);
    }
}

static void output_close(Output *output)
{
    g_clear_handle_id(&output->source, g_source_remove);
    if (output->fd >= 0) {
        close(output->fd);
        output->fd = -1;
    }
}

static void output_drain(Output *output)
{
    while (output->fd >= 0 && output_read(output) > 0) {
        /* until it is empty: the writer is gone */
    }
    output_close(output);
}

/* The process itself may not format a message: it is a copy of this one */
static void tell_exec_failure(NitroChild *child)
{
    g_autofree char *text = NULL;

    if (*child->exec_errno) {
        text = g_strdup_printf("cannot run %s: %s", child->program,
                               strerror(*child->exec_errno));
        take_message(child, text, strlen(text));
    }
}

static void child_exited(GPid pid, gint status, gpointer opaque)
{
    NitroChild *child = opaque;

    child->exit_source = 0;
    child->pid = 0;
    g_clear_handle_id(&child->kill_source, g_source_remove);
    output_drain(&child->serial);
    output_drain(&child->messages);
    tell_exec_failure(child);
    child->ops->exited(child->opaque, status);
}

static gboolean child_kill(gpointer opaque)
{
    NitroChild *child = opaque;

    child->kill_source = 0;
    kill(child->pid, SIGKILL);
    return G_SOURCE_REMOVE;
}

void nitro_child_stop(NitroChild *child)
{
    if (child->pid && !child->kill_source) {
        kill(child->pid, SIGTERM);
        child->kill_source = g_timeout_add(NITRO_CHILD_TERM_MS, child_kill,
                                           child);
    }
}

/*
 * From here to exec() the process is a copy of one that may have had locks
 * taken by other threads: async-signal-safe calls only, see signal-safety(7).
 */

static void close_range_of_fds(int first, int last)
{
    int end = MIN(last, sysconf(_SC_OPEN_MAX) - 1);

#ifdef CONFIG_CLOSE_RANGE
    if (first <= last && close_range(first, last, 0) == 0) {
        return;
    }
#endif
    while (first <= end) {
        close(first++);
    }
}

/* libvhost-user has descriptors that are not close-on-exec */
static bool keep_fds(const int *keep, int nr_keep)
{
    int i, next = 0;

    for (i = 0; i < nr_keep; i++) {
        if (fcntl(keep[i], F_SETFD, 0)) {
            return false;
        }
        close_range_of_fds(next, keep[i] - 1);
        next = keep[i] + 1;
    }
    close_range_of_fds(next, INT_MAX);
    return true;
}

static bool become_child(pid_t parent, int message_fd)
{
    int null = open("/dev/null", O_RDWR);

    return !prctl(PR_SET_PDEATHSIG, SIGKILL) && getppid() == parent &&
           dup2(null, STDIN_FILENO) >= 0 &&
           dup2(message_fd, STDOUT_FILENO) >= 0 &&
           dup2(message_fd, STDERR_FILENO) >= 0;
}

static void G_NORETURN child_exec(const NitroChild *child, char **args,
                                  pid_t parent, int message_fd,
                                  const int *keep, int nr_keep)
{
    sigset_t none;

    if (become_child(parent, message_fd) && keep_fds(keep, nr_keep)) {
        setpgid(0, 0);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        execv(args[0], args);
    }
    *child->exec_errno = errno;
    _exit(NITRO_CHILD_NOT_RUN);
}

static bool child_fork(NitroChild *child, char **args, int message_fd,
                       const int *keep, int nr_keep, Error **errp)
{
    pid_t self = getpid();

    child->program = g_strdup(args[0]);
    child->exec_errno = mmap(NULL, sizeof(*child->exec_errno),
                             PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (child->exec_errno == MAP_FAILED) {
        child->exec_errno = NULL;
        error_setg_errno(errp, errno, "cannot create a process");
        return false;
    }
    child->pid = fork();
    if (child->pid == 0) {
        child_exec(child, args, self, message_fd, keep, nr_keep);
    }
    if (child->pid < 0) {
        child->pid = 0;
        error_setg_errno(errp, errno, "cannot create a process");
        return false;
    }
    child->exit_source = g_child_watch_add(child->pid, child_exited, child);
    return true;
}

static void log_open(NitroChild *child, const NitroChildConfig *config)
{
    g_autofree char *path = g_strdup_printf("%s/enclave-%016" PRIx64 ".log",
                                            config->opts->runtime_dir,
                                            config->slot_uid);

    /* Without a log the last words still tell */
    child->log_fd = qemu_create(path, O_WRONLY | O_TRUNC, 0600, NULL);
    if (!config->opts->keep_logs) {
        child->log_path = g_steal_pointer(&path);
    }
}

static bool make_streams(NitroChild *child, bool debug, int *serial_fd,
                         int *message_fd, Error **errp)
{
    int serial[2] = { -1, -1 }, messages[2];
    g_autoptr(GError) gerr = NULL;

    if (!g_unix_open_pipe(messages, FD_CLOEXEC, &gerr)) {
        error_setg(errp, "cannot create a pipe: %s", gerr->message);
        return false;
    }
    if (debug &&
        qemu_socketpair(PF_UNIX, SOCK_STREAM, 0, serial)) {
        error_setg_errno(errp, errno, "cannot create a socket");
        close(messages[0]);
        close(messages[1]);
        return false;
    }
    output_open(child, &child->serial, serial[0], take_serial);
    output_open(child, &child->messages, messages[0], take_message);
    *serial_fd = serial[1];
    *message_fd = messages[1];
    return true;
}

static int compare_fds(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Returns: how many descriptors the child gets; @keep lists them in order */
static int collect_fds(const NitroChildConfig *config, int vsock_fd,
                       int serial_fd, int *keep)
{
    const int fds[MAX_KEEP] = {
        STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, vsock_fd, serial_fd,
        config->image->fd, config->image->kernel_fd, config->image->initrd_fd,
        config->signer_fd,
    };
    int i, n = 0;

    for (i = 0; i < MAX_KEEP; i++) {
        if (fds[i] >= 0) {
            keep[n++] = fds[i];
        }
    }
    qsort(keep, n, sizeof(*keep), compare_fds);
    return n;
}

NitroChild *nitro_child_start(const NitroChildConfig *config, int vsock_fd,
                              const NitroChildOps *ops, void *opaque,
                              Error **errp)
{
    NitroChild *child = g_new0(NitroChild, 1);
    g_auto(GStrv) args = NULL;
    int serial_fd, message_fd;
    int keep[MAX_KEEP], nr_keep;
    bool ok;

    child->ops = ops;
    child->opaque = opaque;
    child->last_words = g_string_new(NULL);
    child->log_fd = child->serial.fd = child->messages.fd = -1;
    if (!make_streams(child, config->debug, &serial_fd, &message_fd, errp)) {
        nitro_child_free(child);
        return NULL;
    }
    log_open(child, config);
    args = nitro_child_args(config, vsock_fd, serial_fd);
    nr_keep = collect_fds(config, vsock_fd, serial_fd, keep);
    ok = child_fork(child, args, message_fd, keep, nr_keep, errp);
    close(message_fd);
    if (serial_fd >= 0) {
        close(serial_fd);
    }
    if (!ok) {
        nitro_child_free(child);
        return NULL;
    }
    return child;
}

const char *nitro_child_last_words(NitroChild *child)
{
    while (child->last_words->len &&
           child->last_words->str[child->last_words->len - 1] == '\n') {
        g_string_truncate(child->last_words, child->last_words->len - 1);
    }
    return child->last_words->str;
}

void nitro_child_free(NitroChild *child)
{
    if (!child) {
        return;
    }
    assert(!child->pid);
    output_close(&child->serial);
    output_close(&child->messages);
    if (child->log_fd >= 0) {
        close(child->log_fd);
    }
    if (child->log_path) {
        unlink(child->log_path);
        g_free(child->log_path);
    }
    if (child->exec_errno) {
        munmap(child->exec_errno, sizeof(*child->exec_errno));
    }
    g_free(child->program);
    g_string_free(child->last_words, TRUE);
    g_free(child);
}
