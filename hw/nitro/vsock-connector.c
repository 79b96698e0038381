/*
 * Nitro Enclaves: connect to a socket, again and again
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A peer that accepts every connection and closes it at once is treated as
 * one that is not there: only a connection that lasted ends a series.
 */

#include "qemu/osdep.h"
#include "vsock-connector.h"
#include "qapi/clone-visitor.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-sockets.h"
#include "system/nitro-compat.h"
#include "trace.h"

/* An attempt to connect that may outlive the connector that wanted it */
typedef struct NitroConnectorAttempt {
    NitroConnector *cn;         /* NULL when it is not wanted any more */
} NitroConnectorAttempt;

struct NitroConnector {
    const NitroConnectorOps *ops;
    void *opaque;
    unsigned first_ms;
    unsigned again_ms;
    unsigned limit_ms;

    SocketAddress *addr;
    NitroConnectorAttempt *attempt;
    bool finishing;
    unsigned nr_attempts;
    unsigned pause_ms;
    int64_t began_us;                   /* the series */
    int64_t connected_us;
    guint retry_tag;
};

static void begin_series(NitroConnector *cn)
{
    cn->nr_attempts = 0;
    cn->pause_ms = cn->first_ms;
    cn->began_us = g_get_monotonic_time();
}

static bool too_late(const NitroConnector *cn, unsigned pause_ms)
{
    return cn->limit_ms && g_get_monotonic_time() + pause_ms * 1000LL >
                           cn->began_us + cn->limit_ms * 1000LL;
}

static void attempt_begin(NitroConnector *cn);

static gboolean retry_due(gpointer opaque)
{
    NitroConnector *cn = opaque;

    cn->retry_tag = 0;
    attempt_begin(cn);
    return G_SOURCE_REMOVE;
}

static void retry_later(NitroConnector *cn, unsigned pause_ms, Error *why)
{
    if (cn->finishing || too_late(cn, pause_ms)) {
        trace_nitro_connector_failed(cn, error_get_pretty(why));
        cn->ops->failed(cn->opaque, why);
        return;
    }
    trace_nitro_connector_retry(cn, pause_ms, error_get_pretty(why));
    error_free(why);
    cn->retry_tag = g_timeout_add(pause_ms, retry_due, cn);
    cn->pause_ms = MIN(cn->pause_ms * 2, NITRO_CONNECTOR_LAST_MS);
}

static void attempt_done(QIOTask *task, gpointer opaque)
{
    NitroConnectorAttempt *attempt = opaque;
    NitroConnector *cn = attempt->cn;
    QIOChannelSocket *sioc = QIO_CHANNEL_SOCKET(qio_task_get_source(task));
    Error *err = NULL;

    if (!cn) {
        return;
    }
    cn->attempt = NULL;
    if (qio_task_propagate_error(task, &err) ||
        !nitro_set_nonblocking(QIO_CHANNEL(sioc), &err)) {
        retry_later(cn, cn->pause_ms, err);
        return;
    }
    trace_nitro_connector_connected(cn, cn->nr_attempts);
    cn->connected_us = g_get_monotonic_time();
    cn->ops->connected(cn->opaque, sioc);
}

static void attempt_begin(NitroConnector *cn)
{
    g_autoptr(QIOChannelSocket) sioc = qio_channel_socket_new();

    cn->attempt = g_new0(NitroConnectorAttempt, 1);
    cn->attempt->cn = cn;
    trace_nitro_connector_attempt(cn, ++cn->nr_attempts);
    qio_channel_socket_connect_async(sioc, cn->addr, attempt_done,
                                     cn->attempt, g_free, NULL);
}

void nitro_connector_start(NitroConnector *cn, const SocketAddress *addr)
{
    nitro_connector_stop(cn);
    cn->addr = QAPI_CLONE(SocketAddress, addr);
    cn->finishing = false;
    begin_series(cn);
    attempt_begin(cn);
}

void nitro_connector_again(NitroConnector *cn, Error *why)
{
    int64_t lasted_us = g_get_monotonic_time() - cn->connected_us;

    if (lasted_us >= NITRO_CONNECTOR_STEADY_MS * 1000LL) {
        begin_series(cn);
    }
    retry_later(cn, MAX(cn->pause_ms, cn->again_ms), why);
}

bool nitro_connector_finish(NitroConnector *cn)
{
    cn->finishing = true;
    g_clear_handle_id(&cn->retry_tag, g_source_remove);
    return cn->attempt;
}

void nitro_connector_stop(NitroConnector *cn)
{
    g_clear_handle_id(&cn->retry_tag, g_source_remove);
    if (cn->attempt) {
        cn->attempt->cn = NULL;
        cn->attempt = NULL;
    }
    g_clear_pointer(&cn->addr, qapi_free_SocketAddress);
}

bool nitro_connector_busy(const NitroConnector *cn)
{
    return cn->attempt || cn->retry_tag;
}

void nitro_connector_set_retry(NitroConnector *cn, unsigned first_ms,
                               unsigned again_ms, unsigned limit_ms)
{
    cn->first_ms = first_ms;
    cn->again_ms = again_ms;
    cn->limit_ms = limit_ms;
}

NitroConnector *nitro_connector_new(const NitroConnectorOps *ops,
                                    void *opaque)
{
    NitroConnector *cn = g_new0(NitroConnector, 1);

    cn->ops = ops;
    cn->opaque = opaque;
    nitro_connector_set_retry(cn, NITRO_CONNECTOR_FIRST_MS,
                              NITRO_CONNECTOR_AGAIN_MS, 0);
    return cn;
}

void nitro_connector_free(NitroConnector *cn)
{
    if (cn) {
        nitro_connector_stop(cn);
        g_free(cn);
    }
}
