/*
 * Debug consoles of enclaves, served by the hypervisor at CID 0
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The console of the enclave with CID n is a stream at CID 0, port 10000 + n.
 * A reader gets the backlog first (the last NHV_CONSOLE_BACKLOG bytes), then
 * what follows, and end of file once the enclave has ended and everything was
 * delivered.  Any number of readers; each is paced by its own credit.  A
 * reader that is slower than the enclave for longer than the backlog lasts
 * misses the middle, which is reported.  What readers write is discarded.
 */

#ifndef NHV_CONSOLE_H
#define NHV_CONSOLE_H

#include "switch.h"

#define NHV_CONSOLE_BACKLOG   (1024 * 1024)

typedef struct NhvConsoleService NhvConsoleService;
typedef struct NhvConsole NhvConsole;

/**
 * nhv_console_service_new: attach CID 0 to the switch
 * @sw: the switch, where CID 0 must be free
 */
NhvConsoleService *nhv_console_service_new(NhvSwitch *sw);

/**
 * nhv_console_service_free: detach CID 0
 * @service: the service, or NULL; all its consoles must be closed
 */
void nhv_console_service_free(NhvConsoleService *service);

/**
 * nhv_console_service_hang_up: reset all readers of all consoles
 * @service: the service
 *
 * They may connect again, and get the backlog then.
 */
void nhv_console_service_hang_up(NhvConsoleService *service);

/**
 * nhv_console_open: begin to serve an enclave's console
 * @service: the service
 * @cid: CID of the enclave, which has no console yet
 */
NhvConsole *nhv_console_open(NhvConsoleService *service, uint32_t cid);

/**
 * nhv_console_append: the enclave has written something
 * @console: the console, not ended
 * @buf: the bytes
 * @len: how many
 */
void nhv_console_append(NhvConsole *console, const void *buf, size_t len);

/**
 * nhv_console_end: the enclave will write no more
 * @console: the console
 *
 * Readers get the rest and end of file; new ones still get the backlog.
 */
void nhv_console_end(NhvConsole *console);

/**
 * nhv_console_close: forget the console
 * @console: the console, or NULL
 *
 * Readers that have not got everything are reset.
 */
void nhv_console_close(NhvConsole *console);

#endif
