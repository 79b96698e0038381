/*
 * What the user would read of an Error, for tests
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Hints are not accessible outside of util/error.c; so the program that links
 * error-text.c prints its messages to a buffer.
 */
#ifndef TESTS_NITRO_ERROR_TEXT_H
#define TESTS_NITRO_ERROR_TEXT_H

/* Reports are neither printed nor collected */
extern bool error_text_quiet;

/**
 * error_text: message and hint as error_report_err() prints them
 * @err: consumed
 *
 * Returns: the text without the program's name; to be freed.
 */
char *error_text(Error *err);

/**
 * error_text_begin: keep what is reported from now on
 *
 * For errors that the code under test reports by itself.
 */
void error_text_begin(void);

/**
 * error_text_end: what was reported since
 *
 * Returns: the text, with the program's name; to be freed.
 */
char *error_text_end(void);

/* The test goes on, but fails, when @text lacks @part */
void assert_contains(const char *text, const char *part);

#endif /* TESTS_NITRO_ERROR_TEXT_H */
