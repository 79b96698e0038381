/*
 * Nitro Enclaves accelerator: what the monitor can and cannot do
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whatever is asked, the enclave runs on and the driver hears nothing of it.
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "nitro-accel-util.h"
#include "tests/nitro/patience.h"

#define HIDDEN "the hypervisor hides the memory, the CPUs and the devices of " \
    "an enclave"
#define SAVED "a Nitro enclave can be neither saved nor migrated"

static Run *start(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    assert_state(run, "started");
    return run;
}

static void end(Run *run)
{
    assert_state(run, "started");
    assert_log(run, STARTED);
    run_quit(run);
}

static const struct {
    const char *command;        /* FILE stands for a file to write */
    const char *reason;
} qmp[] = {
    { "{'execute': 'pmemsave', 'arguments': "
      "{'val': 0, 'size': 4096, 'filename': 'FILE'}}", HIDDEN },
    { "{'execute': 'memsave', 'arguments': "
      "{'val': 0, 'size': 4096, 'filename': 'FILE'}}", HIDDEN },
    { "{'execute': 'dump-guest-memory', 'arguments': "
      "{'paging': false, 'protocol': 'file:FILE'}}", HIDDEN },
    { "{'execute': 'calc-dirty-rate', 'arguments': {'calc-time': 1}}",
      HIDDEN },
    { "{'execute': 'inject-nmi'}", HIDDEN },
    { "{'execute': 'migrate', 'arguments': {'uri': 'file:FILE'}}", SAVED },
    { "{'execute': 'device_add', 'arguments': "
      "{'driver': 'nitro-heartbeat', 'id': 'h'}}",
      "does not support hotplugging" },
    { "{'execute': 'device_del', 'arguments': "
      "{'id': '/machine/nitro-heartbeat'}}", "does not support hotplugging" },
    { "{'execute': 'balloon', 'arguments': {'value': 33554432}}",
      "No balloon device" },
    { "{'execute': 'object-del', 'arguments': {'id': 'ram'}}", "in use" },
};

static void test_qmp(void)
{
    Run *run = start();
    g_autofree char *file = g_build_filename(run->dir, "file", NULL);

    for (size_t i = 0; i < ARRAY_SIZE(qmp); i++) {
        g_auto(GStrv) parts = g_strsplit(qmp[i].command, "FILE", 2);
        g_autofree char *command = g_strjoinv(file, parts);

        assert_qmp_error(run, qmp[i].reason, command);
        g_assert_false(g_file_test(file, G_FILE_TEST_EXISTS));
    }
    end(run);
}

static const struct {
    const char *command;
    const char *said;
} hmp[] = {
    { "x /4x 0", HIDDEN }, { "xp /4x 0", HIDDEN }, { "sum 0 4096", HIDDEN },
    { "memsave 0 4096 \"FILE\"", HIDDEN },
    { "pmemsave 0 4096 \"FILE\"", HIDDEN },
    { "dump-guest-memory FILE", HIDDEN }, { "calc_dirty_rate 1", HIDDEN },
    { "gpa2hva 0", HIDDEN }, { "gva2gpa 0", HIDDEN },
    { "print 1", HIDDEN }, { "p 1", HIDDEN },
    { "info registers", HIDDEN }, { "info registers -a", HIDDEN },
    { "nmi", HIDDEN },
    { "savevm one", SAVED }, { "migrate -d file:FILE", SAVED },
    { "gdbserver tcp:127.0.0.1:0", "doesn't support guest debugging" },
    { "device_add nitro-heartbeat", "does not support hotplugging" },
    { "info stats vcpu", "" }, { "info stats vm", "" },
};

static void assert_hmp(Run *run, const char *command, const char *part)
{
    g_autofree char *said = qtest_hmp(run->qts, "%s", command);

    if (!strstr(said, part)) {
        g_test_message("%s: \"%s\" lacks \"%s\"", command, said, part);
        g_test_fail();
    }
}

static void test_hmp(void)
{
    Run *run = start();
    g_autofree char *file = g_build_filename(run->dir, "file", NULL);

    for (size_t i = 0; i < ARRAY_SIZE(hmp); i++) {
        g_auto(GStrv) parts = g_strsplit(hmp[i].command, "FILE", 2);
        g_autofree char *command = g_strjoinv(file, parts);

        assert_hmp(run, command, hmp[i].said);
        g_assert_false(g_file_test(file, G_FILE_TEST_EXISTS));
    }
    if (g_str_equal(qtest_get_arch(), "x86_64")) {
        assert_hmp(run, "info lapic", HIDDEN);
        assert_hmp(run, "info tlb", HIDDEN);
        assert_hmp(run, "info mem", HIDDEN);
        assert_hmp(run, "mce 0 0 0 0 0 0", HIDDEN);
        assert_hmp(run, "i /b 0x60", HIDDEN);
        assert_hmp(run, "o /b 0x60 0", HIDDEN);
    }
    end(run);
}

/* "info NAME|ALIAS [arguments] -- help", one per line */
static void test_all_info(void)
{
    Run *run = start();
    g_autofree char *help = qtest_hmp(run->qts, "help info");
    g_auto(GStrv) lines = g_strsplit(help, "\n", -1);
    unsigned count = 0;

    for (char **line = lines; *line; line++) {
        g_auto(GStrv) words = g_strsplit_set(g_strstrip(*line), " |\r", 3);

        if (words[0] && words[1] && g_str_equal(words[0], "info")) {
            g_autofree char *said = qtest_hmp(run->qts, "info %s", words[1]);

            count++;
        }
    }
    g_assert_cmpuint(count, >, 40);
    end(run);
}

/* With and without success: QEMU is still there afterwards */
static void test_all_queries(void)
{
    Run *run = start();
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'query-commands'}");
    const QListEntry *entry;
    unsigned count = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(reply, "return"), entry) {
        QDict *command = qobject_to(QDict, qlist_entry_obj(entry));
        const char *name = qdict_get_str(command, "name");

        if (strstr(name, "query-")) {
            QDict *answer = qtest_qmp(run->qts, "{'execute': %s}", name);

            g_assert(qdict_haskey(answer, "return") ||
                     qdict_haskey(answer, "error"));
            qobject_unref(answer);
            count++;
        }
    }
    qobject_unref(reply);
    g_assert_cmpuint(count, >, 40);
    end(run);
}

/* As an observer of statistics asks */
static void test_stats(void)
{
    static const char *const targets[] = { "vm", "vcpu", "cryptodev" };
    Run *run = start();

    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        QDict *reply = qtest_qmp(run->qts, "{'execute': 'query-stats', "
                                 "'arguments': {'target': %s}}", targets[i]);

        g_assert_nonnull(qdict_get_qlist(reply, "return"));
        qobject_unref(reply);
    }
    end(run);
}

/* The job starts, and ends with the reason */
/* Why the first job has failed, once it has */
static char *job_error(Run *run)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'query-jobs'}");
    QList *jobs = qdict_get_qlist(reply, "return");
    QDict *job = qobject_to(QDict, qlist_peek(jobs));
    char *error = NULL;

    if (g_str_equal(qdict_get_str(job, "status"), "concluded")) {
        error = g_strdup(qdict_get_str(job, "error"));
    }
    qobject_unref(reply);
    return error;
}

static void test_snapshot(void)
{
    Run *run = start();
    g_autofree char *reason = NULL;

    qtest_qmp_assert_success(run->qts, "{'execute': 'snapshot-save', "
                             "'arguments': {'job-id': 'job', 'tag': 'one', "
                             "'vmstate': 'disk', 'devices': ['disk']}}");
    poll_until((reason = job_error(run)));
    g_assert_cmpstr(reason, ==, SAVED);
    end(run);
}

void add_monitor_tests(void)
{
    qtest_add_func("/nitro/accel/monitor/qmp", test_qmp);
    qtest_add_func("/nitro/accel/monitor/hmp", test_hmp);
    qtest_add_func("/nitro/accel/monitor/snapshot", test_snapshot);
    qtest_add_func("/nitro/accel/monitor/all-info", test_all_info);
    qtest_add_func("/nitro/accel/monitor/all-queries", test_all_queries);
    qtest_add_func("/nitro/accel/monitor/stats", test_stats);
}
