/*
 * Fuzz target: consoles of enclaves and those who read them
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Input: rows of an action byte and its arguments: two enclaves write, end
 * and go; the parent sends packets to the console service and fetches its
 * own.  Bytes written count up (modulo 251), so that a reader sees whether
 * what it gets is what was written.
 */

#include "qemu/osdep.h"
#include "contrib/nitro-hypervisor/console.h"
#include "vsock-input.h"

enum { WRITE, END, OPEN, SEND, RECEIVE, NR_ACTIONS };

#define NR_CONSOLES 2
#define MAX_ACTIONS 300
#define STEP 251
#define CHUNK (1024 * STEP)

typedef struct Net {
    NhvSwitch *sw;
    NhvSwitchPort *parent;
    NhvConsoleService *service;
    NhvConsole *console[NR_CONSOLES];
    bool ended[NR_CONSOLES];
    size_t written[NR_CONSOLES];
    uint8_t text[CHUNK + STEP];
    bool opened_again;
} Net;

static void ready(void *opaque)
{
}

static void open_or_close(Net *net, int i)
{
    if (net->console[i]) {
        g_clear_pointer(&net->console[i], nhv_console_close);
        net->opened_again = true;
    } else {
        net->console[i] = nhv_console_open(net->service, VSOCK_ENCLAVE + i);
        net->ended[i] = false;
        net->written[i] = 0;
    }
}

static void write_text(Net *net, int i, FuzzInput *in)
{
    size_t len = vsock_amount(fuzz_u16(in)) % CHUNK;

    if (net->console[i] && !net->ended[i]) {
        nhv_console_append(net->console[i],
                           net->text + net->written[i] % STEP, len);
        net->written[i] += len;
    }
}

static void end(Net *net, int i)
{
    if (net->console[i] && !net->ended[i]) {
        nhv_console_end(net->console[i]);
        net->ended[i] = true;
    }
}

/* Within one packet at most one gap, where a slow reader missed something */
static void check_text(const uint8_t *data, size_t len)
{
    unsigned gaps = 0;

    for (size_t i = 1; i < len; i++) {
        gaps += data[i] != (data[i - 1] + 1) % STEP;
    }
    g_assert_cmpuint(gaps, <=, 1);
}

static bool receive(Net *net, size_t room)
{
    g_autofree uint8_t *data = g_malloc(room + 1);
    VsockHdr hdr = wire_receive(net->parent, data, room);

    if (!hdr.op) {
        return false;
    }
    g_assert_true(hdr.op == VIRTIO_VSOCK_OP_RST ||
                  hdr.src_cid == NITRO_CID_HYPERVISOR);
    if (hdr.op == VIRTIO_VSOCK_OP_RW) {
        g_assert_cmpuint(hdr.len, <=, room);
        check_text(data, hdr.len);
    }
    return true;
}

static void send_packet(Net *net, FuzzInput *in)
{
    static const uint8_t payload[65536];
    VsockHdr hdr = vsock_packet(in);

    hdr.src_cid = NITRO_CID_PARENT;
    hdr.dst_cid = NITRO_CID_HYPERVISOR;
    wire_send(net->parent, hdr, payload, MIN(hdr.len, sizeof(payload)));
}

static void act(Net *net, FuzzInput *in)
{
    uint8_t action = fuzz_u8(in);
    int i = (action >> 4) % NR_CONSOLES;

    switch ((action & 0xf) % NR_ACTIONS) {
    case WRITE:
        write_text(net, i, in);
        break;
    case END:
        end(net, i);
        break;
    case OPEN:
        open_or_close(net, i);
        break;
    case SEND:
        send_packet(net, in);
        break;
    default:
        receive(net, vsock_amount(fuzz_u16(in)) % 70000);
        break;
    }
    while (g_main_context_iteration(NULL, false)) {
        /* the service does its work in the main loop */
    }
}

static void finish(Net *net)
{
    while (receive(net, NHV_SWITCH_MAX_PKT)) {
        /* until there is no more */
    }
    for (int i = 0; i < NR_CONSOLES; i++) {
        nhv_console_close(net->console[i]);
    }
    nhv_console_service_free(net->service);
    nhv_switch_detach(net->parent);
    g_assert_cmpuint(wire_connections(net->sw), ==, 0);
    nhv_switch_free(net->sw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree Net *net = g_new0(Net, 1);
    FuzzInput in = { data, size };

    for (size_t i = 0; i < sizeof(net->text); i++) {
        net->text[i] = i % STEP;
    }
    net->sw = nhv_switch_new(NHV_SWITCH_MAX_CONNS, NULL, NULL);
    net->service = nhv_console_service_new(net->sw);
    net->parent = nhv_switch_attach(net->sw, NITRO_CID_PARENT, ready, NULL);
    for (int i = 0; i < NR_CONSOLES; i++) {
        open_or_close(net, i);
    }
    for (int n = 0; in.size && n < MAX_ACTIONS; n++) {
        act(net, &in);
    }
    finish(net);
    return 0;
}

#define TO_SERVICE 0x30
#define PORT 1 /* of the first enclave's console, see vsock_port() */

void fuzz_seeds(FuzzSeed *seed)
{
    g_autoptr(GByteArray) in = g_byte_array_new();

    fuzz_put8(in, WRITE);
    fuzz_put16(in, 1000);
    fuzz_put8(in, SEND);
    vsock_put(in, VIRTIO_VSOCK_OP_REQUEST, TO_SERVICE, 3, PORT, 0, 0);
    for (int i = 0; i < 6; i++) {
        fuzz_put8(in, RECEIVE);
        fuzz_put16(in, 500);
        fuzz_put8(in, WRITE);
        fuzz_put16(in, 20000);
    }
    fuzz_put8(in, SEND);
    vsock_put(in, VIRTIO_VSOCK_OP_CREDIT_UPDATE, TO_SERVICE, 3, PORT, 2500,
              0);
    fuzz_put8(in, END);
    fuzz_put8(in, RECEIVE);
    fuzz_put16(in, 60000);
    seed("read", in->data, in->len);
    for (int i = 0; i < 9; i++) {
        fuzz_put8(in, 0x10 | WRITE);
        fuzz_put16(in, 0xef00);
    }
    fuzz_put8(in, SEND);
    vsock_put(in, VIRTIO_VSOCK_OP_REQUEST, TO_SERVICE, 4, PORT + 1, 0, 0);
    for (int i = 0; i < 20; i++) {
        fuzz_put8(in, RECEIVE);
        fuzz_put16(in, 0xef00);
        fuzz_put8(in, 0x10 | WRITE);
        fuzz_put16(in, 0xef00);
    }
    fuzz_put8(in, 0x10 | OPEN);
    seed("flood", in->data, in->len);
}
