/*
 * Nitro Enclaves: bounded queue in front of a character device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writing goes through a watch where the character device has one: a slow
 * reader costs nothing and stops nobody.  A device that is not connected has no
 * watch, which shows that nobody reads; "open" does not show it, because stdio
 * is closed at the end of its input.
 *
 * The logfile gets each byte when it comes, so writing does not log.
 */

#include "qemu/osdep.h"
#include "chardev-output.h"
#include "chardev/char.h"
#include "qapi/error.h"
#include "qemu/fifo8.h"
#include "trace.h"

/* A hung-up descriptor that takes no data cannot be waited for */
#define HUNG_UP_RETRY_MS 100

struct NitroOutput {
    CharBackend *fe;
    const NitroOutputOps *ops;
    void *opaque;
    NitroConsoleOverflow attended;
    NitroConsoleOverflow unattended;

    Fifo8 fifo;
    uint64_t dropped;
    bool attached;              /* the handlers are its own */
    guint write_tag;
    guint kick_tag;
};

static void output_pump(NitroOutput *out);
static gboolean output_writable(void *do_not_use, GIOCondition cond,
                                void *opaque);

static guint add_watch(NitroOutput *out)
{
    return qemu_chr_fe_add_watch(out->fe, G_IO_OUT | G_IO_HUP,
                                 output_writable, out);
}

static bool is_there(NitroOutput *out)
{
    return out->fe->chr && qemu_chr_has_peer(out->fe->chr);
}

bool nitro_output_check_size(const char *name, uint64_t backlog,
                             Error **errp)
{
    ERRP_GUARD();

    if (backlog < NITRO_OUTPUT_SIZE_MIN || backlog > NITRO_OUTPUT_SIZE_MAX) {
        error_setg(errp, "%s: a backlog of %" PRIu64 " bytes is out of range",
                   name, backlog);
        error_append_hint(errp, "Use backlog=SIZE, from %dK to %dM.\n",
                          (int)(NITRO_OUTPUT_SIZE_MIN / KiB),
                          (int)(NITRO_OUTPUT_SIZE_MAX / MiB));
        return false;
    }
    return true;
}

bool nitro_output_attended(NitroOutput *out)
{
    guint tag;

    if (out->write_tag || is_there(out)) {
        return true;
    }
    tag = add_watch(out);
    if (tag) {
        g_source_remove(tag);
    }
    return tag != 0;
}

/* The queue */

static void drop_oldest(NitroOutput *out, uint32_t len, const char *why)
{
    if (!out->dropped && out->ops->dropped) {
        out->ops->dropped(out->opaque, why);
    }
    trace_nitro_output_dropped(out, len, why);
    fifo8_drop(&out->fifo, len);
    out->dropped += len;
}

/* Returns 0 when it has written or dropped something, else why not */
static int write_oldest(NitroOutput *out)
{
    uint32_t len;
    const uint8_t *data = fifo8_peek_bufptr(&out->fifo,
                                            fifo8_num_used(&out->fifo), &len);
    int done, err;

    if (!out->fe->chr) {
        return -ENOTCONN;
    }
    done = qemu_chr_write_unlogged(out->fe->chr, data, len);
    err = errno;
    if (done > 0) {
        fifo8_drop(&out->fifo, done);
        return 0;
    }
    if (done < 0 && (err == EAGAIN || !nitro_output_attended(out))) {
        return -err;
    }
    drop_oldest(out, len, "it accepts no data");
    return 0;
}

static gboolean output_retry(gpointer opaque)
{
    return output_writable(NULL, G_IO_OUT, opaque);
}

static gboolean output_writable(void *do_not_use, GIOCondition cond,
                                void *opaque)
{
    NitroOutput *out = opaque;

    out->write_tag = 0;
    if (write_oldest(out) == -EAGAIN && (cond & (G_IO_HUP | G_IO_ERR))) {
        out->write_tag = g_timeout_add(HUNG_UP_RETRY_MS, output_retry, out);
    }
    output_pump(out);
    out->ops->changed(out->opaque);
    return G_SOURCE_REMOVE;
}

/* Write, or wait until that is possible or a reader comes */
static void output_pump(NitroOutput *out)
{
    while (!fifo8_is_empty(&out->fifo) && !out->write_tag) {
        out->write_tag = add_watch(out);
        if (out->write_tag || !is_there(out)) {
            return;
        }
        /* It has no watch, but takes all; waiting would never end */
        if (write_oldest(out) < 0) {
            drop_oldest(out, fifo8_num_used(&out->fifo), "it accepts no data");
        }
    }
}

uint32_t nitro_output_room(NitroOutput *out)
{
    uint32_t room = fifo8_num_free(&out->fifo);
    NitroConsoleOverflow overflow;

    if (room) {
        return room;
    }
    overflow = nitro_output_attended(out) ? out->attended : out->unattended;
    return overflow == NITRO_CONSOLE_OVERFLOW_BLOCK ? 0 : out->fifo.capacity;
}

void nitro_output_put(NitroOutput *out, const uint8_t *data, uint32_t len)
{
    uint32_t room = fifo8_num_free(&out->fifo);
    bool attended = nitro_output_attended(out);

    if (len > room) {
        drop_oldest(out, len - room, attended ? "its reader is too slow"
                                              : "nobody has it open");
    }
    if (out->fe->chr) {
        qemu_chr_log(out->fe->chr, data, len);
    }
    fifo8_push_all(&out->fifo, data, len);
    output_pump(out);
}

static gboolean output_kicked(gpointer opaque)
{
    NitroOutput *out = opaque;

    out->kick_tag = 0;
    output_pump(out);
    out->ops->changed(out->opaque);
    return G_SOURCE_REMOVE;
}

/*
 * The connection that the watch belongs to may be gone.  Pumping has to wait:
 * a character device may hold its lock for writing while it calls us.
 */
void nitro_output_kick(NitroOutput *out)
{
    g_clear_handle_id(&out->write_tag, g_source_remove);
    if (!out->kick_tag) {
        out->kick_tag = g_idle_add(output_kicked, out);
    }
}

void nitro_output_clear(NitroOutput *out)
{
    g_clear_handle_id(&out->write_tag, g_source_remove);
    fifo8_reset(&out->fifo);
}

void nitro_output_restart(NitroOutput *out)
{
    out->dropped = 0;
}

bool nitro_output_is_empty(NitroOutput *out)
{
    return fifo8_is_empty(&out->fifo);
}

bool nitro_output_pending(NitroOutput *out)
{
    return !fifo8_is_empty(&out->fifo) && nitro_output_attended(out);
}

uint64_t nitro_output_dropped(const NitroOutput *out)
{
    return out->dropped;
}

void nitro_output_set_overflow(NitroOutput *out,
                               NitroConsoleOverflow attended,
                               NitroConsoleOverflow unattended)
{
    out->attended = attended;
    out->unattended = unattended;
}

NitroOutput *nitro_output_new(CharBackend *fe, uint32_t size,
                              const NitroOutputOps *ops, void *opaque)
{
    NitroOutput *out = g_new0(NitroOutput, 1);

    out->fe = fe;
    out->ops = ops;
    out->opaque = opaque;
    fifo8_create(&out->fifo, size);
    nitro_output_set_overflow(out, NITRO_CONSOLE_OVERFLOW_BLOCK,
                              NITRO_CONSOLE_OVERFLOW_BLOCK);
    return out;
}

/* Handlers, for output alone */

static int output_can_receive(void *opaque)
{
    return CHR_READ_BUF_LEN;
}

static void output_receive(void *opaque, const uint8_t *buf, int size)
{
}

static void output_event(void *opaque, QEMUChrEvent event)
{
    if (event == CHR_EVENT_OPENED || event == CHR_EVENT_CLOSED) {
        nitro_output_kick(opaque);
    }
}

static int output_backend_changed(void *opaque)
{
    nitro_output_attach(opaque);
    nitro_output_kick(opaque);
    return 0;
}

void nitro_output_attach(NitroOutput *out)
{
    out->attached = true;
    qemu_chr_fe_set_handlers(out->fe, output_can_receive, output_receive,
                             output_event, output_backend_changed, out, NULL,
                             true);
}

void nitro_output_free(NitroOutput *out)
{
    if (out) {
        if (out->attached) {
            qemu_chr_fe_set_handlers(out->fe, NULL, NULL, NULL, NULL, NULL,
                                     NULL, false);
        }
        g_clear_handle_id(&out->write_tag, g_source_remove);
        g_clear_handle_id(&out->kick_tag, g_source_remove);
        fifo8_destroy(&out->fifo);
        g_free(out);
    }
}
