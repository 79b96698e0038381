/*
 * Nitro Enclaves accelerator: one enclave, from its creation to its end
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An object is one life.  To launch again, make another object.
 *
 *   WAITING -> CREATED -> PREPARED -> STARTED -> BOOTED -> ENDED -> CLOSING
 *      |          |          |           |          |               | -> CLOSED
 *      +----------+----------+-----------+----------+--- (failed, ended by us)
 *
 * Requests to the driver may block for minutes.  So each is part of a step, a
 * function that needs neither BQL nor main loop: nitro_enclave_run() runs it
 * in a thread, nitro_enclave_run_now() is for QEMU's start, when there is no
 * main loop yet.  State and facts change in the main loop only, each change
 * is reported by the one callback.
 *
 * Knows no policy, no monitor and no machine, and needs the driver alone: its
 * unit test runs it on a model of that.
 */
#ifndef ACCEL_NITRO_ENCLAVE_H
#define ACCEL_NITRO_ENCLAVE_H

#include "qapi/qapi-types-nitro.h"

typedef struct NitroEnclave NitroEnclave;

/**
 * nitro_cid_valid: may the user ask for this CID?
 * @cid: NITRO_CID_AUTO, or the wanted number
 * @errp: filled in with the reason and the permitted range
 */
bool nitro_cid_valid(uint64_t cid, Error **errp);

/**
 * nitro_retry_delay_ms: delay before the next attempt to get what another
 * launch on this parent may have, in milliseconds
 *
 * With jitter, so that concurrent launches do not retry in step.
 */
unsigned nitro_retry_delay_ms(void);

/**
 * NitroLife: where an enclave is in its life
 * @NITRO_LIFE_WAITING: there is no enclave yet; the driver may be asked
 *   several times, as what an enclave had is not free at once after its end
 * @NITRO_LIFE_CREATED: the driver has assigned a slot; QEMU still owns the RAM
 * @NITRO_LIFE_PREPARED: RAM donated, vCPUs added; RAM must not be touched
 * @NITRO_LIFE_STARTED: it runs, its CID is known
 * @NITRO_LIFE_BOOTED: nitro_enclave_booted() was called
 * @NITRO_LIFE_ENDED: it ended by itself or its launch failed; it still has
 *   RAM, CPUs and the console's last output
 * @NITRO_LIFE_CLOSING: its descriptor is being closed
 * @NITRO_LIFE_CLOSED: RAM and CPUs are back, the object may be freed
 */
typedef enum NitroLife {
    NITRO_LIFE_WAITING,
    NITRO_LIFE_CREATED,
    NITRO_LIFE_PREPARED,
    NITRO_LIFE_STARTED,
    NITRO_LIFE_BOOTED,
    NITRO_LIFE_ENDED,
    NITRO_LIFE_CLOSING,
    NITRO_LIFE_CLOSED,
    NITRO_LIFE__MAX
} NitroLife;

/* State that the monitor shows, by NitroLife */
extern const NitroEnclaveState nitro_life_state[NITRO_LIFE__MAX];

/**
 * NitroEnclaveConfig: what an enclave is made of
 * @device_fd: what ne_open() returned
 * @debug_mode: start it in debug mode
 * @cid: its vsock CID, or NITRO_CID_AUTO
 * @cpus: uint32_t, one per vCPU; NULL lets the driver choose
 * @pool: uint32_t, CPUs of the enclave CPU pool, for messages; NULL: unknown
 * @nr_vcpus: number of vCPUs
 * @ram: memory to donate, of huge pages
 * @ram_size: bytes of it
 * @page_size: bytes of one of its pages
 *
 * Each step reads what it needs when it runs; nothing of that may change
 * meanwhile.
 */
typedef struct NitroEnclaveConfig {
    int device_fd;
    bool debug_mode;
    uint64_t cid;
    const GArray *cpus;
    const GArray *pool;
    unsigned nr_vcpus;
    void *ram;
    uint64_t ram_size;
    uint64_t page_size;
} NitroEnclaveConfig;

/**
 * NitroEnclaveFacts: what is known of an enclave
 * @life: where it is in its life
 * @busy: a step runs, or a descriptor is being closed
 * @slot_uid: the hypervisor's id of it, 0 while WAITING
 * @cid: the effective CID, from STARTED on
 * @cpus: uint32_t; CPUs of the parent that are its vCPUs, complete from
 *   PREPARED on
 * @expects_boot: nitro_enclave_expect_boot() was called
 * @booted: it was BOOTED
 * @started_ms: QEMU_CLOCK_REALTIME, 0: was not started
 * @ended_ms: QEMU_CLOCK_REALTIME, 0: has not ended
 * @boot_ms: milliseconds from the start to BOOTED
 * @cause: why it ended, from ENDED or CLOSING on
 * @error: why its launch failed, NULL: it did not
 * @refusal: errno, or code of the driver, when it refused something; 0: it did
 *   not.  To be read while not busy
 */
typedef struct NitroEnclaveFacts {
    NitroLife life;
    bool busy;
    uint64_t slot_uid;
    uint64_t cid;
    GArray *cpus;
    bool expects_boot;
    bool booted;
    int64_t started_ms;
    int64_t ended_ms;
    uint64_t boot_ms;
    NitroEnclaveExitCause cause;
    Error *error;
    int refusal;
} NitroEnclaveFacts;

/**
 * NitroEnclaveChanged: the enclave is in another state now
 * @opaque: the argument of nitro_enclave_new()
 * @enclave: must not be freed here, except when it is CLOSED
 *
 * Called in the main loop, from within the functions below, too.  The end is
 * reported once: as ENDED, or as CLOSING when the enclave is being closed
 * already.  What ended as ENDED is not reported as CLOSING again.
 */
typedef void NitroEnclaveChanged(void *opaque, NitroEnclave *enclave);

/**
 * NitroEnclaveStep: a part of the launch; may block, needs no lock
 *
 * A step may call other steps.
 *
 * Returns: false with @errp set: the launch failed
 */
typedef bool NitroEnclaveStep(NitroEnclave *enclave, Error **errp);

/**
 * nitro_enclave_new: make the object; the driver is asked nothing
 * @config: must outlive the enclave
 */
NitroEnclave *nitro_enclave_new(const NitroEnclaveConfig *config,
                                NitroEnclaveChanged *changed, void *opaque);

/**
 * nitro_enclave_free: free the object, close what is open
 * @enclave: NULL or not busy; blocks unless it is CLOSED or WAITING
 */
void nitro_enclave_free(NitroEnclave *enclave);

/* What is known; as long as the object lives.  From the main loop only */
const NitroEnclaveFacts *nitro_enclave_facts(const NitroEnclave *enclave);

/* Does it run: STARTED or BOOTED? */
bool nitro_enclave_runs(const NitroEnclave *enclave);

/* Steps */

/* WAITING to CREATED.  Retries for a short time while the driver is busy */
NitroEnclaveStep nitro_enclave_create;

/* CREATED to PREPARED: donates the memory, adds the vCPUs.  Retries, too */
NitroEnclaveStep nitro_enclave_prepare;

/* PREPARED to STARTED */
NitroEnclaveStep nitro_enclave_start;

/**
 * nitro_enclave_load_offset: where in RAM the driver wants an image
 * @offset: filled in with the byte offset from the start of RAM
 * @errp: filled in on failure
 *
 * To be called in state CREATED, or by a step between creation and
 * preparation.
 *
 * Returns: true on success
 */
bool nitro_enclave_load_offset(NitroEnclave *enclave, uint64_t *offset,
                               Error **errp);

/**
 * nitro_enclave_run: run a step outside of the main loop
 * @step: the step; the enclave must not be busy
 *
 * The outcome is reported through the callback: each state that was reached, or
 * the failure alone.  If no thread can be created, the step runs in the
 * caller's.
 */
void nitro_enclave_run(NitroEnclave *enclave, NitroEnclaveStep *step);

/**
 * nitro_enclave_run_now: run a step before there is a main loop
 * @step: the step; the enclave must not be busy
 * @errp: filled in on failure, which is not reported through the callback
 *
 * Returns: true on success
 */
bool nitro_enclave_run_now(NitroEnclave *enclave, NitroEnclaveStep *step,
                           Error **errp);

/* Reports from the main loop */

/* From now on an end before nitro_enclave_booted() is a failure to boot */
void nitro_enclave_expect_boot(NitroEnclave *enclave);

/* From now on the enclave may end by itself without a failure */
void nitro_enclave_expect_end(NitroEnclave *enclave);

/* The heartbeat was received; ignored unless STARTED */
void nitro_enclave_booted(NitroEnclave *enclave);

/**
 * nitro_enclave_fail: the launch failed elsewhere
 * @err: why; the enclave owns it
 *
 * Ignored once it was started.
 */
void nitro_enclave_fail(NitroEnclave *enclave, Error *err);

/**
 * nitro_enclave_end: end an enclave that runs
 * @cause: becomes a fact
 *
 * Reports CLOSING at once, and CLOSED later.
 */
void nitro_enclave_end(NitroEnclave *enclave, NitroEnclaveExitCause cause);

/**
 * nitro_enclave_close: return RAM and CPUs, in a thread
 *
 * Idempotent.  A running step stops as soon as it can; then the enclave is
 * closed.  Reports CLOSED later.
 */
void nitro_enclave_close(NitroEnclave *enclave);

/**
 * nitro_enclave_close_wait: close it after the end of the main loop
 * @timeout_ms: how long to wait for that
 *
 * Returns: true when it is closed, false when that takes longer: the kernel
 * completes it after the process has ended
 */
bool nitro_enclave_close_wait(NitroEnclave *enclave, unsigned timeout_ms);

#endif /* ACCEL_NITRO_ENCLAVE_H */
