/*
 * The parent VM: its vsock device and its memory
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Listens for the vhost-user connection of the parent's vsock device.  One
 * parent at a time; when it has gone the next one may connect.
 */

#ifndef NHV_PARENT_H
#define NHV_PARENT_H

#include "switch.h"

typedef struct NhvParent NhvParent;

/**
 * NhvParentGone: called from the main loop when the parent has disconnected
 * @opaque: as given to nhv_parent_new()
 */
typedef void NhvParentGone(void *opaque);

/**
 * nhv_parent_new: listen for a parent
 * @sw: switch the parent is attached to
 * @path: unix socket to listen on
 * @gone: called when a parent has disconnected
 * @opaque: passed to @gone
 * @errp: filled in on failure
 *
 * Returns: the parent, or NULL.
 */
NhvParent *nhv_parent_new(NhvSwitch *sw, const char *path,
                          NhvParentGone *gone, void *opaque,
                          Error **errp);

/**
 * nhv_parent_free: disconnect, stop listening, remove the socket
 * @parent: the parent, or NULL
 */
void nhv_parent_free(NhvParent *parent);

/* A piece of memory in the parent, guest-physical */
typedef struct NhvRegion {
    uint64_t paddr;
    uint64_t size;
} NhvRegion;

/* Regions in their order, seen as one block of memory */
typedef struct NhvMemory {
    NhvParent *parent;
    NhvRegion *regions;
    unsigned int nr_regions;
    uint64_t size;
} NhvMemory;

/**
 * nhv_memory_init: describe donated memory
 * @mem: filled in; owns @regions
 * @parent: whose memory it is
 * @regions: from g_new(), freed by nhv_memory_clear()
 * @nr_regions: number of regions
 * @errp: filled in when the sizes do not add up
 *
 * Returns: true on success; @regions is taken over in any case.
 */
bool nhv_memory_init(NhvMemory *mem, NhvParent *parent,
                     NhvRegion *regions, unsigned int nr_regions,
                     Error **errp);

void nhv_memory_clear(NhvMemory *mem);

/**
 * nhv_memory_map: find a place in donated memory
 * @mem: the memory
 * @offset: from the start of the block
 * @len: bytes wanted; reduced to what is contiguous at the result
 * @errp: filled in on failure
 *
 * The pointer is good until control returns to the main loop.
 *
 * Returns: the memory; NULL when the parent's vsock driver is not running,
 * or when there is no RAM at that place.
 */
void *nhv_memory_map(NhvMemory *mem, uint64_t offset, uint64_t *len,
                     Error **errp);

/**
 * nhv_memory_read: copy from donated memory
 * @mem: the memory
 * @buf: destination
 * @len: bytes to copy
 * @offset: from the start of the block
 * @errp: filled in on failure
 *
 * Returns: true when all bytes were copied.
 */
bool nhv_memory_read(NhvMemory *mem, void *buf, size_t len,
                     uint64_t offset, Error **errp);

/**
 * nhv_memory_scrub: overwrite donated memory with zeros
 * @mem: the memory
 * @errp: filled in on failure
 *
 * Gives the pages back to the host where that is possible, which takes no
 * time; writes zeros otherwise.
 *
 * Returns: true when all of it was scrubbed.
 */
bool nhv_memory_scrub(NhvMemory *mem, Error **errp);

#endif
