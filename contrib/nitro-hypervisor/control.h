/*
 * Control channel to the parent's nitro-enclaves-pci: messages
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames and checks messages, does the handshake, and keeps replies that the
 * device does not take at once.  The format is in hw/nitro/nitro-control.h.
 * A device that breaks its rules is disconnected.
 */

#ifndef NHV_CONTROL_CHANNEL_H
#define NHV_CONTROL_CHANNEL_H

#include "hw/nitro/nitro-control.h"

typedef struct NhvControl NhvControl;

/**
 * NhvControlOps: called from the main loop
 * @request: a request other than HELLO; @header in host byte order, @body
 *           little-endian and of the size its type asks for.  Returns false
 *           to get no more requests until nhv_control_continue()
 * @lost: the device has disconnected or had to go, @why is a phrase;
 *        nhv_control_resume() lets another one connect
 */
typedef struct NhvControlOps {
    bool (*request)(void *opaque, const NitroControlHeader *header,
                    const void *body);
    void (*lost)(void *opaque, const char *why);
} NhvControlOps;

/**
 * nhv_control_new: wait for a device
 * @path: unix socket to listen on
 * @ops: callbacks
 * @opaque: passed to @ops
 * @errp: filled in on failure
 *
 * Returns: the channel, or NULL.
 */
NhvControl *nhv_control_new(const char *path, const NhvControlOps *ops,
                            void *opaque, Error **errp);

/**
 * nhv_control_free: disconnect and stop listening; @ops are not called
 * @control: the channel, or NULL
 */
void nhv_control_free(NhvControl *control);

/**
 * nhv_control_resume: accept the next device
 * @control: a channel that has lost its device
 */
void nhv_control_resume(NhvControl *control);

/**
 * nhv_control_continue: go on with the next request
 * @control: the channel; @request has returned false
 */
void nhv_control_continue(NhvControl *control);

/**
 * nhv_control_reply: answer a request
 * @control: the channel; nothing happens when the device has gone
 * @request: header of the request, host byte order
 * @rc: 0 or -errno
 */
void nhv_control_reply(NhvControl *control,
                       const NitroControlHeader *request, int rc);

/**
 * nhv_control_exited: report that an enclave ended by itself
 * @control: the channel; nothing happens when the device has gone
 * @slot_uid: which one
 * @cause: NITRO_CONTROL_CAUSE_*
 * @status: exit status or signal
 */
void nhv_control_exited(NhvControl *control, uint64_t slot_uid,
                        uint32_t cause, uint32_t status);

#endif
