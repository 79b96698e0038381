/*
 * Unit tests of the kernel inside a bzImage
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <archive.h>
#include <archive_entry.h>
#include <sys/mman.h>
#include "elf.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "contrib/nitro-hypervisor/kernel-unpack.h"

#define ELF_SIZE (300 * 1024)
#define SETUP_SECTS 3
#define PAYLOAD 0x100
#define PAYLOAD_AT ((SETUP_SECTS + 1) * 512 + PAYLOAD)
#define PACKED_MAX (2 * ELF_SIZE)
#define ADDRESS 0x1000000
#define INIT_SIZE (4 * MiB)
#define NOTES_AT 0x1000
#define MARK_AT 0x20000

/* The ELF file to pack, and the bzImage around it */
typedef struct Fixture {
    uint8_t *elf;
    uint8_t *bzimage;
    size_t len;
    NhvKernel kernel;
} Fixture;

static Elf64_Phdr *segment(Fixture *f, unsigned int i)
{
    return (Elf64_Phdr *)(f->elf + sizeof(Elf64_Ehdr)) + i;
}

/* Three notes, the last of which is the entry of PVH guests */
static void write_notes(uint8_t *to)
{
    static const struct {
        Elf64_Nhdr head;
        char name[4];
        uint32_t value[2];
    } notes[] = {
        { { 4, 8, 6 }, "Xen", { 1 } },
        { { 4, 5, XEN_ELFNOTE_PHYS32_ENTRY }, "GNU", { 2 } },
        { { 4, 8, XEN_ELFNOTE_PHYS32_ENTRY }, "Xen", { ADDRESS } },
    };

    memcpy(to, notes, sizeof(notes));
}

static void setup(Fixture *f, gconstpointer data)
{
    static const Elf64_Ehdr head = {
        .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64 },
        .e_machine = EM_X86_64, .e_phoff = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2,
    };

    f->elf = g_malloc(ELF_SIZE);
    for (size_t i = 0; i < ELF_SIZE; i++) {
        f->elf[i] = (i * 2654435761u) >> 13;
    }
    memcpy(f->elf, &head, sizeof(head));
    *segment(f, 0) = (Elf64_Phdr) {
        .p_type = PT_LOAD, .p_paddr = ADDRESS, .p_filesz = ELF_SIZE,
        .p_memsz = MiB,
    };
    *segment(f, 1) = (Elf64_Phdr) {
        .p_type = PT_NOTE, .p_offset = NOTES_AT, .p_filesz = 3 * 24,
    };
    write_notes(f->elf + NOTES_AT);
    f->bzimage = g_malloc0(PAYLOAD_AT + PACKED_MAX);
    f->kernel.fd = -1;
}

static void teardown(Fixture *f, gconstpointer data)
{
    nhv_kernel_close(&f->kernel);
    g_free(f->elf);
    g_free(f->bzimage);
}

/* @filter: name of one of libarchive's; NULL for none */
static size_t pack(const Fixture *f, const char *filter, uint8_t *to)
{
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    size_t used = 0;

    if (filter) {
        g_assert_cmpint(archive_write_add_filter_by_name(a, filter), ==,
                        ARCHIVE_OK);
    }
    archive_write_set_format_raw(a);
    archive_write_set_bytes_in_last_block(a, 1);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_write_open_memory(a, to, PACKED_MAX, &used);
    g_assert_cmpint(archive_write_header(a, entry), ==, ARCHIVE_OK);
    g_assert_cmpint(archive_write_data(a, f->elf, ELF_SIZE), ==, ELF_SIZE);
    archive_entry_free(entry);
    archive_write_free(a);
    return used;
}

static void make_bzimage(Fixture *f, const char *filter)
{
    uint8_t *setup = f->bzimage;
    size_t len = pack(f, filter, setup + PAYLOAD_AT);

    /* As Linux's build does it for all but gzip, whose format has the same */
    if (g_strcmp0(filter, "gzip")) {
        stl_le_p(setup + PAYLOAD_AT + len, ELF_SIZE);
        len += 4;
    }
    setup[0x1f1] = SETUP_SECTS;
    stw_le_p(setup + 0x1fe, 0xaa55);
    memcpy(setup + 0x202, "HdrS", 4);
    stw_le_p(setup + 0x206, 0x20f);
    stl_le_p(setup + 0x248, PAYLOAD);
    stl_le_p(setup + 0x24c, len);
    stq_le_p(setup + 0x258, ADDRESS);
    stl_le_p(setup + 0x260, INIT_SIZE);
    f->len = PAYLOAD_AT + len;
}

static EifKernel probe(const Fixture *f)
{
    EifKernel head;
    EifSource src;

    eif_source_init_buffer(&src, f->bzimage, f->len);
    g_assert_true(eif_kernel_probe(&src, 0, f->len, &head, &error_abort));
    return head;
}

static void unpack(Fixture *f)
{
    EifKernel head = probe(f);

    nhv_kernel_close(&f->kernel);
    nhv_kernel_unpack(&f->kernel, &head, f->bzimage);
}

/* What setup() made, perhaps changed, comes out */
static void expect_elf(Fixture *f)
{
    g_autofree uint8_t *got = g_malloc(ELF_SIZE + 1);

    unpack(f);
    g_assert_cmpint(f->kernel.fd, >=, 0);
    g_assert_cmpuint(f->kernel.size, ==, ELF_SIZE);
    g_assert_cmpint(pread(f->kernel.fd, got, ELF_SIZE + 1, 0), ==, ELF_SIZE);
    g_assert_cmpmem(got, ELF_SIZE, f->elf, ELF_SIZE);
}

static void expect_unknown(Fixture *f)
{
    unpack(f);
    g_assert_cmpint(f->kernel.fd, ==, -1);
    g_assert_cmpuint(f->kernel.size, ==, 0);
    g_assert_cmpuint(f->kernel.end, ==, 0);
    g_assert_false(f->kernel.takes_devices);
}

/* @data: how it is packed */
static void test_format(Fixture *f, gconstpointer data)
{
    make_bzimage(f, data);
    expect_elf(f);
    g_assert_cmpuint(f->kernel.end, ==, ADDRESS + INIT_SIZE);
    g_assert_false(f->kernel.takes_devices);
}

/* The same kernel is unpacked once, and cannot be changed */
static void test_shared(Fixture *f, gconstpointer data)
{
    NhvKernel other;
    EifKernel head;
    struct stat one, two;

    make_bzimage(f, "zstd");
    unpack(f);
    head = probe(f);
    nhv_kernel_unpack(&other, &head, f->bzimage);
    g_assert_cmpuint(other.end, ==, f->kernel.end);
    g_assert_cmpint(fstat(f->kernel.fd, &one), ==, 0);
    g_assert_cmpint(fstat(other.fd, &two), ==, 0);
    g_assert_cmpint(one.st_ino, ==, two.st_ino);
    g_assert_cmpint(pwrite(other.fd, "x", 1, 0), ==, -1);
    g_assert_cmpint(ftruncate(other.fd, 0), ==, -1);
    nhv_kernel_close(&other);
    g_assert_cmpint(other.fd, ==, -1);

    f->elf[MARK_AT] ^= 1;
    make_bzimage(f, "zstd");
    expect_elf(f);
}

static void test_devices(Fixture *f, gconstpointer data)
{
    strcpy((char *)f->elf + MARK_AT, NHV_KERNEL_DEVICES);
    make_bzimage(f, "gzip");
    unpack(f);
    g_assert_true(f->kernel.takes_devices);
}

/* The kernel itself may need more memory than its unpacking */
static void test_end(Fixture *f, gconstpointer data)
{
    segment(f, 0)->p_memsz = 2 * INIT_SIZE;
    make_bzimage(f, "gzip");
    unpack(f);
    g_assert_cmpuint(f->kernel.end, ==, ADDRESS + 2 * INIT_SIZE);
}

static void no_magic(Fixture *f)
{
    f->elf[0] = 0;
}

static void other_class(Fixture *f)
{
    f->elf[EI_CLASS] = ELFCLASS32;
}

static void other_machine(Fixture *f)
{
    ((Elf64_Ehdr *)f->elf)->e_machine = EM_AARCH64;
}

static void other_segments(Fixture *f)
{
    ((Elf64_Ehdr *)f->elf)->e_phentsize = sizeof(Elf32_Phdr);
}

static void far_segments(Fixture *f)
{
    ((Elf64_Ehdr *)f->elf)->e_phoff = UINT64_MAX;
}

static void many_segments(Fixture *f)
{
    ((Elf64_Ehdr *)f->elf)->e_phnum = UINT16_MAX;
}

static void far_notes(Fixture *f)
{
    segment(f, 1)->p_offset = UINT64_MAX;
}

static void long_notes(Fixture *f)
{
    segment(f, 1)->p_filesz = UINT64_MAX;
}

static void high_address(Fixture *f)
{
    segment(f, 0)->p_paddr = 4 * GiB;
}

static void large_segment(Fixture *f)
{
    segment(f, 0)->p_memsz = 4 * GiB;
}

static void no_notes(Fixture *f)
{
    segment(f, 1)->p_type = PT_NULL;
}

/* The one that counts is cut off */
static void short_notes(Fixture *f)
{
    segment(f, 1)->p_filesz = 2 * 24 + 15;
}

static void endless_note(Fixture *f)
{
    ((Elf64_Nhdr *)(f->elf + NOTES_AT))->n_descsz = UINT32_MAX;
}

static const struct {
    const char *name;
    void (*change)(Fixture *f);
} changes[] = {
    { "no-magic", no_magic }, { "other-class", other_class },
    { "other-machine", other_machine }, { "other-segments", other_segments },
    { "far-segments", far_segments }, { "many-segments", many_segments },
    { "far-notes", far_notes }, { "long-notes", long_notes },
    { "high-address", high_address }, { "large-segment", large_segment },
    { "no-notes", no_notes }, { "short-notes", short_notes },
    { "endless-note", endless_note },
};

/* It can be looked at, but not entered */
static void test_no_entry(Fixture *f, gconstpointer data)
{
    changes[GPOINTER_TO_SIZE(data)].change(f);
    make_bzimage(f, "gzip");
    expect_elf(f);
    g_assert_cmpuint(f->kernel.end, ==, 0);
}

/* Sizes that lie, streams that end early */
static void test_damaged(Fixture *f, gconstpointer data)
{
    size_t len;

    make_bzimage(f, data);
    len = f->len;
    for (f->len = 0; f->len < len; f->len += f->len < 4096 ? 1 : 10007) {
        expect_unknown(f);
    }
    f->len = len;
    stl_le_p(f->bzimage + 0x24c, UINT32_MAX);
    expect_unknown(f);
    stl_le_p(f->bzimage + 0x24c, 1000);
    expect_unknown(f);
    stl_le_p(f->bzimage + 0x248, UINT32_MAX);
    expect_unknown(f);
}

/* No kernel is longer than the memory that it asks for */
static void test_long(Fixture *f, gconstpointer data)
{
    make_bzimage(f, "gzip");
    stl_le_p(f->bzimage + 0x260, ELF_SIZE - 1);
    expect_unknown(f);
    stl_le_p(f->bzimage + 0x260, ELF_SIZE);
    expect_elf(f);
}

/* Before Linux 2.6.31 the header did not say how much memory that is */
static void test_old(Fixture *f, gconstpointer data)
{
    make_bzimage(f, "gzip");
    stw_le_p(f->bzimage + 0x206, 0x209);
    expect_unknown(f);
}

/* Sums of addresses cannot overflow */
static void test_far(Fixture *f, gconstpointer data)
{
    make_bzimage(f, "gzip");
    stq_le_p(f->bzimage + 0x258, UINT64_MAX - ELF_SIZE);
    expect_elf(f);
    g_assert_cmpuint(f->kernel.end, ==, 0);
}

static void test_not_packed(Fixture *f, gconstpointer data)
{
    make_bzimage(f, NULL);
    expect_elf(f);
}

static void add(const char *name, gconstpointer data,
                void (*function)(Fixture *, gconstpointer))
{
    g_autofree char *path = g_strdup_printf("/nitro/kernel-unpack/%s", name);

    g_test_add(path, Fixture, data, setup, function, teardown);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("format/bzip2", "bzip2", test_format);
    add("format/gzip", "gzip", test_format);
    add("format/lzma", "lzma", test_format);
    add("format/xz", "xz", test_format);
    add("format/zstd", "zstd", test_format);
    add("not-packed", NULL, test_not_packed);
    add("shared", NULL, test_shared);
    add("devices", NULL, test_devices);
    add("end", NULL, test_end);
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_autofree char *name = g_strdup_printf("no-entry/%s",
                                                changes[i].name);

        add(name, GSIZE_TO_POINTER(i), test_no_entry);
    }
    add("damaged/gzip", "gzip", test_damaged);
    add("damaged/xz", "xz", test_damaged);
    add("damaged/zstd", "zstd", test_damaged);
    add("long", NULL, test_long);
    add("old", NULL, test_old);
    add("far", NULL, test_far);
    return g_test_run();
}
