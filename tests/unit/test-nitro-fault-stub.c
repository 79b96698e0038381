/*
 * Nitro Enclaves PCI function without fault injection
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "hw/nitro/enclaves-fault.h"
#include "qapi/error.h"
#include "tests/nitro/error-text.h"

static void test_refused(void)
{
    g_autofree char *text = NULL;
    NitroFaults faults = { };
    Error *err = NULL;

    g_assert_false(nitro_faults_set(&faults, "START:1:-22", &err));
    text = error_text(err);
    assert_contains(text, "this QEMU cannot inject faults");
    assert_contains(text, "CONFIG_NITRO_ENCLAVES_FAULT=y");
    g_assert_false(nitro_faults_take(&faults, NITRO_PCI_CMD_START).has_value);
}

static void test_empty(void)
{
    NitroFaults faults = { };

    g_assert_true(nitro_faults_set(&faults, "", &error_abort));
    nitro_faults_clear(&faults);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nitro/fault-stub/refused", test_refused);
    g_test_add_func("/nitro/fault-stub/empty", test_empty);
    return g_test_run();
}
