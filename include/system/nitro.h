/*
 * Nitro Enclaves accelerator: what machine and devices may ask of it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The accelerator owns the enclave: it opens /dev/nitro_enclaves, creates the
 * enclave (init_machine), donates the machine's RAM and adds the vCPUs
 * (setup_post), starts it on the first transition to running and watches for
 * its end.  The machine puts an image into RAM and the devices react to the
 * hooks below.  This header may be included from common and from per-target
 * code; where the accelerator is not built, accel/stubs/nitro-stub.c answers.
 *
 * Unless said otherwise every function needs the BQL and does not block.
 */
#ifndef SYSTEM_NITRO_H
#define SYSTEM_NITRO_H

#include "qemu/accel.h"
#include "qapi/qapi-types-nitro.h"

#define TYPE_NITRO_ACCEL ACCEL_CLASS_NAME("nitro")

/* The vsock numbers an enclave's CID may not have: see nitro_cid_valid() */
#define NITRO_CID_AUTO      0           /* the hypervisor chooses */
#define NITRO_CID_FIRST     4
#define NITRO_CID_LAST      0xfffffffeU

extern bool nitro_allowed;

/*
 * nitro_enabled(): true when this QEMU runs (or is trying) -accel nitro.
 * False under qtest: there is no driver, RAM is ordinary memory, none of the
 * hooks is ever called.
 */
#ifdef COMPILING_PER_TARGET
# ifdef CONFIG_NITRO
#  define NITRO_IS_POSSIBLE
# endif
#else
# define NITRO_IS_POSSIBLE
#endif

#ifdef NITRO_IS_POSSIBLE
#define nitro_enabled() (nitro_allowed)
#else
#define nitro_enabled() false
#endif

/*
 * Exit statuses of QEMU.  0: the enclave ended after its boot, or QEMU was
 * asked to end; 1: QEMU itself refused (options, image, memory, port).
 */
#define NITRO_STATUS_DRIVER     3       /* driver or hypervisor refused */
#define NITRO_STATUS_UNBOOTED   4       /* it ended before its heartbeat */
#define NITRO_STATUS_DEADLINE   5       /* no heartbeat in time, given up */

/**
 * NitroStep: result of something that may have to wait for others
 * @NITRO_STEP_FAILED: it will not work; an Error tells why
 * @NITRO_STEP_LATER: not now; to be called again in a moment
 * @NITRO_STEP_DONE: it worked
 */
typedef enum NitroStep {
    NITRO_STEP_FAILED,
    NITRO_STEP_LATER,
    NITRO_STEP_DONE,
} NitroStep;

/**
 * NitroAccelHooks: what the machine wants to be told of a launch
 * @acquire: called before prepare_start, in state PREPARED: get hold of what
 *   another launch on this parent may have (the heartbeat's port).  After
 *   NITRO_STEP_LATER it is called again until it returns something else; the
 *   callee bounds the time.  NITRO_STEP_FAILED gives up the launch.
 * @prepare_start: called once, directly before NE_START_ENCLAVE, in state
 *   PREPARED: whatever the enclave needs from its first instruction on has to
 *   be ready on return (the heartbeat listens).  Returning false with @errp
 *   set gives up the launch; nothing was started.
 * @started: called once, directly after NE_START_ENCLAVE succeeded, in state
 *   STARTED, with the effective CID.  Cannot refuse: what fails here is a
 *   warning of the device concerned.
 * @stopped: called once the enclave is no more, in state EXITED: it ended by
 *   itself, was ended, or the launch failed after acquire; also in state
 *   PREPARED when the VM is stopped while acquire waits.  Devices that still
 *   have output to deliver take nitro_accel_hold_shutdown() here.  Not called
 *   when QEMU itself quits (the devices then go away with it).
 * @load: put the image into RAM once more, in state CREATED of an enclave
 *   that is launched again; RAM is ours.  Called in a thread, without the BQL.
 *   Must not need a file that is not open yet, as privileges may have been
 *   dropped.  Returning false with @errp set gives up the launch.
 * @query: fill in what the machine knows (memory, image, devices), at any time
 *
 * Every member may be NULL.  All but @load are called from the main loop thread
 * with the BQL held and must not block.  What is called "once" is so in the
 * life of each enclave; states are those of NitroEnclaveState.
 */
typedef struct NitroAccelHooks {
    NitroStep (*acquire)(void *opaque, Error **errp);
    bool (*prepare_start)(void *opaque, Error **errp);
    void (*started)(void *opaque, uint32_t cid);
    void (*stopped)(void *opaque);
    bool (*load)(void *opaque, Error **errp);
    void (*query)(void *opaque, NitroEnclaveInfo *info);
} NitroAccelHooks;

/**
 * nitro_accel_set_hooks: register the one listener for the launch
 * @hooks: must stay valid as long as QEMU runs (static const)
 * @opaque: handed to each hook
 *
 * To be called by the machine's init function, whatever accelerator runs.
 */
void nitro_accel_set_hooks(const NitroAccelHooks *hooks, void *opaque);

/**
 * nitro_accel_get_image_load_offset: where in RAM the driver wants an EIF
 * @offset: filled in with the byte offset from the start of RAM
 * @errp: filled in when the driver refused, or this is not -accel nitro
 *
 * Valid from machine init on, until RAM is donated; also from hook @load.
 *
 * Returns: true on success.
 */
bool nitro_accel_get_image_load_offset(uint64_t *offset, Error **errp);

/**
 * nitro_accel_get_cid: the enclave's CID
 *
 * Returns: from STARTED on the CID that the driver reported; before that the
 * one that the user asked for, which is NITRO_CID_AUTO (0) when he left the
 * choice to the hypervisor or when another accelerator runs.
 */
uint64_t nitro_accel_get_cid(void);

/**
 * nitro_accel_debug_mode: is (or will) the enclave be started in debug mode?
 *
 * Fixed when the machine is created.  Only an enclave in debug mode has a
 * console; its attestation documents carry zeros as PCRs.
 */
bool nitro_accel_debug_mode(void);

/**
 * nitro_accel_query: all that is known of the enclave, for the monitor
 * @errp: filled in when another accelerator runs
 *
 * Asks neither driver nor hypervisor.
 *
 * Returns: to be freed with qapi_free_NitroEnclaveInfo(); NULL on failure
 */
NitroEnclaveInfo *nitro_accel_query(Error **errp);

/**
 * nitro_accel_notify_booted: the heartbeat of the enclave was received
 *
 * Moves STARTED to BOOTED.  Ignored in any other state: the enclave may have
 * ended meanwhile, or may have sent a second heartbeat.
 */
void nitro_accel_notify_booted(void);

/**
 * nitro_accel_get_boot_ms: how long the enclave took to boot
 *
 * Returns: milliseconds from NE_START_ENCLAVE to the heartbeat, 0 before it
 */
uint64_t nitro_accel_get_boot_ms(void);

/**
 * nitro_accel_expect_boot: a heartbeat is awaited in this launch
 *
 * To be called before NE_START_ENCLAVE.  An enclave that ends without it then
 * counts as one that failed to boot.
 */
void nitro_accel_expect_boot(void);

/**
 * nitro_accel_boot_failed: the enclave did not boot in time, end it
 *
 * QEMU then shuts down with NITRO_STATUS_DEADLINE.  Ignored unless STARTED.
 */
void nitro_accel_boot_failed(void);

/**
 * nitro_accel_powerdown: end the enclave as system_powerdown wants it
 *
 * It may end by itself for as long as property powerdown-grace says, or, when a
 * device asks its program to end, see nitro_accel_set_application(), and is
 * ended then.  Without an enclave that runs QEMU shuts down at once.
 */
void nitro_accel_powerdown(void);

/**
 * nitro_accel_set_application: what is known of the enclave's program
 * @app: copied; part of NITRO_ENCLAVE_EXITED
 * @stop_grace: seconds that system_powerdown leaves the enclave at least, as
 *     somebody asks its program to end; 0 when nobody does
 * @exit_status: of QEMU when the enclave ends after its boot
 *
 * To be called whenever one of these changes, and once before each start.
 */
void nitro_accel_set_application(const NitroEnclaveApplication *app,
                                 uint32_t stop_grace, int exit_status);

/**
 * nitro_accel_failure_status: exit status for a launch that fails now
 *
 * Returns: NITRO_STATUS_DRIVER when the driver refused something before,
 * else EXIT_FAILURE.
 */
int nitro_accel_failure_status(void);

/**
 * nitro_accel_hold_shutdown: delay the end of QEMU after the enclave's
 * nitro_accel_release_shutdown: end such a delay
 *
 * When the enclave has ended, the accelerator calls the stopped hook and
 * requests a shutdown, or launches again, as soon as nobody holds it, after
 * NITRO_SHUTDOWN_HOLD_MS at the latest.  Holds are counted and only make a
 * difference from within the stopped hook on; each needs exactly one release.
 */
#define NITRO_SHUTDOWN_HOLD_MS 2000
void nitro_accel_hold_shutdown(void);
void nitro_accel_release_shutdown(void);

/**
 * nitro_cid_valid: may the user ask for this CID?
 * @cid: NITRO_CID_AUTO, or the wanted number
 * @errp: filled in with the reason and the permitted range
 *
 * Pure function, usable without BQL and from any program; only in builds
 * that have the accelerator.
 */
bool nitro_cid_valid(uint64_t cid, Error **errp);

#endif /* SYSTEM_NITRO_H */
