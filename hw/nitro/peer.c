/*
 * Nitro Enclaves: who connects to a device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "peer.h"
#include "system/nitro-compat.h"
#include "vsock.h"

const char *nitro_peer_refusal(QIOChannelSocket *sioc, uint32_t wanted,
                               uint32_t *cid)
{
    *cid = 0;
    if (!nitro_vsock_peer_cid(sioc, cid)) {
        return "has no CID";
    }
    if (*cid != wanted) {
        return "is not our enclave";
    }
    if (!nitro_set_nonblocking(QIO_CHANNEL(sioc), NULL)) {
        return "cannot be set up";
    }
    return NULL;
}
