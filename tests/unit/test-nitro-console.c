/*
 * Unit tests of the hypervisor's console service
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is the parent VM: it opens streams to CID 0, port 10000 + CID, and
 * returns credit as a guest does.
 */

#include "qemu/osdep.h"
#include "contrib/nitro-hypervisor/console.h"
#include "nitro-vsock-wire.h"
#include "tests/nitro/fixture.h"

#define CID   16
#define PORT  (NITRO_CONSOLE_PORT_BASE + CID)
#define LOCAL 1234

#define OP(name) VIRTIO_VSOCK_OP_ ## name

typedef struct Fixture {
    NhvSwitch *sw;
    NhvSwitchPort *parent, *enclave;
    NhvConsoleService *service;
    NhvConsole *console;
    uint8_t *text;              /* what the enclave wrote */
    size_t written;
} Fixture;

#define TEXT (3 * NHV_CONSOLE_BACKLOG)

static void nothing(void *opaque)
{
}

static void run_service(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
        /* until it is idle */
    }
}

static void setup(Fixture *f, gconstpointer data)
{
    size_t i;

    f->sw = nhv_switch_new(NHV_SWITCH_MAX_CONNS, NULL, NULL);
    f->parent = nhv_switch_attach(f->sw, NITRO_CID_PARENT, nothing, NULL);
    f->enclave = nhv_switch_attach(f->sw, CID, nothing, NULL);
    f->service = nhv_console_service_new(f->sw);
    f->console = nhv_console_open(f->service, CID);
    f->text = g_malloc(TEXT);
    for (i = 0; i < TEXT; i++) {
        f->text[i] = i * 131 + i / 253;
    }
}

static void teardown(Fixture *f, gconstpointer data)
{
    nhv_console_close(f->console);
    nhv_console_service_free(f->service);
    nhv_switch_detach(f->parent);
    nhv_switch_detach(f->enclave);
    nhv_switch_free(f->sw);
    g_free(f->text);
}

static void enclave_writes(Fixture *f, size_t len)
{
    nhv_console_append(f->console, f->text + f->written, len);
    f->written += len;
}

static void parent_sends(Fixture *f, uint16_t op, uint32_t local,
                         uint32_t port, uint32_t buf_alloc, uint32_t fwd_cnt)
{
    VsockHdr hdr = wire_hdr(op, NITRO_CID_PARENT, local,
                            NITRO_CID_HYPERVISOR, port);

    hdr.buf_alloc = buf_alloc;
    hdr.fwd_cnt = fwd_cnt;
    if (op == OP(SHUTDOWN)) {
        hdr.flags = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
    }
    wire_send(f->parent, hdr, NULL, 0);
    run_service();
}

static void expect(Fixture *f, uint16_t op, uint32_t local)
{
    VsockHdr hdr = wire_receive(f->parent, NULL, 0);

    g_assert_cmpuint(hdr.op, ==, op);
    g_assert_cmpuint(hdr.dst_port, ==, local);
    g_assert_cmpuint(hdr.src_cid, ==, NITRO_CID_HYPERVISOR);
}

static void connect_reader(Fixture *f, uint32_t local, uint32_t buf_alloc)
{
    parent_sends(f, OP(REQUEST), local, PORT, buf_alloc, 0);
    expect(f, OP(RESPONSE), local);
}

/* Fetch what is there; it has to continue the text at @pos */
static size_t take(Fixture *f, size_t pos)
{
    uint8_t buf[4052];
    size_t got = 0;

    while (nhv_switch_pending(f->parent)) {
        VsockHdr hdr = wire_receive(f->parent, buf, sizeof(buf));

        if (hdr.op != OP(RW)) {
            g_assert_cmpuint(hdr.op, ==, OP(SHUTDOWN));
            g_assert_cmpuint(hdr.flags, ==, 3);
            break;
        }
        g_assert_cmpmem(buf, hdr.len, f->text + pos + got, hdr.len);
        got += hdr.len;
    }
    return got;
}

static void test_backlog_then_live(Fixture *f, gconstpointer data)
{
    enclave_writes(f, 1000);
    connect_reader(f, LOCAL, 65536);
    g_assert_cmpuint(take(f, 0), ==, 1000);
    enclave_writes(f, 77);
    g_assert_cmpuint(take(f, 1000), ==, 77);
}

static void test_credit(Fixture *f, gconstpointer data)
{
    size_t got;

    enclave_writes(f, 100000);
    connect_reader(f, LOCAL, 30000);
    got = take(f, 0);
    g_assert_cmpuint(got, ==, 30000);
    enclave_writes(f, 10);
    g_assert_false(nhv_switch_pending(f->parent));
    parent_sends(f, OP(CREDIT_UPDATE), LOCAL, PORT, 30000, 1);
    g_assert_cmpuint(take(f, got), ==, 1);
    got++;
    while (got < f->written) {
        parent_sends(f, OP(CREDIT_UPDATE), LOCAL, PORT, 30000, got);
        got += take(f, got);
    }
    g_assert_cmpuint(got, ==, 100010);
    /* A peer that takes back its window is not sent to */
    parent_sends(f, OP(CREDIT_UPDATE), LOCAL, PORT, 0, got);
    enclave_writes(f, 10);
    g_assert_false(nhv_switch_pending(f->parent));
}

static void test_end(Fixture *f, gconstpointer data)
{
    enclave_writes(f, 5000);
    connect_reader(f, LOCAL, 4000);
    nhv_console_end(f->console);
    g_assert_cmpuint(take(f, 0), ==, 4000);
    g_assert_false(nhv_switch_pending(f->parent));

    /* End of file comes behind the last byte */
    parent_sends(f, OP(CREDIT_UPDATE), LOCAL, PORT, 4000, 4000);
    g_assert_cmpuint(take(f, 4000), ==, 1000);
    parent_sends(f, OP(RST), LOCAL, PORT, 0, 0);
    g_assert_cmpuint(wire_connections(f->sw), ==, 0);

    /* The backlog of an ended enclave can still be read */
    connect_reader(f, LOCAL + 1, 65536);
    g_assert_cmpuint(take(f, 0), ==, 5000);
}

static void test_bounded(Fixture *f, gconstpointer data)
{
    size_t pos = 2 * NHV_CONSOLE_BACKLOG + 12345 - NHV_CONSOLE_BACKLOG;
    size_t got;

    enclave_writes(f, 2 * NHV_CONSOLE_BACKLOG + 12345);
    connect_reader(f, LOCAL, 65536);
    got = take(f, pos);
    while (pos + got < f->written) {
        parent_sends(f, OP(CREDIT_UPDATE), LOCAL, PORT, 65536, got);
        got += take(f, pos + got);
    }
    g_assert_cmpuint(got, ==, NHV_CONSOLE_BACKLOG);
}

static void test_readers(Fixture *f, gconstpointer data)
{
    enclave_writes(f, 100);
    connect_reader(f, LOCAL, 50);
    g_assert_cmpuint(take(f, 0), ==, 50);
    connect_reader(f, LOCAL + 1, 65536);
    g_assert_cmpuint(take(f, 0), ==, 100);
    parent_sends(f, OP(SHUTDOWN), LOCAL, PORT, 50, 0);
    expect(f, OP(RST), LOCAL);
    enclave_writes(f, 5);
    g_assert_cmpuint(take(f, 100), ==, 5);
    g_assert_cmpuint(wire_connections(f->sw), ==, 1);
}

static void test_refusals(Fixture *f, gconstpointer data)
{
    VsockHdr hdr;

    parent_sends(f, OP(REQUEST), LOCAL, PORT + 1, 65536, 0);
    expect(f, OP(RST), LOCAL);
    parent_sends(f, OP(REQUEST), LOCAL, 9000, 65536, 0);
    expect(f, OP(RST), LOCAL);

    /* The enclave itself cannot read it */
    wire_send(f->enclave, wire_hdr(OP(REQUEST), CID, 1, NITRO_CID_HYPERVISOR,
                                   PORT), NULL, 0);
    run_service();
    hdr = wire_receive(f->enclave, NULL, 0);
    g_assert_cmpuint(hdr.op, ==, OP(RST));

    g_clear_pointer(&f->console, nhv_console_close);
    parent_sends(f, OP(REQUEST), LOCAL, PORT, 65536, 0);
    expect(f, OP(RST), LOCAL);
}

static void test_close(Fixture *f, gconstpointer data)
{
    enclave_writes(f, 100);
    connect_reader(f, LOCAL, 10);
    g_clear_pointer(&f->console, nhv_console_close);
    g_assert_cmpuint(wire_receive(f->parent, f->text, 100).len, ==, 10);
    expect(f, OP(RST), LOCAL);
    /* What the reader sends meanwhile meets nothing */
    parent_sends(f, OP(CREDIT_UPDATE), LOCAL, PORT, 10, 10);
    expect(f, OP(RST), LOCAL);
}

static void test_hang_up(Fixture *f, gconstpointer data)
{
    enclave_writes(f, 100);
    connect_reader(f, LOCAL, 65536);
    g_assert_cmpuint(take(f, 0), ==, 100);
    connect_reader(f, LOCAL + 1, 10);
    g_assert_cmpuint(take(f, 0), ==, 10);
    nhv_console_service_hang_up(f->service);
    g_assert_cmpuint(wire_receive(f->parent, NULL, 0).op, ==, OP(RST));
    g_assert_cmpuint(wire_receive(f->parent, NULL, 0).op, ==, OP(RST));
    g_assert_false(nhv_switch_pending(f->parent));
    g_assert_cmpuint(wire_connections(f->sw), ==, 0);

    /* Who connects again gets all that was kept */
    enclave_writes(f, 100);
    g_assert_false(nhv_switch_pending(f->parent));
    connect_reader(f, LOCAL, 65536);
    g_assert_cmpuint(take(f, 0), ==, 200);
}

static void test_writer(Fixture *f, gconstpointer data)
{
    char junk[1000] = { 0 };
    VsockHdr hdr;
    int i;

    connect_reader(f, LOCAL, 65536);
    for (i = 1; i <= 100; i++) {
        wire_send(f->parent, wire_hdr(OP(RW), NITRO_CID_PARENT, LOCAL,
                                      NITRO_CID_HYPERVISOR, PORT),
                  junk, sizeof(junk));
        run_service();
        hdr = wire_receive(f->parent, NULL, 0);
        g_assert_cmpuint(hdr.op, ==, OP(CREDIT_UPDATE));
        g_assert_cmpuint(hdr.fwd_cnt, ==, i * sizeof(junk));
    }
}

static void test_parent_dies(Fixture *f, gconstpointer data)
{
    connect_reader(f, LOCAL, 65536);
    nhv_switch_detach(f->parent);
    run_service();
    g_assert_cmpuint(wire_connections(f->sw), ==, 0);
    enclave_writes(f, 1000);
    f->parent = nhv_switch_attach(f->sw, NITRO_CID_PARENT, nothing, NULL);
    g_assert_false(nhv_switch_pending(f->parent));
    connect_reader(f, LOCAL, 65536);
    g_assert_cmpuint(take(f, 0), ==, 1000);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "/nitro/console/backlog-then-live", test_backlog_then_live },
        { "/nitro/console/credit", test_credit },
        { "/nitro/console/end", test_end },
        { "/nitro/console/bounded", test_bounded },
        { "/nitro/console/readers", test_readers },
        { "/nitro/console/refusals", test_refusals },
        { "/nitro/console/close", test_close },
        { "/nitro/console/hang-up", test_hang_up },
        { "/nitro/console/writer", test_writer },
        { "/nitro/console/parent-dies", test_parent_dies },
    };

    g_test_init(&argc, &argv, NULL);
    ADD_FIXTURE_TESTS(tests, Fixture);
    return g_test_run();
}
