/*
 * Fuzz target: read, judge, verify, measure, load and describe an image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is an image.  qemu-eif's describe is the program's own code; what
 * it shares with the other commands is replaced here.
 */

#include "qemu/osdep.h"
#include "hw/core/eif-kernel.h"
#include "hw/core/eif-verify.h"
#include "qemu/memfd.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "eif-mutator.h"
#include "eif-seeds.h"
#include "fuzz.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/eif-signer.h"
#include "tools/eif/tool.h"

static int input_fd;

int tool_fail(Error *err)
{
    error_free(err);
    return TOOL_FAILED;
}

int tool_options(const ToolOptions *o, int argc, char **argv,
                 ToolTakeOption *take, void *opaque)
{
    return -1;
}

int tool_image_open(ToolImage *t, const char *command, int argc, char **argv)
{
    t->path = "image";
    t->fd = input_fd;
    t->image = eif_image_open_fd(t->fd, NULL);
    return t->image && eif_source_init_fd(&t->src, t->fd, NULL)
           ? TOOL_OK : TOOL_BAD_IMAGE;
}

void tool_image_close(ToolImage *t)
{
    eif_image_free(t->image);
}

void tool_write_measurements(JSONWriter *w, const EifMeasurements *m)
{
    g_autofree char *value = eif_pcr_str(m->pcr0);

    json_writer_str(w, "PCR0", value);
}

/* Whatever an image holds, what is printed is JSON */
int tool_print_json(JSONWriter *w)
{
    QObject *value = qobject_from_json(json_writer_get(w), &error_abort);

    g_assert_nonnull(qobject_to(QDict, value));
    qobject_unref(value);
    return TOOL_OK;
}

static void describe(int fd)
{
    char name[] = "describe";
    char *argv[] = { name, NULL };

    input_fd = fd;
    tool_describe(1, argv);
}

/* What the reader promises of an image that it takes */
static void check_structure(const EifImage *image, size_t size)
{
    uint64_t pos = sizeof(EifHeader);

    g_assert_cmpuint(image->nr_sections, >=, EIF_MIN_SECTIONS);
    g_assert_cmpuint(image->nr_sections, <=, EIF_MAX_SECTIONS);
    for (unsigned i = 0; i < image->nr_sections; i++) {
        g_assert_cmpuint(image->sections[i].gap, <=, size - pos);
        pos += image->sections[i].gap + sizeof(EifSectionHeader);
        g_assert_cmpuint(image->sections[i].data_offset, ==, pos);
        g_assert_cmpuint(image->sections[i].size, <=, size - pos);
        pos += image->sections[i].size;
    }
    g_assert_cmpuint(image->image_size, ==, pos);
    g_assert_cmpuint(size - pos, <, sizeof(EifSectionHeader));
    g_assert_cmpuint(image->tail, ==, size - pos);
}

static void check_signature(const EifImage *image, const EifSource *src,
                            const EifMeasurements *m)
{
    g_autoptr(EifSignature) sig = NULL;
    g_autoptr(EifVerification) v = NULL;

    if (!image->has_signature) {
        return;
    }
    sig = eif_image_read_signature(image, src, m->pcr8_unknown
                                   ? NULL : &error_abort);
    if (!sig) {
        return;
    }
    v = eif_signature_verify(sig, m->pcr0, EIF_SIGNER_NOW);
    for (int i = 0; i < EIF_CHECK__MAX; i++) {
        const EifCheck *check = &v->checks[i];

        g_assert_true(!check->reason == (check->verdict == EIF_VERDICT_GOOD));
    }
}

/* Whatever is in the image, there is an answer */
static void check_kernel(const EifImage *image, const EifSource *src)
{
    EifKernel kernel;
    uint64_t len;
    Error *err = NULL;

    g_assert_true(eif_image_probe_kernel(image, src, &kernel, &error_abort));
    g_assert_true(eif_image_cmdline_len(image, src, &len, &error_abort));
    if (!eif_kernel_check(&kernel, image->arch, &err)) {
        error_free_or_abort(&err);
    }
    if (!eif_kernel_check_cmdline(&kernel, len, &err)) {
        error_free_or_abort(&err);
    }
}

/* Loading succeeds exactly when the CRC is right, and copies faithfully */
static void check_load(const EifImage *image, const EifSource *src, int fd,
                       const uint8_t *data)
{
    g_autofree uint8_t *copy = g_malloc(image->image_size);
    bool good = eif_image_verify_crc(image, src, NULL);

    eif_maker_reads.most = data[AT_CRC] % 64 * 16;
    g_assert_true(eif_image_load_fd(image, fd, copy, image->image_size,
                                    NULL) == good);
    eif_maker_reads.most = 0;
    if (good) {
        g_assert_cmpmem(copy, image->image_size, data, image->image_size);
    }
    g_assert_false(eif_image_load_fd(image, fd, copy, image->image_size - 1,
                                     NULL));
}

static void use_image(const EifImage *image, const EifSource *src,
                      const uint8_t *data, size_t size)
{
    int fd = qemu_memfd_create("image", size, false, 0, 0, &error_abort);
    EifMeasurements m;

    g_assert_cmpint(pwrite(fd, data, size, 0), ==, size);
    g_assert_true(eif_image_measure(image, src, &m, &error_abort));
    check_kernel(image, src);
    check_signature(image, src, &m);
    check_load(image, src, fd, data);
    describe(fd);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(EifImage) image = NULL;
    EifSource src;
    Error *err = NULL;

    eif_source_init_buffer(&src, data, size);
    src.open_ended = false;
    image = eif_image_parse(&src, &err);
    g_assert_true(!image == !!err);
    if (err) {
        g_assert_cmpint(strlen(error_get_pretty(err)), >, 0);
        error_free(err);
        return 0;
    }
    check_structure(image, size);
    use_image(image, &src, data, size);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed)
{
    g_autoptr(GRand) dice = g_rand_new_with_seed(seed);

    return eif_mutate(data, size, max_size, dice, LLVMFuzzerMutate);
}

void fuzz_seeds(FuzzSeed *seed)
{
    eif_seeds(seed);
}
