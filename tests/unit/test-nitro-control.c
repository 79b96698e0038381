/*
 * Unit tests of the hypervisor's end of the control channel
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is the device: it connects to the socket and speaks raw messages.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/sockets.h"
#include "contrib/nitro-hypervisor/control.h"
#include "tests/nitro/fixture.h"

#define START_BODY (sizeof(NitroControlStart) + \
                    sizeof(NitroControlRegion) + 2 * sizeof(uint32_t))

#define BAD_SIZE "message of an impossible size"
#define BAD_BODY "message of an unknown type or a wrong size"

typedef struct Fixture {
    char *dir, *path;
    NhvControl *control;
    int fd;
    GArray *requests;           /* NitroControlHeader */
    unsigned int lost;
    const char *why;            /* reason given last */
    bool hold;                  /* answer later */
} Fixture;

static bool request(void *opaque, const NitroControlHeader *header,
                    const void *body)
{
    Fixture *f = opaque;

    g_array_append_val(f->requests, *header);
    return !f->hold;
}

static void lost(void *opaque, const char *why)
{
    Fixture *f = opaque;

    f->lost++;
    f->why = why;
}

static const NhvControlOps ops = { .request = request, .lost = lost };

static void run(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
        /* until it is idle */
    }
}

static void connect_device(Fixture *f)
{
    f->fd = unix_connect(f->path, &error_abort);
    run();
}

static void setup(Fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("nitro-control-XXXXXX", NULL);
    g_assert_nonnull(f->dir);
    f->path = g_build_filename(f->dir, "control.sock", NULL);
    f->control = nhv_control_new(f->path, &ops, f, &error_abort);
    f->requests = g_array_new(FALSE, FALSE, sizeof(NitroControlHeader));
    connect_device(f);
}

static void teardown(Fixture *f, gconstpointer data)
{
    if (f->fd >= 0) {
        close(f->fd);
    }
    nhv_control_free(f->control);
    g_assert_false(g_file_test(f->path, G_FILE_TEST_EXISTS));
    g_array_unref(f->requests);
    g_assert_cmpint(rmdir(f->dir), ==, 0);
    g_free(f->dir);
    g_free(f->path);
}

static void device_writes(Fixture *f, const void *buf, size_t len)
{
    g_assert_cmpint(send(f->fd, buf, len, MSG_NOSIGNAL), ==, len);
    run();
}

static NitroControlHeader make(uint16_t type, uint32_t seq, size_t body_len)
{
    return (NitroControlHeader) {
        .size = cpu_to_le32(sizeof(NitroControlHeader) + body_len),
        .type = cpu_to_le16(type),
        .seq = cpu_to_le32(seq),
        .slot_uid = cpu_to_le64(0x1122334455667788),
    };
}

static void device_sends(Fixture *f, uint16_t type, uint32_t seq,
                         const void *body, size_t len)
{
    g_autoptr(GByteArray) message = g_byte_array_new();
    NitroControlHeader header = make(type, seq, len);

    g_byte_array_append(message, (void *)&header, sizeof(header));
    g_byte_array_append(message, body, len);
    device_writes(f, message->data, message->len);
}

static void device_reads(Fixture *f, void *buf, size_t len)
{
    g_assert_cmpint(recv(f->fd, buf, len, MSG_DONTWAIT), ==, len);
}

static void expect_reply(Fixture *f, uint16_t type, uint32_t seq, int rc,
                         size_t body_len)
{
    NitroControlHeader header;

    device_reads(f, &header, sizeof(header));
    g_assert_cmpuint(le32_to_cpu(header.size), ==, sizeof(header) + body_len);
    g_assert_cmpuint(le16_to_cpu(header.type), ==, type);
    g_assert_cmpuint(le16_to_cpu(header.flags), ==, NITRO_CONTROL_FLAG_REPLY);
    g_assert_cmpuint(le32_to_cpu(header.seq), ==, seq);
    g_assert_cmpint((int)le32_to_cpu(header.rc), ==, rc);
}

static void greet(Fixture *f)
{
    NitroControlHello hello = { .version = cpu_to_le32(1) };

    device_sends(f, NITRO_CONTROL_HELLO, 1, &hello, sizeof(hello));
    expect_reply(f, NITRO_CONTROL_HELLO, 1, 0, sizeof(hello));
    device_reads(f, &hello, sizeof(hello));
    g_assert_cmpuint(le32_to_cpu(hello.version), ==, NITRO_CONTROL_VERSION);
}

/* The device was disconnected; the next one may come after resume */
static void expect_lost(Fixture *f, const char *why)
{
    char byte;

    g_assert_cmpuint(f->lost, ==, 1);
    g_assert_cmpstr(f->why, ==, why);
    g_assert_cmpint(recv(f->fd, &byte, 1, MSG_DONTWAIT), <=, 0);
    g_assert_cmpint(errno, !=, EAGAIN);
    f->lost = 0;
    close(f->fd);
    nhv_control_resume(f->control);
    connect_device(f);
    f->requests->len = 0;
}

static NitroControlHeader *request_at(Fixture *f, unsigned int i)
{
    g_assert_cmpuint(f->requests->len, >, i);
    return &g_array_index(f->requests, NitroControlHeader, i);
}

static void make_start(uint8_t *body, uint32_t regions, uint32_t vcpus)
{
    NitroControlStart start = {
        .cid = cpu_to_le64(16),
        .nr_regions = cpu_to_le32(regions),
        .nr_vcpus = cpu_to_le32(vcpus),
    };

    memset(body, 0, START_BODY);
    memcpy(body, &start, sizeof(start));
}

static void test_requests(Fixture *f, gconstpointer data)
{
    uint8_t body[START_BODY];

    greet(f);
    make_start(body, 1, 2);
    device_sends(f, NITRO_CONTROL_START, 2, body, sizeof(body));
    device_sends(f, NITRO_CONTROL_STOP, 3, NULL, 0);
    g_assert_cmpuint(f->requests->len, ==, 2);
    g_assert_cmpuint(request_at(f, 0)->type, ==, NITRO_CONTROL_START);
    g_assert_cmphex(request_at(f, 1)->slot_uid, ==, 0x1122334455667788);

    nhv_control_reply(f->control, request_at(f, 1), 0);
    nhv_control_reply(f->control, request_at(f, 0), -EEXIST);
    expect_reply(f, NITRO_CONTROL_STOP, 3, 0, 0);
    expect_reply(f, NITRO_CONTROL_START, 2, -EEXIST, 0);
}

static void test_pieces(Fixture *f, gconstpointer data)
{
    uint8_t body[START_BODY];
    NitroControlHeader header = make(NITRO_CONTROL_START, 9, sizeof(body));
    unsigned int i;

    greet(f);
    make_start(body, 1, 2);
    for (i = 0; i < sizeof(header); i++) {
        device_writes(f, (uint8_t *)&header + i, 1);
    }
    for (i = 0; i < sizeof(body); i++) {
        g_assert_cmpuint(f->requests->len, ==, 0);
        device_writes(f, body + i, 1);
    }
    g_assert_cmpuint(f->requests->len, ==, 1);
}

static void test_hold(Fixture *f, gconstpointer data)
{
    NitroControlHeader two[2] = {
        make(NITRO_CONTROL_STOP, 2, 0), make(NITRO_CONTROL_FREE, 3, 0),
    };

    greet(f);
    f->hold = true;
    device_writes(f, two, sizeof(two));
    g_assert_cmpuint(f->requests->len, ==, 1);
    device_sends(f, NITRO_CONTROL_RESET, 4, NULL, 0);
    g_assert_cmpuint(f->requests->len, ==, 1);

    nhv_control_reply(f->control, request_at(f, 0), 0);
    nhv_control_continue(f->control);
    g_assert_cmpuint(f->requests->len, ==, 2);
    g_assert_cmpuint(request_at(f, 1)->type, ==, NITRO_CONTROL_FREE);
    f->hold = false;
    nhv_control_continue(f->control);
    run();
    g_assert_cmpuint(f->requests->len, ==, 3);

    /* The end of the device is noticed after the hold */
    f->hold = true;
    device_sends(f, NITRO_CONTROL_STOP, 5, NULL, 0);
    shutdown(f->fd, SHUT_WR);
    run();
    g_assert_cmpuint(f->lost, ==, 0);
    nhv_control_continue(f->control);
    run();
    g_assert_cmpuint(f->lost, ==, 1);
}

static void test_exited(Fixture *f, gconstpointer data)
{
    NitroControlHeader header;
    NitroControlExited body;

    greet(f);
    nhv_control_exited(f->control, 77, NITRO_CONTROL_CAUSE_SIGNAL, 9);
    device_reads(f, &header, sizeof(header));
    device_reads(f, &body, sizeof(body));
    g_assert_cmpuint(le16_to_cpu(header.type), ==, NITRO_CONTROL_EXITED);
    g_assert_cmpuint(le16_to_cpu(header.flags), ==, 0);
    g_assert_cmpuint(le64_to_cpu(header.slot_uid), ==, 77);
    g_assert_cmpuint(le32_to_cpu(body.cause), ==, NITRO_CONTROL_CAUSE_SIGNAL);
    g_assert_cmpuint(le32_to_cpu(body.status), ==, 9);
}

static void test_bad_greetings(Fixture *f, gconstpointer data)
{
    NitroControlHello hello = { .version = cpu_to_le32(2) };

    device_sends(f, NITRO_CONTROL_HELLO, 1, &hello, sizeof(hello));
    expect_lost(f, "the device speaks another version; use device and "
                "hypervisor of the same build");
    device_sends(f, NITRO_CONTROL_RESET, 1, NULL, 0);
    g_assert_cmpuint(f->requests->len, ==, 0);
    expect_lost(f, "request before HELLO");
    greet(f);
    hello.version = cpu_to_le32(1);
    device_sends(f, NITRO_CONTROL_HELLO, 2, &hello, sizeof(hello));
    expect_lost(f, "the device said HELLO twice");
    greet(f);
}

static void test_bad_messages(Fixture *f, gconstpointer data)
{
    static const struct {
        uint16_t type;
        uint32_t size;          /* of the whole message, as claimed */
        uint16_t flags;
        const char *what, *why;
    } row[] = {
        { NITRO_CONTROL_STOP, 0, 0, "empty", BAD_SIZE },
        { NITRO_CONTROL_STOP, 23, 0, "shorter than a header", BAD_SIZE },
        { NITRO_CONTROL_STOP, 65537, 0, "too long", BAD_SIZE },
        { NITRO_CONTROL_STOP, UINT32_MAX, 0, "far too long", BAD_SIZE },
        { NITRO_CONTROL_STOP, 32, 0, "body where none belongs", BAD_BODY },
        { NITRO_CONTROL_START, 24, 0, "no body", BAD_BODY },
        { NITRO_CONTROL_EXITED, 32, 0, "event from the device", BAD_BODY },
        { 0, 24, 0, "type 0", BAD_BODY },
        { 6, 24, 0, "unknown type", BAD_BODY },
        { NITRO_CONTROL_STOP, 24, NITRO_CONTROL_FLAG_REPLY, "a reply",
          "the device sent a reply" },
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(row); i++) {
        NitroControlHeader message[2] = { 0 };

        g_test_message("%s", row[i].what);
        greet(f);
        message[0] = make(row[i].type, 2, 0);
        message[0].size = cpu_to_le32(row[i].size);
        message[0].flags = cpu_to_le16(row[i].flags);
        device_writes(f, message, sizeof(message));
        g_assert_cmpuint(f->requests->len, ==, 0);
        expect_lost(f, row[i].why);
    }
    greet(f);
}

static void test_bad_starts(Fixture *f, gconstpointer data)
{
    static const struct {
        uint32_t regions, vcpus;
    } row[] = {
        { 0, 2 }, { 1, 0 }, { 2, 2 }, { 1, 1 }, { 1, 3 },
        { NITRO_CONTROL_MAX_REGIONS + 1, 2 },
        { 1, NITRO_CONTROL_MAX_VCPUS + 1 },
        { UINT32_MAX, UINT32_MAX }, { 0x10000001, 2 }, { 1, 0x40000002 },
    };
    uint8_t body[START_BODY];
    int i;

    for (i = 0; i < ARRAY_SIZE(row); i++) {
        greet(f);
        make_start(body, row[i].regions, row[i].vcpus);
        device_sends(f, NITRO_CONTROL_START, 2, body, sizeof(body));
        g_assert_cmpuint(f->requests->len, ==, 0);
        expect_lost(f, BAD_BODY);
    }
}

/* A device that never reads is disconnected, not waited for */
static void test_deaf_device(Fixture *f, gconstpointer data)
{
    NitroControlHeader header = { .type = NITRO_CONTROL_STOP };
    int i;

    greet(f);
    for (i = 0; i < 1000000 && !f->lost; i++) {
        nhv_control_reply(f->control, &header, 0);
        if (i % 1000 == 0) {
            run();
        }
    }
    g_assert_cmpuint(f->lost, ==, 1);
    /* Nobody is there: replies go nowhere */
    nhv_control_reply(f->control, &header, 0);
}

static void test_one_at_a_time(Fixture *f, gconstpointer data)
{
    int first = f->fd;

    greet(f);
    connect_device(f);
    device_sends(f, NITRO_CONTROL_RESET, 1, NULL, 0);
    g_assert_cmpuint(f->requests->len, ==, 0);
    close(first);
    run();
    g_assert_cmpuint(f->lost, ==, 1);
    nhv_control_resume(f->control);
    run();
    /* Its turn: it has not said HELLO */
    g_assert_cmpuint(f->lost, ==, 2);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "/nitro/control/requests", test_requests },
        { "/nitro/control/pieces", test_pieces },
        { "/nitro/control/hold", test_hold },
        { "/nitro/control/exited", test_exited },
        { "/nitro/control/bad-greetings", test_bad_greetings },
        { "/nitro/control/bad-messages", test_bad_messages },
        { "/nitro/control/bad-starts", test_bad_starts },
        { "/nitro/control/deaf-device", test_deaf_device },
        { "/nitro/control/one-at-a-time", test_one_at_a_time },
    };

    g_test_init(&argc, &argv, NULL);
    ADD_FIXTURE_TESTS(tests, Fixture);
    return g_test_run();
}
