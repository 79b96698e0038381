/*
 * Nitro Enclaves accelerator: wait for what is not free yet
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An enclave that just ended gives its slot and its CPUs back a moment later.
 * What the driver then answers is tried again, for a short time in all.
 */
#include "qemu/osdep.h"
#include "standard-headers/linux/nitro_enclaves.h"
#include "nitro-int.h"
#include "trace.h"

#define DELAY_MS 100
#define DELAY_SPREAD_MS 100

/* The driver's code for a CPU outside of the pool says "in use", too */
static bool may_pass(int ret)
{
    switch (-ret) {
    case NE_ERR_NO_CPUS_AVAIL_IN_POOL:
    case NE_ERR_VCPU_NOT_IN_CPU_POOL:
    case EAGAIN:
    case EBUSY:
    case ENOSPC:
        return true;
    default:
        return false;
    }
}

bool nitro_retry_later(NitroAccelState *s, int ret)
{
    int64_t now = g_get_monotonic_time();
    int64_t waited_ms;

    if (!may_pass(ret)) {
        return false;
    }
    s->busy_since_us = s->busy_since_us ?: now;
    waited_ms = (now - s->busy_since_us) / 1000;
    trace_nitro_busy(-ret, waited_ms);
    return waited_ms < NITRO_RETRY_MS;
}

void nitro_retry_done(NitroAccelState *s)
{
    s->busy_since_us = 0;
}

int nitro_retry_delay_ms(void)
{
    return DELAY_MS + g_random_int_range(0, DELAY_SPREAD_MS);
}
