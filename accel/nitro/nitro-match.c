/*
 * Nitro Enclaves accelerator: which accelerator goes with which machine
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A management layer may put an accelerator of its own choice in front of the
 * user's ("-accel tcg ... -accel nitro"), and the first that initializes wins.
 * So the question whether the two belong together is asked before that.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/boards.h"
#include "system/nitro.h"
#include "trace.h"

#define NITRO_ACCEL_NAME "nitro"

static const char *machine_class_name(MachineState *machine)
{
    return object_class_get_name(OBJECT_CLASS(MACHINE_GET_CLASS(machine)));
}

static bool machine_is_nitro(MachineState *machine)
{
    return g_str_equal(machine_class_name(machine), MACHINE_TYPE_NAME("nitro"));
}

bool nitro_match_accel(const char *accel, MachineState *machine, Error **errp)
{
    ERRP_GUARD();
    const char *name = MACHINE_GET_CLASS(machine)->name;
    bool is_nitro = g_str_equal(accel, NITRO_ACCEL_NAME);

    if (is_nitro == machine_is_nitro(machine) ||
        (machine_is_nitro(machine) && g_str_equal(accel, "qtest"))) {
        return true;
    }

    trace_nitro_match_declined(accel, name);
    error_setg(errp, "accelerator '%s' cannot run machine '%s', skipping it",
               accel, name);
    error_append_hint(errp, is_nitro ? "Use -M nitro with -accel nitro.\n"
                                     : "Machine 'nitro' needs -accel nitro.\n");
    return false;
}

const char *nitro_match_default_accel(MachineState *machine)
{
    return machine_is_nitro(machine) ? NITRO_ACCEL_NAME : NULL;
}
