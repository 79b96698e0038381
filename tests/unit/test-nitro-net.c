/*
 * Nitro Enclaves: network device between an init and a back end
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is the init, and QEMU's network.  vsock and bus are those of
 * nitro-fake-bus.c; what the device asks of net/ is here.
 */

#include "qemu/osdep.h"
#include "hw/nitro/limits.h"
#include "hw/nitro/net.h"
#include "hw/nitro/net-frames.h"
#include "hw/nitro/vsock.h"
#include "hw/qdev-properties-system.h"
#include "hw/qdev-properties.h"
#include "nitro-fake-bus.h"
#include "nitro-stream-util.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "tests/nitro/error-text.h"

#define OUR_CID 16
#define OTHER_CID 17
#define ETHERNET 14             /* a header */

typedef struct Fixture {
    FakeBus *bus;
    NitroVsockDevice *dev;
    int init;                   /* its end of the connection, or -1 */
    NICState nic;
    NetClientState nc, peer;
    NetClientInfo *info, peer_info;
    bool busy;                  /* the back end takes nothing */
    NetPacketSent *waiting;     /* for the frame that it keeps */
    GPtrArray *sent;            /* frames that it has got, GBytes */
    uint64_t buffer;            /* asked for */
    MACAddr mac;                /* that the enclave is to have */
} Fixture;

static const MACAddr default_mac = {
    .a = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 },
};

/* The one that the functions below work for */
static Fixture *fixture;

/* vsock */

void nitro_vsock_set_buffer(QIOChannelSocket *sioc, uint64_t bytes)
{
    fixture->buffer = bytes;
}

/* QEMU's network */

NICState *qemu_new_nic(NetClientInfo *info, NICConf *conf, const char *model,
                       const char *name, MemReentrancyGuard *guard,
                       void *opaque)
{
    g_assert_cmpstr(model, ==, TYPE_NITRO_NET);
    fixture->info = info;
    fixture->nic.opaque = opaque;
    fixture->nc.peer = &fixture->peer;
    fixture->peer.name = (char *)"net0";
    fixture->peer.info = &fixture->peer_info;
    return &fixture->nic;
}

void qemu_del_nic(NICState *nic)
{
    g_assert_true(nic == &fixture->nic);
    fixture->info = NULL;
}

NetClientState *qemu_get_queue(NICState *nic)
{
    return &fixture->nc;
}

void *qemu_get_nic_opaque(NetClientState *nc)
{
    return fixture->nic.opaque;
}

void qemu_format_nic_info_str(NetClientState *nc, uint8_t macaddr[6])
{
    snprintf(nc->info_str, sizeof(nc->info_str), "model=nitro-net");
}

void qemu_macaddr_default_if_unset(MACAddr *macaddr)
{
    *macaddr = default_mac;
}

ssize_t qemu_send_packet_async(NetClientState *sender, const uint8_t *buf,
                               int size, NetPacketSent *sent_cb)
{
    g_assert_null(fixture->waiting);
    g_ptr_array_add(fixture->sent, g_bytes_new(buf, size));
    if (fixture->busy) {
        fixture->waiting = sent_cb;
        return 0;
    }
    return size;
}

const PropertyInfo qdev_prop_macaddr = { };
const PropertyInfo qdev_prop_netdev = { };

/* The device */

static NitroVsockDeviceClass *class_of(Fixture *f)
{
    return NITRO_VSOCK_DEVICE_GET_CLASS(f->dev);
}

static NitroEnclaveNetwork *query(Fixture *f)
{
    return nitro_net_query(NITRO_NET(f->dev));
}

static uint64_t dropped(Fixture *f)
{
    g_autoptr(NitroEnclaveNetwork) info = query(f);

    return info->dropped;
}

static bool is_connected(Fixture *f)
{
    g_autoptr(NitroEnclaveNetwork) info = query(f);

    return info->connected;
}

static void start(Fixture *f)
{
    g_assert_true(class_of(f)->prepare_start(f->dev, &error_abort));
    g_assert_true(class_of(f)->enclave_started(f->dev, OUR_CID,
                                               &error_abort));
}

static void expect_bytes(Fixture *f, void *to, size_t len)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n;

        wait_until((n = read(f->init, (uint8_t *)to + got, len - got)) > 0);
        got += n;
    }
}

/* Returns: the number in it */
static uint32_t expect_greeting(Fixture *f)
{
    uint8_t want[] = {
        0, 0, 0, NITRO_GREETING_LEN, 255, 255, 255, 255, 255, 255,
        0, 0, 0, 0, 0, 0, 0x88, 0xb5, 'n', 'i', 't', 'r', 'o', 'n', 'e', 't',
    };
    uint8_t got[NITRO_FRAME_HEAD + NITRO_GREETING_LEN];

    memcpy(want + 10, f->mac.a, sizeof(f->mac));
    expect_bytes(f, got, sizeof(got));
    g_assert_cmpmem(got, sizeof(want), want, sizeof(want));
    return ldl_be_p(got + sizeof(want));
}

static uint32_t init_connect(Fixture *f)
{
    f->init = fake_bus_connect(f->bus, OUR_CID);
    g_assert_cmpint(f->init, >=, 0);
    wait_until(is_connected(f));
    return expect_greeting(f);
}

static void realize(NitroVsockDevice *dev, Error **errp)
{
    DEVICE_GET_CLASS(dev)->realize(DEVICE(dev), errp);
}

static void set(NitroVsockDevice *dev, const char *property, uint32_t value)
{
    object_property_set_uint(OBJECT(dev), property, value, &error_abort);
}

static void setup(Fixture *f, gconstpointer data)
{
    fixture = f;
    f->init = -1;
    f->bus = fake_bus_new(NITRO_NET_PORT * 65536 + OUR_CID);
    f->sent = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    f->dev = fake_bus_add(f->bus, TYPE_NITRO_NET);
    realize(f->dev, &error_abort);
    start(f);
}

static void teardown(Fixture *f, gconstpointer data)
{
    DEVICE_GET_CLASS(f->dev)->unrealize(DEVICE(f->dev));
    g_assert_null(f->info);
    fake_bus_remove(f->dev);
    fake_bus_free(f->bus);
    g_ptr_array_unref(f->sent);
    if (f->init >= 0) {
        close(f->init);
    }
}

/* A frame for the enclave, all bytes of it @byte */
static void receive(Fixture *f, uint8_t byte, size_t len)
{
    g_autofree uint8_t *frame = g_malloc(len);

    memset(frame, byte, len);
    g_assert_cmpint(f->info->receive(&f->nc, frame, len), ==, len);
}

static void expect_frame(Fixture *f, uint8_t byte, uint32_t len)
{
    g_autofree uint8_t *frame = g_malloc(len);
    uint8_t head[NITRO_FRAME_HEAD];

    expect_bytes(f, head, sizeof(head));
    g_assert_cmpuint(ldl_be_p(head), ==, len);
    expect_bytes(f, frame, len);
    g_assert_cmpuint(frame[0], ==, byte);
    g_assert_cmpuint(frame[len - 1], ==, byte);
}

static void put_frame(GByteArray *to, uint8_t byte, uint32_t len)
{
    uint8_t head[NITRO_FRAME_HEAD];
    size_t used = to->len;

    stl_be_p(head, len);
    g_byte_array_append(to, head, sizeof(head));
    g_byte_array_set_size(to, used + sizeof(head) + len);
    memset(to->data + used + sizeof(head), byte, len);
}

static void send_bytes(Fixture *f, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n;

        wait_until((n = write(f->init, data, len)) > 0);
        data += n;
        len -= n;
    }
}

static void send_frame(Fixture *f, uint8_t byte, uint32_t len)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    put_frame(bytes, byte, len);
    send_bytes(f, bytes->data, bytes->len);
}

static void assert_sent(Fixture *f, guint index, uint8_t byte, size_t len)
{
    size_t size;
    const uint8_t *data = g_bytes_get_data(f->sent->pdata[index], &size);

    g_assert_cmpuint(size, ==, len);
    g_assert_cmpuint(data[0], ==, byte);
    g_assert_cmpuint(data[len - 1], ==, byte);
}

/* The connection is closed, with the reason; the next one is as good as new */
static void assert_fault(Fixture *f, const char *why)
{
    g_autoptr(NitroEnclaveNetwork) info = NULL;

    wait_until(!is_connected(f));
    info = query(f);
    g_assert_cmpuint(info->faults, ==, info->connections);
    g_assert_nonnull(strstr(info->error, why));
    close(f->init);
    init_connect(f);
    g_ptr_array_set_size(f->sent, 0);
    send_frame(f, 'z', 60);
    wait_until(f->sent->len == 1);
    assert_sent(f, 0, 'z', 60);
}

static void test_both_ways(Fixture *f, gconstpointer data)
{
    g_autoptr(NitroEnclaveNetwork) info = NULL;

    init_connect(f);
    g_assert_cmpuint(f->buffer, ==, 8 * MiB);
    g_assert_cmpstr(f->nc.info_str, ==, "model=nitro-net,cid=16");
    receive(f, 'a', 60);
    receive(f, 'b', 1514);
    expect_frame(f, 'a', 60);
    expect_frame(f, 'b', 1514);
    send_frame(f, 'c', ETHERNET);
    send_frame(f, 'd', NITRO_NET_MTU_MAX + ETHERNET);
    wait_until(f->sent->len == 2);
    assert_sent(f, 0, 'c', ETHERNET);
    assert_sent(f, 1, 'd', NITRO_NET_MTU_MAX + ETHERNET);
    info = query(f);
    g_assert_cmpuint(info->sent, ==, 2);
    g_assert_cmpuint(info->received, ==, 2);
    g_assert_cmpuint(info->dropped, ==, 0);
    g_assert_cmpuint(info->connections, ==, 1);
    g_assert_cmpuint(info->faults, ==, 0);
    g_assert_cmpstr(info->netdev, ==, "net0");
    g_assert_null(info->error);
}

/*
 * Only slirp takes what was not cut, up to the limit of the card; and only in
 * its network all cards can have QEMU's default address.
 */
static void test_greeting(Fixture *f, gconstpointer data)
{
    g_assert_cmpuint(init_connect(f), ==, 0);
    for (uint32_t mtu = 1500; mtu <= 3000; mtu += 1500) {
        f->peer_info.type = NET_CLIENT_DRIVER_USER;
        f->mac = default_mac;
        set(f->dev, "host_mtu", mtu);
        close(f->init);
        wait_until(!is_connected(f));
        g_assert_cmpuint(init_connect(f), ==, mtu + ETHERNET);
    }
    f->nc.peer = NULL;
    f->mac = (MACAddr) { };
    close(f->init);
    wait_until(!is_connected(f));
    g_assert_cmpuint(init_connect(f), ==, 0);
}

/* However the stream cuts them */
static void test_pieces(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    init_connect(f);
    put_frame(bytes, 'a', ETHERNET);
    put_frame(bytes, 'b', 60);
    for (guint i = 0; i < bytes->len; i++) {
        send_bytes(f, bytes->data + i, 1);
        settle();
    }
    wait_until(f->sent->len == 2);
    assert_sent(f, 0, 'a', ETHERNET);
    assert_sent(f, 1, 'b', 60);
}

/* More than a batch and than a read, in order */
static void test_many(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    init_connect(f);
    for (int i = 0; i < 1000; i++) {
        receive(f, i, 1514);
        put_frame(bytes, i, 1514);
    }
    for (int i = 0; i < 1000; i++) {
        expect_frame(f, i, 1514);
    }
    send_bytes(f, bytes->data, bytes->len);
    wait_until(f->sent->len == 1000);
    for (int i = 0; i < 1000; i++) {
        assert_sent(f, i, i, 1514);
    }
    g_assert_cmpuint(dropped(f), ==, 0);
}

/* An enclave that does not read: the queue has an end, what is in it stays */
static void test_queue_full(Fixture *f, gconstpointer data)
{
    unsigned frames = 2 * NITRO_FRAMES_QUEUE / 1518, lost;

    init_connect(f);
    for (unsigned i = 0; i < frames; i++) {
        receive(f, i, 1514);
    }
    lost = dropped(f);
    g_assert_cmpuint(lost, ==, frames - NITRO_FRAMES_QUEUE / 1518);
    for (unsigned i = 0; i < frames - lost; i++) {
        expect_frame(f, i, 1514);
    }
    receive(f, 'x', 60);
    expect_frame(f, 'x', 60);
    g_assert_cmpuint(dropped(f), ==, lost);
}

/* A back end that takes no more: the enclave waits, and nothing is lost */
static void test_busy_back_end(Fixture *f, gconstpointer data)
{
    NetPacketSent *taken;

    init_connect(f);
    f->busy = true;
    send_frame(f, 'a', 60);
    send_frame(f, 'b', 60);
    wait_until(f->waiting);
    settle();
    g_assert_cmpuint(f->sent->len, ==, 1);
    f->busy = false;
    taken = f->waiting;
    f->waiting = NULL;
    taken(&f->nc, 60);
    wait_until(f->sent->len == 2);
    assert_sent(f, 1, 'b', 60);
}

/* The frame that the back end keeps may outlive the connection */
static void test_busy_over(Fixture *f, gconstpointer data)
{
    NetPacketSent *taken;

    init_connect(f);
    f->busy = true;
    send_frame(f, 'a', 60);
    wait_until(f->waiting);
    class_of(f)->enclave_stopped(f->dev);
    close(f->init);
    start(f);
    init_connect(f);
    send_frame(f, 'b', 60);
    settle();
    f->busy = false;
    taken = f->waiting;
    f->waiting = NULL;
    taken(&f->nc, 60);
    wait_until(f->sent->len == 2);
    assert_sent(f, 1, 'b', 60);
}

static void test_not_connected(Fixture *f, gconstpointer data)
{
    receive(f, 'a', 60);
    g_assert_cmpuint(dropped(f), ==, 1);
    g_assert_cmpstr(f->nc.info_str, ==, "model=nitro-net");
    init_connect(f);
    receive(f, 'b', 60);
    expect_frame(f, 'b', 60);
}

static void test_bad_length(Fixture *f, gconstpointer data)
{
    static const uint32_t lengths[] = { 0, NITRO_FRAME_MIN - 1,
                                        NITRO_FRAME_MAX + 1, UINT32_MAX };
    g_autofree char *text = NULL;

    init_connect(f);
    error_text_begin();
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autofree char *why = g_strdup_printf("a frame of %u bytes",
                                               lengths[i]);
        g_autoptr(GByteArray) bytes = g_byte_array_new();

        put_frame(bytes, 'a', 60);
        put_frame(bytes, 'b', 60);
        stl_be_p(bytes->data + NITRO_FRAME_HEAD + 60, lengths[i]);
        g_ptr_array_set_size(f->sent, 0);
        send_bytes(f, bytes->data, bytes->len);
        wait_until(f->sent->len == 1);
        assert_fault(f, why);
    }
    text = error_text_end();
    /* Once per launch */
    assert_contains(text, "nitro-net: the enclave with CID 16 has sent a frame "
                    "of 0 bytes, where 14 to 69632 are possible: connection "
                    "closed");
    g_assert_null(strstr(text, "of 13 bytes"));
}

static void test_partial(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    init_connect(f);
    put_frame(bytes, 'a', 60);
    send_bytes(f, bytes->data, 40);
    shutdown(f->init, SHUT_WR);
    assert_fault(f, "ended within a frame, after 40 bytes");
}

/* An end between frames is no fault, and what came before it is delivered */
static void test_end(Fixture *f, gconstpointer data)
{
    g_autoptr(NitroEnclaveNetwork) info = NULL;

    init_connect(f);
    send_frame(f, 'a', 60);
    close(f->init);
    f->init = -1;
    wait_until(!is_connected(f));
    assert_sent(f, 0, 'a', 60);
    info = query(f);
    g_assert_cmpuint(info->faults, ==, 0);
    receive(f, 'b', 60);
}

/* Only this enclave, one connection at a time */
static void test_others(Fixture *f, gconstpointer data)
{
    static const uint32_t cids[] = { FAKE_BUS_NO_CID, OTHER_CID, OUR_CID };
    char byte;

    init_connect(f);
    for (size_t i = 0; i < G_N_ELEMENTS(cids); i++) {
        int fd = fake_bus_connect(f->bus, cids[i]);

        wait_until(read(fd, &byte, 1) == 0);
        close(fd);
    }
    receive(f, 'a', 60);
    expect_frame(f, 'a', 60);
}

/* Another launch has its own connection and counts */
static void test_relaunch(Fixture *f, gconstpointer data)
{
    g_autoptr(NitroEnclaveNetwork) info = NULL;
    char byte;

    init_connect(f);
    receive(f, 'a', 60);
    class_of(f)->enclave_stopped(f->dev);
    wait_until(read(f->init, &byte, 1) == 0 || errno == ECONNRESET);
    close(f->init);
    g_assert_cmpint(fake_bus_connect(f->bus, OUR_CID), ==, -1);
    unlink(f->bus->port);
    start(f);
    init_connect(f);
    info = query(f);
    g_assert_cmpuint(info->connections, ==, 1);
    g_assert_cmpuint(info->received, ==, 0);
    receive(f, 'b', 60);
    expect_frame(f, 'b', 60);
}

static void test_mtu(void)
{
    Fixture f = { 0 };

    fixture = &f;
    f.init = -1;
    f.bus = fake_bus_new(NITRO_NET_PORT * 65536 + OUR_CID);
    f.sent = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    f.dev = fake_bus_add(f.bus, TYPE_NITRO_NET);
    set(f.dev, "host_mtu", 1500);
    realize(f.dev, &error_abort);
    start(&f);
    init_connect(&f);
    receive(&f, 'a', 1519);
    receive(&f, 'b', 1518);
    expect_frame(&f, 'b', 1518);
    send_frame(&f, 'c', 1519);
    send_frame(&f, 'd', 1518);
    wait_until(f.sent->len == 1);
    assert_sent(&f, 0, 'd', 1518);
    g_assert_cmpuint(dropped(&f), ==, 2);
    teardown(&f, NULL);
}

static void test_options(void)
{
    static const struct { const char *name; uint32_t value; } wrong[] = {
        { "port", 0 }, { "port", UINT32_MAX }, { "port", NITRO_HEARTBEAT_PORT },
        { "host_mtu", NITRO_NET_MTU_MIN - 1 },
        { "host_mtu", NITRO_NET_MTU_MAX + 1 },
    };
    Fixture f = { 0 };

    fixture = &f;
    f.bus = fake_bus_new(NITRO_NET_PORT * 65536 + OUR_CID);
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        NitroVsockDevice *dev = fake_bus_add(f.bus, TYPE_NITRO_NET);
        g_autofree char *text = NULL;
        Error *err = NULL;

        set(dev, wrong[i].name, wrong[i].value);
        realize(dev, &err);
        text = error_text(err);
        assert_contains(text, "nitro-net: ");
        assert_contains(text, "Use ");
        fake_bus_remove(dev);
    }
    fake_bus_free(f.bus);
}

#define ADD(name, function) \
    g_test_add("/nitro/net/" name, Fixture, NULL, setup, function, teardown)

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    stream_test_init(&argc, &argv);
    ADD("both-ways", test_both_ways);
    ADD("greeting", test_greeting);
    ADD("pieces", test_pieces);
    ADD("many", test_many);
    ADD("queue-full", test_queue_full);
    ADD("busy-back-end", test_busy_back_end);
    ADD("busy-over", test_busy_over);
    ADD("not-connected", test_not_connected);
    ADD("bad-length", test_bad_length);
    ADD("partial", test_partial);
    ADD("end", test_end);
    ADD("others", test_others);
    ADD("relaunch", test_relaunch);
    g_test_add_func("/nitro/net/mtu", test_mtu);
    g_test_add_func("/nitro/net/options", test_options);
    return g_test_run();
}
