/*
 * Nitro Enclaves: what the monitor shows of the machine
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The machine's part of the answer to query-nitro-enclave: memory, image and
 * the devices on the vsock bus.
 */

#include "qemu/osdep.h"
#include "hw/nitro/agent.h"
#include "hw/nitro/heartbeat.h"
#include "hw/nitro/machine.h"
#include "hw/nitro/net.h"
#include "hw/nitro/serial-vsock.h"
#include "hw/nitro/vsock-chardev.h"
#include "qapi/clone-visitor.h"
#include "qapi/qapi-visit-nitro.h"
#include "system/hostmem.h"

#define PCR_HEX_LEN (2 * EIF_PCR_LEN)

static void fill_memory(const MachineState *machine, NitroEnclaveInfo *info)
{
    NitroEnclaveMemory *memory = g_new0(NitroEnclaveMemory, 1);
    Object *memdev = OBJECT(machine->memdev);

    memory->memdev = g_strdup(object_get_canonical_path_component(memdev));
    memory->size = memory_region_size(machine->ram);
    memory->page_size = host_memory_backend_pagesize(machine->memdev);
    QAPI_LIST_PREPEND(info->memory, memory);
}

static void fill_zeros(char **pcr)
{
    if (*pcr) {
        memset(*pcr, '0', PCR_HEX_LEN);
    }
}

/* Attestation documents of an enclave in debug mode have zeros */
static NitroEnclavePcrs *attestation_pcrs(const NitroEnclavePcrs *image,
                                          bool debug_mode)
{
    NitroEnclavePcrs *pcrs = QAPI_CLONE(NitroEnclavePcrs, image);

    if (debug_mode) {
        fill_zeros(&pcrs->pcr0);
        fill_zeros(&pcrs->pcr1);
        fill_zeros(&pcrs->pcr2);
        fill_zeros(&pcrs->pcr8);
    }
    return pcrs;
}

static void fill_image(NitroMachineState *nms, NitroEnclaveInfo *info)
{
    info->image = nitro_image_query(nms->image);
    if (info->image->pcrs) {
        info->attestation_pcrs = attestation_pcrs(info->image->pcrs,
                                                  info->debug_mode);
    }
}

static void fill_channels(NitroVsockBridge *bridge, NitroEnclaveInfo *info)
{
    NitroEnclaveChannelList **tail = &info->channels;
    g_autoptr(GPtrArray) devices =
        nitro_vsock_bridge_find_all(bridge, TYPE_NITRO_VSOCK_CHARDEV);

    for (guint i = 0; i < devices->len; i++) {
        NitroVsockChardev *dev = g_ptr_array_index(devices, i);

        QAPI_LIST_APPEND(tail, nitro_vsock_chardev_query(dev));
    }
}

void nitro_machine_query(NitroMachineState *nms, NitroEnclaveInfo *info)
{
    NitroVsockDevice *heartbeat, *console, *agent, *net;

    heartbeat = nitro_vsock_bridge_find(nms->bridge, TYPE_NITRO_HEARTBEAT);
    console = nitro_vsock_bridge_find(nms->bridge, TYPE_NITRO_SERIAL_VSOCK);
    agent = nitro_vsock_bridge_find(nms->bridge, TYPE_NITRO_AGENT);
    net = nitro_vsock_bridge_find(nms->bridge, TYPE_NITRO_NET);

    fill_memory(MACHINE(nms), info);
    if (nms->image) {
        fill_image(nms, info);
    }
    if (heartbeat) {
        info->heartbeat = nitro_heartbeat_query(NITRO_HEARTBEAT(heartbeat));
    }
    if (console) {
        info->console = nitro_serial_query(NITRO_SERIAL_VSOCK(console));
    }
    if (agent) {
        info->application = nitro_agent_query(NITRO_AGENT(agent));
    }
    if (net) {
        info->network = nitro_net_query(NITRO_NET(net));
    }
    fill_channels(nms->bridge, info);
}
