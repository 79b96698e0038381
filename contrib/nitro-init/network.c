/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * Files that the image brings with content are measured, so they are kept.
 */

#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "network.h"

static int raise_interface(const char *name)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result = -1;
    struct ifreq request = { 0 };

    strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
    if (fd >= 0 && !ioctl(fd, SIOCGIFFLAGS, &request)) {
        request.ifr_flags |= IFF_UP;
        result = ioctl(fd, SIOCSIFFLAGS, &request);
    }
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

/* A link that leads nowhere, as some builders leave, is replaced */
static void write_new(const char *path, const char *text)
{
    int fd;

    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        warn("cannot write %s", path);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void write_if_empty(const char *path, const char *text)
{
    struct stat info;

    if (stat(path, &info) || !info.st_size) {
        write_new(path, text);
    }
}

void network_init(const char *hostname)
{
    char hosts[512];

    if (!hostname) {
        hostname = "enclave";
    }
    if (raise_interface("lo")) {
        warn("cannot bring the loopback interface up");
    }
    if (sethostname(hostname, strlen(hostname))) {
        warn("cannot set host name '%s'", hostname);
    }
    mkdir("/etc", 0755);
    snprintf(hosts, sizeof(hosts), "127.0.0.1 localhost %s\n"
             "::1 localhost ip6-localhost ip6-loopback\n", hostname);
    write_if_empty("/etc/hosts", hosts);
    write_if_empty("/etc/resolv.conf", "# no network\n");
}

void network_resolve(const char *const *servers, size_t count)
{
    char text[1024];
    size_t used = 0;

    for (size_t i = 0; i < count && used < sizeof(text); i++) {
        used += snprintf(text + used, sizeof(text) - used, "nameserver %s\n",
                         servers[i]);
    }
    if (used < sizeof(text)) {
        write_new("/etc/resolv.conf", text);
    }
}
