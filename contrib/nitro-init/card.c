/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * One loop per connection.  While the stream does not take what was read from
 * the TAP device, no more is read from it: the kernel then drops frames as a
 * full network card does.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "card.h"
#include "clock.h"
#include "dhcp.h"
#include "frames.h"
#include "log.h"
#include "network.h"
#include "tap.h"
#include "vsock.h"

#define DEFAULT_MTU 1500
#define FIRST_RETRY_US   100000     /* so often in the beginning... */
#define FIRST_RETRIES    100
#define RETRY_US         1000000    /* ...and later */
#define GREETING_MS      500        /* only nitro-net sends one */

struct card {
    const struct config *config;
    int tap, stream, dhcp_fd;
    int ready;                  /* pipe; -1 once it was reported */
    struct frames out, in;
    struct dhcp dhcp;
    uint8_t mac[MAC_LEN];
    struct address leased;      /* family 0: none */
};

/* Addresses */

static void report_ready(struct card *card)
{
    if (card->ready >= 0) {
        if (write(card->ready, "", 1) != 1) {
            warn("cannot report the network");
        }
        close(card->ready);
        card->ready = -1;
    }
}

static void add_address(const struct address *address, const char *text)
{
    if (tap_add_address(address)) {
        warn("cannot give " TAP_NAME " the address %s", text);
    }
}

static void add_configured(const struct config *config)
{
    struct address address;

    for (size_t i = 0; i < config->net_addresses.count; i++) {
        const char *text = config->net_addresses.item[i];

        address_parse(&address, text, true);
        add_address(&address, text);
    }
    for (size_t i = 0; i < config->net_gateways.count; i++) {
        const char *text = config->net_gateways.item[i];

        address_parse(&address, text, false);
        if (tap_add_gateway(&address)) {
            warn("cannot use the gateway %s", text);
        }
    }
    if (config->net_dns.count) {
        network_resolve((const char *const *)config->net_dns.item,
                        config->net_dns.count);
    }
}

static const char *set_ipv4(struct address *address, uint32_t value,
                            unsigned prefix, char text[INET_ADDRSTRLEN])
{
    uint32_t wire = htonl(value);

    *address = (struct address) { .family = AF_INET, .prefix = prefix };
    memcpy(address->bytes, &wire, sizeof(wire));
    return inet_ntop(AF_INET, &wire, text, INET_ADDRSTRLEN);
}

static void remove_leased(struct card *card)
{
    if (card->leased.family) {
        tap_remove_address(&card->leased);
        card->leased.family = 0;
    }
}

static void use_names(const struct dhcp_lease *lease)
{
    char text[DHCP_MAX_DNS][INET_ADDRSTRLEN];
    const char *servers[DHCP_MAX_DNS];
    struct address address;

    for (unsigned i = 0; i < lease->nr_dns; i++) {
        servers[i] = set_ipv4(&address, lease->dns[i], 32, text[i]);
    }
    network_resolve(servers, lease->nr_dns);
}

/* What the configuration says comes before what the server says */
static void use_rest(const struct config *config,
                     const struct dhcp_lease *lease)
{
    struct address gateway;
    char text[INET_ADDRSTRLEN];

    if (lease->mtu && !config->net_mtu && tap_set_mtu(lease->mtu)) {
        warn("cannot use an MTU of %u", lease->mtu);
    }
    if (lease->gateway && !config->net_gateways.count) {
        set_ipv4(&gateway, lease->gateway, 32, text);
        if (tap_add_gateway(&gateway)) {
            warn("cannot use the gateway %s", text);
        }
    }
    if (lease->nr_dns && !config->net_dns.count) {
        use_names(lease);
    }
}

static void use_lease(struct card *card)
{
    const struct dhcp_lease *lease = &card->dhcp.lease;
    struct address address;
    char text[INET_ADDRSTRLEN];

    set_ipv4(&address, lease->address, lease->prefix, text);
    if (!memcmp(&address, &card->leased, sizeof(address))) {
        return;
    }
    remove_leased(card);
    add_address(&address, text);
    card->leased = address;
    use_rest(card->config, lease);
    say(TAP_NAME " has the address %s/%u", text, lease->prefix);
    report_ready(card);
}

/* DHCP */

static int open_dhcp(void)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(DHCP_CLIENT_PORT),
    };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) ||
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, TAP_NAME,
                   sizeof(TAP_NAME)) ||
        bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
        warn("cannot open the port of DHCP");
    }
    return fd;
}

static void handle_event(struct card *card, enum dhcp_event event)
{
    if (event == DHCP_LEASE) {
        use_lease(card);
    } else if (event == DHCP_LOST) {
        say("the address of " TAP_NAME " has expired");
        remove_leased(card);
    }
}

static void take_dhcp(struct card *card)
{
    uint8_t message[DHCP_MAX_MESSAGE];
    ssize_t n;

    while ((n = recv(card->dhcp_fd, message, sizeof(message), 0)) >= 0) {
        handle_event(card, dhcp_take(&card->dhcp, clock_ms(), message, n));
    }
}

static void send_dhcp(const struct card *card, const uint8_t *message,
                      size_t len)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(DHCP_SERVER_PORT),
        .sin_addr.s_addr = htonl(INADDR_BROADCAST),
    };

    if (sendto(card->dhcp_fd, message, len, 0, (struct sockaddr *)&addr,
               sizeof(addr)) < 0) {
        warn("cannot ask for an address");
    }
}

/* Returns: ms until there may be more to do, -1: nothing is due */
static int work_dhcp(struct card *card)
{
    uint8_t message[DHCP_MESSAGE];
    int64_t now = clock_ms(), wait;
    size_t len;

    if (card->dhcp_fd < 0) {
        return -1;
    }
    handle_event(card, dhcp_work(&card->dhcp, now, message, &len));
    if (len) {
        send_dhcp(card, message, len);
    }
    wait = card->dhcp.next_ms - now;
    return wait < 60000 ? wait : 60000;
}

static void begin_dhcp(struct card *card)
{
    uint32_t id = 0;

    if (card->dhcp_fd < 0) {
        card->dhcp_fd = open_dhcp();
    }
    while (getrandom(&id, sizeof(id), 0) != sizeof(id)) {
        continue;
    }
    /* A new connection may lead to another network */
    remove_leased(card);
    dhcp_init(&card->dhcp, card->mac, id, clock_ms());
}

/* A connection */

static void connect_parent(struct card *card)
{
    int retries = 0;

    while ((card->stream = vsock_stream(card->config->net_port)) < 0) {
        usleep(retries < FIRST_RETRIES ? FIRST_RETRY_US : RETRY_US);
        retries++;
    }
    frames_reset(&card->out);
    frames_reset(&card->in);
}

/* The interface comes up late, so that nothing waits in it until then */
static void card_begin(struct card *card)
{
    if (tap_up()) {
        warn("cannot bring " TAP_NAME " up");
    }
    add_configured(card->config);
    if (card->config->net == NET_DHCP) {
        begin_dhcp(card);
    } else {
        report_ready(card);
    }
}

/*
 * A parent that names the address gives the enclave the same lease in each
 * launch.
 */
static void use_mac(struct card *card)
{
    static const uint8_t none[MAC_LEN];
    uint8_t mac[MAC_LEN];

    memcpy(mac, card->in.mac, MAC_LEN);
    memset(card->in.mac, 0, MAC_LEN);
    if (card->config->net_mac || !memcmp(mac, none, MAC_LEN) ||
        !memcmp(mac, card->mac, MAC_LEN)) {
        return;
    }
    if (tap_set_mac(mac)) {
        warn("cannot give " TAP_NAME " the hardware address "
             "%02x:%02x:%02x:%02x:%02x:%02x of the parent's device", mac[0],
             mac[1], mac[2], mac[3], mac[4], mac[5]);
        return;
    }
    memcpy(card->mac, mac, MAC_LEN);
    if (card->dhcp_fd >= 0) {
        begin_dhcp(card);
    }
}

/* Returns: -1 when the connection has ended, or is of no use */
static int card_receive(struct card *card)
{
    if (frames_receive(&card->in, card->stream)) {
        say("the network's connection has ended");
        return -1;
    }
    if (frames_deliver(&card->in, card->tap)) {
        say("a frame of the network has an impossible length");
        return -1;
    }
    card->out.uncut = card->in.uncut;
    use_mac(card);
    return 0;
}

/* A greeting comes first, if the peer sends one; returns as card_receive() */
static int await_greeting(struct card *card)
{
    struct pollfd stream = { card->stream, POLLIN, 0 };

    return poll(&stream, 1, GREETING_MS) > 0 ? card_receive(card) : 0;
}

static int card_serve(struct card *card)
{
    bool full = frames_pending(&card->out);
    struct pollfd fds[] = {
        { full ? -1 : card->tap, POLLIN, 0 },
        { card->stream, full ? POLLIN | POLLOUT : POLLIN, 0 },
        { card->dhcp_fd, POLLIN, 0 },
    };

    if (poll(fds, 3, work_dhcp(card)) < 0) {
        return 0;
    }
    if (fds[0].revents) {
        frames_collect(&card->out, card->tap);
    }
    if (frames_send(&card->out, card->stream)) {
        say("the network's connection is broken");
        return -1;
    }
    if (fds[1].revents & ~POLLOUT && card_receive(card)) {
        return -1;
    }
    if (fds[2].revents) {
        take_dhcp(card);
    }
    return 0;
}

static void card_run(struct card *card)
{
    prctl(PR_SET_NAME, "nitro-net");
    for (;;) {
        connect_parent(card);
        if (!await_greeting(card)) {
            card_begin(card);
            while (!card_serve(card)) {
                continue;
            }
        }
        close(card->stream);
        usleep(FIRST_RETRY_US);
    }
}

/* The process */

static int card_prepare(struct card *card, const struct config *config)
{
    uint8_t mac[MAC_LEN];
    bool given = config->net_mac && mac_parse(mac, config->net_mac);

    *card = (struct card) { .config = config, .stream = -1, .dhcp_fd = -1 };
    card->tap = tap_open(given ? mac : NULL);
    if (card->tap < 0) {
        warn("no network: cannot make a TAP device");
        return -1;
    }
    if (tap_mac(card->mac) || frames_init(&card->out) ||
        frames_init(&card->in) ||
        tap_set_mtu(config->net_mtu ? config->net_mtu : DEFAULT_MTU)) {
        warn("no network: cannot set " TAP_NAME " up");
        return -1;
    }
    return 0;
}

int card_start(const struct config *config)
{
    struct card card;
    int fds[2];
    pid_t pid;

    if (card_prepare(&card, config)) {
        return -1;
    }
    if (pipe2(fds, O_CLOEXEC)) {
        warn("no network: pipe");
        return -1;
    }
    pid = fork();
    if (pid == 0) {
        close(fds[0]);
        card.ready = fds[1];
        card_run(&card);
    }
    if (pid < 0) {
        warn("no network: fork");
    }
    close(fds[1]);
    close(card.tap);
    frames_free(&card.out);
    frames_free(&card.in);
    return fds[0];
}

void card_wait(int fd, unsigned seconds)
{
    struct pollfd ready = { fd, POLLIN, 0 };
    char byte;

    if (poll(&ready, 1, seconds * 1000) == 0) {
        say("no network within %u s; the program starts without", seconds);
    } else if (read(fd, &byte, 1) != 1) {
        say("no network: its process has ended");
    }
    close(fd);
}
