/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Configuration of an enclave's init: what the measured ramdisk says about
 * the application and about what the parent may add to it.
 *
 * One setting per line, "KEY VALUE"; README.md lists the keys.  An unknown
 * key or an impossible value is an error: a typing mistake must not silently
 * start another enclave than the one that was meant.
 */

#ifndef NITRO_INIT_CONFIG_H
#define NITRO_INIT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Largest configuration, in bytes, and most values of one list */
#define CONFIG_MAX_BYTES  (256 * 1024)
#define CONFIG_MAX_ITEMS  1024

/* A list of strings; @item ends with NULL, as exec() wants it */
struct strings {
    char **item;
    size_t count;
};

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
 * config_init: set the defaults, as an empty configuration does
 */
void config_init(struct config *config);

/*
 * config_parse: read settings from @text into @config
 * @config: initialised by config_init()
 * @text: NUL-terminated; is left as found
 * @why: filled in on failure with one line that names the line number
 * @why_size: bytes there
 *
 * Returns: 0, or -1 with @why filled in; @config then holds what came before
 * the faulty line.  config_free() is needed in both cases.
 */
int config_parse(struct config *config, const char *text, char *why,
                 size_t why_size);

/*
 * config_line: read one line of @len bytes
 *
 * Returns: 0, or -1 with @why filled in: "'KEY': what is wrong"
 */
int config_line(struct config *config, const char *line, size_t len,
                char *why, size_t why_size);

/* config_lines: as config_parse(), for a part of the lines */
int config_lines(struct config *config, const char *text, char *why,
                 size_t why_size);

/* config_check: see whether all lines together make a configuration */
int config_check(const struct config *config, char *why, size_t why_size);

/* config_load: as config_parse(), from file @path */
int config_load(struct config *config, const char *path, char *why,
                size_t why_size);

void config_free(struct config *config);

/*
 * strings_add: append a copy of the first @len bytes of @text
 *
 * Returns: 0, or -1 when the list has CONFIG_MAX_ITEMS already or memory is
 * short.
 */
int strings_add(struct strings *list, const char *text, size_t len);

/* strings_has: whether one of the strings is the first @len bytes of @text */
bool strings_has(const struct strings *list, const char *text, size_t len);

/*
 * strings_variable: find NAME=VALUE by the name, the first @len bytes of @name
 *
 * Returns: the place of the string in the list; NULL when it has no such one.
 */
char **strings_variable(const struct strings *list, const char *name,
                        size_t len);

/*
 * signal_number: "TERM", "SIGTERM", "RTMIN+3", "RTMAX-2" or "15" as a number
 *
 * Returns: the number, 1 to 64; 0 if Linux has no such signal
 */
int signal_number(const char *name);

#endif
