/*
 * What an enclave attests: registers of its Nitro Secure Module
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "child.h"

static void add_pcr(GString *values, unsigned int index, const char *text)
{
    g_string_append_printf(values, ",pcr%u=%s", index, text);
}

static void add_measured(GString *values, unsigned int index,
                         const uint8_t pcr[EIF_PCR_LEN])
{
    g_autofree char *text = eif_pcr_str(pcr);

    add_pcr(values, index, text);
}

/* What a register of zeros holds after it was extended with @text */
static void add_extended(GString *values, unsigned int index,
                         const char *text)
{
    static const uint8_t zeros[EIF_PCR_LEN];
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA384);

    g_checksum_update(sum, zeros, sizeof(zeros));
    g_checksum_update(sum, (const uint8_t *)text, strlen(text));
    add_pcr(values, index, g_checksum_get_string(sum));
}

char *nhv_child_pcrs(const NhvChildConfig *config)
{
    static const uint8_t zeros[EIF_PCR_LEN];
    const EifMeasurements *pcrs = &config->image->pcrs;
    GString *values = g_string_new("");

    if (config->debug) {
        /* One is enough to have all of them locked at zero */
        add_measured(values, 0, zeros);
    } else {
        add_measured(values, 0, pcrs->pcr0);
        add_measured(values, 1, pcrs->pcr1);
        add_measured(values, 2, pcrs->pcr2);
    }
    if (config->opts->parent_role) {
        add_extended(values, 3, config->opts->parent_role);
    }
    if (config->opts->parent_id) {
        add_extended(values, 4, config->opts->parent_id);
    }
    if (pcrs->has_pcr8 && !config->debug) {
        add_measured(values, 8, pcrs->pcr8);
    }
    return g_string_free(values, FALSE);
}
