/*
 * Unit tests of the init's agent connection and the output behind it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include "qemu/bswap.h"
#include "contrib/nitro-init/vsock.h"
#include "tests/nitro/init-agent.h"

/* The parent's end, and what vsock_begin() gives next */
static int peer = -1, next_fd = -1;
static bool next_connecting;
static unsigned int port_asked;

/* Who is not there: refused at once, or, as with vsock, a moment later */
typedef enum Refusal { NOT_REFUSED, AT_ONCE, LATER } Refusal;
static Refusal own_port, shared_port;
static GString *asked;          /* 'o': own port, 's': shared port */

static int refuse(Refusal refusal, bool *connecting)
{
    int pair[2];

    *connecting = refusal == LATER;
    if (refusal == AT_ONCE) {
        return -1;
    }
    /* Unread data makes this end see a reset */
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair),
                    ==, 0);
    g_assert_cmpint(write(pair[0], "x", 1), ==, 1);
    close(pair[1]);
    return pair[0];
}

int vsock_begin(unsigned int port, bool own, bool *connecting)
{
    Refusal refusal = own ? own_port : shared_port;
    int fd = next_fd;

    port_asked = port;
    g_string_append_c(asked, own ? 'o' : 's');
    if (refusal != NOT_REFUSED) {
        return refuse(refusal, connecting);
    }
    *connecting = next_connecting;
    next_fd = -1;
    return fd;
}

typedef struct Fixture {
    struct agent agent;
    struct output output;
} Fixture;

static void offer(bool connecting)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair),
                    ==, 0);
    next_fd = pair[0];
    peer = pair[1];
    next_connecting = connecting;
}

static void setup(Fixture *f, gconstpointer data)
{
    g_assert_cmpint(agent_init(&f->agent, 9001, false), ==, 0);
    g_assert_cmpint(output_init(&f->output), ==, 0);
    own_port = shared_port = NOT_REFUSED;
    asked = g_string_new(NULL);
    offer(false);
}

static void teardown(Fixture *f, gconstpointer data)
{
    init_agent_free(&f->agent);
    free(f->output.ring);
    g_string_free(asked, true);
    close(peer);
}

/* Read one frame at the parent's end; returns its payload's length */
static size_t get_frame(int type, uint8_t *payload, size_t size)
{
    uint8_t head[AGENT_HEAD];
    uint32_t len;

    g_assert_cmpint(read(peer, head, sizeof(head)), ==, sizeof(head));
    g_assert_cmpint(head[0], ==, type);
    len = ldl_be_p(head + 4);
    g_assert_cmpuint(len, <=, size);
    if (len) {
        g_assert_cmpint(read(peer, payload, len), ==, len);
    }
    return len;
}

static void put_frame(const void *payload, int type, uint32_t len)
{
    uint8_t head[AGENT_HEAD] = { type };

    stl_be_p(head + 4, len);
    g_assert_cmpint(write(peer, head, sizeof(head)), ==, sizeof(head));
    if (payload) {
        g_assert_cmpint(write(peer, payload, len), ==, len);
    }
}

static void get_hello(void)
{
    uint8_t hello[4];

    g_assert_cmpuint(get_frame(AGENT_HELLO, hello, sizeof(hello)), ==, 4);
    g_assert_cmpuint(lduw_be_p(hello), ==, AGENT_VERSION);
}

static void get_state(int kind, uint32_t value, const char *text)
{
    uint8_t state[300] = { 0 };
    size_t len = get_frame(AGENT_STATE, state, sizeof(state) - 1);

    g_assert_cmpuint(len, ==, 5 + strlen(text));
    g_assert_cmpint(state[0], ==, kind);
    g_assert_cmpuint(ldl_be_p(state + 1), ==, value);
    g_assert_cmpstr((char *)state + 5, ==, text);
}

static void get_output(uint64_t position, int stream, const char *text)
{
    uint8_t data[OUTPUT_PIECE + 10] = { 0 };
    size_t len = get_frame(AGENT_OUTPUT, data, sizeof(data) - 1);

    g_assert_cmpuint(len, ==, 9 + strlen(text));
    g_assert_cmpuint(ldq_be_p(data), ==, position);
    g_assert_cmpint(data[8], ==, stream);
    g_assert_cmpstr((char *)data + 9, ==, text);
}

static void assert_quiet(void)
{
    uint8_t byte;

    g_assert_cmpint(read(peer, &byte, 1), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
}

static void add(Fixture *f, int stream, const char *text)
{
    output_add(&f->output, stream, text, strlen(text));
}

static void test_greeting(Fixture *f, gconstpointer data)
{
    agent_connect(&f->agent);
    g_assert_cmpuint(port_asked, ==, 9001);
    g_assert_cmpint(agent_events(&f->agent, &f->output) & POLLOUT, ==,
                    POLLOUT);
    agent_work(&f->agent, POLLOUT, &f->output);
    get_hello();
    get_state(STATE_BOOTING, 0, "");
    g_assert_cmpint(agent_events(&f->agent, &f->output), ==, POLLIN);
    assert_quiet();
}

static void test_connecting(Fixture *f, gconstpointer data)
{
    next_connecting = true;
    agent_connect(&f->agent);
    agent_work(&f->agent, 0, &f->output);
    assert_quiet();
    g_assert_cmpint(agent_events(&f->agent, &f->output), ==, POLLOUT);
    agent_work(&f->agent, POLLOUT, &f->output);
    get_hello();
}

static void test_no_parent(Fixture *f, gconstpointer data)
{
    close(next_fd);
    next_fd = -1;
    agent_connect(&f->agent);
    g_assert_cmpint(f->agent.fd, ==, -1);
    agent_work(&f->agent, 0, &f->output);
}

/* The enclave's own port comes first, then the one that is shared */
static void test_shared_port(Fixture *f, gconstpointer data)
{
    for (own_port = AT_ONCE; own_port <= LATER; own_port++) {
        agent_connect(&f->agent);
        if (own_port == LATER) {
            g_assert_cmpstr(asked->str, ==, "o");
            agent_work(&f->agent, POLLOUT | POLLERR | POLLHUP, &f->output);
        }
        g_assert_cmpstr(asked->str, ==, "os");
        agent_work(&f->agent, POLLOUT, &f->output);
        get_hello();
        close(peer);
        agent_work(&f->agent, POLLIN, &f->output);
        g_assert_cmpint(f->agent.fd, ==, -1);
        g_string_truncate(asked, 0);
        offer(false);
    }
}

/* Nobody at either: no third attempt follows at once */
static void test_refused(Fixture *f, gconstpointer data)
{
    own_port = shared_port = LATER;
    for (int i = 0; i < 2; i++) {
        agent_connect(&f->agent);
        for (int k = 0; k < 3; k++) {
            agent_work(&f->agent, POLLOUT | POLLERR | POLLHUP, &f->output);
        }
        g_assert_cmpint(f->agent.fd, ==, -1);
    }
    g_assert_cmpstr(asked->str, ==, "osos");
    close(next_fd);
}

/* The order of both streams stays, and the end comes last */
static void test_output(Fixture *f, gconstpointer data)
{
    add(f, OUTPUT_STDOUT, "one");
    add(f, OUTPUT_STDERR, "two");
    agent_set_state(&f->agent, STATE_EXITED, 7, NULL);
    agent_connect(&f->agent);
    agent_work(&f->agent, POLLOUT, &f->output);
    get_hello();
    get_output(0, OUTPUT_STDOUT, "one");
    get_output(3, OUTPUT_STDERR, "two");
    get_state(STATE_EXITED, 7, "");
    assert_quiet();
}

/* What was not confirmed comes once more on the next connection */
static void test_again(Fixture *f, gconstpointer data)
{
    add(f, OUTPUT_STDOUT, "one");
    add(f, OUTPUT_STDOUT, "two");
    agent_connect(&f->agent);
    agent_work(&f->agent, POLLOUT, &f->output);
    output_taken(&f->output, 3);
    close(peer);
    agent_work(&f->agent, POLLIN | POLLHUP, &f->output);
    g_assert_cmpint(f->agent.fd, ==, -1);
    offer(false);
    agent_connect(&f->agent);
    agent_work(&f->agent, POLLOUT, &f->output);
    get_hello();
    get_output(3, OUTPUT_STDOUT, "two");
}

static void test_frames(Fixture *f, gconstpointer data)
{
    struct agent_frame frame;

    agent_connect(&f->agent);
    put_frame("A=1", AGENT_ENV, 3);
    put_frame(NULL, AGENT_GO, 0);
    put_frame("\0\0\0\x0f", AGENT_SIGNAL, 4);
    agent_work(&f->agent, POLLIN, &f->output);
    g_assert_true(agent_next(&f->agent, &frame));
    g_assert_cmpint(frame.type, ==, AGENT_ENV);
    g_assert_cmpmem(frame.payload, frame.len, "A=1", 3);
    g_assert_true(agent_next(&f->agent, &frame));
    g_assert_cmpint(frame.type, ==, AGENT_GO);
    g_assert_cmpuint(frame.len, ==, 0);
    g_assert_true(agent_next(&f->agent, &frame));
    g_assert_cmpint(frame.type, ==, AGENT_SIGNAL);
    g_assert_false(agent_next(&f->agent, &frame));
}

/* A frame that comes byte by byte */
static void test_split(Fixture *f, gconstpointer data)
{
    static const uint8_t bytes[] = { AGENT_ARG, 0, 0, 0, 0, 0, 0, 2, 'h',
                                     'i' };
    struct agent_frame frame;

    agent_connect(&f->agent);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        g_assert_false(agent_next(&f->agent, &frame));
        g_assert_cmpint(write(peer, bytes + i, 1), ==, 1);
        agent_work(&f->agent, POLLIN, &f->output);
    }
    g_assert_true(agent_next(&f->agent, &frame));
    g_assert_cmpmem(frame.payload, frame.len, "hi", 2);
}

static void test_largest(Fixture *f, gconstpointer data)
{
    g_autofree uint8_t *payload = g_malloc0(AGENT_MAX_PAYLOAD);
    struct agent_frame frame;
    bool found = false;

    agent_connect(&f->agent);
    put_frame(payload, AGENT_ARG, AGENT_MAX_PAYLOAD);
    for (int i = 0; i < 100 && !found; i++) {
        agent_work(&f->agent, POLLIN, &f->output);
        found = agent_next(&f->agent, &frame);
    }
    g_assert_true(found);
    g_assert_cmpuint(frame.len, ==, AGENT_MAX_PAYLOAD);
}

static void assert_refused(Fixture *f, const void *head, size_t len)
{
    struct agent_frame frame;

    agent_connect(&f->agent);
    g_assert_cmpint(write(peer, head, len), ==, len);
    agent_work(&f->agent, POLLIN, &f->output);
    g_assert_false(agent_next(&f->agent, &frame));
    g_assert_cmpint(f->agent.fd, ==, -1);
}

static void test_too_long(Fixture *f, gconstpointer data)
{
    assert_refused(f, "\x10\0\0\0\0\x01\0\x01", 8);
}

static void test_not_zero(Fixture *f, gconstpointer data)
{
    assert_refused(f, "\x10\0\x01\0\0\0\0\x01", 8);
}

/* A parent that reads nothing holds nothing up, and the oldest goes first */
static void test_stuck(Fixture *f, gconstpointer data)
{
    g_autofree char *piece = g_strnfill(OUTPUT_PIECE, 'x');
    int n = 0;

    agent_connect(&f->agent);
    while (f->output.dropped == 0) {
        output_add(&f->output, OUTPUT_STDOUT, piece, OUTPUT_PIECE);
        agent_work(&f->agent, POLLOUT, &f->output);
        g_assert_cmpint(++n, <, 1000);
    }
    g_assert_cmpuint(f->output.dropped, ==, OUTPUT_PIECE);
    g_assert_cmpuint(f->output.first, ==, OUTPUT_PIECE);
    g_assert_cmpuint(f->output.next, ==, (uint64_t)n * OUTPUT_PIECE);
    g_assert_cmpuint(f->output.used, <=, OUTPUT_SIZE);
}

static void test_ring(Fixture *f, gconstpointer data)
{
    char text[64], got[OUTPUT_PIECE];
    enum output_stream stream;
    uint64_t at, position = 0;
    int i;

    for (i = 0; i < 100000; i++) {
        snprintf(text, sizeof(text), "line %d\n", i);
        add(f, 1 + i % 2, text);
    }
    g_assert_cmpuint(f->output.first, ==, f->output.dropped);
    g_assert_false(output_fits(&f->output));
    for (;;) {
        size_t len = output_get(&f->output, position, got, &stream, &at);

        if (!len) {
            break;
        }
        position = at + len;
        snprintf(text, sizeof(text), "%.*s", (int)len, got);
    }
    g_assert_cmpstr(text, ==, "line 99999\n");
    g_assert_cmpint(stream, ==, 1 + 99999 % 2);
    g_assert_cmpuint(position, ==, f->output.next);
    output_taken(&f->output, position);
    g_assert_cmpuint(f->output.used, ==, 0);
    g_assert_true(output_fits(&f->output));
}

static void test_refusal(Fixture *f, gconstpointer data)
{
    uint8_t text[64] = { 0 };

    agent_connect(&f->agent);
    agent_refuse(&f->agent, "not allowed");
    agent_work(&f->agent, POLLOUT, &f->output);
    get_hello();
    get_frame(AGENT_REFUSED, text, sizeof(text) - 1);
    g_assert_cmpstr((char *)text, ==, "not allowed");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*test)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "greeting", test_greeting }, { "connecting", test_connecting },
        { "no-parent", test_no_parent },
        { "shared-port", test_shared_port }, { "refused", test_refused },
        { "output", test_output },
        { "again", test_again }, { "frames", test_frames },
        { "split", test_split }, { "largest", test_largest },
        { "too-long", test_too_long }, { "not-zero", test_not_zero },
        { "stuck", test_stuck }, { "ring", test_ring },
        { "refusal", test_refusal },
    };

    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/init-agent/%s",
                                                tests[i].name);

        g_test_add(path, Fixture, NULL, setup, tests[i].test, teardown);
    }
    return g_test_run();
}
