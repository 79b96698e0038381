/*
 * Nitro Enclaves: stream, what its tests share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Unix sockets take the place of vsock:
 *
 *     peer  <dir>/port  <---->  stream  <---->  character device  client
 *
 * The test is the peer (the hypervisor for a console, the enclave for an
 * application channel), and the client behind the character device where
 * there is one.
 */

#ifndef TESTS_UNIT_NITRO_STREAM_FIXTURE_H
#define TESTS_UNIT_NITRO_STREAM_FIXTURE_H

#include "hw/nitro/stream.h"
#include "nitro-stream-util.h"

#define BACKLOG (16 * KiB)      /* of a stream without input */
#define BUFFER  (64 * KiB)      /* of one with input */
#define MUCH    (4 * MiB)

typedef struct Fixture {
    char *dir;
    char *port_path;
    char *out_path;
    char *log_path;
    SocketAddress addr;
    NitroStreamOptions options;
    Chardev *chr;
    CharBackend be;
    NitroStream *stream;
    int listener;               /* of the peer */
    int peer;
    int client;
    size_t sent;                /* by the peer, without input */
    bool refuse;
    int nr_closed;
    int nr_told;
    char *failure;
} Fixture;

/* Without input; the second one's peer listens already */
void set_up(Fixture *f, gconstpointer data);
void set_up_listening(Fixture *f, gconstpointer data);

/* With input; the second one has a socket as character device */
void set_up_input(Fixture *f, gconstpointer data);
void set_up_socket(Fixture *f, gconstpointer data);
void tear_down(Fixture *f, gconstpointer data);

#define ADD(name, set_up_func, func)                                        \
    g_test_add("/nitro/stream/" name, Fixture, NULL, set_up_func, func,     \
               tear_down)

/* The stream, with one character device or another */
void open_chardev(Fixture *f, const char *backend);
void open_file(Fixture *f);
void open_socket(Fixture *f);

/* An idle stream with other times */
void set_retry(Fixture *f, unsigned first_ms, unsigned again_ms,
               unsigned limit_ms);

void assert_state(Fixture *f, const char *state);
bool in_state(Fixture *f, const char *state);
NitroStreamCounts counts(Fixture *f);

/* Its ends */
bool peer_accept(Fixture *f);
void peer_accepts(Fixture *f);
void client_connects(Fixture *f);

/* Connect, without input, and have the peer accept */
void connect_peer(Fixture *f);

/* With input: both ends are there */
void connect_both(Fixture *f);
void begin_listening(Fixture *f);

void hang_up(int *fd);

/* Send at most @bytes more; returns how many could be sent */
size_t peer_send(Fixture *f, size_t bytes);
void peer_send_all(Fixture *f, size_t bytes);

/*
 * Without input: a client that reads nothing, and a peer that has sent until
 * everything between them is full
 */
void client_stuck(Fixture *f);

/* Send until nothing moves any more; returns the position then */
size_t send_until_stopped(int fd, size_t last);

/* All the way from one end to the other */
void transfer(int from, int to, size_t first, size_t last);

/* The enclave has ended: that is known, and its end is closed */
void enclave_ends(Fixture *f);

/* Tests of the other files */
void add_stream_end_tests(void);
void add_stream_input_tests(void);
void add_stream_life_tests(void);

#endif
