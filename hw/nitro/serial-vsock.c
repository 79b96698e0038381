/*
 * Nitro Enclaves: debug console device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A stream without input (stream.h) on the vsock bus: where the console of an
 * enclave is, and what is reported of it.  The end of QEMU is held back while
 * the last output is on its way to the character device.
 */

#include "qemu/osdep.h"
#include "chardev-output.h"
#include "hw/nitro/limits.h"
#include "hw/nitro/serial-vsock.h"
#include "hw/qdev-properties-system.h"
#include "hw/qdev-properties.h"
#include "qapi/error.h"
#include "qapi/qapi-events-nitro.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "stream.h"
#include "trace.h"
#include "vsock.h"

/* No attempt to connect after this time */
#define RETRY_LIMIT_MS 20000

static void serial_closed(void *opaque)
{
    nitro_vsock_device_hold(opaque, false);
}

static void serial_lost(NitroSerialVsock *s, const char *reason)
{
    trace_nitro_serial_lost(s, reason);
    g_free(s->lost);
    s->lost = g_strdup(reason);
    qapi_event_send_nitro_enclave_console_lost(reason);
}

static void serial_failed(void *opaque, Error *err)
{
    serial_lost(opaque, error_get_pretty(err));
    error_prepend(&err, "no console, the enclave runs on without: ");
    warn_report_err(err);
}

static void serial_dropped(void *opaque, const char *why)
{
    g_autofree char *label = object_property_get_str(opaque, "chardev",
                                                     &error_abort);

    warn_report("console output for character device '%s' is dropped: %s",
                label, why);
}

static const NitroStreamOps serial_stream_ops = {
    .failed = serial_failed,
    .dropped = serial_dropped,
    .closed = serial_closed,
};

static bool nitro_serial_enclave_started(NitroVsockDevice *dev, uint32_t cid,
                                         Error **errp)
{
    NitroSerialVsock *s = NITRO_SERIAL_VSOCK(dev);
    g_autoptr(SocketAddress) addr = NULL;

    /* The last output of an earlier enclave is delivered without a hold */
    nitro_vsock_device_hold(dev, false);
    g_clear_pointer(&s->lost, g_free);
    if (cid > UINT32_MAX - NITRO_CONSOLE_PORT_BASE) {
        g_autofree char *reason =
            g_strdup_printf("%d + CID %" PRIu32 " is not a vsock port",
                            NITRO_CONSOLE_PORT_BASE, cid);

        serial_lost(s, reason);
        error_setg(errp, "no console: %s", reason);
        return false;
    }

    addr = nitro_vsock_address(NITRO_CID_HYPERVISOR,
                               NITRO_CONSOLE_PORT_BASE + cid);
    nitro_stream_connect(s->stream, addr);
    return true;
}

static void nitro_serial_enclave_stopped(NitroVsockDevice *dev)
{
    NitroSerialVsock *s = NITRO_SERIAL_VSOCK(dev);

    if (nitro_stream_finish(s->stream)) {
        nitro_vsock_device_hold(dev, true);
    }
}

static NitroStream *serial_stream_new(NitroSerialVsock *s)
{
    const NitroStreamOptions options = {
        .name = "nitro-console",
        .peer = "hypervisor",
        .size = s->backlog,
        .overflow = s->overflow,
        .first_ms = NITRO_STREAM_FIRST_MS,
        .again_ms = NITRO_STREAM_AGAIN_MS,
        .limit_ms = RETRY_LIMIT_MS,
    };

    return nitro_stream_new(&s->chr, &options, &serial_stream_ops, s);
}

static void nitro_serial_realize(DeviceState *dev, Error **errp)
{
    ERRP_GUARD();
    NitroSerialVsock *s = NITRO_SERIAL_VSOCK(dev);

    if (!qemu_chr_fe_backend_connected(&s->chr)) {
        error_setg(errp, "%s needs a character device",
                   TYPE_NITRO_SERIAL_VSOCK);
        error_append_hint(errp, "Use -chardev stdio,id=con -device %s,"
                          "chardev=con.\n", TYPE_NITRO_SERIAL_VSOCK);
        return;
    }
    if (!nitro_vsock_device_has_console(NITRO_VSOCK_DEVICE(dev))) {
        error_setg(errp, "%s: only an enclave in debug mode has a console",
                   TYPE_NITRO_SERIAL_VSOCK);
        error_append_hint(errp, "Use -accel nitro,debug-mode=on, or leave "
                          "the device out.\n");
        return;
    }
    if (!nitro_vsock_device_is_only(NITRO_VSOCK_DEVICE(dev), errp)) {
        error_append_hint(errp, "Use -serial none when the console is given "
                          "with -device.\n");
        return;
    }
    if (!nitro_output_check_size(TYPE_NITRO_SERIAL_VSOCK, s->backlog, errp)) {
        return;
    }
    s->stream = serial_stream_new(s);
}

static void nitro_serial_unrealize(DeviceState *dev)
{
    NitroSerialVsock *s = NITRO_SERIAL_VSOCK(dev);

    g_clear_pointer(&s->stream, nitro_stream_free);
    g_clear_pointer(&s->lost, g_free);
    nitro_vsock_device_hold(NITRO_VSOCK_DEVICE(dev), false);
}

static NitroEnclaveConsoleState serial_state(NitroSerialVsock *s)
{
    switch (s->stream ? nitro_stream_state(s->stream)
                      : NITRO_ENCLAVE_CHANNEL_STATE_IDLE) {
    case NITRO_ENCLAVE_CHANNEL_STATE_IDLE:
        return NITRO_ENCLAVE_CONSOLE_STATE_IDLE;
    case NITRO_ENCLAVE_CHANNEL_STATE_CONNECTING:
        return NITRO_ENCLAVE_CONSOLE_STATE_CONNECTING;
    case NITRO_ENCLAVE_CHANNEL_STATE_OPEN:
        return NITRO_ENCLAVE_CONSOLE_STATE_OPEN;
    case NITRO_ENCLAVE_CHANNEL_STATE_CLOSED:
        return NITRO_ENCLAVE_CONSOLE_STATE_CLOSED;
    default:
        g_assert_not_reached();
    }
}

NitroEnclaveConsole *nitro_serial_query(NitroSerialVsock *s)
{
    NitroEnclaveConsole *info = g_new0(NitroEnclaveConsole, 1);
    NitroStreamCounts counts = nitro_stream_counts(s->stream);

    info->state = serial_state(s);
    info->chardev = object_property_get_str(OBJECT(s), "chardev",
                                            &error_abort);
    info->bytes = counts.received;
    info->dropped = counts.dropped;
    info->reconnects = counts.connections ? counts.connections - 1 : 0;
    info->lost = g_strdup(s->lost);
    return info;
}

static char *nitro_serial_get_state(Object *obj, Error **errp)
{
    return g_strdup(NitroEnclaveConsoleState_str(
                        serial_state(NITRO_SERIAL_VSOCK(obj))));
}

static int nitro_serial_get_overflow(Object *obj, Error **errp)
{
    return NITRO_SERIAL_VSOCK(obj)->overflow;
}

static void nitro_serial_set_overflow(Object *obj, int value, Error **errp)
{
    NITRO_SERIAL_VSOCK(obj)->overflow = value;
}

static const Property nitro_serial_properties[] = {
    DEFINE_PROP_CHR("chardev", NitroSerialVsock, chr),
    DEFINE_PROP_SIZE("backlog", NitroSerialVsock, backlog,
                     NITRO_CONSOLE_BACKLOG_DEFAULT),
};

static void nitro_serial_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    NitroVsockDeviceClass *ndc = NITRO_VSOCK_DEVICE_CLASS(oc);

    dc->desc = "Nitro Enclave debug console (output only)";
    dc->realize = nitro_serial_realize;
    dc->unrealize = nitro_serial_unrealize;
    device_class_set_props(dc, nitro_serial_properties);
    set_bit(DEVICE_CATEGORY_INPUT, dc->categories);
    ndc->enclave_started = nitro_serial_enclave_started;
    ndc->enclave_stopped = nitro_serial_enclave_stopped;

    object_class_property_set_description(oc, "chardev",
        "Character device that gets the output of the enclave");
    object_class_property_set_description(oc, "backlog",
        "Bytes of output to keep for a reader that is slow or comes later "
        "(default: 64K)");
    object_class_property_add_enum(oc, "overflow", "NitroConsoleOverflow",
                                   &NitroConsoleOverflow_lookup,
                                   nitro_serial_get_overflow,
                                   nitro_serial_set_overflow);
    object_class_property_set_description(oc, "overflow",
        "When the backlog of a slow reader is full: let the hypervisor wait "
        "(block, default), or drop the oldest output (drop-oldest)");
    object_class_property_add_str(oc, "state", nitro_serial_get_state, NULL);
    object_class_property_set_description(oc, "state",
        "Read only: idle, connecting, open or closed");
}

static const TypeInfo nitro_serial_types[] = {
    {
        .name = TYPE_NITRO_SERIAL_VSOCK,
        .parent = TYPE_NITRO_VSOCK_DEVICE,
        .instance_size = sizeof(NitroSerialVsock),
        .class_init = nitro_serial_class_init,
    },
};

DEFINE_TYPES(nitro_serial_types)
