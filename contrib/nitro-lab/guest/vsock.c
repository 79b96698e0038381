/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * lab vsock: the parent's side of vsock conversations.
 *
 *   cid                    print the local CID
 *   connect CID PORT       relay to stdin and stdout
 *   listen PORT            say so, accept one peer, print its CID, relay
 *   echo CID PORT TEXT     send TEXT, expect it back
 *   bulk CID PORT BYTES    send BYTES in odd chunks to an echo service and
 *                          check every byte that comes back
 *   stream CID PORT SECONDS RATE
 *                          the same for that long, at most RATE bytes a
 *                          second; when the time is up, or SIGTERM comes,
 *                          all has to come back.
 *                          Prints how many bytes went and came in any case;
 *                          exit status 3 when the peer was lost
 *   ping CID PORT COUNT    send a byte to an echo service and wait for it,
 *                          so often; print the median and the worst
 *   serve PORT             echo to any number of peers, from one process
 *   proxy PORT PATH        give each peer one who connects to a unix socket;
 *                          see vsock-proxy.c
 *   again CID PORT COUNT SOURCE PORTS HOW
 *                          use ports SOURCE and so on, in turn, for one
 *                          connection after another; see vsock-many.c
 *   many CID PORT COUNT    so many connections at once, each sends a byte and
 *                          gets it back; stays until stdin ends
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "lab.h"

#define BULK_BUFFER 65536
#define STALL_MS    30000
#define PACE_MS     10
#define CONNECT_S   60

static struct sockaddr_vm address(uint32_t cid, uint32_t port)
{
    struct sockaddr_vm addr = {
        .svm_family = AF_VSOCK,
        .svm_cid = cid,
        .svm_port = port,
    };

    return addr;
}

int vsock_socket(void)
{
    struct timeval patience = { .tv_sec = CONNECT_S };
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT,
                             &patience, sizeof(patience))) {
        exit(complain("socket"));
    }
    return fd;
}

int vsock_dial(const char *cid, const char *port)
{
    struct sockaddr_vm addr = address(number(cid), number(port));
    int fd = vsock_socket();

    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
        exit(complain("connect"));
    }
    return fd;
}

static int do_cid(char **argv)
{
    int fd = open("/dev/vsock", O_RDONLY);
    uint32_t cid;

    (void)argv;
    if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid)) {
        return complain("/dev/vsock");
    }
    printf("%" PRIu32 "\n", cid);
    return 0;
}

static int do_connect(char **argv)
{
    return relay_stdio(vsock_dial(argv[0], argv[1]));
}

static int do_listen(char **argv)
{
    struct sockaddr_vm addr = address(VMADDR_CID_ANY, number(argv[0]));
    socklen_t len = sizeof(addr);
    int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd;

    if (listener < 0 ||
        bind(listener, (struct sockaddr *)&addr, sizeof(addr)) ||
        listen(listener, 1)) {
        return complain("listen");
    }
    printf("listening\n");
    fflush(stdout);
    fd = accept(listener, (struct sockaddr *)&addr, &len);
    if (fd < 0) {
        return complain("accept");
    }
    printf("accepted cid %u\n", addr.svm_cid);
    fflush(stdout);
    return relay_stdio(fd);
}

static int do_echo(char **argv)
{
    size_t len = strlen(argv[2]), have = 0;
    int fd = vsock_dial(argv[0], argv[1]);
    char *reply = calloc(1, len + 1);

    if (!write_all(fd, argv[2], len)) {
        return complain("write");
    }
    while (have < len) {
        ssize_t n = read(fd, reply + have, len - have);

        if (n <= 0) {
            return complain("read");
        }
        have += n;
    }
    printf("%s\n", reply);
    return strcmp(reply, argv[2]) != 0;
}

/* A byte stream that repeats only after 2^64 - 1 words */
struct stream {
    uint64_t state, word;
    uint64_t position;
};

static void stream_fill(struct stream *s, uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++, s->position++) {
        if (!(s->position & 7)) {
            s->state ^= s->state << 13;
            s->state ^= s->state >> 7;
            s->state ^= s->state << 17;
            s->word = s->state;
        }
        buf[i] = s->word >> (8 * (s->position & 7));
    }
}

/* Chunk sizes that fit no buffer, page or packet size */
static size_t odd_chunk(uint64_t round, uint64_t left)
{
    static const size_t sizes[] = { 1, 3, 977, 4097, 65521, 12347, 31, 8191 };
    size_t size = sizes[round % (sizeof(sizes) / sizeof(*sizes))];

    return size < left ? size : left;
}

/* What goes to an echo service, and has to come back */
struct echo {
    int fd;
    struct stream sent, received;
    uint8_t chunk[BULK_BUFFER];
    size_t size, done;          /* of the chunk; so much of it is sent */
    uint64_t round;
};

enum outcome { INTACT, WRONG, STALLED, LOST };

static void echo_begin(struct echo *e, int fd)
{
    e->fd = fd;
    e->sent.state = 88172645463325252ULL;
    e->received = e->sent;
}

static enum outcome echo_receive(struct echo *e)
{
    static uint8_t got[BULK_BUFFER], want[BULK_BUFFER];
    ssize_t n = read(e->fd, got, sizeof(got));

    if (n <= 0) {
        errno = n ? errno : EPIPE;
        complain("read");
        return LOST;
    }
    stream_fill(&e->received, want, n);
    if (memcmp(got, want, n)) {
        fprintf(stderr, "lab: wrong data before byte %" PRIu64 "\n",
                e->received.position);
        return WRONG;
    }
    return INTACT;
}

/* Bytes of a chunk that are not sent do not count */
static uint64_t echo_sent(const struct echo *e)
{
    return e->sent.position - (e->size - e->done);
}

static enum outcome echo_send(struct echo *e)
{
    ssize_t n = send(e->fd, e->chunk + e->done, e->size - e->done,
                     MSG_DONTWAIT);

    if (n < 0 && errno != EAGAIN) {
        complain("send");
        return LOST;
    }
    e->done += n > 0 ? n : 0;
    return INTACT;
}

/* Send, up to so many bytes altogether, and receive what there is */
static enum outcome echo_step(struct echo *e, uint64_t limit, int timeout)
{
    struct pollfd p = { .fd = e->fd, .events = POLLIN };
    enum outcome outcome = INTACT;

    if (e->done == e->size && e->sent.position < limit) {
        e->size = odd_chunk(e->round++, limit - e->sent.position);
        stream_fill(&e->sent, e->chunk, e->size);
        e->done = 0;
    }
    p.events |= e->done < e->size ? POLLOUT : 0;
    if (poll(&p, 1, timeout) <= 0) {
        return STALLED;
    }
    if (p.revents & POLLOUT) {
        outcome = echo_send(e);
    }
    if (outcome == INTACT && (p.revents & ~POLLOUT)) {
        outcome = echo_receive(e);
    }
    return outcome;
}

/* Send up to @limit bytes and have all back */
static enum outcome echo_all(struct echo *e, uint64_t limit)
{
    enum outcome outcome = INTACT;

    while (outcome == INTACT && e->received.position < limit) {
        outcome = echo_step(e, limit, STALL_MS);
    }
    if (outcome == STALLED) {
        fprintf(stderr, "lab: stalled at byte %" PRIu64 "\n",
                e->received.position);
    }
    return outcome;
}

double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static int do_ping(char **argv)
{
    uint64_t count = number(argv[2]);
    int fd = vsock_dial(argv[0], argv[1]);
    double *took = calloc(count, sizeof(*took));
    char byte = 'p';

    for (uint64_t i = 0; i < count; i++) {
        double begun = now();

        if (!write_all(fd, &byte, 1) || read(fd, &byte, 1) != 1) {
            return complain("ping");
        }
        took[i] = now() - begun;
    }
    qsort(took, count, sizeof(*took), compare_doubles);
    printf("round trip %.0f us, at worst %.0f us\n", took[count / 2] * 1e6,
           took[count - 1] * 1e6);
    return 0;
}

static int do_bulk(char **argv)
{
    static struct echo e;
    uint64_t total = number(argv[2]);
    double begun;

    echo_begin(&e, vsock_dial(argv[0], argv[1]));
    begun = now();
    if (echo_all(&e, total) != INTACT) {
        return 1;
    }
    printf("%" PRIu64 " bytes intact, %.1f MB/s each way\n", total,
           total / 1e6 / (now() - begun));
    return 0;
}

static volatile sig_atomic_t enough;

static void on_term(int number)
{
    (void)number;
    enough = 1;
}

static int do_stream(char **argv)
{
    struct sigaction action = { .sa_handler = on_term };
    static struct echo e;
    double begun = now(), seconds = number(argv[2]), left = seconds;
    uint64_t rate = number(argv[3]);
    enum outcome outcome = INTACT;

    echo_begin(&e, vsock_dial(argv[0], argv[1]));
    sigaction(SIGTERM, &action, NULL);
    printf("connected\n");
    fflush(stdout);
    while (outcome == INTACT && left > 0 && !enough) {
        outcome = echo_step(&e, rate * (seconds - left), PACE_MS);
        /* Nothing to send at this rate, and nothing has come */
        outcome = outcome == STALLED ? INTACT : outcome;
        left = begun + seconds - now();
    }
    if (outcome == INTACT) {
        outcome = echo_all(&e, e.sent.position);
    }
    printf("sent %" PRIu64 " received %" PRIu64 "\n", echo_sent(&e),
           e.received.position);
    return outcome;
}

int vsock_main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int args;
        int (*run)(char **argv);
    } verbs[] = {
        { "cid", 0, do_cid },
        { "connect", 2, do_connect },
        { "listen", 1, do_listen },
        { "echo", 3, do_echo },
        { "bulk", 3, do_bulk },
        { "stream", 4, do_stream },
        { "ping", 3, do_ping },
        { "serve", 1, vsock_serve },
        { "proxy", 2, vsock_proxy },
        { "again", 6, vsock_again },
        { "many", 3, vsock_many },
    };

    for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
        if (argc == verbs[i].args + 2 && !strcmp(argv[1], verbs[i].name)) {
            return verbs[i].run(argv + 2);
        }
    }
    fprintf(stderr, "usage: lab vsock cid | connect CID PORT | listen PORT |"
            " echo CID PORT TEXT | bulk CID PORT BYTES |"
            " stream CID PORT SECONDS RATE | ping CID PORT COUNT |"
            " serve PORT | proxy PORT PATH |"
            " again CID PORT COUNT SOURCE PORTS HOW |"
            " many CID PORT COUNT\n");
    return 2;
}
