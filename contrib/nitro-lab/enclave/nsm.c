/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * One request to the Nitro Secure Module: DescribePCR, in hand-made CBOR.
 *
 *   request   { "DescribePCR": { "index": N } }
 *   reply     { "DescribePCR": { "lock": bool, "data": 48 bytes } }
 */

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "nsm.h"

struct nsm_buffer {
    uint64_t addr, len;
};

struct nsm_message {
    struct nsm_buffer request, reply;
};

#define NSM_RAW _IOWR(0x0a, 0x0, struct nsm_message)

#define REGISTER_SIZE 48

/* The register behind the key "data" in @reply; NULL when there is none */
static const uint8_t *find_register(const uint8_t *reply, size_t len)
{
    static const uint8_t key[] = "\x64" "data" "\x58\x30";
    size_t key_len = sizeof(key) - 1;

    for (size_t i = 0; i + key_len + REGISTER_SIZE <= len; i++) {
        if (!memcmp(reply + i, key, key_len)) {
            return reply + i + key_len;
        }
    }
    return NULL;
}

static void print_register(int index, const uint8_t *value)
{
    char hex[2 * REGISTER_SIZE + 1];

    for (int i = 0; i < REGISTER_SIZE; i++) {
        sprintf(hex + 2 * i, "%02x", value[i]);
    }
    printf("demo: PCR%d %s\n", index, hex);
}

void nsm_print_pcr(int index)
{
    uint8_t request[] = "\xa1\x6b" "DescribePCR" "\xa1\x65" "index" "\x00";
    uint8_t reply[0x3000];
    struct nsm_message message = {
        .request = { (uintptr_t)request, sizeof(request) - 1 },
        .reply = { (uintptr_t)reply, sizeof(reply) },
    };
    const uint8_t *value;
    int fd = open("/dev/nsm", O_RDWR | O_CLOEXEC);

    request[sizeof(request) - 2] = index;
    if (fd < 0 || ioctl(fd, NSM_RAW, &message) < 0) {
        printf("demo: PCR%d unknown: %s\n", index, strerror(errno));
        close(fd);
        return;
    }
    close(fd);
    value = find_register(reply, message.reply.len);
    if (value) {
        print_register(index, value);
    } else {
        printf("demo: PCR%d not in the reply\n", index);
    }
}
