/*
 * Control channel to the parent's nitro-enclaves-pci: messages
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib-unix.h>
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/sockets.h"
#include "control.h"
#include "listener.h"

/* Replies a device may leave unread */
#define OUTPUT_MAX (256 * 1024)

struct NhvControl {
    NhvListener *listener;
    const NhvControlOps *ops;
    void *opaque;
    int fd;                     /* -1 while no device is connected */
    bool greeted;               /* HELLO was answered */
    bool held;                  /* no requests until the last one is done */
    guint input_source;
    guint output_source;
    GByteArray *input;
    GByteArray *output;
};

static void control_disconnect(NhvControl *control)
{
    g_clear_handle_id(&control->input_source, g_source_remove);
    g_clear_handle_id(&control->output_source, g_source_remove);
    control->held = false;
    g_byte_array_set_size(control->input, 0);
    g_byte_array_set_size(control->output, 0);
    if (control->fd >= 0) {
        close(control->fd);
        control->fd = -1;
    }
}

/* Ends the connection when the device has to go or has gone */
static void control_lose(NhvControl *control, const char *why)
{
    control_disconnect(control);
    control->ops->lost(control->opaque, why);
}

static bool write_some(NhvControl *control)
{
    while (control->output->len) {
        ssize_t n = RETRY_ON_EINTR(send(control->fd, control->output->data,
                                        control->output->len, MSG_NOSIGNAL));

        if (n < 0) {
            /* Errors show up on the reading side as well */
            return errno == EAGAIN;
        }
        g_byte_array_remove_range(control->output, 0, n);
    }
    return false;
}

static gboolean output_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    NhvControl *control = opaque;

    if (write_some(control)) {
        return G_SOURCE_CONTINUE;
    }
    control->output_source = 0;
    return G_SOURCE_REMOVE;
}

static void send_message(NhvControl *control, NitroControlHeader *header,
                         const void *body, size_t len)
{
    if (control->fd < 0) {
        return;
    }
    header->size = cpu_to_le32(sizeof(*header) + len);
    header->type = cpu_to_le16(header->type);
    header->flags = cpu_to_le16(header->flags);
    header->seq = cpu_to_le32(header->seq);
    header->rc = cpu_to_le32(header->rc);
    header->slot_uid = cpu_to_le64(header->slot_uid);
    g_byte_array_append(control->output, (void *)header, sizeof(*header));
    g_byte_array_append(control->output, body, len);
    if (control->output->len > OUTPUT_MAX) {
        /* The reading side notices and ends the connection */
        shutdown(control->fd, SHUT_RDWR);
        g_byte_array_set_size(control->output, 0);
    } else if (!control->output_source && write_some(control)) {
        control->output_source = g_unix_fd_add(control->fd, G_IO_OUT,
                                               output_ready, control);
    }
}

static void reply_with(NhvControl *control,
                       const NitroControlHeader *request, int rc,
                       const void *body, size_t len)
{
    NitroControlHeader header = {
        .type = request->type,
        .flags = NITRO_CONTROL_FLAG_REPLY,
        .seq = request->seq,
        .rc = rc,
        .slot_uid = request->slot_uid,
    };

    send_message(control, &header, body, len);
}

void nhv_control_reply(NhvControl *control,
                       const NitroControlHeader *request, int rc)
{
    reply_with(control, request, rc, NULL, 0);
}

void nhv_control_exited(NhvControl *control, uint64_t slot_uid,
                        uint32_t cause, uint32_t status)
{
    NitroControlHeader header = {
        .type = NITRO_CONTROL_EXITED,
        .slot_uid = slot_uid,
    };
    NitroControlExited body = {
        .cause = cpu_to_le32(cause),
        .status = cpu_to_le32(status),
    };

    send_message(control, &header, &body, sizeof(body));
}

/* Returns: NULL, or why the device has to go */
static const char *control_hello(NhvControl *control,
                                 const NitroControlHeader *header,
                                 const NitroControlHello *body)
{
    NitroControlHello mine = {
        .version = cpu_to_le32(NITRO_CONTROL_VERSION),
    };

    if (control->greeted) {
        return "the device said HELLO twice";
    }
    if (le32_to_cpu(body->version) != NITRO_CONTROL_VERSION) {
        return "the device speaks another version; use device and hypervisor "
               "of the same build";
    }
    control->greeted = true;
    reply_with(control, header, 0, &mine, sizeof(mine));
    return NULL;
}

static uint64_t start_size(const NitroControlStart *start, size_t len)
{
    uint32_t regions, vcpus;

    if (len < sizeof(*start)) {
        return sizeof(*start);
    }
    regions = le32_to_cpu(start->nr_regions);
    vcpus = le32_to_cpu(start->nr_vcpus);
    if (!regions || regions > NITRO_CONTROL_MAX_REGIONS ||
        !vcpus || vcpus > NITRO_CONTROL_MAX_VCPUS) {
        return UINT64_MAX;
    }
    return sizeof(*start) + regions * sizeof(NitroControlRegion) +
           vcpus * sizeof(uint32_t);
}

/* Body size that a type asks for; UINT64_MAX for what cannot be right */
static uint64_t body_size(uint16_t type, const void *body, size_t len)
{
    switch (type) {
    case NITRO_CONTROL_HELLO:
        return sizeof(NitroControlHello);
    case NITRO_CONTROL_START:
        return start_size(body, len);
    case NITRO_CONTROL_STOP:
    case NITRO_CONTROL_FREE:
    case NITRO_CONTROL_RESET:
        return 0;
    default:
        return UINT64_MAX;
    }
}

/* Returns: NULL, or why the device has to go */
static const char *control_handle(NhvControl *control,
                                  const NitroControlHeader *header,
                                  const void *body)
{
    size_t len = header->size - sizeof(*header);

    if (header->flags & NITRO_CONTROL_FLAG_REPLY) {
        return "the device sent a reply";
    }
    if (body_size(header->type, body, len) != len) {
        return "message of an unknown type or a wrong size";
    }
    if (header->type == NITRO_CONTROL_HELLO) {
        return control_hello(control, header, body);
    }
    if (!control->greeted) {
        return "request before HELLO";
    }
    control->held = !control->ops->request(control->opaque, header, body);
    return NULL;
}

static void parse_header(const GByteArray *input, NitroControlHeader *header)
{
    memcpy(header, input->data, sizeof(*header));
    header->size = le32_to_cpu(header->size);
    header->type = le16_to_cpu(header->type);
    header->flags = le16_to_cpu(header->flags);
    header->seq = le32_to_cpu(header->seq);
    header->rc = le32_to_cpu(header->rc);
    header->slot_uid = le64_to_cpu(header->slot_uid);
}

/* Returns: NULL, or why the device has to go */
static const char *handle_input(NhvControl *control)
{
    NitroControlHeader header;
    const char *why;

    while (!control->held && control->input->len >= sizeof(header)) {
        parse_header(control->input, &header);
        if (header.size < sizeof(header) ||
            header.size > NITRO_CONTROL_MAX_SIZE) {
            return "message of an impossible size";
        }
        if (control->input->len < header.size) {
            return NULL;
        }
        why = control_handle(control, &header,
                             control->input->data + sizeof(header));
        if (why) {
            return why;
        }
        g_byte_array_remove_range(control->input, 0, header.size);
    }
    return NULL;
}

static gboolean input_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    NhvControl *control = opaque;
    uint8_t buf[4096];
    ssize_t n = RETRY_ON_EINTR(recv(fd, buf, sizeof(buf), 0));
    const char *why = NULL;

    if (n > 0) {
        g_byte_array_append(control->input, buf, n);
        why = handle_input(control);
    } else if (!n) {
        why = "the device has gone";
    } else if (errno != EAGAIN) {
        why = strerror(errno);
    }
    if (!why && !control->held) {
        return G_SOURCE_CONTINUE;
    }
    control->input_source = 0;
    if (why) {
        control_lose(control, why);
    }
    return G_SOURCE_REMOVE;
}

void nhv_control_continue(NhvControl *control)
{
    const char *why;

    if (!control->held) {
        return;
    }
    control->held = false;
    why = handle_input(control);
    if (why) {
        control_lose(control, why);
    } else if (!control->held) {
        control->input_source = g_unix_fd_add(control->fd, G_IO_IN,
                                              input_ready, control);
    }
}

static void control_accepted(void *opaque, int fd)
{
    NhvControl *control = opaque;

    g_unix_set_fd_nonblocking(fd, true, NULL);
    control->fd = fd;
    control->greeted = false;
    control->input_source = g_unix_fd_add(fd, G_IO_IN, input_ready, control);
}

NhvControl *nhv_control_new(const char *path, const NhvControlOps *ops,
                            void *opaque, Error **errp)
{
    NhvControl *control = g_new0(NhvControl, 1);

    control->ops = ops;
    control->opaque = opaque;
    control->fd = -1;
    control->input = g_byte_array_new();
    control->output = g_byte_array_new();
    control->listener = nhv_listener_new(path, control_accepted, control, errp);
    if (!control->listener) {
        nhv_control_free(control);
        return NULL;
    }
    return control;
}

void nhv_control_free(NhvControl *control)
{
    if (!control) {
        return;
    }
    control_disconnect(control);
    nhv_listener_free(control->listener);
    g_byte_array_unref(control->input);
    g_byte_array_unref(control->output);
    g_free(control);
}

void nhv_control_resume(NhvControl *control)
{
    if (control->fd < 0) {
        nhv_listener_resume(control->listener);
    }
}
