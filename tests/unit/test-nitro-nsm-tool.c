/*
 * qemu-nsm: the tool for attestation documents, run as users run it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/nsm-document.h"
#include "qobject/qbool.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "qobject/qnull.h"
#include "qobject/qstring.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/nsm-maker.h"
#include "tests/nitro/spawn-tool.h"
#include "tests/nitro/temp-tree.h"

#define AT "--time=2023-11-14T22:13:20Z " /* NSM_MAKER_NOW */
#define VERIFY "verify --root=root.pem " AT

static char *program;
static char *dir;

/* Result of the last run */
static int status;
static char *out;
static char *err;

static void write_file(const char *name, const void *data, size_t len)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    g_assert(g_file_set_contents(path, data, len, NULL));
}

static void write_document(const NSMMaker *maker, const char *name,
                           NSMMakerFields fields)
{
    g_autoptr(GByteArray) doc = nsm_maker_document(maker, &fields);

    write_file(name, doc->data, doc->len);
}

static void write_flipped(const NSMMaker *maker, const char *name,
                          int from_end)
{
    g_autoptr(GByteArray) doc = nsm_maker_document(maker,
                                                   &(NSMMakerFields) { });

    doc->data[doc->len - from_end] ^= 1;
    write_file(name, doc->data, doc->len);
}

static void write_roots(const NSMMaker *maker)
{
    GByteArray *der = nsm_maker_certificate(maker, NSM_MAKER_ROOT);
    g_autofree char *pem = nsm_maker_pem(maker, NSM_MAKER_ROOT);
    g_autofree char *other = nsm_maker_pem(maker, NSM_MAKER_LEAF);
    g_autofree char *hex = g_compute_checksum_for_data(G_CHECKSUM_SHA256,
                                                       der->data, der->len);

    write_file("root.pem", pem, strlen(pem));
    write_file("other.pem", other, strlen(other));
    write_file("fingerprint", hex, strlen(hex));
}

static void write_files(void)
{
    g_autoptr(NSMMaker) maker = nsm_maker_new(NSM_MAKER_GOOD);
    g_autoptr(NSMMaker) bad = nsm_maker_new(NSM_MAKER_CA_MISSING);
    g_autoptr(GByteArray) image = eif_maker_image(4, 0, EXAMPLE);
    g_autofree char *pem = nsm_maker_pem(bad, NSM_MAKER_ROOT);
    char big[NSM_DOC_MAX + 2] = { };

    write_roots(maker);
    write_document(maker, "good", (NSMMakerFields) { });
    write_document(maker, "full", (NSMMakerFields) {
        .indefinite = true, .pcr16 = true,
        .public_key = "key", .user_data = "", .nonce = "nonce",
    });
    write_document(maker, "debug", (NSMMakerFields) { .debug = true });
    write_document(bad, "bad-chain", (NSMMakerFields) { });
    write_file("bad-root.pem", pem, strlen(pem));
    write_flipped(maker, "bad-signature", 1);
    write_flipped(maker, "bad-form", NSM_DOC_SIGNATURE_LEN + 2);
    write_file("image.eif", image->data, image->len);
    eif_maker_add(image, 4, "junk", 4);
    eif_maker_finish(image);
    write_file("junk.eif", image->data, image->len);
    write_file("nonce", "nonce", 5);
    write_file("empty", "", 0);
    write_file("big", big, sizeof(big));
}

static void run_line(const char *line)
{
    spawn_tool(dir, line, &status, &out, &err);
}

static void run(const char *arguments)
{
    g_autofree char *line = g_strdup_printf("'%s' %s", program, arguments);

    run_line(line);
}

typedef struct Line {
    const char *arguments;
    int status;
    const char *output; /* a part of it, of stdout and stderr */
} Line;

#define X4(text) text text text text
#define X48(text) X4(text) X4(text) X4(text) X4(text) X4(text) X4(text) \
                  X4(text) X4(text) X4(text) X4(text) X4(text) X4(text)
#define AWS_ROOT \
    "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"

static const Line lines[] = {
    /* Each cause */
    { VERIFY "good", 0, "\"Valid\": true" },
    { VERIFY "full", 0, "\"Valid\": true" },
    { VERIFY "bad-form", 2, "\"Cause\": \"form\"" },
    { VERIFY "empty", 2, "a list of four expected at byte 0" },
    { VERIFY "big", 2, "at most 12288 bytes, this one has 12289" },
    { "verify --root=bad-root.pem " AT "bad-chain", 3, "it is not a CA" },
    { "verify --root=other.pem " AT "good", 3, "the root certificate has the "
      "fingerprint " },
    { "verify " AT "good", 3, "trusted is " AWS_ROOT " (AWS)" },
    { VERIFY "bad-signature", 4, "\"Cause\": \"signature\"" },
    { "verify --root=root.pem good", 5, "certificate was valid until" },
    { "verify --root=root.pem --time=2023-11-15T01:13:21Z good", 5,
      "leaf certificate: the certificate was valid until "
      "2023-11-15T01:13:20Z" },
    { "verify --root=root.pem --time=2023-11-14T22:13:51Z --max-age=30 good",
      5, "more than 30 seconds later" },
    { "verify --root=root.pem --time=2023-11-14T22:13:50Z --max-age=30 good",
      0, "\"Valid\": true" },
    { "verify --root=root.pem --time=document good", 0, "\"Valid\": true" },
    { VERIFY "--pcr=0=" X48("11") " good", 6, "\"Cause\": \"expected\"" },
    { VERIFY "debug", 7, "\"Cause\": \"debug\"" },
    { VERIFY "--allow-debug debug", 0, "\"Valid\": true" },
    /* Values */
    { VERIFY "--pcr=0=" X48("10") " -p 1=" X48("11") " -p 5=" X48("00")
      " good", 0, "\"Valid\": true" },
    { VERIFY "-p 16=" X48("00") " good", 6, "PCR16 is absent" },
    { VERIFY "-p 16=" X48("00") " full", 0, "\"Valid\": true" },
    { VERIFY "-n 6e6F6e6365 -u '' -k 6b6579 full", 0, "\"Valid\": true" },
    { VERIFY "--nonce=@nonce full", 0, "\"Valid\": true" },
    { VERIFY "--nonce=@nonce good", 6, "nonce is absent, expected is "
      "6e6f6e6365" },
    { VERIFY "--user-data=@nonce full", 6, "user_data is empty" },
    { VERIFY "--public-key=00 full", 6, "public_key is 6b6579, expected is "
      "00" },
    { VERIFY "--image=image.eif good", 6, "expected is " EXAMPLE_PCR0 },
    /* Usage */
    { VERIFY "--image=none good", 1, "'none': No such file or directory" },
    { VERIFY "--image=junk.eif good", 1, "junk.eif: the signature section of "
      "the image is broken: " },
    { VERIFY "--image=nonce good", 1, "nonce: " },
    { VERIFY "--pcr=32=00 good", 1, "'32=00' is not N=HEX with a register N "
      "from 0 to 31" },
    { VERIFY "--pcr=-1=00 good", 1, "'-1=00' is not N=HEX" },
    { VERIFY "--pcr=0 good", 1, "'0' is not N=HEX" },
    { VERIFY "--pcr=0=00 good", 1, "PCR0 has 96 hexadecimal digits, '00' has "
      "2" },
    { VERIFY "-p 0=" X48("11") " -p 1=" X48("11") " --pcr=0=" X48("10")
      " good", 1, "register 0 is given twice\nTry 'qemu-nsm verify --help'." },
    { VERIFY "--pcr=8=" X48("11") " --image=image.eif good", 1, "register 8 is "
      "given twice" },
    { VERIFY "--image=image.eif --pcr=00=" X48("11") " good", 1, "register 0 "
      "is given twice" },
    { VERIFY "--nonce=0 good", 1, "'0' is not an even number of hexadecimal "
      "digits" },
    { VERIFY "--nonce=@none good", 1, "'none': No such file or directory" },
    { VERIFY "--nonce=@big good", 1, "big has more than 4096 bytes" },
    { VERIFY "--nonce=@/dev/zero good", 1, "/dev/zero has more than 4096 "
      "bytes" },
    { "verify --time=now good", 1, "'now' is not a time like "
      "2026-01-31T12:00:00Z\nTry 'qemu-nsm verify --help'." },
    { VERIFY "--max-age=-1 good", 1, "'-1' is not a number of seconds" },
    { "verify --root=none good", 1, "'none': No such file or directory" },
    { "verify --root=nonce good", 1, "nonce: no X.509 certificate in PEM "
      "form" },
    { VERIFY "--root-fingerprint=00 good", 1, "--root and --root-fingerprint "
      "exclude each other" },
    { VERIFY "--nonce=00 --nonce=01 good", 1, "--nonce is given more than "
      "once" },
    { "verify --root-fingerprint=00 good", 1, "a SHA-256 has 64 hexadecimal "
      "digits, '00' has 2" },
    { "verify --what good", 1, "Try 'qemu-nsm verify --help'." },
    { "verify", 1, "one document is needed, there are 0" },
    { "verify none", 1, "'none': No such file or directory" },
    { "verify .", 1, ".: cannot read: Is a directory" },
    { "show good full", 1, "one document is needed, there are 2" },
    { "show bad-form", 2, "expected at byte" },
    { "show --what good", 1, "Try 'qemu-nsm show --help'." },
    { "", 1, "a command is needed\nTry 'qemu-nsm --help'." },
    { "sign", 1, "there is no command 'sign'" },
    { "--help", 0, "Usage: qemu-nsm COMMAND" },
    { "--version", 0, "qemu-nsm version 1" },
    { "show --help", 0, "Usage: qemu-nsm show" },
    { "verify --help", 0, "Usage: qemu-nsm verify" },
};

static void test_lines(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        g_autofree char *both = NULL;

        run(lines[i].arguments);
        both = g_strconcat(out, err, NULL);
        if (!strstr(both, lines[i].output) || status != lines[i].status) {
            g_error("%s: exit status %d, not %d with '%s':\n%s",
                    lines[i].arguments, status, lines[i].status,
                    lines[i].output, both);
        }
    }
}

static void test_fingerprint(void)
{
    g_autofree char *path = g_build_filename(dir, "fingerprint", NULL);
    g_autofree char *hex = NULL;
    g_autofree char *line = NULL;

    g_assert(g_file_get_contents(path, &hex, NULL, NULL));
    line = g_strdup_printf("verify --root-fingerprint=%.2s:%s " AT "good", hex,
                           hex + 2); /* colons as openssl has them */
    run(line);
    g_assert_cmpint(status, ==, 0);
    g_assert_nonnull(strstr(out, hex));
}

static QDict *json(void)
{
    QObject *value = qobject_from_json(out, &error_abort);

    g_assert_nonnull(qobject_to(QDict, value));
    return qobject_to(QDict, value);
}

static void check_document(QDict *d)
{
    QDict *pcrs = qdict_get_qdict(d, "PCRs");
    QList *certs = qdict_get_qlist(d, "Certificates");

    g_assert_cmpstr(qdict_get_str(d, "ModuleID"), ==,
                    "i-0123456789abcdef0-enc018bcfe568000001");
    g_assert_cmpint(qdict_get_int(d, "Timestamp"), ==, 1700000000123);
    g_assert_cmpstr(qdict_get_str(d, "Time"), ==, "2023-11-14T22:13:20Z");
    g_assert_cmpstr(qdict_get_str(d, "Digest"), ==, "SHA384");
    g_assert_cmpuint(qdict_size(pcrs), ==, 17);
    g_assert_cmpstr(qdict_get_str(pcrs, "PCR0"), ==, X48("10"));
    g_assert_cmpstr(qdict_get_str(pcrs, "PCR16"), ==, X48("00"));
    g_assert_cmpstr(qdict_get_str(d, "PublicKey"), ==, "6b6579");
    g_assert_cmpstr(qdict_get_str(d, "UserData"), ==, "");
    g_assert_cmpstr(qdict_get_str(d, "Nonce"), ==, "6e6f6e6365");
    g_assert_cmpstr(qdict_get_str(d, "MapHead"), ==, "indefinite");
    g_assert_false(qdict_get_bool(d, "Tagged"));
    g_assert_cmpuint(qlist_size(certs), ==, 5);
    g_assert_cmpstr(qdict_get_str(qobject_to(QDict, qlist_peek(certs)),
                                  "Subject"), ==, "CN=root.test,O=Test,C=US");
}

static void test_show(void)
{
    g_autoptr(QDict) d = NULL;
    g_autoptr(QDict) plain = NULL;

    run("show full");
    g_assert_cmpint(status, ==, 0);
    d = json();
    check_document(d);
    run("show good");
    plain = json();
    g_assert_nonnull(qobject_to(QNull, qdict_get(plain, "Nonce")));
    g_assert_cmpstr(qdict_get_str(plain, "MapHead"), ==, "definite");
}

static void test_verify_json(void)
{
    g_autoptr(QDict) d = NULL;
    QDict *root, *checks;

    run("verify " AT "full");
    g_assert_cmpint(status, ==, 3);
    g_assert_cmpstr(err, ==, "");
    d = json();
    check_document(qdict_get_qdict(d, "Document"));
    g_assert_false(qdict_get_bool(d, "Valid"));
    g_assert_cmpstr(qdict_get_str(d, "Cause"), ==, "chain");
    checks = qdict_get_qdict(d, "Checks");
    g_assert_cmpstr(qdict_get_str(checks, "form"), ==, "good");
    g_assert_cmpstr(qdict_get_str(checks, "chain"), ==, "bad");
    g_assert_cmpstr(qdict_get_str(checks, "signature"), ==, "good");
    g_assert_cmpstr(qdict_get_str(checks, "dates"), ==, "good");
    root = qdict_get_qdict(d, "Root");
    g_assert_cmpstr(qdict_get_str(root, "Subject"), ==,
                    "CN=root.test,O=Test,C=US");
    g_assert_false(qdict_get_bool(root, "IsAWS"));
}

static void test_stdin(void)
{
    g_autofree char *line =
        g_strdup_printf("/bin/sh -c 'exec \"$0\" " VERIFY "- < good' '%s'",
                        program);
    g_autofree char *endless =
        g_strdup_printf("/bin/sh -c 'exec \"$0\" show - < /dev/zero' '%s'",
                        program);

    run_line(line);
    g_assert_cmpint(status, ==, 0);
    run_line(endless);
    g_assert_cmpint(status, ==, 2);
    g_assert_nonnull(strstr(err, "at most 12288 bytes"));
}

/* No output must not look like success */
static void test_full_disk(void)
{
    static const char *const commands[] = { "show good", VERIFY "good" };

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        g_autofree char *line =
            g_strdup_printf("/bin/sh -c 'exec \"$0\" %s > /dev/full' '%s'",
                            commands[i], program);

        run_line(line);
        g_assert_cmpint(status, ==, 1);
        g_assert_nonnull(strstr(err, "cannot write to stdout: No space left"));
    }
}

/* Documents made by AWS, with the root that the tool knows */
static void test_aws_root(void)
{
    const char *vectors = getenv("EIF_VECTORS");
    g_autofree char *file = g_build_filename(vectors ?: "", "attestation",
                                             "d2-production.bin", NULL);
    g_autofree char *line = NULL;
    g_autoptr(QDict) d = NULL;

    if (!vectors || !g_file_test(file, G_FILE_TEST_EXISTS)) {
        g_test_skip("EIF_VECTORS names no directory with attestation documents "
                    "made by AWS");
        return;
    }
    line = g_strdup_printf("verify --time=2022-11-09T22:52:00Z '%s'", file);
    run(line);
    g_assert_cmpint(status, ==, 0);
    d = json();
    g_assert_true(qdict_get_bool(qdict_get_qdict(d, "Root"), "IsAWS"));
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(d, "Root"), "Subject"), ==,
                    "CN=aws.nitro-enclaves,OU=AWS,O=Amazon,C=US");
}

int main(int argc, char **argv)
{
    g_autofree char *built = NULL;
    int rc;

    g_test_init(&argc, &argv, NULL);
    built = g_test_build_filename(G_TEST_BUILT, "..", "..", "tools", "nsm",
                                  "qemu-nsm", NULL);
    program = g_canonicalize_filename(built, NULL);
    dir = g_dir_make_tmp("nsm-tool-test-XXXXXX", NULL);
    g_assert_nonnull(dir);
    write_files();

    g_test_add_func("/nsm/tool/lines", test_lines);
    g_test_add_func("/nsm/tool/fingerprint", test_fingerprint);
    g_test_add_func("/nsm/tool/show", test_show);
    g_test_add_func("/nsm/tool/verify-json", test_verify_json);
    g_test_add_func("/nsm/tool/stdin", test_stdin);
    g_test_add_func("/nsm/tool/full-disk", test_full_disk);
    g_test_add_func("/nsm/tool/aws-root", test_aws_root);
    rc = g_test_run();
    temp_tree_remove(dir);
    g_free(dir);
    g_free(program);
    g_free(out);
    g_free(err);
    return rc;
}
