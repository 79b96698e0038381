/*
 * Nitro Enclaves: machine, vsock bus and devices
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What can be built is looked at over QMP with "-accel qtest"; where only
 * "-accel nitro" looks at it, a library takes the place of the driver
 * (tests/nitro/fake-ne.c).  No enclave is started here.  What cannot be built
 * is in nitro-machine-refusal-tests.c.
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "libqtest.h"
#include "qobject/qbool.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "qobject/qnum.h"
#include "qobject/qstring.h"
#include "qemu/units.h"
#include "nitro-launch-util.h"
#include "nitro-machine-util.h"
#include "tests/nitro/eif-maker.h"

#define LOAD_OFFSET (8 * MiB)
#define HUGE_PAGES "-M nitro,memory-backend=ram -m 64M " \
    "-object memory-backend-memfd,hugetlb=on,id=ram,size=64M"

/* More than a thread reads at a time */
#define SPARSE_SIZE (20 * MiB)

/* QMP */

static QTestState *start(const char *options)
{
    g_autofree char *all = nitro_machine_options(options);

    return qtest_initf("-M nitro %s", all);
}

static QObject *get(QTestState *qts, const char *path, const char *property)
{
    QDict *reply = qtest_qmp(qts, "{'execute': 'qom-get', 'arguments': "
                             "{'path': %s, 'property': %s}}", path, property);
    QObject *value = qdict_get(reply, "return");

    qobject_ref(value);
    qobject_unref(reply);
    return value;
}

static void assert_string(QTestState *qts, const char *path,
                          const char *property, const char *expected)
{
    QObject *value = get(qts, path, property);

    g_assert_nonnull(value);
    g_assert_cmpstr(qstring_get_str(qobject_to(QString, value)), ==, expected);
    qobject_unref(value);
}

static void assert_absent(QTestState *qts, const char *path)
{
    g_assert_null(get(qts, path, "type"));
}

/* The bridge is where we and where QEMU 11 document it */
static void assert_no_enclave(QTestState *qts)
{
    const char *const places[] = {
        "/machine/nitro-vsock", "/machine/peripheral/nitro-vsock",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        QObject *cid = get(qts, places[i], "enclave-cid");

        g_assert_nonnull(cid);
        g_assert_cmpint(qnum_get_int(qobject_to(QNum, cid)), ==, 0);
        qobject_unref(cid);
    }
}

/* Devices */

static void test_defaults(void)
{
    QTestState *qts = start("-serial null");

    assert_no_enclave(qts);
    assert_string(qts, "/machine/nitro-heartbeat", "state", "idle");
    assert_string(qts, "/machine/nitro-serial-vsock", "state", "idle");
    assert_string(qts, "/machine/nitro-serial-vsock", "chardev", "serial0");
    assert_string(qts, "/machine", "heartbeat", "auto");
    qtest_quit(qts);
}

static void test_nodefaults(void)
{
    QTestState *qts = start("-nodefaults");

    assert_no_enclave(qts);
    assert_string(qts, "/machine/nitro-heartbeat", "state", "idle");
    assert_absent(qts, "/machine/nitro-serial-vsock");
    qtest_quit(qts);
}

static void test_given(void)
{
    QTestState *qts = start("-nodefaults -chardev null,id=c "
                            "-device nitro-heartbeat,id=hb "
                            "-device nitro-serial-vsock,chardev=c,id=con");

    assert_no_enclave(qts);
    assert_string(qts, "/machine/peripheral/hb", "state", "idle");
    assert_string(qts, "/machine/peripheral/con", "state", "idle");
    assert_absent(qts, "/machine/nitro-heartbeat");
    assert_absent(qts, "/machine/nitro-serial-vsock");
    qtest_quit(qts);
}

/* The way management software writes it */
static void test_json(void)
{
    QTestState *qts = start("-nodefaults -boot strict=on "
                            "-chardev pty,id=charserial0 -device "
                            "'{\"chardev\":\"charserial0\",\"id\":\"serial0\","
                            "\"driver\":\"nitro-serial-vsock\"}'");

    assert_string(qts, "/machine/peripheral/serial0", "chardev",
                  "charserial0");
    assert_string(qts, "/machine/nitro-heartbeat", "state", "idle");
    qtest_quit(qts);
}

static void test_heartbeat_off(void)
{
    QTestState *qts = start("-M heartbeat=off");

    assert_string(qts, "/machine", "heartbeat", "off");
    assert_absent(qts, "/machine/nitro-heartbeat");
    qtest_quit(qts);

    qts = start("-M heartbeat=off -device nitro-heartbeat,id=hb");
    assert_string(qts, "/machine/peripheral/hb", "state", "idle");
    qtest_quit(qts);
}

static void test_hotplug(void)
{
    QTestState *qts = start("-M heartbeat=off");
    QDict *reply = qtest_qmp(qts, "{'execute': 'device_add', 'arguments': "
                             "{'driver': 'nitro-heartbeat', 'id': 'hb'}}");

    g_assert_nonnull(strstr(qdict_get_str(qdict_get_qdict(reply, "error"),
                                          "desc"), "hotplug"));
    qobject_unref(reply);
    assert_absent(qts, "/machine/peripheral/hb");
    qtest_quit(qts);
}

/* Machine */

static void test_vcpus(void)
{
    QTestState *qts = start("-smp 3");
    QDict *reply = qtest_qmp(qts, "{'execute': 'query-cpus-fast'}");
    QList *cpus = qdict_get_qlist(reply, "return");
    const QListEntry *entry;

    g_assert_cmpint(qlist_size(cpus), ==, 3);
    QLIST_FOREACH_ENTRY(cpus, entry) {
        QDict *cpu = qobject_to(QDict, qlist_entry_obj(entry));
        const char *path = qdict_get_str(cpu, "qom-path");
        QObject *realized = get(qts, path, "realized");

        g_assert(qbool_get_bool(qobject_to(QBool, realized)));
        qobject_unref(realized);
        g_assert_cmpint(qdict_get_int(cpu, "thread-id"), >, 0);
        if (!arch_is_arm()) {
            QObject *list = get(qts, path, "unavailable-features");

            g_assert_nonnull(qobject_to(QList, list));
            qobject_unref(list);
        }
    }
    qobject_unref(reply);
    qtest_quit(qts);
}

/* What libvirt reads of the type before it writes a command line */
static void test_query_machines(void)
{
    QTestState *qts = start("");
    QDict *reply = qtest_qmp(qts, "{'execute': 'query-machines'}");
    const QListEntry *entry;
    int found = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(reply, "return"), entry) {
        QDict *machine = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_str_equal(qdict_get_str(machine, "name"), "nitro")) {
            found++;
            g_assert_cmpint(qdict_get_int(machine, "cpu-max"), ==, 4096);
            g_assert_cmpstr(qdict_get_str(machine, "default-ram-id"), ==,
                            "ram");
            g_assert(!qdict_haskey(machine, "default-cpu-type"));
            g_assert(!qdict_get_bool(machine, "hotpluggable-cpus"));
        }
    }
    g_assert_cmpint(found, ==, 1);
    qobject_unref(reply);
    qtest_quit(qts);
}

static void test_powerdown(void)
{
    QTestState *qts = start("-no-shutdown");
    QDict *event;

    qtest_qmp_assert_success(qts, "{'execute': 'system_powerdown'}");
    event = qtest_qmp_eventwait_ref(qts, "SHUTDOWN");
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(event, "data"), "reason"),
                    ==, "guest-shutdown");
    qobject_unref(event);
    qtest_quit(qts);
}

/* Once donated, memory is nobody's business: it is not in the address space */
static void test_memory_hidden(void)
{
    QTestState *qts = start("-kernel %s/eif");
    uint8_t seen[4] = { 1, 1, 1, 1 };

    qtest_memread(qts, LOAD_OFFSET, seen, sizeof(seen));
    g_assert_cmpmem(seen, 4, "\0\0\0\0", 4);
    qtest_quit(qts);
}

/* Images */

/* Start with the options, and return the memory of the machine */
static char *memory_after(const char *options)
{
    g_autofree char *all =
        g_strdup_printf("-m 64M -M memory-backend=ram -object "
                        "memory-backend-file,id=ram,size=64M,share=on,"
                        "mem-path=%%s/ram %s", options);
    g_autofree char *path = nitro_machine_path("ram");
    char *memory;
    gsize len;

    qtest_quit(start(all));
    g_assert(g_file_get_contents(path, &memory, &len, NULL));
    g_assert_cmpint(len, ==, 64 * MiB);
    unlink(path);
    return memory;
}

static void assert_zero(const char *memory, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        g_assert_cmpint(memory[i], ==, 0);
    }
}

static void test_eif(void)
{
    g_autofree char *memory = memory_after("-kernel %s/eif");
    g_autofree char *path = nitro_machine_path("eif");
    g_autofree char *image = NULL;
    gsize len;

    g_assert(g_file_get_contents(path, &image, &len, NULL));
    g_assert_cmpint(len, ==, EXAMPLE_SIZE);
    g_assert_cmpmem(memory + LOAD_OFFSET, len, image, len);
    assert_zero(memory, 0, LOAD_OFFSET);
    assert_zero(memory, LOAD_OFFSET + len, 64 * MiB);
}

/* A kernel is made into an image; returns the number of its sections */
static int check_built(const char *memory, const char *cmdline, bool initrd)
{
    const uint8_t *image = (const uint8_t *)memory + LOAD_OFFSET;
    size_t room = 56 * MiB;

    g_assert_cmpmem(image, 4, ".eif", 4);
    g_assert_cmpint(image[AT_FLAGS + 1], ==, arch_is_arm());
    g_assert_nonnull(memmem(image, room, cmdline, strlen(cmdline)));
    g_assert(!!memmem(image, room, "initial ramdisk", 15) == initrd);
    g_assert_cmpint(image[HEADER_LEN + SECTION_HEADER_LEN + 8191], ==, 'k');
    assert_zero(memory, 0, LOAD_OFFSET);
    return image[AT_COUNT + 1];
}

static void test_kernel(void)
{
    g_autofree char *memory =
        memory_after("-kernel %s/kernel -append console=ttyS0");

    g_assert_cmpint(check_built(memory, "console=ttyS0", false), ==, 3);
}

static void test_kernel_initrd(void)
{
    g_autofree char *memory =
        memory_after("-kernel %s/kernel -initrd %s/initrd -append 'a=b c'");

    g_assert_cmpint(check_built(memory, "a=b c", true), ==, 4);
}

/* Names are separated by commas; a comma in a name is doubled */
static void test_kernel_ramdisks(void)
{
    g_autofree char *comma = nitro_machine_path("with,comma");
    g_autofree char *memory = NULL;
    const char *first, *second, *third;

    g_assert(g_file_set_contents(comma, "name with comma", -1, NULL));
    memory = memory_after("-kernel %s/kernel -initrd "
                          "%s/with,,comma,%s/initrd,%s/text");
    g_assert_cmpint(check_built(memory, "", true), ==, 6);
    first = memmem(memory + LOAD_OFFSET, MiB, "name with comma", 15);
    g_assert_nonnull(first);
    second = first + 15 + SECTION_HEADER_LEN;
    g_assert_cmpmem(second, 15, "initial ramdisk", 15);
    third = second + 15 + SECTION_HEADER_LEN;
    g_assert_cmpmem(third, 10, "just text\n", 10);
}

/* Which image may be launched */

/* Text, a hole, and text again */
static void write_sparse(const char *name)
{
    g_autofree char *path = nitro_machine_path(name);
    FILE *file = fopen(path, "w");

    g_assert_nonnull(file);
    g_assert_cmpint(fputs("first", file), >=, 0);
    g_assert_cmpint(fseek(file, SPARSE_SIZE - 4, SEEK_SET), ==, 0);
    g_assert_cmpint(fputs("last", file), >=, 0);
    fclose(file);
}

/* A hole is zeros in fresh memory, and in memory that was used before */
static void test_sparse_initrd(void)
{
    const char *options = "-kernel %s/kernel -initrd %s/sparse";
    g_autofree char *path = nitro_machine_path("ram");
    g_autofree char *dirt = g_malloc(64 * MiB);
    g_autofree char *fresh = NULL;
    g_autofree char *used = NULL;
    const char *initrd;

    write_sparse("sparse");
    fresh = memory_after(options);
    memset(dirt, 0xff, 64 * MiB);
    g_assert(g_file_set_contents(path, dirt, 64 * MiB, NULL));
    used = memory_after(options);

    initrd = memmem(fresh + LOAD_OFFSET, MiB, "first", 5);
    g_assert_nonnull(initrd);
    assert_zero(initrd, 5, SPARSE_SIZE - 4);
    g_assert_cmpmem(initrd + SPARSE_SIZE - 4, 4, "last", 4);
    g_assert_cmpmem(used + LOAD_OFFSET, initrd + SPARSE_SIZE -
                    (fresh + LOAD_OFFSET), fresh + LOAD_OFFSET,
                    initrd + SPARSE_SIZE - (fresh + LOAD_OFFSET));
    g_assert_cmphex((uint8_t)used[LOAD_OFFSET - 1], ==, 0xff);
}

static void test_policy_defaults(void)
{
    QTestState *qts = start("");

    assert_string(qts, "/machine", "signature", "check");
    assert_string(qts, "/machine", "expect-pcr0", "");
    assert_string(qts, "/machine", "eif-out", "");
    qtest_quit(qts);
}

static void assert_same_file(const char *name, const void *data, size_t len)
{
    g_autofree char *path = nitro_machine_path(name);
    g_autofree char *found = NULL;
    gsize found_len;

    g_assert(g_file_get_contents(path, &found, &found_len, NULL));
    g_assert_cmpmem(found, found_len, data, len);
    unlink(path);
}

static void test_expected(void)
{
    QTestState *qts = start("-kernel %s/eif -M expect-pcr0=" LAUNCHABLE_PCR0
                            ",expect-pcr1=" LAUNCHABLE_PCR1 ",expect-pcr2="
                            EXAMPLE_PCR2 ",eif-out=%s/out");
    g_autofree char *path = nitro_machine_path("eif");
    g_autofree char *image = NULL;
    gsize len;

    assert_string(qts, "/machine", "expect-pcr1", LAUNCHABLE_PCR1);
    qtest_quit(qts);
    g_assert(g_file_get_contents(path, &image, &len, NULL));
    assert_same_file("out", image, len);
}

static void test_built_image_out(void)
{
    g_autofree char *memory =
        memory_after("-kernel %s/kernel -initrd %s/initrd -M eif-out=%s/out");
    g_autofree char *path = nitro_machine_path("out");
    GStatBuf st;

    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, >, 8192);
    assert_same_file("out", memory + LOAD_OFFSET, st.st_size);
    assert_zero(memory, LOAD_OFFSET + st.st_size, 64 * MiB);
}

#ifdef CONFIG_GNUTLS
/* Returns what QEMU said when it could start */
static char *said_at_start(const char *options)
{
    g_autofree char *all = g_strdup_printf("%s 2>%%s/err", options);
    g_autofree char *path = nitro_machine_path("err");
    char *said = NULL;

    qtest_quit(start(all));
    g_assert(g_file_get_contents(path, &said, NULL, NULL));
    return said;
}

static void test_signature(void)
{
    static const struct {
        const char *options;
        const char *warning; /* NULL: there must be none */
    } rows[] = {
        { "-kernel %s/eif" },
        { "-kernel %s/eif-signed" },
        { "-kernel %s/eif-signed -M signature=require" },
        { "-kernel %s/eif-expired -M signature=warn", "warning: the image is "
          "not validly signed: the certificate was valid until "
          "2023-11-14T22:13:20Z, it is 2" },
        { "-kernel %s/eif-expired -M signature=off" },
        { "-kernel %s/eif-signed-other -M signature=warn", "warning: the image "
          "is not validly signed: the signature is for an image with PCR0 "
          LAUNCHABLE_PCR1 },
        { "-kernel %s/eif-junk -M signature=off" },
        { "-kernel %s/eif-junk -M signature=warn", "warning: the image is not "
          "validly signed: the signature section of the image is broken: " },
        { "-kernel %s/eif-der -M signature=off" },
        { "-kernel %s/eif-der -M signature=warn", "warning: the image is not "
          "validly signed: the certificate in the signature section of the "
          "image (5 bytes) is not " },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *said = said_at_start(rows[i].options);

        g_test_message("%s: %s", rows[i].options, said);
        g_assert(!!strstr(said, "validly") == !!rows[i].warning);
        g_assert(!rows[i].warning || strstr(said, rows[i].warning));
    }
}
#endif

/* With the accelerator: is there a console? */
static void check_console(const char *mode, bool console)
{
    g_autofree char *err = nitro_machine_path("err");
    g_autofree char *options =
        g_strdup_printf("-accel nitro,device=/dev/null,debug-mode=%s -S "
                        "-kernel %s/eif " HUGE_PAGES
                        " -serial file:%s/serial 2>%s", mode,
                        nitro_machine_dir, nitro_machine_dir, err);
    g_autofree char *said = NULL;
    QTestState *qts;

    g_setenv("LD_PRELOAD", nitro_machine_library, true);
    qts = qtest_init(options);
    g_unsetenv("LD_PRELOAD");
    if (console) {
        assert_string(qts, "/machine/nitro-serial-vsock", "state", "idle");
    } else {
        assert_absent(qts, "/machine/nitro-serial-vsock");
    }
    qtest_quit(qts);
    g_assert(g_file_get_contents(err, &said, NULL, NULL));
    g_assert(!!strstr(said, "the enclave has no console") == !console);
}

static void test_console_debug(void)
{
    check_console("on", true);
}

static void test_console_production(void)
{
    check_console("off", false);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_accel("nitro")) {
        g_test_message("%s has no accelerator nitro",
                       getenv("QTEST_QEMU_BINARY"));
        return 0;
    }
    nitro_machine_setup();

    qtest_add_func("/nitro/machine/defaults", test_defaults);
    qtest_add_func("/nitro/machine/nodefaults", test_nodefaults);
    qtest_add_func("/nitro/machine/given", test_given);
    qtest_add_func("/nitro/machine/json", test_json);
    qtest_add_func("/nitro/machine/heartbeat-off", test_heartbeat_off);
    qtest_add_func("/nitro/machine/hotplug", test_hotplug);
    qtest_add_func("/nitro/machine/vcpus", test_vcpus);
    qtest_add_func("/nitro/machine/query-machines", test_query_machines);
    qtest_add_func("/nitro/machine/powerdown", test_powerdown);
    qtest_add_func("/nitro/machine/memory-hidden", test_memory_hidden);
    qtest_add_func("/nitro/machine/eif", test_eif);
    qtest_add_func("/nitro/machine/kernel", test_kernel);
    qtest_add_func("/nitro/machine/kernel-initrd", test_kernel_initrd);
    qtest_add_func("/nitro/machine/kernel-ramdisks", test_kernel_ramdisks);
    qtest_add_func("/nitro/machine/sparse-initrd", test_sparse_initrd);
    qtest_add_func("/nitro/machine/policy-defaults", test_policy_defaults);
    qtest_add_func("/nitro/machine/expected", test_expected);
    qtest_add_func("/nitro/machine/built-image-out", test_built_image_out);
#ifdef CONFIG_GNUTLS
    qtest_add_func("/nitro/machine/signature", test_signature);
#endif
    qtest_add_func("/nitro/machine/console-debug", test_console_debug);
    qtest_add_func("/nitro/machine/console-production",
                   test_console_production);
    nitro_machine_add_refusals();

    ret = g_test_run();
    nitro_machine_cleanup();
    return ret;
}
