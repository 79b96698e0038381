/*
 * Nitro Enclaves driver: one function per request
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Arguments are laid out here, results are worded in ne-error.c, the launch
 * sequence is nitro-launch.c.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "standard-headers/linux/nitro_enclaves.h"
#include <sys/ioctl.h>
#include "ne.h"
#include "ne-host.h"
#include "trace.h"

static int ne_call(int fd, NeRequest request, unsigned long number, void *arg,
                   Error **errp)
{
    int ret = RETRY_ON_EINTR(ioctl(fd, number, arg));
    int err = ret < 0 ? errno : 0;

    trace_ne_ioctl(fd, ne_request_name(request), ret, err);
    if (err) {
        ne_error_set(errp, request, err);
        return -err;
    }
    return ret;
}

int ne_open(const char *path, Error **errp)
{
    ERRP_GUARD();
    int fd = RETRY_ON_EINTR(qemu_open_old(path, O_RDWR));
    int err = fd < 0 ? errno : 0;

    trace_ne_open(path, fd, err);
    if (err) {
        if (err != ENOENT || !g_str_equal(path, NE_DEVICE_PATH) ||
            !ne_host_explain("", errp)) {
            ne_error_set(errp, NE_REQUEST_OPEN, err);
        }
        error_prepend(errp, "cannot open %s: ", path);
        return -err;
    }
    return fd;
}

int ne_create_vm(int device_fd, uint64_t *slot_uid, Error **errp)
{
    *slot_uid = 0;
    return ne_call(device_fd, NE_REQUEST_CREATE_VM, NE_CREATE_VM, slot_uid,
                   errp);
}

int ne_get_image_load_offset(int enclave_fd, uint64_t *offset, Error **errp)
{
    struct ne_image_load_info info = { .flags = NE_EIF_IMAGE };
    int ret = ne_call(enclave_fd, NE_REQUEST_GET_IMAGE_LOAD_INFO,
                      NE_GET_IMAGE_LOAD_INFO, &info, errp);

    if (ret < 0) {
        return ret;
    }
    trace_ne_image_load_info(enclave_fd, info.memory_offset);
    *offset = info.memory_offset;
    return 0;
}

int ne_add_memory(int enclave_fd, void *host, uint64_t bytes, Error **errp)
{
    struct ne_user_memory_region region = {
        .flags = NE_DEFAULT_MEMORY_REGION,
        .memory_size = bytes,
        .userspace_addr = (uintptr_t)host,
    };

    trace_ne_add_memory(enclave_fd, host, bytes);
    return ne_call(enclave_fd, NE_REQUEST_SET_USER_MEMORY_REGION,
                   NE_SET_USER_MEMORY_REGION, &region, errp);
}

int ne_add_vcpu(int enclave_fd, uint32_t *cpu, Error **errp)
{
    uint32_t id = *cpu;
    int ret = ne_call(enclave_fd, NE_REQUEST_ADD_VCPU, NE_ADD_VCPU, &id, errp);

    if (ret < 0) {
        return ret;
    }
    trace_ne_add_vcpu(enclave_fd, *cpu, id);
    *cpu = id;
    return 0;
}

int ne_start_enclave(int enclave_fd, bool debug, uint64_t *cid, Error **errp)
{
    struct ne_enclave_start_info info = {
        .flags = debug ? NE_ENCLAVE_DEBUG_MODE : NE_ENCLAVE_PRODUCTION_MODE,
        .enclave_cid = *cid,
    };
    int ret;

    trace_ne_start_enclave(enclave_fd, info.flags, info.enclave_cid);
    ret = ne_call(enclave_fd, NE_REQUEST_START_ENCLAVE, NE_START_ENCLAVE,
                  &info, errp);
    if (ret < 0) {
        return ret;
    }
    trace_ne_started(enclave_fd, info.enclave_cid);
    *cid = info.enclave_cid;
    return 0;
}
