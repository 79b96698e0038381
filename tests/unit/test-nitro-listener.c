/*
 * Unit tests of the hypervisor's listening sockets
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include "qapi/error.h"
#include "qemu/sockets.h"
#include "contrib/nitro-hypervisor/listener.h"
#include "tests/nitro/error-text.h"
#include "tests/nitro/fixture.h"
#include "tests/nitro/patience.h"

#define MANY 1000

typedef struct Fixture {
    char *dir, *path;
    NhvListener *listener;
    unsigned int accepted;
} Fixture;

static void accepted(void *opaque, int fd)
{
    Fixture *f = opaque;

    f->accepted++;
    close(fd);
}

static void setup(Fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("nitro-listener-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "sock", NULL);
    f->listener = nhv_listener_new(f->path, accepted, f, &error_abort);
}

static void teardown(Fixture *f, gconstpointer data)
{
    nhv_listener_free(f->listener);
    g_assert_cmpint(rmdir(f->dir), ==, 0);
    g_free(f->path);
    g_free(f->dir);
}

/* Returns how often somebody had something to do, MANY at most */
static unsigned int run(void)
{
    unsigned int n = 0;

    while (n < MANY && g_main_context_iteration(NULL, FALSE)) {
        n++;
    }
    return n;
}

static gboolean time_is_up(gpointer opaque)
{
    g_error("nobody was accepted within %d s", PATIENCE_S);
    return G_SOURCE_REMOVE;
}

static void wait_accepted(Fixture *f, unsigned int count)
{
    guint timer = g_timeout_add_seconds(PATIENCE_S, time_is_up, NULL);

    while (f->accepted < count) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(timer);
}

/* As many descriptors as there are now; returns how many there were before */
static rlim_t permit_no_more(void)
{
    int next = dup(STDERR_FILENO);
    struct rlimit limit;
    rlim_t before;

    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    close(next);
    before = limit.rlim_cur;
    limit.rlim_cur = next;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    return before;
}

static void permit(rlim_t number)
{
    struct rlimit limit;

    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    limit.rlim_cur = number;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
}

static void test_one_at_a_time(Fixture *f, gconstpointer data)
{
    int first = unix_connect(f->path, &error_abort);
    int second = unix_connect(f->path, &error_abort);

    wait_accepted(f, 1);
    run();
    g_assert_cmpuint(f->accepted, ==, 1);
    nhv_listener_resume(f->listener);
    nhv_listener_resume(f->listener);
    wait_accepted(f, 2);
    close(first);
    close(second);
}

/* A peer that cannot be accepted waits, without a busy loop or many words */
static void test_no_descriptors(Fixture *f, gconstpointer data)
{
    int peer = unix_connect(f->path, &error_abort);
    rlim_t before = permit_no_more();
    g_autofree char *text = NULL;
    unsigned int steps;

    error_text_begin();
    steps = run();
    text = error_text_end();
    permit(before);
    g_assert_cmpuint(f->accepted, ==, 0);
    g_assert_cmpuint(steps, <, 10);
    assert_contains(text, "warning: cannot accept a connection on ");
    assert_contains(text, "/sock: Too many open files\n");
    g_assert_cmpuint(strcspn(text, "\n"), ==, strlen(text) - 1);
    wait_accepted(f, 1);
    close(peer);
}

/* It goes away while it waits */
static void test_free_waiting(Fixture *f, gconstpointer data)
{
    int peer = unix_connect(f->path, &error_abort);
    rlim_t before = permit_no_more();

    error_text_quiet = true;
    run();
    error_text_quiet = false;
    nhv_listener_free(f->listener);
    f->listener = NULL;
    permit(before);
    g_assert_cmpuint(run(), ==, 0);
    close(peer);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "/nitro/listener/one-at-a-time", test_one_at_a_time },
        { "/nitro/listener/no-descriptors", test_no_descriptors },
        { "/nitro/listener/free-waiting", test_free_waiting },
    };

    g_test_init(&argc, &argv, NULL);
    ADD_FIXTURE_TESTS(tests, Fixture);
    return g_test_run();
}
