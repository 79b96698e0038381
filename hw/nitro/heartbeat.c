/*
 * Nitro Enclaves: heartbeat device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Connects the heartbeat protocol (heartbeat-server.c) with the vsock bus on
 * one side and AF_VSOCK on the other.
 */

#include "qemu/osdep.h"
#ifdef CONFIG_AF_VSOCK
#include <linux/vm_sockets.h>
#endif
#include "hw/nitro/heartbeat.h"
#include "heartbeat-server.h"
#include "hw/qdev-properties.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qemu/sockets.h"
#include "qemu/timer.h"
#include "system/nitro.h"
#include "system/nitro-compat.h"
#include "system/nitro-hints.h"
#include "vsock-address.h"

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

#ifdef CONFIG_AF_VSOCK
/*
 * Any local CID will do, as the peer's CID is what counts: the parent's own
 * is 3 on EC2, but need not be elsewhere.  The port is taken for all of them.
 * Returns the descriptor or a negative errno.
 */
static int vsock_listen(void)
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK,
        .svm_port = NITRO_HEARTBEAT_PORT,
        .svm_cid = VMADDR_CID_ANY,
    };
    int fd = qemu_socket(AF_VSOCK, SOCK_STREAM, 0);
    int err;

    if (fd < 0) {
        return -errno;
    }
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        listen(fd, NITRO_HEARTBEAT_BACKLOG) < 0) {
        err = errno;
        close(fd);
        return -err;
    }
    return fd;
}
#else
static int vsock_listen(void)
{
    return -EAFNOSUPPORT;
}
#endif

static bool heartbeat_peer_cid(void *opaque, QIOChannelSocket *sioc,
                               uint32_t *cid)
{
    return nitro_vsock_peer_cid(sioc, cid);
}

static int heartbeat_listen(void *opaque, Error **errp)
{
    ERRP_GUARD();
    int fd = vsock_listen();

    if (fd < 0) {
        error_setg_errno(errp, -fd,
                         "heartbeat: cannot listen on vsock port %d",
                         NITRO_HEARTBEAT_PORT);
        error_append_hint(errp, "%s\n", listen_hint(-fd));
    }
    return fd;
}

static void heartbeat_booted(void *opaque)
{
    nitro_accel_notify_booted();
    /* Read after boot-ms, which is a part of this time, so as not to be less */
    NITRO_HEARTBEAT(opaque)->received_ms =
        qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

static unsigned deadline_ms(NitroHeartbeat *s)
{
    BusState *bus = qdev_get_parent_bus(DEVICE(s));
    NitroVsockBridge *bridge = NITRO_VSOCK_BRIDGE(bus->parent);

    if (s->timeout == NITRO_HEARTBEAT_TIMEOUT_AUTO) {
        return nitro_heartbeat_default_deadline(bridge->image_size,
                                                bridge->memory_size);
    }
    return MIN(s->timeout * 1000ULL, INT32_MAX);
}

static void heartbeat_expired(void *opaque)
{
    NitroHeartbeat *s = opaque;
    Error *err = NULL;

    error_setg(&err, "the enclave with CID %" PRIu64 " has sent no heartbeat "
               "for %.1f s%s", nitro_accel_get_cid(), deadline_ms(s) / 1000.0,
               s->timeout_action == NITRO_HEARTBEAT_ACTION_RUN
               ? "" : ", ending it");
    error_append_hint(&err, "Look at its console (-accel nitro,debug-mode=on)"
                      ", raise -m, or wait longer (-global "
                      "nitro-heartbeat.timeout=SECONDS); for an image that "
                      "sends none use -machine nitro,heartbeat=off.\n");
    warn_report_err(err);
    if (s->timeout_action == NITRO_HEARTBEAT_ACTION_END) {
        nitro_accel_boot_failed();
    }
}

static const NitroHeartbeatOps heartbeat_ops = {
    .listen = heartbeat_listen,
    .peer_cid = heartbeat_peer_cid,
    .booted = heartbeat_booted,
    .expired = heartbeat_expired,
};

static NitroStep nitro_heartbeat_acquire(NitroVsockDevice *dev, Error **errp)
{
    NitroHeartbeat *s = NITRO_HEARTBEAT(dev);
    NitroEnclaveHeartbeatState before = nitro_heartbeat_server_state(s->server);
    uint64_t wait_ms = MIN(s->port_timeout * 1000ULL, INT32_MAX);
    NitroStep step = nitro_heartbeat_server_acquire(s->server, wait_ms, errp);

    if (before != nitro_heartbeat_server_state(s->server)) {
        s->since_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    }
    if (step == NITRO_STEP_LATER &&
        before != NITRO_ENCLAVE_HEARTBEAT_STATE_WAITING) {
        info_report("vsock port %d is taken by another launch on this "
                    "parent: waiting for it, up to %" PRIu32 " s",
                    NITRO_HEARTBEAT_PORT, s->port_timeout);
    }
    if (step == NITRO_STEP_DONE) {
        nitro_heartbeat_server_set_deadline(s->server, deadline_ms(s));
        nitro_accel_expect_boot();
    }
    return step;
}

static bool nitro_heartbeat_enclave_started(NitroVsockDevice *dev, uint32_t cid,
                                            Error **errp)
{
    nitro_heartbeat_server_set_cid(NITRO_HEARTBEAT(dev)->server, cid);
    return true;
}

static void nitro_heartbeat_enclave_stopped(NitroVsockDevice *dev)
{
    nitro_heartbeat_server_stop(NITRO_HEARTBEAT(dev)->server);
}

NitroEnclaveHeartbeat *nitro_heartbeat_query(NitroHeartbeat *hb)
{
    NitroEnclaveHeartbeatState state = nitro_heartbeat_server_state(hb->server);
    NitroEnclaveHeartbeat *info = g_new0(NitroEnclaveHeartbeat, 1);
    int64_t until_ms = state == NITRO_ENCLAVE_HEARTBEAT_STATE_DONE
        ? hb->received_ms : qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    info->state = state;
    info->port = NITRO_HEARTBEAT_PORT;
    info->timeout_ms = deadline_ms(hb);
    info->has_elapsed_ms = state != NITRO_ENCLAVE_HEARTBEAT_STATE_IDLE &&
                           state != NITRO_ENCLAVE_HEARTBEAT_STATE_FAILED;
    info->elapsed_ms = info->has_elapsed_ms ? until_ms - hb->since_ms : 0;
    return info;
}

static char *nitro_heartbeat_get_state(Object *obj, Error **errp)
{
    NitroHeartbeatServer *server = NITRO_HEARTBEAT(obj)->server;

    return g_strdup(NitroEnclaveHeartbeatState_str(
                        nitro_heartbeat_server_state(server)));
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
                      NITRO_HEARTBEAT_TIMEOUT_AUTO),
    DEFINE_PROP_UINT32("port-timeout", NitroHeartbeat, port_timeout, 300),
};

static void nitro_heartbeat_realize(DeviceState *dev, Error **errp)
{
    ERRP_GUARD();
    NitroHeartbeat *s = NITRO_HEARTBEAT(dev);

    if (s->timeout < NITRO_HEARTBEAT_TIMEOUT_AUTO) {
        error_setg(errp, "heartbeat: %" PRId32 " s is no time limit",
                   s->timeout);
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

/* The enclave of before is no more: ready for the next */
static void nitro_heartbeat_reset(DeviceState *dev)
{
    nitro_heartbeat_server_reset(NITRO_HEARTBEAT(dev)->server);
}

static void nitro_heartbeat_unrealize(DeviceState *dev)
{
    nitro_heartbeat_server_stop(NITRO_HEARTBEAT(dev)->server);
}

static void nitro_heartbeat_init(Object *obj)
{
    NITRO_HEARTBEAT(obj)->server =
        nitro_heartbeat_server_new(&heartbeat_ops, obj);
}

static void nitro_heartbeat_finalize(Object *obj)
{
    nitro_heartbeat_server_free(NITRO_HEARTBEAT(obj)->server);
}

static void nitro_heartbeat_class_init(ObjectClass *oc, NitroClassData *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    NitroVsockDeviceClass *ndc = NITRO_VSOCK_DEVICE_CLASS(oc);

    dc->desc = "Nitro Enclave heartbeat (answers the enclave on vsock port "
               "9000)";
    dc->realize = nitro_heartbeat_realize;
    dc->unrealize = nitro_heartbeat_unrealize;
    device_class_set_legacy_reset(dc, nitro_heartbeat_reset);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    device_class_set_props(dc, nitro_heartbeat_properties);
    ndc->acquire = nitro_heartbeat_acquire;
    ndc->enclave_started = nitro_heartbeat_enclave_started;
    ndc->enclave_stopped = nitro_heartbeat_enclave_stopped;

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
        "let it run and go on waiting (run)");
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
