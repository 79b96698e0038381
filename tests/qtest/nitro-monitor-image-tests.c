/*
 * Nitro Enclaves: what the monitor shows of images
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Measurements are compared with numbers of the image format's worked example
 * or made by GLib.
 */
#include "qemu/osdep.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "nitro-launch-util.h"
#include "nitro-monitor-util.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/eif-signer.h"

static void check_pcrs(QDict *pcrs, const char *pcr0, const char *pcr1,
                       const char *pcr2, const char *pcr8)
{
    g_assert_nonnull(pcrs);
    assert_str(pcrs, "pcr0", pcr0);
    assert_str(pcrs, "pcr1", pcr1);
    assert_str(pcrs, "pcr2", pcr2);
    assert_str(pcrs, "pcr8", pcr8);
}

static void check_sections(QDict *image)
{
    static const struct {
        const char *type;
        size_t size;
    } expected[] = {
        { "kernel", strlen(UNKNOWN_KERNEL) },
        { "cmdline", strlen(EXAMPLE_CMDLINE) },
        { "metadata", strlen(EXAMPLE_METADATA) },
        { "ramdisk", strlen(EXAMPLE_RAMDISK0) },
        { "ramdisk", strlen(EXAMPLE_RAMDISK1) },
    };
    const QListEntry *entry;
    size_t pos = HEADER_LEN;
    int i = 0;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(image, "sections"), entry) {
        QDict *section = qobject_to(QDict, qlist_entry_obj(entry));

        pos += SECTION_HEADER_LEN;
        g_assert_cmpint(i, <, ARRAY_SIZE(expected));
        assert_str(section, "type", expected[i].type);
        g_assert_cmpint(qdict_get_int(section, "size"), ==, expected[i].size);
        g_assert_cmpint(qdict_get_int(section, "offset"), ==, pos);
        pos += expected[i++].size;
    }
    g_assert_cmpint(i, ==, ARRAY_SIZE(expected));
}

static void test_eif(void)
{
    Run *run = run_new();
    g_autofree char *path = write_eif(run, LAUNCHABLE);
    QDict *info, *image, *reply;

    start_eif(run, NITRO, path);
    reply = query_measured(run->qts, &info, &image);
    assert_str(image, "kind", "eif");
    assert_str(image, "path", path);
    assert_str(image, "initrd", NULL);
    assert_str(image, "arch", qtest_get_arch());
    assert_str(image, "measurement", "done");
    assert_str(image, "name", "kernel.bin");
    assert_str(image, "image-version", "1.0");
    g_assert_cmpint(qdict_get_int(image, "version"), ==, 4);
    g_assert_cmpint(qdict_get_int(image, "size"), ==, EXAMPLE_SIZE);
    g_assert_cmphex(qdict_get_int(image, "crc"), ==,
                    arch_is_arm() ? LAUNCHABLE_CRC_ARM64 : LAUNCHABLE_CRC);
    g_assert_false(qdict_get_bool(image, "signed"));
    check_sections(image);
    check_pcrs(qdict_get_qdict(image, "pcrs"), LAUNCHABLE_PCR0, LAUNCHABLE_PCR1,
               EXAMPLE_PCR2, NULL);
    check_pcrs(qdict_get_qdict(info, "attestation-pcrs"), LAUNCHABLE_PCR0,
               LAUNCHABLE_PCR1, EXAMPLE_PCR2, NULL);
    qobject_unref(reply);
    run_quit(run);
}

/* In debug mode the attestation proves nothing, for a signed image as well */
static void test_debug(void)
{
    Run *run = run_new();
    g_autofree char *path = write_eif(run, "UCMRrS");
    g_autofree char *words = NULL;
    QDict *info, *image, *reply;

    words = g_strconcat(path, " -M nitro,signature=warn", NULL);
    start_eif(run, NITRO ",debug-mode=on", words);
    reply = query_measured(run->qts, &info, &image);
    g_assert_true(qdict_get_bool(info, "debug-mode"));
    g_assert_true(qdict_get_bool(image, "signed"));
    check_pcrs(qdict_get_qdict(image, "pcrs"), LAUNCHABLE_PCR0, LAUNCHABLE_PCR1,
               EXAMPLE_PCR2, EXAMPLE_PCR8);
    check_pcrs(qdict_get_qdict(info, "attestation-pcrs"), ZERO_PCR, ZERO_PCR,
               ZERO_PCR, ZERO_PCR);
    qobject_unref(reply);
    run_quit(run);
}

/* A register that was zero, extended by the hash of some data */
static char *extended(const char *data, size_t len)
{
    g_autoptr(GChecksum) inner = g_checksum_new(G_CHECKSUM_SHA384);
    g_autoptr(GChecksum) outer = g_checksum_new(G_CHECKSUM_SHA384);
    uint8_t digest[2 * 48] = { };
    gsize digest_len = 48;

    g_checksum_update(inner, (const guchar *)data, len);
    g_checksum_get_digest(inner, digest + 48, &digest_len);
    g_checksum_update(outer, digest, sizeof(digest));
    return g_strdup(g_checksum_get_string(outer));
}

/* An image that exists in the enclave's memory only */
static void test_kernel(void)
{
    Run *run = run_new();
    g_autofree char *initrd = g_build_filename(run->dir, "initrd", NULL);
    g_autofree char *list = g_strdup_printf("%s,%s", initrd, initrd);
    g_autofree char *more = NULL;
    g_autofree char *pcr0 = NULL;
    g_autofree char *pcr1 = NULL;
    g_autofree char *pcr2 = NULL;
    g_autofree char *kernel = NULL;
    g_autoptr(GString) all = g_string_new(NULL);
    QDict *info, *image, *reply;
    gsize len;

    g_assert(g_file_get_contents(run->kernel, &kernel, &len, NULL));
    g_string_append_len(all, kernel, len);
    g_string_append(all, "console=ttyS0" "0707ramdisk");
    pcr1 = extended(all->str, all->len);
    g_string_append(all, "0707ramdisk");
    pcr0 = extended(all->str, all->len);
    pcr2 = extended("0707ramdisk", 11);
    g_assert(g_file_set_contents(initrd, "0707ramdisk", -1, NULL));
    more = g_strdup_printf("-S -M nitro,measure=on -append console=ttyS0 "
                           "-initrd %s", list);
    run_start(run, NITRO, more);

    reply = query_measured(run->qts, &info, &image);
    assert_str(image, "kind", "kernel");
    assert_str(image, "path", run->kernel);
    assert_str(image, "initrd", list);
    assert_str(image, "name", "qemu");
    g_assert_cmpint(qdict_get_int(image, "crc"), !=, 0);
    check_pcrs(qdict_get_qdict(image, "pcrs"), pcr0, pcr1, pcr2, NULL);
    qobject_unref(reply);
    run_quit(run);
}

/* A query begins nothing */
static void test_unmeasured(void)
{
    Run *run = run_new();
    g_autofree char *path = write_eif(run, LAUNCHABLE);
    g_autofree char *words = g_strdup_printf("-S -kernel %s", path);
    g_autofree char *text = NULL;
    QDict *info, *image, *reply;

    run_start(run, NITRO, words);
    for (int i = 0; i < 2; i++) {
        reply = query(run->qts, &info);
        image = qdict_get_qdict(info, "image");
        assert_str(image, "measurement", "off");
        assert_str(image, "name", "kernel.bin");
        g_assert_false(qdict_haskey(image, "pcrs"));
        g_assert_false(qdict_haskey(info, "attestation-pcrs"));
        qobject_unref(reply);
    }
    text = qtest_hmp(run->qts, "info nitro");
    g_assert_nonnull(strstr(text, "\r\nmeasurement: off\r\n"));
    run_quit(run);
}

/* No thread for it: that is said, and the enclave lives on */
static void test_no_threads(void)
{
    Run *run = run_new();
    g_autofree char *path = write_eif(run, LAUNCHABLE);
    QDict *info, *image, *reply;

    g_setenv("NE_FAKE_THREADS", "0", true);
    start_eif(run, NITRO, path);
    for (int i = 0; i < 2; i++) {
        reply = query(run->qts, &info);
        image = qdict_get_qdict(info, "image");
        assert_str(image, "measurement", "failed");
        assert_str(image, "measurement-error",
                   "the image cannot be measured: no more threads");
        qobject_unref(reply);
    }
    assert_state(run, "prepared");
    run_quit(run);
}

/* The signature */

static void assert_signature(QDict *image, const char *state,
                             const char *error)
{
    QDict *signature = qdict_get_qdict(image, "signature");
    const char *found = qdict_get_try_str(signature, "error");

    assert_str(signature, "state", state);
    g_assert(!found == !error);
    g_assert(!error || g_str_has_prefix(found, error));
}

static const struct Unread {
    const char *path;
    const char *sections;
    const char *more;
    const char *state;
    const char *error;
} unread[] = {
    { "none", LAUNCHABLE, "", "unsigned" },
    { "off", "UCMRrS", " -M nitro,signature=off", "unchecked" },
#ifdef CONFIG_GNUTLS
    { "broken", "UCMRrS", " -M nitro,signature=warn", "invalid",
      "the image is not validly signed: " },
#endif
};

/* Without a certificate that can be read */
static void test_unread(const void *opaque)
{
    const struct Unread *row = opaque;
    Run *run = run_new();
    g_autofree char *path = write_eif(run, row->sections);
    g_autofree char *words = g_strconcat(path, row->more, NULL);
    QDict *info, *image, *reply;

    start_eif(run, NITRO, words);
    reply = query(run->qts, &info);
    image = qdict_get_qdict(info, "image");
    assert_signature(image, row->state, row->error);
    g_assert_false(qdict_haskey(qdict_get_qdict(image, "signature"),
                                "not-after"));
    qobject_unref(reply);
    run_quit(run);
}

#ifdef CONFIG_GNUTLS
#define SUBJECT "C=DE,O=test,CN=eif-signer"

static const struct Signed {
    const char *path;
    EifSignerParams params;
    bool now;                   /* valid until tomorrow */
    const char *state;
    const char *error;
} signed_images[] = {
    { "valid", { .pcr0 = LAUNCHABLE_PCR0 }, true, "valid" },
    { "expired", { .pcr0 = LAUNCHABLE_PCR0 }, false, "invalid", "the image is "
      "not validly signed: the certificate was valid until 2023-11-15T" },
    { "other-image", { .pcr0 = LAUNCHABLE_PCR1 }, true, "invalid", "the image "
      "is not validly signed: the signature is for an image with PCR0 "
      LAUNCHABLE_PCR1 },
};

static void test_signed(const void *opaque)
{
    const struct Signed *row = opaque;
    EifSignerParams params = row->params;
    Run *run = run_new();
    g_autofree char *path = g_build_filename(run->dir, "image", NULL);
    g_autofree char *words = NULL;
    g_autofree char *text = NULL;
    g_autofree char *line = NULL;
    g_autoptr(EifSigner) signer = NULL;
    g_autoptr(GByteArray) eif = NULL;
    QDict *info, *image, *signature, *reply;
    int64_t end = EIF_SIGNER_NOW + EIF_SIGNER_DAY;

    params.sections = LAUNCHABLE;
    if (row->now) {
        params.not_after = end = time(NULL) + EIF_SIGNER_DAY;
    }
    signer = eif_signer_new(&params);
    eif = eif_signer_image(signer, arch_is_arm());
    g_assert(g_file_set_contents(path, (char *)eif->data, eif->len, NULL));
    words = g_strconcat(path, " -M nitro,signature=warn", NULL);
    start_eif(run, NITRO, words);
    reply = query(run->qts, &info);
    image = qdict_get_qdict(info, "image");
    assert_signature(image, row->state, row->error);
    signature = qdict_get_qdict(image, "signature");
    g_assert_cmpint(qdict_get_int(signature, "not-before"), ==,
                    EIF_SIGNER_NOW - EIF_SIGNER_DAY);
    g_assert_cmpint(qdict_get_int(signature, "not-after"), ==, end);
    assert_str(signature, "subject", SUBJECT);
    text = qtest_hmp(run->qts, "info nitro");
    line = g_strdup_printf("signature: %s, certificate valid from 2023-11-13 ",
                           row->state);
    g_assert_nonnull(strstr(text, line));
    g_assert_nonnull(strstr(text, "\r\nsigner: " SUBJECT "\r\n"));
    qobject_unref(reply);
    run_quit(run);
}
#endif

static void add_signature_tests(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(unread); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/monitor/signature/%s",
                                                unread[i].path);

        qtest_add_data_func(path, &unread[i], test_unread);
    }
#ifdef CONFIG_GNUTLS
    for (size_t i = 0; i < ARRAY_SIZE(signed_images); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/monitor/signature/%s",
                                                signed_images[i].path);

        qtest_add_data_func(path, &signed_images[i], test_signed);
    }
#endif
}

void add_image_tests(void)
{
    qtest_add_func("/nitro/monitor/eif", test_eif);
    qtest_add_func("/nitro/monitor/debug", test_debug);
    qtest_add_func("/nitro/monitor/kernel", test_kernel);
    qtest_add_func("/nitro/monitor/unmeasured", test_unmeasured);
    qtest_add_func("/nitro/monitor/no-threads", test_no_threads);
    add_signature_tests();
}
