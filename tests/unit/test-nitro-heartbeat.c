/*
 * Nitro Enclaves: heartbeat device against all kinds of peers
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * This program has its own vsock and bus (nitro-fake-bus.c), accelerator and
 * time; time is as fast as a test wants it.
 */

#include "qemu/osdep.h"
#include <sys/un.h>
#include "hw/nitro/heartbeat.h"
#include "hw/nitro/vsock.h"
#include "nitro-fake-bus.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "tests/nitro/error-text.h"
#include "tests/nitro/patience.h"

#define OUR_CID 16
#define OTHER_CID 17
#define NO_CID FAKE_BUS_NO_CID

typedef struct Fixture {
    FakeBus *bus;
    NitroVsockDevice *dev;
    int refuse_listen;          /* errno, 0: the port is free */
    int nr_booted;
    int nr_expected;
    int nr_expired;
} Fixture;

/* The one that the functions below work for */
static Fixture *fixture;

/* vsock */

int nitro_vsock_listen(uint32_t port, int backlog)
{
    struct sockaddr_un addr;
    int fd;

    g_assert_cmpint(port, ==, 9000);
    if (fixture->refuse_listen) {
        return -fixture->refuse_listen;
    }
    fake_bus_address(&addr, fixture->bus->port);
    unlink(fixture->bus->port);
    fd = qemu_socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(fd, backlog), ==, 0);
    return fd;
}

/* Bridge */

void nitro_vsock_device_boot(NitroVsockDevice *dev, NitroBoot boot)
{
    fixture->nr_expected += boot == NITRO_BOOT_EXPECTED;
    fixture->nr_booted += boot == NITRO_BOOT_DONE;
    fixture->nr_expired += boot == NITRO_BOOT_FAILED;
}

/* Time */

static unsigned haste = 1;          /* timers are so much faster */
static int64_t skipped_us;

guint g_timeout_add(guint interval, GSourceFunc function, gpointer data)
{
    return g_timeout_add_full(G_PRIORITY_DEFAULT, interval / haste, function,
                              data, NULL);
}

gint64 g_get_monotonic_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000 + skipped_us;
}

static gboolean out_of_patience(gpointer opaque)
{
    g_error("nothing happened for %d ms", PATIENCE_MS);
    return G_SOURCE_REMOVE;
}

#define wait_until(condition)                                               \
    do {                                                                    \
        guint watchdog_ = g_timeout_add_full(G_PRIORITY_DEFAULT,            \
                                             PATIENCE_MS, out_of_patience,  \
                                             NULL, NULL);                   \
        while (!(condition)) {                                              \
            g_main_context_iteration(NULL, TRUE);                           \
        }                                                                   \
        g_source_remove(watchdog_);                                         \
    } while (0)

/* Does the main loop have to call somebody at a certain time? */
static bool time_runs(void)
{
    GMainContext *context = g_main_context_default();
    int priority, timeout_ms;

    g_assert_true(g_main_context_acquire(context));
    g_main_context_prepare(context, &priority);
    g_main_context_query(context, G_MAXINT, &timeout_ms, NULL, 0);
    g_main_context_release(context);
    return timeout_ms >= 0;
}

/* Let everything happen that can happen without waiting */
static void settle(void)
{
    for (int i = 0; i < 20; i++) {
        while (g_main_context_iteration(NULL, FALSE)) {
            /* more */
        }
    }
}

/* Peers */

static int peer_connect(Fixture *f, uint32_t cid)
{
    return fake_bus_connect(f->bus, cid);
}

static int peer_speak(Fixture *f, uint32_t cid, uint8_t byte)
{
    int fd = peer_connect(f, cid);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(send(fd, &byte, 1, MSG_NOSIGNAL), ==, 1);
    return fd;
}

/* What has come: a byte, end of file or reset (-1), nothing yet (-2) */
static int peer_heard(int fd)
{
    uint8_t byte;
    ssize_t len = recv(fd, &byte, 1, 0);

    if (len == 1) {
        return byte;
    }
    return len < 0 && errno == EAGAIN ? -2 : -1;
}

static void assert_answered(int fd)
{
    g_assert_cmphex(peer_heard(fd), ==, NITRO_HEARTBEAT_BYTE);
    g_assert_cmpint(peer_heard(fd), ==, -1);
    close(fd);
}

static void assert_closed(int fd)
{
    g_assert_cmpint(peer_heard(fd), ==, -1);
    close(fd);
}

static void assert_state(Fixture *f, const char *state)
{
    g_autofree char *now = object_property_get_str(OBJECT(f->dev), "state",
                                                   &error_abort);

    g_assert_cmpstr(now, ==, state);
}

/* What the bus calls */

static NitroStep acquire(Fixture *f, Error **errp)
{
    return NITRO_VSOCK_DEVICE_GET_CLASS(f->dev)->acquire(f->dev, errp);
}

static void started(Fixture *f)
{
    g_assert(NITRO_VSOCK_DEVICE_GET_CLASS(f->dev)->enclave_started(
                 f->dev, OUR_CID, &error_abort));
}

static void stopped(Fixture *f)
{
    NITRO_VSOCK_DEVICE_GET_CLASS(f->dev)->enclave_stopped(f->dev);
}

static void set_seconds(Fixture *f, const char *property, int seconds)
{
    object_property_set_int(OBJECT(f->dev), property, seconds, &error_abort);
}

static void assert_port_free(Fixture *f)
{
    g_assert_cmpint(peer_connect(f, OUR_CID), ==, -1);
}

/* The whole good case, with whatever the test has done before */
static void finish_well(Fixture *f)
{
    int fd = peer_speak(f, OUR_CID, NITRO_HEARTBEAT_BYTE);

    wait_until(f->nr_booted == 1);
    assert_answered(fd);
    assert_state(f, "done");
    assert_port_free(f);
    settle();
    g_assert_cmpint(f->nr_booted, ==, 1);
}

static void assert_listens(Fixture *f)
{
    g_assert_cmpint(acquire(f, &error_abort), ==, NITRO_STEP_DONE);
    assert_state(f, "listening");
}

static void assert_refused(Fixture *f)
{
    g_autofree char *text = NULL;
    Error *err = NULL;

    g_assert_cmpint(acquire(f, &err), ==, NITRO_STEP_FAILED);
    error_text_quiet = false;
    text = error_text(err);
    error_text_quiet = true;
    assert_contains(text, "heartbeat: cannot listen on vsock port 9000: ");
    assert_contains(text, strerror(f->refuse_listen));
    assert_state(f, "failed");
}

static void assert_waits(Fixture *f)
{
    g_assert_cmpint(acquire(f, &error_abort), ==, NITRO_STEP_LATER);
    assert_state(f, "waiting");
}

static void set_up(Fixture *f, gconstpointer data)
{
    fixture = f;
    haste = 1;
    error_text_quiet = true;
    f->bus = fake_bus_new(0);
    f->dev = fake_bus_add(f->bus, TYPE_NITRO_HEARTBEAT);
    assert_state(f, "idle");
}

static void set_up_listening(Fixture *f, gconstpointer data)
{
    set_up(f, data);
    assert_listens(f);
    started(f);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    fake_bus_remove(f->dev);
    fake_bus_free(f->bus);
    settle();
    error_text_quiet = false;
}

/* Tests */

static void test_good(Fixture *f, gconstpointer data)
{
    finish_well(f);
}

static void test_foreign(Fixture *f, gconstpointer data)
{
    int other = peer_speak(f, OTHER_CID, NITRO_HEARTBEAT_BYTE);

    settle();
    assert_closed(other);
    assert_state(f, "listening");
    finish_well(f);
}

static void test_nobody(Fixture *f, gconstpointer data)
{
    int nobody = peer_speak(f, NO_CID, NITRO_HEARTBEAT_BYTE);

    settle();
    assert_closed(nobody);
    finish_well(f);
}

/* The enclave may be faster than NE_START_ENCLAVE's return */
static void test_early(Fixture *f, gconstpointer data)
{
    int other, ours;

    assert_listens(f);
    other = peer_speak(f, OTHER_CID, NITRO_HEARTBEAT_BYTE);
    ours = peer_speak(f, OUR_CID, NITRO_HEARTBEAT_BYTE);
    settle();
    g_assert_cmpint(peer_heard(other), ==, -2);
    g_assert_cmpint(peer_heard(ours), ==, -2);
    assert_state(f, "listening");

    started(f);
    wait_until(f->nr_booted);
    assert_closed(other);
    assert_answered(ours);
    assert_state(f, "done");
    assert_port_free(f);
}

static void test_wrong_byte(Fixture *f, gconstpointer data)
{
    int wrong = peer_speak(f, OUR_CID, 0xb8);

    settle();
    assert_closed(wrong);
    assert_state(f, "listening");
    finish_well(f);
}

static void test_hang_up(Fixture *f, gconstpointer data)
{
    int fd = peer_connect(f, OUR_CID);

    settle();
    g_assert_cmpint(peer_heard(fd), ==, -2);
    close(fd);
    settle();
    assert_state(f, "listening");
    finish_well(f);
}

static void test_late_byte(Fixture *f, gconstpointer data)
{
    uint8_t byte = NITRO_HEARTBEAT_BYTE;
    int fd = peer_connect(f, OUR_CID);

    settle();
    g_assert_cmpint(peer_heard(fd), ==, -2);
    g_assert_cmpint(send(fd, &byte, 1, MSG_NOSIGNAL), ==, 1);
    wait_until(f->nr_booted);
    assert_answered(fd);
}

/* Many silent connections, first few and then too many */
static void test_silent(Fixture *f, gconstpointer data)
{
    int nr = GPOINTER_TO_INT(data);
    g_autofree int *fd = g_new(int, nr);
    int nr_kept = MIN(nr, NITRO_HEARTBEAT_MAX_PEERS);

    for (int i = 0; i < nr; i++) {
        fd[i] = peer_connect(f, OUR_CID);
        g_assert_cmpint(fd[i], >=, 0);
    }
    settle();
    for (int i = 0; i < nr; i++) {
        g_assert_cmpint(peer_heard(fd[i]), ==, i < nr - nr_kept ? -1 : -2);
    }
    finish_well(f);
    for (int i = 0; i < nr; i++) {
        assert_closed(fd[i]);
    }
}

static void test_timeout(Fixture *f, gconstpointer data)
{
    int fd, heard = -2;

    haste = NITRO_HEARTBEAT_PEER_TIMEOUT_MS / 20;
    fd = peer_connect(f, OUR_CID);
    wait_until((heard = peer_heard(fd)) != -2);
    g_assert_cmpint(heard, ==, -1);
    close(fd);
    assert_state(f, "listening");
    haste = 1;
    finish_well(f);
}

static void test_stop(Fixture *f, gconstpointer data)
{
    int fd = peer_connect(f, OUR_CID);

    settle();
    stopped(f);
    assert_state(f, "failed");
    assert_closed(fd);
    assert_port_free(f);

    /* the CID of an enclave that is gone does not matter any more */
    started(f);
    assert_state(f, "failed");
    g_assert_cmpint(f->nr_booted, ==, 0);
}

static void test_again(Fixture *f, gconstpointer data)
{
    for (int i = 0; i < 3; i++) {
        f->nr_booted = 0;
        assert_listens(f);
        started(f);
        finish_well(f);
        stopped(f);
        assert_state(f, "done");
    }
}

/* Whatever it was: as new, and good for another enclave */
static void test_reset(Fixture *f, gconstpointer data)
{
    int fd = peer_connect(f, OUR_CID);

    settle();
    device_cold_reset(DEVICE(f->dev));
    assert_state(f, "idle");
    assert_closed(fd);
    assert_port_free(f);
    device_cold_reset(DEVICE(f->dev));
    assert_state(f, "idle");

    f->refuse_listen = EACCES;
    assert_refused(f);
    assert_state(f, "failed");
    device_cold_reset(DEVICE(f->dev));
    assert_state(f, "idle");

    f->refuse_listen = 0;
    assert_listens(f);
}

static void test_no_port(Fixture *f, gconstpointer data)
{
    f->refuse_listen = EACCES;
    assert_refused(f);

    f->refuse_listen = 0;
    assert_listens(f);
    started(f);
    finish_well(f);
}

/* Another launch has the port, and gives it back in time */
static void test_wait(Fixture *f, gconstpointer data)
{
    f->refuse_listen = EADDRINUSE;
    assert_waits(f);
    assert_waits(f);
    f->refuse_listen = 0;
    assert_listens(f);
    /* Asked again it still has it */
    assert_listens(f);
    started(f);
    finish_well(f);
}

/* It does not; the time runs from the first attempt on, per launch */
static void test_wait_in_vain(Fixture *f, gconstpointer data)
{
    f->refuse_listen = EADDRINUSE;
    set_seconds(f, "port-timeout", 0);
    assert_refused(f);
    set_seconds(f, "port-timeout", 50);
    assert_waits(f);
    skipped_us += 60 * G_USEC_PER_SEC;
    assert_refused(f);
    assert_waits(f);
    stopped(f);
    assert_state(f, "idle");
    skipped_us += 60 * G_USEC_PER_SEC;
    assert_waits(f);
}

/* What follows is the user's choice; late is better than never */
static void test_deadline(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;

    haste = 50;
    set_seconds(f, "timeout", 1);
    assert_listens(f);
    g_assert_cmpint(f->nr_expected, ==, 1);
    settle();
    g_assert_false(time_runs());
    error_text_quiet = false;
    error_text_begin();
    started(f);
    wait_until(f->nr_expired);
    text = error_text_end();
    assert_contains(text, "has sent no heartbeat for 1.0 s, ending it");
    assert_state(f, "listening");
    haste = 1;
    finish_well(f);
    g_assert_cmpint(f->nr_expired, ==, 1);
}

/* A heartbeat, or the end, comes before the time is over */
static void test_in_time(Fixture *f, gconstpointer data)
{
    assert_listens(f);
    g_assert_false(time_runs());
    started(f);
    g_assert_true(time_runs());
    finish_well(f);
    g_assert_false(time_runs());
    assert_listens(f);
    started(f);
    g_assert_true(time_runs());
    stopped(f);
    g_assert_false(time_runs());
    settle();
    g_assert_cmpint(f->nr_expired, ==, 0);
}

static void test_no_deadline(Fixture *f, gconstpointer data)
{
    set_seconds(f, "timeout", 0);
    assert_listens(f);
    started(f);
    g_assert_false(time_runs());
    finish_well(f);
}

static void test_default_deadline(Fixture *f, gconstpointer data)
{
    static const struct {
        uint64_t image, memory;
        unsigned seconds;
    } rows[] = {
        { 0, 0, 180 },
        { 1, 64 * MiB, 180 },
        { 6 * GiB, 100 * GiB, 180 },
        { 6 * GiB + 1, 100 * GiB, 270 },
        { 6 * GiB, 100 * GiB + 1, 270 },
        { 12 * GiB + 1, 300 * GiB + 1, 630 },
        { UINT64_MAX, UINT64_MAX, INT32_MAX / 1000 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(NitroEnclaveHeartbeat) info = NULL;

        f->bus->bridge->image_size = rows[i].image;
        f->bus->bridge->memory_size = rows[i].memory;
        info = nitro_heartbeat_query(NITRO_HEARTBEAT(f->dev));
        g_assert_cmpuint(info->timeout_ms / 1000, ==, rows[i].seconds);
    }
}

#define ADD(name, data, set_up_func, func)                                  \
    g_test_add("/nitro/heartbeat/" name, Fixture, data, set_up_func, func,  \
               tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    signal(SIGPIPE, SIG_IGN);

    ADD("good", NULL, set_up_listening, test_good);
    ADD("foreign", NULL, set_up_listening, test_foreign);
    ADD("nobody", NULL, set_up_listening, test_nobody);
    ADD("early", NULL, set_up, test_early);
    ADD("wrong-byte", NULL, set_up_listening, test_wrong_byte);
    ADD("hang-up", NULL, set_up_listening, test_hang_up);
    ADD("late-byte", NULL, set_up_listening, test_late_byte);
    ADD("silent", GINT_TO_POINTER(3), set_up_listening, test_silent);
    ADD("silent-many", GINT_TO_POINTER(NITRO_HEARTBEAT_MAX_PEERS + 5),
        set_up_listening, test_silent);
    ADD("timeout", NULL, set_up_listening, test_timeout);
    ADD("stop", NULL, set_up_listening, test_stop);
    ADD("again", NULL, set_up, test_again);
    ADD("reset", NULL, set_up_listening, test_reset);
    ADD("no-port", NULL, set_up, test_no_port);
    ADD("wait", NULL, set_up, test_wait);
    ADD("wait-in-vain", NULL, set_up, test_wait_in_vain);
    ADD("deadline", NULL, set_up, test_deadline);
    ADD("in-time", NULL, set_up, test_in_time);
    ADD("no-deadline", NULL, set_up, test_no_deadline);
    ADD("default-deadline", NULL, set_up, test_default_deadline);
    return g_test_run();
}
