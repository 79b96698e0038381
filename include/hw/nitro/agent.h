/*
 * Nitro Enclaves: agent device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parent's end of the control connection of nitro-init, process 1 of an
 * enclave that runs an ordinary program; docs/system/nitro-agent.rst has the
 * protocol.  From the start on, the device listens on the port of the parent
 * that follows from property "port" and the enclave's CID, and accepts
 * connections of this enclave only, one at a time.  It copies the program's
 * output to character devices, knows what has become of the program, and passes
 * system_powerdown on as the program's stop signal.
 *
 * All input is checked: a frame that breaks the protocol closes the connection.
 * One frame and the backlogs bound the data that waits.
 */

#ifndef HW_NITRO_AGENT_H
#define HW_NITRO_AGENT_H

#include "hw/nitro/nitro-vsock-bus.h"
#include "qapi/qapi-types-nitro.h"

#define TYPE_NITRO_AGENT "nitro-agent"
OBJECT_DECLARE_SIMPLE_TYPE(NitroAgent, NITRO_AGENT)

#define NITRO_AGENT_PORT 9001

/* A frame: type u8, three zeros, length u32 of the payload; big-endian */
#define NITRO_AGENT_VERSION 1
#define NITRO_AGENT_HEAD 8
#define NITRO_AGENT_MAX_PAYLOAD (64 * 1024)

typedef enum NitroAgentFrame {
    /* From the init */
    NITRO_AGENT_HELLO = 1,      /* version u16, flags u16 */
    NITRO_AGENT_STATE = 2,      /* kind u8, value u32, text */
    NITRO_AGENT_OUTPUT = 3,     /* position u64, stream u8, data */
    NITRO_AGENT_REFUSED = 4,    /* text */
    /* To the init; what adds to the program (16 to 18) is not used here */
    NITRO_AGENT_GO = 19,
    NITRO_AGENT_STOP = 20,
    NITRO_AGENT_TAKEN = 22,     /* position u64 */
    NITRO_AGENT_END = 23,
} NitroAgentFrame;

/* Flag of HELLO: the init waits for GO before it starts the program */
#define NITRO_AGENT_WAITS_FOR_GO 1

/**
 * nitro_agent_query: report state and amounts
 * @a: the device
 *
 * Returns: to be freed by the caller
 */
NitroEnclaveApplication *nitro_agent_query(NitroAgent *a);

#endif
