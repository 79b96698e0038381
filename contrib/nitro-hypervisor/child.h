/*
 * The QEMU process that is an enclave
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Inherits these descriptors and nothing else: the vhost-user socket of its
 * vsock device, its monitor, its serial port (debug mode only), its image and,
 * on arm64, the parts of that, and what it signs attestation documents with.
 * Is killed when this process ends, for whatever reason.
 */

#ifndef NHV_CHILD_H
#define NHV_CHILD_H

#include "image.h"
#include "options.h"

/* Time between SIGTERM and SIGKILL */
#define NHV_CHILD_TERM_MS 5000

/* Exit status of a process that could not become a QEMU, as shells have it */
#define NHV_CHILD_NOT_RUN 127

typedef struct NhvChild NhvChild;

/* What to run */
typedef struct NhvChildConfig {
    const NhvOptions *opts;
    uint64_t slot_uid;
    uint32_t cid;
    unsigned int vcpus;
    uint64_t memory;            /* bytes, whole MiB */
    bool debug;
    const NhvImage *image;      /* checked */
    int signer_fd;              /* key and chain to attest with, or -1 */
} NhvChildConfig;

/* The child's ends of sockets */
typedef struct NhvChildFds {
    int vsock;                  /* vhost-user */
    int monitor;                /* QMP */
    int serial;                 /* or -1 */
} NhvChildFds;

/**
 * NhvChildOps: called about the process, from the main loop
 * @serial: the enclave has written to its serial port (debug mode only)
 * @exited: the process has ended and all its output was passed on; @status as
 *          from waitpid()
 */
typedef struct NhvChildOps {
    void (*serial)(void *opaque, const void *buf, size_t len);
    void (*exited)(void *opaque, int status);
} NhvChildOps;

/**
 * nhv_child_has_acpi: does an x86_64 enclave get ACPI tables?
 * @opts: --acpi decides unless it is auto
 * @image: checked; decides otherwise
 * @reason: set to a phrase that says why
 */
bool nhv_child_has_acpi(const NhvOptions *opts, const NhvImage *image,
                        const char **reason);

/**
 * nhv_child_kernel: the kernel that an enclave boots in place of its image's
 * @config: what to run
 *
 * Under TCG, x86_64 kernels are booted unpacked.  Where memory is too short for
 * the kernel to unpack itself it has to fail as it does on EC2.
 *
 * Returns: a descriptor that belongs to the image, or -1.
 */
int nhv_child_kernel(const NhvChildConfig *config);

/**
 * nhv_child_args: command line of an enclave
 * @config: what to run
 * @fds: what the process inherits
 *
 * Returns: NULL terminated arguments, to be freed with g_strfreev().
 */
char **nhv_child_args(const NhvChildConfig *config,
                      const NhvChildFds *fds);

/**
 * nhv_child_pcrs: registers an enclave attests, for a machine that does not
 *                   measure what it boots
 * @config: what to run
 *
 * As machine nitro-enclave does it: the image is in PCR0, 1 and 2, the role
 * and the instance ID of the parent in PCR3 and 4, the certificate of a signed
 * image in PCR8.  In debug mode PCR0, 1, 2 and 8 are zeros.
 *
 * Returns: ",pcrN=HEX..." to append to the properties of virtio-nsm-device;
 *          to be freed.
 */
char *nhv_child_pcrs(const NhvChildConfig *config);

/**
 * nhv_child_start: run a QEMU
 * @config: what to run
 * @vsock_fd: the child's end of the vhost-user socket; stays the caller's
 * @ops: callbacks
 * @opaque: passed to @ops
 * @errp: filled in on failure
 *
 * A QEMU that cannot be executed ends with status NHV_CHILD_NOT_RUN later, and
 * with last words that say why.  One whose accelerator cannot run the guest
 * would stay paused, and is killed.
 *
 * Returns: the process, or NULL.
 */
NhvChild *nhv_child_start(const NhvChildConfig *config, int vsock_fd,
                          const NhvChildOps *ops, void *opaque,
                          Error **errp);

/**
 * nhv_child_stop: ask the process to end, make it end after a while
 * @child: the process; @exited will be called
 */
void nhv_child_stop(NhvChild *child);

/**
 * nhv_child_last_words: what the process wrote to stderr last
 * @child: the process
 *
 * Returns: text without a newline at its end, possibly empty.
 */
const char *nhv_child_last_words(NhvChild *child);

/**
 * nhv_child_gave_up: was it killed because its accelerator cannot run the
 * guest?
 * @child: the process
 */
bool nhv_child_gave_up(const NhvChild *child);

/**
 * nhv_child_free: forget the process, remove its log
 * @child: the process, which has exited, or NULL
 */
void nhv_child_free(NhvChild *child);

#endif
