/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Nothing is guessed: what is not plain TCP, or differs from the frame before
 * it in more than a next segment may, passes unchanged, and the kernel judges
 * it.  The kernel's own frames are described by their struct virtio_net_hdr.
 */

#include <endian.h>
#include <string.h>

#include "bytes.h"
#include "offload.h"

#define ETHERNET        14
#define ETHERNET_TYPE   12
#define TYPE_IPV4       0x0800
#define TYPE_IPV6       0x86dd
#define TYPE_VLAN       0x8100
#define VLAN            4               /* bytes of a tag */

#define IPV4            20              /* header without options */
#define IPV4_TOS        1
#define IPV4_LENGTH     2
#define IPV4_ID         4
#define IPV4_FRAGMENT   6               /* flags and offset */
#define IPV4_NO_MORE    0x4000          /* all that may be set there */
#define IPV4_TTL        8
#define IPV4_PROTOCOL   9
#define IPV4_CHECKSUM   10
#define IPV4_ADDRESSES  12

#define IPV6            40
#define IPV6_LENGTH     4
#define IPV6_PROTOCOL   6
#define IPV6_HOPS       7
#define IPV6_ADDRESSES  8

#define PROTOCOL_TCP    6
#define TCP             20              /* header without options */
#define TCP_SEQUENCE    4
#define TCP_ACK         8
#define TCP_OFFSET      12
#define TCP_FLAGS       13
#define TCP_WINDOW      14
#define TCP_CHECKSUM    16
#define TCP_URGENT      18
#define FLAG_FIN        0x01
#define FLAG_PSH        0x08
#define FLAG_ACK        0x10
#define FLAG_CWR        0x80

#define LENGTH_MAX      65535           /* of a packet */

/*
 * Checksums: sums of 16-bit words in the order of memory, which is the same
 * sum, with its bytes swapped on little-endian machines.
 */

static uint64_t sum_bytes(const uint8_t *data, size_t len, uint64_t sum)
{
    uint64_t word;
    uint32_t rest = 0;

    for (; len >= sizeof(word); data += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, data, sizeof(word));
        sum += (uint32_t)word + (word >> 32);
    }
    for (; len >= sizeof(rest); data += sizeof(rest), len -= sizeof(rest)) {
        memcpy(&rest, data, sizeof(rest));
        sum += rest;
    }
    rest = 0;
    memcpy(&rest, data, len);
    return sum + rest;
}

static uint64_t sum_value(uint16_t value, uint64_t sum)
{
    return sum + htobe16(value);
}

static uint16_t sum_fold(uint64_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static void write_sum(uint8_t *at, uint16_t sum)
{
    memcpy(at, &sum, sizeof(sum));
}

static void write_ipv4_checksum(uint8_t *ip, size_t len)
{
    put16(ip + IPV4_CHECKSUM, 0);
    write_sum(ip + IPV4_CHECKSUM, ~sum_fold(sum_bytes(ip, len, 0)));
}

/* Of addresses, protocol and length: what TCP's checksum has beside TCP */
static uint64_t sum_pseudo(const uint8_t *ip, bool is_ipv6, size_t len)
{
    uint64_t sum = is_ipv6 ? sum_bytes(ip + IPV6_ADDRESSES, 32, 0)
                           : sum_bytes(ip + IPV4_ADDRESSES, 8, 0);

    return sum_value(PROTOCOL_TCP, sum_value(len, sum));
}

/* From the kernel */

/* What the frame says, when it can be cut as @head says */
struct segment {
    size_t ip, tcp, headers;    /* offsets; of the data the last */
    bool is_ipv6;
};

/* Returns: its offset, 0 without one */
static size_t find_ip(const uint8_t *frame, size_t len, bool is_ipv6)
{
    size_t ip = ETHERNET;

    if (len >= ip && get16(frame + ETHERNET_TYPE) == TYPE_VLAN) {
        ip += VLAN;
    }
    return len >= ip && get16(frame + ip - sizeof(uint16_t)) ==
                        (is_ipv6 ? TYPE_IPV6 : TYPE_IPV4) ? ip : 0;
}

static bool find_segment(const struct virtio_net_hdr *head,
                         const uint8_t *frame, size_t len,
                         struct segment *segment)
{
    uint8_t type = head->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;
    size_t tcp = head->csum_start, ip;

    segment->is_ipv6 = type == VIRTIO_NET_HDR_GSO_TCPV6;
    if ((type != VIRTIO_NET_HDR_GSO_TCPV4 && !segment->is_ipv6) ||
        !(head->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
        head->csum_offset != TCP_CHECKSUM || !head->gso_size) {
        return false;
    }
    ip = find_ip(frame, len, segment->is_ipv6);
    if (!ip || tcp < ip + (segment->is_ipv6 ? IPV6 : IPV4) ||
        len < tcp + TCP || len - ip > LENGTH_MAX) {
        return false;
    }
    segment->ip = ip;
    segment->tcp = tcp;
    segment->headers = tcp + (frame[tcp + TCP_OFFSET] >> 4) * 4;
    return segment->headers >= tcp + TCP && segment->headers < len;
}

static void write_length(uint8_t *frame, const struct segment *segment,
                         size_t len, unsigned number)
{
    uint8_t *ip = frame + segment->ip;

    if (segment->is_ipv6) {
        put16(ip + IPV6_LENGTH, len - segment->ip - IPV6);
        return;
    }
    put16(ip + IPV4_LENGTH, len - segment->ip);
    put16(ip + IPV4_ID, get16(ip + IPV4_ID) + number);
    write_ipv4_checksum(ip, segment->tcp - segment->ip);
}

/*
 * Make the headers, which are those of the whole, into those of one part
 * @whole: bytes of the whole frame; @number: of the part, from 0 on
 */
static void write_part(uint8_t *frame, const struct segment *segment,
                       size_t whole, size_t len, unsigned number, size_t offset,
                       bool is_last)
{
    uint8_t *tcp = frame + segment->tcp;
    uint16_t begun, whole_sum;

    write_length(frame, segment, len, number);
    put32(tcp + TCP_SEQUENCE, get32(tcp + TCP_SEQUENCE) + offset);
    if (!is_last) {
        tcp[TCP_FLAGS] &= ~(FLAG_FIN | FLAG_PSH);
    }
    if (number) {
        tcp[TCP_FLAGS] &= ~FLAG_CWR;
    }
    /* The kernel has begun the sum: pseudo header, with the whole's length */
    memcpy(&begun, tcp + TCP_CHECKSUM, sizeof(begun));
    whole_sum = htobe16(whole - segment->tcp);
    put16(tcp + TCP_CHECKSUM, 0);
    write_sum(tcp + TCP_CHECKSUM, ~sum_fold(
        sum_bytes(tcp, len - segment->tcp,
                  sum_value(len - segment->tcp,
                            (uint64_t)begun + (uint16_t)~whole_sum))));
}

/* From the last one on, so that no data is overwritten before it has moved */
static bool cut(const struct virtio_net_hdr *head, uint8_t *frame, size_t len,
                size_t gap, size_t room, struct split *split)
{
    size_t size = head->gso_size, headers, data;
    struct segment segment;

    if (!find_segment(head, frame, len, &segment)) {
        return false;
    }
    headers = segment.headers;
    data = len - headers;
    split->count = (data + size - 1) / size;
    split->len = headers + size;
    split->last = headers + data - (split->count - 1) * size;
    if ((split->count - 1) * (gap + split->len) + split->last > room) {
        return false;
    }
    for (size_t i = split->count; i-- > 0;) {
        uint8_t *to = frame + i * (gap + split->len);
        bool is_last = i + 1 == split->count;
        size_t part = is_last ? split->last : split->len;

        memmove(to + headers, frame + headers + i * size, part - headers);
        memmove(to, frame, headers);
        write_part(to, &segment, len, part, i, i * size, is_last);
    }
    return true;
}

/* In UDP zero means "no checksum"; ffff is the same sum */
static bool finish_checksum(const struct virtio_net_hdr *head, uint8_t *frame,
                            size_t len)
{
    size_t start = head->csum_start, at = start + head->csum_offset;
    uint16_t sum;

    if (len < 2 || at > len - 2 || start > len) {
        return false;
    }
    sum = ~sum_fold(sum_bytes(frame + start, len - start, 0));
    write_sum(frame + at, sum ? sum : 0xffff);
    return true;
}

bool offload_split(const struct virtio_net_hdr *head, size_t uncut,
                   uint8_t *frame, size_t len, size_t gap, size_t room,
                   struct split *split)
{
    uint8_t type = head->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;

    if (type != VIRTIO_NET_HDR_GSO_NONE &&
        (type != VIRTIO_NET_HDR_GSO_TCPV4 || len > uncut)) {
        return cut(head, frame, len, gap, room, split);
    }
    *split = (struct split) { 1, len, len };
    return !(head->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
           finish_checksum(head, frame, len);
}

/* To the kernel */

/* A TCP segment that may have neighbours */
struct neighbour {
    const uint8_t *frame, *ip, *tcp;
    bool is_ipv6;
    size_t headers, data;       /* offset of the data, and its length */
};

/* Returns: bytes from the header of TCP on, 0 when this is not plain TCP */
static size_t find_tcp(struct neighbour *n, size_t len)
{
    const uint8_t *ip = n->ip;
    size_t length;

    if (n->is_ipv6) {
        length = get16(ip + IPV6_LENGTH);
        return ip[0] >> 4 == 6 && ip[IPV6_PROTOCOL] == PROTOCOL_TCP &&
               length <= len - IPV6 ? length : 0;
    }
    length = get16(ip + IPV4_LENGTH);
    return ip[0] == 0x45 && ip[IPV4_PROTOCOL] == PROTOCOL_TCP &&
           !(get16(ip + IPV4_FRAGMENT) & ~IPV4_NO_MORE) &&
           length >= IPV4 && length <= len ? length - IPV4 : 0;
}

/* An acknowledgement with data, and nothing else that the kernel should see */
static bool find_neighbour(struct neighbour *n, const uint8_t *frame,
                           size_t len)
{
    size_t header, length;
    uint16_t type;

    if (len < ETHERNET + IPV6) {
        return false;
    }
    type = get16(frame + ETHERNET_TYPE);
    n->frame = frame;
    n->ip = frame + ETHERNET;
    n->is_ipv6 = type == TYPE_IPV6;
    n->tcp = n->ip + (n->is_ipv6 ? IPV6 : IPV4);
    if (type != TYPE_IPV4 && type != TYPE_IPV6) {
        return false;
    }
    length = find_tcp(n, len - ETHERNET);
    if (length <= TCP) {
        return false;
    }
    header = (n->tcp[TCP_OFFSET] >> 4) * 4;
    n->headers = n->tcp - frame + header;
    n->data = length - header;
    return header >= TCP && header < length && !(n->tcp[TCP_OFFSET] & 0xf) &&
           (n->tcp[TCP_FLAGS] & ~FLAG_PSH) == FLAG_ACK;
}

static bool is_intact(const struct neighbour *n)
{
    size_t length = n->headers + n->data - (n->tcp - n->frame);

    return (n->is_ipv6 || sum_fold(sum_bytes(n->ip, IPV4, 0)) == 0xffff) &&
           sum_fold(sum_bytes(n->tcp, length,
                              sum_pseudo(n->ip, n->is_ipv6, length))) ==
           0xffff;
}

static bool same(const uint8_t *one, const uint8_t *other, size_t from,
                 size_t end)
{
    return !memcmp(one + from, other + from, end - from);
}

/* An IPv4 packet's identification says nothing: neither is a fragment */
static bool same_ip(const struct neighbour *a, const struct neighbour *b)
{
    if (a->is_ipv6) {
        return same(a->ip, b->ip, 0, IPV6_LENGTH) &&
               same(a->ip, b->ip, IPV6_HOPS, IPV6);
    }
    return same(a->ip, b->ip, 0, IPV4_LENGTH) &&
           same(a->ip, b->ip, IPV4_FRAGMENT, IPV4_CHECKSUM) &&
           same(a->ip, b->ip, IPV4_ADDRESSES, IPV4);
}

/* Ports, acknowledgement, window, options; not sequence, PSH and checksum */
static bool same_tcp(const struct neighbour *a, const struct neighbour *b)
{
    return same(a->tcp, b->tcp, 0, TCP_SEQUENCE) &&
           same(a->tcp, b->tcp, TCP_ACK, TCP_FLAGS) &&
           same(a->tcp, b->tcp, TCP_WINDOW, TCP_CHECKSUM) &&
           same(a->tcp, b->tcp, TCP_URGENT,
                a->headers - (a->tcp - a->frame));
}

static bool belongs(const struct merge *merge, const struct neighbour *first,
                    const struct neighbour *n)
{
    return n->headers == merge->headers && n->is_ipv6 == first->is_ipv6 &&
           get32(n->tcp + TCP_SEQUENCE) == merge->next &&
           n->data <= merge->size &&
           n->headers - ETHERNET + merge->data + n->data <= LENGTH_MAX &&
           same(first->frame, n->frame, 0, ETHERNET) && same_ip(first, n) &&
           same_tcp(first, n);
}

static void add_piece(struct merge *merge, const uint8_t *data, size_t len)
{
    merge->pieces[++merge->count] = (struct iovec) { (void *)data, len };
}

static void add_data(struct merge *merge, const struct neighbour *n)
{
    merge->data += n->data;
    merge->next = get32(n->tcp + TCP_SEQUENCE) + n->data;
    merge->complete = n->data < merge->size ||
                      n->tcp[TCP_FLAGS] & FLAG_PSH ||
                      merge->count == OFFLOAD_PIECES;
}

static void begin(struct merge *merge, uint8_t *frame, size_t len)
{
    struct neighbour n;

    add_piece(merge, frame, len);
    if (!find_neighbour(&n, frame, len)) {
        merge->complete = true;
        return;
    }
    merge->tcp = n.tcp - frame;
    merge->headers = n.headers;
    merge->size = n.data;
    add_data(merge, &n);
}

bool offload_merge(struct merge *merge, uint8_t *frame, size_t len)
{
    struct neighbour first, n;

    if (!merge->count) {
        begin(merge, frame, len);
        return true;
    }
    if (merge->complete || !find_neighbour(&n, frame, len) ||
        !find_neighbour(&first, merge->pieces[1].iov_base,
                        merge->pieces[1].iov_len) ||
        !belongs(merge, &first, &n)) {
        return false;
    }
    merge->verified = merge->verified || is_intact(&first);
    if (!merge->verified || !is_intact(&n)) {
        return false;
    }
    add_piece(merge, frame + n.headers, n.data);
    add_data(merge, &n);
    if (n.tcp[TCP_FLAGS] & FLAG_PSH) {
        ((uint8_t *)merge->pieces[1].iov_base)[merge->tcp + TCP_FLAGS] |=
            FLAG_PSH;
    }
    return true;
}

/* The kernel takes such a segment like one of its own: sum not finished */
static void finish(struct merge *merge)
{
    uint8_t *frame = merge->pieces[1].iov_base, *ip = frame + ETHERNET;
    bool is_ipv6 = get16(frame + ETHERNET_TYPE) == TYPE_IPV6;
    size_t len = merge->headers + merge->data;

    merge->pieces[1].iov_len = merge->headers + merge->size;
    if (is_ipv6) {
        put16(ip + IPV6_LENGTH, len - ETHERNET - IPV6);
    } else {
        put16(ip + IPV4_LENGTH, len - ETHERNET);
        write_ipv4_checksum(ip, IPV4);
    }
    write_sum(frame + merge->tcp + TCP_CHECKSUM,
              sum_fold(sum_pseudo(ip, is_ipv6, len - merge->tcp)));
    merge->head = (struct virtio_net_hdr) {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = is_ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6
                            : VIRTIO_NET_HDR_GSO_TCPV4,
        .hdr_len = merge->headers,
        .gso_size = merge->size,
        .csum_start = merge->tcp,
        .csum_offset = TCP_CHECKSUM,
    };
}

unsigned offload_merged(struct merge *merge)
{
    unsigned count = merge->count;

    merge->head = (struct virtio_net_hdr) { 0 };
    if (count > 1) {
        finish(merge);
    }
    merge->pieces[0] = (struct iovec) { &merge->head, sizeof(merge->head) };
    merge->count = 0;
    merge->data = 0;
    merge->verified = merge->complete = false;
    return 1 + count;
}
