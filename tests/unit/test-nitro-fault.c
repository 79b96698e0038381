/*
 * Fault lists of the Nitro Enclaves PCI function
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "hw/nitro/enclaves-fault.h"

static void test_empty(void)
{
    static const char *const texts[] = { "", ";", " ; ;; " };
    NitroFaults faults = { 0 };
    static const NitroFault none;

    for (int i = 0; i < ARRAY_SIZE(texts); i++) {
        NitroFault f;

        g_assert_true(nitro_faults_set(&faults, texts[i], &error_abort));
        f = nitro_faults_take(&faults, NITRO_PCI_CMD_START);
        g_assert_cmpmem(&f, sizeof(f), &none, sizeof(none));
    }
    nitro_faults_clear(&faults);
}

static void test_calls(void)
{
    NitroFaults faults = { 0 };

    nitro_faults_set(&faults, "STOP:2:-5;FREE:2+:-5; INFO:*:-5", &error_abort);
    for (int call = 1; call <= 4; call++) {
        g_assert_cmpint(nitro_faults_take(&faults,
                                          NITRO_PCI_CMD_STOP).has_value, ==,
                        call == 2);
        g_assert_cmpint(nitro_faults_take(&faults,
                                          NITRO_PCI_CMD_FREE).has_value, ==,
                        call >= 2);
        g_assert_true(nitro_faults_take(&faults,
                                        NITRO_PCI_CMD_INFO).has_value);
        g_assert_false(nitro_faults_take(&faults,
                                         NITRO_PCI_CMD_START).has_value);
    }
    /* setting starts the counters anew */
    nitro_faults_set(&faults, "STOP:1:-7", &error_abort);
    g_assert_cmpint(nitro_faults_take(&faults, NITRO_PCI_CMD_STOP).value, ==,
                    -7);
    g_assert_false(nitro_faults_take(&faults, NITRO_PCI_CMD_STOP).has_value);
    nitro_faults_clear(&faults);
}

static NitroFault one(const char *text, unsigned point)
{
    NitroFaults faults = { 0 };
    NitroFault fault;

    nitro_faults_set(&faults, text, &error_abort);
    g_assert_cmpstr(faults.text, ==, text);
    fault = nitro_faults_take(&faults, point);
    nitro_faults_clear(&faults);
    return fault;
}

static void test_actions(void)
{
    NitroFault f;

    g_assert_cmpint(one("START:1:-4095", NITRO_PCI_CMD_START).value, ==, -4095);
    g_assert_cmpint(one("ALLOC:1:7", NITRO_PCI_CMD_ALLOC).value, ==, 7);
    g_assert_true(one("ADD_MEM:1:silence", NITRO_PCI_CMD_ADD_MEM).silence);
    g_assert_true(one("ADD_VCPU:1:noreply", NITRO_PCI_CMD_ADD_VCPU).noreply);
    g_assert_true(one("COUNT:1:stale", NITRO_PCI_CMD_COUNT).stale);
    g_assert_true(one("NEXT:1:event", NITRO_PCI_CMD_NEXT).wrong_vector);
    g_assert_cmpuint(one("GET_SLOT:1:late=121000",
                         NITRO_PCI_CMD_GET_SLOT).late_ms, ==, 121000);
    g_assert_cmpuint(one("ADD_BULK:1:again=3",
                         NITRO_PCI_CMD_ADD_BULK).again_ms, ==, 3);
    g_assert_true(one("EVENT:1:silence", NITRO_FAULT_EVENT).silence);
    g_assert_cmpint(one("VERSION:1:2", NITRO_FAULT_VERSION).value, ==, 2);
    g_assert_cmpint(one("ENABLE:1:0", NITRO_FAULT_ENABLE).value, ==, 0);
    g_assert_cmpint(one("DISABLE:1:0xff", NITRO_FAULT_DISABLE).value, ==, 255);

    f = one("INFO:1:uid=0x10;INFO:*:state=65535;INFO:1:cid=5;"
            "INFO:1:regions=0;INFO:1:late=9", NITRO_PCI_CMD_INFO);
    g_assert_cmphex(f.fields, ==, 0xf);
    g_assert_cmpuint(f.field[NITRO_FAULT_UID], ==, 16);
    g_assert_cmpuint(f.field[NITRO_FAULT_STATE], ==, 65535);
    g_assert_cmpuint(f.field[NITRO_FAULT_CID], ==, 5);
    g_assert_cmpuint(f.field[NITRO_FAULT_REGIONS], ==, 0);
    g_assert_cmpuint(f.late_ms, ==, 9);
}

static void test_refused(void)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        { "START", "is not POINT:CALLS:ACTION" },
        { "START:1", "is not POINT:CALLS:ACTION" },
        { "BOOT:1:-1", "unknown point 'BOOT'" },
        { "start:1:-1", "unknown point 'start'" },
        { ":1:-1", "unknown point ''" },
        { "START:0:-1", "bad calls '0'" },
        { "START:-1:-1", "bad calls '-1'" },
        { "START::-1", "bad calls ''" },
        { "START:1-:-1", "bad calls '1-'" },
        { "START:1++:-1", "bad calls '1++'" },
        { "START:99999999999:-1", "bad calls" },
        { "START:1:", "bad action ''" },
        { "START:1:0", "bad action '0'" },
        { "START:1:-4096", "bad action '-4096'" },
        { "START:1:quiet", "bad action 'quiet'" },
        { "START:1:-1:x", "bad action '-1:x'" },
        { "START:1:late=", "bad action" },
        { "START:1:late=0", "bad action" },
        { "START:1:late=-5", "bad action" },
        { "START:1:again=1h", "bad action" },
        { "START:1:uid=", "bad action" },
        { "START:1:uid=-1", "bad action" },
        { "START:1:pid=1", "bad action" },
        { "INFO:1:state=65536", "bad action" },
        { "EVENT:1:-5", "bad action" },
        { "EVENT:1:late=5", "bad action" },
        { "ENABLE:1:256", "bad action" },
        { "ENABLE:1:silence", "bad action" },
        { "VERSION:1:65536", "bad action" },
        { "VERSION:1:-1", "bad action" },
        { "STOP:1:-1;START:1:quiet", "bad action 'quiet'" },
    };

    for (int i = 0; i < ARRAY_SIZE(rows); i++) {
        NitroFaults faults = { 0 };
        Error *err = NULL;

        nitro_faults_set(&faults, "STOP:1:-3", &error_abort);
        g_test_message("%s", rows[i].text);
        g_assert_false(nitro_faults_set(&faults, rows[i].text, &err));
        g_assert_nonnull(strstr(error_get_pretty(err), rows[i].message));
        error_free(err);
        /* the old list is still there */
        g_assert_cmpint(nitro_faults_take(&faults, NITRO_PCI_CMD_STOP).value,
                        ==, -3);
        nitro_faults_clear(&faults);
    }
}

static void test_bound(void)
{
    g_autoptr(GString) text = g_string_new("");
    NitroFaults faults = { 0 };
    Error *err = NULL;

    for (int i = 0; i < 257; i++) {
        g_string_append(text, "STOP:1:-1;");
    }
    g_assert_false(nitro_faults_set(&faults, text->str, &err));
    error_free_or_abort(&err);
}

static void test_names(void)
{
    g_assert_cmpstr(nitro_fault_point_name(NITRO_PCI_CMD_ADD_MEM), ==,
                    "ADD_MEM");
    g_assert_cmpstr(nitro_fault_point_name(0), ==, "unknown");
    g_assert_cmpstr(nitro_fault_point_name(UINT32_MAX), ==, "unknown");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nitro/fault/empty", test_empty);
    g_test_add_func("/nitro/fault/calls", test_calls);
    g_test_add_func("/nitro/fault/actions", test_actions);
    g_test_add_func("/nitro/fault/refused", test_refused);
    g_test_add_func("/nitro/fault/bound", test_bound);
    g_test_add_func("/nitro/fault/names", test_names);
    return g_test_run();
}
