/*
 * Enclave Image Format (EIF): CRC-32
 *
 * A library of its own, so that nothing else is compiled differently with and
 * without libdeflate.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <zlib.h> /* crc32, crc32_combine */
#ifdef EIF_LIBDEFLATE
#include <libdeflate.h>
#endif
#include "hw/core/eif-crc.h"

QEMU_BUILD_BUG_ON(sizeof(z_off_t) < sizeof(uint64_t));

uint32_t eif_crc32(uint32_t crc, const void *data, size_t len)
{
#ifdef EIF_LIBDEFLATE
    return libdeflate_crc32(crc, data, len);
#else
    return crc32_z(crc, data, len);
#endif
}

/* A CRC is kept inverted; zeros shift what it was computed from */
uint32_t eif_crc32_zeros(uint32_t crc, uint64_t len)
{
    return ~(uint32_t)crc32_combine(~crc, 0, len);
}

uint32_t eif_crc32_join(uint32_t first, uint32_t second, uint64_t second_len)
{
    return crc32_combine(first, second, second_len);
}
