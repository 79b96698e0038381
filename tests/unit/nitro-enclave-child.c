/*
 * The QEMU of an enclave, as test-nitro-hypervisor-enclave.c plays it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What it does is the word after -fake.
 */

#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "libvhost-user.h"
#include "nitro-enclave-util.h"

static int fd_argument(int argc, char **argv, const char *prefix)
{
    int i;

    for (i = 1; i < argc; i++) {
        if (g_str_has_prefix(argv[i], prefix)) {
            return atoi(argv[i] + strlen(prefix));
        }
    }
    return -1;
}

static const char *argument(int argc, char **argv, const char *option)
{
    int i;

    for (i = 1; i < argc - 1; i++) {
        if (g_str_equal(argv[i], option)) {
            return argv[i + 1];
        }
    }
    return "";
}

/* The answer is as long as the question, and comes in two parts */
static void fake_realize(int vsock)
{
    VhostUserConfig config = { .size = 8 };
    uint32_t head[3] = { VHOST_USER_GET_CONFIG, 1,
                         VHOST_USER_CONFIG_HDR_SIZE + 8 };
    struct iovec iov[2] = {
        { .iov_base = head, .iov_len = sizeof(head) },
        { .iov_base = &config, .iov_len = head[2] },
    };
    ssize_t len = iov_size(iov, 2);
    char answer[sizeof(head) + sizeof(config)];

    if (writev(vsock, iov, 2) != len ||
        recv(vsock, answer, len, MSG_WAITALL) != len) {
        _exit(99);
    }
}

static void fake_copy_image(const char *from, int to)
{
    g_autofree char *bytes = NULL;
    gsize len;

    if (!g_file_get_contents(from, &bytes, &len, NULL) ||
        write(to, bytes, len) != (ssize_t)len) {
        _exit(98);
    }
}

static int open_fds(void)
{
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    int n = 0;

    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

/* The monitor of a QEMU whose guest KVM cannot run */
static void fake_pause(int monitor)
{
    static const char event[] =
        "{\"timestamp\": {\"seconds\": 1}, \"event\": \"STOP\"}\r\n";
    static const char answer[] =
        "{\"return\": {\"status\": \"internal-error\"}}\r\n";
    g_autoptr(GString) asked = g_string_new(NULL);
    char byte;

    fprintf(stderr, "KVM internal error. Suberror: 1\nEAX=0\n");
    if (write(monitor, event, strlen(event)) < 0) {
        _exit(96);
    }
    /* What is asked first comes before it knows */
    while (!g_str_has_suffix(asked->str, "query-status\"}\n{\"execute\": "
                             "\"query-status\"}\n") &&
           read(monitor, &byte, 1) == 1) {
        g_string_append_c(asked, byte);
    }
    if (write(monitor, answer, strlen(answer)) < 0) {
        _exit(95);
    }
}

int fake_qemu(int argc, char **argv)
{
    const char *act = argument(argc, argv, "-fake");
    int serial = fd_argument(argc, argv, "socket,id=console,fd=");

    /*
     * Standard ones, vsock, monitor, console, image, and the directory just
     * read
     */
    if (open_fds() != 8) {
        fprintf(stderr, "fake: %d descriptors\n", open_fds());
        return 97;
    }
    if (g_str_equal(act, "fail")) {
        fprintf(stderr, "fake: no such thing\n");
        return 7;
    }
    if (g_str_equal(act, "stubborn")) {
        signal(SIGTERM, SIG_IGN);
    }
    if (!g_str_equal(act, "mute")) {
        fake_realize(fd_argument(argc, argv, "socket,id=vsock,fd="));
    }
    if (g_str_equal(act, "image")) {
        fake_copy_image(argument(argc, argv, "-kernel"), serial);
        return 0;
    }
    if (g_str_equal(act, "pause")) {
        fake_pause(fd_argument(argc, argv, "socket,id=monitor,fd="));
    }
    if (g_str_equal(act, "crash")) {
        raise(SIGKILL);
    }
    for (;;) {
        pause();
    }
}
