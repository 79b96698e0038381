/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Buffers hold whole frames: one that does not fit waits in the output ring.
 */

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "log.h"
#include "vsock.h"

#define BUFFER (AGENT_HEAD + AGENT_MAX_PAYLOAD)
#define OUTPUT_HEAD 9

int agent_init(struct agent *agent, unsigned port, bool waits_for_go)
{
    *agent = (struct agent) {
        .port = port,
        .fd = -1,
        .waits_for_go = waits_for_go,
        .in = malloc(BUFFER),
        .out = malloc(BUFFER),
    };
    return agent->in && agent->out ? 0 : -1;
}

/* End the connection, for example after a faulty frame */
static void agent_close(struct agent *agent)
{
    if (agent->fd >= 0) {
        close(agent->fd);
    }
    agent->fd = -1;
    agent->connecting = false;
    agent->in_len = agent->in_used = 0;
    agent->out_len = 0;
}

static void put(struct agent *agent, const void *data, size_t len)
{
    memcpy(agent->out + agent->out_len, data, len);
    agent->out_len += len;
}

static bool begin_frame(struct agent *agent, enum agent_type type, size_t len)
{
    uint8_t head[AGENT_HEAD] = { type };
    uint32_t length = htobe32(len);

    if (BUFFER - agent->out_len < AGENT_HEAD + len) {
        return false;
    }
    memcpy(head + 4, &length, sizeof(length));
    put(agent, head, sizeof(head));
    return true;
}

static void queue_hello(struct agent *agent)
{
    uint16_t hello[2] = { htobe16(AGENT_VERSION),
                          htobe16(agent->waits_for_go) };

    if (begin_frame(agent, AGENT_HELLO, sizeof(hello))) {
        put(agent, hello, sizeof(hello));
    }
}

static void queue_state(struct agent *agent)
{
    uint8_t kind = agent->state;
    uint32_t value = htobe32(agent->value);
    size_t len = strlen(agent->text);

    if (begin_frame(agent, AGENT_STATE, sizeof(kind) + sizeof(value) + len)) {
        put(agent, &kind, sizeof(kind));
        put(agent, &value, sizeof(value));
        put(agent, agent->text, len);
        agent->state_queued = true;
    }
}

static bool queue_piece(struct agent *agent, const struct output *output)
{
    uint8_t data[OUTPUT_PIECE], mark;
    enum output_stream stream;
    uint64_t at, position;
    size_t len;

    if (BUFFER - agent->out_len < AGENT_HEAD + OUTPUT_HEAD + OUTPUT_PIECE) {
        return false;
    }
    len = output_get(output, agent->sent, data, &stream, &at);
    if (!len) {
        return false;
    }
    position = htobe64(at);
    mark = stream;
    begin_frame(agent, AGENT_OUTPUT, OUTPUT_HEAD + len);
    put(agent, &position, sizeof(position));
    put(agent, &mark, sizeof(mark));
    put(agent, data, len);
    agent->sent = at + len;
    return true;
}

static bool is_open(const struct agent *agent)
{
    return agent->fd >= 0 && !agent->connecting;
}

/* The end of the application comes behind all of its output */
static void queue_all(struct agent *agent, const struct output *output)
{
    if (!is_open(agent)) {
        return;
    }
    while (queue_piece(agent, output)) {
        continue;
    }
    if (!agent->state_queued && (agent->state < STATE_EXITED ||
                                 agent->sent == output->next)) {
        queue_state(agent);
    }
}

/* What the parent has not confirmed is sent again */
static void agent_opened(struct agent *agent)
{
    agent->connecting = false;
    agent->sent = 0;
    agent->state_queued = false;
    queue_hello(agent);
}

static void agent_begin(struct agent *agent, bool own)
{
    agent->own = own;
    agent->fd = vsock_begin(agent->port, own, &agent->connecting);
    if (agent->fd >= 0 && !agent->connecting) {
        agent_opened(agent);
    }
}

void agent_connect(struct agent *agent)
{
    if (!agent->port || agent->fd >= 0) {
        return;
    }
    agent_begin(agent, true);
    if (agent->fd < 0) {
        agent_begin(agent, false);
    }
}

void agent_set_state(struct agent *agent, enum agent_state state,
                     uint32_t value, const char *text)
{
    agent->state = state;
    agent->value = value;
    strncpy(agent->text, text ? text : "", sizeof(agent->text) - 1);
    agent->state_queued = false;
}

void agent_refuse(struct agent *agent, const char *text)
{
    say("refused from the parent: %s", text);
    if (is_open(agent) && begin_frame(agent, AGENT_REFUSED, strlen(text))) {
        put(agent, text, strlen(text));
    }
}

short agent_events(const struct agent *agent, const struct output *output)
{
    if (agent->connecting) {
        return POLLOUT;
    }
    return POLLIN | (agent->out_len ||
                     agent->sent < output->next || !agent->state_queued
                     ? POLLOUT : 0);
}

static void finish_connect(struct agent *agent)
{
    int err = 0;
    socklen_t len = sizeof(err);

    if (!getsockopt(agent->fd, SOL_SOCKET, SO_ERROR, &err, &len) && !err) {
        agent_opened(agent);
        return;
    }
    agent_close(agent);
    if (agent->own) {
        agent_begin(agent, false);
    }
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EINTR;
}

static void send_queued(struct agent *agent)
{
    ssize_t n = send(agent->fd, agent->out, agent->out_len, MSG_NOSIGNAL);

    if (n < 0 && !would_block()) {
        agent_close(agent);
    } else if (n > 0) {
        agent->out_len -= n;
        memmove(agent->out, agent->out + n, agent->out_len);
    }
}

/* Frames that agent_next() has given make room first */
static void agent_receive(struct agent *agent)
{
    ssize_t n;

    memmove(agent->in, agent->in + agent->in_used,
            agent->in_len - agent->in_used);
    agent->in_len -= agent->in_used;
    agent->in_used = 0;
    if (agent->in_len == BUFFER) {
        return;
    }
    n = recv(agent->fd, agent->in + agent->in_len, BUFFER - agent->in_len, 0);
    if (n > 0) {
        agent->in_len += n;
    } else if (n == 0 || !would_block()) {
        agent_close(agent);
    }
}

void agent_work(struct agent *agent, short revents,
                const struct output *output)
{
    if (agent->fd >= 0 && agent->connecting) {
        if (!revents) {
            return;
        }
        finish_connect(agent);
        revents &= POLLOUT;
    }
    if (agent->fd >= 0 && (revents & (POLLIN | POLLHUP | POLLERR))) {
        agent_receive(agent);
    }
    queue_all(agent, output);
    if (agent->fd >= 0 && agent->out_len) {
        send_queued(agent);
    }
}

void agent_serve(struct agent *agent, const struct output *output, int ms)
{
    struct pollfd poll_fd = { 0 };

    agent_connect(agent);
    if (agent->fd >= 0) {
        poll_fd.fd = agent->fd;
        poll_fd.events = agent_events(agent, output);
        poll(&poll_fd, 1, ms);
        agent_work(agent, poll_fd.revents, output);
    }
    if (agent->fd < 0) {
        poll(NULL, 0, AGENT_RETRY_MS);
    }
}

bool agent_next(struct agent *agent, struct agent_frame *frame)
{
    const uint8_t *head = agent->in + agent->in_used;
    size_t have = agent->in_len - agent->in_used;
    uint32_t len;

    if (have < AGENT_HEAD) {
        return false;
    }
    memcpy(&len, head + 4, sizeof(len));
    len = be32toh(len);
    if (len > AGENT_MAX_PAYLOAD || head[1] || head[2] || head[3]) {
        say("the parent's agent sent a frame of type %u with %u bytes, of "
            "which %d are allowed: connection closed", head[0], len,
            AGENT_MAX_PAYLOAD);
        agent_close(agent);
        return false;
    }
    if (have - AGENT_HEAD < len) {
        return false;
    }
    *frame = (struct agent_frame) { head[0], head + AGENT_HEAD, len };
    agent->in_used += AGENT_HEAD + len;
    return true;
}
