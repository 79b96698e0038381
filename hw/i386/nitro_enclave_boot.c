/*
 * AWS nitro-enclave machine: how an enclave is booted
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/i386/nitro_enclave.h"
#include "hw/i386/nitro_enclave_boot.h"

static bool get_debug_mode(Object *obj, Error **errp)
{
    return NITRO_ENCLAVE_MACHINE(obj)->debug_mode;
}

static void set_debug_mode(Object *obj, bool value, Error **errp)
{
    NITRO_ENCLAVE_MACHINE(obj)->debug_mode = value;
}

static char *get_unpacked_kernel(Object *obj, Error **errp)
{
    return g_strdup(NITRO_ENCLAVE_MACHINE(obj)->unpacked_kernel);
}

static void set_unpacked_kernel(Object *obj, const char *value, Error **errp)
{
    NitroEnclaveMachineState *nems = NITRO_ENCLAVE_MACHINE(obj);

    g_free(nems->unpacked_kernel);
    nems->unpacked_kernel = g_strdup(value);
}

void nitro_enclave_boot_properties(ObjectClass *oc)
{
    object_class_property_add_bool(oc, "debug-mode", get_debug_mode,
                                   set_debug_mode);
    object_class_property_set_description(oc, "debug-mode",
                                          "Leave PCRs 0, 1, 2 and 8 zero");
    object_class_property_add_str(oc, "unpacked-kernel", get_unpacked_kernel,
                                  set_unpacked_kernel);
    object_class_property_set_description(oc, "unpacked-kernel",
        "ELF file with the image's kernel, unpacked, to boot in its place");
}
