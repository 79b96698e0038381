/*
 * Nitro Enclaves: the vsock bus of an enclave seen from its parent
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Bus, bridge and abstract device.  The bridge passes the three steps of a
 * launch on to the devices in the order in which they were added, and reports
 * of the devices on to the launcher.
 */

#include "qemu/osdep.h"
#include "hw/nitro/nitro-vsock-bus.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "trace.h"

/* Children are kept newest first: backwards is the order they were added in */
static GPtrArray *bridge_devices(NitroVsockBridge *bridge)
{
    GPtrArray *devices = g_ptr_array_new();
    BusChild *kid;

    QTAILQ_FOREACH_REVERSE(kid, &BUS(&bridge->bus)->children, sibling) {
        g_ptr_array_add(devices, NITRO_VSOCK_DEVICE(kid->child));
    }
    return devices;
}

static void device_stopped(NitroVsockDevice *dev)
{
    NitroVsockDeviceClass *ndc = NITRO_VSOCK_DEVICE_GET_CLASS(dev);

    if (ndc->enclave_stopped) {
        ndc->enclave_stopped(dev);
    }
}

static bool device_prepare(NitroVsockDevice *dev, Error **errp)
{
    NitroVsockDeviceClass *ndc = NITRO_VSOCK_DEVICE_GET_CLASS(dev);

    return !ndc->prepare_start || ndc->prepare_start(dev, errp);
}

NitroStep nitro_vsock_bridge_acquire(NitroVsockBridge *bridge, Error **errp)
{
    g_autoptr(GPtrArray) devices = bridge_devices(bridge);

    for (guint i = 0; i < devices->len; i++) {
        NitroVsockDevice *dev = g_ptr_array_index(devices, i);
        NitroVsockDeviceClass *ndc = NITRO_VSOCK_DEVICE_GET_CLASS(dev);
        NitroStep step = ndc->acquire ? ndc->acquire(dev, errp)
                                      : NITRO_STEP_DONE;

        if (step != NITRO_STEP_DONE) {
            return step;
        }
    }
    return NITRO_STEP_DONE;
}

bool nitro_vsock_bridge_prepare(NitroVsockBridge *bridge, Error **errp)
{
    g_autoptr(GPtrArray) devices = bridge_devices(bridge);

    trace_nitro_vsock_bridge_prepare(bridge);
    for (guint i = 0; i < devices->len; i++) {
        NitroVsockDevice *dev = g_ptr_array_index(devices, i);

        if (!device_prepare(dev, errp)) {
            trace_nitro_vsock_bridge_refused(bridge,
                                             object_get_typename(OBJECT(dev)));
            return false;
        }
    }
    return true;
}

void nitro_vsock_bridge_started(NitroVsockBridge *bridge, uint32_t cid)
{
    g_autoptr(GPtrArray) devices = bridge_devices(bridge);

    trace_nitro_vsock_bridge_started(bridge, cid);
    bridge->enclave_cid = cid;

    for (guint i = 0; i < devices->len; i++) {
        NitroVsockDevice *dev = g_ptr_array_index(devices, i);
        NitroVsockDeviceClass *ndc = NITRO_VSOCK_DEVICE_GET_CLASS(dev);
        Error *err = NULL;

        if (ndc->enclave_started && !ndc->enclave_started(dev, cid, &err)) {
            warn_report_err(err);
        }
    }
}

void nitro_vsock_bridge_stopped(NitroVsockBridge *bridge)
{
    g_autoptr(GPtrArray) devices = bridge_devices(bridge);

    trace_nitro_vsock_bridge_stopped(bridge, bridge->enclave_cid);
    bridge->enclave_cid = 0;

    for (guint i = 0; i < devices->len; i++) {
        device_stopped(g_ptr_array_index(devices, i));
    }
}

GPtrArray *nitro_vsock_bridge_find_all(NitroVsockBridge *bridge,
                                       const char *type)
{
    GPtrArray *devices = bridge_devices(bridge);

    for (guint i = devices->len; i > 0; i--) {
        if (!object_dynamic_cast(g_ptr_array_index(devices, i - 1), type)) {
            g_ptr_array_remove_index(devices, i - 1);
        }
    }
    return devices;
}

NitroVsockDevice *nitro_vsock_bridge_find(NitroVsockBridge *bridge,
                                          const char *type)
{
    g_autoptr(GPtrArray) found = nitro_vsock_bridge_find_all(bridge, type);

    return found->len ? g_ptr_array_index(found, 0) : NULL;
}

bool nitro_vsock_device_is_only(NitroVsockDevice *dev, Error **errp)
{
    BusState *bus = DEVICE(dev)->parent_bus;
    const char *type = object_get_typename(OBJECT(dev));
    NitroVsockDevice *first =
        nitro_vsock_bridge_find(NITRO_VSOCK_BRIDGE(bus->parent), type);

    if (first == dev) {
        return true;
    }
    error_setg(errp, "the enclave has a %s already, there can be one only",
               type);
    return false;
}

/* Reports to the launcher */

static NitroLauncher *device_launcher(NitroVsockDevice *dev)
{
    return NITRO_VSOCK_BRIDGE(DEVICE(dev)->parent_bus->parent)->launcher;
}

void nitro_vsock_device_boot(NitroVsockDevice *dev, NitroBoot boot)
{
    NitroLauncher *launcher = device_launcher(dev);

    if (launcher) {
        NITRO_LAUNCHER_GET_CLASS(launcher)->boot(launcher, boot);
    }
}

void nitro_vsock_device_hold(NitroVsockDevice *dev, bool hold)
{
    NitroLauncher *launcher = device_launcher(dev);

    if (launcher && dev->holds != hold) {
        dev->holds = hold;
        NITRO_LAUNCHER_GET_CLASS(launcher)->hold(launcher, hold);
    }
}

void nitro_vsock_device_set_application(NitroVsockDevice *dev,
                                        const NitroEnclaveApplication *app,
                                        uint32_t stop_grace, int exit_status)
{
    NitroLauncher *launcher = device_launcher(dev);

    if (launcher) {
        NITRO_LAUNCHER_GET_CLASS(launcher)->set_application(
            launcher, app, stop_grace, exit_status);
    }
}

bool nitro_vsock_device_has_console(NitroVsockDevice *dev)
{
    NitroLauncher *launcher = device_launcher(dev);

    return !launcher ||
           NITRO_LAUNCHER_GET_CLASS(launcher)->debug_mode(launcher);
}

NitroVsockBridge *nitro_vsock_bridge_new(Object *machine,
                                         NitroLauncher *launcher, Error **errp)
{
    DeviceState *dev = qdev_new(TYPE_NITRO_VSOCK_BRIDGE);

    object_property_add_child(machine, NITRO_VSOCK_BRIDGE_NAME, OBJECT(dev));
    if (!sysbus_realize_and_unref(SYS_BUS_DEVICE(dev), errp)) {
        object_unparent(OBJECT(dev));
        return NULL;
    }
    NITRO_VSOCK_BRIDGE(dev)->launcher = launcher;
    return NITRO_VSOCK_BRIDGE(dev);
}

static void nitro_vsock_bus_print_dev(Monitor *mon, DeviceState *dev,
                                      int indent)
{
    NitroVsockBridge *bridge = NITRO_VSOCK_BRIDGE(dev->parent_bus->parent);

    if (bridge->enclave_cid) {
        monitor_printf(mon, "%*senclave-cid = %" PRIu32 "\n", indent, "",
                       bridge->enclave_cid);
    }
}

static void nitro_vsock_bus_class_init(ObjectClass *oc, void *data)
{
    BusClass *bc = BUS_CLASS(oc);

    bc->print_dev = nitro_vsock_bus_print_dev;
}

static void nitro_vsock_bridge_realize(DeviceState *dev, Error **errp)
{
    NitroVsockBridge *bridge = NITRO_VSOCK_BRIDGE(dev);

    qbus_init(&bridge->bus, sizeof(bridge->bus), TYPE_NITRO_VSOCK_BUS, dev,
              "nitro-vsock.0");
}

static void nitro_vsock_bridge_init(Object *obj)
{
    NitroVsockBridge *bridge = NITRO_VSOCK_BRIDGE(obj);

    object_property_add_uint32_ptr(obj, "enclave-cid", &bridge->enclave_cid,
                                   OBJ_PROP_FLAG_READ);
    object_property_set_description(obj, "enclave-cid",
        "Read only: vsock CID of the enclave, 0 while none runs");
}

static void nitro_vsock_bridge_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);

    dc->desc = "Bridge to the vsock of a Nitro Enclave";
    dc->realize = nitro_vsock_bridge_realize;
    dc->hotpluggable = false;
    /* Each machine "nitro" has one, and nothing else can use it */
    dc->user_creatable = false;
    set_bit(DEVICE_CATEGORY_BRIDGE, dc->categories);
}

static void nitro_vsock_device_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);

    dc->bus_type = TYPE_NITRO_VSOCK_BUS;
    /* The devices have to be there before the enclave starts */
    dc->hotpluggable = false;
}

static const TypeInfo nitro_vsock_types[] = {
    {
        .name = TYPE_NITRO_VSOCK_BUS,
        .parent = TYPE_BUS,
        .instance_size = sizeof(NitroVsockBus),
        .class_init = nitro_vsock_bus_class_init,
    },
    {
        .name = TYPE_NITRO_VSOCK_BRIDGE,
        .parent = TYPE_SYS_BUS_DEVICE,
        .instance_size = sizeof(NitroVsockBridge),
        .instance_init = nitro_vsock_bridge_init,
        .class_init = nitro_vsock_bridge_class_init,
    },
    {
        .name = TYPE_NITRO_VSOCK_DEVICE,
        .parent = TYPE_DEVICE,
        .abstract = true,
        .instance_size = sizeof(NitroVsockDevice),
        .class_size = sizeof(NitroVsockDeviceClass),
        .class_init = nitro_vsock_device_class_init,
    },
};

DEFINE_TYPES(nitro_vsock_types)
