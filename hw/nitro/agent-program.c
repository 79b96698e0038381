/*
 * Nitro Enclaves: what is known of an enclave's program
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Positions count the bytes of both streams from the program's start.  What
 * was not confirmed comes again on the next connection and is skipped; a gap
 * is what the enclave has dropped.
 */

#include "qemu/osdep.h"
#include "agent-program.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "trace.h"

/* Bytes of a reason that are kept */
#define REASON_MAX 256

bool nitro_program_has_ended(const NitroAgentProgram *program)
{
    return program->state >= NITRO_APPLICATION_STATE_EXITED;
}

int nitro_program_status(const NitroAgentProgram *program)
{
    switch (program->state) {
    case NITRO_APPLICATION_STATE_EXITED:
        return program->value & 255;
    case NITRO_APPLICATION_STATE_SIGNALLED:
        return 128 + (program->value & 127);
    case NITRO_APPLICATION_STATE_FATAL:
        return NITRO_AGENT_NOT_RUN;
    default:
        return 0;
    }
}

static uint64_t dropped(const NitroAgentProgram *program)
{
    uint64_t bytes = program->missed;

    for (int i = 0; i < 2; i++) {
        if (program->outputs[i]) {
            bytes += nitro_output_dropped(program->outputs[i]);
        }
    }
    return bytes;
}

NitroEnclaveApplication *nitro_program_query(const NitroAgentProgram *program)
{
    NitroEnclaveApplication *info = g_new0(NitroEnclaveApplication, 1);

    info->state = program->state;
    info->has_status = program->state == NITRO_APPLICATION_STATE_EXITED;
    info->status = info->has_status ? program->value : 0;
    info->has_signal = program->state == NITRO_APPLICATION_STATE_SIGNALLED;
    info->signal = info->has_signal ? program->value : 0;
    info->reason = g_strdup(program->reason);
    info->stdout_bytes = program->bytes[0];
    info->stderr_bytes = program->bytes[1];
    info->dropped = dropped(program);
    return info;
}

bool nitro_program_is_pending(const NitroAgentProgram *program)
{
    for (int i = 0; i < 2; i++) {
        if (program->outputs[i] && nitro_output_pending(program->outputs[i])) {
            return true;
        }
    }
    return false;
}

void nitro_program_restart(NitroAgentProgram *program)
{
    program->state = NITRO_APPLICATION_STATE_UNKNOWN;
    program->value = 0;
    g_clear_pointer(&program->reason, g_free);
    program->position = program->missed = 0;
    for (int i = 0; i < 2; i++) {
        program->bytes[i] = 0;
        if (program->outputs[i]) {
            nitro_output_restart(program->outputs[i]);
        }
    }
}

/* State */

static void report_end(const NitroAgentProgram *program)
{
    switch (program->state) {
    case NITRO_APPLICATION_STATE_EXITED:
        info_report("the program of the enclave with CID %" PRIu32 " has "
                    "exited with status %" PRIu32, program->cid,
                    program->value);
        break;
    case NITRO_APPLICATION_STATE_SIGNALLED:
        info_report("the program of the enclave with CID %" PRIu32 " was "
                    "ended by signal %" PRIu32, program->cid, program->value);
        break;
    case NITRO_APPLICATION_STATE_FATAL:
        warn_report("the init of the enclave with CID %" PRIu32 " could not "
                    "run the program: %s", program->cid, program->reason);
        break;
    default:
        break;
    }
}

/* Text of an enclave: what could control a terminal is replaced */
static char *printable(const uint8_t *text, uint32_t len)
{
    char *valid = g_utf8_make_valid((const char *)text, MIN(len, REASON_MAX));

    for (char *p = valid; *p; p++) {
        if (g_ascii_iscntrl(*p)) {
            *p = '?';
        }
    }
    return valid;
}

/* The init keeps some output, and drops the oldest when more comes */
static void report_missed(const NitroAgentProgram *program)
{
    if (program->missed && nitro_program_has_ended(program)) {
        warn_report("%" PRIu64 " bytes of the program's output are missing: "
                    "they came faster than the enclave with CID %" PRIu32
                    " could send them; with 'output block' in its image's "
                    "configuration the program waits", program->missed,
                    program->cid);
    }
}

NitroTaken nitro_program_take_state(NitroAgentProgram *program,
                                    const uint8_t *payload, uint32_t len)
{
    static const NitroApplicationState states[] = {
        NITRO_APPLICATION_STATE_BOOTING, NITRO_APPLICATION_STATE_RUNNING,
        NITRO_APPLICATION_STATE_EXITED, NITRO_APPLICATION_STATE_SIGNALLED,
        NITRO_APPLICATION_STATE_FATAL,
    };

    if (payload[0] >= ARRAY_SIZE(states)) {
        return NITRO_TAKEN_FAULT;
    }
    if (nitro_program_has_ended(program)) {
        return NITRO_TAKEN;
    }
    program->state = states[payload[0]];
    program->value = ldl_be_p(payload + 1);
    if (program->state == NITRO_APPLICATION_STATE_FATAL) {
        program->reason = printable(payload + NITRO_AGENT_STATE_HEAD,
                                    len - NITRO_AGENT_STATE_HEAD);
    }
    trace_nitro_program_state(program, program->cid,
                              NitroApplicationState_str(program->state),
                              program->value);
    report_missed(program);
    report_end(program);
    return NITRO_TAKEN;
}

/* Output */

static bool put_output(NitroAgentProgram *program, unsigned stream,
                       const uint8_t *data, uint64_t len)
{
    NitroOutput *output = program->outputs[stream] ?: program->outputs[0];

    while (len) {
        uint32_t some = output ? MIN(nitro_output_room(output), len) : len;

        if (!some) {
            return false;
        }
        if (output) {
            nitro_output_put(output, data, some);
        }
        program->bytes[stream] += some;
        program->position += some;
        data += some;
        len -= some;
    }
    return true;
}

NitroTaken nitro_program_take_output(NitroAgentProgram *program,
                                     const uint8_t *payload, uint32_t len)
{
    uint64_t begin = ldq_be_p(payload);
    unsigned stream = payload[8];
    uint64_t size = len - NITRO_AGENT_OUTPUT_HEAD;

    if (stream < 1 || stream > 2 || begin > UINT64_MAX - size) {
        return NITRO_TAKEN_FAULT;
    }
    if (begin > program->position) {
        program->missed += begin - program->position;
        program->position = begin;
    }
    if (program->position >= begin + size) {
        return NITRO_TAKEN;
    }
    payload += NITRO_AGENT_OUTPUT_HEAD + (program->position - begin);
    size -= program->position - begin;
    return put_output(program, stream - 1, payload, size)
           ? NITRO_TAKEN : NITRO_TAKEN_LATER;
}
