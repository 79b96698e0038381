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

/*
 * Take one message out of the budget.  @unsaid is set to how many were
 * suppressed in the period that has ended, to be mentioned once; usually 0.
 */
static bool report_allowed(NhvReport *report, int64_t now_ms,
                           unsigned int *unsaid)
{
    *unsaid = 0;
    if (!report->said || now_ms - report->since_ms >= NHV_REPORT_PERIOD_MS) {
        *unsaid = report->unsaid;
        *report = (NhvReport) { .since_ms = now_ms };
    }
    if (report->said >= NHV_REPORT_BURST) {
        report->unsaid++;
        return false;
    }
    report->said++;
    return true;
}

void nhv_report(NhvReport *report, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    unsigned int unsaid;
    va_list ap;

    if (!report_allowed(report, g_get_monotonic_time() / 1000, &unsaid)) {
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
