/*
 * Nitro Enclaves: image of the machine
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What -kernel names is an enclave image (EIF), or a kernel that is made into
 * one here.  Either is read from its file straight into the memory that will
 * be donated; nothing is donated before the image has been found good.  The
 * files stay open: a reset finds them, whatever their names mean by then.
 *
 * The format itself is the affair of hw/core/eif-image.c.
 */

#include "qemu/osdep.h"
#include "hw/core/eif-kernel.h"
#include "image-record.h"
#include "machine-int.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qemu/option.h"
#include "qemu/rcu.h"
#include "qemu/units.h"
#include "system/nitro.h"
#include "system/nitro-hints.h"
#include "system/qtest.h"
#include "trace.h"

/* The files, as they are before anything is read of them */
typedef struct ImageFiles {
    struct stat kernel;
    struct stat ramdisks[EIF_BUILD_MAX_RAMDISKS];
    char **ramdisk_names;
} ImageFiles;

/* Without waiting: a pipe is an error to report, not to wait for */
static int open_file(const char *option, const char *path, struct stat *st,
                     EifFileKind *kind, Error **errp)
{
    ERRP_GUARD();
    int fd = qemu_open(path, O_RDONLY | O_NONBLOCK, errp);

    if (fd < 0) {
        if (errno == EMFILE) {
            error_append_hint(errp, NITRO_HINT_FILES "\n");
        }
        error_prepend(errp, "%s: ", option);
        return -1;
    }
    if (fstat(fd, st) < 0) {
        error_setg_errno(errp, errno, "cannot get the type of the file");
    }
    if (*errp || !eif_file_kind(fd, kind, errp)) {
        error_prepend(errp, "%s %s: ", option, path);
        qemu_close(fd);
        return -1;
    }
    return fd;
}

/* Returns where an image of @size bytes goes, or NULL when it does not fit */
static void *image_place(MachineState *machine, const char *kind,
                         uint64_t size, Error **errp)
{
    ERRP_GUARD();
    uint64_t offset = NITRO_DEFAULT_LOAD_OFFSET;
    uint64_t ram_size = memory_region_size(machine->ram);

    if (!qtest_enabled() &&
        !nitro_accel_get_image_load_offset(&offset, errp)) {
        return NULL;
    }
    if (offset > ram_size || size > ram_size - offset) {
        uint64_t needed = ROUND_UP(offset + size, NITRO_MEMORY_GRANULE);
        g_autofree char *m = nitro_machine_size_str(MAX(needed,
                                                        NITRO_MEMORY_MIN));

        error_setg(errp, "image needs %" PRIu64 " bytes at offset %" PRIu64
                   ", RAM ends at %" PRIu64, size, offset, ram_size);
        error_append_hint(errp, "Raise -m to at least %s.\n", m);
        return NULL;
    }
    trace_nitro_machine_image(kind, size, offset);
    return (uint8_t *)memory_region_get_ram_ptr(machine->ram) + offset;
}

/*
 * A memory file without a single page reads as zeros.  (Memory that was
 * filled in ahead of time, or used before, has pages.)
 */
static bool memory_is_fresh(MachineState *machine)
{
    int fd = memory_region_get_fd(machine->ram);
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 && st.st_blocks == 0;
}

/* A reset is no way to launch something else: the file may have changed */
static bool check_same(const NitroMachineState *nms, uint64_t size,
                       uint32_t crc, Error **errp)
{
    ERRP_GUARD();

    if (size == nms->image_size && crc == nms->image_crc) {
        return true;
    }
    error_setg(errp, "the image is another one than at the first launch "
               "(%" PRIu64 " bytes with CRC 0x%08" PRIx32 ", now %" PRIu64
               " bytes with CRC 0x%08" PRIx32 ")", nms->image_size,
               nms->image_crc, size, crc);
    error_append_hint(errp, "A reset launches the same image again: end this "
                      "QEMU, and launch anew.\n");
    return false;
}

/* It lies in memory; is it to be launched? */
static bool accept_image(MachineState *machine, const void *image,
                         uint64_t size, uint32_t crc, Error **errp)
{
    NitroMachineState *nms = NITRO_MACHINE(machine);

    trace_nitro_machine_image_loaded(crc);
    if (nms->image) {
        return check_same(nms, size, crc, errp) &&
               nitro_machine_check_image(machine, image, size, errp);
    }
    nitro_machine_warn_memory(machine, size);
    nms->image_size = size;
    nms->image_crc = crc;
    return nitro_machine_check_image(machine, image, size, errp);
}

/* Does it boot?  What is not known may do so, only here nobody can tell */
static bool check_kernel(const EifImage *image, const EifKernel *kernel,
                         const char *path, Error **errp)
{
    Error *err = NULL;

    if (eif_kernel_check(kernel, image->arch, &err)) {
        return true;
    }
    if (!eif_kernel_is_uncertain(kernel)) {
        error_propagate(errp, err);
        return false;
    }
    warn_reportf_err(err, "%s: ", path);
    return true;
}

/* A line that is too long is cut by the kernel, which boots all the same */
static bool check_content(MachineState *machine, const EifImage *image,
                          const void *bytes, Error **errp)
{
    EifKernel kernel;
    EifSource src;
    uint64_t len;
    Error *err = NULL;

    if (NITRO_MACHINE(machine)->image) {
        return true; /* a reset launches the same again */
    }
    eif_source_init_buffer(&src, bytes, image->image_size);
    if (!eif_image_probe_kernel(image, &src, &kernel, errp) ||
        !eif_image_cmdline_len(image, &src, &len, errp) ||
        !check_kernel(image, &kernel, machine->kernel_filename, errp)) {
        return false;
    }
    if (!eif_kernel_check_cmdline(&kernel, len, &err)) {
        warn_reportf_err(err, "%s: ", machine->kernel_filename);
    }
    return true;
}

static bool load_eif(MachineState *machine, int fd, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(EifImage) image = NULL;
    typeof(eif_image_load_fd) *load;
    void *dest;

    if (machine->initrd_filename || *machine->kernel_cmdline) {
        error_setg(errp, "%s cannot be used with an enclave image, which "
                   "brings its own",
                   machine->initrd_filename ? "-initrd" : "-append");
        error_append_hint(errp, "Leave it out, or give a plain kernel with "
                          "-kernel.\n");
        return false;
    }

    image = eif_image_open_fd(fd, errp);
    if (!image ||
        !eif_image_check_arch(image, nitro_machine_eif_arch(), errp)) {
        return false;
    }
    dest = image_place(machine, "eif", image->image_size, errp);
    load = memory_is_fresh(machine) ? eif_image_load_fresh : eif_image_load_fd;
    if (!dest || !load(image, fd, dest, image->image_size, errp) ||
        !check_content(machine, image, dest, errp)) {
        return false;
    }
    return accept_image(machine, dest, image->image_size, image->crc, errp);
}

static bool write_build(MachineState *machine, const EifBuildParams *params,
                        Error **errp)
{
    g_autoptr(EifBuild) build = eif_build_new(params, errp);
    typeof(eif_build_write) *write_to;
    uint64_t size;
    uint32_t crc;
    void *dest;

    if (!build) {
        return false;
    }
    size = eif_build_size(build);
    dest = image_place(machine, "kernel", size, errp);
    write_to = memory_is_fresh(machine) ? eif_build_write_fresh
                                        : eif_build_write;
    if (!dest || !write_to(build, dest, size, errp)) {
        return false;
    }
    crc = ldl_be_p((uint8_t *)dest + offsetof(EifHeader, eif_crc32));
    return accept_image(machine, dest, size, crc, errp);
}

static int open_initrd(const char *path, struct stat *st, Error **errp)
{
    ERRP_GUARD();
    EifFileKind kind;
    int fd = open_file("-initrd", path, st, &kind, errp);

    if (fd >= 0 && (kind == EIF_KIND_EMPTY || kind == EIF_KIND_DIRECTORY ||
                    kind == EIF_KIND_SPECIAL || kind == EIF_KIND_EIF)) {
        error_setg(errp, "-initrd %s is %s, not a ramdisk", path,
                   eif_file_kind_str(kind));
        error_append_hint(errp, "Name a file that holds a ramdisk; the content "
                          "of a pipe must be copied to one first.\n");
        qemu_close(fd);
        return -1;
    }
    return fd;
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

static bool open_ramdisks(MachineState *machine, ImageFiles *files,
                          Error **errp)
{
    ERRP_GUARD();
    NitroMachineState *nms = NITRO_MACHINE(machine);
    unsigned count;

    files->ramdisk_names = split_names(machine->initrd_filename);
    count = g_strv_length(files->ramdisk_names);
    if (count > EIF_BUILD_MAX_RAMDISKS) {
        error_setg(errp, "-initrd names %u files, an enclave image has room "
                   "for %d", count, EIF_BUILD_MAX_RAMDISKS);
        error_append_hint(errp, "Join some: cat FIRST SECOND > BOTH; a comma "
                          "within a name must be doubled.\n");
        return false;
    }
    while (nms->nr_ramdisks < count) {
        unsigned i = nms->nr_ramdisks;
        int fd = open_initrd(files->ramdisk_names[i], &files->ramdisks[i],
                             errp);

        if (fd < 0) {
            return false;
        }
        nms->ramdisk_fds[nms->nr_ramdisks++] = fd;
    }
    return true;
}

static EifBuildParams build_params(MachineState *machine)
{
    const NitroMachineState *nms = NITRO_MACHINE(machine);
    EifBuildParams params = {
        .arch = nitro_machine_eif_arch(),
        .kernel_fd = nms->image_fd,
        .nr_ramdisks = nms->nr_ramdisks,
        .cmdline = machine->kernel_cmdline,
    };

    memcpy(params.ramdisk_fds, nms->ramdisk_fds, sizeof(params.ramdisk_fds));
    return params;
}

static bool load(MachineState *machine, Error **errp)
{
    ERRP_GUARD();
    NitroMachineState *nms = NITRO_MACHINE(machine);
    EifBuildParams params = build_params(machine);
    bool ok;

    if (nms->image_kind != EIF_KIND_EIF) {
        return write_build(machine, &params, errp);
    }
    ok = load_eif(machine, nms->image_fd, errp);
    if (!ok) {
        error_prepend(errp, "%s: ", machine->kernel_filename);
    }
    return ok;
}

/* For the monitor */
static bool remember(MachineState *machine, Error **errp)
{
    ERRP_GUARD();
    NitroMachineState *nms = NITRO_MACHINE(machine);
    EifBuildParams params = build_params(machine);

    nms->image = nms->image_kind == EIF_KIND_EIF
        ? nitro_image_record_eif(machine->kernel_filename, nms->image_fd, errp)
        : nitro_image_record_kernel(machine->kernel_filename,
                                    machine->initrd_filename, &params,
                                    nms->image_crc, errp);
    if (!nms->image && nms->image_kind == EIF_KIND_EIF) {
        error_prepend(errp, "%s: ", machine->kernel_filename);
    }
    return nms->image != NULL;
}

static bool open_files(MachineState *machine, ImageFiles *files, Error **errp)
{
    NitroMachineState *nms = NITRO_MACHINE(machine);
    const char *path = machine->kernel_filename;

    nms->image_fd = open_file("-kernel", path, &files->kernel,
                              &nms->image_kind, errp);
    if (nms->image_fd < 0) {
        return false;
    }
    if (nms->image_kind == EIF_KIND_EIF) {
        return true;
    }
    if (!eif_file_check_kernel(nms->image_kind, nitro_machine_eif_arch(), path,
                               errp)) {
        return false;
    }
    return !machine->initrd_filename || open_ramdisks(machine, files, errp);
}

static bool check_file(int fd, const struct stat *before, const char *path,
                       Error **errp)
{
    ERRP_GUARD();
    struct stat now;

    if (!S_ISREG(before->st_mode) ||
        (fstat(fd, &now) == 0 && now.st_size == before->st_size &&
         now.st_mtim.tv_sec == before->st_mtim.tv_sec &&
         now.st_mtim.tv_nsec == before->st_mtim.tv_nsec)) {
        return true;
    }
    error_setg(errp, "%s: the file changed while it was being read", path);
    error_append_hint(errp, "Do not change the file during launch.\n");
    return false;
}

/*
 * An image has a CRC, a kernel has nothing of that kind: half of the old one
 * and half of the new one would be launched.
 */
static bool check_files(MachineState *machine, const ImageFiles *files,
                        Error **errp)
{
    NitroMachineState *nms = NITRO_MACHINE(machine);

    for (unsigned i = 0; i < nms->nr_ramdisks; i++) {
        if (!check_file(nms->ramdisk_fds[i], &files->ramdisks[i],
                        files->ramdisk_names[i], errp)) {
            return false;
        }
    }
    return check_file(nms->image_fd, &files->kernel, machine->kernel_filename,
                      errp);
}

bool nitro_machine_load_image(MachineState *machine, Error **errp)
{
    ERRP_GUARD();
    ImageFiles files = { };
    bool ok;

    if (!machine->kernel_filename) {
        if (qtest_enabled()) {
            return true;
        }
        error_setg(errp, "machine nitro needs an enclave image");
        error_append_hint(errp, "Use -kernel FILE with an enclave image (EIF) "
                          "or a Linux kernel.\n");
        return false;
    }
    ok = open_files(machine, &files, errp) && load(machine, errp) &&
         remember(machine, errp) && check_files(machine, &files, errp);
    g_strfreev(files.ramdisk_names);
    return ok;
}

bool nitro_machine_reload_image(MachineState *machine, Error **errp)
{
    ERRP_GUARD();
    bool ok;

    rcu_register_thread();
    ok = load(machine, errp);
    rcu_unregister_thread();
    if (!ok) {
        error_prepend(errp, "cannot load the image again: ");
    }
    return ok;
}
