/*
 * vhost-user back end of one VM's vsock device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Serves the rx and tx queues of a virtio-vsock device over a vhost-user
 * connection to the QEMU that has the device, and carries the packets to and
 * from the switch.  The VM is attached to the switch for as long as its
 * driver has both queues running.  (The event queue is QEMU's.)
 *
 * Nothing the guest puts into its queues ends the process: packets are the
 * switch's business, and a broken queue costs the VM its connection.
 */

#ifndef NHV_VSOCK_DEVICE_H
#define NHV_VSOCK_DEVICE_H

#include "switch.h"

typedef struct NhvVsockDevice NhvVsockDevice;

/* Reason when QEMU, and not this process, closed the connection */
#define NHV_VSOCK_CLOSED_BY_PEER "closed by QEMU"

/**
 * NhvVsockDeviceOps: called about the vhost-user connection
 * @ready: QEMU has read the device's configuration, so the device exists
 * @closed: the connection is gone, the device may be freed; @why is a phrase
 */
typedef struct NhvVsockDeviceOps {
    void (*ready)(void *opaque);
    void (*closed)(void *opaque, const char *why);
} NhvVsockDeviceOps;

/**
 * nhv_vsock_device_new: serve a vhost-user connection
 * @sw: switch to attach to
 * @cid: CID of the VM, also what its driver reads
 * @fd: connected socket, owned by the device from now on
 * @ops: callbacks, called from the main loop and never from within the
 *       functions of this file
 * @opaque: passed to @ops
 */
NhvVsockDevice *nhv_vsock_device_new(NhvSwitch *sw, uint32_t cid, int fd,
                                     const NhvVsockDeviceOps *ops,
                                     void *opaque);

/**
 * nhv_vsock_device_free: close the connection; @ops are not called any more
 * @dev: the device, or NULL
 */
void nhv_vsock_device_free(NhvVsockDevice *dev);

/**
 * nhv_vsock_device_map: find guest memory
 * @dev: the device
 * @gpa: guest-physical address
 * @len: bytes wanted; reduced to what is contiguous at the result
 *
 * The guest's memory is known once its vsock driver is running.  The pointer
 * is good until control returns to the main loop.
 *
 * Returns: the memory, or NULL when nothing is known at @gpa.
 */
void *nhv_vsock_device_map(NhvVsockDevice *dev, uint64_t gpa,
                           uint64_t *len);

#endif
