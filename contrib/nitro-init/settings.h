/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * What a configuration says, and its lines: "KEY VALUE".  README.md lists the
 * keys.  An unknown key or an impossible value is an error: a typing mistake
 * must not silently start another enclave than the one that was meant.
 */

#ifndef NITRO_INIT_SETTINGS_H
#define NITRO_INIT_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "string-list.h"

enum heartbeat_mode { HEARTBEAT_TRY, HEARTBEAT_REQUIRE, HEARTBEAT_OFF };
enum console_mode { CONSOLE_AUTO, CONSOLE_ON, CONSOLE_OFF };
enum overflow_mode { OVERFLOW_DROP, OVERFLOW_BLOCK };
enum net_mode { NET_OFF, NET_DHCP, NET_STATIC };
enum clock_mode { CLOCK_AUTO, CLOCK_PTP, CLOCK_NSM, CLOCK_OFF };

struct config {
    char *root;                     /* becomes "/"; NULL: "/" is kept */
    char *root_image;               /* mounted there before; NULL: nothing */
    struct strings modules;         /* files, in load order */
    char *hostname;
    struct strings command;         /* program, then its arguments */
    struct strings environment;     /* NAME=VALUE */
    char *cwd;
    char *user;                     /* USER[:GROUP], names or numbers */
    mode_t umask;
    int stop_signal;
    unsigned stop_grace_s;          /* from the stop signal to SIGKILL */
    unsigned linger_s;              /* wait for the parent to take the end */
    enum heartbeat_mode heartbeat;
    enum console_mode console;      /* auto: in debug mode */
    enum overflow_mode overflow;
    enum clock_mode clock;
    unsigned agent_port;            /* at the parent; 0: no agent */
    enum net_mode net;              /* off: no TAP, whatever the parent has */
    unsigned net_port;              /* at the parent */
    unsigned net_mtu;               /* 0: the server's, else 1500 */
    unsigned net_wait_s;            /* for an address, before the program */
    char *net_mac;                  /* NULL: random */
    struct strings net_addresses;   /* ADDRESS/PREFIX */
    struct strings net_gateways;    /* addresses */
    struct strings net_dns;         /* addresses; resolvers take 3 */
    struct strings allow_env;       /* names the parent may set */
    struct strings allow_files;     /* absolute names the parent may write */
    bool allow_args;                /* the parent may append arguments */
    uint64_t seen[2];               /* keys that were set; [1]: for IPv6 */
};

/*
 * settings_line: read one line of @len bytes into @config
 *
 * Returns: 0, or -1 with @why filled in: "'KEY': what is wrong"
 */
int settings_line(struct config *config, const char *line, size_t len,
                  char *why, size_t why_size);

#endif
