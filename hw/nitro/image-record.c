/*
 * Nitro Enclaves: what is known of the image that was loaded
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The thread that measures has a reference of its own and writes to the
 * member "found" only, which nobody else reads before it has reported.
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "image-record.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "system/nitro-hints.h"
#include "system/nitro-thread.h"
#include "trace.h"

#define MAX_FILES (1 + EIF_BUILD_MAX_RAMDISKS)  /* kernel and ramdisks */
#define MAX_METADATA (64 * KiB)

typedef struct RecordFile {
    int fd;             /* -1 when there is none */
    struct stat loaded;
} RecordFile;

/* What the thread finds out */
typedef struct RecordFindings {
    EifMeasurements pcrs;
    char *name;
    char *version;
    Error *err;         /* NULL: all went well */
} RecordFindings;

struct NitroImageRecord {
    NitroEnclaveImageKind kind;
    char *path;
    char *initrd;
    uint32_t crc;
    RecordFile files[MAX_FILES];
    EifBuild *build;    /* of a kernel */
    EifSource src;
    EifImage *image;

    bool begun;
    bool done;
    RecordFindings found;
};

/* Files */

static bool take_file(RecordFile *file, int fd, Error **errp)
{
    ERRP_GUARD();

    file->fd = qemu_dup(fd);
    if (file->fd < 0 || fstat(file->fd, &file->loaded) < 0) {
        error_setg_errno(errp, errno, "cannot keep the image file open");
        if (errno == EMFILE) {
            error_append_hint(errp, NITRO_HINT_FILES "\n");
        }
        return false;
    }
    return true;
}

static void close_files(NitroImageRecord *rec)
{
    for (int i = 0; i < MAX_FILES; i++) {
        if (rec->files[i].fd >= 0) {
            qemu_close(rec->files[i].fd);
        }
        rec->files[i].fd = -1;
    }
}

static bool file_unchanged(const RecordFile *file)
{
    struct stat now;

    return file->fd < 0 ||
           (fstat(file->fd, &now) == 0 &&
            now.st_size == file->loaded.st_size &&
            now.st_mtim.tv_sec == file->loaded.st_mtim.tv_sec &&
            now.st_mtim.tv_nsec == file->loaded.st_mtim.tv_nsec);
}

/* Measuring, in a thread */

static bool check_files(const NitroImageRecord *rec, Error **errp)
{
    for (int i = 0; i < MAX_FILES; i++) {
        if (!file_unchanged(&rec->files[i])) {
            error_setg(errp, "the file was changed after it had been loaded");
            return false;
        }
    }
    return true;
}

static QDict *parse_metadata(const NitroImageRecord *rec,
                             const EifSection *section)
{
    g_autofree char *text = g_malloc0(section->size + 1);
    QObject *object;
    QDict *dict;

    if (!eif_source_read(&rec->src, text, section->size, section->data_offset,
                         NULL)) {
        return NULL;
    }
    object = qobject_from_json(text, NULL);
    dict = qobject_to(QDict, object);
    if (!dict) {
        qobject_unref(object);
    }
    return dict;
}

/* Whatever cannot be understood is left out: nothing depends on it */
static void find_names(NitroImageRecord *rec)
{
    const EifSection *s = eif_image_section(rec->image, EIF_SECTION_METADATA,
                                            0);
    QDict *dict = s && s->size <= MAX_METADATA ? parse_metadata(rec, s) : NULL;

    if (dict) {
        rec->found.name = g_strdup(qdict_get_try_str(dict, "ImageName"));
        rec->found.version = g_strdup(qdict_get_try_str(dict, "ImageVersion"));
        qobject_unref(dict);
    }
}

static void measured(void *opaque)
{
    NitroImageRecord *rec = opaque;

    trace_nitro_image_measured(rec->path, rec->found.err ?
                               error_get_pretty(rec->found.err) : "done");
    rec->done = true;
    close_files(rec);
    nitro_image_record_unref(rec);
}

static void *measure_thread(void *opaque)
{
    NitroImageRecord *rec = opaque;

    if (eif_image_measure(rec->image, &rec->src, &rec->found.pcrs,
                          &rec->found.err)) {
        find_names(rec);
        check_files(rec, &rec->found.err);
    }
    aio_bh_schedule_oneshot(qemu_get_aio_context(), measured, rec);
    return NULL;
}

/* Without a thread now, whoever asks again may get one */
static bool measure(NitroImageRecord *rec, Error **errp)
{
    ERRP_GUARD();

    if (!rec->begun) {
        rec->begun = nitro_thread_start("nitro-measure", measure_thread,
                                        g_atomic_rc_box_acquire(rec), errp);
    }
    if (!rec->begun) {
        nitro_image_record_unref(rec);
        error_prepend(errp, "the image cannot be measured now: ");
    }
    return rec->begun;
}

/* Answers */

static void fill_sections(const EifImage *image, NitroEnclaveImage *info)
{
    static const NitroEnclaveSectionType types[EIF_SECTION_MAX] = {
        [EIF_SECTION_KERNEL] = NITRO_ENCLAVE_SECTION_TYPE_KERNEL,
        [EIF_SECTION_CMDLINE] = NITRO_ENCLAVE_SECTION_TYPE_CMDLINE,
        [EIF_SECTION_RAMDISK] = NITRO_ENCLAVE_SECTION_TYPE_RAMDISK,
        [EIF_SECTION_SIGNATURE] = NITRO_ENCLAVE_SECTION_TYPE_SIGNATURE,
        [EIF_SECTION_METADATA] = NITRO_ENCLAVE_SECTION_TYPE_METADATA,
    };
    NitroEnclaveSectionList **tail = &info->sections;

    for (unsigned i = 0; i < image->nr_sections; i++) {
        NitroEnclaveSection *section = g_new0(NitroEnclaveSection, 1);

        section->type = types[image->sections[i].type];
        section->offset = image->sections[i].data_offset;
        section->size = image->sections[i].size;
        QAPI_LIST_APPEND(tail, section);
    }
}

static char *hex(const uint8_t pcr[EIF_PCR_LEN])
{
    GString *text = g_string_sized_new(2 * EIF_PCR_LEN);

    for (int i = 0; i < EIF_PCR_LEN; i++) {
        g_string_append_printf(text, "%02x", pcr[i]);
    }
    return g_string_free(text, false);
}

static void fill_failure(const Error *err, NitroEnclaveImage *info)
{
    info->measurement = NITRO_ENCLAVE_MEASUREMENT_FAILED;
    info->measurement_error = g_strdup(error_get_pretty(err));
}

static void fill_findings(const RecordFindings *found, NitroEnclaveImage *info)
{
    if (found->err) {
        fill_failure(found->err, info);
        return;
    }
    info->measurement = NITRO_ENCLAVE_MEASUREMENT_DONE;
    info->name = g_strdup(found->name);
    info->image_version = g_strdup(found->version);
    info->pcrs = g_new0(NitroEnclavePcrs, 1);
    info->pcrs->pcr0 = hex(found->pcrs.pcr0);
    info->pcrs->pcr1 = hex(found->pcrs.pcr1);
    info->pcrs->pcr2 = hex(found->pcrs.pcr2);
    info->pcrs->pcr8 = found->pcrs.has_pcr8 ? hex(found->pcrs.pcr8) : NULL;
}

NitroEnclaveImage *nitro_image_record_query(NitroImageRecord *rec)
{
    NitroEnclaveImage *info = g_new0(NitroEnclaveImage, 1);
    Error *err = NULL;

    info->kind = rec->kind;
    info->path = g_strdup(rec->path);
    info->initrd = g_strdup(rec->initrd);
    info->version = rec->image->version;
    info->arch = rec->image->arch == EIF_ARCH_AARCH64 ? SYS_EMU_TARGET_AARCH64
                                                      : SYS_EMU_TARGET_X86_64;
    info->size = rec->image->image_size;
    info->crc = rec->crc;
    info->q_signed = rec->image->has_signature;
    fill_sections(rec->image, info);

    info->measurement = NITRO_ENCLAVE_MEASUREMENT_RUNNING;
    if (!measure(rec, &err)) {
        fill_failure(err, info);
        error_free(err);
    } else if (rec->done) {
        fill_findings(&rec->found, info);
    }
    return info;
}

/* The record itself */

static NitroImageRecord *record_new(NitroEnclaveImageKind kind,
                                    const char *path, const char *initrd)
{
    NitroImageRecord *rec = g_atomic_rc_box_new0(NitroImageRecord);

    rec->kind = kind;
    rec->path = g_strdup(path);
    rec->initrd = g_strdup(initrd);
    for (int i = 0; i < MAX_FILES; i++) {
        rec->files[i].fd = -1;
    }
    return rec;
}

static void record_clear(void *opaque)
{
    NitroImageRecord *rec = opaque;

    close_files(rec);
    eif_build_free(rec->build);
    eif_image_free(rec->image);
    error_free(rec->found.err);
    g_free(rec->found.name);
    g_free(rec->found.version);
    g_free(rec->initrd);
    g_free(rec->path);
}

void nitro_image_record_unref(NitroImageRecord *rec)
{
    if (rec) {
        g_atomic_rc_box_release_full(rec, record_clear);
    }
}

static bool open_eif(NitroImageRecord *rec, int fd, Error **errp)
{
    if (!take_file(&rec->files[0], fd, errp) ||
        !eif_source_init_fd(&rec->src, rec->files[0].fd, errp)) {
        return false;
    }
    rec->image = eif_image_parse(&rec->src, errp);
    return rec->image != NULL;
}

NitroImageRecord *nitro_image_record_eif(const char *path, int fd,
                                         Error **errp)
{
    NitroImageRecord *rec = record_new(NITRO_ENCLAVE_IMAGE_KIND_EIF, path,
                                       NULL);

    if (!open_eif(rec, fd, errp)) {
        nitro_image_record_unref(rec);
        return NULL;
    }
    rec->crc = rec->image->crc;
    return rec;
}

static bool open_kernel(NitroImageRecord *rec, const EifBuildParams *params,
                        Error **errp)
{
    EifBuildParams mine = *params;

    if (!take_file(&rec->files[0], params->kernel_fd, errp)) {
        return false;
    }
    mine.kernel_fd = rec->files[0].fd;
    for (unsigned i = 0; i < params->nr_ramdisks; i++) {
        RecordFile *file = &rec->files[1 + i];

        if (!take_file(file, params->ramdisk_fds[i], errp)) {
            return false;
        }
        mine.ramdisk_fds[i] = file->fd;
    }
    rec->build = eif_build_new(&mine, errp);
    if (!rec->build) {
        return false;
    }
    eif_source_init_build(&rec->src, rec->build);
    rec->image = eif_image_parse(&rec->src, errp);
    return rec->image != NULL;
}

NitroImageRecord *nitro_image_record_kernel(const char *path,
                                            const char *initrd,
                                            const EifBuildParams *params,
                                            uint32_t crc, Error **errp)
{
    NitroImageRecord *rec = record_new(NITRO_ENCLAVE_IMAGE_KIND_KERNEL, path,
                                       initrd);

    if (!open_kernel(rec, params, errp)) {
        nitro_image_record_unref(rec);
        return NULL;
    }
    rec->crc = crc;
    return rec;
}
