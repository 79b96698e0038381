/*
 * Nitro Enclaves accelerator: one enclave, from its creation to its end
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver reports the end of an enclave by POLLHUP on its descriptor, and
 * nothing more.  Closing the descriptor ends the enclave if it still runs, and
 * frees RAM and CPUs.
 */
#include "qemu/osdep.h"
#include <glib-unix.h>
#include "hw/nitro/limits.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "standard-headers/linux/nitro_enclaves.h"
#include "system/nitro-pool.h"
#include "system/nitro-thread.h"
#include "enclave.h"
#include "ne.h"
#include "trace.h"

/* How long to retry what the driver refuses as busy, and how often */
#define RETRY_MS 2000
#define RETRY_DELAY_MS 100
#define RETRY_SPREAD_MS 100

struct NitroEnclave {
    const NitroEnclaveConfig *config;
    NitroEnclaveChanged *changed;
    void *opaque;
    NitroEnclaveFacts facts;
    bool expects_end;
    guint exit_watch;           /* GLib source on fd, 0: none */

    /* Of the step while one runs, else of the main loop */
    int fd;
    NitroEnclaveStep *step;
    Error *error;
    NitroLife reached;
    uint64_t slot_uid;
    uint64_t cid;
    int64_t started_ms;
    GArray *cpus;

    QemuMutex lock;             /* for what follows */
    QemuCond changes;
    bool running;               /* the step */
    bool cancelled;
};

const NitroEnclaveState nitro_life_state[NITRO_LIFE__MAX] = {
    [NITRO_LIFE_WAITING] = NITRO_ENCLAVE_STATE_EXITED,
    [NITRO_LIFE_CREATED] = NITRO_ENCLAVE_STATE_CREATED,
    [NITRO_LIFE_PREPARED] = NITRO_ENCLAVE_STATE_PREPARED,
    [NITRO_LIFE_STARTED] = NITRO_ENCLAVE_STATE_STARTED,
    [NITRO_LIFE_BOOTED] = NITRO_ENCLAVE_STATE_BOOTED,
    [NITRO_LIFE_ENDED] = NITRO_ENCLAVE_STATE_EXITED,
    [NITRO_LIFE_CLOSING] = NITRO_ENCLAVE_STATE_EXITED,
    [NITRO_LIFE_CLOSED] = NITRO_ENCLAVE_STATE_EXITED,
};

static int64_t now_ms(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

/* Changes of state */

static void enclave_move(NitroEnclave *e, NitroLife to)
{
    NitroLife from = e->facts.life;

    trace_nitro_enclave_life(e, from, to, e->facts.cid);
    assert(to == from + 1 || (to > from && to >= NITRO_LIFE_ENDED));
    e->facts.life = to;
}

static void enclave_report(NitroEnclave *e)
{
    e->changed(e->opaque, e);
}

static void note_end(NitroEnclave *e, NitroEnclaveExitCause cause)
{
    e->facts.ended_ms = now_ms();
    e->facts.cause = cause;
}

static gboolean enclave_hup(gint fd, GIOCondition condition, gpointer opaque)
{
    NitroEnclave *e = opaque;
    bool failed = e->facts.expects_boot && !e->facts.booted && !e->expects_end;

    trace_nitro_enclave_hup(e, fd, condition);
    e->exit_watch = 0;
    note_end(e, failed ? NITRO_ENCLAVE_EXIT_CAUSE_ENDED_BEFORE_BOOT
                       : NITRO_ENCLAVE_EXIT_CAUSE_ENDED);
    enclave_move(e, NITRO_LIFE_ENDED);
    enclave_report(e);
    return G_SOURCE_REMOVE;
}

/* POLLHUP lasts, so an end since the start is not missed */
static void watch_end(NitroEnclave *e)
{
    e->exit_watch = g_unix_fd_add(e->fd, G_IO_HUP, enclave_hup, e);
}

/* Steps, and the thread */

static bool close_fd(NitroEnclave *e, Error **errp)
{
    trace_nitro_enclave_close(e, e->fd);
    close(e->fd);
    trace_nitro_enclave_closed(e, e->fd);
    e->fd = -1;
    return true;
}

static void enclave_publish(NitroEnclave *e)
{
    e->facts.slot_uid = e->slot_uid;
    e->facts.cid = e->cid;
    e->facts.started_ms = e->started_ms;
    g_array_set_size(e->facts.cpus, 0);
    g_array_append_vals(e->facts.cpus, e->cpus->data, e->cpus->len);
}

/* The callback may end the enclave, or run the next step */
static void enclave_advance(NitroEnclave *e)
{
    NitroLife reached = e->reached;

    while (e->facts.life < reached) {
        enclave_move(e, e->facts.life + 1);
        if (e->facts.life == NITRO_LIFE_STARTED) {
            watch_end(e);
        }
        enclave_report(e);
    }
}

static void enclave_closed(NitroEnclave *e)
{
    enclave_move(e, NITRO_LIFE_CLOSED);
    enclave_report(e);
}

static void step_done(NitroEnclave *e)
{
    Error *err = g_steal_pointer(&e->error);

    e->step = NULL;
    e->facts.busy = false;
    if (e->facts.life == NITRO_LIFE_CLOSING) {
        error_free(err);
        if (e->fd < 0) {
            enclave_closed(e);
        } else {
            nitro_enclave_run(e, close_fd);
        }
        return;
    }
    enclave_publish(e);
    if (err) {
        nitro_enclave_fail(e, err);
    } else {
        enclave_advance(e);
    }
}

static gboolean step_done_source(gpointer opaque)
{
    NitroEnclave *e = opaque;

    /* The thread must be done with the object, which may be freed now */
    WITH_QEMU_LOCK_GUARD(&e->lock) {
        assert(!e->running);
    }
    step_done(e);
    return G_SOURCE_REMOVE;
}

static void *step_thread(void *opaque)
{
    NitroEnclave *e = opaque;

    e->step(e, &e->error);
    WITH_QEMU_LOCK_GUARD(&e->lock) {
        e->running = false;
        qemu_cond_broadcast(&e->changes);
        g_timeout_add(0, step_done_source, e);
    }
    return NULL;
}

void nitro_enclave_run(NitroEnclave *e, NitroEnclaveStep *step)
{
    assert(!e->facts.busy);
    e->step = step;
    e->facts.busy = e->running = true;
    if (!nitro_thread_start("nitro-enclave", step_thread, e, NULL)) {
        step_thread(e);
    }
}

bool nitro_enclave_run_now(NitroEnclave *e, NitroEnclaveStep *step,
                           Error **errp)
{
    bool ok;

    assert(!e->facts.busy);
    ok = step(e, errp);
    enclave_publish(e);
    if (ok) {
        enclave_advance(e);
    }
    return ok;
}

/* Retries */

/* The driver's code for a CPU outside of the pool also means "in use" */
static bool may_pass(int ret)
{
    switch (-ret) {
    case NE_ERR_NO_CPUS_AVAIL_IN_POOL:
    case NE_ERR_VCPU_NOT_IN_CPU_POOL:
    case EAGAIN:
    case EBUSY:
    case ENOSPC:
        return true;
    default:
        return false;
    }
}

unsigned nitro_retry_delay_ms(void)
{
    return RETRY_DELAY_MS + g_random_int_range(0, RETRY_SPREAD_MS);
}

static bool pause_unless_cancelled(NitroEnclave *e)
{
    QEMU_LOCK_GUARD(&e->lock);
    if (!e->cancelled) {
        qemu_cond_timedwait(&e->changes, &e->lock, nitro_retry_delay_ms());
    }
    return !e->cancelled;
}

/**
 * retry_later: wait before the next attempt
 * @ret: what the driver answered
 * @since_us: monotonic time of the first such answer, 0 before
 *
 * Returns: false when no further attempt is to be made
 */
static bool retry_later(NitroEnclave *e, int ret, int64_t *since_us)
{
    int64_t now = g_get_monotonic_time();
    int64_t waited_ms;

    if (!may_pass(ret)) {
        return false;
    }
    *since_us = *since_us ?: now;
    waited_ms = (now - *since_us) / 1000;
    trace_nitro_busy(-ret, waited_ms);
    return waited_ms < RETRY_MS && pause_unless_cancelled(e);
}

/* Creation */

static void prepend_create(NitroEnclave *e, int ret, Error **errp)
{
    g_autofree char *list = NULL;

    if (ret == -NE_ERR_NO_CPUS_AVAIL_IN_POOL && e->config->pool) {
        list = nitro_cpus_str(e->config->pool, ',');
        error_prepend(errp, "cannot create an enclave (pool: CPUs %s, all in "
                      "use): ", list);
    } else {
        error_prepend(errp, "cannot create an enclave: ");
    }
}

bool nitro_enclave_create(NitroEnclave *e, Error **errp)
{
    ERRP_GUARD();
    int64_t since_us = 0;
    Error *err = NULL;
    int fd = ne_create_vm(e->config->device_fd, &e->slot_uid, &err);

    while (fd < 0 && retry_later(e, fd, &since_us)) {
        g_clear_pointer(&err, error_free);
        fd = ne_create_vm(e->config->device_fd, &e->slot_uid, &err);
    }
    if (fd < 0) {
        e->facts.refusal = -fd;
        error_propagate(errp, err);
        prepend_create(e, fd, errp);
        return false;
    }
    trace_nitro_enclave_created(e, e->slot_uid, fd);
    e->fd = fd;
    e->reached = NITRO_LIFE_CREATED;
    return true;
}

bool nitro_enclave_load_offset(NitroEnclave *e, uint64_t *offset, Error **errp)
{
    ERRP_GUARD();
    int ret = ne_get_image_load_offset(e->fd, offset, errp);

    if (ret < 0) {
        e->facts.refusal = -ret;
        error_prepend(errp, "cannot get the image load offset: ");
    }
    return ret == 0;
}

/* Preparation */

static bool donate_ram(NitroEnclave *e, Error **errp)
{
    ERRP_GUARD();
    const NitroEnclaveConfig *config = e->config;
    g_autofree char *size = size_to_str(config->ram_size);
    g_autofree char *page = size_to_str(config->page_size);
    int ret = ne_add_memory(e->fd, config->ram, config->ram_size, errp);

    e->facts.refusal = -ret;
    if (ret == -NE_ERR_MEM_MAX_REGIONS) {
        error_prepend(errp, "cannot donate %s of RAM in %" PRIu64 " pages of "
                      "%s to the enclave: ", size,
                      config->ram_size / config->page_size, page);
    } else if (ret < 0) {
        error_prepend(errp, "cannot donate %s of RAM to the enclave: ", size);
    }
    return ret == 0;
}

/*
 * Say which vCPU failed, of how many, and what is known of the pool.  The
 * driver hands out whole cores, so the CPUs added so far are all that were
 * free.
 */
static void prepend_vcpu(NitroEnclave *e, unsigned index, uint32_t wanted,
                         int ret, Error **errp)
{
    unsigned count = e->config->nr_vcpus;
    unsigned size = e->config->pool ? e->config->pool->len : 0;

    if (wanted) {
        error_prepend(errp, "cannot add CPU %u as vCPU %u of %u: ", wanted,
                      index + 1, count);
    } else if (ret == -NE_ERR_NO_CPUS_AVAIL_IN_POOL && size > index) {
        error_prepend(errp, "cannot add vCPU %u of %u (pool: %u CPUs, %u in "
                      "use by other enclaves): ", index + 1, count, size,
                      size - index);
    } else {
        error_prepend(errp, "cannot add vCPU %u of %u: ", index + 1, count);
    }
}

/* @since_us: see retry_later() */
static bool add_vcpu(NitroEnclave *e, int64_t *since_us, Error **errp)
{
    ERRP_GUARD();
    unsigned i = e->cpus->len;
    const GArray *cpus = e->config->cpus;
    uint32_t wanted = cpus ? g_array_index(cpus, uint32_t, i) : 0;
    uint32_t cpu = wanted;
    Error *err = NULL;
    int ret = ne_add_vcpu(e->fd, &cpu, &err);

    while (ret < 0 && retry_later(e, ret, since_us)) {
        g_clear_pointer(&err, error_free);
        cpu = wanted;
        ret = ne_add_vcpu(e->fd, &cpu, &err);
    }
    if (ret < 0) {
        e->facts.refusal = -ret;
        error_propagate(errp, err);
        prepend_vcpu(e, i, wanted, ret, errp);
        return false;
    }
    g_array_append_val(e->cpus, cpu);
    return true;
}

bool nitro_enclave_prepare(NitroEnclave *e, Error **errp)
{
    int64_t since_us = 0;
    bool ok = donate_ram(e, errp);

    while (ok && e->cpus->len < e->config->nr_vcpus) {
        ok = add_vcpu(e, &since_us, errp);
    }
    if (ok) {
        e->reached = NITRO_LIFE_PREPARED;
    }
    return ok;
}

/* Start */

static const char *cid_owner(uint64_t cid)
{
    switch (cid) {
    case 1:
        return "belongs to local connections";
    case 2:
        return "belongs to the host";
    case 3:
        return "belongs to the parent instance";
    case UINT32_MAX:
        return "means any CID";
    default:
        return cid > UINT32_MAX ? "does not fit in 32 bits" : NULL;
    }
}

bool nitro_cid_valid(uint64_t cid, Error **errp)
{
    ERRP_GUARD();
    const char *owner = cid_owner(cid);

    if (!owner) {
        return true;
    }
    error_setg(errp, "an enclave cannot have CID %" PRIu64 ": it %s",
               cid, owner);
    error_append_hint(errp, "Use a number from %u to %u, or 0 to let the "
                      "hypervisor choose.\n", NITRO_CID_FIRST, NITRO_CID_LAST);
    return false;
}

static bool check_reported_cid(uint64_t cid, Error **errp)
{
    ERRP_GUARD();

    if (cid < NITRO_CID_FIRST || cid > NITRO_CID_LAST) {
        error_setg(errp, "the hypervisor reported CID %" PRIu64
                   ", which no enclave can have", cid);
        error_append_hint(errp, "Driver or hypervisor are at fault: stop and "
                          "start the instance.\n");
        return false;
    }
    return true;
}

static bool start_with_cid(NitroEnclave *e, uint64_t *cid, Error **errp)
{
    int ret = ne_start_enclave(e->fd, e->config->debug_mode, cid, errp);

    if (ret == 0 && !check_reported_cid(*cid, errp)) {
        ret = -EPROTO;
    }
    e->facts.refusal = -ret;
    return ret == 0;
}

bool nitro_enclave_start(NitroEnclave *e, Error **errp)
{
    ERRP_GUARD();
    const NitroEnclaveConfig *config = e->config;
    g_autofree char *size = size_to_str(config->ram_size);
    uint64_t cid = config->cid;

    if (!start_with_cid(e, &cid, errp)) {
        error_prepend(errp, "cannot start the enclave (%u vCPUs, %s, CID %"
                      PRIu64 "%s): ", config->nr_vcpus, size, config->cid,
                      config->cid == NITRO_CID_AUTO ? " = automatic" : "");
        return false;
    }
    e->cid = cid;
    e->started_ms = now_ms();
    e->reached = NITRO_LIFE_STARTED;
    return true;
}

/* Reports from the main loop, and the end */

void nitro_enclave_expect_boot(NitroEnclave *e)
{
    e->facts.expects_boot = true;
}

void nitro_enclave_expect_end(NitroEnclave *e)
{
    e->expects_end = true;
}

void nitro_enclave_booted(NitroEnclave *e)
{
    if (e->facts.life == NITRO_LIFE_STARTED) {
        e->facts.boot_ms = now_ms() - e->facts.started_ms;
        e->facts.booted = true;
        enclave_move(e, NITRO_LIFE_BOOTED);
        enclave_report(e);
    }
}

void nitro_enclave_fail(NitroEnclave *e, Error *err)
{
    if (e->facts.life >= NITRO_LIFE_STARTED) {
        error_free(err);
        return;
    }
    e->facts.error = err;
    note_end(e, NITRO_ENCLAVE_EXIT_CAUSE_START_FAILED);
    enclave_move(e, NITRO_LIFE_ENDED);
    enclave_report(e);
}

/* A running step notices at its next pause, else step_done() does */
static void begin_close(NitroEnclave *e)
{
    g_clear_handle_id(&e->exit_watch, g_source_remove);
    enclave_move(e, NITRO_LIFE_CLOSING);
    WITH_QEMU_LOCK_GUARD(&e->lock) {
        e->cancelled = true;
        qemu_cond_broadcast(&e->changes);
    }
    if (!e->facts.busy && e->fd >= 0) {
        nitro_enclave_run(e, close_fd);
    }
}

void nitro_enclave_close(NitroEnclave *e)
{
    if (e->facts.life >= NITRO_LIFE_CLOSING) {
        return;
    }
    begin_close(e);
    if (!e->facts.busy) {
        enclave_closed(e);      /* there was nothing to close */
    }
}

void nitro_enclave_end(NitroEnclave *e, NitroEnclaveExitCause cause)
{
    assert(nitro_enclave_runs(e));
    note_end(e, cause);
    begin_close(e);
    enclave_report(e);
}

static bool wait_idle(NitroEnclave *e, int64_t deadline_us)
{
    QEMU_LOCK_GUARD(&e->lock);
    while (e->running) {
        int64_t left_ms = (deadline_us - g_get_monotonic_time()) / 1000;

        if (left_ms <= 0) {
            return false;
        }
        qemu_cond_timedwait(&e->changes, &e->lock, left_ms);
    }
    return true;
}

bool nitro_enclave_close_wait(NitroEnclave *e, unsigned timeout_ms)
{
    int64_t deadline_us = g_get_monotonic_time() + timeout_ms * 1000LL;

    if (e->facts.life < NITRO_LIFE_CLOSING) {
        begin_close(e);
    }
    while (wait_idle(e, deadline_us)) {
        if (e->fd < 0) {
            return true;
        }
        e->facts.busy = false;
        nitro_enclave_run(e, close_fd);
    }
    return false;
}

/* The object */

const NitroEnclaveFacts *nitro_enclave_facts(const NitroEnclave *e)
{
    return &e->facts;
}

bool nitro_enclave_runs(const NitroEnclave *e)
{
    return e->facts.life == NITRO_LIFE_STARTED ||
           e->facts.life == NITRO_LIFE_BOOTED;
}

NitroEnclave *nitro_enclave_new(const NitroEnclaveConfig *config,
                                NitroEnclaveChanged *changed, void *opaque)
{
    NitroEnclave *e = g_new0(NitroEnclave, 1);

    e->config = config;
    e->changed = changed;
    e->opaque = opaque;
    e->fd = -1;
    e->cpus = g_array_new(false, true, sizeof(uint32_t));
    e->facts.cpus = g_array_new(false, true, sizeof(uint32_t));
    qemu_mutex_init(&e->lock);
    qemu_cond_init(&e->changes);
    return e;
}

void nitro_enclave_free(NitroEnclave *e)
{
    if (!e) {
        return;
    }
    assert(!e->facts.busy);
    g_clear_handle_id(&e->exit_watch, g_source_remove);
    if (e->fd >= 0) {
        close_fd(e, NULL);
    }
    error_free(e->facts.error);
    g_array_unref(e->facts.cpus);
    g_array_unref(e->cpus);
    qemu_cond_destroy(&e->changes);
    qemu_mutex_destroy(&e->lock);
    g_free(e);
}
