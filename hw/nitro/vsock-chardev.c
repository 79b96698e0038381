/*
 * Nitro Enclaves: application channel device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A stream with input (stream.h) on the vsock bus: where it connects to or
 * listens, and who may connect.
 */

#include "qemu/osdep.h"
#include "hw/nitro/limits.h"
#include "hw/nitro/vsock-chardev.h"
#include "hw/qdev-properties-system.h"
#include "hw/qdev-properties.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "peer.h"
#include "stream.h"
#include "trace.h"
#include "vsock.h"

/* VMADDR_PORT_ANY: a port that the kernel would choose */
#define PORT_ANY UINT32_MAX

/* In each direction */
#define BUFFER_SIZE (64 * KiB)

#define HINT_OTHER_PORT "Use another port=PORT.\n"

/* What the stream asks and reports */

static bool channel_admit(void *opaque, QIOChannelSocket *sioc)
{
    NitroVsockChardev *s = opaque;
    uint32_t cid;
    const char *why = nitro_peer_refusal(sioc, s->cid, false, &cid);

    if (why) {
        trace_nitro_vsock_chardev_refused(s, s->port, cid, why);
        return false;
    }
    trace_nitro_vsock_chardev_accepted(s, s->port, cid);
    return true;
}

static void channel_failed(void *opaque, Error *err)
{
    NitroVsockChardev *s = opaque;

    g_free(s->error);
    s->error = g_strdup(error_get_pretty(err));
    error_prepend(&err, "no connection to vsock port %" PRIu32 " of the "
                  "enclave within %" PRIu32 " s: ", s->port,
                  s->connect_timeout);
    warn_report_err(err);
}

static void channel_closed(void *opaque)
{
    nitro_vsock_device_hold(opaque, false);
}

static const NitroStreamOps channel_ops = {
    .admit = channel_admit,
    .failed = channel_failed,
    .closed = channel_closed,
};

/* A launch */

static bool nitro_vsock_chardev_prepare(NitroVsockDevice *dev, Error **errp)
{
    ERRP_GUARD();
    NitroVsockChardev *s = NITRO_VSOCK_CHARDEV(dev);
    g_autoptr(SocketAddress) addr = NULL;

    nitro_vsock_device_hold(dev, false);
    g_clear_pointer(&s->error, g_free);
    if (s->direction == NITRO_CHANNEL_DIRECTION_CONNECT) {
        return true;
    }
    addr = nitro_vsock_address(NITRO_VSOCK_CID_ANY, s->port);
    if (!nitro_stream_listen(s->stream, addr, errp)) {
        error_prepend(errp, "%s: cannot listen on vsock port %" PRIu32 ": ",
                      TYPE_NITRO_VSOCK_CHARDEV, s->port);
        error_append_hint(errp, "End the program that has this port "
                          "(ss --vsock -lp), or use another port=PORT.\n");
        return false;
    }
    return true;
}

static bool nitro_vsock_chardev_started(NitroVsockDevice *dev, uint32_t cid,
                                        Error **errp)
{
    NitroVsockChardev *s = NITRO_VSOCK_CHARDEV(dev);
    g_autoptr(SocketAddress) addr = nitro_vsock_address(cid, s->port);

    s->cid = cid;
    if (s->direction == NITRO_CHANNEL_DIRECTION_LISTEN) {
        nitro_stream_accept(s->stream);
    } else {
        nitro_stream_connect(s->stream, addr);
    }
    return true;
}

static void nitro_vsock_chardev_stopped(NitroVsockDevice *dev)
{
    NitroVsockChardev *s = NITRO_VSOCK_CHARDEV(dev);

    if (nitro_stream_finish(s->stream)) {
        nitro_vsock_device_hold(dev, true);
    }
}

/* The device */

static bool check_chardev(NitroVsockChardev *s, Error **errp)
{
    ERRP_GUARD();

    if (!qemu_chr_fe_backend_connected(&s->chr)) {
        error_setg(errp, "%s needs a character device",
                   TYPE_NITRO_VSOCK_CHARDEV);
        error_append_hint(errp, "Use -chardev socket,id=app,path=app.sock,"
                          "server=on,wait=off -device %s,chardev=app,"
                          "port=PORT.\n", TYPE_NITRO_VSOCK_CHARDEV);
        return false;
    }
    return true;
}

static bool check_port(NitroVsockChardev *s, Error **errp)
{
    ERRP_GUARD();

    if (!s->port || s->port == PORT_ANY) {
        error_setg(errp, "%s: %" PRIu32 " is not a port to connect to or to "
                   "listen on", TYPE_NITRO_VSOCK_CHARDEV, s->port);
        error_append_hint(errp, "Use port=PORT, the vsock port of the "
                          "application.\n");
        return false;
    }
    if (s->direction == NITRO_CHANNEL_DIRECTION_LISTEN &&
        s->port == NITRO_HEARTBEAT_PORT) {
        error_setg(errp, "%s: vsock port %d is for the heartbeat of enclaves",
                   TYPE_NITRO_VSOCK_CHARDEV, NITRO_HEARTBEAT_PORT);
        error_append_hint(errp, HINT_OTHER_PORT);
        return false;
    }
    return true;
}

static bool same_listener(NitroVsockChardev *a, NitroVsockChardev *b)
{
    return a != b && a->port == b->port &&
           a->direction == NITRO_CHANNEL_DIRECTION_LISTEN &&
           b->direction == NITRO_CHANNEL_DIRECTION_LISTEN;
}

static bool check_others(NitroVsockChardev *s, Error **errp)
{
    ERRP_GUARD();
    BusState *bus = qdev_get_parent_bus(DEVICE(s));
    g_autoptr(GPtrArray) others =
        nitro_vsock_bridge_find_all(NITRO_VSOCK_BRIDGE(bus->parent),
                                    TYPE_NITRO_VSOCK_CHARDEV);

    for (guint i = 0; i < others->len; i++) {
        if (same_listener(s, g_ptr_array_index(others, i))) {
            error_setg(errp, "%s: another one listens on vsock port %" PRIu32
                       " already", TYPE_NITRO_VSOCK_CHARDEV, s->port);
            error_append_hint(errp, HINT_OTHER_PORT);
            return false;
        }
    }
    return true;
}

static NitroStream *channel_stream_new(NitroVsockChardev *s)
{
    const NitroStreamOptions options = {
        .name = "nitro-channel",
        .peer = "enclave",
        .input = true,
        .size = BUFFER_SIZE,
        .overflow = NITRO_CONSOLE_OVERFLOW_BLOCK,
        .first_ms = NITRO_STREAM_FIRST_MS,
        .again_ms = NITRO_STREAM_AGAIN_MS,
        .limit_ms = MIN(s->connect_timeout * 1000ULL, INT32_MAX),
    };

    return nitro_stream_new(&s->chr, &options, &channel_ops, s);
}

static void nitro_vsock_chardev_realize(DeviceState *dev, Error **errp)
{
    NitroVsockChardev *s = NITRO_VSOCK_CHARDEV(dev);

    if (!check_chardev(s, errp) || !check_port(s, errp) ||
        !check_others(s, errp)) {
        return;
    }
    s->stream = channel_stream_new(s);
}

static void nitro_vsock_chardev_unrealize(DeviceState *dev)
{
    NitroVsockChardev *s = NITRO_VSOCK_CHARDEV(dev);

    g_clear_pointer(&s->stream, nitro_stream_free);
    g_clear_pointer(&s->error, g_free);
    nitro_vsock_device_hold(NITRO_VSOCK_DEVICE(dev), false);
}

NitroEnclaveChannel *nitro_vsock_chardev_query(NitroVsockChardev *s)
{
    NitroEnclaveChannel *info = g_new0(NitroEnclaveChannel, 1);
    NitroStreamCounts counts = nitro_stream_counts(s->stream);

    info->id = g_strdup(DEVICE(s)->id);
    info->chardev = object_property_get_str(OBJECT(s), "chardev",
                                            &error_abort);
    info->port = s->port;
    info->direction = s->direction;
    info->state = nitro_stream_state(s->stream);
    info->received = counts.received;
    info->sent = counts.sent;
    info->connections = counts.connections;
    info->error = g_strdup(s->error);
    return info;
}

static char *get_state(Object *obj, Error **errp)
{
    NitroStream *stream = NITRO_VSOCK_CHARDEV(obj)->stream;

    return g_strdup(NitroEnclaveChannelState_str(
                        stream ? nitro_stream_state(stream)
                               : NITRO_ENCLAVE_CHANNEL_STATE_IDLE));
}

static int get_direction(Object *obj, Error **errp)
{
    return NITRO_VSOCK_CHARDEV(obj)->direction;
}

static void set_direction(Object *obj, int value, Error **errp)
{
    NITRO_VSOCK_CHARDEV(obj)->direction = value;
}

static const Property nitro_vsock_chardev_properties[] = {
    DEFINE_PROP_CHR("chardev", NitroVsockChardev, chr),
    DEFINE_PROP_UINT32("port", NitroVsockChardev, port, 0),
    DEFINE_PROP_UINT32("connect-timeout", NitroVsockChardev, connect_timeout,
                       0),
};

static void vsock_chardev_describe(ObjectClass *oc)
{
    object_class_property_set_description(oc, "chardev",
        "Character device that the stream is copied to and from");
    object_class_property_set_description(oc, "port",
        "vsock port: of the enclave to connect to it, of the parent to listen");
    object_class_property_set_description(oc, "connect-timeout",
        "Seconds to try to connect; 0: as long as the enclave lives");
    object_class_property_add_enum(oc, "direction", "NitroChannelDirection",
                                   &NitroChannelDirection_lookup,
                                   get_direction, set_direction);
    object_class_property_set_description(oc, "direction",
        "Connect to the enclave (connect, default), or wait for the enclave "
        "to connect (listen)");
    object_class_property_add_str(oc, "state", get_state, NULL);
    object_class_property_set_description(oc, "state",
        "Read only: idle, waiting (for somebody to open the character device), "
        "connecting, listening, open or closed");
}

static void nitro_vsock_chardev_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    NitroVsockDeviceClass *ndc = NITRO_VSOCK_DEVICE_CLASS(oc);

    dc->desc = "Nitro Enclave application channel (vsock stream to and from "
               "a character device)";
    dc->realize = nitro_vsock_chardev_realize;
    dc->unrealize = nitro_vsock_chardev_unrealize;
    device_class_set_props(dc, nitro_vsock_chardev_properties);
    set_bit(DEVICE_CATEGORY_INPUT, dc->categories);
    ndc->prepare_start = nitro_vsock_chardev_prepare;
    ndc->enclave_started = nitro_vsock_chardev_started;
    ndc->enclave_stopped = nitro_vsock_chardev_stopped;
    vsock_chardev_describe(oc);
}

static const TypeInfo nitro_vsock_chardev_types[] = {
    {
        .name = TYPE_NITRO_VSOCK_CHARDEV,
        .parent = TYPE_NITRO_VSOCK_DEVICE,
        .instance_size = sizeof(NitroVsockChardev),
        .class_init = nitro_vsock_chardev_class_init,
    },
};

DEFINE_TYPES(nitro_vsock_chardev_types)
