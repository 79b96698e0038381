/*
 * Nitro Enclaves accelerator: order of a launch
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two events lead to the first start: QEMU's set-up is complete (setup_post),
 * and the VM runs.  Without -S the VM runs first, with -S at the first "cont"
 * afterwards; with --preconfig there is no machine yet when set-up completes.
 * The last of these events continues the launch.
 *
 * Each later launch first loads the image again, outside of the main loop.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "hw/qdev-core.h"
#include "qemu/module.h"
#include "system/runstate.h"
#include "ne.h"
#include "nitro-int.h"
#include "trace.h"

static NitroGuest *guest(void)
{
    return NITRO_GUEST(current_machine);
}

static NitroGuestClass *guest_class(void)
{
    return NITRO_GUEST_GET_CLASS(current_machine);
}

/* vCPU objects */

/* The object that stands for a vCPU shows which CPU it really is */
static void show_host_cpus(NitroAccelState *s, const GArray *cpus)
{
    for (unsigned i = 0; i < s->config.nr_vcpus; i++) {
        CPUState *cpu = qemu_get_cpu(i);

        s->host_cpus[i] = i < cpus->len ? g_array_index(cpus, uint32_t, i) : 0;
        if (cpu && i < cpus->len &&
            !object_property_find(OBJECT(cpu), "host-cpu")) {
            object_property_add_uint32_ptr(OBJECT(cpu), "host-cpu",
                                           &s->host_cpus[i],
                                           OBJ_PROP_FLAG_READ);
        }
    }
}

void nitro_launch_show(NitroAccelState *s, NitroEnclave *enclave)
{
    if (enclave == s->next) {
        nitro_enclave_free(s->enclave);
        s->enclave = g_steal_pointer(&s->next);
    }
    show_host_cpus(s, nitro_enclave_facts(s->enclave)->cpus);
}

/* Devices */

static NitroStep prepare_devices(NitroAccelState *s, Error **errp)
{
    NitroStep step;

    s->armed = true;
    step = guest_class()->acquire(guest(), errp);
    if (step == NITRO_STEP_DONE &&
        !guest_class()->prepare_start(guest(), errp)) {
        return NITRO_STEP_FAILED;
    }
    return step;
}

void nitro_launch_started(NitroAccelState *s)
{
    s->launches++;
    guest_class()->started(guest(), nitro_enclave_facts(s->enclave)->cid);
}

void nitro_launch_stopped(NitroAccelState *s)
{
    timer_del(s->retry_timer);
    if (s->armed) {
        guest_class()->stopped(guest());
    }
    s->armed = false;
}

void nitro_launch_query(NitroEnclaveInfo *info)
{
    guest_class()->query(guest(), info);
}

/* Steps */

static void set_ram(NitroAccelState *s)
{
    MemoryRegion *ram = current_machine->ram;

    s->config.ram = memory_region_get_ram_ptr(ram);
    s->config.ram_size = memory_region_size(ram);
    s->config.page_size = qemu_ram_pagesize(ram->ram_block);
}

static bool may_prepare(NitroAccelState *s)
{
    return s->setup_begun && phase_check(PHASE_MACHINE_READY);
}

static NitroEnclaveStep *start_step(NitroAccelState *s, Error **errp)
{
    NitroStep step = prepare_devices(s, errp);

    if (step == NITRO_STEP_LATER) {
        trace_nitro_launch_later(s->enclave);
        timer_mod(s->retry_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                  nitro_retry_delay_ms());
    }
    return step == NITRO_STEP_DONE ? nitro_enclave_start : NULL;
}

/* Returns NULL when there is nothing to do now, or with @errp set */
static NitroEnclaveStep *next_step(NitroAccelState *s, Error **errp)
{
    const NitroEnclaveFacts *facts = nitro_enclave_facts(s->enclave);

    if (facts->busy) {
        return NULL;
    }
    if (facts->life == NITRO_LIFE_CREATED && may_prepare(s)) {
        set_ram(s);
        return nitro_enclave_prepare;
    }
    if (facts->life == NITRO_LIFE_PREPARED && runstate_is_running()) {
        return start_step(s, errp);
    }
    return NULL;
}

bool nitro_launch_setup(NitroAccelState *s, Error **errp)
{
    ERRP_GUARD();
    NitroEnclaveStep *step;

    s->setup_begun = true;
    do {
        step = next_step(s, errp);
    } while (step && nitro_enclave_run_now(s->enclave, step, errp));
    s->setup_done = true;
    return !*errp;
}

void nitro_launch_proceed(NitroAccelState *s)
{
    Error *err = NULL;
    NitroEnclaveStep *step = s->setup_done ? next_step(s, &err) : NULL;

    if (err) {
        nitro_enclave_fail(s->enclave, err);
    } else if (step) {
        nitro_enclave_run(s->enclave, step);
    }
}

/* All that can be done without the main loop, in one step */
static bool prepare_again(NitroEnclave *enclave, Error **errp)
{
    return nitro_enclave_create(enclave, errp) &&
           guest_class()->load(guest(), errp) &&
           nitro_enclave_prepare(enclave, errp);
}

void nitro_launch_again(NitroAccelState *s)
{
    s->next = nitro_enclave_new(&s->config, s->changed, s);
    nitro_enclave_run(s->next, prepare_again);
}

/* Events that continue the launch */

static void launch_retry(void *opaque)
{
    nitro_launch_proceed(opaque);
}

static void vm_state_changed(void *opaque, bool running, RunState state)
{
    NitroAccelState *s = opaque;

    if (running) {
        nitro_launch_proceed(s);
    } else if (timer_pending(s->retry_timer)) {
        /* Nothing was started: the next "cont" tries again */
        nitro_launch_stopped(s);
    }
}

static bool create_first(NitroAccelState *s, Error **errp)
{
    s->config.device_fd = ne_open(s->device, errp);
    if (s->config.device_fd < 0) {
        return false;
    }
    s->enclave = nitro_enclave_new(&s->config, s->changed, s);
    return nitro_enclave_run_now(s->enclave, nitro_enclave_create, errp);
}

bool nitro_launch_init(NitroAccelState *s, NitroEnclaveChanged *changed,
                       Error **errp)
{
    s->changed = changed;
    s->host_cpus = g_new0(uint32_t, s->config.nr_vcpus);
    if (!create_first(s, errp)) {
        return false;
    }
    s->retry_timer = timer_new_ms(QEMU_CLOCK_REALTIME, launch_retry, s);
    qemu_add_vm_change_state_handler(vm_state_changed, s);
    return true;
}

static const TypeInfo nitro_launch_interfaces[] = {
    {
        .name = TYPE_NITRO_LAUNCHER,
        .parent = TYPE_INTERFACE,
        .class_size = sizeof(NitroLauncherClass),
    },
    {
        .name = TYPE_NITRO_GUEST,
        .parent = TYPE_INTERFACE,
        .class_size = sizeof(NitroGuestClass),
    },
};

DEFINE_TYPES(nitro_launch_interfaces)
