/*
 * Nitro Enclaves accelerator: whole launches on a driver that is a model
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU runs with "-accel nitro" and a preloaded library in place of the
 * kernel's driver (tests/nitro/fake-ne.c, whose log says what was asked of
 * it).  vsock is made of unix sockets: DIR/9000 is where the heartbeat is
 * waited for, DIR/0-10016 where the console of CID 16 is looked for.
 */
#include "qemu/osdep.h"
#include <sys/un.h>
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "libqtest.h"

/* Requests as the log shows them */
#define PREPARED "CREATE_VM ret=0\n" \
    "GET_IMAGE_LOAD_INFO ret=0\n" \
    "SET_USER_MEMORY_REGION ret=0 size=67108864\n" \
    "ADD_VCPU ret=0\n" \
    "ADD_VCPU ret=0\n"
#define STARTED PREPARED "START_ENCLAVE ret=0 cid=16 flags=0\n"

#define NITRO "-accel nitro,device=/dev/null"

/* One QEMU run: files around it */
typedef struct Run {
    char *dir;
    char *kernel;
    char *log;                  /* the library's */
    char *err;                  /* QEMU's stderr */
    QTestState *qts;
} Run;

static char *library;

static void write_kernel(const char *path)
{
    char kernel[8192] = { };

    if (g_str_equal(qtest_get_arch(), "aarch64")) {
        memcpy(kernel + 56, "ARM\x64", 4);
    } else {
        memcpy(kernel + 0x1fe, "\x55\xaa", 2);
        memcpy(kernel + 0x202, "HdrS", 4);
    }
    g_assert(g_file_set_contents(path, kernel, sizeof(kernel), NULL));
}

static Run *run_new(void)
{
    Run *run = g_new0(Run, 1);

    run->dir = g_dir_make_tmp("nitro-accel-XXXXXX", NULL);
    g_assert_nonnull(run->dir);
    run->kernel = g_build_filename(run->dir, "kernel", NULL);
    run->log = g_build_filename(run->dir, "log", NULL);
    run->err = g_build_filename(run->dir, "err", NULL);
    write_kernel(run->kernel);
    g_assert(g_file_set_contents(run->log, "", 0, NULL));
    g_setenv("NE_FAKE_LOG", run->log, true);
    g_setenv("NE_FAKE_VSOCK", run->dir, true);
    g_setenv("LD_PRELOAD", library, true);
    return run;
}

static void run_free(Run *run)
{
    static const char *const settings[] = {
        "NE_FAKE_LOG", "NE_FAKE_FAIL", "NE_FAKE_POOL", "NE_FAKE_END_MS",
        "NE_FAKE_CID", "NE_FAKE_VSOCK", "NE_FAKE_PEER_CID", "LD_PRELOAD",
    };
    GDir *dir = g_dir_open(run->dir, 0, NULL);
    const char *name;

    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        g_unsetenv(settings[i]);
    }
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(run->dir, name, NULL);

        unlink(path);
    }
    g_dir_close(dir);
    rmdir(run->dir);
    g_free(run->kernel);
    g_free(run->log);
    g_free(run->err);
    g_free(run->dir);
    g_free(run);
}

static char *contents(const char *path)
{
    char *text;

    g_assert(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static void assert_log(Run *run, const char *expected)
{
    g_autofree char *log = contents(run->log);

    g_assert_cmpstr(log, ==, expected);
}

static void wait_log(Run *run, const char *part)
{
    bool found = false;

    for (int i = 0; i < 3000 && !found; i++) {
        g_autofree char *log = contents(run->log);

        found = strstr(log, part);
        if (!found) {
            g_usleep(10000);
        }
    }
    g_assert(found);
}

static void assert_said(Run *run, const char *part)
{
    g_autofree char *err = contents(run->err);

    if (!strstr(err, part)) {
        g_test_message("\"%s\" lacks \"%s\"", err, part);
        g_test_fail();
    }
}

static char *options(Run *run, const char *accel, const char *more)
{
    return g_strdup_printf("%s -nodefaults -M nitro,memory-backend=ram "
                           "-object memory-backend-memfd,id=ram,size=64M,"
                           "hugetlb=on,share=on -m 64M -smp 2 -kernel %s %s",
                           accel, run->kernel, more);
}

/* Start and talk QMP */
static void run_start(Run *run, const char *accel, const char *more)
{
    g_autofree char *args = options(run, accel, more);

    run->qts = qtest_initf("%s 2>%s", args, run->err);
    g_unsetenv("LD_PRELOAD");
}

static void run_quit(Run *run)
{
    qtest_quit(run->qts);
    run_free(run);
}

/* Start something that ends by itself, with this exit status */
static void run_to_end(Run *run, const char *accel, const char *more,
                        int expected)
{
    g_autofree char *args = options(run, accel, more);
    g_autofree char *command = NULL;
    int status;

    command = g_strdup_printf("exec timeout 60 %s -display none "
                              "-monitor none %s 2>%s",
                              getenv("QTEST_QEMU_BINARY"), args, run->err);
    status = system(command);
    g_assert(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, expected);
}

static char *get_string(Run *run, const char *property)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'qom-get', 'arguments': "
                             "{'path': '/machine/nitro', 'property': %s}}",
                             property);
    char *value = g_strdup(qdict_get_try_str(reply, "return"));

    qobject_unref(reply);
    return value;
}

static int64_t get_cid(Run *run)
{
    QDict *reply = qtest_qmp(run->qts, "{'execute': 'qom-get', 'arguments': "
                             "{'path': '/machine/nitro', "
                             "'property': 'enclave-cid'}}");
    int64_t cid = qdict_get_try_int(reply, "return", -1);

    qobject_unref(reply);
    return cid;
}

static void assert_state(Run *run, const char *expected)
{
    g_autofree char *state = get_string(run, "state");

    g_assert_cmpstr(state, ==, expected);
}

static void assert_qmp_error(Run *run, const char *part, const char *command)
{
    QDict *reply = qtest_qmp(run->qts, command, NULL);
    QDict *error = qdict_get_qdict(reply, "error");

    g_assert_nonnull(error);
    g_assert_nonnull(strstr(qdict_get_str(error, "desc"), part));
    qobject_unref(reply);
}

static void wait_shutdown(Run *run, const char *reason)
{
    QDict *event = qtest_qmp_eventwait_ref(run->qts, "SHUTDOWN");
    QDict *data = qdict_get_qdict(event, "data");

    g_assert_cmpstr(qdict_get_str(data, "reason"), ==, reason);
    qobject_unref(event);
}

/* Launches that succeed */

static void test_launch(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    assert_log(run, STARTED);
    assert_state(run, "started");
    g_assert_cmpint(get_cid(run), ==, 16);
    assert_qmp_error(run, "cannot change any more: the enclave is started",
                     "{'execute': 'qom-set', 'arguments': {'path': "
                     "'/machine/nitro', 'property': 'enclave-cid', "
                     "'value': 17}}");
    run_quit(run);
}

static void test_chosen(void)
{
    Run *run = run_new();

    run_start(run, NITRO ",debug-mode=on,enclave-cid=4711", "");
    assert_log(run, PREPARED "START_ENCLAVE ret=0 cid=4711 flags=1\n");
    g_assert_cmpint(get_cid(run), ==, 4711);
    run_quit(run);
}

static void test_cont(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-S");
    assert_log(run, PREPARED);
    assert_state(run, "prepared");
    g_assert_cmpint(get_cid(run), ==, 0);
    assert_qmp_error(run, "cannot change any more: the enclave is prepared",
                     "{'execute': 'qom-set', 'arguments': {'path': "
                     "'/machine/nitro', 'property': 'debug-mode', "
                     "'value': true}}");
    assert_qmp_error(run, "cannot have CID 3: it is that of the parent",
                     "{'execute': 'qom-set', 'arguments': {'path': "
                     "'/machine/nitro', 'property': 'enclave-cid', "
                     "'value': 3}}");
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    assert_log(run, STARTED);
    assert_state(run, "started");
    run_quit(run);
}

/* A second transition to running is none of the enclave's business */
static void test_stop_cont(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    qtest_qmp_assert_success(run->qts, "{'execute': 'stop'}");
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    assert_log(run, STARTED);
    run_quit(run);
}

static void test_preconfig(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "--preconfig");
    assert_log(run, "CREATE_VM ret=0\n");
    assert_state(run, "created");
    qtest_qmp_assert_success(run->qts, "{'execute': 'x-exit-preconfig'}");
    assert_log(run, STARTED);
    run_quit(run);
}

/* As libvirt has it: its own -accel first, ours later */
static void test_fallback(void)
{
    Run *run = run_new();

    run_start(run, "-accel tcg -accel kvm " NITRO ",debug-mode=on", "");
    assert_log(run, PREPARED "START_ENCLAVE ret=0 cid=16 flags=1\n");
    assert_said(run, "accelerator 'tcg' cannot run machine 'nitro', skipping");
    assert_said(run, "accelerator 'kvm' cannot run machine 'nitro', skipping");
    run_quit(run);
}

/* What libvirt wants to read of each vCPU */
static void check_vcpu(Run *run, QDict *cpu)
{
    const char *path = qdict_get_str(cpu, "qom-path");
    QDict *reply;

    g_assert_cmpint(qdict_get_int(cpu, "thread-id"), >, 0);
    if (g_str_equal(qtest_get_arch(), "x86_64")) {
        reply = qtest_qmp(run->qts, "{'execute': 'qom-get', 'arguments': "
                          "{'path': %s, 'property': 'unavailable-features'}}",
                          path);
        g_assert_nonnull(qdict_get_qlist(reply, "return"));
        qobject_unref(reply);
    }
}

/* Whoever names no accelerator, or in the old way, gets it, too */
static void test_default(const void *accel)
{
    Run *run = run_new();

    g_setenv("NE_FAKE_END_MS", "0", true);
    run_to_end(run, accel, "", 0);
    assert_said(run, "enclave with CID 16 ended after ");
    run_free(run);
}

static void test_vcpus(void)
{
    Run *run = run_new();
    const QListEntry *entry;
    QDict *reply;
    QList *cpus;

    run_start(run, NITRO, "-cpu host");
    reply = qtest_qmp(run->qts, "{'execute': 'query-cpus-fast'}");
    cpus = qdict_get_qlist(reply, "return");
    g_assert_cmpuint(qlist_size(cpus), ==, 2);
    QLIST_FOREACH_ENTRY(cpus, entry) {
        check_vcpu(run, qobject_to(QDict, qlist_entry_obj(entry)));
    }
    qobject_unref(reply);
    run_quit(run);
}

/* Devices on the bus: the hooks reach them at the right time */

static void vsock_path(Run *run, const char *name, struct sockaddr_un *un)
{
    g_autofree char *path = g_build_filename(run->dir, name, NULL);

    *un = (struct sockaddr_un) { .sun_family = AF_UNIX };
    g_assert(strlen(path) < sizeof(un->sun_path));
    memcpy(un->sun_path, path, strlen(path));
}

static int peer_connect(Run *run, const char *name)
{
    struct sockaddr_un un;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    vsock_path(run, name, &un);
    g_assert_cmpint(connect(fd, (void *)&un, sizeof(un)), ==, 0);
    return fd;
}

static int peer_listen(Run *run, const char *name)
{
    struct sockaddr_un un;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    vsock_path(run, name, &un);
    g_assert_cmpint(bind(fd, (void *)&un, sizeof(un)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

static void test_heartbeat(void)
{
    Run *run = run_new();
    char byte = '\xb7';
    int fd;

    run_start(run, NITRO, "");
    assert_state(run, "started");
    fd = peer_connect(run, "9000");
    g_assert_cmpint(write(fd, &byte, 1), ==, 1);
    g_assert_cmpint(read(fd, &byte, 1), ==, 1);
    g_assert_cmphex((uint8_t)byte, ==, 0xb7);
    /* QEMU closes after it took notice */
    g_assert_cmpint(read(fd, &byte, 1), ==, 0);
    close(fd);
    assert_state(run, "booted");
    run_quit(run);
}

static void test_foreign_heartbeat(void)
{
    Run *run = run_new();
    char byte = '\xb7';
    int fd;

    g_setenv("NE_FAKE_PEER_CID", "17", true);
    run_start(run, NITRO, "");
    fd = peer_connect(run, "9000");
    g_assert_cmpint(write(fd, &byte, 1), ==, 1);
    g_assert_cmpint(read(fd, &byte, 1), <=, 0);
    close(fd);
    assert_state(run, "started");
    run_quit(run);
}

/* The enclave's last words arrive, although QEMU ends with it */
static void test_console(void)
{
    Run *run = run_new();
    g_autofree char *more = NULL;
    g_autofree char *file = g_build_filename(run->dir, "console", NULL);
    g_autofree char *text = NULL;
    g_autofree char *block = g_strnfill(256 * 1024, 'x');
    int listener = peer_listen(run, "0-10016");
    int fd;

    g_setenv("NE_FAKE_END_MS", "300", true);
    more = g_strdup_printf("-chardev file,id=con,path=%s "
                           "-device nitro-serial-vsock,chardev=con", file);
    run_start(run, NITRO ",debug-mode=on", more);
    fd = accept(listener, NULL, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(listener);
    g_assert_cmpint(write(fd, "hello\n", 6), ==, 6);
    g_assert_cmpint(write(fd, block, strlen(block)), ==, strlen(block));
    wait_log(run, "\nend fd=");
    g_assert_cmpint(write(fd, "bye\n", 4), ==, 4);
    close(fd);
    qtest_wait_qemu(run->qts);

    text = contents(file);
    g_assert_cmpuint(strlen(text), ==, 6 + 256 * 1024 + 4);
    g_assert(g_str_has_prefix(text, "hello\nxxx"));
    g_assert(g_str_has_suffix(text, "xxxbye\n"));
    run_quit(run);
}

/* A console that is never closed delays the end, but not for ever */
static void test_endless_console(void)
{
    Run *run = run_new();
    g_autofree char *more = NULL;
    int listener = peer_listen(run, "0-10016");
    int64_t start;
    int fd;

    g_setenv("NE_FAKE_END_MS", "100", true);
    more = g_strdup_printf("-chardev null,id=con "
                           "-device nitro-serial-vsock,chardev=con");
    run_start(run, NITRO ",debug-mode=on", more);
    fd = accept(listener, NULL, NULL);
    start = g_get_monotonic_time();
    qtest_wait_qemu(run->qts);
    g_assert_cmpint(g_get_monotonic_time() - start, <, 20 * G_USEC_PER_SEC);
    close(fd);
    close(listener);
    run_quit(run);
}

static void test_port_taken(void)
{
    Run *run = run_new();
    int listener = peer_listen(run, "9000");

    run_to_end(run, NITRO, "", 1);
    assert_said(run, "cannot listen on vsock port 9000: Address already in");
    assert_log(run, PREPARED "close\n");
    close(listener);
    run_free(run);
}

/* The end */

static void test_exit(void)
{
    Run *run = run_new();

    g_setenv("NE_FAKE_END_MS", "200", true);
    run_start(run, NITRO, "-action shutdown=pause");
    wait_shutdown(run, "guest-shutdown");
    assert_state(run, "exited");
    assert_said(run, "enclave with CID 16 ended after ");
    assert_said(run, " s, before its heartbeat");
    run_quit(run);
}

static void test_exit_status(void)
{
    Run *run = run_new();

    g_setenv("NE_FAKE_END_MS", "0", true);
    run_to_end(run, NITRO, "", 0);
    assert_said(run, "enclave with CID 16 ended after ");
    run_free(run);
}

static void test_quit_closes(void)
{
    Run *run = run_new();
    g_autofree char *log = NULL;

    run_start(run, NITRO, "");
    kill(qtest_pid(run->qts), SIGTERM);
    qtest_wait_qemu(run->qts);
    log = contents(run->log);
    g_assert_cmpstr(log, ==, STARTED "close\n");
    run_quit(run);
}

static void test_powerdown(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-action shutdown=pause");
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_powerdown'}");
    wait_shutdown(run, "guest-shutdown");
    run_quit(run);
}

static void test_reset(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "-action shutdown=pause");
    qtest_qmp_assert_success(run->qts, "{'execute': 'system_reset'}");
    wait_shutdown(run, "host-qmp-system-reset");
    assert_said(run, "cpus are not resettable, terminating");
    run_quit(run);
}

/* Launches that fail: nothing stays behind, the message tells all */

static const struct Failure {
    const char *path;
    const char *fail;           /* NE_FAKE_FAIL */
    const char *accel;
    const char *more;
    const char *message;
    const char *hint;
} failures[] = {
    { "create", "0x20:1:272", NITRO, "",
      "cannot create an enclave: the enclave CPU pool is empty or wholly in "
      "use (NE_CREATE_VM: NE_ERR_NO_CPUS_AVAIL_IN_POOL, error 272)",
      "Raise cpu_count in /etc/nitro_enclaves/allocator.yaml" },
    { "create-timeout", "0x20:1:110", NITRO, "",
      "(NE_CREATE_VM: Connection timed out, error 110)", "Launch again" },
    { "load-info", "0x22:1:274", NITRO, "",
      "cannot learn where the image belongs: the driver does not know the "
      "flags", "Update the kernel" },
    { "memory", "0x23:1:263", NITRO, "",
      "cannot donate 64 MiB of RAM to the enclave: the memory is not backed "
      "by huge pages", "hugetlb=on" },
    { "vcpu", "0x21:2:272", NITRO, "",
      "cannot add vCPU 2 of 2: the enclave CPU pool has no free CPU left",
      "Lower -smp" },
    { "start", "0x24:1:269", NITRO, "",
      "cannot start the enclave (2 vCPUs, 64 MiB, CID 0 = automatic): the "
      "vCPUs are not a whole number of CPU cores", "-smp 2 or -smp 4" },
    { "start-cid", "0x24:1:17", NITRO ",enclave-cid=20", "",
      "cannot start the enclave (2 vCPUs, 64 MiB, CID 20): another enclave "
      "has this CID", "Use enclave-cid=0" },
    { "no-device", NULL, "-accel nitro,device=/nonexistent/ne", "",
      "cannot open /nonexistent/ne: No such file or directory",
      "modprobe nitro_enclaves" },
    { "cid", NULL, NITRO ",enclave-cid=3", "",
      "an enclave cannot have CID 3: it is that of the parent instance",
      "Use a number from 4 to 4294967294" },
    { "large-cid", NULL, NITRO ",enclave-cid=4294967296", "",
      "cannot have CID 4294967296: it does not fit in 32 bits", "or 0 to let" },
    { "incoming", NULL, NITRO, "-incoming defer",
      "a Nitro enclave cannot be migrated", "" },
    { "only-migratable", NULL, NITRO, "-only-migratable",
      "a Nitro enclave can be neither saved nor migrated", "" },
    { "tcg", NULL, "-accel tcg", "",
      "accelerator 'tcg' cannot run machine 'nitro'",
      "Machine 'nitro' needs -accel nitro" },
    { "other-machine", NULL, NITRO, "-M none -smp 1",
      "accelerator 'nitro' cannot run machine 'none'",
      "Use -M nitro with -accel nitro" },
};

static void test_failure(const void *opaque)
{
    const struct Failure *failure = opaque;
    Run *run = run_new();
    g_autofree char *log = NULL;

    if (failure->fail) {
        g_setenv("NE_FAKE_FAIL", failure->fail, true);
    }
    run_to_end(run, failure->accel, failure->more, 1);
    assert_said(run, failure->message);
    assert_said(run, failure->hint);
    log = contents(run->log);
    /* An enclave that was created was closed */
    g_assert_cmpint(g_str_has_prefix(log, "CREATE_VM ret=0\n"), ==,
                    g_str_has_suffix(log, "close\n"));
    run_free(run);
}

static void test_reported_cid(void)
{
    Run *run = run_new();

    g_setenv("NE_FAKE_CID", "0", true);
    run_to_end(run, NITRO, "", 1);
    assert_said(run, "the hypervisor reported CID 0, which no enclave can");
    run_free(run);
}

/* "cont" itself cannot fail: QEMU reports and shuts down with status 1 */
static void test_failed_cont(void)
{
    Run *run = run_new();

    g_setenv("NE_FAKE_FAIL", "0x24:1:22", true);
    run_start(run, NITRO, "-S");
    qtest_set_expected_status(run->qts, 1);
    qtest_qmp_assert_success(run->qts, "{'execute': 'cont'}");
    wait_shutdown(run, "host-error");
    qtest_wait_qemu(run->qts);
    assert_said(run, "the hypervisor does not take the image");
    assert_log(run, PREPARED "START_ENCLAVE ret=-22 cid=0 flags=0\nclose\n");
    run_quit(run);
}

static void test_migrate(void)
{
    Run *run = run_new();

    run_start(run, NITRO, "");
    assert_qmp_error(run, "a Nitro enclave can be neither saved nor migrated",
                     "{'execute': 'migrate', 'arguments': "
                     "{'uri': 'exec:cat >/dev/null'}}");
    run_quit(run);
}

static char *find_library(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = g_path_get_dirname(self);

    return g_build_filename(dir, "nitro", "fake-ne.so", NULL);
}

/* In a sanitizer build the library comes before the sanitizer's own */
static void preload_before_sanitizers(void)
{
    const char *before = getenv("ASAN_OPTIONS");
    g_autofree char *options =
        g_strdup_printf("%s%sverify_asan_link_order=0", before ?: "",
                        before ? ":" : "");

    g_setenv("ASAN_OPTIONS", options, true);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_accel("nitro")) {
        g_test_message("%s has no accelerator nitro",
                       getenv("QTEST_QEMU_BINARY"));
        return 0;
    }
    library = find_library();
    g_assert(g_file_test(library, G_FILE_TEST_IS_REGULAR));
    preload_before_sanitizers();

    qtest_add_func("/nitro/accel/launch", test_launch);
    qtest_add_func("/nitro/accel/chosen", test_chosen);
    qtest_add_func("/nitro/accel/cont", test_cont);
    qtest_add_func("/nitro/accel/stop-cont", test_stop_cont);
    qtest_add_func("/nitro/accel/preconfig", test_preconfig);
    qtest_add_func("/nitro/accel/fallback", test_fallback);
    qtest_add_data_func("/nitro/accel/default", "", test_default);
    qtest_add_data_func("/nitro/accel/machine-accel", "-machine accel=nitro",
                        test_default);
    qtest_add_func("/nitro/accel/vcpus", test_vcpus);
    qtest_add_func("/nitro/accel/heartbeat", test_heartbeat);
    qtest_add_func("/nitro/accel/foreign-heartbeat", test_foreign_heartbeat);
    qtest_add_func("/nitro/accel/console", test_console);
    qtest_add_func("/nitro/accel/endless-console", test_endless_console);
    qtest_add_func("/nitro/accel/port-taken", test_port_taken);
    qtest_add_func("/nitro/accel/exit", test_exit);
    qtest_add_func("/nitro/accel/exit-status", test_exit_status);
    qtest_add_func("/nitro/accel/quit-closes", test_quit_closes);
    qtest_add_func("/nitro/accel/powerdown", test_powerdown);
    qtest_add_func("/nitro/accel/reset", test_reset);
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
        g_autofree char *path = g_strconcat("/nitro/accel/failure/",
                                            failures[i].path, NULL);

        qtest_add_data_func(path, &failures[i], test_failure);
    }
    qtest_add_func("/nitro/accel/reported-cid", test_reported_cid);
    qtest_add_func("/nitro/accel/failed-cont", test_failed_cont);
    qtest_add_func("/nitro/accel/migrate", test_migrate);
    return g_test_run();
}
