/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * lab ne STEP...: drive /dev/nitro_enclaves step by step in one process and
 * print one line per step, 'STEP ok VALUE' or 'STEP errno NUMBER'.
 *
 *   create          NE_CREATE_VM, prints the slot
 *   info FLAGS      NE_GET_IMAGE_LOAD_INFO, prints the offset
 *   memory MIB      huge pages, donated in one call
 *   small MIB       ordinary pages, offered the same way
 *   image FILE      copy FILE to the load offset (before 'donate')
 *   map MIB         huge pages, not donated yet
 *   donate          donate what 'map' made
 *   vcpu ID         NE_ADD_VCPU, prints the CPU
 *   start FLAGS CID NE_START_ENCLAVE, prints the CID
 *   wait MS         poll the enclave; prints 16 (POLLHUP) or 0
 *   hold            say so, then wait for the end of stdin
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/nitro_enclaves.h>

#include "lab.h"

#define IMAGE_OFFSET (8 << 20)
#define GRANULE ((uintptr_t)2 << 20)

static int device = -1, enclave = -1;
static void *memory;
static uint64_t memory_size;

static int64_t do_create(char **args)
{
    uint64_t slot = 0;

    (void)args;
    device = open("/dev/nitro_enclaves", O_RDWR | O_CLOEXEC);
    if (device < 0) {
        return -1;
    }
    enclave = ioctl(device, NE_CREATE_VM, &slot);
    return enclave < 0 ? -1 : (int64_t)(slot & INT64_MAX);
}

static int64_t do_info(char **args)
{
    struct ne_image_load_info info = { .flags = number(args[0]) };

    return ioctl(enclave, NE_GET_IMAGE_LOAD_INFO, &info) ? -1
           : (int64_t)info.memory_offset;
}

static int64_t map(const char *mib, int flags)
{
    memory_size = number(mib) << 20;
    memory = mmap(NULL, memory_size + GRANULE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (memory == MAP_FAILED) {
        return -1;
    }
    memory = (void *)(((uintptr_t)memory + GRANULE - 1) & -GRANULE);
    return memory_size;
}

static int64_t do_map(char **args)
{
    memory_size = number(args[0]) << 20;
    memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    return memory == MAP_FAILED ? -1 : (int64_t)memory_size;
}

static int64_t do_donate(char **args)
{
    struct ne_user_memory_region region = {
        .memory_size = memory_size,
        .userspace_addr = (uintptr_t)memory,
    };

    (void)args;
    return ioctl(enclave, NE_SET_USER_MEMORY_REGION, &region);
}

static int64_t do_memory(char **args)
{
    return do_map(args) < 0 ? -1 : do_donate(args);
}

static int64_t do_small(char **args)
{
    return map(args[0], 0) < 0 ? -1 : do_donate(args);
}

static int64_t do_image(char **args)
{
    int fd = open(args[0], O_RDONLY | O_CLOEXEC);
    uint64_t done = IMAGE_OFFSET;
    ssize_t n = 1;

    while (fd >= 0 && done < memory_size && n > 0) {
        n = read(fd, (char *)memory + done, memory_size - done);
        done += n > 0 ? n : 0;
    }
    if (fd < 0 || n < 0) {
        return -1;
    }
    close(fd);
    return done - IMAGE_OFFSET;
}

static int64_t do_vcpu(char **args)
{
    uint32_t id = number(args[0]);

    return ioctl(enclave, NE_ADD_VCPU, &id) ? -1 : (int64_t)id;
}

static int64_t do_start(char **args)
{
    struct ne_enclave_start_info info = {
        .flags = number(args[0]),
        .enclave_cid = number(args[1]),
    };

    return ioctl(enclave, NE_START_ENCLAVE, &info) ? -1
           : (int64_t)info.enclave_cid;
}

static int64_t do_wait(char **args)
{
    struct pollfd p = { .fd = enclave, .events = POLLIN };

    return poll(&p, 1, number(args[0])) < 0 ? -1 : p.revents;
}

static int64_t do_hold(char **args)
{
    ssize_t n;
    char c;

    (void)args;
    printf("holding\n");
    fflush(stdout);
    do {
        n = read(STDIN_FILENO, &c, 1);
    } while (n > 0);
    return n;
}

static const struct step {
    const char *name;
    int args;
    int64_t (*run)(char **args);
} steps[] = {
    { "create", 0, do_create },
    { "info", 1, do_info },
    { "memory", 1, do_memory },
    { "small", 1, do_small },
    { "map", 1, do_map },
    { "donate", 0, do_donate },
    { "image", 1, do_image },
    { "vcpu", 1, do_vcpu },
    { "start", 2, do_start },
    { "wait", 1, do_wait },
    { "hold", 0, do_hold },
};

static const struct step *find_step(const char *name)
{
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        if (!strcmp(name, steps[i].name)) {
            return &steps[i];
        }
    }
    fprintf(stderr, "lab ne: no step '%s'\n", name);
    exit(2);
}

int ne_main(int argc, char **argv)
{
    bool failed = false;
    int at = 1;

    while (at < argc) {
        const struct step *step = find_step(argv[at]);
        int64_t value;

        if (at + step->args >= argc) {
            fprintf(stderr, "lab ne: '%s' wants a value\n", step->name);
            return 2;
        }
        value = step->run(argv + at + 1);
        if (value < 0) {
            printf("%s errno %d\n", step->name, errno);
        } else {
            printf("%s ok %" PRIi64 "\n", step->name, value);
        }
        fflush(stdout);
        failed |= value < 0;
        at += 1 + step->args;
    }
    return failed;
}
