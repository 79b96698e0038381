/*
 * Nitro Enclaves: the image that an enclave is made of
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Memory that was donated may not be looked at.  So the registers are computed
 * before that, or from the files, by a thread with a reference of its own.
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "hw/core/eif-kernel.h"
#include "hw/core/eif-output.h"
#include "image-findings.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/option.h"
#include "system/nitro-hints.h"
#include "system/nitro-thread.h"
#include "trace.h"

typedef struct ImageFile {
    const char *option;
    char *path;
    int fd;
    struct stat opened;
    EifFileKind kind;
} ImageFile;

struct NitroImage {
    const NitroImagePolicy *policy;
    EifArch arch;
    char *initrd;
    ImageFile files[1 + EIF_BUILD_MAX_RAMDISKS]; /* -kernel is the first */
    unsigned nr_files;

    EifBuild *build;    /* NULL: the file holds the image itself */
    EifSource src;
    EifImage *eif;
    bool loaded;
    uint32_t crc;       /* once it is loaded */

    NitroImageFindings found;
    EifMeasurements pcrs; /* the thread's, as is the error */
    Error *err;
};

/* Files */

/* O_NONBLOCK: report a pipe as an error instead of blocking in open() */
static bool open_fd(ImageFile *file, Error **errp)
{
    ERRP_GUARD();

    file->fd = qemu_open(file->path, O_RDONLY | O_NONBLOCK, errp);
    if (file->fd < 0 && errno == EMFILE) {
        error_append_hint(errp, NITRO_HINT_FILES "\n");
    }
    if (file->fd < 0) {
        error_prepend(errp, "%s: ", file->option);
    }
    return file->fd >= 0;
}

static bool open_file(NitroImage *image, const char *option, const char *path,
                      Error **errp)
{
    ERRP_GUARD();
    ImageFile *file = &image->files[image->nr_files];

    file->option = option;
    file->path = g_strdup(path);
    image->nr_files++;
    if (!open_fd(file, errp)) {
        return false;
    }
    if (fstat(file->fd, &file->opened) < 0) {
        error_setg_errno(errp, errno, "cannot get the type of the file");
    }
    if (*errp || !eif_file_kind(file->fd, &file->kind, errp)) {
        error_prepend(errp, "%s %s: ", option, path);
        return false;
    }
    return true;
}

static bool is_ramdisk(const ImageFile *file, Error **errp)
{
    ERRP_GUARD();

    if (file->kind != EIF_KIND_EMPTY && file->kind != EIF_KIND_DIRECTORY &&
        file->kind != EIF_KIND_SPECIAL && file->kind != EIF_KIND_EIF) {
        return true;
    }
    error_setg(errp, "-initrd %s is %s, not a ramdisk", file->path,
               eif_file_kind_str(file->kind));
    error_append_hint(errp, "Name a file that holds a ramdisk; the content of "
                      "a pipe must be copied to one first.\n");
    return false;
}

/* Names are separated by commas; a comma within a name is doubled */
static char **split_names(const char *list)
{
    GPtrArray *names = g_ptr_array_new();
    char *name;

    for (;;) {
        list = get_opt_value(list, &name);
        g_ptr_array_add(names, name);
        if (!*list) {
            break;
        }
        list++;
    }
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, false);
}

static bool open_ramdisks(NitroImage *image, const char *initrd, Error **errp)
{
    ERRP_GUARD();
    g_auto(GStrv) names = split_names(initrd);
    unsigned count = g_strv_length(names);

    image->initrd = g_strdup(initrd);
    if (count > EIF_BUILD_MAX_RAMDISKS) {
        error_setg(errp, "-initrd names %u files, an enclave image has room "
                   "for %d", count, EIF_BUILD_MAX_RAMDISKS);
        error_append_hint(errp, "Join some: cat FIRST SECOND > BOTH; a comma "
                          "within a name must be doubled.\n");
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        if (!open_file(image, "-initrd", names[i], errp) ||
            !is_ramdisk(&image->files[1 + i], errp)) {
            return false;
        }
    }
    return true;
}

static bool size_changed(const ImageFile *file, const struct stat *now)
{
    return S_ISREG(file->opened.st_mode) &&
           now->st_size != file->opened.st_size;
}

static bool file_changed(const ImageFile *file)
{
    const struct stat *before = &file->opened;
    struct stat now;

    if (!S_ISREG(before->st_mode)) {
        return false;
    }
    return fstat(file->fd, &now) < 0 || size_changed(file, &now) ||
           now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != before->st_mtim.tv_nsec;
}

static const ImageFile *find_changed(const NitroImage *image)
{
    for (unsigned i = 0; i < image->nr_files; i++) {
        if (file_changed(&image->files[i])) {
            return &image->files[i];
        }
    }
    return NULL;
}

/* From files to an image */

static bool parse_eif(NitroImage *image, const NitroImageParams *params,
                      Error **errp)
{
    ERRP_GUARD();

    if (params->initrd || *params->cmdline) {
        error_setg(errp, "%s cannot be used with an enclave image, which "
                   "brings its own", params->initrd ? "-initrd" : "-append");
        error_append_hint(errp, "Leave it out, or give a plain kernel with "
                          "-kernel.\n");
    } else if (eif_source_init_fd(&image->src, image->files[0].fd, errp)) {
        image->eif = eif_image_parse(&image->src, errp);
    }
    if (image->eif && eif_image_check_arch(image->eif, image->arch, errp)) {
        return true;
    }
    error_prepend(errp, "%s: ", params->kernel);
    return false;
}

static bool plan_build(NitroImage *image, const NitroImageParams *params,
                       Error **errp)
{
    EifBuildParams build = {
        .arch = image->arch,
        .kernel_fd = image->files[0].fd,
        .nr_ramdisks = image->nr_files - 1,
        .cmdline = params->cmdline,
    };

    for (unsigned i = 0; i < build.nr_ramdisks; i++) {
        build.ramdisk_fds[i] = image->files[1 + i].fd;
    }
    image->build = eif_build_new(&build, errp);
    if (!image->build) {
        return false;
    }
    eif_source_init_build(&image->src, image->build);
    image->eif = eif_image_parse(&image->src, errp);
    return image->eif != NULL;
}

static bool open_all(NitroImage *image, const NitroImageParams *params,
                     Error **errp)
{
    if (!open_file(image, "-kernel", params->kernel, errp)) {
        return false;
    }
    if (image->files[0].kind == EIF_KIND_EIF) {
        return parse_eif(image, params, errp);
    }
    return eif_file_check_kernel(image->files[0].kind, image->arch,
                                 params->kernel, errp) &&
           (!params->initrd || open_ramdisks(image, params->initrd, errp)) &&
           plan_build(image, params, errp);
}

NitroImage *nitro_image_open(const NitroImageParams *params, Error **errp)
{
    NitroImage *image = g_atomic_rc_box_new0(NitroImage);

    image->policy = params->policy;
    image->arch = params->arch;
    if (!open_all(image, params, errp)) {
        nitro_image_unref(image);
        return NULL;
    }
    return image;
}

static void image_clear(void *opaque)
{
    NitroImage *image = opaque;

    for (unsigned i = 0; i < image->nr_files; i++) {
        if (image->files[i].fd >= 0) {
            qemu_close(image->files[i].fd);
        }
        g_free(image->files[i].path);
    }
    eif_image_free(image->eif);
    eif_build_free(image->build);
    nitro_findings_clear(&image->found);
    error_free(image->err);
    g_free(image->initrd);
}

void nitro_image_unref(NitroImage *image)
{
    if (image) {
        g_atomic_rc_box_release_full(image, image_clear);
    }
}

uint64_t nitro_image_size(const NitroImage *image)
{
    return image->eif->image_size;
}

NitroEnclaveImageKind nitro_image_kind(const NitroImage *image)
{
    return image->build ? NITRO_ENCLAVE_IMAGE_KIND_KERNEL
                        : NITRO_ENCLAVE_IMAGE_KIND_EIF;
}

/* Measuring, in a thread */

static void image_measured(void *opaque)
{
    NitroImage *image = opaque;
    NitroImageFindings *found = &image->found;

    trace_nitro_image_measured(image->files[0].path, image->err ?
                               error_get_pretty(image->err) : "done");
    found->pcrs = image->pcrs;
    found->failure = g_steal_pointer(&image->err);
    found->measurement = found->failure ? NITRO_ENCLAVE_MEASUREMENT_FAILED
                                        : NITRO_ENCLAVE_MEASUREMENT_DONE;
    nitro_image_unref(image);
}

static void *measure_thread(void *opaque)
{
    NitroImage *image = opaque;

    if (eif_image_measure(image->eif, &image->src, &image->pcrs,
                          &image->err) && find_changed(image)) {
        error_setg(&image->err,
                   "the file was changed after it had been loaded");
    }
    aio_bh_schedule_oneshot(qemu_get_aio_context(), image_measured, image);
    return NULL;
}

/* A failure does not prevent the launch */
static void begin_measuring(NitroImage *image)
{
    NitroImageFindings *found = &image->found;

    found->measurement = NITRO_ENCLAVE_MEASUREMENT_RUNNING;
    if (!nitro_thread_start("nitro-measure", measure_thread,
                            g_atomic_rc_box_acquire(image),
                            &found->failure)) {
        nitro_image_unref(image);
        error_prepend(&found->failure, "the image cannot be measured: ");
        found->measurement = NITRO_ENCLAVE_MEASUREMENT_FAILED;
    }
}

/* Loading */

/* A kernel of an unknown kind may boot, so it only causes a warning */
static bool check_kernel(const NitroImage *image, const EifKernel *kernel,
                         Error **errp)
{
    Error *err = NULL;

    if (eif_kernel_check(kernel, image->arch, &err)) {
        return true;
    }
    if (!eif_kernel_is_uncertain(kernel)) {
        error_propagate(errp, err);
        return false;
    }
    warn_reportf_err(err, "%s: ", image->files[0].path);
    return true;
}

/* The kernel cuts a line that is too long, and still boots */
static bool check_content(const NitroImage *image, const EifSource *src,
                          Error **errp)
{
    EifKernel kernel;
    uint64_t len;
    Error *err = NULL;

    if (!eif_image_probe_kernel(image->eif, src, &kernel, errp) ||
        !eif_image_cmdline_len(image->eif, src, &len, errp) ||
        !check_kernel(image, &kernel, errp)) {
        return false;
    }
    if (!eif_kernel_check_cmdline(&kernel, len, &err)) {
        warn_reportf_err(err, "%s: ", image->files[0].path);
    }
    return true;
}

static bool refuse_other(const ImageFile *file, const char *what, uint64_t now,
                         uint64_t before, Error **errp)
{
    ERRP_GUARD();

    error_setg(errp, "the image has changed since the first launch: %s "
               "of %s is %" PRIu64 ", was %" PRIu64, what, file->path, now,
               before);
    error_append_hint(errp, "A reset launches the same image again: end this "
                      "QEMU and start another.\n");
    return false;
}

/* A reset launches the same image, but the files may have changed */
static bool check_sizes(const NitroImage *image, Error **errp)
{
    for (unsigned i = 0; i < image->nr_files; i++) {
        const ImageFile *file = &image->files[i];
        struct stat now;

        if (fstat(file->fd, &now) < 0) {
            error_setg_errno(errp, errno, "%s", file->path);
            return false;
        }
        if (size_changed(file, &now)) {
            return refuse_other(file, "the size", now.st_size,
                                file->opened.st_size, errp);
        }
    }
    return true;
}

static bool check_crc(const NitroImage *image, uint32_t crc, Error **errp)
{
    return crc == image->crc ||
           refuse_other(&image->files[0], "the CRC", crc, image->crc, errp);
}

static bool check_header(const NitroImage *image, Error **errp)
{
    EifHeader now;

    return eif_source_read(&image->src, &now, sizeof(now), 0, errp) &&
           check_crc(image, be32_to_cpu(now.eif_crc32), errp);
}

static bool may_reload(const NitroImage *image, Error **errp)
{
    return check_sizes(image, errp) &&
           (image->build || check_header(image, errp));
}

static bool copy_eif(const NitroImage *image, void *dest, bool fresh,
                     Error **errp)
{
    ERRP_GUARD();
    typeof(eif_image_load_fd) *load = fresh ? eif_image_load_fresh
                                            : eif_image_load_fd;
    EifSource src;

    eif_source_init_buffer(&src, dest, nitro_image_size(image));
    if (load(image->eif, image->files[0].fd, dest, nitro_image_size(image),
             errp) &&
        (image->loaded || check_content(image, &src, errp))) {
        return true;
    }
    error_prepend(errp, "%s: ", image->files[0].path);
    return false;
}

static bool image_copy(const NitroImage *image, void *dest, bool fresh,
                       Error **errp)
{
    uint64_t size = nitro_image_size(image);

    if (!image->build) {
        return copy_eif(image, dest, fresh, errp);
    }
    return fresh ? eif_build_write_fresh(image->build, dest, size, errp)
                 : eif_build_write(image->build, dest, size, errp);
}

static bool write_eif_out(const NitroImage *image, const void *bytes,
                          Error **errp)
{
    const char *path = image->policy->eif_out;

    for (unsigned i = image->nr_files; i-- > 0;) {
        const ImageFile *file = &image->files[i];

        if (!eif_output_check_fd(path, "eif-out", file->fd, file->option,
                                 errp)) {
            return false;
        }
    }
    return eif_output_data(path, bytes, nitro_image_size(image), errp);
}

/*
 * The CRC of an image shows that its file changed while it was read.  A kernel
 * has no CRC, so the enclave would boot half of the old file and half of the
 * new one.
 */
static bool check_unchanged(const NitroImage *image, Error **errp)
{
    ERRP_GUARD();
    const ImageFile *changed = find_changed(image);

    if (!changed) {
        return true;
    }
    error_setg(errp, "%s: the file changed while it was being read",
               changed->path);
    error_append_hint(errp, EIF_HINT_UNCHANGED);
    return false;
}

static bool image_check(const NitroImage *image, const EifSource *src,
                        NitroImageFindings *found, Error **errp)
{
    ERRP_GUARD();

    if (nitro_findings_check(found, image->policy, image->eif, src, errp)) {
        return true;
    }
    if (!image->build) {
        error_prepend(errp, "%s: ", image->files[0].path);
    }
    return false;
}

static bool accept_first(NitroImage *image, const void *bytes, Error **errp)
{
    const NitroImagePolicy *policy = image->policy;
    NitroImageFindings *found = &image->found;
    EifSource src;

    eif_source_init_buffer(&src, bytes, nitro_image_size(image));
    if (!image_check(image, &src, found, errp) ||
        !check_unchanged(image, errp) ||
        (policy->eif_out && !write_eif_out(image, bytes, errp))) {
        return false;
    }
    nitro_findings_read_names(found, image->eif, &src);
    if (policy->measure &&
        found->measurement != NITRO_ENCLAVE_MEASUREMENT_DONE) {
        begin_measuring(image);
    }
    image->loaded = true;
    return true;
}

/* The findings of the first launch stay: the monitor may ask for them */
static bool accept_again(const NitroImage *image, const void *bytes,
                         Error **errp)
{
    NitroImageFindings found = { };
    EifSource src;
    bool ok;

    eif_source_init_buffer(&src, bytes, nitro_image_size(image));
    ok = image_check(image, &src, &found, errp);
    nitro_findings_clear(&found);
    return ok;
}

bool nitro_image_load(NitroImage *image, void *dest, bool fresh, Error **errp)
{
    const EifHeader *header = dest;
    uint32_t crc;

    if ((image->loaded && !may_reload(image, errp)) ||
        !image_copy(image, dest, fresh, errp)) {
        return false;
    }
    crc = be32_to_cpu(header->eif_crc32);
    trace_nitro_image_loaded(crc);
    if (image->loaded) {
        return check_crc(image, crc, errp) && accept_again(image, dest, errp);
    }
    image->crc = crc;
    return accept_first(image, dest, errp);
}

/* Answers */

static void fill_sections(const EifImage *eif, NitroEnclaveImage *info)
{
    static const NitroEnclaveSectionType types[EIF_SECTION_MAX] = {
        [EIF_SECTION_KERNEL] = NITRO_ENCLAVE_SECTION_TYPE_KERNEL,
        [EIF_SECTION_CMDLINE] = NITRO_ENCLAVE_SECTION_TYPE_CMDLINE,
        [EIF_SECTION_RAMDISK] = NITRO_ENCLAVE_SECTION_TYPE_RAMDISK,
        [EIF_SECTION_SIGNATURE] = NITRO_ENCLAVE_SECTION_TYPE_SIGNATURE,
        [EIF_SECTION_METADATA] = NITRO_ENCLAVE_SECTION_TYPE_METADATA,
    };
    NitroEnclaveSectionList **tail = &info->sections;

    for (unsigned i = 0; i < eif->nr_sections; i++) {
        NitroEnclaveSection *section = g_new0(NitroEnclaveSection, 1);

        section->type = types[eif->sections[i].type];
        section->offset = eif->sections[i].data_offset;
        section->size = eif->sections[i].size;
        QAPI_LIST_APPEND(tail, section);
    }
}

NitroEnclaveImage *nitro_image_query(const NitroImage *image)
{
    NitroEnclaveImage *info = g_new0(NitroEnclaveImage, 1);

    info->kind = nitro_image_kind(image);
    info->path = g_strdup(image->files[0].path);
    info->initrd = g_strdup(image->initrd);
    info->version = image->eif->version;
    info->arch = image->arch == EIF_ARCH_AARCH64 ? SYS_EMU_TARGET_AARCH64
                                                 : SYS_EMU_TARGET_X86_64;
    info->size = nitro_image_size(image);
    info->crc = image->crc;
    info->q_signed = image->eif->has_signature;
    fill_sections(image->eif, info);
    nitro_findings_fill(&image->found, info);
    return info;
}
