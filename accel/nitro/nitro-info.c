/*
 * Nitro Enclaves accelerator: answers and events for the monitor
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Answers query-nitro-enclave, and sends an event at each change of state that
 * concerns the user.  qapi/nitro.json describes them.
 */
#include "qemu/osdep.h"
#include "hw/nitro/limits.h"
#include "qapi/error.h"
#include "qapi/qapi-events-nitro.h"
#include "qapi/util.h"
#include "qemu/error-report.h"
#include "nitro-int.h"

/* Events */

static void report_end(const NitroEnclaveFacts *f)
{
    g_autofree char *boot = NULL;

    if (f->booted) {
        boot = g_strdup_printf(", booted after %.1f s", f->boot_ms / 1000.0);
    } else if (f->expects_boot) {
        boot = g_strdup(", before its heartbeat");
    }
    info_report("enclave with CID %" PRIu64 " ended after %.1f s%s", f->cid,
                (f->ended_ms - f->started_ms) / 1000.0, boot ?: "");
}

static void send_exited(const NitroAccelState *s, const NitroEnclaveFacts *f)
{
    uint64_t cid = nitro_current_cid(s);

    qapi_event_send_nitro_enclave_exited(f->cause, cid != NITRO_CID_AUTO, cid,
                                         f->started_ms != 0,
                                         f->ended_ms - f->started_ms,
                                         f->error ? error_get_pretty(f->error)
                                                  : NULL, s->application);
}

static void info_ended(const NitroAccelState *s, const NitroEnclaveFacts *f)
{
    if (f->error) {
        error_report_err(error_copy(f->error));
    } else {
        report_end(f);
    }
    send_exited(s, f);
}

void nitro_info_changed(const NitroAccelState *s)
{
    const NitroEnclaveFacts *f = nitro_enclave_facts(s->enclave);

    switch (f->life) {
    case NITRO_LIFE_STARTED:
        qapi_event_send_nitro_enclave_started(f->cid, f->slot_uid,
                                              s->config.debug_mode);
        break;
    case NITRO_LIFE_BOOTED:
        qapi_event_send_nitro_enclave_booted(f->cid, f->boot_ms);
        break;
    case NITRO_LIFE_ENDED:
    case NITRO_LIFE_CLOSING:
        info_ended(s, f);
        break;
    default:
        break;
    }
}

/* The query */

static void fill_vcpus(const NitroEnclaveFacts *facts, NitroEnclaveInfo *info)
{
    NitroEnclaveVcpuList **tail = &info->vcpus;

    for (unsigned i = 0; i < facts->cpus->len; i++) {
        NitroEnclaveVcpu *vcpu = g_new0(NitroEnclaveVcpu, 1);

        vcpu->cpu_index = i;
        vcpu->host_cpu = g_array_index(facts->cpus, uint32_t, i);
        QAPI_LIST_APPEND(tail, vcpu);
    }
}

static void fill_times(const NitroEnclaveFacts *facts, NitroEnclaveInfo *info)
{
    int64_t until_ms = facts->ended_ms
                       ?: qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    info->has_uptime_ms = facts->started_ms != 0;
    info->uptime_ms = info->has_uptime_ms ? until_ms - facts->started_ms : 0;
    info->has_boot_ms = facts->boot_ms != 0;
    info->boot_ms = facts->boot_ms;
}

static void fill_end(const NitroEnclaveFacts *facts, NitroEnclaveInfo *info)
{
    info->has_exit_cause = facts->life >= NITRO_LIFE_ENDED;
    info->exit_cause = facts->cause;
    info->exit_error = facts->error ? g_strdup(error_get_pretty(facts->error))
                                    : NULL;
}

static void fill_info(const NitroAccelState *s, NitroEnclaveInfo *info)
{
    const NitroEnclaveFacts *facts = nitro_enclave_facts(s->enclave);

    info->state = nitro_life_state[facts->life];
    info->device = g_strdup(s->device);
    info->slot_uid = facts->slot_uid;
    info->cid = nitro_current_cid(s);
    info->has_cid = info->cid != NITRO_CID_AUTO;
    info->debug_mode = s->config.debug_mode;
    info->launches = s->launches;
    info->launch_due = nitro_launch_due(s);
    fill_vcpus(facts, info);
    fill_times(facts, info);
    fill_end(facts, info);
    nitro_launch_query(info);
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
    fill_info(s, info);
    return info;
}
