/*
 * Enclave Image Format (EIF): CRC-32
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The CRC that zlib's crc32() computes.  A build that found libdeflate uses
 * its code, which is made for the processor it runs on and several times as
 * fast; the results are the same.
 */

#ifndef HW_CORE_EIF_CRC_H
#define HW_CORE_EIF_CRC_H

/**
 * eif_crc32: CRC of more bytes
 * @crc: CRC of the bytes before, 0 at the start
 * @data: the bytes
 * @len: how many, 0 allowed
 *
 * Returns: CRC of all of them.
 */
uint32_t eif_crc32(uint32_t crc, const void *data, size_t len);

/**
 * eif_crc32_zeros: CRC of more bytes that are all zero
 * @crc: CRC of the bytes before, 0 at the start
 * @len: how many; takes no longer when there are more
 *
 * Returns: CRC of all of them.
 */
uint32_t eif_crc32_zeros(uint32_t crc, uint64_t len);

/**
 * eif_crc32_join: CRC of two pieces, of which each CRC is known
 * @first: CRC of the first piece
 * @second: CRC of the second piece, computed from 0 on
 * @second_len: its length in bytes
 *
 * Returns: CRC of both.
 */
uint32_t eif_crc32_join(uint32_t first, uint32_t second, uint64_t second_len);

#endif
