/*
 * Debug consoles of enclaves, served by the hypervisor at CID 0
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "console.h"
#include "report.h"

/* Largest piece written at once; also what a reader may write unread */
#define CHUNK (16 * 1024)
/* Packets handled before others get their turn */
#define BUDGET 256

struct NhvConsoleService {
    NhvSwitchPort *port;
    GHashTable *consoles;       /* port -> NhvConsole */
    guint source;
    NhvReport report;
};

struct NhvConsole {
    NhvConsoleService *service;
    uint32_t cid;
    uint32_t port;
    GHashTable *readers;        /* peer port -> Reader */
    uint8_t *backlog;
    uint64_t end;               /* bytes ever written */
    bool ended;
};

typedef struct Reader {
    NhvConsole *console;
    uint32_t peer_port;
    uint64_t pos;               /* next byte to send */
    uint32_t sent;              /* credit: counted as the peer counts */
    uint32_t peer_buf_alloc;
    uint32_t peer_fwd_cnt;
    uint32_t received;
    bool shutdown;              /* end of file was sent */
} Reader;

static void service_send(NhvConsoleService *service, uint32_t port,
                         uint32_t peer_port, uint16_t op, Reader *reader,
                         struct iovec *payload, size_t len)
{
    struct virtio_vsock_hdr hdr = {
        .src_cid = cpu_to_le64(NITRO_CID_HYPERVISOR),
        .dst_cid = cpu_to_le64(NITRO_CID_PARENT),
        .src_port = cpu_to_le32(port),
        .dst_port = cpu_to_le32(peer_port),
        .len = cpu_to_le32(len),
        .type = cpu_to_le16(VIRTIO_VSOCK_TYPE_STREAM),
        .op = cpu_to_le16(op),
        /* A reset announces no buffer */
        .buf_alloc = cpu_to_le32(op == VIRTIO_VSOCK_OP_RST ? 0 : CHUNK),
        .fwd_cnt = cpu_to_le32(reader ? reader->received : 0),
    };
    struct iovec iov[3] = { { .iov_base = &hdr, .iov_len = sizeof(hdr) } };

    if (op == VIRTIO_VSOCK_OP_SHUTDOWN) {
        hdr.flags = cpu_to_le32(VIRTIO_VSOCK_SHUTDOWN_RCV |
                                VIRTIO_VSOCK_SHUTDOWN_SEND);
    }
    if (payload) {
        iov[1] = payload[0];
        iov[2] = payload[1];
    }
    nhv_switch_send(service->port, iov, ARRAY_SIZE(iov));
}

static void reader_send(Reader *reader, uint16_t op)
{
    service_send(reader->console->service, reader->console->port,
                 reader->peer_port, op, reader, NULL, 0);
}

static void reader_skip(Reader *reader)
{
    NhvConsole *console = reader->console;

    if (console->end - reader->pos > NHV_CONSOLE_BACKLOG) {
        uint64_t oldest = console->end - NHV_CONSOLE_BACKLOG;

        /* Output dropped before a reader connects does not count as missed */
        if (reader->pos) {
            nhv_report(&console->service->report,
                       "console of CID %u: slow reader misses %" PRIu64
                       " bytes", console->cid, oldest - reader->pos);
        }
        reader->pos = oldest;
    }
}

static uint32_t reader_credit(Reader *reader)
{
    uint32_t unread = reader->sent - reader->peer_fwd_cnt;

    return reader->peer_buf_alloc > unread ? reader->peer_buf_alloc - unread
                                           : 0;
}

static void reader_send_chunk(Reader *reader, size_t len)
{
    NhvConsole *console = reader->console;
    size_t start = reader->pos % NHV_CONSOLE_BACKLOG;
    size_t first = MIN(len, NHV_CONSOLE_BACKLOG - start);
    struct iovec payload[2] = {
        { .iov_base = console->backlog + start, .iov_len = first },
        { .iov_base = console->backlog, .iov_len = len - first },
    };

    service_send(console->service, console->port, reader->peer_port,
                 VIRTIO_VSOCK_OP_RW, reader, payload, len);
    reader->pos += len;
    reader->sent += len;
}

/* Send what there is and what the reader has room for */
static void reader_feed(Reader *reader)
{
    NhvConsole *console = reader->console;

    reader_skip(reader);
    while (reader->pos < console->end) {
        size_t len = MIN(MIN(console->end - reader->pos, CHUNK),
                         reader_credit(reader));

        if (!len) {
            return;
        }
        reader_send_chunk(reader, len);
    }
    if (console->ended && !reader->shutdown) {
        reader->shutdown = true;
        reader_send(reader, VIRTIO_VSOCK_OP_SHUTDOWN);
    }
}

static void console_feed(NhvConsole *console)
{
    GHashTableIter iter;
    gpointer reader;

    g_hash_table_iter_init(&iter, console->readers);
    while (g_hash_table_iter_next(&iter, NULL, &reader)) {
        reader_feed(reader);
    }
}

static void reader_open(NhvConsole *console, uint32_t peer_port,
                        const struct virtio_vsock_hdr *hdr)
{
    Reader *reader = g_new0(Reader, 1);

    reader->console = console;
    reader->peer_port = peer_port;
    reader->peer_buf_alloc = le32_to_cpu(hdr->buf_alloc);
    reader->peer_fwd_cnt = le32_to_cpu(hdr->fwd_cnt);
    g_hash_table_replace(console->readers, GUINT_TO_POINTER(peer_port),
                         reader);
    reader_send(reader, VIRTIO_VSOCK_OP_RESPONSE);
    reader_feed(reader);
}

static void reader_close(Reader *reader, bool reset)
{
    if (reset) {
        reader_send(reader, VIRTIO_VSOCK_OP_RST);
    }
    g_hash_table_remove(reader->console->readers,
                        GUINT_TO_POINTER(reader->peer_port));
}

static void reader_input(Reader *reader, const struct virtio_vsock_hdr *hdr)
{
    reader->peer_buf_alloc = le32_to_cpu(hdr->buf_alloc);
    reader->peer_fwd_cnt = le32_to_cpu(hdr->fwd_cnt);
    switch (le16_to_cpu(hdr->op)) {
    case VIRTIO_VSOCK_OP_RST:
        reader_close(reader, false);
        return;
    case VIRTIO_VSOCK_OP_SHUTDOWN:
        if (le32_to_cpu(hdr->flags) & VIRTIO_VSOCK_SHUTDOWN_RCV) {
            reader_close(reader, true);
            return;
        }
        break;
    case VIRTIO_VSOCK_OP_RW:
        reader->received += le32_to_cpu(hdr->len);
        /* fall through */
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        reader_send(reader, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
        break;
    }
    reader_feed(reader);
}

/* The switch only delivers packets from the parent, of open connections */
static void service_input(NhvConsoleService *service,
                          const struct virtio_vsock_hdr *hdr)
{
    uint32_t port = le32_to_cpu(hdr->dst_port);
    uint32_t peer_port = le32_to_cpu(hdr->src_port);
    uint16_t op = le16_to_cpu(hdr->op);
    NhvConsole *console;
    Reader *reader = NULL;

    console = g_hash_table_lookup(service->consoles, GUINT_TO_POINTER(port));
    if (console) {
        reader = g_hash_table_lookup(console->readers,
                                     GUINT_TO_POINTER(peer_port));
    }
    if (op == VIRTIO_VSOCK_OP_REQUEST && console) {
        reader_open(console, peer_port, hdr);
    } else if (reader) {
        reader_input(reader, hdr);
    } else if (op != VIRTIO_VSOCK_OP_RST) {
        service_send(service, port, peer_port, VIRTIO_VSOCK_OP_RST, NULL,
                     NULL, 0);
    }
}

static gboolean service_run(gpointer opaque)
{
    NhvConsoleService *service = opaque;
    g_autofree uint8_t *discard = g_malloc(CHUNK);
    struct virtio_vsock_hdr hdr;
    struct iovec iov[2] = {
        { .iov_base = &hdr, .iov_len = sizeof(hdr) },
        { .iov_base = discard, .iov_len = CHUNK },
    };
    int i;

    for (i = 0; i < BUDGET; i++) {
        if (!nhv_switch_receive(service->port, iov, ARRAY_SIZE(iov))) {
            service->source = 0;
            return G_SOURCE_REMOVE;
        }
        service_input(service, &hdr);
    }
    return G_SOURCE_CONTINUE;
}

static void service_ready(void *opaque)
{
    NhvConsoleService *service = opaque;

    if (!service->source) {
        service->source = g_idle_add_full(G_PRIORITY_DEFAULT, service_run,
                                          service, NULL);
    }
}

NhvConsoleService *nhv_console_service_new(NhvSwitch *sw)
{
    NhvConsoleService *service = g_new0(NhvConsoleService, 1);

    service->consoles = g_hash_table_new(NULL, NULL);
    service->port = nhv_switch_attach(sw, NITRO_CID_HYPERVISOR,
                                      service_ready, service);
    assert(service->port);
    return service;
}

void nhv_console_service_free(NhvConsoleService *service)
{
    if (!service) {
        return;
    }
    assert(g_hash_table_size(service->consoles) == 0);
    nhv_switch_detach(service->port);
    g_clear_handle_id(&service->source, g_source_remove);
    g_hash_table_unref(service->consoles);
    g_free(service);
}

static void console_reset_readers(NhvConsole *console)
{
    GHashTableIter iter;
    gpointer reader;

    g_hash_table_iter_init(&iter, console->readers);
    while (g_hash_table_iter_next(&iter, NULL, &reader)) {
        reader_send(reader, VIRTIO_VSOCK_OP_RST);
    }
    g_hash_table_remove_all(console->readers);
}

void nhv_console_service_hang_up(NhvConsoleService *service)
{
    GHashTableIter iter;
    gpointer console;

    g_hash_table_iter_init(&iter, service->consoles);
    while (g_hash_table_iter_next(&iter, NULL, &console)) {
        console_reset_readers(console);
    }
}

NhvConsole *nhv_console_open(NhvConsoleService *service, uint32_t cid)
{
    NhvConsole *console = g_new0(NhvConsole, 1);

    console->service = service;
    console->cid = cid;
    console->port = NITRO_CONSOLE_PORT_BASE + cid;
    console->readers = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    console->backlog = g_malloc(NHV_CONSOLE_BACKLOG);
    g_hash_table_insert(service->consoles, GUINT_TO_POINTER(console->port),
                        console);
    return console;
}

void nhv_console_append(NhvConsole *console, const void *buf, size_t len)
{
    const uint8_t *from = buf;

    while (len) {
        size_t start = console->end % NHV_CONSOLE_BACKLOG;
        size_t n = MIN(MIN(len, NHV_CONSOLE_BACKLOG - start), CHUNK);

        memcpy(console->backlog + start, from, n);
        console->end += n;
        from += n;
        len -= n;
        console_feed(console);
    }
}

void nhv_console_end(NhvConsole *console)
{
    console->ended = true;
    console_feed(console);
}

void nhv_console_close(NhvConsole *console)
{
    if (!console) {
        return;
    }
    console_reset_readers(console);
    g_hash_table_remove(console->service->consoles,
                        GUINT_TO_POINTER(console->port));
    g_hash_table_unref(console->readers);
    g_free(console->backlog);
    g_free(console);
}
