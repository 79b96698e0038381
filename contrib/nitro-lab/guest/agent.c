/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * lab agent: process 1 of the parent guest once the init script is done.
 * Runs programs for the host over one virtio-serial port; nitro_lab/agent.py
 * is the other end.
 *
 * Frame, little-endian:   u32 payload size, u32 job, u32 type, payload
 *
 *   host to guest   EXEC    u32 flags (1: on a terminal), argv NUL separated
 *                   STDIN   bytes; none: end of input
 *                   SIGNAL  u32 number, for the job's process group
 *   guest to host   HELLO   job 0, once the port is open
 *                   STDOUT, STDERR  bytes
 *                   EXIT    u32 wait status; the job number is free again
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"

#define PORT_NAME "org.qemu.nitro-lab"
#define MAX_JOBS  64
#define MAX_FRAME (1 << 20)

enum {
    EXEC = 1, STDIN, SIGNAL,
    HELLO = 16, STDOUT, STDERR, EXIT,
};

struct frame {
    uint32_t size, job, type;
};

struct job {
    uint32_t id;
    pid_t pid;              /* 0: slot is free */
    int in, out, err;       /* our ends; -1 closed */
    char *queue;            /* input the job has not read yet */
    size_t queued, taken;   /* in @queue, and how much of it is gone */
    bool eof;               /* close @in once @queue is empty */
};

static struct job jobs[MAX_JOBS];
static int port;

static void send_frame(uint32_t id, uint32_t type, const void *data,
                       size_t size)
{
    struct frame f = { .size = size, .job = id, .type = type };

    if (!write_all(port, &f, sizeof(f)) || !write_all(port, data, size)) {
        complain("command port");
    }
}

static struct job *find_job(uint32_t id)
{
    for (struct job *j = jobs; j < jobs + MAX_JOBS; j++) {
        if (j->pid && j->id == id) {
            return j;
        }
    }
    return NULL;
}

static struct job *free_job(void)
{
    for (struct job *j = jobs; j < jobs + MAX_JOBS; j++) {
        if (!j->pid) {
            return j;
        }
    }
    return NULL;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

static void end_job(struct job *j)
{
    close_fd(&j->in);
    close_fd(&j->out);
    close_fd(&j->err);
    free(j->queue);
    memset(j, 0, sizeof(*j));
}

/* Starting jobs */

static void run_child(char **argv, int in, int out, int err, bool tty)
{
    sigset_t none;

    setsid();
    if (tty) {
        ioctl(in, TIOCSCTTY, 0);
    }
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[0], argv);
    complain(argv[0]);
    _exit(127);
}

/* theirs[]: the child's stdin, stdout, stderr */
static bool open_pipes(struct job *j, int theirs[3])
{
    int in[2], out[2], err[2];

    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) ||
        pipe2(err, O_CLOEXEC)) {
        return false;
    }
    theirs[0] = in[0];
    theirs[1] = out[1];
    theirs[2] = err[1];
    j->in = in[1];
    j->out = out[0];
    j->err = err[0];
    return true;
}

static bool open_terminal(struct job *j, int theirs[3])
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (master < 0 || grantpt(master) || unlockpt(master)) {
        return false;
    }
    theirs[0] = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    theirs[1] = fcntl(theirs[0], F_DUPFD_CLOEXEC, 0);
    theirs[2] = fcntl(theirs[0], F_DUPFD_CLOEXEC, 0);
    j->out = master;
    j->in = fcntl(master, F_DUPFD_CLOEXEC, 0);
    j->err = -1;
    return theirs[0] >= 0;
}

static void spawn(struct job *j, char **argv, bool tty)
{
    int theirs[3];

    if (!(tty ? open_terminal(j, theirs) : open_pipes(j, theirs))) {
        complain("pipe");
        return;
    }
    fcntl(j->in, F_SETFL, O_NONBLOCK);
    fcntl(j->out, F_SETFL, O_NONBLOCK);
    if (j->err >= 0) {
        fcntl(j->err, F_SETFL, O_NONBLOCK);
    }
    j->pid = fork();
    if (!j->pid) {
        run_child(argv, theirs[0], theirs[1], theirs[2], tty);
    }
    for (int i = 0; i < 3; i++) {
        close(theirs[i]);
    }
}

static void exec_frame(uint32_t id, char *data, size_t size)
{
    struct job *j = free_job();
    char *argv[256];
    size_t argc = 0;
    uint32_t flags;
    uint32_t failed = 127 << 8;

    memcpy(&flags, data, sizeof(flags));
    for (char *p = data + 4; p < data + size && argc < 255; argc++) {
        argv[argc] = p;
        p += strlen(p) + 1;
    }
    argv[argc] = NULL;
    if (j && argc) {
        j->id = id;
        spawn(j, argv, flags & 1);
    }
    if (!j || j->pid <= 0) {
        send_frame(id, EXIT, &failed, sizeof(failed));
    }
}

/* Running jobs */

static void flush_input(struct job *j)
{
    while (j->taken < j->queued) {
        ssize_t n = write(j->in, j->queue + j->taken, j->queued - j->taken);

        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0) {
            j->eof = true;
            break;
        }
        j->taken += n;
    }
    j->queued = j->taken = 0;
    if (j->eof) {
        close_fd(&j->in);
    }
}

static void stdin_frame(struct job *j, const char *data, size_t size)
{
    if (j->in < 0) {
        return;
    }
    if (size) {
        j->queue = realloc(j->queue, j->queued + size);
        memcpy(j->queue + j->queued, data, size);
        j->queued += size;
    } else {
        j->eof = true;
    }
    flush_input(j);
}

/* Forward what is readable now; false at the end of the stream */
static bool forward(struct job *j, int *fd, uint32_t type)
{
    char buf[65536];
    ssize_t n = read(*fd, buf, sizeof(buf));

    if (n > 0) {
        send_frame(j->id, type, buf, n);
        return true;
    }
    if (n == 0 || errno != EAGAIN) {
        close_fd(fd);
    }
    return false;
}

/* All that the job has written before its end */
static void drain(struct job *j)
{
    bool more = true;

    while (more) {
        more = j->out >= 0 && forward(j, &j->out, STDOUT);
    }
    for (more = true; more; ) {
        more = j->err >= 0 && forward(j, &j->err, STDERR);
    }
}

static void reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (struct job *j = jobs; j < jobs + MAX_JOBS; j++) {
            if (j->pid != pid) {
                continue;
            }
            drain(j);
            send_frame(j->id, EXIT, &status, sizeof(status));
            end_job(j);
        }
    }
}

static void handle_frame(struct frame *f, char *data)
{
    struct job *j = find_job(f->job);

    if (f->type == EXEC && !j && f->size > 4) {
        exec_frame(f->job, data, f->size);
    } else if (f->type == STDIN && j) {
        stdin_frame(j, data, f->size);
    } else if (f->type == SIGNAL && j && f->size == 4) {
        uint32_t signal_number;

        memcpy(&signal_number, data, 4);
        kill(-j->pid, signal_number);
    }
}

/* Reads what there is and handles all complete frames */
static void read_port(void)
{
    static char buf[MAX_FRAME + sizeof(struct frame)];
    static size_t have;
    struct frame f;
    ssize_t n = read(port, buf + have, sizeof(buf) - have);

    if (n <= 0) {
        usleep(20000);      /* the host is away */
        return;
    }
    have += n;
    while (have >= sizeof(f)) {
        size_t total;

        memcpy(&f, buf, sizeof(f));
        total = sizeof(f) + f.size;
        if (f.size > MAX_FRAME) {
            fprintf(stderr, "lab: frame of %u bytes\n", f.size);
            exit(1);
        }
        if (have < total) {
            return;
        }
        handle_frame(&f, buf + sizeof(f));
        have -= total;
        memmove(buf, buf + total, have);
    }
}

static int open_port(void)
{
    for (int tries = 0; tries < 1000; tries++) {
        for (int i = 1; i < 8; i++) {
            char path[64], name[64] = "";
            int fd;

            snprintf(path, sizeof(path),
                     "/sys/class/virtio-ports/vport0p%d/name", i);
            fd = open(path, O_RDONLY);
            if (fd >= 0 && read(fd, name, sizeof(name) - 1) > 0 &&
                !strncmp(name, PORT_NAME, strlen(PORT_NAME))) {
                close(fd);
                snprintf(path, sizeof(path), "/dev/vport0p%d", i);
                return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
            }
            if (fd >= 0) {
                close(fd);
            }
        }
        usleep(10000);
    }
    errno = ENODEV;
    return -1;
}

/* One round: wait for the port, a finished child or a job's streams */
static void serve(int children)
{
    struct pollfd fds[2 + 3 * MAX_JOBS];

    fds[0] = (struct pollfd) { .fd = port, .events = POLLIN };
    fds[1] = (struct pollfd) { .fd = children, .events = POLLIN };
    for (int i = 0; i < MAX_JOBS; i++) {
        struct job *j = &jobs[i];
        struct pollfd *p = &fds[2 + 3 * i];

        p[0] = (struct pollfd) { j->pid ? j->out : -1, POLLIN, 0 };
        p[1] = (struct pollfd) { j->pid ? j->err : -1, POLLIN, 0 };
        p[2] = (struct pollfd) { j->queued ? j->in : -1, POLLOUT, 0 };
    }
    if (poll(fds, 2 + 3 * MAX_JOBS, -1) < 0) {
        return;
    }
    for (int i = 0; i < MAX_JOBS; i++) {
        struct pollfd *p = &fds[2 + 3 * i];

        if (p[0].revents) {
            forward(&jobs[i], &jobs[i].out, STDOUT);
        }
        if (p[1].revents) {
            forward(&jobs[i], &jobs[i].err, STDERR);
        }
        if (p[2].revents) {
            flush_input(&jobs[i]);
        }
    }
    if (fds[1].revents) {
        struct signalfd_siginfo info;

        if (read(children, &info, sizeof(info)) > 0) {
            reap();
        }
    }
    if (fds[0].revents) {
        read_port();
    }
}

int agent_main(int argc, char **argv)
{
    sigset_t mask;
    int children;

    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    children = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    port = open_port();
    if (children < 0 || port < 0) {
        return complain(PORT_NAME);
    }
    send_frame(0, HELLO, "", 0);
    for (;;) {
        serve(children);
    }
}
