/*
 * Nitro Enclaves: heartbeat protocol, parent's side
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A connection is one of ours or closed at once; one of ours has some seconds
 * for its byte.  When there are too many of them the oldest has to go, so a
 * peer that keeps silent never keeps out one that speaks.
 */

#include "qemu/osdep.h"
#include "heartbeat-server.h"
#include "io/net-listener.h"
#include "qapi/error.h"
#include "qemu/queue.h"
#include "qemu/units.h"
#include "system/nitro-compat.h"
#include "trace.h"

typedef struct NitroHeartbeatPeer {
    NitroHeartbeatServer *server;
    QIOChannelSocket *sioc;
    uint32_t cid;
    guint read_tag;
    guint timeout_tag;
    QTAILQ_ENTRY(NitroHeartbeatPeer) next;
} NitroHeartbeatPeer;

struct NitroHeartbeatServer {
    const NitroHeartbeatOps *ops;
    void *opaque;

    NitroEnclaveHeartbeatState state;
    unsigned timeout_ms;
    unsigned deadline_ms;
    guint deadline_tag;
    int64_t waiting_since;      /* microseconds; valid while WAITING */
    uint32_t cid;
    QIONetListener *listener;
    unsigned nr_peers;
    QTAILQ_HEAD(, NitroHeartbeatPeer) peers;    /* oldest first */
};

static void set_state(NitroHeartbeatServer *server,
                      NitroEnclaveHeartbeatState state)
{
    trace_nitro_heartbeat_state(server,
                                NitroEnclaveHeartbeatState_str(server->state),
                                NitroEnclaveHeartbeatState_str(state));
    server->state = state;
}

static void peer_free(NitroHeartbeatPeer *peer)
{
    NitroHeartbeatServer *server = peer->server;

    QTAILQ_REMOVE(&server->peers, peer, next);
    server->nr_peers--;
    g_clear_handle_id(&peer->read_tag, g_source_remove);
    g_clear_handle_id(&peer->timeout_tag, g_source_remove);
    qio_channel_close(QIO_CHANNEL(peer->sioc), NULL);
    object_unref(OBJECT(peer->sioc));
    g_free(peer);
}

static void peer_reject(NitroHeartbeatPeer *peer, const char *why)
{
    trace_nitro_heartbeat_rejected(peer->server, peer->cid, why);
    peer_free(peer);
}

static void close_all(NitroHeartbeatServer *server)
{
    g_clear_handle_id(&server->deadline_tag, g_source_remove);
    while (!QTAILQ_EMPTY(&server->peers)) {
        peer_free(QTAILQ_FIRST(&server->peers));
    }
    if (server->listener) {
        qio_net_listener_disconnect(server->listener);
        object_unref(OBJECT(server->listener));
        server->listener = NULL;
    }
}

/* Returns NULL when the heartbeat is complete, else what is wrong with it */
static const char *peer_answer(NitroHeartbeatPeer *peer, ssize_t len,
                               uint8_t byte)
{
    QIOChannel *ioc = QIO_CHANNEL(peer->sioc);

    if (len <= 0) {
        return "closed before sending a byte";
    }
    if (byte != NITRO_HEARTBEAT_BYTE) {
        return "sent a wrong byte";
    }
    if (qio_channel_write(ioc, (char *)&byte, 1, NULL) != 1) {
        return "does not take the answer";
    }
    return NULL;
}

static gboolean peer_readable(QIOChannel *ioc, GIOCondition condition,
                              gpointer opaque)
{
    NitroHeartbeatPeer *peer = opaque;
    NitroHeartbeatServer *server = peer->server;
    const char *fault;
    uint8_t byte = 0;
    ssize_t len = qio_channel_read(ioc, (char *)&byte, 1, NULL);

    if (len == QIO_CHANNEL_ERR_BLOCK) {
        return G_SOURCE_CONTINUE;
    }

    peer->read_tag = 0;
    fault = peer_answer(peer, len, byte);
    if (fault) {
        peer_reject(peer, fault);
        return G_SOURCE_REMOVE;
    }

    trace_nitro_heartbeat_received(server, peer->cid);
    close_all(server);
    set_state(server, NITRO_ENCLAVE_HEARTBEAT_STATE_DONE);
    server->ops->booted(server->opaque);
    return G_SOURCE_REMOVE;
}

static gboolean peer_timeout(gpointer opaque)
{
    NitroHeartbeatPeer *peer = opaque;

    peer->timeout_tag = 0;
    peer_reject(peer, "stays silent");
    return G_SOURCE_REMOVE;
}

static void peer_add(NitroHeartbeatServer *server, QIOChannelSocket *sioc)
{
    NitroHeartbeatPeer *peer = g_new0(NitroHeartbeatPeer, 1);

    if (server->nr_peers == NITRO_HEARTBEAT_MAX_PEERS) {
        peer_reject(QTAILQ_FIRST(&server->peers), "gives way to a newer one");
    }

    peer->server = server;
    peer->sioc = QIO_CHANNEL_SOCKET(object_ref(OBJECT(sioc)));
    peer->cid = server->cid;
    peer->read_tag = qio_channel_add_watch(QIO_CHANNEL(sioc),
                                           G_IO_IN | G_IO_HUP | G_IO_ERR,
                                           peer_readable, peer, NULL);
    peer->timeout_tag = g_timeout_add(server->timeout_ms, peer_timeout, peer);
    QTAILQ_INSERT_TAIL(&server->peers, peer, next);
    server->nr_peers++;
}

static void server_accepted(QIONetListener *listener, QIOChannelSocket *sioc,
                            gpointer opaque)
{
    NitroHeartbeatServer *server = opaque;
    uint32_t cid = 0;

    if (!server->ops->peer_cid(server->opaque, sioc, &cid)) {
        trace_nitro_heartbeat_rejected(server, cid, "has no CID");
        return;
    }

    trace_nitro_heartbeat_peer(server, cid);
    if (cid != server->cid) {
        trace_nitro_heartbeat_rejected(server, cid, "is not our enclave");
        return;
    }
    if (!nitro_set_nonblocking(QIO_CHANNEL(sioc), NULL)) {
        trace_nitro_heartbeat_rejected(server, cid, "cannot be set up");
        return;
    }
    peer_add(server, sioc);
}

/* Returns 0, or a negative errno with @errp set */
static int listen_channel(NitroHeartbeatServer *server,
                          QIOChannelSocket **result, Error **errp)
{
    int fd = server->ops->listen(server->opaque, errp);
    QIOChannelSocket *sioc;

    if (fd < 0) {
        return fd;
    }
    sioc = qio_channel_socket_new_fd(fd, errp);
    if (!sioc) {
        close(fd);
        return -EIO;
    }
    /* A peer that gives up while it waits must not leave us in accept() */
    if (!nitro_set_nonblocking(QIO_CHANNEL(sioc), errp)) {
        object_unref(OBJECT(sioc));
        return -EIO;
    }
    qio_channel_set_feature(QIO_CHANNEL(sioc), QIO_CHANNEL_FEATURE_LISTEN);
    *result = sioc;
    return 0;
}

static void begin_listening(NitroHeartbeatServer *server,
                            QIOChannelSocket *sioc)
{
    server->listener = qio_net_listener_new();
    qio_net_listener_set_name(server->listener, "nitro-heartbeat");
    qio_net_listener_add(server->listener, sioc);
    object_unref(OBJECT(sioc));
    set_state(server, NITRO_ENCLAVE_HEARTBEAT_STATE_LISTENING);
}

/* The port is taken: is there time left to wait for it? */
static bool may_wait(NitroHeartbeatServer *server, unsigned wait_ms)
{
    int64_t now = g_get_monotonic_time();

    if (server->state != NITRO_ENCLAVE_HEARTBEAT_STATE_WAITING) {
        server->waiting_since = now;
    }
    return now - server->waiting_since < wait_ms * INT64_C(1000);
}

NitroStep nitro_heartbeat_server_acquire(NitroHeartbeatServer *server,
                                         unsigned wait_ms, Error **errp)
{
    QIOChannelSocket *sioc = NULL;
    Error *err = NULL;
    int ret;

    if (server->state == NITRO_ENCLAVE_HEARTBEAT_STATE_LISTENING) {
        return NITRO_STEP_DONE;
    }
    close_all(server);
    ret = listen_channel(server, &sioc, &err);
    if (ret == 0) {
        begin_listening(server, sioc);
        return NITRO_STEP_DONE;
    }
    if (ret == -EADDRINUSE && may_wait(server, wait_ms)) {
        error_free(err);
        if (server->state != NITRO_ENCLAVE_HEARTBEAT_STATE_WAITING) {
            set_state(server, NITRO_ENCLAVE_HEARTBEAT_STATE_WAITING);
        }
        return NITRO_STEP_LATER;
    }
    set_state(server, NITRO_ENCLAVE_HEARTBEAT_STATE_FAILED);
    error_propagate(errp, err);
    return NITRO_STEP_FAILED;
}

static gboolean deadline_expired(gpointer opaque)
{
    NitroHeartbeatServer *server = opaque;

    trace_nitro_heartbeat_expired(server, server->cid, server->deadline_ms);
    server->deadline_tag = 0;
    server->ops->expired(server->opaque);
    return G_SOURCE_REMOVE;
}

void nitro_heartbeat_server_set_cid(NitroHeartbeatServer *server, uint32_t cid)
{
    if (server->state != NITRO_ENCLAVE_HEARTBEAT_STATE_LISTENING) {
        return;
    }
    server->cid = cid;
    if (server->deadline_ms) {
        server->deadline_tag = g_timeout_add(server->deadline_ms,
                                             deadline_expired, server);
    }
    qio_net_listener_set_client_func(server->listener, server_accepted,
                                     server, NULL);
}

void nitro_heartbeat_server_stop(NitroHeartbeatServer *server)
{
    close_all(server);
    if (server->state == NITRO_ENCLAVE_HEARTBEAT_STATE_LISTENING) {
        set_state(server, NITRO_ENCLAVE_HEARTBEAT_STATE_FAILED);
    } else if (server->state == NITRO_ENCLAVE_HEARTBEAT_STATE_WAITING) {
        set_state(server, NITRO_ENCLAVE_HEARTBEAT_STATE_IDLE);
    }
}

void nitro_heartbeat_server_reset(NitroHeartbeatServer *server)
{
    close_all(server);
    if (server->state != NITRO_ENCLAVE_HEARTBEAT_STATE_IDLE) {
        set_state(server, NITRO_ENCLAVE_HEARTBEAT_STATE_IDLE);
    }
}

NitroEnclaveHeartbeatState
nitro_heartbeat_server_state(const NitroHeartbeatServer *server)
{
    return server->state;
}

void nitro_heartbeat_server_set_timeout(NitroHeartbeatServer *server,
                                        unsigned timeout_ms)
{
    server->timeout_ms = timeout_ms;
}

void nitro_heartbeat_server_set_deadline(NitroHeartbeatServer *server,
                                         unsigned deadline_ms)
{
    server->deadline_ms = deadline_ms;
}

unsigned nitro_heartbeat_default_deadline(uint64_t image_size,
                                          uint64_t memory_size)
{
    uint64_t steps = 2 + (MAX(image_size, 1) - 1) / (6 * GiB) +
                     (MAX(memory_size, 1) - 1) / (100 * GiB);

    return MIN(steps * 90 * 1000, INT32_MAX);
}

NitroHeartbeatServer *nitro_heartbeat_server_new(const NitroHeartbeatOps *ops,
                                                 void *opaque)
{
    NitroHeartbeatServer *server = g_new0(NitroHeartbeatServer, 1);

    server->ops = ops;
    server->opaque = opaque;
    server->timeout_ms = NITRO_HEARTBEAT_PEER_TIMEOUT_MS;
    QTAILQ_INIT(&server->peers);
    return server;
}

void nitro_heartbeat_server_free(NitroHeartbeatServer *server)
{
    if (server) {
        close_all(server);
        g_free(server);
    }
}
