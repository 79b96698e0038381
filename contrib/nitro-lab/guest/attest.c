/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * lab attest CID NONCE: have a demo enclave make an attestation document with
 * this text as its nonce, and write the document to stdout.  The enclave
 * passes the request on to its security module (enclave/nsm.h); both are CBOR:
 *
 *   request   { "Attestation": { "nonce": bytes } }
 *   reply     { "Attestation": { "document": bytes } }
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lab.h"

#define NSM_PORT "5008"
#define NONCE_MAX 255
#define REPLY_MAX 0x3000

#define REQUEST "\xa1\x6b" "Attestation" "\xa1\x65" "nonce" "\x58"
#define REQUEST_LEN (sizeof(REQUEST) - 1)
#define REPLY "\xa1\x6b" "Attestation" "\xa1\x68" "document" "\x59"
/* With the length of the document, in two bytes */
#define REPLY_LEN (sizeof(REPLY) - 1 + 2)

static bool ask(int fd, const char *nonce)
{
    uint8_t request[2 + REQUEST_LEN + 1 + NONCE_MAX];
    size_t nonce_len = strlen(nonce);
    size_t len = REQUEST_LEN + 1 + nonce_len;

    request[0] = len >> 8;
    request[1] = len;
    memcpy(request + 2, REQUEST, REQUEST_LEN);
    request[2 + REQUEST_LEN] = nonce_len;
    memcpy(request + 2 + REQUEST_LEN + 1, nonce, nonce_len);
    return write_all(fd, request, 2 + len);
}

static bool read_all(int fd, uint8_t *buf, size_t len)
{
    while (len) {
        ssize_t n = read(fd, buf, len);

        if (n <= 0) {
            errno = n ? errno : ECONNRESET;
            return false;
        }
        buf += n;
        len -= n;
    }
    return true;
}

/* Returns: length of the module's reply; 0 on failure, see errno */
static size_t read_reply(int fd, uint8_t reply[REPLY_MAX])
{
    uint8_t head[4];
    size_t len;

    if (!read_all(fd, head, sizeof(head))) {
        return 0;
    }
    errno = head[0] << 8 | head[1];
    len = head[2] << 8 | head[3];
    if (errno) {
        return 0;
    }
    if (len > REPLY_MAX) {
        errno = EMSGSIZE;
        return 0;
    }
    return read_all(fd, reply, len) ? len : 0;
}

int attest_main(int argc, char **argv)
{
    uint8_t reply[REPLY_MAX];
    size_t len;
    int fd;

    if (argc != 3 || strlen(argv[2]) > NONCE_MAX) {
        fprintf(stderr, "usage: lab attest CID NONCE\n");
        return 2;
    }
    fd = vsock_dial(argv[1], NSM_PORT);
    if (!ask(fd, argv[2])) {
        return complain("write");
    }
    len = read_reply(fd, reply);
    if (!len) {
        return complain("reply");
    }
    if (len <= REPLY_LEN || memcmp(reply, REPLY, sizeof(REPLY) - 1)) {
        fprintf(stderr, "lab: the module made no document\n");
        return 1;
    }
    return write_all(STDOUT_FILENO, reply + REPLY_LEN, len - REPLY_LEN)
           ? 0 : complain("stdout");
}
