/*
 * GLib's g_thread_try_new(), replaced: there may be no more threads
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A test that links this decides when a thread is refused, as the kernel
 * does at RLIMIT_NPROC or at the limit of a cgroup.  g_thread_new() does not
 * ask.
 */

#ifndef TESTS_UNIT_NITRO_NO_THREADS_H
#define TESTS_UNIT_NITRO_NO_THREADS_H

/* While this is true: refused with G_THREAD_ERROR_AGAIN, "no more threads" */
extern bool no_threads;

#endif
