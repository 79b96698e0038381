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
 * The port is one per parent.  A launch that finds it taken waits, for property
 * "port-timeout" at most.  The port becomes free at the heartbeat, or at the
 * end, of the launch that has it.
 *
 * The port is opened before NE_START_ENCLAVE.  A peer that connects before
 * the driver has reported the CID stays in the listener's queue and is judged
 * once the CID is known.
 */

#ifndef HW_NITRO_HEARTBEAT_H
#define HW_NITRO_HEARTBEAT_H

#include "hw/nitro/nitro-vsock-bus.h"
#include "qapi/qapi-types-nitro.h"

#define TYPE_NITRO_HEARTBEAT "nitro-heartbeat"
OBJECT_DECLARE_SIMPLE_TYPE(NitroHeartbeat, NITRO_HEARTBEAT)

#define NITRO_HEARTBEAT_BYTE 0xb7

/* Connections of the enclave that may be open at the same time */
#define NITRO_HEARTBEAT_MAX_PEERS 8

/* A connection that has not sent its byte after this time is dropped. */
#define NITRO_HEARTBEAT_PEER_TIMEOUT_MS 5000

/**
 * nitro_heartbeat_query: report state and times
 * @hb: the device
 *
 * Returns: to be freed by the caller
 */
NitroEnclaveHeartbeat *nitro_heartbeat_query(NitroHeartbeat *hb);

#endif
