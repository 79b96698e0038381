/*
 * Nitro Enclaves accelerator: a QEMU on a driver that is a model
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the tests of whole launches share, see nitro-accel-test.c.
 */
#ifndef TESTS_QTEST_NITRO_ACCEL_UTIL_H
#define TESTS_QTEST_NITRO_ACCEL_UTIL_H

#include "libqtest.h"

/* Requests as the log shows them */
#define PREPARED "CREATE_VM ret=0\n" \
    "GET_IMAGE_LOAD_INFO ret=0\n" \
    "SET_USER_MEMORY_REGION ret=0 size=67108864\n" \
    "ADD_VCPU ret=0\n" \
    "ADD_VCPU ret=0\n"
#define STARTED PREPARED "START_ENCLAVE ret=0 cid=16 flags=0\n"

#define NITRO "-accel nitro,device=/dev/null"

/* One QEMU run: files around it */
typedef struct Run {
    char *dir;
    char *kernel;
    char *log;                  /* the library's */
    char *err;                  /* QEMU's stderr */
    char *end;                  /* exists: the enclave ends */
    char *sys;                  /* stands for /sys, see put_sys() */
    /* May be changed before the start */
    const char *smp;            /* "-smp 2" */
    const char *memory;         /* 64 MiB, and the machine */
    QTestState *qts;
} Run;

/* Find the library to preload; once.  False: QEMU has no accelerator nitro */
bool run_prepare(void);

/* Files and environment of a run; nothing is started yet */
Run *run_new(void);
void run_free(Run *run);

/* Start a QEMU with these options, talk QMP until run_quit() */
void run_start(Run *run, const char *accel, const char *more);
void run_quit(Run *run);

/* Go on after run_start() with "-S", which QEMU's end could overtake */
void run_continue(Run *run);

/* Start something that ends by itself, with this exit status */
void run_to_end(Run *run, const char *accel, const char *more, int expected);

/* Closing an enclave, or its start, takes until let_go_on() */
void hold_close(Run *run);
void hold_start(Run *run);
void let_go_on(Run *run);

/* Let the enclave end, now or as soon as it was started */
void end_enclave(Run *run);

/* Let the enclave with this CID end, and none after it */
void end_enclave_with(Run *run, unsigned cid);

/* A file's text, to be freed */
char *contents(const char *path);

/* The requests that the driver got are exactly these */
void assert_log(Run *run, const char *expected);

/* Wait until its log has this part */
void wait_log(Run *run, const char *part);

/* Wait until so many enclaves were started in all */
void wait_starts(Run *run, unsigned count);

/* How often QEMU's messages have this part */
unsigned times_said(Run *run, const char *part);

/* Wait until QEMU's messages have this part */
void wait_said(Run *run, const char *part);

/* Let a file of /sys have this text; all others of /sys are gone then */
void put_sys(Run *run, const char *name, const char *text);

/* QEMU's messages have this part */
void assert_said(Run *run, const char *part);

/* The accelerator's properties */
char *get_string(Run *run, const char *property);
int64_t get_number(Run *run, const char *property);
int64_t get_cid(Run *run);
void assert_state(Run *run, const char *expected);

/* Wait until the accelerator's state is this one: "cont" does not wait */
void wait_state(Run *run, const char *expected);

/* State of the heartbeat device that the machine made */
void assert_heartbeat(Run *run, const char *expected);

/* DIR/name as a vsock peer sees it */
int peer_connect(Run *run, const char *name);
int peer_listen(Run *run, const char *name);

/* Be the enclave: send a heartbeat, have it answered */
void send_heartbeat(Run *run);

/* The command fails with a message that has this part */
void assert_qmp_error(Run *run, const char *part, const char *command);

/* What query-status says */
void assert_runstate(Run *run, const char *expected);

/* QEMU ends with this status */
void assert_ends(Run *run, int status);

/* The guest panics, and this follows */
void wait_panic(Run *run, const char *action);

/* QEMU shuts down for this reason */
void wait_shutdown(Run *run, const char *reason);

/* Tests of the other files */
void add_cpu_tests(void);
void add_device_tests(void);
void add_failure_tests(void);
void add_life_tests(void);
void add_memory_tests(void);
void add_monitor_tests(void);
void add_on_exit_tests(void);
void add_reset_tests(void);

#endif /* TESTS_QTEST_NITRO_ACCEL_UTIL_H */
