/*
 * How long tests wait for what has to come
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * No outcome of a test depends on how much time the host gives it.  The limit
 * exists so that a test that hangs says where: it is far above what a busy
 * host and a sanitizer take, and below the limit of the whole program.
 */
#ifndef TESTS_NITRO_PATIENCE_H
#define TESTS_NITRO_PATIENCE_H

#define PATIENCE_S 600
#define PATIENCE_MS (PATIENCE_S * 1000)

/* As a word for timeout(1) */
#define PATIENCE_WORD G_STRINGIFY(PATIENCE_S)

/**
 * poll_until: wait for what another process or thread brings about
 * @condition: expression, evaluated again and again
 *
 * Ends the test if that takes longer than PATIENCE_S.  Sleeps in between, so
 * that whoever brings it about gets the CPU.
 */
#define poll_until(condition)                                               \
    do {                                                                    \
        int64_t end_ = g_get_monotonic_time() + PATIENCE_S * G_USEC_PER_SEC; \
        for (unsigned us_ = 50; !(condition); us_ = MIN(2 * us_, 10000)) {  \
            if (g_get_monotonic_time() > end_) {                            \
                g_error("not within %d s: %s", PATIENCE_S, #condition);     \
            }                                                               \
            g_usleep(us_);                                                  \
        }                                                                   \
    } while (0)

#endif /* TESTS_NITRO_PATIENCE_H */
