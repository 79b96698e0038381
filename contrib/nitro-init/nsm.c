/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Requests in CBOR, made by hand: each is a map of one key to a map.  From
 * an answer one value is wanted, which is found by the key before it.
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "nsm.h"

/* Limits of the Linux driver */
#define REQUEST_SIZE  0x1000
#define REPLY_SIZE    0x3000

struct nsm_buffer {
    uint64_t addr, len;
};

struct nsm_message {
    struct nsm_buffer request, reply;
};

#define NSM_RAW _IOWR(0x0a, 0x0, struct nsm_message)

struct request {
    uint8_t data[REQUEST_SIZE];
    size_t len;
};

static void add(struct request *request, const void *data, size_t len)
{
    memcpy(request->data + request->len, data, len);
    request->len += len;
}

static void add_byte(struct request *request, uint8_t byte)
{
    add(request, &byte, 1);
}

static void add_text(struct request *request, const char *text)
{
    add_byte(request, 0x60 + strlen(text));
    add(request, text, strlen(text));
}

/* { @name: { "index": @index, ... @pairs in all */
static void begin(struct request *request, const char *name, int pairs,
                  unsigned index)
{
    request->len = 0;
    add_byte(request, 0xa1);
    add_text(request, name);
    add_byte(request, 0xa0 + pairs);
    add_text(request, "index");
    if (index > 23) {
        add_byte(request, 0x18);
    }
    add_byte(request, index);
}

/* Returns: length of the answer, or -1 */
static ssize_t ask(struct request *request, uint8_t *reply)
{
    struct nsm_message message = {
        .request = { (uintptr_t)request->data, request->len },
        .reply = { (uintptr_t)reply, REPLY_SIZE },
    };
    int fd = open("/dev/nsm", O_RDWR | O_CLOEXEC), result, err;

    if (fd < 0) {
        return -1;
    }
    result = ioctl(fd, NSM_RAW, &message);
    err = errno;
    close(fd);
    errno = err;
    return result < 0 ? -1 : (ssize_t)message.reply.len;
}

/* The bytes behind @key in an answer, @len of them; NULL if not there */
static const uint8_t *find(const uint8_t *reply, size_t reply_len,
                           const char *key, size_t len)
{
    size_t key_len = strlen(key);

    for (size_t i = 0; i + key_len + len <= reply_len; i++) {
        if (!memcmp(reply + i, key, key_len)) {
            return reply + i + key_len;
        }
    }
    return NULL;
}

/* Ask, and get @len bytes that stand behind @key in the answer */
static int ask_for(struct request *request, const char *key, void *value,
                   size_t len)
{
    uint8_t reply[REPLY_SIZE];
    ssize_t reply_len = ask(request, reply);
    const uint8_t *found;

    if (reply_len < 0) {
        return -1;
    }
    found = find(reply, reply_len, key, len);
    if (!found) {
        errno = EPROTO;
        return -1;
    }
    if (len) {
        memcpy(value, found, len);
    }
    return 0;
}

int nsm_register(unsigned index, uint8_t value[NSM_REGISTER_SIZE])
{
    struct request request;

    begin(&request, "DescribePCR", 1, index);
    return ask_for(&request, "\x64" "data" "\x58\x30", value,
                   NSM_REGISTER_SIZE);
}

int nsm_extend(unsigned index, const void *data, size_t len)
{
    uint8_t head[] = { 0x59, len >> 8, len }, value[NSM_REGISTER_SIZE];
    struct request request;

    begin(&request, "ExtendPCR", 2, index);
    add_text(&request, "data");
    add(&request, head, sizeof(head));
    add(&request, data, len);
    return ask_for(&request, "\x64" "data" "\x58\x30", value, sizeof(value));
}

int nsm_lock(unsigned index)
{
    struct request request;

    begin(&request, "LockPCR", 1, index);
    return ask_for(&request, "\x67" "LockPCR", NULL, 0);
}

int nsm_time(uint64_t *ms)
{
    /* { "Attestation": { "user_data": null, "nonce": null, ... } } */
    static const char *const fields[] = { "user_data", "nonce", "public_key" };
    struct request request = { .len = 0 };
    uint8_t value[sizeof(*ms)];

    add_byte(&request, 0xa1);
    add_text(&request, "Attestation");
    add_byte(&request, 0xa3);
    for (int i = 0; i < 3; i++) {
        add_text(&request, fields[i]);
        add_byte(&request, 0xf6);
    }
    if (ask_for(&request, "\x69" "timestamp" "\x1b", value, sizeof(value))) {
        return -1;
    }
    *ms = 0;
    for (size_t i = 0; i < sizeof(value); i++) {
        *ms = *ms << 8 | value[i];
    }
    return 0;
}
