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

#ifndef NHV_SLOTS_H
#define NHV_SLOTS_H

#include "control.h"
#include "enclave.h"

typedef struct NhvSlots NhvSlots;

/**
 * NhvSlotsIdle: called from the main loop when the last enclave is gone
 * @opaque: as given to nhv_slots_new()
 */
typedef void NhvSlotsIdle(void *opaque);

/**
 * nhv_slots_new: create an empty table
 * @host: what enclaves live in
 * @idle: called when no enclave is left after nhv_slots_reset() or
 *        nhv_slots_close()
 * @opaque: passed to @idle
 */
NhvSlots *nhv_slots_new(const NhvEnclaveHost *host,
                        NhvSlotsIdle *idle, void *opaque);

/**
 * nhv_slots_free: free an empty table
 * @slots: the table, or NULL
 */
void nhv_slots_free(NhvSlots *slots);

/**
 * nhv_slots_connect: set the source of requests and of memory
 * @slots: the table
 * @control: channel for replies and events
 * @parent: the parent VM
 */
void nhv_slots_connect(NhvSlots *slots, NhvControl *control,
                       NhvParent *parent);

/**
 * nhv_slots_request: carry out a request
 * @slots: the table
 * @header: host byte order
 * @body: as checked by the control channel
 *
 * Returns: false when the next request has to wait until this one is done;
 * nhv_control_continue() is called then.
 */
bool nhv_slots_request(NhvSlots *slots, const NitroControlHeader *header,
                       const void *body);

/**
 * nhv_slots_reset: end and forget all enclaves
 * @slots: the table; @idle is called when that is done, also when there is
 *         none; until then every START is refused
 */
void nhv_slots_reset(NhvSlots *slots);

/**
 * nhv_slots_close: as nhv_slots_reset(), and refuse every START after it
 * @slots: the table
 */
void nhv_slots_close(NhvSlots *slots);

#endif
