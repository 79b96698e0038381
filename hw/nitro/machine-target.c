/*
 * Nitro Enclaves: the little of the machine that depends on the target
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "cpu.h"
#include "machine-int.h"
#ifdef TARGET_X86_64
#include "hw/i386/apic.h"
#endif

char *nitro_machine_cpu_type(const char *model)
{
#ifdef TARGET_X86_64
    return g_strdup_printf(X86_CPU_TYPE_NAME("%s"), model);
#else
    return g_strdup_printf(ARM_CPU_TYPE_NAME("%s"), model);
#endif
}

EifArch nitro_machine_eif_arch(void)
{
#ifdef TARGET_X86_64
    return EIF_ARCH_X86_64;
#else
    return EIF_ARCH_AARCH64;
#endif
}

void nitro_machine_reserve_vcpus(unsigned nr_cpus)
{
#ifdef TARGET_X86_64
    /* Each vCPU object brings a local APIC, whose number is its index */
    apic_set_max_apic_id(nr_cpus);
#endif
}
