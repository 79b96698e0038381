/*
 * Nitro Enclaves accelerator: images that are hard to read
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Short and interrupted reads, reads that fail, files that shrink or grow
 * meanwhile, files larger than any memory, pipes and block devices.  Whatever
 * is launched is what the file held: the image carries a CRC, what is made of
 * a kernel is compared with what an undisturbed launch makes of it.
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "nitro-fault-util.h"
#include "nitro-launch-util.h"
#include "tests/nitro/eif-maker.h"

#define SMALL (8 * KiB)
#define LARGE (20 * MiB)        /* several threads read it */
#define MOST_READS 18

static void write_eif(const char *path, size_t size)
{
    g_autofree char *kernel = g_malloc(size);
    g_autoptr(GByteArray) image = eif_maker_new(4, arch_is_arm());

    for (size_t i = 0; i < size; i++) {
        kernel[i] = i % 251 + 1;
    }
    eif_maker_kernel_header((uint8_t *)kernel, arch_is_arm());
    eif_maker_add(image, 1, kernel, size);
    eif_maker_add(image, 2, EXAMPLE_CMDLINE, strlen(EXAMPLE_CMDLINE));
    eif_maker_add(image, 5, EXAMPLE_METADATA, strlen(EXAMPLE_METADATA));
    eif_maker_add(image, 3, EXAMPLE_RAMDISK0, strlen(EXAMPLE_RAMDISK0));
    eif_maker_finish(image);
    g_assert(g_file_set_contents(path, (char *)image->data, image->len, NULL));
}

/* The files of a launch: "kernel" and "initrd", or "eif" */
static void write_files(Launch *launch, size_t size)
{
    g_autofree char *kernel = launch_path(launch, "kernel");
    g_autofree char *initrd = launch_path(launch, "initrd");
    g_autofree char *eif = launch_path(launch, "eif");

    write_kernel_file(kernel, size);
    write_kernel_file(initrd, size / 2);
    write_eif(eif, size);
}

static const char *const boots[] = {
    LAUNCH_MEMORY "-kernel %s/eif",
    LAUNCH_MEMORY "-kernel %s/kernel -initrd %s/initrd -M eif-out=%s/built",
};

static void start(Launch *launch, const char *options)
{
    g_auto(GStrv) parts = g_strsplit(options, "%s", 0);
    g_autofree char *all = g_strjoinv(launch->dir, parts);

    launch_start(launch, "%s", all);
}

/* What was made of kernel and initrd, or NULL */
static GBytes *built(Launch *launch)
{
    g_autofree char *path = launch_path(launch, "built");
    char *data;
    gsize len;

    return g_file_get_contents(path, &data, &len, NULL)
           ? g_bytes_new_take(data, len) : NULL;
}

static GBytes *undisturbed(size_t size)
{
    Launch *launch = launch_new();
    GBytes *bytes;

    write_files(launch, size);
    start(launch, boots[1]);
    launch_wait(launch);
    launch_expect(launch, STATUS_ENDED);
    bytes = built(launch);
    g_assert_nonnull(bytes);
    launch_free(launch);
    return bytes;
}

static void check_built(Launch *launch, size_t size)
{
    g_autoptr(GBytes) wanted = undisturbed(size);
    g_autoptr(GBytes) result = built(launch);

    if (!result || !g_bytes_equal(wanted, result)) {
        launch_fail(launch, "the image was not read as it is");
    }
}

/* Short reads, interruptions */

static const struct Reading {
    const char *path;
    size_t size;
    unsigned most;              /* bytes per read, 0: as asked */
    const char *fault;
    bool alone;                 /* one thread does it all */
} readings[] = {
    { "bytewise", SMALL, 1 },
    { "short", LARGE, 4095 },
    { "interrupted", LARGE, 0, "read:4:1:0:2" },
    { "short-interrupted", LARGE, 65537, "read:4:2:0:2" },
    { "storm", SMALL, 512, "read:4:1:1000" },
    { "alone", LARGE, 0, NULL, true },
};

static void test_reading(const void *opaque)
{
    const struct Reading *reading = opaque;

    for (size_t i = 0; i < ARRAY_SIZE(boots); i++) {
        Launch *launch = launch_new();

        write_files(launch, reading->size);
        if (reading->most) {
            launch_set(launch, "NE_FAKE_READ", "%u", reading->most);
        }
        if (reading->fault) {
            launch_set(launch, "NE_FAKE_FAULT", "%s", reading->fault);
        }
        if (reading->alone) {
            launch_set(launch, "NE_FAKE_THREADS", "0");
        }
        start(launch, boots[i]);
        launch_wait(launch);
        launch_expect(launch, STATUS_ENDED);
        if (i == 1) {
            check_built(launch, reading->size);
        }
        launch_free(launch);
    }
}

/* Each read of each kind of image finds it so, a few launches at a time */

typedef struct Case {
    const char *boot;
    unsigned nth;
    const char *variable;
    char *value;
    Launch *launch;
    char *before;               /* its files */
} Case;

static const char *const files[] = { "kernel", "initrd", "eif" };

/* Written long ago: the kernel's clock for that is not a fine one */
static void age_files(Launch *launch)
{
    static const struct timespec times[2] = { { .tv_sec = 1 }, { 1 } };

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        g_autofree char *path = launch_path(launch, files[i]);

        g_assert_cmpint(utimensat(AT_FDCWD, path, times, 0), ==, 0);
    }
}

static char *digest_of_files(Launch *launch)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        g_autofree char *path = launch_path(launch, files[i]);
        g_autofree char *data = NULL;
        gsize len;

        g_assert(g_file_get_contents(path, &data, &len, NULL));
        g_checksum_update(sum, (guchar *)&len, sizeof(len));
        g_checksum_update(sum, (guchar *)data, len);
    }
    return g_strdup(g_checksum_get_string(sum));
}

static void case_start(Case *c)
{
    c->launch = launch_new();
    write_files(c->launch, SMALL);
    age_files(c->launch);
    c->before = digest_of_files(c->launch);
    launch_set(c->launch, c->variable, "%s", c->value);
    start(c->launch, c->boot);
}

/* Either there is no such read, or it is refused */
static bool case_finish(Case *c, const char *message)
{
    g_autofree char *before = c->before;
    g_autofree char *after = NULL;
    bool refused;

    launch_wait(c->launch);
    after = digest_of_files(c->launch);
    refused = c->launch->status != STATUS_ENDED;
    if (refused) {
        launch_expect(c->launch, STATUS_REFUSED);
        launch_expect_remedy(c->launch, message);
    } else if (!g_str_equal(before, after)) {
        launch_fail(c->launch, "launched what changed meanwhile");
    }
    launch_free(c->launch);
    g_free(c->value);
    return refused;
}

static void add_cases(GArray *cases, const char *boot, const char *variable,
                      const char *before, const char *behind)
{
    for (unsigned nth = 1; nth <= MOST_READS; nth++) {
        Case c = { boot, nth, variable };

        c.value = g_strdup_printf("%s%u%s", before, nth, behind);
        g_array_append_val(cases, c);
    }
}

static GArray *make_cases(const char *variable, const char *before,
                          const char *behind)
{
    GArray *cases = g_array_new(false, true, sizeof(Case));

    for (size_t i = 0; i < ARRAY_SIZE(boots); i++) {
        add_cases(cases, boots[i], variable, before, behind);
    }
    return cases;
}

/* @always: no read but the last ones may find nothing wrong */
static unsigned run_cases(GArray *cases, const char *message, bool always)
{
    unsigned refused = 0;
    bool before = true;

    for (guint i = 0; i < cases->len + LAUNCH_AT_ONCE; i++) {
        if (i >= LAUNCH_AT_ONCE) {
            Case *c = &g_array_index(cases, Case, i - LAUNCH_AT_ONCE);
            bool now = case_finish(c, message);

            /* Else some reads are not looked at */
            g_assert(!now || c->nth < MOST_READS);
            g_assert(!always || !now || before || c->nth == 1);
            before = now;
            refused += now;
        }
        if (i < cases->len) {
            case_start(&g_array_index(cases, Case, i));
        }
    }
    return refused;
}

static void test_read_error(const void *opaque)
{
    int err = GPOINTER_TO_INT(opaque);
    g_autofree char *fault = g_strdup_printf("read:%d:", err);
    g_autoptr(GArray) cases = make_cases("NE_FAKE_FAULT", fault, ":1");
    unsigned refused = run_cases(cases, strerror(err), true);

    g_test_message("%u of %u launches with a read that failed refused",
                   refused, cases->len);
    g_assert_cmpuint(refused, >, 10);
}

/* Whatever changes while it is read is not launched */
static void test_resize(const void *opaque)
{
    g_autofree char *size = g_strdup_printf(":%zu", GPOINTER_TO_SIZE(opaque));
    g_autoptr(GArray) cases = make_cases("NE_FAKE_RESIZE", "", size);
    unsigned refused = run_cases(cases, "qemu-system-", false);

    g_test_message("%u of %u launches with a file that changed refused",
                   refused, cases->len);
    g_assert_cmpuint(refused, >, 10);
}

/*
 * Of the same size as before: an image has its CRC, what is made of a kernel
 * would be launched but for the time of the last change.
 */
static void test_rewrite(const void *opaque)
{
    static const char *const messages[] = {
        "qemu-system-", "the file changed while it was being read"
    };
    size_t boot = GPOINTER_TO_SIZE(opaque);
    g_autoptr(GArray) cases = g_array_new(false, true, sizeof(Case));
    unsigned refused;

    add_cases(cases, boots[boot], "NE_FAKE_REWRITE", "", "");
    refused = run_cases(cases, messages[boot], true);
    g_test_message("%u of %u launches with a file that was written to refused",
                   refused, cases->len);
    g_assert_cmpuint(refused, >, 3);
}

void add_fault_image_tests(void)
{
    static const int errors[] = { EIO, ENOMEM, EFAULT };
    static const uint64_t sizes[] = { 0, 600, 8191, 1 * MiB };

    for (size_t i = 0; i < ARRAY_SIZE(readings); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/fault/image/%s",
                                                readings[i].path);

        qtest_add_data_func(path, &readings[i], test_reading);
    }
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/fault/image/error/%d",
                                                errors[i]);

        qtest_add_data_func(path, GINT_TO_POINTER(errors[i]),
                            test_read_error);
    }
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/fault/image/resized/%"
                                                PRIu64, sizes[i]);

        qtest_add_data_func(path, GSIZE_TO_POINTER(sizes[i]), test_resize);
    }
    qtest_add_data_func("/nitro/fault/image/rewritten/eif",
                        GSIZE_TO_POINTER(0), test_rewrite);
    qtest_add_data_func("/nitro/fault/image/rewritten/kernel",
                        GSIZE_TO_POINTER(1), test_rewrite);
}
