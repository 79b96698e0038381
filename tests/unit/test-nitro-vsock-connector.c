/*
 * Nitro Enclaves: connect again and again
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Unix sockets take the place of vsock; the test is the other end.
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "hw/nitro/vsock-connector.h"
#include "nitro-stream.h"

typedef struct Fixture {
    char *dir;
    char *path;
    SocketAddress addr;
    int listener;
    NitroConnector *cn;
    QIOChannelSocket *sioc;
    unsigned nr_connected;
    char *failure;
} Fixture;

static void connected(void *opaque, QIOChannelSocket *sioc)
{
    Fixture *f = opaque;

    g_assert(!f->sioc);
    g_assert(!nitro_connector_busy(f->cn));
    f->sioc = QIO_CHANNEL_SOCKET(object_ref(OBJECT(sioc)));
    f->nr_connected++;
}

static void failed(void *opaque, Error *err)
{
    Fixture *f = opaque;

    g_assert(!f->failure);
    f->failure = g_strdup(error_get_pretty(err));
    error_free(err);
}

static const NitroConnectorOps ops = {
    .connected = connected,
    .failed = failed,
};

static void set_up(Fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("nitro-connector-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "peer", NULL);
    f->addr.type = SOCKET_ADDRESS_TYPE_UNIX;
    f->addr.u.q_unix.path = f->path;
    f->listener = -1;
    f->cn = nitro_connector_new(&ops, f);
    nitro_connector_set_retry(f->cn, 1, 1, PATIENCE_MS);
}

static void disconnect(Fixture *f)
{
    object_unref(OBJECT(f->sioc));
    f->sioc = NULL;
}

static void tear_down(Fixture *f, gconstpointer data)
{
    nitro_connector_free(f->cn);
    settle();
    if (f->sioc) {
        disconnect(f);
    }
    if (f->listener >= 0) {
        close(f->listener);
    }
    unlink(f->path);
    g_rmdir(f->dir);
    g_free(f->path);
    g_free(f->dir);
    g_free(f->failure);
}

static void lose(Fixture *f)
{
    Error *err = NULL;

    disconnect(f);
    error_setg(&err, "peer %u has gone", f->nr_connected);
    nitro_connector_again(f->cn, err);
}

static void test_first(Fixture *f, gconstpointer data)
{
    f->listener = stream_listen(f->path);
    g_assert(!nitro_connector_busy(f->cn));
    nitro_connector_start(f->cn, &f->addr);
    g_assert(nitro_connector_busy(f->cn));
    wait_until(f->sioc);
    settle();
    g_assert_cmpint(f->nr_connected, ==, 1);
}

static void test_late(Fixture *f, gconstpointer data)
{
    nitro_connector_start(f->cn, &f->addr);
    for (int i = 0; i < 10; i++) {
        main_loop_wait(false);
    }
    g_assert(!f->sioc);
    f->listener = stream_listen(f->path);
    wait_until(f->sioc);
    g_assert(!f->failure);
}

static void test_limit(Fixture *f, gconstpointer data)
{
    nitro_connector_set_retry(f->cn, 1, 1, 20);
    nitro_connector_start(f->cn, &f->addr);
    wait_until(f->failure);
    g_assert(strstr(f->failure, f->path));
    g_assert(!nitro_connector_busy(f->cn));
}

/* Without a limit: long after one would have ended it */
static void test_no_limit(Fixture *f, gconstpointer data)
{
    int64_t begin = g_get_monotonic_time();

    nitro_connector_set_retry(f->cn, 1, 1, 0);
    nitro_connector_start(f->cn, &f->addr);
    wait_until(g_get_monotonic_time() - begin > 100 * 1000);
    g_assert(!f->failure);
    f->listener = stream_listen(f->path);
    wait_until(f->sioc);
}

static void test_again(Fixture *f, gconstpointer data)
{
    f->listener = stream_listen(f->path);
    nitro_connector_start(f->cn, &f->addr);
    for (unsigned i = 1; i <= 5; i++) {
        wait_until(f->nr_connected == i);
        close(stream_accept(f->listener));
        lose(f);
    }
    wait_until(f->nr_connected == 6);
    g_assert(!f->failure);
}

/* A peer that hangs up at once is given up in the end, without being hurried */
static void test_hang_up(Fixture *f, gconstpointer data)
{
    f->listener = stream_listen(f->path);
    nitro_connector_set_retry(f->cn, 1, 1, 50);
    nitro_connector_start(f->cn, &f->addr);
    while (!f->failure) {
        wait_until(f->failure || f->sioc);
        if (f->sioc) {
            close(stream_accept(f->listener));
            lose(f);
        }
    }
    /* A busy host has time for one only, none has time for many */
    g_assert_cmpint(f->nr_connected, >=, 1);
    g_assert_cmpint(f->nr_connected, <=, 8);
    g_assert(strstr(f->failure, "has gone"));
}

static void test_finish(Fixture *f, gconstpointer data)
{
    /* Nothing under way */
    g_assert(!nitro_connector_finish(f->cn));

    /* An attempt runs, and succeeds */
    f->listener = stream_listen(f->path);
    nitro_connector_start(f->cn, &f->addr);
    g_assert(nitro_connector_finish(f->cn));
    wait_until(f->sioc);

    /* The next one is due, and is not made */
    nitro_connector_set_retry(f->cn, PATIENCE_MS, PATIENCE_MS, 0);
    nitro_connector_start(f->cn, &f->addr);
    disconnect(f);
    wait_until(f->sioc);
    lose(f);
    g_assert(nitro_connector_busy(f->cn));
    g_assert(!nitro_connector_finish(f->cn));
    g_assert(!nitro_connector_busy(f->cn));
    g_assert(!f->failure);
}

static void test_finish_fails(Fixture *f, gconstpointer data)
{
    nitro_connector_start(f->cn, &f->addr);
    g_assert(nitro_connector_finish(f->cn));
    wait_until(f->failure);
    g_assert(!nitro_connector_busy(f->cn));
}

/* Whatever an attempt comes to that is not wanted any more: nobody is told */
static void test_stop(Fixture *f, gconstpointer data)
{
    int peer;

    f->listener = stream_listen(f->path);
    nitro_connector_start(f->cn, &f->addr);
    nitro_connector_stop(f->cn);
    wait_until((peer = stream_accept(f->listener)) >= 0);
    wait_until(stream_ended(peer));
    close(peer);
    g_assert_cmpint(f->nr_connected, ==, 0);
    g_assert(!f->failure);

    nitro_connector_start(f->cn, &f->addr);
    nitro_connector_start(f->cn, &f->addr);
    wait_until(f->sioc);
    settle();
    g_assert_cmpint(f->nr_connected, ==, 1);
}

#define ADD(name, func)                                                     \
    g_test_add("/nitro/connector/" name, Fixture, NULL, set_up, func,       \
               tear_down)

int main(int argc, char **argv)
{
    stream_test_init(&argc, &argv);
    ADD("first", test_first);
    ADD("late", test_late);
    ADD("limit", test_limit);
    ADD("no-limit", test_no_limit);
    ADD("again", test_again);
    ADD("hang-up", test_hang_up);
    ADD("finish", test_finish);
    ADD("finish-fails", test_finish_fails);
    ADD("stop", test_stop);
    return g_test_run();
}
