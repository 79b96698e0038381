/*
 * The Nitro Secure Module: the two buffers of a request
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A request and room for its response are two descriptor chains.  The device
 * may look at the queue when only the first is there.
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "libqtest.h"
#include "libqos/libqos-malloc.h"
#include "libqos/virtio-mmio.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_ids.h"
#include "standard-headers/linux/virtio_mmio.h"

#define MIB (1024 * 1024)
#define PAGE 4096
/* The first transport of a microvm */
#define TRANSPORT 0xfeb00000
#define RESPONSE_SIZE 0x3000
/* CBOR: text of 11 bytes; and a map of one entry that has it as its key */
#define REQUEST "\x6b" "DescribeNSM"
#define RESPONSE "\xa1" REQUEST

typedef struct NSM {
    QTestState *qts;
    QGuestAllocator alloc;
    QVirtioMMIODevice mmio;
    QVirtQueue *vq;
    char *firmware;
    uint64_t response;
} NSM;

/* No firmware runs in a qtest, but the machine wants a file */
static char *make_firmware(void)
{
    const char zeroes[64 * 1024] = { 0 };
    char *name;
    int fd = g_file_open_tmp("nitro-firmware-XXXXXX", &name, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, zeroes, sizeof(zeroes)), ==, sizeof(zeroes));
    close(fd);
    return name;
}

static void write_address(NSM *nsm, unsigned low, uint64_t address)
{
    qtest_writel(nsm->qts, TRANSPORT + low, address);
    qtest_writel(nsm->qts, TRANSPORT + low + 4, address >> 32);
}

/* What libqos leaves out of a queue: it knows the legacy registers alone */
static void start_queue(NSM *nsm)
{
    nsm->vq = qvirtqueue_setup(&nsm->mmio.vdev, &nsm->alloc, 0);
    write_address(nsm, VIRTIO_MMIO_QUEUE_DESC_LOW, nsm->vq->desc);
    write_address(nsm, VIRTIO_MMIO_QUEUE_AVAIL_LOW, nsm->vq->avail);
    write_address(nsm, VIRTIO_MMIO_QUEUE_USED_LOW, nsm->vq->used);
    qtest_writel(nsm->qts, TRANSPORT + VIRTIO_MMIO_QUEUE_READY, 1);
}

static void start(NSM *nsm)
{
    QVirtioDevice *vdev = &nsm->mmio.vdev;

    nsm->firmware = make_firmware();
    nsm->qts = qtest_initf("-M microvm -m 64M -nodefaults -bios %s "
                           "-global virtio-mmio.force-legacy=off "
                           "-global apic.vapic=off "
                           "-device virtio-nsm-device,bus=virtio-mmio-bus.0",
                           nsm->firmware);
    alloc_init(&nsm->alloc, ALLOC_NO_FLAGS, MIB, 64 * MIB, PAGE);
    qvirtio_mmio_init_device(&nsm->mmio, nsm->qts, TRANSPORT, PAGE);
    g_assert_cmpuint(nsm->mmio.version, ==, 2);
    g_assert_cmpuint(vdev->device_type, ==, VIRTIO_ID_NITRO_SEC_MOD);
    qvirtio_reset(vdev);
    qvirtio_set_acknowledge(vdev);
    qvirtio_set_driver(vdev);
    qvirtio_set_features(vdev, 1ull << VIRTIO_F_VERSION_1);
    start_queue(nsm);
    qvirtio_set_driver_ok(vdev);
}

static void stop(NSM *nsm)
{
    qvirtqueue_cleanup(nsm->mmio.vdev.bus, nsm->vq, &nsm->alloc);
    alloc_destroy(&nsm->alloc);
    qtest_quit(nsm->qts);
    g_unlink(nsm->firmware);
    g_free(nsm->firmware);
}

/* Make a buffer available to the device, without telling it */
static void post(NSM *nsm, uint64_t buffer, uint32_t size, bool write)
{
    uint32_t head = qvirtqueue_add(nsm->qts, nsm->vq, buffer, size, write,
                                   false);
    uint16_t index = qtest_readw(nsm->qts, nsm->vq->avail + 2);

    qtest_writew(nsm->qts, nsm->vq->avail + 4 + 2 * (index % nsm->vq->size),
                 head);
    qtest_writew(nsm->qts, nsm->vq->avail + 2, index + 1);
}

static void post_request(NSM *nsm)
{
    uint64_t buffer = guest_alloc(&nsm->alloc, PAGE);

    qtest_memwrite(nsm->qts, buffer, REQUEST, strlen(REQUEST));
    post(nsm, buffer, strlen(REQUEST), false);
}

static void post_response(NSM *nsm)
{
    nsm->response = guest_alloc(&nsm->alloc, RESPONSE_SIZE);
    post(nsm, nsm->response, RESPONSE_SIZE, true);
}

/* Notify; the device is done when the write is, and has used that many */
static void notify(NSM *nsm, uint16_t used)
{
    QVirtioDevice *vdev = &nsm->mmio.vdev;

    vdev->bus->virtqueue_kick(vdev, nsm->vq);
    g_assert_cmphex(vdev->bus->get_status(vdev) & VIRTIO_CONFIG_S_NEEDS_RESET,
                    ==, 0);
    g_assert_cmpuint(qtest_readw(nsm->qts, nsm->vq->used + 2), ==, used);
    g_assert_cmphex(qtest_readl(nsm->qts,
                                TRANSPORT + VIRTIO_MMIO_INTERRUPT_STATUS),
                    ==, used ? VIRTIO_MMIO_INT_VRING : 0);
}

static void check_response(NSM *nsm)
{
    char text[sizeof(RESPONSE) - 1];
    uint32_t head, length;

    g_assert_true(qvirtqueue_get_buf(nsm->qts, nsm->vq, &head, &length));
    g_assert_cmpuint(head, ==, 0);
    g_assert_cmpuint(length, ==, 0);
    g_assert_true(qvirtqueue_get_buf(nsm->qts, nsm->vq, &head, &length));
    g_assert_cmpuint(head, ==, 1);
    g_assert_cmpuint(length, >, sizeof(text));
    qtest_memread(nsm->qts, nsm->response, text, sizeof(text));
    g_assert_cmpmem(text, sizeof(text), RESPONSE, strlen(RESPONSE));
}

static void test_one_by_one(void)
{
    NSM nsm = { 0 };

    start(&nsm);
    post_request(&nsm);
    notify(&nsm, 0);
    notify(&nsm, 0);
    post_response(&nsm);
    notify(&nsm, 2);
    check_response(&nsm);
    stop(&nsm);
}

static void test_both(void)
{
    NSM nsm = { 0 };

    start(&nsm);
    post_request(&nsm);
    post_response(&nsm);
    notify(&nsm, 2);
    check_response(&nsm);
    stop(&nsm);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (qtest_has_machine("microvm") &&
        qtest_has_device("virtio-nsm-device")) {
        qtest_add_func("/nitro/nsm/both", test_both);
        qtest_add_func("/nitro/nsm/one-by-one", test_one_by_one);
    }
    return g_test_run();
}
