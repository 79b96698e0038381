/*
 * A vhost-user front end with two queues, for tests of back ends
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/eventfd.h>
#include <sys/mman.h>
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/memfd.h"
#include "qemu/sockets.h"
#include "standard-headers/linux/virtio_config.h"
#include "nitro-vhost-master.h"

#define RING_STEP 0x10000

int vm_open(VhostMaster *m)
{
    int pair[2];

    g_assert_cmpint(qemu_socketpair(PF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    vm_attach(m, pair[0]);
    return pair[1];
}

void vm_attach(VhostMaster *m, int fd)
{
    int i;

    m->fd = fd;
    m->mem_fd = qemu_memfd_create("guest", VM_MEM_SIZE, false, 0, 0,
                                  &error_abort);
    m->mem = mmap(NULL, VM_MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
                  m->mem_fd, 0);
    g_assert(m->mem != MAP_FAILED);
    for (i = 0; i < 2; i++) {
        m->queue[i].kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        m->queue[i].call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
}

void vm_close(VhostMaster *m)
{
    int i;

    if (m->fd >= 0) {
        close(m->fd);
    }
    close(m->mem_fd);
    munmap(m->mem, VM_MEM_SIZE);
    for (i = 0; i < 2; i++) {
        close(m->queue[i].kick_fd);
        close(m->queue[i].call_fd);
    }
}

void vm_run(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
        /* until it is idle */
    }
}

void vm_send(VhostMaster *m, int request, const void *payload, uint32_t size,
             int fd)
{
    uint32_t head[3] = { request, 1, size };
    struct iovec iov[2] = {
        { .iov_base = head, .iov_len = sizeof(head) },
        { .iov_base = (void *)payload, .iov_len = size },
    };
    char control[CMSG_SPACE(sizeof(int))] = { 0 };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

    if (fd >= 0) {
        struct cmsghdr *cmsg;

        msg.msg_control = control;
        msg.msg_controllen = sizeof(control);
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
    }
    g_assert_cmpint(sendmsg(m->fd, &msg, MSG_NOSIGNAL), ==,
                    sizeof(head) + size);
    vm_run();
}

void vm_ask(VhostMaster *m, int request, void *payload, uint32_t size)
{
    uint32_t head[3];

    vm_send(m, request, payload, size, -1);
    g_assert_cmpint(recv(m->fd, head, sizeof(head), MSG_DONTWAIT), ==,
                    sizeof(head));
    g_assert_cmpuint(head[0], ==, request);
    g_assert_cmpuint(head[2], <=, size);
    g_assert_cmpint(recv(m->fd, payload, head[2], MSG_DONTWAIT), ==, head[2]);
}

static void send_u64(VhostMaster *m, int request, uint64_t value, int fd)
{
    vm_send(m, request, &value, sizeof(value), fd);
}

static void send_state(VhostMaster *m, int request, unsigned int queue,
                       unsigned int num)
{
    struct vhost_vring_state state = { .index = queue, .num = num };

    vm_send(m, request, &state, sizeof(state), -1);
}

static void start_queue(VhostMaster *m, int i)
{
    VhostMasterQueue *q = &m->queue[i];
    uint64_t base = VM_USER_BASE - (uintptr_t)m->mem;
    struct vhost_vring_addr addr = { .index = i };

    addr.desc_user_addr = (uintptr_t)q->ring.desc + base;
    addr.avail_user_addr = (uintptr_t)q->ring.avail + base;
    addr.used_user_addr = (uintptr_t)q->ring.used + base;
    send_state(m, VHOST_USER_SET_VRING_NUM, i, VM_QUEUE_SIZE);
    send_state(m, VHOST_USER_SET_VRING_BASE, i, q->base);
    vm_send(m, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1);
    send_u64(m, VHOST_USER_SET_VRING_KICK, i, q->kick_fd);
    send_u64(m, VHOST_USER_SET_VRING_CALL, i, q->call_fd);
}

static void new_ring(VhostMaster *m, int i)
{
    VhostMasterQueue *q = &m->queue[i];

    memset(m->mem + i * RING_STEP, 0, RING_STEP);
    vring_init(&q->ring, VM_QUEUE_SIZE, m->mem + i * RING_STEP, 4096);
    q->used_seen = q->base = 0;
}

void vm_start(VhostMaster *m)
{
    new_ring(m, VM_RX);
    new_ring(m, VM_TX);
    vm_resume(m);
}

void vm_resume(VhostMaster *m)
{
    VhostUserMemory memory = {
        .nregions = 1,
        .regions[0] = {
            .memory_size = VM_MEM_SIZE,
            .userspace_addr = VM_USER_BASE,
        },
    };
    uint64_t features = 1ull << VIRTIO_F_VERSION_1 |
                        1ull << VHOST_USER_F_PROTOCOL_FEATURES;

    send_u64(m, VHOST_USER_SET_FEATURES, features, -1);
    vm_send(m, VHOST_USER_SET_MEM_TABLE, &memory,
            offsetof(VhostUserMemory, regions[1]), m->mem_fd);
    start_queue(m, VM_RX);
    start_queue(m, VM_TX);
}

void vm_stop(VhostMaster *m)
{
    int i;

    for (i = 0; i < 2; i++) {
        struct vhost_vring_state state = { .index = i };

        vm_ask(m, VHOST_USER_GET_VRING_BASE, &state, sizeof(state));
        m->queue[i].base = state.num;
    }
}

void vm_desc(VhostMaster *m, int queue, uint16_t i, uint64_t addr,
             uint32_t len, uint16_t flags, uint16_t next)
{
    m->queue[queue].ring.desc[i] = (struct vring_desc) {
        .addr = cpu_to_le64(addr),
        .len = cpu_to_le32(len),
        .flags = cpu_to_le16(flags),
        .next = cpu_to_le16(next),
    };
}

void vm_post(VhostMaster *m, int queue, uint16_t head)
{
    VhostMasterQueue *q = &m->queue[queue];
    uint16_t at = le16_to_cpu(q->ring.avail->idx);

    q->ring.avail->ring[at % VM_QUEUE_SIZE] = cpu_to_le16(head);
    q->ring.avail->idx = cpu_to_le16(at + 1);
    eventfd_write(q->kick_fd, 1);
    vm_run();
}

int vm_used(VhostMaster *m, int queue, uint32_t *len)
{
    VhostMasterQueue *q = &m->queue[queue];
    vring_used_elem_t *elem;

    if (q->used_seen == le16_to_cpu(q->ring.used->idx)) {
        return -1;
    }
    elem = &q->ring.used->ring[q->used_seen++ % VM_QUEUE_SIZE];
    *len = le32_to_cpu(elem->len);
    return le32_to_cpu(elem->id);
}
