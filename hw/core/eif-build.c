/*
 * Enclave Image Format: build an image from a plain kernel
 *
 * Plans the sections first, so that all offsets and the size are known, then
 * writes the image in one pass: kernel and initrd go from their files straight
 * to their final place.  The order is the one the official builder uses.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "hw/core/eif-crc.h"
#include "hw/core/eif-kernel.h"
#include "qobject/json-writer.h"

/* As the official builder has them; nothing reads these two */
#define DEFAULT_MEMORY (1 * GiB)
#define DEFAULT_CPUS 2

#define MAX_EPOCH 253402300799 /* the last second of the year 9999 */

/* Where a bzImage says where its version text is */
#define X86_VERSION_POINTER 0x20e
#define X86_VERSION_BASE 0x200

typedef struct Part {
    uint16_t type;
    EifSource src;
} Part;

struct EifBuild {
    EifArch arch;
    char *cmdline;
    char *metadata;
    Part parts[EIF_MAX_SECTIONS];
    unsigned nr_parts;
    uint64_t size;
};

static void add_part(EifBuild *build, uint16_t type, const EifSource *src)
{
    assert(build->nr_parts < EIF_MAX_SECTIONS);
    build->parts[build->nr_parts++] = (Part) { .type = type, .src = *src };
    build->size += sizeof(EifSectionHeader) + src->size;
}

static void add_text(EifBuild *build, uint16_t type, const char *text)
{
    EifSource src;

    eif_source_init_buffer(&src, text, strlen(text));
    add_part(build, type, &src);
}

/* What a file may have for the image to remain one that a file can hold */
static uint64_t room(const EifBuild *build)
{
    uint64_t used = build->size + sizeof(EifSectionHeader);

    return INT64_MAX - MIN(used, INT64_MAX);
}

static bool add_file(EifBuild *build, uint16_t type, int fd, Error **errp)
{
    ERRP_GUARD();
    EifSource src;

    if (!eif_source_init_fd(&src, fd, errp)) {
        error_prepend(errp, "%s: ", eif_section_type_str(type));
        return false;
    }
    if (src.size == 0) {
        error_setg(errp, "the %s file is empty", eif_section_type_str(type));
        return false;
    }
    if (src.size > room(build)) {
        error_setg(errp, "the %s file has %" PRIu64 " bytes, there is room "
                   "for %" PRIu64, eif_section_type_str(type), src.size,
                   room(build));
        error_append_hint(errp, "Name another file.\n");
        return false;
    }
    add_part(build, type, &src);
    return true;
}

/* The same inputs give the same image: no clock is read */
static char *default_build_time(Error **errp)
{
    ERRP_GUARD();
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    g_autoptr(GDateTime) time = NULL;
    uint64_t seconds = 0;

    if (epoch && (parse_uint_full(epoch, 10, &seconds) < 0 ||
                  seconds > MAX_EPOCH)) {
        error_setg(errp, "SOURCE_DATE_EPOCH='%s' is not a number of seconds "
                   "since 1970", epoch);
        error_append_hint(errp, "Unset it, or use the output of date +%%s.\n");
        return NULL;
    }
    time = g_date_time_new_from_unix_utc(seconds);
    return g_date_time_format(time, "%Y-%m-%dT%H:%M:%S+00:00");
}

/*
 * First word of the version text in a bzImage, such as "6.1.0-18-cloud"; NULL
 * when the kernel cannot be read: it must not become another image for that
 */
static char *kernel_version(const EifSource *kernel, Error **errp)
{
    uint8_t head[X86_VERSION_POINTER + 2];
    char text[128] = "";
    uint64_t pointer, at;

    if (kernel->size < sizeof(head)) {
        return g_strdup("unknown");
    }
    if (!eif_source_read(kernel, head, sizeof(head), 0, errp)) {
        return NULL;
    }
    if (eif_buffer_kind(head, sizeof(head)) != EIF_KIND_BZIMAGE) {
        return g_strdup("unknown");
    }
    pointer = lduw_le_p(head + X86_VERSION_POINTER);
    at = pointer + X86_VERSION_BASE;
    if (pointer && at < kernel->size &&
        !eif_source_read(kernel, text, MIN(sizeof(text) - 1, kernel->size - at),
                         at, errp)) {
        return NULL;
    }
    text[sizeof(text) - 1] = '\0';
    text[strcspn(text, " ")] = '\0';
    return g_strdup(text[0] ? text : "unknown");
}

/* The text of the metadata, to be freed, with other values for the last two */
static char *end_metadata(const char *json, const char *docker_info,
                          const char *custom)
{
    static const char nulls[] = "null, \"CustomMetadata\": null}";
    size_t len = strlen(json) - strlen(nulls);

    assert(g_str_has_suffix(json, nulls));
    return g_strdup_printf("%.*s%s, \"CustomMetadata\": %s}", (int)len, json,
                           docker_info ?: "null", custom ?: "null");
}

/*
 * All five keys: one official reader insists on them.  What is not a character
 * of UTF-8 becomes U+FFFD.
 */
static char *make_metadata(const EifBuildParams *p, const EifSource *kernel,
                           Error **errp)
{
    ERRP_GUARD();
    g_autofree char *time = p->build_time ? g_strdup(p->build_time)
                                          : default_build_time(errp);
    g_autoptr(JSONWriter) json = json_writer_new(false);
    g_autofree char *version = NULL;

    if (!time) {
        return NULL;
    }
    version = kernel_version(kernel, errp);
    if (!version) {
        error_prepend(errp, "%s: ", eif_section_type_str(EIF_SECTION_KERNEL));
        return NULL;
    }
    json_writer_start_object(json, NULL);
    json_writer_str(json, "ImageName", p->name ?: "qemu");
    json_writer_str(json, "ImageVersion", p->image_version ?: "1.0");
    json_writer_start_object(json, "BuildMetadata");
    json_writer_str(json, "BuildTime", time);
    json_writer_str(json, "BuildTool", "qemu");
    json_writer_str(json, "BuildToolVersion", p->tool_version ?: QEMU_VERSION);
    json_writer_str(json, "OperatingSystem", "Linux");
    json_writer_str(json, "KernelVersion", version);
    json_writer_end_object(json);
    json_writer_null(json, "DockerInfo");
    json_writer_null(json, "CustomMetadata");
    json_writer_end_object(json);
    return end_metadata(json_writer_get(json), p->docker_info,
                        p->custom_metadata);
}

static bool add_ramdisks(EifBuild *build, const EifBuildParams *params,
                         Error **errp)
{
    assert(params->nr_ramdisks <= EIF_BUILD_MAX_RAMDISKS);
    for (unsigned i = 0; i < params->nr_ramdisks; i++) {
        if (!add_file(build, EIF_SECTION_RAMDISK, params->ramdisk_fds[i],
                      errp)) {
            return false;
        }
    }
    return true;
}

/* Other kinds are the affair of eif_file_check_kernel() */
static bool check_kernel(const EifBuild *build, const EifSource *src,
                         Error **errp)
{
    EifKernel kernel;

    return eif_kernel_probe(src, 0, src->size, &kernel, errp) &&
           (kernel.kind != eif_arch_kernel(build->arch) ||
            eif_kernel_check(&kernel, build->arch, errp)) &&
           eif_kernel_check_cmdline(&kernel, strlen(build->cmdline), errp);
}

EifBuild *eif_build_new(const EifBuildParams *params, Error **errp)
{
    g_autoptr(EifBuild) build = g_new0(EifBuild, 1);

    build->arch = params->arch;
    build->size = sizeof(EifHeader);
    build->cmdline = g_strdup(params->cmdline ?: "");
    if (!add_file(build, EIF_SECTION_KERNEL, params->kernel_fd, errp) ||
        !check_kernel(build, &build->parts[0].src, errp)) {
        return NULL;
    }
    add_text(build, EIF_SECTION_CMDLINE, build->cmdline);
    build->metadata = make_metadata(params, &build->parts[0].src, errp);
    if (!build->metadata) {
        return NULL;
    }
    add_text(build, EIF_SECTION_METADATA, build->metadata);
    return add_ramdisks(build, params, errp) ? g_steal_pointer(&build) : NULL;
}

uint64_t eif_build_size(const EifBuild *build)
{
    return build->size;
}

/* The header without its CRC */
static void make_header(const EifBuild *build, EifHeader *header)
{
    uint64_t pos = sizeof(*header);

    *header = (EifHeader) {
        .version = cpu_to_be16(EIF_VERSION_MAX),
        .flags = cpu_to_be16(build->arch == EIF_ARCH_AARCH64 ? EIF_FLAG_AARCH64
                                                             : 0),
        .default_memory = cpu_to_be64(DEFAULT_MEMORY),
        .default_cpus = cpu_to_be64(DEFAULT_CPUS),
        .section_cnt = cpu_to_be16(build->nr_parts),
    };
    memcpy(header->magic, EIF_MAGIC, EIF_MAGIC_LEN);
    for (unsigned i = 0; i < build->nr_parts; i++) {
        uint64_t size = build->parts[i].src.size;

        header->section_offsets[i] = cpu_to_be64(pos);
        header->section_sizes[i] = cpu_to_be64(size);
        pos += sizeof(EifSectionHeader) + size;
    }
}

/* Files must still have the size that went into the header */
static bool check_unchanged(const Part *part, Error **errp)
{
    ERRP_GUARD();
    EifSource now;

    if (part->src.map) {
        return true;
    }
    if (!eif_source_init_fd(&now, part->src.fd, errp)) {
        return false;
    }
    if (now.size != part->src.size) {
        error_setg(errp, "the file had %" PRIu64 " bytes, now it has %" PRIu64,
                   part->src.size, now.size);
        error_append_hint(errp, EIF_HINT_UNCHANGED);
        return false;
    }
    return true;
}

static EifSectionHeader make_section_header(const Part *part)
{
    return (EifSectionHeader) {
        .section_type = cpu_to_be16(part->type),
        .section_size = cpu_to_be64(part->src.size),
    };
}

static bool write_part(const Part *part, uint8_t *to, bool fresh,
                       uint32_t *crc, Error **errp)
{
    ERRP_GUARD();
    EifSectionHeader header = make_section_header(part);

    memcpy(to, &header, sizeof(header));
    *crc = eif_crc32(*crc, to, sizeof(header));
    if (!eif_source_read_crc(&part->src, to + sizeof(header), part->src.size,
                             0, fresh, crc, errp) ||
        !check_unchanged(part, errp)) {
        error_prepend(errp, "%s: ", eif_section_type_str(part->type));
        return false;
    }
    return true;
}

static bool write_image(const EifBuild *build, void *dest, uint64_t dest_size,
                        bool fresh, Error **errp)
{
    EifHeader header;
    uint8_t *to = dest;
    uint32_t crc;

    if (build->size > dest_size) {
        error_setg(errp, "the image needs %" PRIu64 " bytes, there is room "
                   "for %" PRIu64, build->size, dest_size);
        return false;
    }
    make_header(build, &header);
    crc = eif_crc32(0, (uint8_t *)&header, offsetof(EifHeader, eif_crc32));
    to += sizeof(header);
    for (unsigned i = 0; i < build->nr_parts; i++) {
        const Part *part = &build->parts[i];

        if (!write_part(part, to, fresh, &crc, errp)) {
            return false;
        }
        to += sizeof(EifSectionHeader) + part->src.size;
    }
    header.eif_crc32 = cpu_to_be32(crc);
    memcpy(dest, &header, sizeof(header));
    return true;
}

bool eif_build_write(const EifBuild *build, void *dest, uint64_t dest_size,
                     Error **errp)
{
    return write_image(build, dest, dest_size, false, errp);
}

bool eif_build_write_fresh(const EifBuild *build, void *dest,
                           uint64_t dest_size, Error **errp)
{
    return write_image(build, dest, dest_size, true, errp);
}

/* Copy what of @from, which begins at @start, lies in the wanted range */
static void copy_overlap(uint8_t *buf, size_t len, uint64_t offset,
                         const void *from, size_t size, uint64_t start)
{
    uint64_t begin = MAX(offset, start);
    uint64_t end = MIN(offset + len, start + size);

    if (begin < end) {
        memcpy(buf + (begin - offset), (const uint8_t *)from + (begin - start),
               end - begin);
    }
}

/* The same of a part's data, which begins at @start */
static bool read_overlap(const Part *part, uint8_t *buf, size_t len,
                         uint64_t offset, uint64_t start, Error **errp)
{
    uint64_t begin = MAX(offset, start);
    uint64_t end = MIN(offset + len, start + part->src.size);

    return begin >= end ||
           eif_source_read(&part->src, buf + (begin - offset), end - begin,
                           begin - start, errp);
}

static bool read_build(const EifSource *src, void *buf, size_t len,
                       uint64_t offset, Error **errp)
{
    const EifBuild *build = src->opaque;
    uint64_t pos = sizeof(EifHeader);
    EifHeader header;

    make_header(build, &header);
    copy_overlap(buf, len, offset, &header, sizeof(header), 0);
    for (unsigned i = 0; i < build->nr_parts; i++) {
        const Part *part = &build->parts[i];
        EifSectionHeader section = make_section_header(part);

        copy_overlap(buf, len, offset, &section, sizeof(section), pos);
        pos += sizeof(section);
        if (!read_overlap(part, buf, len, offset, pos, errp)) {
            return false;
        }
        pos += part->src.size;
    }
    return true;
}

void eif_source_init_build(EifSource *src, EifBuild *build)
{
    *src = (EifSource) {
        .read = read_build,
        .size = build->size,
        .fd = -1,
        .opaque = build,
    };
}

void eif_build_free(EifBuild *build)
{
    if (build) {
        g_free(build->cmdline);
        g_free(build->metadata);
        g_free(build);
    }
}
