/*
 * Rules of the image format, each with the images that put it to the test
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A rule says what becomes of an image that violates it, or only looks as if.
 * The images are made here; what is done with them is up to the test.
 */

#ifndef EIF_RULES_H
#define EIF_RULES_H

/* How far an image gets */
typedef enum EifOutcome {
    EIF_FAILS_PARSE,
    EIF_FAILS_CRC,
    EIF_FAILS_SIGNATURE,
    EIF_ACCEPTED,
    EIF_NR_OUTCOMES
} EifOutcome;

typedef struct EifRule {
    const char *name;
    unsigned allowed; /* one bit per EifOutcome: what may become of an image */
    void (*make)(void); /* calls the functions below */
} EifRule;

#define EIF_NR_RULES 41
extern const EifRule eif_rules[EIF_NR_RULES];

/* What the test has to bring */

/* Decides about random parts */
extern GRand *eif_rule_dice;

/**
 * eif_rule_try: take an image through everything that reads images
 * @image: freed
 */
void eif_rule_try(GByteArray *image);

/**
 * eif_rule_describe: have a tool print what is in an image
 * @image: has a right CRC; not freed
 */
void eif_rule_describe(const GByteArray *image);

#endif
