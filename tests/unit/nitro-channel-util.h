/*
 * Nitro Enclaves: application channel, what its tests share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The enclave and the client, see test-nitro-vsock-channel.c.
 */

#ifndef TESTS_UNIT_NITRO_CHANNEL_UTIL_H
#define TESTS_UNIT_NITRO_CHANNEL_UTIL_H

#include "hw/nitro/vsock-channel.h"
#include "nitro-stream.h"

#define MUCH (4 * MiB)

typedef struct Fixture {
    char *dir;
    char *port_path;
    char *app_path;
    SocketAddress addr;
    CharFrontend be;
    NitroChannel *ch;
    int listener;               /* of the enclave */
    int enclave;
    int client;
    bool refuse;
    int nr_closed;
    char *failure;
} Fixture;

/* The second one has a socket as character device */
void set_up(Fixture *f, gconstpointer data);
void set_up_socket(Fixture *f, gconstpointer data);
void tear_down(Fixture *f, gconstpointer data);

#define ADD(name, set_up_func, func)                                        \
    g_test_add("/nitro/channel/" name, Fixture, NULL, set_up_func, func,    \
               tear_down)

/* The channel */
void open_chardev(Fixture *f, const char *backend);
void open_file(Fixture *f);
void begin_listening(Fixture *f);
void assert_state(Fixture *f, const char *state);
bool in_state(Fixture *f, const char *state);

/* Its ends */
void client_connects(Fixture *f);
void enclave_accepts(Fixture *f);
void hang_up(int *fd);

/* Both ends are there */
void connect_both(Fixture *f);

/* All the way from one end to the other */
void transfer(int from, int to, size_t first, size_t last);

/* Send until nothing moves any more */
size_t send_until_stopped(int fd, size_t last);

/* Tests of the other file */
void add_channel_life_tests(void);

#endif
