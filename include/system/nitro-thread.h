/*
 * Nitro Enclaves: threads whose creation may fail
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SYSTEM_NITRO_THREAD_H
#define SYSTEM_NITRO_THREAD_H

/**
 * nitro_thread_start: run something outside of the main loop
 * @name: of the thread
 * @func: what to run; its result is ignored
 * @opaque: passed to @func
 * @errp: filled in when no thread can be created
 *
 * The thread is detached and gets no signals, as one of qemu_thread_create().
 * That function ends QEMU, and so the enclave, when it fails.
 *
 * Returns: true when it runs.
 */
bool nitro_thread_start(const char *name, void *(*func)(void *opaque),
                        void *opaque, Error **errp);

#endif /* SYSTEM_NITRO_THREAD_H */
