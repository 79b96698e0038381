/*
 * nitro-enclaves-pci: faults that can be injected
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each case is what a driver would meet.  The faults are set at run time, as
 * a test of a launcher would do it.
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "nitro-enclaves-util.h"

#define NS_PER_MS 1000000LL

/* Submit without waiting; the number of interrupts is up to the caller */
static void submit(NitroVM *vm, uint32_t command, uint64_t uid)
{
    const uint64_t args[] = { uid, 0, 0 };

    nitro_vm_submit(vm, command, args, 3);
}

static void test_error_per_call(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_alloc(vm);

    nitro_vm_fault(vm, "ADD_MEM:2:-265;ADD_VCPU:1:-5;ALLOC:*:-12");
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_MEM, uid,
                                nitro_vm_ram(vm, 1), 2 * MiB), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_MEM, uid,
                                nitro_vm_ram(vm, 2), 2 * MiB), ==, -265);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_VCPU, uid, 1, 0), ==,
                    -5);
    /* what was refused was not carried out */
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_MEM, uid,
                                nitro_vm_ram(vm, 2), 2 * MiB), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_VCPU, uid, 1, 0), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ALLOC, 0, 0, 0), ==, -12);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ALLOC, 0, 0, 0), ==, -12);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0,
                                      0).slot_count, ==, 1);
    nitro_vm_fault(vm, "");
    nitro_vm_alloc(vm);
    nitro_vm_free(vm);
}

static void test_error_on_asynchronous(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_slot(vm, 1);

    nitro_vm_fault(vm, "START:1:-22;STOP:1:-5;FREE:1:-5");
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_START, uid, 0, 0), ==, -22);
    hv_expect_silence(vm);
    nitro_vm_free(vm);

    vm = nitro_vm_new(",x-fault='STOP:1:-5;FREE:1:-5'");
    uid = nitro_vm_running(vm, 1, NULL);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_STOP, uid, 0, 0), ==, -5);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, uid, 0, 0), ==, -5);
    hv_expect_silence(vm);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0,
                                      0).state, ==, NITRO_SLOT_RUNNING);
    nitro_vm_end(vm, NITRO_PCI_CMD_FREE, uid);
    nitro_vm_free(vm);
}

static void test_positive_rc(void)
{
    NitroVM *vm = nitro_vm_new("");
    NitroTestReply r;

    nitro_vm_fault(vm, "ALLOC:1:7;INFO:1:7");
    r = nitro_vm_command(vm, NITRO_PCI_CMD_ALLOC, 0, 0, 0);
    g_assert_cmpint(r.rc, ==, 7);
    g_assert_cmphex(r.slot_uid, !=, 0);
    /* a real error stays one */
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_INFO, 1, 0, 0), ==, -ENOENT);
    nitro_vm_free(vm);
}

static void test_silence(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_slot(vm, 1);
    uint16_t replies = nitro_vm_replies(vm);

    nitro_vm_fault(vm, "ALLOC:1:silence;START:1:silence");
    submit(vm, NITRO_PCI_CMD_ALLOC, 0);
    submit(vm, NITRO_PCI_CMD_START, uid);
    hv_expect_silence(vm);
    qtest_clock_step(vm->qts, 121 * NANOSECONDS_PER_SECOND);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    /* the driver has given up and goes on */
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0,
                                      0).slot_count, ==, 1);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, uid, 0, 0), ==, 0);
    nitro_vm_free(vm);
}

static void test_lost_reply(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    uint64_t uid = nitro_vm_slot(vm, 1);
    uint16_t replies = nitro_vm_replies(vm);

    /* carried out, so that the driver frees an enclave that runs */
    nitro_vm_fault(vm, "START:1:noreply;ALLOC:1:noreply");
    submit(vm, NITRO_PCI_CMD_ALLOC, 0);
    submit(vm, NITRO_PCI_CMD_START, uid);
    hv_expect(vm, NITRO_CONTROL_START, m);
    hv_reply(vm, m, 0);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies);
    nitro_vm_end(vm, NITRO_PCI_CMD_FREE, uid);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0,
                                      0).slot_count, ==, 1);
    nitro_vm_free(vm);
}

static void test_late_reply(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    uint64_t uid = nitro_vm_slot(vm, 1);
    uint16_t replies = nitro_vm_replies(vm);

    nitro_vm_fault(vm, "COUNT:1:late=500;START:1:late=2000");
    submit(vm, NITRO_PCI_CMD_COUNT, 0);
    qtest_clock_step(vm->qts, 499 * NS_PER_MS);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    qtest_clock_step(vm->qts, 2 * NS_PER_MS);
    g_assert_cmpuint(nitro_vm_take_reply(vm).slot_count, ==, 1);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies + 1);

    submit(vm, NITRO_PCI_CMD_START, uid);
    hv_expect(vm, NITRO_CONTROL_START, m);
    hv_reply(vm, m, 0);
    hv_exited(vm, uid);
    nitro_vm_wait_events(vm, 1);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    qtest_clock_step(vm->qts, 2001 * NS_PER_MS);
    g_assert_cmpuint(nitro_vm_take_reply(vm).enclave_cid, ==, 16);
    nitro_vm_free(vm);
}

static void test_too_late_reply(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint16_t replies = nitro_vm_replies(vm);

    /* the driver has given up, and the reply meets the next command */
    nitro_vm_fault(vm, "ALLOC:1:late=121000;COUNT:1:silence");
    submit(vm, NITRO_PCI_CMD_ALLOC, 0);
    qtest_clock_step(vm->qts, 120 * NANOSECONDS_PER_SECOND);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies);
    submit(vm, NITRO_PCI_CMD_COUNT, 0);
    qtest_clock_step(vm->qts, 2 * NANOSECONDS_PER_SECOND);
    g_assert_cmphex(nitro_vm_take_reply(vm).slot_uid, !=, 0);
    /* a second delay does not lose the first reply */
    nitro_vm_fault(vm, "ALLOC:*:late=1000");
    submit(vm, NITRO_PCI_CMD_ALLOC, 0);
    submit(vm, NITRO_PCI_CMD_ALLOC, 0);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 1);
    qtest_clock_step(vm->qts, 2 * NANOSECONDS_PER_SECOND);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 1);
    /* disabling drops what is late */
    submit(vm, NITRO_PCI_CMD_ALLOC, 0);
    nitro_vm_handshake(vm);
    qtest_clock_step(vm->qts, 2 * NANOSECONDS_PER_SECOND);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    nitro_vm_free(vm);
}

static void test_repeated_interrupt(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint16_t replies;

    nitro_vm_alloc(vm);
    nitro_vm_fault(vm, "COUNT:1:again=50");
    replies = nitro_vm_replies(vm);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0,
                                      0).slot_count, ==, 1);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    qtest_clock_step(vm->qts, 51 * NS_PER_MS);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 1);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies + 1);
    qtest_clock_step(vm->qts, 200 * NS_PER_MS);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    nitro_vm_free(vm);
}

static void test_stale_reply(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_alloc(vm);

    nitro_vm_fault(vm, "COUNT:1:stale");
    g_assert_cmphex(nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0,
                                     0).slot_uid, ==, uid);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0,
                                      0).slot_count, ==, 1);
    nitro_vm_free(vm);
}

static void test_wrong_vector(void)
{
    NitroVM *vm = nitro_vm_new("");

    nitro_vm_fault(vm, "COUNT:1:event");
    submit(vm, NITRO_PCI_CMD_COUNT, 0);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    g_assert_cmpuint(nitro_vm_irqs(vm, 1), ==, 1);
    g_assert_cmpuint(nitro_vm_events(vm), ==, 0);
    nitro_vm_free(vm);
}

static void test_fields(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    NitroTestReply r;
    uint64_t uid;

    nitro_vm_fault(vm, "ALLOC:1:uid=0;ALLOC:2:uid=0x55;ALLOC:2:regions=0;"
                   "START:1:cid=0;START:2:cid=3;INFO:1:state=0;"
                   "INFO:2:state=7");
    g_assert_cmphex(nitro_vm_command(vm, NITRO_PCI_CMD_ALLOC, 0, 0,
                                     0).slot_uid, ==, 0);
    r = nitro_vm_command(vm, NITRO_PCI_CMD_ALLOC, 0, 0, 0);
    g_assert_cmphex(r.slot_uid, ==, 0x55);
    g_assert_cmpuint(r.mem_regions, ==, 0);
    for (unsigned i = 0; i < 2; i++) {
        uid = nitro_vm_slot(vm, i + 1);
        submit(vm, NITRO_PCI_CMD_START, uid);
        hv_expect(vm, NITRO_CONTROL_START, m);
        hv_reply(vm, m, 0);
        g_assert_cmpuint(nitro_vm_take_reply(vm).enclave_cid, ==, i * 3);
    }
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0,
                                      0).state, ==, 0);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0,
                                      0).state, ==, 7);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0,
                                      0).state, ==, NITRO_SLOT_RUNNING);
    nitro_vm_free(vm);
}

static void test_duplicate_uid(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_alloc(vm);
    g_autofree char *rule = g_strdup_printf("ALLOC:1:uid=0x%" PRIx64, uid);

    nitro_vm_fault(vm, rule);
    g_assert_cmphex(nitro_vm_command(vm, NITRO_PCI_CMD_ALLOC, 0, 0,
                                     0).slot_uid, ==, uid);
    nitro_vm_free(vm);
}

static void test_lost_event(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t a = nitro_vm_running(vm, 1, NULL);
    uint64_t b = nitro_vm_running(vm, 2, NULL);

    nitro_vm_fault(vm, "EVENT:1:silence");
    hv_exited(vm, a);
    nitro_vm_wait_events(vm, 1);
    g_assert_cmpuint(nitro_vm_irqs(vm, 1), ==, 0);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, a, 0, 0).state,
                     ==, NITRO_SLOT_STOPPED);
    hv_exited(vm, b);
    nitro_vm_wait_events(vm, 2);
    g_assert_cmpuint(nitro_vm_irqs(vm, 1), ==, 1);
    nitro_vm_free(vm);
}

static void test_spurious_events(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_running(vm, 1, NULL);

    nitro_vm_raise_events(vm, 1000);
    g_assert_cmpuint(nitro_vm_irqs(vm, 1), ==, vm->arm ? 1000 : 1);
    g_assert_cmpuint(nitro_vm_events(vm), ==, 1000);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0,
                                      0).state, ==, NITRO_SLOT_RUNNING);
    nitro_vm_free(vm);
}

static void test_readbacks(void)
{
    NitroVM *vm = nitro_vm_new("");

    nitro_vm_fault(vm, "VERSION:1:2;VERSION:2:0;ENABLE:1:0;ENABLE:2:3;"
                   "DISABLE:1:1;DISABLE:2:2");
    g_assert_cmpuint(nitro_vm_enable(vm, 0), ==, 1);
    qtest_clock_step(vm->qts, 200 * NANOSECONDS_PER_SECOND);
    nitro_vm_wait_enable(vm, 1);
    g_assert_cmpuint(nitro_vm_enable(vm, 0), ==, 2);
    g_assert_cmpuint(nitro_vm_version(vm, 1), ==, 2);
    g_assert_cmpuint(nitro_vm_version(vm, 1), ==, 0);
    g_assert_cmpuint(nitro_vm_enable(vm, 1), ==, 0);
    g_assert_cmpuint(nitro_vm_enable(vm, 1), ==, 3);
    nitro_vm_handshake(vm);
    nitro_vm_alloc(vm);
    nitro_vm_free(vm);
}

static void test_forced_disable_outlasts_reset(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);

    nitro_vm_running(vm, 1, NULL);
    nitro_vm_fault(vm, "DISABLE:1:5");
    g_assert_cmpuint(nitro_vm_enable(vm, 0), ==, 5);
    hv_expect(vm, NITRO_CONTROL_RESET, m);
    hv_reply(vm, m, 0);
    nitro_vm_wait_enable(vm, 5);
    nitro_vm_handshake(vm);
    nitro_vm_free(vm);
}

static void test_few_vectors(void)
{
    NitroVM *vm = nitro_vm_boot(",x-msix-vectors=1");

    g_assert_cmpuint(qpci_msix_table_size(vm->dev), ==, 1);
    hv_accept(vm);
    nitro_vm_free(vm);

    vm = nitro_vm_boot(",x-msix-vectors=0");
    g_assert_cmphex(qpci_find_capability(vm->dev, PCI_CAP_ID_MSIX, 0), ==, 0);
    hv_accept(vm);
    /* events and replies go nowhere, and harm nothing */
    nitro_vm_raise_events(vm, 1);
    nitro_vm_free(vm);
}

static void test_no_bar(void)
{
    NitroVM *vm = nitro_vm_boot(",x-no-bar=on");

    qpci_config_writel(vm->dev, PCI_BASE_ADDRESS_3, UINT32_MAX);
    g_assert_cmphex(qpci_config_readl(vm->dev, PCI_BASE_ADDRESS_3), ==, 0);
    hv_accept(vm);
    nitro_vm_free(vm);
}

static void test_bad_fault_list(void)
{
    NitroVM *vm = nitro_vm_new(",x-fault=COUNT:1:-5");
    QDict *rsp = qtest_qmp(vm->qts, "{'execute': 'qom-set', 'arguments': {"
                           " 'path': '/machine/peripheral/ne0',"
                           " 'property': 'x-fault', 'value': 'COUNT:1:x'}}");

    g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(rsp, "error"),
                                          "desc"), "bad action 'x'"));
    qobject_unref(rsp);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_COUNT, 0, 0, 0), ==, -5);
    nitro_vm_free(vm);
}

void nitro_enclaves_add_fault_tests(void)
{
    static const struct {
        const char *name;
        void (*test)(void);
    } tests[] = {
        { "error-per-call", test_error_per_call },
        { "error-on-asynchronous", test_error_on_asynchronous },
        { "positive-rc", test_positive_rc },
        { "silence", test_silence },
        { "lost-reply", test_lost_reply },
        { "late-reply", test_late_reply },
        { "too-late-reply", test_too_late_reply },
        { "repeated-interrupt", test_repeated_interrupt },
        { "stale-reply", test_stale_reply },
        { "wrong-vector", test_wrong_vector },
        { "fields", test_fields },
        { "duplicate-uid", test_duplicate_uid },
        { "lost-event", test_lost_event },
        { "spurious-events", test_spurious_events },
        { "readbacks", test_readbacks },
        { "forced-disable", test_forced_disable_outlasts_reset },
        { "few-vectors", test_few_vectors },
        { "no-bar", test_no_bar },
        { "bad-list", test_bad_fault_list },
    };

    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        g_autofree char *path = g_strdup_printf("nitro-enclaves-pci/fault/%s",
                                                tests[i].name);

        qtest_add_func(path, tests[i].test);
    }
}
