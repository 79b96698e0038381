/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Times are ns since 1970 UTC, which fit 63 bits until 2262.
 */

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "nsm.h"

#define NS_PER_S    1000000000LL
#define EARLIEST    (1704067200LL * NS_PER_S)   /* 2024-01-01 */
#define LATEST      (4102444800LL * NS_PER_S)   /* 2100-01-01 */
#define REPORT_NS   (NS_PER_S / 2)
#define SLEW_NS     NS_PER_S
#define STEP_NS     (3600 * NS_PER_S)

/* Clock id of an open PTP device; linux/posix-timers.h */
#define FD_TO_CLOCKID(fd) ((~(clockid_t)(fd) << 3) | 3)

int64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static bool read_ptp(int64_t *ns)
{
    int fd = open("/dev/ptp0", O_RDONLY | O_CLOEXEC);
    struct timespec now;
    bool read = fd >= 0 && !clock_gettime(FD_TO_CLOCKID(fd), &now);

    if (fd >= 0) {
        close(fd);
    }
    if (read) {
        *ns = now.tv_sec * NS_PER_S + now.tv_nsec;
    }
    return read;
}

static bool read_nsm(int64_t *ns)
{
    uint64_t ms;

    if (nsm_time(&ms) || ms > (uint64_t)LATEST / 1000000) {
        return false;
    }
    *ns = ms * 1000000;
    return true;
}

/* Returns: whether @mode has a source that gives a time which can be true */
static bool read_source(enum clock_mode mode, int64_t *ns)
{
    if (mode == CLOCK_OFF) {
        return false;
    }
    if (!(mode != CLOCK_NSM && read_ptp(ns)) &&
        !(mode != CLOCK_PTP && read_nsm(ns))) {
        say("there is no clock to follow: the time is not corrected");
        return false;
    }
    if (*ns < EARLIEST || *ns > LATEST) {
        say("the hypervisor's clock says %lld s since 1970, ignored",
            (long long)(*ns / NS_PER_S));
        return false;
    }
    return true;
}

/* How far the enclave's clock is behind */
static int64_t behind(int64_t ns)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return ns - (now.tv_sec * NS_PER_S + now.tv_nsec);
}

static void step(int64_t ns, int64_t offset)
{
    struct timespec time = { ns / NS_PER_S, ns % NS_PER_S };

    if (clock_settime(CLOCK_REALTIME, &time)) {
        warn("cannot set the clock");
    } else if (llabs(offset) > REPORT_NS) {
        say("clock stepped by %+lld ms", (long long)(offset / 1000000));
    }
}

void clock_set(enum clock_mode mode)
{
    int64_t ns;

    if (read_source(mode, &ns)) {
        step(ns, behind(ns));
    }
}

void clock_follow(enum clock_mode mode)
{
    int64_t ns, offset;

    if (!read_source(mode, &ns)) {
        return;
    }
    offset = behind(ns);
    if (llabs(offset) <= SLEW_NS) {
        struct timeval delta = { offset / NS_PER_S,
                                 offset % NS_PER_S / 1000 };

        adjtime(&delta, NULL);
    } else if (llabs(offset) <= STEP_NS) {
        step(ns, offset);
    } else {
        say("the hypervisor's clock differs by %lld s, ignored",
            (long long)(offset / NS_PER_S));
    }
}
