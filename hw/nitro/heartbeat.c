/*
 * Nitro Enclaves: heartbeat device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A connection that is not ours is closed at once; one of ours must send its
 * byte within some seconds.  When there are too many, the oldest is closed, so
 * a silent peer cannot block another.
 *
 * Everything runs in the default main context; nothing blocks.
 */

#include "qemu/osdep.h"
#include "hw/nitro/heartbeat.h"
#include "hw/nitro/limits.h"
#include "hw/qdev-properties.h"
#include "hw/resettable.h"
#include "io/channel-socket.h"
#include "listener.h"
#include "peer.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qemu/queue.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "system/nitro-hints.h"
#include "trace.h"
#include "vsock.h"

/* Property "timeout": what nitro-cli allows for image and memory */
#define TIMEOUT_AUTO (-1)

/*
 * Connections that the kernel keeps until the CID is known.  Other enclaves
 * can connect as well, so more than ours alone needs.
 */
#define BACKLOG 128

typedef struct NitroHeartbeatPeer {
    NitroHeartbeat *hb;
    QIOChannelSocket *sioc;
    uint32_t cid;
    guint read_tag;
    guint timeout_tag;
    QTAILQ_ENTRY(NitroHeartbeatPeer) next;
} NitroHeartbeatPeer;

struct NitroHeartbeat {
    NitroVsockDevice parent_obj;

    int32_t timeout;                    /* property, s; 0: no limit */
    NitroHeartbeatAction timeout_action;        /* property */
    uint32_t port_timeout;              /* property, s, for a taken port */

    NitroEnclaveHeartbeatState state;
    uint32_t cid;                       /* the only one that counts */
    guint deadline_tag;
    QIONetListener *listener;           /* or NULL */
    unsigned nr_peers;
    QTAILQ_HEAD(, NitroHeartbeatPeer) peers;    /* oldest first */
    int64_t waiting_since_us;           /* valid while WAITING */
    int64_t since_ms;                   /* QEMU_CLOCK_REALTIME, of the port */
    int64_t received_ms;
};

static void set_state(NitroHeartbeat *hb,
                      NitroEnclaveHeartbeatState state)
{
    trace_nitro_heartbeat_state(hb,
                                NitroEnclaveHeartbeatState_str(hb->state),
                                NitroEnclaveHeartbeatState_str(state));
    hb->state = state;
}

static void peer_free(NitroHeartbeatPeer *peer)
{
    NitroHeartbeat *hb = peer->hb;

    QTAILQ_REMOVE(&hb->peers, peer, next);
    hb->nr_peers--;
    g_clear_handle_id(&peer->read_tag, g_source_remove);
    g_clear_handle_id(&peer->timeout_tag, g_source_remove);
    qio_channel_close(QIO_CHANNEL(peer->sioc), NULL);
    object_unref(OBJECT(peer->sioc));
    g_free(peer);
}

static void peer_reject(NitroHeartbeatPeer *peer, const char *why)
{
    trace_nitro_heartbeat_rejected(peer->hb, peer->cid, why);
    peer_free(peer);
}

static void close_all(NitroHeartbeat *hb)
{
    g_clear_handle_id(&hb->deadline_tag, g_source_remove);
    while (!QTAILQ_EMPTY(&hb->peers)) {
        peer_free(QTAILQ_FIRST(&hb->peers));
    }
    nitro_listener_close(&hb->listener);
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
    NitroHeartbeat *hb = peer->hb;
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

    trace_nitro_heartbeat_received(hb, peer->cid);
    close_all(hb);
    set_state(hb, NITRO_ENCLAVE_HEARTBEAT_STATE_DONE);
    nitro_vsock_device_boot(NITRO_VSOCK_DEVICE(hb), NITRO_BOOT_DONE);
    /* Read after boot-ms, which is part of this time and must not exceed it */
    hb->received_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    return G_SOURCE_REMOVE;
}

static gboolean peer_timeout(gpointer opaque)
{
    NitroHeartbeatPeer *peer = opaque;

    peer->timeout_tag = 0;
    peer_reject(peer, "stays silent");
    return G_SOURCE_REMOVE;
}

static void peer_add(NitroHeartbeat *hb, QIOChannelSocket *sioc)
{
    NitroHeartbeatPeer *peer = g_new0(NitroHeartbeatPeer, 1);

    if (hb->nr_peers == NITRO_HEARTBEAT_MAX_PEERS) {
        peer_reject(QTAILQ_FIRST(&hb->peers), "gives way to a newer one");
    }

    peer->hb = hb;
    peer->sioc = QIO_CHANNEL_SOCKET(object_ref(OBJECT(sioc)));
    peer->cid = hb->cid;
    peer->read_tag = qio_channel_add_watch(QIO_CHANNEL(sioc),
                                           G_IO_IN | G_IO_HUP | G_IO_ERR,
                                           peer_readable, peer, NULL);
    peer->timeout_tag = g_timeout_add(NITRO_HEARTBEAT_PEER_TIMEOUT_MS,
                                      peer_timeout, peer);
    QTAILQ_INSERT_TAIL(&hb->peers, peer, next);
    hb->nr_peers++;
}

static void heartbeat_accepted(QIONetListener *listener, QIOChannelSocket *sioc,
                               gpointer opaque)
{
    NitroHeartbeat *hb = opaque;
    uint32_t cid;
    const char *why = nitro_peer_refusal(sioc, hb->cid, false, &cid);

    trace_nitro_heartbeat_peer(hb, cid);
    if (why) {
        trace_nitro_heartbeat_rejected(hb, cid, why);
        return;
    }
    peer_add(hb, sioc);
}

/* The port */

static const char *listen_hint(int err)
{
    switch (err) {
    case EADDRINUSE:
        return "Another launch on this parent has it until its enclave has "
               "booted. Retry when it is done, or wait longer "
               "(-global nitro-heartbeat.port-timeout=SECONDS).";
    case EAFNOSUPPORT:
        return "Load the kernel's vsock driver "
               "(modprobe vmw_vsock_virtio_transport).";
    case EACCES:
    case EPERM:
        return "Allow AF_VSOCK sockets in the security profile or container "
               "that QEMU runs in.";
    case EMFILE:
        return NITRO_HINT_FILES;
    default:
        return "For an image that sends no heartbeat use "
               "-machine nitro,heartbeat=off.";
    }
}

/*
 * Listens on any local CID, because the parent's own is 3 on EC2 but may differ
 * elsewhere.  Only the peer's CID is checked.
 *
 * Returns NULL with *@err set to a positive errno.
 */
static QIONetListener *heartbeat_listen(int *err, Error **errp)
{
    ERRP_GUARD();
    int fd = nitro_vsock_listen(NITRO_HEARTBEAT_PORT, BACKLOG);
    g_autoptr(QIOChannelSocket) sioc = NULL;

    if (fd < 0) {
        *err = -fd;
        error_setg_errno(errp, -fd,
                         "heartbeat: cannot listen on vsock port %d",
                         NITRO_HEARTBEAT_PORT);
        error_append_hint(errp, "%s\n", listen_hint(-fd));
        return NULL;
    }
    *err = EIO;
    sioc = qio_channel_socket_new_fd(fd, errp);
    if (!sioc) {
        close(fd);
        return NULL;
    }
    qio_channel_set_feature(QIO_CHANNEL(sioc), QIO_CHANNEL_FEATURE_LISTEN);
    return nitro_listener_adopt(sioc, "nitro-heartbeat", errp);
}

/* The port is taken: is there time left to wait for it? */
static bool may_wait(NitroHeartbeat *hb)
{
    int64_t now_us = g_get_monotonic_time();

    if (hb->state != NITRO_ENCLAVE_HEARTBEAT_STATE_WAITING) {
        hb->waiting_since_us = now_us;
    }
    return now_us - hb->waiting_since_us < hb->port_timeout * INT64_C(1000000);
}

static void begin_waiting(NitroHeartbeat *hb)
{
    if (hb->state == NITRO_ENCLAVE_HEARTBEAT_STATE_WAITING) {
        return;
    }
    set_state(hb, NITRO_ENCLAVE_HEARTBEAT_STATE_WAITING);
    info_report("vsock port %d is taken by another launch on this parent: "
                "waiting for it, up to %" PRIu32 " s", NITRO_HEARTBEAT_PORT,
                hb->port_timeout);
}

/*
 * Open the port, or wait for it.  Unless the state is WAITING or LISTENING a
 * launch begins, and the one before is forgotten.
 */
static NitroStep acquire_port(NitroHeartbeat *hb, Error **errp)
{
    Error *err = NULL;
    int listen_errno = 0;

    if (hb->state == NITRO_ENCLAVE_HEARTBEAT_STATE_LISTENING) {
        return NITRO_STEP_DONE;
    }
    close_all(hb);
    hb->listener = heartbeat_listen(&listen_errno, &err);
    if (hb->listener) {
        set_state(hb, NITRO_ENCLAVE_HEARTBEAT_STATE_LISTENING);
        return NITRO_STEP_DONE;
    }
    if (listen_errno == EADDRINUSE && may_wait(hb)) {
        error_free(err);
        begin_waiting(hb);
        return NITRO_STEP_LATER;
    }
    set_state(hb, NITRO_ENCLAVE_HEARTBEAT_STATE_FAILED);
    error_propagate(errp, err);
    return NITRO_STEP_FAILED;
}

/* The time that the enclave may take */

/*
 * As in nitro-cli: 90 seconds for each started 6 GiB of image, plus 90 seconds
 * for each started 100 GiB of memory.
 */
static unsigned default_deadline_ms(const NitroVsockBridge *bridge)
{
    uint64_t steps = 2 + (MAX(bridge->image_size, 1) - 1) / (6 * GiB) +
                     (MAX(bridge->memory_size, 1) - 1) / (100 * GiB);

    return MIN(steps * 90 * 1000, INT32_MAX);
}

static unsigned deadline_ms(NitroHeartbeat *hb)
{
    BusState *bus = qdev_get_parent_bus(DEVICE(hb));

    if (hb->timeout == TIMEOUT_AUTO) {
        return default_deadline_ms(NITRO_VSOCK_BRIDGE(bus->parent));
    }
    return MIN(hb->timeout * 1000ULL, INT32_MAX);
}

/* The port stays open: late is better than never */
static gboolean deadline_expired(gpointer opaque)
{
    NitroHeartbeat *hb = opaque;
    Error *err = NULL;

    trace_nitro_heartbeat_expired(hb, hb->cid, deadline_ms(hb));
    hb->deadline_tag = 0;
    error_setg(&err, "the enclave with CID %" PRIu32 " has sent no heartbeat "
               "for %.1f s%s", hb->cid, deadline_ms(hb) / 1000.0,
               hb->timeout_action == NITRO_HEARTBEAT_ACTION_RUN
               ? "" : ", ending it");
    error_append_hint(&err, "Look at its console (-accel nitro,debug-mode=on)"
                      ", raise -m, or wait longer (-global "
                      "nitro-heartbeat.timeout=SECONDS); for an image that "
                      "sends none use -machine nitro,heartbeat=off.\n");
    warn_report_err(err);
    if (hb->timeout_action == NITRO_HEARTBEAT_ACTION_END) {
        nitro_vsock_device_boot(NITRO_VSOCK_DEVICE(hb), NITRO_BOOT_FAILED);
    }
    return G_SOURCE_REMOVE;
}

/* A launch */

static NitroStep nitro_heartbeat_acquire(NitroVsockDevice *dev, Error **errp)
{
    NitroHeartbeat *hb = NITRO_HEARTBEAT(dev);
    NitroEnclaveHeartbeatState before = hb->state;
    NitroStep step = acquire_port(hb, errp);

    if (before != hb->state) {
        hb->since_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    }
    if (step == NITRO_STEP_DONE) {
        nitro_vsock_device_boot(dev, NITRO_BOOT_EXPECTED);
    }
    return step;
}

/* Begin to accept connections */
static bool nitro_heartbeat_enclave_started(NitroVsockDevice *dev, uint32_t cid,
                                            Error **errp)
{
    NitroHeartbeat *hb = NITRO_HEARTBEAT(dev);
    unsigned limit_ms = deadline_ms(hb);

    if (hb->state != NITRO_ENCLAVE_HEARTBEAT_STATE_LISTENING) {
        return true;
    }
    hb->cid = cid;
    if (limit_ms) {
        hb->deadline_tag = g_timeout_add(limit_ms, deadline_expired, hb);
    }
    qio_net_listener_set_client_func(hb->listener, heartbeat_accepted, hb,
                                     NULL);
    return true;
}

static void nitro_heartbeat_enclave_stopped(NitroVsockDevice *dev)
{
    NitroHeartbeat *hb = NITRO_HEARTBEAT(dev);

    close_all(hb);
    if (hb->state == NITRO_ENCLAVE_HEARTBEAT_STATE_LISTENING) {
        set_state(hb, NITRO_ENCLAVE_HEARTBEAT_STATE_FAILED);
    } else if (hb->state == NITRO_ENCLAVE_HEARTBEAT_STATE_WAITING) {
        set_state(hb, NITRO_ENCLAVE_HEARTBEAT_STATE_IDLE);
    }
}

/* The device */

NitroEnclaveHeartbeat *nitro_heartbeat_query(NitroHeartbeat *hb)
{
    NitroEnclaveHeartbeat *info = g_new0(NitroEnclaveHeartbeat, 1);
    int64_t until_ms = hb->state == NITRO_ENCLAVE_HEARTBEAT_STATE_DONE
        ? hb->received_ms : qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    info->state = hb->state;
    info->port = NITRO_HEARTBEAT_PORT;
    info->timeout_ms = deadline_ms(hb);
    info->has_elapsed_ms =
        hb->state != NITRO_ENCLAVE_HEARTBEAT_STATE_IDLE &&
        hb->state != NITRO_ENCLAVE_HEARTBEAT_STATE_FAILED;
    info->elapsed_ms = info->has_elapsed_ms ? until_ms - hb->since_ms : 0;
    return info;
}

static char *nitro_heartbeat_get_state(Object *obj, Error **errp)
{
    return g_strdup(NitroEnclaveHeartbeatState_str(
                        NITRO_HEARTBEAT(obj)->state));
}

static int nitro_heartbeat_get_action(Object *obj, Error **errp)
{
    return NITRO_HEARTBEAT(obj)->timeout_action;
}

static void nitro_heartbeat_set_action(Object *obj, int value, Error **errp)
{
    NITRO_HEARTBEAT(obj)->timeout_action = value;
}

static const Property nitro_heartbeat_properties[] = {
    DEFINE_PROP_INT32("timeout", NitroHeartbeat, timeout,
                      TIMEOUT_AUTO),
    DEFINE_PROP_UINT32("port-timeout", NitroHeartbeat, port_timeout, 300),
};

static void nitro_heartbeat_realize(DeviceState *dev, Error **errp)
{
    ERRP_GUARD();
    NitroHeartbeat *hb = NITRO_HEARTBEAT(dev);

    if (hb->timeout < TIMEOUT_AUTO) {
        error_setg(errp, "heartbeat: %" PRId32 " s is not a time limit",
                   hb->timeout);
        error_append_hint(errp, "Use timeout=SECONDS, 0 for no limit, or -1 "
                          "for the default.\n");
        return;
    }
    if (!nitro_vsock_device_is_only(NITRO_VSOCK_DEVICE(dev), errp)) {
        error_append_hint(errp, "Use -machine nitro,heartbeat=auto with one "
                          "-device %s, or leave it out.\n",
                          TYPE_NITRO_HEARTBEAT);
    }
}

/* The last enclave has ended: ready for the next */
static void nitro_heartbeat_reset_hold(Object *obj, ResetType type)
{
    NitroHeartbeat *hb = NITRO_HEARTBEAT(obj);

    close_all(hb);
    if (hb->state != NITRO_ENCLAVE_HEARTBEAT_STATE_IDLE) {
        set_state(hb, NITRO_ENCLAVE_HEARTBEAT_STATE_IDLE);
    }
}

static void nitro_heartbeat_unrealize(DeviceState *dev)
{
    nitro_heartbeat_enclave_stopped(NITRO_VSOCK_DEVICE(dev));
}

static void nitro_heartbeat_init(Object *obj)
{
    QTAILQ_INIT(&NITRO_HEARTBEAT(obj)->peers);
}

static void nitro_heartbeat_finalize(Object *obj)
{
    close_all(NITRO_HEARTBEAT(obj));
}

static void nitro_heartbeat_describe(ObjectClass *oc)
{
    object_class_property_add_str(oc, "state", nitro_heartbeat_get_state,
                                  NULL);
    object_class_property_set_description(oc, "state",
        "Read only: idle, waiting (for the port), listening, done (heartbeat "
        "received) or failed");
    object_class_property_set_description(oc, "timeout",
        "Seconds that the enclave may take to boot; 0: no limit (default -1: "
        "180 up to 6 GiB of image and 100 GiB of memory, more beyond)");
    object_class_property_set_description(oc, "port-timeout",
        "Seconds to wait for the port while another launch has it");
    object_class_property_add_enum(oc, "timeout-action",
                                   "NitroHeartbeatAction",
                                   &NitroHeartbeatAction_lookup,
                                   nitro_heartbeat_get_action,
                                   nitro_heartbeat_set_action);
    object_class_property_set_description(oc, "timeout-action",
        "When no heartbeat came in time: end the enclave and QEMU (end), or "
        "let it run and keep waiting (run)");
}

static void nitro_heartbeat_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    NitroVsockDeviceClass *ndc = NITRO_VSOCK_DEVICE_CLASS(oc);

    dc->desc = "Nitro Enclave heartbeat (answers the enclave on vsock port "
               "9000)";
    dc->realize = nitro_heartbeat_realize;
    dc->unrealize = nitro_heartbeat_unrealize;
    RESETTABLE_CLASS(oc)->phases.hold = nitro_heartbeat_reset_hold;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    device_class_set_props(dc, nitro_heartbeat_properties);
    ndc->acquire = nitro_heartbeat_acquire;
    ndc->enclave_started = nitro_heartbeat_enclave_started;
    ndc->enclave_stopped = nitro_heartbeat_enclave_stopped;
    nitro_heartbeat_describe(oc);
}

static const TypeInfo nitro_heartbeat_types[] = {
    {
        .name = TYPE_NITRO_HEARTBEAT,
        .parent = TYPE_NITRO_VSOCK_DEVICE,
        .instance_size = sizeof(NitroHeartbeat),
        .instance_init = nitro_heartbeat_init,
        .instance_finalize = nitro_heartbeat_finalize,
        .class_init = nitro_heartbeat_class_init,
    },
};

DEFINE_TYPES(nitro_heartbeat_types)
