/*
 * Nitro Enclaves: console stream, what its tests share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "nitro-console-util.h"

/* The hypervisor */

void hypervisor_listen(Fixture *f)
{
    f->listener = stream_listen(f->console_path);
}

bool hypervisor_accept(Fixture *f)
{
    f->hypervisor = stream_accept(f->listener);
    return f->hypervisor >= 0;
}

size_t hypervisor_send(Fixture *f, size_t bytes)
{
    size_t before = f->sent;

    f->sent = stream_send(f->hypervisor, before, before + bytes);
    return f->sent - before;
}

void hypervisor_send_all(Fixture *f, size_t bytes)
{
    size_t end = f->sent + bytes;

    wait_until((hypervisor_send(f, end - f->sent), f->sent == end));
}

void hypervisor_hangs_up(Fixture *f)
{
    close(f->hypervisor);
    f->hypervisor = -1;
}

void enclave_ends(Fixture *f)
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

void assert_state(Fixture *f, const char *state)
{
    g_assert_cmpstr(NitroEnclaveConsoleState_str(nitro_console_state(f->con)),
                    ==, state);
}

static void open_chardev_policy(Fixture *f, const char *options,
                                NitroConsoleOverflow overflow)
{
    g_autofree char *all = g_strdup_printf("%s,id=con,logfile=%s", options,
                                           f->log_path);

    f->chr = stream_chardev(&f->be, all);
    f->con = nitro_console_new(&f->be, CONSOLE_BACKLOG, overflow, &console_ops,
                               f);
    nitro_console_set_retry(f->con, 1, 1, PATIENCE_MS);
    assert_state(f, "idle");
}

void open_chardev(Fixture *f, const char *options)
{
    open_chardev_policy(f, options, NITRO_CONSOLE_OVERFLOW_BLOCK);
}

void open_file(Fixture *f)
{
    g_autofree char *options = g_strdup_printf("file,path=%s", f->out_path);

    open_chardev(f, options);
}

void open_socket_policy(Fixture *f, NitroConsoleOverflow overflow)
{
    g_autofree char *options =
        g_strdup_printf("socket,path=%s,server=on,wait=off", f->out_path);

    open_chardev_policy(f, options, overflow);
}

void open_socket(Fixture *f)
{
    open_socket_policy(f, NITRO_CONSOLE_OVERFLOW_BLOCK);
}

void connect_console(Fixture *f)
{
    nitro_console_connect(f->con, &f->addr);
    assert_state(f, "connecting");
    wait_until(hypervisor_accept(f));
    wait_until(nitro_console_state(f->con) == NITRO_ENCLAVE_CONSOLE_STATE_OPEN);
}

void set_up(Fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("nitro-console-XXXXXX", NULL);
    f->console_path = g_build_filename(f->dir, "console", NULL);
    f->out_path = g_build_filename(f->dir, "out", NULL);
    f->log_path = g_build_filename(f->dir, "log", NULL);
    f->addr.type = SOCKET_ADDRESS_TYPE_UNIX;
    f->addr.u.q_unix.path = f->console_path;
    f->listener = f->hypervisor = -1;
}

void set_up_listening(Fixture *f, gconstpointer data)
{
    set_up(f, data);
    hypervisor_listen(f);
}

void tear_down(Fixture *f, gconstpointer data)
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

int reader_connect(Fixture *f)
{
    int fd = stream_connect(f->out_path);

    wait_until(qemu_chr_fe_backend_open(&f->be));
    return fd;
}

int reader_connect_stuck(Fixture *f)
{
    int reader;

    open_socket(f);
    reader = reader_connect(f);
    connect_console(f);
    while (hypervisor_send(f, 1 * MiB)) {
        settle();
    }
    return reader;
}
