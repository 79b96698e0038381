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
 */
#include "qemu/osdep.h"
#include <glib-unix.h>
#include "qemu/error-report.h"
#include "qemu/thread.h"
#include "system/runstate.h"
#include "system/system.h"
#include "nitro-int.h"
#include "trace.h"

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

static void *close_thread(void *opaque)
{
    int fd = GPOINTER_TO_INT(opaque);

    close(fd);
    trace_nitro_closed(fd);
    return NULL;
}

/* The hypervisor may take its time to free an enclave: not in the main loop */
static void close_in_background(NitroAccelState *s)
{
    int fd = take_enclave_fd(s);
    QemuThread thread;

    if (fd >= 0) {
        qemu_thread_create(&thread, "nitro-close", close_thread,
                           GINT_TO_POINTER(fd), QEMU_THREAD_DETACHED);
    }
}

static void finish(NitroAccelState *s)
{
    timer_free(s->hold_timer);
    s->hold_timer = NULL;
    close_in_background(s);
    qemu_system_shutdown_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
}

static void hold_expired(void *opaque)
{
    NitroAccelState *s = opaque;

    trace_nitro_hold_expired(s->cid, s->holds);
    finish(s);
}

static void enclave_ended(NitroAccelState *s)
{
    int64_t ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) - s->started_ms;
    bool booted = s->state == NITRO_STATE_BOOTED;

    info_report("enclave with CID %" PRIu64 " ended after %.1f s%s", s->cid,
                ms / 1000.0, booted ? "" : ", before its heartbeat");
    nitro_move_state(s, NITRO_STATE_EXITED);
    s->hold_timer = timer_new_ms(QEMU_CLOCK_REALTIME, hold_expired, s);
    if (nitro_hooks.ops->stopped) {
        nitro_hooks.ops->stopped(nitro_hooks.opaque);
    }
    if (s->holds == 0) {
        finish(s);
    } else {
        timer_mod(s->hold_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                  NITRO_SHUTDOWN_HOLD_MS);
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

    trace_nitro_hup(fd, condition, s->cid);
    s->exit_watch = 0;
    enclave_ended(s);
    return G_SOURCE_REMOVE;
}

void nitro_exit_watch(NitroAccelState *s)
{
    s->exit_watch = g_unix_fd_add(s->enclave_fd, G_IO_HUP, enclave_hup, s);
}

void nitro_exit_failed(NitroAccelState *s)
{
    nitro_move_state(s, NITRO_STATE_EXITED);
    close_in_background(s);
    qemu_system_shutdown_request_with_code(SHUTDOWN_CAUSE_HOST_ERROR,
                                           EXIT_FAILURE);
}

static void qemu_exits(Notifier *notifier, void *data)
{
    nitro_exit_close(container_of(notifier, NitroAccelState, exit_notifier));
}

void nitro_exit_init(NitroAccelState *s)
{
    s->exit_notifier.notify = qemu_exits;
    qemu_add_exit_notifier(&s->exit_notifier);
}
