/*
 * Nitro Enclaves: SIGTERM of QEMU, for the agent device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "agent-sigterm.h"
#include "qemu/error-report.h"
#include "qemu/event_notifier.h"
#include "qemu/main-loop.h"
#include "system/runstate.h"

/* Signals are the process's, so there is one of these */
static struct {
    NitroSigtermHandler *handler;       /* NULL: not caught */
    void *opaque;
    EventNotifier notifier;
    struct sigaction old;
    volatile pid_t sender;      /* volatile: written as a signal arrives */
} catcher;

/* Nothing but this is safe in the handler of a signal */
static void sigterm_caught(int number, siginfo_t *info, void *context)
{
    int err = errno;

    catcher.sender = info->si_pid;
    event_notifier_set(&catcher.notifier);
    errno = err;
}

static void sigterm_handle(EventNotifier *notifier)
{
    if (event_notifier_test_and_clear(notifier) &&
        !catcher.handler(catcher.opaque)) {
        qemu_system_killed(SIGTERM, catcher.sender);
    }
}

void nitro_sigterm_catch(NitroSigtermHandler *handler, void *opaque)
{
    struct sigaction action = {
        .sa_sigaction = sigterm_caught,
        .sa_flags = SA_SIGINFO | SA_RESTART,
    };
    int err;

    if (catcher.handler) {
        return;
    }
    err = event_notifier_init(&catcher.notifier, false);
    if (err < 0) {
        warn_report("cannot catch SIGTERM, which ends the enclave at once: %s",
                    strerror(-err));
        return;
    }
    catcher.handler = handler;
    catcher.opaque = opaque;
    event_notifier_set_handler(&catcher.notifier, sigterm_handle);
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, &catcher.old);
}

void nitro_sigterm_release(void)
{
    if (!catcher.handler) {
        return;
    }
    sigaction(SIGTERM, &catcher.old, NULL);
    event_notifier_set_handler(&catcher.notifier, NULL);
    event_notifier_cleanup(&catcher.notifier);
    catcher.handler = NULL;
}
