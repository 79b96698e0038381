/*
 * Nitro Enclaves: stream from a socket to a character device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A ring buffer with two watches: the socket is watched for input while the
 * ring has room, the character device for output while the ring has data.  So
 * a slow reader slows its sender and nobody else, and an idle console wakes
 * nobody.  Output goes through the watch even when it might be possible at
 * once: a write that fails would put its data into the logfile of the
 * character device, and the next try would do so again.
 */

#include "qemu/osdep.h"
#include "vsock-console.h"
#include "io/channel-socket.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-sockets.h"
#include "qemu/units.h"
#include "trace.h"

/* An attempt to connect that may outlive the console that wanted it */
typedef struct NitroConsoleAttempt {
    NitroConsole *con;          /* NULL when it is not wanted any more */
} NitroConsoleAttempt;

struct NitroConsole {
    CharBackend *chr;
    const NitroConsoleOps *ops;
    void *opaque;
    unsigned retry_first_ms;
    unsigned retry_limit_ms;

    NitroConsoleState state;
    bool finishing;
    SocketAddress *addr;
    NitroConsoleAttempt *attempt;
    unsigned nr_attempts;
    unsigned retry_ms;
    int64_t deadline_us;
    guint retry_tag;

    QIOChannelSocket *sioc;             /* NULL at end of file */
    guint read_tag;
    guint write_tag;
    guint kick_tag;
    uint64_t bytes;

    size_t head;                        /* oldest byte in the ring */
    size_t len;
    uint8_t ring[NITRO_CONSOLE_BUFFER_SIZE];
};

static void console_pump(NitroConsole *con);
static void console_attempt(NitroConsole *con);

const char *nitro_console_state_str(NitroConsoleState state)
{
    static const char *const names[NITRO_CONSOLE__MAX] = {
        [NITRO_CONSOLE_IDLE] = "idle",
        [NITRO_CONSOLE_CONNECTING] = "connecting",
        [NITRO_CONSOLE_OPEN] = "open",
        [NITRO_CONSOLE_CLOSED] = "closed",
    };

    assert(state < NITRO_CONSOLE__MAX);
    return names[state];
}

static void set_state(NitroConsole *con, NitroConsoleState state)
{
    trace_nitro_console_state(con, nitro_console_state_str(con->state),
                              nitro_console_state_str(state));
    con->state = state;
}

static void console_closed(NitroConsole *con)
{
    trace_nitro_console_closed(con, con->bytes);
    set_state(con, NITRO_CONSOLE_CLOSED);
    con->ops->closed(con->opaque);
}

/* The ring */

static size_t ring_readable(NitroConsole *con, uint8_t **data)
{
    *data = con->ring + con->head;
    return MIN(con->len, sizeof(con->ring) - con->head);
}

static size_t ring_writable(NitroConsole *con, uint8_t **data)
{
    size_t tail;

    if (!con->len) {
        con->head = 0;
    }
    tail = (con->head + con->len) % sizeof(con->ring);
    *data = con->ring + tail;
    return MIN(sizeof(con->ring) - con->len, sizeof(con->ring) - tail);
}

static void ring_consume(NitroConsole *con, size_t bytes)
{
    con->head = (con->head + bytes) % sizeof(con->ring);
    con->len -= bytes;
}

/* Ring to character device */

/* Returns false when the character device has to be waited for */
static bool console_write(NitroConsole *con, bool may_wait)
{
    uint8_t *data;
    size_t bytes = ring_readable(con, &data);
    int done = qemu_chr_fe_write(con->chr, data, bytes);

    if (done > 0) {
        ring_consume(con, done);
        return true;
    }
    if (done < 0 && errno == EAGAIN && may_wait) {
        return false;
    }
    trace_nitro_console_dropped(con, bytes);
    ring_consume(con, bytes);
    return true;
}

static gboolean console_writable(void *do_not_use, GIOCondition cond,
                                 void *opaque)
{
    NitroConsole *con = opaque;

    con->write_tag = 0;
    console_write(con, !(cond & (G_IO_HUP | G_IO_ERR)));
    console_pump(con);
    return G_SOURCE_REMOVE;
}

/* Socket to ring */

static void console_disconnect(NitroConsole *con)
{
    g_clear_handle_id(&con->read_tag, g_source_remove);
    if (con->sioc) {
        qio_channel_close(QIO_CHANNEL(con->sioc), NULL);
        object_unref(OBJECT(con->sioc));
        con->sioc = NULL;
    }
}

static gboolean console_readable(QIOChannel *ioc, GIOCondition cond,
                                 gpointer opaque)
{
    NitroConsole *con = opaque;
    uint8_t *data;
    size_t room = ring_writable(con, &data);
    ssize_t len = qio_channel_read(ioc, (char *)data, room, NULL);

    if (len == QIO_CHANNEL_ERR_BLOCK) {
        return G_SOURCE_CONTINUE;
    }
    if (len <= 0) {
        /* An enclave that resets its console port has ended just as well */
        con->read_tag = 0;
        console_disconnect(con);
        console_pump(con);
        return G_SOURCE_REMOVE;
    }

    con->len += len;
    con->bytes += len;
    if (con->len < sizeof(con->ring)) {
        console_pump(con);
        return G_SOURCE_CONTINUE;
    }
    /* Pumping may make room and then adds a watch of its own */
    trace_nitro_console_paused(con, con->len);
    con->read_tag = 0;
    console_pump(con);
    return G_SOURCE_REMOVE;
}

/* Make the watches fit the ring, after anything has changed */
static void console_pump(NitroConsole *con)
{
    while (con->len && !con->write_tag) {
        con->write_tag = qemu_chr_fe_add_watch(con->chr, G_IO_OUT | G_IO_HUP,
                                               console_writable, con);
        if (!con->write_tag) {
            /* Nothing to wait for: nobody has it open, or it takes all */
            console_write(con, false);
        }
    }

    if (con->sioc && !con->read_tag && con->len < sizeof(con->ring)) {
        con->read_tag = qio_channel_add_watch(QIO_CHANNEL(con->sioc),
                                              G_IO_IN | G_IO_HUP | G_IO_ERR,
                                              console_readable, con, NULL);
    }
    if (con->state == NITRO_CONSOLE_OPEN && !con->sioc && !con->len) {
        console_closed(con);
    }
}

/* Connecting */

static gboolean console_retry(gpointer opaque)
{
    NitroConsole *con = opaque;

    con->retry_tag = 0;
    console_attempt(con);
    return G_SOURCE_REMOVE;
}

static void console_connect_failed(NitroConsole *con, Error *err)
{
    bool late = g_get_monotonic_time() + con->retry_ms * 1000LL >
                con->deadline_us;

    if (con->finishing) {
        error_free(err);
        console_closed(con);
        return;
    }
    if (late) {
        con->ops->failed(con->opaque, err);
        console_closed(con);
        return;
    }

    trace_nitro_console_retry(con, con->retry_ms, error_get_pretty(err));
    error_free(err);
    con->retry_tag = g_timeout_add(con->retry_ms, console_retry, con);
    con->retry_ms = MIN(con->retry_ms * 2, NITRO_CONSOLE_RETRY_LAST_MS);
}

static void console_connected(QIOTask *task, gpointer opaque)
{
    NitroConsoleAttempt *attempt = opaque;
    NitroConsole *con = attempt->con;
    QIOChannelSocket *sioc = QIO_CHANNEL_SOCKET(qio_task_get_source(task));
    Error *err = NULL;

    if (!con) {
        return;
    }
    con->attempt = NULL;
    if (qio_task_propagate_error(task, &err) ||
        qio_channel_set_blocking(QIO_CHANNEL(sioc), false, &err) < 0) {
        console_connect_failed(con, err);
        return;
    }

    con->sioc = QIO_CHANNEL_SOCKET(object_ref(OBJECT(sioc)));
    qio_channel_set_name(QIO_CHANNEL(sioc), "nitro-console");
    set_state(con, NITRO_CONSOLE_OPEN);
    console_pump(con);
}

static void console_attempt(NitroConsole *con)
{
    g_autoptr(QIOChannelSocket) sioc = qio_channel_socket_new();

    con->attempt = g_new0(NitroConsoleAttempt, 1);
    con->attempt->con = con;
    trace_nitro_console_connect(con, ++con->nr_attempts);
    qio_channel_socket_connect_async(sioc, con->addr, console_connected,
                                     con->attempt, g_free, NULL);
}

static void console_abandon(NitroConsole *con)
{
    g_clear_handle_id(&con->retry_tag, g_source_remove);
    g_clear_handle_id(&con->write_tag, g_source_remove);
    g_clear_handle_id(&con->kick_tag, g_source_remove);
    if (con->attempt) {
        con->attempt->con = NULL;
        con->attempt = NULL;
    }
    console_disconnect(con);
    g_clear_pointer(&con->addr, qapi_free_SocketAddress);
    con->len = 0;
}

void nitro_console_connect(NitroConsole *con, const SocketAddress *addr)
{
    console_abandon(con);
    con->addr = QAPI_CLONE(SocketAddress, addr);
    con->finishing = false;
    con->bytes = 0;
    con->nr_attempts = 0;
    con->retry_ms = con->retry_first_ms;
    con->deadline_us = g_get_monotonic_time() + con->retry_limit_ms * 1000LL;
    set_state(con, NITRO_CONSOLE_CONNECTING);
    console_attempt(con);
}

bool nitro_console_finish(NitroConsole *con)
{
    con->finishing = true;
    if (con->retry_tag) {
        g_clear_handle_id(&con->retry_tag, g_source_remove);
        set_state(con, NITRO_CONSOLE_CLOSED);
    }
    return con->state == NITRO_CONSOLE_CONNECTING ||
           con->state == NITRO_CONSOLE_OPEN;
}

/* Character device */

static int console_can_receive(void *opaque)
{
    return 1 * KiB;
}

static void console_receive(void *opaque, const uint8_t *buf, int size)
{
    /* The console of an enclave is output only */
}

static gboolean console_kicked(gpointer opaque)
{
    NitroConsole *con = opaque;

    con->kick_tag = 0;
    console_pump(con);
    return G_SOURCE_REMOVE;
}

/*
 * The connection that the watch belongs to may be gone.  Pumping has to wait:
 * a character device may hold its lock for writing while it tells us.
 */
static void console_kick(NitroConsole *con)
{
    g_clear_handle_id(&con->write_tag, g_source_remove);
    if (!con->kick_tag) {
        con->kick_tag = g_idle_add(console_kicked, con);
    }
}

static void console_event(void *opaque, QEMUChrEvent event)
{
    if (event == CHR_EVENT_OPENED || event == CHR_EVENT_CLOSED) {
        console_kick(opaque);
    }
}

static void console_set_handlers(NitroConsole *con);

static int console_backend_changed(void *opaque)
{
    console_set_handlers(opaque);
    console_kick(opaque);
    return 0;
}

static void console_set_handlers(NitroConsole *con)
{
    qemu_chr_fe_set_handlers(con->chr, console_can_receive, console_receive,
                             console_event, console_backend_changed, con,
                             NULL, true);
}

NitroConsoleState nitro_console_state(const NitroConsole *con)
{
    return con->state;
}

uint64_t nitro_console_bytes(const NitroConsole *con)
{
    return con->bytes;
}

void nitro_console_set_retry(NitroConsole *con, unsigned first_ms,
                             unsigned limit_ms)
{
    con->retry_first_ms = first_ms;
    con->retry_limit_ms = limit_ms;
}

NitroConsole *nitro_console_new(CharBackend *chr, const NitroConsoleOps *ops,
                                void *opaque)
{
    NitroConsole *con = g_new0(NitroConsole, 1);

    con->chr = chr;
    con->ops = ops;
    con->opaque = opaque;
    nitro_console_set_retry(con, NITRO_CONSOLE_RETRY_FIRST_MS,
                            NITRO_CONSOLE_RETRY_LIMIT_MS);
    console_set_handlers(con);
    return con;
}

void nitro_console_free(NitroConsole *con)
{
    if (con) {
        qemu_chr_fe_set_handlers(con->chr, NULL, NULL, NULL, NULL, NULL, NULL,
                                 false);
        console_abandon(con);
        g_free(con);
    }
}
