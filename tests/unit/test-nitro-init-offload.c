/*
 * Unit tests of the init's offloads
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Packets are made, and judged, by code that shares nothing with the code
 * under test.  Each one is in memory of its own size, for the sanitizers.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "contrib/nitro-init/offload.h"

#define ETHERNET 14
#define GAP 4
#define ROOM (256 * 1024)

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32, ECE = 64,
       CWR = 128 };

/* A TCP segment, with what makes it special */
typedef struct Packet {
    bool is_ipv6, has_vlan;
    unsigned extra;             /* bytes of options of IPv4, headers of IPv6 */
    unsigned options;           /* bytes of options of TCP */
    uint8_t flags;
    uint32_t seq;
    size_t len, from;           /* data: how much, from which pattern */
    unsigned padding;           /* bytes behind it */
} Packet;

static size_t ip_offset(const Packet *p)
{
    return ETHERNET + (p->has_vlan ? 4 : 0);
}

static size_t tcp_offset(const Packet *p)
{
    return ip_offset(p) + (p->is_ipv6 ? 40 : 20) + p->extra;
}

static size_t headers(const Packet *p)
{
    return tcp_offset(p) + 20 + p->options;
}

static size_t frame_len(const Packet *p)
{
    return headers(p) + p->len + p->padding;
}

static uint8_t pattern(size_t i)
{
    return i * 167 + i / 256 + i / 65536 * 7;
}

/* The checksum of RFC 1071, word by word */
static uint32_t add_words(uint32_t sum, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        sum += i % 2 ? data[i] : data[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint32_t add_pseudo(const Packet *p, const uint8_t *frame, size_t len)
{
    const uint8_t *ip = frame + ip_offset(p);
    uint8_t rest[] = { 0, 6, len >> 8, len };
    uint32_t sum = p->is_ipv6 ? add_words(0, ip + 8, 32)
                              : add_words(0, ip + 12, 8);

    return add_words(sum, rest, sizeof(rest));
}

static void sign_ip(const Packet *p, uint8_t *frame)
{
    uint8_t *ip = frame + ip_offset(p);

    if (!p->is_ipv6) {
        stw_be_p(ip + 10, 0);
        stw_be_p(ip + 10, ~add_words(0, ip, 20 + p->extra));
    }
}

static void sign(const Packet *p, uint8_t *frame)
{
    uint8_t *tcp = frame + tcp_offset(p);
    size_t len = 20 + p->options + p->len;

    sign_ip(p, frame);
    stw_be_p(tcp + 16, 0);
    stw_be_p(tcp + 16, ~add_words(add_pseudo(p, frame, len), tcp, len));
}

static void fill_ip(const Packet *p, uint8_t *ip)
{
    size_t len = 20 + p->options + p->len;

    if (p->is_ipv6) {
        stl_be_p(ip, 6u << 28 | 0x12345);
        stw_be_p(ip + 4, p->extra + len);
        ip[6] = p->extra ? 60 : 6;
        ip[7] = 64;
        memset(ip + 8, 0xfd, 32);
        if (p->extra) {
            ip[40] = 6;
            ip[41] = p->extra / 8 - 1;
        }
        return;
    }
    ip[0] = 0x45 + p->extra / 4;
    stw_be_p(ip + 2, 20 + p->extra + len);
    stw_be_p(ip + 4, 0xfffe);
    stw_be_p(ip + 6, 0x4000);
    ip[8] = 64;
    ip[9] = 6;
    stl_be_p(ip + 12, 0x0a00020f);
    stl_be_p(ip + 16, 0x0a000202);
    memset(ip + 20, 1, p->extra);
}

static uint8_t *make(const Packet *p, size_t room)
{
    uint8_t *frame = g_malloc0(MAX(room, frame_len(p)));
    uint8_t *tcp = frame + tcp_offset(p);

    memset(frame, 2, 12);
    stw_be_p(frame + 12, 0x8100);
    stw_be_p(frame + ip_offset(p) - 2, p->is_ipv6 ? 0x86dd : 0x0800);
    fill_ip(p, frame + ip_offset(p));
    stw_be_p(tcp, 40000);
    stw_be_p(tcp + 2, 80);
    stl_be_p(tcp + 4, p->seq);
    stl_be_p(tcp + 8, 0x55667788);
    tcp[12] = (20 + p->options) / 4 << 4;
    tcp[13] = p->flags;
    stw_be_p(tcp + 14, 0x7fff);
    memset(tcp + 20, 1, p->options);
    for (size_t i = 0; i < p->len; i++) {
        frame[headers(p) + i] = pattern(p->from + i);
    }
    sign(p, frame);
    return frame;
}

/* As the kernel hands a segment over: its sum is begun, not finished */
static struct virtio_net_hdr hand_over(const Packet *p, uint8_t *frame,
                                       size_t size)
{
    stw_be_p(frame + tcp_offset(p) + 16,
             add_pseudo(p, frame, 20 + p->options + p->len));
    return (struct virtio_net_hdr) {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = p->is_ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6
                               : VIRTIO_NET_HDR_GSO_TCPV4,
        .hdr_len = headers(p),
        .gso_size = size,
        .csum_start = tcp_offset(p),
        .csum_offset = 16,
    };
}

static void expect_bytes(const uint8_t *got, const uint8_t *want, size_t len)
{
    g_assert_cmpmem(got, len, want, len);
}

/* Cutting */

/* It is the frame that a sender of short segments would have made */
static void expect_part(const Packet *whole, const uint8_t *got, size_t number,
                        size_t size, bool is_last)
{
    Packet p = *whole;
    g_autofree uint8_t *want = NULL;

    p.seq += number * size;
    p.from += number * size;
    p.len = is_last ? whole->len - number * size : size;
    p.flags &= is_last ? 0xff : ~(FIN | PSH);
    p.flags &= number ? ~CWR : 0xff;
    want = make(&p, 0);
    if (!p.is_ipv6) {
        stw_be_p(want + ip_offset(&p) + 4, 0xfffe + number);
        sign_ip(&p, want);
    }
    expect_bytes(got, want, frame_len(&p));
}

static void expect_cut(const Packet *p, size_t size)
{
    g_autofree uint8_t *frame = make(p, ROOM);
    struct virtio_net_hdr head = hand_over(p, frame, size);
    size_t count = DIV_ROUND_UP(p->len, size);
    struct split split;

    g_assert_true(offload_split(&head, 0, frame, frame_len(p), GAP, ROOM,
                                &split));
    g_assert_cmpuint(split.count, ==, count);
    g_assert_cmpuint(split.len, ==, headers(p) + size);
    g_assert_cmpuint(split.last, ==,
                     headers(p) + p->len - (count - 1) * size);
    for (size_t i = 0; i < count; i++) {
        expect_part(p, frame + i * (GAP + split.len), i, size,
                    i + 1 == count);
    }
}

static void test_cut(void)
{
    static const Packet packets[] = {
        { .flags = ACK, .len = 64000 },
        { .flags = ACK | PSH, .options = 12, .len = 64000 },
        { .flags = ACK | PSH | FIN | ECE | CWR, .options = 40, .len = 5000 },
        { .flags = ACK | PSH, .seq = UINT32_MAX - 2000, .len = 4344 },
        { .flags = ACK, .extra = 8, .len = 4000 },
        { .flags = ACK, .has_vlan = true, .len = 4000 },
        { .is_ipv6 = true, .flags = ACK | PSH, .options = 12, .len = 64000 },
        { .is_ipv6 = true, .flags = ACK, .extra = 16, .len = 4000 },
        { .is_ipv6 = true, .flags = ACK | FIN, .has_vlan = true,
          .len = 3001 },
    };
    static const size_t sizes[] = { 1448, 1000, 999, 500 };

    for (size_t i = 0; i < G_N_ELEMENTS(packets); i++) {
        for (size_t j = 0; j < G_N_ELEMENTS(sizes); j++) {
            expect_cut(&packets[i], sizes[j]);
        }
        expect_cut(&packets[i], packets[i].len - 1);
        expect_cut(&packets[i], packets[i].len);
        expect_cut(&packets[i], packets[i].len + 1);
    }
}

/* The least size, and exactly as much room as is needed */
static void test_cut_room(void)
{
    Packet p = { .flags = ACK, .len = 48 * 100 };
    size_t need = 99 * (GAP + headers(&p) + 48) + headers(&p) + 48;
    struct split split;

    for (int less = 0; less < 2; less++) {
        g_autofree uint8_t *frame = make(&p, need - less);
        struct virtio_net_hdr head = hand_over(&p, frame, 48);

        g_assert_cmpint(offload_split(&head, 0, frame, frame_len(&p), GAP,
                                      need - less, &split), ==, !less);
    }
    expect_cut(&p, 48);
}

typedef struct Change {
    const char *name;
    unsigned at;                /* offset in the frame, or in the head */
    uint8_t value;
    bool both;                  /* in two frames, too, it keeps them apart */
} Change;

#define HEAD(field) offsetof(struct virtio_net_hdr, field)

/* What contradicts itself is refused, and nothing behind it is looked at */
static void test_cut_malformed(void)
{
    static const Packet p = { .flags = ACK, .options = 4, .len = 20 };
    static const Change heads[] = {
        { "no sum", HEAD(flags), 0 },
        { "UDP", HEAD(gso_type), VIRTIO_NET_HDR_GSO_UDP },
        { "IPv6", HEAD(gso_type), VIRTIO_NET_HDR_GSO_TCPV6 },
        { "no size", HEAD(gso_size), 0 },
        { "TCP within IP", HEAD(csum_start), ETHERNET + 16 },
        { "TCP behind the end", HEAD(csum_start), 78 },
        { "TCP just behind", HEAD(csum_start), 79 },
        { "TCP far away", HEAD(csum_start) + 1, 0xff },
        { "sum elsewhere", HEAD(csum_offset), 6 },
    };
    static const Change frames[] = {
        { "other protocol", 12, 9 },
        { "short header", ETHERNET + 20 + 12, 0x40 },
        { "header as long as all", ETHERNET + 20 + 12, 0xb0 },
        { "header too long", ETHERNET + 20 + 12, 0xf0 },
    };
    struct split split;

    for (size_t i = 0; i < G_N_ELEMENTS(heads) + G_N_ELEMENTS(frames); i++) {
        g_autofree uint8_t *frame = make(&p, 0);
        struct virtio_net_hdr head = hand_over(&p, frame, 10);
        bool in_head = i < G_N_ELEMENTS(heads);
        const Change *change = in_head ? &heads[i]
                                       : &frames[i - G_N_ELEMENTS(heads)];

        (in_head ? (uint8_t *)&head : frame)[change->at] = change->value;
        g_test_message("%s", change->name);
        g_assert_false(offload_split(&head, 0, frame, frame_len(&p), GAP,
                                     frame_len(&p), &split));
    }
}

/* However short it is; the whole is the only one that can be cut */
static void test_cut_truncated(void)
{
    Packet p = { .flags = ACK, .options = 12, .len = 1 };

    for (int is_ipv6 = 0; is_ipv6 < 2; is_ipv6++) {
        p.is_ipv6 = is_ipv6;
        for (size_t len = 0; len <= frame_len(&p); len++) {
            g_autofree uint8_t *frame = make(&p, 0);
            struct virtio_net_hdr head = hand_over(&p, frame, 100);
            g_autofree uint8_t *part = g_memdup2(frame, len);
            struct split split;

            g_assert_cmpint(offload_split(&head, 0, part, len, GAP, len,
                                          &split), ==, len == frame_len(&p));
        }
    }
}

/* A packet has a length of 16 bits */
static void test_cut_too_long(void)
{
    Packet p = { .flags = ACK, .len = 65535 - 40 };
    struct split split;

    expect_cut(&p, 1448);
    p.len++;
    for (int is_ipv6 = 0; is_ipv6 < 2; is_ipv6++) {
        g_autofree uint8_t *frame = NULL;
        struct virtio_net_hdr head;

        p.is_ipv6 = is_ipv6;
        frame = make(&p, ROOM);
        head = hand_over(&p, frame, 1448);
        g_assert_false(offload_split(&head, 0, frame, frame_len(&p), GAP, ROOM,
                                     &split));
    }
}

/* A peer that takes long segments gets them, with a checksum */
static void test_uncut(void)
{
    Packet p = { .flags = ACK | PSH, .options = 12, .len = 64000 };
    size_t len = frame_len(&p);

    for (int less = 0; less < 2; less++) {
        g_autofree uint8_t *want = make(&p, 0), *frame = make(&p, ROOM);
        struct virtio_net_hdr head = hand_over(&p, frame, 1448);
        struct split split;

        g_assert_true(offload_split(&head, len - less, frame, len, GAP, ROOM,
                                    &split));
        g_assert_cmpuint(split.count, ==, less ? DIV_ROUND_UP(64000, 1448) : 1);
        if (!less) {
            g_assert_cmpuint(split.last, ==, len);
            expect_bytes(frame, want, len);
        }
    }
}

static void test_uncut_ipv6(void)
{
    Packet p = { .is_ipv6 = true, .flags = ACK, .len = 3000 };
    g_autofree uint8_t *frame = make(&p, ROOM);
    struct virtio_net_hdr head = hand_over(&p, frame, 1000);
    struct split split;

    g_assert_true(offload_split(&head, ROOM, frame, frame_len(&p), GAP, ROOM,
                                &split));
    g_assert_cmpuint(split.count, ==, 3);
}

/* Frames that only lack their checksum, and those that lack nothing */
static void test_checksum(void)
{
    const Packet p = { .flags = ACK | PSH, .len = 1001 };
    g_autofree uint8_t *want = make(&p, 0), *frame = make(&p, 0);
    struct virtio_net_hdr none = { 0 }, head = hand_over(&p, frame, 0);
    struct split split;

    head.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    g_assert_true(offload_split(&head, 0, frame, frame_len(&p), GAP,
                                frame_len(&p), &split));
    expect_bytes(frame, want, frame_len(&p));
    g_assert_cmpuint(split.count, ==, 1);
    g_assert_cmpuint(split.last, ==, frame_len(&p));

    g_assert_true(offload_split(&none, 0, frame, frame_len(&p), GAP,
                                frame_len(&p), &split));
    expect_bytes(frame, want, frame_len(&p));
    g_assert_cmpuint(split.count, ==, 1);
}

/* Zero would mean "no checksum" */
static void test_checksum_zero(void)
{
    uint8_t frame[20] = { [14] = 0xff, [15] = 0xfe, [17] = 1 };
    struct virtio_net_hdr head = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .csum_start = 14,
        .csum_offset = 4,
    };
    struct split split;

    g_assert_true(offload_split(&head, 0, frame, sizeof(frame), GAP,
                                sizeof(frame), &split));
    g_assert_cmphex(lduw_be_p(frame + 18), ==, 0xffff);
}

static void test_checksum_outside(void)
{
    static const uint16_t places[][2] = {
        { 14, 5 }, { 14, 6 }, { 19, 0 }, { 20, 0 }, { 21, 0 }, { 0, 19 },
        { 65535, 0 }, { 0, 65535 }, { 65535, 65535 },
    };
    struct split split;

    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree uint8_t *frame = g_malloc0(20);
        struct virtio_net_hdr head = {
            .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
            .csum_start = places[i][0],
            .csum_offset = places[i][1],
        };

        g_assert_false(offload_split(&head, 0, frame, 20, GAP, 20, &split));
    }
}

/* Merging */

/* What the device would get: its header, and the frame's bytes */
static GByteArray *take(struct merge *merge, struct virtio_net_hdr *head)
{
    unsigned count = offload_merged(merge);
    GByteArray *bytes = g_byte_array_new();

    g_assert_cmpuint(count, >=, 2);
    g_assert_cmpuint(merge->pieces[0].iov_len, ==, sizeof(*head));
    memcpy(head, merge->pieces[0].iov_base, sizeof(*head));
    for (unsigned i = 1; i < count; i++) {
        g_byte_array_append(bytes, merge->pieces[i].iov_base,
                            merge->pieces[i].iov_len);
    }
    return bytes;
}

/* It is what the kernel itself would have handed over */
static void expect_merged(struct merge *merge, const Packet *p, size_t size)
{
    g_autofree uint8_t *want = make(p, 0);
    struct virtio_net_hdr head, wanted = hand_over(p, want, size);
    g_autoptr(GByteArray) got = take(merge, &head);

    g_assert_cmpmem(&head, sizeof(head), &wanted, sizeof(wanted));
    g_assert_cmpmem(got->data, got->len, want, frame_len(p));
}

/* It passes unchanged, for the kernel to judge */
static void expect_alone(struct merge *merge, const uint8_t *want, size_t len)
{
    struct virtio_net_hdr head, none = { 0 };
    g_autoptr(GByteArray) got = take(merge, &head);

    g_assert_cmpmem(&head, sizeof(head), &none, sizeof(none));
    g_assert_cmpmem(got->data, got->len, want, len);
}

/* Segments of @size bytes; @frames keeps them */
static bool add_segment(struct merge *merge, GPtrArray *frames, Packet p)
{
    uint8_t *frame = make(&p, 0);

    g_ptr_array_add(frames, frame);
    return offload_merge(merge, frame, frame_len(&p));
}

static void expect_merge(const Packet *whole, size_t size, unsigned padding)
{
    g_autoptr(GPtrArray) frames = g_ptr_array_new_with_free_func(g_free);
    struct merge merge = { 0 };

    for (size_t done = 0; done < whole->len; done += size) {
        Packet p = *whole;

        p.seq += done;
        p.from += done;
        p.len = MIN(size, whole->len - done);
        p.flags &= done + p.len == whole->len ? 0xff : ~PSH;
        p.padding = padding;
        g_assert_true(add_segment(&merge, frames, p));
    }
    expect_merged(&merge, whole, size);
}

static void test_merge(void)
{
    static const Packet packets[] = {
        { .flags = ACK, .len = 28960 },
        { .flags = ACK | PSH, .options = 12, .len = 20001 },
        { .flags = ACK | PSH, .seq = UINT32_MAX - 2000, .len = 4344 },
        { .is_ipv6 = true, .flags = ACK | PSH, .options = 12, .len = 20000 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(packets); i++) {
        expect_merge(&packets[i], 1448, 0);
        expect_merge(&packets[i], 1001, 0);
        expect_merge(&packets[i], packets[i].len - 1, 0);
        expect_merge(&packets[i], 1448, 6);
    }
}

/* PSH, and a segment that is shorter, is the last one */
static void test_merge_end(void)
{
    static const Packet ends[] = {
        { .flags = ACK | PSH, .seq = 100, .from = 100, .len = 100 },
        { .flags = ACK, .seq = 100, .from = 100, .len = 99 },
        { .flags = ACK | PSH, .seq = 100, .from = 100, .len = 1 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
        g_autoptr(GPtrArray) frames = g_ptr_array_new_with_free_func(g_free);
        Packet p = { .flags = ACK, .len = 100 };
        struct merge merge = { 0 };

        g_assert_true(add_segment(&merge, frames, p));
        g_assert_true(add_segment(&merge, frames, ends[i]));
        p.seq = 100 + ends[i].len;
        g_assert_false(add_segment(&merge, frames, p));
        p.seq = 0;
        p.len += ends[i].len;
        p.flags = ends[i].flags;
        expect_merged(&merge, &p, 100);
    }
}

/* A frame is full at some number of segments, or at the longest packet */
static void test_merge_full(void)
{
    static const size_t sizes[] = { 500, 1448, 30000, 65000 };
    static const unsigned counts[] = { OFFLOAD_PIECES, 45, 2, 1 };

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GPtrArray) frames = g_ptr_array_new_with_free_func(g_free);
        Packet p = { .flags = ACK, .len = sizes[i] };
        struct merge merge = { 0 };
        unsigned count = 0;

        while (add_segment(&merge, frames, p)) {
            p.seq += p.len;
            p.from += p.len;
            count++;
        }
        g_assert_cmpuint(count, ==, counts[i]);
        p.seq = p.from = 0;
        p.len *= count;
        if (count > 1) {
            expect_merged(&merge, &p, sizes[i]);
        }
    }
}

#define IP  ETHERNET
#define TCP4 (IP + 20)
#define TCP6 (IP + 40)

/* One byte that differs is enough, though the checksums are right again */
static const Change differences[] = {
    { "MAC address", 3, 9 },
    { "protocol of Ethernet", 12, 9, true },
    { "version", IP, 0x55 },
    { "shorter header", IP, 0x44 },
    { "longer header", IP, 0x46, true },
    { "congestion", IP + 1, 3 },
    { "length too large", IP + 2, 0x7f, true },
    { "length too small", IP + 3, 19, true },
    { "length of the headers", IP + 3, 52 },
    { "fragments", IP + 6, 0 },
    { "more fragments", IP + 6, 0x20, true },
    { "last fragment", IP + 7, 5 },
    { "TTL", IP + 8, 63 },
    { "UDP", IP + 9, 17, true },
    { "source", IP + 15, 1 },
    { "destination", IP + 19, 1 },
    { "source port", TCP4 + 1, 1 },
    { "destination port", TCP4 + 3, 1 },
    { "gap", TCP4 + 7, 0xff },
    { "overlap", TCP4 + 7, 19 },
    { "acknowledgement", TCP4 + 11, 1 },
    { "no header", TCP4 + 12, 0x40, true },
    { "other options", TCP4 + 12, 0x70 },
    { "header beyond the end", TCP4 + 12, 0xf0, true },
    { "reserved bits", TCP4 + 12, 0x81, true },
    { "FIN", TCP4 + 13, ACK | FIN, true },
    { "SYN", TCP4 + 13, ACK | SYN, true },
    { "RST", TCP4 + 13, ACK | RST, true },
    { "URG", TCP4 + 13, ACK | URG, true },
    { "ECE", TCP4 + 13, ACK | ECE, true },
    { "CWR", TCP4 + 13, ACK | CWR, true },
    { "no ACK", TCP4 + 13, PSH },
    { "no flags", TCP4 + 13, 0, true },
    { "window", TCP4 + 14, 1 },
    { "urgent pointer", TCP4 + 19, 1 },
    { "option", TCP4 + 31, 0 },
}, differences6[] = {
    { "version", IP, 0x50 },
    { "class", IP, 0x6f },
    { "flow label", IP + 3, 1 },
    { "length too large", IP + 4, 0x7f },
    { "length too small", IP + 5, 19 },
    { "length of the headers", IP + 5, 32 },
    { "other header", IP + 6, 60 },
    { "hop limit", IP + 7, 63 },
    { "source", IP + 8, 1 },
    { "destination", IP + 39, 1 },
    { "port", TCP6, 1 },
    { "sequence", TCP6 + 4, 1 },
};

/* Where the change is: in the first frame, the second, or both */
enum { FIRST = 1, SECOND = 2, BOTH = 3 };

static void expect_apart(const Change *change, bool is_ipv6, int where)
{
    const Packet packets[] = {
        { .is_ipv6 = is_ipv6, .flags = ACK, .options = 12, .len = 20 },
        { .is_ipv6 = is_ipv6, .flags = ACK, .options = 12, .len = 20,
          .seq = 20, .from = 20 },
    };
    size_t len = frame_len(packets);
    uint8_t *frames[2], *copies[2];
    struct merge merge = { 0 };

    g_test_message("%s", change->name);
    for (int i = 0; i < 2; i++) {
        frames[i] = make(&packets[i], 0);
        if (where & 1 << i) {
            g_assert_cmphex(frames[i][change->at], !=, change->value);
            frames[i][change->at] = change->value;
            sign(&packets[i], frames[i]);
        }
        copies[i] = g_memdup2(frames[i], len);
    }
    g_assert_true(offload_merge(&merge, frames[0], len));
    g_assert_false(offload_merge(&merge, frames[1], len));
    expect_alone(&merge, copies[0], len);
    g_assert_true(offload_merge(&merge, frames[1], len));
    expect_alone(&merge, copies[1], len);
    for (int i = 0; i < 2; i++) {
        g_free(frames[i]);
        g_free(copies[i]);
    }
}

static void test_apart(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(differences); i++) {
        expect_apart(&differences[i], false, FIRST);
        expect_apart(&differences[i], false, SECOND);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(differences6); i++) {
        expect_apart(&differences6[i], true, FIRST);
        expect_apart(&differences6[i], true, SECOND);
    }
}

/* What is odd in both is not merged either */
static void test_apart_both(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(differences); i++) {
        if (differences[i].both) {
            expect_apart(&differences[i], false, BOTH);
        }
    }
}

/* Data that was damaged must not become data with a right checksum */
static void test_apart_damaged(void)
{
    for (int i = 0; i < 8; i++) {
        Packet p = { .is_ipv6 = i & 1, .flags = ACK, .len = 101 };
        g_autofree uint8_t *one = make(&p, 0), *two = NULL, *three = NULL;
        g_autofree uint8_t *first = NULL;
        size_t len = frame_len(&p);
        bool in_header = i & 4 && !p.is_ipv6;
        struct merge merge = { 0 };
        uint8_t *damaged;

        p.seq = p.from = 101;
        two = make(&p, 0);
        damaged = i & 2 ? one : two;
        damaged[in_header ? IP + 11 : len - 1] ^= 1;
        first = g_memdup2(one, len);
        g_assert_true(offload_merge(&merge, one, len));
        g_assert_false(offload_merge(&merge, two, len));
        expect_alone(&merge, first, len);

        /* One that is right goes on from there */
        p.seq = p.from = 202;
        three = make(&p, 0);
        g_assert_true(offload_merge(&merge, two, len));
        g_assert_cmpint(offload_merge(&merge, three, len), ==,
                        damaged == one);
    }
}

/* What says nothing, or more than the first one, or has options of IP */
static void test_apart_shapes(void)
{
    static const Packet shapes[] = {
        { .flags = ACK, .seq = 100 },
        { .flags = ACK, .seq = 100, .len = 101 },
        { .flags = ACK, .seq = 100, .len = 100, .options = 4 },
        { .flags = ACK, .seq = 100, .len = 100, .extra = 4 },
        { .flags = ACK, .seq = 100, .len = 100, .has_vlan = true },
        { .flags = ACK, .seq = 100, .len = 100, .is_ipv6 = true },
        { .flags = ACK, .seq = 100, .len = 100, .is_ipv6 = true, .extra = 8 },
    };
    static const Packet p = { .flags = ACK, .len = 100 };

    for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++) {
        g_autoptr(GPtrArray) frames = g_ptr_array_new_with_free_func(g_free);
        struct merge merge = { 0 };

        g_assert_true(add_segment(&merge, frames, p));
        g_assert_false(add_segment(&merge, frames, shapes[i]));
        offload_merged(&merge);
        g_assert_true(add_segment(&merge, frames, shapes[i]));
        g_assert_false(add_segment(&merge, frames, p));
    }
}

/* A frame may be cut off anywhere, wherever its lengths say it ends */
static void test_apart_truncated(void)
{
    for (int is_ipv6 = 0; is_ipv6 < 2; is_ipv6++) {
        Packet p = { .is_ipv6 = is_ipv6, .flags = ACK, .options = 12,
                     .len = 3 };

        for (size_t len = ETHERNET; len < frame_len(&p); len++) {
            g_autofree uint8_t *whole = make(&p, 0);
            g_autofree uint8_t *one = g_memdup2(whole, len);
            g_autofree uint8_t *two = g_memdup2(whole, len);
            struct merge merge = { 0 };

            g_assert_true(offload_merge(&merge, one, len));
            g_assert_false(offload_merge(&merge, two, len));
            expect_alone(&merge, whole, len);
            g_assert_true(offload_merge(&merge, whole, frame_len(&p)));
            g_assert_false(offload_merge(&merge, two, len));
        }
    }
}

/* A cut segment becomes the same segment again */
static void test_round_trip(void)
{
    for (int i = 0; i < 200; i++) {
        Packet p = {
            .is_ipv6 = g_test_rand_bit(),
            .options = 4 * g_test_rand_int_range(0, 11),
            .flags = ACK | (g_test_rand_bit() ? PSH : 0),
            .seq = g_test_rand_int(),
            .len = g_test_rand_int_range(2, 60000),
        };
        size_t size = MAX(p.len / g_test_rand_int_range(2, 60), 1);
        size_t count = DIV_ROUND_UP(p.len, size);
        g_autofree uint8_t *frame = make(&p, ROOM);
        struct virtio_net_hdr head = hand_over(&p, frame, size);
        struct merge merge = { 0 };
        struct split split;

        g_assert_true(offload_split(&head, 0, frame, frame_len(&p), GAP, ROOM,
                                    &split));
        g_assert_cmpuint(split.count, ==, count);
        if (count > OFFLOAD_PIECES) {
            continue;
        }
        for (size_t j = 0; j < count; j++) {
            g_assert_true(offload_merge(&merge,
                                        frame + j * (GAP + split.len),
                                        j + 1 < count ? split.len
                                                      : split.last));
        }
        expect_merged(&merge, &p, size);
    }
}

#define ADD(name, function) \
    g_test_add_func("/nitro/init/offload/" name, function)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("cut", test_cut);
    ADD("cut/room", test_cut_room);
    ADD("cut/malformed", test_cut_malformed);
    ADD("cut/truncated", test_cut_truncated);
    ADD("cut/too-long", test_cut_too_long);
    ADD("uncut", test_uncut);
    ADD("uncut/ipv6", test_uncut_ipv6);
    ADD("checksum", test_checksum);
    ADD("checksum/zero", test_checksum_zero);
    ADD("checksum/outside", test_checksum_outside);
    ADD("merge", test_merge);
    ADD("merge/end", test_merge_end);
    ADD("merge/full", test_merge_full);
    ADD("apart", test_apart);
    ADD("apart/both", test_apart_both);
    ADD("apart/damaged", test_apart_damaged);
    ADD("apart/shapes", test_apart_shapes);
    ADD("apart/truncated", test_apart_truncated);
    ADD("round-trip", test_round_trip);
    return g_test_run();
}
