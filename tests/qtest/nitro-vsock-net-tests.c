/*
 * Nitro Enclaves: network device in whole launches
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is the init, which connects to DIR/PORT, and the network behind a
 * back end of type stream, which connects to DIR/net.  Both have the same
 * framing.
 */
#include "qemu/osdep.h"
#include "nitro-vsock-util.h"

#define ENCLAVE NITRO ",enclave-cid=16"
/* 65536 * 9002 + 16 */
#define PORT "589955088"

#define NETDEV "-netdev stream,id=net0,addr.type=unix,addr.path=%s/net "
#define CARD "-device nitro-net,netdev=net0,id=card"

/* Length, two addresses, a type, and data up to Ethernet's shortest frame */
#define FRAME(data) "\0\0\0\74" "\2\0\0\0\0\1" "\2\0\0\0\0\2" "\10\0" data \
    "............................................"

#define SEND(fd, bytes)                                                     \
    g_assert_cmpint(write(fd, bytes, sizeof(bytes) - 1), ==,                \
                    sizeof(bytes) - 1)
#define EXPECT(fd, bytes) expect(fd, bytes, sizeof(bytes) - 1)

typedef struct Net {
    Run *run;
    int listener;
    int network;                /* behind the back end */
    int init;
    const char *mac;            /* that was given to the device, or NULL */
} Net;

static void expect(int fd, const char *bytes, size_t len)
{
    g_autofree uint8_t *got = g_malloc(len);

    read_all(fd, got, len);
    g_assert_cmpmem(got, len, bytes, len);
}

/*
 * Connect, and get the greeting: no back end but slirp takes long segments,
 * and other networks may have several cards with QEMU's default address.
 */
static int init_connect(Net *net)
{
    static const char word[] = "\x88\xb5nitronet\0\0\0", none[6];
    uint8_t got[30];
    int fd = peer_connect(net->run, PORT);

    read_all(fd, got, sizeof(got));
    g_assert_cmpmem(got, 4, "\0\0\0\32", 4);
    g_assert_cmpmem(got + 10, 6, net->mac ?: none, 6);
    g_assert_cmpmem(got + 16, 14, word, sizeof(word));
    return fd;
}

static int64_t number(Net *net, const char *member)
{
    QDict *info, *reply = vsock_query(net->run, &info);
    int64_t value = qdict_get_int(qdict_get_qdict(info, "network"), member);

    qobject_unref(reply);
    return value;
}

/* @format: options, with one %s for the directory */
static void start(Net *net, const char *format)
{
    g_autofree char *more = NULL;

    net->run = run_new();
    more = g_strdup_printf(format, net->run->dir);
    net->listener = peer_listen(net->run, "net");
    run_start(net->run, ENCLAVE, more);
    net->network = accept(net->listener, NULL, NULL);
    g_assert_cmpint(net->network, >=, 0);
    net->init = init_connect(net);
    poll_until(number(net, "connections") == 1);
}

static void end(Net *net)
{
    close(net->init);
    close(net->network);
    close(net->listener);
    run_quit(net->run);
}

/* The back end drops frames until it has noticed that it is connected */
static void exchange(Net *net)
{
    SEND(net->network, FRAME("ab") FRAME("cd"));
    EXPECT(net->init, FRAME("ab") FRAME("cd"));
    SEND(net->init, FRAME("ef") FRAME("gh"));
    EXPECT(net->network, FRAME("ef") FRAME("gh"));
}

static void test_life(void)
{
    g_autofree char *text = NULL, *network = NULL;
    Net net = { };

    start(&net, NETDEV CARD);
    exchange(&net);
    g_assert_cmpint(number(&net, "sent"), ==, 2);
    g_assert_cmpint(number(&net, "received"), ==, 2);
    text = qtest_hmp(net.run->qts, "info nitro");
    g_assert_nonnull(strstr(text, "network: connected, port 9002, 2 frames "
                            "received, 2 sent, 0 dropped, 1 connections, "
                            "0 faults (card)\r\n"));
    network = qtest_hmp(net.run->qts, "info network");
    g_assert_nonnull(strstr(network, "model=nitro-net"));
    g_assert_nonnull(strstr(network, ",cid="));
    end(&net);
}

/* With -nic, which has no type stream but can be joined with one */
static void test_nic(void)
{
    Net net = { };

    start(&net, NETDEV "-netdev hubport,id=hub,hubid=1,netdev=net0 "
                "-nic hubport,hubid=1,model=nitro-net");
    exchange(&net);
    end(&net);
}

static void test_mac(void)
{
    Net net = { .mac = "\x02\0\0\0\0\7" };

    start(&net, NETDEV CARD ",mac=02:00:00:00:00:07");
    exchange(&net);
    end(&net);
}

static void test_fault(void)
{
    g_autofree char *text = NULL;
    Net net = { };

    start(&net, NETDEV CARD);
    SEND(net.init, "\0\0\0\15" "too short for a header");
    assert_end(net.init);
    close(net.init);
    poll_until(number(&net, "faults") == 1);
    assert_said(net.run, "has sent a frame of 13 bytes, where 14 to 69632 are "
                "possible: connection closed");
    text = qtest_hmp(net.run->qts, "info nitro");
    g_assert_nonnull(strstr(text, "network fault: a frame of 13 bytes"));
    net.init = init_connect(&net);
    poll_until(number(&net, "connections") == 2);
    exchange(&net);
    end(&net);
}

/* Each launch has its own connection */
static void test_reset(void)
{
    Net net = { };

    start(&net, NETDEV CARD);
    for (int i = 0; i < 2; i++) {
        exchange(&net);
        qtest_qmp_assert_success(net.run->qts, "{'execute': 'system_reset'}");
        assert_end(net.init);
        close(net.init);
        poll_until(number(&net, "sent") == 0);
        net.init = init_connect(&net);
        poll_until(number(&net, "connections") == 1);
    }
    exchange(&net);
    end(&net);
}

static void test_foreign(void)
{
    Run *run = run_new();
    int fd;

    g_setenv("NE_FAKE_PEER_CID", "17", true);
    run_start(run, ENCLAVE, "-netdev hubport,id=net0,hubid=0 " CARD);
    fd = peer_connect(run, PORT);
    assert_end(fd);
    close(fd);
    run_quit(run);
}

static void test_refusals(void)
{
    static const struct { const char *properties, *why; } cases[] = {
        { ",port=9000", "nitro-net: vsock port 9000 cannot be used" },
        { ",port=0", "Use port=PORT, as in the image's configuration" },
        { ",host_mtu=67", "nitro-net: host_mtu=67 is out of range" },
        { ",host_mtu=65521", "Use host_mtu=BYTES, from 68 to 65520" },
        { " -device nitro-net", "the enclave has a nitro-net already" },
        { ",mac=x", "mac" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Run *run = run_new();
        g_autofree char *more =
            g_strconcat("-netdev hubport,id=net0,hubid=0 " CARD,
                        cases[i].properties, NULL);

        run_to_end(run, NITRO, more, 1);
        assert_said(run, cases[i].why);
        run_free(run);
    }
}

static void test_no_back_end(void)
{
    Run *run = run_new();

    run_start(run, ENCLAVE, "-device nitro-net");
    assert_said(run, "nitro-net: no back end: the enclave's network leads "
                "nowhere; use netdev=ID");
    run_quit(run);
}

static void test_port_taken(void)
{
    Run *run = run_new();
    int other = peer_listen(run, PORT);

    run_start(run, ENCLAVE, "-netdev hubport,id=net0,hubid=0 " CARD);
    assert_said(run, "nitro-net: cannot listen on vsock port " PORT ": ");
    assert_said(run, "'net-port PORT'");
    close(other);
    run_quit(run);
}

void add_net_tests(void)
{
    qtest_add_func("/nitro/vsock/net/life", test_life);
    qtest_add_func("/nitro/vsock/net/nic", test_nic);
    qtest_add_func("/nitro/vsock/net/mac", test_mac);
    qtest_add_func("/nitro/vsock/net/fault", test_fault);
    qtest_add_func("/nitro/vsock/net/reset", test_reset);
    qtest_add_func("/nitro/vsock/net/foreign", test_foreign);
    qtest_add_func("/nitro/vsock/net/refusals", test_refusals);
    qtest_add_func("/nitro/vsock/net/no-back-end", test_no_back_end);
    qtest_add_func("/nitro/vsock/net/port-taken", test_port_taken);
}
