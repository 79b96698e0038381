/*
 * Nitro Enclaves: agent device
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Event handlers only note what has happened; agent_update() then takes frames
 * and makes watches fit.  A frame with output waits, as do all that follow it,
 * until there is room.
 *
 * Everything runs in the default main context under the BQL; nothing blocks.
 */

#include "qemu/osdep.h"
#include "hw/nitro/agent.h"
#include "agent-program.h"
#include "agent-sigterm.h"
#include "hw/qdev-properties-system.h"
#include "hw/qdev-properties.h"
#include "io/channel-socket.h"
#include "listener.h"
#include "peer.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qemu/notify.h"
#include "qemu/units.h"
#include "system/runstate.h"
#include "trace.h"

/* Connections that the kernel keeps until they are accepted */
#define BACKLOG 16

#define BUFFER_SIZE (NITRO_AGENT_HEAD + NITRO_AGENT_MAX_PAYLOAD)

/* All frames that can wait to be sent: GO, STOP, TAKEN, END */
#define SEND_SIZE (4 * NITRO_AGENT_HEAD + sizeof(uint64_t))

#define HELLO_HEAD 4

struct NitroAgent {
    NitroVsockDevice parent_obj;

    CharBackend fe[2];                  /* properties stdout, stderr */
    uint32_t port;                      /* property */
    uint32_t stop_timeout;              /* property, s */
    uint64_t backlog;                   /* property */
    NitroConsoleOverflow overflow;      /* property */
    NitroAgentExitStatus exit_status;   /* property */
    bool stop_on_sigterm;               /* property */

    QIONetListener *listener;           /* or NULL */
    Notifier powerdown;
    uint32_t cid;                       /* the only one that may connect */
    bool over;                          /* the enclave has ended */
    bool warned;                        /* of a fault, in this launch */
    bool terminated;                    /* by SIGTERM, in this launch */

    /* The connection */
    QIOChannelSocket *sioc;             /* NULL without one */
    guint read_tag;
    guint write_tag;
    uint8_t *in;                        /* BUFFER_SIZE bytes */
    size_t in_len;
    bool eof;
    bool greeted;                       /* HELLO came */
    uint8_t out[SEND_SIZE];
    size_t out_len;
    bool go, stop, end;                 /* to be sent */
    uint64_t confirmed;                 /* position of the last TAKEN */

    unsigned nr_connections;
    NitroAgentProgram program;
};

static void agent_update(NitroAgent *a);

NitroEnclaveApplication *nitro_agent_query(NitroAgent *a)
{
    NitroEnclaveApplication *info = nitro_program_query(&a->program);

    info->connected = a->greeted;
    info->connections = a->nr_connections;
    return info;
}

static bool can_stop(const NitroAgent *a)
{
    return a->greeted && !nitro_program_has_ended(&a->program);
}

/* What the accelerator needs to end the program, and QEMU with its status */
static void agent_report(NitroAgent *a)
{
    g_autoptr(NitroEnclaveApplication) info = nitro_agent_query(a);
    bool counts = a->exit_status == NITRO_AGENT_EXIT_STATUS_APP;

    nitro_vsock_device_set_application(
        NITRO_VSOCK_DEVICE(a), info, can_stop(a) ? a->stop_timeout : 0,
        counts ? nitro_program_status(&a->program) : 0);
}

/* The connection */

static void connection_close(NitroAgent *a)
{
    if (!a->sioc) {
        return;
    }
    trace_nitro_agent_closed(a, a->program.position);
    g_clear_handle_id(&a->read_tag, g_source_remove);
    g_clear_handle_id(&a->write_tag, g_source_remove);
    qio_channel_close(QIO_CHANNEL(a->sioc), NULL);
    object_unref(OBJECT(a->sioc));
    a->sioc = NULL;
    g_clear_pointer(&a->in, g_free);
    a->in_len = a->out_len = 0;
    a->eof = a->greeted = a->go = a->end = false;
    a->confirmed = 0;
    agent_report(a);
}

static void connection_fault(NitroAgent *a, unsigned type, uint32_t len)
{
    trace_nitro_agent_fault(a, type, len);
    if (!a->warned) {
        a->warned = true;
        warn_report("%s: the enclave with CID %" PRIu32 " has sent an "
                    "invalid frame of type %u with %" PRIu32 " bytes: "
                    "connection closed", TYPE_NITRO_AGENT, a->cid,
                    type, len);
    }
    connection_close(a);
}

/* The second one ends QEMU */
static bool agent_sigterm(void *opaque)
{
    NitroAgent *a = opaque;

    if (a->terminated || !can_stop(a)) {
        return false;
    }
    a->terminated = true;
    qemu_system_powerdown_request();
    return true;
}

/* Frames of the init */

static NitroTaken take_hello(NitroAgent *a, const uint8_t *payload,
                             uint32_t len)
{
    if (a->greeted || lduw_be_p(payload) != NITRO_AGENT_VERSION) {
        return NITRO_TAKEN_FAULT;
    }
    a->greeted = true;
    if (a->stop_on_sigterm) {
        nitro_sigterm_catch(agent_sigterm, a);
    }
    a->go = lduw_be_p(payload + 2) & NITRO_AGENT_WAITS_FOR_GO;
    agent_report(a);
    return NITRO_TAKEN;
}

static NitroTaken take_state(NitroAgent *a, const uint8_t *payload,
                             uint32_t len)
{
    NitroTaken taken = nitro_program_take_state(&a->program, payload, len);

    if (taken == NITRO_TAKEN) {
        /* The init repeats it on each connection */
        a->end = nitro_program_has_ended(&a->program);
        agent_report(a);
    }
    return taken;
}

static NitroTaken take_output(NitroAgent *a, const uint8_t *payload,
                              uint32_t len)
{
    return nitro_program_take_output(&a->program, payload, len);
}

/* This device adds nothing to the program */
static NitroTaken take_refused(NitroAgent *a, const uint8_t *payload,
                               uint32_t len)
{
    return NITRO_TAKEN;
}

static const struct {
    NitroTaken (*take)(NitroAgent *a, const uint8_t *payload, uint32_t len);
    uint32_t min;
} frames[] = {
    [NITRO_AGENT_HELLO] = { take_hello, HELLO_HEAD },
    [NITRO_AGENT_STATE] = { take_state, NITRO_AGENT_STATE_HEAD },
    [NITRO_AGENT_OUTPUT] = { take_output, NITRO_AGENT_OUTPUT_HEAD },
    [NITRO_AGENT_REFUSED] = { take_refused, 0 },
};

static bool is_known(const NitroAgent *a, const uint8_t *head, uint32_t len)
{
    return head[0] < ARRAY_SIZE(frames) && frames[head[0]].take &&
           !head[1] && !head[2] && !head[3] &&
           len >= frames[head[0]].min && len <= NITRO_AGENT_MAX_PAYLOAD &&
           (a->greeted || head[0] == NITRO_AGENT_HELLO);
}

/* Take the first frame; returns false when it is not whole, or has to wait */
static bool take_frame(NitroAgent *a)
{
    uint8_t type;
    uint32_t len;
    NitroTaken taken;

    if (a->in_len < NITRO_AGENT_HEAD) {
        return false;
    }
    type = a->in[0];
    len = ldl_be_p(a->in + 4);
    if (!is_known(a, a->in, len)) {
        connection_fault(a, type, len);
        return false;
    }
    if (a->in_len - NITRO_AGENT_HEAD < len) {
        return false;
    }
    taken = frames[type].take(a, a->in + NITRO_AGENT_HEAD, len);
    if (taken == NITRO_TAKEN_FAULT) {
        connection_fault(a, type, len);
    }
    if (taken != NITRO_TAKEN) {
        return false;
    }
    a->in_len -= NITRO_AGENT_HEAD + len;
    memmove(a->in, a->in + NITRO_AGENT_HEAD + len, a->in_len);
    return true;
}

/* Is there a whole frame that waits for room? */
static bool is_waiting(const NitroAgent *a)
{
    return a->in_len >= NITRO_AGENT_HEAD &&
           a->in_len - NITRO_AGENT_HEAD >= ldl_be_p(a->in + 4);
}

static gboolean agent_readable(QIOChannel *ioc, GIOCondition cond,
                               gpointer opaque)
{
    NitroAgent *a = opaque;
    ssize_t len;

    if (a->in_len == BUFFER_SIZE) {
        a->read_tag = 0;
        return G_SOURCE_REMOVE;
    }
    len = qio_channel_read(ioc, (char *)a->in + a->in_len,
                           BUFFER_SIZE - a->in_len, NULL);
    if (len == QIO_CHANNEL_ERR_BLOCK) {
        return G_SOURCE_CONTINUE;
    }
    a->read_tag = 0;
    if (len <= 0) {
        a->eof = true;
    } else {
        a->in_len += len;
    }
    agent_update(a);
    return G_SOURCE_REMOVE;
}

/* Frames to the init */

static void add_frame(NitroAgent *a, NitroAgentFrame type, uint32_t len)
{
    uint8_t *head = a->out + a->out_len;

    assert(a->out_len + NITRO_AGENT_HEAD + len <= sizeof(a->out));
    stl_be_p(head, (uint32_t)type << 24);
    stl_be_p(head + 4, len);
    a->out_len += NITRO_AGENT_HEAD + len;
}

static void add_frames(NitroAgent *a)
{
    if (a->go) {
        add_frame(a, NITRO_AGENT_GO, 0);
        a->go = false;
    }
    if (a->stop) {
        add_frame(a, NITRO_AGENT_STOP, 0);
        a->stop = false;
    }
    if (a->confirmed != a->program.position) {
        add_frame(a, NITRO_AGENT_TAKEN, sizeof(uint64_t));
        stq_be_p(a->out + a->out_len - sizeof(uint64_t),
                 a->program.position);
        a->confirmed = a->program.position;
    }
    if (a->end) {
        add_frame(a, NITRO_AGENT_END, 0);
        a->end = false;
    }
}

static gboolean agent_writable(QIOChannel *ioc, GIOCondition cond,
                               gpointer opaque)
{
    NitroAgent *a = opaque;
    ssize_t done = qio_channel_write(ioc, (char *)a->out, a->out_len, NULL);

    if (done == QIO_CHANNEL_ERR_BLOCK) {
        return G_SOURCE_CONTINUE;
    }
    a->write_tag = 0;
    /* An enclave that has gone: what it has sent can still be read */
    done = done < 0 ? a->out_len : done;
    a->out_len -= done;
    memmove(a->out, a->out + done, a->out_len);
    agent_update(a);
    return G_SOURCE_REMOVE;
}

/* Take frames and make watches fit, after anything has changed */

static void connection_update(NitroAgent *a)
{
    QIOChannel *ioc = QIO_CHANNEL(a->sioc);

    if (a->greeted && !a->out_len) {
        add_frames(a);
    }
    if (a->eof && !is_waiting(a)) {
        connection_close(a);
        return;
    }
    if (!a->eof && !a->read_tag && a->in_len < BUFFER_SIZE) {
        a->read_tag = qio_channel_add_watch(ioc, G_IO_IN | G_IO_HUP | G_IO_ERR,
                                            agent_readable, a, NULL);
    }
    if (a->out_len && !a->write_tag) {
        a->write_tag = qio_channel_add_watch(ioc, G_IO_OUT, agent_writable, a,
                                             NULL);
    }
}

static void agent_update(NitroAgent *a)
{
    while (a->sioc && take_frame(a)) {
        continue;
    }
    if (a->sioc) {
        connection_update(a);
    }
    if (a->over && !a->sioc && !nitro_program_is_pending(&a->program)) {
        nitro_vsock_device_hold(NITRO_VSOCK_DEVICE(a), false);
    }
}

/* Connections */

static bool agent_admits(NitroAgent *a, QIOChannelSocket *sioc)
{
    uint32_t cid;
    const char *why = nitro_peer_refusal(sioc, a->cid, a->sioc, &cid);

    if (why) {
        trace_nitro_agent_refused(a, cid, why);
    }
    return !why;
}

static void agent_accepted(QIONetListener *listener, QIOChannelSocket *sioc,
                           gpointer opaque)
{
    NitroAgent *a = opaque;

    if (!agent_admits(a, sioc)) {
        return;
    }
    a->sioc = QIO_CHANNEL_SOCKET(object_ref(OBJECT(sioc)));
    qio_channel_set_name(QIO_CHANNEL(sioc), TYPE_NITRO_AGENT);
    a->in = g_malloc(BUFFER_SIZE);
    a->nr_connections++;
    trace_nitro_agent_accepted(a, a->cid, a->nr_connections);
    agent_update(a);
}

/* A launch */

static void agent_restart(NitroAgent *a)
{
    if (a->stop_on_sigterm) {
        nitro_sigterm_release();
    }
    connection_close(a);
    nitro_listener_close(&a->listener);
    nitro_vsock_device_hold(NITRO_VSOCK_DEVICE(a), false);
    a->over = a->warned = a->terminated = a->stop = false;
    a->nr_connections = 0;
    nitro_program_restart(&a->program);
    agent_report(a);
}

static bool nitro_agent_prepare(NitroVsockDevice *dev, Error **errp)
{
    agent_restart(NITRO_AGENT(dev));
    return true;
}

static bool nitro_agent_started(NitroVsockDevice *dev, uint32_t cid,
                                Error **errp)
{
    NitroAgent *a = NITRO_AGENT(dev);

    a->cid = cid;
    a->program.cid = cid;
    a->listener = nitro_peer_listen(a->port, cid, BACKLOG, TYPE_NITRO_AGENT,
                                    "agent", errp);
    if (!a->listener) {
        return false;
    }
    qio_net_listener_set_client_func(a->listener, agent_accepted, a, NULL);
    return true;
}

static void nitro_agent_stopped(NitroVsockDevice *dev)
{
    NitroAgent *a = NITRO_AGENT(dev);

    nitro_listener_close(&a->listener);
    a->over = true;
    agent_update(a);
    if (a->sioc || nitro_program_is_pending(&a->program)) {
        nitro_vsock_device_hold(NITRO_VSOCK_DEVICE(a), true);
    }
}

static void agent_powerdown(Notifier *notifier, void *data)
{
    NitroAgent *a = container_of(notifier, NitroAgent, powerdown);

    if (can_stop(a)) {
        trace_nitro_agent_stop(a, a->cid);
        a->stop = true;
        agent_update(a);
    }
}

/* Character devices */

static void output_changed(void *opaque)
{
    agent_update(opaque);
}

static void output_dropped(void *opaque, const char *why)
{
    warn_report("%s: output of the program is dropped: %s", TYPE_NITRO_AGENT,
                why);
}

static const NitroOutputOps output_ops = {
    .changed = output_changed,
    .dropped = output_dropped,
};

static NitroOutput *output_open(NitroAgent *a, CharBackend *fe)
{
    NitroOutput *output;

    if (!qemu_chr_fe_backend_connected(fe)) {
        return NULL;
    }
    output = nitro_output_new(fe, a->backlog, &output_ops, a);
    nitro_output_set_overflow(output, a->overflow,
                              NITRO_CONSOLE_OVERFLOW_DROP_OLDEST);
    nitro_output_attach(output);
    return output;
}

/* The device */

static void nitro_agent_realize(DeviceState *dev, Error **errp)
{
    NitroAgent *a = NITRO_AGENT(dev);

    if (!nitro_peer_check_port(TYPE_NITRO_AGENT, a->port, NITRO_AGENT_PORT,
                               errp) ||
        !nitro_output_check_size(TYPE_NITRO_AGENT, a->backlog, errp) ||
        !nitro_vsock_device_is_only(NITRO_VSOCK_DEVICE(dev), errp)) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        a->program.outputs[i] = output_open(a, &a->fe[i]);
    }
    a->powerdown.notify = agent_powerdown;
    qemu_register_powerdown_notifier(&a->powerdown);
}

static void nitro_agent_unrealize(DeviceState *dev)
{
    NitroAgent *a = NITRO_AGENT(dev);

    notifier_remove(&a->powerdown);
    agent_restart(a);
    for (int i = 0; i < 2; i++) {
        g_clear_pointer(&a->program.outputs[i], nitro_output_free);
    }
}

static char *get_state(Object *obj, Error **errp)
{
    return g_strdup(NitroApplicationState_str(
                        NITRO_AGENT(obj)->program.state));
}

static int get_overflow(Object *obj, Error **errp)
{
    return NITRO_AGENT(obj)->overflow;
}

static void set_overflow(Object *obj, int value, Error **errp)
{
    NITRO_AGENT(obj)->overflow = value;
}

static int get_exit_status(Object *obj, Error **errp)
{
    return NITRO_AGENT(obj)->exit_status;
}

static void set_exit_status(Object *obj, int value, Error **errp)
{
    NITRO_AGENT(obj)->exit_status = value;
}

static const Property nitro_agent_properties[] = {
    DEFINE_PROP_CHR("stdout", NitroAgent, fe[0]),
    DEFINE_PROP_CHR("stderr", NitroAgent, fe[1]),
    DEFINE_PROP_UINT32("port", NitroAgent, port, NITRO_AGENT_PORT),
    DEFINE_PROP_UINT32("stop-timeout", NitroAgent, stop_timeout, 30),
    DEFINE_PROP_BOOL("stop-on-sigterm", NitroAgent, stop_on_sigterm, false),
    DEFINE_PROP_SIZE("backlog", NitroAgent, backlog, 64 * KiB),
};

static void nitro_agent_describe(ObjectClass *oc)
{
    object_class_property_set_description(oc, "stdout",
        "Character device that gets the program's standard output");
    object_class_property_set_description(oc, "stderr",
        "Character device that gets its standard error (default: as stdout)");
    object_class_property_set_description(oc, "port",
        "Port in the image's configuration.  With the enclave's CID it yields "
        "the vsock port of the parent, which the init connects to (default: "
        "9001)");
    object_class_property_set_description(oc, "stop-timeout",
        "Seconds that system_powerdown leaves the program after its stop "
        "signal (default: 30)");
    object_class_property_set_description(oc, "stop-on-sigterm",
        "QEMU's first SIGTERM is a system_powerdown while there is a program "
        "to stop (default: off)");
    object_class_property_set_description(oc, "backlog",
        "Bytes of each stream to keep for a reader that is slow or comes later "
        "(default: 64K)");
    object_class_property_add_enum(oc, "overflow", "NitroConsoleOverflow",
                                   &NitroConsoleOverflow_lookup, get_overflow,
                                   set_overflow);
    object_class_property_set_description(oc, "overflow",
        "When the backlog of a slow reader is full: let the enclave wait "
        "(block, default), or drop the oldest output (drop-oldest)");
    object_class_property_add_enum(oc, "exit-status", "NitroAgentExitStatus",
                                   &NitroAgentExitStatus_lookup,
                                   get_exit_status, set_exit_status);
    object_class_property_set_description(oc, "exit-status",
        "Exit status of QEMU when an enclave ends after its boot: 0 (enclave, "
        "default), or the program's (app)");
    object_class_property_add_str(oc, "state", get_state, NULL);
    object_class_property_set_description(oc, "state",
        "Read only: unknown, booting, running, exited, signalled or fatal");
}

static void nitro_agent_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    NitroVsockDeviceClass *ndc = NITRO_VSOCK_DEVICE_CLASS(oc);

    dc->desc = "Nitro Enclave agent (output, status and end of the program "
               "under nitro-init)";
    dc->realize = nitro_agent_realize;
    dc->unrealize = nitro_agent_unrealize;
    device_class_set_props(dc, nitro_agent_properties);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    ndc->prepare_start = nitro_agent_prepare;
    ndc->enclave_started = nitro_agent_started;
    ndc->enclave_stopped = nitro_agent_stopped;
    nitro_agent_describe(oc);
}

static const TypeInfo nitro_agent_types[] = {
    {
        .name = TYPE_NITRO_AGENT,
        .parent = TYPE_NITRO_VSOCK_DEVICE,
        .instance_size = sizeof(NitroAgent),
        .class_init = nitro_agent_class_init,
    },
};

DEFINE_TYPES(nitro_agent_types)
