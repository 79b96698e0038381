/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * The agent's connection: a stream of frames between init and parent, which
 * README.md describes.  The init never depends on it: without a parent that
 * speaks it, the application still runs.
 *
 *   frame   | type u8 | 0 u8 x 3 | length u32 | payload, length bytes |
 *
 * Numbers are big-endian.
 */

#ifndef NITRO_INIT_AGENT_H
#define NITRO_INIT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "output.h"

#define AGENT_VERSION 1
#define AGENT_HEAD 8
#define AGENT_MAX_PAYLOAD (64 * 1024)
#define AGENT_RETRY_MS 100

enum agent_type {
    /* init to parent */
    AGENT_HELLO = 1,    /* version u16, flags u16: bit 0 waits for GO */
    AGENT_STATE = 2,    /* kind u8, value u32, text */
    AGENT_OUTPUT = 3,   /* position u64, stream u8, data */
    AGENT_REFUSED = 4,  /* text: an addition that is not allowed, and why */
    /* parent to init */
    AGENT_ENV = 16,     /* NAME=VALUE */
    AGENT_ARG = 17,     /* one more argument */
    AGENT_FILE = 18,    /* length of the name u16, name, content */
    AGENT_GO = 19,      /* no more additions: start the application */
    AGENT_STOP = 20,    /* stop it properly, then by force */
    AGENT_SIGNAL = 21,  /* number u32 */
    AGENT_TAKEN = 22,   /* position u64: output before it is safe */
    AGENT_END = 23,     /* the end has been taken, power off */
};

enum agent_state {
    STATE_BOOTING = 0, STATE_RUNNING = 1, STATE_EXITED = 2,
    STATE_SIGNALLED = 3, STATE_FATAL = 4,
};

struct agent_frame {
    enum agent_type type;
    const uint8_t *payload;     /* valid until the next agent_next() */
    size_t len;
};

struct agent {
    unsigned port;              /* 0: no agent */
    int fd;                     /* -1: not connected */
    bool own;                   /* connected to the enclave's own port */
    bool connecting, waits_for_go;
    uint8_t *in, *out;
    size_t in_len, in_used, out_len;
    uint64_t sent;              /* output before this has been queued */
    enum agent_state state;
    uint32_t value;             /* exit code, or number of a signal */
    char text[256];             /* with STATE_FATAL */
    bool state_queued;
};

/* agent_init: returns 0, or -1 when memory is short; @port 0: no agent */
int agent_init(struct agent *agent, unsigned port, bool waits_for_go);

/*
 * agent_connect: begin to connect to the parent, if not connected: to the
 * enclave's own port, and to the configured one when that is refused
 *
 * Does not block; agent_work() finds out what came of it.
 */
void agent_connect(struct agent *agent);

/* agent_set_state: what the parent is to know, now and after a reconnect */
void agent_set_state(struct agent *agent, enum agent_state state,
                     uint32_t value, const char *text);

/* agent_refuse: report that an addition was not taken */
void agent_refuse(struct agent *agent, const char *text);

/* agent_events: what to poll @agent->fd for */
short agent_events(const struct agent *agent, const struct output *output);

/*
 * agent_work: send and receive what is possible without blocking
 * @revents: what poll() found
 *
 * Closes the connection when the parent has closed it or breaks the
 * protocol.
 */
void agent_work(struct agent *agent, short revents,
                const struct output *output);

/*
 * agent_serve: connect if need be, wait for what comes, and work
 * @ms: longest wait for it
 *
 * Without a connection it waits AGENT_RETRY_MS, so that callers may call it
 * in a loop.
 */
void agent_serve(struct agent *agent, const struct output *output, int ms);

/* agent_next: get the next frame; false when no whole one has come */
bool agent_next(struct agent *agent, struct agent_frame *frame);

#endif
