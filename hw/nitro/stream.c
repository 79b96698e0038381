/*
 * Nitro Enclaves: stream between a socket and a character device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Event handlers only note what has happened; stream_update() then makes
 * watches, session and state fit.  A session is the life of one connection.
 * Sockets are watched for input while there is room for it, so a slow reader
 * slows its sender and nobody else, and an idle stream wakes nobody.
 *
 * A peer that accepts every connection and closes it at once is treated as
 * one that is not there: only a connection that lasted ends a series of
 * attempts.
 */

#include "qemu/osdep.h"
#include "stream.h"
#include "chardev-output.h"
#include "listener.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-sockets.h"
#include "qemu/fifo8.h"
#include "qemu/units.h"
#include "trace.h"

/* Read at once */
#define READ_SIZE (16 * KiB)

/* An attempt to connect that may outlive the stream that wanted it */
typedef struct NitroStreamAttempt {
    NitroStream *stream;        /* NULL when it is not wanted any more */
} NitroStreamAttempt;

struct NitroStream {
    CharBackend *fe;
    NitroStreamOptions options;
    const NitroStreamOps *ops;
    void *opaque;
    NitroOutput *output;                /* to the character device */
    Fifo8 input;                        /* from it; only if there is input */
    bool chr_closed;                    /* to be looked at later */
    bool input_ended;                   /* it sends no more, but takes */

    NitroEnclaveChannelState state;
    bool over;                          /* no more connections */
    SocketAddress *addr;                /* to connect to, or NULL */
    QIONetListener *listener;           /* or NULL */
    NitroStreamCounts counts;

    /* A series of attempts to connect */
    NitroStreamAttempt *attempt;        /* the one that runs, or NULL */
    guint retry_tag;
    unsigned nr_attempts;
    unsigned pause_ms;
    int64_t began_us;

    /* The session */
    QIOChannelSocket *sioc;             /* NULL without one */
    int64_t connected_us;
    guint read_tag;
    guint write_tag;
    guint linger_tag;
    Error *lost;                        /* why the socket cannot be read */
    bool eof;                           /* the enclave sends no more */
    bool deaf;                          /* the enclave takes no more */
    bool hang_up;                       /* the peer of the chardev has left */
};

static void stream_update(NitroStream *s);
static void chr_closed_settle(NitroStream *s);
static void attempt_failed(NitroStream *s, unsigned pause_ms, Error *why);

static void set_state(NitroStream *s, NitroEnclaveChannelState state)
{
    if (s->state == state) {
        return;
    }
    trace_nitro_stream_state(s, s->options.name,
                             NitroEnclaveChannelState_str(s->state),
                             NitroEnclaveChannelState_str(state));
    s->state = state;
    if (state == NITRO_ENCLAVE_CHANNEL_STATE_CLOSED) {
        s->ops->closed(s->opaque);
    }
}

/* Making connections */

static bool is_connecting(const NitroStream *s)
{
    return s->attempt || s->retry_tag;
}

/* Is there a peer to connect for? */
static bool is_wanted(NitroStream *s)
{
    return !s->options.input || nitro_output_attended(s->output);
}

static void series_begin(NitroStream *s)
{
    s->nr_attempts = 0;
    s->pause_ms = s->options.first_ms;
    s->began_us = g_get_monotonic_time();
}

static void series_stop(NitroStream *s)
{
    g_clear_handle_id(&s->retry_tag, g_source_remove);
    if (s->attempt) {
        s->attempt->stream = NULL;
        s->attempt = NULL;
    }
}

static bool too_late(const NitroStream *s, unsigned pause_ms)
{
    unsigned limit_ms = s->options.limit_ms;

    return limit_ms && g_get_monotonic_time() + pause_ms * 1000LL >
                       s->began_us + limit_ms * 1000LL;
}

static void session_begin(NitroStream *s, QIOChannelSocket *sioc)
{
    chr_closed_settle(s);
    s->sioc = QIO_CHANNEL_SOCKET(object_ref(OBJECT(sioc)));
    s->connected_us = g_get_monotonic_time();
    qio_channel_set_name(QIO_CHANNEL(sioc), s->options.name);
    s->eof = s->deaf = s->hang_up = false;
    s->counts.connections++;
    trace_nitro_stream_begin(s, s->counts.connections);
    set_state(s, NITRO_ENCLAVE_CHANNEL_STATE_OPEN);
    qemu_chr_fe_accept_input(s->fe);
    stream_update(s);
}

static void attempt_done(QIOTask *task, gpointer opaque)
{
    NitroStreamAttempt *attempt = opaque;
    NitroStream *s = attempt->stream;
    QIOChannelSocket *sioc = QIO_CHANNEL_SOCKET(qio_task_get_source(task));
    Error *err = NULL;

    if (!s) {
        return;
    }
    s->attempt = NULL;
    if (qio_task_propagate_error(task, &err) ||
        qio_channel_set_blocking(QIO_CHANNEL(sioc), false, &err) < 0) {
        attempt_failed(s, s->pause_ms, err);
        return;
    }
    session_begin(s, sioc);
}

static void attempt_begin(NitroStream *s)
{
    g_autoptr(QIOChannelSocket) sioc = qio_channel_socket_new();

    s->attempt = g_new0(NitroStreamAttempt, 1);
    s->attempt->stream = s;
    trace_nitro_stream_attempt(s, ++s->nr_attempts);
    qio_channel_socket_connect_async(sioc, s->addr, attempt_done, s->attempt,
                                     g_free, NULL);
}

static gboolean retry_due(gpointer opaque)
{
    NitroStream *s = opaque;

    s->retry_tag = 0;
    attempt_begin(s);
    return G_SOURCE_REMOVE;
}

static void give_up(NitroStream *s, Error *why)
{
    trace_nitro_stream_failed(s, error_get_pretty(why));
    s->ops->failed(s->opaque, why);
    if (s->options.input) {
        qemu_chr_fe_disconnect(s->fe);
    }
    /* The next peer is worth a new try; a peer that cannot leave is not */
    s->over = is_wanted(s);
}

static void attempt_failed(NitroStream *s, unsigned pause_ms, Error *why)
{
    if (s->over) {
        error_free(why);
        stream_update(s);
    } else if (too_late(s, pause_ms)) {
        give_up(s, why);
        stream_update(s);
    } else {
        trace_nitro_stream_retry(s, pause_ms, error_get_pretty(why));
        error_free(why);
        s->retry_tag = g_timeout_add(pause_ms, retry_due, s);
        s->pause_ms = MIN(s->pause_ms * 2, NITRO_STREAM_LAST_MS);
    }
}

/* Continue the series of attempts unless the connection lasted for a while */
static void connect_again(NitroStream *s, Error *why)
{
    int64_t lasted_us = g_get_monotonic_time() - s->connected_us;

    if (!why) {
        error_setg(&why, "the %s has closed the connection",
                   s->options.peer);
    }
    if (lasted_us >= NITRO_STREAM_STEADY_MS * 1000LL) {
        series_begin(s);
    }
    set_state(s, NITRO_ENCLAVE_CHANNEL_STATE_CONNECTING);
    attempt_failed(s, MAX(s->pause_ms, s->options.again_ms), why);
}

/* The session */

static void session_close(NitroStream *s)
{
    g_clear_handle_id(&s->read_tag, g_source_remove);
    g_clear_handle_id(&s->write_tag, g_source_remove);
    g_clear_handle_id(&s->linger_tag, g_source_remove);
    g_clear_pointer(&s->lost, error_free);
    if (s->options.input) {
        fifo8_reset(&s->input);
    }
    if (s->sioc) {
        trace_nitro_stream_end(s, s->counts.received, s->counts.sent);
        qio_channel_close(QIO_CHANNEL(s->sioc), NULL);
        object_unref(OBJECT(s->sioc));
        s->sioc = NULL;
    }
}

/* Nothing is left to send, or the enclave accepts no more */
static bool all_sent(NitroStream *s)
{
    return s->deaf || fifo8_is_empty(&s->input);
}

static bool session_is_done(NitroStream *s)
{
    if (!s->options.input) {
        return s->eof;
    }
    if (s->hang_up) {
        return all_sent(s);
    }
    if (!s->eof || !all_sent(s)) {
        return false;
    }
    /* Without an enclave nobody waits for a reader that is not there */
    return s->over ? !nitro_output_pending(s->output)
                   : nitro_output_is_empty(s->output);
}

static void session_end(NitroStream *s)
{
    Error *why = g_steal_pointer(&s->lost);
    bool hang_up = s->hang_up;

    session_close(s);
    if (s->options.input && !hang_up) {
        qemu_chr_fe_disconnect(s->fe);
    }
    /* After a hang-up stream_update() connects anew, for the next peer */
    if (s->addr && !s->over && !hang_up && is_wanted(s)) {
        connect_again(s, why);
    } else {
        error_free(why);
    }
}

static gboolean session_linger(gpointer opaque)
{
    NitroStream *s = opaque;

    s->linger_tag = 0;
    s->deaf = true;
    stream_update(s);
    return G_SOURCE_REMOVE;
}

/* From the socket to the character device */

static gboolean stream_readable(QIOChannel *ioc, GIOCondition cond,
                                gpointer opaque)
{
    NitroStream *s = opaque;
    uint8_t data[READ_SIZE];
    uint32_t room = s->hang_up ? sizeof(data) : nitro_output_room(s->output);
    ssize_t len;

    if (!room) {
        s->read_tag = 0;
        return G_SOURCE_REMOVE;
    }
    len = qio_channel_read(ioc, (char *)data, MIN(room, sizeof(data)),
                           &s->lost);
    if (len == QIO_CHANNEL_ERR_BLOCK) {
        return G_SOURCE_CONTINUE;
    }
    if (len <= 0) {
        s->read_tag = 0;
        s->eof = true;
        s->deaf |= len < 0;
        stream_update(s);
        return G_SOURCE_REMOVE;
    }
    s->counts.received += len;
    if (!s->hang_up) {
        nitro_output_put(s->output, data, len);
    }
    return G_SOURCE_CONTINUE;
}

/* From the character device to the socket */

static gboolean stream_writable(QIOChannel *ioc, GIOCondition cond,
                                gpointer opaque)
{
    NitroStream *s = opaque;
    uint32_t len;
    const uint8_t *data = fifo8_peek_bufptr(&s->input,
                                            fifo8_num_used(&s->input), &len);
    ssize_t done = qio_channel_write(ioc, (const char *)data, len, NULL);

    if (done == QIO_CHANNEL_ERR_BLOCK) {
        return G_SOURCE_CONTINUE;
    }
    s->write_tag = 0;
    if (done < 0) {
        s->deaf = true;
    } else {
        fifo8_drop(&s->input, done);
        s->counts.sent += done;
        qemu_chr_fe_accept_input(s->fe);
    }
    stream_update(s);
    return G_SOURCE_REMOVE;
}

static int stream_can_receive(void *opaque)
{
    NitroStream *s = opaque;

    if (!s->options.input) {
        return CHR_READ_BUF_LEN;
    }
    return s->sioc && !s->eof && !s->deaf && !s->hang_up
           ? fifo8_num_free(&s->input) : 0;
}

/* Without input what comes is dropped */
static void stream_receive(void *opaque, const uint8_t *buf, int size)
{
    NitroStream *s = opaque;

    if (s->options.input) {
        fifo8_push_all(&s->input, buf, size);
        stream_update(s);
    }
}

/* Make watches, session and state fit, after anything has changed */

static void session_update_input(NitroStream *s)
{
    QIOChannel *ioc = QIO_CHANNEL(s->sioc);

    if (!all_sent(s) && !s->write_tag) {
        s->write_tag = qio_channel_add_watch(ioc, G_IO_OUT, stream_writable, s,
                                             NULL);
    }
    if (s->input_ended && !s->deaf && fifo8_is_empty(&s->input)) {
        s->deaf = true;
        qio_channel_shutdown(ioc, QIO_CHANNEL_SHUTDOWN_WRITE, NULL);
    }
    if (s->hang_up && !s->linger_tag) {
        s->linger_tag = g_timeout_add(NITRO_STREAM_LINGER_MS, session_linger,
                                      s);
    }
}

static void session_update(NitroStream *s)
{
    if (!s->eof && !s->read_tag &&
        (s->hang_up || nitro_output_room(s->output))) {
        s->read_tag = qio_channel_add_watch(QIO_CHANNEL(s->sioc),
                                            G_IO_IN | G_IO_HUP | G_IO_ERR,
                                            stream_readable, s, NULL);
    }
    if (s->options.input) {
        session_update_input(s);
    }
}

static void connection_update(NitroStream *s)
{
    bool wanted = is_wanted(s);

    if (wanted && !is_connecting(s)) {
        series_begin(s);
        attempt_begin(s);
    } else if (!wanted) {
        series_stop(s);
    }
    set_state(s, wanted ? NITRO_ENCLAVE_CHANNEL_STATE_CONNECTING
                        : NITRO_ENCLAVE_CHANNEL_STATE_WAITING);
}

static void stream_update(NitroStream *s)
{
    if (s->sioc && session_is_done(s)) {
        session_end(s);
    }
    if (s->sioc) {
        session_update(s);
    } else if (s->over) {
        if (!s->attempt) {
            set_state(s, nitro_output_pending(s->output)
                         ? NITRO_ENCLAVE_CHANNEL_STATE_OPEN
                         : NITRO_ENCLAVE_CHANNEL_STATE_CLOSED);
        }
    } else if (s->addr) {
        connection_update(s);
    } else if (s->listener) {
        set_state(s, NITRO_ENCLAVE_CHANNEL_STATE_LISTENING);
    }
}

/* The character device */

/* The next peer gets nothing of what is left in the output */
static void chr_peer_left(NitroStream *s)
{
    s->chr_closed = false;
    nitro_output_clear(s->output);
    s->hang_up = s->sioc != NULL;
}

/* Has the peer left, or does it only send no more? */
static void chr_closed_settle(NitroStream *s)
{
    if (!s->chr_closed) {
        return;
    }
    if (nitro_output_attended(s->output)) {
        s->chr_closed = false;
        s->input_ended = true;
    } else {
        chr_peer_left(s);
    }
}

static void stream_output_changed(void *opaque)
{
    NitroStream *s = opaque;

    chr_closed_settle(s);
    if (s->state != NITRO_ENCLAVE_CHANNEL_STATE_IDLE) {
        stream_update(s);
    }
}

static void stream_output_dropped(void *opaque, const char *why)
{
    NitroStream *s = opaque;

    if (s->ops->dropped) {
        s->ops->dropped(s->opaque, why);
    }
}

static const NitroOutputOps stream_output_ops = {
    .changed = stream_output_changed,
    .dropped = stream_output_dropped,
};

/*
 * What "closed" means is found out later, see nitro_output_kick(), and before
 * the next session.  If another peer comes first, the one before has left.
 */
static void stream_event(void *opaque, QEMUChrEvent event)
{
    NitroStream *s = opaque;

    if (event == CHR_EVENT_CLOSED) {
        s->chr_closed = s->options.input;
        nitro_output_kick(s->output);
    } else if (event == CHR_EVENT_OPENED) {
        if (s->chr_closed) {
            chr_peer_left(s);
        }
        s->input_ended = false;
        nitro_output_kick(s->output);
    }
}

static void stream_set_handlers(NitroStream *s);

static int stream_backend_changed(void *opaque)
{
    NitroStream *s = opaque;

    stream_set_handlers(s);
    nitro_output_kick(s->output);
    return 0;
}

static void stream_set_handlers(NitroStream *s)
{
    qemu_chr_fe_set_handlers(s->fe, stream_can_receive, stream_receive,
                             stream_event, stream_backend_changed, s, NULL,
                             true);
}

/* Listening */

static void stream_accepted(QIONetListener *listener, QIOChannelSocket *sioc,
                            gpointer opaque)
{
    NitroStream *s = opaque;

    if (!s->ops->admit(s->opaque, sioc)) {
        return;
    }
    if (s->sioc) {
        trace_nitro_stream_busy(s);
        return;
    }
    if (qio_channel_set_blocking(QIO_CHANNEL(sioc), false, NULL) < 0) {
        return;
    }
    session_begin(s, sioc);
}

/* A launch */

/* A client must not take the next enclave for the one it has talked to */
static void stream_restart(NitroStream *s)
{
    if (s->options.input) {
        if (s->sioc) {
            qemu_chr_fe_disconnect(s->fe);
        }
        nitro_output_clear(s->output);
    }
    session_close(s);
    series_stop(s);
    nitro_listener_close(&s->listener);
    nitro_output_restart(s->output);
    g_clear_pointer(&s->addr, qapi_free_SocketAddress);
    s->over = false;
    s->counts = (NitroStreamCounts) { 0 };
}

void nitro_stream_connect(NitroStream *s, const SocketAddress *addr)
{
    stream_restart(s);
    s->addr = QAPI_CLONE(SocketAddress, addr);
    stream_update(s);
}

bool nitro_stream_listen(NitroStream *s, SocketAddress *addr, Error **errp)
{
    stream_restart(s);
    s->listener = nitro_listener_open(addr, NITRO_STREAM_BACKLOG,
                                      s->options.name, errp);
    return s->listener != NULL;
}

void nitro_stream_accept(NitroStream *s)
{
    stream_update(s);
    qio_net_listener_set_client_func(s->listener, stream_accepted, s, NULL);
}

bool nitro_stream_finish(NitroStream *s)
{
    s->over = true;
    s->deaf = true;
    if (s->options.input || s->counts.connections) {
        series_stop(s);
    } else {
        g_clear_handle_id(&s->retry_tag, g_source_remove);
    }
    nitro_listener_close(&s->listener);
    if (s->state == NITRO_ENCLAVE_CHANNEL_STATE_IDLE) {
        return false;
    }
    stream_update(s);
    return s->state != NITRO_ENCLAVE_CHANNEL_STATE_CLOSED;
}

NitroEnclaveChannelState nitro_stream_state(const NitroStream *s)
{
    return s->state;
}

NitroStreamCounts nitro_stream_counts(const NitroStream *s)
{
    NitroStreamCounts counts = s->counts;

    counts.dropped = nitro_output_dropped(s->output);
    return counts;
}

NitroStream *nitro_stream_new(CharBackend *fe,
                              const NitroStreamOptions *options,
                              const NitroStreamOps *ops, void *opaque)
{
    NitroStream *s = g_new0(NitroStream, 1);

    s->fe = fe;
    s->options = *options;
    s->ops = ops;
    s->opaque = opaque;
    s->output = nitro_output_new(fe, options->size, &stream_output_ops, s);
    nitro_output_set_overflow(s->output, options->overflow, options->input
                              ? NITRO_CONSOLE_OVERFLOW_BLOCK
                              : NITRO_CONSOLE_OVERFLOW_DROP_OLDEST);
    if (options->input) {
        fifo8_create(&s->input, options->size);
    }
    stream_set_handlers(s);
    return s;
}

void nitro_stream_free(NitroStream *s)
{
    if (!s) {
        return;
    }
    qemu_chr_fe_set_handlers(s->fe, NULL, NULL, NULL, NULL, NULL, NULL, false);
    series_stop(s);
    session_close(s);
    nitro_listener_close(&s->listener);
    nitro_output_free(s->output);
    fifo8_destroy(&s->input);
    qapi_free_SocketAddress(s->addr);
    g_free(s);
}
