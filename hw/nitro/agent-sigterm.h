/*
 * Nitro Enclaves: SIGTERM of QEMU, for the agent device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Services and containers end QEMU by SIGTERM, at which QEMU ends an enclave at
 * once.  A device can do something else first.
 */

#ifndef HW_NITRO_AGENT_SIGTERM_H
#define HW_NITRO_AGENT_SIGTERM_H

/**
 * NitroSigtermHandler: what to do at SIGTERM
 *
 * Called in the main loop with the BQL.
 *
 * Returns: false when QEMU is to end as without a handler
 */
typedef bool NitroSigtermHandler(void *opaque);

/**
 * nitro_sigterm_catch: call a function at each SIGTERM from now on
 * @handler: the function; there is one at a time
 * @opaque: its argument
 *
 * To be called in the main loop: QEMU sets up its own handler after it has
 * made the devices.  Does nothing when SIGTERM is caught already.  A failure
 * is reported to the user, and leaves SIGTERM to QEMU.
 */
void nitro_sigterm_catch(NitroSigtermHandler *handler, void *opaque);

/* nitro_sigterm_release: leave SIGTERM to QEMU again, if it was caught */
void nitro_sigterm_release(void);

#endif
