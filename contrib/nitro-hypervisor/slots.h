/*
 * Slots: which enclaves there are, and what the device asked for
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Carries out the requests of the control channel.  A request that takes time
 * is answered when it is done; nothing here waits.
 */

#ifndef NITRO_SLOTS_H
#define NITRO_SLOTS_H

#include "control.h"
#include "enclave.h"

typedef struct NitroSlots NitroSlots;

/**
 * NitroSlotsIdle: called from the main loop when the last enclave is gone
 * @opaque: as given to nitro_slots_new()
 */
typedef void NitroSlotsIdle(void *opaque);

/**
 * nitro_slots_new: create an empty table
 * @host: what enclaves live in
 * @idle: told when no enclave is left after nitro_slots_reset() or
 *        nitro_slots_close()
 * @opaque: passed to @idle
 */
NitroSlots *nitro_slots_new(const NitroEnclaveHost *host,
                            NitroSlotsIdle *idle, void *opaque);

/**
 * nitro_slots_free: free an empty table
 * @slots: the table, or NULL
 */
void nitro_slots_free(NitroSlots *slots);

/**
 * nitro_slots_connect: say where requests come from and memory is
 * @slots: the table
 * @control: channel for replies and events
 * @parent: the parent VM
 */
void nitro_slots_connect(NitroSlots *slots, NitroControl *control,
                         NitroParent *parent);

/**
 * nitro_slots_request: carry out a request
 * @slots: the table
 * @header: host byte order
 * @body: as checked by the control channel
 *
 * Returns: false when the next request has to wait until this one is done;
 * nitro_control_continue() is called then.
 */
bool nitro_slots_request(NitroSlots *slots, const NitroControlHeader *header,
                         const void *body);

/**
 * nitro_slots_reset: end and forget all enclaves
 * @slots: the table; @idle is called when that is done, also when there is
 *         none; until then every START is refused
 */
void nitro_slots_reset(NitroSlots *slots);

/**
 * nitro_slots_close: as nitro_slots_reset(), and refuse every START after it
 * @slots: the table
 */
void nitro_slots_close(NitroSlots *slots);

#endif
