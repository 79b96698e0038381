/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Addresses and routes go through rtnetlink, which has one way for both
 * families; the ioctls have two.
 */

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>

#include "tap.h"

/* One request and its attributes */
struct request {
    struct nlmsghdr head;
    union {
        struct ifaddrmsg address;
        struct rtmsg route;
    };
    char attributes[64];
};

struct answer {
    struct nlmsghdr head;
    struct nlmsgerr error;
    char rest[512];
};

static int close_keeping_errno(int fd)
{
    int err = errno;

    close(fd);
    errno = err;
    return -1;
}

static int interface_ioctl(unsigned long number, struct ifreq *request)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result;

    if (fd < 0) {
        return -1;
    }
    strcpy(request->ifr_name, TAP_NAME);
    result = ioctl(fd, number, request);
    if (result < 0) {
        return close_keeping_errno(fd);
    }
    close(fd);
    return 0;
}

/* With what Linux has had since 2.6.27 */
static int open_device(void)
{
    struct ifreq request = {
        .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
    };
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) {
        return -1;
    }
    strcpy(request.ifr_name, TAP_NAME);
    return ioctl(fd, TUNSETIFF, &request) ||
           ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
        ? close_keeping_errno(fd) : fd;
}

int tap_open(const uint8_t *mac)
{
    int fd = open_device();

    if (fd < 0) {
        return -1;
    }
    return mac && tap_set_mac(mac) ? close_keeping_errno(fd) : fd;
}

int tap_mac(uint8_t mac[MAC_LEN])
{
    struct ifreq request = { 0 };

    if (interface_ioctl(SIOCGIFHWADDR, &request)) {
        return -1;
    }
    memcpy(mac, request.ifr_hwaddr.sa_data, MAC_LEN);
    return 0;
}

int tap_set_mac(const uint8_t mac[MAC_LEN])
{
    struct ifreq request = { .ifr_hwaddr.sa_family = ARPHRD_ETHER };

    memcpy(request.ifr_hwaddr.sa_data, mac, MAC_LEN);
    return interface_ioctl(SIOCSIFHWADDR, &request);
}

int tap_up(void)
{
    struct ifreq request = { 0 };

    if (interface_ioctl(SIOCGIFFLAGS, &request)) {
        return -1;
    }
    request.ifr_flags |= IFF_UP;
    return interface_ioctl(SIOCSIFFLAGS, &request);
}

int tap_set_mtu(unsigned mtu)
{
    struct ifreq request = { .ifr_mtu = mtu };

    return interface_ioctl(SIOCSIFMTU, &request);
}

/* rtnetlink */

static void add_attribute(struct request *request, unsigned short type,
                          const void *data, size_t len)
{
    struct rtattr *attribute = (struct rtattr *)
        ((char *)request + NLMSG_ALIGN(request->head.nlmsg_len));

    attribute->rta_type = type;
    attribute->rta_len = RTA_LENGTH(len);
    memcpy(RTA_DATA(attribute), data, len);
    request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) +
                              RTA_LENGTH(len);
}

static int await_answer(int fd)
{
    struct answer answer = { 0 };
    ssize_t n = recv(fd, &answer, sizeof(answer), 0);

    if (n < 0) {
        return -1;
    }
    errno = n < (ssize_t)NLMSG_LENGTH(sizeof(int)) ||
            answer.head.nlmsg_type != NLMSG_ERROR ? EPROTO
                                                  : -answer.error.error;
    return errno ? -1 : 0;
}

static int transact(struct request *request)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0) {
        return -1;
    }
    request->head.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    if (send(fd, request, request->head.nlmsg_len, 0) < 0 ||
        await_answer(fd)) {
        return close_keeping_errno(fd);
    }
    close(fd);
    return 0;
}

static int change_address(const struct address *address, int type, int flags)
{
    struct request request = {
        .head = {
            .nlmsg_len = NLMSG_LENGTH(sizeof(request.address)),
            .nlmsg_type = type,
            .nlmsg_flags = flags,
        },
        .address = {
            .ifa_family = address->family,
            .ifa_prefixlen = address->prefix,
            /* Usable at once: nobody else is on this link */
            .ifa_flags = IFA_F_NODAD,
            .ifa_index = if_nametoindex(TAP_NAME),
        },
    };

    add_attribute(&request, IFA_LOCAL, address->bytes,
                  address_bits(address) / 8);
    add_attribute(&request, IFA_ADDRESS, address->bytes,
                  address_bits(address) / 8);
    return transact(&request);
}

int tap_add_address(const struct address *address)
{
    return change_address(address, RTM_NEWADDR,
                          NLM_F_CREATE | NLM_F_REPLACE);
}

int tap_remove_address(const struct address *address)
{
    return change_address(address, RTM_DELADDR, 0);
}

int tap_add_gateway(const struct address *gateway)
{
    unsigned index = if_nametoindex(TAP_NAME);
    struct request request = {
        .head = {
            .nlmsg_len = NLMSG_LENGTH(sizeof(request.route)),
            .nlmsg_type = RTM_NEWROUTE,
            .nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE,
        },
        .route = {
            .rtm_family = gateway->family,
            .rtm_table = RT_TABLE_MAIN,
            .rtm_protocol = RTPROT_BOOT,
            .rtm_scope = RT_SCOPE_UNIVERSE,
            .rtm_type = RTN_UNICAST,
            .rtm_flags = RTNH_F_ONLINK,
        },
    };

    add_attribute(&request, RTA_GATEWAY, gateway->bytes,
                  address_bits(gateway) / 8);
    add_attribute(&request, RTA_OIF, &index, sizeof(index));
    return transact(&request);
}
