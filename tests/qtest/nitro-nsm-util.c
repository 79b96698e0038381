/*
 * The Nitro Secure Module as a driver sees it: one queue, one request
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ids.h"
#include "standard-headers/linux/virtio_mmio.h"
#include "nitro-nsm-util.h"

#define MIB (1024 * 1024)
#define PAGE 4096
#define REQUEST_ROOM (2 * PAGE)

static const NSMMachine machines[] = {
    { "x86_64", "microvm", "-M microvm -global apic.vapic=off",
      0xfeb00000, 0 },
    { "aarch64", "virt", "-M virt -cpu max", 0x0a000000, 1ull << 30 },
};

const NSMMachine *nsm_machine(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(machines); i++) {
        if (g_str_equal(machines[i].arch, qtest_get_arch())) {
            return &machines[i];
        }
    }
    g_assert_not_reached();
}

char *nsm_make_firmware(void)
{
    const char zeroes[64 * 1024] = { 0 };
    char *name;
    int fd = g_file_open_tmp("nitro-firmware-XXXXXX", &name, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, zeroes, sizeof(zeroes)), ==, sizeof(zeroes));
    close(fd);
    return name;
}

static void write_register(NSMDevice *nsm, unsigned offset, uint32_t value)
{
    qtest_writel(nsm->qts, nsm->machine->transport + offset, value);
}

static void write_address(NSMDevice *nsm, unsigned low, uint64_t address)
{
    write_register(nsm, low, address);
    write_register(nsm, low + 4, address >> 32);
}

/* What libqos leaves out of a queue: it knows the legacy registers alone */
static void start_queue(NSMDevice *nsm)
{
    nsm->vq = qvirtqueue_setup(&nsm->mmio.vdev, &nsm->alloc, 0);
    write_address(nsm, VIRTIO_MMIO_QUEUE_DESC_LOW, nsm->vq->desc);
    write_address(nsm, VIRTIO_MMIO_QUEUE_AVAIL_LOW, nsm->vq->avail);
    write_address(nsm, VIRTIO_MMIO_QUEUE_USED_LOW, nsm->vq->used);
    write_register(nsm, VIRTIO_MMIO_QUEUE_READY, 1);
}

static void start_driver(NSMDevice *nsm)
{
    QVirtioDevice *vdev = &nsm->mmio.vdev;

    qvirtio_mmio_init_device(&nsm->mmio, nsm->qts, nsm->machine->transport,
                             PAGE);
    g_assert_cmpuint(nsm->mmio.version, ==, 2);
    g_assert_cmpuint(vdev->device_type, ==, VIRTIO_ID_NITRO_SEC_MOD);
    qvirtio_reset(vdev);
    qvirtio_set_acknowledge(vdev);
    qvirtio_set_driver(vdev);
    qvirtio_set_features(vdev, 1ull << VIRTIO_F_VERSION_1);
    start_queue(nsm);
    qvirtio_set_driver_ok(vdev);
}

void nsm_start(NSMDevice *nsm, const char *properties, const char *options)
{
    uint64_t ram;

    *nsm = (NSMDevice) { .machine = nsm_machine() };
    ram = nsm->machine->ram;
    nsm->firmware = nsm_make_firmware();
    nsm->qts = qtest_initf("%s -m 64M -nodefaults -bios %s "
                           "-global virtio-mmio.force-legacy=off %s "
                           "-device virtio-nsm-device,bus=virtio-mmio-bus.0%s",
                           nsm->machine->options, nsm->firmware, options,
                           properties);
    alloc_init(&nsm->alloc, ALLOC_NO_FLAGS, ram + MIB, ram + 64 * MIB, PAGE);
    nsm->request = guest_alloc(&nsm->alloc, REQUEST_ROOM);
    nsm->response = guest_alloc(&nsm->alloc, NSM_RESPONSE_SIZE);
    start_driver(nsm);
}

void nsm_stop(NSMDevice *nsm)
{
    qvirtqueue_cleanup(nsm->mmio.vdev.bus, nsm->vq, &nsm->alloc);
    alloc_destroy(&nsm->alloc);
    qtest_quit(nsm->qts);
    g_unlink(nsm->firmware);
    g_free(nsm->firmware);
}

/* Make a buffer available to the device */
static void post(NSMDevice *nsm, uint64_t buffer, uint32_t size, bool write)
{
    uint32_t head = qvirtqueue_add(nsm->qts, nsm->vq, buffer, size, write,
                                   false);
    uint16_t index = qtest_readw(nsm->qts, nsm->vq->avail + 2);

    qtest_writew(nsm->qts, nsm->vq->avail + 4 + 2 * (index % nsm->vq->size),
                 head);
    qtest_writew(nsm->qts, nsm->vq->avail + 2, index + 1);
}

void nsm_post_request(NSMDevice *nsm, const void *request, size_t len)
{
    g_assert_cmpuint(len, <=, REQUEST_ROOM);
    qtest_memwrite(nsm->qts, nsm->request, request, len);
    post(nsm, nsm->request, len, false);
}

void nsm_post_response(NSMDevice *nsm)
{
    post(nsm, nsm->response, NSM_RESPONSE_SIZE, true);
}

void nsm_notify(NSMDevice *nsm, uint16_t used)
{
    QVirtioDevice *vdev = &nsm->mmio.vdev;

    vdev->bus->virtqueue_kick(vdev, nsm->vq);
    g_assert_cmphex(vdev->bus->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET,
                    ==, 0);
    g_assert_cmpuint(qtest_readw(nsm->qts, nsm->vq->used + 2), ==, used);
    g_assert_cmphex(qtest_readl(nsm->qts,
                                nsm->machine->transport +
                                VIRTIO_MMIO_INTERRUPT_STATUS),
                    ==, used ? VIRTIO_MMIO_INT_VRING : 0);
}

size_t nsm_ask(NSMDevice *nsm, const void *request, size_t len,
               uint8_t *response)
{
    uint32_t head, length;

    qtest_memset(nsm->qts, nsm->response, 0, NSM_RESPONSE_SIZE);
    nsm_post_request(nsm, request, len);
    nsm_post_response(nsm);
    nsm->used += 2;
    nsm_notify(nsm, nsm->used);
    g_assert_true(qvirtqueue_get_buf(nsm->qts, nsm->vq, &head, &length));
    g_assert_true(qvirtqueue_get_buf(nsm->qts, nsm->vq, &head, &length));
    qtest_memread(nsm->qts, nsm->response, response, NSM_RESPONSE_SIZE);
    /* Both descriptors of the queue are free again */
    nsm->vq->free_head = 0;
    nsm->vq->num_free = nsm->vq->size;
    return length;
}
