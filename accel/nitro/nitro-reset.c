/*
 * Nitro Enclaves accelerator: launch again
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An enclave cannot begin again.  So a reset of the system ends it, waits in
 * the background until the driver has given the memory back, and launches
 * another one from the same image and memory:
 *
 *   end, if it runs -> closed -> created, image loaded -> as in nitro-launch.c
 *
 * A second reset meanwhile finds its work done.  One that comes before the
 * start has nothing to end: memory and image are as they shall be.
 *
 * With on-exit=reset the enclave's own end requests a reset.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "system/reset.h"
#include "system/runstate.h"
#include "system/runstate-action.h"
#include "nitro-int.h"
#include "nitro-state.h"
#include "trace.h"

/* Closing takes longer than this: say why nothing happens */
#define PATIENCE_MS 1000

/* After ends before the heartbeat: doubled each time, up to the last */
#define PAUSE_FIRST_MS 1000
#define PAUSE_LAST_MS 60000

/* Without a heartbeat, whoever lived that long had booted */
#define GOOD_LIFE_MS 10000

static int64_t now_ms(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

/* A shutdown that is due keeps its exit status */
static void forget_status(void)
{
    if (qemu_shutdown_requested_get() == SHUTDOWN_CAUSE_NONE) {
        qemu_system_set_exit_code(EXIT_SUCCESS);
    }
}

/* All that is true of one enclave and not of the next */
static void forget_life(NitroAccelState *s)
{
    s->cid = s->wanted_cid;
    s->slot_uid = 0;
    memset(s->cpus->data, 0, s->cpus->len * sizeof(uint32_t));
    g_array_set_size(s->cpus, 0);
    s->donated = false;
    s->expects_boot = false;
    s->started_ms = s->exited_ms = 0;
    s->boot_ms = 0;
    s->outcome = NITRO_OUTCOME_CLEAN;
    s->ended_by_us = s->powerdown = false;
    g_clear_pointer(&s->start_error, g_free);
    nitro_retry_done(s);
    nitro_exit_driver_refused(false);
    forget_status();
}

static void lost_patience(void *opaque)
{
    NitroAccelState *s = opaque;

    warn_report("the driver has not freed the enclave with CID %" PRIu64
                " yet, after %.1f s: it is launched again when its memory is "
                "back", s->cid, PATIENCE_MS / 1000.0);
}

static void begin(NitroAccelState *s)
{
    timer_del(s->patience_timer);
    forget_life(s);
    /* Not now: devices may be about to be reset, and the VM be paused */
    timer_mod(s->retry_timer, now_ms());
}

void nitro_reset_begin(NitroAccelState *s)
{
    if (s->relaunch) {
        return;
    }
    trace_nitro_reset_begin(s->launches, s->closing);
    timer_del(s->pause_timer);
    s->relaunch = true;
    if (s->closing == 0) {
        begin(s);
    } else {
        timer_mod(s->patience_timer, now_ms() + PATIENCE_MS);
    }
}

void nitro_reset_closed(NitroAccelState *s)
{
    if (s->relaunch && s->closing == 0) {
        begin(s);
    }
}

static bool load_image(NitroAccelState *s, Error **errp)
{
    return !nitro_hooks.ops->load ||
           nitro_hooks.ops->load(nitro_hooks.opaque, errp);
}

NitroStep nitro_reset_create(NitroAccelState *s, Error **errp)
{
    Error *err = NULL;
    int ret;

    if (!s->relaunch || s->closing > 0) {
        return NITRO_STEP_DONE;
    }
    ret = nitro_create_enclave(s, &err);
    if (ret < 0 && nitro_retry_later(s, ret)) {
        error_free(err);
        return NITRO_STEP_LATER;
    }
    nitro_retry_done(s);
    nitro_exit_driver_refused(ret < 0);
    if (ret < 0) {
        error_propagate(errp, err);
        return NITRO_STEP_FAILED;
    }
    s->relaunch = false;
    nitro_move_state(s, NITRO_STATE_CREATED);
    return load_image(s, errp) ? NITRO_STEP_DONE : NITRO_STEP_FAILED;
}

/* QEMU resets once before the first launch: state CREATED, nothing to do */
static void reset(void *opaque)
{
    NitroAccelState *s = opaque;

    trace_nitro_reset(nitro_state_name(s->state), s->cid);
    switch (s->state) {
    case NITRO_STATE_STARTED:
    case NITRO_STATE_BOOTED:
        nitro_exit_for_reset(s);
        break;
    case NITRO_STATE_EXITED:
        if (s->hold_timer) {
            s->outcome = NITRO_OUTCOME_RESET;
        } else {
            nitro_reset_begin(s);
        }
        break;
    default:
        break;
    }
}

/* Ends of the enclave by itself */

static void pause_over(void *opaque)
{
    qemu_system_reset_request(SHUTDOWN_CAUSE_GUEST_RESET);
}

static bool booted(const NitroAccelState *s)
{
    return s->outcome == NITRO_OUTCOME_CLEAN &&
           (s->expects_boot || s->exited_ms - s->started_ms >= GOOD_LIFE_MS);
}

/* An enclave that cannot boot must not keep the parent busy */
static void pause_and_reset(NitroAccelState *s)
{
    int64_t ms = PAUSE_FIRST_MS << MIN(s->bad_ends, 16);

    ms = MIN(ms, PAUSE_LAST_MS);
    s->bad_ends++;
    trace_nitro_reset_pause(s->bad_ends, ms);
    info_report("launching it again in %.0f s, as it did not boot (%u in a "
                "row)", ms / 1000.0, s->bad_ends);
    timer_mod(s->pause_timer, now_ms() + ms);
}

static bool wants_reset(const NitroAccelState *s)
{
    switch (s->outcome) {
    case NITRO_OUTCOME_CLEAN:
        return !s->powerdown;
    case NITRO_OUTCOME_UNBOOTED:
        return panic_action != PANIC_ACTION_PAUSE;
    case NITRO_OUTCOME_DEADLINE:
        return true;
    default:
        return false;
    }
}

bool nitro_reset_after_end(NitroAccelState *s)
{
    if (s->on_exit != NITRO_ON_EXIT_RESET || !wants_reset(s)) {
        return false;
    }
    if (booted(s)) {
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

bool nitro_reset_due(const NitroAccelState *s)
{
    return s->relaunch || timer_pending(s->pause_timer) ||
           (s->hold_timer && s->outcome == NITRO_OUTCOME_RESET);
}

void nitro_reset_cancel(NitroAccelState *s)
{
    timer_del(s->pause_timer);
}

void nitro_reset_init(NitroAccelState *s)
{
    s->patience_timer = timer_new_ms(QEMU_CLOCK_REALTIME, lost_patience, s);
    s->pause_timer = timer_new_ms(QEMU_CLOCK_REALTIME, pause_over, s);
    qemu_register_reset(reset, s);
}
