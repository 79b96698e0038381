/*
 * Nitro Enclaves: machine, vsock bus and devices
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What can be built is looked at over QMP with "-accel qtest".  What cannot
 * be built must end with status 1 and its message; where only "-accel nitro"
 * looks at it, a library takes the place of the driver (tests/nitro/
 * fake-ne.c).  No enclave is started here.
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
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/eif-signer.h"

#define LOAD_OFFSET (8 * MiB)
#define QTEST "-accel qtest -M nitro "
#define NITRO "-accel nitro,device=/dev/null -M nitro "
#define BACKEND(type) "-M nitro,memory-backend=ram -m 64M " \
                      "-object memory-backend-" type ",id=ram,size=64M"

static char *library;
static char *dir;

/* Files; %s in an option stands for the directory they are in */

static char *file_path(const char *name)
{
    return g_build_filename(dir, name, NULL);
}

static void write_file(const char *name, const void *data, size_t len)
{
    g_autofree char *path = file_path(name);

    g_assert(g_file_set_contents(path, data, len, NULL));
}

static bool is_arm(void)
{
    return g_str_equal(qtest_get_arch(), "aarch64");
}

static void write_kernel(void)
{
    char kernel[8192] = { };

    if (is_arm()) {
        memcpy(kernel + 56, "ARM\x64", 4);
    } else {
        memcpy(kernel + 0x1fe, "\x55\xaa", 2);
        memcpy(kernel + 0x202, "HdrS", 4);
    }
    memset(kernel + 4096, 'k', 4096);
    write_file("kernel", kernel, sizeof(kernel));
}

static void write_images(void)
{
    static const char large[57 * MiB];
    g_autoptr(GByteArray) good = eif_maker_image(4, is_arm(), EXAMPLE);
    g_autoptr(GByteArray) other = eif_maker_image(4, !is_arm(), EXAMPLE);
    g_autoptr(GByteArray) big = eif_maker_image(4, is_arm(), "KCM");

    write_file("eif", good->data, good->len);
    write_file("eif-other", other->data, other->len);
    write_file("eif-short", good->data, good->len - 20);
    good->data[good->len - 1] ^= 1;
    write_file("eif-broken", good->data, good->len);
    eif_maker_add(big, 3, large, sizeof(large));
    eif_maker_finish(big);
    write_file("eif-large", big->data, big->len);
}

static void write_signed(const char *name, int64_t valid_until,
                         const char *pcr0)
{
#ifdef CONFIG_GNUTLS
    EifSignerParams params = { .not_after = valid_until, .pcr0 = pcr0 };
    g_autoptr(EifSigner) signer = eif_signer_new(&params);
    g_autoptr(GByteArray) image = eif_signer_image(signer, is_arm());

    write_file(name, image->data, image->len);
#endif
}

static void write_signed_images(void)
{
    int64_t tomorrow = time(NULL) + EIF_SIGNER_DAY;

    write_signed("eif-signed", tomorrow, EXAMPLE_PCR0);
    write_signed("eif-expired", EIF_SIGNER_NOW, EXAMPLE_PCR0);
    write_signed("eif-signed-other", tomorrow, EXAMPLE_PCR1);
}

static void write_files(void)
{
    g_autofree char *fifo = file_path("fifo");

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    write_images();
    write_signed_images();
    write_kernel();
    write_file("initrd", "initial ramdisk", 15);
    write_file("empty", "", 0);
    write_file("text", "just text\n", 10);
    write_file("gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00", 8);
}

static void remove_files(void)
{
    GDir *list = g_dir_open(dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(list))) {
        g_autofree char *path = file_path(name);

        unlink(path);
    }
    g_dir_close(list);
    rmdir(dir);
}

/* Options with each %s replaced by the directory */
static char *with_dir(const char *options)
{
    g_auto(GStrv) parts = g_strsplit(options, "%s", 0);

    return g_strjoinv(dir, parts);
}

/* QMP */

static QTestState *start(const char *options)
{
    g_autofree char *all = with_dir(options);

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

static void assert_no_enclave(QTestState *qts)
{
    QObject *cid = get(qts, "/machine/nitro-vsock", "enclave-cid");

    g_assert_nonnull(cid);
    g_assert_cmpint(qnum_get_int(qobject_to(QNum, cid)), ==, 0);
    qobject_unref(cid);
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
        if (!is_arm()) {
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
    g_autofree char *path = file_path("ram");
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
    g_autofree char *path = file_path("eif");
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
    g_assert_cmpint(image[AT_FLAGS + 1], ==, is_arm());
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

/* Which image may be launched */

static void test_policy_defaults(void)
{
    QTestState *qts = start("");

    assert_string(qts, "/machine", "signature", "warn");
    assert_string(qts, "/machine", "expect-pcr0", "");
    assert_string(qts, "/machine", "eif-out", "");
    qtest_quit(qts);
}

static void assert_same_file(const char *name, const void *data, size_t len)
{
    g_autofree char *path = file_path(name);
    g_autofree char *found = NULL;
    gsize found_len;

    g_assert(g_file_get_contents(path, &found, &found_len, NULL));
    g_assert_cmpmem(found, found_len, data, len);
    unlink(path);
}

static void test_expected(void)
{
    QTestState *qts = start("-kernel %s/eif -M expect-pcr0=" EXAMPLE_PCR0
                            ",expect-pcr1=" EXAMPLE_PCR1 ",expect-pcr2="
                            EXAMPLE_PCR2 ",eif-out=%s/out");
    g_autofree char *path = file_path("eif");
    g_autofree char *image = NULL;
    gsize len;

    assert_string(qts, "/machine", "expect-pcr1", EXAMPLE_PCR1);
    qtest_quit(qts);
    g_assert(g_file_get_contents(path, &image, &len, NULL));
    assert_same_file("out", image, len);
}

static void test_built_image_out(void)
{
    g_autofree char *memory =
        memory_after("-kernel %s/kernel -initrd %s/initrd -M eif-out=%s/out");
    g_autofree char *path = file_path("out");
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
    g_autofree char *path = file_path("err");
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
        { "-kernel %s/eif-expired", "warning: the image is not validly "
          "signed: the certificate was valid until 2023-11-14T22:13:20Z, it "
          "is 2" },
        { "-kernel %s/eif-expired -M signature=off" },
        { "-kernel %s/eif-signed-other", "warning: the image is not validly "
          "signed: the signature is for an image with PCR0 " EXAMPLE_PCR1 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *said = said_at_start(rows[i].options);

        g_test_message("%s: %s", rows[i].options, said);
        g_assert(!!strstr(said, "validly") == !!rows[i].warning);
        g_assert(!rows[i].warning || strstr(said, rows[i].warning));
    }
}
#endif

/* What is refused */

static const struct Refusal {
    const char *path;
    const char *options;
    const char *message;
    const char *hint;
} refusals[] = {
    /* options */
    { "bios", QTEST "-bios x", "-bios cannot be used with machine nitro: an "
      "enclave starts without firmware" },
    { "dtb", QTEST "-kernel %s/eif -dtb x", "-dtb cannot be used" },
    { "shim", QTEST "-kernel %s/eif -shim x", "-shim cannot be used" },
    { "option-rom", QTEST "-option-rom x", "-option-rom cannot be used" },
    { "boot-order", QTEST "-boot n", "-boot with order, once or menu cannot "
      "be used with machine nitro: an enclave starts its image and nothing "
      "else" },
    { "boot-once", QTEST "-boot once=d", "-boot with order, once or menu" },
    { "boot-menu", QTEST "-boot menu=on", "-boot with order, once or menu" },
    { "drive", QTEST "-drive if=none,format=raw,file=%s/text",
      "-drive cannot be used with machine nitro: an enclave has no disks" },
    { "hda", QTEST "-drive format=raw,file=%s/text", "-drive cannot be used" },
    { "net", QTEST "-net nic,model=virtio",
      "-nic cannot be used with machine nitro: an enclave has no network, "
      "only vsock" },
    { "nic", QTEST "-nic hubport,hubid=1", "-nic cannot be used" },
    { "usb", QTEST "-usb", "-usb cannot be used" },
    { "parallel", QTEST "-parallel null", "-parallel cannot be used" },
    { "serial", QTEST "-serial null -serial null", "a second -serial cannot "
      "be used with machine nitro: an enclave has one console" },
    { "slots", QTEST "-m 64M,slots=1,maxmem=128M",
      "-m with slots or maxmem cannot be used" },
    { "maxcpus", QTEST "-smp 2,maxcpus=4", "-smp with maxcpus cannot be used" },
    { "too-many-cpus", QTEST "-smp 4097", "4096" },
    { "incoming", QTEST "-incoming defer", "-incoming cannot be used" },
    { "numa", QTEST "-numa node", "NUMA is not supported" },
    { "cpu", NITRO "-kernel %s/eif -m 64M " BACKEND("memfd,hugetlb=on")
      " -cpu max",
      "-cpu max cannot be used with machine nitro: the vCPUs of an enclave "
      "are those of the host", "use -cpu host" },
    { "pci", QTEST "-device virtio-rng-pci", "No 'PCI' bus found" },

    /* memory */
    { "small", QTEST "-m 32M", "-m 32M is too little, an enclave needs at "
      "least 64 MiB", "Use -m 64M or more" },
    { "odd", QTEST "-m 65M", "-m 65M is not a multiple of 2 MiB",
      "Use -m 66M" },
    { "odd-kib", QTEST "-m 102408K", "-m 102408K is not a multiple of 2 MiB",
      "Use -m 102M" },
    { "backend-size", QTEST BACKEND("ram") " -m 128M", "does not match" },
    { "backend-ram", NITRO "-kernel %s/eif " BACKEND("ram"),
      "memory backend 'ram' has pages of 4K, an enclave needs huge pages of "
      "2M or more", "Transparent huge pages will not do" },
    { "backend-memfd", NITRO "-kernel %s/eif " BACKEND("memfd"),
      "memory backend 'ram' has pages of 4K", "hugetlb=on" },
    { "mem-path", NITRO "-kernel %s/eif -m 64M -mem-path %s",
      "memory backend 'ram' has pages of 4K", "hugetlbfs" },

    /* images */
    { "no-kernel", NITRO BACKEND("memfd,hugetlb=on"),
      "machine nitro needs an enclave image", "Use -kernel FILE" },
    { "missing", QTEST "-kernel %s/absent", "absent': No such file" },
    { "empty", QTEST "-kernel %s/empty", "it is an empty file" },
    { "directory", QTEST "-kernel %s", "it is a directory" },
    { "device", QTEST "-kernel /dev/null", "character device" },
    { "fifo", QTEST "-kernel %s/fifo", "it is a pipe" },
    { "text", QTEST "-kernel %s/text", "it is a text file" },
    { "gzip", QTEST "-kernel %s/gzip", "it is a gzip file" },
    { "short", QTEST "-kernel %s/eif-short", "eif-short: " },
    { "broken", QTEST "-kernel %s/eif-broken", "CRC" },
    { "architecture", QTEST "-kernel %s/eif-other", "image is for " },
    { "large", QTEST "-m 64M -kernel %s/eif-large",
      "bytes at offset 8388608, RAM ends at 67108864",
      "Raise -m to at least 66M" },
    { "eif-initrd", QTEST "-kernel %s/eif -initrd %s/initrd",
      "-initrd cannot be used with an enclave image", "Leave it out" },
    { "eif-append", QTEST "-kernel %s/eif -append quiet",
      "-append cannot be used with an enclave image", "Leave it out" },
    { "initrd-missing", QTEST "-kernel %s/kernel -initrd %s/absent",
      "-initrd: Could not open" },
    { "initrd-empty", QTEST "-kernel %s/kernel -initrd %s/empty",
      "empty is an empty file, not a ramdisk" },
    { "initrd-directory", QTEST "-kernel %s/kernel -initrd %s",
      "is a directory, not a ramdisk" },
    { "initrd-eif", QTEST "-kernel %s/kernel -initrd %s/eif",
      "not a ramdisk" },

    /* which image may be launched */
    { "pcr0", QTEST "-kernel %s/eif -M expect-pcr0=" EXAMPLE_PCR1,
      "/eif: PCR0 of the image is " EXAMPLE_PCR0 ", expected is "
      EXAMPLE_PCR1, "Use the image that is meant" },
    { "pcr2", QTEST "-kernel %s/kernel -M expect-pcr2=" EXAMPLE_PCR2,
      "PCR2 of the image is " EMPTY_PCR2 ", expected is " EXAMPLE_PCR2 },
    { "pcr8", QTEST "-kernel %s/eif -M expect-pcr8=" EXAMPLE_PCR8,
      "the image is not signed, expected is PCR8 " EXAMPLE_PCR8 },
    { "pcr-short", QTEST "-M expect-pcr1=12",
      "expect-pcr1: a PCR has 96 hexadecimal digits, '12' is none" },
    { "signature-mode", QTEST "-M signature=maybe",
      "does not accept value 'maybe'" },
    { "not-signed", QTEST "-kernel %s/eif -M signature=require",
      "signature=require, but the image is not signed", "Sign it" },
    { "kernel-not-signed", QTEST "-kernel %s/kernel -M signature=require",
      "signature=require, but the image is not signed" },
    { "eif-out", QTEST "-kernel %s/eif -M eif-out=%s",
      ": it is not a regular file" },
    { "eif-out-directory", QTEST "-kernel %s/eif -M eif-out=%s/none/out",
      "/none/out: No such file or directory" },
#ifdef CONFIG_GNUTLS
    { "expired", QTEST "-kernel %s/eif-expired -M signature=require",
      "/eif-expired: the image is not validly signed: the certificate was "
      "valid until ", "Set the clock" },
    { "signed-other", QTEST "-kernel %s/eif-signed-other "
      "-M signature=require", "the signature is for an image with PCR0 "
      EXAMPLE_PCR1 ", this one has " EXAMPLE_PCR0, "Sign an unsigned copy" },
#endif

    /* devices */
    { "heartbeats", QTEST "-device nitro-heartbeat -device nitro-heartbeat",
      "the enclave has a nitro-heartbeat already, there can be one only" },
    { "heartbeat-on", QTEST "-M heartbeat=on -device nitro-heartbeat",
      "the enclave has a nitro-heartbeat already" },
    { "consoles", QTEST "-serial null -chardev null,id=c "
      "-device nitro-serial-vsock,chardev=c",
      "the enclave has a nitro-serial-vsock already", "Use -serial none" },
    { "no-chardev", QTEST "-nodefaults -device nitro-serial-vsock",
      "nitro-serial-vsock needs a character device", "-chardev stdio" },
    { "no-debug-mode", NITRO "-nodefaults -kernel %s/eif "
      BACKEND("memfd,hugetlb=on") " -chardev null,id=c "
      "-device nitro-serial-vsock,chardev=c",
      "only an enclave in debug mode has a console", "debug-mode=on" },
    { "no-bus", "-accel qtest -M none -device nitro-heartbeat",
      "No 'nitro-vsock-bus' bus found" },
    { "bridge", QTEST "-device nitro-vsock-bridge",
      "expects a pluggable device type" },
};

/* Returns what QEMU said, to be freed */
static char *run(const char *options, int *status)
{
    g_autofree char *all = with_dir(options);
    g_autofree char *err = file_path("err");
    g_autofree char *command =
        g_strdup_printf("exec timeout 60 %s -display none -monitor none %s "
                        "< /dev/null > %s 2>&1",
                        getenv("QTEST_QEMU_BINARY"), all, err);
    char *said = NULL;
    int ret;

    g_setenv("LD_PRELOAD", library, true);
    ret = system(command);
    g_unsetenv("LD_PRELOAD");
    g_assert(WIFEXITED(ret));
    *status = WEXITSTATUS(ret);
    g_assert(g_file_get_contents(err, &said, NULL, NULL));
    return said;
}

static void assert_says(const char *said, const char *part)
{
    if (part && !strstr(said, part)) {
        g_test_message("\"%s\" lacks \"%s\"", said, part);
        g_test_fail();
    }
}

static void test_refusal(const void *opaque)
{
    const struct Refusal *refusal = opaque;
    int status;
    g_autofree char *said = run(refusal->options, &status);

    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 1);
    assert_says(said, refusal->message);
    assert_says(said, refusal->hint);
}

/* More pages than any host has */
static void test_huge_pages(void)
{
    int status;
    g_autofree char *said = NULL;

    if (!g_file_test("/sys/kernel/mm/hugepages/hugepages-2048kB",
                     G_FILE_TEST_IS_DIR)) {
        g_test_skip("the kernel has no huge pages of 2 MiB");
        return;
    }
    said = run(NITRO "-kernel %s/eif -m 1000000G", &status);
    g_assert_cmpint(status, ==, 1);
    assert_says(said, "-m 1000000G needs 512000000 huge pages of 2M, ");
    assert_says(said, " are free");
    assert_says(said, "\necho 512");
    assert_says(said, "/nr_hugepages");
}

/* With the accelerator: is there a console? */
static void check_console(const char *mode, bool console)
{
    g_autofree char *err = file_path("err");
    g_autofree char *options =
        g_strdup_printf("-accel nitro,device=/dev/null,debug-mode=%s -S "
                        "-kernel %s/eif " BACKEND("memfd,hugetlb=on")
                        " -serial file:%s/serial 2>%s", mode, dir, dir, err);
    g_autofree char *said = NULL;
    QTestState *qts;

    g_setenv("LD_PRELOAD", library, true);
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

static char *fake_driver(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *here = g_path_get_dirname(self);

    return g_build_filename(here, "nitro", "fake-ne.so", NULL);
}

static void add_refusals(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/machine/refused/%s",
                                                refusals[i].path);

        qtest_add_data_func(path, &refusals[i], test_refusal);
    }
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
    /* In a sanitizer build the library comes before the sanitizer's own */
    g_setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", false);
    library = fake_driver();
    dir = g_dir_make_tmp("nitro-machine-XXXXXX", NULL);
    write_files();

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
    qtest_add_func("/nitro/machine/policy-defaults", test_policy_defaults);
    qtest_add_func("/nitro/machine/expected", test_expected);
    qtest_add_func("/nitro/machine/built-image-out", test_built_image_out);
#ifdef CONFIG_GNUTLS
    qtest_add_func("/nitro/machine/signature", test_signature);
#endif
    qtest_add_func("/nitro/machine/huge-pages", test_huge_pages);
    qtest_add_func("/nitro/machine/console-debug", test_console_debug);
    qtest_add_func("/nitro/machine/console-production",
                   test_console_production);
    add_refusals();

    ret = g_test_run();
    remove_files();
    g_free(dir);
    g_free(library);
    return ret;
}
