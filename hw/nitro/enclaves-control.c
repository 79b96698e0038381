/*
 * Control channel of the Nitro Enclaves PCI function, the device's side
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * All writing and disconnecting happens in one bottom half, so that neither a
 * register access of the guest nor a read handler ever meets a character
 * device that closes under it.
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "hw/nitro/enclaves-control.h"
#include "trace.h"

/* Two of the largest requests may wait while the peer does not read */
#define MAX_OUT (2 * NITRO_CONTROL_MAX_SIZE)
#define MAX_WAITING 256

typedef struct WaitingRequest {
    uint32_t seq;
    NitroControlType type;
    uint64_t slot_uid;
    int64_t deadline_ms;
} WaitingRequest;

static void start_timer(NitroControlChannel *ch)
{
    if (!ch->waiting->len) {
        timer_del(ch->timer);
        return;
    }
    timer_mod(ch->timer,
              g_array_index(ch->waiting, WaitingRequest, 0).deadline_ms);
}

/* The connection is of no use any more: the bottom half ends it */
static void G_GNUC_PRINTF(2, 3)
fail(NitroControlChannel *ch, const char *fmt, ...)
{
    g_autofree char *why = NULL;
    va_list ap;

    if (ch->failed) {
        return;
    }
    va_start(ap, fmt);
    why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    warn_report("nitro-enclaves-pci: dropping the connection to the "
                "hypervisor: %s", why);
    trace_nitro_control_drop(ch, why);
    ch->failed = true;
    qemu_bh_schedule(ch->bh);
}

static void channel_ended(NitroControlChannel *ch)
{
    if (!ch->open) {
        return;
    }
    trace_nitro_control_closed(ch, ch->waiting->len);
    ch->open = false;
    ch->ready = false;
    ch->failed = false;
    ch->in_len = 0;
    g_byte_array_set_size(ch->out, 0);
    g_array_set_size(ch->waiting, 0);
    timer_del(ch->timer);
    g_clear_handle_id(&ch->out_watch, g_source_remove);
    ch->handlers->lost(ch->opaque);
}

static void channel_opened(NitroControlChannel *ch)
{
    NitroControlHello hello = {
        .version = cpu_to_le32(NITRO_CONTROL_VERSION),
    };

    channel_ended(ch);
    trace_nitro_control_opened(ch);
    ch->open = true;
    ch->seq = 0;
    nitro_control_send(ch, NITRO_CONTROL_HELLO, 0, &hello, sizeof(hello));
}

static void control_event(void *opaque, QEMUChrEvent event)
{
    NitroControlChannel *ch = opaque;

    if (event == CHR_EVENT_OPENED) {
        channel_opened(ch);
    } else if (event == CHR_EVENT_CLOSED) {
        channel_ended(ch);
    }
}

static gboolean out_is_ready(void *do_not_use, GIOCondition cond, void *opaque)
{
    NitroControlChannel *ch = opaque;

    ch->out_watch = 0;
    qemu_bh_schedule(ch->bh);
    return G_SOURCE_REMOVE;
}

static void channel_flush(NitroControlChannel *ch)
{
    while (ch->open && ch->out->len) {
        int n = qemu_chr_fe_write(ch->chr, ch->out->data, ch->out->len);

        /* The write may have found the connection closed */
        if (n <= 0 || !ch->open) {
            break;
        }
        g_byte_array_remove_range(ch->out, 0, n);
    }
    if (ch->open && ch->out->len && !ch->out_watch) {
        ch->out_watch = qemu_chr_fe_add_watch(ch->chr, G_IO_OUT | G_IO_HUP,
                                              out_is_ready, ch);
    }
}

static void control_bh(void *opaque)
{
    NitroControlChannel *ch = opaque;

    if (ch->failed) {
        qemu_chr_fe_disconnect(ch->chr);
        /* Not every kind of character device can be disconnected */
        channel_ended(ch);
        return;
    }
    channel_flush(ch);
}

static void control_timeout(void *opaque)
{
    NitroControlChannel *ch = opaque;
    WaitingRequest *w = &g_array_index(ch->waiting, WaitingRequest, 0);

    fail(ch, "request %u of type %u unanswered for %u ms", w->seq, w->type,
         ch->timeout_ms);
}

static size_t message_size(NitroControlType type, bool reply)
{
    switch (type) {
    case NITRO_CONTROL_HELLO:
        return reply ? sizeof(NitroControlHeader) + sizeof(NitroControlHello)
                     : 0;
    case NITRO_CONTROL_START:
    case NITRO_CONTROL_STOP:
    case NITRO_CONTROL_FREE:
    case NITRO_CONTROL_RESET:
        return reply ? sizeof(NitroControlHeader) : 0;
    case NITRO_CONTROL_EXITED:
        return reply ? 0
                     : sizeof(NitroControlHeader) + sizeof(NitroControlExited);
    default:
        return 0;
    }
}

/* Size of the message whose header is complete, or 0 when it is bad */
static size_t expected_size(NitroControlChannel *ch)
{
    const NitroControlHeader *h = (void *)ch->in;
    unsigned type = le16_to_cpu(h->type);
    bool reply = le16_to_cpu(h->flags) & NITRO_CONTROL_FLAG_REPLY;
    size_t size = message_size(type, reply);

    if (!size) {
        fail(ch, "unexpected %s of type %u", reply ? "reply" : "message", type);
        return 0;
    }
    if (le32_to_cpu(h->size) != size) {
        fail(ch, "message of type %u has %u bytes instead of %zu", type,
             le32_to_cpu(h->size), size);
        return 0;
    }
    return size;
}

static bool take_waiting(NitroControlChannel *ch, uint32_t seq,
                         WaitingRequest *found)
{
    for (guint i = 0; i < ch->waiting->len; i++) {
        *found = g_array_index(ch->waiting, WaitingRequest, i);
        if (found->seq == seq) {
            g_array_remove_index(ch->waiting, i);
            start_timer(ch);
            return true;
        }
    }
    return false;
}

static void handle_hello(NitroControlChannel *ch, int32_t rc)
{
    const NitroControlHello *hello =
        (void *)(ch->in + sizeof(NitroControlHeader));
    uint32_t version = le32_to_cpu(hello->version);

    if (rc || version != NITRO_CONTROL_VERSION) {
        fail(ch, "it speaks version %u (rc %d), version %u is needed", version,
             rc, NITRO_CONTROL_VERSION);
        return;
    }
    ch->ready = true;
}

static void handle_reply(NitroControlChannel *ch, const NitroControlHeader *h)
{
    unsigned type = le16_to_cpu(h->type);
    uint32_t seq = le32_to_cpu(h->seq);
    uint64_t slot_uid = le64_to_cpu(h->slot_uid);
    int32_t rc = le32_to_cpu(h->rc);
    WaitingRequest w;

    if (!take_waiting(ch, seq, &w)) {
        fail(ch, "reply to request %u, which is not open", seq);
        return;
    }
    if (w.type != type || w.slot_uid != slot_uid) {
        fail(ch, "reply to request %u does not fit it", seq);
        return;
    }
    if (rc > 0 || rc < -4095) {
        fail(ch, "reply to request %u has result %d", seq, rc);
        return;
    }
    if (type == NITRO_CONTROL_HELLO) {
        handle_hello(ch, rc);
        return;
    }
    ch->handlers->reply(ch->opaque, type, seq, slot_uid, rc);
}

static void handle_exited(NitroControlChannel *ch, const NitroControlHeader *h)
{
    const NitroControlExited *body = (void *)(h + 1);

    ch->handlers->exited(ch->opaque, le64_to_cpu(h->slot_uid),
                         le32_to_cpu(body->cause), le32_to_cpu(body->status));
}

static void handle_message(NitroControlChannel *ch)
{
    const NitroControlHeader *h = (void *)ch->in;
    unsigned type = le16_to_cpu(h->type);

    trace_nitro_control_recv(ch, type, le32_to_cpu(h->seq),
                             le64_to_cpu(h->slot_uid), le32_to_cpu(h->rc));
    if (!ch->ready && type != NITRO_CONTROL_HELLO) {
        fail(ch, "message of type %u before the answer to HELLO", type);
    } else if (type == NITRO_CONTROL_EXITED) {
        handle_exited(ch, h);
    } else {
        handle_reply(ch, h);
    }
}

static int control_can_read(void *opaque)
{
    NitroControlChannel *ch = opaque;

    return ch->open && !ch->failed ? 1024 : 0;
}

/* Take what is missing of the header, then of the message */
static size_t channel_receive(NitroControlChannel *ch, const uint8_t *buf,
                              size_t len)
{
    size_t want = sizeof(NitroControlHeader);
    size_t n;

    if (ch->in_len >= want) {
        want = le32_to_cpu(((NitroControlHeader *)ch->in)->size);
    }
    n = MIN(len, want - ch->in_len);
    memcpy(ch->in + ch->in_len, buf, n);
    ch->in_len += n;
    if (ch->in_len == sizeof(NitroControlHeader)) {
        want = expected_size(ch);
    }
    if (!ch->failed && ch->in_len == want) {
        handle_message(ch);
        ch->in_len = 0;
    }
    return n;
}

static void control_read(void *opaque, const uint8_t *buf, int size)
{
    NitroControlChannel *ch = opaque;
    size_t done = 0;

    while (done < size && ch->open && !ch->failed) {
        done += channel_receive(ch, buf + done, size - done);
    }
}

uint32_t nitro_control_send(NitroControlChannel *ch, NitroControlType type,
                            uint64_t slot_uid, const void *body, size_t len)
{
    WaitingRequest w = { .type = type, .slot_uid = slot_uid };
    NitroControlHeader h = {
        .size = cpu_to_le32(sizeof(h) + len),
        .type = cpu_to_le16(type),
        .slot_uid = cpu_to_le64(slot_uid),
    };

    assert(sizeof(h) + len <= NITRO_CONTROL_MAX_SIZE);
    if (!ch->open || ch->failed) {
        return 0;
    }
    if (ch->waiting->len >= MAX_WAITING ||
        ch->out->len + sizeof(h) + len > MAX_OUT) {
        fail(ch, "%u requests unanswered, %u bytes not read", ch->waiting->len,
             ch->out->len);
        return 0;
    }
    /* 0 means no request, also after 2^32 of them */
    ch->seq += ch->seq == UINT32_MAX ? 2 : 1;
    h.seq = cpu_to_le32(ch->seq);
    w.seq = ch->seq;
    w.deadline_ms = qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL) + ch->timeout_ms;
    g_array_append_val(ch->waiting, w);
    g_byte_array_append(ch->out, (const uint8_t *)&h, sizeof(h));
    if (len) {
        g_byte_array_append(ch->out, body, len);
    }
    trace_nitro_control_send(ch, type, ch->seq, slot_uid, len);
    start_timer(ch);
    qemu_bh_schedule(ch->bh);
    return ch->seq;
}

void nitro_control_init(NitroControlChannel *ch, CharBackend *chr,
                        DeviceState *dev, uint32_t timeout_ms,
                        const NitroControlHandlers *handlers, void *opaque)
{
    *ch = (NitroControlChannel) {
        .chr = chr,
        .handlers = handlers,
        .opaque = opaque,
        .timeout_ms = timeout_ms,
        .out = g_byte_array_new(),
        .waiting = g_array_new(false, false, sizeof(WaitingRequest)),
        .timer = timer_new_ms(QEMU_CLOCK_VIRTUAL, control_timeout, ch),
        .bh = qemu_bh_new_guarded(control_bh, ch, &dev->mem_reentrancy_guard),
    };
    qemu_chr_fe_set_handlers(chr, control_can_read, control_read,
                             control_event, NULL, ch, NULL, true);
}

void nitro_control_cleanup(NitroControlChannel *ch)
{
    qemu_chr_fe_set_handlers(ch->chr, NULL, NULL, NULL, NULL, NULL, NULL,
                             false);
    qemu_chr_fe_disconnect(ch->chr);
    g_clear_handle_id(&ch->out_watch, g_source_remove);
    timer_free(ch->timer);
    qemu_bh_delete(ch->bh);
    g_byte_array_free(ch->out, true);
    g_array_free(ch->waiting, true);
}
