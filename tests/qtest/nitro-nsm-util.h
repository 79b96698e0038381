/*
 * The Nitro Secure Module as a driver sees it: one queue, one request
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_NITRO_NSM_UTIL_H
#define TESTS_QTEST_NITRO_NSM_UTIL_H

#include "libqtest.h"
#include "libqos/libqos-malloc.h"
#include "libqos/virtio-mmio.h"

/* Room for a response */
#define NSM_RESPONSE_SIZE 0x3000

/* Machine of an architecture that has the device on virtio-mmio */
typedef struct NSMMachine {
    const char *arch;
    const char *name;
    const char *options;
    uint64_t transport;         /* the first one */
    uint64_t ram;
} NSMMachine;

/* A device whose driver is the test */
typedef struct NSMDevice {
    const NSMMachine *machine;
    QTestState *qts;
    QGuestAllocator alloc;
    QVirtioMMIODevice mmio;
    QVirtQueue *vq;
    char *firmware;
    uint64_t request;           /* guest addresses */
    uint64_t response;
    uint16_t used;              /* buffers */
} NSMDevice;

/**
 * nsm_machine: the machine of the architecture under test
 */
const NSMMachine *nsm_machine(void);

/**
 * nsm_make_firmware: a file that machines want, although nothing runs
 *
 * Returns: its name; to be unlinked and freed.
 */
char *nsm_make_firmware(void);

/**
 * nsm_start: start QEMU and the device's queue
 * @nsm: filled in
 * @properties: of the device, each after a comma
 * @options: more options for QEMU
 */
void nsm_start(NSMDevice *nsm, const char *properties, const char *options);

/**
 * nsm_stop: end QEMU
 */
void nsm_stop(NSMDevice *nsm);

/**
 * nsm_post_request: make a request available, without a notification
 */
void nsm_post_request(NSMDevice *nsm, const void *request, size_t len);

/**
 * nsm_post_response: make room for a response available, without a
 *                    notification
 */
void nsm_post_response(NSMDevice *nsm);

/**
 * nsm_notify: notify, and check that the device is well
 * @used: number of buffers the device has to have used since nsm_start()
 */
void nsm_notify(NSMDevice *nsm, uint16_t used);

/**
 * nsm_ask: a request and its response
 * @response: room for NSM_RESPONSE_SIZE bytes; those after the end are zero
 *
 * Returns: length of the response.
 */
size_t nsm_ask(NSMDevice *nsm, const void *request, size_t len,
               uint8_t *response);

/**
 * nsm_add_request_tests: add the tests of what can be asked
 */
void nsm_add_request_tests(void);

/**
 * nsm_add_signer_tests: add the tests of signed documents; needs GnuTLS
 */
void nsm_add_signer_tests(void);

/**
 * nsm_remove_signer_files: remove what these tests leave
 */
void nsm_remove_signer_files(void);

#endif
