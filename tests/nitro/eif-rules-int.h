/*
 * Rules of the image format: what their files share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Header and tables are in eif-rules.c, what sections hold in
 * eif-rules-content.c.
 */

#ifndef EIF_RULES_INT_H
#define EIF_RULES_INT_H

#include "tests/nitro/eif-rules.h"

/**
 * eif_rule_finish_and_try: give it the right CRC, then try it
 * @image: freed
 */
void eif_rule_finish_and_try(GByteArray *image);

/* Images without and with a signature, to be changed */
GByteArray *eif_rule_example(void);
GByteArray *eif_rule_signed_example(void);

/* Where section number @i begins, as the table has it */
uint64_t eif_rule_section_at(const GByteArray *image, unsigned i);

/* Rules about metadata and signatures */
void eif_rule_make_metadata(void);
void eif_rule_make_bulky_metadata(void);
void eif_rule_make_cut_cbor(void);
void eif_rule_make_evil_cbor(void);
void eif_rule_make_long_signature(void);
void eif_rule_make_changed_cose(void);
void eif_rule_make_signed_else(void);
void eif_rule_make_signed(void);

#endif
