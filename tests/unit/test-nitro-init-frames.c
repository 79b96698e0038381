/*
 * Unit tests of the init's copying of Ethernet frames
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A pair of sockets that keep packets apart takes the place of a TAP device,
 * which has a header, most often of zero bytes, before each frame.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "contrib/nitro-init/frames.h"

typedef struct Fixture {
    struct frames frames;
    int tap, net;               /* the device, and what is behind it */
    int stream, parent;
} Fixture;

static void make_pair(int type, int *one, int *other)
{
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, pair), ==, 0);
    *one = pair[0];
    *other = pair[1];
}

static void setup(Fixture *f, gconstpointer data)
{
    g_assert_cmpint(frames_init(&f->frames), ==, 0);
    make_pair(SOCK_SEQPACKET, &f->tap, &f->net);
    make_pair(SOCK_STREAM, &f->stream, &f->parent);
}

static void teardown(Fixture *f, gconstpointer data)
{
    frames_free(&f->frames);
    close(f->tap);
    close(f->net);
    close(f->stream);
    close(f->parent);
}

static void put_packet(Fixture *f, uint8_t byte, size_t len)
{
    struct virtio_net_hdr head = { 0 };
    g_autofree uint8_t *packet = g_malloc(len);
    struct iovec parts[] = { { &head, sizeof(head) }, { packet, len } };

    memset(packet, byte, len);
    g_assert_cmpint(writev(f->net, parts, 2), ==, sizeof(head) + len);
}

static void expect_length(Fixture *f, size_t len)
{
    uint8_t got[1024];

    g_assert_cmpint(read(f->net, got, sizeof(got)), ==,
                    sizeof(struct virtio_net_hdr) + len);
}

static void expect_packet(Fixture *f, uint8_t byte, size_t len)
{
    struct virtio_net_hdr head;
    g_autofree uint8_t *packet = g_malloc(FRAME_MAX);
    struct iovec parts[] = { { &head, sizeof(head) }, { packet, FRAME_MAX } };

    g_assert_cmpint(readv(f->net, parts, 2), ==, sizeof(head) + len);
    g_assert_cmpuint(packet[0], ==, byte);
    g_assert_cmpuint(packet[len - 1], ==, byte);
}

static void expect_no_packet(Fixture *f)
{
    uint8_t byte;

    g_assert_cmpint(read(f->net, &byte, 1), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
}

static void put_frame(GByteArray *to, uint8_t byte, uint32_t len)
{
    uint8_t head[FRAME_HEAD];
    size_t used = to->len;

    stl_be_p(head, len);
    g_byte_array_append(to, head, sizeof(head));
    g_byte_array_set_size(to, used + FRAME_HEAD + len);
    memset(to->data + used + FRAME_HEAD, byte, len);
}

static void put_stream(Fixture *f, const void *data, size_t len)
{
    g_assert_cmpint(write(f->parent, data, len), ==, len);
}

/* Several packets leave with one write */
static void test_batch(Fixture *f, gconstpointer data)
{
    uint8_t got[1024];

    put_packet(f, 'a', 60);
    put_packet(f, 'b', 100);
    frames_collect(&f->frames, f->tap);
    g_assert_cmpuint(frames_pending(&f->frames), ==, 168);
    g_assert_cmpint(frames_send(&f->frames, f->stream), ==, 0);
    g_assert_cmpuint(frames_pending(&f->frames), ==, 0);
    g_assert_cmpint(read(f->parent, got, sizeof(got)), ==, 168);
    g_assert_cmpuint(ldl_be_p(got), ==, 60);
    g_assert_cmpuint(got[FRAME_HEAD], ==, 'a');
    g_assert_cmpuint(ldl_be_p(got + 64), ==, 100);
    g_assert_cmpuint(got[64 + FRAME_HEAD + 99], ==, 'b');
}

/* A batch is bounded, and the largest frame fits behind one that is not full */
static void test_full_batch(Fixture *f, gconstpointer data)
{
    int size = 4 * MiB;
    size_t before;

    setsockopt(f->net, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    put_packet(f, 'a', FRAMES_BATCH - FRAME_HEAD - 1);
    put_packet(f, 'b', FRAME_MAX);
    put_packet(f, 'c', 60);
    frames_collect(&f->frames, f->tap);
    before = frames_pending(&f->frames);
    g_assert_cmpuint(before, ==, FRAMES_BATCH - 1 + FRAME_HEAD + FRAME_MAX);
    frames_reset(&f->frames);
    frames_collect(&f->frames, f->tap);
    g_assert_cmpuint(frames_pending(&f->frames), ==, FRAME_HEAD + 60);
}

/* What a stream does not take stays, in order */
static void test_slow_stream(Fixture *f, gconstpointer data)
{
    g_autofree uint8_t *got = g_malloc(FRAMES_SIZE);
    size_t filled = 0, total = 0;
    uint8_t zero[4096] = { 0 };
    ssize_t n;

    while ((n = write(f->stream, zero, sizeof(zero))) > 0) {
        filled += n;
    }
    put_packet(f, 'a', 1000);
    frames_collect(&f->frames, f->tap);
    g_assert_cmpint(frames_send(&f->frames, f->stream), ==, 0);
    g_assert_cmpuint(frames_pending(&f->frames), ==, 1004);
    while (total < filled) {
        n = read(f->parent, got, MIN(FRAMES_SIZE, filled - total));
        g_assert_cmpint(n, >, 0);
        total += n;
    }
    g_assert_cmpint(frames_send(&f->frames, f->stream), ==, 0);
    g_assert_cmpint(read(f->parent, got, FRAMES_SIZE), ==, 1004);
    g_assert_cmpuint(ldl_be_p(got), ==, 1000);
}

static void test_broken_stream(Fixture *f, gconstpointer data)
{
    put_packet(f, 'a', 60);
    frames_collect(&f->frames, f->tap);
    close(f->parent);
    f->parent = -1;
    g_assert_cmpint(frames_send(&f->frames, f->stream), ==, -1);
    g_assert_cmpint(frames_receive(&f->frames, f->stream), ==, -1);
}

/* Whole frames are delivered, however the stream cuts them */
static void test_pieces(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    put_frame(bytes, 'a', 14);
    put_frame(bytes, 'b', 200);
    for (guint i = 0; i < bytes->len; i++) {
        put_stream(f, bytes->data + i, 1);
        g_assert_cmpint(frames_receive(&f->frames, f->stream), ==, 0);
        g_assert_cmpint(frames_deliver(&f->frames, f->tap), ==, 0);
    }
    expect_packet(f, 'a', 14);
    expect_packet(f, 'b', 200);
    expect_no_packet(f);
    g_assert_cmpuint(frames_pending(&f->frames), ==, 0);
}

/* The largest one needs more than one read */
static void test_largest(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    int size = 4 * MiB;

    setsockopt(f->parent, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    setsockopt(f->tap, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    put_frame(bytes, 'a', FRAME_MAX);
    put_frame(bytes, 'b', 60);
    put_stream(f, bytes->data, bytes->len);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpint(frames_receive(&f->frames, f->stream), ==, 0);
        g_assert_cmpint(frames_deliver(&f->frames, f->tap), ==, 0);
    }
    expect_packet(f, 'a', FRAME_MAX);
    expect_packet(f, 'b', 60);
}

/* Nothing after a length that is out of range can be trusted */
static void test_bad_length(Fixture *f, gconstpointer data)
{
    static const uint32_t lengths[] = { 0, FRAME_MIN - 1, FRAME_MAX + 1,
                                        UINT32_MAX };

    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();

        frames_reset(&f->frames);
        put_frame(bytes, 'a', 60);
        put_frame(bytes, 'b', 60);
        stl_be_p(bytes->data + FRAME_HEAD + 60, lengths[i]);
        put_stream(f, bytes->data, bytes->len);
        g_assert_cmpint(frames_receive(&f->frames, f->stream), ==, 0);
        g_assert_cmpint(frames_deliver(&f->frames, f->tap), ==, -1);
        expect_packet(f, 'a', 60);
        expect_no_packet(f);
    }
}

/* A frame that the device does not take is lost, those after it are not */
static void test_refused(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    put_frame(bytes, 'a', 60);
    put_stream(f, bytes->data, bytes->len);
    g_assert_cmpint(frames_receive(&f->frames, f->stream), ==, 0);
    g_assert_cmpint(frames_deliver(&f->frames, -1), ==, 0);
    put_stream(f, bytes->data, bytes->len);
    g_assert_cmpint(frames_receive(&f->frames, f->stream), ==, 0);
    g_assert_cmpint(frames_deliver(&f->frames, f->tap), ==, 0);
    expect_packet(f, 'a', 60);
    expect_no_packet(f);
}

static const uint8_t greeting_mac[MAC_LEN] = { 2, 3, 4, 5, 6, 7 };

static void put_greeting(GByteArray *to, uint32_t uncut)
{
    uint8_t frame[FRAME_HEAD + GREETING_LEN] = { [3] = GREETING_LEN };

    memset(frame + FRAME_HEAD, 0xff, 12);
    memcpy(frame + FRAME_HEAD + 6, greeting_mac, sizeof(greeting_mac));
    memcpy(frame + FRAME_HEAD + 12, "\x88\xb5nitronet", 10);
    stl_be_p(frame + FRAME_HEAD + 22, uncut);
    g_byte_array_append(to, frame, sizeof(frame));
}

static void receive(Fixture *f, const GByteArray *bytes)
{
    put_stream(f, bytes->data, bytes->len);
    g_assert_cmpint(frames_receive(&f->frames, f->stream), ==, 0);
    g_assert_cmpint(frames_deliver(&f->frames, f->tap), ==, 0);
}

/* It is the first frame of a connection, or an ordinary one */
static void test_greeting(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    put_greeting(bytes, 65534);
    put_frame(bytes, 'a', 60);
    put_greeting(bytes, 1);
    receive(f, bytes);
    g_assert_cmpuint(f->frames.uncut, ==, 65534);
    g_assert_cmpmem(f->frames.mac, MAC_LEN, greeting_mac, MAC_LEN);
    expect_packet(f, 'a', 60);
    expect_length(f, GREETING_LEN);
    expect_no_packet(f);
    frames_reset(&f->frames);
    g_assert_cmpuint(f->frames.uncut, ==, 0);
    g_assert_cmpuint(f->frames.mac[0], ==, 0);
    g_byte_array_set_size(bytes, 0);
    put_greeting(bytes, 2);
    receive(f, bytes);
    g_assert_cmpuint(f->frames.uncut, ==, 2);
    expect_no_packet(f);
}

static void test_no_greeting(Fixture *f, gconstpointer data)
{
    for (int i = 0; i < 4; i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        uint8_t got[64];
        size_t len;

        frames_reset(&f->frames);
        put_greeting(bytes, 65534);
        switch (i) {
        case 0:
            bytes->data[FRAME_HEAD + 12] = 8;
            break;
        case 1:
            bytes->data[FRAME_HEAD + 21] = 'T';
            break;
        case 2:
            bytes->data[3]--;
            g_byte_array_set_size(bytes, bytes->len - 1);
            break;
        default:
            bytes->data[3]++;
            g_byte_array_append(bytes, got, 1);
            break;
        }
        len = bytes->data[3];
        put_greeting(bytes, 65534);
        receive(f, bytes);
        g_assert_cmpuint(f->frames.uncut, ==, 0);
        g_assert_cmpuint(f->frames.mac[0], ==, 0);
        expect_length(f, len);
        expect_length(f, GREETING_LEN);
    }
}

/* What the kernel did not describe properly is lost, alone */
static void test_undescribed(Fixture *f, gconstpointer data)
{
    struct virtio_net_hdr head = { .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 };
    uint8_t frame[60] = { 0 };
    struct iovec parts[] = { { &head, sizeof(head) },
                             { frame, sizeof(frame) } };

    g_assert_cmpint(writev(f->net, parts, 2), ==,
                    sizeof(head) + sizeof(frame));
    put_packet(f, 'a', 100);
    frames_collect(&f->frames, f->tap);
    g_assert_cmpuint(frames_pending(&f->frames), ==, FRAME_HEAD + 100);
}

/* One that is long becomes several, and several that follow become one */
static void test_offload(Fixture *f, gconstpointer data)
{
    static const uint8_t headers[54] = {
        [12] = 8, [14] = 0x45, [16] = 0x0b, [17] = 0xe0, [20] = 0x40,
        [22] = 64, [23] = 6, [29] = 1, [33] = 2, [46] = 0x50, [47] = 0x10,
    };
    g_autofree uint8_t *frame = g_malloc0(54 + 3000);
    g_autofree uint8_t *got = g_malloc(FRAMES_SIZE);
    struct virtio_net_hdr head = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .hdr_len = 54, .gso_size = 1000, .csum_start = 34, .csum_offset = 16,
    };
    struct iovec parts[] = { { &head, sizeof(head) }, { frame, 54 + 3000 } };
    size_t all = 3 * (FRAME_HEAD + 54 + 1000);

    memcpy(frame, headers, sizeof(headers));
    /* The sum so far: addresses, protocol, length */
    stw_be_p(frame + 50, 1 + 2 + 6 + 20 + 3000);
    g_assert_cmpint(writev(f->net, parts, 2), ==, sizeof(head) + 3054);
    frames_collect(&f->frames, f->tap);
    g_assert_cmpuint(frames_pending(&f->frames), ==, all);
    g_assert_cmpint(frames_send(&f->frames, f->stream), ==, 0);
    g_assert_cmpint(read(f->parent, got, FRAMES_SIZE), ==, all);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpuint(ldl_be_p(got + i * (FRAME_HEAD + 1054)), ==, 1054);
    }

    put_stream(f, got, all);
    g_assert_cmpint(frames_receive(&f->frames, f->stream), ==, 0);
    g_assert_cmpint(frames_deliver(&f->frames, f->tap), ==, 0);
    g_assert_cmpint(read(f->net, got, FRAMES_SIZE), ==, sizeof(head) + 3054);
    g_assert_cmpmem(got, sizeof(head), &head, sizeof(head));
    g_assert_cmpuint(lduw_be_p(got + sizeof(head) + 16), ==, 3040);
    expect_no_packet(f);

    /* A peer that takes it whole */
    f->frames.uncut = 3054;
    g_assert_cmpint(writev(f->net, parts, 2), ==, sizeof(head) + 3054);
    frames_collect(&f->frames, f->tap);
    g_assert_cmpuint(frames_pending(&f->frames), ==, FRAME_HEAD + 3054);
}

#define ADD(name, function) \
    g_test_add("/nitro/init/frames/" name, Fixture, NULL, setup, function, \
               teardown)

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    ADD("batch", test_batch);
    ADD("full-batch", test_full_batch);
    ADD("slow-stream", test_slow_stream);
    ADD("broken-stream", test_broken_stream);
    ADD("pieces", test_pieces);
    ADD("largest", test_largest);
    ADD("bad-length", test_bad_length);
    ADD("refused", test_refused);
    ADD("greeting", test_greeting);
    ADD("no-greeting", test_no_greeting);
    ADD("undescribed", test_undescribed);
    ADD("offload", test_offload);
    return g_test_run();
}
