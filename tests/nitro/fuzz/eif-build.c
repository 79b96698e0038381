/*
 * Fuzz target: tell files apart, build an image of them
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Input: a byte of choices, five texts that end in a NUL byte, the lengths of
 * kernel and ramdisk (two bytes each), their bytes.
 */

#include "qemu/osdep.h"
#include "hw/core/eif-image.h"
#include "qemu/memfd.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qobject.h"
#include "tests/nitro/eif-maker.h"
#include "fuzz.h"

#define NR_TEXTS 5
#define CHOICE_ARM64 1
#define CHOICE_INITRD 2
#define CHOICE_TEXTS 4

static char *take_text(FuzzInput *in)
{
    const uint8_t *end = in->size ? memchr(in->data, 0, in->size) : NULL;
    size_t len = end ? end - in->data + 1 : in->size;

    return g_strndup((const char *)fuzz_bytes(in, &len), len);
}

static int file_of(const uint8_t *data, size_t size)
{
    int fd = qemu_memfd_create("input", size, false, 0, 0, &error_abort);

    g_assert_cmpint(pwrite(fd, data, size, 0), ==, size);
    return fd;
}

static void check_kind(int fd, const uint8_t *data, size_t size, EifArch arch)
{
    EifFileKind kind;
    Error *err = NULL;

    g_assert_true(eif_file_kind(fd, &kind, &error_abort));
    g_assert_cmpint(kind, ==, eif_buffer_kind(data, size));
    if (!eif_file_check_kernel(kind, arch, "kernel", &err)) {
        error_free_or_abort(&err);
    }
}

/* What was built has to be readable, by JSON readers as well */
static void check_image(const uint8_t *bytes, size_t size, int fd,
                        const EifMeasurements *planned)
{
    g_autoptr(EifImage) image = eif_image_parse_buffer(bytes, size,
                                                       &error_abort);
    const EifSection *s = &image->sections[2];
    g_autofree char *text = NULL;
    EifMeasurements m;
    QObject *metadata;
    EifSource src;

    g_assert_cmpuint(image->image_size, ==, size);
    eif_source_init_buffer(&src, bytes, size);
    g_assert_true(eif_image_verify_crc(image, &src, &error_abort));
    g_assert_true(eif_image_measure(image, &src, &m, &error_abort));
    g_assert_cmpmem(m.pcr0, EIF_PCR_LEN, planned->pcr0, EIF_PCR_LEN);
    g_assert_cmpint(s->type, ==, EIF_SECTION_METADATA);
    text = g_strndup((const char *)bytes + s->data_offset, s->size);
    metadata = qobject_from_json(text, &error_abort);
    g_assert_nonnull(qobject_to(QDict, metadata));
    qobject_unref(metadata);
}

static void use_plan(EifBuild *build, int fd)
{
    uint64_t size = eif_build_size(build);
    g_autofree uint8_t *bytes = g_malloc(size);
    g_autoptr(EifImage) image = NULL;
    EifMeasurements m;
    EifSource src;
    Error *err = NULL;

    g_assert_false(eif_build_write(build, bytes, size - 1, &err));
    error_free_or_abort(&err);
    g_assert_true(eif_build_write(build, bytes, size, &error_abort));
    eif_source_init_build(&src, build);
    image = eif_image_parse(&src, &error_abort);
    g_assert_true(eif_image_measure(image, &src, &m, &error_abort));
    check_image(bytes, size, fd, &m);
}

static void build_image(EifBuildParams *params)
{
    g_autoptr(EifBuild) build = NULL;
    Error *err = NULL;

    build = eif_build_new(params, &err);
    g_assert_true(!build == !!err);
    if (build) {
        use_plan(build, params->kernel_fd);
    } else {
        error_free(err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };
    uint8_t choices = fuzz_u8(&in);
    char *texts[NR_TEXTS];
    EifBuildParams params = {
        .arch = choices & CHOICE_ARM64 ? EIF_ARCH_AARCH64 : EIF_ARCH_X86_64,
    };
    const uint8_t *kernel;
    size_t len;

    for (int i = 0; i < NR_TEXTS; i++) {
        texts[i] = take_text(&in);
    }
    if (choices & CHOICE_TEXTS) {
        params.cmdline = texts[0];
        params.name = texts[1];
        params.image_version = texts[2];
        params.tool_version = texts[3];
        params.build_time = texts[4];
    }
    len = fuzz_u16(&in);
    kernel = fuzz_bytes(&in, &len);
    params.kernel_fd = file_of(kernel, len);
    check_kind(params.kernel_fd, kernel, len, params.arch);
    if (choices & CHOICE_INITRD) {
        params.ramdisk_fds[params.nr_ramdisks++] = file_of(in.data, in.size);
        params.ramdisk_fds[params.nr_ramdisks++] = file_of(kernel, len);
    }
    build_image(&params);
    close(params.kernel_fd);
    for (unsigned i = 0; i < params.nr_ramdisks; i++) {
        close(params.ramdisk_fds[i]);
    }
    for (int i = 0; i < NR_TEXTS; i++) {
        g_free(texts[i]);
    }
    return 0;
}

static void seed_with(FuzzSeed *seed, const char *name, uint8_t choices,
                      const void *kernel, size_t len)
{
    g_autoptr(GByteArray) input = g_byte_array_new();
    const char *texts[NR_TEXTS] = {
        "console=ttyS0", "\xc3\xa9\"\\\n", "\xff", "1.0",
        "2024-01-01T00:00:00+00:00",
    };

    fuzz_put8(input, choices);
    for (int i = 0; i < NR_TEXTS; i++) {
        fuzz_put(input, texts[i], strlen(texts[i]) + 1);
    }
    fuzz_put16(input, len);
    fuzz_put(input, kernel, len);
    fuzz_put(input, "070701", 6);
    seed(name, input->data, input->len);
}

void fuzz_seeds(FuzzSeed *seed)
{
    uint8_t kernel[0x410] = { 0 };

    seed_with(seed, "text", CHOICE_TEXTS, "kernel", 6);
    seed_with(seed, "defaults", CHOICE_INITRD, "\x1f\x8b\x08", 3);
    /* bzImage with a version text: setup of 1 KiB, 16 bytes of code */
    eif_maker_kernel_header(kernel, false);
    stw_le_p(kernel + 0x20e, 0x100);
    strcpy((char *)kernel + 0x300, "6.1.0 (a@b)");
    seed_with(seed, "bzimage", CHOICE_TEXTS | CHOICE_INITRD, kernel,
              sizeof(kernel));
    memset(kernel, 0, 64);
    memcpy(kernel + 56, "ARM\x64", 4);
    seed_with(seed, "arm64", CHOICE_ARM64 | CHOICE_TEXTS, kernel, 64);
}
