/*
 * Nitro Enclaves: machine type "nitro"
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The machine describes what is handed to the Nitro hypervisor by the
 * accelerator of the same name: memory in huge pages with the enclave image
 * already in it, and a number of vCPUs.  It has no emulated hardware except
 * the vsock bus.
 */

#ifndef HW_NITRO_MACHINE_H
#define HW_NITRO_MACHINE_H

#include "qemu/notify.h"
#include "hw/boards.h"
#include "hw/nitro/image.h"
#include "hw/nitro/limits.h"
#include "hw/nitro/nitro-vsock-bus.h"
#include "qapi/qapi-types-common.h"
#include "qapi/qapi-types-nitro.h"

#define TYPE_NITRO_MACHINE MACHINE_TYPE_NAME("nitro")
OBJECT_DECLARE_SIMPLE_TYPE(NitroMachineState, NITRO_MACHINE)

/**
 * NitroMachineState: the machine
 * @bridge: owner of the vsock bus
 * @heartbeat: property "heartbeat"; off leaves the default device out, auto
 *     gives way to a nitro-heartbeat given with -device
 * @page_size: of the memory that the machine makes, 0: 2 MiB
 * @policy: which image may be launched
 * @default_heartbeat: device made by the machine, or NULL
 * @default_console: device made by the machine for -serial, or NULL
 * @image: the image in memory; NULL under qtest without -kernel
 */
struct NitroMachineState {
    MachineState parent_obj;

    OnOffAuto heartbeat;
    uint64_t page_size;
    NitroImagePolicy policy;

    NitroVsockBridge *bridge;
    DeviceState *default_heartbeat;
    DeviceState *default_console;
    NitroImage *image;
    Notifier powerdown_notifier;
};

/**
 * nitro_machine_create_memdev: make the default memory backend
 * @machine: the machine; its ram_size and default_ram_id are used
 * @path: -mem-path, or NULL for a memfd with huge pages of page-size
 * @errp: filled in on failure, with the number of huge pages that are missing
 *
 * Implements MachineClass.create_default_memdev.  Under qtest the memory is
 * ordinary memory.
 *
 * Returns: true on success
 */
bool nitro_machine_create_memdev(MachineState *machine, const char *path,
                                 Error **errp);

/**
 * nitro_machine_check_memory: can this memory be given to an enclave?
 * @machine: the machine, with its memory backend
 * @errp: filled in when it cannot; names sizes and remedy
 *
 * Checks size, granule, mapping, NUMA nodes and page size, and keeps the memory
 * out of core dumps and KSM.  Under qtest any page size will do.
 *
 * Returns: true when it can
 */
bool nitro_machine_check_memory(MachineState *machine, Error **errp);

/**
 * nitro_machine_load_image: put the enclave image into guest memory
 * @machine: the machine; -kernel, -initrd and -append are taken from it
 * @errp: filled in on failure; names the file and what it is
 *
 * The image goes to the offset that the driver wants; see nitro_image_load()
 * for what is checked.
 *
 * Returns: true on success; on false the memory may have been written to
 */
bool nitro_machine_load_image(MachineState *machine, Error **errp);

/**
 * nitro_machine_reload_image: put the same image into guest memory again
 * @machine: the machine, after nitro_machine_load_image()
 * @errp: filled in on failure, also when the image is another one by now
 *
 * Opens no file, and writes none.  Runs in a thread of its own, without the
 * BQL.
 *
 * Returns: true on success; on false the memory may have been written to
 */
bool nitro_machine_reload_image(MachineState *machine, Error **errp);

/**
 * nitro_machine_query: get what the machine knows of its enclave
 * @nms: the machine
 * @info: memory, image and devices are filled in
 */
void nitro_machine_query(NitroMachineState *nms, NitroEnclaveInfo *info);

#endif
