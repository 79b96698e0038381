/*
 * Unit tests of the init's copying of Ethernet frames
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A pair of sockets that keep packets apart takes the place of a TAP device.
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
    g_autofree uint8_t *packet = g_malloc(len);

    memset(packet, byte, len);
    g_assert_cmpint(write(f->net, packet, len), ==, len);
}

static void expect_packet(Fixture *f, uint8_t byte, size_t len)
{
    g_autofree uint8_t *packet = g_malloc(FRAME_MAX);

    g_assert_cmpint(read(f->net, packet, FRAME_MAX), ==, len);
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
    return g_test_run();
}
