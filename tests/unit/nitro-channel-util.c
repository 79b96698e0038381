/*
 * Nitro Enclaves: application channel, what its tests share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "nitro-channel-util.h"

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

static void closed(void *opaque)
{
    Fixture *f = opaque;

    f->nr_closed++;
}

static const NitroChannelOps ops = {
    .admit = admit,
    .failed = failed,
    .closed = closed,
};

void assert_state(Fixture *f, const char *state)
{
    g_assert_cmpstr(NitroEnclaveChannelState_str(nitro_channel_state(f->ch)),
                    ==, state);
}

bool in_state(Fixture *f, const char *state)
{
    return g_str_equal(NitroEnclaveChannelState_str(
                           nitro_channel_state(f->ch)), state);
}

void open_chardev(Fixture *f, const char *backend)
{
    g_autofree char *options = g_strdup_printf("%s,id=app", backend);

    stream_chardev(&f->be, options);
    f->ch = nitro_channel_new(&f->be, &ops, f);
    nitro_channel_set_retry(f->ch, 1, 1, 0);
    assert_state(f, "idle");
}

void set_up(Fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("nitro-channel-XXXXXX", NULL);
    f->port_path = g_build_filename(f->dir, "port", NULL);
    f->app_path = g_build_filename(f->dir, "app", NULL);
    f->addr.type = SOCKET_ADDRESS_TYPE_UNIX;
    f->addr.u.q_unix.path = f->port_path;
    f->listener = f->enclave = f->client = -1;
}

void open_file(Fixture *f)
{
    g_autofree char *options = g_strdup_printf("file,path=%s", f->app_path);

    open_chardev(f, options);
}

void set_up_socket(Fixture *f, gconstpointer data)
{
    g_autofree char *options = NULL;

    set_up(f, data);
    options = g_strdup_printf("socket,path=%s,server=on,wait=off",
                              f->app_path);
    open_chardev(f, options);
}

void hang_up(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void tear_down(Fixture *f, gconstpointer data)
{
    nitro_channel_free(f->ch);
    qemu_chr_fe_deinit(&f->be, true);
    settle();
    hang_up(&f->listener);
    hang_up(&f->enclave);
    hang_up(&f->client);
    unlink(f->port_path);
    unlink(f->app_path);
    g_rmdir(f->dir);
    g_free(f->port_path);
    g_free(f->app_path);
    g_free(f->dir);
    g_free(f->failure);
}

void client_connects(Fixture *f)
{
    f->client = stream_connect(f->app_path);
    wait_until(qemu_chr_fe_backend_open(&f->be));
}

void enclave_accepts(Fixture *f)
{
    wait_until((f->enclave = stream_accept(f->listener)) >= 0);
    wait_until(in_state(f, "open"));
}

void connect_both(Fixture *f)
{
    f->listener = stream_listen(f->port_path);
    nitro_channel_connect(f->ch, &f->addr);
    client_connects(f);
    enclave_accepts(f);
}

void begin_listening(Fixture *f)
{
    g_assert(nitro_channel_listen(f->ch, &f->addr, &error_abort));
    nitro_channel_accept(f->ch);
    assert_state(f, "listening");
}

void transfer(int from, int to, size_t first, size_t last)
{
    size_t sent = first, got = first;

    wait_until((sent = stream_send(from, sent, last),
                got = stream_read(to, got), got == last));
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
