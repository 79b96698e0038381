/*
 * Nitro Enclaves accelerator: monitor commands that an enclave cannot obey
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Memory that was donated must not be read, registers cannot be.  QEMU would
 * answer some of these commands with zeros or with stale bytes; so each is
 * refused, once an enclave was created, with the reason.
 */
#include "qemu/osdep.h"
#include "monitor/monitor.h"
#include "monitor/monitor-internal.h"
#include "qapi/qmp-registry.h"
#include "nitro-int.h"

#define MEMORY "the memory of an enclave is out of reach"
#define CPU "the CPU state of an enclave is out of reach"
#define DEVICES "the hypervisor handles the devices of an enclave"

typedef enum Where {
    QMP,
    HMP,
    INFO,                       /* HMP's "info" */
} Where;

static const struct RefusedCommand {
    Where where;
    const char *name;           /* as QEMU's table has it, with aliases */
    const char *reason;
} refused_commands[] = {
    { QMP, "calc-dirty-rate", MEMORY },
    { QMP, "dump-guest-memory", MEMORY },
    { QMP, "inject-nmi", DEVICES },
    { QMP, "memsave", MEMORY },
    { QMP, "pmemsave", MEMORY },
    { HMP, "calc_dirty_rate", MEMORY },
    { HMP, "dump-guest-memory", MEMORY },
    { HMP, "gpa2hpa", MEMORY },
    { HMP, "gpa2hva", MEMORY },
    { HMP, "gva2gpa", MEMORY },
    { HMP, "i", DEVICES },
    { HMP, "mce", CPU },
    { HMP, "memsave", MEMORY },
    { HMP, "nmi", DEVICES },
    { HMP, "o", DEVICES },
    { HMP, "pmemsave", MEMORY },
    { HMP, "print|p", CPU },
    { HMP, "sum", MEMORY },
    { HMP, "x", MEMORY },
    { HMP, "xp", MEMORY },
    { INFO, "lapic", CPU },
    { INFO, "mem", MEMORY },
    { INFO, "registers", CPU },
    { INFO, "tlb", MEMORY },
};

/* A handler is not told the command's name; so there is one per reason */

static void refuse_memory(Monitor *mon, const QDict *qdict)
{
    monitor_printf(mon, "Error: " MEMORY "\n");
}

static void refuse_cpu(Monitor *mon, const QDict *qdict)
{
    monitor_printf(mon, "Error: " CPU "\n");
}

static void refuse_devices(Monitor *mon, const QDict *qdict)
{
    monitor_printf(mon, "Error: " DEVICES "\n");
}

static const struct {
    const char *reason;
    void (*handler)(Monitor *mon, const QDict *qdict);
} handlers[] = {
    { MEMORY, refuse_memory },
    { CPU, refuse_cpu },
    { DEVICES, refuse_devices },
};

static HMPCommand *find_hmp(HMPCommand *table, const char *name)
{
    while (table && table->name && !g_str_equal(table->name, name)) {
        table++;
    }
    return table && table->name ? table : NULL;
}

/* Not every target has every command */
static void refuse_hmp(HMPCommand *table, const struct RefusedCommand *refused)
{
    HMPCommand *command = find_hmp(table, refused->name);

    for (size_t i = 0; command && i < ARRAY_SIZE(handlers); i++) {
        if (g_str_equal(handlers[i].reason, refused->reason)) {
            command->cmd = handlers[i].handler;
            command->cmd_info_hrt = NULL;
            command->coroutine = false;
        }
    }
}

void nitro_refuse_commands(void)
{
    HMPCommand *info = find_hmp(hmp_cmds, "info");

    for (size_t i = 0; i < ARRAY_SIZE(refused_commands); i++) {
        const struct RefusedCommand *refused = &refused_commands[i];

        switch (refused->where) {
        case QMP:
            qmp_disable_command(&qmp_commands, refused->name, refused->reason);
            break;
        case HMP:
            refuse_hmp(hmp_cmds, refused);
            break;
        case INFO:
            refuse_hmp(info->sub_table, refused);
            break;
        }
    }
}
