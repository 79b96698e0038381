/*
 * Nitro Enclaves accelerator: launches among faults
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each launch is a process of its own that ends by itself, with its own
 * directory and environment; several may run at once.  An enclave that starts
 * ends at once, before its heartbeat: QEMU's status is 4 then.
 */
#ifndef TESTS_QTEST_NITRO_FAULT_UTIL_H
#define TESTS_QTEST_NITRO_FAULT_UTIL_H

#include "libqtest.h"

/* Exit statuses as documented */
#define STATUS_REFUSED 1
#define STATUS_DRIVER 3
#define STATUS_ENDED 4
#define STATUS_DEADLINE 5

#define LAUNCH_MEMORY "-M nitro,memory-backend=ram -m 64M -object " \
    "memory-backend-memfd,id=ram,size=64M,hugetlb=on,share=on "

/* So many run at the same time, unless they wait most of it */
#define LAUNCH_AT_ONCE 4

typedef struct Launch {
    char *dir;
    char **env;
    GPid pid;
    /* May be changed before the start */
    unsigned max_files;         /* RLIMIT_NOFILE, 0: as it is */
    bool twice;                 /* system_reset once it runs: launch again */
    /* Set by launch_wait() */
    int status;                 /* of the exit, 128 + signal otherwise */
    char *said;                 /* stderr */
    char *log;                  /* the library's, see tests/nitro/fake-ne.c */
} Launch;

/* Find the library to preload; once.  False: QEMU has no accelerator nitro */
bool launch_prepare(void);

/* Nothing is started yet */
Launch *launch_new(void);
void launch_free(Launch *launch);

/* Set one of the library's variables, to text as printf() makes it */
void launch_set(Launch *launch, const char *name, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Path of a file in the launch's directory, to be freed */
char *launch_path(Launch *launch, const char *name);

/* Start QEMU with these options, beside "-accel nitro" and "-smp 2" */
void launch_start(Launch *launch, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

/**
 * launch_wait: wait until QEMU ended, and look at what it left behind
 *
 * The test fails when an enclave was not closed (once), or there is a file
 * that was not there before.
 */
void launch_wait(Launch *launch);

/* The test fails, with all that is known, unless the status is this one */
void launch_expect(Launch *launch, int status);

/* The test fails when the messages lack this part */
void launch_expect_said(Launch *launch, const char *part);

/**
 * launch_expect_remedy: the messages have a cause, and a remedy behind
 * @part: in the line of the cause
 *
 * The test fails as well when the cause is "Unknown error".
 */
void launch_expect_remedy(Launch *launch, const char *part);

/* The test fails, with all that is known of the launch */
void launch_fail(Launch *launch, const char *why);

/* No process is left of all that were started */
void launch_expect_no_children(void);

/* A kernel for this architecture of so many bytes, not zero */
void write_kernel_file(const char *path, size_t size);

/* Tests of the other files */
void add_fault_host_tests(void);
void add_fault_image_tests(void);

#endif /* TESTS_QTEST_NITRO_FAULT_UTIL_H */
