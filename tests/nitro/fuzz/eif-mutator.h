/*
 * Mutations of enclave images that keep what surrounds them right
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Takes an image apart into sections as far as it can be, changes one of
 * them or their order, and puts all together again with right tables and a
 * right CRC; or changes bytes anywhere, with or without a right CRC.
 */

#ifndef NITRO_EIF_MUTATOR_H
#define NITRO_EIF_MUTATOR_H

/**
 * eif_mutate: change an image
 * @image: its bytes, changed in place
 * @size: how many
 * @max_size: room at @image
 * @dice: decides
 * @blind: changes a piece blindly, like LLVMFuzzerMutate()
 *
 * Returns: its new size.
 */
size_t eif_mutate(uint8_t *image, size_t size, size_t max_size, GRand *dice,
                  size_t (*blind)(uint8_t *, size_t, size_t));

/* Store the CRC of the bytes as they are, when there are enough of them */
void eif_fix_crc(uint8_t *image, size_t size);

#endif
