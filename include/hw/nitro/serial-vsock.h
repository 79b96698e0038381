/*
 * Nitro Enclaves: debug console device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An enclave in debug mode has a serial port whose output the hypervisor
 * offers at CID 0, port 10000 + CID of the enclave.  This device copies it to
 * a character device (property "chardev").  It is output only: what is typed
 * into the character device is dropped.
 *
 * Nothing here ever blocks the main loop: connecting is done in a thread and
 * repeated a bounded number of times, also when the hypervisor hangs up while
 * the enclave lives.  While the character device accepts no data, the last
 * output is kept (property "backlog").  When that is full, the hypervisor has
 * to wait, or the oldest output is dropped (property "overflow").  For a
 * character device that nobody has open (a pty without a reader, a socket
 * without a client) it is kept until somebody comes, and the oldest is dropped;
 * the logfile gets everything.  When the enclave ends, QEMU's own end is held
 * back until the last output has been delivered, for a bounded time.  A failure
 * of the console never ends the enclave.
 */

#ifndef HW_NITRO_SERIAL_VSOCK_H
#define HW_NITRO_SERIAL_VSOCK_H

#include "chardev/char-fe.h"
#include "hw/nitro/nitro-vsock-bus.h"
#include "qapi/qapi-types-nitro.h"
#include "qemu/units.h"

#define TYPE_NITRO_SERIAL_VSOCK "nitro-serial-vsock"
OBJECT_DECLARE_SIMPLE_TYPE(NitroSerialVsock, NITRO_SERIAL_VSOCK)

/* Bytes in the backlog */
#define NITRO_CONSOLE_BACKLOG_DEFAULT (64 * KiB)

struct NitroSerialVsock {
    NitroVsockDevice parent_obj;

    CharBackend chr;                    /* property "chardev" */
    uint64_t backlog;                   /* property "backlog" */
    NitroConsoleOverflow overflow;      /* property "overflow" */
    struct NitroStream *stream;
    char *lost;                         /* why it was given up, or NULL */
};

/**
 * nitro_serial_query: get state and amount
 * @s: the device
 *
 * Returns: to be freed by the caller
 */
NitroEnclaveConsole *nitro_serial_query(NitroSerialVsock *s);

#endif
