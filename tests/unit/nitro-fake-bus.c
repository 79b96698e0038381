/*
 * Nitro Enclaves: a vsock bus for the tests of its devices
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib-unix.h>
#include <glib/gstdio.h>
#include "hw/nitro/vsock.h"
#include "nitro-fake-bus.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/module.h"
#include "qemu/sockets.h"

static void device_class_init(ObjectClass *oc, void *data)
{
    DEVICE_CLASS(oc)->bus_type = TYPE_NITRO_VSOCK_BUS;
}

static const TypeInfo bus_types[] = {
    {
        .name = TYPE_NITRO_VSOCK_BUS,
        .parent = TYPE_BUS,
        .instance_size = sizeof(NitroVsockBus),
    },
    {
        .name = TYPE_NITRO_VSOCK_BRIDGE,
        .parent = TYPE_DEVICE,
        .instance_size = sizeof(NitroVsockBridge),
    },
    {
        .name = TYPE_NITRO_VSOCK_DEVICE,
        .parent = TYPE_DEVICE,
        .abstract = true,
        .instance_size = sizeof(NitroVsockDevice),
        .class_size = sizeof(NitroVsockDeviceClass),
        .class_init = device_class_init,
    },
};

DEFINE_TYPES(bus_types)

bool nitro_vsock_device_is_only(NitroVsockDevice *dev, Error **errp)
{
    return true;
}

bool nitro_vsock_peer_cid(const QIOChannelSocket *sioc, uint32_t *cid)
{
    const struct sockaddr_un *addr = (struct sockaddr_un *)&sioc->remoteAddr;
    const char *dot;

    if (sioc->remoteAddrLen <= offsetof(struct sockaddr_un, sun_path)) {
        return false;
    }
    dot = strrchr(addr->sun_path, '.');
    g_assert(dot);
    return qemu_strtoui(dot + 1, NULL, 10, cid) == 0;
}

/* The bus whose devices ask for an address */
static FakeBus *current;

SocketAddress *nitro_vsock_address(uint32_t cid, uint32_t port)
{
    SocketAddress *addr = g_new0(SocketAddress, 1);

    g_assert_cmpint(cid, ==, NITRO_VSOCK_CID_ANY);
    g_assert_cmpint(port, ==, current->own_port);
    addr->type = SOCKET_ADDRESS_TYPE_UNIX;
    addr->u.q_unix.path = g_strdup(current->port);
    return addr;
}

void fake_bus_address(struct sockaddr_un *addr, const char *path)
{
    memset(addr, 0, sizeof(*addr));
    addr->sun_family = AF_UNIX;
    g_assert_cmpint(strlen(path), <, sizeof(addr->sun_path));
    strcpy(addr->sun_path, path);
}

int fake_bus_connect(FakeBus *bus, uint32_t cid)
{
    struct sockaddr_un addr;
    int fd = qemu_socket(AF_UNIX, SOCK_STREAM, 0);

    if (cid != FAKE_BUS_NO_CID) {
        g_autofree char *name = g_strdup_printf("%s/%d.%u", bus->dir,
                                                bus->nr_peers++, cid);

        fake_bus_address(&addr, name);
        g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)),
                        ==, 0);
        unlink(name);
    }
    fake_bus_address(&addr, bus->port);
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        close(fd);
        return -1;
    }
    g_unix_set_fd_nonblocking(fd, true, NULL);
    return fd;
}

static void remove_object(void *obj)
{
    object_unparent(obj);
    object_unref(obj);
}

NitroVsockDevice *fake_bus_add(FakeBus *bus, const char *type)
{
    NitroVsockDevice *dev = NITRO_VSOCK_DEVICE(object_new(type));

    object_property_add_child(object_get_root(), "device[*]", OBJECT(dev));
    g_assert(qdev_set_parent_bus(DEVICE(dev), BUS(&bus->bridge->bus),
                                 &error_abort));
    return dev;
}

void fake_bus_remove(NitroVsockDevice *dev)
{
    remove_object(dev);
}

FakeBus *fake_bus_new(uint32_t own_port)
{
    FakeBus *bus = g_new0(FakeBus, 1);

    current = bus;
    bus->own_port = own_port;
    bus->dir = g_dir_make_tmp("nitro-bus-XXXXXX", NULL);
    bus->port = g_build_filename(bus->dir, "port", NULL);
    bus->bridge = NITRO_VSOCK_BRIDGE(object_new(TYPE_NITRO_VSOCK_BRIDGE));
    object_property_add_child(object_get_root(), "bridge",
                              OBJECT(bus->bridge));
    qbus_init(&bus->bridge->bus, sizeof(bus->bridge->bus),
              TYPE_NITRO_VSOCK_BUS, DEVICE(bus->bridge), "bus");
    return bus;
}

void fake_bus_free(FakeBus *bus)
{
    remove_object(bus->bridge);
    unlink(bus->port);
    g_rmdir(bus->dir);
    g_free(bus->port);
    g_free(bus->dir);
    g_free(bus);
    current = NULL;
}
