/*
 * Registers of the Nitro Enclaves PCI function
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The function as the guest sees it: BAR 3 and two MSI-X vectors.  The
 * parent's driver binds to it unmodified; what that driver relies on is said
 * where it matters.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/log.h"
#include "qemu/timer.h"
#include "hw/nitro/enclaves-pci.h"
#include "hw/pci/msix.h"
#include "trace.h"

static void forget_interrupts(NitroEnclavesPCIState *s)
{
    for (unsigned i = 0; i < s->nr_vectors; i++) {
        msix_clr_pending(PCI_DEVICE(s), i);
    }
}

/* ENABLE keeps reading 1 while enclaves are being ended */
static void regs_disable(NitroEnclavesPCIState *s)
{
    s->enabled = false;
    s->late.armed = false;
    timer_del(s->late_timer);
    forget_interrupts(s);
    nitro_enclaves_free_all(s);
    s->enable_readback = s->reset_seq ? 1 : 0;
    s->enable_forced = false;
}

void nitro_enclaves_reset(NitroEnclavesPCIState *s)
{
    trace_nitro_enclaves_reset(s->slots.count);
    regs_disable(s);
    s->slots.next_cid = NITRO_PCI_CID_FIRST_AUTO;
    s->version = 0;
    s->replies = 0;
    s->events = 0;
    memset(s->send, 0, sizeof(s->send));
    memset(s->recv, 0, sizeof(s->recv));
}

static void write_enable(NitroEnclavesPCIState *s, uint8_t value)
{
    NitroFault fault;

    trace_nitro_enclaves_enable(value);
    if (value > 1) {
        qemu_log_mask(LOG_GUEST_ERROR, "nitro-enclaves-pci: ENABLE set to "
                      "0x%02x, only 0 and 1 are known\n", value);
        return;
    }
    if (value) {
        s->enabled = true;
        s->enable_readback = 1;
        s->enable_forced = false;
    } else {
        regs_disable(s);
    }
    fault = nitro_faults_take(&s->faults, value ? NITRO_FAULT_ENABLE
                                                : NITRO_FAULT_DISABLE);
    if (fault.has_value) {
        s->enable_readback = fault.value;
        s->enable_forced = true;
    }
}

static void write_version(NitroEnclavesPCIState *s, uint16_t value)
{
    NitroFault fault = nitro_faults_take(&s->faults, NITRO_FAULT_VERSION);

    s->version = MIN(value, NITRO_PCI_VERSION);
    if (fault.has_value) {
        s->version = fault.value;
    }
    trace_nitro_enclaves_version(value, s->version);
}

static void write_command(NitroEnclavesPCIState *s, uint32_t command)
{
    if (!s->enabled) {
        qemu_log_mask(LOG_GUEST_ERROR, "nitro-enclaves-pci: command %u while "
                      "not enabled is ignored\n", command);
        return;
    }
    if (s->pending.command) {
        qemu_log_mask(LOG_GUEST_ERROR, "nitro-enclaves-pci: command %u while "
                      "command %u is in progress is ignored\n", command,
                      s->pending.command);
        return;
    }
    nitro_enclaves_command(s, command);
}

static uint64_t read_scalars(NitroEnclavesPCIState *s, hwaddr addr,
                             unsigned size)
{
    uint8_t regs[NITRO_PCI_REG_SEND] = { 0 };

    regs[NITRO_PCI_REG_ENABLE] = s->enable_readback;
    stw_le_p(regs + NITRO_PCI_REG_VERSION, s->version);
    stw_le_p(regs + NITRO_PCI_REG_EVTCNT, s->replies);
    stw_le_p(regs + NITRO_PCI_REG_EVTCNT + 2, s->events);
    return ldn_le_p(regs + addr, size);
}

/* Where a naturally aligned access falls into a payload buffer, or NULL */
static uint8_t *payload(uint8_t *data, hwaddr base, hwaddr addr)
{
    return addr >= base && addr < base + NITRO_PCI_DATA_SIZE
           ? data + (addr - base) : NULL;
}

static uint64_t mmio_read(void *opaque, hwaddr addr, unsigned size)
{
    NitroEnclavesPCIState *s = opaque;
    uint8_t *send = payload(s->send, NITRO_PCI_REG_SEND, addr);
    uint8_t *recv = payload(s->recv, NITRO_PCI_REG_RECV, addr);
    uint64_t value = 0;

    if (addr < NITRO_PCI_REG_SEND) {
        value = read_scalars(s, addr, size);
    } else if (send) {
        value = ldn_le_p(send, size);
    } else if (recv) {
        value = ldn_le_p(recv, size);
    }
    trace_nitro_enclaves_read(addr, size, value);
    return value;
}

static void mmio_write(void *opaque, hwaddr addr, uint64_t value,
                       unsigned size)
{
    NitroEnclavesPCIState *s = opaque;
    uint8_t *send = payload(s->send, NITRO_PCI_REG_SEND, addr);

    trace_nitro_enclaves_write(addr, size, value);
    if (send) {
        stn_le_p(send, size, value);
    } else if (addr == NITRO_PCI_REG_ENABLE && size == 1) {
        write_enable(s, value);
    } else if (addr == NITRO_PCI_REG_VERSION && size == 2) {
        write_version(s, value);
    } else if (addr == NITRO_PCI_REG_COMMAND && size == 4) {
        write_command(s, value);
    } else {
        qemu_log_mask(LOG_GUEST_ERROR, "nitro-enclaves-pci: write of %u bytes "
                      "to 0x%03" HWADDR_PRIx " is ignored\n", size, addr);
    }
}

/* Drivers copy payloads in accesses of any size, as their architecture does */
const MemoryRegionOps nitro_enclaves_mmio_ops = {
    .read = mmio_read,
    .write = mmio_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8 },
    .impl = { .min_access_size = 1, .max_access_size = 8 },
};
