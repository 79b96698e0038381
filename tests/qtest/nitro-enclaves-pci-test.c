/*
 * nitro-enclaves-pci: the rules that the parent's driver relies on
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Registers, interrupts, disabling and reset, with a well-behaved hypervisor.
 * Beside this file: commands, injected faults, hypervisors that misbehave.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/pci/pci_regs.h"
#include "nitro-enclaves-util.h"

static void test_identity(void)
{
    NitroVM *vm = nitro_vm_boot("");
    uint8_t cap;
    uint64_t size;

    g_assert_cmphex(qpci_config_readw(vm->dev, PCI_VENDOR_ID), ==,
                    NITRO_PCI_VENDOR_ID);
    g_assert_cmphex(qpci_config_readw(vm->dev, PCI_DEVICE_ID), ==,
                    NITRO_PCI_DEVICE_ID);
    /* one function */
    g_assert_cmphex(qpci_config_readb(vm->dev, PCI_HEADER_TYPE) &
                    PCI_HEADER_TYPE_MFD, ==, 0);
    /* BAR 2 must not take BAR 3 as its upper half */
    qpci_config_writel(vm->dev, PCI_BASE_ADDRESS_2, UINT32_MAX);
    g_assert_cmphex(qpci_config_readl(vm->dev, PCI_BASE_ADDRESS_2), ==, 0);
    g_assert_cmphex(qpci_config_readl(vm->dev, PCI_BASE_ADDRESS_3) &
                    PCI_BASE_ADDRESS_SPACE, ==,
                    PCI_BASE_ADDRESS_SPACE_MEMORY);
    qpci_iomap(vm->dev, NITRO_PCI_BAR, &size);
    g_assert_cmpuint(size, >=, 512);
    cap = qpci_find_capability(vm->dev, PCI_CAP_ID_MSIX, 0);
    g_assert_cmphex(cap, !=, 0);
    g_assert_cmpuint(qpci_msix_table_size(vm->dev), ==, NITRO_PCI_NR_VECTORS);
    hv_accept(vm);
    nitro_vm_free(vm);
}

static void test_power_on(void)
{
    NitroVM *vm = nitro_vm_boot("");

    nitro_vm_msix_enable(vm);
    for (unsigned i = 0; i < NITRO_PCI_BAR_SIZE; i += 8) {
        g_assert_cmphex(qpci_io_readq(vm->dev, vm->regs, i), ==, 0);
    }
    g_assert_cmpuint(nitro_vm_irqs(vm, 0) + nitro_vm_irqs(vm, 1), ==, 0);
    hv_accept(vm);
    nitro_vm_free(vm);
}

static void test_send_widths(void)
{
    NitroVM *vm = nitro_vm_new("");
    QPCIDevice *dev = vm->dev;
    uint8_t want[NITRO_PCI_DATA_SIZE], got[NITRO_PCI_DATA_SIZE];

    for (unsigned width = 1; width <= 8; width *= 2) {
        for (unsigned i = 0; i < NITRO_PCI_DATA_SIZE; i += width) {
            uint64_t reg = NITRO_PCI_REG_SEND + i;
            uint64_t value = 0x0123456789abcdefULL * (i + width);

            stn_le_p(want + i, width, value);
            switch (width) {
            case 1:
                qpci_io_writeb(dev, vm->regs, reg, value);
                break;
            case 2:
                qpci_io_writew(dev, vm->regs, reg, value);
                break;
            case 4:
                qpci_io_writel(dev, vm->regs, reg, value);
                break;
            case 8:
                qpci_io_writeq(dev, vm->regs, reg, value);
                break;
            }
        }
        for (unsigned i = 0; i < NITRO_PCI_DATA_SIZE; i++) {
            got[i] = qpci_io_readb(dev, vm->regs, NITRO_PCI_REG_SEND + i);
        }
        g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
    }
    /* neighbours were not touched */
    g_assert_cmphex(qpci_io_readq(dev, vm->regs, NITRO_PCI_REG_RECV), ==, 0);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, 0);
    nitro_vm_free(vm);
}

/*
 * Not aligned to its size: a CPU would split the access, here all of its bytes
 * are where they belong.  Nothing reaches beyond the buffer.
 */
static void test_unaligned(void)
{
    static const unsigned at[] = { 1, 3, 5, 9, 13, 0x65 };
    NitroVM *vm = nitro_vm_new("");
    uint64_t send = vm->regs.addr + NITRO_PCI_REG_SEND;
    uint8_t want[NITRO_PCI_DATA_SIZE] = { 0 }, got[NITRO_PCI_DATA_SIZE];

    for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
        for (unsigned width = 2; width <= 8; width *= 2) {
            uint64_t value = 0xf1e2d3c4b5a69788ULL + i * width;
            uint8_t bytes[8];

            stq_le_p(bytes, value);
            memcpy(want + at[i], bytes, width);
            qtest_memwrite(vm->qts, send + at[i], bytes, width);
            qtest_memread(vm->qts, send, got, sizeof(got));
            g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
        }
    }
    /* Behind its end is the buffer for replies, which is read only */
    qtest_memset(vm->qts, send + NITRO_PCI_DATA_SIZE - 4, 0xee, 8);
    memset(want + NITRO_PCI_DATA_SIZE - 4, 0xee, 4);
    qtest_memread(vm->qts, send, got, sizeof(got));
    g_assert_cmpmem(got, sizeof(got), want, sizeof(want));
    g_assert_cmphex(qpci_io_readl(vm->dev, vm->regs, NITRO_PCI_REG_RECV), ==,
                    0);
    nitro_vm_free(vm);
}

/* What arm64 kernels do on 64 bits is done in pairs of 32 elsewhere */
static void test_pairs(void)
{
    NitroVM *vm = nitro_vm_new("");
    QPCIDevice *dev = vm->dev;
    uint64_t lower, upper;

    for (unsigned i = 0; i < NITRO_PCI_DATA_SIZE; i += 8) {
        uint64_t reg = NITRO_PCI_REG_SEND + i;

        qpci_io_writel(dev, vm->regs, reg, 0x89abcdef + i);
        qpci_io_writel(dev, vm->regs, reg + 4, 0x01234567 + i);
        g_assert_cmphex(qpci_io_readq(dev, vm->regs, reg), ==,
                        (0x01234567ULL + i) << 32 | (0x89abcdef + i));
        qpci_io_writeq(dev, vm->regs, reg, 0x1122334455667788ULL + i);
        lower = qpci_io_readl(dev, vm->regs, reg);
        upper = qpci_io_readl(dev, vm->regs, reg + 4);
        g_assert_cmphex(upper << 32 | lower, ==, 0x1122334455667788ULL + i);
    }
    nitro_vm_free(vm);
}

static void test_recv_widths(void)
{
    NitroVM *vm = nitro_vm_new("");
    QPCIDevice *dev = vm->dev;
    uint8_t data[NITRO_PCI_DATA_SIZE];

    nitro_vm_slot(vm, 1);
    nitro_vm_alloc(vm);
    for (unsigned i = 0; i < sizeof(data); i++) {
        data[i] = qpci_io_readb(dev, vm->regs, NITRO_PCI_REG_RECV + i);
    }
    for (unsigned i = 0; i < sizeof(data); i += 2) {
        g_assert_cmphex(qpci_io_readw(dev, vm->regs, NITRO_PCI_REG_RECV + i),
                        ==, lduw_le_p(data + i));
    }
    for (unsigned i = 0; i < sizeof(data); i += 4) {
        g_assert_cmphex(qpci_io_readl(dev, vm->regs, NITRO_PCI_REG_RECV + i),
                        ==, (uint32_t)ldl_le_p(data + i));
    }
    for (unsigned i = 0; i < sizeof(data); i += 8) {
        g_assert_cmphex(qpci_io_readq(dev, vm->regs, NITRO_PCI_REG_RECV + i),
                        ==, ldq_le_p(data + i));
    }
    /* read only */
    for (unsigned i = 0; i < sizeof(data); i += 8) {
        qpci_io_writeq(dev, vm->regs, NITRO_PCI_REG_RECV + i, UINT64_MAX);
        g_assert_cmphex(qpci_io_readq(dev, vm->regs, NITRO_PCI_REG_RECV + i),
                        ==, ldq_le_p(data + i));
    }
    nitro_vm_free(vm);
}

static void test_scalar_widths(void)
{
    NitroVM *vm = nitro_vm_new("");
    QPCIDevice *dev = vm->dev;

    /* no other width reaches ENABLE, VERSION or COMMAND */
    qpci_io_writew(dev, vm->regs, NITRO_PCI_REG_ENABLE, 0);
    qpci_io_writel(dev, vm->regs, NITRO_PCI_REG_ENABLE, 0);
    qpci_io_writeq(dev, vm->regs, NITRO_PCI_REG_ENABLE, 0x800000000ULL);
    qpci_io_writeb(dev, vm->regs, NITRO_PCI_REG_VERSION, 0);
    qpci_io_writeb(dev, vm->regs, NITRO_PCI_REG_COMMAND, NITRO_PCI_CMD_COUNT);
    qpci_io_writew(dev, vm->regs, NITRO_PCI_REG_COMMAND, NITRO_PCI_CMD_COUNT);
    /* nor do the gaps and EVTCNT hold anything */
    qpci_io_writeb(dev, vm->regs, 0x01, 0xff);
    qpci_io_writel(dev, vm->regs, 0x08, UINT32_MAX);
    qpci_io_writel(dev, vm->regs, NITRO_PCI_REG_EVTCNT, UINT32_MAX);
    qpci_io_writel(dev, vm->regs, 0x1f0, UINT32_MAX);
    g_assert_cmphex(qpci_io_readq(dev, vm->regs, 0), ==, 0x10001);
    g_assert_cmphex(qpci_io_readq(dev, vm->regs, 8), ==, 0);
    g_assert_cmphex(qpci_io_readl(dev, vm->regs, 0x1f0), ==, 0);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    nitro_vm_free(vm);
}

static void test_handshake(void)
{
    NitroVM *vm = nitro_vm_new("");

    for (int i = 0; i < 3; i++) {
        nitro_vm_handshake(vm);
        nitro_vm_alloc(vm);
    }
    /* the only version there is */
    g_assert_cmpuint(nitro_vm_version(vm, 2), ==, 1);
    g_assert_cmpuint(nitro_vm_version(vm, 0xffff), ==, 1);
    g_assert_cmpuint(nitro_vm_version(vm, 0), ==, 0);
    /* values that mean nothing change nothing */
    g_assert_cmpuint(nitro_vm_enable(vm, 2), ==, 1);
    g_assert_cmpuint(nitro_vm_enable(vm, 0xff), ==, 1);
    g_assert_cmpuint(nitro_vm_enable(vm, 1), ==, 1);
    g_assert_cmpuint(nitro_vm_enable(vm, 0), ==, 0);
    g_assert_cmpuint(nitro_vm_enable(vm, 0xfe), ==, 0);
    nitro_vm_handshake(vm);
    nitro_vm_free(vm);
}

static void test_command_while_disabled(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t zero = 0;

    nitro_vm_enable(vm, 0);
    nitro_vm_submit(vm, NITRO_PCI_CMD_ALLOC, &zero, 1);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, 0);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    nitro_vm_handshake(vm);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0,
                                      0).slot_count, ==, 0);
    nitro_vm_free(vm);
}

static void test_quiet_before_first_command(void)
{
    NitroVM *vm = nitro_vm_new("");

    /* left from an earlier driver: a pending reply on a masked vector */
    nitro_vm_msix_mask(vm, 0, true);
    qpci_io_writel(vm->dev, vm->regs, NITRO_PCI_REG_COMMAND,
                   NITRO_PCI_CMD_COUNT);
    g_assert_true(qpci_msix_pending(vm->dev, 0));
    nitro_vm_enable(vm, 0);
    g_assert_false(qpci_msix_pending(vm->dev, 0));
    nitro_vm_msix_mask(vm, 0, false);
    nitro_vm_handshake(vm);
    qtest_clock_step(vm->qts, 200 * NANOSECONDS_PER_SECOND);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0) + nitro_vm_irqs(vm, 1), ==, 0);
    nitro_vm_free(vm);
}

static void set_msix_control(NitroVM *vm, uint16_t bits)
{
    uint8_t cap = qpci_find_capability(vm->dev, PCI_CAP_ID_MSIX, 0);

    qpci_config_writew(vm->dev, cap + PCI_MSIX_FLAGS, bits);
}

static void test_msix_disabled(void)
{
    NitroVM *vm = nitro_vm_new("");

    /* what happens while MSI-X is off does not come up when it is on */
    set_msix_control(vm, 0);
    qpci_io_writel(vm->dev, vm->regs, NITRO_PCI_REG_COMMAND,
                   NITRO_PCI_CMD_COUNT);
    nitro_vm_raise_events(vm, 1);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, 1);
    set_msix_control(vm, PCI_MSIX_FLAGS_ENABLE);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0) + nitro_vm_irqs(vm, 1), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_COUNT, 0, 0, 0), ==, 0);
    nitro_vm_free(vm);
}

static void test_msix_vector_mask(void)
{
    NitroVM *vm = nitro_vm_new("");

    for (unsigned v = 0; v < NITRO_PCI_NR_VECTORS; v++) {
        nitro_vm_msix_mask(vm, v, true);
        qpci_io_writel(vm->dev, vm->regs, NITRO_PCI_REG_COMMAND,
                       NITRO_PCI_CMD_COUNT);
        nitro_vm_raise_events(vm, 1);
        /* the other vector works on */
        g_assert_cmpuint(nitro_vm_irqs(vm, !v), ==, 1);
        g_assert_cmpuint(nitro_vm_irqs(vm, v), ==, 0);
        g_assert_true(qpci_msix_pending(vm->dev, v));
        g_assert_false(qpci_msix_pending(vm->dev, !v));
        nitro_vm_msix_mask(vm, v, false);
        g_assert_cmpuint(nitro_vm_irqs(vm, v), ==, 1);
        g_assert_false(qpci_msix_pending(vm->dev, v));
        g_assert_cmpuint(nitro_vm_irqs(vm, !v), ==, 0);
    }
    nitro_vm_free(vm);
}

static void test_msix_function_mask(void)
{
    NitroVM *vm = nitro_vm_new("");

    set_msix_control(vm, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    qpci_io_writel(vm->dev, vm->regs, NITRO_PCI_REG_COMMAND,
                   NITRO_PCI_CMD_COUNT);
    nitro_vm_raise_events(vm, 1);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0) + nitro_vm_irqs(vm, 1), ==, 0);
    g_assert_true(qpci_msix_pending(vm->dev, 0));
    g_assert_true(qpci_msix_pending(vm->dev, 1));
    set_msix_control(vm, PCI_MSIX_FLAGS_ENABLE);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 1);
    g_assert_cmpuint(nitro_vm_irqs(vm, 1), ==, 1);
    nitro_vm_free(vm);
}

/* Offlining a CPU moves its interrupts elsewhere while the driver is bound */
static void test_msix_rewrite(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t elsewhere = nitro_vm_ram(vm, 1);

    for (uint32_t i = 1; i <= 3; i++) {
        uint64_t addr = elsewhere + i * 64;

        nitro_vm_msix_mask(vm, 0, true);
        nitro_vm_msix_write(vm, 0, addr, 0x1000 + i, false);
        qpci_io_writel(vm->dev, vm->regs, NITRO_PCI_REG_COMMAND,
                       NITRO_PCI_CMD_COUNT);
        g_assert_cmphex(qtest_readl(vm->qts, addr), ==, 0x1000 + i);
        g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    }
    /* rewritten while an interrupt is pending: it goes to the new place */
    nitro_vm_msix_mask(vm, 0, true);
    qpci_io_writel(vm->dev, vm->regs, NITRO_PCI_REG_COMMAND,
                   NITRO_PCI_CMD_COUNT);
    nitro_vm_msix_write(vm, 0, nitro_vm_irq_addr(vm, 0),
                        nitro_vm_irq_data(vm, 0), true);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    nitro_vm_msix_mask(vm, 0, false);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 1);
    g_assert_cmphex(qtest_readl(vm->qts, elsewhere + 3 * 64), ==, 0x1003);
    nitro_vm_free(vm);
}

/*
 * A guest may point its interrupts at COMMAND: what they submit there must
 * not pull a slot from under the device, nor go round in circles.
 */
static void test_msix_at_command(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t command = vm->regs.addr + NITRO_PCI_REG_COMMAND;
    uint64_t a = nitro_vm_running(vm, 1, NULL);
    uint64_t b = nitro_vm_running(vm, 2, NULL);
    uint16_t replies = nitro_vm_replies(vm);

    nitro_vm_msix_write(vm, 0, command, NITRO_PCI_CMD_COUNT, false);
    nitro_vm_msix_write(vm, 1, command, NITRO_PCI_CMD_FREE, false);
    nitro_vm_submit(vm, NITRO_PCI_CMD_COUNT, &a, 1);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies + 1);
    hv_close(vm);
    nitro_vm_wait_events(vm, 2);
    nitro_vm_msix_write(vm, 0, nitro_vm_irq_addr(vm, 0),
                        nitro_vm_irq_data(vm, 0), false);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, b, 0, 0).state,
                     ==, NITRO_SLOT_STOPPED);
    nitro_vm_free(vm);
}

static void test_evtcnt_wraps(void)
{
    NitroVM *vm = nitro_vm_new("");

    nitro_vm_raise_events(vm, 0xffff);
    g_assert_cmphex(nitro_vm_events(vm), ==, 0xffff);
    nitro_vm_raise_events(vm, 2);
    g_assert_cmphex(nitro_vm_events(vm), ==, 1);
    g_assert_cmphex(nitro_vm_replies(vm), ==, 0);
    nitro_vm_free(vm);
}

static void test_disable_frees_all(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *start = g_new(NitroTestMessage, 1);
    g_autofree NitroTestMessage *reset = g_new(NitroTestMessage, 1);
    uint64_t uid, args[3] = { 0 };
    uint16_t replies;

    nitro_vm_running(vm, 1, NULL);
    uid = nitro_vm_slot(vm, 2);
    args[0] = uid;
    replies = nitro_vm_replies(vm);
    nitro_vm_submit(vm, NITRO_PCI_CMD_START, args, 3);
    hv_expect(vm, NITRO_CONTROL_START, start);
    /* reads 0 only when the hypervisor has let go of the memory */
    g_assert_cmpuint(nitro_vm_enable(vm, 0), !=, 0);
    hv_expect(vm, NITRO_CONTROL_RESET, reset);
    g_assert_cmpuint(reset->len, ==, 0);
    g_assert_cmphex(reset->h.slot_uid, ==, 0);
    hv_reply(vm, start, 0);
    hv_exited(vm, uid);
    hv_reply(vm, reset, 0);
    nitro_vm_wait_enable(vm, 0);
    /* the command that was in progress is not answered any more */
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0) + nitro_vm_irqs(vm, 1), ==, 0);
    nitro_vm_handshake(vm);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0,
                                      0).slot_count, ==, 0);
    g_assert_cmphex(nitro_vm_running(vm, 1, NULL), >, uid);
    nitro_vm_free(vm);
}

static void test_enable_while_disabling(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *reset = g_new(NitroTestMessage, 1);
    g_autofree NitroTestMessage *start = g_new(NitroTestMessage, 1);
    uint64_t args[3] = { 0 };

    nitro_vm_running(vm, 1, NULL);
    g_assert_cmpuint(nitro_vm_enable(vm, 0), !=, 0);
    g_assert_cmpuint(nitro_vm_enable(vm, 1), ==, 1);
    args[0] = nitro_vm_slot(vm, 1);
    nitro_vm_submit(vm, NITRO_PCI_CMD_START, args, 3);
    /* in order, whatever the driver hurries */
    hv_expect(vm, NITRO_CONTROL_RESET, reset);
    hv_expect(vm, NITRO_CONTROL_START, start);
    hv_reply(vm, reset, 0);
    hv_reply(vm, start, 0);
    g_assert_cmpint(nitro_vm_take_reply(vm).rc, ==, 0);
    g_assert_cmpuint(nitro_vm_enable(vm, 1), ==, 1);
    nitro_vm_free(vm);
}

static void test_disable_without_slots(void)
{
    NitroVM *vm = nitro_vm_new("");

    /* nobody to ask: ENABLE reads 0 at once */
    nitro_vm_slot(vm, 1);
    g_assert_cmpuint(nitro_vm_enable(vm, 0), ==, 0);
    hv_expect_silence(vm);
    nitro_vm_handshake(vm);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0,
                                      0).slot_count, ==, 0);
    nitro_vm_free(vm);
}

static void test_system_reset(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);

    nitro_vm_running(vm, 1, NULL);
    qtest_system_reset(vm->qts);
    hv_expect(vm, NITRO_CONTROL_RESET, m);
    /* firmware and kernel come up again */
    qpci_config_writel(vm->dev, PCI_BASE_ADDRESS_3, vm->regs.addr);
    qpci_config_writel(vm->dev, PCI_BASE_ADDRESS_0,
                       vm->dev->msix_table_bar.addr);
    qpci_device_enable(vm->dev);
    set_msix_control(vm, PCI_MSIX_FLAGS_ENABLE);
    for (unsigned v = 0; v < NITRO_PCI_NR_VECTORS; v++) {
        nitro_vm_msix_write(vm, v, nitro_vm_irq_addr(vm, v),
                            nitro_vm_irq_data(vm, v), false);
    }
    g_assert_cmpuint(nitro_vm_replies(vm) + nitro_vm_events(vm), ==, 0);
    g_assert_cmphex(qpci_io_readq(vm->dev, vm->regs, NITRO_PCI_REG_SEND), ==,
                    0);
    g_assert_cmphex(qpci_io_readq(vm->dev, vm->regs, NITRO_PCI_REG_RECV + 8),
                    ==, 0);
    g_assert_cmpuint(nitro_vm_enable(vm, 0), !=, 0);
    hv_reply(vm, m, 0);
    nitro_vm_wait_enable(vm, 0);
    nitro_vm_handshake(vm);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0,
                                      0).slot_count, ==, 0);
    nitro_vm_free(vm);
}

static void test_refused_options(void)
{
    static const struct {
        const char *options, *message;
    } rows[] = {
        { "-device nitro-enclaves-pci", "no character device connects it" },
        { "-chardev null,id=b -device nitro-enclaves-pci,chardev=a "
          "-device nitro-enclaves-pci,chardev=b",
          "at most one nitro-enclaves-pci device is permitted" },
        { "-device nitro-enclaves-pci,chardev=a,mem-regions=0",
          "mem-regions=0 is not in the range 1 to 2048" },
        { "-device nitro-enclaves-pci,chardev=a,mem-regions=2049",
          "mem-regions=2049 is not in the range 1 to 2048" },
        { "-device nitro-enclaves-pci,chardev=a,reply-timeout-ms=120000",
          "reply-timeout-ms=120000 is not in the range 1 to 119000" },
        { "-device nitro-enclaves-pci,chardev=a,x-msix-vectors=33",
          "x-msix-vectors=33 is above 32" },
        { "-device nitro-enclaves-pci,chardev=a,x-fault=START",
          "fault rule 'START' is not POINT:CALLS:ACTION" },
        { "-device nitro-enclaves-pci,chardev=a,x-raise-events=1",
          "x-raise-events can be set on a running device only" },
    };

    for (int i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *cmd = g_strdup_printf(
            "%s -accel qtest %s -display none -nodefaults "
            "-chardev null,id=a %s", g_getenv("QTEST_QEMU_BINARY"),
            nitro_test_machine(), rows[i].options);
        g_autofree char *err = NULL;
        int status;

        g_assert_true(g_spawn_command_line_sync(cmd, NULL, &err, &status,
                                                NULL));
        g_assert_cmpint(status, !=, 0);
        g_test_message("%s", err);
        g_assert_nonnull(strstr(err, rows[i].message));
    }
}

static void test_migration_is_refused(void)
{
    NitroVM *vm = nitro_vm_new("");
    QDict *rsp = qtest_qmp(vm->qts, "{'execute': 'migrate', 'arguments': {"
                           " 'uri': 'exec:cat > /dev/null'}}");

    g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(rsp, "error"),
                                          "desc"), "nitro-enclaves-pci"));
    qobject_unref(rsp);
    nitro_vm_free(vm);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*test)(void);
    } tests[] = {
        { "identity", test_identity },
        { "power-on", test_power_on },
        { "send-widths", test_send_widths },
        { "unaligned", test_unaligned },
        { "pairs", test_pairs },
        { "recv-widths", test_recv_widths },
        { "scalar-widths", test_scalar_widths },
        { "handshake", test_handshake },
        { "command-while-disabled", test_command_while_disabled },
        { "quiet-before-first-command", test_quiet_before_first_command },
        { "msix/disabled", test_msix_disabled },
        { "msix/vector-mask", test_msix_vector_mask },
        { "msix/function-mask", test_msix_function_mask },
        { "msix/rewrite", test_msix_rewrite },
        { "msix/at-command", test_msix_at_command },
        { "evtcnt-wraps", test_evtcnt_wraps },
        { "disable-frees-all", test_disable_frees_all },
        { "enable-while-disabling", test_enable_while_disabling },
        { "disable-without-slots", test_disable_without_slots },
        { "system-reset", test_system_reset },
        { "refused-options", test_refused_options },
        { "migration-is-refused", test_migration_is_refused },
    };

    int ret;

    g_test_init(&argc, &argv, NULL);
    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        g_autofree char *path = g_strdup_printf("nitro-enclaves-pci/%s",
                                                tests[i].name);

        qtest_add_func(path, tests[i].test);
    }
    nitro_enclaves_add_command_tests();
    nitro_enclaves_add_fault_tests();
    nitro_enclaves_add_control_tests();
    ret = g_test_run();
    nitro_test_cleanup();
    return ret;
}
