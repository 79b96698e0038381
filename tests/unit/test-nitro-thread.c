/*
 * Nitro Enclaves: threads that may be refused
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/thread.h"
#include "system/nitro-thread.h"
#include "nitro-no-threads.h"

typedef struct Job {
    QemuSemaphore done;
    pthread_t thread;
    sigset_t blocked;
} Job;

static void *run(void *opaque)
{
    Job *job = opaque;

    job->thread = pthread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &job->blocked);
    qemu_sem_post(&job->done);
    return NULL;
}

static void assert_receives(int signal)
{
    sigset_t blocked;

    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    g_assert_cmpint(sigismember(&blocked, signal), ==, 0);
}

/* Signals handled in the main loop do not arrive elsewhere */
static void test_start(void)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGALRM };
    Job job = { };

    qemu_sem_init(&job.done, 0);
    g_assert_true(nitro_thread_start("test", run, &job, &error_abort));
    qemu_sem_wait(&job.done);
    g_assert_false(pthread_equal(job.thread, pthread_self()));
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        g_assert_cmpint(sigismember(&job.blocked, signals[i]), ==, 1);
        assert_receives(signals[i]);
    }
    qemu_sem_destroy(&job.done);
}

static void test_refused(void)
{
    Error *err = NULL;
    Job job = { };

    no_threads = true;
    g_assert_false(nitro_thread_start("test", run, &job, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "no more threads");
    assert_receives(SIGTERM);
    error_free(err);
    g_assert_false(nitro_thread_start("test", run, &job, NULL));
    no_threads = false;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nitro/thread/start", test_start);
    g_test_add_func("/nitro/thread/refused", test_refused);
    return g_test_run();
}
