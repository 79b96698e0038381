/*
 * vsock packets out of the bytes of a fuzzer
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A packet takes 12 bytes: operation, flags, who sends and receives, two
 * ports, odd things, credit (2 + 2), length (2), so that packets of one
 * connection are found quickly; anything else is there, but rare.  The
 * payload does not come from the input.
 */

#ifndef NITRO_FUZZ_VSOCK_INPUT_H
#define NITRO_FUZZ_VSOCK_INPUT_H

#include "fuzz.h"
#include "tests/unit/nitro-vsock-wire.h"

#define VSOCK_ENCLAVE 16

static inline uint32_t vsock_cid(uint8_t choice)
{
    static const uint32_t cids[] = {
        NITRO_CID_PARENT, VSOCK_ENCLAVE, VSOCK_ENCLAVE + 1,
        NITRO_CID_HYPERVISOR, 2, UINT32_MAX, 99, NITRO_CID_PARENT,
    };

    return cids[choice % ARRAY_SIZE(cids)];
}

static inline uint32_t vsock_port(uint8_t choice)
{
    static const uint32_t ports[] = {
        5005, 10000 + VSOCK_ENCLAVE, 10000 + VSOCK_ENCLAVE + 1, 1000,
        1001, 0, UINT32_MAX, 9000,
    };

    return ports[choice % ARRAY_SIZE(ports)];
}

/* Most of the time small, sometimes all there is */
static inline uint32_t vsock_amount(uint16_t choice)
{
    return choice < 0xf000 ? choice : (uint32_t)choice << (choice & 31);
}

static inline VsockHdr vsock_packet(FuzzInput *in)
{
    VsockHdr hdr = {
        .op = fuzz_u8(in) % 10, .type = VIRTIO_VSOCK_TYPE_STREAM,
        .flags = fuzz_u8(in) & 7,
    };
    uint8_t ends = fuzz_u8(in), odd;

    hdr.src_cid = vsock_cid(ends);
    hdr.dst_cid = vsock_cid(ends >> 4);
    hdr.src_port = vsock_port(fuzz_u8(in));
    hdr.dst_port = vsock_port(fuzz_u8(in));
    odd = fuzz_u8(in);
    hdr.buf_alloc = vsock_amount(fuzz_u16(in)) * 16;
    hdr.fwd_cnt = vsock_amount(fuzz_u16(in));
    hdr.len = vsock_amount(fuzz_u16(in));
    hdr.type += odd == 1;
    hdr.dst_cid |= odd == 2 ? 1ull << 32 : 0;
    hdr.src_cid |= odd == 3 ? 1ull << 63 : 0;
    hdr.op |= odd == 4 ? 0x100 : 0;
    return hdr;
}

/* The opposite, for seeds; only what the alphabets above have */
static inline void vsock_put(GByteArray *to, uint8_t op, uint8_t ends,
                             uint8_t src_port, uint8_t dst_port,
                             uint16_t fwd_cnt, uint16_t len)
{
    fuzz_put8(to, op);
    fuzz_put8(to, op == VIRTIO_VSOCK_OP_SHUTDOWN ? 3 : 0);
    fuzz_put8(to, ends);
    fuzz_put8(to, src_port);
    fuzz_put8(to, dst_port);
    fuzz_put8(to, 0);
    fuzz_put16(to, 0x4000); /* buf_alloc 256 KiB */
    fuzz_put16(to, fwd_cnt);
    fuzz_put16(to, len);
}

#endif
