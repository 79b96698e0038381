/*
 * Streams over unix sockets for the tests of the vsock devices
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Waiting without sleeping, sockets in a temporary directory, and a pattern
 * that shows when a byte is missing, doubled or in the wrong place.
 */

#ifndef TESTS_UNIT_NITRO_STREAM_UTIL_H
#define TESTS_UNIT_NITRO_STREAM_UTIL_H

#include "chardev/char.h"
#include "chardev/char-fe.h"
#include "qapi/error.h"
#include "qapi/qapi-types-sockets.h"
#include "qemu/main-loop.h"
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "tests/nitro/patience.h"

/* A timer that ends the test, for wait_until() */
gboolean stream_out_of_patience(gpointer opaque);

#define wait_until(condition)                                               \
    do {                                                                    \
        guint watchdog_ = g_timeout_add(PATIENCE_MS,                        \
                                        stream_out_of_patience, NULL);      \
        while (!(condition)) {                                              \
            main_loop_wait(false);                                          \
        }                                                                   \
        g_source_remove(watchdog_);                                         \
    } while (0)

/* Let everything happen that can happen without waiting */
void settle(void);

/* Sockets, never blocking */
int stream_listen(const char *path);
int stream_connect(const char *path);

/* Returns -1 when there is nobody yet */
int stream_accept(int listener);

/* The pattern, from position @first on */
void assert_pattern(const void *data, size_t len, size_t first);
void fill_pattern(uint8_t *data, size_t len, size_t first);

/* Send what can be sent of @pos ... @end; returns the position after it */
size_t stream_send(int fd, size_t pos, size_t end);

/* Read and check what is there; returns the position after it */
size_t stream_read(int fd, size_t pos);

/* The other end has closed it, and all was read before */
bool stream_ended(int fd);

/* The file holds the pattern, in this length */
void assert_file(const char *path, size_t len);

/*
 * Like stdio: an input that can end, and an output that goes on.  Returns
 * options for a character device; *@writer and *@reader are its other ends.
 */
char *stream_stdio(const char *path, int *writer, int *reader);
void stream_stdio_remove(const char *path);

/* A character device that a front end can be attached to */
Chardev *stream_chardev(CharBackend *be, const char *options);

/* In place of g_test_init() */
void stream_test_init(int *argc, char ***argv);

#endif
