/*
 * The Nitro Secure Module: the two buffers of a request, registers it is given
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A request and room for its response are two descriptor chains.  The device
 * may look at the queue when only the first is there.
 *
 * Machine virt does not measure what it boots: there the registers are
 * properties of the device.
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
#define PCR_LEN 48
#define RESPONSE_SIZE 0x3000
/* CBOR: text of 11 bytes; and a map of one entry that has it as its key */
#define REQUEST "\x6b" "DescribeNSM"
#define RESPONSE "\xa1" REQUEST

/* CBOR: a map of one entry, whose value is a map of one or no entry */
#define DESCRIBE_PCR(index) "\xa1\x6b" "DescribePCR\xa1\x65index" index
#define ATTESTATION "\xa1\x6b" "Attestation\xa0"
#define EXTEND_PCR(index) \
    "\xa1\x69" "ExtendPCR\xa2\x65index" index "\x64" "data\x41x"
/* What replies have inside */
#define PCR_DATA "\x64" "data\x58\x30"
#define LOCKED "\x64lock\xf5"
#define UNLOCKED "\x64lock\xf4"

typedef struct Machine {
    const char *arch;
    const char *name;
    const char *options;
    uint64_t transport;         /* the first one */
    uint64_t ram;
} Machine;

static const Machine machines[] = {
    { "x86_64", "microvm", "-M microvm -global apic.vapic=off",
      0xfeb00000, 0 },
    { "aarch64", "virt", "-M virt -cpu max", 0x0a000000, 1ull << 30 },
};

typedef struct NSM {
    const Machine *machine;
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

static const Machine *find_machine(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(machines); i++) {
        if (g_str_equal(machines[i].arch, qtest_get_arch())) {
            return &machines[i];
        }
    }
    g_assert_not_reached();
}

static void write_register(NSM *nsm, unsigned offset, uint32_t value)
{
    qtest_writel(nsm->qts, nsm->machine->transport + offset, value);
}

static void write_address(NSM *nsm, unsigned low, uint64_t address)
{
    write_register(nsm, low, address);
    write_register(nsm, low + 4, address >> 32);
}

/* What libqos leaves out of a queue: it knows the legacy registers alone */
static void start_queue(NSM *nsm)
{
    nsm->vq = qvirtqueue_setup(&nsm->mmio.vdev, &nsm->alloc, 0);
    write_address(nsm, VIRTIO_MMIO_QUEUE_DESC_LOW, nsm->vq->desc);
    write_address(nsm, VIRTIO_MMIO_QUEUE_AVAIL_LOW, nsm->vq->avail);
    write_address(nsm, VIRTIO_MMIO_QUEUE_USED_LOW, nsm->vq->used);
    write_register(nsm, VIRTIO_MMIO_QUEUE_READY, 1);
}

static void start_with(NSM *nsm, const char *properties)
{
    QVirtioDevice *vdev = &nsm->mmio.vdev;
    uint64_t ram;

    nsm->machine = find_machine();
    ram = nsm->machine->ram;
    nsm->firmware = make_firmware();
    nsm->qts = qtest_initf("%s -m 64M -nodefaults -bios %s "
                           "-global virtio-mmio.force-legacy=off "
                           "-device virtio-nsm-device,bus=virtio-mmio-bus.0%s",
                           nsm->machine->options, nsm->firmware, properties);
    alloc_init(&nsm->alloc, ALLOC_NO_FLAGS, ram + MIB, ram + 64 * MIB, PAGE);
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

static void start(NSM *nsm)
{
    start_with(nsm, "");
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

static void post_bytes(NSM *nsm, const char *request, size_t len)
{
    uint64_t buffer = guest_alloc(&nsm->alloc, PAGE);

    qtest_memwrite(nsm->qts, buffer, request, len);
    post(nsm, buffer, len, false);
}

static void post_request(NSM *nsm)
{
    post_bytes(nsm, REQUEST, strlen(REQUEST));
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
                                nsm->machine->transport +
                                VIRTIO_MMIO_INTERRUPT_STATUS),
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

/* The reply to the only request of this machine's life */
static void ask(const char *properties, const char *request, size_t len,
                uint8_t reply[RESPONSE_SIZE])
{
    NSM nsm = { 0 };

    start_with(&nsm, properties);
    post_bytes(&nsm, request, len);
    post_response(&nsm);
    notify(&nsm, 2);
    qtest_memread(nsm.qts, nsm.response, reply, RESPONSE_SIZE);
    stop(&nsm);
}

#define ASK(properties, request, reply) \
    ask(properties, request, sizeof(request) - 1, reply)

static bool contains(const uint8_t *reply, const void *bytes, size_t len)
{
    return memmem(reply, RESPONSE_SIZE, bytes, len);
}

static void check_pcr(const uint8_t *reply, uint8_t byte, bool locked)
{
    uint8_t want[sizeof(PCR_DATA) - 1 + PCR_LEN] = PCR_DATA;
    const char *lock = locked ? LOCKED : UNLOCKED;

    memset(want + sizeof(PCR_DATA) - 1, byte, PCR_LEN);
    g_assert_true(contains(reply, want, sizeof(want)));
    g_assert_true(contains(reply, lock, strlen(lock)));
}

/* ",pcrN=" with the same byte all over */
static char *property(unsigned index, uint8_t byte)
{
    GString *text = g_string_new("");

    g_string_append_printf(text, ",pcr%u=", index);
    for (unsigned i = 0; i < PCR_LEN; i++) {
        g_string_append_printf(text, i % 2 ? "%02x" : "%02X", byte);
    }
    return g_string_free(text, false);
}

static void test_given(void)
{
    g_autofree uint8_t *reply = g_malloc(RESPONSE_SIZE);
    g_autofree char *pcr0 = property(0, 0xab);
    g_autofree char *pcr8 = property(8, 0x12);
    g_autofree char *pcr4 = property(4, 0xff);
    g_autofree char *all = g_strconcat(pcr0, pcr8, pcr4, NULL);

    ASK(all, DESCRIBE_PCR("\x00"), reply);
    check_pcr(reply, 0xab, true);
    ASK(all, DESCRIBE_PCR("\x08"), reply);
    check_pcr(reply, 0x12, true);
    ASK(all, DESCRIBE_PCR("\x04"), reply);
    check_pcr(reply, 0xff, true);
    /* The hypervisor's without a value, and the guest's */
    ASK(all, DESCRIBE_PCR("\x01"), reply);
    check_pcr(reply, 0, true);
    ASK(all, DESCRIBE_PCR("\x0f"), reply);
    check_pcr(reply, 0, true);
    ASK(all, DESCRIBE_PCR("\x10"), reply);
    check_pcr(reply, 0, false);
}

static void test_not_given(void)
{
    g_autofree uint8_t *reply = g_malloc(RESPONSE_SIZE);

    ASK("", DESCRIBE_PCR("\x00"), reply);
    check_pcr(reply, 0, false);
}

/* An enclave cannot make itself another one */
static void test_extend(void)
{
    g_autofree uint8_t *reply = g_malloc(RESPONSE_SIZE);
    g_autofree char *pcr0 = property(0, 0xab);
    static const char refused[] = "ReadOnlyIndex";

    ASK(pcr0, EXTEND_PCR("\x00"), reply);
    g_assert_true(contains(reply, refused, strlen(refused)));
    ASK(pcr0, EXTEND_PCR("\x0f"), reply);
    g_assert_true(contains(reply, refused, strlen(refused)));
    ASK(pcr0, EXTEND_PCR("\x10"), reply);
    g_assert_false(contains(reply, refused, strlen(refused)));
}

static void test_attestation(void)
{
    g_autofree uint8_t *reply = g_malloc(RESPONSE_SIZE);
    g_autofree char *pcr2 = property(2, 0xcd);
    uint8_t entry[3 + PCR_LEN] = "\x02\x58\x30";

    memset(entry + 3, 0xcd, PCR_LEN);
    ASK(pcr2, ATTESTATION, reply);
    g_assert_true(contains(reply, entry, sizeof(entry)));
    ASK("", ATTESTATION, reply);
    g_assert_false(contains(reply, "\x02\x58\x30", 3));
}

static void test_refused(void)
{
    g_autofree char *firmware = make_firmware();
    static const struct {
        const char *property, *message;
    } rows[] = {
        { ",pcr0=", "a PCR has 96 hexadecimal digits, '' is none" },
        { ",pcr3=abc", "a PCR has 96 hexadecimal digits, 'abc' is none" },
        { ",pcr5=00", "Property 'virtio-nsm-device.pcr5' not found" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *cmd = g_strdup_printf(
            "%s -accel qtest %s -display none -nodefaults -bios %s "
            "-device virtio-nsm-device%s", g_getenv("QTEST_QEMU_BINARY"),
            find_machine()->options, firmware, rows[i].property);
        g_autofree char *err = NULL;
        int status;

        g_assert_true(g_spawn_command_line_sync(cmd, NULL, &err, &status,
                                                NULL));
        g_assert_cmpint(status, !=, 0);
        g_test_message("%s", err);
        g_assert_nonnull(strstr(err, rows[i].message));
    }
    g_unlink(firmware);
}

/* The properties can be read back, and are fixed then */
static void test_properties(void)
{
    g_autofree char *firmware = make_firmware();
    g_autofree char *pcr0 = property(0, 0xab);
    g_autofree char *low = g_ascii_strdown(pcr0 + strlen(",pcr0="), -1);
    QTestState *qts = qtest_initf("%s -nodefaults -bios %s -device "
                                  "virtio-nsm-device,id=nsm%s",
                                  find_machine()->options, firmware, pcr0);
    QDict *response = qtest_qmp(qts, "{'execute': 'qom-get', 'arguments': {"
                                "'path': '/machine/peripheral/nsm', "
                                "'property': 'pcr0'}}");

    g_assert_cmpstr(qdict_get_str(response, "return"), ==, low);
    qobject_unref(response);
    response = qtest_qmp(qts, "{'execute': 'qom-set', 'arguments': {"
                         "'path': '/machine/peripheral/nsm', "
                         "'property': 'pcr0', 'value': %s}}", low);
    g_assert_true(qdict_haskey(response, "error"));
    qobject_unref(response);
    qtest_quit(qts);
    g_unlink(firmware);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(void);
    } tests[] = {
        { "/nitro/nsm/both", test_both },
        { "/nitro/nsm/one-by-one", test_one_by_one },
        { "/nitro/nsm/given", test_given },
        { "/nitro/nsm/not-given", test_not_given },
        { "/nitro/nsm/extend", test_extend },
        { "/nitro/nsm/attestation", test_attestation },
        { "/nitro/nsm/refused", test_refused },
        { "/nitro/nsm/properties", test_properties },
    };

    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_device("virtio-nsm-device") ||
        !qtest_has_machine(find_machine()->name)) {
        g_test_skip("no such device or machine in this build");
        return g_test_run();
    }
    for (unsigned i = 0; i < ARRAY_SIZE(tests); i++) {
        qtest_add_func(tests[i].path, tests[i].test);
    }
    return g_test_run();
}
