/*
 * Nitro Enclaves: who connects to a device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_NITRO_PEER_H
#define HW_NITRO_PEER_H

#include "io/channel-socket.h"

/**
 * nitro_peer_refusal: check a connection that was accepted
 * @sioc: the connection; does not block any more when it is good
 * @wanted: CID of the only enclave that may connect
 * @cid: filled in with the peer's CID, or 0, for traces
 *
 * Any process of the parent and any enclave can reach a port of the parent.
 *
 * Returns: NULL when the connection is good, else why it is not; static
 */
const char *nitro_peer_refusal(QIOChannelSocket *sioc, uint32_t wanted,
                               uint32_t *cid);

#endif
