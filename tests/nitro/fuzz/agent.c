/*
 * Fuzz target: both ends of the connection of an enclave's init
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Input: a byte that picks the end; then pieces, each behind its length, that
 * this end gets from its peer.  The device gets them from an enclave, and may
 * be asked to stop the program between them; the init gets them from a parent,
 * as additions first, then while the program writes.
 */

#include "qemu/osdep.h"
#include <poll.h>
#include "contrib/nitro-init/additions.h"
#include "contrib/nitro-init/clock.h"
#include "contrib/nitro-init/log.h"
#include "contrib/nitro-init/nsm.h"
#include "contrib/nitro-init/vsock.h"
#include "hw/nitro/agent.h"
#include "hw/qdev-properties-system.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/notify.h"
#include "system/runstate.h"
#include "tests/nitro/init-agent.h"
#include "tests/unit/nitro-fake-bus.h"
#include "fuzz.h"

enum { DEVICE_END, INIT_END, NR_ENDS };

#define OUR_CID 16

/* How often the main loop runs for a piece: accepting, reading, answering */
#define TURNS 4

/* The device's surroundings */

/* A queue can be migrated; nobody does so here */
const VMStateInfo vmstate_info_buffer = { };
const VMStateInfo vmstate_info_uint32 = { };

static FakeBus *bus;
static Notifier *powerdown;
static bool holds;
static int exit_status;

void nitro_vsock_device_set_application(NitroVsockDevice *dev,
                                        const NitroEnclaveApplication *app,
                                        uint32_t stop_grace, int status)
{
    exit_status = status;
}

void nitro_vsock_device_hold(NitroVsockDevice *dev, bool hold)
{
    holds = hold;
}

void qemu_register_powerdown_notifier(Notifier *notifier)
{
    powerdown = notifier;
    notifier->node.le_prev = NULL;
}

void qemu_system_powerdown_request(void)
{
}

void qemu_system_killed(int number, pid_t pid)
{
}

const PropertyInfo qdev_prop_chr = { };

static NitroVsockDevice *device(void)
{
    static NitroVsockDevice *dev;

    if (!dev) {
        module_call_init(MODULE_INIT_QOM);
        qemu_init_main_loop(&error_abort);
        bus = fake_bus_new(NITRO_AGENT_PORT * 65536 + OUR_CID);
        dev = fake_bus_add(bus, TYPE_NITRO_AGENT);
        object_property_parse(OBJECT(dev), "exit-status", "app", &error_abort);
        DEVICE_GET_CLASS(dev)->realize(DEVICE(dev), &error_abort);
    }
    return dev;
}

static void turn(void)
{
    for (int i = 0; i < TURNS; i++) {
        main_loop_wait(true);
    }
}

/* What the device says is of the protocol; false when it has hung up */
static bool check_answers(int fd, uint64_t *position)
{
    uint8_t frame[NITRO_AGENT_HEAD + sizeof(*position)];
    ssize_t len;

    while ((len = recv(fd, frame, NITRO_AGENT_HEAD, 0)) > 0) {
        uint32_t size = ldl_be_p(frame + 4);

        g_assert_cmpint(len, ==, NITRO_AGENT_HEAD);
        g_assert_cmpuint(ldl_be_p(frame) & 0xffffff, ==, 0);
        g_assert_cmpuint(size, ==,
                         frame[0] == NITRO_AGENT_TAKEN ? sizeof(*position) : 0);
        if (size) {
            g_assert_cmpint(recv(fd, frame + len, size, 0), ==, size);
            g_assert_cmpuint(ldq_be_p(frame + len), >=, *position);
            *position = ldq_be_p(frame + len);
        } else {
            g_assert_true(frame[0] == NITRO_AGENT_GO ||
                          frame[0] == NITRO_AGENT_STOP ||
                          frame[0] == NITRO_AGENT_END);
        }
    }
    return len < 0 && errno == EAGAIN;
}

static void check_state(NitroVsockDevice *dev, size_t sent)
{
    g_autoptr(NitroEnclaveApplication) info =
        nitro_agent_query(NITRO_AGENT(dev));

    g_assert_cmpuint(info->stdout_bytes + info->stderr_bytes, <=, sent);
    g_assert_cmpint(info->state, <, NITRO_APPLICATION_STATE__MAX);
    g_assert_cmpint(exit_status, >=, 0);
    g_assert_cmpint(exit_status, <=, 255);
}

static void fuzz_device(FuzzInput *in)
{
    NitroVsockDevice *dev = device();
    NitroVsockDeviceClass *ndc = NITRO_VSOCK_DEVICE_GET_CLASS(dev);
    uint64_t position = 0;
    size_t sent = 0;
    int fd;

    g_assert_true(ndc->prepare_start(dev, &error_abort));
    g_assert_true(ndc->enclave_started(dev, OUR_CID, &error_abort));
    fd = fake_bus_connect(bus, OUR_CID);
    do {
        size_t len = fuzz_u16(in);
        bool stops = len & 0x8000;
        const uint8_t *piece;

        len &= 0x7fff;
        piece = fuzz_bytes(in, &len);
        if (send(fd, piece, len, MSG_NOSIGNAL) > 0) {
            sent += len;
        }
        turn();
        if (stops) {
            powerdown->notify(powerdown, NULL);
            turn();
        }
    } while (check_answers(fd, &position) && in->size);
    check_state(dev, sent);
    close(fd);
    ndc->enclave_stopped(dev);
    turn();
    g_assert_false(holds);
}

/* The init's surroundings */

static int peer = -1;           /* the parent's end */

static void send_to_init(const void *data, size_t len)
{
    ssize_t sent = send(peer, data, len, MSG_NOSIGNAL);

    g_assert_true(sent == len || sent < 0);
}

static void hang_up(void)
{
    if (peer >= 0) {
        close(peer);
        peer = -1;
    }
}

/* What the first connection begins with; others have GO alone */
static const uint8_t *added;
static size_t added_len;

int vsock_begin(unsigned int port, bool own, bool *connecting)
{
    static const uint8_t go[AGENT_HEAD] = { AGENT_GO };
    int pair[2];

    hang_up();
    *connecting = false;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair),
                    ==, 0);
    peer = pair[1];
    send_to_init(added, added_len);
    added_len = 0;
    send_to_init(go, sizeof(go));
    return pair[0];
}

void say(const char *format, ...)
{
}

void warn(const char *format, ...)
{
}

int nsm_extend(unsigned int index, const void *data, size_t len)
{
    g_assert_cmpuint(index, ==, ADDITIONS_REGISTER);
    g_assert_cmpuint(len, >=, 1);
    g_assert_cmpuint(len, <=, 1024);
    return 0;
}

int nsm_lock(unsigned int index)
{
    return 0;
}

/* Of clock.c, which has a name of QEMU's besides */
int64_t clock_ms(void)
{
    return g_get_monotonic_time() / 1000;
}

static void handle(struct output *output, const struct agent_frame *frame)
{
    g_assert_cmpuint(frame->len, <=, AGENT_MAX_PAYLOAD);
    if (frame->type == AGENT_TAKEN && frame->len == 8) {
        output_taken(output, ldq_be_p(frame->payload));
    }
    g_assert_cmpuint(output->used, <=, OUTPUT_SIZE);
    g_assert_cmpuint(output->first, <=, output->next);
}

static void write_some(struct output *output, uint8_t amount)
{
    static const uint8_t data[OUTPUT_PIECE];

    for (int i = 0; i < amount % 64; i++) {
        output_add(output, OUTPUT_STDOUT + i % 2, data, sizeof(data) - i);
    }
}

static void drain(void)
{
    uint8_t bytes[4096];

    while (recv(peer, bytes, sizeof(bytes), 0) > 0) {
        continue;
    }
}

static void serve(FuzzInput *in, struct agent *agent)
{
    struct agent_frame frame;
    struct output output;

    g_assert_cmpint(output_init(&output), ==, 0);
    agent_set_state(agent, STATE_RUNNING, 0, NULL);
    while (in->size && agent->fd >= 0) {
        uint8_t amount = fuzz_u8(in);
        size_t len = fuzz_u16(in);
        const uint8_t *piece = fuzz_bytes(in, &len);

        write_some(&output, amount);
        send_to_init(piece, len);
        agent_work(agent, POLLIN | POLLOUT, &output);
        while (agent_next(agent, &frame)) {
            handle(&output, &frame);
        }
        drain();
    }
    free(output.ring);
}

static void check_added(const struct config *config, unsigned arguments)
{
    g_assert_cmpuint(config->environment.count, <=, 4);
    g_assert_cmpuint(config->command.count, <=, 1 + arguments);
    for (size_t i = 0; i < config->environment.count; i++) {
        g_assert_nonnull(strchr(config->environment.item[i], '='));
    }
}

/* Additions are there at once, and end with GO */
static void fuzz_init(FuzzInput *in)
{
    struct config config;
    struct agent agent;
    char why[512];
    size_t len = fuzz_u16(in);

    added = fuzz_bytes(in, &len);
    added_len = len;
    config_init(&config);
    g_assert_cmpint(config_parse(&config, "exec /app\nallow-env A\n"
                                 "allow-env B\nallow-args yes\n",
                                 why, sizeof(why)), ==, 0);
    g_assert_cmpint(agent_init(&agent, NITRO_AGENT_PORT, true), ==, 0);
    additions_collect(&agent, &config, 1);
    check_added(&config, len / AGENT_HEAD + 1);
    serve(in, &agent);
    init_agent_free(&agent);
    config_free(&config);
    hang_up();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };

    if (fuzz_u8(&in) % NR_ENDS == DEVICE_END) {
        fuzz_device(&in);
    } else {
        fuzz_init(&in);
    }
    return 0;
}

/* Seeds */

static void put_frame(GByteArray *to, uint8_t type, const void *payload,
                      uint32_t len)
{
    uint8_t head[NITRO_AGENT_HEAD] = { type };

    stl_be_p(head + 4, len);
    fuzz_put(to, head, sizeof(head));
    fuzz_put(to, payload, len);
}

static void put_piece(GByteArray *to, const GByteArray *piece)
{
    fuzz_put16(to, piece->len);
    fuzz_put(to, piece->data, piece->len);
}

static void put_life(GByteArray *to)
{
    put_frame(to, NITRO_AGENT_HELLO, "\0\1\0\1", 4);
    put_frame(to, NITRO_AGENT_STATE, "\1\0\0\0\0", 5);
    put_frame(to, NITRO_AGENT_OUTPUT, "\0\0\0\0\0\0\0\0\1abc", 12);
    put_frame(to, NITRO_AGENT_OUTPUT, "\0\0\0\0\0\0\0\7\2abc", 12);
    put_frame(to, NITRO_AGENT_REFUSED, "no", 2);
    put_frame(to, NITRO_AGENT_STATE, "\4\0\0\0\0why", 8);
}

static void put_additions(GByteArray *to)
{
    put_frame(to, AGENT_ENV, "A=1", 3);
    put_frame(to, AGENT_ENV, "C=1", 3);
    put_frame(to, AGENT_ARG, "one", 3);
    put_frame(to, AGENT_FILE, "\0\2/adata", 8);
}

static void put_answers(GByteArray *to)
{
    put_frame(to, AGENT_TAKEN, "\0\0\0\0\0\0\20\0", 8);
    put_frame(to, AGENT_SIGNAL, "\0\0\0\17", 4);
    put_frame(to, AGENT_STOP, NULL, 0);
    put_frame(to, AGENT_END, NULL, 0);
}

void fuzz_seeds(FuzzSeed *seed)
{
    g_autoptr(GByteArray) part = g_byte_array_new();
    g_autoptr(GByteArray) enclave = g_byte_array_new();
    g_autoptr(GByteArray) to_init = g_byte_array_new();

    put_life(part);
    fuzz_put8(enclave, DEVICE_END);
    put_piece(enclave, part);
    fuzz_put16(enclave, 0x8000);
    seed("enclave", enclave->data, enclave->len);

    g_byte_array_set_size(part, 0);
    put_additions(part);
    fuzz_put8(to_init, INIT_END);
    put_piece(to_init, part);
    g_byte_array_set_size(part, 0);
    put_answers(part);
    fuzz_put8(to_init, 63);
    put_piece(to_init, part);
    fuzz_put8(to_init, 3);
    put_piece(to_init, part);
    seed("parent", to_init->data, to_init->len);
}
