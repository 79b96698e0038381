/*
 * qemu-eif build: make an image from a kernel and an initrd
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include "hw/core/eif-output.h"
#include "tool.h"

static const char usage[] =
    "Usage: qemu-eif build --kernel=FILE --output=FILE [OPTION]...\n"
    "Make an enclave image and print its registers as JSON.\n"
    "\n"
    "  -k, --kernel=FILE    bzImage (x86_64) or Image (arm64)\n"
    "  -o, --output=FILE    where to write the image; replaced as a whole\n"
    "  -i, --initrd=FILE    cpio archive, compressed or not\n"
    "  -c, --cmdline=TEXT   kernel command line (default: empty)\n"
    "  -n, --name=TEXT      ImageName (default: qemu)\n"
    "  -v, --version=TEXT   ImageVersion (default: 1.0)\n"
    "  -a, --arch=ARCH      x86_64 or aarch64 (default: what the kernel is)\n"
    "  -h, --help           this text\n"
    "\n"
    "The same inputs give the same image. BuildTime is 1970-01-01 unless the\n"
    "environment variable SOURCE_DATE_EPOCH says otherwise.\n";

static const struct option long_options[] = {
    { "kernel", required_argument, NULL, 'k' },
    { "output", required_argument, NULL, 'o' },
    { "initrd", required_argument, NULL, 'i' },
    { "cmdline", required_argument, NULL, 'c' },
    { "name", required_argument, NULL, 'n' },
    { "version", required_argument, NULL, 'v' },
    { "arch", required_argument, NULL, 'a' },
    { "help", no_argument, NULL, 'h' },
    { }
};

typedef struct Options {
    const char *kernel;
    const char *initrd;
    const char *output;
    const char *arch;
    EifBuildParams params;
} Options;

/* What the output file is filled from, and what was measured on the way */
typedef struct Job {
    EifBuild *build;
    EifMeasurements m;
} Job;

static bool parse_arch(const char *text, EifArch *arch)
{
    if (g_str_equal(text, "x86_64")) {
        *arch = EIF_ARCH_X86_64;
    } else if (g_str_equal(text, "aarch64") || g_str_equal(text, "arm64")) {
        *arch = EIF_ARCH_AARCH64;
    } else {
        return false;
    }
    return true;
}

static int open_input(const char *path, EifFileKind *kind, Error **errp)
{
    ERRP_GUARD();
    int fd = qemu_open(path, O_RDONLY | O_NONBLOCK, errp);

    if (fd >= 0 && !eif_file_kind(fd, kind, errp)) {
        error_prepend(errp, "%s: ", path);
        qemu_close(fd);
        return -1;
    }
    return fd;
}

/* Of a kernel, or of what the file would be unpacked to: bzImage is x86's */
static EifArch kernel_arch(EifFileKind kind)
{
    return kind == EIF_KIND_ARM64_IMAGE || kind == EIF_KIND_EFI_ZBOOT ||
           kind == EIF_KIND_GZIP ? EIF_ARCH_AARCH64 : EIF_ARCH_X86_64;
}

static bool open_kernel(Options *o, Error **errp)
{
    EifFileKind kind;

    o->params.kernel_fd = open_input(o->kernel, &kind, errp);
    if (o->params.kernel_fd < 0) {
        return false;
    }
    if (!o->arch) {
        o->params.arch = kernel_arch(kind);
    }
    if (kind == EIF_KIND_EIF) {
        error_setg(errp, "%s is an enclave image already", o->kernel);
        return false;
    }
    return eif_file_check_kernel(kind, o->params.arch, o->kernel, errp);
}

static bool open_initrd(Options *o, Error **errp)
{
    EifFileKind kind;

    if (!o->initrd) {
        return true;
    }
    o->params.initrd_fd = open_input(o->initrd, &kind, errp);
    if (o->params.initrd_fd < 0) {
        return false;
    }
    if (kind == EIF_KIND_EMPTY || kind == EIF_KIND_DIRECTORY ||
        kind == EIF_KIND_SPECIAL || kind == EIF_KIND_EIF) {
        error_setg(errp, "%s is %s, not a ramdisk", o->initrd,
                   eif_file_kind_str(kind));
        return false;
    }
    return true;
}

static bool fill_and_measure(void *dest, uint64_t size, void *opaque,
                             Error **errp)
{
    Job *job = opaque;
    g_autoptr(EifImage) image = NULL;
    EifSource src;

    if (!eif_build_write(job->build, dest, size, errp)) {
        return false;
    }
    image = eif_image_parse_buffer(dest, size, errp);
    eif_source_init_buffer(&src, dest, size);
    return image && eif_image_measure(image, &src, &job->m, errp);
}

static int print_result(const EifMeasurements *m)
{
    g_autoptr(JSONWriter) w = json_writer_new(true);

    json_writer_start_object(w, NULL);
    tool_write_measurements(w, m);
    json_writer_end_object(w);
    return tool_print_json(w);
}

static int build_image(Options *o)
{
    Error *err = NULL;
    Job job = { NULL };
    bool ok;

    ok = open_kernel(o, &err) && open_initrd(o, &err) &&
         (job.build = eif_build_new(&o->params, &err)) &&
         eif_output_file(o->output, eif_build_size(job.build),
                         fill_and_measure, &job, &err);
    eif_build_free(job.build);
    if (o->params.kernel_fd >= 0) {
        qemu_close(o->params.kernel_fd);
    }
    if (o->params.initrd_fd >= 0) {
        qemu_close(o->params.initrd_fd);
    }
    return ok ? print_result(&job.m) : tool_fail(err);
}

/* Returns where to put the argument of option @c */
static const char **option_target(Options *o, int c)
{
    switch (c) {
    case 'k':
        return &o->kernel;
    case 'o':
        return &o->output;
    case 'i':
        return &o->initrd;
    case 'c':
        return &o->params.cmdline;
    case 'n':
        return &o->params.name;
    case 'v':
        return &o->params.image_version;
    case 'a':
        return &o->arch;
    default:
        g_assert_not_reached();
    }
}

static bool take_build(void *opaque, int c, Error **errp)
{
    Options *o = opaque;

    *option_target(o, c) = optarg;
    if (c == 'a' && !parse_arch(optarg, &o->params.arch)) {
        error_setg(errp, "architecture '%s' is neither x86_64 nor aarch64",
                   optarg);
        return false;
    }
    return true;
}

static const ToolOptions build_options = {
    "build", usage, "k:o:i:c:n:v:a:h", long_options, NULL
};

int tool_build(int argc, char **argv)
{
    Options o = { .params = { .kernel_fd = -1, .initrd_fd = -1 } };
    int rc = tool_options(&build_options, argc, argv, take_build, &o);

    if (rc >= 0) {
        return rc;
    }
    if (optind != argc) {
        return tool_bad_usage("build", "'%s' is no option", argv[optind]);
    }
    if (!o.kernel || !o.output) {
        return tool_bad_usage("build", "%s is needed",
                              o.kernel ? "--output" : "--kernel");
    }
    return build_image(&o);
}
