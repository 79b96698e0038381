/*
 * nitro-enclaves-pci: hypervisors that vanish, hang or talk nonsense
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/socket.h>
#include "qemu/bswap.h"
#include "nitro-enclaves-util.h"

#define REPLY NITRO_CONTROL_FLAG_REPLY

/* The device is in order and finds a new hypervisor */
static void expect_recovery(NitroVM *vm, unsigned n)
{
    uint64_t uid;

    hv_accept_and_greet(vm);
    uid = nitro_vm_running(vm, n, NULL);
    nitro_vm_end(vm, NITRO_PCI_CMD_FREE, uid);
}

static void test_no_hypervisor(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_slot(vm, 1);

    close(vm->listener);
    hv_close(vm);
    while (nitro_vm_connected(vm)) {
        g_usleep(200);
    }
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_START, uid, 0, 0), ==, -EIO);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_START, uid, 0, 0), ==, -EIO);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_STOP, uid, 0, 0), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, uid, 0, 0), ==, 0);
    vm->listener = open("/dev/null", O_RDONLY | O_CLOEXEC);
    nitro_vm_free(vm);
}

static void test_disconnect(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t idle = nitro_vm_slot(vm, 1);
    uint64_t a = nitro_vm_running(vm, 2, NULL);
    uint64_t b = nitro_vm_running(vm, 3, NULL);
    uint16_t replies = nitro_vm_replies(vm);

    hv_close(vm);
    nitro_vm_wait_events(vm, 2);
    g_assert_cmpuint(nitro_vm_irqs(vm, 1), >=, 1);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, a, 0, 0).state,
                     ==, NITRO_SLOT_STOPPED);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, b, 0, 0).state,
                     ==, NITRO_SLOT_STOPPED);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, idle, 0,
                                      0).state, ==, NITRO_SLOT_INIT);
    /* nobody is asked for what a hypervisor before took along */
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_STOP, a, 0, 0), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, a, 0, 0), ==, 0);
    hv_accept_and_greet(vm);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, b, 0, 0), ==, 0);
    hv_expect_silence(vm);
    nitro_vm_free(vm);
}

/* The connection ends while @command is in progress */
static NitroTestReply lose_during(NitroVM *vm, uint32_t command, uint16_t type,
                                  uint64_t uid)
{
    const uint64_t args[] = { uid, 0, 0 };
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    uint16_t replies = nitro_vm_replies(vm);
    NitroTestReply r;

    nitro_vm_submit(vm, command, args, 3);
    hv_expect(vm, type, m);
    hv_close(vm);
    r = nitro_vm_take_reply(vm);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies + 1);
    return r;
}

static void test_disconnect_during_start(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_slot(vm, 1);
    NitroTestReply r = lose_during(vm, NITRO_PCI_CMD_START,
                                   NITRO_CONTROL_START, uid);

    g_assert_cmpint(r.rc, ==, -EIO);
    g_assert_cmpuint(r.enclave_cid, ==, 0);
    g_assert_cmpuint(nitro_vm_events(vm), ==, 0);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0,
                                      0).state, ==, NITRO_SLOT_INIT);
    expect_recovery(vm, 2);
    nitro_vm_free(vm);
}

/* A failure would cost the parent its memory, and the enclave is gone */
static void test_disconnect_during_stop(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_running(vm, 1, NULL);

    g_assert_cmpint(lose_during(vm, NITRO_PCI_CMD_STOP, NITRO_CONTROL_STOP,
                                uid).rc, ==, 0);
    g_assert_cmpuint(nitro_vm_command(vm, NITRO_PCI_CMD_INFO, uid, 0,
                                      0).state, ==, NITRO_SLOT_STOPPED);
    g_assert_cmpuint(nitro_vm_events(vm), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, uid, 0, 0), ==, 0);
    expect_recovery(vm, 1);
    nitro_vm_free(vm);
}

static void test_disconnect_during_free(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_running(vm, 1, NULL);

    g_assert_cmpint(lose_during(vm, NITRO_PCI_CMD_FREE, NITRO_CONTROL_FREE,
                                uid).rc, ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_INFO, uid, 0, 0), ==,
                    -ENOENT);
    expect_recovery(vm, 1);
    nitro_vm_free(vm);
}

static void test_disconnect_during_disable(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);

    nitro_vm_running(vm, 1, NULL);
    g_assert_cmpuint(nitro_vm_enable(vm, 0), !=, 0);
    hv_expect(vm, NITRO_CONTROL_RESET, m);
    hv_close(vm);
    nitro_vm_wait_enable(vm, 0);
    g_assert_cmpuint(nitro_vm_irqs(vm, 0) + nitro_vm_irqs(vm, 1), ==, 0);
    nitro_vm_handshake(vm);
    expect_recovery(vm, 1);
    nitro_vm_free(vm);
}

/* Answered before the driver gives up, and never after */
static void test_hang(void)
{
    NitroVM *vm = nitro_vm_new("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    uint64_t uid = nitro_vm_slot(vm, 1);
    uint16_t replies = nitro_vm_replies(vm);

    nitro_vm_submit_start(vm, uid, 0, m);
    qtest_clock_step(vm->qts, 99 * NANOSECONDS_PER_SECOND);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies);
    qtest_clock_step(vm->qts, 2 * NANOSECONDS_PER_SECOND);
    g_assert_cmpint(nitro_vm_take_reply(vm).rc, ==, -EIO);
    hv_expect_eof(vm);
    g_assert_cmpuint(nitro_vm_replies(vm), ==, replies + 1);
    expect_recovery(vm, 2);
    nitro_vm_free(vm);
}

static void test_hang_short(void)
{
    NitroVM *vm = nitro_vm_new(",reply-timeout-ms=50");
    uint64_t uid = nitro_vm_running(vm, 1, NULL);
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);

    g_assert_cmpuint(nitro_vm_enable(vm, 0), !=, 0);
    hv_expect(vm, NITRO_CONTROL_RESET, m);
    qtest_clock_step(vm->qts, 51 * 1000 * 1000);
    nitro_vm_wait_enable(vm, 0);
    hv_expect_eof(vm);
    nitro_vm_handshake(vm);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, uid, 0, 0), ==,
                    -ENOENT);
    expect_recovery(vm, 1);
    nitro_vm_free(vm);
}

/* Does not answer HELLO: found out, not waited for */
static void test_silent_from_the_start(void)
{
    NitroVM *vm = nitro_vm_boot("");
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);

    nitro_vm_msix_enable(vm);
    nitro_vm_handshake(vm);
    hv_accept(vm);
    hv_expect(vm, NITRO_CONTROL_HELLO, m);
    nitro_vm_slot(vm, 1);
    qtest_clock_step(vm->qts, 101 * NANOSECONDS_PER_SECOND);
    hv_expect_eof(vm);
    expect_recovery(vm, 2);
    nitro_vm_free(vm);
}

/* Read and forget until the device closes the connection */
static void drain(NitroVM *vm)
{
    uint8_t buf[4096];

    while (RETRY_ON_EINTR(recv(vm->hv, buf, sizeof(buf), 0)) > 0) {
        /* the device ends it, or the test's time does */
    }
    hv_close(vm);
}

/*
 * Answers nothing, while the guest starts and disables as it likes: there is
 * a bound for what waits, and it is met once in this many rounds.
 */
static void test_never_answers(void)
{
    NitroVM *vm = nitro_vm_new("");

    for (int i = 0; i < 200; i++) {
        uint64_t args[3] = { 0 };

        args[0] = nitro_vm_slot(vm, 1);
        nitro_vm_submit(vm, NITRO_PCI_CMD_START, args, 3);
        nitro_vm_enable(vm, 0);
        g_assert_cmpuint(nitro_vm_enable(vm, 1), ==, 1);
        nitro_vm_irqs(vm, 0);
    }
    drain(vm);
    hv_accept(vm);
    hv_close(vm);
    nitro_vm_enable(vm, 0);
    nitro_vm_wait_enable(vm, 0);
    nitro_vm_handshake(vm);
    expect_recovery(vm, 1);
    nitro_vm_free(vm);
}

typedef struct BadMessage {
    const char *name;
    uint32_t size;
    uint16_t type;
    uint16_t flags;
    uint32_t seq;
    int32_t rc;
    uint64_t uid;
    uint32_t body;
} BadMessage;

static const BadMessage bad_messages[] = {
    { "size 0", 0, NITRO_CONTROL_START, REPLY, 2 },
    { "size below the header", 23, NITRO_CONTROL_START, REPLY, 2 },
    { "size above the type's", 25, NITRO_CONTROL_START, REPLY, 2, .body = 1 },
    { "largest size", NITRO_CONTROL_MAX_SIZE, NITRO_CONTROL_START, REPLY, 2 },
    { "size 2^32 - 1", UINT32_MAX, NITRO_CONTROL_EXITED, 0, 0 },
    { "report without body", 24, NITRO_CONTROL_EXITED, 0, 0 },
    { "report with long body", 40, NITRO_CONTROL_EXITED, 0, 0, .body = 16 },
    { "report as a reply", 32, NITRO_CONTROL_EXITED, REPLY, 2, .body = 8 },
    { "type 0", 24, 0, REPLY, 2 },
    { "unknown type", 24, 99, REPLY, 2 },
    { "type 65535", 24, 65535, REPLY, 2 },
    { "a request", 24, NITRO_CONTROL_START, 0, 2 },
    { "a RESET of its own", 24, NITRO_CONTROL_RESET, 0, 2 },
    { "HELLO as a request", 32, NITRO_CONTROL_HELLO, 0, 1, .body = 8 },
    { "HELLO again", 32, NITRO_CONTROL_HELLO, REPLY, 1, .body = 8 },
    { "reply to nothing", 24, NITRO_CONTROL_START, REPLY, 77 },
    { "reply to 0", 24, NITRO_CONTROL_STOP, REPLY, 0 },
    { "reply with a wrong type", 24, NITRO_CONTROL_FREE, REPLY, 2, 0, 1 },
    { "reply for another slot", 24, NITRO_CONTROL_START, REPLY, 2, 0, 1 },
    { "positive result", 24, NITRO_CONTROL_START, REPLY, 2, 1 },
    { "result below -4095", 24, NITRO_CONTROL_START, REPLY, 2, -4096 },
    { "smallest result", 24, NITRO_CONTROL_START, REPLY, 2, INT32_MIN },
};

/* Each of them while an enclave runs and a START (seq 3) is in progress */
static void test_bad_messages(void)
{
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    const uint8_t body[32] = { 0 };
    NitroVM *vm = nitro_vm_new("");

    for (int i = 0; i < ARRAY_SIZE(bad_messages); i++) {
        const BadMessage *b = &bad_messages[i];
        uint16_t events = nitro_vm_events(vm);
        uint64_t a, uid;

        g_test_message("%s", b->name);
        a = nitro_vm_running(vm, 1, NULL);
        uid = nitro_vm_slot(vm, 2);
        nitro_vm_submit_start(vm, uid, 0, m);
        g_assert_cmpuint(m->h.seq, ==, 3);
        hv_message(vm, b->size, b->type, b->flags,
                   b->seq == 2 ? m->h.seq : b->seq, b->rc,
                   b->uid ? b->uid : uid, body, b->body);
        hv_expect_eof(vm);
        g_assert_cmpint(nitro_vm_take_reply(vm).rc, ==, -EIO);
        nitro_vm_wait_events(vm, events + 1);
        g_assert_cmpuint(nitro_vm_irqs(vm, 1), ==, 1);
        g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, a, 0, 0), ==, 0);
        g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_FREE, uid, 0, 0), ==,
                        0);
        hv_accept_and_greet(vm);
    }
    nitro_vm_free(vm);
}

static const BadMessage bad_greetings[] = {
    { "another version", 32, NITRO_CONTROL_HELLO, REPLY, 1, .body = 2 },
    { "version 0", 32, NITRO_CONTROL_HELLO, REPLY, 1, .body = 0 },
    { "an error", 32, NITRO_CONTROL_HELLO, REPLY, 1, -22, .body = 1 },
    { "another seq", 32, NITRO_CONTROL_HELLO, REPLY, 2, .body = 1 },
    { "a report first", 32, NITRO_CONTROL_EXITED, 0, 0, .body = 1 },
    { "a reply first", 24, NITRO_CONTROL_RESET, REPLY, 1 },
};

static void test_bad_greetings(void)
{
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    NitroVM *vm = nitro_vm_boot("");

    nitro_vm_msix_enable(vm);
    nitro_vm_handshake(vm);
    for (int i = 0; i < ARRAY_SIZE(bad_greetings); i++) {
        const BadMessage *b = &bad_greetings[i];
        NitroControlHello hello = { .version = cpu_to_le32(b->body) };

        g_test_message("%s", b->name);
        hv_accept(vm);
        hv_expect(vm, NITRO_CONTROL_HELLO, m);
        hv_message(vm, b->size, b->type, b->flags, b->seq, b->rc, b->uid,
                   &hello, b->size - sizeof(NitroControlHeader));
        hv_expect_eof(vm);
        g_assert_false(nitro_vm_connected(vm));
    }
    expect_recovery(vm, 1);
    nitro_vm_free(vm);
}

static void test_noise(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    NitroVM *vm = nitro_vm_new("");

    for (int i = 0; i < 50; i++) {
        uint32_t noise[16];

        for (int j = 0; j < ARRAY_SIZE(noise); j++) {
            noise[j] = g_rand_int(rand);
        }
        hv_send(vm, noise, sizeof(noise));
        hv_expect_eof(vm);
        hv_accept_and_greet(vm);
    }
    hv_close(vm);
    expect_recovery(vm, 1);
    nitro_vm_free(vm);
}

/* A message ends anywhere; what was begun is forgotten with the connection */
static void test_truncated(void)
{
    NitroVM *vm = nitro_vm_new("");
    NitroControlHeader h = {
        .size = cpu_to_le32(32),
        .type = cpu_to_le16(NITRO_CONTROL_EXITED),
    };

    for (size_t len = 1; len <= sizeof(h); len++) {
        hv_send(vm, &h, len);
        hv_close(vm);
        hv_accept_and_greet(vm);
    }
    hv_close(vm);
    expect_recovery(vm, 1);
    nitro_vm_free(vm);
}

static void test_byte_by_byte(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_running(vm, 1, NULL);
    struct {
        NitroControlHeader h;
        NitroControlExited e;
    } m = {
        .h = {
            .size = cpu_to_le32(sizeof(m)),
            .type = cpu_to_le16(NITRO_CONTROL_EXITED),
            .slot_uid = cpu_to_le64(uid),
        },
    };

    for (size_t i = 0; i < sizeof(m); i++) {
        g_assert_cmpuint(nitro_vm_events(vm), ==, 0);
        hv_send(vm, (uint8_t *)&m + i, 1);
        hv_expect_silence(vm);
    }
    nitro_vm_wait_events(vm, 1);
    nitro_vm_free(vm);
}

static void test_many_at_once(void)
{
    NitroVM *vm = nitro_vm_new("");
    uint64_t uid = nitro_vm_running(vm, 1, NULL);

    for (int i = 0; i < 2000; i++) {
        hv_exited(vm, uid + 1 + i);
    }
    hv_exited(vm, uid);
    nitro_vm_wait_events(vm, 1);
    g_assert_cmpuint(nitro_vm_irqs(vm, 1), ==, 1);
    nitro_vm_free(vm);
}

static void test_null_chardev(void)
{
    /* one that is never connected */
    QTestState *qts = qtest_initf("%s -nodefaults -chardev null,id=ne "
                                  "-device nitro-enclaves-pci,chardev=ne",
                                  nitro_test_machine());

    qtest_clock_step(qts, 200 * NANOSECONDS_PER_SECOND);
    qtest_system_reset(qts);
    qtest_quit(qts);
}

static void test_unplug(void)
{
    NitroVM *vm = nitro_vm_boot_pluggable();
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);

    if (vm->arm) {
        g_test_skip("a guest has to let go of the device");
        hv_accept(vm);
        nitro_vm_free(vm);
        return;
    }
    hv_accept_and_greet(vm);
    qtest_qmp_device_del_send(vm->qts, "ne0");
    qtest_system_reset_nowait(vm->qts);
    qtest_qmp_eventwait(vm->qts, "DEVICE_DELETED");
    /* its enclaves end with the connection */
    hv_expect_eof(vm);
    /* the chardev is there for another device, which says HELLO */
    hv_accept(vm);
    qtest_qmp_device_add(vm->qts, "nitro-enclaves-pci", "ne0",
                         "{'chardev': 'ne', 'bus': 'rp'}");
    hv_expect(vm, NITRO_CONTROL_HELLO, m);
    nitro_vm_free(vm);
}

void nitro_enclaves_add_control_tests(void)
{
    static const struct {
        const char *name;
        void (*test)(void);
    } tests[] = {
        { "no-hypervisor", test_no_hypervisor },
        { "disconnect", test_disconnect },
        { "disconnect-during-start", test_disconnect_during_start },
        { "disconnect-during-stop", test_disconnect_during_stop },
        { "disconnect-during-free", test_disconnect_during_free },
        { "disconnect-during-disable", test_disconnect_during_disable },
        { "hang", test_hang },
        { "hang-short", test_hang_short },
        { "silent-from-the-start", test_silent_from_the_start },
        { "never-answers", test_never_answers },
        { "bad-messages", test_bad_messages },
        { "bad-greetings", test_bad_greetings },
        { "noise", test_noise },
        { "truncated", test_truncated },
        { "byte-by-byte", test_byte_by_byte },
        { "many-at-once", test_many_at_once },
        { "unplug", test_unplug },
        { "null-chardev", test_null_chardev },
    };

    for (int i = 0; i < ARRAY_SIZE(tests); i++) {
        g_autofree char *path =
            g_strdup_printf("nitro-enclaves-pci/control/%s", tests[i].name);

        qtest_add_func(path, tests[i].test);
    }
}
