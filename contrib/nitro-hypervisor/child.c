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
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "child.h"

#define READ_SIZE  (64 * 1024)
#define LOG_MAX    (1024 * 1024)
#define LAST_WORDS 512
/* Descriptors a child can get */
#define MAX_KEEP   11
/* More than any answer of the monitor that matters */
#define LINE_MAX_BYTES  4096

/* One stream of output of the process */
typedef struct Output {
    NhvChild *child;
    int fd;
    guint source;
    void (*take)(NhvChild *child, const char *buf, size_t len);
} Output;

struct NhvChild {
    const NhvChildOps *ops;
    void *opaque;
    pid_t pid;
    guint exit_source;
    guint kill_source;
    Output serial;
    Output messages;
    Output monitor;
    GString *monitor_line;
    bool gave_up;
    char *kvm_words;            /* first line that names KVM, or NULL */
    int log_fd;
    size_t logged;
    char *log_path;             /* NULL when it is to be kept */
    GString *last_words;
    char *program;
    int *exec_errno;            /* written by the process when exec fails */
};

static void take_serial(NhvChild *child, const char *buf, size_t len)
{
    child->ops->serial(child->opaque, buf, len);
}

/* The reason comes before a long dump of registers */
static void note_kvm_words(NhvChild *child, const char *buf, size_t len)
{
    g_autofree char *text = g_strndup(buf, len);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line && !child->kvm_words; line++) {
        if (strstr(*line, "KVM") || strstr(*line, "kvm")) {
            child->kvm_words = g_strdup(*line);
        }
    }
}

static void take_message(NhvChild *child, const char *buf, size_t len)
{
    size_t room = MIN(len, LOG_MAX - child->logged);

    if (room && child->log_fd >= 0) {
        child->logged += MAX(0, RETRY_ON_EINTR(write(child->log_fd, buf,
                                                     room)));
    }
    if (!child->kvm_words) {
        note_kvm_words(child, buf, len);
    }
    g_string_append_len(child->last_words, buf, len);
    if (child->last_words->len > LAST_WORDS) {
        g_string_erase(child->last_words, 0,
                       child->last_words->len - LAST_WORDS);
    }
}

static void ask_monitor(NhvChild *child, const char *command)
{
    g_autofree char *line = g_strdup_printf("{\"execute\": \"%s\"}\n",
                                            command);
    ssize_t n = RETRY_ON_EINTR(send(child->monitor.fd, line, strlen(line),
                                    MSG_NOSIGNAL | MSG_DONTWAIT));

    (void)n;    /* a QEMU that has gone is noticed by its exit */
}

/*
 * An accelerator that cannot run a guest pauses it, and nobody would resume it.
 * The stop of a debugger has another status.
 */
static void take_answer(NhvChild *child, const QDict *answer)
{
    const char *event = qdict_get_try_str(answer, "event");
    QDict *result = qobject_to(QDict, qdict_get(answer, "return"));
    const char *status = result ? qdict_get_try_str(result, "status") : NULL;

    if (!g_strcmp0(event, "STOP")) {
        ask_monitor(child, "query-status");
    } else if (!g_strcmp0(status, "internal-error") && child->pid) {
        child->gave_up = true;
        kill(child->pid, SIGKILL);
    }
}

static void monitor_line(NhvChild *child, const char *line)
{
    QObject *object = qobject_from_json(line, NULL);
    QDict *answer = qobject_to(QDict, object);

    if (answer) {
        take_answer(child, answer);
    }
    qobject_unref(object);
}

static void take_monitor(NhvChild *child, const char *buf, size_t len)
{
    GString *line = child->monitor_line;

    for (size_t i = 0; i < len; i++) {
        if (buf[i] == '\n') {
            monitor_line(child, line->str);
            g_string_truncate(line, 0);
        } else if (line->len < LINE_MAX_BYTES) {
            g_string_append_c(line, buf[i]);
        }
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

static void output_open(NhvChild *child, Output *output, int fd,
                        void (*take)(NhvChild *, const char *, size_t))
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
static void tell_exec_failure(NhvChild *child)
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
    NhvChild *child = opaque;

    child->exit_source = 0;
    child->pid = 0;
    g_clear_handle_id(&child->kill_source, g_source_remove);
    output_drain(&child->serial);
    output_drain(&child->messages);
    output_close(&child->monitor);
    tell_exec_failure(child);
    child->ops->exited(child->opaque, status);
}

static gboolean child_kill(gpointer opaque)
{
    NhvChild *child = opaque;

    child->kill_source = 0;
    kill(child->pid, SIGKILL);
    return G_SOURCE_REMOVE;
}

void nhv_child_stop(NhvChild *child)
{
    if (child->pid && !child->kill_source) {
        kill(child->pid, SIGTERM);
        child->kill_source = g_timeout_add(NHV_CHILD_TERM_MS, child_kill,
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

static void G_NORETURN child_exec(const NhvChild *child, char **args,
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
    _exit(NHV_CHILD_NOT_RUN);
}

static bool child_fork(NhvChild *child, char **args, int message_fd,
                       const int *keep, int nr_keep, Error **errp)
{
    pid_t self = getpid();

    child->program = g_strdup(args[0]);
    child->exec_errno = mmap(NULL, sizeof(*child->exec_errno),
                             PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (child->exec_errno == MAP_FAILED) {
        child->exec_errno = NULL;
        error_setg_errno(errp, errno, "cannot share memory with a process");
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

static void log_open(NhvChild *child, const NhvChildConfig *config)
{
    g_autofree char *path = g_strdup_printf("%s/enclave-%016" PRIx64 ".log",
                                            config->opts->runtime_dir,
                                            config->slot_uid);

    /* Without a log the last words still say why */
    child->log_fd = qemu_create(path, O_WRONLY | O_TRUNC, 0600, NULL);
    if (!config->opts->keep_logs) {
        child->log_path = g_steal_pointer(&path);
    }
}

/* One stream from the child; @fd is set to its end of it */
static bool make_stream(NhvChild *child, Output *output, int *fd,
                        void (*take)(NhvChild *, const char *, size_t),
                        Error **errp)
{
    int pair[2];

    if (qemu_socketpair(PF_UNIX, SOCK_STREAM, 0, pair)) {
        error_setg_errno(errp, errno, "cannot create a socket");
        return false;
    }
    output_open(child, output, pair[0], take);
    *fd = pair[1];
    return true;
}

static bool make_pipe(NhvChild *child, int *fd, Error **errp)
{
    int messages[2];
    g_autoptr(GError) gerr = NULL;

    if (!g_unix_open_pipe(messages, FD_CLOEXEC, &gerr)) {
        error_setg(errp, "cannot create a pipe: %s", gerr->message);
        return false;
    }
    output_open(child, &child->messages, messages[0], take_message);
    *fd = messages[1];
    return true;
}

static bool make_streams(NhvChild *child, bool debug, NhvChildFds *fds,
                         int *message_fd, Error **errp)
{
    return make_pipe(child, message_fd, errp) &&
           make_stream(child, &child->monitor, &fds->monitor, take_monitor,
                       errp) &&
           (!debug || make_stream(child, &child->serial, &fds->serial,
                                  take_serial, errp));
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static int compare_fds(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Returns: how many descriptors the child gets; @keep lists them in order */
static int collect_fds(const NhvChildConfig *config,
                       const NhvChildFds *inherited, int *keep)
{
    const int fds[MAX_KEEP] = {
        STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, inherited->vsock,
        inherited->monitor, inherited->serial, config->image->fd,
        config->image->kernel_fd, config->image->initrd_fd, config->signer_fd,
        nhv_child_kernel(config),
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

static NhvChild *child_new(const NhvChildOps *ops, void *opaque)
{
    NhvChild *child = g_new0(NhvChild, 1);

    child->ops = ops;
    child->opaque = opaque;
    child->last_words = g_string_new(NULL);
    child->monitor_line = g_string_new(NULL);
    child->log_fd = child->serial.fd = child->messages.fd = -1;
    child->monitor.fd = -1;
    return child;
}

static bool child_run(NhvChild *child, const NhvChildConfig *config,
                      const NhvChildFds *fds, int message_fd, Error **errp)
{
    g_auto(GStrv) args = nhv_child_args(config, fds);
    int keep[MAX_KEEP], nr_keep = collect_fds(config, fds, keep);

    log_open(child, config);
    if (!child_fork(child, args, message_fd, keep, nr_keep, errp)) {
        return false;
    }
    /* Events come after the first only, and it may have stopped before */
    ask_monitor(child, "qmp_capabilities");
    ask_monitor(child, "query-status");
    return true;
}

NhvChild *nhv_child_start(const NhvChildConfig *config, int vsock_fd,
                          const NhvChildOps *ops, void *opaque,
                          Error **errp)
{
    NhvChild *child = child_new(ops, opaque);
    NhvChildFds fds = { .vsock = vsock_fd, .monitor = -1, .serial = -1 };
    int message_fd = -1;
    bool ok;

    ok = make_streams(child, config->debug, &fds, &message_fd, errp) &&
         child_run(child, config, &fds, message_fd, errp);
    close_fd(message_fd);
    close_fd(fds.monitor);
    close_fd(fds.serial);
    if (!ok) {
        nhv_child_free(child);
        return NULL;
    }
    return child;
}

const char *nhv_child_last_words(NhvChild *child)
{
    if (child->gave_up && child->kvm_words) {
        return child->kvm_words;
    }
    while (child->last_words->len &&
           child->last_words->str[child->last_words->len - 1] == '\n') {
        g_string_truncate(child->last_words, child->last_words->len - 1);
    }
    return child->last_words->str;
}

bool nhv_child_gave_up(const NhvChild *child)
{
    return child->gave_up;
}

void nhv_child_free(NhvChild *child)
{
    if (!child) {
        return;
    }
    assert(!child->pid);
    output_close(&child->serial);
    output_close(&child->messages);
    output_close(&child->monitor);
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
    g_free(child->kvm_words);
    g_string_free(child->last_words, TRUE);
    g_string_free(child->monitor_line, TRUE);
    g_free(child);
}
