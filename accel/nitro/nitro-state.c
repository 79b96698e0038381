/*
 * Nitro Enclaves accelerator: which state may follow which, which CID may be
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Pure rules, without the driver and without QOM.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "nitro-state.h"

static const char *const names[NITRO_STATE__MAX] = {
    [NITRO_STATE_CREATED] = "created",
    [NITRO_STATE_PREPARED] = "prepared",
    [NITRO_STATE_STARTED] = "started",
    [NITRO_STATE_BOOTED] = "booted",
    [NITRO_STATE_EXITED] = "exited",
};

const char *nitro_state_name(NitroState state)
{
    return state < NITRO_STATE__MAX ? names[state] : "invalid";
}

bool nitro_state_may_move(NitroState from, NitroState to)
{
    if (from >= NITRO_STATE__MAX || to >= NITRO_STATE__MAX) {
        return false;
    }
    if (from == NITRO_STATE_EXITED) {
        return to == NITRO_STATE_CREATED;
    }
    return to == from + 1 || to == NITRO_STATE_EXITED;
}

static const char *cid_owner(uint64_t cid)
{
    switch (cid) {
    case 1:
        return "is that of local connections";
    case 2:
        return "is that of the host";
    case 3:
        return "is that of the parent instance";
    case UINT32_MAX:
        return "means any CID";
    default:
        return cid > UINT32_MAX ? "does not fit in 32 bits" : NULL;
    }
}

bool nitro_cid_valid(uint64_t cid, Error **errp)
{
    ERRP_GUARD();
    const char *owner = cid_owner(cid);

    if (!owner) {
        return true;
    }
    error_setg(errp, "an enclave cannot have CID %" PRIu64 ": it %s",
               cid, owner);
    error_append_hint(errp, "Use a number from %u to %u, or 0 to let the "
                      "hypervisor choose.\n", NITRO_CID_FIRST, NITRO_CID_LAST);
    return false;
}
