/*
 * A clock to preload, for tests of what takes hours
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * LD_PRELOAD=fake-clock.so FAKE_CLOCK=FILE qemu-system-...
 *
 * FILE has the seconds by which g_get_real_time() differs from the time of the
 * kernel.  It is read again each time; the test replaces it by renaming.
 */
#include "qemu/osdep.h"

static int64_t offset_s(void)
{
    const char *file = getenv("FAKE_CLOCK");
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    return g_ascii_strtoll(text, NULL, 10);
}

int64_t g_get_real_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (now.tv_sec + offset_s()) * G_USEC_PER_SEC + now.tv_nsec / 1000;
}
