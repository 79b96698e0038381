/*
 * Fault injection of the Nitro Enclaves PCI function, where it is not built
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/nitro/enclaves-fault.h"
#include "qapi/error.h"

bool nitro_faults_set(NitroFaults *faults, const char *text, Error **errp)
{
    ERRP_GUARD();

    if (!*text) {
        return true;
    }
    error_setg(errp, "this QEMU cannot inject faults");
    error_append_hint(errp, "Build it with CONFIG_NITRO_ENCLAVES_FAULT=y in "
                      "its device list.\n");
    return false;
}

NitroFault nitro_faults_take(NitroFaults *faults, unsigned point)
{
    return (NitroFault) { };
}

void nitro_faults_clear(NitroFaults *faults)
{
}

const char *nitro_fault_point_name(unsigned point)
{
    return "command";
}
