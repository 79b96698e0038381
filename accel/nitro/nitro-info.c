/*
 * Nitro Enclaves accelerator: what the monitor is told
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The accelerator's part of the answer to query-nitro-enclave, and the events
 * of the enclave's life, which all come from a change of its state.  What they
 * mean is described in qapi/nitro.json.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-events-nitro.h"
#include "qapi/util.h"
#include "nitro-int.h"
#include "nitro-state.h"

static int64_t now_ms(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

static bool was_started(const NitroAccelState *s)
{
    return s->started_ms != 0;
}

/* Events */

static NitroEnclaveExitCause exit_cause(const NitroAccelState *s,
                                        NitroState from)
{
    if (from != NITRO_STATE_STARTED && from != NITRO_STATE_BOOTED) {
        return NITRO_ENCLAVE_EXIT_CAUSE_START_FAILED;
    }
    if (s->outcome == NITRO_OUTCOME_DEADLINE) {
        return NITRO_ENCLAVE_EXIT_CAUSE_BOOT_TIMEOUT;
    }
    if (s->outcome == NITRO_OUTCOME_RESET) {
        return NITRO_ENCLAVE_EXIT_CAUSE_RESET;
    }
    if (s->ended_by_us) {
        return NITRO_ENCLAVE_EXIT_CAUSE_POWERDOWN;
    }
    return s->outcome == NITRO_OUTCOME_UNBOOTED
           ? NITRO_ENCLAVE_EXIT_CAUSE_ENDED_BEFORE_BOOT
           : NITRO_ENCLAVE_EXIT_CAUSE_ENDED;
}

static void exited(NitroAccelState *s, NitroState from)
{
    s->exited_ms = now_ms();
    s->exit_cause = exit_cause(s, from);
    qapi_event_send_nitro_enclave_exited(s->exit_cause,
                                         s->cid != NITRO_CID_AUTO, s->cid,
                                         was_started(s),
                                         s->exited_ms - s->started_ms,
                                         s->start_error);
}

void nitro_info_moved(NitroAccelState *s, NitroState from)
{
    switch (s->state) {
    case NITRO_STATE_STARTED:
        qapi_event_send_nitro_enclave_started(s->cid, s->slot_uid,
                                              s->debug_mode);
        break;
    case NITRO_STATE_BOOTED:
        qapi_event_send_nitro_enclave_booted(s->cid, s->boot_ms);
        break;
    case NITRO_STATE_EXITED:
        exited(s, from);
        break;
    default:
        break;
    }
}

/* The query */

static void fill_vcpus(const NitroAccelState *s, NitroEnclaveInfo *info)
{
    NitroEnclaveVcpuList **tail = &info->vcpus;

    for (unsigned i = 0; i < s->cpus->len; i++) {
        NitroEnclaveVcpu *vcpu = g_new0(NitroEnclaveVcpu, 1);

        vcpu->cpu_index = i;
        vcpu->host_cpu = g_array_index(s->cpus, uint32_t, i);
        QAPI_LIST_APPEND(tail, vcpu);
    }
}

static void fill_times(const NitroAccelState *s, NitroEnclaveInfo *info)
{
    int64_t until_ms = s->exited_ms ?: now_ms();

    info->has_uptime_ms = was_started(s);
    info->uptime_ms = info->has_uptime_ms ? until_ms - s->started_ms : 0;
    info->has_boot_ms = s->boot_ms != 0;
    info->boot_ms = s->boot_ms;
}

NitroEnclaveInfo *nitro_accel_query(Error **errp)
{
    NitroAccelState *s = nitro_accel_current();
    NitroEnclaveInfo *info;

    if (!s) {
        error_setg(errp, "there is no enclave: accelerator nitro is not in "
                   "use");
        return NULL;
    }

    info = g_new0(NitroEnclaveInfo, 1);
    info->state = qapi_enum_parse(&NitroEnclaveState_lookup,
                                  nitro_state_name(s->state), -1,
                                  &error_abort);
    info->device = g_strdup(s->device);
    info->slot_uid = s->slot_uid;
    info->has_cid = s->cid != NITRO_CID_AUTO;
    info->cid = s->cid;
    info->debug_mode = s->debug_mode;
    info->has_exit_cause = s->state == NITRO_STATE_EXITED;
    info->exit_cause = s->exit_cause;
    info->exit_error = g_strdup(s->start_error);
    info->launches = s->launches;
    info->launch_due = nitro_reset_due(s);
    fill_vcpus(s, info);
    fill_times(s, info);
    if (nitro_hooks.ops->query) {
        nitro_hooks.ops->query(nitro_hooks.opaque, info);
    }
    return info;
}
