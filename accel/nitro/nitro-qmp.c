/*
 * Nitro Enclaves: query-nitro-enclave and "info nitro"
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Part of every system emulator; the accelerator, or its stub, knows whether
 * there is an enclave.
 */
#include "qemu/osdep.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-nitro.h"
#include "qemu/cutils.h"
#include "qemu/module.h"
#include "system/nitro.h"

NitroEnclaveInfo *qmp_query_nitro_enclave(Error **errp)
{
    return nitro_accel_query(errp);
}

/* Text from an image may hold anything */
static void print_text(Monitor *mon, const char *label, const char *text)
{
    g_autofree char *escaped = text ? g_strescape(text, NULL) : NULL;

    if (escaped) {
        monitor_printf(mon, "%s: %s\n", label, escaped);
    }
}

static void print_state(Monitor *mon, const NitroEnclaveInfo *info)
{
    monitor_printf(mon, "state: %s", NitroEnclaveState_str(info->state));
    if (info->has_exit_cause) {
        monitor_printf(mon, " (%s)",
                       NitroEnclaveExitCause_str(info->exit_cause));
    }
    if (info->has_boot_ms) {
        monitor_printf(mon, ", booted within %" PRId64 " ms", info->boot_ms);
    }
    if (info->has_uptime_ms) {
        monitor_printf(mon, ", up for %" PRId64 " ms", info->uptime_ms);
    }
    if (info->launch_due) {
        monitor_printf(mon, ", to be launched again");
    }
    monitor_printf(mon, "\nlaunches: %" PRIu32 "\n", info->launches);
    if (info->exit_error) {
        monitor_printf(mon, "error: %s\n", info->exit_error);
    }

    if (info->has_cid) {
        monitor_printf(mon, "CID: %" PRIu32 "\n", info->cid);
    } else {
        monitor_printf(mon, "CID: automatic\n");
    }
    monitor_printf(mon, "slot: 0x%" PRIx64 " of %s\n", info->slot_uid,
                   info->device);
    monitor_printf(mon, "debug mode: %s\n", info->debug_mode ? "on" : "off");
}

static void print_resources(Monitor *mon, const NitroEnclaveInfo *info)
{
    for (NitroEnclaveVcpuList *v = info->vcpus; v; v = v->next) {
        monitor_printf(mon, "vCPU %" PRIu32 ": host CPU %" PRIu32 "\n",
                       v->value->cpu_index, v->value->host_cpu);
    }
    for (NitroEnclaveMemoryList *m = info->memory; m; m = m->next) {
        g_autofree char *size = size_to_str(m->value->size);
        g_autofree char *page_size = size_to_str(m->value->page_size);

        monitor_printf(mon, "memory: %s in pages of %s (%s)\n", size,
                       page_size, m->value->memdev);
    }
}

static void print_pcrs(Monitor *mon, const char *label,
                       const NitroEnclavePcrs *pcrs)
{
    monitor_printf(mon, "%s PCR0: %s\n", label, pcrs->pcr0);
    monitor_printf(mon, "%s PCR1: %s\n", label, pcrs->pcr1);
    monitor_printf(mon, "%s PCR2: %s\n", label, pcrs->pcr2);
    if (pcrs->pcr8) {
        monitor_printf(mon, "%s PCR8: %s\n", label, pcrs->pcr8);
    }
}

static void print_time(Monitor *mon, const char *before, int64_t seconds)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(seconds);
    g_autofree char *text = time ? g_date_time_format(time, "%F %T") : NULL;

    monitor_printf(mon, "%s%s", before, text ?: "?");
}

static void print_signature(Monitor *mon, const NitroEnclaveSignature *sig)
{
    monitor_printf(mon, "signature: %s",
                   NitroEnclaveSignatureState_str(sig->state));
    if (sig->has_not_before && sig->has_not_after) {
        print_time(mon, ", certificate valid from ", sig->not_before);
        print_time(mon, " to ", sig->not_after);
    }
    monitor_printf(mon, "\n");
    print_text(mon, "signer", sig->subject);
    print_text(mon, "signature error", sig->error);
}

static void print_image(Monitor *mon, const NitroEnclaveImage *image)
{
    monitor_printf(mon, "image: %s (%s)\n", image->path,
                   NitroEnclaveImageKind_str(image->kind));
    if (image->initrd) {
        monitor_printf(mon, "initrd: %s\n", image->initrd);
    }
    print_text(mon, "image name", image->name);
    print_text(mon, "image version", image->image_version);
    monitor_printf(mon, "image format: version %u, %s, %" PRIu64 " bytes, CRC "
                   "0x%08" PRIx32 ", %s\n", image->version,
                   SysEmuTarget_str(image->arch), image->size, image->crc,
                   image->q_signed ? "signed" : "not signed");
    print_signature(mon, image->signature);
    for (NitroEnclaveSectionList *s = image->sections; s; s = s->next) {
        monitor_printf(mon, "section: %s, %" PRIu64 " bytes at %" PRIu64 "\n",
                       NitroEnclaveSectionType_str(s->value->type),
                       s->value->size, s->value->offset);
    }
    monitor_printf(mon, "measurement: %s",
                   NitroEnclaveMeasurement_str(image->measurement));
    if (image->measurement_error) {
        monitor_printf(mon, ", %s", image->measurement_error);
    }
    monitor_printf(mon, "\n");
    if (image->pcrs) {
        print_pcrs(mon, "image", image->pcrs);
    }
}

static void print_heartbeat(Monitor *mon, const NitroEnclaveHeartbeat *hb)
{
    monitor_printf(mon, "heartbeat: %s, port %" PRIu32,
                   NitroEnclaveHeartbeatState_str(hb->state), hb->port);
    if (hb->has_elapsed_ms) {
        monitor_printf(mon, ", %" PRId64 " ms", hb->elapsed_ms);
    }
    if (hb->timeout_ms) {
        monitor_printf(mon, ", limit %" PRIu32 " ms", hb->timeout_ms);
    }
    monitor_printf(mon, "\n");
}

static void print_console(Monitor *mon, const NitroEnclaveConsole *console)
{
    monitor_printf(mon, "console: %s, %" PRIu64 " bytes to %s",
                   NitroEnclaveConsoleState_str(console->state),
                   console->bytes, console->chardev);
    if (console->dropped) {
        monitor_printf(mon, ", %" PRIu64 " dropped", console->dropped);
    }
    if (console->reconnects) {
        monitor_printf(mon, ", %" PRIu32 " reconnects", console->reconnects);
    }
    monitor_printf(mon, "\n");
    if (console->lost) {
        monitor_printf(mon, "console lost: %s\n", console->lost);
    }
}

static void print_channel(Monitor *mon, const NitroEnclaveChannel *channel)
{
    monitor_printf(mon, "channel: %s, %s port %" PRIu32 ", %" PRIu64
                   " bytes received, %" PRIu64 " sent, %" PRIu32
                   " connections (%s)\n",
                   NitroEnclaveChannelState_str(channel->state),
                   NitroChannelDirection_str(channel->direction),
                   channel->port, channel->received, channel->sent,
                   channel->connections, channel->id ?: channel->chardev);
    if (channel->error) {
        monitor_printf(mon, "channel given up: %s\n", channel->error);
    }
}

static void print_application(Monitor *mon,
                              const NitroEnclaveApplication *app)
{
    monitor_printf(mon, "application: %s",
                   NitroApplicationState_str(app->state));
    if (app->has_status) {
        monitor_printf(mon, " with status %" PRIu32, app->status);
    }
    if (app->has_signal) {
        monitor_printf(mon, " by %" PRIu32, app->signal);
    }
    monitor_printf(mon, "%s, %" PRIu64 " bytes of stdout, %" PRIu64
                   " of stderr, %" PRIu64 " dropped, %" PRIu32
                   " connections\n", app->connected ? "" : ", not connected",
                   app->stdout_bytes, app->stderr_bytes, app->dropped,
                   app->connections);
    print_text(mon, "application not run", app->reason);
}

static void print_network(Monitor *mon, const NitroEnclaveNetwork *net)
{
    monitor_printf(mon, "network: %s, port %" PRIu32 ", %" PRIu64
                   " frames received, %" PRIu64 " sent, %" PRIu64
                   " dropped, %" PRIu32 " connections, %" PRIu32
                   " faults (%s)\n",
                   net->connected ? "connected" : "not connected", net->port,
                   net->received, net->sent, net->dropped, net->connections,
                   net->faults, net->id ?: "nitro-net");
    print_text(mon, "network fault", net->error);
}

static void hmp_info_nitro(Monitor *mon, const QDict *qdict)
{
    g_autoptr(NitroEnclaveInfo) info = NULL;
    Error *err = NULL;

    info = nitro_accel_query(&err);
    if (hmp_handle_error(mon, err)) {
        return;
    }
    print_state(mon, info);
    print_resources(mon, info);
    if (info->image) {
        print_image(mon, info->image);
    }
    if (info->attestation_pcrs) {
        print_pcrs(mon, "attestation", info->attestation_pcrs);
    }
    if (info->heartbeat) {
        print_heartbeat(mon, info->heartbeat);
    }
    if (info->console) {
        print_console(mon, info->console);
    }
    for (NitroEnclaveChannelList *c = info->channels; c; c = c->next) {
        print_channel(mon, c->value);
    }
    if (info->application) {
        print_application(mon, info->application);
    }
    if (info->network) {
        print_network(mon, info->network);
    }
}

static void nitro_register_hmp(void)
{
    monitor_register_hmp("nitro", true, hmp_info_nitro);
}

type_init(nitro_register_hmp);
