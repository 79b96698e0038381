/*
 * One enclave, from START to FREE
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *   COPYING --> CHECKING --> STARTING --> RUNNING --> DOWN
 *      |            |            |           ^
 *      +------------+------------+-----------|----> DOWN  (start failed)
 *                                            |
 *      COPYING   image: donated memory -> sealed copy, slice by slice
 *      CHECKING  a thread verifies and measures the copy
 *      STARTING  QEMU runs, its vsock device is not there yet
 *      RUNNING   START has been answered with success; an enclave whose image
 *                cannot boot gets here and goes on to DOWN at once, as on EC2,
 *                unless --strict-image has its start fail
 *      DOWN      no process, no thread, no access to donated memory; the
 *                console of an enclave that ran can still be read
 */

#ifndef NHV_ENCLAVE_H
#define NHV_ENCLAVE_H

#include "console.h"
#include "options.h"
#include "parent.h"
#include "pki.h"

/* From START to QEMU's vsock device being there */
#define NHV_ENCLAVE_START_MS 60000

typedef struct NhvEnclave NhvEnclave;

/* What enclaves live in; everything outlives them */
typedef struct NhvEnclaveHost {
    const NhvOptions *opts;
    NhvSwitch *sw;
    NhvConsoleService *consoles;
    NhvPki *pki;                /* NULL: documents are not signed */
} NhvEnclaveHost;

/* As START has it */
typedef struct NhvEnclaveConfig {
    uint64_t slot_uid;
    uint32_t cid;
    bool debug;
    unsigned int vcpus;
    NhvMemory memory;
} NhvEnclaveConfig;

/**
 * NhvEnclaveOps: called at changes, from the main loop, never from within
 * the functions of this file
 * @started: outcome of the start: 0 or -errno; called once, also when the
 *           enclave was stopped meanwhile
 * @exited: a running enclave ended by itself; arguments as in
 *          NitroControlExited.  @down follows
 * @down: the enclave is down now; called once, it may be freed
 */
typedef struct NhvEnclaveOps {
    void (*started)(void *opaque, NhvEnclave *enclave, int rc);
    void (*exited)(void *opaque, NhvEnclave *enclave, uint32_t cause,
                   uint32_t status);
    void (*down)(void *opaque, NhvEnclave *enclave);
} NhvEnclaveOps;

/**
 * nhv_enclave_start: begin to start an enclave
 * @host: what it lives in
 * @config: copied; the memory is owned by the enclave from now on
 * @ops: callbacks
 * @opaque: passed to @ops
 */
NhvEnclave *nhv_enclave_start(const NhvEnclaveHost *host,
                              const NhvEnclaveConfig *config,
                              const NhvEnclaveOps *ops, void *opaque);

/**
 * nhv_enclave_stop: end an enclave, in any state
 * @enclave: the enclave; unless it is down already, @down will be called
 */
void nhv_enclave_stop(NhvEnclave *enclave);

bool nhv_enclave_is_down(const NhvEnclave *enclave);
uint64_t nhv_enclave_slot_uid(const NhvEnclave *enclave);
uint32_t nhv_enclave_cid(const NhvEnclave *enclave);

/**
 * nhv_enclave_scrub: overwrite the donated memory with zeros
 * @enclave: an enclave that is down
 * @errp: filled in on failure
 */
bool nhv_enclave_scrub(NhvEnclave *enclave, Error **errp);

/**
 * nhv_enclave_free: forget an enclave and its console
 * @enclave: an enclave that is down
 */
void nhv_enclave_free(NhvEnclave *enclave);

#endif
