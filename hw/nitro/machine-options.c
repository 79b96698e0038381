/*
 * Nitro Enclaves: command line options that an enclave cannot honour
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU takes many options for every machine and leaves it to the machine to
 * look at them.  To ignore one silently would be a lie, so each is refused.
 */

#include "qemu/osdep.h"
#include "hw/core/cpu.h"
#include "hw/nitro/net.h"
#include "hw/xen/xen.h"
#include "machine-int.h"
#include "net/net.h"
#include "qapi/error.h"
#include "qemu/config-file.h"
#include "qemu/option.h"
#include "semihosting/semihost.h"
#include "system/cpus.h"
#include "system/qtest.h"
#include "system/runstate.h"
#include "system/system.h"

typedef struct RefusedOption {
    bool given;
    const char *option;
    const char *reason;
} RefusedOption;

/* Not every build knows every group */
static bool opts_given(const char *group)
{
    QemuOptsList *list = qemu_find_opts_err(group, NULL);

    return list && !QTAILQ_EMPTY(&list->head);
}

static int has_watchdog(void *opaque, QemuOpts *opts, Error **errp)
{
    return qemu_opt_get(opts, "watchdog") != NULL;
}

static int count_nic(void *opaque, QemuOpts *opts, Error **errp)
{
    const char *type = qemu_opt_get(opts, "type");

    *(int *)opaque += type && !g_str_equal(type, "none");
    return 0;
}

/* "-net nic" is what QEMU adds by itself; other types make no card */
static int count_net(void *opaque, QemuOpts *opts, Error **errp)
{
    const char *type = qemu_opt_get(opts, "type");

    *(int *)opaque += g_strcmp0(type, "nic") == 0 &&
                      (qemu_opt_get(opts, "model") ||
                       qemu_opt_get(opts, "macaddr") ||
                       qemu_opt_get(opts, "netdev"));
    return 0;
}

static bool boot_given(const BootConfiguration *boot)
{
    return boot->order || boot->once || (boot->has_menu && boot->menu) ||
           boot->splash || boot->has_splash_time || boot->has_reboot_timeout;
}

static bool watchdog_given(void)
{
    return qemu_opts_foreach(qemu_find_opts("action"), has_watchdog, NULL,
                             NULL);
}

static bool xen_given(void)
{
    return xen_domid || xen_mode != XEN_DISABLED || xen_domid_restrict;
}

static int cards_given(void)
{
    int cards = 0;

    qemu_opts_foreach(qemu_find_opts("nic"), count_nic, &cards, NULL);
    qemu_opts_foreach(qemu_find_opts("net"), count_net, &cards, NULL);
    return cards;
}

/* At least one */
static bool our_card_given(void)
{
    return qemu_find_nic_info(TYPE_NITRO_NET, false, NULL);
}

char *nitro_machine_vcpu_type(MachineState *machine)
{
    if (!qtest_enabled()) {
        return nitro_machine_cpu_type("host");
    }
    if (machine->cpu_type) {
        return g_strdup(machine->cpu_type);
    }
    return nitro_machine_cpu_type("max");
}

static bool check_cpu_type(MachineState *machine, Error **errp)
{
    g_autofree char *type = nitro_machine_vcpu_type(machine);
    g_autofree char *model = NULL;

    if (!machine->cpu_type || g_str_equal(machine->cpu_type, type)) {
        return true;
    }
    model = cpu_model_from_type(machine->cpu_type);
    error_setg(errp, "-cpu %s cannot be used with machine nitro: the vCPUs of "
               "an enclave are CPUs of the host", model);
    error_append_hint(errp, "Leave out -cpu, or use -cpu host.\n");
    return false;
}

bool nitro_machine_check_options(MachineState *machine, Error **errp)
{
    ERRP_GUARD();
    const RefusedOption refused[] = {
        { machine->firmware, "-bios", "an enclave starts without firmware" },
        { machine->dtb || machine->dumpdtb, "-dtb",
          "the hypervisor describes the hardware of an enclave" },
        { machine->shim_filename, "-shim",
          "an enclave starts without firmware" },
        { nb_option_roms, "-option-rom",
          "an enclave starts without firmware" },
        { boot_given(&machine->boot_config), "-boot",
          "an enclave starts its image and nothing else" },
        { machine->dt_compatible, "-M dt-compatible",
          "the hypervisor describes the hardware of an enclave" },
        { opts_given("acpi"), "-acpitable",
          "the hypervisor describes the hardware of an enclave" },
        { opts_given("smbios"), "-smbios",
          "the hypervisor describes the hardware of an enclave" },
        { opts_given("drive"), "-drive", "an enclave has no disks" },
        { opts_given("fsdev"), "-fsdev",
          "an enclave has no files of its parent" },
        { opts_given("tpmdev"), "-tpmdev",
          "an enclave has a Nitro Secure Module, no TPM" },
        { watchdog_given(), "-action watchdog", "an enclave has no watchdog" },
        { cards_given() && !our_card_given(), "-nic without model=nitro-net",
          "an enclave has no other network card" },
        { cards_given() > 1, "a second -nic",
          "an enclave has one network card, of model nitro-net" },
        { machine_usb(machine), "-usb", "an enclave has no USB" },
        { parallel_hds[0], "-parallel", "an enclave has no parallel port" },
        { serial_hd(1), "a second -serial", "an enclave has one console" },
        { machine->ram_slots || machine->maxram_size > machine->ram_size,
          "-m with slots or maxmem", "the memory of an enclave is fixed" },
        { machine->smp.max_cpus > machine->smp.cpus, "-smp with maxcpus",
          "the number of vCPUs of an enclave is fixed" },
        { enable_cpu_pm, "-overcommit cpu-pm",
          "the hypervisor runs the vCPUs of an enclave" },
        { semihosting_enabled(false), "-semihosting",
          "the hypervisor runs the vCPUs of an enclave" },
        { xen_given(), "-xen-domid", "an enclave is not a guest of Xen" },
        { runstate_check(RUN_STATE_INMIGRATE), "-incoming",
          "an enclave cannot be migrated" },
    };

    for (int i = 0; i < ARRAY_SIZE(refused); i++) {
        if (refused[i].given) {
            error_setg(errp, "%s cannot be used with machine nitro: %s",
                       refused[i].option, refused[i].reason);
            return false;
        }
    }
    return check_cpu_type(machine, errp);
}
