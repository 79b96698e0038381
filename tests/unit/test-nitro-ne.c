/*
 * Nitro Enclaves driver wrapper: requests, results, causes and remedies
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * accel/nitro/ne.c runs unchanged on a model of the driver, whose rules are
 * listed at the top of tests/nitro/ne-model.c.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/memalign.h"
#include "qemu/units.h"
#include "standard-headers/linux/nitro_enclaves.h"
#include <poll.h>
#include <sys/ioctl.h>
#include "accel/nitro/ne.h"
#include "tests/nitro/error-text.h"
#include "tests/nitro/ne-model.h"

#define RAM_START ((void *)(uintptr_t)(512 * MiB))

/* libc's, replaced: all requests are the driver's */
int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *arg;

    va_start(args, request);
    arg = va_arg(args, void *);
    va_end(args);
    return ne_model_ioctl(fd, request, arg);
}

/* A created enclave and what goes with it */
typedef struct Fixture {
    int device_fd;
    int fd;
    uint64_t slot;
} Fixture;

static void set_up(Fixture *f, const void *unused)
{
    ne_model_reset();
    f->device_fd = ne_open("/dev/null", &error_abort);
    g_assert_cmpint(f->device_fd, >=, 0);
    f->fd = ne_create_vm(f->device_fd, &f->slot, &error_abort);
    g_assert_cmpint(f->fd, >=, 0);
}

static void tear_down(Fixture *f, const void *unused)
{
    close(f->fd);
    close(f->device_fd);
    ne_model_reset();
}

/* Every request once, for tables over all of them */

static int call_create(Fixture *f, Error **errp)
{
    uint64_t slot;
    int fd = ne_create_vm(f->device_fd, &slot, errp);

    if (fd >= 0) {
        close(fd);
    }
    return fd;
}

static int call_add_vcpu(Fixture *f, Error **errp)
{
    uint32_t cpu = 0;

    return ne_add_vcpu(f->fd, &cpu, errp);
}

static int call_load_info(Fixture *f, Error **errp)
{
    uint64_t offset;

    return ne_get_image_load_offset(f->fd, &offset, errp);
}

static int call_add_memory(Fixture *f, Error **errp)
{
    return ne_add_memory(f->fd, RAM_START, 64 * MiB, errp);
}

static int call_start(Fixture *f, Error **errp)
{
    uint64_t cid = 0;

    return ne_start_enclave(f->fd, false, &cid, errp);
}

static const struct Call {
    const char *name;
    unsigned long request;
    int (*call)(Fixture *f, Error **errp);
} all_calls[] = {
    { "NE_CREATE_VM", NE_CREATE_VM, call_create },
    { "NE_ADD_VCPU", NE_ADD_VCPU, call_add_vcpu },
    { "NE_GET_IMAGE_LOAD_INFO", NE_GET_IMAGE_LOAD_INFO, call_load_info },
    { "NE_SET_USER_MEMORY_REGION", NE_SET_USER_MEMORY_REGION,
      call_add_memory },
    { "NE_START_ENCLAVE", NE_START_ENCLAVE, call_start },
};

/* Expected: cause and a word of the remedy, wherever the code comes from */
static const struct Code {
    int err;
    const char *name;
    const char *cause;
    const char *hint;
} all_codes[] = {
    { 256, "NE_ERR_VCPU_ALREADY_USED", "belongs to this enclave already",
      "Name each CPU once" },
    { 257, "NE_ERR_VCPU_NOT_IN_CPU_POOL", "not in the enclave CPU pool",
      "parameters/ne_cpus" },
    { 258, "NE_ERR_VCPU_INVALID_CPU_CORE", "core is outside of the enclave",
      "parameters/ne_cpus" },
    { 259, "NE_ERR_INVALID_MEM_REGION_SIZE", "not a multiple of 2 MiB",
      "-m 512M" },
    { 260, "NE_ERR_INVALID_MEM_REGION_ADDR", "not memory of this process",
      "Leave out memory-backend=" },
    { 261, "NE_ERR_UNALIGNED_MEM_REGION_ADDR", "not a multiple of 2 MiB",
      "Leave out memory-backend=" },
    { 262, "NE_ERR_MEM_REGION_ALREADY_USED", "donated before",
      "Run QEMU again" },
    { 263, "NE_ERR_MEM_NOT_HUGE_PAGE", "not backed by huge pages",
      "hugetlb=on" },
    { 264, "NE_ERR_MEM_DIFFERENT_NUMA_NODE", "another NUMA node",
      "host-nodes=" },
    { 265, "NE_ERR_MEM_MAX_REGIONS", "more separate regions",
      "page-size=1G" },
    { 266, "NE_ERR_NO_MEM_REGIONS_ADDED", "has no memory", "-m 512M" },
    { 267, "NE_ERR_NO_VCPUS_ADDED", "has no vCPU", "-smp 2" },
    { 268, "NE_ERR_ENCLAVE_MEM_MIN_SIZE", "less than 64 MiB", "-m 64M" },
    { 269, "NE_ERR_FULL_CORES_NOT_USED", "not a whole number of CPU cores",
      "-smp 2 or -smp 4" },
    { 270, "NE_ERR_NOT_IN_INIT_STATE", "started before, or has ended",
      "Run QEMU again" },
    { 271, "NE_ERR_INVALID_VCPU", "no CPU with that number",
      "parameters/ne_cpus" },
    { 272, "NE_ERR_NO_CPUS_AVAIL_IN_POOL", "the enclave CPU pool",
      "cpu_count" },
    { 273, "NE_ERR_INVALID_PAGE_SIZE", "cannot use huge pages of this size",
      "hugetlbsize=2M" },
    { 274, "NE_ERR_INVALID_FLAG_VALUE", "does not know the flags",
      "Update the kernel" },
    { 275, "NE_ERR_INVALID_ENCLAVE_CID", "reserved or out of range",
      "enclave-cid=0" },
    { ENOENT, "No such file or directory", "does not know this enclave",
      "Run QEMU again" },
    { EACCES, "Permission denied", "not permitted", "security policy" },
    { EPERM, "Operation not permitted", "not permitted", "seccomp" },
    { ENOTTY, "Inappropriate ioctl for device", "not belong to the Nitro",
      "device=/dev/nitro_enclaves" },
    { EIO, "Input/output error", "the hypervisor failed", "dmesg" },
    { ENOMEM, "Cannot allocate memory", "", "" },
    { ENOSPC, "No space left on device", "no room", "End another enclave" },
    { ETIMEDOUT, "Connection timed out", "120 seconds", "dmesg" },
    { EMFILE, "Too many open files", "too many files open", "ulimit -n" },
    { ENFILE, "Too many open files in system", "too many files open",
      "file-max" },
    { EFAULT, "Bad address", "", "" },
    { EINVAL, "Invalid argument", "", "" },
    { EBUSY, "Device or resource busy", "in use", "in a moment" },
    { EAGAIN, "Resource temporarily unavailable", "cannot do this now",
      "in a moment" },
    { ENODEV, "No such device", "is gone", "modprobe nitro_enclaves" },
    { ENXIO, "No such device or address", "is gone",
      "modprobe nitro_enclaves" },
    { EBADF, "Bad file descriptor", "closed", "report" },
    { EOPNOTSUPP, "Operation not supported", "not support", "instance type" },
};

/* Rows that are worded for one request */
static const struct Special {
    unsigned long request;
    int err;
    const char *cause;
    const char *hint;
} specials[] = {
    { NE_CREATE_VM, 272, "is empty or wholly in use", "Raise cpu_count" },
    { NE_ADD_VCPU, 272, "has no free CPU left", "Lower -smp" },
    { NE_ADD_VCPU, EIO, "not the one that created", "another process" },
    { NE_SET_USER_MEMORY_REGION, EIO, "not the one that created",
      "another process" },
    { NE_SET_USER_MEMORY_REGION, EFAULT, "has no huge page behind it",
      "nr_hugepages" },
    { NE_SET_USER_MEMORY_REGION, ENOMEM, "list of so many pages",
      "page-size=1G" },
    { NE_SET_USER_MEMORY_REGION, EINVAL, "physical address", "dmesg" },
    { NE_START_ENCLAVE, EEXIST, "another enclave has this CID",
      "enclave-cid=0" },
    { NE_START_ENCLAVE, EINVAL, "the image or the configuration",
      "intact EIF" },
    { NE_START_ENCLAVE, ENOMEM, "not enough memory to start", "Raise -m" },
    { NE_CREATE_VM, ENOMEM, "out of memory", "Free memory" },
    { NE_CREATE_VM, EFAULT, "request's values", "report" },
    { NE_CREATE_VM, EINVAL, "request's values", "dmesg" },
};

static char *refuse(Fixture *f, const struct Call *call, int code)
{
    Error *err = NULL;

    ne_model.fail_request = call->request;
    ne_model.fail_nth = ne_model_calls(call->request) + 1;
    ne_model.fail_errno = code;
    g_assert_cmpint(call->call(f, &err), ==, -code);
    return error_text(err);
}

static void test_codes(Fixture *f, const void *unused)
{
    for (size_t i = 0; i < ARRAY_SIZE(all_codes); i++) {
        const struct Code *code = &all_codes[i];

        for (size_t j = 0; j < ARRAY_SIZE(all_calls); j++) {
            const struct Call *call = &all_calls[j];
            g_autofree char *text = refuse(f, call, code->err);
            g_autofree char *tail = g_strdup_printf(" (%s: %s, error %d)\n",
                                                    call->name, code->name,
                                                    code->err);

            assert_contains(text, tail);
            /* A cause in front, a remedy that ends in a full stop behind */
            g_assert(g_ascii_islower(text[0]));
            g_assert(g_str_has_suffix(text, ".\n"));
            g_assert_null(strstr(text, "Unknown error"));
            if (code->err > 255 || code->err == ETIMEDOUT) {
                assert_contains(text, code->cause);
                assert_contains(text, code->hint);
            }
        }
    }
}

/* Ordinary errnos by their general row: a request without one of its own */
static void test_plain_codes(Fixture *f, const void *unused)
{
    for (size_t i = 0; i < ARRAY_SIZE(all_codes); i++) {
        g_autofree char *text = refuse(f, &all_calls[2], all_codes[i].err);

        assert_contains(text, all_codes[i].cause);
        assert_contains(text, all_codes[i].hint);
    }
}

static void test_special_codes(Fixture *f, const void *unused)
{
    for (size_t i = 0; i < ARRAY_SIZE(specials); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(all_calls); j++) {
            if (all_calls[j].request == specials[i].request) {
                g_autofree char *text = refuse(f, &all_calls[j],
                                               specials[i].err);

                assert_contains(text, specials[i].cause);
                assert_contains(text, specials[i].hint);
            }
        }
    }
}

/* No number at all may lead to "Unknown error", or to no advice */
static void test_any_code(Fixture *f, const void *unused)
{
    for (int err = 1; err < 600; err++) {
        for (size_t j = 0; j < ARRAY_SIZE(all_calls); j++) {
            g_autofree char *number = g_strdup_printf("error %d)\n", err);
            g_autofree char *text = NULL;

            if (err == EINTR) {
                continue;
            }
            text = refuse(f, &all_calls[j], err);
            assert_contains(text, number);
            assert_contains(text, all_calls[j].name);
            g_assert_null(strstr(text, "Unknown error"));
            g_assert(g_str_has_suffix(text, ".\n"));
        }
    }
}

static void test_interrupted(Fixture *f, const void *unused)
{
    for (size_t j = 1; j < ARRAY_SIZE(all_calls) - 1; j++) {
        const struct Call *call = &all_calls[j];

        ne_model.fail_request = call->request;
        ne_model.fail_nth = 1;
        ne_model.fail_times = 1;
        ne_model.fail_errno = EINTR;
        g_assert_cmpint(call->call(f, &error_abort), ==, 0);
        g_assert_cmpuint(ne_model_calls(call->request), ==, 2);
    }
}

static void test_open(void)
{
    static const struct {
        const char *path;
        int err;
        const char *message;
        const char *hint;
    } rows[] = {
        { "/nonexistent/ne", ENOENT,
          "cannot open /nonexistent/ne: No such file or directory\n",
          "modprobe nitro_enclaves" },
        { "/dev/null/ne", ENOTDIR,
          "cannot open /dev/null/ne: Not a directory\n",
          "device=/dev/nitro_enclaves" },
        { "/", EISDIR, "cannot open /: Is a directory\n",
          "device=/dev/nitro_enclaves" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *text = NULL;
        Error *err = NULL;

        g_assert_cmpint(ne_open(rows[i].path, &err), ==, -rows[i].err);
        text = error_text(err);
        g_assert(g_str_has_prefix(text, rows[i].message));
        assert_contains(text, rows[i].hint);
    }
}

/* Refusals of open() that a test cannot provoke without privileges */
static void test_open_hints(void)
{
    static const struct {
        int err;
        const char *message;
        const char *hint;
    } rows[] = {
        { EACCES, "Permission denied\n", "group ne" },
        { EPERM, "Operation not permitted\n", "cgroup_device_acl" },
        { ENODEV, "No such device\n", "modprobe nitro_enclaves" },
        { ENXIO, "No such device or address\n", "modprobe nitro_enclaves" },
        { EMFILE, "Too many open files\n", "ulimit -n" },
        { 41, "refused for an unknown reason\n", "dmesg" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *text = NULL;
        Error *err = NULL;

        ne_error_set(&err, NE_REQUEST_OPEN, rows[i].err);
        text = error_text(err);
        g_assert(g_str_has_prefix(text, rows[i].message));
        assert_contains(text, rows[i].hint);
    }
}

static void add_vcpus(Fixture *f, unsigned count)
{
    while (count--) {
        uint32_t cpu = 0;

        g_assert_cmpint(ne_add_vcpu(f->fd, &cpu, &error_abort), ==, 0);
        g_assert_cmpuint(cpu, >, 0);
    }
}

static void test_launch(Fixture *f, const void *unused)
{
    struct pollfd watch = { .fd = f->fd };
    const NeModelRegion *regions;
    uint64_t offset, cid = 0;

    g_assert_cmphex(f->slot, ==, 0x1000);
    ne_get_image_load_offset(f->fd, &offset, &error_abort);
    g_assert_cmpuint(offset, ==, 8 * MiB);
    ne_add_memory(f->fd, RAM_START, 512 * MiB, &error_abort);
    add_vcpus(f, 4);
    g_assert_cmpint(ne_start_enclave(f->fd, true, &cid, &error_abort), ==, 0);

    g_assert_cmpuint(cid, ==, 16);
    g_assert(ne_model_started(f->fd) && ne_model_debug(f->fd));
    g_assert_cmpuint(ne_model_vcpus(f->fd), ==, 4);
    g_assert_cmpuint(ne_model_regions(f->fd, &regions), ==, 1);
    g_assert_cmphex(regions[0].address, ==, (uintptr_t)RAM_START);
    g_assert_cmphex(regions[0].size, ==, 512 * MiB);

    g_assert_cmpint(poll(&watch, 1, 0), ==, 0);
    ne_model_end(f->fd);
    g_assert_cmpint(poll(&watch, 1, 1000), ==, 1);
    g_assert_cmphex(watch.revents, ==, POLLHUP);
}

static void test_wanted_cid(Fixture *f, const void *unused)
{
    uint64_t cid = 4711;

    ne_add_memory(f->fd, RAM_START, 64 * MiB, &error_abort);
    add_vcpus(f, 2);
    ne_start_enclave(f->fd, false, &cid, &error_abort);
    g_assert_cmpuint(cid, ==, 4711);
    g_assert(!ne_model_debug(f->fd));
}

/* The driver's rules reach the caller as they are; nothing is changed then */
static void test_rules(Fixture *f, const void *unused)
{
    uint64_t cid = 3, offset = 42;
    uint32_t cpu = 63;

    g_assert_cmpint(ne_start_enclave(f->fd, false, &cid, NULL), ==, -275);
    g_assert_cmpuint(cid, ==, 3);
    cid = 0;
    g_assert_cmpint(ne_start_enclave(f->fd, false, &cid, NULL), ==, -266);
    g_assert_cmpint(ne_add_memory(f->fd, RAM_START, 4096, NULL), ==, -259);
    g_assert_cmpint(ne_add_memory(f->fd, RAM_START + 4096, 2 * MiB, NULL), ==,
                    -261);
    g_assert_cmpint(ne_add_memory(f->fd, RAM_START, 0, NULL), ==, -ENOMEM);
    g_assert_cmpint(ne_add_memory(f->fd, RAM_START, 62 * MiB, NULL), ==, 0);
    g_assert_cmpint(ne_add_memory(f->fd, RAM_START, 2 * MiB, NULL), ==, -262);
    g_assert_cmpint(ne_start_enclave(f->fd, false, &cid, NULL), ==, -268);
    g_assert_cmpint(ne_add_memory(f->fd, RAM_START + 62 * MiB, 2 * MiB, NULL),
                    ==, 0);
    g_assert_cmpint(ne_start_enclave(f->fd, false, &cid, NULL), ==, -267);
    g_assert_cmpint(ne_add_vcpu(f->fd, &cpu, NULL), ==, -257);
    g_assert_cmpuint(cpu, ==, 63);
    add_vcpus(f, 3);
    g_assert_cmpint(ne_start_enclave(f->fd, false, &cid, NULL), ==, -269);
    add_vcpus(f, 5);
    cpu = 0;
    g_assert_cmpint(ne_add_vcpu(f->fd, &cpu, NULL), ==, -272);
    g_assert_cmpint(call_create(f, NULL), ==, -272);
    g_assert_cmpint(ne_start_enclave(f->fd, false, &cid, NULL), ==, 0);
    g_assert_cmpint(ne_start_enclave(f->fd, false, &cid, NULL), ==, -270);
    g_assert_cmpint(ne_get_image_load_offset(f->fd, &offset, NULL), ==, -270);
    g_assert_cmpuint(offset, ==, 42);
}

static void test_ordinary_pages(Fixture *f, const void *unused)
{
    void *ram = qemu_memalign(2 * MiB, 4 * MiB);

    ne_model.reject_small_pages = true;
    g_assert_cmpint(ne_add_memory(f->fd, ram, 2 * MiB, NULL), ==, -263);
    qemu_vfree(ram);
}

static void test_wrong_descriptor(Fixture *f, const void *unused)
{
    uint64_t cid = 0, slot;

    g_assert_cmpint(ne_create_vm(f->fd, &slot, NULL), ==, -ENOTTY);
    g_assert_cmpint(ne_start_enclave(f->device_fd, false, &cid, NULL), ==,
                    -ENOTTY);
}

#define ADD(path, test) \
    g_test_add("/nitro/ne/" path, Fixture, NULL, set_up, test, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("launch", test_launch);
    ADD("wanted-cid", test_wanted_cid);
    ADD("rules", test_rules);
    ADD("ordinary-pages", test_ordinary_pages);
    ADD("wrong-descriptor", test_wrong_descriptor);
    ADD("interrupted", test_interrupted);
    ADD("codes", test_codes);
    ADD("plain-codes", test_plain_codes);
    ADD("special-codes", test_special_codes);
    ADD("any-code", test_any_code);
    g_test_add_func("/nitro/ne/open", test_open);
    g_test_add_func("/nitro/ne/open-hints", test_open_hints);
    return g_test_run();
}
