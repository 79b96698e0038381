/*
 * Nitro Enclaves accelerator: pairs of accelerator and machine
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/boards.h"
#include "system/nitro.h"
#include "system/nitro-compat.h"
#include "tests/nitro/error-text.h"

static const struct {
    const char *accel;
    const char *machine;
    const char *reason;         /* NULL: may be tried */
    const char *remedy;
} pairs[] = {
    { "nitro", "nitro" },
    { "qtest", "nitro" },
    { "tcg", "nitro", "accelerator 'tcg' cannot run machine 'nitro'",
      "needs -accel nitro" },
    { "kvm", "nitro", "accelerator 'kvm' cannot run machine 'nitro'",
      "needs -accel nitro" },
    { "xen", "nitro", "accelerator 'xen' cannot run machine 'nitro'",
      "needs -accel nitro" },
    { "nitro", "plain", "accelerator 'nitro' cannot run machine 'plain'",
      "Use -M nitro" },
    { "tcg", "plain" },
    { "kvm", "plain" },
    { "qtest", "plain" },
    { "nitro", "nitro-enclave", "cannot run machine 'nitro-enclave'",
      "Use -M nitro" },
    { "tcg", "nitro-enclave" },
};

static MachineState *new_machine(const char *name)
{
    g_autofree char *type = g_strconcat(name, TYPE_MACHINE_SUFFIX, NULL);

    return MACHINE(object_new(type));
}

static void test_pairs(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        MachineState *machine = new_machine(pairs[i].machine);
        Error *err = NULL;
        bool match = nitro_match_accel(pairs[i].accel, machine, &err);

        g_assert_cmpint(match, ==, !pairs[i].reason);
        if (match) {
            g_assert_null(err);
        } else {
            g_autofree char *text = error_text(err);

            assert_contains(text, pairs[i].reason);
            assert_contains(text, pairs[i].remedy);
        }
        object_unref(OBJECT(machine));
    }
}

static void test_default(void)
{
    MachineState *nitro = new_machine("nitro");
    MachineState *plain = new_machine("plain");
    MachineState *emulated = new_machine("nitro-enclave");

    g_assert_cmpstr(nitro_match_default_accel(nitro), ==, "nitro");
    g_assert_null(nitro_match_default_accel(plain));
    g_assert_null(nitro_match_default_accel(emulated));
    object_unref(OBJECT(nitro));
    object_unref(OBJECT(plain));
    object_unref(OBJECT(emulated));
}

/* As hw/core/machine.c has it: the name is the type's without the suffix */
static void machine_base_init(ObjectClass *oc, NitroClassData *data)
{
    MachineClass *mc = MACHINE_CLASS(oc);
    const char *type = object_class_get_name(oc);

    if (!object_class_is_abstract(oc)) {
        mc->name = g_strndup(type, strlen(type) - strlen(TYPE_MACHINE_SUFFIX));
    }
}

static const TypeInfo types[] = {
    {
        .name = TYPE_MACHINE,
        .parent = TYPE_OBJECT,
        .abstract = true,
        .class_size = sizeof(MachineClass),
        .class_base_init = machine_base_init,
        .instance_size = sizeof(MachineState),
    }, {
        .name = MACHINE_TYPE_NAME("nitro"),
        .parent = TYPE_MACHINE,
    }, {
        .name = MACHINE_TYPE_NAME("nitro-enclave"),
        .parent = TYPE_MACHINE,
    }, {
        .name = MACHINE_TYPE_NAME("plain"),
        .parent = TYPE_MACHINE,
    }
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    type_register_static_array(types, ARRAY_SIZE(types));
    g_test_add_func("/nitro/match/pairs", test_pairs);
    g_test_add_func("/nitro/match/default", test_default);
    return g_test_run();
}
