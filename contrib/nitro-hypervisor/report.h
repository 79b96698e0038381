/*
 * Rate limited warnings
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For things a guest can cause as often as it likes.
 */

#ifndef NHV_REPORT_H
#define NHV_REPORT_H

/* Messages per period, length of the period */
#define NHV_REPORT_BURST     10
#define NHV_REPORT_PERIOD_MS 10000

/* One budget of messages; all zeros is a fresh one */
typedef struct NhvReport {
    int64_t since_ms;
    unsigned int said;
    unsigned int unsaid;
} NhvReport;

/**
 * nhv_report: print a warning unless the budget is used up
 * @report: the budget
 * @fmt: one phrase, no full stop, no newline
 */
void G_GNUC_PRINTF(2, 3) nhv_report(NhvReport *report,
                                    const char *fmt, ...);

#endif
