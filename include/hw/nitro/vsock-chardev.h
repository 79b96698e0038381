/*
 * Nitro Enclaves: application channel device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copies a vsock stream of the enclave's application to and from a character
 * device, in production mode too, where there is no console.  With property
 * "direction" = connect it connects to "port" of the enclave as soon as that
 * has been started, and tries again until somebody listens there; with listen
 * it opens "port" of the parent before the start and accepts connections of
 * this enclave only.  There can be several.  How stream and character device
 * belong together is explained in hw/nitro/stream.h.
 */

#ifndef HW_NITRO_VSOCK_CHARDEV_H
#define HW_NITRO_VSOCK_CHARDEV_H

#include "chardev/char-fe.h"
#include "hw/nitro/nitro-vsock-bus.h"
#include "qapi/qapi-types-nitro.h"

#define TYPE_NITRO_VSOCK_CHARDEV "nitro-vsock-chardev"
OBJECT_DECLARE_SIMPLE_TYPE(NitroVsockChardev, NITRO_VSOCK_CHARDEV)

struct NitroVsockChardev {
    NitroVsockDevice parent_obj;

    CharBackend chr;                    /* property "chardev" */
    uint32_t port;                      /* property "port" */
    NitroChannelDirection direction;    /* property "direction" */
    uint32_t connect_timeout;           /* property "connect-timeout", s */
    struct NitroStream *stream;
    uint32_t cid;                       /* the only one that may connect */
    char *error;                        /* why it was given up, or NULL */
};

/**
 * nitro_vsock_chardev_query: get state and amounts
 * @s: the device
 *
 * Returns: to be freed by the caller
 */
NitroEnclaveChannel *nitro_vsock_chardev_query(NitroVsockChardev *s);

#endif
