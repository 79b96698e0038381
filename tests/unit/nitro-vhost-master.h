/*
 * A vhost-user front end with two queues, for tests of back ends
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Plays QEMU and the guest's driver at once: guest memory in a memfd
 * holds the rings and buffers.  Everything runs in the caller's thread; the
 * back end gets its turn from the default main context.
 *
 *   0x00000  rx ring        0x10000  tx ring       0x20000  buffers
 */

#ifndef NITRO_VHOST_MASTER_H
#define NITRO_VHOST_MASTER_H

#include "libvhost-user.h"

#define VM_MEM_SIZE   (64 * 1024 * 1024)
#define VM_QUEUE_SIZE 64
#define VM_BUFFERS    0x20000
#define VM_BUF_SIZE   4096
#define VM_USER_BASE  0x7f0000000000ull

enum { VM_RX, VM_TX };

typedef struct VhostMasterQueue {
    struct vring ring;
    uint16_t used_seen;
    uint16_t base;              /* where the back end was stopped */
    int kick_fd, call_fd;
} VhostMasterQueue;

typedef struct VhostMaster {
    int fd;                     /* our end of the socket */
    int mem_fd;
    uint8_t *mem;
    VhostMasterQueue queue[2];
} VhostMaster;

/**
 * vm_open: create guest memory
 * @m: filled in
 *
 * Returns: the back end's end of the vhost-user socket.
 */
int vm_open(VhostMaster *m);

/**
 * vm_attach: the same with a socket that is connected already
 * @m: filled in
 * @fd: our end, owned by @m
 */
void vm_attach(VhostMaster *m, int fd);

/**
 * vm_close: disconnect and free everything
 * @m: the front end
 */
void vm_close(VhostMaster *m);

/* Let the back end work until it is idle */
void vm_run(void);

/**
 * vm_send: send a message
 * @m: the front end
 * @request: VHOST_USER_*
 * @payload: what follows the header
 * @size: its length
 * @fd: descriptor to go with it, or -1
 */
void vm_send(VhostMaster *m, int request, const void *payload, uint32_t size,
             int fd);

/**
 * vm_ask: send a message and read the 64-bit or longer reply
 * @m: the front end
 * @request: VHOST_USER_*
 * @payload: sent, then overwritten with the reply
 * @size: length of both
 */
void vm_ask(VhostMaster *m, int request, void *payload, uint32_t size);

/* As QEMU's device does when the guest's driver comes up */
void vm_start(VhostMaster *m);

/* As QEMU's device does when the VM is paused, or the driver goes */
void vm_stop(VhostMaster *m);

/* As QEMU's device does when the VM goes on */
void vm_resume(VhostMaster *m);

/**
 * vm_post: make descriptors available and kick
 * @m: the front end
 * @queue: VM_RX or VM_TX
 * @head: index of the first descriptor
 */
void vm_post(VhostMaster *m, int queue, uint16_t head);

/* Fill in descriptor @i */
void vm_desc(VhostMaster *m, int queue, uint16_t i, uint64_t addr,
             uint32_t len, uint16_t flags, uint16_t next);

/**
 * vm_used: next element the back end has given back
 * @m: the front end
 * @queue: VM_RX or VM_TX
 * @len: set to its length
 *
 * Returns: index of its first descriptor, or -1 when there is none.
 */
int vm_used(VhostMaster *m, int queue, uint32_t *len);

#endif
