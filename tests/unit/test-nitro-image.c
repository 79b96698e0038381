/*
 * Nitro Enclaves: the image that an enclave is made of
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The thread that measures is played here: it runs when a test wants it to.
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "hw/nitro/image.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/main-loop.h"
#include "system/nitro-thread.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/error-text.h"
#include "tests/nitro/temp-tree.h"

static char *dir;
static NitroImagePolicy policy;

/* The thread */

static void *(*thread_func)(void *opaque);
static void *thread_opaque;
static bool thread_refused;

bool nitro_thread_start(const char *name, void *(*func)(void *opaque),
                        void *opaque, Error **errp)
{
    if (thread_refused) {
        error_setg(errp, "no more threads");
        return false;
    }
    thread_func = func;
    thread_opaque = opaque;
    return true;
}

static void run_thread(void)
{
    g_assert_nonnull(thread_func);
    thread_func(thread_opaque);
    thread_func = NULL;
    while (aio_poll(qemu_get_aio_context(), false)) {
        ;
    }
}

/* Files */

static char *put(const char *name, const void *data, size_t len)
{
    char *path = g_build_filename(dir, name, NULL);

    g_assert(g_file_set_contents(path, data, len, NULL));
    return path;
}

static char *put_eif(const char *sections)
{
    g_autoptr(GByteArray) eif = eif_maker_image(4, 0, sections);

    return put("image", eif->data, eif->len);
}

static char *put_kernel(void)
{
    uint8_t kernel[4096] = { };

    eif_maker_kernel_header(kernel, false);
    return put("kernel", kernel, sizeof(kernel));
}

/* Into a file that is open elsewhere */
static void overwrite(const char *path, off_t offset, const char *text)
{
    int fd = open(path, O_WRONLY);

    g_assert_cmpint(pwrite(fd, text, strlen(text), offset), ==, strlen(text));
    close(fd);
}

static unsigned count_fds(void)
{
    GDir *fds = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned count = 0;

    while (g_dir_read_name(fds)) {
        count++;
    }
    g_dir_close(fds);
    return count;
}

/* Images */

static NitroImageParams params_for(const char *kernel)
{
    return (NitroImageParams) {
        .kernel = kernel,
        .cmdline = "",
        .arch = EIF_ARCH_X86_64,
        .policy = &policy,
    };
}

static NitroImage *open_path(const char *path)
{
    NitroImageParams params = params_for(path);

    return nitro_image_open(&params, &error_abort);
}

/* Returns what was loaded, to be freed */
static uint8_t *load(NitroImage *image, Error **errp)
{
    uint8_t *dest = g_malloc0(nitro_image_size(image));

    if (!nitro_image_load(image, dest, true, errp)) {
        g_clear_pointer(&dest, g_free);
    }
    return dest;
}

static void load_ok(NitroImage *image)
{
    g_free(load(image, &error_abort));
}

/* Both are parts of what is reported */
static void assert_error(Error *err, const char *message, const char *hint)
{
    g_autofree char *text = error_text(err);

    assert_contains(text, message);
    assert_contains(text, hint ?: "");
}

static void load_fails(NitroImage *image, const char *message,
                       const char *hint)
{
    Error *err = NULL;

    g_assert_null(load(image, &err));
    assert_error(err, message, hint);
}

static void assert_measurement(const NitroImage *image,
                               NitroEnclaveMeasurement state,
                               const char *error)
{
    NitroEnclaveImage *info = nitro_image_query(image);

    g_assert_cmpint(info->measurement, ==, state);
    g_assert_cmpstr(info->measurement_error, ==, error);
    g_assert(!info->pcrs == (state != NITRO_ENCLAVE_MEASUREMENT_DONE));
    if (info->pcrs) {
        g_assert_cmpstr(info->pcrs->pcr0, ==, BOOTABLE_PCR0);
        g_assert_cmpstr(info->pcrs->pcr1, ==, BOOTABLE_PCR1);
        g_assert_cmpstr(info->pcrs->pcr2, ==, EXAMPLE_PCR2);
        g_assert_null(info->pcrs->pcr8);
    }
    qapi_free_NitroEnclaveImage(info);
}

/* Tests */

static void test_eif(void)
{
    g_autoptr(GByteArray) eif = eif_maker_image(4, 0, BOOTABLE);
    g_autofree char *path = put_eif(BOOTABLE);
    g_autoptr(NitroImage) image = open_path(path);
    g_autofree uint8_t *loaded = load(image, &error_abort);
    NitroEnclaveImage *info = nitro_image_query(image);

    g_assert_cmpuint(nitro_image_size(image), ==, eif->len);
    g_assert_cmpint(memcmp(loaded, eif->data, eif->len), ==, 0);
    g_assert_cmpint(info->kind, ==, NITRO_ENCLAVE_IMAGE_KIND_EIF);
    g_assert_cmpstr(info->path, ==, path);
    g_assert_null(info->initrd);
    g_assert_cmpstr(info->name, ==, "kernel.bin");
    g_assert_cmpstr(info->image_version, ==, "1.0");
    g_assert_cmpint(info->signature->state, ==,
                    NITRO_ENCLAVE_SIGNATURE_STATE_UNSIGNED);
    qapi_free_NitroEnclaveImage(info);
    assert_measurement(image, NITRO_ENCLAVE_MEASUREMENT_OFF, NULL);
    g_assert_null(thread_func);
    load_ok(image);
}

/* A comma in a name is doubled */
static void test_kernel(void)
{
    g_autofree char *path = put_kernel();
    g_autofree char *first = put("one", "0707one", 7);
    g_autofree char *second = put("t,wo", "0707two", 7);
    g_autofree char *list = g_strdup_printf("%s,%s/t,,wo", first, dir);
    NitroImageParams params = params_for(path);
    g_autoptr(NitroImage) image = NULL;
    g_autofree uint8_t *loaded = NULL;
    NitroEnclaveImage *info;

    params.initrd = list;
    params.cmdline = "quiet";
    image = nitro_image_open(&params, &error_abort);
    loaded = load(image, &error_abort);
    info = nitro_image_query(image);
    g_assert_cmpint(info->kind, ==, NITRO_ENCLAVE_IMAGE_KIND_KERNEL);
    g_assert_cmpstr(info->initrd, ==, list);
    g_assert_cmpstr(info->name, ==, "qemu");
    g_assert_cmphex(info->crc, ==, (uint32_t)ldl_be_p(loaded + AT_CRC));
    g_assert_cmpuint(info->size, ==, nitro_image_size(image));
    g_assert_cmpmem(loaded + info->size - 7, 7, "0707two", 7);
    qapi_free_NitroEnclaveImage(info);
    load_ok(image);
}

/* Each file that was opened is closed, after a failure as well */
static void test_closes(void)
{
    g_autofree char *kernel = put_kernel();
    g_autofree char *ramdisk = put("one", "0707one", 7);
    g_autofree char *list = g_strdup_printf("%s,%s", ramdisk, dir);
    NitroImageParams params = params_for(kernel);
    unsigned before = count_fds();
    Error *err = NULL;

    params.initrd = ramdisk;
    nitro_image_unref(nitro_image_open(&params, &error_abort));
    g_assert_cmpuint(count_fds(), ==, before);
    params.initrd = list;
    g_assert_null(nitro_image_open(&params, &err));
    assert_error(err, "a directory, not a ramdisk", "Name a file");
    g_assert_cmpuint(count_fds(), ==, before);
}

static void test_too_many_ramdisks(void)
{
    g_autofree char *kernel = put_kernel();
    g_autoptr(GString) names = g_string_new("a");
    NitroImageParams params = params_for(kernel);
    Error *err = NULL;

    for (unsigned i = 0; i < EIF_BUILD_MAX_RAMDISKS; i++) {
        g_string_append(names, ",a");
    }
    params.initrd = names->str;
    g_assert_null(nitro_image_open(&params, &err));
    assert_error(err, "-initrd names 30 files, an enclave image has room for "
                 "29", "cat FIRST SECOND");
}

/* Measuring */

static void test_measure(void)
{
    g_autofree char *path = put_eif(BOOTABLE);
    g_autoptr(NitroImage) image = open_path(path);

    policy.measure = true;
    load_ok(image);
    assert_measurement(image, NITRO_ENCLAVE_MEASUREMENT_RUNNING, NULL);
    run_thread();
    assert_measurement(image, NITRO_ENCLAVE_MEASUREMENT_DONE, NULL);
    load_ok(image);
    g_assert_null(thread_func);
}

/* It outlives the machine */
static void test_measure_late(void)
{
    g_autofree char *path = put_eif(BOOTABLE);
    unsigned before = count_fds();
    NitroImage *image = open_path(path);

    policy.measure = true;
    load_ok(image);
    nitro_image_unref(image);
    g_assert_cmpuint(count_fds(), ==, before + 1);
    run_thread();
    g_assert_cmpuint(count_fds(), ==, before);
}

/* Nobody gets registers of what was not launched */
static void test_measure_changed(void)
{
    g_autofree char *path = put_eif(BOOTABLE);
    g_autoptr(NitroImage) image = open_path(path);

    policy.measure = true;
    load_ok(image);
    overwrite(path, HEADER_LEN + SECTION_HEADER_LEN, "x");
    run_thread();
    assert_measurement(image, NITRO_ENCLAVE_MEASUREMENT_FAILED,
                       "the file was changed after it had been loaded");
}

static void test_measure_refused(void)
{
    g_autofree char *path = put_eif(BOOTABLE);
    g_autoptr(NitroImage) image = open_path(path);

    policy.measure = thread_refused = true;
    load_ok(image);
    assert_measurement(image, NITRO_ENCLAVE_MEASUREMENT_FAILED,
                       "the image cannot be measured: no more threads");
}

/* What was compared is known, without a thread */
static void test_expect(void)
{
    g_autofree char *path = put_eif(BOOTABLE);
    g_autoptr(NitroImage) image = open_path(path);

    policy.measure = policy.expect[2].given = true;
    g_assert(eif_pcr_parse(EXAMPLE_PCR2, policy.expect[2].pcr, &error_abort));
    load_ok(image);
    g_assert_null(thread_func);
    assert_measurement(image, NITRO_ENCLAVE_MEASUREMENT_DONE, NULL);
    load_ok(image);

    policy.expect[2].pcr[0] ^= 1;
    load_fails(image, "PCR2", NULL);
}

/* Loading again */

static void test_again_unlinked(void)
{
    g_autofree char *path = put_eif(BOOTABLE);
    g_autoptr(NitroImage) image = open_path(path);

    load_ok(image);
    unlink(path);
    load_ok(image);
}

static void test_again_shorter(void)
{
    g_autofree char *path = put_eif(BOOTABLE);
    g_autoptr(NitroImage) image = open_path(path);
    g_autofree char *message = NULL;

    load_ok(image);
    message = g_strdup_printf("the image has changed since the first launch: "
                              "the size of %s is 600, was %" PRIu64,
                              path, nitro_image_size(image));
    g_assert_cmpint(truncate(path, 600), ==, 0);
    load_fails(image, message, "end this QEMU and start another");
}

static void test_again_other_header(void)
{
    g_autofree char *path = put_eif(BOOTABLE);
    g_autoptr(NitroImage) image = open_path(path);

    load_ok(image);
    overwrite(path, AT_CRC, "CRC!");
    load_fails(image, "the image has changed since the first launch: the "
               "CRC of ", "end this QEMU");
}

static void test_again_other_bytes(void)
{
    g_autofree char *path = put_eif(BOOTABLE);
    g_autoptr(NitroImage) image = open_path(path);

    load_ok(image);
    overwrite(path, HEADER_LEN + SECTION_HEADER_LEN, "x");
    load_fails(image, "the image is damaged: CRC over its", NULL);
}

static void test_again_other_kernel(void)
{
    g_autofree char *path = put_kernel();
    g_autoptr(NitroImage) image = open_path(path);

    load_ok(image);
    overwrite(path, 2000, "x");
    load_fails(image, "the image has changed since the first launch: the "
               "CRC of ", "end this QEMU");
}

/* While it is loaded first */
static void test_changed(void)
{
    g_autofree char *path = put_kernel();
    g_autoptr(NitroImage) image = open_path(path);

    overwrite(path, 2000, "x");
    load_fails(image, "kernel: the file changed while it was being read",
               "Do not change the file during launch");
}

/* A file of its own */

static void test_eif_out(void)
{
    g_autofree char *path = put_eif(BOOTABLE);
    g_autofree char *out = g_build_filename(dir, "out", NULL);
    g_autofree char *bytes = NULL;
    g_autoptr(NitroImage) image = open_path(path);
    g_autofree uint8_t *loaded = NULL;
    gsize len;

    policy.eif_out = out;
    loaded = load(image, &error_abort);
    g_assert(g_file_get_contents(out, &bytes, &len, NULL));
    g_assert_cmpmem(bytes, len, loaded, nitro_image_size(image));
    unlink(out);
    load_ok(image);
    g_assert_false(g_file_test(out, G_FILE_TEST_EXISTS));
}

static void test_eif_out_is_input(void)
{
    g_autofree char *path = put_eif(BOOTABLE);
    g_autoptr(NitroImage) image = open_path(path);

    policy.eif_out = path;
    load_fails(image, "eif-out and -kernel name the same file", NULL);
}

/* Each test begins with an empty policy and an empty directory */
static void run_test(const void *opaque)
{
    void (*const *test)(void) = opaque;

    policy = (NitroImagePolicy) { .signature = NITRO_SIGNATURE_CHECK };
    thread_refused = false;
    dir = g_dir_make_tmp("nitro-image-XXXXXX", NULL);
    (*test)();
    temp_tree_remove(dir);
    g_free(dir);
}

static const struct {
    const char *path;
    void (*func)(void);
} tests[] = {
    { "/nitro/image/eif", test_eif },
    { "/nitro/image/kernel", test_kernel },
    { "/nitro/image/closes", test_closes },
    { "/nitro/image/too-many-ramdisks", test_too_many_ramdisks },
    { "/nitro/image/measure/done", test_measure },
    { "/nitro/image/measure/late", test_measure_late },
    { "/nitro/image/measure/changed", test_measure_changed },
    { "/nitro/image/measure/refused", test_measure_refused },
    { "/nitro/image/measure/expect", test_expect },
    { "/nitro/image/again/unlinked", test_again_unlinked },
    { "/nitro/image/again/shorter", test_again_shorter },
    { "/nitro/image/again/other-header", test_again_other_header },
    { "/nitro/image/again/other-bytes", test_again_other_bytes },
    { "/nitro/image/again/other-kernel", test_again_other_kernel },
    { "/nitro/image/changed", test_changed },
    { "/nitro/image/eif-out/written", test_eif_out },
    { "/nitro/image/eif-out/input", test_eif_out_is_input },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qemu_init_main_loop(&error_abort);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
        g_test_add_data_func(tests[i].path, &tests[i].func, run_test);
    }
    return g_test_run();
}
