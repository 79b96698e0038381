/*
 * Nitro Enclaves: agent device against all kinds of inits
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is the init, and the reader behind the character devices.  vsock
 * and bus are those of nitro-fake-bus.c; accelerator and the property for a
 * character device are here.
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "hw/nitro/agent.h"
#include "hw/qdev-properties-system.h"
#include "hw/qdev-properties.h"
#include "nitro-fake-bus.h"
#include "nitro-stream-util.h"
#include "qapi/clone-visitor.h"
#include "qapi/qapi-visit-nitro.h"
#include "qapi/visitor.h"
#include "qemu/bswap.h"
#include "qemu/config-file.h"
#include "qemu/notify.h"
#include "qemu/option.h"
#include "system/runstate.h"
#include "system/system.h"
#include "tests/nitro/error-text.h"

#define OUR_CID 16
#define OTHER_CID 17

typedef struct Fixture {
    FakeBus *bus;
    NitroVsockDevice *dev;
    char *out_path;
    char *err_path;
    int init;                   /* its end of the connection, or -1 */
    int client;                 /* of a socket as character device */
    Notifier *powerdown;
    NitroEnclaveApplication *app;
    uint32_t stop_grace;
    int exit_status;
    bool holds;
} Fixture;

/* The one that the functions below work for */
static Fixture *fixture;

/* Bridge */

void nitro_vsock_device_set_application(NitroVsockDevice *dev,
                                        const NitroEnclaveApplication *app,
                                        uint32_t stop_grace, int exit_status)
{
    qapi_free_NitroEnclaveApplication(fixture->app);
    fixture->app = QAPI_CLONE(NitroEnclaveApplication, app);
    fixture->stop_grace = stop_grace;
    fixture->exit_status = exit_status;
}

void nitro_vsock_device_hold(NitroVsockDevice *dev, bool hold)
{
    fixture->holds = hold;
}

void qemu_register_powerdown_notifier(Notifier *notifier)
{
    static NotifierList list = NOTIFIER_LIST_INITIALIZER(list);

    notifier_list_add(&list, notifier);
    fixture->powerdown = notifier;
}

static unsigned nr_powerdowns, nr_kills;

void qemu_system_powerdown_request(void)
{
    nr_powerdowns++;
}

void qemu_system_killed(int number, pid_t pid)
{
    g_assert_cmpint(number, ==, SIGTERM);
    g_assert_cmpint(pid, ==, getpid());
    nr_kills++;
}

/* Property for a character device */

static void set_chr(Object *obj, Visitor *v, const char *name, void *opaque,
                    Error **errp)
{
    CharBackend *fe = object_field_prop_ptr(obj, opaque);
    g_autofree char *label = NULL;

    g_assert(visit_type_str(v, name, &label, errp));
    g_assert(qemu_chr_fe_init(fe, qemu_chr_find(label), errp));
}

const PropertyInfo qdev_prop_chr = { .set = set_chr };

/* The device */

static NitroVsockDeviceClass *class_of(Fixture *f)
{
    return NITRO_VSOCK_DEVICE_GET_CLASS(f->dev);
}

static NitroEnclaveApplication *query(Fixture *f)
{
    return nitro_agent_query(NITRO_AGENT(f->dev));
}

#define assert_member(f, member, expected)                                  \
    do {                                                                    \
        g_autoptr(NitroEnclaveApplication) info_ = query(f);                \
        g_assert_cmpuint(info_->member, ==, expected);                      \
    } while (0)

static bool in_state(Fixture *f, NitroApplicationState state)
{
    g_autoptr(NitroEnclaveApplication) info = query(f);

    return info->state == state;
}

static void start(Fixture *f)
{
    g_assert(class_of(f)->prepare_start(f->dev, &error_abort));
    g_assert(class_of(f)->enclave_started(f->dev, OUR_CID, &error_abort));
}

static void set(Fixture *f, const char *property, const char *value)
{
    object_property_parse(OBJECT(f->dev), property, value, &error_abort);
}

static void open_chardev(const char *options)
{
    QemuOpts *opts = qemu_opts_parse(&qemu_chardev_opts, options, true,
                                     &error_abort);

    g_assert(qemu_chr_new_from_opts(opts, NULL, &error_abort));
    qemu_opts_del(opts);
}

static void realize(Fixture *f)
{
    DEVICE_GET_CLASS(f->dev)->realize(DEVICE(f->dev), &error_abort);
}

static void set_up(Fixture *f, gconstpointer data)
{
    fixture = f;
    error_text_quiet = true;
    f->init = f->client = -1;
    f->bus = fake_bus_new(NITRO_AGENT_PORT * 65536 + OUR_CID);
    f->out_path = g_build_filename(f->bus->dir, "out", NULL);
    f->err_path = g_build_filename(f->bus->dir, "err", NULL);
    f->dev = fake_bus_add(f->bus, TYPE_NITRO_AGENT);
}

/* With files for both streams */
static void set_up_files(Fixture *f, gconstpointer data)
{
    g_autofree char *out = NULL;
    g_autofree char *err = NULL;

    set_up(f, data);
    out = g_strdup_printf("file,id=out,path=%s", f->out_path);
    err = g_strdup_printf("file,id=err,path=%s", f->err_path);
    open_chardev(out);
    open_chardev(err);
    set(f, "stdout", "out");
    set(f, "stderr", "err");
    set(f, "exit-status", "app");
    realize(f);
    start(f);
}

/* With a socket for both */
static void set_up_socket(Fixture *f, gconstpointer data)
{
    g_autofree char *out = NULL;

    set_up(f, data);
    out = g_strdup_printf("socket,id=out,path=%s,server=on,wait=off",
                          f->out_path);
    open_chardev(out);
    set(f, "stdout", "out");
    realize(f);
    start(f);
}

static void remove_chardev(const char *id)
{
    Chardev *chr = qemu_chr_find(id);

    if (chr) {
        object_unparent(OBJECT(chr));
    }
}

static void hang_up(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void tear_down(Fixture *f, gconstpointer data)
{
    DEVICE_GET_CLASS(f->dev)->unrealize(DEVICE(f->dev));
    g_assert_false(f->holds);
    remove_chardev("out");
    remove_chardev("err");
    fake_bus_remove(f->dev);
    settle();
    hang_up(&f->init);
    hang_up(&f->client);
    unlink(f->out_path);
    unlink(f->err_path);
    fake_bus_free(f->bus);
    g_free(f->out_path);
    g_free(f->err_path);
    qapi_free_NitroEnclaveApplication(f->app);
    error_text_quiet = false;
}

/* Frames */

/* Appends a frame; @len is the size of the payload in @data */
static void add_frame(GByteArray *frames, uint8_t type, const void *data,
                      uint32_t len)
{
    uint8_t head[NITRO_AGENT_HEAD] = { type };

    stl_be_p(head + 4, len);
    g_byte_array_append(frames, head, sizeof(head));
    g_byte_array_append(frames, data, len);
}

static void add_hello(GByteArray *frames, uint16_t flags)
{
    uint8_t hello[4];

    stw_be_p(hello, NITRO_AGENT_VERSION);
    stw_be_p(hello + 2, flags);
    add_frame(frames, NITRO_AGENT_HELLO, hello, sizeof(hello));
}

static void add_state(GByteArray *frames, uint8_t kind, uint32_t value,
                      const char *text)
{
    g_autoptr(GByteArray) state = g_byte_array_new();
    uint8_t head[5] = { kind };

    stl_be_p(head + 1, value);
    g_byte_array_append(state, head, sizeof(head));
    g_byte_array_append(state, (const uint8_t *)text, strlen(text));
    add_frame(frames, NITRO_AGENT_STATE, state->data, state->len);
}

static void add_output(GByteArray *frames, uint64_t position, uint8_t stream,
                       const void *data, uint32_t len)
{
    g_autoptr(GByteArray) output = g_byte_array_new();
    uint8_t head[9];

    stq_be_p(head, position);
    head[8] = stream;
    g_byte_array_append(output, head, sizeof(head));
    g_byte_array_append(output, data, len);
    add_frame(frames, NITRO_AGENT_OUTPUT, output->data, output->len);
}

static void send_all(Fixture *f, GByteArray *frames)
{
    size_t done = 0;
    ssize_t len;

    while (done < frames->len) {
        len = send(f->init, frames->data + done, frames->len - done,
                   MSG_NOSIGNAL);
        if (len > 0) {
            done += len;
        }
        main_loop_wait(true);
    }
    g_byte_array_set_size(frames, 0);
    settle();
}

/* The next frame to the init: type and payload */
static uint8_t receive(Fixture *f, uint64_t *payload)
{
    uint8_t frame[NITRO_AGENT_HEAD + sizeof(uint64_t)];
    uint32_t len;

    wait_until(recv(f->init, frame, NITRO_AGENT_HEAD, MSG_PEEK) ==
               NITRO_AGENT_HEAD);
    g_assert_cmpint(recv(f->init, frame, NITRO_AGENT_HEAD, 0), ==,
                    NITRO_AGENT_HEAD);
    len = ldl_be_p(frame + 4);
    g_assert_cmpint(ldl_be_p(frame) & 0xffffff, ==, 0);
    g_assert_cmpint(len, ==, frame[0] == NITRO_AGENT_TAKEN ? 8 : 0);
    if (len) {
        g_assert_cmpint(recv(f->init, frame + NITRO_AGENT_HEAD, len, 0), ==,
                        len);
        *payload = ldq_be_p(frame + NITRO_AGENT_HEAD);
    }
    return frame[0];
}

static void assert_receives(Fixture *f, uint8_t type)
{
    uint64_t position;

    g_assert_cmpint(receive(f, &position), ==, type);
}

static void wait_taken(Fixture *f, uint64_t position)
{
    uint64_t taken = 0;

    while (taken < position) {
        g_assert_cmpint(receive(f, &taken), ==, NITRO_AGENT_TAKEN);
    }
    g_assert_cmpuint(taken, ==, position);
}

static void connect_init(Fixture *f)
{
    f->init = fake_bus_connect(f->bus, OUR_CID);
    g_assert_cmpint(f->init, >=, 0);
}

static void greet(Fixture *f)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();

    connect_init(f);
    add_hello(frames, 0);
    send_all(f, frames);
    assert_member(f, connected, true);
}

static void assert_contents(const char *path, const char *expected)
{
    g_autofree char *text = NULL;

    g_assert(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, expected);
}

/* A program from its start to its end */
static void add_life(GByteArray *frames)
{
    add_hello(frames, NITRO_AGENT_WAITS_FOR_GO);
    add_state(frames, 0, 0, "");
    add_state(frames, 1, 0, "");
    add_output(frames, 0, 1, "one\n", 4);
    add_output(frames, 4, 2, "two\n", 4);
    add_output(frames, 8, 1, "three\n", 6);
    add_frame(frames, NITRO_AGENT_REFUSED, "'A': not allowed", 16);
    add_state(frames, 2, 7, "");
}

static void assert_lived(Fixture *f)
{
    wait_until(in_state(f, NITRO_APPLICATION_STATE_EXITED));
    assert_member(f, status, 7);
    assert_member(f, stdout_bytes, 10);
    assert_member(f, stderr_bytes, 4);
    assert_member(f, dropped, 0);
    g_assert_cmpint(f->exit_status, ==, 7);
    g_assert_cmpint(f->app->state, ==, NITRO_APPLICATION_STATE_EXITED);
    g_assert_cmpint(f->stop_grace, ==, 0);
    settle();
    assert_contents(f->out_path, "one\nthree\n");
    assert_contents(f->err_path, "two\n");
}

/* Tests */

static void test_life(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();

    connect_init(f);
    add_life(frames);
    send_all(f, frames);
    assert_receives(f, NITRO_AGENT_GO);
    wait_taken(f, 14);
    assert_receives(f, NITRO_AGENT_END);
    assert_lived(f);
}

/* The end comes with whatever is sent at once */
static void test_bytewise(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();

    connect_init(f);
    add_life(frames);
    for (unsigned i = 0; i < frames->len; i++) {
        g_assert_cmpint(send(f->init, frames->data + i, 1, 0), ==, 1);
        main_loop_wait(true);
        main_loop_wait(true);
    }
    assert_lived(f);
}

static void test_foreign(Fixture *f, gconstpointer data)
{
    int other = fake_bus_connect(f->bus, OTHER_CID);
    int nobody = fake_bus_connect(f->bus, FAKE_BUS_NO_CID);
    int second;

    wait_until(stream_ended(other));
    wait_until(stream_ended(nobody));
    greet(f);
    second = fake_bus_connect(f->bus, OUR_CID);
    wait_until(stream_ended(second));
    assert_member(f, connected, true);
    assert_member(f, connections, 1);
    close(other);
    close(nobody);
    close(second);
}

/* What was not confirmed comes again; what nobody kept is counted */
static void test_again(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();

    greet(f);
    add_output(frames, 0, 1, "0123456789", 10);
    send_all(f, frames);
    wait_taken(f, 10);
    hang_up(&f->init);
    settle();
    assert_member(f, connected, false);
    g_assert_cmpint(f->stop_grace, ==, 0);

    greet(f);
    add_output(frames, 5, 1, "56789ab", 7);
    add_output(frames, 3, 1, "345", 3);
    add_output(frames, 20, 1, "end\n", 4);
    send_all(f, frames);
    wait_taken(f, 24);
    assert_member(f, dropped, 8);
    assert_member(f, connections, 2);
    assert_contents(f->out_path, "0123456789abend\n");
}

typedef struct Ending {
    uint8_t kind;
    uint32_t value;
    const char *text;
    int status;
    const char *reason;
} Ending;

static void test_ending(Fixture *f, gconstpointer data)
{
    static const Ending rows[] = {
        { 2, 0, "", 0 },
        { 2, 258, "", 2 },
        { 3, 9, "", 137 },
        { 4, 0, "cannot run '/bin/x'", 125, "cannot run '/bin/x'" },
        { 4, 0, "\033[2J\n", 125, "?[2J?" },
    };
    g_autoptr(GByteArray) frames = g_byte_array_new();

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        greet(f);
        g_assert_cmpint(f->stop_grace, ==, 30);
        add_state(frames, rows[i].kind, rows[i].value, rows[i].text);
        /* The first end counts */
        add_state(frames, 2, 99, "");
        send_all(f, frames);
        g_assert_cmpint(f->exit_status, ==, rows[i].status);
        g_assert_cmpint(f->stop_grace, ==, 0);
        g_assert_cmpstr(f->app->reason, ==, rows[i].reason);
        hang_up(&f->init);
        class_of(f)->enclave_stopped(f->dev);
        settle();
        start(f);
        assert_member(f, state, NITRO_APPLICATION_STATE_UNKNOWN);
        g_assert_cmpint(f->exit_status, ==, 0);
    }
}

static void test_stop(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();

    /* Nobody to ask */
    g_assert_cmpint(f->stop_grace, ==, 0);
    f->powerdown->notify(f->powerdown, NULL);

    greet(f);
    g_assert_cmpint(f->stop_grace, ==, 30);
    f->powerdown->notify(f->powerdown, NULL);
    assert_receives(f, NITRO_AGENT_STOP);
    add_state(frames, 3, 15, "");
    send_all(f, frames);
    assert_receives(f, NITRO_AGENT_END);
    g_assert_cmpint(f->exit_status, ==, 143);
    f->powerdown->notify(f->powerdown, NULL);
    settle();
    g_assert_cmpint(recv(f->init, &(char){ 0 }, 1, 0), ==, -1);
}

static void terminate(unsigned powerdowns, unsigned kills)
{
    g_assert_cmpint(kill(getpid(), SIGTERM), ==, 0);
    wait_until(nr_powerdowns + nr_kills == powerdowns + kills);
    g_assert_cmpuint(nr_powerdowns, ==, powerdowns);
}

/* SIGTERM stops a program once, and QEMU when there is nothing to stop */
static void test_sigterm(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();

    nr_powerdowns = nr_kills = 0;
    set(f, "stop-on-sigterm", "on");
    realize(f);
    start(f);
    greet(f);
    terminate(1, 0);
    terminate(1, 1);
    hang_up(&f->init);
    settle();
    terminate(1, 2);
    class_of(f)->enclave_stopped(f->dev);
    start(f);
    greet(f);
    terminate(2, 2);
    add_state(frames, 2, 0, "");
    send_all(f, frames);
    terminate(2, 3);
}

/* A reader that does not read makes the enclave wait, and loses nothing */
static void test_slow_reader(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();
    size_t total = 2 * MiB, sent = 0, got = 0;
    uint8_t piece[4096];

    f->client = stream_connect(f->out_path);
    settle();
    greet(f);
    for (size_t pos = 0; pos < total; pos += sizeof(piece)) {
        fill_pattern(piece, sizeof(piece), pos);
        add_output(frames, pos, 1 + (pos / sizeof(piece)) % 2, piece,
                   sizeof(piece));
    }
    add_state(frames, 2, 0, "");
    for (int idle = 0; idle < 3; idle++) {
        ssize_t len = send(f->init, frames->data + sent, frames->len - sent,
                           MSG_NOSIGNAL);

        sent += MAX(len, 0);
        idle = len > 0 ? 0 : idle;
        settle();
    }
    g_assert_cmpint(sent, <, frames->len);
    assert_member(f, state, NITRO_APPLICATION_STATE_UNKNOWN);
    while (got < total) {
        ssize_t len = send(f->init, frames->data + sent, frames->len - sent,
                           MSG_NOSIGNAL);

        sent += MAX(len, 0);
        got = stream_read(f->client, got);
        main_loop_wait(true);
    }
    wait_until(in_state(f, NITRO_APPLICATION_STATE_EXITED));
    assert_member(f, dropped, 0);
}

/* Without a reader the end of the program is known all the same */
static void test_no_reader(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();
    g_autofree uint8_t *bytes = g_malloc(60000);
    size_t pos = 60000 * 5 - 64 * KiB;

    greet(f);
    for (int i = 0; i < 5; i++) {
        fill_pattern(bytes, 60000, i * 60000);
        add_output(frames, i * 60000, 1, bytes, 60000);
    }
    add_state(frames, 2, 3, "");
    send_all(f, frames);
    wait_until(in_state(f, NITRO_APPLICATION_STATE_EXITED));
    assert_member(f, dropped, pos);
    class_of(f)->enclave_stopped(f->dev);
    hang_up(&f->init);
    wait_until(!f->holds);
    f->client = stream_connect(f->out_path);
    wait_until((pos = stream_read(f->client, pos), pos == 60000 * 5));
}

/* The enclave has gone, its last words are still here */
static void test_last_words(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();
    g_autofree uint8_t *bytes = g_malloc(60000);
    size_t pos = 0, total = 0;

    f->client = stream_connect(f->out_path);
    settle();
    greet(f);
    /* More than a socket holds, less than what is kept beside it */
    do {
        fill_pattern(bytes, 60000, total);
        add_output(frames, total, 1, bytes, 60000);
        total += 60000;
        send_all(f, frames);
    } while (total < 240000);
    class_of(f)->enclave_stopped(f->dev);
    hang_up(&f->init);
    wait_until((pos = stream_read(f->client, pos), pos == total));
    wait_until(!f->holds);
}

/* Nothing to copy it to: it is counted, and taken */
static void test_no_chardev(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();

    realize(f);
    start(f);
    greet(f);
    add_output(frames, 0, 2, "lost", 4);
    send_all(f, frames);
    wait_taken(f, 4);
    assert_member(f, stderr_bytes, 4);
}

/* Hostile inits */

typedef struct Fault {
    bool greeted;               /* after a proper HELLO */
    uint8_t len;
    uint8_t bytes[24];
} Fault;

static const Fault faults[] = {
    { false, 8, { 0 } },                                /* types */
    { false, 8, { 5 } },
    { true, 8, { 19 } },
    { true, 8, { 255 } },
    { true, 8, { 4, 1 } },                              /* padding */
    { true, 8, { 4, 0, 0, 1 } },
    { true, 8, { 4, 0, 0, 0, 0, 1, 0, 1 } },            /* lengths */
    { true, 8, { 4, 0, 0, 0, 255, 255, 255, 255 } },
    { false, 8, { 4 } },                                /* before HELLO */
    { false, 13, { 2, 0, 0, 0, 0, 0, 0, 5, 1 } },
    { false, 11, { 1, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0 } },     /* HELLO */
    { false, 12, { 1, 0, 0, 0, 0, 0, 0, 4, 0, 2, 0, 0 } },
    { true, 12, { 1, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0 } },
    { true, 12, { 2, 0, 0, 0, 0, 0, 0, 4 } },           /* STATE */
    { true, 13, { 2, 0, 0, 0, 0, 0, 0, 5, 5 } },
    { true, 16, { 3, 0, 0, 0, 0, 0, 0, 8 } },           /* OUTPUT */
    { true, 17, { 3, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0 } },
    { true, 17, { 3, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 3 } },
    { true, 18, { 3, 0, 0, 0, 0, 0, 0, 10, 255, 255, 255, 255, 255, 255, 255,
                  255, 1, 'x' } },
};

static void send_faulty(Fixture *f, const uint8_t *bytes, size_t len)
{
    send(f->init, bytes, len, MSG_NOSIGNAL);
    settle();
}

static void test_faults(Fixture *f, gconstpointer data)
{
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        if (faults[i].greeted) {
            greet(f);
        } else {
            connect_init(f);
        }
        send_faulty(f, faults[i].bytes, faults[i].len);
        if (!stream_ended(f->init)) {
            g_error("fault %zu has not closed the connection", i);
        }
        hang_up(&f->init);
    }
    /* Good for an init that speaks properly */
    test_life(f, data);
}

/* Cut off after each byte of a life: nothing is lost, nothing twice */
static void test_cut_off(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();

    add_life(frames);
    for (unsigned len = 0; len <= frames->len; len++) {
        connect_init(f);
        send_faulty(f, frames->data, len);
        hang_up(&f->init);
        settle();
        assert_member(f, connected, false);
    }
    assert_lived(f);
}

/* Frames of random types, lengths and contents */
static void test_random(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) frames = g_byte_array_new();
    g_autoptr(GRand) rand = g_rand_new_with_seed(9001);
    uint8_t bytes[64];

    for (int i = 0; i < 500; i++) {
        if (f->init < 0 || stream_ended(f->init)) {
            hang_up(&f->init);
            greet(f);
        }
        for (size_t k = 0; k < sizeof(bytes); k++) {
            bytes[k] = g_rand_int(rand) >> (g_rand_boolean(rand) ? 24 : 30);
        }
        add_frame(frames, g_rand_int_range(rand, 1, 6), bytes,
                  g_rand_int_range(rand, 0, sizeof(bytes)));
        send_faulty(f, frames->data, frames->len);
        g_byte_array_set_size(frames, 0);
        while (recv(f->init, bytes, sizeof(bytes), 0) > 0) {
            continue;
        }
    }
}

static void test_port_taken(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;
    Error *err = NULL;

    realize(f);
    g_free(f->bus->port);
    f->bus->port = g_build_filename(f->bus->dir, "none", "port", NULL);
    g_assert(class_of(f)->prepare_start(f->dev, &error_abort));
    g_assert_false(class_of(f)->enclave_started(f->dev, OUR_CID, &err));
    error_text_quiet = false;
    text = error_text(err);
    assert_contains(text, "nitro-agent: cannot listen on vsock port "
                    "589889552: ");
    assert_contains(text, "'agent PORT'");
}

#define ADD(name, set_up_func, func)                                        \
    g_test_add("/nitro/agent/" name, Fixture, NULL, set_up_func, func,      \
               tear_down)

int main(int argc, char **argv)
{
    stream_test_init(&argc, &argv);

    ADD("life", set_up_files, test_life);
    ADD("bytewise", set_up_files, test_bytewise);
    ADD("foreign", set_up_files, test_foreign);
    ADD("again", set_up_files, test_again);
    ADD("ending", set_up_files, test_ending);
    ADD("stop", set_up_files, test_stop);
    ADD("sigterm", set_up, test_sigterm);
    ADD("slow-reader", set_up_socket, test_slow_reader);
    ADD("no-reader", set_up_socket, test_no_reader);
    ADD("last-words", set_up_socket, test_last_words);
    ADD("no-chardev", set_up, test_no_chardev);
    ADD("faults", set_up_files, test_faults);
    ADD("cut-off", set_up_files, test_cut_off);
    ADD("random", set_up_files, test_random);
    ADD("port-taken", set_up, test_port_taken);
    return g_test_run();
}
