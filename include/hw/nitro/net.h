/*
 * Nitro Enclaves: network device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A network card of QEMU whose other side is not a guest driver but a stream of
 * Ethernet frames over vsock; docs/system/nitro-net.rst has its format.  In the
 * enclave nitro-init copies the frames from and to a TAP device.  From the
 * start on, the device listens on the port of the parent that follows from
 * property "port" and the enclave's CID, and accepts this enclave only, one
 * connection at a time.
 *
 * All input is checked: a length that no frame can have closes the
 * connection.  Frames to the enclave wait in a queue of NITRO_FRAMES_QUEUE
 * bytes; what does not fit is dropped and counted.  When QEMU's network takes
 * no more frames, the enclave waits.
 *
 * The device needs no reset: each launch of an enclave, also after a reset,
 * starts afresh with the hooks of nitro-vsock-bus.h.
 */

#ifndef HW_NITRO_NET_H
#define HW_NITRO_NET_H

#include "hw/nitro/nitro-vsock-bus.h"
#include "qapi/qapi-types-nitro.h"

#define TYPE_NITRO_NET "nitro-net"
OBJECT_DECLARE_SIMPLE_TYPE(NitroNet, NITRO_NET)

#define NITRO_NET_PORT 9002

/* Smallest and largest packet that "host_mtu" can limit frames to */
#define NITRO_NET_MTU_MIN 68
#define NITRO_NET_MTU_MAX 65520

/**
 * nitro_net_query: report state and amounts
 * @n: the device
 *
 * Returns: to be freed by the caller
 */
NitroEnclaveNetwork *nitro_net_query(NitroNet *n);

#endif
