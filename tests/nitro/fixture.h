/*
 * Registration of tests that share a fixture
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_NITRO_FIXTURE_H
#define TESTS_NITRO_FIXTURE_H

/**
 * ADD_FIXTURE_TESTS: g_test_add() for each row of a table
 * @tests: array of struct { const char *path; void (*test)(...); }
 * @Fixture: its type; functions setup() and teardown() have to be there
 */
#define ADD_FIXTURE_TESTS(tests, Fixture) \
    do { \
        for (size_t i_ = 0; i_ < ARRAY_SIZE(tests); i_++) { \
            g_test_add((tests)[i_].path, Fixture, NULL, setup, \
                       (tests)[i_].test, teardown); \
        } \
    } while (0)

#endif /* TESTS_NITRO_FIXTURE_H */
