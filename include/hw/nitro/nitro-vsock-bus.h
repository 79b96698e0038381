/*
 * Nitro Enclaves: the vsock bus of an enclave seen from its parent
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An enclave has no MMIO, no PCI and no interrupts that QEMU could see: the
 * only way in or out is AF_VSOCK.  Everything that talks to the enclave over
 * vsock (heartbeat, console, application channels) is a device on this bus.
 * The bus belongs to a bridge that the machine creates at the fixed QOM path
 * /machine/nitro-vsock, with and without -nodefaults, so that devices can
 * always be added with -device and the CID can always be read with qom-get.
 *
 * Order of calls for one launch; all of them need the BQL:
 *
 *     acquire          before the others, again and again until it is done
 *     prepare_start    before NE_START_ENCLAVE, may fail the launch
 *     enclave_started  the driver has reported the CID
 *     enclave_stopped  the enclave is gone, or the start has failed
 *
 * and again in this order for each further launch.  Devices report to the
 * launcher of the enclave through the bridge, too; under qtest, without a
 * launcher, their reports have no effect.
 */

#ifndef HW_NITRO_VSOCK_BUS_H
#define HW_NITRO_VSOCK_BUS_H

#include "hw/qdev-core.h"
#include "hw/sysbus.h"
#include "qom/object.h"
#include "system/nitro-launch.h"

#define TYPE_NITRO_VSOCK_BUS "nitro-vsock-bus"
OBJECT_DECLARE_SIMPLE_TYPE(NitroVsockBus, NITRO_VSOCK_BUS)

#define TYPE_NITRO_VSOCK_BRIDGE "nitro-vsock-bridge"
OBJECT_DECLARE_SIMPLE_TYPE(NitroVsockBridge, NITRO_VSOCK_BRIDGE)

#define TYPE_NITRO_VSOCK_DEVICE "nitro-vsock-device"
OBJECT_DECLARE_TYPE(NitroVsockDevice, NitroVsockDeviceClass,
                    NITRO_VSOCK_DEVICE)

/* Name of the bridge below /machine */
#define NITRO_VSOCK_BRIDGE_NAME "nitro-vsock"

struct NitroVsockBus {
    BusState parent_obj;
};

/**
 * NitroVsockBridge: owner of the bus
 * @bus: the bus; exists from realize on
 * @enclave_cid: CID of the enclave, 0 while none runs;
 *     read-only QOM property "enclave-cid"
 * @image_size: bytes of the enclave image, 0 without one
 * @memory_size: bytes of the enclave's memory
 * @launcher: launches the enclave; NULL under qtest
 */
struct NitroVsockBridge {
    SysBusDevice parent_obj;

    NitroVsockBus bus;
    uint32_t enclave_cid;
    uint64_t image_size;
    uint64_t memory_size;
    NitroLauncher *launcher;
};

/**
 * NitroVsockDevice: a device on the bus
 * @holds: it holds the end of QEMU
 */
struct NitroVsockDevice {
    DeviceState parent_obj;

    bool holds;
};

/**
 * NitroVsockDeviceClass: what a device on the bus can take part in
 * @acquire: get hold of something that another launch may have.  Returns
 *     NITRO_STEP_LATER to be called again in a moment, NITRO_STEP_FAILED with
 *     @errp set to refuse the launch, NITRO_STEP_DONE also when called again
 *     after that.  Undone by enclave_stopped.
 * @prepare_start: get ready for a connection that the enclave may make from
 *     its very first instruction on.  Returns false with @errp set to refuse
 *     the launch.
 * @enclave_started: the enclave runs and its CID is @cid.  A failure is
 *     reported as a warning and changes nothing for the enclave: returns
 *     false with @errp set.
 * @enclave_stopped: the enclave has ended, or the launch has failed or was
 *     put off after acquire or prepare_start had been called.  The device
 *     gives up ports and connections; it may finish reading what has arrived.
 *
 * Each method may be NULL, and none of them may block.
 */
struct NitroVsockDeviceClass {
    DeviceClass parent_class;

    NitroStep (*acquire)(NitroVsockDevice *dev, Error **errp);
    bool (*prepare_start)(NitroVsockDevice *dev, Error **errp);
    bool (*enclave_started)(NitroVsockDevice *dev, uint32_t cid,
                            Error **errp);
    void (*enclave_stopped)(NitroVsockDevice *dev);
};

/**
 * nitro_vsock_bridge_new: create and realize the bridge of a machine
 * @machine: the machine object; becomes the owner of the bridge
 * @launcher: who launches the enclave, or NULL; outlives the bridge
 * @errp: filled in on failure
 *
 * Returns: the bridge, or NULL on failure
 */
NitroVsockBridge *nitro_vsock_bridge_new(Object *machine,
                                         NitroLauncher *launcher,
                                         Error **errp);

/**
 * nitro_vsock_bridge_acquire: call acquire on every device
 * @bridge: the bridge
 * @errp: filled in by the first device that refuses
 *
 * Returns: NITRO_STEP_DONE when every device has what it needs; else the
 * answer of the first one that has not.
 */
NitroStep nitro_vsock_bridge_acquire(NitroVsockBridge *bridge, Error **errp);

/**
 * nitro_vsock_bridge_prepare: call prepare_start on every device
 * @bridge: the bridge
 * @errp: filled in by the first device that refuses
 *
 * When a device refuses, the caller ends the launch with
 * nitro_vsock_bridge_stopped().
 *
 * Returns: true when every device is ready for NE_START_ENCLAVE
 */
bool nitro_vsock_bridge_prepare(NitroVsockBridge *bridge, Error **errp);

/**
 * nitro_vsock_bridge_started: pass the CID to every device
 * @bridge: the bridge
 * @cid: CID that NE_START_ENCLAVE has returned
 *
 * Failures of single devices are reported as warnings.
 */
void nitro_vsock_bridge_started(NitroVsockBridge *bridge, uint32_t cid);

/**
 * nitro_vsock_bridge_stopped: report to every device that the enclave has ended
 * @bridge: the bridge
 */
void nitro_vsock_bridge_stopped(NitroVsockBridge *bridge);

/**
 * nitro_vsock_bridge_find: first device of a type on the bus
 * @bridge: the bridge
 * @type: QOM type name
 *
 * Returns: the device (no reference taken), or NULL
 */
NitroVsockDevice *nitro_vsock_bridge_find(NitroVsockBridge *bridge,
                                          const char *type);

/**
 * nitro_vsock_bridge_find_all: all devices of a type on the bus
 * @bridge: the bridge
 * @type: QOM type name
 *
 * Returns: array of devices (no references taken) in the order in which they
 * were added, to be freed with g_ptr_array_unref()
 */
GPtrArray *nitro_vsock_bridge_find_all(NitroVsockBridge *bridge,
                                       const char *type);

/**
 * nitro_vsock_device_is_only: refuse a second device of the same type
 * @dev: a device on the bus, being realized
 * @errp: filled in when another one was there before
 *
 * Returns: true when @dev is the first of its type
 */
bool nitro_vsock_device_is_only(NitroVsockDevice *dev, Error **errp);

/*
 * Reports of a device to the launcher of the enclave: see NitroLauncherClass.
 * However often a device calls hold, it counts as one.
 */
void nitro_vsock_device_boot(NitroVsockDevice *dev, NitroBoot boot);
void nitro_vsock_device_hold(NitroVsockDevice *dev, bool hold);
void nitro_vsock_device_set_application(NitroVsockDevice *dev,
                                        const NitroEnclaveApplication *app,
                                        uint32_t stop_grace, int exit_status);

/**
 * nitro_vsock_device_has_console: can the enclave have a console?
 * @dev: a device on the bus
 *
 * Returns: false when it is not in debug mode
 */
bool nitro_vsock_device_has_console(NitroVsockDevice *dev);

#endif
