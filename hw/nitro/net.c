/*
 * Nitro Enclaves: network device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Names of directions are the enclave's: it sends what the socket brings, and
 * receives what QEMU's network delivers to the card.
 *
 * Everything runs in the default main context under the BQL; nothing blocks.
 */

#include "qemu/osdep.h"
#include "hw/nitro/net.h"
#include "hw/qdev-properties-system.h"
#include "hw/qdev-properties.h"
#include "io/channel-socket.h"
#include "listener.h"
#include "net-frames.h"
#include "peer.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "trace.h"
#include "vsock.h"

/* Connections that the kernel keeps until they are accepted */
#define BACKLOG 4

/*
 * Linux resets a vsock stream on which more packets wait than fit into its
 * buffer; with the usual 256 KiB those are about 455, however small.
 */
#define SOCKET_BUFFER (8 * MiB)

/* Beside the packet itself: header of Ethernet, and a VLAN's tag */
#define ETHERNET 14
#define FRAME_EXTRA (ETHERNET + 4)

struct NitroNet {
    NitroVsockDevice parent_obj;

    NICState *nic;
    NICConf conf;                       /* properties mac, netdev */
    uint32_t port;                      /* property */
    uint32_t host_mtu;                  /* property */

    QIONetListener *listener;           /* or NULL */
    uint32_t cid;                       /* the only one that may connect */
    bool warned;                        /* of a fault, in this launch */

    /* The connection */
    QIOChannelSocket *sioc;             /* NULL without one */
    guint read_tag;
    guint write_tag;
    bool held;                          /* QEMU's network takes no more */
    NitroFramesIn in;
    Fifo8 out;

    /* Since the enclave was started */
    uint64_t sent, received, dropped;
    uint32_t connections, faults;
    char *error;                        /* of the last fault, or NULL */
};

NitroEnclaveNetwork *nitro_net_query(NitroNet *n)
{
    NitroEnclaveNetwork *info = g_new0(NitroEnclaveNetwork, 1);
    NetClientState *peer = qemu_get_queue(n->nic)->peer;

    info->id = g_strdup(DEVICE(n)->id);
    info->netdev = g_strdup(peer ? peer->name : NULL);
    info->port = n->port;
    info->connected = n->sioc != NULL;
    info->sent = n->sent;
    info->received = n->received;
    info->dropped = n->dropped;
    info->connections = n->connections;
    info->faults = n->faults;
    info->error = g_strdup(n->error);
    return info;
}

/* "info network" shows it */
static void net_show(NitroNet *n)
{
    NetClientState *nc = qemu_get_queue(n->nic);
    size_t len;

    qemu_format_nic_info_str(nc, n->conf.macaddr.a);
    len = strlen(nc->info_str);
    if (n->sioc) {
        snprintf(nc->info_str + len, sizeof(nc->info_str) - len,
                 ",cid=%" PRIu32, n->cid);
    }
}

/* The connection */

static void connection_close(NitroNet *n)
{
    if (!n->sioc) {
        return;
    }
    trace_nitro_net_closed(n, n->sent, n->received, n->dropped);
    g_clear_handle_id(&n->read_tag, g_source_remove);
    g_clear_handle_id(&n->write_tag, g_source_remove);
    qio_channel_close(QIO_CHANNEL(n->sioc), NULL);
    object_unref(OBJECT(n->sioc));
    n->sioc = NULL;
    nitro_frames_in_destroy(&n->in);
    fifo8_destroy(&n->out);
    net_show(n);
}

static void G_GNUC_PRINTF(2, 3) connection_fault(NitroNet *n, const char *fmt,
                                                 ...)
{
    va_list args;

    va_start(args, fmt);
    g_free(n->error);
    n->error = g_strdup_vprintf(fmt, args);
    va_end(args);
    n->faults++;
    trace_nitro_net_fault(n, n->cid, n->error);
    connection_close(n);
}

static void frame_fault(NitroNet *n, uint32_t len)
{
    connection_fault(n, "a frame of %" PRIu32 " bytes, where %d to %d are "
                     "possible", len, NITRO_FRAME_MIN, NITRO_FRAME_MAX);
    if (!n->warned) {
        n->warned = true;
        warn_report("%s: the enclave with CID %" PRIu32 " has sent %s: "
                    "connection closed", TYPE_NITRO_NET, n->cid, n->error);
    }
}

static bool fits_mtu(const NitroNet *n, size_t len)
{
    return len <= n->host_mtu + FRAME_EXTRA;
}

/* From the enclave to QEMU's network */

static void connection_update(NitroNet *n);
static void net_deliver(NitroNet *n);

/* QEMU's network has taken, or thrown away, the frame that it had to keep */
static void frame_taken(NetClientState *nc, ssize_t len)
{
    NitroNet *n = qemu_get_nic_opaque(nc);

    n->held = false;
    if (n->sioc) {
        net_deliver(n);
    }
}

/* A frame that QEMU's network cannot take now is kept there, one at most */
static void deliver_frame(NitroNet *n, const uint8_t *frame, uint32_t len)
{
    if (!fits_mtu(n, len)) {
        n->dropped++;
        return;
    }
    n->sent++;
    n->held = !qemu_send_packet_async(qemu_get_queue(n->nic), frame, len,
                                      frame_taken);
}

static void net_deliver(NitroNet *n)
{
    NitroFrameResult result = NITRO_FRAME_WHOLE;
    const uint8_t *frame;
    uint32_t len;

    while (n->sioc && !n->held && result == NITRO_FRAME_WHOLE) {
        result = nitro_frames_peek(&n->in, &frame, &len);
        if (result == NITRO_FRAME_WHOLE) {
            nitro_frames_take(&n->in);
            deliver_frame(n, frame, len);
        } else if (result == NITRO_FRAME_BAD) {
            frame_fault(n, len);
        }
    }
    connection_update(n);
}

static void connection_end(NitroNet *n)
{
    size_t left = nitro_frames_left(&n->in);

    if (left) {
        connection_fault(n, "its connection ended within a frame, after %zu "
                         "bytes of it", left);
    } else {
        connection_close(n);
    }
}

static gboolean net_readable(QIOChannel *ioc, GIOCondition cond,
                             gpointer opaque)
{
    NitroNet *n = opaque;
    ssize_t len;

    if (n->held) {
        n->read_tag = 0;
        return G_SOURCE_REMOVE;
    }
    len = qio_channel_read(ioc, (char *)nitro_frames_space(&n->in),
                           NITRO_FRAMES_BATCH, NULL);
    if (len == QIO_CHANNEL_ERR_BLOCK) {
        return G_SOURCE_CONTINUE;
    }
    n->read_tag = 0;
    if (len <= 0) {
        connection_end(n);
    } else {
        nitro_frames_added(&n->in, len);
        net_deliver(n);
    }
    return G_SOURCE_REMOVE;
}

/* From QEMU's network to the enclave */

/* Returns: whether more can be sent now */
static bool send_batch(NitroNet *n)
{
    uint32_t len = MIN(fifo8_num_used(&n->out), NITRO_FRAMES_BATCH);
    const uint8_t *data = fifo8_peek_bufptr(&n->out, len, &len);
    ssize_t done = qio_channel_write(QIO_CHANNEL(n->sioc), (const char *)data,
                                     len, NULL);

    if (done == QIO_CHANNEL_ERR_BLOCK) {
        return false;
    }
    if (done < 0) {
        /* The enclave has gone; what it has sent can still be read */
        fifo8_reset(&n->out);
        return false;
    }
    fifo8_drop(&n->out, done);
    return true;
}

static void send_all(NitroNet *n)
{
    while (!fifo8_is_empty(&n->out) && send_batch(n)) {
        continue;
    }
}

static gboolean net_writable(QIOChannel *ioc, GIOCondition cond,
                             gpointer opaque)
{
    NitroNet *n = opaque;

    n->write_tag = 0;
    send_all(n);
    connection_update(n);
    return G_SOURCE_REMOVE;
}

/* Make watches fit, after anything has changed */
static void connection_update(NitroNet *n)
{
    QIOChannel *ioc;

    if (!n->sioc) {
        return;
    }
    ioc = QIO_CHANNEL(n->sioc);
    if (!n->held && !n->read_tag) {
        n->read_tag = qio_channel_add_watch(ioc, G_IO_IN | G_IO_HUP | G_IO_ERR,
                                            net_readable, n, NULL);
    }
    if (!fifo8_is_empty(&n->out) && !n->write_tag) {
        n->write_tag = qio_channel_add_watch(ioc, G_IO_OUT, net_writable, n,
                                             NULL);
    }
}

/*
 * Frames of one round of the main loop leave together, in net_writable(): a
 * back end that is read until it is empty fills batches by itself.
 */
static ssize_t net_receive(NetClientState *nc, const uint8_t *frame,
                           size_t len)
{
    NitroNet *n = qemu_get_nic_opaque(nc);

    if (!n->sioc || !fits_mtu(n, len) ||
        !nitro_frames_add(&n->out, frame, len)) {
        n->dropped++;
        return len;
    }
    n->received++;
    connection_update(n);
    return len;
}

static NetClientInfo net_info = {
    .type = NET_CLIENT_DRIVER_NIC,
    .size = sizeof(NICState),
    .receive = net_receive,
};

/* Connections */

static bool is_behind_slirp(const NitroNet *n)
{
    const NetClientState *peer = qemu_get_queue(n->nic)->peer;

    return peer && peer->info->type == NET_CLIENT_DRIVER_USER;
}

/*
 * slirp is the other end of each TCP connection, and takes segments of any
 * length over IPv4.  Each frame costs it a system call, and an acknowledgement.
 */
static uint32_t longest_uncut(const NitroNet *n)
{
    return is_behind_slirp(n) ? n->host_mtu + ETHERNET : 0;
}

/*
 * The address that the enclave should have; zeros: its own choice.  QEMU's
 * default is the same in each QEMU, so it is of use with slirp only, which
 * forwards ports to the lease of this address.
 */
static MACAddr greeting_mac(const NitroNet *n)
{
    static const uint8_t chosen_by_qemu[] = { 0x52, 0x54, 0x00, 0x12, 0x34 };

    return is_behind_slirp(n) || memcmp(n->conf.macaddr.a, chosen_by_qemu,
                                        sizeof(chosen_by_qemu))
           ? n->conf.macaddr : (MACAddr) { };
}

static void net_accepted(QIONetListener *listener, QIOChannelSocket *sioc,
                         gpointer opaque)
{
    NitroNet *n = opaque;
    MACAddr mac = greeting_mac(n);
    uint32_t cid;
    const char *why = nitro_peer_refusal(sioc, n->cid, n->sioc, &cid);

    if (why) {
        trace_nitro_net_refused(n, cid, why);
        return;
    }
    n->sioc = QIO_CHANNEL_SOCKET(object_ref(OBJECT(sioc)));
    qio_channel_set_name(QIO_CHANNEL(sioc), TYPE_NITRO_NET);
    nitro_vsock_set_buffer(sioc, SOCKET_BUFFER);
    nitro_frames_in_init(&n->in);
    fifo8_create(&n->out, NITRO_FRAMES_QUEUE);
    n->connections++;
    trace_nitro_net_accepted(n, cid, n->connections);
    net_show(n);
    nitro_frames_greet(&n->out, &mac, longest_uncut(n));
    connection_update(n);
}

/* A launch */

static void net_restart(NitroNet *n)
{
    connection_close(n);
    nitro_listener_close(&n->listener);
    n->warned = false;
    n->sent = n->received = n->dropped = 0;
    n->connections = n->faults = 0;
    g_clear_pointer(&n->error, g_free);
}

static bool nitro_net_prepare(NitroVsockDevice *dev, Error **errp)
{
    net_restart(NITRO_NET(dev));
    return true;
}

static bool nitro_net_started(NitroVsockDevice *dev, uint32_t cid,
                              Error **errp)
{
    NitroNet *n = NITRO_NET(dev);

    n->cid = cid;
    n->listener = nitro_peer_listen(n->port, cid, BACKLOG, TYPE_NITRO_NET,
                                    "net-port", errp);
    if (!n->listener) {
        return false;
    }
    qio_net_listener_set_client_func(n->listener, net_accepted, n, NULL);
    return true;
}

static void nitro_net_stopped(NitroVsockDevice *dev)
{
    NitroNet *n = NITRO_NET(dev);

    nitro_listener_close(&n->listener);
    connection_close(n);
}

/* The device */

static bool check_mtu(NitroNet *n, Error **errp)
{
    ERRP_GUARD();

    if (n->host_mtu < NITRO_NET_MTU_MIN || n->host_mtu > NITRO_NET_MTU_MAX) {
        error_setg(errp, "%s: host_mtu=%" PRIu32 " is out of range",
                   TYPE_NITRO_NET, n->host_mtu);
        error_append_hint(errp, "Use host_mtu=BYTES, from %d to %d.\n",
                          NITRO_NET_MTU_MIN, NITRO_NET_MTU_MAX);
        return false;
    }
    return true;
}

static void nitro_net_realize(DeviceState *dev, Error **errp)
{
    NitroNet *n = NITRO_NET(dev);

    if (!nitro_peer_check_port(TYPE_NITRO_NET, n->port, NITRO_NET_PORT,
                               errp) ||
        !check_mtu(n, errp) ||
        !nitro_vsock_device_is_only(NITRO_VSOCK_DEVICE(dev), errp)) {
        return;
    }
    qemu_macaddr_default_if_unset(&n->conf.macaddr);
    n->nic = qemu_new_nic(&net_info, &n->conf, TYPE_NITRO_NET, dev->id,
                          &dev->mem_reentrancy_guard, n);
    if (!qemu_get_queue(n->nic)->peer) {
        warn_report("%s: no back end: the enclave's network leads nowhere; "
                    "use netdev=ID with -netdev user,id=ID, or -nic "
                    "user,model=%s", TYPE_NITRO_NET, TYPE_NITRO_NET);
    }
    net_show(n);
}

static void nitro_net_unrealize(DeviceState *dev)
{
    NitroNet *n = NITRO_NET(dev);

    net_restart(n);
    qemu_del_nic(n->nic);
}

static const Property nitro_net_properties[] = {
    DEFINE_NIC_PROPERTIES(NitroNet, conf),
    DEFINE_PROP_UINT32("port", NitroNet, port, NITRO_NET_PORT),
    DEFINE_PROP_UINT32("host_mtu", NitroNet, host_mtu, NITRO_NET_MTU_MAX),
};

static void nitro_net_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    NitroVsockDeviceClass *ndc = NITRO_VSOCK_DEVICE_CLASS(oc);

    dc->desc = "Nitro Enclave network card (TAP of nitro-init)";
    dc->realize = nitro_net_realize;
    dc->unrealize = nitro_net_unrealize;
    device_class_set_props(dc, nitro_net_properties);
    set_bit(DEVICE_CATEGORY_NETWORK, dc->categories);
    ndc->prepare_start = nitro_net_prepare;
    ndc->enclave_started = nitro_net_started;
    ndc->enclave_stopped = nitro_net_stopped;
    object_class_property_set_description(oc, "port",
        "Port in the image's configuration.  With the enclave's CID it yields "
        "the vsock port of the parent, which the init connects to (default: "
        "9002)");
    object_class_property_set_description(oc, "host_mtu",
        "Largest packet, in bytes; larger ones are dropped (default: 65520)");
}

static const TypeInfo nitro_net_types[] = {
    {
        .name = TYPE_NITRO_NET,
        .parent = TYPE_NITRO_VSOCK_DEVICE,
        .instance_size = sizeof(NitroNet),
        .class_init = nitro_net_class_init,
    },
};

DEFINE_TYPES(nitro_net_types)
