/*
 * Nitro Enclaves: console stream with real character devices
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Unix sockets take the place of vsock:
 *
 *     hypervisor  <dir>/console  ---->  stream  ---->  character device
 *
 * The test is the hypervisor, and the reader behind the character device
 * where there is one.
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <sys/un.h>
#include "chardev/char.h"
#include "hw/nitro/vsock-console.h"
#include "qapi/error.h"
#include "qemu/config-file.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "system/system.h"

#define PATIENCE_MS 20000

typedef struct Fixture {
    char *dir;
    char *console_path;
    char *out_path;
    char *log_path;
    SocketAddress addr;
    int listener;
    int hypervisor;             /* connection on the hypervisor's side */
    size_t sent;
    Chardev *chr;
    CharBackend be;
    NitroConsole *con;
    int nr_closed;
    char *failure;
} Fixture;

/* Time */

static gboolean out_of_patience(gpointer opaque)
{
    g_error("nothing happened for %d ms", PATIENCE_MS);
    return G_SOURCE_REMOVE;
}

#define wait_until(condition)                                               \
    do {                                                                    \
        guint watchdog_ = g_timeout_add(PATIENCE_MS, out_of_patience, NULL); \
        while (!(condition)) {                                              \
            main_loop_wait(false);                                          \
        }                                                                   \
        g_source_remove(watchdog_);                                         \
    } while (0)

/* Let everything happen that can happen without waiting */
static void settle(void)
{
    for (int i = 0; i < 100; i++) {
        main_loop_wait(true);
    }
}

/* The hypervisor */

static void unix_addr(struct sockaddr_un *addr, const char *path)
{
    memset(addr, 0, sizeof(*addr));
    addr->sun_family = AF_UNIX;
    g_assert_cmpint(strlen(path), <, sizeof(addr->sun_path));
    strcpy(addr->sun_path, path);
}

static void hypervisor_listen(Fixture *f)
{
    struct sockaddr_un addr;

    unix_addr(&addr, f->console_path);
    f->listener = qemu_socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(f->listener, (struct sockaddr *)&addr, sizeof(addr)),
                    ==, 0);
    g_assert_cmpint(listen(f->listener, 1), ==, 0);
    qemu_socket_set_nonblock(f->listener);
}

static bool hypervisor_accept(Fixture *f)
{
    f->hypervisor = accept(f->listener, NULL, NULL);
    if (f->hypervisor < 0) {
        return false;
    }
    qemu_socket_set_nonblock(f->hypervisor);
    return true;
}

static uint8_t pattern(size_t pos)
{
    return (pos * 31 + (pos >> 8) * 7 + (pos >> 16)) & 0xff;
}

/* Send at most @bytes more; returns how many could be sent */
static size_t hypervisor_send(Fixture *f, size_t bytes)
{
    uint8_t buf[5003];
    size_t done = 0;

    while (done < bytes) {
        size_t len = MIN(bytes - done, sizeof(buf));
        ssize_t ret;

        for (size_t i = 0; i < len; i++) {
            buf[i] = pattern(f->sent + i);
        }
        ret = send(f->hypervisor, buf, len, MSG_NOSIGNAL);
        if (ret <= 0) {
            break;
        }
        f->sent += ret;
        done += ret;
    }
    return done;
}

static void hypervisor_send_all(Fixture *f, size_t bytes)
{
    size_t end = f->sent + bytes;

    wait_until((hypervisor_send(f, end - f->sent), f->sent == end));
}

static void hypervisor_close(Fixture *f)
{
    close(f->hypervisor);
    f->hypervisor = -1;
}

static void assert_pattern(const char *data, size_t len, size_t first)
{
    for (size_t i = 0; i < len; i++) {
        if ((uint8_t)data[i] != pattern(first + i)) {
            g_error("byte %zu differs", first + i);
        }
    }
}

static void assert_file(const char *path, size_t len)
{
    g_autofree char *data = NULL;
    gsize found;

    g_assert(g_file_get_contents(path, &data, &found, NULL));
    g_assert_cmpint(found, ==, len);
    assert_pattern(data, len, 0);
}

/* The stream */

static void console_failed(void *opaque, Error *err)
{
    Fixture *f = opaque;

    g_assert(!f->failure);
    f->failure = g_strdup(error_get_pretty(err));
    error_free(err);
}

static void console_closed(void *opaque)
{
    Fixture *f = opaque;

    f->nr_closed++;
}

static const NitroConsoleOps console_ops = {
    .failed = console_failed,
    .closed = console_closed,
};

static void assert_state(Fixture *f, const char *state)
{
    g_assert_cmpstr(nitro_console_state_str(nitro_console_state(f->con)),
                    ==, state);
}

static void open_chardev(Fixture *f, const char *options)
{
    g_autofree char *all = g_strdup_printf("%s,id=con,logfile=%s", options,
                                           f->log_path);
    QemuOpts *opts = qemu_opts_parse(&qemu_chardev_opts, all, true,
                                     &error_abort);

    f->chr = qemu_chr_new_from_opts(opts, NULL, &error_abort);
    qemu_opts_del(opts);
    g_assert(qemu_chr_fe_init(&f->be, f->chr, &error_abort));
    f->con = nitro_console_new(&f->be, &console_ops, f);
    nitro_console_set_retry(f->con, 1, PATIENCE_MS);
    assert_state(f, "idle");
}

static void open_file(Fixture *f)
{
    g_autofree char *options = g_strdup_printf("file,path=%s", f->out_path);

    open_chardev(f, options);
}

static void open_socket(Fixture *f)
{
    g_autofree char *options =
        g_strdup_printf("socket,path=%s,server=on,wait=off", f->out_path);

    open_chardev(f, options);
}

static void connect_console(Fixture *f)
{
    nitro_console_connect(f->con, &f->addr);
    assert_state(f, "connecting");
    wait_until(hypervisor_accept(f));
    wait_until(nitro_console_state(f->con) == NITRO_CONSOLE_OPEN);
}

static void set_up(Fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("nitro-console-XXXXXX", NULL);
    f->console_path = g_build_filename(f->dir, "console", NULL);
    f->out_path = g_build_filename(f->dir, "out", NULL);
    f->log_path = g_build_filename(f->dir, "log", NULL);
    f->addr.type = SOCKET_ADDRESS_TYPE_UNIX;
    f->addr.u.q_unix.path = f->console_path;
    f->listener = f->hypervisor = -1;
}

static void set_up_listening(Fixture *f, gconstpointer data)
{
    set_up(f, data);
    hypervisor_listen(f);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    nitro_console_free(f->con);
    qemu_chr_fe_deinit(&f->be, true);
    settle();
    if (f->hypervisor >= 0) {
        close(f->hypervisor);
    }
    if (f->listener >= 0) {
        close(f->listener);
    }
    unlink(f->console_path);
    unlink(f->out_path);
    unlink(f->log_path);
    g_rmdir(f->dir);
    g_free(f->console_path);
    g_free(f->out_path);
    g_free(f->log_path);
    g_free(f->dir);
    g_free(f->failure);
}

/* The reader behind a socket character device */

static int reader_connect(Fixture *f)
{
    struct sockaddr_un addr;
    int fd = qemu_socket(AF_UNIX, SOCK_STREAM, 0);

    unix_addr(&addr, f->out_path);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
                    ==, 0);
    qemu_socket_set_nonblock(fd);
    wait_until(qemu_chr_fe_backend_open(&f->be));
    return fd;
}

/* Read and check what is there; returns the position after it */
static size_t reader_read(int fd, size_t pos)
{
    char buf[4096];
    ssize_t len;

    while ((len = read(fd, buf, sizeof(buf))) > 0) {
        assert_pattern(buf, len, pos);
        pos += len;
    }
    return pos;
}

/* Tests */

static void test_file(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_console(f);
    hypervisor_send_all(f, 3 * MiB + 11);
    hypervisor_close(f);
    wait_until(f->nr_closed);
    assert_state(f, "closed");
    g_assert_cmpint(nitro_console_bytes(f->con), ==, f->sent);
    assert_file(f->out_path, f->sent);
    assert_file(f->log_path, f->sent);
    g_assert(!nitro_console_finish(f->con));
    settle();
    g_assert_cmpint(f->nr_closed, ==, 1);
}

/* The console's port may open a little later than the enclave starts */
static void test_retry(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_connect(f->con, &f->addr);
    for (int i = 0; i < 10; i++) {
        main_loop_wait(false);
    }
    assert_state(f, "connecting");
    hypervisor_listen(f);
    wait_until(hypervisor_accept(f));
    hypervisor_send_all(f, 1000);
    hypervisor_close(f);
    wait_until(f->nr_closed);
    g_assert(!f->failure);
    assert_file(f->out_path, 1000);
}

static void test_give_up(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_set_retry(f->con, 1, 20);
    nitro_console_connect(f->con, &f->addr);
    wait_until(f->nr_closed);
    g_assert(f->failure);
    g_assert(strstr(f->failure, f->console_path));
    assert_state(f, "closed");
    assert_file(f->out_path, 0);
}

/* A reader that does not read stops the sender, and loses nothing by it */
static void test_slow_reader(Fixture *f, gconstpointer data)
{
    const size_t total = 8 * MiB;
    size_t before, pos;
    int reader;

    open_socket(f);
    reader = reader_connect(f);
    connect_console(f);
    do {
        before = f->sent;
        hypervisor_send(f, total - f->sent);
        settle();
    } while (f->sent != before);
    g_assert_cmpint(f->sent, <, 4 * MiB);
    g_assert_cmpint(nitro_console_bytes(f->con), <, f->sent);

    pos = 0;
    wait_until((hypervisor_send(f, total - f->sent),
                pos = reader_read(reader, pos), pos == total));
    hypervisor_close(f);
    wait_until(f->nr_closed);
    assert_file(f->log_path, total);
    close(reader);
}

/* The enclave has gone, its last words are still here */
static void test_finish(Fixture *f, gconstpointer data)
{
    size_t pos = 0;
    int reader;

    open_socket(f);
    reader = reader_connect(f);
    connect_console(f);
    while (hypervisor_send(f, 1 * MiB)) {
        settle();
    }
    hypervisor_close(f);
    settle();
    g_assert(nitro_console_finish(f->con));
    g_assert_cmpint(f->nr_closed, ==, 0);
    wait_until((pos = reader_read(reader, pos), f->nr_closed));
    pos = reader_read(reader, pos);
    g_assert_cmpint(pos, ==, f->sent);
    close(reader);
}

static void test_finish_early(Fixture *f, gconstpointer data)
{
    open_file(f);
    g_assert(!nitro_console_finish(f->con));
    assert_state(f, "idle");

    /* Nobody listens: no more attempts, and no complaint about it */
    nitro_console_connect(f->con, &f->addr);
    if (nitro_console_finish(f->con)) {
        wait_until(f->nr_closed);
    }
    assert_state(f, "closed");
    g_assert(!f->failure);
}

static void test_finish_while_waiting(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_set_retry(f->con, PATIENCE_MS / 2, 2 * PATIENCE_MS);
    nitro_console_connect(f->con, &f->addr);
    /* until the attempt has failed and the next one is 10 s away */
    for (int i = 0; i < 100 && nitro_console_finish(f->con); i++) {
        if (f->nr_closed) {
            break;
        }
        main_loop_wait(true);
        g_usleep(1000);
    }
    assert_state(f, "closed");
    g_assert(!f->failure);
}

static void test_finish_connecting(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_connect(f->con, &f->addr);
    g_assert(nitro_console_finish(f->con));
    wait_until(hypervisor_accept(f));
    hypervisor_send_all(f, 100);
    hypervisor_close(f);
    wait_until(f->nr_closed);
    assert_file(f->out_path, 100);
}

/* Whatever becomes of it in the character device, its log gets it all */
static void assert_all_logged(Fixture *f)
{
    connect_console(f);
    hypervisor_send_all(f, 1 * MiB);
    hypervisor_close(f);
    wait_until(f->nr_closed);
    assert_file(f->log_path, 1 * MiB);
}

/* Nobody has the pty open: its log gets everything, the sender never stops */
static void test_pty_unread(Fixture *f, gconstpointer data)
{
    open_chardev(f, "pty");
    assert_all_logged(f);
}

static void test_pty_read(Fixture *f, gconstpointer data)
{
    const char *path;
    size_t pos = 0;
    int reader;

    open_chardev(f, "pty");
    path = f->chr->filename + strlen("pty:");
    reader = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
    g_assert_cmpint(reader, >=, 0);
    /* The pty looks for its reader once a second, and only for a front end */
    wait_until(qemu_chr_fe_backend_open(&f->be));
    connect_console(f);
    wait_until((hypervisor_send(f, 100000 - f->sent),
                pos = reader_read(reader, pos), pos == 100000));
    hypervisor_close(f);
    wait_until(f->nr_closed);
    assert_file(f->log_path, 100000);
    close(reader);
}

static void test_socket_unread(Fixture *f, gconstpointer data)
{
    open_socket(f);
    assert_all_logged(f);
}

/* A reader that leaves while its sender waits sets the sender free */
static void test_reader_leaves(Fixture *f, gconstpointer data)
{
    int reader;

    open_socket(f);
    reader = reader_connect(f);
    connect_console(f);
    while (hypervisor_send(f, 1 * MiB)) {
        settle();
    }
    close(reader);
    hypervisor_send_all(f, 4 * MiB);
    hypervisor_close(f);
    wait_until(f->nr_closed);
    g_assert_cmpint(nitro_console_bytes(f->con), ==, f->sent);
}

static void test_ringbuf(Fixture *f, gconstpointer data)
{
    open_chardev(f, "ringbuf,size=4096");
    assert_all_logged(f);
}

/* An idle console wakes nobody */
static void test_idle(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_console(f);
    hypervisor_send_all(f, 100);
    wait_until(nitro_console_bytes(f->con) == 100);
    settle();
    for (int i = 0; i < 100; i++) {
        g_assert(!g_main_context_iteration(NULL, FALSE));
    }
}

/* The next launch: the old connection does not count any more */
static void test_again(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_console(f);
    hypervisor_close(f);
    wait_until(f->nr_closed);
    for (int i = 0; i < 3; i++) {
        int old = f->hypervisor;

        connect_console(f);
        g_assert_cmpint(nitro_console_bytes(f->con), ==, 0);
        if (old >= 0) {
            close(old);
        }
    }
    hypervisor_send_all(f, 100);
    hypervisor_close(f);
    wait_until(f->nr_closed == 2);
    assert_file(f->out_path, 100);
}

static void test_free_connecting(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_connect(f->con, &f->addr);
    nitro_console_free(f->con);
    f->con = NULL;
    /* whatever the attempt comes to, it is given up */
    wait_until(hypervisor_accept(f));
    wait_until(recv(f->hypervisor, &(char){ 0 }, 1, 0) == 0);
    g_assert_cmpint(f->nr_closed, ==, 0);
}

#define ADD(name, set_up_func, func)                                        \
    g_test_add("/nitro/console/" name, Fixture, NULL, set_up_func, func,    \
               tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    qemu_init_main_loop(&error_abort);
    socket_init();
    module_call_init(MODULE_INIT_QOM);
    qemu_add_opts(&qemu_chardev_opts);

    ADD("file", set_up_listening, test_file);
    ADD("retry", set_up, test_retry);
    ADD("give-up", set_up, test_give_up);
    ADD("slow-reader", set_up_listening, test_slow_reader);
    ADD("finish", set_up_listening, test_finish);
    ADD("finish-early", set_up, test_finish_early);
    ADD("finish-while-waiting", set_up, test_finish_while_waiting);
    ADD("finish-connecting", set_up_listening, test_finish_connecting);
    ADD("pty-unread", set_up_listening, test_pty_unread);
    ADD("pty-read", set_up_listening, test_pty_read);
    ADD("socket-unread", set_up_listening, test_socket_unread);
    ADD("reader-leaves", set_up_listening, test_reader_leaves);
    ADD("ringbuf", set_up_listening, test_ringbuf);
    ADD("idle", set_up_listening, test_idle);
    ADD("again", set_up_listening, test_again);
    ADD("free-connecting", set_up_listening, test_free_connecting);
    return g_test_run();
}
