/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The enclave's network card: a process of its own that copies frames between
 * a TAP device and the parent, and gives the device its addresses.  Frames of
 * the parent so never reach process 1, and traffic never delays it.
 */

#ifndef NITRO_INIT_CARD_H
#define NITRO_INIT_CARD_H

#include "config.h"

/*
 * card_start: make the TAP device and start the process
 *
 * Returns: a descriptor for card_wait(); -1 when there will be no network,
 * which has been reported
 */
int card_start(const struct config *config);

/*
 * card_wait: wait until the interface has its addresses, but for @seconds at
 * most; what is missing then is reported, and may still come
 * @fd: of card_start(), is closed
 */
void card_wait(int fd, unsigned seconds);

#endif
