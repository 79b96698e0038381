/*
 * Nitro Enclaves: console stream, what its tests share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The hypervisor, the stream, and the reader behind the character device; see
 * test-nitro-vsock-console.c.
 */

#ifndef TESTS_UNIT_NITRO_CONSOLE_UTIL_H
#define TESTS_UNIT_NITRO_CONSOLE_UTIL_H

#include "hw/nitro/vsock-console.h"
#include "nitro-stream.h"

#define CONSOLE_BACKLOG (16 * KiB)

typedef struct Fixture {
    char *dir;
    char *console_path;
    char *out_path;
    char *log_path;
    SocketAddress addr;
    int listener;
    int hypervisor;             /* connection on the hypervisor's side */
    size_t sent;
    Chardev *chr;
    CharFrontend be;
    NitroConsole *con;
    int nr_closed;
    int nr_told;
    char *failure;
} Fixture;

/* The second one listens already */
void set_up(Fixture *f, gconstpointer data);
void set_up_listening(Fixture *f, gconstpointer data);
void tear_down(Fixture *f, gconstpointer data);

#define ADD(name, set_up_func, func)                                        \
    g_test_add("/nitro/console/" name, Fixture, NULL, set_up_func, func,    \
               tear_down)

/* The hypervisor */
void hypervisor_listen(Fixture *f);
bool hypervisor_accept(Fixture *f);
void hypervisor_send_all(Fixture *f, size_t bytes);
void hypervisor_hangs_up(Fixture *f);

/* Send at most @bytes more; returns how many could be sent */
size_t hypervisor_send(Fixture *f, size_t bytes);

/* The enclave has ended: that is known, and the console is closed */
void enclave_ends(Fixture *f);

/* The stream, with one character device or another */
void open_chardev(Fixture *f, const char *options);
void open_file(Fixture *f);
void open_socket(Fixture *f);
void open_socket_policy(Fixture *f, NitroConsoleOverflow overflow);
void connect_console(Fixture *f);
void assert_state(Fixture *f, const char *state);

/* The reader behind a socket character device */
int reader_connect(Fixture *f);

/*
 * The same with the stream: the reader reads nothing, and the hypervisor has
 * sent until everything between them is full
 */
int reader_connect_stuck(Fixture *f);

/* Tests of the other file */
void add_console_end_tests(void);

#endif
