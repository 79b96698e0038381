/*
 * Nitro Enclaves: stream from a socket to a character device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A connector on one side and a queue on the other.  The socket is watched
 * for input while the queue has room, so a slow reader slows its sender and
 * nobody else, and an idle console wakes nobody.
 */

#include "qemu/osdep.h"
#include "vsock-console.h"
#include "chardev-output.h"
#include "qapi/error.h"
#include "qemu/units.h"
#include "trace.h"
#include "vsock-connector.h"

/* Read at once */
#define READ_SIZE (16 * KiB)

struct NitroConsole {
    CharFrontend *chr;
    const NitroConsoleOps *ops;
    void *opaque;
    NitroConnector *connector;
    NitroOutput *output;

    NitroEnclaveConsoleState state;
    bool over;                          /* no more connections */
    QIOChannelSocket *sioc;             /* NULL at end of file */
    guint read_tag;
    uint64_t bytes;
    unsigned nr_connections;
};

static void set_state(NitroConsole *con, NitroEnclaveConsoleState state)
{
    if (con->state == state) {
        return;
    }
    trace_nitro_console_state(con, NitroEnclaveConsoleState_str(con->state),
                              NitroEnclaveConsoleState_str(state));
    con->state = state;
    if (state == NITRO_ENCLAVE_CONSOLE_STATE_CLOSED) {
        trace_nitro_console_closed(con, con->bytes);
        con->ops->closed(con->opaque);
    }
}

/* From the socket to the queue */

static void console_disconnect(NitroConsole *con)
{
    g_clear_handle_id(&con->read_tag, g_source_remove);
    if (con->sioc) {
        qio_channel_close(QIO_CHANNEL(con->sioc), NULL);
        object_unref(OBJECT(con->sioc));
        con->sioc = NULL;
    }
}

static void console_update(NitroConsole *con);

/* An enclave that resets its console port has ended just as well */
static void console_hung_up(NitroConsole *con, Error *err)
{
    con->read_tag = 0;
    console_disconnect(con);
    if (!err) {
        error_setg(&err, "the hypervisor has closed the connection");
    }
    trace_nitro_console_hung_up(con, con->bytes, error_get_pretty(err));
    if (con->over) {
        error_free(err);
    } else {
        set_state(con, NITRO_ENCLAVE_CONSOLE_STATE_CONNECTING);
        nitro_connector_again(con->connector, err);
    }
    console_update(con);
}

static gboolean console_readable(QIOChannel *ioc, GIOCondition cond,
                                 gpointer opaque)
{
    NitroConsole *con = opaque;
    uint8_t data[READ_SIZE];
    uint32_t room = nitro_output_room(con->output);
    Error *err = NULL;
    ssize_t len;

    if (!room) {
        /* A reader came, and what was kept for it fills the queue */
        con->read_tag = 0;
        return G_SOURCE_REMOVE;
    }
    len = qio_channel_read(ioc, (char *)data, MIN(room, sizeof(data)), &err);
    if (len == QIO_CHANNEL_ERR_BLOCK) {
        return G_SOURCE_CONTINUE;
    }
    if (len <= 0) {
        console_hung_up(con, err);
        return G_SOURCE_REMOVE;
    }

    con->bytes += len;
    nitro_output_put(con->output, data, len);
    if (nitro_output_room(con->output)) {
        return G_SOURCE_CONTINUE;
    }
    trace_nitro_console_paused(con, con->bytes);
    con->read_tag = 0;
    return G_SOURCE_REMOVE;
}

/* Make watch and state fit, after anything has changed */
static void console_update(NitroConsole *con)
{
    if (con->sioc && !con->read_tag && nitro_output_room(con->output)) {
        con->read_tag = qio_channel_add_watch(QIO_CHANNEL(con->sioc),
                                              G_IO_IN | G_IO_HUP | G_IO_ERR,
                                              console_readable, con, NULL);
    }
    if (con->over && !con->sioc && !nitro_connector_busy(con->connector) &&
        con->state != NITRO_ENCLAVE_CONSOLE_STATE_IDLE) {
        set_state(con, nitro_output_pending(con->output)
                       ? NITRO_ENCLAVE_CONSOLE_STATE_OPEN
                       : NITRO_ENCLAVE_CONSOLE_STATE_CLOSED);
    }
}

static void console_output_changed(void *opaque)
{
    console_update(opaque);
}

static void console_output_dropped(void *opaque, const char *why)
{
    NitroConsole *con = opaque;

    con->ops->dropped(con->opaque, why);
}

static const NitroOutputOps console_output_ops = {
    .changed = console_output_changed,
    .dropped = console_output_dropped,
};

/* Connecting */

static void console_connected(void *opaque, QIOChannelSocket *sioc)
{
    NitroConsole *con = opaque;

    con->sioc = QIO_CHANNEL_SOCKET(object_ref(OBJECT(sioc)));
    qio_channel_set_name(QIO_CHANNEL(sioc), "nitro-console");
    con->nr_connections++;
    trace_nitro_console_connected(con, con->nr_connections);
    set_state(con, NITRO_ENCLAVE_CONSOLE_STATE_OPEN);
    console_update(con);
}

static void console_connect_failed(void *opaque, Error *err)
{
    NitroConsole *con = opaque;

    if (con->over) {
        error_free(err);
    } else {
        con->over = true;
        con->ops->failed(con->opaque, err);
    }
    console_update(con);
}

static const NitroConnectorOps console_connector_ops = {
    .connected = console_connected,
    .failed = console_connect_failed,
};

void nitro_console_connect(NitroConsole *con, const SocketAddress *addr)
{
    console_disconnect(con);
    con->over = false;
    con->bytes = 0;
    con->nr_connections = 0;
    nitro_output_restart(con->output);
    set_state(con, NITRO_ENCLAVE_CONSOLE_STATE_CONNECTING);
    nitro_connector_start(con->connector, addr);
}

bool nitro_console_finish(NitroConsole *con)
{
    con->over = true;
    if (con->nr_connections) {
        nitro_connector_stop(con->connector);
    } else {
        nitro_connector_finish(con->connector);
    }
    console_update(con);
    return con->state == NITRO_ENCLAVE_CONSOLE_STATE_CONNECTING ||
           con->state == NITRO_ENCLAVE_CONSOLE_STATE_OPEN;
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

static void console_event(void *opaque, QEMUChrEvent event)
{
    NitroConsole *con = opaque;

    if (event == CHR_EVENT_OPENED || event == CHR_EVENT_CLOSED) {
        nitro_output_kick(con->output);
    }
}

static void console_set_handlers(NitroConsole *con);

static int console_backend_changed(void *opaque)
{
    NitroConsole *con = opaque;

    console_set_handlers(con);
    nitro_output_kick(con->output);
    return 0;
}

static void console_set_handlers(NitroConsole *con)
{
    qemu_chr_fe_set_handlers(con->chr, console_can_receive, console_receive,
                             console_event, console_backend_changed, con,
                             NULL, true);
}

NitroEnclaveConsoleState nitro_console_state(const NitroConsole *con)
{
    return con->state;
}

uint64_t nitro_console_bytes(const NitroConsole *con)
{
    return con->bytes;
}

uint64_t nitro_console_dropped(const NitroConsole *con)
{
    return nitro_output_dropped(con->output);
}

unsigned nitro_console_reconnects(const NitroConsole *con)
{
    return con->nr_connections ? con->nr_connections - 1 : 0;
}

void nitro_console_set_retry(NitroConsole *con, unsigned first_ms,
                             unsigned again_ms, unsigned limit_ms)
{
    nitro_connector_set_retry(con->connector, first_ms, again_ms, limit_ms);
}

NitroConsole *nitro_console_new(CharFrontend *chr, uint32_t backlog,
                                NitroConsoleOverflow overflow,
                                const NitroConsoleOps *ops, void *opaque)
{
    NitroConsole *con = g_new0(NitroConsole, 1);

    con->chr = chr;
    con->ops = ops;
    con->opaque = opaque;
    con->connector = nitro_connector_new(&console_connector_ops, con);
    nitro_console_set_retry(con, NITRO_CONNECTOR_FIRST_MS,
                            NITRO_CONNECTOR_AGAIN_MS,
                            NITRO_CONSOLE_RETRY_LIMIT_MS);
    con->output = nitro_output_new(chr, backlog, &console_output_ops, con);
    nitro_output_set_overflow(con->output, overflow,
                              NITRO_CONSOLE_OVERFLOW_DROP_OLDEST);
    console_set_handlers(con);
    return con;
}

void nitro_console_free(NitroConsole *con)
{
    if (con) {
        qemu_chr_fe_set_handlers(con->chr, NULL, NULL, NULL, NULL, NULL, NULL,
                                 false);
        console_disconnect(con);
        nitro_connector_free(con->connector);
        nitro_output_free(con->output);
        g_free(con);
    }
}
