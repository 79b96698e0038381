/*
 * Nitro Enclaves: threads whose creation may fail
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "system/nitro-thread.h"

bool nitro_thread_start(const char *name, void *(*func)(void *opaque),
                        void *opaque, Error **errp)
{
    g_autoptr(GError) gerr = NULL;
    GThread *thread;
    sigset_t all, old;

    /* A thread begins with the signals of its creator */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    thread = g_thread_try_new(name, func, opaque, &gerr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!thread) {
        error_setg(errp, "%s", gerr->message);
        return false;
    }
    g_thread_unref(thread);
    return true;
}
