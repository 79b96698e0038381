/*
 * qemu-eif: the tool for images of Nitro Enclaves, run as users run it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/core/eif-verify.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qbool.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/eif-signer.h"
#include "tests/nitro/spawn-tool.h"
#include "tests/nitro/temp-tree.h"

#define SIGNED_AT "--time=2023-11-14T22:13:20Z " /* EIF_SIGNER_NOW */

/* A register after "initial ramdisk" */
#define INITRD_PCR \
    "8898c2035f9782c15dc378aaa37bfccaf53526641ca2c408" \
    "24a99ef337460580d4e9cc729cfb6b06d9a94a85ff2c607e"

/* Of no use: a key on the curve secp256k1 */
#define K256 \
    "-----BEGIN EC PRIVATE KEY-----\n" \
    "MHQCAQEEILnCoTaAqfSyKtJjG42diG+8T5g0K1YVwtYSICLzaXH6oAcGBSuBBAAK\n" \
    "oUQDQgAEBQsvfDKmgP/dJj9wc8Sm69VE02++ZH4sBwe1E8dcfZ9/4OlPS+dqrfK4\n" \
    "AcO4u5513ppyjcm112Ty5OiVWAJ3gQ==\n" \
    "-----END EC PRIVATE KEY-----\n"

static char *tool;
static char *dir;
static GByteArray *original; /* content of good.eif */

/* Result of the last run */
static int status;
static char *out;
static char *err;

static char *path_of(const char *name)
{
    return g_build_filename(dir, name, NULL);
}

static void write_file(const char *name, const void *data, size_t len)
{
    g_autofree char *path = path_of(name);

    g_assert(g_file_set_contents(path, data, len, NULL));
}

static void assert_file(const char *name, const void *data, size_t len)
{
    g_autofree char *path = path_of(name);
    g_autofree char *found = NULL;
    gsize found_len;

    g_assert(g_file_get_contents(path, &found, &found_len, NULL));
    g_assert_cmpmem(found, found_len, data, len);
}

static bool exists(const char *name)
{
    g_autofree char *path = path_of(name);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static void spawn(const char *line)
{
    spawn_tool(dir, line, &status, &out, &err);
}

/* Run the tool within the directory */
static void run(const char *arguments)
{
    g_autofree char *line = g_strdup_printf("'%s' %s", tool, arguments);

    spawn(line);
}

static void run_well(const char *arguments)
{
    run(arguments);
    g_assert_cmpstr(err, ==, "");
    g_assert_cmpint(status, ==, 0);
}

static void assert_in(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        g_error("'%s' is not in: %s", part, text);
    }
}

static QDict *json(void)
{
    QObject *value = qobject_from_json(out, &error_abort);

    g_assert_nonnull(qobject_to(QDict, value));
    return qobject_to(QDict, value);
}

static void write_image(const char *name, GByteArray *image)
{
    write_file(name, image->data, image->len);
}

static void write_signed(const char *name, const EifSignerParams *params)
{
    g_autoptr(EifSigner) signer = eif_signer_new(params);
    g_autoptr(GByteArray) image = eif_signer_image(signer, 0);

    write_image(name, image);
}

/* Sections that no tool that signs would make */
static void write_broken_signatures(void)
{
    g_autoptr(GByteArray) junk = eif_maker_image(4, 0, BOOTABLE);
    g_autoptr(GByteArray) der = eif_maker_image(4, 0, BOOTABLE);
    g_autoptr(GByteArray) entry = eif_maker_signature("0\3\2\1\5", "COSE");

    eif_maker_add(junk, 4, "junk", 4);
    eif_maker_finish(junk);
    write_image("junk.eif", junk);
    eif_maker_add(der, 4, entry->data, entry->len);
    eif_maker_finish(der);
    write_image("der.eif", der);
}

/* NAME.pem and NAME.key; from and to are days from now */
static void write_pair(const char *name, int curve, int from, int to)
{
    int64_t now = g_get_real_time() / G_USEC_PER_SEC;
    EifSignerParams params = {
        .curve = curve,
        .not_before = now + from * EIF_SIGNER_DAY,
        .not_after = now + to * EIF_SIGNER_DAY,
    };
    g_autoptr(EifSigner) signer = eif_signer_new(&params);
    g_autofree char *pem = g_strconcat(name, ".pem", NULL);
    g_autofree char *key = g_strconcat(name, ".key", NULL);

    write_file(pem, signer->pem, strlen(signer->pem));
    write_file(key, signer->key_pem, strlen(signer->key_pem));
}

/* What a file may have around the certificate must not go into an image */
static void write_bundle(void)
{
    g_autofree char *pem_path = path_of("p384.pem");
    g_autofree char *key_path = path_of("p384.key");
    g_autofree char *pem = NULL;
    g_autofree char *key = NULL;
    g_autofree char *both = NULL;

    g_assert(g_file_get_contents(pem_path, &pem, NULL, NULL));
    g_assert(g_file_get_contents(key_path, &key, NULL, NULL));
    both = g_strconcat("Subject: signer\n", key, pem, pem, NULL);
    write_file("bundle.pem", both, strlen(both));
}

static void write_custom(void)
{
    g_autofree char *large = g_strnfill(4097, ' ');

    large[4095] = '1';
    write_file("bulk.json", large, 4097);
    write_file("most.json", large, 4096);
    write_file("null.json", "null\n", 5);
    write_file("single.json", "{'a': 1}", 8);
    write_file("quote.json", "\"it's \\\"\\\\\"", 11);
    write_file("nul.json", "1\0", 2);
    write_file("two.json", "1 2", 3);
    write_file("open.json", "{\"a\": [", 7);
}

static void write_files(void)
{
    static const char zboot[] = "MZ\0\0zimg\0\0\0\0\0\0\0\0gzip";
    char kernel[8192] = { };
    g_autoptr(GByteArray) good = eif_maker_image(4, 0, EXAMPLE);
    g_autoptr(GByteArray) arm = eif_maker_image(4, 1, EXAMPLE);
    g_autoptr(GByteArray) old = eif_maker_image(3, 0, "KCRr");
    g_autoptr(GByteArray) odd = eif_maker_image(4, 0, "KC");
    g_autoptr(GByteArray) boots = eif_maker_image(4, 0, BOOTABLE);

    write_image("boots.eif", boots);
    write_image("good.eif", good);
    original = g_byte_array_append(g_byte_array_new(), good->data, good->len);
    write_image("arm.eif", arm);
    write_image("old.eif", old);
    eif_maker_add(odd, 5, "{'a':[1e999,-1,18446744073709551615,1.5,true]", 45);
    eif_maker_finish(odd);
    write_image("odd.eif", odd);
    good->data[good->len - 1] ^= 1;
    write_image("damaged.eif", good);
    write_file("short.eif", good->data, good->len - 20);
    write_signed("signed.eif", &(EifSignerParams) {
        .sections = BOOTABLE, .pcr0 = BOOTABLE_PCR0 });
    write_signed("other.eif", &(EifSignerParams) {
        .sections = BOOTABLE, .pcr0 = EXAMPLE_PCR1 });

    write_broken_signatures();
    memcpy(kernel + 0x1fe, "\x55\xaa", 2);
    memcpy(kernel + 0x202, "HdrS", 4);
    write_file("bzImage", kernel, sizeof(kernel));
    memset(kernel, 0, sizeof(kernel));
    memcpy(kernel + 56, "ARM\x64", 4);
    write_file("Image", kernel, sizeof(kernel));
    write_file("Image.gz", "\x1f\x8b\x08\0\0\0\0\0\2\3", 10);
    write_file("vmlinuz.efi", zboot, sizeof(zboot) - 1);
    write_file("initrd", "initial ramdisk", 15);
    write_pair("p256", 256, -1, 1);
    write_pair("p384", 384, -1, 1);
    write_pair("p521", 521, -1, 1);
    write_pair("past", 384, -2, -1);
    write_pair("future", 384, 1, 2);
    write_bundle();
    write_custom();
    write_file("text", "just text\n", 10);
    write_file("k256.key", K256, strlen(K256));
    write_file("empty", "", 0);
}

/* build */

static void assert_built(const char *name, const char *arch)
{
    g_autofree char *arguments = g_strdup_printf("describe %s", name);
    g_autoptr(QDict) d = NULL;

    run_well(arguments);
    d = json();
    g_assert_cmpstr(qdict_get_str(d, "Architecture"), ==, arch);
    g_assert_true(qdict_get_bool(d, "CheckCRC"));
}

static void test_build(void)
{
    g_autofree char *built = NULL;
    g_autoptr(QDict) d = NULL;
    g_autoptr(QDict) again = NULL;

    run_well("build --kernel bzImage --initrd initrd --cmdline 'a b' "
             "--name app --version 7 --output built.eif");
    built = g_steal_pointer(&out);
    assert_built("built.eif", "x86_64");
    d = json();
    g_assert_cmpstr(qdict_get_str(d, "ImageName"), ==, "app");
    g_assert_cmpstr(qdict_get_str(d, "ImageVersion"), ==, "7");
    again = qobject_to(QDict, qobject_from_json(built, &error_abort));
    g_assert_cmpstr(qdict_get_str(qdict_get_qdict(d, "Measurements"), "PCR0"),
                    ==, qdict_get_str(qdict_get_qdict(again, "Measurements"),
                                      "PCR0"));
    run_well("extract -s cmdline -o part built.eif");
    assert_file("part", "a b", 3);
    run_well("extract -s ramdisk-0 -o part built.eif");
    assert_file("part", "initial ramdisk", 15);
}

static void test_build_reproducible(void)
{
    g_autofree char *first = path_of("first.eif");
    g_autofree char *data = NULL;
    gsize len;

    run_well("build -k bzImage -i initrd -o first.eif");
    g_assert(g_file_get_contents(first, &data, &len, NULL));
    run_well("build -k bzImage -i initrd -o second.eif");
    assert_file("second.eif", data, len);
}

static void test_build_arch(void)
{
    run_well("build -k Image -o arm-built.eif");
    assert_built("arm-built.eif", "aarch64");
    run_well("build -k Image -a arm64 -o arm-built.eif");
    assert_built("arm-built.eif", "aarch64");
    run("build -k bzImage -a aarch64 -o none.eif");
    g_assert_cmpint(status, ==, 1);
    g_assert_false(exists("none.eif"));
}

/* A failure leaves the former file, and nothing beside it */
static void test_build_atomic(void)
{
    GDir *list;
    const char *name;

    write_file("kept.eif", "former", 6);
    run("build -k bzImage -i empty -o kept.eif");
    g_assert_cmpint(status, ==, 1);
    assert_in(err, "empty is an empty file, not a ramdisk");
    assert_file("kept.eif", "former", 6);
    run("build -k bzImage -o .");
    g_assert_cmpint(status, ==, 1);
    assert_in(err, "cannot write .: it is not a regular file");
    run("build -k bzImage -o none/built.eif");
    g_assert_cmpint(status, ==, 1);
    assert_in(err, "cannot write none/built.eif: No such file or directory");
    list = g_dir_open(dir, 0, NULL);
    while ((name = g_dir_read_name(list))) {
        g_assert_null(strstr(name, ".eif."));
    }
    g_dir_close(list);
}

static void test_build_ramdisks(void)
{
    g_autoptr(GString) line = g_string_new("build -k bzImage -o many.eif");

    run_well("build -k bzImage -i initrd --initrd text -i initrd -o many.eif");
    run_well("extract -s ramdisk-1 -o part many.eif");
    assert_file("part", "just text\n", 10);
    run_well("extract -s ramdisk-2 -o part many.eif");
    assert_file("part", "initial ramdisk", 15);

    for (int i = 0; i < 29; i++) {
        g_string_append(line, " -i text");
    }
    run_well(line->str);
    run("sign -s p384.pem -p p384.key many.eif");
    g_assert_cmpint(status, ==, 1);
    assert_in(err, "many.eif: the image has 32 sections already, there is no "
                   "room for a signature\nBuild it with fewer ramdisks.");
    g_string_append(line, " -i text");
    run(line->str);
    g_assert_cmpint(status, ==, 1);
    assert_in(err, "an image has room for 29 ramdisks");
}

/* build --metadata */

static void assert_custom(const char *file, const char *json)
{
    g_autofree char *line = g_strdup_printf("build -k bzImage -m %s -o "
                                            "custom.eif", file);
    g_autofree char *end = g_strdup_printf("\"CustomMetadata\": %s}", json);
    g_autofree char *path = path_of("part");
    g_autofree char *found = NULL;

    run_well(line);
    run_well("extract -s metadata -o part custom.eif");
    g_assert(g_file_get_contents(path, &found, NULL, NULL));
    g_assert_true(g_str_has_suffix(found, end));
}

static void test_build_metadata(void)
{
    static const char custom[] = " {\"z\": [1.5, -1, null, {}],\n\"a\":true}\n";

    write_file("custom.json", custom, strlen(custom));
    assert_custom("custom.json", "{\"a\": true, \"z\": [1.5, -1, null, {}]}");
    assert_custom("most.json", "1");
    assert_custom("null.json", "null");
    assert_custom("quote.json", "\"it's \\\"\\\\\"");
}

/* sign */

/* The section is always the last, so the rest has to be the same */
static void test_sign(void)
{
    static const char *const pairs[] = { "p384", "p521", "p256" };

    run_well("extract -d plain-parts good.eif");
    run_well("sign -s p256.pem -p p256.key -o again.eif boots.eif");
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        g_autofree char *line = g_strdup_printf(
            "sign --signing-certificate=%s.pem --private-key=%s.key again.eif",
            pairs[i], pairs[i]);
        g_autoptr(QDict) d = NULL;

        run_well(line);
        d = json();
        g_assert_cmpstr(qdict_get_str(qdict_get_qdict(d, "Measurements"),
                                      "PCR0"), ==, BOOTABLE_PCR0);
        g_assert_true(qdict_haskey(qdict_get_qdict(d, "SigningCertificate"),
                                   "NotAfter"));
        run_well("verify --require-signature again.eif");
        run_well("extract -s metadata -o part again.eif");
        assert_file("part", EXAMPLE_METADATA, strlen(EXAMPLE_METADATA));
    }
    assert_file("good.eif", original->data, original->len);
}

/* A signature that stands before other sections, a gap behind it */
static void test_sign_within(void)
{
    g_autoptr(GByteArray) image = eif_maker_image(4, 0, "BCSMRr");

    write_image("within.eif", image);
    run_well("sign -s p521.pem -p p521.key within.eif");
    run_well("verify -s --pcr0=" BOOTABLE_PCR0 " within.eif");
    run_well("sign -s p256.pem -p p256.key within.eif");
    run_well("verify -s --pcr2=" EXAMPLE_PCR2 " within.eif");
    run_well("extract -s ramdisk-1 -o part within.eif");
    assert_file("part", EXAMPLE_RAMDISK1, strlen(EXAMPLE_RAMDISK1));
}

/* The same key and image give the same bytes, also in one step */
static void test_sign_same(void)
{
    g_autofree char *path = path_of("one-step.eif");
    g_autofree char *data = NULL;
    gsize len;

    run_well("build -k bzImage -i initrd -s p384.pem -p p384.key "
             "-o one-step.eif");
    g_assert(g_file_get_contents(path, &data, &len, NULL));
    run_well("build -k bzImage -i initrd -o two-steps.eif");
    run_well("sign -s p384.pem -p p384.key two-steps.eif");
    assert_file("two-steps.eif", data, len);
    run_well("sign -s bundle.pem -p p384.key two-steps.eif");
    assert_file("two-steps.eif", data, len);
}

/* Owner and permissions stay, and a failure changes nothing */
static void test_sign_file(void)
{
    g_autofree char *path = path_of("mode.eif");
    gid_t group = geteuid() == 0 ? 1000 : getegid();
    struct stat st;

    write_image("mode.eif", original);
    g_assert_cmpint(chown(path, -1, group), ==, 0);
    g_assert_cmpint(chmod(path, 0640), ==, 0);
    run("sign -s past.pem -p past.key mode.eif");
    g_assert_cmpint(status, ==, 1);
    assert_file("mode.eif", original->data, original->len);
    run("sign -s future.pem -p future.key mode.eif");
    g_assert_cmpint(status, ==, 0);
    assert_in(err, "warning: the certificate is valid from ");
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0640);
    g_assert_cmpuint(st.st_gid, ==, group);
}

/* A section that is broken bars the way to nothing but itself */
static void test_broken_signature(void)
{
    static const struct {
        const char *image, *reason;
    } rows[] = {
        { "junk.eif", "the signature section of the image is broken: a list "
          "of at least one signature expected at byte 0" },
        { "der.eif", "the certificate in the signature section of the image "
          "(5 bytes) is not an X.509 certificate in PEM form" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *describe = g_strdup_printf("describe %s",
                                                    rows[i].image);
        g_autofree char *extract = g_strdup_printf("extract -d broken-%zu %s",
                                                   i, rows[i].image);
        g_autofree char *part = g_strdup_printf("broken-%zu/ramdisk-0", i);
        g_autofree char *none = g_strdup_printf("broken-%zu/certificate.der",
                                                i);
        g_autofree char *sign = g_strdup_printf(
            "sign -s p384.pem -p p384.key -o mended.eif %s", rows[i].image);
        g_autoptr(QDict) d = NULL;

        run(describe);
        g_assert_cmpint(status, ==, 0);
        assert_in(err, rows[i].reason);
        d = json();
        g_assert_true(qdict_get_bool(d, "IsSigned"));
        g_assert_false(qdict_get_bool(d, "SignatureCheck"));
        g_assert_false(qdict_haskey(qdict_get_qdict(d, "Measurements"),
                                    "PCR8"));
        run(extract);
        g_assert_cmpint(status, ==, 0);
        assert_in(err, "certificate.der: ");
        assert_in(err, rows[i].reason);
        assert_file(part, EXAMPLE_RAMDISK0, strlen(EXAMPLE_RAMDISK0));
        g_assert_false(exists(none));
        run_well(sign);
        run_well("verify -s --pcr0=" BOOTABLE_PCR0 " mended.eif");
    }
}

static void test_pcr_certificate(void)
{
    g_autofree char *pcr8 = NULL;

    run_well("sign -s p384.pem -p p384.key -o again.eif good.eif");
    run_well("pcr -p 8 again.eif");
    pcr8 = g_strdup_printf("{\n    \"PCR8\": \"%.96s\"\n}\n", out);
    run_well("pcr --signing-certificate p384.pem");
    g_assert_cmpstr(out, ==, pcr8);
    run_well("pcr --signing-certificate bundle.pem");
    g_assert_cmpstr(out, ==, pcr8);
}

/* describe */

static void assert_member(const QDict *d, const char *key, const char *value)
{
    g_assert_cmpstr(qdict_get_try_str(d, key), ==, value);
}

static void test_describe(void)
{
    g_autoptr(QDict) d = NULL;
    QDict *m;

    run_well("describe good.eif");
    d = json();
    g_assert_cmpint(qdict_get_int(d, "EifVersion"), ==, 4);
    m = qdict_get_qdict(d, "Measurements");
    assert_member(m, "HashAlgorithm", "Sha384 { ... }");
    assert_member(m, "PCR0", EXAMPLE_PCR0);
    assert_member(m, "PCR1", EXAMPLE_PCR1);
    assert_member(m, "PCR2", EXAMPLE_PCR2);
    g_assert_false(qdict_haskey(m, "PCR8"));
    g_assert_false(qdict_get_bool(d, "IsSigned"));
    g_assert_true(qdict_get_bool(d, "CheckCRC"));
    assert_member(d, "ImageName", "kernel.bin");
    assert_member(d, "ImageVersion", "1.0");
    m = qdict_get_qdict(d, "Metadata");
    assert_member(m, "BuildTime", "2024-01-01T00:00:00+00:00");
    assert_member(m, "BuildTool", "eif_build");
    assert_member(m, "BuildToolVersion", "0.3.1");
    assert_member(m, "OperatingSystem", "OS");
    assert_member(m, "KernelVersion", "kernel");
    g_assert_false(qdict_haskey(m, "DockerInfo"));
    g_assert_false(qdict_haskey(m, "CustomMetadata"));
    g_assert_true(qlist_empty(qdict_get_qlist(d, "Remarks")));
    g_assert_true(qlist_empty(qdict_get_qlist(d, "Flags")));
    assert_member(d, "Architecture", "x86_64");
    g_assert_cmpint(qdict_get_int(d, "ImageSize"), ==, EXAMPLE_SIZE);
}

static void test_describe_signed(void)
{
    g_autoptr(QDict) d = NULL;
    g_autoptr(QDict) other = NULL;
    QDict *cert;

    run_well("describe signed.eif");
    d = json();
    g_assert_true(qdict_get_bool(d, "IsSigned"));
    g_assert_true(qdict_get_bool(d, "SignatureCheck"));
    g_assert_true(qdict_haskey(qdict_get_qdict(d, "Measurements"), "PCR8"));
    cert = qdict_get_qdict(d, "SigningCertificate");
    assert_member(qdict_get_qdict(cert, "IssuerName"), "commonName",
                  "eif-signer");
    assert_member(cert, "Algorithm", "ecdsa-with-SHA384");
    assert_member(cert, "NotBefore", "Nov 13 22:13:20 2023 GMT");
    assert_member(cert, "NotAfter", "Nov 15 22:13:20 2023 GMT");
    g_assert_cmpint(strlen(qdict_get_str(cert, "Signature")), >, 190);

    run_well("describe other.eif");
    other = json();
    g_assert_false(qdict_get_bool(other, "SignatureCheck"));
}

static void test_describe_odd(void)
{
    g_autoptr(QDict) damaged = NULL;
    g_autoptr(QDict) old = NULL;
    g_autoptr(QDict) odd = NULL;

    run_well("describe damaged.eif");
    damaged = json();
    g_assert_false(qdict_get_bool(damaged, "CheckCRC"));
    run_well("describe old.eif");
    old = json();
    g_assert_cmpint(qdict_get_int(old, "EifVersion"), ==, 3);
    g_assert_false(qdict_haskey(old, "Metadata"));
    run("describe odd.eif");
    g_assert_cmpint(status, ==, 0);
    assert_in(err, "warning: odd.eif: ");
    odd = json();
    g_assert_false(qdict_haskey(odd, "Metadata"));
}

/* Little JSON that would become much memory, and much of it */
static void test_describe_bulky(void)
{
    for (size_t size = 64 * KiB; size <= 2 * MiB; size *= 32) {
        g_autoptr(GByteArray) image = eif_maker_image(4, 0, "KC");
        g_autofree char *text = g_malloc(size);

        for (size_t i = 0; i < size; i++) {
            text[i] = "{},"[i % 3];
        }
        eif_maker_add(image, 5, text, size);
        eif_maker_finish(image);
        write_image("bulky.eif", image);
        run("describe bulky.eif");
        g_assert_cmpint(status, ==, 0);
        assert_in(err, size < MiB ? " bytes of memory, more than 8388608"
                                  : "has 2097152 bytes, more than 1048576");
    }
}

/* Members of CustomMetadata move up, and what is null is left out */
static void test_describe_custom(void)
{
    static const struct {
        const char *metadata;
        const char *want;
    } rows[] = {
        { "{\"DockerInfo\": {\"z\": [1e999, -1, 18446744073709551615, 1.5,"
          "true, null, \"\\u00e9\"], \"a\": {}}, \"ImageName\": 1}",
          "\"Metadata\":{\"DockerInfo\":{\"a\":{},\"z\":[null,-1,"
          "18446744073709551615,1.5,true,null,\"\\u00E9\"]}}" },
        { "{\"DockerInfo\": null, \"CustomMetadata\": null}",
          "\"Metadata\":{}" },
        { "{\"CustomMetadata\": {\"Z\": {\"n\": null}, \"AppVersion\": \"3\"},"
          "\"BuildMetadata\": {\"BuildTool\": \"t\"}, \"DockerInfo\": {}}",
          "\"Metadata\":{\"BuildTool\":\"t\",\"DockerInfo\":{},"
          "\"AppVersion\":\"3\",\"Z\":{\"n\":null}}" },
        { "{\"CustomMetadata\": {\"a\": null, \"b\": 1}}",
          "\"Metadata\":{\"b\":1}" },
        /* never the same member twice */
        { "{\"CustomMetadata\": {\"BuildTool\": 1, \"DockerInfo\": 2,"
          "\"X\": 3},"
          "\"BuildMetadata\": {\"BuildTool\": \"t\"}, \"DockerInfo\": 4}",
          "\"Metadata\":{\"BuildTool\":\"t\",\"DockerInfo\":4,\"X\":3}" },
        { "{\"CustomMetadata\": [1]}",
          "\"Metadata\":{\"CustomMetadata\":[1]}" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autoptr(GByteArray) image = eif_maker_image(4, 0, "KC");
        g_autofree char *flat = NULL;
        g_auto(GStrv) words = NULL;

        eif_maker_add(image, 5, rows[i].metadata, strlen(rows[i].metadata));
        eif_maker_finish(image);
        write_image("custom.eif", image);
        run_well("describe custom.eif");
        words = g_strsplit_set(out, "\n ", 0);
        flat = g_strjoinv("", words);
        assert_in(flat, rows[i].want);
        g_assert_null(strstr(flat, "ImageName"));
    }
}

/* An image with everything that is unusual and boots */
static GByteArray *unusual_image(void)
{
    GByteArray *image = eif_maker_image(4, 0x0241, "BCM");

    image->data[ldq_be_p(image->data + AT_OFFSETS) + 3] = 0x81; /* flags */
    g_byte_array_append(image, (const uint8_t *)"gap", 3);
    eif_maker_add(image, 3, "12345", 5);
    eif_maker_add(image, 3, NULL, 0);
    eif_maker_add(image, 3, "\x1f\x8b\x08\0", 4);
    eif_maker_add(image, 3, "1234", 4);
    eif_maker_finish(image);
    g_byte_array_append(image, (const uint8_t *)"tail", 4);
    return image;
}

static const char *const unusual_remarks[] = {
    "the header has flags 0x0240, whose meaning is not known; an enclave may "
    "attest other registers because of them",
    "4 bytes follow the last section, which nobody reads",
    "section 0 (kernel) has flags 0x0081, whose meaning is not known",
    "3 bytes stand before section 3 (ramdisk), which belong to none; "
    "nitro-cli cannot describe such an image",
    "section 4 (ramdisk) is empty",
    "the kernel does not see ramdisk 2: it begins at byte 5 of them all, which "
    "is not a multiple of 4",
    "the kernel may not see ramdisk 3: the one before it ends with a gzip file",
};

static void test_unusual(void)
{
    g_autoptr(GByteArray) image = unusual_image();
    g_autoptr(GString) remarks = g_string_new("");
    g_autofree char *flat = NULL;
    g_auto(GStrv) words = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(unusual_remarks); i++) {
        g_string_append_printf(remarks, "remark: %s\n", unusual_remarks[i]);
    }
    write_image("unusual.eif", image);
    run_well("verify unusual.eif");
    assert_in(out, "crc: good\nkernel: good\ncmdline: good\n");
    assert_in(out, remarks->str);

    run_well("describe unusual.eif");
    for (size_t i = 0; i < ARRAY_SIZE(unusual_remarks); i++) {
        assert_in(out, unusual_remarks[i]);
    }
    words = g_strsplit_set(out, "\n ", 0);
    flat = g_strjoinv("", words);
    assert_in(flat, "\"Flags\":[\"aarch64\",\"0x0040\",\"0x0200\"]");
    assert_in(flat, "\"Flags\":[\"0x0001\",\"0x0080\"]");
    assert_in(flat, "\"Size\":5,\"Gap\":3");
}

/* Two ramdisks in a row: does the kernel see the second one? */

#define ZEROS16 "0000000000000000"
#define CPIO_HEAD(name_size, file_size) \
    "070701" ZEROS16 ZEROS16 ZEROS16 "000000" file_size ZEROS16 ZEROS16 \
    "000000" name_size "00000000"
#define CPIO_END CPIO_HEAD("0b", "00") "TRAILER!!!\0\0\0\0" /* 124 bytes */
#define CPIO_FILE CPIO_HEAD("02", "05") "f\0" "\x1f\x8b.." "x\0\0\0"

static const struct {
    const char *first;
    size_t first_len;
    const char *second;
    size_t second_len;
    const char *remark; /* NULL: no remark is made */
} chains[] = {
#define FIRST(s) .first = s, .first_len = sizeof(s) - 1
#define SECOND(s) .second = s, .second_len = sizeof(s) - 1
    { FIRST(CPIO_END), SECOND(CPIO_END), NULL },
    { FIRST(CPIO_END "\0\0\0\0"), SECOND(CPIO_END), NULL },
    { FIRST(CPIO_END "\0"), SECOND(CPIO_END), "does not see ramdisk 1: it "
      "begins at byte 125 of them all, which is not a multiple of 4" },
    /* The second one brings the zeros that the first lacks */
    { FIRST(CPIO_END "\0\0\0"), SECOND("\0" CPIO_END), NULL },
    { FIRST(CPIO_END "\0\0\0"), SECOND("\0\0" CPIO_END), "it begins at byte "
      "129 of them all" },
    { FIRST(CPIO_END), SECOND("\0" CPIO_END), "it begins at byte 125 of them" },
    { FIRST(CPIO_END "\0"), SECOND("\0\0"), NULL }, /* nothing to see */
    /* Compressed, all that Linux knows */
    { FIRST("\x5d\0\0\x80"), SECOND(CPIO_END), "may not see ramdisk 1: the one "
      "before it ends with an lzma file" },
    { FIRST("\x89LZO"), SECOND(CPIO_END), "ends with an lzo file" },
    { FIRST("\x1f\x8b\x08\0"), SECOND(CPIO_END), "ends with a gzip file" },
    /* An early archive, as for microcode, and a compressed one behind it */
    { FIRST(CPIO_END "\x1f\x8b\x08\0"), SECOND(CPIO_END), "ends with a gzip" },
    { FIRST(CPIO_FILE CPIO_END "\0\0\0\0\x28\xb5\x2f\xfd"), SECOND(CPIO_END),
      "ends with a zstd file" },
    { FIRST(CPIO_END CPIO_END "BZh9"), SECOND(CPIO_END), "ends with a bzip2" },
    { FIRST("\0\0\0\0\x5d\0\0\x80"), SECOND(CPIO_END), "an lzma file" },
    /* What is in a file of the archive does not count */
    { FIRST(CPIO_FILE CPIO_END), SECOND(CPIO_END), NULL },
    /* Headers that lead nowhere */
    { FIRST(CPIO_HEAD("02", "ff") "f\0"), SECOND(CPIO_END), NULL },
    { FIRST("07070100"), SECOND(CPIO_END), NULL },
#undef FIRST
#undef SECOND
};

static void test_chains(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
        g_autoptr(GByteArray) image = eif_maker_image(4, 0, "BCM");

        g_test_message("chain %zu", i);
        eif_maker_add(image, 3, chains[i].first, chains[i].first_len);
        eif_maker_add(image, 3, chains[i].second, chains[i].second_len);
        eif_maker_finish(image);
        write_image("chain.eif", image);
        run_well("verify chain.eif");
        if (chains[i].remark) {
            assert_in(out, chains[i].remark);
        } else {
            g_assert_null(strstr(out, "see ramdisk"));
        }
    }
}

static void test_no_ramdisk(void)
{
    g_autoptr(GByteArray) none = eif_maker_image(4, 0, "BCM");
    g_autoptr(GByteArray) empty = eif_maker_image(4, 0, "BCMe");
    g_autofree char *pcrs = NULL;

    write_image("none-in.eif", none);
    write_image("empty-in.eif", empty);
    run_well("verify none-in.eif");
    assert_in(out, "remark: there is no ramdisk\n");
    run_well("verify empty-in.eif");
    assert_in(out, "remark: section 3 (ramdisk) is empty\n");
    run_well("pcr none-in.eif");
    pcrs = g_steal_pointer(&out);
    run_well("pcr empty-in.eif");
    g_assert_cmpstr(out, ==, pcrs);
}

static void test_cmdline_end(void)
{
    g_autoptr(GByteArray) image = eif_maker_image(4, 0, "BM");

    eif_maker_add(image, 2, "quiet\n\0\0", 8);
    eif_maker_finish(image);
    write_image("line.eif", image);
    run_well("verify line.eif");
    assert_in(out, "remark: the command line is followed by 3 bytes, a NUL or "
              "white space first, that are measured with it\n");
}

/* verify */

typedef struct Row {
    const char *arguments;
    int status;
    const char *output; /* part of stdout or stderr */
} Row;

static const Row verify_rows[] = {
    { "verify boots.eif", 0, "crc: good\nkernel: good\ncmdline: good\n"
      "signature: absent\n" },
    { "verify good.eif", 5, "crc: good\nkernel: bad: the kernel is a text "
      "file, wanted is an x86_64 kernel (bzImage)\ncmdline: good\n" },
    { "verify --require-signature good.eif", 3, "signature: absent\n" },
    { "verify damaged.eif", 2, "crc: bad: the image is damaged: CRC over its "
      "921 bytes is 0x" },
    { "verify short.eif", 2, "short.eif: " },
    { "verify text", 2, "text: not an enclave image but a text file" },
    { "verify " SIGNED_AT "-s signed.eif", 0, "cmdline: good\nform: good\n"
      "certificate: good\ndates: good\nsignature: good\npayload: good\n" },
    { "verify --time=2023-11-13T22:13:19Z signed.eif", 3, "dates: bad: the "
      "certificate is valid from 2023-11-13T22:13:20Z on, it is "
      "2023-11-13T22:13:19Z\n" },
    { "verify --time=2023-11-15T22:13:21Z signed.eif", 3, "dates: bad: " },
    { "verify signed.eif", 3, "dates: bad: " },
    { "verify " SIGNED_AT "other.eif", 3, "payload: bad: the signature is for "
      "an image with PCR0 " EXAMPLE_PCR1 },
    { "verify --pcr0=" BOOTABLE_PCR0 " --pcr1=" BOOTABLE_PCR1 " --pcr2="
      EXAMPLE_PCR2 " boots.eif", 0, "pcr0: good\npcr1: good\npcr2: good\n" },
    { "verify --pcr0=" EXAMPLE_PCR1 " good.eif", 4, "pcr0: bad: PCR0 of the "
      "image is " EXAMPLE_PCR0 ", expected is " EXAMPLE_PCR1 "\n" },
    { "verify --pcr8=" EXAMPLE_PCR0 " good.eif", 4, "pcr8: bad: the image is "
      "not signed, expected is PCR8 " EXAMPLE_PCR0 "\n" },
    { "verify junk.eif", 3, "form: bad: the signature section of the image is "
      "broken: a list of at least one signature expected at byte 0\n" },
    { "verify der.eif", 3, "form: bad: the certificate in the signature "
      "section of the image (5 bytes) is not an X.509 certificate" },
    { "verify --pcr8=" EXAMPLE_PCR0 " junk.eif", 3, "pcr8: bad: the signature "
      "section of the image is broken, expected is PCR8 " EXAMPLE_PCR0 "\n" },
    { "verify --pcr0=12 good.eif", 1, "a PCR has 96 hexadecimal digits, '12' "
      "is not one\nTry 'qemu-eif verify --help'." },
    { "verify --time=now good.eif", 1, "'now' is not a time like "
      "2026-01-31T12:00:00Z" },
};

static const Row other_rows[] = {
    { "pcr good.eif", 0, "PCR0 " EXAMPLE_PCR0 "\nPCR1 " EXAMPLE_PCR1
      "\nPCR2 " EXAMPLE_PCR2 "\n" },
    { "pcr --pcr=1 arm.eif", 0, EXAMPLE_PCR1 "\n" },
    { "pcr -p 3 good.eif", 1, "'3' is not 0, 1, 2 or 8" },
    { "pcr -p 8 good.eif", 3, "good.eif is not signed and so has no PCR8" },
    { "pcr junk.eif", 3, "PCR2 " EXAMPLE_PCR2 "\nqemu-eif: junk.eif: PCR8 is "
      "not known: the signature section of the image is broken: " },
    { "pcr -p 8 junk.eif", 3, "junk.eif: PCR8 is not known: " },
    { "pcr -p 0 der.eif", 0, BOOTABLE_PCR0 "\n" },
    { "extract -s certificate -o part junk.eif", 1, "the signature section of "
      "the image is broken" },
    { "extract -s signature -o part junk.eif", 0, "" },
    { "diff boots.eif junk.eif", 4, "signature: in the second image only\n"
      "PCR0: equal\nPCR1: equal\nPCR2: equal\nPCR8: unknown\n" },
    { "pcr text", 2, "text: not an enclave image but a text file" },
    { "pcr none", 1, "'none': No such file or directory" },
    { "pcr .", 2, "a directory" },
    { "pcr", 1, "one image file is needed, there are 0" },
    { "pcr good.eif arm.eif", 1, "one image file is needed, there are 2" },
    { "describe --what good.eif", 1, "Try 'qemu-eif describe --help'." },
    { "describe short.eif", 2, "short.eif: " },
    { "extract -d parts damaged.eif", 2, "damaged.eif: the image is damaged" },
    { "extract -s ramdisk-2 -o part good.eif", 1, "good.eif has no section "
      "'ramdisk-2'" },
    { "extract -s certificate -o part good.eif", 1, "no section" },
    { "extract -s kernel good.eif", 1, "either --output-dir or both --section "
      "and --output are needed" },
    { "extract -d text good.eif", 1, "cannot write text/kernel: Not a "
      "directory" },
    { "build -o none.eif", 1, "--kernel is needed" },
    { "build -k bzImage", 1, "--output is needed" },
    { "build -k bzImage -o none.eif more", 1, "'more' is not an option" },
    { "build -k bzImage -o none.eif -I app", 1, "--init, --modules, --module,"
      " --settings, --max-size, --layout, --blobs, --root and arguments are "
      "for --container" },
    { "build -k bzImage -o none.eif -C app -R ext4", 1, "root 'ext4' is "
      "neither cpio nor squashfs" },
    { "build -k bzImage -o none.eif -C app -l aws -R squashfs", 1, "a "
      "squashfs are for nitro-init" },
    { "build -k bzImage -o none.eif -l aws", 1, "are for --container" },
    { "build -k bzImage -o none.eif -C app -l other", 1, "layout 'other' is "
      "neither native nor aws" },
    { "build -k bzImage -o none.eif -C app -l aws -M app", 1, "are for "
      "nitro-init, which the layout aws does not have" },
    { "build -o none.eif -C app -B missing", 1, "no bzImage or Image in "
      "missing\nInstall aws-nitro-enclaves-cli-devel, name another directory "
      "with --blobs, or a kernel with --kernel.\n" },
    { "build -o none.eif -C app -B .", 1, "./cmdline" },
    { "build -o none.eif -C app -B . -l aws -c ''", 1, "./init" },
    { "build -k bzImage -o none.eif -C app -I app -i app", 1, "--initrd and "
      "--container cannot be combined" },
    { "build -k bzImage -o none.eif -C text -I app -L many", 1, "'many' is not "
      "a size" },
    { "build -k bzImage -o none.eif -C missing -I app", 1, "app" },
    { "build -k bzImage -o none.eif -C missing -I text", 1, "text is not a "
      "program for x86_64" },
    { "build -k bzImage -o none.eif -a mips", 1, "architecture 'mips' is "
      "neither x86_64 nor aarch64" },
    { "build -k text -o none.eif", 1, "it is a text file" },
    { "build -k Image.gz -o none.eif", 1, "cannot start 'Image.gz': it is a "
      "gzip file, wanted is an enclave image or an arm64 kernel (Image)\n"
      "Unpack it first: gzip -dc FILE > Image\n" },
    { "build -k vmlinuz.efi -o none.eif", 1, "cannot start 'vmlinuz.efi': it "
      "is a compressed EFI kernel (vmlinuz.efi), wanted is an enclave image "
      "or an arm64 kernel (Image)\nUse arch/arm64/boot/Image" },
    { "build -k Image -a x86_64 -o none.eif", 1, "cannot start 'Image': it is "
      "an arm64 kernel (Image), wanted is an enclave image or an x86_64 "
      "kernel (bzImage)" },
    { "build -k bzImage -a arm64 -o none.eif", 1, "cannot start 'bzImage': it "
      "is an x86_64 kernel (bzImage), wanted is an enclave image or an arm64 "
      "kernel (Image)" },
    { "build -k good.eif -o none.eif", 1, "good.eif is an enclave image "
      "already" },
    { "build -k bzImage -i good.eif -o none.eif", 1, "not a ramdisk" },
    { "build -k bzImage -o bzImage", 1, "--output and --kernel name the same "
      "file: bzImage\nWrite to another file.\n" },
    { "build -k bzImage -i text -i initrd -o ./initrd", 1, "--output and "
      "--initrd name the same file: ./initrd" },
    { "build -k bzImage -m null.json -o null.json", 1, "--output and "
      "--metadata name the same file" },
    { "build -k bzImage -s p384.pem -p p384.key -o p384.pem", 1, "--output "
      "and --signing-certificate name the same file" },
    { "build -k bzImage -s p384.pem -p p384.key -o p384.key", 1, "--output "
      "and --private-key name the same file" },
    { "build -k bzImage -C text -I app -o text", 1, "--output and --container "
      "name the same file" },
    { "build -k bzImage -C text -I initrd -o initrd", 1, "--output and --init "
      "name the same file" },
    { "build -k bzImage -C text -M initrd -o initrd", 1, "--output and "
      "--module name the same file" },
    { "build -k bzImage -C text -S initrd -o initrd", 1, "--output and "
      "--settings name the same file" },
    { "sign -s p384.pem -p p384.key -o p384.key good.eif", 1, "--output and "
      "--private-key name the same file: p384.key" },
    { "sign -s p384.pem -p p384.key -o p384.pem good.eif", 1, "--output and "
      "--signing-certificate name the same file: p384.pem" },
    { "extract -s kernel -o good.eif good.eif", 1, "a part and the image name "
      "the same file: good.eif" },
    { "build -k bzImage -k bzImage -o none.eif", 1, "--kernel is given more "
      "than once\nTry 'qemu-eif build --help'." },
    { "build -k bzImage -o none.eif --cmdline a -c b", 1, "--cmdline is given "
      "more than once" },
    { "extract -d parts --output-dir=parts good.eif", 1, "--output-dir is "
      "given more than once" },
    { "pcr -p 0 -p 1 good.eif", 1, "--pcr is given more than once" },
    { "verify -s -s good.eif", 1, "--require-signature is given more than "
      "once" },
    { "verify --pcr0=" EXAMPLE_PCR0 " --pcr0=" EXAMPLE_PCR0 " good.eif", 1,
      "--pcr0 is given more than once" },
    { "", 1, "a command is needed\nTry 'qemu-eif --help'." },
    { "resign", 1, "there is no command 'resign'" },
    { "sign good.eif", 1, "--signing-certificate and --private-key are "
      "needed" },
    { "sign -s p384.pem -p p384.key", 1, "one image file is needed" },
    { "sign -s p384.pem -s p384.pem", 1, "given more than once" },
    { "sign -s p384.pem -p p384.key -o none.eif damaged.eif", 2,
      "damaged.eif: the image is damaged" },
    { "sign -s p384.pem -p p384.key -o none.eif text", 2, "not an enclave" },
    { "sign -s p384.pem -p p256.key -o none.eif good.eif", 1, "cannot sign "
      "with p384.pem and p256.key: the certificate does not belong to the "
      "private key\nMake one for it: " },
    { "sign -s text -p p256.key -o none.eif good.eif", 1, "no X.509 "
      "certificate in PEM form" },
    { "sign -s p384.pem -p text -o none.eif good.eif", 1, "the file has no "
      "private key in PEM form" },
    { "sign -s p384.pem -p p384.pem -o none.eif good.eif", 1, "p384.pem and "
      "p384.pem: the file has no private key in PEM form" },
    { "sign -s p384.pem -p k256.key -o none.eif good.eif", 1, "\nGive a key "
      "in PEM form on the curve P-256, P-384 or P-521" },
    { "sign -s p384.pem -p none.key -o none.eif good.eif", 1, "'none.key': No "
      "such file or directory" },
    { "sign -s past.pem -p past.key -o none.eif good.eif", 1, "the certificate "
      "was valid until " },
    { "build -k bzImage -s p384.pem -o none.eif", 1, "--signing-certificate "
      "and --private-key are needed together, --private-key is missing" },
    { "build -k bzImage -p p384.key -o none.eif", 1, "--signing-certificate "
      "is missing" },
    { "build -k bzImage -s past.pem -p past.key -o none.eif", 1, "An enclave "
      "would not start" },
    { "build -k bzImage -m none -o none.eif", 1, "'none': No such file" },
    { "build -k bzImage -m . -o none.eif", 1, "cannot read .: Is a directory" },
    { "build -k bzImage -m bulk.json -o none.eif", 1, "bulk.json has more "
      "than 4096 bytes" },
    { "build -k bzImage -m empty -o none.eif", 1, "empty is not JSON: " },
    { "build -k bzImage -m text -o none.eif", 1, "text is not JSON: " },
    { "build -k bzImage -m single.json -o none.eif", 1, "single.json is not "
      "JSON: JSON parse error, byte 0x27 at offset 1" },
    { "build -k bzImage -m nul.json -o none.eif", 1, "byte 0x00 at offset 1" },
    { "build -k bzImage -m two.json -o none.eif", 1, "two.json is not JSON" },
    { "build -k bzImage -m open.json -o none.eif", 1, "open.json is not JSON" },
    { "pcr --input initrd", 0, "{\n    \"PCR\": \"" INITRD_PCR "\"\n}\n" },
    { "pcr -i empty", 0, "{\n    \"PCR\": \"" EMPTY_PCR2 "\"\n}\n" },
    { "pcr -i .", 1, ".: neither a regular file nor a block device" },
    { "pcr -i initrd good.eif", 1, "--input and --signing-certificate stand "
      "alone" },
    { "pcr -i initrd -s p384.pem", 1, "stand alone" },
    { "pcr -i initrd -p 0", 1, "stand alone" },
    { "pcr -s initrd", 1, "initrd: no X.509 certificate in PEM form" },
    { "diff good.eif", 1, "two image files are needed, there are 1" },
    { "diff good.eif good.eif good.eif", 1, "there are 3" },
    { "diff good.eif none", 1, "none" },
    { "diff good.eif text", 2, "text: " },
    { "diff good.eif good.eif", 0, "PCR0: equal\nPCR1: equal\nPCR2: equal\n"
      "PCR8: equal\n" },
    { "diff boots.eif signed.eif", 4, "signature: in the second image only\n"
      "PCR0: equal\nPCR1: equal\nPCR2: equal\nPCR8: differs\n" },
    { "diff --help", 0, "Usage: qemu-eif diff" },
    { "sign --help", 0, "Usage: qemu-eif sign" },
    { "--help", 0, "Usage: qemu-eif COMMAND" },
    { "--version", 0, "qemu-eif version 1" },
    { "build --help", 0, "Usage: qemu-eif build" },
    { "describe --help", 0, "Usage: qemu-eif describe" },
    { "extract --help", 0, "Usage: qemu-eif extract" },
    { "pcr --help", 0, "Usage: qemu-eif pcr" },
    { "verify --help", 0, "Usage: qemu-eif verify" },
};

static void test_rows(const Row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g_autofree char *both = NULL;

        g_test_message("%s", rows[i].arguments);
        run(rows[i].arguments);
        both = g_strconcat(out, err, NULL);
        assert_in(both, rows[i].output);
        g_assert_cmpint(status, ==, rows[i].status);
    }
    g_assert_false(exists("none.eif"));
}

static void test_verify(void)
{
    test_rows(verify_rows, ARRAY_SIZE(verify_rows));
}

static void test_other(void)
{
    test_rows(other_rows, ARRAY_SIZE(other_rows));
}

/* extract */

static void test_extract(void)
{
    static const struct {
        const char *name;
        const char *data;
    } parts[] = {
        { "parts/cmdline", EXAMPLE_CMDLINE },
        { "parts/ramdisk-0", EXAMPLE_RAMDISK0 },
        { "parts/ramdisk-1", EXAMPLE_RAMDISK1 },
        { "parts/metadata.json", EXAMPLE_METADATA },
    };

    for (int pass = 0; pass < 2; pass++) { /* also over what is there */
        run_well("extract --output-dir=parts signed.eif");
        for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
            assert_file(parts[i].name, parts[i].data, strlen(parts[i].data));
        }
        g_assert_true(exists("parts/signature.cbor"));
        g_assert_true(exists("parts/certificate.der"));
    }
    run_well("extract -s certificate -o part signed.eif");
    run_well("extract -s kernel -o part good.eif");
    assert_file("part", EXAMPLE_KERNEL, strlen(EXAMPLE_KERNEL));
    run_well("extract -s metadata -o part signed.eif");
    assert_file("part", EXAMPLE_METADATA, strlen(EXAMPLE_METADATA));
}

/* Empty output must not look like success */
static void test_full(void)
{
    static const char *const commands[] = {
        "pcr good.eif", "pcr -p 0 good.eif", "verify boots.eif",
        "describe good.eif", "diff good.eif good.eif",
        "build -k bzImage -o full.eif", "pcr --help",
        "pcr -i initrd", "sign -s p384.pem -p p384.key -o full.eif good.eif",
        "--help", "--version",
    };

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        g_autofree char *line =
            g_strdup_printf("/bin/sh -c 'exec \"$0\" %s > /dev/full' '%s'",
                            commands[i], tool);

        spawn(line);
        g_assert_cmpint(status, ==, 1);
        assert_in(err, "cannot write to stdout: No space left on device\n");
    }
}

static void assert_nothing_begins_with(const char *prefix)
{
    GDir *files = g_dir_open(dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(files))) {
        g_assert_false(g_str_has_prefix(name, prefix));
    }
    g_dir_close(files);
}

/* No room for the file: the limit is easier to have than a full disk */
static void test_no_room(void)
{
    static const char *const commands[] = {
        "build -k bzImage -o large", "extract -s kernel -o large large-kernel",
        "sign -s p384.pem -p p384.key -o large large-kernel",
    };

    run_well("build -k bzImage -o large-kernel");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        g_autofree char *line =
            g_strdup_printf("/bin/sh -c 'trap \"\" XFSZ; ulimit -f 1; "
                            "exec \"$0\" %s' '%s'", commands[i], tool);
        g_autofree char *killed =
            g_strdup_printf("/bin/sh -c 'ulimit -c 0; ulimit -f 1; \"$0\" %s; "
                            "exit $?' '%s'", commands[i], tool);

        /* The signal's default is to end the process */
        spawn(killed);
        g_assert_cmpint(status, ==, 128 + SIGXFSZ);
        assert_nothing_begins_with("large.");

        spawn(line);
        g_assert_cmpint(status, ==, 1);
        assert_in(err, "cannot write large: File too large\n");
        g_assert_cmpstr(out, ==, "");
        g_assert_false(exists("large"));
        assert_nothing_begins_with("large.");
    }
}

int main(int argc, char **argv)
{
    g_autofree char *built = NULL;
    int rc;

    g_test_init(&argc, &argv, NULL);
    signal(SIGXFSZ, SIG_DFL); /* Python may have it ignored */
    built = g_test_build_filename(G_TEST_BUILT, "..", "..", "tools", "eif",
                                  "qemu-eif", NULL);
    tool = g_canonicalize_filename(built, NULL);
    dir = g_dir_make_tmp("eif-tool-test-XXXXXX", NULL);
    g_assert_nonnull(dir);
    write_files();

    g_test_add_func("/eif/tool/build", test_build);
    g_test_add_func("/eif/tool/build/reproducible", test_build_reproducible);
    g_test_add_func("/eif/tool/build/arch", test_build_arch);
    g_test_add_func("/eif/tool/build/atomic", test_build_atomic);
    g_test_add_func("/eif/tool/build/ramdisks", test_build_ramdisks);
    g_test_add_func("/eif/tool/build/metadata", test_build_metadata);
    g_test_add_func("/eif/tool/sign", test_sign);
    g_test_add_func("/eif/tool/sign/within", test_sign_within);
    g_test_add_func("/eif/tool/sign/same", test_sign_same);
    g_test_add_func("/eif/tool/sign/file", test_sign_file);
    g_test_add_func("/eif/tool/sign/broken", test_broken_signature);
    g_test_add_func("/eif/tool/pcr/certificate", test_pcr_certificate);
    g_test_add_func("/eif/tool/describe", test_describe);
    g_test_add_func("/eif/tool/describe/signed", test_describe_signed);
    g_test_add_func("/eif/tool/describe/odd", test_describe_odd);
    g_test_add_func("/eif/tool/describe/bulky", test_describe_bulky);
    g_test_add_func("/eif/tool/describe/custom", test_describe_custom);
    g_test_add_func("/eif/tool/unusual", test_unusual);
    g_test_add_func("/eif/tool/chains", test_chains);
    g_test_add_func("/eif/tool/no-ramdisk", test_no_ramdisk);
    g_test_add_func("/eif/tool/cmdline-end", test_cmdline_end);
    g_test_add_func("/eif/tool/verify", test_verify);
    g_test_add_func("/eif/tool/extract", test_extract);
    g_test_add_func("/eif/tool/other", test_other);
    g_test_add_func("/eif/tool/full", test_full);
    g_test_add_func("/eif/tool/no-room", test_no_room);
    rc = g_test_run();
    temp_tree_remove(dir);
    g_byte_array_unref(original);
    g_free(dir);
    g_free(tool);
    g_free(out);
    g_free(err);
    return rc;
}
