/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"

#define DEFAULT_AGENT_PORT 9001
#define DEFAULT_NET_PORT 9002
#define DEFAULT_NET_WAIT_S 10
#define MIN_MTU6 1280

static bool __attribute__((format(printf, 3, 4)))
lack(char *why, size_t why_size, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(why, why_size, format, args);
    va_end(args);
    return false;
}

/* Returns: the first IPv6 address in a list, or NULL */
static const char *find_ipv6(const struct strings *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strchr(list->item[i], ':')) {
            return list->item[i];
        }
    }
    return NULL;
}

static bool check_mtu(const struct config *config, char *why, size_t why_size)
{
    const char *address = find_ipv6(&config->net_addresses);

    if (!address) {
        address = find_ipv6(&config->net_gateways);
    }
    if (address && config->net_mtu && config->net_mtu < MIN_MTU6) {
        return lack(why, why_size, "net-mtu %u is too small for IPv6 (%s), "
                    "which needs %d bytes: raise it", config->net_mtu, address,
                    MIN_MTU6);
    }
    return true;
}

static bool check_network(const struct config *config, char *why,
                          size_t why_size)
{
    bool described = config->net_addresses.count ||
                     config->net_gateways.count || config->net_dns.count ||
                     config->net_mac || config->net_mtu;

    if (config->net == NET_OFF && described) {
        return lack(why, why_size, "a network without a line 'net dhcp' or "
                    "'net static'");
    }
    if (config->net == NET_STATIC && !config->net_addresses.count) {
        return lack(why, why_size, "net static without a net-address");
    }
    return check_mtu(config, why, why_size);
}

/* Without an agent, what is allowed could never come */
static bool check_agent(const struct config *config, char *why,
                        size_t why_size)
{
    const char *allowed = config->allow_args ? "allow-args"
                          : config->allow_env.count ? "allow-env"
                          : config->allow_files.count ? "allow-file" : NULL;

    if (allowed && !config->agent_port) {
        return lack(why, why_size, "%s with 'agent off': only the agent "
                    "brings what it allows; remove one of the lines", allowed);
    }
    return true;
}

static bool check_whole(const struct config *config, char *why,
                        size_t why_size)
{
    if (!config->command.count) {
        return lack(why, why_size, "no program; a line 'exec PROGRAM' is "
                    "needed");
    }
    if (config->root_image && !config->root) {
        return lack(why, why_size, "a root-image without a root");
    }
    return check_agent(config, why, why_size) &&
           check_network(config, why, why_size);
}

int config_lines(struct config *config, const char *text, char *why,
                 size_t why_size)
{
    int number = 1;

    for (const char *line = text; *line; number++) {
        size_t len = strcspn(line, "\n");
        char wrong[300];

        if (settings_line(config, line, len, wrong, sizeof(wrong))) {
            snprintf(why, why_size, "line %d, %s", number, wrong);
            return -1;
        }
        line += len + (line[len] == '\n');
    }
    return 0;
}

int config_check(const struct config *config, char *why, size_t why_size)
{
    return check_whole(config, why, why_size) ? 0 : -1;
}

int config_parse(struct config *config, const char *text, char *why,
                 size_t why_size)
{
    return config_lines(config, text, why, why_size) ||
           config_check(config, why, why_size) ? -1 : 0;
}

int config_load(struct config *config, const char *path, char *why,
                size_t why_size)
{
    char *text = calloc(1, CONFIG_MAX_BYTES + 2);
    int fd = open(path, O_RDONLY | O_CLOEXEC), result = -1;
    ssize_t n = 0, len = 0;

    while (fd >= 0 && text && len <= CONFIG_MAX_BYTES &&
           (n = read(fd, text + len, CONFIG_MAX_BYTES + 1 - len)) > 0) {
        len += n;
    }
    if (fd < 0 || !text || n < 0) {
        snprintf(why, why_size, "%s: %s", path, strerror(errno));
    } else if (len > CONFIG_MAX_BYTES || memchr(text, 0, len)) {
        snprintf(why, why_size, "%s: more than %d bytes, or a NUL byte", path,
                 CONFIG_MAX_BYTES);
    } else {
        size_t used = snprintf(why, why_size, "%s: ", path);

        result = config_parse(config, text, why + used, why_size - used);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(text);
    return result;
}

void config_init(struct config *config)
{
    *config = (struct config) {
        .umask = 022,
        .stop_signal = SIGTERM,
        .stop_grace_s = 10,
        .linger_s = 5,
        .agent_port = DEFAULT_AGENT_PORT,
        .net_port = DEFAULT_NET_PORT,
        .net_wait_s = DEFAULT_NET_WAIT_S,
    };
}

void config_free(struct config *config)
{
    strings_free(&config->modules);
    strings_free(&config->command);
    strings_free(&config->environment);
    strings_free(&config->net_addresses);
    strings_free(&config->net_gateways);
    strings_free(&config->net_dns);
    strings_free(&config->allow_env);
    strings_free(&config->allow_files);
    free(config->root);
    free(config->root_image);
    free(config->hostname);
    free(config->cwd);
    free(config->user);
    free(config->net_mac);
    config_init(config);
}
