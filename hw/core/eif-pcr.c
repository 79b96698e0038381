/*
 * Enclave Image Format: registers as text, by number, compared
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-image.h"

const unsigned eif_pcr_index[EIF_NR_PCRS] = { 0, 1, 2, 8 };

char *eif_pcr_str(const uint8_t pcr[EIF_PCR_LEN])
{
    GString *text = g_string_sized_new(2 * EIF_PCR_LEN);

    for (int i = 0; i < EIF_PCR_LEN; i++) {
        g_string_append_printf(text, "%02x", pcr[i]);
    }
    return g_string_free(text, false);
}

bool eif_pcr_parse(const char *text, uint8_t pcr[EIF_PCR_LEN], Error **errp)
{
    size_t len = strspn(text, "0123456789abcdefABCDEF");

    if (text[len] || len != 2 * EIF_PCR_LEN) {
        error_setg(errp, "a PCR has %d hexadecimal digits, '%s' is not one",
                   2 * EIF_PCR_LEN, text);
        return false;
    }
    for (int i = 0; i < EIF_PCR_LEN; i++) {
        pcr[i] = g_ascii_xdigit_value(text[2 * i]) << 4 |
                 g_ascii_xdigit_value(text[2 * i + 1]);
    }
    return true;
}

const uint8_t *eif_measurements_pcr(const EifMeasurements *m, unsigned index)
{
    switch (index) {
    case 0:
        return m->pcr0;
    case 1:
        return m->pcr1;
    case 2:
        return m->pcr2;
    case 8:
        return m->pcr8;
    default:
        return NULL;
    }
}

bool eif_measurements_expect(const EifMeasurements *m, unsigned index,
                             const uint8_t expected[EIF_PCR_LEN],
                             Error **errp)
{
    ERRP_GUARD();
    const uint8_t *pcr = eif_measurements_pcr(m, index);
    g_autofree char *wanted = eif_pcr_str(expected);
    g_autofree char *found = eif_pcr_str(pcr);

    if (index == 8 && m->pcr8_unknown) {
        error_setg(errp, "the signature section of the image is broken, "
                   "expected is PCR8 %s", wanted);
    } else if (!memcmp(pcr, expected, EIF_PCR_LEN)) {
        return true;
    } else if (index == 8 && !m->has_pcr8) {
        error_setg(errp, "the image is not signed, expected is PCR8 %s",
                   wanted);
    } else {
        error_setg(errp, "PCR%u of the image is %s, expected is %s", index,
                   found, wanted);
    }
    error_append_hint(errp, "Use the image that is meant, or correct the "
                      "expected value.\n");
    return false;
}
