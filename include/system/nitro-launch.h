/*
 * Nitro Enclaves: who launches an enclave, and what is launched
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two QOM interfaces through which accelerator and machine know each other.
 * The accelerator is the launcher: it creates the enclave, donates the
 * machine's RAM, adds vCPUs, starts the enclave and watches for its end.  The
 * machine is the guest: it puts an image into RAM, and its devices take part in
 * the launch through the bridge of their bus.
 *
 * Every method needs the BQL and does not block, except where it says so.
 */
#ifndef SYSTEM_NITRO_LAUNCH_H
#define SYSTEM_NITRO_LAUNCH_H

#include "qapi/qapi-types-nitro.h"
#include "qom/object.h"

/**
 * NitroStep: result of something that may have to wait for others
 * @NITRO_STEP_FAILED: it will not work; an Error says why
 * @NITRO_STEP_LATER: not now; to be called again in a moment
 * @NITRO_STEP_DONE: it worked
 */
typedef enum NitroStep {
    NITRO_STEP_FAILED,
    NITRO_STEP_LATER,
    NITRO_STEP_DONE,
} NitroStep;

/**
 * NitroBoot: what is known of the boot of an enclave
 * @NITRO_BOOT_EXPECTED: a heartbeat is awaited in this launch.  To be reported
 *     before NE_START_ENCLAVE; an enclave that ends without it then counts as
 *     one that failed to boot.
 * @NITRO_BOOT_DONE: the heartbeat came.  Ignored unless the enclave is STARTED:
 *     it may have ended meanwhile, or have sent a second one.
 * @NITRO_BOOT_FAILED: it did not come in time: end the enclave.  Ignored unless
 *     the enclave is STARTED.
 */
typedef enum NitroBoot {
    NITRO_BOOT_EXPECTED,
    NITRO_BOOT_DONE,
    NITRO_BOOT_FAILED,
} NitroBoot;

/*
 * Exit statuses of QEMU.  0: the enclave ended after its boot, or QEMU was
 * asked to end; 1: QEMU itself refused (options, image, memory, port).
 */
#define NITRO_STATUS_DRIVER     3       /* driver or hypervisor refused */
#define NITRO_STATUS_UNBOOTED   4       /* it ended before its heartbeat */
#define NITRO_STATUS_DEADLINE   5       /* no heartbeat in time */

#define TYPE_NITRO_LAUNCHER "nitro-launcher"
typedef struct NitroLauncher NitroLauncher;
typedef struct NitroLauncherClass NitroLauncherClass;
DECLARE_CLASS_CHECKERS(NitroLauncherClass, NITRO_LAUNCHER, TYPE_NITRO_LAUNCHER)
#define NITRO_LAUNCHER(obj) \
    INTERFACE_CHECK(NitroLauncher, (obj), TYPE_NITRO_LAUNCHER)

/* For how long the end of QEMU is held, see NitroLauncherClass */
#define NITRO_SHUTDOWN_HOLD_MS 2000

/**
 * NitroLauncherClass: what a guest may ask of its launcher, and report to it
 * @load_offset: byte offset from the start of RAM at which the driver wants an
 *     image; from machine init on, until RAM is donated, also from
 *     NitroGuestClass.load.  Returns false with @errp set when the driver
 *     refused.
 * @cid: from STARTED on the CID that the driver reported; before that the one
 *     that the user asked for, or NITRO_CID_AUTO
 * @debug_mode: whether the enclave is started in debug mode.  Fixed when the
 *     machine is created.
 * @failure_status: exit status for a launch that fails now:
 *     NITRO_STATUS_DRIVER when the driver refused something before, else
 *     EXIT_FAILURE
 * @boot: something is known of the boot
 * @hold: delay what follows the end of the enclave (the end of QEMU or the next
 *     launch), or end such a delay.  It follows as soon as there is no hold,
 *     after NITRO_SHUTDOWN_HOLD_MS at the latest.  Holds are counted and only
 *     make a difference from within NitroGuestClass.stopped on.
 * @set_application: what is known of the enclave's program.  @app is copied
 *     and becomes part of NITRO_ENCLAVE_EXITED.  @stop_grace is the minimum of
 *     seconds between system_powerdown and the end of the enclave, for a caller
 *     that asks the program to end; otherwise 0.  @exit_status is QEMU's when
 *     the enclave ends after its boot.  To be called whenever one of them
 *     changes, and once before each start.
 * @powerdown: carry out system_powerdown: the enclave may end by itself within
 *     property powerdown-grace or @stop_grace, whichever is longer; then it is
 *     ended.  If no enclave runs, QEMU shuts down at once.
 */
struct NitroLauncherClass {
    InterfaceClass parent_class;

    bool (*load_offset)(NitroLauncher *launcher, uint64_t *offset,
                        Error **errp);
    uint64_t (*cid)(NitroLauncher *launcher);
    bool (*debug_mode)(NitroLauncher *launcher);
    int (*failure_status)(NitroLauncher *launcher);
    void (*boot)(NitroLauncher *launcher, NitroBoot boot);
    void (*hold)(NitroLauncher *launcher, bool hold);
    void (*set_application)(NitroLauncher *launcher,
                            const NitroEnclaveApplication *app,
                            uint32_t stop_grace, int exit_status);
    void (*powerdown)(NitroLauncher *launcher);
};

#define TYPE_NITRO_GUEST "nitro-guest"
typedef struct NitroGuest NitroGuest;
typedef struct NitroGuestClass NitroGuestClass;
DECLARE_CLASS_CHECKERS(NitroGuestClass, NITRO_GUEST, TYPE_NITRO_GUEST)
#define NITRO_GUEST(obj) INTERFACE_CHECK(NitroGuest, (obj), TYPE_NITRO_GUEST)

/**
 * NitroGuestClass: how a machine takes part in a launch
 * @acquire: called before @prepare_start, in state PREPARED: get hold of what
 *   another launch on this parent may have (the heartbeat's port).  After
 *   NITRO_STEP_LATER it is called again until it returns something else; the
 *   callee bounds the time.  NITRO_STEP_FAILED gives up the launch.
 * @prepare_start: called once, directly before NE_START_ENCLAVE, in state
 *   PREPARED: what the enclave needs from its first instruction on has to
 *   be ready on return (the heartbeat listens).  Returning false with @errp
 *   set gives up the launch; nothing was started.
 * @started: called once, directly after NE_START_ENCLAVE succeeded, in state
 *   STARTED, with the effective CID.  Cannot refuse: what fails here is a
 *   warning of the device concerned.
 * @stopped: called once the enclave has ended, in state EXITED: it ended by
 *   itself, was ended, or the launch failed after acquire; also in state
 *   PREPARED when the VM is stopped while acquire waits.  Devices that still
 *   have output to deliver hold the end of QEMU here.  Not called when QEMU
 *   itself quits (the devices then go away with it).
 * @load: put the image into RAM once more, in state CREATED of an enclave
 *   that is launched again; RAM is ours.  Called in a thread, without the BQL.
 *   Must not need a file that is not open yet, as privileges may have been
 *   dropped.  Returning false with @errp set gives up the launch.
 * @query: fill in what the machine knows (memory, image, devices), at any time,
 *   also before its init function was called
 *
 * "Once" means once in the life of each enclave; states are of type
 * NitroEnclaveState.
 */
struct NitroGuestClass {
    InterfaceClass parent_class;

    NitroStep (*acquire)(NitroGuest *guest, Error **errp);
    bool (*prepare_start)(NitroGuest *guest, Error **errp);
    void (*started)(NitroGuest *guest, uint32_t cid);
    void (*stopped)(NitroGuest *guest);
    bool (*load)(NitroGuest *guest, Error **errp);
    void (*query)(NitroGuest *guest, NitroEnclaveInfo *info);
};

#endif /* SYSTEM_NITRO_LAUNCH_H */
