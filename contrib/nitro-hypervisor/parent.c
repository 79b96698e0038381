/*
 * The parent VM: its vsock device and its memory
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "listener.h"
#include "parent.h"
#include "vsock-device.h"

struct NhvParent {
    NhvSwitch *sw;
    NhvListener *listener;
    NhvVsockDevice *device;   /* NULL while no parent is connected */
    NhvParentGone *gone;
    void *opaque;
};

static void device_ready(void *opaque)
{
    info_report("parent connected");
}

static void device_closed(void *opaque, const char *why)
{
    NhvParent *parent = opaque;

    info_report("parent disconnected: %s", why);
    g_clear_pointer(&parent->device, nhv_vsock_device_free);
    parent->gone(parent->opaque);
    nhv_listener_resume(parent->listener);
}

static const NhvVsockDeviceOps device_ops = {
    .ready = device_ready,
    .closed = device_closed,
};

static void parent_accepted(void *opaque, int fd)
{
    NhvParent *parent = opaque;

    parent->device = nhv_vsock_device_new(parent->sw, NITRO_CID_PARENT, fd,
                                          &device_ops, parent);
}

NhvParent *nhv_parent_new(NhvSwitch *sw, const char *path,
                          NhvParentGone *gone, void *opaque,
                          Error **errp)
{
    NhvParent *parent = g_new0(NhvParent, 1);

    parent->sw = sw;
    parent->gone = gone;
    parent->opaque = opaque;
    parent->listener = nhv_listener_new(path, parent_accepted, parent,
                                        errp);
    if (!parent->listener) {
        nhv_parent_free(parent);
        return NULL;
    }
    return parent;
}

void nhv_parent_free(NhvParent *parent)
{
    if (!parent) {
        return;
    }
    nhv_vsock_device_free(parent->device);
    nhv_listener_free(parent->listener);
    g_free(parent);
}

bool nhv_memory_init(NhvMemory *mem, NhvParent *parent,
                     NhvRegion *regions, unsigned int nr_regions,
                     Error **errp)
{
    unsigned int i;

    *mem = (NhvMemory) {
        .parent = parent,
        .regions = regions,
        .nr_regions = nr_regions,
    };
    for (i = 0; i < nr_regions; i++) {
        if (!regions[i].size || regions[i].size > INT64_MAX - mem->size ||
            regions[i].paddr > UINT64_MAX - regions[i].size) {
            error_setg(errp, "memory region %u (address 0x%" PRIx64
                       ", %" PRIu64 " bytes) cannot exist", i,
                       regions[i].paddr, regions[i].size);
            return false;
        }
        mem->size += regions[i].size;
    }
    return true;
}

void nhv_memory_clear(NhvMemory *mem)
{
    g_free(mem->regions);
    *mem = (NhvMemory) { };
}

static void *map_region(NhvMemory *mem, const NhvRegion *region,
                        uint64_t offset, uint64_t *len, Error **errp)
{
    uint64_t gpa = region->paddr + offset;
    void *p = NULL;

    *len = MIN(*len, region->size - offset);
    if (mem->parent->device) {
        p = nhv_vsock_device_map(mem->parent->device, gpa, len);
    }
    if (!p) {
        error_setg(errp, "the parent has no known memory at address "
                   "0x%" PRIx64, gpa);
        error_append_hint(errp, "Its vsock driver has to be running and its "
                          "memory has to be a memory-backend-memfd with "
                          "share=on\n");
    }
    return p;
}

void *nhv_memory_map(NhvMemory *mem, uint64_t offset, uint64_t *len,
                     Error **errp)
{
    unsigned int i;

    for (i = 0; i < mem->nr_regions; i++) {
        if (offset < mem->regions[i].size) {
            return map_region(mem, &mem->regions[i], offset, len, errp);
        }
        offset -= mem->regions[i].size;
    }
    error_setg(errp, "offset beyond the %" PRIu64 " bytes of donated memory",
               mem->size);
    return NULL;
}

bool nhv_memory_read(NhvMemory *mem, void *buf, size_t len,
                     uint64_t offset, Error **errp)
{
    uint8_t *to = buf;

    while (len) {
        uint64_t n = len;
        void *from = nhv_memory_map(mem, offset, &n, errp);

        if (!from) {
            return false;
        }
        memcpy(to, from, n);
        to += n;
        offset += n;
        len -= n;
    }
    return true;
}

static void parent_scrub(void *p, uint64_t len)
{
    if (madvise(p, len, MADV_REMOVE)) {
        memset(p, 0, len);
    }
}

bool nhv_memory_scrub(NhvMemory *mem, Error **errp)
{
    uint64_t offset = 0;

    while (offset < mem->size) {
        uint64_t n = mem->size - offset;
        void *p = nhv_memory_map(mem, offset, &n, errp);

        if (!p) {
            return false;
        }
        parent_scrub(p, n);
        offset += n;
    }
    return true;
}
