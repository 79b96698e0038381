/*
 * Nitro Enclaves: streams to devices on the vsock bus
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the tests of nitro-vsock-test.c share.
 */
#ifndef TESTS_QTEST_NITRO_VSOCK_UTIL_H
#define TESTS_QTEST_NITRO_VSOCK_UTIL_H

#include "nitro-accel-util.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "tests/nitro/patience.h"

/* query-nitro-enclave; the caller releases the reply */
QDict *vsock_query(Run *run, QDict **info);

/* Somebody has this character device open */
bool chardev_is_open(Run *run, const char *label);

/*
 * Bytes that show when one is missing, doubled or in the wrong place.
 * send_until_full() sends what can be sent while QEMU is idle in between.
 */
void send_pattern(int fd, size_t first, size_t len);
size_t send_until_full(Run *run, int fd, size_t first, size_t len);
void read_all(int fd, uint8_t *data, size_t len);
void read_pattern(int fd, size_t first, size_t len);
void assert_pattern(const uint8_t *data, size_t first, size_t len);

/* The other end has closed the stream, and there is nothing left to read */
void assert_end(int fd);

/* Tests of the other files */
void add_agent_tests(void);
void add_channel_tests(void);
void add_net_tests(void);

#endif /* TESTS_QTEST_NITRO_VSOCK_UTIL_H */
