/*
 * Nitro Enclaves accelerator: a QEMU on a driver that is a model
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/un.h>
#include "qobject/qdict.h"
#include "nitro-accel-util.h"
#include "nitro-launch-util.h"
#include "tests/nitro/patience.h"
#include "tests/nitro/temp-tree.h"

static char *library;

Run *run_new(void)
{
    Run *run = g_new0(Run, 1);
    char kernel[8192] = { };

    run->dir = g_dir_make_tmp("nitro-accel-XXXXXX", NULL);
    g_assert_nonnull(run->dir);
    run->kernel = g_build_filename(run->dir, "kernel", NULL);
    run->log = g_build_filename(run->dir, "log", NULL);
    run->err = g_build_filename(run->dir, "err", NULL);
    run->end = g_build_filename(run->dir, "end", NULL);
    run->sys = g_build_filename(run->dir, "sys", NULL);
    run->smp = "-smp 2";
    run->memory = "-M nitro,memory-backend=ram -m 64M -object "
                  "memory-backend-memfd,id=ram,size=64M,hugetlb=on,share=on";
    write_kernel(run->kernel, kernel, sizeof(kernel));
    g_assert(g_file_set_contents(run->log, "", 0, NULL));
    g_setenv("NE_FAKE_LOG", run->log, true);
    g_setenv("NE_FAKE_VSOCK", run->dir, true);
    g_setenv("NE_FAKE_END", run->end, true);
    g_setenv("LD_PRELOAD", library, true);
    return run;
}

void put_sys(Run *run, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(run->sys, name, NULL);
    g_autofree char *dir = g_path_get_dirname(path);

    g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
    g_assert(g_file_set_contents(path, text, -1, NULL));
    g_setenv("NE_FAKE_SYS", run->sys, true);
}

void run_free(Run *run)
{
    static const char *const settings[] = {
        "NE_FAKE_LOG", "NE_FAKE_FAIL", "NE_FAKE_POOL", "NE_FAKE_END",
        "NE_FAKE_CID", "NE_FAKE_VSOCK", "NE_FAKE_PEER_CID", "NE_FAKE_SYS",
        "NE_FAKE_LATE", "NE_FAKE_HOLD", "NE_FAKE_HOLD_START",
        "NE_FAKE_THREADS", "LD_PRELOAD",
    };

    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        g_unsetenv(settings[i]);
    }
    temp_tree_remove(run->dir);
    g_free(run->kernel);
    g_free(run->log);
    g_free(run->err);
    g_free(run->end);
    g_free(run->sys);
    g_free(run->dir);
    g_free(run);
}

static char *hold_path(Run *run)
{
    return g_build_filename(run->dir, "hold", NULL);
}

static void hold(Run *run, const char *variable)
{
    g_autofree char *path = hold_path(run);

    g_assert(g_file_set_contents(path, "", 0, NULL));
    g_setenv(variable, path, true);
}

void hold_close(Run *run)
{
    hold(run, "NE_FAKE_HOLD");
}

void hold_start(Run *run)
{
    hold(run, "NE_FAKE_HOLD_START");
}

void let_go_on(Run *run)
{
    g_autofree char *path = hold_path(run);

    g_assert_cmpint(unlink(path), ==, 0);
}

void end_enclave(Run *run)
{
    g_assert(g_file_set_contents(run->end, "", 0, NULL));
}

void end_enclave_with(Run *run, unsigned cid)
{
    g_autofree char *text = g_strdup_printf("%u", cid);

    g_assert(g_file_set_contents(run->end, text, -1, NULL));
}

char *contents(const char *path)
{
    char *text;

    g_assert(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

void assert_log(Run *run, const char *expected)
{
    g_autofree char *log = contents(run->log);

    g_assert_cmpstr(log, ==, expected);
}

static bool file_has(const char *path, const char *part)
{
    g_autofree char *text = contents(path);

    return strstr(text, part);
}

void wait_log(Run *run, const char *part)
{
    poll_until(file_has(run->log, part));
}

static unsigned count_starts(Run *run)
{
    g_autofree char *log = contents(run->log);

    return count_parts(log, "START_ENCLAVE ret=0");
}

static int64_t count_launches(Run *run)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'query-nitro-enclave'}");
    int64_t count = qdict_get_int(qdict_get_qdict(reply, "return"),
                                  "launches");

    qobject_unref(reply);
    return count;
}

void wait_starts(Run *run, unsigned count)
{
    poll_until(count_launches(run) >= count);
    g_assert_cmpuint(count_starts(run), ==, count);
}

void assert_said(Run *run, const char *part)
{
    g_autofree char *err = contents(run->err);

    if (!strstr(err, part)) {
        g_test_message("\"%s\" lacks \"%s\"", err, part);
        g_test_fail();
    }
}

static char *options(Run *run, const char *accel, const char *more)
{
    return g_strdup_printf("%s -nodefaults %s %s -kernel %s %s", accel,
                           run->memory, run->smp, run->kernel, more);
}

void run_start(Run *run, const char *accel, const char *more)
{
    g_autofree char *args = options(run, accel, more);

    run->qts = qtest_initf("%s 2>%s", args, run->err);
    g_unsetenv("LD_PRELOAD");
}

void run_continue(Run *run)
{
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
}

void run_quit(Run *run)
{
    qtest_quit(run->qts);
    run_free(run);
}

void run_to_end(Run *run, const char *accel, const char *more, int expected)
{
    g_autofree char *args = options(run, accel, more);
    g_autofree char *command = NULL;
    int status;

    command = g_strdup_printf("exec timeout " PATIENCE_WORD
                              " %s -display none "
                              "-monitor none %s 2>%s",
                              getenv("QTEST_QEMU_BINARY"), args, run->err);
    status = system(command);
    g_assert(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, expected);
}

static char *get_string_at(Run *run, const char *path, const char *property)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'qom-get', 'arguments': "
                             "{'path': %s, 'property': %s}}", path, property);
    char *value = g_strdup(qdict_get_try_str(reply, "return"));

    qobject_unref(reply);
    return value;
}

char *get_string(Run *run, const char *property)
{
    return get_string_at(run, "/machine/nitro", property);
}

int64_t get_number(Run *run, const char *property)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'qom-get', 'arguments': "
                             "{'path': '/machine/nitro', 'property': %s}}",
                             property);
    int64_t value = qdict_get_try_int(reply, "return", -1);

    qobject_unref(reply);
    return value;
}

int64_t get_cid(Run *run)
{
    return get_number(run, "enclave-cid");
}

void assert_state(Run *run, const char *expected)
{
    g_autofree char *state = get_string(run, "state");

    g_assert_cmpstr(state, ==, expected);
}

static bool has_state(Run *run, const char *expected)
{
    g_autofree char *state = get_string(run, "state");

    return g_str_equal(state, expected);
}

void wait_state(Run *run, const char *expected)
{
    poll_until(has_state(run, expected));
}

void assert_heartbeat(Run *run, const char *expected)
{
    g_autofree char *state = get_string_at(run, "/machine/nitro-heartbeat",
                                           "state");

    g_assert_cmpstr(state, ==, expected);
}

void assert_qmp_error(Run *run, const char *part, const char *command)
{
    QDict *reply = qtest_qmp(run->qts, command, NULL);
    QDict *error = qdict_get_qdict(reply, "error");

    g_assert_nonnull(error);
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), part));
    qobject_unref(reply);
}

void wait_shutdown(Run *run, const char *reason)
{
    QDict *event = qtest_qmp_eventwait_ref(run->qts, "SHUTDOWN");
    QDict *data = qdict_get_qdict(event, "data");

    g_assert_cmpstr(qdict_get_str(data, "reason"), ==, reason);
    qobject_unref(event);
}

void assert_runstate(Run *run, const char *expected)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'query-status'}");
    QDict *status = qdict_get_qdict(reply, "return");

    g_assert_cmpstr(qdict_get_str(status, "status"), ==, expected);
    qobject_unref(reply);
}

/* QEMU ends with this status */
void assert_ends(Run *run, int status)
{
    qtest_set_expected_status(run->qts, status);
    qtest_wait_qemu(run->qts);
}

void wait_panic(Run *run, const char *action)
{
    QDict *event = qtest_qmp_eventwait_ref(run->qts, "GUEST_PANICKED");
    QDict *data = qdict_get_qdict(event, "data");

    g_assert_cmpstr(qdict_get_str(data, "action"), ==, action);
    qobject_unref(event);
}

unsigned times_said(Run *run, const char *part)
{
    g_autofree char *err = contents(run->err);

    return count_parts(err, part);
}

void wait_said(Run *run, const char *part)
{
    poll_until(file_has(run->err, part));
}

static void vsock_path(Run *run, const char *name, struct sockaddr_un *un)
{
    g_autofree char *path = g_build_filename(run->dir, name, NULL);

    *un = (struct sockaddr_un) { .sun_family = AF_UNIX };
    g_assert(strlen(path) < sizeof(un->sun_path));
    memcpy(un->sun_path, path, strlen(path));
}

int peer_connect(Run *run, const char *name)
{
    struct sockaddr_un un;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    vsock_path(run, name, &un);
    poll_until(connect(fd, (void *)&un, sizeof(un)) == 0);
    return fd;
}

int peer_listen(Run *run, const char *name)
{
    struct sockaddr_un un;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    vsock_path(run, name, &un);
    g_assert_cmpint(bind(fd, (void *)&un, sizeof(un)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

void send_heartbeat(Run *run)
{
    char byte = '\xb7';
    int fd = peer_connect(run, "9000");

    g_assert_cmpint(write(fd, &byte, 1), ==, 1);
    g_assert_cmpint(read(fd, &byte, 1), ==, 1);
    g_assert_cmphex((uint8_t)byte, ==, 0xb7);
    /* QEMU closes after it took notice */
    g_assert_cmpint(read(fd, &byte, 1), ==, 0);
    close(fd);
}

bool run_prepare(void)
{
    g_autofree char *asan_options = fake_driver_asan_options();

    if (!qtest_has_accel("nitro")) {
        g_test_message("%s has no accelerator nitro",
                       getenv("QTEST_QEMU_BINARY"));
        return false;
    }
    library = fake_driver();
    g_assert(g_file_test(library, G_FILE_TEST_IS_REGULAR));
    g_setenv("ASAN_OPTIONS", asan_options, true);
    return true;
}
