/*
 * Nitro Enclaves: bounded queue in front of a character device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Bytes go in when they come from the enclave, and out when the character
 * device takes them.  What happens when the queue is full depends on whether
 * there is a reader (the character device is "attended"): a queue that blocks
 * takes no more, one that drops forgets the oldest bytes.  A reader that comes
 * later gets what is in the queue.  The logfile of the character device gets
 * each byte once and in order, also dropped ones, and does not wait for a
 * reader.
 *
 * The owner has the handlers of the character device, and passes on that this
 * was opened or closed, unless it leaves them to nitro_output_attach().  Needs
 * the BQL; nothing blocks.
 */

#ifndef HW_NITRO_CHARDEV_OUTPUT_H
#define HW_NITRO_CHARDEV_OUTPUT_H

#include "chardev/char-fe.h"
#include "qapi/qapi-types-nitro.h"
#include "qemu/units.h"

typedef struct NitroOutput NitroOutput;

/* Bytes of a queue that a user may choose the size of */
#define NITRO_OUTPUT_SIZE_MIN (4 * KiB)
#define NITRO_OUTPUT_SIZE_MAX (64 * MiB)

/**
 * nitro_output_check_size: is the size that a user chose in range?
 * @name: of the device
 * @backlog: its property backlog
 * @errp: filled in when it is not
 */
bool nitro_output_check_size(const char *name, uint64_t backlog,
                             Error **errp);

/**
 * NitroOutputOps: calls to the owner
 * @changed: there may be more room, or the queue may have become empty; not
 *     called from within functions of this header
 * @dropped: the first bytes since nitro_output_restart() are about to be
 *     dropped; may be NULL
 */
typedef struct NitroOutputOps {
    void (*changed)(void *opaque);
    void (*dropped)(void *opaque, const char *why);
} NitroOutputOps;

/**
 * nitro_output_new: make an empty queue that blocks
 * @fe: front end; must live as long as the queue
 * @size: most bytes it may hold, not 0
 * @ops: callbacks; must live as long as the queue
 * @opaque: handed to them
 *
 * Returns: the queue, to be freed with nitro_output_free()
 */
NitroOutput *nitro_output_new(CharBackend *fe, uint32_t size,
                              const NitroOutputOps *ops, void *opaque);
void nitro_output_free(NitroOutput *out);

/**
 * nitro_output_set_overflow: what to do when it is full
 * @out: the queue
 * @attended: while there is a reader
 * @unattended: without one
 */
void nitro_output_set_overflow(NitroOutput *out,
                               NitroConsoleOverflow attended,
                               NitroConsoleOverflow unattended);

/* Install handlers: for output alone, what comes as input is dropped */
void nitro_output_attach(NitroOutput *out);

/**
 * nitro_output_room: how much nitro_output_put() would take
 *
 * Returns: bytes, never more than the size of the queue
 */
uint32_t nitro_output_room(NitroOutput *out);

/**
 * nitro_output_put: append bytes, and write what can be written
 * @out: the queue
 * @data: the bytes
 * @len: how many, not more than nitro_output_room() has returned
 */
void nitro_output_put(NitroOutput *out, const uint8_t *data, uint32_t len);

/**
 * nitro_output_kick: the character device was opened, closed or replaced
 * @out: the queue
 *
 * May be called from an event handler: what follows happens later.
 */
void nitro_output_kick(NitroOutput *out);

/* Forget what is in the queue; it does not count as dropped. */
void nitro_output_clear(NitroOutput *out);

/* Count and report dropped bytes afresh */
void nitro_output_restart(NitroOutput *out);

/* Is there a reader? */
bool nitro_output_attended(NitroOutput *out);

/* Are there bytes that a reader waits for? */
bool nitro_output_pending(NitroOutput *out);

bool nitro_output_is_empty(NitroOutput *out);

/* Bytes dropped since nitro_output_restart() */
uint64_t nitro_output_dropped(const NitroOutput *out);

#endif
