/*
 * Nitro Enclaves accelerator: what follows from which event
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One table decides what an event means for the enclave, a second one what the
 * end of the enclave means for QEMU:
 *
 *   ended by itself, or by powerdown   as after a guest's power-off, status 0
 *                                      or its program's
 *   ended before its heartbeat         as after its panic, status 4
 *   no heartbeat in time               shutdown, status 5
 *   launch failed                      shutdown, status 3 or 1
 *   reset                              launch again
 *
 * on-exit=reset launches again in place of the first three, see
 * policy_relaunch().  After the enclave has ended, devices may delay the end of
 * QEMU for a moment to deliver the last output of the enclave.
 */
#include "qemu/osdep.h"
#include "qapi/clone-visitor.h"
#include "qapi/qapi-visit-nitro.h"
#include "qemu/error-report.h"
#include "system/reset.h"
#include "system/runstate.h"
#include "system/runstate-action.h"
#include "system/system.h"
#include "nitro-int.h"
#include "trace.h"

/* If closing takes longer than this, warn */
#define CLOSE_PATIENCE_MS 1000

/* After ends before the heartbeat: doubled each time, up to the last */
#define PAUSE_FIRST_MS 1000
#define PAUSE_LAST_MS 60000

/* Without a heartbeat: an enclave that lived this long had booted */
#define GOOD_LIFE_MS 10000

static int64_t now_ms(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

static const NitroEnclaveFacts *facts(const NitroAccelState *s)
{
    return nitro_enclave_facts(s->enclave);
}

static int policy_failure_status(NitroLauncher *launcher)
{
    const NitroEnclaveFacts *f = facts(NITRO_ACCEL(launcher));

    return f->refusal ? NITRO_STATUS_DRIVER : EXIT_FAILURE;
}

/* Launch again */

static void begin_launch(NitroAccelState *s)
{
    timer_del(s->patience_timer);
    s->again = false;
    s->powerdown = false;
    /* A shutdown that is due keeps its exit status */
    if (qemu_shutdown_requested_get() == SHUTDOWN_CAUSE_NONE) {
        qemu_system_set_exit_code(EXIT_SUCCESS);
    }
    nitro_launch_again(s);
}

static void launch_again(NitroAccelState *s)
{
    trace_nitro_policy_again(s->launches, facts(s)->life);
    timer_del(s->pause_timer);
    s->again = true;
    if (facts(s)->life == NITRO_LIFE_CLOSED) {
        begin_launch(s);
    } else {
        timer_mod(s->patience_timer, now_ms() + CLOSE_PATIENCE_MS);
        nitro_enclave_close(s->enclave);
    }
}

static void lost_patience(void *opaque)
{
    NitroAccelState *s = opaque;

    warn_report("the driver has not freed the enclave with CID %" PRIu64
                " yet, after %.1f s: it is launched again when its memory is "
                "back", nitro_current_cid(s), CLOSE_PATIENCE_MS / 1000.0);
}

static void pause_over(void *opaque)
{
    qemu_system_reset_request(SHUTDOWN_CAUSE_GUEST_RESET);
}

/* An enclave that cannot boot must not keep the parent busy */
static void pause_and_reset(NitroAccelState *s)
{
    int64_t ms = PAUSE_FIRST_MS << MIN(s->bad_ends, 16);

    ms = MIN(ms, PAUSE_LAST_MS);
    s->bad_ends++;
    trace_nitro_policy_pause(s->bad_ends, ms);
    info_report("launching it again in %.0f s, as it did not boot (%u in a "
                "row)", ms / 1000.0, s->bad_ends);
    timer_mod(s->pause_timer, now_ms() + ms);
}

/* What the end of the enclave means for QEMU */

static void shut_down(NitroAccelState *s)
{
    qemu_system_shutdown_request_with_code(SHUTDOWN_CAUSE_GUEST_SHUTDOWN,
                                           s->end_status);
}

/* QEMU's rules for a panic, with a status of its own where QEMU ends */
static void policy_panic(NitroAccelState *s)
{
    bool stays = panic_action == PANIC_ACTION_PAUSE ||
                 (panic_action == PANIC_ACTION_SHUTDOWN &&
                  shutdown_action == SHUTDOWN_ACTION_PAUSE);

    qemu_system_guest_panicked(NULL);
    if (!stays) {
        qemu_system_shutdown_request_with_code(SHUTDOWN_CAUSE_GUEST_PANIC,
                                               NITRO_STATUS_UNBOOTED);
    }
}

static void give_up(NitroAccelState *s)
{
    qemu_system_shutdown_request_with_code(SHUTDOWN_CAUSE_HOST_ERROR,
                                           NITRO_STATUS_DEADLINE);
}

static void policy_fail(NitroAccelState *s)
{
    qemu_system_shutdown_request_with_code(SHUTDOWN_CAUSE_HOST_ERROR,
                                           policy_failure_status(
                                               NITRO_LAUNCHER(s)));
}

static const struct {
    void (*stay)(NitroAccelState *s);   /* on-exit=shutdown */
    bool may_reset;                     /* on-exit=reset changes that */
} ends[NITRO_ENCLAVE_EXIT_CAUSE__MAX] = {
    [NITRO_ENCLAVE_EXIT_CAUSE_ENDED] = { shut_down, true },
    [NITRO_ENCLAVE_EXIT_CAUSE_ENDED_BEFORE_BOOT] = { policy_panic, true },
    [NITRO_ENCLAVE_EXIT_CAUSE_BOOT_TIMEOUT] = { give_up, true },
    [NITRO_ENCLAVE_EXIT_CAUSE_POWERDOWN] = { shut_down, false },
    [NITRO_ENCLAVE_EXIT_CAUSE_RESET] = { launch_again, false },
    [NITRO_ENCLAVE_EXIT_CAUSE_START_FAILED] = { policy_fail, false },
};

static bool had_booted(const NitroEnclaveFacts *f)
{
    return f->cause == NITRO_ENCLAVE_EXIT_CAUSE_ENDED &&
           (f->expects_boot || f->ended_ms - f->started_ms >= GOOD_LIFE_MS);
}

/*
 * on-exit=reset: not for an enclave that the user wanted to end, nor for a
 * crash that the user wants to look at.
 */
static bool policy_relaunch(NitroAccelState *s)
{
    const NitroEnclaveFacts *f = facts(s);

    if (s->on_exit != NITRO_ON_EXIT_RESET || !ends[f->cause].may_reset ||
        (f->cause == NITRO_ENCLAVE_EXIT_CAUSE_ENDED && s->powerdown) ||
        (f->cause == NITRO_ENCLAVE_EXIT_CAUSE_ENDED_BEFORE_BOOT &&
         panic_action == PANIC_ACTION_PAUSE)) {
        return false;
    }
    if (had_booted(f)) {
        s->bad_ends = 0;
        qemu_system_reset_request(SHUTDOWN_CAUSE_GUEST_RESET);
        return true;
    }
    if (reboot_action == REBOOT_ACTION_SHUTDOWN) {
        return false;
    }
    pause_and_reset(s);
    return true;
}

/* No device delays the end of QEMU any more */
static void policy_finish(NitroAccelState *s)
{
    timer_del(s->hold_timer);
    if (s->again) {
        launch_again(s);
        return;
    }
    nitro_enclave_close(s->enclave);
    if (!policy_relaunch(s)) {
        ends[facts(s)->cause].stay(s);
    }
}

static void hold_expired(void *opaque)
{
    NitroAccelState *s = opaque;

    trace_nitro_policy_hold_expired(facts(s)->cid, s->holds);
    policy_finish(s);
}

static void policy_hold(NitroLauncher *launcher, bool hold)
{
    NitroAccelState *s = NITRO_ACCEL(launcher);

    if (hold) {
        s->holds++;
        return;
    }
    assert(s->holds > 0);
    s->holds--;
    /* Pending timer: the stopped hook has returned */
    if (s->holds == 0 && timer_pending(s->hold_timer)) {
        policy_finish(s);
    }
}

/* What an event means for the enclave */

static void end_for_reset(NitroAccelState *s)
{
    s->again = true;
    nitro_enclave_end(s->enclave, NITRO_ENCLAVE_EXIT_CAUSE_RESET);
}

static void end_too_late(NitroAccelState *s)
{
    nitro_enclave_end(s->enclave, NITRO_ENCLAVE_EXIT_CAUSE_BOOT_TIMEOUT);
}

static void end_for_powerdown(NitroAccelState *s)
{
    nitro_enclave_end(s->enclave, NITRO_ENCLAVE_EXIT_CAUSE_POWERDOWN);
}

static uint32_t grace_seconds(const NitroAccelState *s)
{
    return MAX(s->powerdown_grace, s->stop_grace);
}

static void grace_over(void *opaque)
{
    NitroAccelState *s = opaque;

    warn_report("system_powerdown: enclave with CID %" PRIu64 " did not end "
                "within %" PRIu32 " s and is terminated; allow more with "
                "-device nitro-agent,stop-timeout=SECONDS or -accel "
                "nitro,powerdown-grace=SECONDS", facts(s)->cid,
                grace_seconds(s));
    end_for_powerdown(s);
}

static void power_down(NitroAccelState *s)
{
    uint32_t grace = grace_seconds(s);

    s->powerdown = true;
    if (grace == 0) {
        end_for_powerdown(s);
        return;
    }
    info_report("system_powerdown: enclave with CID %" PRIu64 " has %" PRIu32
                " s to end by itself", facts(s)->cid, grace);
    nitro_enclave_expect_end(s->enclave);
    timer_mod(s->grace_timer, now_ms() + grace * 1000LL);
}

static void power_off(NitroAccelState *s)
{
    s->powerdown = true;
    timer_del(s->pause_timer);
    shut_down(s);
}

static void keep_reset(NitroAccelState *s)
{
    s->kept = s->kept ?: NITRO_EVENT_RESET;
}

static void keep_powerdown(NitroAccelState *s)
{
    s->kept = NITRO_EVENT_POWERDOWN;
}

/* When the devices are done */
static void reset_later(NitroAccelState *s)
{
    s->again = true;
}

typedef enum Situation {
    IDLE,                       /* there is an enclave, nothing was started */
    STARTING,                   /* the driver is asked to start it */
    RUNS,
    GRACE,                      /* it runs, and should end by itself */
    HELD,                       /* it ended, devices hold what follows */
    ENDED,
    AGAIN,                      /* another launch is under way */
    SITUATION__MAX
} Situation;

static void (*const rules[SITUATION__MAX][NITRO_EVENT__MAX])(NitroAccelState *)
    = {
    [IDLE] = {
        [NITRO_EVENT_POWERDOWN] = power_off,
    },
    [STARTING] = {
        [NITRO_EVENT_RESET] = keep_reset,
        [NITRO_EVENT_POWERDOWN] = keep_powerdown,
    },
    [RUNS] = {
        [NITRO_EVENT_RESET] = end_for_reset,
        [NITRO_EVENT_POWERDOWN] = power_down,
        [NITRO_EVENT_DEADLINE] = end_too_late,
    },
    [GRACE] = {
        [NITRO_EVENT_RESET] = end_for_reset,
        [NITRO_EVENT_DEADLINE] = end_too_late,
    },
    [HELD] = {
        [NITRO_EVENT_RESET] = reset_later,
        [NITRO_EVENT_POWERDOWN] = power_off,
    },
    [ENDED] = {
        [NITRO_EVENT_RESET] = launch_again,
        [NITRO_EVENT_POWERDOWN] = power_off,
    },
    [AGAIN] = {
        [NITRO_EVENT_POWERDOWN] = power_off,
    },
};

static Situation situation(const NitroAccelState *s)
{
    const NitroEnclaveFacts *f = facts(s);

    if (nitro_enclave_runs(s->enclave)) {
        return timer_pending(s->grace_timer) ? GRACE : RUNS;
    }
    if (timer_pending(s->hold_timer)) {
        return HELD;
    }
    if (s->again || s->next) {
        return AGAIN;
    }
    if (f->life == NITRO_LIFE_PREPARED && f->busy) {
        return STARTING;
    }
    return f->life >= NITRO_LIFE_ENDED ? ENDED : IDLE;
}

static void policy_handle(NitroAccelState *s, NitroEvent event)
{
    Situation now = situation(s);

    trace_nitro_policy_event(event, now, facts(s)->cid);
    if (rules[now][event]) {
        rules[now][event](s);
    }
}

/* Nothing to do before the first launch, when QEMU resets once */
static void policy_reset_hold(Object *obj, ResetType type)
{
    policy_handle(NITRO_ACCEL(obj), NITRO_EVENT_RESET);
}

static ResettableState *policy_reset_state(Object *obj)
{
    return &NITRO_ACCEL(obj)->reset_state;
}

static void policy_powerdown(NitroLauncher *launcher)
{
    policy_handle(NITRO_ACCEL(launcher), NITRO_EVENT_POWERDOWN);
}

static void policy_set_application(NitroLauncher *launcher,
                                   const NitroEnclaveApplication *app,
                                   uint32_t stop_grace, int exit_status)
{
    NitroAccelState *s = NITRO_ACCEL(launcher);

    qapi_free_NitroEnclaveApplication(s->application);
    s->application = QAPI_CLONE(NitroEnclaveApplication, app);
    s->stop_grace = stop_grace;
    s->end_status = exit_status;
}

void nitro_policy_deadline(NitroAccelState *s)
{
    if (facts(s)->life == NITRO_LIFE_STARTED) {
        policy_handle(s, NITRO_EVENT_DEADLINE);
    }
}

/* What becomes of the enclave */

static void policy_started(NitroAccelState *s)
{
    NitroEvent kept = s->kept;

    nitro_launch_started(s);
    s->kept = NITRO_EVENT_NONE;
    policy_handle(s, kept);
}

static void policy_ended(NitroAccelState *s)
{
    s->kept = NITRO_EVENT_NONE;
    timer_del(s->grace_timer);
    nitro_launch_stopped(s);
    if (s->holds == 0 || facts(s)->error) {
        policy_finish(s);
    } else {
        timer_mod(s->hold_timer, now_ms() + NITRO_SHUTDOWN_HOLD_MS);
    }
}

void nitro_policy_changed(void *opaque, NitroEnclave *enclave)
{
    NitroAccelState *s = opaque;

    nitro_launch_show(s, enclave);
    nitro_info_changed(s);
    switch (facts(s)->life) {
    case NITRO_LIFE_PREPARED:
        nitro_launch_proceed(s);
        break;
    case NITRO_LIFE_STARTED:
        policy_started(s);
        break;
    case NITRO_LIFE_ENDED:
    case NITRO_LIFE_CLOSING:
        policy_ended(s);
        break;
    case NITRO_LIFE_CLOSED:
        if (s->again && !timer_pending(s->hold_timer)) {
            begin_launch(s);
        }
        break;
    default:
        break;
    }
}

/* QEMU's end */

/* The kernel completes it after QEMU has exited, but nobody is notified */
static void close_and_wait(NitroAccelState *s, NitroEnclave *enclave)
{
    if (!nitro_enclave_close_wait(enclave, CLOSE_PATIENCE_MS)) {
        warn_report("the driver has not freed the enclave with CID %" PRIu64
                    " yet, after %.1f s: its memory and CPUs are in use until "
                    "then", nitro_current_cid(s), CLOSE_PATIENCE_MS / 1000.0);
    }
}

static void qemu_exits(Notifier *notifier, void *data)
{
    NitroAccelState *s = container_of(notifier, NitroAccelState,
                                      exit_notifier);

    close_and_wait(s, s->next ?: s->enclave);
}

void nitro_policy_init(NitroAccelState *s)
{
    s->hold_timer = timer_new_ms(QEMU_CLOCK_REALTIME, hold_expired, s);
    s->grace_timer = timer_new_ms(QEMU_CLOCK_REALTIME, grace_over, s);
    s->pause_timer = timer_new_ms(QEMU_CLOCK_REALTIME, pause_over, s);
    s->patience_timer = timer_new_ms(QEMU_CLOCK_REALTIME, lost_patience, s);
    s->exit_notifier.notify = qemu_exits;
    qemu_add_exit_notifier(&s->exit_notifier);
    qemu_register_resettable(OBJECT(s));
}

void nitro_policy_add_methods(ObjectClass *oc)
{
    NitroLauncherClass *lc = NITRO_LAUNCHER_CLASS(oc);
    ResettableClass *rc = RESETTABLE_CLASS(oc);

    lc->failure_status = policy_failure_status;
    lc->hold = policy_hold;
    lc->powerdown = policy_powerdown;
    lc->set_application = policy_set_application;
    rc->get_state = policy_reset_state;
    rc->phases.hold = policy_reset_hold;
}
