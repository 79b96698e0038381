/*
 * Fault injection of the Nitro Enclaves PCI function
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A fault list is text: rules separated by ';', each
 *
 *     POINT:CALLS:ACTION
 *
 * POINT is a command (START GET_SLOT STOP ALLOC FREE ADD_MEM ADD_VCPU COUNT
 * NEXT INFO ADD_BULK), a write to a register (ENABLE for writing 1, DISABLE
 * for writing 0, VERSION) or EVENT for the interrupt that reports an ended
 * enclave.  CALLS is N (the N-th call since the list was set, from 1), N+ (it
 * and all later ones) or * (all).  Several rules may meet in one call.
 *
 * ACTION for commands:
 *
 *     -N         reply rc -N (1 ... 4095), do not carry the command out
 *     N          carry it out, reply the positive rc N
 *     silence    neither carry it out nor reply
 *     noreply    carry it out, do not reply
 *     late=MS    carry it out, reply MS milliseconds (guest time) later
 *     stale      carry it out, interrupt, leave the old reply in place
 *     event      carry it out, write the reply, interrupt on vector 1
 *     again=MS   one more interrupt MS milliseconds after the reply
 *     uid=N cid=N regions=N state=N
 *                put N into that field of the reply
 *
 * for EVENT: silence (the state changes, the interrupt is lost).
 * For registers: N, the value that is read back.
 *
 * Numbers are decimal, or hexadecimal with 0x.
 */

#ifndef HW_NITRO_ENCLAVES_FAULT_H
#define HW_NITRO_ENCLAVES_FAULT_H

#include "hw/nitro/enclaves-abi.h"

/* The commands count as points under their own numbers */
typedef enum NitroFaultPoint {
    NITRO_FAULT_ENABLE = NITRO_PCI_CMD__MAX,
    NITRO_FAULT_DISABLE,
    NITRO_FAULT_VERSION,
    NITRO_FAULT_EVENT,
    NITRO_FAULT_POINT__MAX
} NitroFaultPoint;

typedef enum NitroFaultField {
    NITRO_FAULT_UID,
    NITRO_FAULT_CID,
    NITRO_FAULT_REGIONS,
    NITRO_FAULT_STATE,
    NITRO_FAULT_FIELD__MAX
} NitroFaultField;

/**
 * struct NitroFault: what goes wrong in one call; all zero means nothing
 * @silence: do not carry out, do not reply; for EVENT: no interrupt
 * @noreply: carry out, do not reply
 * @stale: leave RECV_DATA alone
 * @wrong_vector: reply on the vector of events
 * @has_value: @value is the rc of the reply or the value to read back
 * @value: negative: the command is not carried out
 * @late_ms: delay of the reply, 0 for none
 * @again_ms: delay of a second interrupt, 0 for none
 * @fields: bit per NitroFaultField whose @field counts
 */
typedef struct NitroFault {
    bool silence;
    bool noreply;
    bool stale;
    bool wrong_vector;
    bool has_value;
    int32_t value;
    uint32_t late_ms;
    uint32_t again_ms;
    uint32_t fields;
    uint64_t field[NITRO_FAULT_FIELD__MAX];
} NitroFault;

/**
 * struct NitroFaults: a fault list with its counters; all zero is empty
 * @text: the list as it was set, or NULL
 * @rules: internal
 * @calls: calls per point since the list was set
 */
typedef struct NitroFaults {
    char *text;
    GArray *rules;
    uint32_t calls[NITRO_FAULT_POINT__MAX];
} NitroFaults;

/**
 * nitro_faults_set: replace the list and start counting anew
 * @faults: the list
 * @text: rules as above; the empty string clears the list
 * @errp: filled in on failure; names the rule and what is allowed there
 *
 * Returns: true on success; on false the list is unchanged.
 */
bool nitro_faults_set(NitroFaults *faults, const char *text, Error **errp);

/**
 * nitro_faults_take: count one call and say what goes wrong in it
 * @faults: the list
 * @point: NitroPciCommand or NitroFaultPoint
 *
 * Returns: the fault of this call.
 */
NitroFault nitro_faults_take(NitroFaults *faults, unsigned point);

/**
 * nitro_faults_clear: release what the list holds; it is empty afterwards
 * @faults: the list
 */
void nitro_faults_clear(NitroFaults *faults);

/**
 * nitro_fault_point_name: name of a command or point, "unknown" for others
 * @point: any number
 */
const char *nitro_fault_point_name(unsigned point);

#endif /* HW_NITRO_ENCLAVES_FAULT_H */
