/*
 * Nitro Enclaves: heartbeat device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The init process of an enclave connects to vsock port 9000 of the parent
 * as soon as it has /dev, sends one byte 0xB7 and waits for the same byte.
 * Official images end themselves when nobody answers.  This device answers
 * once per launch and then frees the port for the next enclave on the same
 * parent.
 *
 * The port is one per parent.  Whoever finds it taken waits for its turn, for
 * property "port-timeout" at most; the launch that has it gives it back with
 * its heartbeat, or its end.
 *
 * The port is opened before NE_START_ENCLAVE.  Whoever connects before the
 * driver has told the CID stays in the listener's queue and is judged once
 * the CID is known.
 */

#ifndef HW_NITRO_HEARTBEAT_H
#define HW_NITRO_HEARTBEAT_H

#include "hw/nitro/nitro-vsock-bus.h"
#include "qapi/qapi-types-nitro.h"

#define TYPE_NITRO_HEARTBEAT "nitro-heartbeat"
OBJECT_DECLARE_SIMPLE_TYPE(NitroHeartbeat, NITRO_HEARTBEAT)

typedef struct NitroHeartbeatServer NitroHeartbeatServer;

/* Property "timeout": what nitro-cli allows for image and memory */
#define NITRO_HEARTBEAT_TIMEOUT_AUTO (-1)

/**
 * NitroHeartbeat: the device
 * @timeout: property, seconds for the boot; 0: no limit
 * @timeout_action: property
 * @port_timeout: property, seconds to wait for a port that is taken
 */
struct NitroHeartbeat {
    NitroVsockDevice parent_obj;

    int32_t timeout;
    NitroHeartbeatAction timeout_action;
    uint32_t port_timeout;

    NitroHeartbeatServer *server;
    int64_t since_ms;                   /* QEMU_CLOCK_REALTIME, of waiting */
    int64_t received_ms;
};

/**
 * nitro_heartbeat_query: tell state and times
 * @hb: the device
 *
 * Returns: to be freed by the caller
 */
NitroEnclaveHeartbeat *nitro_heartbeat_query(NitroHeartbeat *hb);

#endif
