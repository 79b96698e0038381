/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * lab: the one static program of the parent guest, one command per file.
 * Every command prints what it did on stdout, complains on stderr, and
 * returns 0 only when everything it was asked for has happened.
 */

#ifndef NITRO_LAB_GUEST_H
#define NITRO_LAB_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

int agent_main(int argc, char **argv);
int relay_main(int argc, char **argv);
int vsock_main(int argc, char **argv);
int ne_main(int argc, char **argv);
int connections_main(int argc, char **argv);
int attest_main(int argc, char **argv);
int dns_main(int argc, char **argv);
int tcp_main(int argc, char **argv);

/* Print 'lab: TEXT: strerror' and return 1 */
int complain(const char *text);

/* Write all of @buf, also to a slow non-blocking peer; false: see errno */
bool write_all(int fd, const void *buf, size_t len);

/*
 * Copy stdin to socket @fd, and @fd to stdout until it ends; returns 0 when
 * that was orderly
 */
int relay_stdio(int fd);

/* A stream socket, and the address of @path; -1: see errno */
int unix_socket(const char *path, struct sockaddr_un *addr);

/* Seconds, from any epoch */
double now(void);

/*
 * A socket whose connect() waits longer than the 2 s that a busy host may
 * need; exits when it cannot be made
 */
int vsock_socket(void);

/* Connect a stream socket; exits when that fails */
int vsock_dial(const char *cid, const char *port);

/*
 * Echo to all who connect to a bound socket; says "serving" first, and returns
 * when that failed
 */
int serve_echo(int listener);

/* Commands of lab vsock with many connections; arguments as there */
int vsock_serve(char **argv);
int vsock_again(char **argv);
int vsock_many(char **argv);

/* lab vsock proxy; arguments as there */
int vsock_proxy(char **argv);

/* Decimal or 0x number; exits with a usage error for any other text */
uint64_t number(const char *text);

#endif
