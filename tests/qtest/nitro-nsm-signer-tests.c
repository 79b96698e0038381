/*
 * The Nitro Secure Module: documents that are signed, by -object
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a signed document consists of is in the unit test; here it is the
 * object, the device, and the file between them.
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <gnutls/x509.h>
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "hw/core/nsm-certificate.h"
#include "nitro-nsm-util.h"

#define ATTESTATION "\xa1\x6b" "Attestation\xa0"
#define SIGNED "\xa1\x6b" "Attestation\xa1\x68" "document\x59"
#define SIGNED_HEADER "\x84\x44\xa1\x01\x38\x22\xa0\x59"
#define FAILED "\xa1\x65" "Error\x6d" "InternalError"
#define TOO_LARGE "\xa1\x65" "Error\x6d" "InputTooLarge"

#define MINUTE 60
#define DAY (24 * 60 * MINUTE)

static char *directory;
static char *pem_file;
static char *clock_file;

/* A key and chain whose instance was made so long ago */
static void write_pem(int64_t age)
{
    int64_t now = g_get_real_time() / G_USEC_PER_SEC - age;
    g_autoptr(NSMIdentity) root = nsm_identity_new(NSM_LEVEL_ROOT, NULL, NULL,
                                                   now, &error_abort);
    g_autoptr(NSMIdentity) instance = nsm_identity_new(
        NSM_LEVEL_INSTANCE, root, "i-0", now, &error_abort);
    GString *text = g_string_new("");

    nsm_identity_append_key(instance, text, &error_abort);
    nsm_identity_append_certificate(root, text);
    nsm_identity_append_certificate(instance, text);
    g_assert_true(g_file_set_contents(pem_file, text->str, text->len, NULL));
    nsm_wipe(text);
}

static char *object(const char *more)
{
    return g_strdup_printf("-object nitro-nsm-signer,id=signer0,file=%s%s",
                           pem_file, more);
}

static bool contains(const uint8_t *reply, const char *bytes, size_t len)
{
    return memmem(reply, NSM_RESPONSE_SIZE, bytes, len);
}

#define CONTAINS(reply, bytes) contains(reply, bytes, sizeof(bytes) - 1)

static size_t attest(NSMDevice *nsm, uint8_t *reply)
{
    return nsm_ask(nsm, ATTESTATION, sizeof(ATTESTATION) - 1, reply);
}

static void check_signed(const uint8_t *reply, size_t len, uint8_t map)
{
    size_t head = sizeof(SIGNED) - 1;

    g_assert_cmpmem(reply, head, SIGNED, head);
    g_assert_cmpuint(lduw_be_p(reply + head), ==, len - head - 2);
    g_assert_cmpmem(reply + head + 2, sizeof(SIGNED_HEADER) - 1,
                    SIGNED_HEADER, sizeof(SIGNED_HEADER) - 1);
    g_assert_cmphex(reply[head + 2 + sizeof(SIGNED_HEADER) - 1 + 2], ==, map);
    g_assert_true(CONTAINS(reply, "\x69module_id\x6einsecure-enc12"));
    g_assert_true(CONTAINS(reply, "insecure-enc12.local-1.lab"));
}

/* The leaf's own certificate in a reply */
static GBytes *leaf(const uint8_t *reply)
{
    static const char key[] = "\x6b" "certificate\x59";
    uint8_t *at = memmem(reply, NSM_RESPONSE_SIZE, key, sizeof(key) - 1);

    g_assert_nonnull(at);
    at += sizeof(key) - 1;
    return g_bytes_new(at + 2, lduw_be_p(at));
}

static void start_with(NSMDevice *nsm, const char *options)
{
    nsm_start(nsm, ",pcr0=" "000102030405060708090a0b0c0d0e0f"
              "000102030405060708090a0b0c0d0e0f"
              "000102030405060708090a0b0c0d0e0f,module-id=insecure-enc12",
              options);
}

static void start(NSMDevice *nsm, const char *more)
{
    g_autofree char *options = object(more);

    start_with(nsm, options);
}

/* One leaf for all documents, a signature for each */
static void test_signed(void)
{
    g_autofree uint8_t *first = g_malloc(NSM_RESPONSE_SIZE);
    g_autofree uint8_t *second = g_malloc(NSM_RESPONSE_SIZE);
    g_autoptr(GBytes) one = NULL;
    g_autoptr(GBytes) other = NULL;
    NSMDevice nsm;
    size_t len;

    write_pem(0);
    start(&nsm, "");
    len = attest(&nsm, first);
    check_signed(first, len, 0xbf);
    len = attest(&nsm, second);
    check_signed(second, len, 0xbf);
    g_assert_cmpint(memcmp(first, second, len), !=, 0);
    one = leaf(first);
    other = leaf(second);
    g_assert_true(g_bytes_equal(one, other));
    nsm_stop(&nsm);
}

static void test_definite(void)
{
    g_autofree uint8_t *reply = g_malloc(NSM_RESPONSE_SIZE);
    NSMDevice nsm;

    write_pem(0);
    start(&nsm, ",definite-map=on");
    check_signed(reply, attest(&nsm, reply), 0xa9);
    nsm_stop(&nsm);
}

/* The file is read again when the instance in it ends soon */
static void test_renewed(void)
{
    g_autofree uint8_t *first = g_malloc(NSM_RESPONSE_SIZE);
    g_autofree uint8_t *second = g_malloc(NSM_RESPONSE_SIZE);
    g_autofree char *content = NULL;
    g_autoptr(GPtrArray) chain = NULL;
    NSMDevice nsm;

    write_pem(DAY - 300);
    start(&nsm, "");
    write_pem(0);
    check_signed(first, attest(&nsm, first), 0xbf);
    g_assert_true(g_file_get_contents(pem_file, &content, NULL, NULL));
    chain = nsm_certificates_load(content, &error_abort);
    for (unsigned i = 0; i < chain->len; i++) {
        GByteArray *der = g_ptr_array_index(chain, i);

        g_assert_true(contains(first, (char *)der->data, der->len));
    }
    /* What cannot be read leaves the signer as it was */
    g_assert_true(g_file_set_contents(pem_file, "broken", -1, NULL));
    check_signed(second, attest(&nsm, second), 0xbf);
    nsm_stop(&nsm);
}

/* Encrypt the key in the file */
static void protect_pem(const char *password)
{
    g_autofree char *content = NULL;
    g_autofree char *protected = NULL;
    gnutls_x509_privkey_t key;
    gnutls_datum_t text, pem;

    g_assert_true(g_file_get_contents(pem_file, &content, NULL, NULL));
    text = (gnutls_datum_t) { (unsigned char *)content, strlen(content) };
    g_assert_cmpint(gnutls_x509_privkey_init(&key), ==, 0);
    g_assert_cmpint(gnutls_x509_privkey_import2(
        key, &text, GNUTLS_X509_FMT_PEM, NULL, 0), ==, 0);
    g_assert_cmpint(gnutls_x509_privkey_export2_pkcs8(
        key, GNUTLS_X509_FMT_PEM, password, GNUTLS_PKCS_PBES2_AES_256, &pem),
        ==, 0);
    protected = g_strconcat((char *)pem.data,
                            strstr(content, "-----BEGIN CERTIFICATE"), NULL);
    g_assert_nonnull(strstr(protected, "BEGIN ENCRYPTED PRIVATE KEY"));
    g_assert_true(g_file_set_contents(pem_file, protected, -1, NULL));
    gnutls_free(pem.data);
    gnutls_x509_privkey_deinit(key);
}

/* The password is a secret object's, as other objects have theirs */
static char *object_with_password(const char *password)
{
    g_autofree char *signer = object(",passwordid=secret0");

    return g_strdup_printf("-object secret,id=secret0,data=%s %s", password,
                           signer);
}

static void test_password(void)
{
    g_autofree uint8_t *reply = g_malloc(NSM_RESPONSE_SIZE);
    g_autofree char *right = object_with_password("sesame");
    NSMDevice nsm;

    write_pem(0);
    protect_pem("sesame");
    start_with(&nsm, right);
    check_signed(reply, attest(&nsm, reply), 0xbf);
    nsm_stop(&nsm);
}

static void set_clock(int64_t offset_s)
{
    g_autofree char *text = g_strdup_printf("%" PRId64, offset_s);

    g_assert_true(g_file_set_contents(clock_file, text, -1, NULL));
}

/* QEMU with a clock that the test sets */
static void start_with_clock(NSMDevice *nsm)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = g_path_get_dirname(self);
    g_autofree char *library = g_build_filename(dir, "nitro", "fake-clock.so",
                                                NULL);
    g_autofree char *asan = g_strdup(getenv("ASAN_OPTIONS"));
    g_autofree char *asan_too = g_strdup_printf(
        "%s%sverify_asan_link_order=0", asan ?: "", asan ? ":" : "");

    set_clock(0);
    g_setenv("FAKE_CLOCK", clock_file, true);
    g_setenv("ASAN_OPTIONS", asan_too, true);
    g_setenv("LD_PRELOAD", library, true);
    start(nsm, "");
    g_unsetenv("LD_PRELOAD");
    g_unsetenv("ASAN_OPTIONS");
    if (asan) {
        g_setenv("ASAN_OPTIONS", asan, true);
    }
}

/* The leaf of the document that is made then */
static GBytes *leaf_at(NSMDevice *nsm, int64_t offset_s)
{
    g_autofree uint8_t *reply = g_malloc(NSM_RESPONSE_SIZE);

    set_clock(offset_s);
    check_signed(reply, attest(nsm, reply), 0xbf);
    return leaf(reply);
}

/*
 * A leaf of three hours is replaced 15 minutes before its end, and an instance
 * by what the file has then.  The exact moments are in the unit test.
 */
static void test_clock(void)
{
    g_autofree uint8_t *reply = g_malloc(NSM_RESPONSE_SIZE);
    g_autoptr(GBytes) first = NULL;
    g_autoptr(GBytes) same = NULL;
    g_autoptr(GBytes) second = NULL;
    g_autoptr(GBytes) third = NULL;
    NSMDevice nsm;
    size_t len;

    write_pem(0);
    start_with_clock(&nsm);
    first = leaf_at(&nsm, 0);
    same = leaf_at(&nsm, 100 * MINUTE);
    g_assert_true(g_bytes_equal(first, same));
    second = leaf_at(&nsm, 170 * MINUTE);
    g_assert_false(g_bytes_equal(first, second));
    /* Nobody has renewed the instance */
    set_clock(2 * DAY);
    len = attest(&nsm, reply);
    g_assert_cmpmem(reply, len, FAILED, sizeof(FAILED) - 1);
    write_pem(-2 * DAY);
    third = leaf_at(&nsm, 2 * DAY + 60 * MINUTE);
    g_assert_false(g_bytes_equal(second, third));
    nsm_stop(&nsm);
}

/* The largest request still fits, and 32 registers with it */
static void test_large(void)
{
    static const char head[] =
        "\xa1\x6b" "Attestation\xa1\x65nonce\x59\x0f\xe9";
    static const char lock[] = "\xa1\x68LockPCRs\xa1\x65range\x18\x20";
    g_autofree uint8_t *reply = g_malloc(NSM_RESPONSE_SIZE);
    g_autofree char *request = g_malloc0(0x1000);
    NSMDevice nsm;
    size_t len;

    write_pem(0);
    start(&nsm, "");
    nsm_ask(&nsm, lock, sizeof(lock) - 1, reply);
    memcpy(request, head, sizeof(head) - 1);
    len = nsm_ask(&nsm, request, 0x1000, reply);
    check_signed(reply, len, 0xbf);
    g_assert_true(CONTAINS(reply, "\x65nonce\x59\x0f\xe9"));
    nsm_stop(&nsm);
}

static void run_refused(const char *options, const char *message)
{
    g_autofree char *firmware = nsm_make_firmware();
    g_autofree char *cmd = g_strdup_printf(
        "%s -accel qtest %s -display none -nodefaults -bios %s %s "
        "-device virtio-nsm-device", g_getenv("QTEST_QEMU_BINARY"),
        nsm_machine()->options, firmware, options);
    g_autofree char *err = NULL;
    int status;

    g_assert_true(g_spawn_command_line_sync(cmd, NULL, &err, &status, NULL));
    g_test_message("%s", err);
    g_assert_cmpint(status, !=, 0);
    g_assert_nonnull(strstr(err, message));
    g_unlink(firmware);
}

static void test_refused(void)
{
    g_autofree char *good = object("");
    g_autofree char *two = g_strdup_printf(
        "%s -object nitro-nsm-signer,id=signer1,file=%s", good, pem_file);
    g_autofree char *secret = object(",passwordid=nobody");
    g_autofree char *wrong = object_with_password("wrong");
    g_autofree char *dir = g_strdup_printf(
        "-object nitro-nsm-signer,id=s,file=%s", directory);

    write_pem(0);
    run_refused("-object nitro-nsm-signer,id=s", "'file' is missing");
    run_refused("-object nitro-nsm-signer,id=s,file=/nowhere/at/all",
                "/nowhere/at/all");
    run_refused(dir, "is not a regular file");
    run_refused(secret, "No secret with id 'nobody'");
    run_refused(two, "several objects nitro-nsm-signer");
    write_pem(2 * DAY);
    run_refused(good, "is not valid now");
    protect_pem("sesame");
    run_refused(good, "cannot read the private key");
    run_refused(wrong, "cannot read the private key");
    g_assert_true(g_file_set_contents(pem_file, "", 0, NULL));
    run_refused(good, "cannot read the certificates");
}

/* An object that a device has stays */
static void test_in_use(void)
{
    QDict *response;
    NSMDevice nsm;

    write_pem(0);
    start(&nsm, "");
    response = qtest_qmp(nsm.qts, "{'execute': 'object-del', 'arguments': "
                         "{'id': 'signer0'}}");
    g_assert_true(qdict_haskey(response, "error"));
    qobject_unref(response);
    nsm_stop(&nsm);
}

void nsm_add_signer_tests(void)
{
    directory = g_dir_make_tmp("nitro-signer-XXXXXX", NULL);
    pem_file = g_build_filename(directory, "instance.pem", NULL);
    clock_file = g_build_filename(directory, "clock", NULL);
    qtest_add_func("/nitro/nsm/signer/signed", test_signed);
    qtest_add_func("/nitro/nsm/signer/definite", test_definite);
    qtest_add_func("/nitro/nsm/signer/renewed", test_renewed);
    qtest_add_func("/nitro/nsm/signer/password", test_password);
    qtest_add_func("/nitro/nsm/signer/clock", test_clock);
    qtest_add_func("/nitro/nsm/signer/large", test_large);
    qtest_add_func("/nitro/nsm/signer/refused", test_refused);
    qtest_add_func("/nitro/nsm/signer/in-use", test_in_use);
}

void nsm_remove_signer_files(void)
{
    if (directory) {
        g_unlink(pem_file);
        g_unlink(clock_file);
        g_rmdir(directory);
        g_free(pem_file);
        g_free(clock_file);
        g_free(directory);
    }
}
