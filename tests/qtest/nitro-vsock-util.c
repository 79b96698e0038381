/*
 * Nitro Enclaves: streams to devices on the vsock bus
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "nitro-vsock-util.h"

#define CHUNK 5003

QDict *vsock_query(Run *run, QDict **info)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'query-nitro-enclave'}");

    *info = qdict_get_qdict(reply, "return");
    g_assert_nonnull(*info);
    return reply;
}

bool chardev_is_open(Run *run, const char *label)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'query-chardev'}");
    const QListEntry *entry;
    bool open = false;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(reply, "return"), entry) {
        QDict *chr = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_str_equal(qdict_get_str(chr, "label"), label)) {
            /* "disconnected:unix:..." otherwise */
            open = !g_str_has_prefix(qdict_get_str(chr, "filename"),
                                     "disconnected");
        }
    }
    qobject_unref(reply);
    return open;
}

static uint8_t pattern(size_t pos)
{
    return (pos * 31 + (pos >> 8) * 7 + (pos >> 16)) & 0xff;
}

static size_t send_some(int fd, size_t first, size_t len, int flags)
{
    uint8_t data[CHUNK];
    ssize_t sent;

    len = MIN(len, sizeof(data));
    for (size_t i = 0; i < len; i++) {
        data[i] = pattern(first + i);
    }
    sent = send(fd, data, len, flags | MSG_NOSIGNAL);
    if (sent < 0) {
        g_assert_cmpint(errno, ==, EAGAIN);
        return 0;
    }
    return sent;
}

void send_pattern(int fd, size_t first, size_t len)
{
    size_t done = 0;

    while (done < len) {
        done += send_some(fd, first + done, len - done, 0);
    }
}

size_t send_until_full(Run *run, int fd, size_t first, size_t len)
{
    size_t done = 0;

    for (int idle = 0; idle < 10 && done < len; idle++) {
        size_t sent;

        while ((sent = send_some(fd, first + done, len - done,
                                 MSG_DONTWAIT))) {
            done += sent;
            idle = 0;
        }
        /* One command: QEMU's main loop has gone round */
        qtest_qmp_assert_success(run->qts, "{'execute': 'query-status'}");
    }
    return done;
}

void read_all(int fd, uint8_t *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t ret = read(fd, data + done, len - done);

        g_assert_cmpint(ret, >, 0);
        done += ret;
    }
}

void assert_pattern(const uint8_t *data, size_t first, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != pattern(first + i)) {
            g_error("byte %zu differs", first + i);
        }
    }
}

void read_pattern(int fd, size_t first, size_t len)
{
    g_autofree uint8_t *data = g_malloc(len);

    read_all(fd, data, len);
    assert_pattern(data, first, len);
}

void assert_end(int fd)
{
    char byte;

    g_assert_cmpint(read(fd, &byte, 1), <=, 0);
}
