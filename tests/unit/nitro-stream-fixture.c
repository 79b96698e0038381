/*
 * Nitro Enclaves: stream, what its tests share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "nitro-stream-fixture.h"

static bool admit(void *opaque, QIOChannelSocket *sioc)
{
    Fixture *f = opaque;

    return !f->refuse;
}

static void failed(void *opaque, Error *err)
{
    Fixture *f = opaque;

    g_free(f->failure);
    f->failure = g_strdup(error_get_pretty(err));
    error_free(err);
}

static void dropped(void *opaque, const char *why)
{
    Fixture *f = opaque;

    f->nr_told++;
}

static void closed(void *opaque)
{
    Fixture *f = opaque;

    f->nr_closed++;
}

static const NitroStreamOps ops = {
    .admit = admit,
    .failed = failed,
    .dropped = dropped,
    .closed = closed,
};

/* The stream */

void assert_state(Fixture *f, const char *state)
{
    g_assert_cmpstr(NitroEnclaveChannelState_str(
                        nitro_stream_state(f->stream)), ==, state);
}

bool in_state(Fixture *f, const char *state)
{
    return g_str_equal(NitroEnclaveChannelState_str(
                           nitro_stream_state(f->stream)), state);
}

NitroStreamCounts counts(Fixture *f)
{
    return nitro_stream_counts(f->stream);
}

static void new_stream(Fixture *f)
{
    nitro_stream_free(f->stream);
    f->stream = nitro_stream_new(&f->be, &f->options, &ops, f);
    assert_state(f, "idle");
}

void set_retry(Fixture *f, unsigned first_ms, unsigned again_ms,
               unsigned limit_ms)
{
    f->options.first_ms = first_ms;
    f->options.again_ms = again_ms;
    f->options.limit_ms = limit_ms;
    new_stream(f);
}

void open_chardev(Fixture *f, const char *backend)
{
    g_autofree char *options = g_strdup_printf("%s,id=out,logfile=%s", backend,
                                               f->log_path);

    f->chr = stream_chardev(&f->be, options);
    new_stream(f);
}

void open_file(Fixture *f)
{
    g_autofree char *options = g_strdup_printf("file,path=%s", f->out_path);

    open_chardev(f, options);
}

void open_socket(Fixture *f)
{
    g_autofree char *options =
        g_strdup_printf("socket,path=%s,server=on,wait=off", f->out_path);

    open_chardev(f, options);
}

void set_up(Fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("nitro-stream-XXXXXX", NULL);
    f->port_path = g_build_filename(f->dir, "port", NULL);
    f->out_path = g_build_filename(f->dir, "out", NULL);
    f->log_path = g_build_filename(f->dir, "log", NULL);
    f->addr.type = SOCKET_ADDRESS_TYPE_UNIX;
    f->addr.u.q_unix.path = f->port_path;
    f->listener = f->peer = f->client = -1;
    f->options = (NitroStreamOptions) {
        .name = "test",
        .peer = "peer",
        .size = BACKLOG,
        .overflow = NITRO_CONSOLE_OVERFLOW_BLOCK,
        .first_ms = 1,
        .again_ms = 1,
        .limit_ms = PATIENCE_MS,
    };
}

void set_up_listening(Fixture *f, gconstpointer data)
{
    set_up(f, data);
    f->listener = stream_listen(f->port_path);
}

void set_up_input(Fixture *f, gconstpointer data)
{
    set_up(f, data);
    f->options.input = true;
    f->options.size = BUFFER;
    f->options.limit_ms = 0;
}

void set_up_socket(Fixture *f, gconstpointer data)
{
    set_up_input(f, data);
    open_socket(f);
}

void tear_down(Fixture *f, gconstpointer data)
{
    nitro_stream_free(f->stream);
    qemu_chr_fe_deinit(&f->be, true);
    settle();
    hang_up(&f->listener);
    hang_up(&f->peer);
    hang_up(&f->client);
    unlink(f->port_path);
    unlink(f->out_path);
    unlink(f->log_path);
    g_rmdir(f->dir);
    g_free(f->port_path);
    g_free(f->out_path);
    g_free(f->log_path);
    g_free(f->dir);
    g_free(f->failure);
}

/* Its ends */

bool peer_accept(Fixture *f)
{
    f->peer = stream_accept(f->listener);
    return f->peer >= 0;
}

void peer_accepts(Fixture *f)
{
    wait_until(peer_accept(f));
    wait_until(in_state(f, "open"));
}

void client_connects(Fixture *f)
{
    f->client = stream_connect(f->out_path);
    wait_until(qemu_chr_fe_backend_open(&f->be));
}

void connect_peer(Fixture *f)
{
    nitro_stream_connect(f->stream, &f->addr);
    assert_state(f, "connecting");
    peer_accepts(f);
}

void connect_both(Fixture *f)
{
    f->listener = stream_listen(f->port_path);
    nitro_stream_connect(f->stream, &f->addr);
    client_connects(f);
    peer_accepts(f);
}

void begin_listening(Fixture *f)
{
    g_assert(nitro_stream_listen(f->stream, &f->addr, &error_abort));
    nitro_stream_accept(f->stream);
    assert_state(f, "listening");
}

void client_stuck(Fixture *f)
{
    open_socket(f);
    client_connects(f);
    connect_peer(f);
    while (peer_send(f, 1 * MiB)) {
        settle();
    }
}

void hang_up(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

size_t peer_send(Fixture *f, size_t bytes)
{
    size_t before = f->sent;

    f->sent = stream_send(f->peer, before, before + bytes);
    return f->sent - before;
}

void peer_send_all(Fixture *f, size_t bytes)
{
    size_t end = f->sent + bytes;

    wait_until((peer_send(f, end - f->sent), f->sent == end));
}

size_t send_until_stopped(int fd, size_t last)
{
    size_t pos = 0, before;

    do {
        before = pos;
        pos = stream_send(fd, pos, last);
        settle();
    } while (pos != before);
    return pos;
}

void transfer(int from, int to, size_t first, size_t last)
{
    size_t sent = first, got = first;

    wait_until((sent = stream_send(from, sent, last),
                got = stream_read(to, got), got == last));
}

void enclave_ends(Fixture *f)
{
    nitro_stream_finish(f->stream);
    hang_up(&f->peer);
}
