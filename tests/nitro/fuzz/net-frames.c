/*
 * Fuzz target: frames and addresses of an enclave's network
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Input: a byte that picks the reader; then pieces, each behind its length.
 * QEMU's reader of frames gets them as they would come from a stream, the
 * init's DHCP client as messages, with time between them, its offloads as
 * frames.
 */

#include "qemu/osdep.h"
#include "hw/nitro/net-frames.h"
#include "contrib/nitro-init/dhcp.h"
#include "contrib/nitro-init/offload.h"
#include "migration/vmstate.h"
#include "fuzz.h"

enum { READ_FRAMES, READ_DHCP, READ_SPLIT, READ_MERGE, NR_READERS };

#define ID 0x12345678
#define GAP 4
#define ROOM (256 * 1024)

/* A queue can be migrated; nobody does so here */
const VMStateInfo vmstate_info_buffer = { };
const VMStateInfo vmstate_info_uint32 = { };

static const uint8_t mac[MAC_LEN] = { 2, 0, 0, 0, 0, 1 };

/* Returns: false at a bad length, after which nothing can be found */
static bool take_frames(NitroFramesIn *frames)
{
    NitroFrameResult result;
    const uint8_t *frame;
    uint32_t len;

    while ((result = nitro_frames_peek(frames, &frame, &len)) ==
           NITRO_FRAME_WHOLE) {
        g_assert_cmpuint(len, >=, NITRO_FRAME_MIN);
        g_assert_cmpuint(len, <=, NITRO_FRAME_MAX);
        g_assert_true(frame + len <= frames->data + frames->end);
        nitro_frames_take(frames);
    }
    return result == NITRO_FRAME_NONE;
}

static void fuzz_frames(FuzzInput *in)
{
    NitroFramesIn frames;

    nitro_frames_in_init(&frames);
    while (in->size && take_frames(&frames)) {
        size_t len = fuzz_u16(in);
        const uint8_t *piece = fuzz_bytes(in, &len);

        memcpy(nitro_frames_space(&frames), piece, len);
        nitro_frames_added(&frames, len);
    }
    nitro_frames_in_destroy(&frames);
}

static void check_lease(const struct dhcp *dhcp, enum dhcp_event event)
{
    const struct dhcp_lease *lease = &dhcp->lease;

    if (event != DHCP_LEASE) {
        return;
    }
    g_assert_cmpint(dhcp->state, ==, DHCP_BOUND);
    g_assert_cmpuint(lease->address, !=, 0);
    g_assert_cmpuint(lease->prefix, >=, 1);
    g_assert_cmpuint(lease->prefix, <=, 32);
    g_assert_cmpuint(lease->nr_dns, <=, DHCP_MAX_DNS);
    g_assert_true(!lease->mtu || (lease->mtu >= DHCP_MIN_MTU &&
                                  lease->mtu <= DHCP_MAX_MTU));
    g_assert_cmpint(lease->duration_ms, >=, 60000);
}

static void fuzz_dhcp(FuzzInput *in)
{
    uint8_t message[DHCP_MESSAGE];
    struct dhcp dhcp;
    int64_t now = 0;

    dhcp_init(&dhcp, mac, ID, now);
    while (in->size) {
        size_t len, sent;
        const uint8_t *answer;

        now += fuzz_u32(in);
        dhcp_work(&dhcp, now, message, &sent);
        g_assert_true(!sent || sent == DHCP_MESSAGE);
        g_assert_cmpint(dhcp.next_ms, >, now);
        len = fuzz_u16(in);
        answer = fuzz_bytes(in, &len);
        check_lease(&dhcp, dhcp_take(&dhcp, now, answer, len));
    }
}

/* A frame of the kernel's; the room is as small as it can be */
static void fuzz_split(FuzzInput *in)
{
    struct virtio_net_hdr head;
    struct split split;
    size_t uncut = fuzz_u16(in);

    fuzz_take(in, &head, sizeof(head));
    while (in->size) {
        size_t room = fuzz_u16(in);
        size_t len = fuzz_u16(in);
        const uint8_t *piece = fuzz_bytes(in, &len);
        g_autofree uint8_t *frame = NULL;

        if (len < NITRO_FRAME_MIN) {
            continue;
        }
        room = MAX(room, len);
        frame = g_malloc(room);
        memcpy(frame, piece, len);
        if (offload_split(&head, uncut, frame, len, GAP, room, &split)) {
            g_assert_cmpuint(split.count, >=, 1);
            g_assert_cmpuint((split.count - 1) * (GAP + split.len) +
                             split.last, <=, room);
        }
    }
}

/* What is merged can be cut again, into as many frames */
static void check_merged(struct merge *merge)
{
    unsigned count = offload_merged(merge);
    g_autofree uint8_t *frame = g_malloc(ROOM);
    struct split split;
    size_t len = 0;

    for (unsigned i = 1; i < count; i++) {
        memcpy(frame + len, merge->pieces[i].iov_base,
               merge->pieces[i].iov_len);
        len += merge->pieces[i].iov_len;
    }
    g_assert_true(offload_split(&merge->head, 0, frame, len, GAP, ROOM,
                                &split));
    g_assert_cmpuint(split.count, ==, count - 1);
}

static uint32_t add_words(uint32_t sum, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 ? data[i] : data[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* Blind mutation does not find the checksums of IPv4 and TCP */
static void sign(uint8_t *frame, size_t size)
{
    uint8_t *ip = frame + 14, *tcp = frame + 34;
    size_t len;

    if (size < 54 || lduw_be_p(ip + 2) < 40 ||
        lduw_be_p(ip + 2) > size - 14) {
        return;
    }
    len = lduw_be_p(ip + 2) - 20;
    stw_be_p(ip + 10, 0);
    stw_be_p(ip + 10, ~add_words(0, ip, 20));
    stw_be_p(tcp + 16, 0);
    stw_be_p(tcp + 16, ~add_words(add_words(6 + len, ip + 12, 8), tcp, len));
}

static void fuzz_merge(FuzzInput *in)
{
    g_autoptr(GPtrArray) frames = g_ptr_array_new_with_free_func(g_free);
    struct merge merge = { 0 };

    while (in->size) {
        bool damaged = fuzz_u8(in) & 1;
        size_t len = fuzz_u16(in);
        const uint8_t *piece = fuzz_bytes(in, &len);
        uint8_t *frame = g_memdup2(piece, len);

        g_ptr_array_add(frames, frame);
        if (len < NITRO_FRAME_MIN) {
            continue;
        }
        if (!damaged) {
            sign(frame, len);
        }
        if (!offload_merge(&merge, frame, len)) {
            check_merged(&merge);
            g_assert_true(offload_merge(&merge, frame, len));
        }
    }
    if (merge.count) {
        check_merged(&merge);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };

    static void (*const readers[])(FuzzInput *) = {
        [READ_FRAMES] = fuzz_frames,
        [READ_DHCP] = fuzz_dhcp,
        [READ_SPLIT] = fuzz_split,
        [READ_MERGE] = fuzz_merge,
    };

    readers[fuzz_u8(&in) % NR_READERS](&in);
    return 0;
}

/* Seeds */

static void put_piece(GByteArray *to, const void *piece, size_t len)
{
    fuzz_put16(to, len);
    fuzz_put(to, piece, len);
}

static void put_answer(GByteArray *to, uint8_t kind)
{
    static const uint8_t options[] = {
        1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 2, 2, 54, 4, 10, 0, 2, 2,
        51, 4, 0, 1, 81, 128, 6, 4, 10, 0, 2, 3, 26, 2, 5, 148, 255,
    };
    uint8_t answer[243 + sizeof(options)] = { 2, 1, MAC_LEN };

    stl_be_p(answer + 4, ID);
    stl_be_p(answer + 16, 0x0a00020f);
    memcpy(answer + 28, mac, MAC_LEN);
    stl_be_p(answer + 236, 0x63825363);
    memcpy(answer + 240, (uint8_t[]) { 53, 1, kind }, 3);
    memcpy(answer + 243, options, sizeof(options));
    fuzz_put32(to, 1000);
    put_piece(to, answer, sizeof(answer));
}

static void put_segments(GByteArray *split, GByteArray *merge)
{
    struct virtio_net_hdr head = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .hdr_len = 54, .gso_size = 2, .csum_start = 34, .csum_offset = 16,
    };
    uint8_t frame[62] = {
        [12] = 8, [14] = 0x45, [17] = 48, [20] = 0x40, [22] = 64, [23] = 6,
        [29] = 1, [33] = 2, [46] = 0x50, [47] = 0x10,
    };

    fuzz_put8(split, READ_SPLIT);
    fuzz_put16(split, 0);
    fuzz_put(split, &head, sizeof(head));
    fuzz_put16(split, 1024);
    put_piece(split, frame, sizeof(frame));
    fuzz_put8(merge, READ_MERGE);
    for (int i = 0; i < 3; i++) {
        frame[41] = i * 8;
        fuzz_put8(merge, 0);
        put_piece(merge, frame, sizeof(frame));
    }
}

void fuzz_seeds(FuzzSeed *seed)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();
    g_autoptr(GByteArray) dhcp = g_byte_array_new();
    g_autoptr(GByteArray) split = g_byte_array_new();
    g_autoptr(GByteArray) merge = g_byte_array_new();
    uint8_t frame[2 * 64] = { 0, 0, 0, 60 };

    frame[64 + 3] = 60;
    fuzz_put8(frames, READ_FRAMES);
    put_piece(frames, frame, 70);
    put_piece(frames, frame + 70, sizeof(frame) - 70);
    seed("frames", frames->data, frames->len);

    fuzz_put8(dhcp, READ_DHCP);
    put_answer(dhcp, 2);
    put_answer(dhcp, 5);
    fuzz_put32(dhcp, 50000000);
    fuzz_put16(dhcp, 0);
    put_answer(dhcp, 5);
    put_answer(dhcp, 6);
    seed("dhcp", dhcp->data, dhcp->len);

    put_segments(split, merge);
    seed("split", split->data, split->len);
    seed("merge", merge->data, merge->len);
}
