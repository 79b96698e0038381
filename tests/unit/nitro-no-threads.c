/*
 * GLib's g_thread_try_new(), replaced: there may be no more threads
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "nitro-no-threads.h"

bool no_threads;

GThread *g_thread_try_new(const char *name, GThreadFunc func, gpointer data,
                          GError **error)
{
    if (no_threads) {
        g_set_error_literal(error, G_THREAD_ERROR, G_THREAD_ERROR_AGAIN,
                            "no more threads");
        return NULL;
    }
    return g_thread_new(name, func, data);
}
