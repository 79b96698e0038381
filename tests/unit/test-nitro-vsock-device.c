/*
 * Unit tests of the hypervisor's vhost-user vsock back end
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *   this test as enclave 16 --- switch --- vsock device --- this test as QEMU
 *      (endpoint)                          (CID 3)          and parent guest
 */

#include "qemu/osdep.h"
#include "contrib/nitro-hypervisor/switch-conn.h"
#include "contrib/nitro-hypervisor/vsock-device.h"
#include "nitro-vhost-master.h"
#include "nitro-vsock-wire.h"
#include "tests/nitro/fixture.h"

#define CID 16
#define OP(name) VIRTIO_VSOCK_OP_ ## name
#define HDR sizeof(VsockHdr)

typedef struct Fixture {
    NhvSwitch *sw;
    NhvSwitchPort *enclave;
    NhvVsockDevice *dev;
    VhostMaster m;
    bool ready;
    char *closed;
} Fixture;

static void device_ready(void *opaque)
{
    ((Fixture *)opaque)->ready = true;
}

static void device_closed(void *opaque, const char *why)
{
    Fixture *f = opaque;

    g_assert_null(f->closed);
    f->closed = g_strdup(why);
    g_clear_pointer(&f->dev, nhv_vsock_device_free);
}

static const NhvVsockDeviceOps ops = {
    .ready = device_ready, .closed = device_closed,
};

static void nothing(void *opaque)
{
}

static void setup(Fixture *f, gconstpointer data)
{
    f->sw = nhv_switch_new(NHV_SWITCH_MAX_CONNS, NULL, NULL);
    f->enclave = nhv_switch_attach(f->sw, CID, nothing, NULL);
    f->dev = nhv_vsock_device_new(f->sw, NITRO_CID_PARENT, vm_open(&f->m),
                                  &ops, f);
}

static void teardown(Fixture *f, gconstpointer data)
{
    nhv_vsock_device_free(f->dev);
    vm_close(&f->m);
    nhv_switch_detach(f->enclave);
    nhv_switch_free(f->sw);
    g_free(f->closed);
}

static bool is_up(Fixture *f)
{
    return nhv_switch_port(f->sw, NITRO_CID_PARENT);
}

/* The connection had to go, and nothing else */
static void expect_closed(Fixture *f, const char *why)
{
    vm_run();
    g_assert_cmpstr(f->closed, ==, why);
    g_assert_false(is_up(f));
}

static uint8_t *buffer(Fixture *f, int i)
{
    return f->m.mem + VM_BUFFERS + i * VM_BUF_SIZE;
}

static uint64_t buffer_gpa(int i)
{
    return VM_BUFFERS + i * VM_BUF_SIZE;
}

/* The guest sends: header in buffer 0, payload in buffer 1 */
static void guest_posts(Fixture *f, VsockHdr hdr, const void *data, size_t len)
{
    hdr.len = len;
    wire_swap(&hdr);
    memcpy(buffer(f, 0), &hdr, HDR);
    memcpy(buffer(f, 1), data, len);
    vm_desc(&f->m, VM_TX, 0, buffer_gpa(0), HDR, len ? VRING_DESC_F_NEXT : 0,
            1);
    vm_desc(&f->m, VM_TX, 1, buffer_gpa(1), len, 0, 0);
    vm_post(&f->m, VM_TX, 0);
}

static void guest_sends(Fixture *f, VsockHdr hdr, const void *data, size_t len)
{
    uint32_t used;

    guest_posts(f, hdr, data, len);
    g_assert_cmpint(vm_used(&f->m, VM_TX, &used), ==, 0);
}

static void guest_offers(Fixture *f, int i)
{
    vm_desc(&f->m, VM_RX, i, buffer_gpa(i), VM_BUF_SIZE, VRING_DESC_F_WRITE,
            0);
    vm_post(&f->m, VM_RX, i);
}

/* The guest gets a packet in buffer @i */
static VsockHdr guest_gets(Fixture *f, int i)
{
    VsockHdr hdr;
    uint32_t len = 0;

    g_assert_cmpint(vm_used(&f->m, VM_RX, &len), ==, i);
    g_assert_cmpuint(len, >=, HDR);
    memcpy(&hdr, buffer(f, i), HDR);
    wire_swap(&hdr);
    g_assert_cmpuint(len, ==, HDR + hdr.len);
    return hdr;
}

static VsockHdr to_enclave(uint16_t op)
{
    return wire_hdr(op, NITRO_CID_PARENT, 1000, CID, 5005);
}

static VsockHdr to_guest(uint16_t op)
{
    return wire_hdr(op, CID, 5005, NITRO_CID_PARENT, 1000);
}

static void open_connection(Fixture *f)
{
    vm_start(&f->m);
    guest_sends(f, to_enclave(OP(REQUEST)), "", 0);
    g_assert_cmpuint(wire_receive(f->enclave, NULL, 0).op, ==, OP(REQUEST));
    wire_send(f->enclave, to_guest(OP(RESPONSE)), NULL, 0);
    guest_offers(f, 8);
    g_assert_cmpuint(guest_gets(f, 8).op, ==, OP(RESPONSE));
}

/* The guest is an enclave, and the parent does not fetch what it sends */
static void test_full(Fixture *f, gconstpointer data)
{
    NhvSwitchPort *parent;
    char got[4];
    uint32_t used;

    nhv_vsock_device_free(f->dev);
    vm_close(&f->m);
    nhv_switch_detach(f->enclave);
    f->sw->max_queued = NHV_SWITCH_WINDOW;
    parent = f->enclave = nhv_switch_attach(f->sw, NITRO_CID_PARENT,
                                            nothing, NULL);
    f->dev = nhv_vsock_device_new(f->sw, CID, vm_open(&f->m), &ops, f);
    vm_start(&f->m);
    guest_sends(f, to_guest(OP(REQUEST)), "", 0);
    g_assert_cmpuint(wire_receive(parent, NULL, 0).op, ==, OP(REQUEST));
    wire_send(parent, to_enclave(OP(RESPONSE)), NULL, 0);
    guest_sends(f, to_guest(OP(RW)), "a", 1);

    guest_posts(f, to_guest(OP(RW)), "b", 1);
    g_assert_cmpint(vm_used(&f->m, VM_TX, &used), ==, -1);
    g_assert_cmpuint(wire_receive(parent, got, 4).len, ==, 1);
    vm_run();
    g_assert_cmpint(vm_used(&f->m, VM_TX, &used), ==, 0);
    g_assert_cmpuint(wire_receive(parent, got, 4).len, ==, 1);
    g_assert_cmpint(got[0], ==, 'b');
}

static void test_config(Fixture *f, gconstpointer data)
{
    VhostUserConfig config = { .size = 8 };

    vm_ask(&f->m, VHOST_USER_GET_CONFIG, &config,
           VHOST_USER_CONFIG_HDR_SIZE + 8);
    g_assert_cmpuint(ldq_le_p(config.region), ==, NITRO_CID_PARENT);
    g_assert_true(f->ready);
    g_assert_false(is_up(f));
}

static void test_exchange(Fixture *f, gconstpointer data)
{
    char got[VM_BUF_SIZE];
    VsockHdr hdr;
    uint64_t calls;

    open_connection(f);
    guest_sends(f, to_enclave(OP(RW)), "to the enclave", 14);
    hdr = wire_receive(f->enclave, got, sizeof(got));
    g_assert_cmpmem(got, hdr.len, "to the enclave", 14);

    wire_send(f->enclave, to_guest(OP(RW)), "to the parent", 13);
    guest_offers(f, 9);
    hdr = guest_gets(f, 9);
    g_assert_cmpmem(buffer(f, 9) + HDR, hdr.len, "to the parent", 13);
    g_assert_cmpint(read(f->m.queue[VM_RX].call_fd, &calls, 8), ==, 8);
}

/* 64 KiB arrive in the buffers of 4 KiB that guests offer */
static void test_split(Fixture *f, gconstpointer data)
{
    g_autofree uint8_t *out = g_malloc(NHV_SWITCH_MAX_PKT);
    size_t got = 0;
    int i;

    for (i = 0; i < NHV_SWITCH_MAX_PKT; i++) {
        out[i] = i * 13 + i / 255;
    }
    open_connection(f);
    wire_send(f->enclave, to_guest(OP(RW)), out, NHV_SWITCH_MAX_PKT);
    for (i = 9; got < NHV_SWITCH_MAX_PKT; i++) {
        VsockHdr hdr;

        guest_offers(f, i);
        hdr = guest_gets(f, i);
        g_assert_cmpmem(buffer(f, i) + HDR, hdr.len, out + got, hdr.len);
        got += hdr.len;
    }
    g_assert_cmpint(i - 9, ==, 17);
}

static void test_driver_restart(Fixture *f, gconstpointer data)
{
    open_connection(f);
    vm_stop(&f->m);
    g_assert_null(f->closed);
    vm_start(&f->m);
    g_assert_cmpuint(wire_receive(f->enclave, NULL, 0).op, ==, OP(RST));
    open_connection(f);
    g_assert_true(is_up(f));
}

/* Connections outlast a pause, and what was sent meanwhile is there */
static void test_pause(Fixture *f, gconstpointer data)
{
    VsockHdr hdr;
    uint32_t len;

    open_connection(f);
    vm_stop(&f->m);
    wire_send(f->enclave, to_guest(OP(RW)), "good morning", 12);
    guest_offers(f, 9);
    g_assert_cmpint(vm_used(&f->m, VM_RX, &len), ==, -1);
    vm_resume(&f->m);
    hdr = guest_gets(f, 9);
    g_assert_cmpmem(buffer(f, 9) + HDR, hdr.len, "good morning", 12);
    guest_sends(f, to_enclave(OP(RW)), "x", 1);
    g_assert_cmpuint(wire_receive(f->enclave, &(char) { 0 }, 1).op, ==,
                     OP(RW));
}

static void test_disconnect(Fixture *f, gconstpointer data)
{
    open_connection(f);
    close(f->m.fd);
    f->m.fd = -1;
    expect_closed(f, NHV_VSOCK_CLOSED_BY_PEER);
    g_assert_cmpuint(wire_receive(f->enclave, NULL, 0).op, ==, OP(RST));
}

/* It does not wait for the answer: an error like any other, no signal */
static void test_disconnect_early(Fixture *f, gconstpointer data)
{
    uint32_t message[3] = { VHOST_USER_GET_FEATURES, 1, 0 };

    g_assert_cmpint(send(f->m.fd, message, 12, 0), ==, 12);
    close(f->m.fd);
    f->m.fd = -1;
    vm_run();
    g_assert_nonnull(f->closed);
    g_assert_false(is_up(f));
}

static void test_memory(Fixture *f, gconstpointer data)
{
    uint64_t len = 100;
    char *p;

    g_assert_null(nhv_vsock_device_map(f->dev, 0x1000, &len));
    vm_start(&f->m);
    strcpy((char *)f->m.mem + 0x1000, "donated");
    p = nhv_vsock_device_map(f->dev, 0x1000, &len);
    g_assert_cmpstr(p, ==, "donated");
    g_assert_cmpuint(len, ==, 100);
    len = 100;
    g_assert_nonnull(nhv_vsock_device_map(f->dev, VM_MEM_SIZE - 40, &len));
    g_assert_cmpuint(len, ==, 40);
    len = 100;
    g_assert_null(nhv_vsock_device_map(f->dev, VM_MEM_SIZE, &len));
    g_assert_null(nhv_vsock_device_map(f->dev, UINT64_MAX, &len));
    len = 0;
    g_assert_null(nhv_vsock_device_map(f->dev, 0x1000, &len));
}

/* Odd but survivable: the connection stays */
static void test_odd_elements(Fixture *f, gconstpointer data)
{
    uint32_t len;

    open_connection(f);
    /* A writable descriptor in the tx queue */
    vm_desc(&f->m, VM_TX, 5, buffer_gpa(0), HDR, VRING_DESC_F_WRITE, 0);
    vm_post(&f->m, VM_TX, 5);
    g_assert_cmpint(vm_used(&f->m, VM_TX, &len), ==, 5);

    /* A packet of 3 bytes */
    vm_desc(&f->m, VM_TX, 6, buffer_gpa(0), 3, 0, 0);
    vm_post(&f->m, VM_TX, 6);
    g_assert_cmpint(vm_used(&f->m, VM_TX, &len), ==, 6);

    /* rx buffers that are too short, or not writable */
    wire_send(f->enclave, to_guest(OP(RW)), "x", 1);
    vm_desc(&f->m, VM_RX, 1, buffer_gpa(1), 10, VRING_DESC_F_WRITE, 0);
    vm_post(&f->m, VM_RX, 1);
    g_assert_cmpint(vm_used(&f->m, VM_RX, &len), ==, 1);
    g_assert_cmpuint(len, ==, 0);
    vm_desc(&f->m, VM_RX, 2, buffer_gpa(2), VM_BUF_SIZE, 0, 0);
    vm_post(&f->m, VM_RX, 2);
    g_assert_cmpint(vm_used(&f->m, VM_RX, &len), ==, 2);
    g_assert_cmpuint(len, ==, 0);

    guest_offers(f, 9);
    g_assert_cmpuint(guest_gets(f, 9).op, ==, OP(RW));
    g_assert_null(f->closed);
}

static void test_bad_address(Fixture *f, gconstpointer data)
{
    open_connection(f);
    vm_desc(&f->m, VM_TX, 5, 0x4000000000ull, HDR, 0, 0);
    vm_post(&f->m, VM_TX, 5);
    expect_closed(f, "virtio: invalid address for buffers");
}

static void test_looped(Fixture *f, gconstpointer data)
{
    open_connection(f);
    vm_desc(&f->m, VM_TX, 5, buffer_gpa(0), HDR, VRING_DESC_F_NEXT, 5);
    vm_post(&f->m, VM_TX, 5);
    expect_closed(f, "Looped descriptor");
}

static void test_bad_head(Fixture *f, gconstpointer data)
{
    open_connection(f);
    vm_post(&f->m, VM_TX, VM_QUEUE_SIZE);
    vm_run();
    g_assert_nonnull(f->closed);
    g_assert_false(is_up(f));
}

/* An index far ahead is worked off in turns, and ends */
static void test_bad_index(Fixture *f, gconstpointer data)
{
    open_connection(f);
    f->m.queue[VM_TX].ring.avail->idx = cpu_to_le16(30000);
    vm_post(&f->m, VM_TX, 0);
    g_assert_cmpuint(le16_to_cpu(f->m.queue[VM_TX].ring.used->idx), ==, 30001);
    g_assert_true(is_up(f));
}

/* Random rings: survive, whatever the verdict */
static void test_noise(Fixture *f, gconstpointer data)
{
    int round, i;

    for (round = 0; round < 200; round++) {
        if (!f->dev) {
            teardown(f, NULL);
            *f = (Fixture) { };
            setup(f, NULL);
        }
        vm_start(&f->m);
        for (i = 0; i < VM_QUEUE_SIZE; i++) {
            vm_desc(&f->m, i % 2, g_test_rand_int_range(0, VM_QUEUE_SIZE),
                    g_test_rand_int_range(0, VM_MEM_SIZE + 65536),
                    g_test_rand_int_range(0, 70000),
                    g_test_rand_int_range(0, 8),
                    g_test_rand_int_range(0, VM_QUEUE_SIZE + 1));
        }
        for (i = 0; i < 20 && f->dev; i++) {
            vm_post(&f->m, i % 2, g_test_rand_int_range(0, VM_QUEUE_SIZE + 1));
        }
    }
}

static void test_message_in_halves(Fixture *f, gconstpointer data)
{
    uint32_t message[5] = { VHOST_USER_GET_FEATURES, 1, 0 };
    int i;

    g_assert_cmpint(send(f->m.fd, message, 5, 0), ==, 5);
    vm_run();
    g_assert_cmpint(send(f->m.fd, (char *)message + 5, 7, 0), ==, 7);
    for (i = 0; i < 3; i++) {
        g_main_context_iteration(NULL, i == 0);
    }
    vm_run();
    g_assert_null(f->closed);
    g_assert_cmpint(recv(f->m.fd, message, 20, MSG_DONTWAIT), ==, 20);
}

static void test_oversized_message(Fixture *f, gconstpointer data)
{
    uint32_t message[3] = { VHOST_USER_SET_FEATURES, 1, UINT32_MAX };

    g_assert_cmpint(send(f->m.fd, message, 12, 0), ==, 12);
    expect_closed(f, "vhost-user message of excessive size");
}

static void test_unknown_message(Fixture *f, gconstpointer data)
{
    vm_send(&f->m, 4711, "12345678", 8, -1);
    vm_run();
    g_assert_nonnull(f->closed);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "/nitro/vsock-device/config", test_config },
        { "/nitro/vsock-device/exchange", test_exchange },
        { "/nitro/vsock-device/split", test_split },
        { "/nitro/vsock-device/full", test_full },
        { "/nitro/vsock-device/driver-restart", test_driver_restart },
        { "/nitro/vsock-device/pause", test_pause },
        { "/nitro/vsock-device/disconnect", test_disconnect },
        { "/nitro/vsock-device/disconnect-early", test_disconnect_early },
        { "/nitro/vsock-device/memory", test_memory },
        { "/nitro/vsock-device/odd-elements", test_odd_elements },
        { "/nitro/vsock-device/bad-address", test_bad_address },
        { "/nitro/vsock-device/looped", test_looped },
        { "/nitro/vsock-device/bad-head", test_bad_head },
        { "/nitro/vsock-device/bad-index", test_bad_index },
        { "/nitro/vsock-device/noise", test_noise },
        { "/nitro/vsock-device/message-in-halves", test_message_in_halves },
        { "/nitro/vsock-device/oversized-message", test_oversized_message },
        { "/nitro/vsock-device/unknown-message", test_unknown_message },
    };

    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);           /* as the hypervisor process does */
    ADD_FIXTURE_TESTS(tests, Fixture);
    return g_test_run();
}
