/*
 * Nitro Enclaves accelerator: every request fails with every code
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * At the first and at the second call, of a launch or of two in a row.  QEMU
 * must end with the documented status, name cause and remedy, and leave
 * nothing behind; or go on where the code may pass.
 */
#include "qemu/osdep.h"
#include "standard-headers/linux/nitro_enclaves.h"
#include "nitro-fault-util.h"
#include "nitro-launch-util.h"

#define RETRY_US (2 * G_USEC_PER_SEC)

static const struct Request {
    const char *name;
    unsigned nr;
    bool waits;                 /* for what other enclaves have */
    bool repeats;               /* is called twice by one launch */
} requests[] = {
    { "NE_CREATE_VM", 0x20, .waits = true },
    { "NE_ADD_VCPU", 0x21, .waits = true, .repeats = true },
    { "NE_GET_IMAGE_LOAD_INFO", 0x22 },
    { "NE_SET_USER_MEMORY_REGION", 0x23 },
    { "NE_START_ENCLAVE", 0x24 },
};

/* Beside the driver's own, 256 to 275, and numbers nobody knows */
static const int plain_codes[] = {
    EPERM, ENOENT, EINTR, EIO, ENXIO, EBADF, EAGAIN, ENOMEM, EACCES, EFAULT,
    EBUSY, EEXIST, ENODEV, EINVAL, ENFILE, EMFILE, ENOTTY, ENOSPC, EOPNOTSUPP,
    ETIMEDOUT, 276, 300, 515, 4095,
};

static const int passing_codes[] = {
    NE_ERR_NO_CPUS_AVAIL_IN_POOL, NE_ERR_VCPU_NOT_IN_CPU_POOL, EAGAIN, EBUSY,
    ENOSPC,
};

typedef struct Fault {
    const struct Request *request;
    unsigned nth;
    int code;
    bool forever;               /* what could pass does not */
    Launch *launch;
    int64_t start_us;
} Fault;

static char *kernel;

static struct Totals {
    unsigned faults;
    unsigned ended;             /* with a message */
    unsigned went_on;           /* called again */
    unsigned waited;            /* called again, then ended */
    unsigned others;            /* of other system calls */
} totals;

static bool may_pass(const Fault *fault)
{
    for (size_t i = 0; i < ARRAY_SIZE(passing_codes); i++) {
        if (fault->request->waits && fault->code == passing_codes[i]) {
            return true;
        }
    }
    return false;
}

static void fault_start(Fault *fault)
{
    bool once = !fault->forever && (may_pass(fault) || fault->code == EINTR);

    fault->launch = launch_new();
    fault->launch->twice = fault->nth == 2 && !fault->request->repeats;
    fault->start_us = g_get_monotonic_time();
    launch_set(fault->launch, "NE_FAKE_FAIL", "0x%x:%u:%d:%u",
               fault->request->nr, fault->nth, fault->code, once ? 1 : 0);
    launch_start(fault->launch, LAUNCH_MEMORY "-kernel %s", kernel);
}

/* Cause, request, and the number to look up; then the remedy */
static void check_message(Fault *fault)
{
    g_autofree char *where = g_strdup_printf("(%s: ", fault->request->name);
    g_autofree char *number = g_strdup_printf("error %d)\n", fault->code);

    launch_expect_said(fault->launch, where);
    launch_expect_remedy(fault->launch, number);
    if (fault->code > 255 && fault->code < 276) {
        launch_expect_said(fault->launch, ": NE_ERR_");
    }
}

/* As long as documented, and with pauses, which a busy host makes longer */
static void check_waited(Fault *fault)
{
    g_autofree char *line = g_strdup_printf("%s ret=-%d", fault->request->name
                                            + strlen("NE_"), fault->code);
    unsigned calls = count_parts(fault->launch->log, line);
    int64_t us = g_get_monotonic_time() - fault->start_us;

    if (us < RETRY_US || calls < 2 || calls > 21) {
        launch_fail(fault->launch, "has not tried again for 2 s");
    }
}

static void fault_finish(Fault *fault)
{
    Launch *launch = fault->launch;

    launch_wait(launch);
    totals.faults++;
    if (fault->forever || !(may_pass(fault) || fault->code == EINTR)) {
        launch_expect(launch, STATUS_DRIVER);
        check_message(fault);
        totals.ended += !fault->forever;
    } else {
        launch_expect(launch, STATUS_ENDED);
        totals.went_on++;
    }
    if (fault->forever) {
        check_waited(fault);
        totals.waited++;
    }
    launch_free(launch);
}

static void run_all(GArray *faults, unsigned at_once)
{
    for (guint i = 0; i < faults->len + at_once; i++) {
        if (i >= at_once) {
            fault_finish(&g_array_index(faults, Fault, i - at_once));
        }
        if (i < faults->len) {
            fault_start(&g_array_index(faults, Fault, i));
        }
    }
    launch_expect_no_children();
}

static void test_request(const void *opaque)
{
    g_autoptr(GArray) faults = g_array_new(false, true, sizeof(Fault));
    Fault fault = { .request = opaque };

    for (fault.nth = 1; fault.nth <= 2; fault.nth++) {
        for (fault.code = NE_ERR_VCPU_ALREADY_USED;
             fault.code <= NE_ERR_INVALID_ENCLAVE_CID; fault.code++) {
            g_array_append_val(faults, fault);
        }
        for (size_t i = 0; i < ARRAY_SIZE(plain_codes); i++) {
            fault.code = plain_codes[i];
            g_array_append_val(faults, fault);
        }
    }
    run_all(faults, LAUNCH_AT_ONCE);
}

/* What another enclave seems to keep: all at once, as each waits */
static void test_forever(void)
{
    g_autoptr(GArray) faults = g_array_new(false, true, sizeof(Fault));
    Fault fault = { .forever = true };

    for (size_t i = 0; i < ARRAY_SIZE(passing_codes); i++) {
        for (unsigned j = 0; j < 4; j++) {
            fault.request = &requests[j / 2];
            fault.nth = 1 + j % 2;
            fault.code = passing_codes[i];
            g_array_append_val(faults, fault);
        }
    }
    run_all(faults, faults->len);
}

/* Each call is interrupted a thousand times before it succeeds */
static void test_storm(const void *opaque)
{
    const struct Request *request = opaque;
    Launch *launch = launch_new();

    launch_set(launch, "NE_FAKE_FAIL", "0x%x:1:%d:1000", request->nr, EINTR);
    launch_start(launch, LAUNCH_MEMORY "-kernel %s", kernel);
    launch_wait(launch);
    launch_expect(launch, STATUS_ENDED);
    totals.faults++;
    totals.went_on++;
    launch_free(launch);
}

/* Other system calls: the device node, the enclave's descriptor */

static const struct Other {
    const char *path;
    const char *call;           /* NE_FAKE_FAULT: call, then what is behind */
    int err;                    /* the error */
    const char *when;
    int status;
} others[] = {
    { "open", "open", ENOENT, "1", STATUS_DRIVER },
    { "open", "open", EACCES, "1", STATUS_DRIVER },
    { "open", "open", EPERM, "1", STATUS_DRIVER },
    { "open", "open", ENODEV, "1", STATUS_DRIVER },
    { "open", "open", ENXIO, "1", STATUS_DRIVER },
    { "open", "open", EBUSY, "1", STATUS_DRIVER },
    { "open", "open", EIO, "1", STATUS_DRIVER },
    { "open", "open", EMFILE, "1", STATUS_DRIVER },
    { "open", "open", ENFILE, "1", STATUS_DRIVER },
    { "open", "open", ENOMEM, "1", STATUS_DRIVER },
    { "open", "open", EISDIR, "1", STATUS_DRIVER },
    { "open", "open", ELOOP, "1", STATUS_DRIVER },
    { "open-interrupted", "open", EINTR, "1:1", STATUS_ENDED },
    { "close", "close", EINTR, "1", STATUS_ENDED },
    { "close", "close", EIO, "1", STATUS_ENDED },
    { "close-again", "close", EINTR, "2", STATUS_ENDED },
    { "close-again", "close", EIO, "2", STATUS_ENDED },
    { "poll", "poll", EINTR, "1:0:2", STATUS_ENDED },
    { "poll", "poll", EAGAIN, "2:0:2", STATUS_ENDED },
    { "poll", "poll", ENOMEM, "1:0:2", STATUS_ENDED },
};

static void test_other(const void *opaque)
{
    const struct Other *other = opaque;
    Launch *launch = launch_new();

    launch->twice = g_str_equal(other->path, "close-again");
    launch_set(launch, "NE_FAKE_FAULT", "%s:%d:%s", other->call, other->err,
               other->when);
    launch_start(launch, LAUNCH_MEMORY "-kernel %s", kernel);
    launch_wait(launch);
    launch_expect(launch, other->status);
    if (other->status == STATUS_DRIVER) {
        launch_expect_remedy(launch, "cannot open /dev/nitro_enclaves: ");
    }
    totals.others++;
    launch_free(launch);
}

static void print_totals(void)
{
    g_test_message("fault matrix: %u ioctl faults: %u ended QEMU with cause "
                   "and remedy, %u were called again and went on, %u were "
                   "called again for 2 s and ended; %u faults of open, close "
                   "and poll", totals.faults, totals.ended, totals.went_on,
                   totals.waited, totals.others);
}

static void add_request_tests(const struct Request *request)
{
    g_autofree char *codes = g_strdup_printf("/nitro/fault/ioctl/%s",
                                             request->name);
    g_autofree char *storm = g_strdup_printf("/nitro/fault/interrupted/%s",
                                             request->name);

    qtest_add_data_func(codes, request, test_request);
    qtest_add_data_func(storm, request, test_storm);
}

static void add_other_tests(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/fault/%s/%d",
                                                others[i].path, others[i].err);

        qtest_add_data_func(path, &others[i], test_other);
    }
}

int main(int argc, char **argv)
{
    g_autofree char *dir = NULL;
    int ret;

    g_test_init(&argc, &argv, NULL);
    if (!launch_prepare()) {
        return 0;
    }
    dir = g_dir_make_tmp("nitro-fault-XXXXXX", NULL);
    kernel = g_build_filename(dir, "kernel", NULL);
    write_kernel_file(kernel, 8192);
    for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
        add_request_tests(&requests[i]);
    }
    qtest_add_func("/nitro/fault/forever", test_forever);
    add_other_tests();
    add_fault_host_tests();
    add_fault_image_tests();
    ret = g_test_run();
    print_totals();
    unlink(kernel);
    rmdir(dir);
    g_free(kernel);
    return ret;
}
