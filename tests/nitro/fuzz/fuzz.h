/*
 * Fuzz targets: what they share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A target is a file with the two functions below that a program calls:
 * either libFuzzer's (tests/nitro/fuzz/fuzz builds it with clang), or
 * replay.c, which makes a unit test of the same file: all seeds, all former
 * findings and some thousand blind mutations of them.
 *
 * A target checks what must hold whatever the input is; g_assert() and the
 * sanitizers report a finding.  It leaves nothing behind.
 */

#ifndef NITRO_FUZZ_H
#define NITRO_FUZZ_H

#include "qemu/bswap.h"

/* The target: take any bytes.  Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Told about each seed */
typedef void FuzzSeed(const char *name, const void *data, size_t size);

/**
 * fuzz_seeds: inputs that reach deep into the code
 * @seed: called for each
 */
void fuzz_seeds(FuzzSeed *seed);

/*
 * Optional, for formats that blind mutation would not get through: change
 * @data, of @size bytes, to at most @max_size; returns how many there are.
 * LLVMFuzzerMutate() does the same blindly, for pieces.
 */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* Takes an input apart; behind its end everything is zero */
typedef struct FuzzInput {
    const uint8_t *data;
    size_t size;
} FuzzInput;

static inline size_t fuzz_take(FuzzInput *in, void *to, size_t len)
{
    size_t n = MIN(len, in->size);

    memset(to, 0, len);
    if (n) {
        memcpy(to, in->data, n);
    }
    in->data += n;
    in->size -= n;
    return n;
}

static inline uint8_t fuzz_u8(FuzzInput *in)
{
    uint8_t value;

    fuzz_take(in, &value, sizeof(value));
    return value;
}

static inline uint16_t fuzz_u16(FuzzInput *in)
{
    uint8_t bytes[2];

    fuzz_take(in, bytes, sizeof(bytes));
    return lduw_le_p(bytes);
}

static inline uint32_t fuzz_u32(FuzzInput *in)
{
    uint8_t bytes[4];

    fuzz_take(in, bytes, sizeof(bytes));
    return ldl_le_p(bytes);
}

static inline uint64_t fuzz_u64(FuzzInput *in)
{
    uint8_t bytes[8];

    fuzz_take(in, bytes, sizeof(bytes));
    return ldq_le_p(bytes);
}

/* Up to @len bytes where they lie; @len is set to how many */
static inline const uint8_t *fuzz_bytes(FuzzInput *in, size_t *len)
{
    const uint8_t *bytes = in->data;

    *len = MIN(*len, in->size);
    in->data += *len;
    in->size -= *len;
    return bytes;
}

/* The opposite, for seeds */
static inline void fuzz_put(GByteArray *to, const void *data, size_t len)
{
    g_byte_array_append(to, data, len);
}

static inline void fuzz_put8(GByteArray *to, uint8_t value)
{
    fuzz_put(to, &value, sizeof(value));
}

static inline void fuzz_put16(GByteArray *to, uint16_t value)
{
    uint8_t bytes[2];

    stw_le_p(bytes, value);
    fuzz_put(to, bytes, sizeof(bytes));
}

static inline void fuzz_put32(GByteArray *to, uint32_t value)
{
    uint8_t bytes[4];

    stl_le_p(bytes, value);
    fuzz_put(to, bytes, sizeof(bytes));
}

static inline void fuzz_put64(GByteArray *to, uint64_t value)
{
    uint8_t bytes[8];

    stq_le_p(bytes, value);
    fuzz_put(to, bytes, sizeof(bytes));
}

#endif
