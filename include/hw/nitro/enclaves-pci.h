/*
 * Nitro Enclaves PCI function of an emulated EC2 parent
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * enclaves-pci.c is the type and its properties, enclaves-regs.c what the
 * guest sees of it: registers, interrupts, reset.  enclaves-commands.c carries
 * out the commands on the slot table and asks the hypervisor process to start,
 * stop and free enclaves; enclaves-hypervisor.c takes its answers.  The
 * register map is in enclaves-abi.h, the user manual in
 * docs/system/devices/nitro-enclaves-pci.rst.
 *
 * One command is in progress at a time.  Most are answered within the write
 * to COMMAND; START, STOP and FREE of a slot that the hypervisor knows are
 * answered when it has answered.
 *
 * All functions need the BQL; none blocks.
 */

#ifndef HW_NITRO_ENCLAVES_PCI_H
#define HW_NITRO_ENCLAVES_PCI_H

#include "chardev/char-fe.h"
#include "hw/nitro/enclaves-abi.h"
#include "hw/nitro/enclaves-control.h"
#include "hw/nitro/enclaves-fault.h"
#include "hw/nitro/enclaves-slots.h"
#include "hw/pci/pci_device.h"
#include "qom/object.h"

#define TYPE_NITRO_ENCLAVES_PCI "nitro-enclaves-pci"
OBJECT_DECLARE_SIMPLE_TYPE(NitroEnclavesPCIState, NITRO_ENCLAVES_PCI)

/* A reply in host byte order; fields as in NitroPciReply */
typedef struct NitroReply {
    int32_t rc;
    uint64_t slot_uid;
    uint64_t enclave_cid;
    uint64_t slot_count;
    uint64_t mem_regions;
    uint64_t mem_size;
    uint64_t nr_vcpus;
    uint64_t flags;
    uint16_t state;
} NitroReply;

/**
 * struct NitroPending: the command the hypervisor works on
 * @command: 0 when no command runs
 * @seq: of the request on the control channel
 * @slot_uid: the slot it is about
 * @fault: what will go wrong with the reply
 */
typedef struct NitroPending {
    NitroPciCommand command;
    uint32_t seq;
    uint64_t slot_uid;
    NitroFault fault;
} NitroPending;

/**
 * struct NitroLate: what the timer of injected delays will do
 * @armed: the timer runs
 * @has_reply: @reply is delivered; otherwise vector 0 alone is raised
 */
typedef struct NitroLate {
    bool armed;
    bool has_reply;
    NitroReply reply;
    NitroFault fault;
} NitroLate;

/**
 * struct NitroEnclavesPCIState: the function
 * @chr: connection to the hypervisor process
 * @mem_regions: limit of memory regions per slot
 * @reply_timeout_ms: longest time the hypervisor may take
 * @nr_vectors: MSI-X vectors, 0 for no MSI-X (experimental)
 * @no_bar: leave BAR 3 out (experimental)
 * @enabled: ENABLE was set to 1
 * @enable_readback: what ENABLE reads as
 * @enable_forced: by fault injection, until the next write
 * @version: what VERSION reads as
 * @replies, @events: the halves of EVTCNT
 * @reset_seq: RESET that has to be answered before ENABLE reads 0, or 0
 * @dirty: the hypervisor may know slots
 * @refusal_told: a command that failed without a hypervisor was reported
 */
struct NitroEnclavesPCIState {
    PCIDevice parent_obj;

    CharBackend chr;
    uint32_t mem_regions;
    uint32_t reply_timeout_ms;
    uint16_t nr_vectors;
    bool no_bar;

    MemoryRegion mmio;
    uint8_t send[NITRO_PCI_DATA_SIZE];
    uint8_t recv[NITRO_PCI_DATA_SIZE];
    bool enabled;
    uint8_t enable_readback;
    bool enable_forced;
    uint16_t version;
    uint16_t replies;
    uint16_t events;

    NitroSlotTable slots;
    NitroControlChannel control;
    NitroPending pending;
    uint32_t reset_seq;
    bool dirty;
    bool refusal_told;

    NitroFaults faults;
    NitroLate late;
    QEMUTimer *late_timer;
};

/* BAR 3; @opaque is the device */
extern const MemoryRegionOps nitro_enclaves_mmio_ops;

/* What the control channel reports; @opaque is the device */
extern const NitroControlHandlers nitro_enclaves_control_handlers;

/**
 * nitro_enclaves_command: carry out the command whose request is in s->send
 * @s: an enabled device without a pending command
 * @command: any number; an unknown one is answered with -EINVAL
 *
 * Delivers the reply, or leaves s->pending behind.
 */
void nitro_enclaves_command(NitroEnclavesPCIState *s, uint32_t command);

/**
 * nitro_enclaves_free_all: drop the pending command, all slots, and the
 * enclaves behind them
 * @s: the device
 *
 * Until the hypervisor has answered, s->reset_seq is not 0.
 */
void nitro_enclaves_free_all(NitroEnclavesPCIState *s);

/**
 * nitro_enclaves_deliver: write the reply of a command and raise vector 0
 * @s: the device
 * @reply: the reply; all of RECV_DATA is replaced
 * @fault: what goes wrong with it
 */
void nitro_enclaves_deliver(NitroEnclavesPCIState *s, const NitroReply *reply,
                            const NitroFault *fault);

/**
 * nitro_enclaves_raise_event: count an event and raise vector 1
 * @s: the device
 */
void nitro_enclaves_raise_event(NitroEnclavesPCIState *s);

/**
 * nitro_enclaves_notify: raise a vector, if the guest uses MSI-X
 * @s: the device
 * @vector: NITRO_PCI_VECTOR_*
 */
void nitro_enclaves_notify(NitroEnclavesPCIState *s, unsigned vector);

/**
 * nitro_enclaves_late: timer callback, an injected delay is over
 * @opaque: the device
 */
void nitro_enclaves_late(void *opaque);

/**
 * nitro_enclaves_reset: all registers as after power-on, everything freed
 * @s: the device
 */
void nitro_enclaves_reset(NitroEnclavesPCIState *s);

#endif /* HW_NITRO_ENCLAVES_PCI_H */
