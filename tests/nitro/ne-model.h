/*
 * A model of the Nitro Enclaves driver, for tests
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Stands below the ioctl: a unit test makes it its ioctl(), fake-ne.c makes
 * a library to preload of it.  Which rules of the kernel it models is told at
 * the top of ne-model.c.
 */
#ifndef TESTS_NITRO_NE_MODEL_H
#define TESTS_NITRO_NE_MODEL_H

typedef struct NeModelConfig {
    unsigned pool_cores;        /* whole cores in the pool */
    unsigned threads_per_core;
    unsigned max_regions;       /* per enclave, one per donation here */
    bool reject_small_pages;    /* is every donated page a huge page? */
    uint64_t bad_cid;           /* reported by START in place of the real */

    /*
     * Fail the fail_nth call (from 1) of request number fail_request, and
     * those after it: fail_times in all, 0: for ever
     */
    unsigned long fail_request;
    unsigned fail_nth;
    unsigned fail_times;
    int fail_errno;
} NeModelConfig;

extern NeModelConfig ne_model;

/* One donation */
typedef struct NeModelRegion {
    uint64_t address;
    uint64_t size;
} NeModelRegion;

/* Back to the defaults: 4 cores of 2 threads, no enclave, nothing fails */
void ne_model_reset(void);

/* Is this one of the driver's request numbers? */
bool ne_model_request(unsigned long request);

/* What the driver's ioctl does: result, or -1 and errno */
int ne_model_ioctl(int fd, unsigned long request, void *arg);

/* The enclave's descriptor is closed; what it had is free */
void ne_model_close(int enclave_fd);

/* The enclave ends by itself: its descriptor polls as hung up */
void ne_model_end(int enclave_fd);

/* What happened so far */
unsigned ne_model_calls(unsigned long request);
bool ne_model_started(int enclave_fd);
bool ne_model_debug(int enclave_fd);
unsigned ne_model_vcpus(int enclave_fd);
unsigned ne_model_regions(int enclave_fd, const NeModelRegion **regions);

#endif /* TESTS_NITRO_NE_MODEL_H */
