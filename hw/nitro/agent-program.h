/*
 * Nitro Enclaves: what is known of an enclave's program
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The contents of the init's frames, without the connection that they come
 * from: the program's output, which goes to character devices, and its state.
 * docs/system/nitro-agent.rst has the layouts.
 *
 * Needs the BQL; nothing blocks.
 */

#ifndef HW_NITRO_AGENT_PROGRAM_H
#define HW_NITRO_AGENT_PROGRAM_H

#include "chardev-output.h"
#include "qapi/qapi-types-nitro.h"

/* Shortest payloads */
#define NITRO_AGENT_STATE_HEAD  5
#define NITRO_AGENT_OUTPUT_HEAD 9

/* Exit status for a program that could not be run, as in container tools */
#define NITRO_AGENT_NOT_RUN 125

/**
 * NitroTaken: what became of a frame
 * @NITRO_TAKEN: all of it was taken
 * @NITRO_TAKEN_LATER: there is no room for all of it; what was taken will be
 *     skipped when the same frame is tried again
 * @NITRO_TAKEN_FAULT: it breaks the protocol; nothing has changed
 */
typedef enum NitroTaken {
    NITRO_TAKEN,
    NITRO_TAKEN_LATER,
    NITRO_TAKEN_FAULT,
} NitroTaken;

/**
 * NitroAgentProgram: the program of one enclave
 * @outputs: for stdout and stderr, set and freed by the owner.  Without the
 *     second one both go to the first, without any they are forgotten.
 * @cid: of the enclave, for messages
 * @position: output before it was taken
 * @missed: bytes that the enclave has dropped
 */
typedef struct NitroAgentProgram {
    NitroOutput *outputs[2];
    uint32_t cid;
    NitroApplicationState state;
    uint32_t value;                     /* status, or number of the signal */
    char *reason;                       /* why it could not be run, or NULL */
    uint64_t position;
    uint64_t missed;
    uint64_t bytes[2];
} NitroAgentProgram;

/* Forget everything but the outputs, also before the first enclave */
void nitro_program_restart(NitroAgentProgram *program);

/**
 * nitro_program_take_output: copy output to where it belongs
 * @payload: of a frame OUTPUT
 * @len: NITRO_AGENT_OUTPUT_HEAD or more
 */
NitroTaken nitro_program_take_output(NitroAgentProgram *program,
                                     const uint8_t *payload, uint32_t len);

/**
 * nitro_program_take_state: note what became of it
 * @payload: of a frame STATE
 * @len: NITRO_AGENT_STATE_HEAD or more
 *
 * The first end counts, and is reported to the user.
 */
NitroTaken nitro_program_take_state(NitroAgentProgram *program,
                                    const uint8_t *payload, uint32_t len);

bool nitro_program_has_ended(const NitroAgentProgram *program);

/* Is there output that a reader waits for? */
bool nitro_program_is_pending(const NitroAgentProgram *program);

/**
 * nitro_program_status: exit status, as a shell has it
 *
 * Returns: 0 unless it has ended
 */
int nitro_program_status(const NitroAgentProgram *program);

/**
 * nitro_program_query: state and amounts
 *
 * Returns: all but the connection; to be freed by the caller
 */
NitroEnclaveApplication *nitro_program_query(const NitroAgentProgram *program);

#endif
