/*
 * Nitro Enclaves accelerator: what its files share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each file knows those below it only:
 *
 * nitro-accel.c   object, properties, accelerator's methods
 * nitro-policy.c  decides what happens at the end of an enclave
 * nitro-info.c    answers and events for the monitor
 * nitro-launch.c  order of a launch, in which the machine takes part
 * enclave.c       one enclave
 * ne.c            requests to the driver
 *
 * Everything here needs the BQL.
 */
#ifndef ACCEL_NITRO_INT_H
#define ACCEL_NITRO_INT_H

#include "enclave.h"
#include "hw/resettable.h"
#include "qemu/accel.h"
#include "qemu/notify.h"
#include "qemu/timer.h"
#include "system/nitro.h"
#include "system/nitro-launch.h"
#include "system/nitro-pool.h"

OBJECT_DECLARE_SIMPLE_TYPE(NitroAccelState, NITRO_ACCEL)

/**
 * NitroEvent: something that the policy decides about
 * @NITRO_EVENT_RESET: the system is reset
 * @NITRO_EVENT_POWERDOWN: the user wants the enclave to end
 * @NITRO_EVENT_DEADLINE: no heartbeat came in time
 */
typedef enum NitroEvent {
    NITRO_EVENT_NONE,
    NITRO_EVENT_RESET,
    NITRO_EVENT_POWERDOWN,
    NITRO_EVENT_DEADLINE,
    NITRO_EVENT__MAX
} NitroEvent;

struct NitroAccelState {
    AccelState parent_obj;
    ResettableState reset_state;

    /* Properties */
    char *device;
    NitroEnclaveConfig config;
    GArray *wanted_cpus;        /* uint32_t; NULL: the driver chooses */
    uint32_t powerdown_grace;   /* seconds */
    NitroOnExit on_exit;

    NitroPool *pool;            /* NULL: not known */
    NitroEnclave *enclave;      /* that the monitor sees; NULL: init failed */
    NitroEnclave *next;         /* the one to follow; NULL: none yet */

    /* The launch */
    NitroEnclaveChanged *changed;
    bool setup_begun;           /* setup_post was called */
    bool setup_done;            /* there is a main loop */
    bool armed;                 /* devices know of the launch */
    unsigned launches;          /* enclaves that were started */
    QEMUTimer *retry_timer;     /* pending: devices wait for something */
    uint32_t *host_cpus;        /* one per vCPU object, 0: none */

    /* The policy */
    NitroEvent kept;            /* to be handled when it was started */
    bool powerdown;             /* the user wants the enclave to end */
    bool again;                 /* launch as soon as the enclave is closed */
    unsigned holds;             /* devices that hold QEMU's end */
    NitroEnclaveApplication *application;   /* or NULL */
    uint32_t stop_grace;        /* seconds, for an enclave that is asked */
    int end_status;             /* of QEMU, once the enclave has booted */
    unsigned bad_ends;          /* in a row, before the heartbeat */
    QEMUTimer *hold_timer;      /* pending: devices hold QEMU's end */
    QEMUTimer *grace_timer;     /* pending: the enclave may end by itself */
    QEMUTimer *pause_timer;     /* pending: a reset is due */
    QEMUTimer *patience_timer;  /* pending: the enclave is being closed */
    Notifier exit_notifier;

    Error *migration_blocker;
};

/* The accelerator in use; NULL when another one is */
static inline NitroAccelState *nitro_accel_current(void)
{
    return nitro_allowed ? NITRO_ACCEL(current_accel()) : NULL;
}

/* The CID: the effective one once it was started, before that the wanted one */
static inline uint64_t nitro_current_cid(const NitroAccelState *s)
{
    const NitroEnclaveFacts *facts =
        s->enclave ? nitro_enclave_facts(s->enclave) : NULL;

    return facts && facts->started_ms ? facts->cid : s->config.cid;
}

/* There is no enclave, but there will be one */
static inline bool nitro_launch_due(const NitroAccelState *s)
{
    return s->again || s->next || timer_pending(s->pause_timer);
}

/* The launch */

/**
 * nitro_launch_init: create the first enclave, before there is a main loop
 * @changed: callback of this enclave and of those that follow
 * @errp: filled in on failure
 *
 * Returns: true on success; false when the driver refused something
 */
bool nitro_launch_init(NitroAccelState *s, NitroEnclaveChanged *changed,
                       Error **errp);

/**
 * nitro_launch_setup: prepare the enclave, and start it if the VM runs
 * @errp: filled in on failure
 *
 * To be called once, when QEMU is set up, before there is a main loop.
 *
 * Returns: true when the launch has done all that it may do now
 */
bool nitro_launch_setup(NitroAccelState *s, Error **errp);

/* Take the steps that are possible now; to be called at each change */
void nitro_launch_proceed(NitroAccelState *s);

/* The enclave is closed: begin to launch another one like it */
void nitro_launch_again(NitroAccelState *s);

/* This enclave is the one that the monitor sees now */
void nitro_launch_show(NitroAccelState *s, NitroEnclave *enclave);

/* The enclave runs: let devices and vCPU objects know */
void nitro_launch_started(NitroAccelState *s);

/* There is no enclave any more, or not yet: let devices know */
void nitro_launch_stopped(NitroAccelState *s);

/* Let the machine fill in what it knows */
void nitro_launch_query(NitroEnclaveInfo *info);

/* The enclave is in another state: report that */
void nitro_info_changed(const NitroAccelState *s);

/* The policy */

/* Once, from init_machine */
void nitro_policy_init(NitroAccelState *s);

/* React to a change of state: a NitroEnclaveChanged */
void nitro_policy_changed(void *opaque, NitroEnclave *enclave);

/* No heartbeat came in time */
void nitro_policy_deadline(NitroAccelState *s);

/* Methods of a launcher that are the policy's, and reset */
void nitro_policy_add_methods(ObjectClass *oc);

#endif /* ACCEL_NITRO_INT_H */
