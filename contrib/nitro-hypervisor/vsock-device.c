/*
 * vhost-user back end of one VM's vsock device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib-unix.h>
#include "qemu/bswap.h"
#include "libvhost-user.h"
#include "report.h"
#include "vsock-device.h"

enum { QUEUE_RX, QUEUE_TX, NR_QUEUES };

/* Packets handled before others get their turn */
#define QUEUE_BUDGET 256
/* A vhost-user message that does not become complete */
#define MESSAGE_POLL_MS 10
#define MESSAGE_POLLS   500

typedef struct Watch {
    NhvVsockDevice *dev;
    vu_watch_cb cb;
    void *opaque;
} Watch;

struct NhvVsockDevice {
    VuDev vu;
    NhvSwitch *sw;
    NhvSwitchPort *port;      /* NULL until the driver is running */
    uint32_t cid;
    const NhvVsockDeviceOps *ops;
    void *opaque;
    GHashTable *watches;        /* fd -> id of the main loop's source */
    guint socket_source;
    guint pump_source;
    guint close_source;
    unsigned int polls;
    bool started[NR_QUEUES];
    bool ready;                 /* ops->ready was called */
    char *why;                  /* set once the connection has to go */
    NhvReport report;
};

static NhvVsockDevice *from_vu(VuDev *vu)
{
    return container_of(vu, NhvVsockDevice, vu);
}

static gboolean close_idle(gpointer opaque)
{
    NhvVsockDevice *dev = opaque;

    dev->close_source = 0;
    dev->ops->closed(dev->opaque, dev->why);
    return G_SOURCE_REMOVE;
}

static void stop_sources(NhvVsockDevice *dev)
{
    g_clear_handle_id(&dev->socket_source, g_source_remove);
    g_clear_handle_id(&dev->pump_source, g_source_remove);
    g_hash_table_remove_all(dev->watches);
}

static void port_down(NhvVsockDevice *dev)
{
    g_clear_pointer(&dev->port, nhv_switch_detach);
    g_clear_handle_id(&dev->pump_source, g_source_remove);
}

static bool is_running(NhvVsockDevice *dev)
{
    return dev->port && dev->started[QUEUE_RX] && dev->started[QUEUE_TX];
}

/* Called from inside libvhost-user: the rest is done by the main loop */
static void device_fail(NhvVsockDevice *dev, const char *why)
{
    if (!dev->why) {
        dev->why = g_strdup(why);
        dev->close_source = g_idle_add_full(G_PRIORITY_HIGH, close_idle, dev,
                                            NULL);
    }
}

static void vu_failed(VuDev *vu, const char *why)
{
    device_fail(from_vu(vu), why ? why : "out of memory");
}

static gboolean watch_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    Watch *watch = opaque;

    if (!watch->dev->why) {
        watch->cb(&watch->dev->vu, condition, watch->opaque);
    }
    return G_SOURCE_CONTINUE;
}

static void watch_remove(gpointer id)
{
    g_source_remove(GPOINTER_TO_UINT(id));
}

static void set_watch(VuDev *vu, int fd, int condition, vu_watch_cb cb,
                      void *opaque)
{
    NhvVsockDevice *dev = from_vu(vu);
    Watch *watch = g_new(Watch, 1);
    guint id;

    *watch = (Watch) { .dev = dev, .cb = cb, .opaque = opaque };
    id = g_unix_fd_add_full(G_PRIORITY_DEFAULT, fd, condition, watch_ready,
                            watch, g_free);
    g_hash_table_replace(dev->watches, GINT_TO_POINTER(fd),
                         GUINT_TO_POINTER(id));
}

static void remove_watch(VuDev *vu, int fd)
{
    g_hash_table_remove(from_vu(vu)->watches, GINT_TO_POINTER(fd));
}

/* Returns: whether there may be more to do */
static bool send_packets(NhvVsockDevice *dev)
{
    VuVirtq *vq = vu_get_queue(&dev->vu, QUEUE_TX);
    int i;

    for (i = 0; i < QUEUE_BUDGET && !nhv_switch_is_full(dev->port); i++) {
        VuVirtqElement *elem = vu_queue_pop(&dev->vu, vq, sizeof(*elem));

        if (!elem) {
            break;
        }
        if (elem->in_num) {
            nhv_report(&dev->report,
                       "CID %u: writable descriptor in its tx queue",
                       dev->cid);
        } else {
            nhv_switch_send(dev->port, elem->out_sg, elem->out_num);
        }
        vu_queue_push(&dev->vu, vq, elem, 0);
        free(elem);
    }
    if (i) {
        vu_queue_notify(&dev->vu, vq);
    }
    return i == QUEUE_BUDGET;
}

static size_t fill_buffer(NhvVsockDevice *dev, VuVirtqElement *elem)
{
    size_t len = 0;

    if (!elem->out_num) {
        len = nhv_switch_receive(dev->port, elem->in_sg, elem->in_num);
    }
    if (!len) {
        nhv_report(&dev->report,
                   "CID %u: rx buffer of %zu bytes cannot hold a packet",
                   dev->cid, iov_size(elem->in_sg, elem->in_num));
    }
    return len;
}

/* Returns: whether there may be more to do before the guest kicks again */
static bool receive_packets(NhvVsockDevice *dev)
{
    VuVirtq *vq = vu_get_queue(&dev->vu, QUEUE_RX);
    int i;

    for (i = 0; i < QUEUE_BUDGET && nhv_switch_pending(dev->port); i++) {
        VuVirtqElement *elem = vu_queue_pop(&dev->vu, vq, sizeof(*elem));

        if (!elem) {
            break;
        }
        vu_queue_push(&dev->vu, vq, elem, fill_buffer(dev, elem));
        free(elem);
    }
    if (i) {
        vu_queue_notify(&dev->vu, vq);
    }
    return i == QUEUE_BUDGET;
}

static gboolean device_pump(gpointer opaque)
{
    NhvVsockDevice *dev = opaque;
    bool more = false;

    if (is_running(dev) && !dev->why) {
        more |= send_packets(dev);
        more |= receive_packets(dev);
    }
    if (more) {
        return G_SOURCE_CONTINUE;
    }
    dev->pump_source = 0;
    return G_SOURCE_REMOVE;
}

static void pump_later(void *opaque)
{
    NhvVsockDevice *dev = opaque;

    if (!dev->pump_source && is_running(dev)) {
        dev->pump_source = g_idle_add_full(G_PRIORITY_DEFAULT, device_pump, dev,
                                           NULL);
    }
}

static void queue_kicked(VuDev *vu, int qidx)
{
    pump_later(from_vu(vu));
}

static uint64_t get_features(VuDev *vu)
{
    return 1ull << VIRTIO_F_VERSION_1;
}

static void set_features(VuDev *vu, uint64_t features)
{
}

static uint64_t get_protocol_features(VuDev *vu)
{
    return 1ull << VHOST_USER_PROTOCOL_F_CONFIG;
}

static int get_config(VuDev *vu, uint8_t *config, uint32_t len)
{
    NhvVsockDevice *dev = from_vu(vu);
    struct virtio_vsock_config value = {
        .guest_cid = cpu_to_le64(dev->cid),
    };

    if (len > sizeof(value)) {
        return -1;
    }
    memcpy(config, &value, len);
    dev->ready = true;
    return 0;
}

/* A driver begins with its rings' first element, a paused VM goes on */
static bool driver_is_new(VuDev *vu)
{
    return vu_get_queue(vu, QUEUE_RX)->last_avail_idx == 0 &&
           vu_get_queue(vu, QUEUE_TX)->last_avail_idx == 0;
}

static void driver_running(NhvVsockDevice *dev)
{
    if (driver_is_new(&dev->vu)) {
        port_down(dev);
    }
    if (!dev->port) {
        dev->port = nhv_switch_attach(dev->sw, dev->cid, pump_later, dev);
    }
    pump_later(dev);
}

static void queue_set_started(VuDev *vu, int qidx, bool started)
{
    NhvVsockDevice *dev = from_vu(vu);

    dev->started[qidx] = started;
    vu_set_queue_handler(vu, vu_get_queue(vu, qidx),
                         started ? queue_kicked : NULL);
    if (dev->started[QUEUE_RX] && dev->started[QUEUE_TX]) {
        driver_running(dev);
    }
}

static bool queue_is_in_order(VuDev *vu, int qidx)
{
    return true;
}

static const VuDevIface vsock_iface = {
    .get_features = get_features,
    .set_features = set_features,
    .get_protocol_features = get_protocol_features,
    .queue_set_started = queue_set_started,
    .queue_is_processed_in_order = queue_is_in_order,
    .get_config = get_config,
};

/*
 * libvhost-user reads a message with blocking calls and asserts that it is
 * complete, so let it begin only when that is so.
 */
static bool message_complete(NhvVsockDevice *dev)
{
    VhostUserMsg msg;
    ssize_t got = RETRY_ON_EINTR(recv(dev->vu.sock, &msg,
                                      VHOST_USER_HDR_SIZE +
                                      sizeof(msg.payload),
                                      MSG_PEEK | MSG_DONTWAIT));

    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        device_fail(dev, got && errno != ECONNRESET ?
                    strerror(errno) : NHV_VSOCK_CLOSED_BY_PEER);
        return false;
    }
    if (got >= (ssize_t)VHOST_USER_HDR_SIZE &&
        msg.size > sizeof(msg.payload)) {
        device_fail(dev, "vhost-user message of excessive size");
        return false;
    }
    return got >= (ssize_t)VHOST_USER_HDR_SIZE &&
           (size_t)got >= VHOST_USER_HDR_SIZE + msg.size;
}

static gboolean socket_ready(gint fd, GIOCondition condition, gpointer opaque);

static gboolean socket_poll(gpointer opaque)
{
    NhvVsockDevice *dev = opaque;

    dev->socket_source = g_unix_fd_add(dev->vu.sock, G_IO_IN, socket_ready,
                                       dev);
    return G_SOURCE_REMOVE;
}

static gboolean socket_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    NhvVsockDevice *dev = opaque;
    bool was_ready = dev->ready;

    if (!message_complete(dev)) {
        dev->socket_source = 0;
        if (!dev->why && ++dev->polls < MESSAGE_POLLS) {
            dev->socket_source = g_timeout_add(MESSAGE_POLL_MS, socket_poll,
                                               dev);
        } else {
            device_fail(dev, "incomplete vhost-user message");
        }
        return G_SOURCE_REMOVE;
    }
    dev->polls = 0;
    if (!vu_dispatch(&dev->vu)) {
        device_fail(dev, "vhost-user message refused");
    }
    if (dev->why) {
        dev->socket_source = 0;
        return G_SOURCE_REMOVE;
    }
    if (dev->ready && !was_ready) {
        dev->ops->ready(dev->opaque);
    }
    return G_SOURCE_CONTINUE;
}

NhvVsockDevice *nhv_vsock_device_new(NhvSwitch *sw, uint32_t cid, int fd,
                                     const NhvVsockDeviceOps *ops,
                                     void *opaque)
{
    NhvVsockDevice *dev = g_new0(NhvVsockDevice, 1);

    dev->sw = sw;
    dev->cid = cid;
    dev->ops = ops;
    dev->opaque = opaque;
    dev->watches = g_hash_table_new_full(NULL, NULL, NULL, watch_remove);
    if (!vu_init(&dev->vu, NR_QUEUES, fd, vu_failed, NULL, set_watch,
                 remove_watch, &vsock_iface)) {
        abort(); /* out of memory, as in g_malloc() */
    }
    dev->socket_source = g_unix_fd_add(fd, G_IO_IN, socket_ready, dev);
    return dev;
}

void nhv_vsock_device_free(NhvVsockDevice *dev)
{
    if (!dev) {
        return;
    }
    g_clear_handle_id(&dev->close_source, g_source_remove);
    port_down(dev);
    stop_sources(dev);
    vu_deinit(&dev->vu);
    g_hash_table_unref(dev->watches);
    g_free(dev->why);
    g_free(dev);
}

void *nhv_vsock_device_map(NhvVsockDevice *dev, uint64_t gpa,
                           uint64_t *len)
{
    return *len ? vu_gpa_to_va(&dev->vu, len, gpa) : NULL;
}
