/*
 * Control channel of the Nitro Enclaves PCI function, the device's side
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sends requests to the hypervisor process and sorts what comes back.  The
 * messages are described in include/hw/nitro/nitro-control.h.
 *
 * Nothing here waits.  Requests are queued and written from the main loop;
 * replies, reports and the loss of the connection arrive through the handlers,
 * always from the main loop with the BQL held and never from within a call of
 * the owner.  A peer that breaks the protocol, or leaves a request unanswered
 * for too long, is reported and disconnected.  Whether it is connected again is
 * up to the character device (reconnect-ms).
 *
 * All functions need the BQL.
 */

#ifndef HW_NITRO_ENCLAVES_CONTROL_H
#define HW_NITRO_ENCLAVES_CONTROL_H

#include "chardev/char-fe.h"
#include "hw/nitro/nitro-control.h"
#include "hw/qdev-core.h"

/**
 * struct NitroControlHandlers: calls to the owner
 * @reply: a request was answered; @rc is 0 or -4095 ... -1
 * @exited: the enclave of @slot_uid ended by itself
 * @lost: a connection ended; nothing sent on it will be answered, and every
 *     enclave on the other side is gone
 */
typedef struct NitroControlHandlers {
    void (*reply)(void *opaque, NitroControlType type, uint32_t seq,
                  uint64_t slot_uid, int32_t rc);
    void (*exited)(void *opaque, uint64_t slot_uid, uint32_t cause,
                   uint32_t status);
    void (*lost)(void *opaque);
} NitroControlHandlers;

/* Large enough for every message the hypervisor may send */
#define NITRO_CONTROL_IN_SIZE \
    (sizeof(NitroControlHeader) + sizeof(NitroControlHello))

/**
 * struct NitroControlChannel: private except @ready
 * @chr: the character device, owned by the device
 * @timeout_ms: longest time for an answer, in guest time
 * @open: there is a connection and it has not failed
 * @ready: and HELLO was answered
 * @failed: waiting to be disconnected, input is ignored
 * @seq: of the last request on this connection
 * @in, @in_len: message being received
 * @out: bytes to be written
 * @waiting: requests without an answer, oldest first
 */
typedef struct NitroControlChannel {
    CharBackend *chr;
    const NitroControlHandlers *handlers;
    void *opaque;
    uint32_t timeout_ms;

    bool open;
    bool ready;
    bool failed;
    uint32_t seq;
    uint8_t in[NITRO_CONTROL_IN_SIZE];
    size_t in_len;
    GByteArray *out;
    guint out_watch;
    GArray *waiting;
    QEMUTimer *timer;
    QEMUBH *bh;
} NitroControlChannel;

/**
 * nitro_control_init: watch the character device and greet who is there
 * @ch: uninitialised memory
 * @chr: connected to a character device; stays with the caller
 * @dev: device whose reentrancy guard covers the handlers
 * @timeout_ms: longest time for an answer, in guest time
 * @handlers: called with @opaque; live as long as @ch
 */
void nitro_control_init(NitroControlChannel *ch, CharBackend *chr,
                        DeviceState *dev, uint32_t timeout_ms,
                        const NitroControlHandlers *handlers, void *opaque);

/**
 * nitro_control_cleanup: disconnect and release all; no handler is called
 * @ch: an initialised channel
 */
void nitro_control_cleanup(NitroControlChannel *ch);

/**
 * nitro_control_send: queue one request
 * @ch: the channel
 * @type: kind of request
 * @slot_uid: the slot it is about, or 0
 * @body: bytes behind the header, copied; may be NULL when @len is 0
 * @len: at most NITRO_CONTROL_MAX_SIZE less the header
 *
 * Returns: the seq of the request, not 0, or 0 when there is no connection or
 * too much of it is waiting; the connection is dropped in the latter case.
 */
uint32_t nitro_control_send(NitroControlChannel *ch, NitroControlType type,
                            uint64_t slot_uid, const void *body, size_t len);

#endif /* HW_NITRO_ENCLAVES_CONTROL_H */
