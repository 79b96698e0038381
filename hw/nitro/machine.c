/*
 * Nitro Enclaves: machine type "nitro"
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Puts together what an enclave consists of: memory with the image in it,
 * vCPU objects, the vsock bus with heartbeat and console.  The accelerator
 * then takes the memory and the number of vCPUs to the driver.
 *
 * The memory is not mapped into the address space of the system on purpose:
 * once it has been donated nobody may look at it, neither a device nor a
 * monitor command.
 */

#include "qemu/osdep.h"
#include "chardev/char.h"
#include "hw/hotplug.h"
#include "hw/nitro/heartbeat.h"
#include "hw/nitro/machine.h"
#include "hw/nitro/net.h"
#include "hw/nitro/serial-vsock.h"
#include "machine-int.h"
#include "net/net.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-common.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "system/nitro-pool.h"
#include "system/qtest.h"
#include "system/runstate.h"
#include "system/system.h"
#include "trace.h"

/* Calls from the launcher */

static NitroVsockBridge *guest_bridge(NitroGuest *guest)
{
    return NITRO_MACHINE(guest)->bridge;
}

static NitroStep machine_acquire(NitroGuest *guest, Error **errp)
{
    return nitro_vsock_bridge_acquire(guest_bridge(guest), errp);
}

static bool machine_prepare_start(NitroGuest *guest, Error **errp)
{
    return nitro_vsock_bridge_prepare(guest_bridge(guest), errp);
}

static void machine_started(NitroGuest *guest, uint32_t cid)
{
    nitro_vsock_bridge_started(guest_bridge(guest), cid);
}

static void machine_stopped(NitroGuest *guest)
{
    nitro_vsock_bridge_stopped(guest_bridge(guest));
}

static bool machine_load(NitroGuest *guest, Error **errp)
{
    return nitro_machine_reload_image(MACHINE(guest), errp);
}

static void machine_query(NitroGuest *guest, NitroEnclaveInfo *info)
{
    /* With --preconfig there is nothing yet to be seen */
    if (guest_bridge(guest)) {
        nitro_machine_query(NITRO_MACHINE(guest), info);
    }
}

/* Calls to the launcher, which is NULL under qtest */

static int failure_status(MachineState *machine)
{
    NitroLauncher *launcher = nitro_machine_launcher(machine);

    return launcher ? NITRO_LAUNCHER_GET_CLASS(launcher)->failure_status(
                          launcher) : EXIT_FAILURE;
}

static void machine_powerdown(Notifier *notifier, void *data)
{
    NitroLauncher *launcher = nitro_machine_launcher(MACHINE(
        container_of(notifier, NitroMachineState, powerdown_notifier)));

    if (launcher) {
        NITRO_LAUNCHER_GET_CLASS(launcher)->powerdown(launcher);
    } else {
        qemu_system_shutdown_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
    }
}

/* vCPUs */

static bool create_vcpu(const char *type, int index, Error **errp)
{
    g_autoptr(Object) cpu = object_new(type);

    trace_nitro_machine_vcpu(index, type);
    if (object_property_find(cpu, "apic-id") &&
        !object_property_set_uint(cpu, "apic-id", index, errp)) {
        return false;
    }
    return qdev_realize(DEVICE(cpu), NULL, errp);
}

/*
 * The objects stand for the real ones: management software lists them and
 * looks at their features.  They execute nothing.
 */
static bool create_vcpus(MachineState *machine, Error **errp)
{
    g_autofree char *type = nitro_machine_vcpu_type(machine);

    nitro_machine_reserve_vcpus(machine->smp.cpus);
    for (int i = 0; i < machine->smp.cpus; i++) {
        if (!create_vcpu(type, i, errp)) {
            error_prepend(errp, "vCPU %d: ", i);
            return false;
        }
    }
    return true;
}

/* Devices on the vsock bus */

static DeviceState *create_device(NitroMachineState *nms, const char *type,
                                  Chardev *chr, Error **errp)
{
    DeviceState *dev = qdev_new(type);

    object_property_add_child(OBJECT(nms), type, OBJECT(dev));
    if ((chr && !object_property_set_str(OBJECT(dev), "chardev", chr->label,
                                         errp)) ||
        !qdev_realize(dev, BUS(&nms->bridge->bus), errp)) {
        object_unparent(OBJECT(dev));
        object_unref(OBJECT(dev));
        return NULL;
    }
    object_unref(OBJECT(dev));
    trace_nitro_machine_default_device(type, "created");
    return dev;
}

static bool create_heartbeat(NitroMachineState *nms, Error **errp)
{
    if (nms->heartbeat == ON_OFF_AUTO_OFF) {
        trace_nitro_machine_default_device(TYPE_NITRO_HEARTBEAT, "off");
        return true;
    }
    nms->default_heartbeat = create_device(nms, TYPE_NITRO_HEARTBEAT, NULL,
                                           errp);
    return nms->default_heartbeat != NULL;
}

static bool create_console(NitroMachineState *nms, Error **errp)
{
    NitroLauncher *launcher = nitro_machine_launcher(MACHINE(nms));
    Chardev *chr = serial_hd(0);

    if (!chr) {
        return true;
    }
    if (launcher && !NITRO_LAUNCHER_GET_CLASS(launcher)->debug_mode(launcher)) {
        trace_nitro_machine_default_device(TYPE_NITRO_SERIAL_VSOCK,
                                           "no debug mode");
        if (!object_dynamic_cast(OBJECT(chr), TYPE_CHARDEV_NULL)) {
            info_report("the enclave has no console, as debug mode is off "
                        "(-accel nitro,debug-mode=on)");
        }
        return true;
    }
    nms->default_console = create_device(nms, TYPE_NITRO_SERIAL_VSOCK, chr,
                                         errp);
    return nms->default_console != NULL;
}

/* Network cards of -nic and -net */
static bool create_cards(NitroMachineState *nms, Error **errp)
{
    DeviceState *dev;

    while ((dev = qemu_create_nic_device(TYPE_NITRO_NET, false, NULL))) {
        if (!qdev_realize_and_unref(dev, BUS(&nms->bridge->bus), errp)) {
            return false;
        }
    }
    return true;
}

/* A heartbeat added with -device replaces the default one */
static void machine_pre_plug(HotplugHandler *handler, DeviceState *dev,
                             Error **errp)
{
    NitroMachineState *nms = NITRO_MACHINE(handler);

    if (nms->default_heartbeat && nms->heartbeat == ON_OFF_AUTO_AUTO) {
        trace_nitro_machine_default_device(TYPE_NITRO_HEARTBEAT, "replaced");
        object_unparent(OBJECT(nms->default_heartbeat));
        nms->default_heartbeat = NULL;
    }
}

static HotplugHandler *machine_get_hotplug_handler(MachineState *machine,
                                                   DeviceState *dev)
{
    return object_dynamic_cast(OBJECT(dev), TYPE_NITRO_HEARTBEAT)
           ? HOTPLUG_HANDLER(machine) : NULL;
}

/* The machine */

static bool machine_build(NitroMachineState *nms, Error **errp)
{
    MachineState *machine = MACHINE(nms);

    if (!nitro_machine_check_options(machine, errp) ||
        !nitro_machine_check_memory(machine, errp) ||
        !nitro_machine_load_image(machine, errp) ||
        !create_vcpus(machine, errp)) {
        return false;
    }
    nms->bridge = nitro_vsock_bridge_new(OBJECT(nms),
                                         nitro_machine_launcher(machine),
                                         errp);
    if (!nms->bridge) {
        return false;
    }
    nms->bridge->image_size = nms->image ? nitro_image_size(nms->image) : 0;
    nms->bridge->memory_size = machine->ram_size;
    /* The manual of QEMU 11 has the bridge there */
    object_property_add_const_link(machine_get_container("peripheral"),
                                   NITRO_VSOCK_BRIDGE_NAME,
                                   OBJECT(nms->bridge));
    return create_heartbeat(nms, errp) && create_console(nms, errp) &&
           create_cards(nms, errp);
}

static void nitro_machine_init(MachineState *machine)
{
    NitroMachineState *nms = NITRO_MACHINE(machine);
    Error *err = NULL;

    if (!machine_build(nms, &err)) {
        error_report_err(err);
        exit(failure_status(machine));
    }
    nms->powerdown_notifier.notify = machine_powerdown;
    qemu_register_powerdown_notifier(&nms->powerdown_notifier);
}

static void machine_get_heartbeat(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    visit_type_OnOffAuto(v, name, &NITRO_MACHINE(obj)->heartbeat, errp);
}

static void machine_set_heartbeat(Object *obj, Visitor *v, const char *name,
                                  void *opaque, Error **errp)
{
    visit_type_OnOffAuto(v, name, &NITRO_MACHINE(obj)->heartbeat, errp);
}

static void nitro_machine_instance_init(Object *obj)
{
    g_autoptr(NitroPool) pool = nitro_pool_read(NITRO_SYSFS);
    MachineState *machine = MACHINE(obj);
    unsigned vcpus = nitro_pool_default_vcpus(pool);

    /* Without -smp, which comes later: one core of the pool */
    if (vcpus) {
        machine->smp.cpus = machine->smp.max_cpus = vcpus;
    }
    NITRO_MACHINE(obj)->heartbeat = ON_OFF_AUTO_AUTO;
    NITRO_MACHINE(obj)->policy.signature = NITRO_SIGNATURE_CHECK;
}

static void nitro_machine_instance_finalize(Object *obj)
{
    nitro_image_unref(NITRO_MACHINE(obj)->image);
    g_free(NITRO_MACHINE(obj)->policy.eif_out);
}

static void add_guest_methods(NitroGuestClass *gc)
{
    gc->acquire = machine_acquire;
    gc->prepare_start = machine_prepare_start;
    gc->started = machine_started;
    gc->stopped = machine_stopped;
    gc->load = machine_load;
    gc->query = machine_query;
}

static void nitro_machine_class_init(ObjectClass *oc, void *data)
{
    static const char *const accels[] = { "nitro", "qtest", NULL };
    MachineClass *mc = MACHINE_CLASS(oc);
    HotplugHandlerClass *hc = HOTPLUG_HANDLER_CLASS(oc);

    mc->desc = "AWS Nitro Enclave, run by the Nitro hypervisor";
    mc->init = nitro_machine_init;
    mc->valid_accels = accels;
    mc->min_cpus = 1;
    /* As long as no pool is known: see nitro_machine_instance_init() */
    mc->default_cpus = 2;
    mc->max_cpus = 4096;
    mc->default_ram_size = 512 * MiB;
    mc->default_ram_id = "ram";
    mc->create_default_memdev = nitro_machine_create_memdev;
    mc->block_default_type = IF_NONE;
    mc->no_parallel = true;
    mc->no_floppy = true;
    mc->no_cdrom = true;
    mc->get_hotplug_handler = machine_get_hotplug_handler;
    hc->pre_plug = machine_pre_plug;
    add_guest_methods(NITRO_GUEST_CLASS(oc));

    nitro_machine_add_memory_properties(oc);

    object_class_property_add(oc, "heartbeat", "OnOffAuto",
                              machine_get_heartbeat, machine_set_heartbeat,
                              NULL, NULL);
    object_class_property_set_description(oc, "heartbeat",
        "Answer the heartbeat of the enclave; off for an image that sends "
        "none (default auto: one added with -device replaces it)");
    nitro_machine_add_image_properties(oc);
}

static const TypeInfo nitro_machine_types[] = {
    {
        .name = TYPE_NITRO_MACHINE,
        .parent = TYPE_MACHINE,
        .instance_size = sizeof(NitroMachineState),
        .instance_init = nitro_machine_instance_init,
        .instance_finalize = nitro_machine_instance_finalize,
        .class_init = nitro_machine_class_init,
        .interfaces = (InterfaceInfo[]) {
            { TYPE_HOTPLUG_HANDLER },
            { TYPE_NITRO_GUEST },
            { }
        },
    },
};

DEFINE_TYPES(nitro_machine_types)
