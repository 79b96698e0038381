/*
 * Nitro Enclaves: files for the tests of the machine
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_NITRO_MACHINE_UTIL_H
#define TESTS_QTEST_NITRO_MACHINE_UTIL_H

/* Made by nitro_machine_setup() */
extern char *nitro_machine_dir;     /* where the files below are */
extern char *nitro_machine_library; /* a driver to preload */

/**
 * nitro_machine_setup: make a directory of images and what looks like some
 *
 * Good ones are "eif", "kernel" and "initrd", with GnuTLS also "eif-signed".
 */
void nitro_machine_setup(void);

/**
 * nitro_machine_cleanup: remove the directory and all that is in it
 */
void nitro_machine_cleanup(void);

/**
 * nitro_machine_path: name of a file in the directory, to be freed
 */
char *nitro_machine_path(const char *name);

/**
 * nitro_machine_options: options with each %s replaced by the directory
 *
 * Returns: text to be freed.
 */
char *nitro_machine_options(const char *options);

/**
 * nitro_machine_add_refusals: add the tests of what cannot be launched
 */
void nitro_machine_add_refusals(void);

#endif
