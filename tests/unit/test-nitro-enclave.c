/*
 * Nitro Enclaves accelerator: an enclave's life, from creation to its end
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * accel/nitro/enclave.c runs unchanged on a model of the driver, whose rules
 * are listed at the top of tests/nitro/ne-model.c.  Requests and close() can
 * be held, so that they take until the test lets them go on.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/atomic.h"
#include "qemu/units.h"
#include "standard-headers/linux/nitro_enclaves.h"
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include "accel/nitro/enclave.h"
#include "accel/nitro/ne.h"
#include "nitro-no-threads.h"
#include "tests/nitro/error-text.h"
#include "tests/nitro/ne-model.h"
#include "tests/nitro/patience.h"

static int enclave_fd = -1;     /* the last one created; -1: it is closed */
static unsigned long held;      /* request that is held, 0: none */
static bool held_close;
static bool waits;              /* something that is held was reached */
static bool ends_at_once;       /* before NE_START_ENCLAVE has returned */

/* libc's, replaced: all requests are the driver's */
int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *arg;
    int ret;

    va_start(args, request);
    arg = va_arg(args, void *);
    va_end(args);
    while (qatomic_read(&held) == request) {
        qatomic_set(&waits, true);
        g_usleep(1000);
    }
    ret = ne_model_ioctl(fd, request, arg);
    if (request == NE_CREATE_VM && ret >= 0) {
        qatomic_set(&enclave_fd, ret);
    }
    if (request == NE_START_ENCLAVE && ret == 0 && ends_at_once) {
        ne_model_end(fd);
    }
    return ret;
}

/* libc's, replaced */
int close(int fd)
{
    if (fd >= 0 && fd == qatomic_read(&enclave_fd)) {
        while (qatomic_read(&held_close)) {
            qatomic_set(&waits, true);
            g_usleep(1000);
        }
        qatomic_set(&enclave_fd, -1);
        ne_model_close(fd);
    }
    return syscall(SYS_close, fd);
}

/* An enclave, and what it has reported */
typedef struct Fixture {
    NitroEnclaveConfig config;
    NitroEnclave *enclave;
    const NitroEnclaveFacts *facts;
    GString *reports;
    bool starts;                /* run the start once PREPARED is reached */
} Fixture;

static void changed(void *opaque, NitroEnclave *enclave)
{
    static const char *const names[NITRO_LIFE__MAX] = {
        "waiting", "created", "prepared", "started", "booted", "ended",
        "closing", "closed",
    };
    Fixture *f = opaque;

    g_assert_true(enclave == f->enclave);
    g_string_append_printf(f->reports, "%s%s", f->reports->len ? " " : "",
                           names[f->facts->life]);
    g_assert_true(f->facts->cid || !nitro_enclave_runs(enclave));
    if (f->starts && f->facts->life == NITRO_LIFE_PREPARED) {
        nitro_enclave_run(enclave, nitro_enclave_start);
    }
}

static void set_up(Fixture *f, const void *unused)
{
    ne_model_reset();
    f->config = (NitroEnclaveConfig) {
        .device_fd = ne_open("/dev/null", &error_abort),
        .nr_vcpus = 2,
        .ram = (void *)(uintptr_t)(512 * MiB),
        .ram_size = 64 * MiB,
        .page_size = 2 * MiB,
    };
    f->reports = g_string_new(NULL);
    f->enclave = nitro_enclave_new(&f->config, changed, f);
    f->facts = nitro_enclave_facts(f->enclave);
}

/* Nothing is left open, however the test has ended */
static void tear_down(Fixture *f, const void *unused)
{
    nitro_enclave_free(f->enclave);
    g_assert_cmpint(enclave_fd, ==, -1);
    close(f->config.device_fd);
    g_string_free(f->reports, true);
    f->starts = false;
    held = 0;
    held_close = waits = ends_at_once = no_threads = false;
}

static void wait_until(Fixture *f, NitroLife life)
{
    while (f->facts->life != life) {
        g_main_context_iteration(NULL, true);
    }
}

static void assert_reports(Fixture *f, const char *expected)
{
    g_assert_cmpstr(f->reports->str, ==, expected);
}

/* As a launch does when there is no main loop yet */
static void prepare_now(Fixture *f)
{
    nitro_enclave_run_now(f->enclave, nitro_enclave_create, &error_abort);
    nitro_enclave_run_now(f->enclave, nitro_enclave_prepare, &error_abort);
}

static void start_now(Fixture *f)
{
    prepare_now(f);
    nitro_enclave_run_now(f->enclave, nitro_enclave_start, &error_abort);
}

/* As a launch after a reset does */
static bool prepare(NitroEnclave *enclave, Error **errp)
{
    return nitro_enclave_create(enclave, errp) &&
           nitro_enclave_prepare(enclave, errp);
}

static bool launch(NitroEnclave *enclave, Error **errp)
{
    return prepare(enclave, errp) && nitro_enclave_start(enclave, errp);
}

static void test_life(Fixture *f, const void *unused)
{
    uint64_t offset;

    g_assert_false(nitro_enclave_runs(f->enclave));
    prepare_now(f);
    g_assert_cmphex(f->facts->slot_uid, ==, 0x1000);
    g_assert_cmpuint(f->facts->cpus->len, ==, 2);
    g_assert_cmpuint(g_array_index(f->facts->cpus, uint32_t, 1), ==, 3);
    g_assert_cmpint(f->facts->started_ms, ==, 0);
    nitro_enclave_run(f->enclave, nitro_enclave_start);
    g_assert_true(f->facts->busy);
    wait_until(f, NITRO_LIFE_STARTED);
    g_assert_false(f->facts->busy);
    g_assert_true(nitro_enclave_runs(f->enclave));
    g_assert_cmpuint(f->facts->cid, ==, 16);
    g_assert_cmpint(f->facts->started_ms, >, 0);
    g_assert_false(nitro_enclave_load_offset(f->enclave, &offset, NULL));
    nitro_enclave_booted(f->enclave);
    nitro_enclave_booted(f->enclave);
    ne_model_end(enclave_fd);
    wait_until(f, NITRO_LIFE_ENDED);
    g_assert_cmpint(enclave_fd, >=, 0);
    g_assert_cmpint(f->facts->cause, ==, NITRO_ENCLAVE_EXIT_CAUSE_ENDED);
    g_assert_cmpint(f->facts->ended_ms, >=, f->facts->started_ms);
    nitro_enclave_close(f->enclave);
    nitro_enclave_close(f->enclave);
    wait_until(f, NITRO_LIFE_CLOSED);
    g_assert_cmpint(enclave_fd, ==, -1);
    g_assert_null(f->facts->error);
    assert_reports(f, "created prepared started booted ended closed");
}

static void test_load_offset(Fixture *f, const void *unused)
{
    uint64_t offset;

    nitro_enclave_run_now(f->enclave, nitro_enclave_create, &error_abort);
    g_assert_true(nitro_enclave_load_offset(f->enclave, &offset,
                                            &error_abort));
    g_assert_cmpuint(offset, ==, 8 * MiB);
}

/* Reports come in order, and when the thread is done */
static void test_in_thread(Fixture *f, const void *unused)
{
    qatomic_set(&held, NE_START_ENCLAVE);
    nitro_enclave_run(f->enclave, launch);
    poll_until(qatomic_read(&waits));
    assert_reports(f, "");
    qatomic_set(&held, 0);
    wait_until(f, NITRO_LIFE_STARTED);
    assert_reports(f, "created prepared started");
}

/* The next step is run by the report of the one before, and may be quick */
static void test_in_callback(Fixture *f, const void *unused)
{
    f->starts = true;
    no_threads = true;
    nitro_enclave_run(f->enclave, prepare);
    wait_until(f, NITRO_LIFE_PREPARED);
    assert_reports(f, "created prepared");
    wait_until(f, NITRO_LIFE_STARTED);
    assert_reports(f, "created prepared started");
}

static void test_chosen(Fixture *f, const void *unused)
{
    g_autoptr(GArray) cpus = g_array_new(false, false, sizeof(uint32_t));
    uint32_t wanted[] = { 5, 4 };

    g_array_append_vals(cpus, wanted, 2);
    f->config.cpus = cpus;
    f->config.cid = 4711;
    f->config.debug_mode = true;
    start_now(f);
    g_assert_cmpuint(f->facts->cid, ==, 4711);
    g_assert_cmpuint(g_array_index(f->facts->cpus, uint32_t, 0), ==, 5);
    g_assert_true(ne_model_debug(enclave_fd));
}

/* Refusals */

static void test_refused(Fixture *f, const void *unused)
{
    static const struct {
        unsigned long request;
        unsigned nth;
        int code;
        const char *message;
    } rows[] = {
        { NE_CREATE_VM, 1, ETIMEDOUT,
          "cannot create an enclave: " },
        { NE_SET_USER_MEMORY_REGION, 1, NE_ERR_MEM_MAX_REGIONS,
          "cannot donate 64 MiB of RAM in 32 pages of 2 MiB to the enclave: " },
        { NE_SET_USER_MEMORY_REGION, 1, EIO,
          "cannot donate 64 MiB of RAM to the enclave: " },
        { NE_ADD_VCPU, 2, EIO,
          "cannot add vCPU 2 of 2: " },
        { NE_START_ENCLAVE, 1, EIO,
          "cannot start the enclave (2 vCPUs, 64 MiB, CID 0 = automatic): " },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        tear_down(f, NULL);
        set_up(f, NULL);
        ne_model.fail_request = rows[i].request;
        ne_model.fail_nth = rows[i].nth;
        ne_model.fail_errno = rows[i].code;
        nitro_enclave_run(f->enclave, launch);
        wait_until(f, NITRO_LIFE_ENDED);
        g_assert_cmpint(f->facts->refusal, ==, rows[i].code);
        g_assert_cmpint(f->facts->cause, ==,
                        NITRO_ENCLAVE_EXIT_CAUSE_START_FAILED);
        g_assert_true(g_str_has_prefix(error_get_pretty(f->facts->error),
                                       rows[i].message));
        nitro_enclave_close(f->enclave);
        wait_until(f, NITRO_LIFE_CLOSED);
        assert_reports(f, "ended closed");
    }
}

/* The caller gets the error, nothing is reported */
static void test_refused_now(Fixture *f, const void *unused)
{
    Error *err = NULL;

    ne_model.bad_cid = 3;
    prepare_now(f);
    g_assert_false(nitro_enclave_run_now(f->enclave, nitro_enclave_start,
                                         &err));
    assert_contains(error_get_pretty(err), "the hypervisor reported CID 3, "
                    "which no enclave can have");
    g_assert_cmpint(f->facts->refusal, !=, 0);
    assert_reports(f, "created prepared");
    error_free(err);
}

static void test_busy(Fixture *f, const void *unused)
{
    static const struct {
        unsigned long request;
        int code;
    } rows[] = {
        { NE_CREATE_VM, NE_ERR_NO_CPUS_AVAIL_IN_POOL },
        { NE_CREATE_VM, EBUSY },
        { NE_ADD_VCPU, NE_ERR_VCPU_NOT_IN_CPU_POOL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        tear_down(f, NULL);
        set_up(f, NULL);
        ne_model.fail_request = rows[i].request;
        ne_model.fail_nth = ne_model.fail_times = 1;
        ne_model.fail_errno = rows[i].code;
        start_now(f);
        g_assert_cmpint(f->facts->refusal, ==, 0);
        g_assert_cmpuint(f->facts->cpus->len, ==, 2);
    }
}

/* The message has the numbers of the pool, which the driver does not know */
static void test_pool_exhausted(Fixture *f, const void *unused)
{
    g_autoptr(GArray) pool = g_array_new(false, false, sizeof(uint32_t));
    uint32_t cpus[] = { 1, 2, 3 };
    Error *err = NULL;

    g_array_append_vals(pool, cpus, 3);
    f->config.pool = pool;
    f->config.nr_vcpus = 4;
    ne_model.pool_cores = 1;
    nitro_enclave_run_now(f->enclave, nitro_enclave_create, &error_abort);
    g_assert_false(nitro_enclave_run_now(f->enclave, nitro_enclave_prepare,
                                         &err));
    assert_contains(error_get_pretty(err), "cannot add vCPU 3 of 4 (pool: 3 "
                    "CPUs, 1 in use by other enclaves): ");
    error_free(err);
}

/* Something else failed */
static void test_fail(Fixture *f, const void *unused)
{
    Error *err = NULL;

    prepare_now(f);
    error_setg(&err, "no port");
    nitro_enclave_fail(f->enclave, err);
    assert_reports(f, "created prepared ended");
    g_assert_cmpstr(error_get_pretty(f->facts->error), ==, "no port");
    g_assert_cmpint(f->facts->refusal, ==, 0);
    g_assert_cmpint(enclave_fd, >=, 0);
}

static void test_fail_late(Fixture *f, const void *unused)
{
    Error *err = NULL;

    start_now(f);
    error_setg(&err, "no port");
    nitro_enclave_fail(f->enclave, err);
    g_assert_true(nitro_enclave_runs(f->enclave));
}

/* Ends */

static void test_causes(Fixture *f, const void *unused)
{
    static const struct {
        bool expects_boot, booted, expects_end;
        NitroEnclaveExitCause cause;
    } rows[] = {
        { false, false, false, NITRO_ENCLAVE_EXIT_CAUSE_ENDED },
        { true, false, false, NITRO_ENCLAVE_EXIT_CAUSE_ENDED_BEFORE_BOOT },
        { true, true, false, NITRO_ENCLAVE_EXIT_CAUSE_ENDED },
        { true, false, true, NITRO_ENCLAVE_EXIT_CAUSE_ENDED },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        tear_down(f, NULL);
        set_up(f, NULL);
        if (rows[i].expects_boot) {
            nitro_enclave_expect_boot(f->enclave);
        }
        start_now(f);
        if (rows[i].booted) {
            nitro_enclave_booted(f->enclave);
        }
        if (rows[i].expects_end) {
            nitro_enclave_expect_end(f->enclave);
        }
        ne_model_end(enclave_fd);
        wait_until(f, NITRO_LIFE_ENDED);
        g_assert_cmpint(f->facts->cause, ==, rows[i].cause);
        g_assert_cmpint(f->facts->booted, ==, rows[i].booted);
    }
}

/* Its start is reported nevertheless */
static void test_ends_at_once(Fixture *f, const void *unused)
{
    ends_at_once = true;
    nitro_enclave_expect_boot(f->enclave);
    nitro_enclave_run(f->enclave, launch);
    wait_until(f, NITRO_LIFE_ENDED);
    assert_reports(f, "created prepared started ended");
}

/* The driver takes its time, the main loop does not */
static void test_end_by_us(Fixture *f, const void *unused)
{
    held_close = true;
    start_now(f);
    nitro_enclave_end(f->enclave, NITRO_ENCLAVE_EXIT_CAUSE_RESET);
    assert_reports(f, "created prepared started closing");
    g_assert_cmpint(f->facts->cause, ==, NITRO_ENCLAVE_EXIT_CAUSE_RESET);
    g_assert_true(f->facts->busy);
    poll_until(qatomic_read(&waits));
    g_assert_false(nitro_enclave_close_wait(f->enclave, 1));
    qatomic_set(&held_close, false);
    wait_until(f, NITRO_LIFE_CLOSED);
    assert_reports(f, "created prepared started closing closed");
    g_assert_true(nitro_enclave_close_wait(f->enclave, 0));
}

/* What was begun is not reported any more */
static void test_close_while_starting(Fixture *f, const void *unused)
{
    qatomic_set(&held, NE_START_ENCLAVE);
    nitro_enclave_run(f->enclave, launch);
    poll_until(qatomic_read(&waits));
    nitro_enclave_close(f->enclave);
    qatomic_set(&held, 0);
    wait_until(f, NITRO_LIFE_CLOSED);
    assert_reports(f, "closed");
    g_assert_cmpint(enclave_fd, ==, -1);
}

/* It does not wait for what is busy until then */
static void test_close_while_busy(Fixture *f, const void *unused)
{
    ne_model.fail_request = NE_CREATE_VM;
    ne_model.fail_nth = 1;
    ne_model.fail_errno = EBUSY;
    nitro_enclave_run(f->enclave, launch);
    nitro_enclave_close(f->enclave);
    wait_until(f, NITRO_LIFE_CLOSED);
    assert_reports(f, "closed");
    g_assert_cmpuint(ne_model_calls(NE_CREATE_VM), <=, 3);
}

static void test_close_unused(Fixture *f, const void *unused)
{
    nitro_enclave_close(f->enclave);
    assert_reports(f, "closed");
}

/* QEMU ends; there is no main loop any more */
static void test_close_wait(Fixture *f, const void *unused)
{
    qatomic_set(&held, NE_START_ENCLAVE);
    nitro_enclave_run(f->enclave, launch);
    poll_until(qatomic_read(&waits));
    g_assert_false(nitro_enclave_close_wait(f->enclave, 1));
    qatomic_set(&held, 0);
    g_assert_true(nitro_enclave_close_wait(f->enclave, PATIENCE_MS));
    g_assert_cmpint(enclave_fd, ==, -1);
    assert_reports(f, "");
    while (g_main_context_iteration(NULL, false)) {
        /* reports that came too late must not come in the next test */
    }
}

static void test_no_threads(Fixture *f, const void *unused)
{
    no_threads = true;
    nitro_enclave_run(f->enclave, launch);
    assert_reports(f, "");
    wait_until(f, NITRO_LIFE_STARTED);
    nitro_enclave_end(f->enclave, NITRO_ENCLAVE_EXIT_CAUSE_POWERDOWN);
    wait_until(f, NITRO_LIFE_CLOSED);
    assert_reports(f, "created prepared started closing closed");
}

/* What the monitor calls them */
static void test_states(void)
{
    static const char *const names[NITRO_LIFE__MAX] = {
        "exited", "created", "prepared", "started", "booted", "exited",
        "exited", "exited",
    };

    for (int life = 0; life < NITRO_LIFE__MAX; life++) {
        g_assert_cmpstr(NitroEnclaveState_str(nitro_life_state[life]), ==,
                        names[life]);
    }
}

static void test_cids(void)
{
    static const struct {
        uint64_t cid;
        const char *reason;     /* NULL: permitted */
    } rows[] = {
        { 0, NULL },
        { 1, "an enclave cannot have CID 1: it belongs to local connections" },
        { 2, "an enclave cannot have CID 2: it belongs to the host" },
        { 3, "an enclave cannot have CID 3: it belongs to the parent" },
        { 4, NULL },
        { 5, NULL },
        { 16, NULL },
        { 0x7fffffff, NULL },
        { 0x80000000, NULL },
        { 0xfffffffe, NULL },
        { 0xffffffff, "cannot have CID 4294967295: it means any CID" },
        { 0x100000000, "cannot have CID 4294967296: it does not fit in 32" },
        { 0x100000010, "does not fit in 32 bits" },
        { UINT64_MAX, "does not fit in 32 bits" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *text = NULL;
        Error *err = NULL;

        g_assert_cmpint(nitro_cid_valid(rows[i].cid, &err), ==,
                        !rows[i].reason);
        g_assert_cmpint(nitro_cid_valid(rows[i].cid, NULL), ==,
                        !rows[i].reason);
        if (rows[i].reason) {
            text = error_text(err);
            assert_contains(text, rows[i].reason);
            assert_contains(text, "from 4 to 4294967294, or 0 to let");
        } else {
            g_assert_null(err);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *f, const void *unused);
    } tests[] = {
        { "/nitro/enclave/life", test_life },
        { "/nitro/enclave/load-offset", test_load_offset },
        { "/nitro/enclave/in-thread", test_in_thread },
        { "/nitro/enclave/in-callback", test_in_callback },
        { "/nitro/enclave/chosen", test_chosen },
        { "/nitro/enclave/refused", test_refused },
        { "/nitro/enclave/refused-now", test_refused_now },
        { "/nitro/enclave/busy", test_busy },
        { "/nitro/enclave/pool-exhausted", test_pool_exhausted },
        { "/nitro/enclave/fail", test_fail },
        { "/nitro/enclave/fail-late", test_fail_late },
        { "/nitro/enclave/causes", test_causes },
        { "/nitro/enclave/ends-at-once", test_ends_at_once },
        { "/nitro/enclave/end-by-us", test_end_by_us },
        { "/nitro/enclave/close-while-starting", test_close_while_starting },
        { "/nitro/enclave/close-while-busy", test_close_while_busy },
        { "/nitro/enclave/close-unused", test_close_unused },
        { "/nitro/enclave/close-wait", test_close_wait },
        { "/nitro/enclave/no-threads", test_no_threads },
    };

    g_test_init(&argc, &argv, NULL);
    /*
     * GLib would create it beside a thread that wakes it, behind locks of
     * its own that the thread sanitizer does not know
     */
    g_main_context_default();
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, set_up, tests[i].test,
                   tear_down);
    }
    g_test_add_func("/nitro/enclave/states", test_states);
    g_test_add_func("/nitro/enclave/cids", test_cids);
    return g_test_run();
}
