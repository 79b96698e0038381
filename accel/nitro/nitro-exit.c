/*
 * Nitro Enclaves accelerator: the end of the enclave, and QEMU's
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver says that an enclave ended by POLLHUP on its descriptor, and
 * nothing more.  Closing the descriptor ends the enclave if need be and gives
 * its memory and CPUs back.
 *
 * QEMU then ends by its own rules: as after a guest's power-off, or as after
 * its panic when the enclave never booted.  The exit statuses are those of
 * system/nitro.h.
 */
#include "qemu/osdep.h"
#include <glib-unix.h>
#include "block/aio.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/thread.h"
#include "system/nitro-thread.h"
#include "system/runstate.h"
#include "system/runstate-action.h"
#include "system/system.h"
#include "nitro-int.h"
#include "trace.h"

/* Closing takes longer than this: say so when QEMU exits */
#define CLOSE_PATIENCE_MS 1000

static int failure_status = EXIT_FAILURE;

void nitro_exit_driver_refused(bool refused)
{
    failure_status = refused ? NITRO_STATUS_DRIVER : EXIT_FAILURE;
}

int nitro_accel_failure_status(void)
{
    return failure_status;
}

static int take_enclave_fd(NitroAccelState *s)
{
    int fd = s->enclave_fd;

    if (fd >= 0) {
        trace_nitro_close(fd, s->cid);
    }
    s->enclave_fd = -1;
    g_clear_handle_id(&s->exit_watch, g_source_remove);
    return fd;
}

void nitro_exit_close(NitroAccelState *s)
{
    int fd = take_enclave_fd(s);

    if (fd >= 0) {
        close(fd);
        trace_nitro_closed(fd);
    }
}

typedef struct NitroClose {
    NitroAccelState *s;
    int fd;
} NitroClose;

/* When QEMU exits there is no main loop to call this: see wait_closed() */
static void reap(void *opaque)
{
    NitroAccelState *s = opaque;

    qemu_sem_wait(&s->closed);
    s->closing--;
    nitro_reset_closed(s);
}

static void *close_thread(void *opaque)
{
    g_autofree NitroClose *job = opaque;

    close(job->fd);
    trace_nitro_closed(job->fd);
    qemu_sem_post(&job->s->closed);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), reap, job->s);
    return NULL;
}

/*
 * The hypervisor may take its time to free an enclave: not in the main loop,
 * unless there can be no other thread.
 */
static void close_in_background(NitroAccelState *s)
{
    int fd = take_enclave_fd(s);
    NitroClose *job;

    if (fd < 0) {
        return;
    }
    job = g_new(NitroClose, 1);
    *job = (NitroClose) { s, fd };
    s->closing++;
    if (!nitro_thread_start("nitro-close", close_thread, job, NULL)) {
        close_thread(job);
    }
}

/* The kernel goes on with it when QEMU is gone, but tells nobody */
static void wait_closed(NitroAccelState *s)
{
    for (; s->closing > 0; s->closing--) {
        if (qemu_sem_timedwait(&s->closed, CLOSE_PATIENCE_MS) < 0) {
            warn_report("the driver has not freed the enclave with CID %"
                        PRIu64 " yet, after %.1f s: its memory and CPUs are "
                        "in use until then", s->cid,
                        CLOSE_PATIENCE_MS / 1000.0);
            return;
        }
    }
}

/* QEMU's rules for a panic, with a status of its own where QEMU ends */
static void panicked(void)
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

static void finish(NitroAccelState *s)
{
    g_clear_pointer(&s->hold_timer, timer_free);
    close_in_background(s);
    if (nitro_reset_after_end(s)) {
        return;
    }
    switch (s->outcome) {
    case NITRO_OUTCOME_CLEAN:
        qemu_system_shutdown_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
        break;
    case NITRO_OUTCOME_UNBOOTED:
        panicked();
        break;
    case NITRO_OUTCOME_DEADLINE:
        qemu_system_shutdown_request_with_code(SHUTDOWN_CAUSE_HOST_ERROR,
                                               NITRO_STATUS_DEADLINE);
        break;
    case NITRO_OUTCOME_RESET:
        nitro_reset_begin(s);
        break;
    }
}

static void hold_expired(void *opaque)
{
    NitroAccelState *s = opaque;

    trace_nitro_hold_expired(s->cid, s->holds);
    finish(s);
}

static void tell_devices(NitroAccelState *s)
{
    if (s->armed && nitro_hooks.ops->stopped) {
        nitro_hooks.ops->stopped(nitro_hooks.opaque);
    }
    s->armed = false;
}

static void report_end(NitroAccelState *s)
{
    int64_t ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) - s->started_ms;
    g_autofree char *boot = NULL;

    if (s->state == NITRO_STATE_BOOTED) {
        boot = g_strdup_printf(", booted after %.1f s", s->boot_ms / 1000.0);
    } else if (s->expects_boot) {
        boot = g_strdup(", before its heartbeat");
    }
    info_report("enclave with CID %" PRIu64 " ended after %.1f s%s", s->cid,
                ms / 1000.0, boot ?: "");
}

static void enclave_ended(NitroAccelState *s, NitroOutcome outcome)
{
    report_end(s);
    s->outcome = outcome;
    nitro_move_state(s, NITRO_STATE_EXITED);
    g_clear_pointer(&s->grace_timer, timer_free);
    s->hold_timer = timer_new_ms(QEMU_CLOCK_REALTIME, hold_expired, s);
    tell_devices(s);
    if (s->holds == 0) {
        finish(s);
    } else {
        timer_mod(s->hold_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                  NITRO_SHUTDOWN_HOLD_MS);
    }
}

/* First the driver, so that the console comes to its end */
static void end_enclave(NitroAccelState *s, NitroOutcome outcome)
{
    s->ended_by_us = true;
    close_in_background(s);
    enclave_ended(s, outcome);
}

void nitro_exit_for_reset(NitroAccelState *s)
{
    end_enclave(s, NITRO_OUTCOME_RESET);
}

static bool enclave_runs(NitroAccelState *s)
{
    return s->state == NITRO_STATE_STARTED || s->state == NITRO_STATE_BOOTED;
}

void nitro_accel_boot_failed(void)
{
    NitroAccelState *s = nitro_accel_current();

    if (s && s->state == NITRO_STATE_STARTED) {
        end_enclave(s, NITRO_OUTCOME_DEADLINE);
    }
}

static void grace_expired(void *opaque)
{
    end_enclave(opaque, NITRO_OUTCOME_CLEAN);
}

void nitro_accel_powerdown(void)
{
    NitroAccelState *s = nitro_accel_current();

    if (!s) {
        qemu_system_shutdown_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
        return;
    }
    s->powerdown = true;
    if (!enclave_runs(s)) {
        nitro_reset_cancel(s);
        qemu_system_shutdown_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
    } else if (s->powerdown_grace == 0) {
        end_enclave(s, NITRO_OUTCOME_CLEAN);
    } else if (!s->grace_timer) {
        info_report("system_powerdown: enclave with CID %" PRIu64 " has %"
                    PRIu32 " s to end by itself", s->cid, s->powerdown_grace);
        s->grace_timer = timer_new_ms(QEMU_CLOCK_REALTIME, grace_expired, s);
        timer_mod(s->grace_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                  s->powerdown_grace * 1000LL);
    }
}

void nitro_accel_hold_shutdown(void)
{
    NitroAccelState *s = nitro_accel_current();

    if (s) {
        s->holds++;
    }
}

void nitro_accel_release_shutdown(void)
{
    NitroAccelState *s = nitro_accel_current();

    if (!s) {
        return;
    }
    assert(s->holds > 0);
    s->holds--;
    /* Pending timer: the stopped hook has returned and somebody held it */
    if (s->holds == 0 && s->hold_timer && timer_pending(s->hold_timer)) {
        finish(s);
    }
}

static gboolean enclave_hup(gint fd, GIOCondition condition, gpointer opaque)
{
    NitroAccelState *s = opaque;
    bool wanted = s->state == NITRO_STATE_BOOTED || !s->expects_boot ||
                  s->grace_timer;

    trace_nitro_hup(fd, condition, s->cid);
    s->exit_watch = 0;
    enclave_ended(s, wanted ? NITRO_OUTCOME_CLEAN : NITRO_OUTCOME_UNBOOTED);
    return G_SOURCE_REMOVE;
}

void nitro_exit_watch(NitroAccelState *s)
{
    s->exit_watch = g_unix_fd_add(s->enclave_fd, G_IO_HUP, enclave_hup, s);
}

void nitro_exit_failed(NitroAccelState *s)
{
    nitro_retry_done(s);
    s->relaunch = false;
    if (s->state == NITRO_STATE_EXITED) {
        nitro_info_moved(s, NITRO_STATE_CREATED);
    } else {
        nitro_move_state(s, NITRO_STATE_EXITED);
    }
    close_in_background(s);
    tell_devices(s);
    qemu_system_shutdown_request_with_code(SHUTDOWN_CAUSE_HOST_ERROR,
                                           failure_status);
}

static void qemu_exits(Notifier *notifier, void *data)
{
    NitroAccelState *s = container_of(notifier, NitroAccelState,
                                      exit_notifier);

    close_in_background(s);
    wait_closed(s);
}

void nitro_exit_init(NitroAccelState *s)
{
    qemu_sem_init(&s->closed, 0);
    s->exit_notifier.notify = qemu_exits;
    qemu_add_exit_notifier(&s->exit_notifier);
}
