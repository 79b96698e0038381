/*
 * Fuzz target: virtqueues of a guest, as the vsock device reads them
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Input: rows of an action byte and its arguments.  The guest writes
 * descriptors, packets, or anything into its rings, makes heads available,
 * stops and starts its driver; an enclave talks to it.
 */

#include "qemu/osdep.h"
#include "contrib/nitro-hypervisor/vsock-device.h"
#include "tests/unit/nitro-vhost-master.h"
#include "vsock-input.h"

enum {
    DESCRIPTOR, PACKET, POST, RING_BYTES, ENCLAVE_SENDS, ENCLAVE_READS, STOP,
    START, NR_ACTIONS
};

#define MAX_ACTIONS 200
#define RINGS_SIZE VM_BUFFERS /* both rings and what is between them */
#define NR_BUFFERS 8

typedef struct Net {
    NhvSwitch *sw;
    NhvSwitchPort *enclave;
    NhvVsockDevice *dev; /* NULL once the connection had to go */
    VhostMaster m;
    bool running;
} Net;

static void device_ready(void *opaque)
{
}

static void device_closed(void *opaque, const char *why)
{
    Net *net = opaque;

    g_assert_cmpint(strlen(why), >, 0);
    g_clear_pointer(&net->dev, nhv_vsock_device_free);
}

static const NhvVsockDeviceOps ops = {
    .ready = device_ready, .closed = device_closed,
};

static void enclave_ready(void *opaque)
{
}

/* Buffers, rings, the end of memory and beyond, sometimes anywhere */
static uint64_t address(FuzzInput *in)
{
    uint8_t choice = fuzz_u8(in);

    if (choice >= 0xf8) {
        return fuzz_u64(in);
    }
    if (choice >= 0xf0) {
        return VM_MEM_SIZE - (choice & 7) * 16;
    }
    return choice >= 0xe0 ? (choice & 0xf) * 0x1000 + fuzz_u8(in)
                          : VM_BUFFERS + choice % NR_BUFFERS * VM_BUF_SIZE;
}

static void put_descriptor(Net *net, int queue, FuzzInput *in)
{
    uint8_t i = fuzz_u8(in) % VM_QUEUE_SIZE;
    uint64_t addr = address(in);
    uint16_t len = fuzz_u16(in);
    uint8_t flags = fuzz_u8(in);

    vm_desc(&net->m, queue, i, addr, vsock_amount(len), flags & 7,
            flags & 0x80 ? fuzz_u16(in) : fuzz_u8(in) % VM_QUEUE_SIZE);
}

static void put_packet(Net *net, FuzzInput *in)
{
    uint8_t *buffer = net->m.mem + VM_BUFFERS +
                      fuzz_u8(in) % NR_BUFFERS * VM_BUF_SIZE;
    VsockHdr hdr = vsock_packet(in);

    hdr.src_cid = hdr.src_port == UINT32_MAX ? hdr.src_cid : NITRO_CID_PARENT;
    wire_swap(&hdr);
    memcpy(buffer, &hdr, sizeof(hdr));
}

static void put_ring_bytes(Net *net, int queue, FuzzInput *in)
{
    struct vring *ring = &net->m.queue[queue].ring;
    uint8_t where = fuzz_u8(in);
    uint16_t value = fuzz_u16(in);

    if (where < 0x40) {
        stw_le_p(&ring->avail->idx, value);
    } else if (where < 0x60) {
        stw_le_p(&ring->avail->flags, value);
    } else if (where < 0x80) {
        stw_le_p(&ring->used->idx, value);
    } else {
        net->m.mem[fuzz_u32(in) % RINGS_SIZE] = value;
    }
}

static void enclave_sends(Net *net, FuzzInput *in)
{
    static const uint8_t payload[65536];
    VsockHdr hdr = vsock_packet(in);

    hdr.src_cid = VSOCK_ENCLAVE;
    hdr.dst_cid = NITRO_CID_PARENT;
    wire_send(net->enclave, hdr, payload, MIN(hdr.len, sizeof(payload)));
}

static void enclave_reads(Net *net)
{
    uint8_t data[4096];
    VsockHdr hdr = wire_receive(net->enclave, data, sizeof(data));

    g_assert_true(!hdr.op || hdr.dst_cid == VSOCK_ENCLAVE);
}

static void start_or_stop(Net *net, bool start)
{
    if (net->running != start) {
        net->running = start;
        if (start) {
            vm_start(&net->m);
        } else {
            vm_stop(&net->m);
        }
    }
}

static void act(Net *net, FuzzInput *in)
{
    uint8_t action = fuzz_u8(in);
    int queue = action & 0x80 ? VM_TX : VM_RX;

    switch ((action & 0x7f) % NR_ACTIONS) {
    case DESCRIPTOR:
        put_descriptor(net, queue, in);
        break;
    case PACKET:
        put_packet(net, in);
        break;
    case POST:
        vm_post(&net->m, queue, fuzz_u8(in));
        break;
    case RING_BYTES:
        put_ring_bytes(net, queue, in);
        break;
    case ENCLAVE_SENDS:
        enclave_sends(net, in);
        break;
    case ENCLAVE_READS:
        enclave_reads(net);
        break;
    default:
        start_or_stop(net, (action & 0x7f) % NR_ACTIONS == START);
        break;
    }
    vm_run();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };
    Net net = { .sw = nhv_switch_new(NHV_SWITCH_MAX_CONNS, NULL, NULL) };

    net.enclave = nhv_switch_attach(net.sw, VSOCK_ENCLAVE, enclave_ready,
                                    NULL);
    net.dev = nhv_vsock_device_new(net.sw, NITRO_CID_PARENT,
                                   vm_open(&net.m), &ops, &net);
    start_or_stop(&net, true);
    for (int n = 0; net.dev && in.size && n < MAX_ACTIONS; n++) {
        act(&net, &in);
    }
    nhv_vsock_device_free(net.dev);
    vm_close(&net.m);
    g_assert_null(nhv_switch_port(net.sw, NITRO_CID_PARENT));
    nhv_switch_detach(net.enclave);
    g_assert_cmpuint(wire_connections(net.sw), ==, 0);
    nhv_switch_free(net.sw);
    return 0;
}

#define TX 0x80
#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE

static void seed_descriptor(GByteArray *in, uint8_t queue, uint8_t i,
                            uint16_t len, uint8_t flags)
{
    fuzz_put8(in, queue | DESCRIPTOR);
    fuzz_put8(in, i);
    fuzz_put8(in, i); /* the buffer of the same number */
    fuzz_put16(in, len);
    fuzz_put8(in, flags);
    fuzz_put8(in, i + 1);
}

static void seed_post(GByteArray *in, uint8_t queue, uint8_t head)
{
    fuzz_put8(in, queue | POST);
    fuzz_put8(in, head);
}

/* A packet of the guest in buffers 0 and 1 */
static void seed_packet(GByteArray *in, uint8_t op, uint16_t len)
{
    fuzz_put8(in, PACKET);
    fuzz_put8(in, 0);
    vsock_put(in, op, 0x10, 3, 0, 0, len);
    seed_descriptor(in, TX, 0, sizeof(VsockHdr), len ? NEXT : 0);
    seed_descriptor(in, TX, 1, len, 0);
    seed_post(in, TX, 0);
}

void fuzz_seeds(FuzzSeed *seed)
{
    g_autoptr(GByteArray) in = g_byte_array_new();

    for (uint8_t i = 2; i < 8; i++) {
        seed_descriptor(in, 0, i, VM_BUF_SIZE, WRITE);
        seed_post(in, 0, i);
    }
    seed_packet(in, VIRTIO_VSOCK_OP_REQUEST, 0);
    fuzz_put8(in, ENCLAVE_READS);
    fuzz_put8(in, ENCLAVE_SENDS);
    vsock_put(in, VIRTIO_VSOCK_OP_RESPONSE, 0x01, 0, 3, 0, 0);
    seed_packet(in, VIRTIO_VSOCK_OP_RW, 100);
    fuzz_put8(in, ENCLAVE_READS);
    fuzz_put8(in, ENCLAVE_SENDS);
    vsock_put(in, VIRTIO_VSOCK_OP_RW, 0x01, 0, 3, 100, 9000);
    seed("traffic", in->data, in->len);
    fuzz_put8(in, STOP);
    fuzz_put8(in, START);
    seed_descriptor(in, TX, 1, 1, NEXT);
    seed_descriptor(in, TX, 2, 0, VRING_DESC_F_INDIRECT);
    seed_post(in, TX, 1);
    seed("again", in->data, in->len);
}
