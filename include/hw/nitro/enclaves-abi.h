/*
 * Nitro Enclaves PCI function: what the parent's driver sees
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Numbers and layouts only, shared by the device and its tests.
 *
 * BAR 3, little-endian:
 *
 *   0x000  1  ENABLE     0 off, 1 on; other values read back while disabling
 *   0x002  2  VERSION    wanted version written, accepted version read
 *   0x004  4  COMMAND    a command number written here submits it
 *   0x00c  4  EVTCNT     low half: replies, high half: events (read only)
 *   0x010     SEND_DATA  request of the command, 240 bytes
 *   0x100     RECV_DATA  reply of the last command, 240 bytes (read only)
 *
 * MSI-X vector 0 says that RECV_DATA holds a reply, vector 1 that a started
 * enclave changed its state.
 */

#ifndef HW_NITRO_ENCLAVES_ABI_H
#define HW_NITRO_ENCLAVES_ABI_H

#include <stddef.h>
#include <stdint.h>
#include "qemu/compiler.h"

#define NITRO_PCI_VENDOR_ID         0x1d0f
#define NITRO_PCI_DEVICE_ID         0xe4c1
#define NITRO_PCI_BAR               3
#define NITRO_PCI_BAR_SIZE          0x1000
#define NITRO_PCI_VERSION           1

#define NITRO_PCI_VECTOR_REPLY      0
#define NITRO_PCI_VECTOR_EVENT      1
#define NITRO_PCI_NR_VECTORS        2

#define NITRO_PCI_REG_ENABLE        0x00
#define NITRO_PCI_REG_VERSION       0x02
#define NITRO_PCI_REG_COMMAND       0x04
#define NITRO_PCI_REG_EVTCNT        0x0c
#define NITRO_PCI_REG_SEND          0x10
#define NITRO_PCI_REG_RECV          0x100
#define NITRO_PCI_DATA_SIZE         240

/* Automatic CIDs count up from this */
#define NITRO_PCI_CID_FIRST_AUTO    16

#define NITRO_PCI_START_DEBUG       0x1

/* Payloads are rows of 64-bit fields, named behind each command */
typedef enum NitroPciCommand {
    NITRO_PCI_CMD_START = 1,        /* slot_uid, enclave_cid, flags */
    NITRO_PCI_CMD_GET_SLOT = 2,     /* enclave_cid */
    NITRO_PCI_CMD_STOP = 3,         /* slot_uid */
    NITRO_PCI_CMD_ALLOC = 4,        /* one unused byte */
    NITRO_PCI_CMD_FREE = 5,         /* slot_uid */
    NITRO_PCI_CMD_ADD_MEM = 6,      /* slot_uid, paddr, size */
    NITRO_PCI_CMD_ADD_VCPU = 7,     /* slot_uid, vcpu_id (32 bits) + pad */
    NITRO_PCI_CMD_COUNT = 8,        /* one unused byte */
    NITRO_PCI_CMD_NEXT = 9,         /* slot_uid */
    NITRO_PCI_CMD_INFO = 10,        /* slot_uid */
    NITRO_PCI_CMD_ADD_BULK = 11,    /* slot_uid, nr_vcpus */
    NITRO_PCI_CMD__MAX
} NitroPciCommand;

typedef enum NitroSlotState {
    NITRO_SLOT_INIT = 0,
    NITRO_SLOT_RUNNING = 2,
    NITRO_SLOT_STOPPED = 0xffff,
} NitroSlotState;

typedef struct NitroPciReply {
    int32_t rc;             /* 0, or minus a Linux errno number */
    uint32_t pad0;
    uint64_t slot_uid;      /* all but COUNT */
    uint64_t enclave_cid;   /* START */
    uint64_t slot_count;    /* COUNT */
    uint64_t mem_regions;   /* ALLOC: limit; INFO: regions of the slot */
    uint64_t mem_size;      /* INFO */
    uint64_t nr_vcpus;      /* INFO */
    uint64_t flags;         /* INFO */
    uint16_t state;         /* INFO: NitroSlotState */
    uint8_t pad1[6];
} QEMU_PACKED NitroPciReply;

QEMU_BUILD_BUG_ON(sizeof(NitroPciReply) != 72);
QEMU_BUILD_BUG_ON(offsetof(NitroPciReply, slot_uid) != 8);
QEMU_BUILD_BUG_ON(offsetof(NitroPciReply, mem_regions) != 32);
QEMU_BUILD_BUG_ON(offsetof(NitroPciReply, state) != 64);

#endif /* HW_NITRO_ENCLAVES_ABI_H */
