/*
 * Enclave Image Format: judge a kernel without running it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "hw/core/eif-kernel.h"

/* All headers are at the start, including the PE form's */
#define HEAD_LEN 4096

/* Header of a bzImage */
#define X86_SETUP_SECTS 0x1f1
#define X86_SYSSIZE 0x1f4
#define X86_VERSION 0x206
#define X86_CMDLINE_SIZE 0x238
#define X86_PAYLOAD_OFFSET 0x248
#define X86_PAYLOAD_LENGTH 0x24c
#define X86_PREF_ADDRESS 0x258
#define X86_INIT_SIZE 0x260
#define X86_HEADER_END 0x264

#define X86_SECTOR 512
#define X86_PARAGRAPH 16 /* unit of syssize */
#define X86_DEFAULT_SECTS 4
#define X86_OLD_CMDLINE_MAX 255 /* before version 2.06 */

/* Header of an Image, and what follows when it is an EFI program as well */
#define ARM64_IMAGE_SIZE 16
#define ARM64_PE_POINTER 60
#define ARM64_HEADER_END 64
#define ARM64_CMDLINE_MAX 2047 /* COMMAND_LINE_SIZE without its NUL */

#define PE_NR_SECTIONS 6
#define PE_OPTIONAL_SIZE 20
#define PE_OPTIONAL 24
#define PE_SECTION_LEN 40
#define PE_SECTION_SIZE 16
#define PE_SECTION_POINTER 20

/* A command line of more is too long in any case */
#define CMDLINE_LOOK (64 * KiB)

#define HINT_COPY "Copy the kernel again, or build it again.\n"

static uint64_t read_u32(const uint8_t *from)
{
    return (uint32_t)ldl_le_p(from);
}

static void probe_bzimage(const uint8_t *head, EifKernel *kernel)
{
    uint64_t setup = head[X86_SETUP_SECTS] ?: X86_DEFAULT_SECTS;
    uint16_t version = lduw_le_p(head + X86_VERSION);
    uint64_t end = read_u32(head + X86_SYSSIZE) * X86_PARAGRAPH;
    uint64_t payload = read_u32(head + X86_PAYLOAD_OFFSET);
    uint64_t cmdline_size = read_u32(head + X86_CMDLINE_SIZE);

    setup = (setup + 1) * X86_SECTOR;
    if (version < 0x204) {
        end &= UINT16_MAX * X86_PARAGRAPH;
    }
    if (version >= 0x208) {
        kernel->payload = setup + payload;
        kernel->payload_len = read_u32(head + X86_PAYLOAD_LENGTH);
        end = MAX(end, payload + kernel->payload_len);
    }
    if (version >= 0x20a) {
        kernel->address = ldq_le_p(head + X86_PREF_ADDRESS);
        kernel->memory = read_u32(head + X86_INIT_SIZE) ?: 1;
    }
    kernel->loaded = MAX(end, 1);
    kernel->needed = setup + kernel->loaded;
    kernel->cmdline_max = version >= 0x206 && cmdline_size
                          ? cmdline_size : X86_OLD_CMDLINE_MAX;
}

/* End of what the headers of a PE program claim, themselves among it */
static uint64_t pe_end(const uint8_t *head, uint64_t pe)
{
    uint64_t end = pe + PE_OPTIONAL, table;

    if (end > HEAD_LEN || memcmp(head + pe, "PE\0", 4)) {
        return end;
    }
    table = end + lduw_le_p(head + pe + PE_OPTIONAL_SIZE);
    for (unsigned i = lduw_le_p(head + pe + PE_NR_SECTIONS);
         i && table + PE_SECTION_LEN <= HEAD_LEN; i--) {
        uint64_t size = read_u32(head + table + PE_SECTION_SIZE);
        uint64_t pointer = read_u32(head + table + PE_SECTION_POINTER);

        table += PE_SECTION_LEN;
        end = MAX(end, MAX(table, pointer + size));
    }
    return end;
}

static void probe_image(const uint8_t *head, EifKernel *kernel)
{
    uint64_t end = 0;

    if (!memcmp(head, "MZ", 2)) {
        end = pe_end(head, read_u32(head + ARM64_PE_POINTER));
    }
    kernel->memory = ldq_le_p(head + ARM64_IMAGE_SIZE);
    kernel->loaded = kernel->needed = MAX(end, ARM64_HEADER_END);
    kernel->cmdline_max = ARM64_CMDLINE_MAX;
}

bool eif_kernel_probe(const EifSource *src, uint64_t offset, uint64_t size,
                      EifKernel *kernel, Error **errp)
{
    uint8_t head[HEAD_LEN] = { 0 };
    size_t len = MIN(size, sizeof(head));

    QEMU_BUILD_BUG_ON(X86_HEADER_END > HEAD_LEN);
    if (!eif_source_read(src, head, len, offset, errp)) {
        return false;
    }
    *kernel = (EifKernel) {
        .kind = eif_buffer_kind(head, len),
        .size = size,
        .cmdline_max = UINT64_MAX,
    };
    if (kernel->kind == EIF_KIND_BZIMAGE) {
        probe_bzimage(head, kernel);
    } else if (kernel->kind == EIF_KIND_ARM64_IMAGE) {
        probe_image(head, kernel);
    }
    return true;
}

bool eif_kernel_is_uncertain(const EifKernel *kernel)
{
    return kernel->kind == EIF_KIND_UNKNOWN;
}

static void refuse_kind(EifFileKind kind, EifArch arch, Error **errp)
{
    ERRP_GUARD();
    const char *hint = eif_file_kind_hint(kind);

    error_setg(errp, "the kernel is %s, wanted is %s", eif_file_kind_str(kind),
               eif_file_kind_str(eif_arch_kernel(arch)));
    if (hint) {
        error_append_hint(errp, "%s", hint);
    }
    error_append_hint(errp, "Build the image again, with a kernel built for "
                      "%s.\n", eif_arch_str(arch));
}

bool eif_kernel_check(const EifKernel *kernel, EifArch arch, Error **errp)
{
    ERRP_GUARD();

    if (kernel->kind != eif_arch_kernel(arch)) {
        refuse_kind(kernel->kind, arch, errp);
        return false;
    }
    if (kernel->size < kernel->needed) {
        error_setg(errp, "the kernel is cut short: it has %" PRIu64 " bytes, "
                   "%" PRIu64 " by its header", kernel->size, kernel->needed);
    } else if (kernel->memory && kernel->memory < kernel->loaded) {
        error_setg(errp, "the kernel is damaged: by its header it occupies %"
                   PRIu64 " bytes of memory, fewer than the %" PRIu64
                   " that are loaded", kernel->memory, kernel->loaded);
    } else {
        return true;
    }
    error_append_hint(errp, HINT_COPY);
    return false;
}

bool eif_kernel_check_cmdline(const EifKernel *kernel, uint64_t len,
                              Error **errp)
{
    ERRP_GUARD();

    if (len <= kernel->cmdline_max) {
        return true;
    }
    error_setg(errp, "the command line has %" PRIu64 " characters, the kernel "
               "takes %" PRIu64, len, kernel->cmdline_max);
    error_append_hint(errp, "Shorten the command line; settings of programs "
                      "can be in a file of the ramdisk.\n");
    return false;
}

bool eif_image_probe_kernel(const EifImage *image, const EifSource *src,
                            EifKernel *kernel, Error **errp)
{
    const EifSection *s = eif_image_section(image, EIF_SECTION_KERNEL, 0);

    return eif_kernel_probe(src, s->data_offset, s->size, kernel, errp);
}

bool eif_image_cmdline_len(const EifImage *image, const EifSource *src,
                           uint64_t *len, Error **errp)
{
    const EifSection *s = eif_image_section(image, EIF_SECTION_CMDLINE, 0);
    size_t look = MIN(s->size, CMDLINE_LOOK);
    g_autofree char *text = g_malloc(look + 1);
    size_t n;

    if (!eif_source_read(src, text, look, s->data_offset, errp)) {
        return false;
    }
    n = strnlen(text, look);
    if (n == look && s->size > look) {
        *len = s->size;
        return true;
    }
    while (n && g_ascii_isspace(text[n - 1])) {
        n--;
    }
    *len = n;
    return true;
}
