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
#include "hw/nitro/vsock-console.h"
#include "nitro-stream.h"
#include "qapi/qapi-commands-char.h"

#define BACKLOG (16 * KiB)

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
    int nr_told;
    char *failure;
} Fixture;

/* The hypervisor */

static void hypervisor_listen(Fixture *f)
{
    f->listener = stream_listen(f->console_path);
}

static bool hypervisor_accept(Fixture *f)
{
    f->hypervisor = stream_accept(f->listener);
    return f->hypervisor >= 0;
}

/* Send at most @bytes more; returns how many could be sent */
static size_t hypervisor_send(Fixture *f, size_t bytes)
{
    size_t before = f->sent;

    f->sent = stream_send(f->hypervisor, before, before + bytes);
    return f->sent - before;
}

static void hypervisor_send_all(Fixture *f, size_t bytes)
{
    size_t end = f->sent + bytes;

    wait_until((hypervisor_send(f, end - f->sent), f->sent == end));
}

static void hypervisor_hangs_up(Fixture *f)
{
    close(f->hypervisor);
    f->hypervisor = -1;
}

/* The enclave has ended: that is known, and the console is closed */
static void enclave_ends(Fixture *f)
{
    nitro_console_finish(f->con);
    hypervisor_hangs_up(f);
}

/* The stream */

static void console_failed(void *opaque, Error *err)
{
    Fixture *f = opaque;

    g_assert(!f->failure);
    f->failure = g_strdup(error_get_pretty(err));
    error_free(err);
}

static void console_dropped(void *opaque, const char *why)
{
    Fixture *f = opaque;

    f->nr_told++;
}

static void console_closed(void *opaque)
{
    Fixture *f = opaque;

    f->nr_closed++;
}

static const NitroConsoleOps console_ops = {
    .failed = console_failed,
    .dropped = console_dropped,
    .closed = console_closed,
};

static void assert_state(Fixture *f, const char *state)
{
    g_assert_cmpstr(nitro_console_state_str(nitro_console_state(f->con)),
                    ==, state);
}

static void open_chardev_policy(Fixture *f, const char *options,
                                NitroConsoleOverflow overflow)
{
    g_autofree char *all = g_strdup_printf("%s,id=con,logfile=%s", options,
                                           f->log_path);

    f->chr = stream_chardev(&f->be, all);
    f->con = nitro_console_new(&f->be, BACKLOG, overflow, &console_ops, f);
    nitro_console_set_retry(f->con, 1, 1, PATIENCE_MS);
    assert_state(f, "idle");
}

static void open_chardev(Fixture *f, const char *options)
{
    open_chardev_policy(f, options, NITRO_CONSOLE_OVERFLOW_BLOCK);
}

static void open_file(Fixture *f)
{
    g_autofree char *options = g_strdup_printf("file,path=%s", f->out_path);

    open_chardev(f, options);
}

static void open_socket_policy(Fixture *f, NitroConsoleOverflow overflow)
{
    g_autofree char *options =
        g_strdup_printf("socket,path=%s,server=on,wait=off", f->out_path);

    open_chardev_policy(f, options, overflow);
}

static void open_socket(Fixture *f)
{
    open_socket_policy(f, NITRO_CONSOLE_OVERFLOW_BLOCK);
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
    int fd = stream_connect(f->out_path);

    wait_until(qemu_chr_fe_backend_open(&f->be));
    return fd;
}

/* Tests */

static void test_file(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_console(f);
    hypervisor_send_all(f, 3 * MiB + 11);
    enclave_ends(f);
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
    enclave_ends(f);
    wait_until(f->nr_closed);
    g_assert(!f->failure);
    assert_file(f->out_path, 1000);
}

static void test_give_up(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_set_retry(f->con, 1, 1, 20);
    nitro_console_connect(f->con, &f->addr);
    wait_until(f->nr_closed);
    g_assert(f->failure);
    g_assert(strstr(f->failure, f->console_path));
    assert_state(f, "closed");
    assert_file(f->out_path, 0);
}

/* Read a little and check it; returns the position after it */
static size_t reader_read_some(int fd, size_t pos)
{
    char buf[4096];
    ssize_t len = read(fd, buf, sizeof(buf));

    if (len > 0) {
        assert_pattern(buf, len, pos);
        pos += len;
    }
    return pos;
}

/* More by hand: NITRO_CONSOLE_MIB=1024 */
static size_t much(void)
{
    const char *mib = getenv("NITRO_CONSOLE_MIB");

    return (mib ? atoi(mib) : 8) * MiB;
}

/* The hypervisor is stopped by a reader that does not read */
static void send_until_stopped(Fixture *f, size_t total)
{
    size_t before;

    do {
        before = f->sent;
        hypervisor_send(f, total - f->sent);
        settle();
    } while (f->sent != before);
}

/* A reader that does not read stops the sender, and loses nothing by it */
static void test_slow_reader(Fixture *f, gconstpointer data)
{
    const size_t total = much();
    size_t pos = 0;
    int reader;

    open_socket(f);
    reader = reader_connect(f);
    connect_console(f);
    send_until_stopped(f, total);
    g_assert_cmpint(f->sent, <, 4 * MiB);
    g_assert_cmpint(nitro_console_bytes(f->con), <, f->sent);

    while (pos < total) {
        hypervisor_send(f, total - f->sent);
        pos = reader_read_some(reader, pos);
        main_loop_wait(true);
    }
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_file(f->log_path, total);
    g_assert_cmpint(nitro_console_dropped(f->con), ==, 0);
    g_assert_cmpint(f->nr_told, ==, 0);
    close(reader);
}

/* The other policy: the hypervisor never waits, what is lost is counted */
static void test_drop_oldest(Fixture *f, gconstpointer data)
{
    const size_t total = much();
    size_t got = 0;
    ssize_t len;
    char buf[4096];
    int reader;

    open_socket_policy(f, NITRO_CONSOLE_OVERFLOW_DROP_OLDEST);
    reader = reader_connect(f);
    connect_console(f);
    hypervisor_send_all(f, total);
    wait_until(nitro_console_bytes(f->con) == total);
    g_assert_cmpint(nitro_console_dropped(f->con), >, total / 2);
    g_assert_cmpint(f->nr_told, ==, 1);
    enclave_ends(f);
    g_assert_cmpint(f->nr_closed, ==, 0);
    while (!f->nr_closed) {
        main_loop_wait(true);
        while ((len = read(reader, buf, sizeof(buf))) > 0) {
            got += len;
        }
    }
    while ((len = read(reader, buf, sizeof(buf))) > 0) {
        got += len;
    }
    g_assert_cmpint(got + nitro_console_dropped(f->con), ==, total);
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
    enclave_ends(f);
    settle();
    g_assert(nitro_console_finish(f->con));
    g_assert_cmpint(f->nr_closed, ==, 0);
    wait_until((pos = stream_read(reader, pos), f->nr_closed));
    pos = stream_read(reader, pos);
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
    nitro_console_set_retry(f->con, PATIENCE_MS / 2, 1, 2 * PATIENCE_MS);
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
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_file(f->out_path, 100);
}

/* Whatever becomes of it in the character device, its log gets it all */
static void assert_all_logged(Fixture *f)
{
    connect_console(f);
    hypervisor_send_all(f, 1 * MiB);
    enclave_ends(f);
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
                pos = stream_read(reader, pos), pos == 100000));
    enclave_ends(f);
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
    enclave_ends(f);
    wait_until(f->nr_closed);
    g_assert_cmpint(nitro_console_bytes(f->con), ==, f->sent);
}

static void test_ringbuf(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;

    open_chardev(f, "ringbuf,size=4096");
    connect_console(f);
    g_assert_cmpint(write(f->hypervisor, "Linux version\nbooted\n", 21),
                    ==, 21);
    wait_until(nitro_console_bytes(f->con) == 21);
    text = qmp_ringbuf_read("con", 100, false, 0, &error_abort);
    g_assert_cmpstr(text, ==, "Linux version\nbooted\n");
    hypervisor_send_all(f, 1 * MiB);
    wait_until(nitro_console_bytes(f->con) == 21 + 1 * MiB);
    g_assert_cmpint(nitro_console_dropped(f->con), ==, 0);
}

/* Nobody was there for the whole life of the enclave */
static void test_late_reader(Fixture *f, gconstpointer data)
{
    size_t total = 10 * BACKLOG + 5, pos = total - BACKLOG;
    int reader;

    open_socket(f);
    connect_console(f);
    hypervisor_send_all(f, total);
    wait_until(nitro_console_bytes(f->con) == total);
    enclave_ends(f);
    wait_until(f->nr_closed);
    assert_state(f, "closed");
    g_assert_cmpint(nitro_console_dropped(f->con), ==, pos);
    g_assert_cmpint(f->nr_told, ==, 1);

    reader = reader_connect(f);
    wait_until((pos = stream_read(reader, pos), pos == total));
    wait_until(nitro_console_state(f->con) == NITRO_CONSOLE_CLOSED);
    close(reader);
}

/* The hypervisor hangs up, the enclave lives and is heard of again */
static void test_hang_up(Fixture *f, gconstpointer data)
{
    open_file(f);
    connect_console(f);
    for (unsigned i = 1; i <= 3; i++) {
        hypervisor_send_all(f, 1000);
        hypervisor_hangs_up(f);
        wait_until(nitro_console_state(f->con) == NITRO_CONSOLE_CONNECTING);
        wait_until(hypervisor_accept(f));
        wait_until(nitro_console_reconnects(f->con) == i);
        assert_state(f, "open");
    }
    hypervisor_send_all(f, 1000);
    enclave_ends(f);
    wait_until(f->nr_closed);
    g_assert(!f->failure);
    g_assert_cmpint(nitro_console_bytes(f->con), ==, 4000);
    assert_file(f->out_path, 4000);

    /* The next life knows nothing of it */
    connect_console(f);
    g_assert_cmpint(nitro_console_reconnects(f->con), ==, 0);
}

/* The hypervisor hangs up and is not there any more */
static void test_hang_up_for_good(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_set_retry(f->con, 1, 1, 200);
    connect_console(f);
    hypervisor_send_all(f, 100);
    hypervisor_hangs_up(f);
    close(f->listener);
    f->listener = -1;
    unlink(f->console_path);
    wait_until(f->nr_closed);
    g_assert(f->failure);
    assert_file(f->out_path, 100);
    g_assert(!nitro_console_finish(f->con));
}

/* The end of the enclave comes soon after that of its console */
static void test_hang_up_then_end(Fixture *f, gconstpointer data)
{
    open_file(f);
    nitro_console_set_retry(f->con, 1, PATIENCE_MS / 2, 2 * PATIENCE_MS);
    connect_console(f);
    hypervisor_send_all(f, 100);
    hypervisor_hangs_up(f);
    wait_until(nitro_console_state(f->con) == NITRO_CONSOLE_CONNECTING);
    if (nitro_console_finish(f->con)) {
        wait_until(f->nr_closed);
    }
    assert_state(f, "closed");
    assert_file(f->out_path, 100);
    settle();
    g_assert(!hypervisor_accept(f));
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
    enclave_ends(f);
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
    enclave_ends(f);
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
    stream_test_init(&argc, &argv);

    ADD("file", set_up_listening, test_file);
    ADD("retry", set_up, test_retry);
    ADD("give-up", set_up, test_give_up);
    ADD("slow-reader", set_up_listening, test_slow_reader);
    ADD("drop-oldest", set_up_listening, test_drop_oldest);
    ADD("late-reader", set_up_listening, test_late_reader);
    ADD("hang-up", set_up_listening, test_hang_up);
    ADD("hang-up-for-good", set_up_listening, test_hang_up_for_good);
    ADD("hang-up-then-end", set_up_listening, test_hang_up_then_end);
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
