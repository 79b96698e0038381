/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * lab dns NAME ADDRESS [AT]: a name server for one name, at UDP port 53 of
 * address AT, by default the loopback interface's.  It prints
 * "listening" when it can be asked; other names do not exist.
 */

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab.h"

#define HEAD     12     /* of each message */
#define QUESTION 4      /* type and class behind the name */
#define MESSAGE  512

enum { TYPE_A = 1, RESPONSE = 0x84, NO_SUCH_NAME = 3 };

/* "a.b" out of \1a\1b\0; returns the length on the wire, or 0 */
static size_t read_name(const uint8_t *at, size_t len, char *name)
{
    size_t used = 0;

    while (used < len && at[used]) {
        size_t label = at[used];

        if (label > 63 || label >= len - used) {
            return 0;
        }
        memcpy(name + used, at + used + 1, label);
        name[used + label] = '.';
        used += 1 + label;
    }
    name[used ? used - 1 : 0] = 0;
    return used < len ? used + 1 : 0;
}

/* An answer that refers to the name in the question; returns its length */
static size_t add_address(uint8_t *to, uint32_t address)
{
    static const uint8_t head[] = { 0xc0, HEAD, 0, TYPE_A, 0, 1,
                                    0, 0, 0, 60, 0, 4 };

    memcpy(to, head, sizeof(head));
    memcpy(to + sizeof(head), &address, 4);
    return sizeof(head) + 4;
}

/* Turns a question into its answer; returns the length, 0: no question */
static size_t answer(uint8_t *message, size_t len, const char *name,
                     uint32_t address)
{
    char asked[MESSAGE];
    size_t used = len > HEAD
                  ? read_name(message + HEAD, len - HEAD, asked) : 0;
    uint8_t *end = message + HEAD + used + QUESTION;
    bool known, has_address;

    if (!used || len < HEAD + used + QUESTION) {
        return 0;
    }
    known = !strcasecmp(asked, name);
    has_address = known && end[-3] == TYPE_A;
    message[2] |= RESPONSE;
    message[3] = known ? 0 : NO_SUCH_NAME;
    memset(message + 6, 0, HEAD - 6);
    message[7] = has_address;
    return end - message + (has_address ? add_address(end, address) : 0);
}

static int open_port(const char *at)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET,
        .sin_port = htons(53),
    };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, at, &addr.sin_addr);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr))) {
        close(fd);
        return -1;
    }
    return fd;
}

int dns_main(int argc, char **argv)
{
    uint8_t message[MESSAGE + 64];
    struct sockaddr_in peer;
    uint32_t address;
    int fd;

    if (argc < 3 || argc > 4 || inet_pton(AF_INET, argv[2], &address) != 1) {
        fprintf(stderr, "usage: lab dns NAME ADDRESS [AT]\n");
        return 2;
    }
    fd = open_port(argc == 4 ? argv[3] : "127.0.0.1");
    if (fd < 0) {
        return complain("port 53");
    }
    printf("listening\n");
    fflush(stdout);
    for (;;) {
        socklen_t size = sizeof(peer);
        ssize_t n = recvfrom(fd, message, MESSAGE, 0,
                             (struct sockaddr *)&peer, &size);
        size_t len = n > 0 ? answer(message, n, argv[1], address) : 0;

        if (len && sendto(fd, message, len, 0, (struct sockaddr *)&peer,
                          size) < 0) {
            complain("answer");
        }
    }
}
