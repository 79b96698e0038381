/*
 * Nitro Enclaves: stream between a socket and a character device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Event handlers only note what has happened; channel_update() then makes
 * watches, session and state fit.  A session is the life of one stream.
 */

#include "qemu/osdep.h"
#include "vsock-channel.h"
#include "chardev-output.h"
#include "io/net-listener.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-sockets.h"
#include "qemu/fifo8.h"
#include "trace.h"
#include "vsock-connector.h"

/* Read at once */
#define READ_SIZE (16 * 1024)

struct NitroChannel {
    CharFrontend *chr;
    const NitroChannelOps *ops;
    void *opaque;
    NitroConnector *connector;
    NitroOutput *output;                /* to the character device */
    Fifo8 input;                        /* from it */
    bool input_ended;                   /* it sends no more, but takes */

    NitroEnclaveChannelState state;
    bool over;                          /* no more streams */
    SocketAddress *addr;                /* to connect to, or NULL */
    QIONetListener *listener;           /* or NULL */
    uint64_t received;
    uint64_t sent;
    unsigned nr_connections;

    /* The session */
    QIOChannelSocket *sioc;             /* NULL without one */
    guint read_tag;
    guint write_tag;
    guint linger_tag;
    bool eof;                           /* the enclave sends no more */
    bool deaf;                          /* the enclave takes no more */
    bool hang_up;                       /* the peer of chr has left */
};

static void channel_update(NitroChannel *ch);

static void set_state(NitroChannel *ch, NitroEnclaveChannelState state)
{
    if (ch->state == state) {
        return;
    }
    trace_nitro_channel_state(ch, NitroEnclaveChannelState_str(ch->state),
                              NitroEnclaveChannelState_str(state));
    ch->state = state;
    if (state == NITRO_ENCLAVE_CHANNEL_STATE_CLOSED) {
        ch->ops->closed(ch->opaque);
    }
}

/* The session */

static void session_begin(NitroChannel *ch, QIOChannelSocket *sioc)
{
    ch->sioc = QIO_CHANNEL_SOCKET(object_ref(OBJECT(sioc)));
    qio_channel_set_name(QIO_CHANNEL(sioc), "nitro-channel");
    ch->eof = ch->deaf = ch->hang_up = false;
    ch->nr_connections++;
    trace_nitro_channel_begin(ch, ch->nr_connections);
    set_state(ch, NITRO_ENCLAVE_CHANNEL_STATE_OPEN);
    qemu_chr_fe_accept_input(ch->chr);
    channel_update(ch);
}

static void session_close(NitroChannel *ch)
{
    g_clear_handle_id(&ch->read_tag, g_source_remove);
    g_clear_handle_id(&ch->write_tag, g_source_remove);
    g_clear_handle_id(&ch->linger_tag, g_source_remove);
    fifo8_reset(&ch->input);
    if (ch->sioc) {
        trace_nitro_channel_end(ch, ch->received, ch->sent);
        qio_channel_close(QIO_CHANNEL(ch->sioc), NULL);
        object_unref(OBJECT(ch->sioc));
        ch->sioc = NULL;
    }
}

/* The enclave gets no more: nobody has sent it, or it does not take it */
static bool all_sent(NitroChannel *ch)
{
    return ch->deaf || fifo8_is_empty(&ch->input);
}

static bool session_is_done(NitroChannel *ch)
{
    if (ch->hang_up) {
        return all_sent(ch);
    }
    if (!ch->eof || !all_sent(ch)) {
        return false;
    }
    /* Without an enclave nobody waits for a reader that is not there */
    return ch->over ? !nitro_output_pending(ch->output)
                    : nitro_output_is_empty(ch->output);
}

static void connect_again(NitroChannel *ch)
{
    Error *why = NULL;

    error_setg(&why, "the enclave has closed the connection");
    set_state(ch, NITRO_ENCLAVE_CHANNEL_STATE_CONNECTING);
    nitro_connector_again(ch->connector, why);
}

static void session_end(NitroChannel *ch)
{
    bool hang_up = ch->hang_up;

    session_close(ch);
    if (!hang_up) {
        qemu_chr_fe_disconnect(ch->chr);
    }
    /* Whoever came after the peer that has left waits already */
    if (ch->addr && !ch->over && !hang_up &&
        nitro_output_attended(ch->output)) {
        connect_again(ch);
    }
}

static gboolean session_linger(gpointer opaque)
{
    NitroChannel *ch = opaque;

    ch->linger_tag = 0;
    ch->deaf = true;
    channel_update(ch);
    return G_SOURCE_REMOVE;
}

/* From the socket to the character device */

static gboolean channel_readable(QIOChannel *ioc, GIOCondition cond,
                                 gpointer opaque)
{
    NitroChannel *ch = opaque;
    uint8_t data[READ_SIZE];
    uint32_t room = ch->hang_up ? sizeof(data)
                                : nitro_output_room(ch->output);
    ssize_t len;

    if (!room) {
        ch->read_tag = 0;
        return G_SOURCE_REMOVE;
    }
    len = qio_channel_read(ioc, (char *)data, MIN(room, sizeof(data)), NULL);
    if (len == QIO_CHANNEL_ERR_BLOCK) {
        return G_SOURCE_CONTINUE;
    }
    if (len <= 0) {
        ch->read_tag = 0;
        ch->eof = true;
        ch->deaf |= len < 0;
        channel_update(ch);
        return G_SOURCE_REMOVE;
    }
    ch->received += len;
    if (!ch->hang_up) {
        nitro_output_put(ch->output, data, len);
    }
    return G_SOURCE_CONTINUE;
}

/* From the character device to the socket */

static gboolean channel_writable(QIOChannel *ioc, GIOCondition cond,
                                 gpointer opaque)
{
    NitroChannel *ch = opaque;
    uint32_t len;
    const uint8_t *data = fifo8_peek_bufptr(&ch->input,
                                            fifo8_num_used(&ch->input), &len);
    ssize_t done = qio_channel_write(ioc, (const char *)data, len, NULL);

    if (done == QIO_CHANNEL_ERR_BLOCK) {
        return G_SOURCE_CONTINUE;
    }
    ch->write_tag = 0;
    if (done < 0) {
        ch->deaf = true;
    } else {
        fifo8_drop(&ch->input, done);
        ch->sent += done;
        qemu_chr_fe_accept_input(ch->chr);
    }
    channel_update(ch);
    return G_SOURCE_REMOVE;
}

static int channel_can_receive(void *opaque)
{
    NitroChannel *ch = opaque;

    return ch->sioc && !ch->eof && !ch->deaf && !ch->hang_up
           ? fifo8_num_free(&ch->input) : 0;
}

static void channel_receive(void *opaque, const uint8_t *buf, int size)
{
    NitroChannel *ch = opaque;

    fifo8_push_all(&ch->input, buf, size);
    channel_update(ch);
}

/* Make watches, session and state fit, after anything has changed */

static void session_update(NitroChannel *ch)
{
    QIOChannel *ioc = QIO_CHANNEL(ch->sioc);

    if (!ch->eof && !ch->read_tag &&
        (ch->hang_up || nitro_output_room(ch->output))) {
        ch->read_tag = qio_channel_add_watch(ioc,
                                             G_IO_IN | G_IO_HUP | G_IO_ERR,
                                             channel_readable, ch, NULL);
    }
    if (!all_sent(ch) && !ch->write_tag) {
        ch->write_tag = qio_channel_add_watch(ioc, G_IO_OUT,
                                              channel_writable, ch, NULL);
    }
    if (ch->input_ended && !ch->deaf && fifo8_is_empty(&ch->input)) {
        ch->deaf = true;
        qio_channel_shutdown(ioc, QIO_CHANNEL_SHUTDOWN_WRITE, NULL);
    }
    if (ch->hang_up && !ch->linger_tag) {
        ch->linger_tag = g_timeout_add(NITRO_CHANNEL_LINGER_MS,
                                       session_linger, ch);
    }
}

static void connection_update(NitroChannel *ch)
{
    bool attended = nitro_output_attended(ch->output);
    bool busy = nitro_connector_busy(ch->connector);

    if (attended && !busy) {
        nitro_connector_start(ch->connector, ch->addr);
    } else if (!attended && busy) {
        nitro_connector_stop(ch->connector);
    }
    set_state(ch, attended ? NITRO_ENCLAVE_CHANNEL_STATE_CONNECTING
                           : NITRO_ENCLAVE_CHANNEL_STATE_WAITING);
}

static void channel_update(NitroChannel *ch)
{
    if (ch->sioc && session_is_done(ch)) {
        session_end(ch);
    }
    if (ch->sioc) {
        session_update(ch);
    } else if (ch->over) {
        set_state(ch, NITRO_ENCLAVE_CHANNEL_STATE_CLOSED);
    } else if (ch->addr) {
        connection_update(ch);
    } else if (ch->listener) {
        set_state(ch, NITRO_ENCLAVE_CHANNEL_STATE_LISTENING);
    }
}

static void channel_output_changed(void *opaque)
{
    NitroChannel *ch = opaque;

    if (ch->state != NITRO_ENCLAVE_CHANNEL_STATE_IDLE) {
        channel_update(ch);
    }
}

static const NitroOutputOps channel_output_ops = {
    .changed = channel_output_changed,
};

/*
 * What is left in the output is not for whoever comes next.  The rest has to
 * wait, as the character device may hold its lock: see nitro_output_kick().
 */
static void channel_chr_closed(NitroChannel *ch)
{
    nitro_output_kick(ch->output);
    if (nitro_output_attended(ch->output)) {
        ch->input_ended = true;
        return;
    }
    nitro_output_clear(ch->output);
    ch->hang_up = ch->sioc != NULL;
}

static void channel_event(void *opaque, QEMUChrEvent event)
{
    NitroChannel *ch = opaque;

    if (event == CHR_EVENT_CLOSED) {
        channel_chr_closed(ch);
    } else if (event == CHR_EVENT_OPENED) {
        ch->input_ended = false;
        nitro_output_kick(ch->output);
    }
}

static void channel_set_handlers(NitroChannel *ch);

static int channel_backend_changed(void *opaque)
{
    NitroChannel *ch = opaque;

    channel_set_handlers(ch);
    nitro_output_kick(ch->output);
    return 0;
}

static void channel_set_handlers(NitroChannel *ch)
{
    qemu_chr_fe_set_handlers(ch->chr, channel_can_receive, channel_receive,
                             channel_event, channel_backend_changed, ch, NULL,
                             true);
}

/* Making streams */

static void channel_connected(void *opaque, QIOChannelSocket *sioc)
{
    session_begin(opaque, sioc);
}

static void channel_connect_failed(void *opaque, Error *err)
{
    NitroChannel *ch = opaque;

    ch->ops->failed(ch->opaque, err);
    qemu_chr_fe_disconnect(ch->chr);
    /* Who comes next is worth a new try; who cannot leave is not */
    ch->over = nitro_output_attended(ch->output);
    channel_update(ch);
}

static const NitroConnectorOps channel_connector_ops = {
    .connected = channel_connected,
    .failed = channel_connect_failed,
};

static void channel_accepted(QIONetListener *listener, QIOChannelSocket *sioc,
                             gpointer opaque)
{
    NitroChannel *ch = opaque;

    if (!ch->ops->admit(ch->opaque, sioc)) {
        return;
    }
    if (ch->sioc) {
        trace_nitro_channel_busy(ch);
        return;
    }
    if (nitro_set_nonblocking(QIO_CHANNEL(sioc), NULL)) {
        session_begin(ch, sioc);
    }
}

static void close_listener(NitroChannel *ch)
{
    if (ch->listener) {
        qio_net_listener_disconnect(ch->listener);
        object_unref(OBJECT(ch->listener));
        ch->listener = NULL;
    }
}

/* Give up all that an earlier life has left; its client is nobody else's */
static void channel_restart(NitroChannel *ch)
{
    if (ch->sioc) {
        session_close(ch);
        qemu_chr_fe_disconnect(ch->chr);
    }
    nitro_connector_stop(ch->connector);
    close_listener(ch);
    nitro_output_clear(ch->output);
    g_clear_pointer(&ch->addr, qapi_free_SocketAddress);
    ch->over = false;
    ch->received = ch->sent = 0;
    ch->nr_connections = 0;
}

bool nitro_channel_listen(NitroChannel *ch, SocketAddress *addr, Error **errp)
{
    g_autoptr(QIOChannelSocket) sioc = qio_channel_socket_new();

    channel_restart(ch);
    /* A peer that gives up while it waits must not leave us in accept() */
    if (qio_channel_socket_listen_sync(sioc, addr, NITRO_CHANNEL_BACKLOG,
                                       errp) < 0 ||
        !nitro_set_nonblocking(QIO_CHANNEL(sioc), errp)) {
        return false;
    }
    ch->listener = qio_net_listener_new();
    qio_net_listener_set_name(ch->listener, "nitro-channel");
    qio_net_listener_add(ch->listener, sioc);
    return true;
}

void nitro_channel_accept(NitroChannel *ch)
{
    channel_update(ch);
    qio_net_listener_set_client_func(ch->listener, channel_accepted, ch, NULL);
}

void nitro_channel_connect(NitroChannel *ch, const SocketAddress *addr)
{
    channel_restart(ch);
    ch->addr = QAPI_CLONE(SocketAddress, addr);
    channel_update(ch);
}

bool nitro_channel_finish(NitroChannel *ch)
{
    ch->over = true;
    ch->deaf = true;
    nitro_connector_stop(ch->connector);
    close_listener(ch);
    if (ch->state == NITRO_ENCLAVE_CHANNEL_STATE_IDLE) {
        return false;
    }
    channel_update(ch);
    return ch->state != NITRO_ENCLAVE_CHANNEL_STATE_CLOSED;
}

NitroEnclaveChannelState nitro_channel_state(const NitroChannel *ch)
{
    return ch->state;
}

uint64_t nitro_channel_received(const NitroChannel *ch)
{
    return ch->received;
}

uint64_t nitro_channel_sent(const NitroChannel *ch)
{
    return ch->sent;
}

unsigned nitro_channel_connections(const NitroChannel *ch)
{
    return ch->nr_connections;
}

void nitro_channel_set_retry(NitroChannel *ch, unsigned first_ms,
                             unsigned again_ms, unsigned limit_ms)
{
    nitro_connector_set_retry(ch->connector, first_ms, again_ms, limit_ms);
}

NitroChannel *nitro_channel_new(CharFrontend *chr, const NitroChannelOps *ops,
                                void *opaque)
{
    NitroChannel *ch = g_new0(NitroChannel, 1);

    ch->chr = chr;
    ch->ops = ops;
    ch->opaque = opaque;
    ch->connector = nitro_connector_new(&channel_connector_ops, ch);
    ch->output = nitro_output_new(chr, NITRO_CHANNEL_BUFFER_SIZE,
                                  &channel_output_ops, ch);
    fifo8_create(&ch->input, NITRO_CHANNEL_BUFFER_SIZE);
    channel_set_handlers(ch);
    return ch;
}

void nitro_channel_free(NitroChannel *ch)
{
    if (ch) {
        qemu_chr_fe_set_handlers(ch->chr, NULL, NULL, NULL, NULL, NULL, NULL,
                                 false);
        session_close(ch);
        close_listener(ch);
        nitro_connector_free(ch->connector);
        nitro_output_free(ch->output);
        fifo8_destroy(&ch->input);
        qapi_free_SocketAddress(ch->addr);
        g_free(ch);
    }
}
