/*
 * Nitro Enclaves: parts of the machine
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_NITRO_MACHINE_INT_H
#define HW_NITRO_MACHINE_INT_H

#include "hw/core/eif-image.h"
#include "hw/nitro/machine.h"
#include "machine-hugepages.h"

/**
 * nitro_machine_launcher: who launches the enclave
 * @machine: the machine
 *
 * Returns: the accelerator, or NULL when that is qtest
 */
static inline NitroLauncher *nitro_machine_launcher(MachineState *machine)
{
    Object *accel = OBJECT(machine->accelerator);

    return (NitroLauncher *)object_dynamic_cast(accel, TYPE_NITRO_LAUNCHER);
}

/**
 * nitro_machine_check_options: refuse what an enclave cannot have
 * @machine: the machine, with the options of the command line
 * @errp: filled in with the first option that cannot be honoured
 *
 * Returns: true when no option is refused
 */
bool nitro_machine_check_options(MachineState *machine, Error **errp);

/**
 * nitro_machine_add_image_properties: add the properties about images
 * @oc: class of the machine
 */
void nitro_machine_add_image_properties(ObjectClass *oc);

/**
 * nitro_machine_vcpu_type: QOM type of the vCPU objects
 * @machine: the machine
 *
 * Returns: name to be freed: CPU model "host"; under qtest, where that cannot
 * be made, the model of -cpu or "max"
 */
char *nitro_machine_vcpu_type(MachineState *machine);

/**
 * nitro_machine_cpu_type: QOM type of a CPU model of this target
 * @model: name as in -cpu
 *
 * Returns: the name of the type, to be freed; it need not exist
 */
char *nitro_machine_cpu_type(const char *model);

/**
 * nitro_machine_eif_arch: architecture of this target
 */
EifArch nitro_machine_eif_arch(void);

/**
 * nitro_machine_reserve_vcpus: get ready for a number of vCPU objects
 * @nr_cpus: how many will be made
 */
void nitro_machine_reserve_vcpus(unsigned nr_cpus);

/**
 * nitro_machine_warn_memory: warn when nitro-cli would ask for more memory
 * @machine: the machine
 * @image_size: bytes of the image
 */
void nitro_machine_warn_memory(MachineState *machine, uint64_t image_size);

/**
 * nitro_machine_add_memory_properties: add the properties about memory
 * @oc: class of the machine
 */
void nitro_machine_add_memory_properties(ObjectClass *oc);

#endif
