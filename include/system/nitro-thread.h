/*
 * Nitro Enclaves: threads that may be refused
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
 * @errp: filled in when there can be no more threads
 *
 * Like qemu_thread_create() of a detached thread, which gets no signals; but
 * that ends QEMU, and the enclave with it, when it fails.
 *
 * Returns: true when it runs.
 */
bool nitro_thread_start(const char *name, void *(*func)(void *opaque),
                        void *opaque, Error **errp);

#endif /* SYSTEM_NITRO_THREAD_H */
