/*
 * Harness for tests of nitro-enclaves-pci
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A parent without a kernel: the test is its driver, and the hypervisor
 * process at the other end of the control channel.  Both sides are moved by
 * the test step by step; there are no threads.
 *
 * Interrupts: on x86 each MSI-X vector writes into a word of RAM, so that one
 * or none is seen.  On arm both write into the UART's data register, whose
 * output is a file: every single one is seen, and their order.
 */

#ifndef NITRO_ENCLAVES_UTIL_H
#define NITRO_ENCLAVES_UTIL_H

#include "qemu/timer.h"
#include "qemu/units.h"
#include "libqtest.h"
#include "libqos/pci.h"
#include "libqos/generic-pcihost.h"
#include "hw/nitro/enclaves-abi.h"
#include "hw/nitro/nitro-control.h"

#define NITRO_MEM_CHUNK (64 * 1024 * 1024)

typedef struct NitroVM {
    QTestState *qts;
    QPCIBus *bus;
    QPCIDevice *dev;
    QPCIBar regs;
    QGenericPCIBus generic;
    bool arm;

    char *dir;
    int listener;
    int hv;             /* accepted connection, or -1 */

    GString *irqs;      /* vectors seen and not yet taken, as digits */
    gsize uart_read;
} NitroVM;

/* A reply in host byte order */
typedef struct NitroTestReply {
    int32_t rc;
    uint64_t slot_uid, enclave_cid, slot_count, mem_regions, mem_size;
    uint64_t nr_vcpus, flags;
    uint16_t state;
} NitroTestReply;

/* A message as the hypervisor gets it, header in host byte order */
typedef struct NitroTestMessage {
    NitroControlHeader h;
    uint8_t body[NITRO_CONTROL_MAX_SIZE];
    size_t len;
} NitroTestMessage;

/*
 * Machine options, with a firmware file of zeroes where one is needed: no
 * guest code runs.  nitro_test_cleanup() removes it.
 */
const char *nitro_test_machine(void);
void nitro_test_cleanup(void);

/*
 * Boot with @options appended to the device; without the hypervisor's side
 * being accepted, without any register touched but PCI configuration.
 */
NitroVM *nitro_vm_boot(const char *options);
/* ... with the device where it can be unplugged, and not be reached */
NitroVM *nitro_vm_boot_pluggable(void);
/* ... then greeted by the hypervisor, MSI-X on, handshake done */
NitroVM *nitro_vm_new(const char *options);
void nitro_vm_free(NitroVM *vm);

/* MSI-X */
void nitro_vm_msix_enable(NitroVM *vm);
void nitro_vm_msix_write(NitroVM *vm, unsigned vector, uint64_t addr,
                         uint32_t data, bool masked);
void nitro_vm_msix_mask(NitroVM *vm, unsigned vector, bool masked);
uint64_t nitro_vm_irq_addr(NitroVM *vm, unsigned vector);
uint32_t nitro_vm_irq_data(NitroVM *vm, unsigned vector);
/* Number of interrupts of @vector since the last call; x86: 0 or 1 */
unsigned nitro_vm_irqs(NitroVM *vm, unsigned vector);
/* Both vectors in their order, as digits; arm only */
char *nitro_vm_irq_order(NitroVM *vm);

/* Registers */
uint8_t nitro_vm_enable(NitroVM *vm, uint8_t value);
uint16_t nitro_vm_version(NitroVM *vm, uint16_t value);
void nitro_vm_handshake(NitroVM *vm);
uint16_t nitro_vm_replies(NitroVM *vm);
uint16_t nitro_vm_events(NitroVM *vm);
void nitro_vm_wait_replies(NitroVM *vm, uint16_t count);
void nitro_vm_wait_events(NitroVM *vm, uint16_t count);
void nitro_vm_wait_enable(NitroVM *vm, uint8_t value);

/* Commands: write request and COMMAND; @args 64-bit fields, @nr of them */
void nitro_vm_submit(NitroVM *vm, uint32_t command, const uint64_t *args,
                     size_t nr);
NitroTestReply nitro_vm_reply(NitroVM *vm);
/* submit, see exactly one interrupt on vector 0, and return the reply */
NitroTestReply nitro_vm_command(NitroVM *vm, uint32_t command, uint64_t a,
                                uint64_t b, uint64_t c);
/* ... and return its result */
int nitro_vm_rc(NitroVM *vm, uint32_t command, uint64_t a, uint64_t b,
                uint64_t c);
/* see the reply of a command that the hypervisor had to answer */
NitroTestReply nitro_vm_take_reply(NitroVM *vm);

uint64_t nitro_vm_ram(NitroVM *vm, unsigned chunk);
uint64_t nitro_vm_alloc(NitroVM *vm);
/* a slot with chunk @n and vCPU @n, not started */
uint64_t nitro_vm_slot(NitroVM *vm, unsigned n);
/* ... and started; its CID goes to @cid, which may be NULL */
uint64_t nitro_vm_running(NitroVM *vm, unsigned n, uint64_t *cid);
/* submit START for a slot, with a wish for @cid; @m: what the hypervisor got */
void nitro_vm_submit_start(NitroVM *vm, uint64_t uid, uint64_t cid,
                           NitroTestMessage *m);
/* STOP or FREE of a slot the hypervisor knows, answered with 0 */
void nitro_vm_end(NitroVM *vm, uint32_t command, uint64_t uid);

/* Properties */
void nitro_vm_fault(NitroVM *vm, const char *faults);
void nitro_vm_raise_events(NitroVM *vm, unsigned nr);
bool nitro_vm_connected(NitroVM *vm);

/* The hypervisor's side */
void hv_accept(NitroVM *vm);
void hv_accept_and_greet(NitroVM *vm);
void hv_close(NitroVM *vm);
void hv_send(NitroVM *vm, const void *buf, size_t len);
/* a message with any header, @body may be NULL */
void hv_message(NitroVM *vm, uint32_t size, uint16_t type, uint16_t flags,
                uint32_t seq, int32_t rc, uint64_t uid, const void *body,
                size_t len);
/* receive; @type must be that of the message */
void hv_expect(NitroVM *vm, uint16_t type, NitroTestMessage *m);
/* nothing has come and the connection is there */
void hv_expect_silence(NitroVM *vm);
/* the device closes the connection */
void hv_expect_eof(NitroVM *vm);
void hv_reply(NitroVM *vm, const NitroTestMessage *m, int32_t rc);
void hv_exited(NitroVM *vm, uint64_t uid);

/* More tests of the same program */
void nitro_enclaves_add_command_tests(void);
void nitro_enclaves_add_fault_tests(void);
void nitro_enclaves_add_control_tests(void);

#endif /* NITRO_ENCLAVES_UTIL_H */
