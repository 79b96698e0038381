/*
 * Nitro Enclaves: what the tests of launches share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_QTEST_NITRO_LAUNCH_UTIL_H
#define TESTS_QTEST_NITRO_LAUNCH_UTIL_H

/* Is the QEMU under test one for aarch64? */
bool arch_is_arm(void);

/* Path of the driver to preload, beside this program; to be freed */
char *fake_driver(void);

/*
 * ASAN_OPTIONS for that: in a sanitizer build the library comes before the
 * sanitizer's own; to be freed
 */
char *fake_driver_asan_options(void);

/* Write @content, in which a kernel's marks for this architecture are put */
void write_kernel(const char *path, char *content, size_t size);

/* How often text has this part */
unsigned count_parts(const char *text, const char *part);

#endif /* TESTS_QTEST_NITRO_LAUNCH_UTIL_H */
