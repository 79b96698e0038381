/*
 * Control channel between nitro-enclaves-pci and nitro-hypervisor
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The device keeps the slots: their uids, CIDs, states and the lists of
 * donated memory and vCPUs.  The hypervisor process runs the enclaves and
 * learns of a slot when it is started.  Both talk over one unix stream
 * socket: the hypervisor listens, the device connects.
 *
 * Rules of the channel
 *
 *  - Every message is a NitroControlHeader followed by the body of its type;
 *    header.size counts both.  Its lower bound is the header, its upper bound
 *    is NITRO_CONTROL_MAX_SIZE.  A body has exactly the size given below.
 *  - All fields are little-endian.  Unused fields and flag bits are sent as
 *    zero and ignored by the receiver.
 *  - A request of the device carries a seq that grows by one per message of
 *    a connection; its reply repeats type, seq and slot_uid, and has
 *    NITRO_CONTROL_FLAG_REPLY set.  Requests may be sent before earlier ones
 *    were answered, and are carried out in order.
 *  - rc is 0 in requests; in replies 0 or minus a Linux errno number from
 *    1 to 4095, which reaches the parent's driver unchanged.
 *  - HELLO is the first message of a connection.  A side that does not know
 *    the version of the other closes the connection.
 *  - A message that breaks these rules ends the connection.  With the
 *    connection every enclave ends, as with RESET; the device reports them
 *    to the parent as stopped.  The device may connect again and starts with
 *    HELLO; no slot survives on the hypervisor's side.
 *
 * Donated memory is named by the parent's guest-physical addresses.  The
 * enclave's memory is the concatenation of the regions in the order given;
 * the image starts NITRO_IMAGE_OFFSET bytes into it.
 */

#ifndef HW_NITRO_NITRO_CONTROL_H
#define HW_NITRO_NITRO_CONTROL_H

#include <stdint.h>
#include "qemu/compiler.h"

#define NITRO_CONTROL_VERSION       1
#define NITRO_CONTROL_MAX_SIZE      (64 * 1024)
#define NITRO_CONTROL_MAX_REGIONS   2048
#define NITRO_CONTROL_MAX_VCPUS     4096

/* NitroControlHeader.flags */
#define NITRO_CONTROL_FLAG_REPLY    0x0001

/* NitroControlStart.flags */
#define NITRO_CONTROL_START_DEBUG   0x0001

/**
 * enum NitroControlType: kinds of messages
 * @NITRO_CONTROL_HELLO: agree on the version; body #NitroControlHello both
 *     ways, slot_uid 0
 * @NITRO_CONTROL_START: start the enclave of slot_uid; body
 *     #NitroControlStart, then nr_regions times #NitroControlRegion, then
 *     nr_vcpus times a 32-bit vCPU id.  The reply has no body and is sent once
 *     the outcome is known: -EEXIST for a CID in use, -ENOMEM, -EIO and so
 *     on.  An image that cannot boot does not fail: EXITED follows, as on EC2
 *     (or -EINVAL, when the hypervisor is strict).  After a
 *     failure the slot may be started
 *     again, and FREE is still sent for it: what was begun may go on touching
 *     the memory until then.
 * @NITRO_CONTROL_STOP: end the enclave of slot_uid; no bodies.  Succeeds for
 *     an unknown or dead slot.  No EXITED follows the reply.
 * @NITRO_CONTROL_FREE: STOP where needed, scrub the donated memory, forget the
 *     slot; no bodies.  Succeeds for an unknown slot.  The reply comes after
 *     the last access to the donated memory: the parent reuses it at once.
 * @NITRO_CONTROL_RESET: end every enclave, forget every slot; no bodies,
 *     slot_uid 0.  Does not scrub: the parent may be restarting in that
 *     memory.  The reply comes after the last access to donated memory.
 * @NITRO_CONTROL_EXITED: (from the hypervisor, not answered, seq 0) the
 *     enclave of slot_uid ended by itself; body #NitroControlExited.  At most
 *     once per start, and never before the reply to START.
 */
typedef enum NitroControlType {
    NITRO_CONTROL_HELLO = 1,
    NITRO_CONTROL_START = 2,
    NITRO_CONTROL_STOP = 3,
    NITRO_CONTROL_FREE = 4,
    NITRO_CONTROL_RESET = 5,
    NITRO_CONTROL_EXITED = 16,
} NitroControlType;

/**
 * enum NitroControlCause: how an enclave ended
 * @NITRO_CONTROL_CAUSE_UNKNOWN: not known; status is 0
 * @NITRO_CONTROL_CAUSE_SHUTDOWN: the enclave powered off or reset; status is 0
 * @NITRO_CONTROL_CAUSE_ERROR: its process failed; status is the exit code
 * @NITRO_CONTROL_CAUSE_SIGNAL: its process was killed; status is the signal
 * @NITRO_CONTROL_CAUSE_IMAGE: its image cannot boot; status is 0
 *
 * For reports only; the device takes any value.
 */
typedef enum NitroControlCause {
    NITRO_CONTROL_CAUSE_UNKNOWN = 0,
    NITRO_CONTROL_CAUSE_SHUTDOWN = 1,
    NITRO_CONTROL_CAUSE_ERROR = 2,
    NITRO_CONTROL_CAUSE_SIGNAL = 3,
    NITRO_CONTROL_CAUSE_IMAGE = 4,
} NitroControlCause;

typedef struct NitroControlHeader {
    uint32_t size;      /* whole message, in bytes */
    uint16_t type;      /* NitroControlType */
    uint16_t flags;     /* NITRO_CONTROL_FLAG_* */
    uint32_t seq;
    int32_t rc;
    uint64_t slot_uid;
} QEMU_PACKED NitroControlHeader;

QEMU_BUILD_BUG_ON(sizeof(NitroControlHeader) != 24);

typedef struct NitroControlHello {
    uint32_t version;   /* NITRO_CONTROL_VERSION */
    uint32_t pad;
} QEMU_PACKED NitroControlHello;

QEMU_BUILD_BUG_ON(sizeof(NitroControlHello) != 8);

typedef struct NitroControlStart {
    uint64_t cid;           /* effective, unique among live slots, >= 4 */
    uint64_t flags;         /* NITRO_CONTROL_START_* */
    uint32_t nr_regions;    /* 1 ... NITRO_CONTROL_MAX_REGIONS */
    uint32_t nr_vcpus;      /* 1 ... NITRO_CONTROL_MAX_VCPUS */
} QEMU_PACKED NitroControlStart;

QEMU_BUILD_BUG_ON(sizeof(NitroControlStart) != 24);

typedef struct NitroControlRegion {
    uint64_t paddr;     /* guest-physical in the parent, 2 MiB aligned */
    uint64_t size;      /* multiple of 2 MiB, not 0 */
} QEMU_PACKED NitroControlRegion;

QEMU_BUILD_BUG_ON(sizeof(NitroControlRegion) != 16);

typedef struct NitroControlExited {
    uint32_t cause;     /* NitroControlCause */
    uint32_t status;
} QEMU_PACKED NitroControlExited;

QEMU_BUILD_BUG_ON(sizeof(NitroControlExited) != 8);

/* The largest START fits into one message */
QEMU_BUILD_BUG_ON(sizeof(NitroControlHeader) + sizeof(NitroControlStart) +
                  NITRO_CONTROL_MAX_REGIONS * sizeof(NitroControlRegion) +
                  NITRO_CONTROL_MAX_VCPUS * sizeof(uint32_t) >
                  NITRO_CONTROL_MAX_SIZE);

#endif /* HW_NITRO_NITRO_CONTROL_H */
