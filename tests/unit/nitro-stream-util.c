/*
 * Streams over unix sockets for the tests of the vsock devices
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib-unix.h>
#include <sys/un.h>
#include "migration/vmstate.h"
#include "nitro-stream-util.h"
#include "qemu/config-file.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "system/system.h"

/* What Fifo8 would need to migrate */
const VMStateInfo vmstate_info_uint32;
const VMStateInfo vmstate_info_buffer;

gboolean stream_out_of_patience(gpointer opaque)
{
    g_error("nothing happened for %d ms", PATIENCE_MS);
    return G_SOURCE_REMOVE;
}

void settle(void)
{
    for (int i = 0; i < 100; i++) {
        main_loop_wait(true);
    }
}

/* Sockets, never blocking */

static void unix_addr(struct sockaddr_un *addr, const char *path)
{
    memset(addr, 0, sizeof(*addr));
    addr->sun_family = AF_UNIX;
    g_assert_cmpint(strlen(path), <, sizeof(addr->sun_path));
    strcpy(addr->sun_path, path);
}

int stream_listen(const char *path)
{
    int fd = qemu_socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un addr;

    unix_addr(&addr, path);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(fd, 4), ==, 0);
    g_unix_set_fd_nonblocking(fd, true, NULL);
    return fd;
}

int stream_accept(int listener)
{
    int fd = accept(listener, NULL, NULL);

    if (fd >= 0) {
        g_unix_set_fd_nonblocking(fd, true, NULL);
    }
    return fd;
}

int stream_connect(const char *path)
{
    int fd = qemu_socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un addr;

    unix_addr(&addr, path);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
                    ==, 0);
    g_unix_set_fd_nonblocking(fd, true, NULL);
    return fd;
}

/* Data */

static uint8_t pattern(size_t pos)
{
    return (pos * 31 + (pos >> 8) * 7 + (pos >> 16)) & 0xff;
}

void assert_pattern(const void *data, size_t len, size_t first)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != pattern(first + i)) {
            g_error("byte %zu differs", first + i);
        }
    }
}

void fill_pattern(uint8_t *data, size_t len, size_t first)
{
    for (size_t i = 0; i < len; i++) {
        data[i] = pattern(first + i);
    }
}

size_t stream_send(int fd, size_t pos, size_t end)
{
    uint8_t buf[5003];

    while (pos < end) {
        size_t len = MIN(end - pos, sizeof(buf));
        ssize_t ret;

        fill_pattern(buf, len, pos);
        ret = send(fd, buf, len, MSG_NOSIGNAL);
        if (ret <= 0) {
            break;
        }
        pos += ret;
    }
    return pos;
}

size_t stream_read(int fd, size_t pos)
{
    char buf[4096];
    ssize_t len;

    while ((len = read(fd, buf, sizeof(buf))) > 0) {
        assert_pattern(buf, len, pos);
        pos += len;
    }
    return pos;
}

bool stream_ended(int fd)
{
    char byte;
    ssize_t len = recv(fd, &byte, 1, 0);

    g_assert_cmpint(len, <=, 0);
    return len == 0 || errno != EAGAIN;
}

void assert_file(const char *path, size_t len)
{
    g_autofree char *data = NULL;
    gsize found;

    g_assert(g_file_get_contents(path, &data, &found, NULL));
    g_assert_cmpint(found, ==, len);
    assert_pattern(data, len, 0);
}

char *stream_stdio(const char *path, int *writer, int *reader)
{
    g_autofree char *in = g_strdup_printf("%s.in", path);
    g_autofree char *out = g_strdup_printf("%s.out", path);

    g_assert_cmpint(mkfifo(in, 0600), ==, 0);
    g_assert_cmpint(mkfifo(out, 0600), ==, 0);
    *writer = open(in, O_RDWR | O_NONBLOCK);
    *reader = open(out, O_RDONLY | O_NONBLOCK);
    g_assert_cmpint(*writer, >=, 0);
    g_assert_cmpint(*reader, >=, 0);
    return g_strdup_printf("file,path=%s,input-path=%s", out, in);
}

void stream_stdio_remove(const char *path)
{
    g_autofree char *in = g_strdup_printf("%s.in", path);
    g_autofree char *out = g_strdup_printf("%s.out", path);

    unlink(in);
    unlink(out);
}

Chardev *stream_chardev(CharBackend *be, const char *options)
{
    QemuOpts *opts = qemu_opts_parse(&qemu_chardev_opts, options, true,
                                     &error_abort);
    Chardev *chr = qemu_chr_new_from_opts(opts, NULL, &error_abort);

    qemu_opts_del(opts);
    g_assert(qemu_chr_fe_init(be, chr, &error_abort));
    return chr;
}

void stream_test_init(int *argc, char ***argv)
{
    g_test_init(argc, argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    qemu_init_main_loop(&error_abort);
    socket_init();
    module_call_init(MODULE_INIT_QOM);
    qemu_add_opts(&qemu_chardev_opts);
}
