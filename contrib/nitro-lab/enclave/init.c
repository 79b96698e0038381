/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Demo enclave: the only program in it.  Loads the modules the distribution's
 * kernel needs, serves an echo port, repeats its greeting on another one
 * (production mode has no console), passes requests to its security module on
 * at a third one, does the heartbeat, tells who and what it is, and ends as the
 * kernel command line says:
 *
 *   demo.mode=serve      stay until the parent ends the enclave (default)
 *   demo.mode=poweroff   orderly end after demo.seconds
 *   demo.mode=reboot     reset after demo.seconds, as reboot= says
 *   demo.mode=crash      end by kernel panic after demo.seconds
 *   demo.mode=mute       no heartbeat at all
 *   demo.mode=wrong      heartbeat with a wrong byte
 *   demo.mode=flood      write to the console without end
 *   demo.seconds=N       how long to serve (1)
 *   demo.hello=TEXT      one more line of greeting
 *   demo.tell=PORT       send the greeting to that port of the parent, too
 *   demo.dial=CID        try the echo port of that CID and tell the outcome
 *
 * With the parent's tool in a further ramdisk, as /lab, port 5007 runs it: a
 * line of arguments comes first, then its input, and back comes its output, and
 * a line more when it could not be run or a signal has ended it.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "nsm.h"

#define PARENT_CID      3
#define CONNECT_S       60
#define HEARTBEAT_PORT  9000
#define HEARTBEAT       0xb7
#define ECHO_PORT       5005
#define HELLO_PORT      5006
#define NSM_PORT        5008
#define TOOL_PORT       5007
#define TOOL            "/lab"

static char cmdline[4096];

static void say(const char *text)
{
    printf("demo: %s\n", text);
}

/* Value of @key= on the kernel command line; @otherwise when absent */
static const char *option(const char *key, const char *otherwise)
{
    static char value[256];
    size_t len = strlen(key);

    for (char *p = cmdline; (p = strstr(p, key)); p += len) {
        if ((p == cmdline || p[-1] == ' ') && p[len] == '=') {
            snprintf(value, sizeof(value), "%.*s",
                     (int)strcspn(p + len + 1, "\n "), p + len + 1);
            return value;
        }
    }
    return otherwise;
}

static void mounts(void)
{
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
}

static void open_console(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);

    for (int i = 0; fd >= 0 && i < 3; i++) {
        dup2(fd, i);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
}

static void read_cmdline(void)
{
    int fd = open("/proc/cmdline", O_RDONLY);

    if (fd < 0 || read(fd, cmdline, sizeof(cmdline) - 1) < 0) {
        say("no command line");
    }
    close(fd);
}

/* /modules lists the module files in load order */
static void load_modules(void)
{
    FILE *list = fopen("/modules", "r");
    char path[256];

    while (list && fgets(path, sizeof(path), list)) {
        int fd;

        path[strcspn(path, "\n")] = 0;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if ((fd < 0 || syscall(SYS_finit_module, fd, "", 0)) &&
            errno != EEXIST) {
            printf("demo: %s: %s\n", path, strerror(errno));
        }
        close(fd);
    }
    if (list) {
        fclose(list);
    }
}

/* The kernel gives up after 2 s, which a busy host may need for the answer */
static int patient_socket(void)
{
    struct timeval patience = { .tv_sec = CONNECT_S };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience,
               sizeof(patience));
    return fd;
}

/* The device may need a moment after its driver was loaded */
static int dial(unsigned cid, unsigned port)
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK,
        .svm_cid = cid,
        .svm_port = port,
    };

    for (int i = 0; i < 100; i++) {
        int fd = patient_socket();

        if (fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
            return fd;
        }
        close(fd);
        if (errno != ENODEV) {
            break;
        }
        usleep(10000);
    }
    return -1;
}

static void heartbeat(uint8_t byte)
{
    int fd = dial(PARENT_CID, HEARTBEAT_PORT);
    uint8_t answer = 0;

    if (fd < 0) {
        printf("demo: no heartbeat, connect: %s\n", strerror(errno));
        return;
    }
    if (write(fd, &byte, 1) != 1 || read(fd, &answer, 1) != 1) {
        printf("demo: no heartbeat, peer closed\n");
    } else {
        printf("demo: heartbeat 0x%02x answered 0x%02x\n", byte, answer);
    }
    close(fd);
}

static void hello(void)
{
    char text[128];
    int fd = open("/dev/vsock", O_RDONLY);
    uint32_t cid = 0;

    if (fd >= 0 && !ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid)) {
        snprintf(text, sizeof(text), "hello from enclave CID %u, %ld CPUs, "
                 "%ld MiB", cid, sysconf(_SC_NPROCESSORS_ONLN),
                 sysconf(_SC_PHYS_PAGES) / 256);
        say(text);
    }
    close(fd);
    if (option("demo.hello", NULL)) {
        say(option("demo.hello", NULL));
    }
    nsm_print_module();
    for (int index = 0; index < 5; index++) {
        nsm_print_pcr(index);
    }
}

static void echo_one(int fd)
{
    static char buf[65536];
    ssize_t n;

    while ((n = read(fd, buf, sizeof(buf))) > 0) {
        for (ssize_t done = 0; done < n; ) {
            ssize_t w = write(fd, buf + done, n - done);

            if (w <= 0) {
                return;
            }
            done += w;
        }
    }
}

static void hello_one(int fd)
{
    dup2(fd, STDOUT_FILENO);
    hello();
    fflush(stdout);
}

/* The first line, without its end; no byte of what follows is taken */
static void read_line(int fd, char *line, size_t size)
{
    size_t len = 0;

    while (len < size - 1 && read(fd, line + len, 1) == 1 &&
           line[len] != '\n') {
        len++;
    }
    line[len] = 0;
}

static void tool_run(char *line, int fd)
{
    char program[] = TOOL, *words[16] = { program, strtok(line, " ") };

    for (int i = 1; words[i] && i < 14; i++) {
        words[i + 1] = strtok(NULL, " ");
    }
    for (int i = 0; i < 3; i++) {
        dup2(fd, i);
    }
    execv(TOOL, words);
    printf("demo: %s: %s\n", TOOL, strerror(errno));
    fflush(stdout);
    _exit(1);
}

static void tool_one(int fd)
{
    char line[1024];
    int status;

    read_line(fd, line, sizeof(line));
    signal(SIGCHLD, SIG_DFL);
    if (!fork()) {
        tool_run(line, fd);
    }
    if (wait(&status) > 0 && WIFSIGNALED(status)) {
        dprintf(fd, "demo: %s: %s\n", TOOL, strsignal(WTERMSIG(status)));
    }
}

/* A process that serves @port, one more process per connection */
static void serve(int port, void (*one)(int fd))
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK,
        .svm_cid = VMADDR_CID_ANY,
        .svm_port = port,
    };
    int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) ||
        listen(listener, 8)) {
        printf("demo: port %d: %s\n", port, strerror(errno));
        return;
    }
    fflush(stdout);
    if (fork()) {
        close(listener);
        return;
    }
    for (;;) {
        int fd = accept(listener, NULL, NULL);

        if (fd >= 0 && !fork()) {
            one(fd);
            _exit(0);
        }
        close(fd);
    }
}

static void dial_neighbour(unsigned cid)
{
    int fd = dial(cid, ECHO_PORT);

    printf("demo: dial %u: %s\n", cid, fd < 0 ? strerror(errno) : "connected");
    close(fd);
}

/* The parent may see the stream end when it has all of it */
static void tell_parent(unsigned port)
{
    int fd;

    fflush(stdout);
    if (fork()) {
        return;
    }
    fd = dial(PARENT_CID, port);
    if (fd < 0) {
        printf("demo: tell port %u: %s\n", port, strerror(errno));
        _exit(1);
    }
    hello_one(fd);
    _exit(0);
}

static void flood(void)
{
    for (unsigned line = 0; ; line++) {
        printf("flood %09u 0123456789abcdefghijklmnopqrstuvwxyz\n", line);
    }
}

static void end(const char *how, int command)
{
    sleep(atoi(option("demo.seconds", "1")));
    say(how);
    /* The kernel's own last words would overtake what the terminal holds */
    tcdrain(STDOUT_FILENO);
    sync();
    reboot(command);
}

int main(void)
{
    char mode[32];

    mounts();
    open_console();
    read_cmdline();
    snprintf(mode, sizeof(mode), "%s", option("demo.mode", "serve"));
    printf("demo: init started, mode %s\n", mode);
    load_modules();
    signal(SIGCHLD, SIG_IGN);
    /* After the heartbeat others may connect */
    serve(ECHO_PORT, echo_one);
    serve(HELLO_PORT, hello_one);
    serve(NSM_PORT, nsm_relay);
    if (!access(TOOL, X_OK)) {
        serve(TOOL_PORT, tool_one);
    }
    if (strcmp(mode, "mute")) {
        heartbeat(strcmp(mode, "wrong") ? HEARTBEAT : 0x55);
    }
    hello();
    if (option("demo.dial", NULL)) {
        dial_neighbour(atoi(option("demo.dial", NULL)));
    }
    if (option("demo.tell", NULL)) {
        tell_parent(atoi(option("demo.tell", NULL)));
    }
    printf("demo: serving\n");
    if (!strcmp(mode, "flood")) {
        flood();
    }
    if (!strcmp(mode, "crash")) {
        sleep(atoi(option("demo.seconds", "1")));
        say("about to panic");
        return 1;
    }
    if (!strcmp(mode, "poweroff")) {
        end("orderly power-off", RB_POWER_OFF);
    }
    if (!strcmp(mode, "reboot")) {
        end("reset", RB_AUTOBOOT);
    }
    for (;;) {
        pause();
    }
}
