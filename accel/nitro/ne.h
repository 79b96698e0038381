/*
 * Nitro Enclaves driver: one function per request
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The only code that talks to /dev/nitro_enclaves.  No state of its own, no
 * QOM, no BQL: usable from any program.  Every function that can fail returns
 * a negated errno and fills in an Error made of
 *
 *   cause (REQUEST: NAME, error NUMBER)     and, as a hint, the remedy.
 *
 * What was attempted, and with which numbers, is for the caller to prepend.
 * The driver's own codes lie outside of what strerror() knows: 256 to 275.
 *
 * All requests may block: the driver waits up to 120 seconds for the
 * hypervisor, uninterruptibly.
 */
#ifndef ACCEL_NITRO_NE_H
#define ACCEL_NITRO_NE_H

#define NE_DEVICE_PATH "/dev/nitro_enclaves"

/* What was asked of the driver: selects name and wording in messages */
typedef enum NeRequest {
    NE_REQUEST_OPEN,
    NE_REQUEST_CREATE_VM,
    NE_REQUEST_ADD_VCPU,
    NE_REQUEST_GET_IMAGE_LOAD_INFO,
    NE_REQUEST_SET_USER_MEMORY_REGION,
    NE_REQUEST_START_ENCLAVE,
    NE_REQUEST__MAX
} NeRequest;

/**
 * ne_open: open the driver's device node
 * @path: NE_DEVICE_PATH, or another name of it (also /dev/fdset/N)
 * @errp: filled in on failure; names @path
 *
 * Returns: a file descriptor that the caller closes, or -errno.
 */
int ne_open(const char *path, Error **errp);

/**
 * ne_create_vm: NE_CREATE_VM, ask the hypervisor for an enclave
 * @device_fd: what ne_open() returned; may be closed afterwards
 * @slot_uid: filled in with the hypervisor's id of the enclave
 * @errp: filled in on failure
 *
 * Returns: the enclave's file descriptor, or -errno.  Closing it ends the
 * enclave and gives memory and CPUs back; it is the only way to do so.
 */
int ne_create_vm(int device_fd, uint64_t *slot_uid, Error **errp);

/**
 * ne_get_image_load_offset: NE_GET_IMAGE_LOAD_INFO for an EIF
 * @enclave_fd: what ne_create_vm() returned; not started yet
 * @offset: filled in with the byte offset into the enclave's memory
 * @errp: filled in on failure
 *
 * Returns: 0 or -errno.
 */
int ne_get_image_load_offset(int enclave_fd, uint64_t *offset, Error **errp);

/**
 * ne_add_memory: NE_SET_USER_MEMORY_REGION, donate memory to the enclave
 * @enclave_fd: what ne_create_vm() returned; not started yet
 * @host: start; backed by huge pages and aligned to their size
 * @bytes: length, a non-zero multiple of the page size
 * @errp: filled in on failure
 *
 * The enclave's memory is the concatenation of all donations, in order.  On
 * failure a part may have been donated: only closing the fd undoes it.
 *
 * Returns: 0 or -errno.
 */
int ne_add_memory(int enclave_fd, void *host, uint64_t bytes, Error **errp);

/**
 * ne_add_vcpu: NE_ADD_VCPU, add a CPU of the pool to the enclave
 * @enclave_fd: what ne_create_vm() returned; not started yet
 * @cpu: in: the parent's CPU number, or 0 to let the driver choose;
 *       out: the CPU that was added
 * @errp: filled in on failure
 *
 * Returns: 0 or -errno.
 */
int ne_add_vcpu(int enclave_fd, uint32_t *cpu, Error **errp);

/**
 * ne_start_enclave: NE_START_ENCLAVE, let the enclave run
 * @enclave_fd: what ne_create_vm() returned; has memory and vCPUs
 * @debug: start in debug mode
 * @cid: in: the wanted CID, or 0 to let the hypervisor choose;
 *       out: the CID that the hypervisor reported, unchecked
 * @errp: filled in on failure; the enclave is then not running
 *
 * Returns: 0 or -errno.
 */
int ne_start_enclave(int enclave_fd, bool debug, uint64_t *cid, Error **errp);

/* Name of the request as in the kernel's header */
const char *ne_request_name(NeRequest request);

/**
 * ne_error_set: describe a refusal; the one table of causes and remedies
 * @errp: filled in
 * @request: what was refused
 * @err: positive errno or code of the driver
 */
void ne_error_set(Error **errp, NeRequest request, int err);

#endif /* ACCEL_NITRO_NE_H */
