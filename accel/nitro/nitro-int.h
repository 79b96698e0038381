/*
 * Nitro Enclaves accelerator: what its files share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nitro-accel.c   object, properties, init_machine, answers to the outside
 * nitro-launch.c  donate, add vCPUs, start
 * nitro-retry.c   wait for what an enclave that just ended may still have
 * nitro-exit.c    the enclave's end, and QEMU's
 * nitro-reset.c   launch again
 * nitro-cpus.c    vCPU threads that have nothing to run
 * nitro-info.c    answers and events for the monitor
 * nitro-refuse.c  monitor commands that cannot work
 * nitro-thread.c  threads that may be refused
 *
 * Everything here needs the BQL.
 */
#ifndef ACCEL_NITRO_INT_H
#define ACCEL_NITRO_INT_H

#include "qemu/notify.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "system/nitro.h"
#include "system/nitro-compat.h"
#include "system/nitro-pool.h"

OBJECT_DECLARE_SIMPLE_TYPE(NitroAccelState, NITRO_ACCEL)

/* How the enclave's life ended, which is how QEMU's will */
typedef enum NitroOutcome {
    NITRO_OUTCOME_CLEAN,        /* as it or the user wished */
    NITRO_OUTCOME_UNBOOTED,     /* by itself, before its heartbeat */
    NITRO_OUTCOME_DEADLINE,     /* by us, as no heartbeat came */
    NITRO_OUTCOME_RESET,        /* by us, to be launched again */
} NitroOutcome;

/* Property on-exit: what follows the end of an enclave by itself */
typedef enum NitroOnExit {
    NITRO_ON_EXIT_SHUTDOWN,
    NITRO_ON_EXIT_RESET,
} NitroOnExit;

struct NitroAccelState {
    AccelState parent_obj;

    /* Properties */
    char *device;
    bool debug_mode;
    uint64_t wanted_cid;
    GArray *wanted_cpus;        /* uint32_t; NULL: the driver chooses */
    uint32_t powerdown_grace;   /* seconds */
    NitroOnExit on_exit;

    /* Kept, as a launch after a reset may not be allowed to open it */
    int device_fd;

    /* The enclave; -1 where there is no descriptor */
    int enclave_fd;
    uint64_t cid;               /* the wanted one, then the effective one */
    uint64_t slot_uid;
    NitroPool *pool;            /* NULL: not known */
    GArray *cpus;               /* uint32_t; those the enclave has */
    bool donated;               /* RAM is the enclave's */
    unsigned launches;          /* enclaves that were started */
    NitroState state;           /* changed by nitro_move_state() only */
    bool setup_done;            /* setup_post was called */
    bool armed;                 /* devices were told of the launch */
    bool expects_boot;          /* a heartbeat is awaited */
    int64_t started_ms;         /* QEMU_CLOCK_REALTIME */
    int64_t exited_ms;
    uint64_t boot_ms;           /* from the start to the heartbeat */
    QEMUTimer *retry_timer;     /* pending: the launch waits for something */
    int64_t busy_since_us;      /* monotonic; the driver says so, 0: no */

    /* The end */
    NitroEnclaveExitCause exit_cause;
    char *start_error;          /* why it could not be started, or NULL */
    NitroOutcome outcome;
    bool ended_by_us;           /* deadline or powerdown, not by itself */
    bool powerdown;             /* the user wants it to end */
    guint exit_watch;           /* GLib source on enclave_fd, 0: none */
    unsigned holds;             /* nitro_accel_hold_shutdown() callers */
    QEMUTimer *hold_timer;      /* exists while a shutdown is due */
    QEMUTimer *grace_timer;     /* exists while a powerdown is due */
    unsigned closing;           /* threads in close(), or not reaped */
    QemuSemaphore closed;       /* posted by each of them */
    Notifier exit_notifier;
    Error *migration_blocker;

    /* The next beginning */
    bool relaunch;              /* due as soon as the old one is closed */
    QEMUTimer *patience_timer;  /* closing takes long */
    QEMUTimer *pause_timer;     /* pending: a reset is due */
    unsigned bad_ends;          /* in a row, before the heartbeat */
};

/* The accelerator in use; NULL when another one is */
NitroAccelState *nitro_accel_current(void);

/* Trace and make a legal move; asserts that it is one */
void nitro_move_state(NitroAccelState *s, NitroState to);

/* The state was @from until now: note the time, tell the monitor */
void nitro_info_moved(NitroAccelState *s, NitroState from);

/* What the machine registered; the hooks themselves may be NULL */
typedef struct NitroHooks {
    const NitroAccelHooks *ops; /* never NULL */
    void *opaque;
} NitroHooks;

extern NitroHooks nitro_hooks;

/**
 * nitro_launch_setup: setup_post; prepare, and start if the VM runs already
 *
 * Part of QEMU's start-up: reports what fails and exits with status 1.
 */
void nitro_launch_setup(NITRO_SETUP_POST_PARAMS);

/* Start on the first transition to running; once, from init_machine */
void nitro_launch_init(NitroAccelState *s);

/* Go on with the launch as far as it goes; ends QEMU when it fails */
void nitro_launch_proceed(NitroAccelState *s);

/**
 * nitro_create_enclave: ask the driver for an enclave
 * @errp: filled in on failure, with the numbers of the pool
 *
 * Opens the device the first time.
 *
 * Returns: 0 with enclave_fd and slot_uid set, or -errno
 */
int nitro_create_enclave(NitroAccelState *s, Error **errp);

/**
 * nitro_retry_later: is it worth the while to try again in a moment?
 * @ret: what the driver answered to NE_CREATE_VM or NE_ADD_VCPU
 *
 * Resources of an enclave that just ended may not be free yet.  Counts from
 * the first such answer on, until nitro_retry_done().
 *
 * Returns: true for as long as NITRO_RETRY_MS last
 */
#define NITRO_RETRY_MS 2000
bool nitro_retry_later(NitroAccelState *s, int ret);

/* It worked, or was given up */
void nitro_retry_done(NitroAccelState *s);

/* How long to wait until the next attempt; several launches do not march */
int nitro_retry_delay_ms(void);

/* Watch for the end of the enclave from before START on */
void nitro_exit_watch(NitroAccelState *s);

/* From now on failures have status NITRO_STATUS_DRIVER, or no longer */
void nitro_exit_driver_refused(bool refused);

/* The launch failed after QEMU was up: no enclave, shut down with a status */
void nitro_exit_failed(NitroAccelState *s);

/* Close the enclave when QEMU exits; once, from init_machine */
void nitro_exit_init(NitroAccelState *s);

/* End an enclave that runs, and launch again */
void nitro_exit_for_reset(NitroAccelState *s);

/* Close the enclave now; idempotent, may block */
void nitro_exit_close(NitroAccelState *s);

/* Launch again when the system is reset; once, from init_machine */
void nitro_reset_init(NitroAccelState *s);

/* There is no enclave: launch one as soon as the last one is closed */
void nitro_reset_begin(NitroAccelState *s);

/* A thread is done with closing */
void nitro_reset_closed(NitroAccelState *s);

/**
 * nitro_reset_create: first step of launching again
 * @errp: filled in on failure
 *
 * Returns: NITRO_STEP_DONE in state CREATED, with the image in RAM, or when
 * no launch is due; NITRO_STEP_LATER while the driver is busy
 */
NitroStep nitro_reset_create(NitroAccelState *s, Error **errp);

/**
 * nitro_reset_after_end: does property on-exit ask for another launch?
 *
 * Then it is requested, or will be after a pause.  Needs state EXITED.
 *
 * Returns: false when QEMU has to end by its rules
 */
bool nitro_reset_after_end(NitroAccelState *s);

/* There is no enclave, but there will be one */
bool nitro_reset_due(const NitroAccelState *s);

/* A reset that on-exit asked for is due no more */
void nitro_reset_cancel(NitroAccelState *s);

/* Let monitor commands that need the enclave's state fail; from init_machine */
void nitro_refuse_commands(void);

#endif /* ACCEL_NITRO_INT_H */
