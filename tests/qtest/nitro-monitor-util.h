/*
 * Nitro Enclaves: what the tests of the monitor share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_QTEST_NITRO_MONITOR_UTIL_H
#define TESTS_QTEST_NITRO_MONITOR_UTIL_H

#include "nitro-accel-util.h"

/* Ask; the caller releases the reply, of which @info is a part */
QDict *query(QTestState *qts, QDict **info);

/* Ask until the image is measured; @image is a part of @info */
QDict *query_measured(QTestState *qts, QDict **info, QDict **image);

/* The member has this value; NULL: there is none */
void assert_str(QDict *dict, const char *key, const char *expected);

/* State of "heartbeat" or "console" in an answer */
void assert_device_state(QDict *info, const char *device,
                         const char *expected);

/* Wait for an event; the caller releases it, @data is a part of it */
QDict *wait_event(Run *run, const char *name, QDict **data);

/* An image with these sections, see eif-maker.h; its name, to be freed */
char *write_eif(Run *run, const char *sections);

/* Launch an image up to the first "cont", and have it measured */
void start_eif(Run *run, const char *accel, const char *path);

/* Tests of the other files */
void add_image_tests(void);

#endif /* TESTS_QTEST_NITRO_MONITOR_UTIL_H */
