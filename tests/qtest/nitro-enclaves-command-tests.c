/*
 * nitro-enclaves-pci: commands and events
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "nitro-enclaves-util.h"

static void test_one_interrupt_per_command(void)
{
    NitroVM *vm = nitro_vm_new("");

    /* nitro_vm_command() sees to it; unknown ones are answered as well */
    for (uint32_t command = 0; command < NITRO_PCI_CMD__MAX + 2; command++) {
        nitro_vm_command(vm, command, 0, 0, 0);
    }
    g_assert_cmpuint(nitro_vm_replies(vm), ==, NITRO_PCI_CMD__MAX + 2);
    g_assert_cmpuint(nitro_vm_irqs(vm, 1), ==, 0);
    g_assert_cmpuint(nitro_vm_events(vm), ==, 0);
    nitro_vm_free(vm);
}

static void test_unknown(void)
{
    static const uint32_t commands[] = {
        0, NITRO_PCI_CMD__MAX, 255, 0x10004, UINT32_MAX
    };
    static const uint32_t by_slot[] = {
        NITRO_PCI_CMD_START, NITRO_PCI_CMD_STOP, NITRO_PCI_CMD_FREE,
        NITRO_PCI_CMD_ADD_MEM, NITRO_PCI_CMD_ADD_VCPU, NITRO_PCI_CMD_INFO,
        NITRO_PCI_CMD_ADD_BULK
    };
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_alloc(vm);

    for (int i = 0; i < ARRAY_SIZE(commands); i++) {
        g_assert_cmpint(nitro_vm_rc(vm, commands[i], uid, 0, 0), ==, -EINVAL);
    }
    for (int i = 0; i < ARRAY_SIZE(by_slot); i++) {
        g_assert_cmpint(nitro_vm_rc(vm, by_slot[i], 0, 0, 0), ==, -ENOENT);
        g_assert_cmpint(nitro_vm_rc(vm, by_slot[i], uid + 1, 0, 0), ==,
                        -ENOENT);
    }
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_GET_SLOT, 0, 0, 0), ==,
                    -ENOENT);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_GET_SLOT, 16, 0, 0), ==,
                    -ENOENT);
    nitro_vm_free(vm);
}

static void test_reply_is_stable(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_running(vm, 1, NULL);
    uint8_t before[NITRO_PCI_DATA_SIZE], after[NITRO_PCI_DATA_SIZE];

    nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0, 0);
    qpci_memread(vm->dev, vm->regs, NITRO_PCI_REG_RECV, before,
                 sizeof(before));
    /* the next request is being written, an event comes in */
    for (unsigned i = 0; i < NITRO_PCI_DATA_SIZE; i += 8) {
        qpci_io_writeq(vm->dev, vm->regs, NITRO_PCI_REG_SEND + i, UINT64_MAX);
    }
    hv_exited(vm, uid);
    nitro_vm_wait_events(vm, 1);
    qtest_clock_step(vm->qts, 200 * NANOSECONDS_PER_SECOND);
    qpci_memread(vm->dev, vm->regs, NITRO_PCI_REG_RECV, after, sizeof(after));
    g_assert_cmpmem(before, sizeof(before), after, sizeof(after));
    nitro_vm_free(vm);
}

static void test_reply_is_zeroed(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_running(vm, 1, NULL);

    nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0, 0);
    g_assert_cmpuint(nitro_vm_reply(vm).state, ==, NITRO_SLOT_RUNNING);
    nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0, 0);
    for (unsigned i = 0; i < NITRO_PCI_DATA_SIZE; i += 8) {
        bool count = i == offsetof(NitroPciReply, slot_count);

        g_assert_cmphex(qpci_io_readq(vm->dev, vm->regs,
                                      NITRO_PCI_REG_RECV + i), ==, count);
    }
    /* a failure says nothing of the slot before */
    nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_INFO, 1, 0, 0), ==, -ENOENT);
    for (unsigned i = 8; i < NITRO_PCI_DATA_SIZE; i += 8) {
        g_assert_cmphex(qpci_io_readq(vm->dev, vm->regs,
                                      NITRO_PCI_REG_RECV + i), ==, 0);
    }
    nitro_vm_free(vm);
}

static void test_stale_request_bytes(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid;

    for (unsigned i = 0; i < NITRO_PCI_DATA_SIZE; i += 8) {
        qpci_io_writeq(vm->dev, vm->regs, NITRO_PCI_REG_SEND + i, UINT64_MAX);
    }
    /* requests as the driver writes them: their own bytes only */
    qpci_io_writeb(vm->dev, vm->regs, NITRO_PCI_REG_SEND, 0);
    qpci_io_writel(vm->dev, vm->regs, NITRO_PCI_REG_COMMAND,
                   NITRO_PCI_CMD_ALLOC);
    uid = nitro_vm_take_reply(vm).slot_uid;
    g_assert_cmphex(uid, !=, 0);
    /* the padding behind the vCPU id is not part of it */
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_VCPU, uid,
                                0xdeadbeef00000002ULL, UINT64_MAX), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_BULK, uid, 1,
                                UINT64_MAX), ==, 0);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, UINT64_MAX,
                                      UINT64_MAX).nr_vcpus, ==, 2);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, uid, UINT64_MAX,
                                UINT64_MAX), ==, 0);
    nitro_vm_free(vm);
}

static void test_alloc(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t begun_ms = g_get_real_time() / 1000;
    uint64_t uids[8];

    for (int i = 0; i < ARRAY_SIZE(uids); i++) {
        NitroTestReply r = nitro_vm_command(vm, NITRO_PCI_CMD_ALLOC, 0, 0, 0);

        uids[i] = r.slot_uid;
        g_assert_cmpint(r.rc, ==, 0);
        /* The time in milliseconds, and 16 random bits */
        g_assert_cmpuint(r.slot_uid >> 16, >=, begun_ms);
        g_assert_cmpuint(r.slot_uid >> 16, <=, g_get_real_time() / 1000 + 8);
        g_assert_cmpuint(r.mem_regions, >=, 1024);
        for (int j = 0; j < i; j++) {
            g_assert_cmphex(uids[j], !=, uids[i]);
        }
    }
    nitro_vm_free(vm);
}

static void test_mem_regions_limit(void)
{
    NitroVM *vm = nitro_vm_new(",mem-regions=2");
    NitroTestReply r = nitro_vm_command(vm, NITRO_PCI_CMD_ALLOC, 0, 0, 0);

    g_assert_cmpuint(r.mem_regions, ==, 2);
    for (int i = 1; i <= 3; i++) {
        g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_MEM, r.slot_uid,
                                    nitro_vm_ram(vm, i), NITRO_MEM_CHUNK), ==,
                        i <= 2 ? 0 : -ENOSPC);
    }
    nitro_vm_free(vm);
}

static void test_add_mem(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t a = nitro_vm_alloc(vm), b = nitro_vm_alloc(vm);
    uint64_t ram = nitro_vm_ram(vm, 0);
    const struct {
        uint64_t uid, paddr, size;
        int rc;
    } rows[] = {
        { a, nitro_vm_ram(vm, 5), 2 * MiB, 0 },
        { a, nitro_vm_ram(vm, 2), 64 * MiB, 0 },         /* downwards */
        { a, nitro_vm_ram(vm, 3), 2 * MiB, 0 },          /* adjacent */
        { a, nitro_vm_ram(vm, 2) + 2 * MiB, 2 * MiB, -EEXIST },
        { b, nitro_vm_ram(vm, 2) + 2 * MiB, 2 * MiB, -EEXIST },
        { b, nitro_vm_ram(vm, 1), 128 * MiB, -EEXIST },
        { b, ram + 510 * MiB, 2 * MiB, 0 },              /* last of RAM */
        { b, ram + 510 * MiB, 4 * MiB, -EEXIST },
        { b, ram + 508 * MiB + 1, 2 * MiB, -EINVAL },
        { b, ram + 508 * MiB, 0, -EINVAL },
        { b, ram + 508 * MiB, 4096, -EINVAL },
        { b, ram + 508 * MiB, 3 * MiB, -EINVAL },
        { b, ram + 512 * MiB, 2 * MiB, -EFAULT },        /* behind RAM */
        { b, 1 * GiB - 2 * MiB, 4 * MiB, -EFAULT },      /* arm: into RAM */
        { b, 1ULL << 40, 2 * MiB, -EFAULT },
        { b, UINT64_MAX - 2 * MiB + 1, 2 * MiB, -EFAULT },
        { b, UINT64_MAX - 2 * MiB + 1, 4 * MiB, -EINVAL },
        { b, QEMU_ALIGN_DOWN(vm->regs.addr, 2 * MiB), 2 * MiB, -EFAULT },
    };

    for (int i = 0; i < ARRAY_SIZE(rows); i++) {
        g_test_message("row %d", i);
        g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_MEM, rows[i].uid,
                                    rows[i].paddr, rows[i].size), ==,
                        rows[i].rc);
    }
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, a, 0,
                                      0).mem_size, ==, 68 * MiB);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, b, 0,
                                      0).mem_regions, ==, 1);
    /* what was freed can be given again */
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, a, 0, 0), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_MEM, b,
                                nitro_vm_ram(vm, 1), 128 * MiB), ==, 0);
    nitro_vm_free(vm);
}

static void test_add_vcpu(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t a = nitro_vm_alloc(vm), b = nitro_vm_alloc(vm);

    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_VCPU, a, 2, 0), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_VCPU, a, 2, 0), ==,
                    -EEXIST);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_VCPU, b, 2, 0), ==,
                    -EEXIST);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_VCPU, b, 4, 0), ==,
                    -EINVAL);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_VCPU, b, UINT32_MAX,
                                0), ==, -EINVAL);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_BULK, b, 3, 0), ==,
                    -ENOSPC);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_BULK, b, 0, 0), ==,
                    -EINVAL);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_BULK, b, 2, 0), ==, 0);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, b, 0,
                                      0).nr_vcpus, ==, 2);
    nitro_vm_free(vm);
}

static void test_walk_slots(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t cid, a, b;

    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_NEXT, 0, 0, 0), ==, -ENOENT);
    a = nitro_vm_running(vm, 1, &cid);
    b = nitro_vm_alloc(vm);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0,
                                      0).slot_count, ==, 2);
    g_assert_cmphex(nitro_vm_command(vm, NITRO_PCI_CMD_NEXT, 0, 0,
                                     0).slot_uid, ==, a);
    g_assert_cmphex(nitro_vm_command(vm, NITRO_PCI_CMD_NEXT, a, 0,
                                     0).slot_uid, ==, b);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_NEXT, b, 0, 0), ==, -ENOENT);
    g_assert_cmphex(nitro_vm_command(vm, NITRO_PCI_CMD_GET_SLOT, cid, 0,
                                     0).slot_uid, ==, a);
    nitro_vm_end(vm, NITRO_PCI_CMD_FREE, a);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_GET_SLOT, cid, 0, 0), ==,
                    -ENOENT);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_COUNT, 0, 0,
                                      0).slot_count, ==, 1);
    nitro_vm_free(vm);
}

static void check_start_body(NitroVM *vm, const NitroTestMessage *m)
{
    const NitroControlStart *s = (const void *)m->body;
    const NitroControlRegion *r = (const void *)(s + 1);
    const uint32_t *vcpu = (const void *)(r + 2);

    g_assert_cmpuint(m->len, ==, sizeof(*s) + 2 * sizeof(*r) + 2 * 4);
    g_assert_cmpuint(le64_to_cpu(s->cid), ==, 16);
    g_assert_cmphex(le64_to_cpu(s->flags), ==, NITRO_CONTROL_START_DEBUG);
    g_assert_cmpuint(le32_to_cpu(s->nr_regions), ==, 2);
    g_assert_cmpuint(le32_to_cpu(s->nr_vcpus), ==, 2);
    /* in the order of the commands, which is that of the enclave's memory */
    g_assert_cmphex(le64_to_cpu(r[0].paddr), ==, nitro_vm_ram(vm, 4));
    g_assert_cmphex(le64_to_cpu(r[0].size), ==, 2 * MiB);
    g_assert_cmphex(le64_to_cpu(r[1].paddr), ==, nitro_vm_ram(vm, 1));
    g_assert_cmphex(le64_to_cpu(r[1].size), ==, NITRO_MEM_CHUNK);
    g_assert_cmpuint(ldl_le_p(vcpu), ==, 3);
    g_assert_cmpuint(ldl_le_p(vcpu + 1), ==, 1);
}

static void test_start(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    uint64_t uid = nitro_vm_alloc(vm);
    const uint64_t args[] = { uid, 0, NITRO_PCI_START_DEBUG };
    NitroTestReply r;
    uint16_t replies;

    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_START, uid, 0, 0), ==,
                    -EINVAL);
    nitro_vm_command(vm, NITRO_PCI_CMD_ADD_MEM, uid, nitro_vm_ram(vm, 4),
                     2 * MiB);
    nitro_vm_command(vm, NITRO_PCI_CMD_ADD_MEM, uid, nitro_vm_ram(vm, 1),
                     NITRO_MEM_CHUNK);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_START, uid, 0, 0), ==,
                    -EINVAL);
    nitro_vm_command(vm, NITRO_PCI_CMD_ADD_VCPU, uid, 3, 0);
    nitro_vm_command(vm, NITRO_PCI_CMD_ADD_VCPU, uid, 1, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_START, uid, 0, 2), ==,
                    -EINVAL);
    hv_expect_silence(vm);

    replies = nitro_vm_replies(vm);
    nitro_vm_submit(vm, NITRO_PCI_CMD_START, args, 3);
    hv_expect(vm, NITRO_CONTROL_START, m);
    g_assert_cmphex(m->h.slot_uid, ==, uid);
    check_start_body(vm, m);
    /* the outcome is not known: no reply */
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    hv_reply(vm, m, 0);
    r = nitro_vm_take_reply(vm);
    g_assert_cmpint(r.rc, ==, 0);
    g_assert_cmphex(r.slot_uid, ==, uid);
    g_assert_cmpuint(r.enclave_cid, ==, 16);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies + 1);

    r = nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0, 0);
    g_assert_cmpint(r.rc, ==, 0);
    g_assert_cmpuint(r.state, ==, NITRO_SLOT_RUNNING);
    g_assert_cmphex(r.flags, ==, NITRO_PCI_START_DEBUG);
    g_assert_cmpuint(r.nr_vcpus, ==, 2);
    g_assert_cmpuint(r.mem_regions, ==, 2);
    g_assert_cmpuint(r.mem_size, ==, NITRO_MEM_CHUNK + 2 * MiB);
    /* nothing can be added or started again */
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_VCPU, uid, 2, 0), ==,
                    -EBUSY);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_MEM, uid,
                                nitro_vm_ram(vm, 5), 2 * MiB), ==, -EBUSY);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_START, uid, 0, 0), ==,
                    -EBUSY);
    nitro_vm_free(vm);
}

/* start with a wish for @cid; the hypervisor agrees */
static NitroTestReply start_with_cid(NitroVM *vm, uint64_t uid, uint64_t cid)
{
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);

    nitro_vm_submit_start(vm, uid, cid, m);
    hv_reply(vm, m, 0);
    return nitro_vm_take_reply(vm);
}

static void test_cids(void)
{
    static const uint64_t bad[] = {
        1, 2, 3, 0xffffffffULL, 0x100000000ULL, UINT64_MAX
    };
    NitroVM *vm = nitro_vm_new("");
    uint64_t a = nitro_vm_slot(vm, 1), b = nitro_vm_slot(vm, 2);
    uint64_t c = nitro_vm_slot(vm, 3);

    for (int i = 0; i < ARRAY_SIZE(bad); i++) {
        g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_START, a, bad[i], 0), ==,
                        -EINVAL);
    }
    g_assert_cmpuint(start_with_cid(vm, a, 16).enclave_cid, ==, 16);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_START, b, 16, 0), ==,
                    -EEXIST);
    g_assert_cmpuint(start_with_cid(vm, b, 0).enclave_cid, ==, 17);
    /* free again once the slot is */
    nitro_vm_end(vm, NITRO_PCI_CMD_FREE, a);
    g_assert_cmpuint(start_with_cid(vm, c, 16).enclave_cid, ==, 16);
    nitro_vm_free(vm);
}

static void test_start_fails(void)
{
    static const int errors[] = { EEXIST, EINVAL, ENOMEM, EIO, 265, 4095 };
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    uint64_t uid = nitro_vm_slot(vm, 1);

    for (int i = 0; i < ARRAY_SIZE(errors); i++) {
        NitroTestReply r;

        nitro_vm_submit_start(vm, uid, 0, m);
        hv_reply(vm, m, -errors[i]);
        r = nitro_vm_take_reply(vm);
        g_assert_cmpint(r.rc, ==, -errors[i]);
        g_assert_cmpuint(r.enclave_cid, ==, 0);
        r = nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0, 0);
        g_assert_cmpuint(r.state, ==, NITRO_SLOT_INIT);
    }
    /* the driver may try again */
    g_assert_cmpint(start_with_cid(vm, uid, 0).rc, ==, 0);
    nitro_vm_end(vm, NITRO_PCI_CMD_FREE, uid);
    /* memory of a failed start is free when the hypervisor says so */
    uid = nitro_vm_slot(vm, 1);
    nitro_vm_submit_start(vm, uid, 0, m);
    hv_reply(vm, m, -EIO);
    g_assert_cmpint(nitro_vm_take_reply(vm).rc, ==, -EIO);
    nitro_vm_end(vm, NITRO_PCI_CMD_FREE, uid);
    /* that of a slot which was never started needs nobody else */
    uid = nitro_vm_slot(vm, 1);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, uid, 0, 0), ==, 0);
    hv_expect_silence(vm);
    nitro_vm_free(vm);
}

static void test_free_and_stop(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_alloc(vm);
    NitroTestReply r;

    /* never started */
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_STOP, uid, 0, 0), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, uid, 0, 0), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, uid, 0, 0), ==,
                    -ENOENT);
    /* running, then stopped, then freed */
    uid = nitro_vm_running(vm, 1, NULL);
    nitro_vm_end(vm, NITRO_PCI_CMD_STOP, uid);
    r = nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0, 0);
    g_assert_cmpuint(r.state, ==, NITRO_SLOT_STOPPED);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_START, uid, 0, 0), ==,
                    -EINVAL);
    nitro_vm_end(vm, NITRO_PCI_CMD_STOP, uid);
    nitro_vm_end(vm, NITRO_PCI_CMD_FREE, uid);
    /* freed while running */
    uid = nitro_vm_running(vm, 1, NULL);
    nitro_vm_end(vm, NITRO_PCI_CMD_FREE, uid);
    /* dead */
    uid = nitro_vm_running(vm, 1, NULL);
    hv_exited(vm, uid);
    nitro_vm_wait_events(vm, 1);
    g_assert_cmpuint(nitro_vm_irqs(vm, 1), ==, 1);
    nitro_vm_end(vm, NITRO_PCI_CMD_STOP, uid);
    nitro_vm_end(vm, NITRO_PCI_CMD_FREE, uid);
    /* the parent knew of its own stops */
    g_assert_cmpuint(nitro_vm_events(vm), ==, 1);
    nitro_vm_free(vm);
}

static void test_free_waits(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    uint64_t uid = nitro_vm_running(vm, 1, NULL);
    uint16_t replies = nitro_vm_replies(vm);

    nitro_vm_submit(vm, NITRO_PCI_CMD_FREE, &uid, 1);
    hv_expect(vm, NITRO_CONTROL_FREE, m);
    qtest_clock_step(vm->qts, 90 * NANOSECONDS_PER_SECOND);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    hv_reply(vm, m, 0);
    g_assert_cmpint(nitro_vm_take_reply(vm).rc, ==, 0);
    nitro_vm_free(vm);
}

static void test_free_fails(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    uint64_t uid = nitro_vm_running(vm, 1, NULL);

    nitro_vm_submit(vm, NITRO_PCI_CMD_FREE, &uid, 1);
    hv_expect(vm, NITRO_CONTROL_FREE, m);
    hv_reply(vm, m, -EIO);
    g_assert_cmpint(nitro_vm_take_reply(vm).rc, ==, -EIO);
    /* the memory is not free for others */
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_MEM, nitro_vm_alloc(vm),
                                nitro_vm_ram(vm, 1), 2 * MiB), ==, -EEXIST);
    nitro_vm_end(vm, NITRO_PCI_CMD_FREE, uid);
    nitro_vm_free(vm);
}

static void test_busy(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    uint64_t uid = nitro_vm_slot(vm, 1);
    const uint64_t args[] = { uid, 0, 0 };
    uint16_t replies = nitro_vm_replies(vm);

    /* no driver does this: one command is in progress, another is written */
    nitro_vm_submit(vm, NITRO_PCI_CMD_START, args, 3);
    nitro_vm_submit(vm, NITRO_PCI_CMD_ALLOC, args, 1);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies);
    hv_expect(vm, NITRO_CONTROL_START, m);
    hv_reply(vm, m, 0);
    g_assert_cmpuint(nitro_vm_take_reply(vm).enclave_cid, ==, 16);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies + 1);
    nitro_vm_free(vm);
}

static void test_event(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t idle = nitro_vm_slot(vm, 1);
    uint64_t uid = nitro_vm_running(vm, 2, NULL);
    uint64_t other = nitro_vm_running(vm, 3, NULL);
    uint16_t replies = nitro_vm_replies(vm);

    /* not started, unknown: nothing changed, so nothing is told */
    hv_exited(vm, idle);
    hv_exited(vm, 12345);
    hv_exited(vm, 0);
    hv_exited(vm, uid);
    nitro_vm_wait_events(vm, 1);
    g_assert_cmpuint(nitro_vm_irqs(vm, 1), ==, 1);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 0);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0,
                                      0).state, ==, NITRO_SLOT_STOPPED);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, idle, 0,
                                      0).state, ==, NITRO_SLOT_INIT);
    /* a second time it is no news */
    hv_exited(vm, uid);
    hv_exited(vm, other);
    nitro_vm_wait_events(vm, 2);
    g_assert_cmpuint(nitro_vm_irqs(vm, 1), ==, 1);
    nitro_vm_free(vm);
}

static void test_event_before_reply(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    uint64_t uid = nitro_vm_slot(vm, 1);

    nitro_vm_submit_start(vm, uid, 0, m);
    hv_exited(vm, uid);
    hv_reply(vm, m, 0);
    nitro_vm_wait_events(vm, 1);
    g_assert_cmpint(nitro_vm_reply(vm).rc, ==, 0);
    if (vm->arm) {
        g_autofree char *order = nitro_vm_irq_order(vm);

        g_assert_true(g_str_has_suffix(order, "01"));
        g_assert_cmpuint(strlen(order), ==, 2);
    } else {
        g_assert_cmpuint(nitro_vm_irqs(vm, 0), ==, 1);
        g_assert_cmpuint(nitro_vm_irqs(vm, 1), ==, 1);
    }
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0,
                                      0).state, ==, NITRO_SLOT_STOPPED);
    nitro_vm_free(vm);
}

void nitro_enclaves_add_command_tests(void)
{
    static const struct {
        const char *name;
        void (*test)(void);
    } tests[] = {
        { "one-interrupt-per-command", test_one_interrupt_per_command },
        { "unknown", test_unknown },
        { "reply-is-stable", test_reply_is_stable },
        { "reply-is-zeroed", test_reply_is_zeroed },
        { "stale-request-bytes", test_stale_request_bytes },
        { "alloc", test_alloc },
        { "mem-regions-limit", test_mem_regions_limit },
        { "add-mem", test_add_mem },
        { "add-vcpu", test_add_vcpu },
        { "walk-slots", test_walk_slots },
        { "start", test_start },
        { "cids", test_cids },
        { "start-fails", test_start_fails },
        { "free-and-stop", test_free_and_stop },
        { "free-waits", test_free_waits },
        { "free-fails", test_free_fails },
        { "busy", test_busy },
        { "event", test_event },
        { "event-before-reply", test_event_before_reply },
    };

    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        g_autofree char *path =
            g_strdup_printf("nitro-enclaves-pci/command/%s", tests[i].name);

        qtest_add_func(path, tests[i].test);
    }
}
