/*
 * Nitro Enclaves PCI function of an emulated EC2 parent
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The type: properties, PCI function, and what it is made of.  The registers
 * are in enclaves-regs.c, the commands in enclaves-commands.c.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "hw/boards.h"
#include "hw/nitro/enclaves-pci.h"
#include "hw/pci/msix.h"
#include "hw/qdev-properties.h"
#include "hw/qdev-properties-system.h"
#include "hw/resettable.h"
#include "migration/vmstate.h"

#define MSIX_BAR 0
#define MAX_VECTORS 32

/* The driver gives up after 120 s and must not be answered later */
#define MAX_REPLY_TIMEOUT_MS 119000

static bool check_properties(NitroEnclavesPCIState *s, Error **errp)
{
    ERRP_GUARD();

    if (!object_resolve_path_type("", TYPE_NITRO_ENCLAVES_PCI, NULL)) {
        error_setg(errp, "at most one %s device is permitted",
                   TYPE_NITRO_ENCLAVES_PCI);
        error_append_hint(errp, "The parent's driver knows one such function; "
                          "it runs any number of enclaves.\n");
        return false;
    }
    if (!qemu_chr_fe_backend_connected(&s->chr)) {
        error_setg(errp, "no character device connects it to the hypervisor "
                   "process");
        error_append_hint(errp, "Start nitro-hypervisor --runtime-dir DIR and "
                          "use -chardev socket,id=ne,path=DIR/control.sock "
                          "-device nitro-enclaves-pci,chardev=ne\n");
        return false;
    }
    if (!s->mem_regions || s->mem_regions > NITRO_CONTROL_MAX_REGIONS) {
        error_setg(errp, "mem-regions=%u is not in the range 1 to %d",
                   s->mem_regions, NITRO_CONTROL_MAX_REGIONS);
        return false;
    }
    if (!s->reply_timeout_ms || s->reply_timeout_ms > MAX_REPLY_TIMEOUT_MS) {
        error_setg(errp, "reply-timeout-ms=%u is not in the range 1 to %d",
                   s->reply_timeout_ms, MAX_REPLY_TIMEOUT_MS);
        error_append_hint(errp, "The parent's driver waits 120 seconds for an "
                          "answer.\n");
        return false;
    }
    if (s->nr_vectors > MAX_VECTORS) {
        error_setg(errp, "x-msix-vectors=%u is above %d", s->nr_vectors,
                   MAX_VECTORS);
        return false;
    }
    return true;
}

static bool init_msix(NitroEnclavesPCIState *s, Error **errp)
{
    PCIDevice *pci = PCI_DEVICE(s);

    if (!s->nr_vectors) {
        return true;
    }
    if (msix_init_exclusive_bar(pci, s->nr_vectors, MSIX_BAR, errp)) {
        error_prepend(errp, "%s needs MSI-X: ", TYPE_NITRO_ENCLAVES_PCI);
        return false;
    }
    for (unsigned i = 0; i < s->nr_vectors; i++) {
        msix_vector_use(pci, i);
    }
    return true;
}

static void nitro_enclaves_realize(PCIDevice *pci, Error **errp)
{
    ERRP_GUARD();
    NitroEnclavesPCIState *s = NITRO_ENCLAVES_PCI(pci);
    MachineState *ms = MACHINE(qdev_get_machine());

    if (!check_properties(s, errp) || !init_msix(s, errp)) {
        return;
    }
    memory_region_init_io(&s->mmio, OBJECT(s), &nitro_enclaves_mmio_ops, s,
                          TYPE_NITRO_ENCLAVES_PCI, NITRO_PCI_BAR_SIZE);
    if (!s->no_bar) {
        pci_register_bar(pci, NITRO_PCI_BAR, PCI_BASE_ADDRESS_SPACE_MEMORY,
                         &s->mmio);
    }
    nitro_slots_init(&s->slots, s->mem_regions,
                     MIN(ms->smp.max_cpus, NITRO_CONTROL_MAX_VCPUS));
    s->late_timer = timer_new_ms(QEMU_CLOCK_VIRTUAL, nitro_enclaves_late, s);
    nitro_control_init(&s->control, &s->chr, DEVICE(s), s->reply_timeout_ms,
                       &nitro_enclaves_control_handlers, s);
}

static void nitro_enclaves_exit(PCIDevice *pci)
{
    NitroEnclavesPCIState *s = NITRO_ENCLAVES_PCI(pci);

    nitro_control_cleanup(&s->control);
    timer_free(s->late_timer);
    nitro_slots_clear(&s->slots);
    if (s->nr_vectors) {
        msix_uninit_exclusive_bar(pci);
    }
}

static void nitro_enclaves_reset_hold(Object *obj, ResetType type)
{
    nitro_enclaves_reset(NITRO_ENCLAVES_PCI(obj));
}

static void nitro_enclaves_finalize(Object *obj)
{
    nitro_faults_clear(&NITRO_ENCLAVES_PCI(obj)->faults);
}

static char *get_fault(Object *obj, Error **errp)
{
    const char *text = NITRO_ENCLAVES_PCI(obj)->faults.text;

    return g_strdup(text ? text : "");
}

static void set_fault(Object *obj, const char *value, Error **errp)
{
    nitro_faults_set(&NITRO_ENCLAVES_PCI(obj)->faults, value, errp);
}

static void set_raise_events(Object *obj, Visitor *v, const char *name,
                             void *opaque, Error **errp)
{
    NitroEnclavesPCIState *s = NITRO_ENCLAVES_PCI(obj);
    uint16_t n;

    if (!visit_type_uint16(v, name, &n, errp)) {
        return;
    }
    if (!DEVICE(obj)->realized) {
        error_setg(errp, "%s can be set on a running device only", name);
        return;
    }
    while (n--) {
        s->events++;
        nitro_enclaves_notify(s, NITRO_PCI_VECTOR_EVENT);
    }
}

static bool get_connected(Object *obj, Error **errp)
{
    return NITRO_ENCLAVES_PCI(obj)->control.ready;
}

static void get_slots(Object *obj, Visitor *v, const char *name, void *opaque,
                      Error **errp)
{
    visit_type_uint32(v, name, &NITRO_ENCLAVES_PCI(obj)->slots.count, errp);
}

/* Enclaves live in another process: there is nothing to migrate them with */
static const VMStateDescription vmstate_nitro_enclaves = {
    .name = TYPE_NITRO_ENCLAVES_PCI,
    .unmigratable = 1,
};

static const Property nitro_enclaves_properties[] = {
    DEFINE_PROP_CHR("chardev", NitroEnclavesPCIState, chr),
    DEFINE_PROP_UINT32("mem-regions", NitroEnclavesPCIState, mem_regions,
                       NITRO_CONTROL_MAX_REGIONS),
    DEFINE_PROP_UINT32("reply-timeout-ms", NitroEnclavesPCIState,
                       reply_timeout_ms, 100000),
    DEFINE_PROP_UINT16("x-msix-vectors", NitroEnclavesPCIState, nr_vectors,
                       NITRO_PCI_NR_VECTORS),
    DEFINE_PROP_BOOL("x-no-bar", NitroEnclavesPCIState, no_bar, false),
};

static void describe_properties(ObjectClass *oc)
{
    object_class_property_set_description(oc, "chardev",
        "ID of a socket chardev connected to nitro-hypervisor");
    object_class_property_set_description(oc, "mem-regions",
        "Memory regions that one enclave may consist of");
    object_class_property_set_description(oc, "reply-timeout-ms",
        "Time the hypervisor process may take for an answer");
    object_class_property_set_description(oc, "x-msix-vectors",
        "MSI-X vectors; 0 for none, below 2 the driver gives up (test)");
    object_class_property_set_description(oc, "x-no-bar",
        "Leave the registers out (test)");
    object_class_property_set_description(oc, "x-fault",
        "Faults to inject, POINT:CALLS:ACTION[;...] (test)");
    object_class_property_set_description(oc, "x-raise-events",
        "Write only: number of event interrupts to raise now (test)");
    object_class_property_set_description(oc, "connected",
        "Read only: whether the hypervisor process has answered");
    object_class_property_set_description(oc, "slots",
        "Read only: number of slots in use");
}

static void nitro_enclaves_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(oc);
    ResettableClass *rc = RESETTABLE_CLASS(oc);

    pc->realize = nitro_enclaves_realize;
    pc->exit = nitro_enclaves_exit;
    pc->vendor_id = NITRO_PCI_VENDOR_ID;
    pc->device_id = NITRO_PCI_DEVICE_ID;
    pc->class_id = PCI_CLASS_SYSTEM_OTHER;
    rc->phases.hold = nitro_enclaves_reset_hold;
    dc->desc = "Nitro Enclaves function of an emulated EC2 parent";
    dc->vmsd = &vmstate_nitro_enclaves;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    device_class_set_props(dc, nitro_enclaves_properties);
    object_class_property_add_str(oc, "x-fault", get_fault, set_fault);
    object_class_property_add(oc, "x-raise-events", "uint16", NULL,
                              set_raise_events, NULL, NULL);
    object_class_property_add_bool(oc, "connected", get_connected, NULL);
    object_class_property_add(oc, "slots", "uint32", get_slots, NULL, NULL,
                              NULL);
    describe_properties(oc);
}

static const TypeInfo nitro_enclaves_info = {
    .name = TYPE_NITRO_ENCLAVES_PCI,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(NitroEnclavesPCIState),
    .instance_finalize = nitro_enclaves_finalize,
    .class_init = nitro_enclaves_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_CONVENTIONAL_PCI_DEVICE },
        { },
    },
};

static void nitro_enclaves_register(void)
{
    type_register_static(&nitro_enclaves_info);
}

type_init(nitro_enclaves_register)
