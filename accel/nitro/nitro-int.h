/*
 * Nitro Enclaves accelerator: what its files share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nitro-accel.c   object, properties, init_machine, answers to the outside
 * nitro-launch.c  donate, add vCPUs, start
 * nitro-exit.c    the enclave's end, and QEMU's
 * nitro-cpus.c    vCPU threads that have nothing to run
 * nitro-info.c    answers and events for the monitor
 * nitro-refuse.c  monitor commands that cannot work
 *
 * Everything here needs the BQL.
 */
#ifndef ACCEL_NITRO_INT_H
#define ACCEL_NITRO_INT_H

#include "qemu/accel.h"
#include "qemu/notify.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "system/nitro.h"
#include "system/nitro-pool.h"

OBJECT_DECLARE_SIMPLE_TYPE(NitroAccelState, NITRO_ACCEL)

/* How the enclave's life ended, which is how QEMU's will */
typedef enum NitroOutcome {
    NITRO_OUTCOME_CLEAN,        /* as it or the user wished */
    NITRO_OUTCOME_UNBOOTED,     /* by itself, before its heartbeat */
    NITRO_OUTCOME_DEADLINE,     /* by us, as no heartbeat came */
} NitroOutcome;

struct NitroAccelState {
    AccelState parent_obj;

    /* Properties */
    char *device;
    bool debug_mode;
    uint64_t cid;               /* the wanted one, then the effective one */
    GArray *wanted_cpus;        /* uint32_t; NULL: the driver chooses */
    uint32_t powerdown_grace;   /* seconds */

    /* The enclave; -1 where there is no descriptor */
    int enclave_fd;
    uint64_t slot_uid;
    NitroPool *pool;            /* NULL: not known */
    GArray *cpus;               /* uint32_t; those the enclave has */
    NitroState state;           /* changed by nitro_move_state() only */
    bool setup_done;            /* setup_post was called */
    bool armed;                 /* devices were told of the launch */
    bool expects_boot;          /* a heartbeat is awaited */
    int64_t started_ms;         /* QEMU_CLOCK_REALTIME */
    int64_t exited_ms;
    uint64_t boot_ms;           /* from the start to the heartbeat */
    QEMUTimer *retry_timer;     /* pending: the launch waits for something */

    /* The end */
    NitroEnclaveExitCause exit_cause;
    char *start_error;          /* why it could not be started, or NULL */
    NitroOutcome outcome;
    bool ended_by_us;           /* deadline or powerdown, not by itself */
    guint exit_watch;           /* GLib source on enclave_fd, 0: none */
    unsigned holds;             /* nitro_accel_hold_shutdown() callers */
    QEMUTimer *hold_timer;      /* exists while a shutdown is due */
    QEMUTimer *grace_timer;     /* exists while a powerdown is due */
    unsigned closing;           /* threads in close() */
    QemuSemaphore closed;       /* posted by each of them */
    Notifier exit_notifier;
    Error *migration_blocker;
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
void nitro_launch_setup(MachineState *ms, AccelState *accel);

/* Start on the first transition to running; once, from init_machine */
void nitro_launch_init(NitroAccelState *s);

/* Watch for the end of the enclave from before START on */
void nitro_exit_watch(NitroAccelState *s);

/* From now on failures have status NITRO_STATUS_DRIVER, or no longer */
void nitro_exit_driver_refused(bool refused);

/* The launch failed after QEMU was up: no enclave, shut down with a status */
void nitro_exit_failed(NitroAccelState *s);

/* Close the enclave when QEMU exits; once, from init_machine */
void nitro_exit_init(NitroAccelState *s);

/* Close the enclave now; idempotent, may block */
void nitro_exit_close(NitroAccelState *s);

/* Let monitor commands that need the enclave's state fail; from init_machine */
void nitro_refuse_commands(void);

#endif /* ACCEL_NITRO_INT_H */
