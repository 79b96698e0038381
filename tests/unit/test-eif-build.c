/*
 * Enclave images: the builder
 *
 * What it writes is compared byte for byte with images made by hand, and read
 * back by the reader.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "crypto/init.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "hw/core/eif-image.h"
#include "tests/nitro/eif-maker.h"

#define GUARD 16
#define GUARD_BYTE 0x5a
#define TIME_0 "1970-01-01T00:00:00+00:00"

/* Metadata as it must come out */
#define METADATA(name, version, time, tool, kernel) \
    "{\"ImageName\": \"" name "\", \"ImageVersion\": \"" version "\", " \
    "\"BuildMetadata\": {\"BuildTime\": \"" time "\", " \
    "\"BuildTool\": \"qemu\", \"BuildToolVersion\": \"" tool "\", " \
    "\"OperatingSystem\": \"Linux\", \"KernelVersion\": \"" kernel "\"}, " \
    "\"DockerInfo\": null, \"CustomMetadata\": null}"

static EifBuildParams example_params(void)
{
    return (EifBuildParams) {
        .arch = EIF_ARCH_X86_64,
        .kernel_fd = eif_maker_file(EXAMPLE_KERNEL, 16),
        .ramdisk_fds = { eif_maker_file(EXAMPLE_RAMDISK0, 32) },
        .nr_ramdisks = 1,
        .cmdline = EXAMPLE_CMDLINE,
    };
}

static void close_params(const EifBuildParams *params)
{
    close(params->kernel_fd);
    for (unsigned i = 0; i < params->nr_ramdisks; i++) {
        close(params->ramdisk_fds[i]);
    }
}

/* Build into memory with a guard behind it */
static GByteArray *build(const EifBuildParams *params)
{
    g_autoptr(EifBuild) plan = eif_build_new(params, &error_abort);
    GByteArray *bytes = g_byte_array_new();
    uint64_t size = eif_build_size(plan);

    g_byte_array_set_size(bytes, size + GUARD);
    memset(bytes->data, GUARD_BYTE, size + GUARD);
    g_assert_true(eif_build_write(plan, bytes->data, size, &error_abort));
    for (int i = 0; i < GUARD; i++) {
        g_assert_cmphex(bytes->data[size + i], ==, GUARD_BYTE);
    }
    g_byte_array_set_size(bytes, size);
    return bytes;
}

static GByteArray *by_hand(uint16_t flags, const char *cmdline,
                           const char *metadata, bool ramdisk)
{
    GByteArray *bytes = eif_maker_new(4, flags);

    eif_maker_add(bytes, EIF_SECTION_KERNEL, EXAMPLE_KERNEL, 16);
    eif_maker_add(bytes, EIF_SECTION_CMDLINE, cmdline, strlen(cmdline));
    eif_maker_add(bytes, EIF_SECTION_METADATA, metadata, strlen(metadata));
    if (ramdisk) {
        eif_maker_add(bytes, EIF_SECTION_RAMDISK, EXAMPLE_RAMDISK0, 32);
    }
    eif_maker_finish(bytes);
    return bytes;
}

static void assert_built(const EifBuildParams *params, uint16_t flags,
                         const char *cmdline, const char *metadata,
                         bool ramdisk)
{
    g_autoptr(GByteArray) got = build(params);
    g_autoptr(GByteArray) want = by_hand(flags, cmdline, metadata, ramdisk);

    g_assert_cmpmem(got->data, got->len, want->data, want->len);
}

/* As section 11 of the format's description, with one ramdisk, our metadata */
static void test_bytes(void)
{
    EifBuildParams params = example_params();
    const char *by_default = METADATA("qemu", "1.0", TIME_0, QEMU_VERSION,
                                      "unknown");

    assert_built(&params, 0, EXAMPLE_CMDLINE, by_default, true);
    params.arch = EIF_ARCH_AARCH64;
    params.cmdline = NULL;
    assert_built(&params, 1, "", by_default, true);
    params.name = "app";
    params.image_version = "2.1";
    params.tool_version = "9";
    params.build_time = "2024-01-01T00:00:00+00:00";
    assert_built(&params, 1, "",
                 METADATA("app", "2.1", "2024-01-01T00:00:00+00:00", "9",
                          "unknown"), true);
    close(params.ramdisk_fds[0]);
    params.nr_ramdisks = 0;
    params.cmdline = "";
    assert_built(&params, 1, "",
                 METADATA("app", "2.1", "2024-01-01T00:00:00+00:00", "9",
                          "unknown"), false);
    close_params(&params);
}

static void assert_pcr(const uint8_t *pcr, const char *want)
{
    g_autoptr(GString) hex = g_string_new(NULL);

    for (int i = 0; i < EIF_PCR_LEN; i++) {
        g_string_append_printf(hex, "%02x", pcr[i]);
    }
    g_assert_cmpstr(hex->str, ==, want);
}

static void test_read_back(void)
{
    EifBuildParams params = example_params();
    g_autoptr(GByteArray) bytes = build(&params);
    g_autoptr(EifImage) image = NULL;
    EifMeasurements m;
    EifSource src;
    int fd = eif_maker_file(bytes->data, bytes->len);

    image = eif_image_open_fd(fd, &error_abort);
    g_assert_cmpint(image->version, ==, 4);
    g_assert_cmpint(image->image_size, ==, bytes->len);
    g_assert_true(image->has_metadata);
    g_assert_false(image->has_signature);
    g_assert_true(eif_source_init_fd(&src, fd, &error_abort));
    g_assert_true(eif_image_verify_crc(image, &src, &error_abort));
    g_assert_true(eif_image_measure(image, &src, &m, &error_abort));
    /* one ramdisk: same content as register 1 of the worked example */
    assert_pcr(m.pcr0, EXAMPLE_PCR1);
    assert_pcr(m.pcr1, EXAMPLE_PCR1);
    assert_pcr(m.pcr2, EMPTY_PCR2);
    close(fd);
    close_params(&params);
}

/* Any range of an image that is not written anywhere */
static void test_source(void)
{
    EifBuildParams params = example_params();
    g_autoptr(GByteArray) bytes = build(&params);
    g_autoptr(EifBuild) plan = eif_build_new(&params, &error_abort);
    g_autoptr(EifImage) image = NULL;
    g_autofree uint8_t *buf = g_malloc(bytes->len);
    EifMeasurements m;
    EifSource src;

    memset(bytes->data + AT_CRC, 0, 4);
    eif_source_init_build(&src, plan);
    g_assert_cmpint(src.size, ==, bytes->len);
    for (size_t len = 1; len <= bytes->len; len += len < 64 ? 1 : 61) {
        for (size_t at = 0; at + len <= bytes->len; at++) {
            g_assert_true(eif_source_read(&src, buf, len, at, &error_abort));
            g_assert_cmpmem(buf, len, bytes->data + at, len);
        }
    }
    image = eif_image_parse(&src, &error_abort);
    g_assert_true(eif_image_measure(image, &src, &m, &error_abort));
    assert_pcr(m.pcr0, EXAMPLE_PCR1);
    close_params(&params);
}

/* Official order; the first ramdisk is in PCR1, the others are in PCR2 */
static void test_ramdisks(void)
{
    EifBuildParams params = example_params();
    g_autoptr(GByteArray) bytes = NULL;
    g_autoptr(EifImage) image = NULL;
    EifMeasurements m;
    EifSource src;

    params.ramdisk_fds[params.nr_ramdisks++] =
        eif_maker_file(EXAMPLE_RAMDISK1, 8);
    bytes = build(&params);
    image = eif_image_parse_buffer(bytes->data, bytes->len, &error_abort);
    g_assert_cmpint(image->nr_ramdisks, ==, 2);
    eif_source_init_buffer(&src, bytes->data, bytes->len);
    g_assert_true(eif_image_verify_crc(image, &src, &error_abort));
    g_assert_true(eif_image_measure(image, &src, &m, &error_abort));
    assert_pcr(m.pcr0, EXAMPLE_PCR0);
    assert_pcr(m.pcr1, EXAMPLE_PCR1);
    assert_pcr(m.pcr2, EXAMPLE_PCR2);
    while (params.nr_ramdisks < EIF_BUILD_MAX_RAMDISKS) {
        params.ramdisk_fds[params.nr_ramdisks++] = eif_maker_file("x", 1);
    }
    g_byte_array_unref(bytes);
    bytes = build(&params);
    eif_image_free(image);
    image = eif_image_parse_buffer(bytes->data, bytes->len, &error_abort);
    g_assert_cmpint(image->nr_sections, ==, EIF_MAX_SECTIONS);
    close_params(&params);
}

static void test_custom_metadata(void)
{
    static const char end[] = "\"DockerInfo\": null, \"CustomMetadata\": "
                              "{\"a\": [1, \"}\"]}}";
    EifBuildParams params = example_params();
    g_autoptr(GByteArray) bytes = NULL;

    params.custom_metadata = "{\"a\": [1, \"}\"]}";
    bytes = build(&params);
    g_assert_nonnull(memmem(bytes->data, bytes->len, end, strlen(end)));
    close_params(&params);
}

static void test_docker_info(void)
{
    static const char end[] = "\"DockerInfo\": {\"Id\": \"a\"}, "
                              "\"CustomMetadata\": null}";
    EifBuildParams params = example_params();
    g_autoptr(GByteArray) bytes = NULL;

    params.docker_info = "{\"Id\": \"a\"}";
    bytes = build(&params);
    g_assert_nonnull(memmem(bytes->data, bytes->len, end, strlen(end)));
    close_params(&params);
}

static void test_no_initrd(void)
{
    EifBuildParams params = example_params();
    g_autoptr(GByteArray) bytes = NULL;
    g_autoptr(EifImage) image = NULL;

    close(params.ramdisk_fds[0]);
    params.nr_ramdisks = 0;
    bytes = build(&params);
    image = eif_image_parse_buffer(bytes->data, bytes->len, &error_abort);
    g_assert_cmpint(image->nr_ramdisks, ==, 0);
    g_assert_cmpint(image->nr_sections, ==, 3);
    close_params(&params);
}

/* Nothing but the inputs decides; file positions and clocks do not */
static void test_same_again(void)
{
    EifBuildParams params = example_params();
    g_autoptr(GByteArray) first = build(&params);
    g_autoptr(GByteArray) second = NULL;

    g_assert_cmpint(lseek(params.kernel_fd, 3, SEEK_SET), ==, 3);
    eif_maker_reads.most = 5;
    eif_maker_reads.interrupt = true;
    second = build(&params);
    memset(&eif_maker_reads, 0, sizeof(eif_maker_reads));
    g_assert_cmpmem(first->data, first->len, second->data, second->len);
    g_assert_cmpint(lseek(params.kernel_fd, 0, SEEK_CUR), ==, 3);
    close_params(&params);
}

static void test_no_room(void)
{
    EifBuildParams params = example_params();
    g_autoptr(EifBuild) plan = eif_build_new(&params, &error_abort);
    uint64_t size = eif_build_size(plan);
    g_autofree uint8_t *dest = g_malloc0(size);
    g_autofree char *message = g_strdup_printf(
        "the image needs %" PRIu64 " bytes, there is room for %" PRIu64,
        size, size - 1);
    Error *err = NULL;

    g_assert_false(eif_build_write(plan, dest, size - 1, &err));
    eif_maker_assert_error(err, message, NULL);
    g_assert_cmpint(dest[0], ==, 0);
    close_params(&params);
}

static void assert_new_fails(const EifBuildParams *params, const char *message,
                             const char *hint)
{
    Error *err = NULL;

    g_assert_null(eif_build_new(params, &err));
    eif_maker_assert_error(err, message, hint);
}

/* A kernel that was cut, a line longer than the kernel takes */
static void test_kernel_limits(void)
{
    uint8_t kernel[KERNEL_HEADER_LEN + 16];
    g_autofree char *line = g_strnfill(2048, 'x');
    EifBuildParams params = example_params();

    for (int arm = 0; arm < 2; arm++) {
        int own = params.kernel_fd;
        int fd;

        eif_maker_kernel_header(kernel, arm);
        fd = eif_maker_file(kernel, sizeof(kernel));
        params.arch = arm ? EIF_ARCH_AARCH64 : EIF_ARCH_X86_64;
        params.kernel_fd = fd;
        params.cmdline = line;
        line[2047] = 'x';
        assert_new_fails(&params, "the command line has 2048 characters, the "
                         "kernel takes 2047", "Shorten");
        line[2047] = '\0';
        eif_build_free(eif_build_new(&params, &error_abort));
        close(fd);
        params.kernel_fd = own;
    }
    eif_maker_kernel_header(kernel, false);
    params.arch = EIF_ARCH_X86_64;
    close(params.kernel_fd);
    params.kernel_fd = eif_maker_file(kernel, sizeof(kernel) - 1);
    assert_new_fails(&params, "the kernel is cut short: it has 1039 bytes, "
                     "1040 by its header", "Copy the kernel again");
    close_params(&params);
}

static void test_bad_files(void)
{
    EifBuildParams good = example_params();
    EifBuildParams bad = good;
    int empty = eif_maker_file("", 0);
    int dir = open(g_get_tmp_dir(), O_RDONLY);

    bad.kernel_fd = empty;
    assert_new_fails(&bad, "the kernel file is empty", NULL);
    bad.kernel_fd = dir;
    assert_new_fails(&bad, "kernel: neither a regular file nor a block "
                     "device", NULL);
    bad = good;
    bad.ramdisk_fds[0] = empty;
    assert_new_fails(&bad, "the ramdisk file is empty", NULL);
    bad.ramdisk_fds[0] = dir;
    assert_new_fails(&bad, "ramdisk: neither a regular file nor a block "
                     "device", NULL);
    close(empty);
    close(dir);
    close_params(&good);
}

/* As files can be where nothing is stored for zeros */
static int sparse_file(uint64_t size)
{
    int fd = memfd_create("eif-test", MFD_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    return fd;
}

/* The sizes of files add up to that of the image: it must not wrap */
static void test_vast_files(void)
{
    static const struct {
        uint64_t kernel, initrd;
        const char *message;
    } rows[] = {
        { INT64_MAX, 4096, "the kernel file has 9223372036854775807 bytes, "
          "there is room for 9223372036854775247" },
        { 4096, INT64_MAX, "the ramdisk file has 9223372036854775807 bytes, "
          "there is room for 9223372036854770864" },
        { 7 * EiB, 7 * EiB, "the ramdisk file has 8070450532247928832 bytes, "
          "there is room for 1152921504606846128" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        EifBuildParams params = {
            .kernel_fd = sparse_file(rows[i].kernel),
            .ramdisk_fds = { sparse_file(rows[i].initrd) },
            .nr_ramdisks = 1,
            .tool_version = "1",
        };
        Error *err = NULL;

        g_assert_null(eif_build_new(&params, &err));
        eif_maker_assert_error(err, rows[i].message, "Name another file");
        close_params(&params);
    }
}

static void test_file_changes(void)
{
    EifBuildParams params = example_params();
    g_autoptr(EifBuild) plan = eif_build_new(&params, &error_abort);
    uint64_t size = eif_build_size(plan);
    g_autofree uint8_t *dest = g_malloc(size);
    Error *err = NULL;

    g_assert_cmpint(ftruncate(params.ramdisk_fds[0], 33), ==, 0);
    g_assert_false(eif_build_write(plan, dest, size, &err));
    eif_maker_assert_error(err, "ramdisk: the file had 32 bytes, now it has "
                           "33", "Do not change");
    err = NULL;
    g_assert_cmpint(ftruncate(params.kernel_fd, 10), ==, 0);
    g_assert_false(eif_build_write(plan, dest, size, &err));
    eif_maker_assert_error(err, "kernel: the file ended at byte 10 of 16 "
                           "while it was being read", "Do not change");
    close_params(&params);
}

static void test_no_memory(void)
{
    EifBuildParams params = example_params();
    g_autoptr(EifBuild) plan = eif_build_new(&params, &error_abort);
    size_t page = qemu_real_host_page_size();
    uint8_t *dest = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Error *err = NULL;

    g_assert_true(dest != MAP_FAILED);
    g_assert_cmpint(mprotect(dest + page, page, PROT_NONE), ==, 0);
    /* the data of the kernel begin with the page that cannot be had */
    g_assert_false(eif_build_write(plan, dest + page - 560, page, &err));
    eif_maker_assert_error(err, "kernel: cannot read 16 bytes at offset 0: "
                           "Bad address", "vm.nr_hugepages");
    munmap(dest, 2 * page);
    close_params(&params);
}

static QDict *built_metadata(const EifBuildParams *params)
{
    g_autoptr(GByteArray) bytes = build(params);
    g_autoptr(EifImage) image = eif_image_parse_buffer(bytes->data, bytes->len,
                                                       &error_abort);
    const EifSection *s = &image->sections[2];
    g_autofree char *json = NULL;

    g_assert_cmpint(s->type, ==, EIF_SECTION_METADATA);
    json = g_strndup((char *)bytes->data + s->data_offset, s->size);
    g_assert_cmpint(strlen(json), ==, s->size);
    return qobject_to(QDict, qobject_from_json(json, &error_abort));
}

static void assert_string(const EifBuildParams *params, const char *key,
                          const char *want)
{
    QDict *metadata = built_metadata(params);
    QDict *tool = qdict_get_qdict(metadata, "BuildMetadata");

    g_assert_cmpstr(qdict_get_try_str(qdict_haskey(tool, key) ? tool
                                      : metadata, key), ==, want);
    qobject_unref(metadata);
}

/* Whatever the strings are, the metadata is JSON, and says the same */
static void test_escapes(void)
{
    EifBuildParams params = example_params();
    char control[34] = "";

    params.name = "a\"b\\c/\xc3\xbc";
    assert_string(&params, "ImageName", "a\"b\\c/\xc3\xbc");
    for (int i = 1; i < 33; i++) {
        control[i - 1] = i;
    }
    params.name = control;
    assert_string(&params, "ImageName", control);
    params.name = "bad \xff.";
    assert_string(&params, "ImageName", "bad \xef\xbf\xbd.");
    params.name = "bad \xf2\xbf\xbf\xbf.";      /* U+BFFFF is no character */
    assert_string(&params, "ImageName", "bad \xef\xbf\xbd.");
    params.name = "\xf0\x9f\x94\x92";
    assert_string(&params, "ImageName", "\xf0\x9f\x94\x92");
    params.name = "";
    assert_string(&params, "ImageName", "");
    close_params(&params);
}

static void test_epoch(void)
{
    static const struct {
        const char *epoch;
        const char *time;
    } good[] = {
        { "0", TIME_0 },
        { "1704067200", "2024-01-01T00:00:00+00:00" },
        { "253402300799", "9999-12-31T23:59:59+00:00" },
    };
    static const char *const bad[] = { "", "x", "-1", "1.5", "253402300800" };
    EifBuildParams params = example_params();

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        g_setenv("SOURCE_DATE_EPOCH", good[i].epoch, true);
        assert_string(&params, "BuildTime", good[i].time);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree char *message = g_strdup_printf(
            "SOURCE_DATE_EPOCH='%s' is not a number of seconds since 1970",
            bad[i]);

        g_setenv("SOURCE_DATE_EPOCH", bad[i], true);
        assert_new_fails(&params, message, "date +%s");
    }
    params.build_time = "now"; /* decides, if given */
    assert_string(&params, "BuildTime", "now");
    g_unsetenv("SOURCE_DATE_EPOCH");
    close_params(&params);
}

/* A bzImage says its version behind a pointer; it may point anywhere */
static void test_kernel_version(void)
{
    static const struct {
        uint16_t pointer;
        const char *text;
        const char *want;
    } rows[] = {
        { 0x400, "6.1.0-18-cloud-amd64 (debian) #1", "6.1.0-18-cloud-amd64" },
        { 0, "6.1", "unknown" },
        { 0x400, "", "unknown" },
        { 0xe00, "6.1", "unknown" },
        { 0xffff, "6.1", "unknown" },
        { 0x400, "quote\"", "quote\"" },
        { 4090 - 0x200, "", "5.10" }, /* at the very end of the file */
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        EifBuildParams params = example_params();
        uint8_t kernel[4096] = { 0 };

        memcpy(kernel + 0x1fe, "\x55\xaa\xeb\x6aHdrS", 8);
        stw_le_p(kernel + 0x20e, rows[i].pointer);
        memcpy(kernel + 0x600, rows[i].text, strlen(rows[i].text));
        memcpy(kernel + 4090, "5.10 x", 6);
        close(params.kernel_fd);
        params.kernel_fd = eif_maker_file(kernel, sizeof(kernel));
        assert_string(&params, "KernelVersion", rows[i].want);
        close_params(&params);
    }
}

/* More than one piece each, and the reader agrees with every byte */
static void test_pieces(void)
{
    EifBuildParams params = example_params();
    const size_t len = MiB + 77;
    g_autofree uint8_t *data = g_malloc(len);
    g_autoptr(GByteArray) bytes = NULL;
    g_autoptr(EifImage) image = NULL;
    EifSource src;

    for (size_t i = 0; i < len; i++) {
        data[i] = i * 7 >> 2;
    }
    close_params(&params);
    params.kernel_fd = eif_maker_file(data, len);
    params.ramdisk_fds[0] = eif_maker_file(data + 1, len - 1);
    bytes = build(&params);
    image = eif_image_parse_buffer(bytes->data, bytes->len, &error_abort);
    eif_source_init_buffer(&src, bytes->data, bytes->len);
    g_assert_true(eif_image_verify_crc(image, &src, &error_abort));
    g_assert_cmpmem(bytes->data + image->sections[0].data_offset, len, data,
                    len);
    g_assert_cmpmem(bytes->data + image->sections[3].data_offset, len - 1,
                    data + 1, len - 1);
    close_params(&params);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_unsetenv("SOURCE_DATE_EPOCH");
    qcrypto_init(&error_abort);

    g_test_add_func("/eif/build/bytes", test_bytes);
    g_test_add_func("/eif/build/read-back", test_read_back);
    g_test_add_func("/eif/build/source", test_source);
    g_test_add_func("/eif/build/ramdisks", test_ramdisks);
    g_test_add_func("/eif/build/custom-metadata", test_custom_metadata);
    g_test_add_func("/eif/build/docker-info", test_docker_info);
    g_test_add_func("/eif/build/no-initrd", test_no_initrd);
    g_test_add_func("/eif/build/same-again", test_same_again);
    g_test_add_func("/eif/build/no-room", test_no_room);
    g_test_add_func("/eif/build/bad-files", test_bad_files);
    g_test_add_func("/eif/build/kernel-limits", test_kernel_limits);
    g_test_add_func("/eif/build/vast-files", test_vast_files);
    g_test_add_func("/eif/build/file-changes", test_file_changes);
    g_test_add_func("/eif/build/no-memory", test_no_memory);
    g_test_add_func("/eif/build/escapes", test_escapes);
    g_test_add_func("/eif/build/epoch", test_epoch);
    g_test_add_func("/eif/build/kernel-version", test_kernel_version);
    g_test_add_func("/eif/build/pieces", test_pieces);
    return g_test_run();
}
