/*
 * Nitro Enclaves accelerator: donate the RAM, add the vCPUs, start
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two events lead to the start: QEMU's set-up is complete (setup_post), and
 * the VM runs.  Without -S the VM runs first, with -S at the first "cont"
 * afterwards; with --preconfig there is no machine yet when set-up completes.
 * Whichever event comes last continues the launch.
 *
 * What another launch on this parent has may be free in a moment: then a timer
 * continues, until whoever waits for it has waited long enough.  The same way
 * goes a launch after a reset, which begins in nitro-reset.c.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "hw/qdev-core.h"
#include "standard-headers/linux/nitro_enclaves.h"
#include "system/runstate.h"
#include "ne.h"
#include "nitro-int.h"
#include "trace.h"

static bool donate_ram(NitroAccelState *s, MemoryRegion *ram, Error **errp)
{
    ERRP_GUARD();
    uint64_t bytes = memory_region_size(ram);
    uint64_t page_size = qemu_ram_pagesize(ram->ram_block);
    g_autofree char *size = size_to_str(bytes);
    g_autofree char *page = size_to_str(page_size);
    int ret = ne_add_memory(s->enclave_fd, memory_region_get_ram_ptr(ram),
                            bytes, errp);

    s->donated = ret == 0;
    if (ret == -NE_ERR_MEM_MAX_REGIONS) {
        error_prepend(errp, "cannot donate %s of RAM in %" PRIu64 " pages of "
                      "%s to the enclave: ", size, bytes / page_size, page);
    } else if (ret < 0) {
        error_prepend(errp, "cannot donate %s of RAM to the enclave: ", size);
    }
    return ret == 0;
}

/*
 * Say which vCPU failed, of how many, and what is known of the pool.  The
 * driver gives whole cores; so what it gave until none was left was free.
 */
static void prepend_vcpu(NitroAccelState *s, unsigned index, unsigned count,
                         uint32_t wanted, int ret, Error **errp)
{
    unsigned size = s->pool ? s->pool->cpus->len : 0;

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

/* The object that stands for the vCPU tells which CPU it really is */
static void show_host_cpu(NitroAccelState *s, unsigned index)
{
    CPUState *cpu = qemu_get_cpu(index);

    if (cpu && !object_property_find(OBJECT(cpu), "host-cpu")) {
        object_property_add_uint32_ptr(OBJECT(cpu), "host-cpu",
            &g_array_index(s->cpus, uint32_t, index), OBJ_PROP_FLAG_READ);
    }
}

/* The objects that show them refer to the array: it has its size at once */
static void reserve_cpus(NitroAccelState *s, unsigned count)
{
    unsigned len = s->cpus->len;

    g_array_set_size(s->cpus, count);
    g_array_set_size(s->cpus, len);
}

static NitroStep add_vcpu(NitroAccelState *s, unsigned count, Error **errp)
{
    ERRP_GUARD();
    unsigned i = s->cpus->len;
    uint32_t wanted =
        s->wanted_cpus ? g_array_index(s->wanted_cpus, uint32_t, i) : 0;
    uint32_t cpu = wanted;
    Error *err = NULL;
    int ret = ne_add_vcpu(s->enclave_fd, &cpu, &err);

    if (ret == 0) {
        g_array_append_val(s->cpus, cpu);
        show_host_cpu(s, i);
        return NITRO_STEP_DONE;
    }
    if (nitro_retry_later(s, ret)) {
        error_free(err);
        return NITRO_STEP_LATER;
    }
    error_propagate(errp, err);
    prepend_vcpu(s, i, count, wanted, ret, errp);
    return NITRO_STEP_FAILED;
}

/* Goes on where it had to wait */
static NitroStep add_vcpus(NitroAccelState *s, unsigned count, Error **errp)
{
    NitroStep step = NITRO_STEP_DONE;

    reserve_cpus(s, count);
    while (step == NITRO_STEP_DONE && s->cpus->len < count) {
        step = add_vcpu(s, count, errp);
    }
    return step;
}

static NitroStep prepare(NitroAccelState *s, MachineState *ms, Error **errp)
{
    NitroStep step = s->donated || donate_ram(s, ms->ram, errp)
                     ? add_vcpus(s, ms->smp.cpus, errp) : NITRO_STEP_FAILED;

    if (step == NITRO_STEP_FAILED) {
        nitro_exit_driver_refused(true);
    } else if (step == NITRO_STEP_DONE) {
        nitro_retry_done(s);
        nitro_move_state(s, NITRO_STATE_PREPARED);
    }
    return step;
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

static bool start_enclave(NitroAccelState *s, MachineState *ms, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *size = size_to_str(memory_region_size(ms->ram));
    uint64_t cid = s->cid;

    if (ne_start_enclave(s->enclave_fd, s->debug_mode, &cid, errp) < 0 ||
        !check_reported_cid(cid, errp)) {
        nitro_exit_driver_refused(true);
        error_prepend(errp, "cannot start the enclave (%u vCPUs, %s, CID %"
                      PRIu64 "%s): ", ms->smp.cpus, size, s->cid,
                      s->cid == NITRO_CID_AUTO ? " = automatic" : "");
        return false;
    }
    s->cid = cid;
    s->launches++;
    s->started_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    return true;
}

static NitroStep acquire(NitroAccelState *s, Error **errp)
{
    s->armed = true;
    return nitro_hooks.ops->acquire
           ? nitro_hooks.ops->acquire(nitro_hooks.opaque, errp)
           : NITRO_STEP_DONE;
}

static NitroStep start(NitroAccelState *s, MachineState *ms, Error **errp)
{
    NitroStep step = acquire(s, errp);

    if (step != NITRO_STEP_DONE) {
        return step;
    }
    if (nitro_hooks.ops->prepare_start &&
        !nitro_hooks.ops->prepare_start(nitro_hooks.opaque, errp)) {
        return NITRO_STEP_FAILED;
    }
    nitro_exit_watch(s);
    if (!start_enclave(s, ms, errp)) {
        return NITRO_STEP_FAILED;
    }
    nitro_move_state(s, NITRO_STATE_STARTED);
    if (nitro_hooks.ops->started) {
        nitro_hooks.ops->started(nitro_hooks.opaque, s->cid);
    }
    return NITRO_STEP_DONE;
}

/* As far as it goes now: see the top of this file */
static NitroStep proceed(NitroAccelState *s, MachineState *ms, Error **errp)
{
    bool ready = s->setup_done && phase_check(PHASE_MACHINE_READY);
    NitroStep step = nitro_reset_create(s, errp);

    if (step == NITRO_STEP_DONE && ready && s->state == NITRO_STATE_CREATED) {
        step = prepare(s, ms, errp);
    }
    if (step == NITRO_STEP_DONE && s->state == NITRO_STATE_PREPARED &&
        runstate_is_running()) {
        step = start(s, ms, errp);
    }
    if (step == NITRO_STEP_LATER) {
        trace_nitro_launch_later(s->slot_uid);
        timer_mod(s->retry_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                  nitro_retry_delay_ms());
    }
    return step;
}

void nitro_launch_setup(NITRO_SETUP_POST_PARAMS)
{
    NitroAccelState *s = NITRO_ACCEL(as);
    Error *err = NULL;

    s->setup_done = true;
    if (proceed(s, current_machine, &err) == NITRO_STEP_FAILED) {
        error_report_err(err);
        exit(nitro_accel_failure_status());
    }
}

void nitro_launch_proceed(NitroAccelState *s)
{
    Error *err = NULL;

    if (proceed(s, current_machine, &err) == NITRO_STEP_FAILED) {
        g_free(s->start_error);
        s->start_error = g_strdup(error_get_pretty(err));
        error_report_err(err);
        nitro_exit_failed(s);
    }
}

static void retry(void *opaque)
{
    nitro_launch_proceed(opaque);
}

/* Stopped while it waits: nothing was started, the next "cont" tries again */
static void put_off(NitroAccelState *s)
{
    timer_del(s->retry_timer);
    s->armed = false;
    if (nitro_hooks.ops->stopped) {
        nitro_hooks.ops->stopped(nitro_hooks.opaque);
    }
}

static void vm_state_changed(void *opaque, bool running, RunState state)
{
    NitroAccelState *s = opaque;

    if (running) {
        nitro_launch_proceed(s);
    } else if (s->armed && timer_pending(s->retry_timer)) {
        put_off(s);
    }
}

void nitro_launch_init(NitroAccelState *s)
{
    s->retry_timer = timer_new_ms(QEMU_CLOCK_REALTIME, retry, s);
    qemu_add_vm_change_state_handler(vm_state_changed, s);
}
