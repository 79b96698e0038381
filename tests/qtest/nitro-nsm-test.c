/*
 * The Nitro Secure Module: the two buffers of a request, registers it is given
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A request and room for its response are two descriptor chains.  The device
 * may look at the queue when only the first is there.
 *
 * Machine virt does not measure what it boots: there the registers are
 * properties of the device.
 */
#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "nitro-nsm-util.h"

#define PCR_LEN 48
/* CBOR: text of 11 bytes; and a map of one entry that has it as its key */
#define REQUEST "\x6b" "DescribeNSM"
#define RESPONSE "\xa1" REQUEST

/* CBOR: a map of one entry, whose value is a map of one or no entry */
#define DESCRIBE_PCR(index) "\xa1\x6b" "DescribePCR\xa1\x65index" index
#define ATTESTATION "\xa1\x6b" "Attestation\xa0"
#define EXTEND_PCR(index) \
    "\xa1\x69" "ExtendPCR\xa2\x65index" index "\x64" "data\x41x"
/* What replies have inside */
#define PCR_DATA "\x64" "data\x58\x30"
#define LOCKED "\x64lock\xf5"
#define UNLOCKED "\x64lock\xf4"

static void check_response(NSMDevice *nsm)
{
    char text[sizeof(RESPONSE) - 1];
    uint32_t head, length;

    g_assert_true(qvirtqueue_get_buf(nsm->qts, nsm->vq, &head, &length));
    g_assert_cmpuint(head, ==, 0);
    g_assert_cmpuint(length, ==, 0);
    g_assert_true(qvirtqueue_get_buf(nsm->qts, nsm->vq, &head, &length));
    g_assert_cmpuint(head, ==, 1);
    g_assert_cmpuint(length, >, sizeof(text));
    qtest_memread(nsm->qts, nsm->response, text, sizeof(text));
    g_assert_cmpmem(text, sizeof(text), RESPONSE, strlen(RESPONSE));
}

static void test_one_by_one(void)
{
    NSMDevice nsm;

    nsm_start(&nsm, "", "");
    nsm_post_request(&nsm, REQUEST, strlen(REQUEST));
    nsm_notify(&nsm, 0);
    nsm_notify(&nsm, 0);
    nsm_post_response(&nsm);
    nsm_notify(&nsm, 2);
    check_response(&nsm);
    nsm_stop(&nsm);
}

static void test_both(void)
{
    NSMDevice nsm;

    nsm_start(&nsm, "", "");
    nsm_post_request(&nsm, REQUEST, strlen(REQUEST));
    nsm_post_response(&nsm);
    nsm_notify(&nsm, 2);
    check_response(&nsm);
    nsm_stop(&nsm);
}

/* The reply to the only request of this machine's life */
static void ask(const char *properties, const char *request, size_t len,
                uint8_t reply[NSM_RESPONSE_SIZE])
{
    NSMDevice nsm;

    nsm_start(&nsm, properties, "");
    nsm_ask(&nsm, request, len, reply);
    nsm_stop(&nsm);
}

#define ASK(properties, request, reply) \
    ask(properties, request, sizeof(request) - 1, reply)

static bool contains(const uint8_t *reply, const void *bytes, size_t len)
{
    return memmem(reply, NSM_RESPONSE_SIZE, bytes, len);
}

static void check_pcr(const uint8_t *reply, uint8_t byte, bool locked)
{
    uint8_t want[sizeof(PCR_DATA) - 1 + PCR_LEN] = PCR_DATA;
    const char *lock = locked ? LOCKED : UNLOCKED;

    memset(want + sizeof(PCR_DATA) - 1, byte, PCR_LEN);
    g_assert_true(contains(reply, want, sizeof(want)));
    g_assert_true(contains(reply, lock, strlen(lock)));
}

/* ",pcrN=" with the same byte all over */
static char *property(unsigned index, uint8_t byte)
{
    GString *text = g_string_new("");

    g_string_append_printf(text, ",pcr%u=", index);
    for (unsigned i = 0; i < PCR_LEN; i++) {
        g_string_append_printf(text, i % 2 ? "%02x" : "%02X", byte);
    }
    return g_string_free(text, false);
}

static void test_given(void)
{
    g_autofree uint8_t *reply = g_malloc(NSM_RESPONSE_SIZE);
    g_autofree char *pcr0 = property(0, 0xab);
    g_autofree char *pcr8 = property(8, 0x12);
    g_autofree char *pcr4 = property(4, 0xff);
    g_autofree char *all = g_strconcat(pcr0, pcr8, pcr4, NULL);

    ASK(all, DESCRIBE_PCR("\x00"), reply);
    check_pcr(reply, 0xab, true);
    ASK(all, DESCRIBE_PCR("\x08"), reply);
    check_pcr(reply, 0x12, true);
    ASK(all, DESCRIBE_PCR("\x04"), reply);
    check_pcr(reply, 0xff, true);
    /* The hypervisor's without a value, and the guest's */
    ASK(all, DESCRIBE_PCR("\x01"), reply);
    check_pcr(reply, 0, true);
    ASK(all, DESCRIBE_PCR("\x0f"), reply);
    check_pcr(reply, 0, true);
    ASK(all, DESCRIBE_PCR("\x10"), reply);
    check_pcr(reply, 0, false);
}

static void test_not_given(void)
{
    g_autofree uint8_t *reply = g_malloc(NSM_RESPONSE_SIZE);

    ASK("", DESCRIBE_PCR("\x00"), reply);
    check_pcr(reply, 0, false);
}

/* An enclave cannot make itself another one */
static void test_extend(void)
{
    g_autofree uint8_t *reply = g_malloc(NSM_RESPONSE_SIZE);
    g_autofree char *pcr0 = property(0, 0xab);
    static const char refused[] = "ReadOnlyIndex";

    ASK(pcr0, EXTEND_PCR("\x00"), reply);
    g_assert_true(contains(reply, refused, strlen(refused)));
    ASK(pcr0, EXTEND_PCR("\x0f"), reply);
    g_assert_true(contains(reply, refused, strlen(refused)));
    ASK(pcr0, EXTEND_PCR("\x10"), reply);
    g_assert_false(contains(reply, refused, strlen(refused)));
}

static void test_attestation(void)
{
    g_autofree uint8_t *reply = g_malloc(NSM_RESPONSE_SIZE);
    g_autofree char *pcr2 = property(2, 0xcd);
    uint8_t entry[3 + PCR_LEN] = "\x02\x58\x30";

    memset(entry + 3, 0xcd, PCR_LEN);
    ASK(pcr2, ATTESTATION, reply);
    g_assert_true(contains(reply, entry, sizeof(entry)));
    ASK("", ATTESTATION, reply);
    g_assert_false(contains(reply, "\x02\x58\x30", 3));
}

/* Start QEMU with its stderr in a file */
static char *start_logged(NSMDevice *nsm)
{
    int saved = dup(STDERR_FILENO);
    char *log;
    int fd = g_file_open_tmp("nitro-nsm-XXXXXX", &log, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(dup2(fd, STDERR_FILENO), ==, STDERR_FILENO);
    close(fd);
    nsm_start(nsm, "", "");
    g_assert_cmpint(dup2(saved, STDERR_FILENO), ==, STDERR_FILENO);
    close(saved);
    return log;
}

/* Without a signer: as QEMU alone, with a word about it for the first one */
static void test_unsigned(void)
{
    static const char header[] = "\x43\xa1\x01\x20";
    /* 64 zeros in place of it */
    static const char certificate[14 + 64] = "\x6b" "certificate\x58\x40";
    static const char warning[] = "attestation documents are not signed; "
                                  "-object nitro-nsm-signer,id=ID,file=PATH";
    g_autofree uint8_t *reply = g_malloc(NSM_RESPONSE_SIZE);
    g_autofree char *said = NULL, *log = NULL;
    NSMDevice nsm;

    log = start_logged(&nsm);
    for (int i = 0; i < 2; i++) {
        nsm_ask(&nsm, ATTESTATION, sizeof(ATTESTATION) - 1, reply);
        g_assert_true(contains(reply, header, sizeof(header) - 1));
        g_assert_true(contains(reply, certificate, sizeof(certificate)));
    }
    nsm_stop(&nsm);
    g_assert_true(g_file_get_contents(log, &said, NULL, NULL));
    g_unlink(log);
    g_test_message("%s", said);
    g_assert_nonnull(strstr(said, warning));
    g_assert_null(strstr(strstr(said, warning) + 1, warning));
}

#ifndef CONFIG_GNUTLS
/* A build that cannot sign says so, instead of a start without signatures */
static void test_no_gnutls(void)
{
    g_autofree char *firmware = nsm_make_firmware();
    g_autofree char *cmd = g_strdup_printf(
        "%s -accel qtest %s -display none -nodefaults -bios %s "
        "-object nitro-nsm-signer,id=signer0,file=%s",
        g_getenv("QTEST_QEMU_BINARY"), nsm_machine()->options, firmware,
        firmware);
    g_autofree char *err = NULL;
    int status;

    g_assert_true(g_spawn_command_line_sync(cmd, NULL, &err, &status, NULL));
    g_assert_cmpint(status, !=, 0);
    g_test_message("%s", err);
    g_assert_nonnull(strstr(err, "this build has no GnuTLS 3.6"));
    g_unlink(firmware);
}
#endif

static void test_refused(void)
{
    g_autofree char *firmware = nsm_make_firmware();
    static const struct {
        const char *property, *message;
    } rows[] = {
        { ",pcr0=", "a PCR has 96 hexadecimal digits, '' is not one" },
        { ",pcr3=abc", "a PCR has 96 hexadecimal digits, 'abc' is not one" },
        { ",pcr5=00", "Property 'virtio-nsm-device.pcr5' not found" },
    };

    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *cmd = g_strdup_printf(
            "%s -accel qtest %s -display none -nodefaults -bios %s "
            "-device virtio-nsm-device%s", g_getenv("QTEST_QEMU_BINARY"),
            nsm_machine()->options, firmware, rows[i].property);
        g_autofree char *err = NULL;
        int status;

        g_assert_true(g_spawn_command_line_sync(cmd, NULL, &err, &status,
                                                NULL));
        g_assert_cmpint(status, !=, 0);
        g_test_message("%s", err);
        g_assert_nonnull(strstr(err, rows[i].message));
    }
    g_unlink(firmware);
}

/* The properties can be read back, and are fixed then */
static void test_properties(void)
{
    g_autofree char *firmware = nsm_make_firmware();
    g_autofree char *pcr0 = property(0, 0xab);
    g_autofree char *low = g_ascii_strdown(pcr0 + strlen(",pcr0="), -1);
    QTestState *qts = qtest_initf("%s -nodefaults -bios %s -device "
                                  "virtio-nsm-device,id=nsm%s",
                                  nsm_machine()->options, firmware, pcr0);
    QDict *response = qtest_qmp(qts, "{'execute': 'qom-get', 'arguments': {"
                                "'path': '/machine/peripheral/nsm', "
                                "'property': 'pcr0'}}");

    g_assert_cmpstr(qdict_get_str(response, "return"), ==, low);
    qobject_unref(response);
    response = qtest_qmp(qts, "{'execute': 'qom-set', 'arguments': {"
                         "'path': '/machine/peripheral/nsm', "
                         "'property': 'pcr0', 'value': %s}}", low);
    g_assert_true(qdict_haskey(response, "error"));
    qobject_unref(response);
    qtest_quit(qts);
    g_unlink(firmware);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(void);
    } tests[] = {
        { "/nitro/nsm/both", test_both },
        { "/nitro/nsm/one-by-one", test_one_by_one },
        { "/nitro/nsm/given", test_given },
        { "/nitro/nsm/not-given", test_not_given },
        { "/nitro/nsm/extend", test_extend },
        { "/nitro/nsm/attestation", test_attestation },
        { "/nitro/nsm/unsigned", test_unsigned },
#ifndef CONFIG_GNUTLS
        { "/nitro/nsm/no-gnutls", test_no_gnutls },
#endif
        { "/nitro/nsm/refused", test_refused },
        { "/nitro/nsm/properties", test_properties },
    };
    int status;

    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_device("virtio-nsm-device") ||
        !qtest_has_machine(nsm_machine()->name)) {
        g_test_skip("no such device or machine in this build");
        return g_test_run();
    }
    for (unsigned i = 0; i < ARRAY_SIZE(tests); i++) {
        qtest_add_func(tests[i].path, tests[i].test);
    }
    nsm_add_request_tests();
#ifdef CONFIG_GNUTLS
    nsm_add_signer_tests();
#endif
    status = g_test_run();
#ifdef CONFIG_GNUTLS
    nsm_remove_signer_files();
#endif
    return status;
}
