/*
 * Rate limited warnings
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "report.h"

bool nitro_report_allowed(NitroReport *report, int64_t now_ms,
                          unsigned int *unsaid)
{
    *unsaid = 0;
    if (!report->said || now_ms - report->since_ms >= NITRO_REPORT_PERIOD_MS) {
        *unsaid = report->unsaid;
        *report = (NitroReport) { .since_ms = now_ms };
    }
    if (report->said >= NITRO_REPORT_BURST) {
        report->unsaid++;
        return false;
    }
    report->said++;
    return true;
}

void nitro_report(NitroReport *report, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    unsigned int unsaid;
    va_list ap;

    if (!nitro_report_allowed(report, g_get_monotonic_time() / 1000,
                              &unsaid)) {
        return;
    }
    if (unsaid) {
        warn_report("%u similar messages suppressed", unsaid);
    }
    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    warn_report("%s", text);
}
