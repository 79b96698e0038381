/*
 * Fuzz target: the hypervisor's end of the control channel, and its slots
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Input: rows of an action byte and its arguments.  The device sends messages
 * and bytes, hangs up and comes again, the parent goes; enclaves, which are
 * fakes here, start, fail, exit and end.  What comes back is read as the
 * device would.
 */

#include "qemu/osdep.h"
#include <sys/socket.h>
#include "qapi/error.h"
#include "contrib/nitro-hypervisor/listener.h"
#include "contrib/nitro-hypervisor/slots.h"
#include "contrib/nitro-hypervisor/vsock-device.h"
#include "fuzz.h"

enum { MESSAGE, BYTES, STARTED, EXITED, DOWN, HANG_UP, RESET, NR_ACTIONS };

#define MAX_ACTIONS 200
#define REGION (2ull << 20)

/* Enclaves and what they live in, as fakes put in at link time */

struct NhvEnclave {
    NhvEnclaveConfig config;
    const NhvEnclaveOps *ops;
    void *opaque;
    bool started, running, stopping, down;
};

struct NhvListener {
    NhvAccepted *accepted;
    void *opaque;
    bool ready; /* for the next peer */
};

static struct {
    GPtrArray *enclaves;
    NhvListener *control_listener;
    NhvSlots *slots;
    NhvControl *control;
    int fd; /* the device's end */
    GByteArray *input;
} net;

NhvEnclave *nhv_enclave_start(const NhvEnclaveHost *host,
                              const NhvEnclaveConfig *config,
                              const NhvEnclaveOps *ops, void *opaque)
{
    NhvEnclave *enclave = g_new0(NhvEnclave, 1);

    g_assert_cmpuint(config->vcpus, >, 0);
    g_assert_cmpuint(config->memory.nr_regions, >, 0);
    g_assert_cmpuint(config->cid, >, NITRO_CID_PARENT);
    enclave->config = *config;
    enclave->ops = ops;
    enclave->opaque = opaque;
    g_ptr_array_add(net.enclaves, enclave);
    return enclave;
}

void nhv_enclave_stop(NhvEnclave *enclave)
{
    enclave->stopping = true;
}

bool nhv_enclave_is_down(const NhvEnclave *enclave)
{
    return enclave->down;
}

uint64_t nhv_enclave_slot_uid(const NhvEnclave *enclave)
{
    return enclave->config.slot_uid;
}

uint32_t nhv_enclave_cid(const NhvEnclave *enclave)
{
    return enclave->config.cid;
}

bool nhv_enclave_scrub(NhvEnclave *enclave, Error **errp)
{
    g_assert_true(enclave->down);
    return nhv_memory_scrub(&enclave->config.memory, errp);
}

void nhv_enclave_free(NhvEnclave *enclave)
{
    g_assert_true(enclave->down);
    nhv_memory_clear(&enclave->config.memory);
    g_ptr_array_remove(net.enclaves, enclave);
    g_free(enclave);
}

NhvListener *nhv_listener_new(const char *path, NhvAccepted *accepted,
                              void *opaque, Error **errp)
{
    NhvListener *listener = g_new0(NhvListener, 1);

    listener->accepted = accepted;
    listener->opaque = opaque;
    listener->ready = true;
    net.control_listener = listener; /* the last one that is made */
    return listener;
}

void nhv_listener_resume(NhvListener *listener)
{
    listener->ready = true;
}

void nhv_listener_free(NhvListener *listener)
{
    g_free(listener);
}

NhvVsockDevice *nhv_vsock_device_new(NhvSwitch *sw, uint32_t cid, int fd,
                                     const NhvVsockDeviceOps *ops,
                                     void *opaque)
{
    g_assert_not_reached(); /* nobody connects here */
}

void nhv_vsock_device_free(NhvVsockDevice *dev)
{
}

void *nhv_vsock_device_map(NhvVsockDevice *dev, uint64_t gpa,
                           uint64_t *len)
{
    return NULL;
}

/* The process around the channel, as main.c has it */

static void slots_idle(void *opaque)
{
    g_assert_cmpuint(net.enclaves->len, ==, 0);
    nhv_control_resume(net.control);
}

static bool control_request(void *opaque, const NitroControlHeader *header,
                            const void *body)
{
    return nhv_slots_request(net.slots, header, body);
}

static void control_lost(void *opaque, const char *why)
{
    nhv_slots_reset(net.slots);
}

static const NhvControlOps control_ops = {
    .request = control_request, .lost = control_lost,
};

static void run(void)
{
    while (g_main_context_iteration(NULL, false)) {
        /* until nothing is left to do */
    }
}

/* What the hypervisor may send */
static size_t check_message(const NitroControlHeader *header)
{
    uint16_t type = le16_to_cpu(header->type);
    bool reply = le16_to_cpu(header->flags) & NITRO_CONTROL_FLAG_REPLY;
    int32_t rc = le32_to_cpu(header->rc);
    size_t body = type == NITRO_CONTROL_HELLO || type == NITRO_CONTROL_EXITED
                  ? 8 : 0;

    g_assert_true(reply == (type != NITRO_CONTROL_EXITED));
    g_assert_true(type <= NITRO_CONTROL_RESET || type == NITRO_CONTROL_EXITED);
    g_assert_cmpuint(le32_to_cpu(header->size), ==, sizeof(*header) + body);
    g_assert_true(rc <= 0 && rc >= -4095);
    return sizeof(*header) + body;
}

/* Read all there is; the device's end is closed when the other is */
static void receive(void)
{
    uint8_t buf[4096];
    ssize_t n;

    while (net.fd >= 0 &&
           (n = recv(net.fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        g_byte_array_append(net.input, buf, n);
    }
    while (net.input->len >= sizeof(NitroControlHeader)) {
        size_t size = check_message((void *)net.input->data);

        if (net.input->len < size) {
            break;
        }
        g_byte_array_remove_range(net.input, 0, size);
    }
}

static void hang_up(void)
{
    if (net.fd >= 0) {
        receive();
        close(net.fd);
        net.fd = -1;
        g_byte_array_set_size(net.input, 0);
        run();
    }
}

/* Connect as soon as the hypervisor takes a device again */
static void connect_again(void)
{
    int pair[2];

    if (net.control_listener->ready) {
        hang_up();
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
                                   pair), ==, 0);
        net.fd = pair[0];
        net.control_listener->ready = false;
        net.control_listener->accepted(net.control_listener->opaque, pair[1]);
    }
}

static void send_bytes(const void *data, size_t len)
{
    connect_again();
    if (net.fd >= 0 && len) {
        send(net.fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static void put_start(GByteArray *body, FuzzInput *in)
{
    uint8_t regions = fuzz_u8(in), vcpus = fuzz_u8(in), lie = fuzz_u8(in);
    uint8_t cid = fuzz_u8(in);

    regions = regions % 8;
    vcpus = vcpus % 8;
    fuzz_put64(body, cid < 0xf0 ? cid % 24 : fuzz_u64(in));
    fuzz_put64(body, lie & 1);
    fuzz_put32(body, lie == 0xff ? fuzz_u32(in) : regions);
    fuzz_put32(body, lie == 0xfe ? fuzz_u32(in) : vcpus);
    for (int i = 0; i < regions; i++) {
        uint8_t choice = fuzz_u8(in);

        fuzz_put64(body, choice < 0xf0 ? choice * REGION : fuzz_u64(in));
        choice = fuzz_u8(in);
        fuzz_put64(body, choice < 0xf0 ? choice % 8 * REGION : fuzz_u64(in));
    }
    for (int i = 0; i < vcpus; i++) {
        fuzz_put32(body, i);
    }
}

static void send_message(FuzzInput *in)
{
    g_autoptr(GByteArray) body = g_byte_array_new();
    NitroControlHeader header = { 0 };
    uint8_t type = fuzz_u8(in), lie;

    type = type < 0xf0 ? type % 7 : type;
    if (type == NITRO_CONTROL_START) {
        put_start(body, in);
    } else if (type == NITRO_CONTROL_HELLO) {
        fuzz_put64(body, NITRO_CONTROL_VERSION);
    }
    lie = fuzz_u8(in);
    header.size = cpu_to_le32(sizeof(header) + body->len +
                              (lie >= 0xf0 ? (int8_t)fuzz_u8(in) : 0));
    header.type = cpu_to_le16(type);
    header.flags = cpu_to_le16(lie == 0xe0);
    header.seq = cpu_to_le32(lie);
    header.slot_uid = cpu_to_le64(fuzz_u8(in) % 16);
    g_byte_array_prepend(body, (void *)&header, sizeof(header));
    send_bytes(body->data, body->len);
}

static NhvEnclave *pick(FuzzInput *in)
{
    uint8_t i = fuzz_u8(in);

    return net.enclaves->len ? net.enclaves->pdata[i % net.enclaves->len]
                             : NULL;
}

static void started(NhvEnclave *enclave, int rc)
{
    if (!enclave->started) {
        enclave->started = true;
        enclave->running = !rc;
        enclave->stopping |= rc;
        enclave->ops->started(enclave->opaque, enclave, rc);
    }
}

static void exited(NhvEnclave *enclave, uint8_t cause)
{
    if (enclave->running && !enclave->stopping) {
        enclave->stopping = true;
        enclave->ops->exited(enclave->opaque, enclave, cause, 0);
    }
}

/* An enclave goes down when it failed, exited or was stopped */
static void go_down(NhvEnclave *enclave)
{
    if (enclave->stopping && !enclave->down) {
        started(enclave, -EINTR);
        enclave->down = true;
        enclave->ops->down(enclave->opaque, enclave);
    }
}

static void act_on_enclave(uint8_t action, FuzzInput *in)
{
    NhvEnclave *enclave = pick(in);

    if (!enclave) {
        return;
    }
    if (action == STARTED) {
        started(enclave, -(fuzz_u8(in) & 0x3));
    } else if (action == EXITED) {
        exited(enclave, fuzz_u8(in));
    } else {
        go_down(enclave);
    }
}

static void act(FuzzInput *in)
{
    uint8_t action = fuzz_u8(in);
    const uint8_t *bytes;
    size_t len;

    switch (action % NR_ACTIONS) {
    case MESSAGE:
        send_message(in);
        break;
    case BYTES:
        len = fuzz_u8(in);
        bytes = fuzz_bytes(in, &len); /* which may be fewer */
        send_bytes(bytes, len);
        break;
    case HANG_UP:
        hang_up();
        break;
    case RESET:
        nhv_slots_reset(net.slots); /* the parent has gone */
        break;
    default:
        act_on_enclave(action % NR_ACTIONS, in);
        break;
    }
    if (!(action & 0x80)) {
        run();
        receive();
    }
}

/* What is still in the hypervisor's buffer may start some more */
static void end_enclaves(void)
{
    for (unsigned n = 0; net.enclaves->len; n++) {
        g_assert_cmpuint(n, <, 10 * MAX_ACTIONS);
        for (guint i = 0; i < net.enclaves->len; i++) {
            go_down(net.enclaves->pdata[i]);
        }
        run();
    }
}

static void end(NhvParent *parent)
{
    hang_up();
    nhv_slots_reset(net.slots);
    end_enclaves();
    run();
    nhv_control_free(net.control);
    nhv_slots_free(net.slots);
    nhv_parent_free(parent);
    g_ptr_array_unref(net.enclaves);
    g_byte_array_unref(net.input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const NhvEnclaveHost host = { 0 };
    FuzzInput in = { data, size };
    NhvParent *parent;

    net.enclaves = g_ptr_array_new();
    net.input = g_byte_array_new();
    net.fd = -1;
    net.slots = nhv_slots_new(&host, slots_idle, NULL);
    parent = nhv_parent_new(NULL, NULL, NULL, NULL, &error_abort);
    net.control = nhv_control_new(NULL, &control_ops, NULL, &error_abort);
    nhv_slots_connect(net.slots, net.control, parent);
    for (int n = 0; in.size && n < MAX_ACTIONS; n++) {
        act(&in);
    }
    end(parent);
    return 0;
}

static void put_message(GByteArray *in, uint8_t type, uint8_t slot)
{
    fuzz_put8(in, MESSAGE);
    fuzz_put8(in, type);
    if (type == NITRO_CONTROL_START) {
        static const uint8_t start[] = { 2, 2, 1, 16, 0, 1, 2, 3 };

        fuzz_put(in, start, sizeof(start));
    }
    fuzz_put8(in, 1);
    fuzz_put8(in, slot);
}

static void put_event(GByteArray *in, uint8_t event, uint8_t argument)
{
    fuzz_put8(in, event);
    fuzz_put8(in, 0);
    if (event != DOWN) {
        fuzz_put8(in, argument);
    }
}

void fuzz_seeds(FuzzSeed *seed)
{
    g_autoptr(GByteArray) in = g_byte_array_new();

    put_message(in, NITRO_CONTROL_HELLO, 0);
    put_message(in, NITRO_CONTROL_START, 1);
    put_event(in, STARTED, 0);
    seed("start", in->data, in->len);
    put_message(in, NITRO_CONTROL_STOP, 1);
    put_event(in, DOWN, 0);
    put_message(in, NITRO_CONTROL_FREE, 1);
    seed("stop", in->data, in->len);
    put_message(in, NITRO_CONTROL_START, 2);
    put_event(in, STARTED, 0);
    put_event(in, EXITED, 1);
    put_message(in, NITRO_CONTROL_RESET, 0);
    put_event(in, DOWN, 0);
    fuzz_put8(in, HANG_UP);
    put_message(in, NITRO_CONTROL_HELLO, 0);
    put_message(in, NITRO_CONTROL_START, 3);
    put_event(in, STARTED, 1);
    put_event(in, DOWN, 0);
    fuzz_put8(in, RESET);
    seed("reset", in->data, in->len);
}
