/*
 * The ELF kernel inside a bzImage
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Emulated, a kernel takes seconds to unpack itself, which this host does in a
 * fraction of one.
 */

#include "qemu/osdep.h"
#ifdef CONFIG_LIBARCHIVE
#include <archive.h>
#endif
#include <sys/mman.h>
#include "crypto/hash.h"
#include "elf.h"
#include "qemu/bswap.h"
#include "qemu/memfd.h"
#include "qemu/units.h"
#include "kernel-unpack.h"

/* A payload ends with its unpacked length, as in gzip's format */
#define LENGTH_TRAILER  4

/* More than any kernel has; a bound for hostile images */
#define UNPACKED_MAX    (256 * MiB)

/*
 * The last one is kept: the same image is launched again and again.  Its memory
 * is shared with what was handed out.
 */
static struct {
    GMutex lock;
    uint8_t digest[QCRYPTO_HASH_DIGEST_LEN_SHA384];     /* of the bzImage */
    NhvKernel kernel;
} last = { .kernel.fd = -1 };

#ifdef CONFIG_LIBARCHIVE
static bool is_gzip(const uint8_t *payload, size_t len)
{
    return len >= 2 && payload[0] == 0x1f && payload[1] == 0x8b;
}

/* Returns: the number of bytes, or 0 if not all were written */
static uint64_t write_unpacked(struct archive *a, int fd, uint64_t max)
{
    uint64_t end = 0;
    const void *data;
    int64_t offset;
    size_t len;
    int rc;

    while ((rc = archive_read_data_block(a, &data, &len, &offset)) ==
           ARCHIVE_OK) {
        if (offset != end || len > max - end ||
            qemu_write_full(fd, data, len) != len) {
            return 0;
        }
        end += len;
    }
    return rc == ARCHIVE_EOF ? end : 0;
}

static uint64_t read_archive(const uint8_t *data, size_t len, int fd,
                             uint64_t max)
{
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    uint64_t size = 0;

    archive_read_support_filter_bzip2(a);
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_lz4(a);
    archive_read_support_filter_lzma(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_format_raw(a);
    if (archive_read_open_memory(a, data, len) == ARCHIVE_OK &&
        archive_read_next_header(a, &entry) == ARCHIVE_OK) {
        size = write_unpacked(a, fd, max);
    }
    archive_read_free(a);
    return size;
}

/* Returns: its unpacked length, up to @max; 0 when it cannot be unpacked */
static uint64_t unpack_payload(const uint8_t *payload, size_t len, int fd,
                               uint64_t max)
{
    uint32_t expected;
    uint64_t size;

    if (len < LENGTH_TRAILER) {
        return 0;
    }
    expected = ldl_le_p(payload + len - LENGTH_TRAILER);
    if (!is_gzip(payload, len)) {
        len -= LENGTH_TRAILER;
    }
    size = read_archive(payload, len, fd, max);
    return size == expected ? size : 0;
}
#else
static uint64_t unpack_payload(const uint8_t *payload, size_t len, int fd,
                               uint64_t max)
{
    return 0;
}
#endif

/* Does a segment of notes have the entry of PVH guests? */
static bool has_entry(const uint8_t *notes, uint64_t len)
{
    Elf64_Nhdr note;

    while (len >= sizeof(note)) {
        uint64_t next;

        memcpy(&note, notes, sizeof(note));
        if (note.n_type == XEN_ELFNOTE_PHYS32_ENTRY && note.n_namesz == 4 &&
            len >= sizeof(note) + 4 &&
            !memcmp(notes + sizeof(note), "Xen", 4)) {
            return true;
        }
        next = sizeof(note) + QEMU_ALIGN_UP((uint64_t)note.n_namesz, 4) +
               QEMU_ALIGN_UP((uint64_t)note.n_descsz, 4);
        notes += MIN(next, len);
        len -= MIN(next, len);
    }
    return false;
}

/* Reads the header of an ELF file whose table of segments is complete */
static bool read_head(Elf64_Ehdr *head, const uint8_t *elf, uint64_t size)
{
    if (size < sizeof(*head)) {
        return false;
    }
    memcpy(head, elf, sizeof(*head));
    return !memcmp(head->e_ident, ELFMAG, SELFMAG) &&
           head->e_ident[EI_CLASS] == ELFCLASS64 &&
           head->e_machine == EM_X86_64 &&
           head->e_phentsize == sizeof(Elf64_Phdr) && head->e_phoff <= size &&
           head->e_phnum <= (size - head->e_phoff) / sizeof(Elf64_Phdr);
}

static bool is_sane(const Elf64_Phdr *segment, uint64_t size)
{
    return segment->p_offset <= size &&
           segment->p_filesz <= size - segment->p_offset &&
           segment->p_paddr <= UINT32_MAX && segment->p_memsz <= UINT32_MAX;
}

/*
 * Returns: end in memory of what an ELF file loads, or 0 when a PVH machine
 * cannot enter it
 */
static uint64_t elf_end(const uint8_t *elf, uint64_t size)
{
    Elf64_Ehdr head;
    uint64_t end = 0;
    bool enters = false;

    if (!read_head(&head, elf, size)) {
        return 0;
    }
    for (unsigned int i = 0; i < head.e_phnum; i++) {
        Elf64_Phdr segment;

        memcpy(&segment, elf + head.e_phoff + i * sizeof(segment),
               sizeof(segment));
        if (!is_sane(&segment, size)) {
            return 0;
        }
        if (segment.p_type == PT_LOAD) {
            end = MAX(end, segment.p_paddr + segment.p_memsz);
        } else if (segment.p_type == PT_NOTE) {
            enters |= has_entry(elf + segment.p_offset, segment.p_filesz);
        }
    }
    return enters ? end : 0;
}

/* An enclave's QEMU must not change what another one boots */
static bool kernel_seal(int fd)
{
    int busy = 0;

    while (fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE |
                 F_SEAL_SEAL)) {
        if (errno != EBUSY || ++busy == NHV_SEAL_ATTEMPTS) {
            return false;
        }
    }
    return true;
}

/* What is found out by looking at the whole */
static bool look_at(NhvKernel *kernel)
{
    void *elf = mmap(NULL, kernel->size, PROT_READ, MAP_PRIVATE, kernel->fd, 0);

    if (elf == MAP_FAILED) {
        return false;
    }
    kernel->end = elf_end(elf, kernel->size);
    kernel->takes_devices = memmem(elf, kernel->size, NHV_KERNEL_DEVICES,
                                   strlen(NHV_KERNEL_DEVICES));
    munmap(elf, kernel->size);
    return true;
}

static bool unpack_new(NhvKernel *kernel, const EifKernel *head,
                       const uint8_t *bzimage)
{
    if (!head->memory || head->payload > head->size ||
        head->payload_len > head->size - head->payload) {
        return false;
    }
    kernel->fd = memfd_create("nitro-kernel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (kernel->fd >= 0) {
        kernel->size = unpack_payload(bzimage + head->payload,
                                      head->payload_len, kernel->fd,
                                      MIN(head->memory, UNPACKED_MAX));
    }
    if (!kernel->size || !kernel_seal(kernel->fd) || !look_at(kernel)) {
        nhv_kernel_close(kernel);
        return false;
    }
    if (head->address > UINT32_MAX) {
        kernel->end = 0;
    } else if (kernel->end) {
        kernel->end = MAX(kernel->end, head->address + head->memory);
    }
    return true;
}

/* Returns: whether the last one is the same */
static bool take_last(NhvKernel *kernel, const uint8_t *digest)
{
    if (last.kernel.fd < 0 ||
        memcmp(last.digest, digest, sizeof(last.digest))) {
        return false;
    }
    *kernel = last.kernel;
    kernel->fd = qemu_dup(last.kernel.fd);
    return kernel->fd >= 0;
}

static void kernel_keep(const NhvKernel *kernel, const uint8_t *digest)
{
    nhv_kernel_close(&last.kernel);
    last.kernel = *kernel;
    last.kernel.fd = qemu_dup(kernel->fd);
    memcpy(last.digest, digest, sizeof(last.digest));
}

void nhv_kernel_unpack(NhvKernel *kernel, const EifKernel *head,
                       const void *bzimage)
{
    uint8_t digest[sizeof(last.digest)], *to = digest;
    size_t digest_len = sizeof(digest);
    bool known;

    *kernel = (NhvKernel) { .fd = -1 };
    if (head->kind != EIF_KIND_BZIMAGE) {
        return;
    }
    known = qcrypto_hash_bytes(QCRYPTO_HASH_ALGO_SHA384, bzimage, head->size,
                               &to, &digest_len, NULL) == 0;
    g_mutex_lock(&last.lock);
    if ((!known || !take_last(kernel, digest)) &&
        unpack_new(kernel, head, bzimage) && known) {
        kernel_keep(kernel, digest);
    }
    g_mutex_unlock(&last.lock);
}

void nhv_kernel_close(NhvKernel *kernel)
{
    if (kernel->fd >= 0) {
        close(kernel->fd);
    }
    *kernel = (NhvKernel) { .fd = -1 };
}
