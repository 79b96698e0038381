/*
 * Enclave images: loading, CRC, measurements
 *
 * With EIF_VECTORS set to a directory that holds vectors.json and images of
 * the official builder, those are checked against the official values.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include <dlfcn.h>
#ifdef CONFIG_GNUTLS_CRYPTO
#include <gnutls/crypto.h>
#endif
#include "qemu/atomic.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "crypto/init.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "hw/core/eif-image.h"
#include "tests/nitro/eif-maker.h"

#define CHANGED "the image file changed while it was being read"
#define GUARD 16
#define GUARD_BYTE 0x5a

/* An image in a file, opened, and room to load it with a guard behind */
typedef struct Fixture {
    GByteArray *bytes;
    int fd;
    EifImage *image;
    uint8_t *dest;
} Fixture;

static void setup(Fixture *f, const void *sections)
{
    f->bytes = eif_maker_image(4, 0, sections);
    f->fd = eif_maker_file(f->bytes->data, f->bytes->len);
    f->image = eif_image_open_fd(f->fd, &error_abort);
    f->dest = g_malloc(f->bytes->len + GUARD);
    memset(f->dest, GUARD_BYTE, f->bytes->len + GUARD);
}

static void teardown(Fixture *f, const void *sections)
{
    for (int i = 0; i < GUARD; i++) {
        g_assert_cmphex(f->dest[f->bytes->len + i], ==, GUARD_BYTE);
    }
    memset(&eif_maker_reads, 0, sizeof(eif_maker_reads));
    g_byte_array_unref(f->bytes);
    eif_image_free(f->image);
    close(f->fd);
    g_free(f->dest);
}

static void store(Fixture *f, unsigned at, const void *data, size_t len)
{
    g_assert_cmpint(pwrite(f->fd, data, len, at), ==, len);
}

static void assert_load_fails(Fixture *f, const char *message,
                              const char *hint)
{
    Error *err = NULL;

    g_assert_false(eif_image_load_fd(f->image, f->fd, f->dest, f->bytes->len,
                                     &err));
    eif_maker_assert_error(err, message, hint);
}

static void test_exact(Fixture *f, const void *sections)
{
    g_assert_true(eif_image_load_fd(f->image, f->fd, f->dest, f->bytes->len,
                                    &error_abort));
    g_assert_cmpmem(f->dest, f->bytes->len, f->bytes->data, f->bytes->len);
    g_assert_cmpint(lseek(f->fd, 0, SEEK_CUR), ==, f->bytes->len);
}

static void test_tail_stays_out(Fixture *f, const void *sections)
{
    store(f, f->bytes->len, "tail", 4);
    g_assert_true(eif_image_load_fd(f->image, f->fd, f->dest,
                                    f->bytes->len + GUARD, &error_abort));
    g_assert_cmpmem(f->dest, f->bytes->len, f->bytes->data, f->bytes->len);
}

static void test_interrupted(Fixture *f, const void *sections)
{
    eif_maker_reads.most = 7;
    eif_maker_reads.interrupt = true;
    g_assert_true(eif_image_load_fd(f->image, f->fd, f->dest, f->bytes->len,
                                    &error_abort));
    g_assert_cmpmem(f->dest, f->bytes->len, f->bytes->data, f->bytes->len);
    g_assert_cmpint(eif_maker_reads.calls, >, 2 * f->bytes->len / 7);
}

static void test_no_room(Fixture *f, const void *sections)
{
    Error *err = NULL;

    g_assert_false(eif_image_load_fd(f->image, f->fd, f->dest,
                                     EXAMPLE_SIZE - 1, &err));
    eif_maker_assert_error(err, "the image needs 921 bytes, there is room for "
                           "920", NULL);
    g_assert_cmphex(f->dest[0], ==, GUARD_BYTE);
}

static void test_damaged(Fixture *f, const void *sections)
{
    EifSource src;
    Error *err = NULL;
    const char *message = "the image is damaged: CRC over its 921 bytes is "
                          "0x8db69707, its header says 0x74c0f551";

    store(f, 913, "b", 1);
    assert_load_fails(f, message, "Copy the image again");
    g_assert_true(eif_source_init_fd(&src, f->fd, &error_abort));
    g_assert_false(eif_image_verify_crc(f->image, &src, &err));
    eif_maker_assert_error(err, message, "Copy the image again");
}

static void test_header_changed(Fixture *f, const void *sections)
{
    store(f, AT_FLAGS, "\0\1", 2);
    assert_load_fails(f, CHANGED, "Do not change the file");
}

static void test_section_changed(Fixture *f, const void *sections)
{
    store(f, 857, "\0\6", 2);
    assert_load_fails(f, CHANGED, "Do not change the file");
}

static void test_shrunk(Fixture *f, const void *sections)
{
    g_assert_cmpint(ftruncate(f->fd, EXAMPLE_SIZE - 1), ==, 0);
    assert_load_fails(f, CHANGED, "Do not change the file");
}

static void test_shrinks_while_read(Fixture *f, const void *sections)
{
    EifSource src;
    EifMeasurements m;
    Error *err = NULL;

    g_assert_true(eif_source_init_fd(&src, f->fd, &error_abort));
    g_assert_cmpint(ftruncate(f->fd, 900), ==, 0);
    g_assert_false(eif_image_verify_crc(f->image, &src, &err));
    eif_maker_assert_error(err, "the file ended at byte 900 of 921 while it "
                           "was being read", "Do not change the file");
    err = NULL;
    g_assert_false(eif_image_measure(f->image, &src, &m, &err));
    eif_maker_assert_error(err, "the file ended at byte 900 of 921 while it "
                           "was being read", NULL);
}

/* As when the pages of the destination cannot be had */
static void test_no_memory(Fixture *f, const void *sections)
{
    void *dest = mmap(NULL, 64 * KiB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
    Error *err = NULL;

    g_assert_true(dest != MAP_FAILED);
    g_assert_false(eif_image_load_fd(f->image, f->fd, dest, 64 * KiB, &err));
    eif_maker_assert_error(err, "cannot read 548 bytes at offset 0: Bad "
                           "address", "vm.nr_hugepages");
    munmap(dest, 64 * KiB);
}

static void test_measure_fd(Fixture *f, const void *sections)
{
    EifMeasurements from_fd, from_map;
    EifSource src;

    eif_maker_reads.most = 5;
    g_assert_true(eif_source_init_fd(&src, f->fd, &error_abort));
    g_assert_true(eif_image_measure(f->image, &src, &from_fd, &error_abort));
    eif_source_init_buffer(&src, f->bytes->data, f->bytes->len);
    g_assert_true(eif_image_measure(f->image, &src, &from_map, &error_abort));
    g_assert_cmpmem(&from_fd, sizeof(from_fd), &from_map, sizeof(from_map));
    g_assert_true(from_fd.has_pcr8);
}

/* Longer than the pieces it is read in, with an odd rest */
static void test_pieces(void)
{
    const size_t len = MiB + 4321;
    g_autofree uint8_t *ramdisk = g_malloc(len);
    g_autofree uint8_t *dest = NULL;
    g_autoptr(GByteArray) bytes = eif_maker_image(4, 0, "KCM");
    g_autoptr(EifImage) image = NULL;
    EifSource src;
    int fd;

    for (size_t i = 0; i < len; i++) {
        ramdisk[i] = i * 31 >> 3;
    }
    eif_maker_add(bytes, EIF_SECTION_RAMDISK, ramdisk, len);
    eif_maker_finish(bytes);
    fd = eif_maker_file(bytes->data, bytes->len);
    dest = g_malloc(bytes->len);
    image = eif_image_open_fd(fd, &error_abort);
    g_assert_true(eif_image_load_fd(image, fd, dest, bytes->len,
                                    &error_abort));
    g_assert_cmpmem(dest, bytes->len, bytes->data, bytes->len);
    g_assert_true(eif_source_init_fd(&src, fd, &error_abort));
    g_assert_true(eif_image_verify_crc(image, &src, &error_abort));
    close(fd);
}

static void test_not_a_file(void)
{
    int fds[2];
    EifSource src;
    Error *err = NULL;

    g_assert_cmpint(pipe(fds), ==, 0);
    g_assert_false(eif_source_init_fd(&src, fds[0], &err));
    eif_maker_assert_error(err, "neither a regular file nor a block device",
                           NULL);
    close(fds[0]);
    close(fds[1]);
    err = NULL;
    g_assert_false(eif_source_init_fd(&src, -1, &err));
    eif_maker_assert_error(err, "cannot get the size of the file: Bad file "
                           "descriptor", NULL);
}

static void test_source_bounds(void)
{
    static const uint8_t data[10] = "012345678";
    uint8_t buf[10];
    EifSource src;
    Error *err = NULL;

    eif_source_init_buffer(&src, data, sizeof(data));
    g_assert_true(eif_source_read(&src, buf, 10, 0, &error_abort));
    g_assert_true(eif_source_read(&src, buf, 0, 10, &error_abort));
    g_assert_false(eif_source_read(&src, buf, 1, 10, &err));
    eif_maker_assert_error(err, "1 bytes at offset 10 are beyond the end at "
                           "10", NULL);
    g_assert_false(eif_source_read(&src, buf, 2, UINT64_MAX, NULL));
    g_assert_false(eif_source_read(&src, buf, SIZE_MAX, 2, NULL));
}

static void assert_official_pcr(const QDict *pcrs, const char *name,
                                const uint8_t *pcr)
{
    g_autoptr(GString) hex = g_string_new(NULL);
    const char *want = qdict_get_try_str(pcrs, name);

    for (int i = 0; i < EIF_PCR_LEN; i++) {
        g_string_append_printf(hex, "%02x", pcr[i]);
    }
    g_assert_cmpstr(hex->str, ==, want ?: ZERO_PCR);
}

static void check_official(const char *dir, const char *name,
                           const QDict *want)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree char *crc = NULL;
    g_autofree uint8_t *dest = NULL;
    g_autoptr(EifImage) image = NULL;
    QDict *pcrs = qdict_get_qdict(want, "pcrs");
    EifMeasurements m;
    EifSource src;
    int fd = open(path, O_RDONLY);

    g_test_message("%s", path);
    g_assert_cmpint(fd, >=, 0);
    image = eif_image_open_fd(fd, &error_abort);
    g_assert_cmpint(image->image_size, ==, qdict_get_int(want, "size"));
    crc = g_strdup_printf("%08x", image->crc);
    g_assert_cmpstr(crc, ==, qdict_get_str(want, "crc"));
    dest = g_malloc(image->image_size);
    g_assert_true(eif_image_load_fd(image, fd, dest, image->image_size,
                                    &error_abort));
    eif_source_init_buffer(&src, dest, image->image_size);
    g_assert_true(eif_image_measure(image, &src, &m, &error_abort));
    assert_official_pcr(pcrs, "PCR0", m.pcr0);
    assert_official_pcr(pcrs, "PCR1", m.pcr1);
    assert_official_pcr(pcrs, "PCR2", m.pcr2);
    assert_official_pcr(pcrs, "PCR8", m.pcr8);
    g_assert_cmpint(m.has_pcr8, ==, qdict_haskey(pcrs, "PCR8"));
    close(fd);
}

static void test_official(void)
{
    const char *dir = getenv("EIF_VECTORS");
    g_autofree char *path = NULL;
    g_autofree char *json = NULL;
    QDict *all;
    int count = 0;

    path = g_build_filename(dir ?: "", "vectors.json", NULL);
    if (!dir || !g_file_get_contents(path, &json, NULL, NULL)) {
        g_test_skip("EIF_VECTORS names no directory with official images");
        return;
    }
    all = qobject_to(QDict, qobject_from_json(json, &error_abort));
    for (const QDictEntry *e = qdict_first(all); e; e = qdict_next(all, e)) {
        check_official(dir, qdict_entry_key(e),
                       qobject_to(QDict, qdict_entry_value(e)));
        count++;
    }
    g_assert_cmpint(count, >, 0);
    qobject_unref(all);
}

static void add(const char *name, const char *sections,
                void (*func)(Fixture *, const void *))
{
    g_autofree char *path = g_strdup_printf("/eif/load/%s", name);

    g_test_add(path, Fixture, sections, setup, func, teardown);
}

#ifdef CONFIG_GNUTLS_CRYPTO
static bool digests_listed;

/* In front of GnuTLS's, which fills a list on the first call */
const gnutls_digest_algorithm_t *gnutls_digest_list(void)
{
    const gnutls_digest_algorithm_t *(*real)(void) =
        dlsym(RTLD_NEXT, "gnutls_digest_list");

    qatomic_set(&digests_listed, true);
    return real();
}

/* Threads that measure find the list filled */
static void test_digests(void)
{
    g_assert_true(digests_listed);
}
#endif

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qcrypto_init(&error_abort);

#ifdef CONFIG_GNUTLS_CRYPTO
    /* First: any other test would list them */
    g_test_add_func("/eif/load/digests", test_digests);
#endif

    add("exact", EXAMPLE, test_exact);
    add("exact-signed", "KCMRrS", test_exact);
    add("exact-minimal", "KcM", test_exact);
    add("tail-stays-out", EXAMPLE, test_tail_stays_out);
    add("interrupted", EXAMPLE, test_interrupted);
    add("no-room", EXAMPLE, test_no_room);
    add("damaged", EXAMPLE, test_damaged);
    add("header-changed", EXAMPLE, test_header_changed);
    add("section-changed", EXAMPLE, test_section_changed);
    add("shrunk", EXAMPLE, test_shrunk);
    add("shrinks-while-read", EXAMPLE, test_shrinks_while_read);
    add("no-memory", EXAMPLE, test_no_memory);
    add("measure-fd", "KCMRrS", test_measure_fd);
    g_test_add_func("/eif/load/pieces", test_pieces);
    g_test_add_func("/eif/load/not-a-file", test_not_a_file);
    g_test_add_func("/eif/load/source-bounds", test_source_bounds);
    g_test_add_func("/eif/load/official", test_official);
    return g_test_run();
}
