/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Requests to the Nitro Secure Module: three in hand-made CBOR, and whatever
 * comes from a stream.
 *
 *   request   { "DescribePCR": { "index": N } }
 *   reply     { "DescribePCR": { "lock": bool, "data": 48 bytes } }
 *   request   "DescribeNSM"
 *   reply     { "DescribeNSM": { ..., "module_id": text of 39 bytes, ... } }
 *   request   { "Attestation": { "user_data": null, "nonce": null,
 *               "public_key": bytes with a length of two bytes } }
 *   reply     { "Attestation": { "document": the same } }
 */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
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
#define MODULE_ID_SIZE 39
#define RANDOM_SIZE 64

/* What is behind these bytes in @reply; NULL when they are not there */
static const uint8_t *find(const uint8_t *reply, size_t len, const char *key,
                           size_t key_len, size_t value_len)
{
    for (size_t i = 0; i + key_len + value_len <= len; i++) {
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

/* Returns: length of the reply, or -1 with errno set */
static ssize_t ask(const void *request, size_t len, uint8_t *reply)
{
    struct nsm_message message = {
        .request = { (uintptr_t)request, len },
        .reply = { (uintptr_t)reply, NSM_REPLY_SIZE },
    };
    int fd = open("/dev/nsm", O_RDWR | O_CLOEXEC);
    int status = fd < 0 ? -1 : ioctl(fd, NSM_RAW, &message);
    int err = errno;

    close(fd);
    errno = err;
    return status < 0 ? -1 : (ssize_t)message.reply.len;
}

void nsm_print_pcr(int index)
{
    static const char key[] = "\x64" "data" "\x58\x30";
    uint8_t request[] = "\xa1\x6b" "DescribePCR" "\xa1\x65" "index" "\x00";
    uint8_t reply[NSM_REPLY_SIZE];
    const uint8_t *value;
    ssize_t len;

    request[sizeof(request) - 2] = index;
    len = ask(request, sizeof(request) - 1, reply);
    if (len < 0) {
        printf("demo: PCR%d unknown: %s\n", index, strerror(errno));
        return;
    }
    value = find(reply, len, key, sizeof(key) - 1, REGISTER_SIZE);
    if (value) {
        print_register(index, value);
    } else {
        printf("demo: PCR%d not in the reply\n", index);
    }
}

void nsm_print_module(void)
{
    static const char request[] = "\x6b" "DescribeNSM";
    static const char key[] = "\x69" "module_id" "\x78\x27";
    uint8_t reply[NSM_REPLY_SIZE];
    const uint8_t *value = NULL;
    ssize_t len = ask(request, sizeof(request) - 1, reply);

    if (len > 0) {
        value = find(reply, len, key, sizeof(key) - 1, MODULE_ID_SIZE);
    }
    if (value) {
        printf("demo: module %.*s\n", MODULE_ID_SIZE, (const char *)value);
    } else {
        printf("demo: module unknown\n");
    }
}

ssize_t nsm_attest(const uint8_t *public_key, size_t len, uint8_t *document)
{
    static const char head[] = "\xa1\x6b" "Attestation" "\xa3\x69" "user_data"
        "\xf6\x65" "nonce" "\xf6\x6a" "public_key" "\x59";
    static const char key[] = "\x68" "document" "\x59";
    static uint8_t request[sizeof(head) + 2 + UINT16_MAX];
    static uint8_t reply[NSM_REPLY_SIZE];
    uint8_t *end = mempcpy(request, head, sizeof(head) - 1);
    const uint8_t *value;
    ssize_t n;

    *end++ = len >> 8;
    *end++ = len;
    end = mempcpy(end, public_key, len);
    n = ask(request, end - request, reply);
    if (n < 0) {
        return -1;
    }
    value = find(reply, n, key, sizeof(key) - 1, 2);
    len = value ? value[0] << 8 | value[1] : 0;
    if (!value || value + 2 + len > reply + n) {
        errno = EBADMSG;
        return -1;
    }
    memcpy(document, value + 2, len);
    return len;
}

static ssize_t read_random(uint8_t *reply)
{
    int fd = open("/dev/hwrng", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, reply, RANDOM_SIZE);
    int err = errno;

    close(fd);
    errno = err;
    return n;
}

static bool read_all(int fd, uint8_t *buf, size_t len)
{
    while (len) {
        ssize_t n = read(fd, buf, len);

        if (n <= 0) {
            return false;
        }
        buf += n;
        len -= n;
    }
    return true;
}

static bool write_all(int fd, const uint8_t *buf, size_t len)
{
    while (len) {
        ssize_t n = write(fd, buf, len);

        if (n <= 0) {
            return false;
        }
        buf += n;
        len -= n;
    }
    return true;
}

static bool relay_one(int fd)
{
    static uint8_t request[UINT16_MAX], reply[4 + NSM_REPLY_SIZE];
    uint8_t head[2];
    size_t len;
    ssize_t n;

    if (!read_all(fd, head, sizeof(head))) {
        return false;
    }
    len = head[0] << 8 | head[1];
    if (!read_all(fd, request, len)) {
        return false;
    }
    n = len ? ask(request, len, reply + 4) : read_random(reply + 4);
    reply[0] = n < 0 ? errno >> 8 : 0;
    reply[1] = n < 0 ? errno : 0;
    n = n < 0 ? 0 : n;
    reply[2] = n >> 8;
    reply[3] = n;
    return write_all(fd, reply, 4 + n);
}

void nsm_relay(int fd)
{
    while (relay_one(fd)) {
        /* until the parent has no more requests */
    }
}
