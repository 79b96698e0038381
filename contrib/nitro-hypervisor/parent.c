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

struct NitroParent {
    NitroSwitch *sw;
    NitroListener *listener;
    NitroVsockDevice *device;   /* NULL while no parent is connected */
    NitroParentGone *gone;
    void *opaque;
};

static void device_ready(void *opaque)
{
    info_report("parent connected");
}

static void device_closed(void *opaque, const char *why)
{
    NitroParent *parent = opaque;

    info_report("parent disconnected: %s", why);
    g_clear_pointer(&parent->device, nitro_vsock_device_free);
    parent->gone(parent->opaque);
    nitro_listener_resume(parent->listener);
}

static const NitroVsockDeviceOps device_ops = {
    .ready = device_ready,
    .closed = device_closed,
};

static void parent_accepted(void *opaque, int fd)
{
    NitroParent *parent = opaque;

    parent->device = nitro_vsock_device_new(parent->sw, NITRO_CID_PARENT, fd,
                                            &device_ops, parent);
}

NitroParent *nitro_parent_new(NitroSwitch *sw, const char *path,
                              NitroParentGone *gone, void *opaque,
                              Error **errp)
{
    NitroParent *parent = g_new0(NitroParent, 1);

    parent->sw = sw;
    parent->gone = gone;
    parent->opaque = opaque;
    parent->listener = nitro_listener_new(path, parent_accepted, parent,
                                          errp);
    if (!parent->listener) {
        nitro_parent_free(parent);
        return NULL;
    }
    return parent;
}

void nitro_parent_free(NitroParent *parent)
{
    if (!parent) {
        return;
    }
    nitro_vsock_device_free(parent->device);
    nitro_listener_free(parent->listener);
    g_free(parent);
}

bool nitro_memory_init(NitroMemory *mem, NitroParent *parent,
                       NitroRegion *regions, unsigned int nr_regions,
                       Error **errp)
{
    unsigned int i;

    *mem = (NitroMemory) {
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

void nitro_memory_clear(NitroMemory *mem)
{
    g_free(mem->regions);
    *mem = (NitroMemory) { };
}

static void *map_region(NitroMemory *mem, const NitroRegion *region,
                        uint64_t offset, uint64_t *len, Error **errp)
{
    uint64_t gpa = region->paddr + offset;
    void *p = NULL;

    *len = MIN(*len, region->size - offset);
    if (mem->parent->device) {
        p = nitro_vsock_device_map(mem->parent->device, gpa, len);
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

void *nitro_memory_map(NitroMemory *mem, uint64_t offset, uint64_t *len,
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

bool nitro_memory_read(NitroMemory *mem, void *buf, size_t len,
                       uint64_t offset, Error **errp)
{
    uint8_t *to = buf;

    while (len) {
        uint64_t n = len;
        void *from = nitro_memory_map(mem, offset, &n, errp);

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

static void scrub(void *p, uint64_t len)
{
    if (madvise(p, len, MADV_REMOVE)) {
        memset(p, 0, len);
    }
}

bool nitro_memory_scrub(NitroMemory *mem, Error **errp)
{
    uint64_t offset = 0;

    while (offset < mem->size) {
        uint64_t n = mem->size - offset;
        void *p = nitro_memory_map(mem, offset, &n, errp);

        if (!p) {
            return false;
        }
        scrub(p, n);
        offset += n;
    }
    return true;
}
