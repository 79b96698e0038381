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
#include "from-container.h"
#include "memory.h"
#include "signing.h"
#include "tool.h"

static const char usage[] =
    "Usage: qemu-eif build --kernel=FILE --output=FILE [OPTION]...\n"
    "       qemu-eif build --container=SOURCE --output=FILE [OPTION]... [-- ARG...]\n"
    "Make an enclave image and print its registers as JSON.\n"
    "\n"
    "  -k, --kernel=FILE    bzImage (x86_64) or Image (arm64)\n"
    "  -o, --output=FILE    where to write the image; replaced as a whole\n"
    "  -i, --initrd=FILE    cpio archive, compressed or not; can be repeated,\n"
    "                       for several ramdisks in this order\n"
    "  -c, --cmdline=TEXT   kernel command line (default: empty)\n"
    "  -n, --name=TEXT      ImageName (default: qemu)\n"
    "  -v, --version=TEXT   ImageVersion (default: 1.0)\n"
    "  -m, --metadata=FILE  CustomMetadata: JSON of at most 4096 bytes\n"
    "  -a, --arch=ARCH      x86_64 or aarch64 (default: as the kernel)\n"
    "  -s, --signing-certificate=FILE\n"
    "                       sign the image; X.509 certificate (PEM)\n"
    "  -p, --private-key=FILE\n"
    "                       its key (PEM), on the curve P-256, P-384 or P-521\n"
    "  -C, --container=SOURCE\n"
    "                       ramdisks for a container image: OCI layout, tar\n"
    "                       archive, each with :TAG, or a name for skopeo such\n"
    "                       as docker://...; ARG replaces its arguments\n"
    "  -l, --layout=LAYOUT  native: with nitro-init; aws: with AWS's init and\n"
    "                       the registers of nitro-cli (default: native)\n"
    "  -B, --blobs=DIR      kernel, cmdline, init and nsm.ko of AWS (default:\n"
    "                       NITRO_CLI_BLOBS, else nitro-cli's, without\n"
    "                       --kernel and in the layout aws)\n"
    "  -I, --init=FILE      process 1 of the container's program (default: the\n"
    "                       installed nitro-init, or init of the blobs)\n"
    "  -T, --modules=DIR    the kernel's modules, such as /lib/modules/VERSION;\n"
    "                       those for vsock and attestation are loaded\n"
    "  -M, --module=FILE    another module; can be repeated, in load order\n"
    "  -S, --settings=FILE  further lines for its configuration\n"
    "  -R, --root=KIND      how the ramdisk holds the container's files: cpio,\n"
    "                       or squashfs, which needs less memory (default: cpio)\n"
    "  -L, --max-size=SIZE  most bytes of the container's files (default: 16G)\n"
    "  -h, --help           this text\n"
    "\n"
    "The same inputs make the same image. BuildTime comes from the environment\n"
    "variable SOURCE_DATE_EPOCH, else from the container's time of creation,\n"
    "else it is 1970-01-01.\n";

static const struct option long_options[] = {
    { "kernel", required_argument, NULL, 'k' },
    { "output", required_argument, NULL, 'o' },
    { "initrd", required_argument, NULL, 'i' },
    { "cmdline", required_argument, NULL, 'c' },
    { "name", required_argument, NULL, 'n' },
    { "version", required_argument, NULL, 'v' },
    { "metadata", required_argument, NULL, 'm' },
    { "arch", required_argument, NULL, 'a' },
    { "signing-certificate", required_argument, NULL, 's' },
    { "private-key", required_argument, NULL, 'p' },
    { "container", required_argument, NULL, 'C' },
    { "layout", required_argument, NULL, 'l' },
    { "blobs", required_argument, NULL, 'B' },
    { "init", required_argument, NULL, 'I' },
    { "modules", required_argument, NULL, 'T' },
    { "module", required_argument, NULL, 'M' },
    { "settings", required_argument, NULL, 'S' },
    { "root", required_argument, NULL, 'R' },
    { "max-size", required_argument, NULL, 'L' },
    { "help", no_argument, NULL, 'h' },
    { }
};

typedef struct Options {
    const char *kernel;
    const char *initrds[EIF_BUILD_MAX_RAMDISKS];
    unsigned nr_initrds;
    const char *output;
    const char *arch;
    const char *metadata;
    ToolSigning signing;
    FromContainer container;
    EifBuildParams params;
} Options;

/* What the output file is filled from, and what was measured on the way */
typedef struct Job {
    EifBuild *build;
    EifSigningKey *key; /* NULL: not to be signed */
    EifMeasurements m;
    uint64_t memory_mib;
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

static int open_initrd(const char *path, Error **errp)
{
    EifFileKind kind;
    int fd = open_input(path, &kind, errp);

    if (fd >= 0 && (kind == EIF_KIND_EMPTY || kind == EIF_KIND_DIRECTORY ||
                    kind == EIF_KIND_SPECIAL || kind == EIF_KIND_EIF)) {
        error_setg(errp, "%s is %s, not a ramdisk", path,
                   eif_file_kind_str(kind));
        qemu_close(fd);
        return -1;
    }
    return fd;
}

static bool open_initrds(Options *o, Error **errp)
{
    if (o->container.source) {
        return from_container_open(&o->container, o->output, &o->params,
                                   errp);
    }
    for (unsigned i = 0; i < o->nr_initrds; i++) {
        int fd = open_initrd(o->initrds[i], errp);

        if (fd < 0) {
            return false;
        }
        o->params.ramdisk_fds[o->params.nr_ramdisks++] = fd;
    }
    return true;
}

static void close_inputs(const EifBuildParams *params)
{
    if (params->kernel_fd >= 0) {
        qemu_close(params->kernel_fd);
    }
    for (unsigned i = 0; i < params->nr_ramdisks; i++) {
        qemu_close(params->ramdisk_fds[i]);
    }
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
    if (!image || !eif_image_measure(image, &src, &job->m, errp)) {
        return false;
    }
    job->memory_mib = memory_need(image, &src);
    return true;
}

static bool write_signed(Job *job, const char *path, Error **errp)
{
    g_autoptr(EifImage) image = NULL;
    EifSource src;

    eif_source_init_build(&src, job->build);
    image = eif_image_parse(&src, errp);
    if (!image || !tool_write_signed(path, image, &src, job->key, &job->m,
                                     errp)) {
        return false;
    }
    job->memory_mib = memory_need(image, &src);
    return true;
}

static bool write_output(Job *job, const Options *o, Error **errp)
{
    job->build = eif_build_new(&o->params, errp);
    if (!job->build) {
        return false;
    }
    return job->key ? write_signed(job, o->output, errp)
                    : eif_output_file(o->output, eif_build_size(job->build),
                                      fill_and_measure, job, errp);
}

/* An output that is an input as well would be the end of the input */
static bool check_output(const Options *o, Error **errp)
{
    for (unsigned i = 0; i < o->nr_initrds; i++) {
        if (!eif_output_check_input(o->output, "--output", o->initrds[i],
                                    "--initrd", errp)) {
            return false;
        }
    }
    return eif_output_check_input(o->output, "--output", o->kernel,
                                  "--kernel", errp) &&
           eif_output_check_input(o->output, "--output", o->metadata,
                                  "--metadata", errp) &&
           tool_signing_check_output(&o->signing, o->output, "--output",
                                     errp) &&
           from_container_check_output(&o->container, o->output, errp);
}

static bool read_metadata(Options *o, char **json, Error **errp)
{
    if (!o->metadata) {
        return true;
    }
    *json = tool_custom_metadata(o->metadata, errp);
    o->params.custom_metadata = *json;
    return *json != NULL;
}

static bool read_key(const Options *o, Job *job, Error **errp)
{
    if (!o->signing.certificate) {
        return true;
    }
    job->key = tool_signing_key(&o->signing, errp);
    return job->key != NULL;
}

static int build_image(Options *o)
{
    g_autofree char *json = NULL;
    Error *err = NULL;
    Job job = { NULL };
    bool ok;
    int rc;

    ok = from_container_find(&o->container,
                             o->arch ? &o->params.arch : NULL, &o->kernel,
                             &o->params, &err) &&
         check_output(o, &err) &&
         open_kernel(o, &err) && open_initrds(o, &err) &&
         read_metadata(o, &json, &err) && read_key(o, &job, &err) &&
         write_output(&job, o, &err);
    rc = ok ? tool_print_built(&job.m, job.key, job.memory_mib)
            : tool_fail(err);
    eif_build_free(job.build);
    eif_signing_key_free(job.key);
    close_inputs(&o->params);
    from_container_clear(&o->container);
    return rc;
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
        return &o->initrds[o->nr_initrds++];
    case 'c':
        return &o->params.cmdline;
    case 'n':
        return &o->params.name;
    case 'v':
        return &o->params.image_version;
    case 'm':
        return &o->metadata;
    case 'a':
        return &o->arch;
    case 's':
        return &o->signing.certificate;
    case 'p':
        return &o->signing.private_key;
    case 'C':
        return &o->container.source;
    case 'l':
        return &o->container.layout;
    case 'B':
        return &o->container.blobs;
    case 'I':
        return &o->container.init;
    case 'T':
        return &o->container.module_tree;
    case 'S':
        return &o->container.settings;
    case 'R':
        return &o->container.root;
    case 'L':
        return &o->container.max_size;
    default:
        g_assert_not_reached();
    }
}

static void add_module(FromContainer *f, const char *path)
{
    if (!f->modules) {
        f->modules = g_ptr_array_new();
    }
    g_ptr_array_add(f->modules, (char *)path);
}

static bool take_build(void *opaque, int c, Error **errp)
{
    Options *o = opaque;

    if (c == 'i' && o->nr_initrds == EIF_BUILD_MAX_RAMDISKS) {
        error_setg(errp, "an image has room for %d ramdisks",
                   EIF_BUILD_MAX_RAMDISKS);
        return false;
    }
    if (c == 'M') {
        add_module(&o->container, optarg);
        return true;
    }
    *option_target(o, c) = optarg;
    if (c == 'a' && !parse_arch(optarg, &o->params.arch)) {
        error_setg(errp, "architecture '%s' is neither x86_64 nor aarch64",
                   optarg);
        return false;
    }
    return true;
}

static const ToolOptions build_options = {
    "build", usage, "k:o:i:c:n:v:m:a:s:p:C:l:B:I:T:M:S:R:L:h", long_options,
    "iM"
};

/* What stands behind "--" is for the container's program */
static bool take_arguments(Options *o, int argc, char **argv)
{
    if (optind == argc) {
        return true;
    }
    if (!o->container.source || !g_str_equal(argv[optind - 1], "--")) {
        return false;
    }
    o->container.command = argv + optind;
    return true;
}

static int check_build(Options *o, int argc, char **argv)
{
    Error *err = NULL;
    int rc;

    if (!take_arguments(o, argc, argv)) {
        return tool_bad_usage("build", "'%s' is not an option", argv[optind]);
    }
    if (o->container.source && o->nr_initrds) {
        return tool_bad_usage("build", "--initrd and --container cannot be"
                              " combined");
    }
    if (!o->output || !(o->kernel || o->container.source)) {
        return tool_bad_usage("build", "%s is needed",
                              o->output ? "--kernel" : "--output");
    }
    if (tool_signing_is_whole(&o->signing, &err) &&
        from_container_is_whole(&o->container, &err)) {
        return TOOL_OK;
    }
    rc = tool_bad_usage("build", "%s", error_get_pretty(err));
    error_free(err);
    return rc;
}

int tool_build(int argc, char **argv)
{
    Options o = { .params = { .kernel_fd = -1 } };
    int rc = tool_options(&build_options, argc, argv, take_build, &o);

    if (rc < 0) {
        rc = check_build(&o, argc, argv);
        if (rc == TOOL_OK) {
            rc = build_image(&o);
        }
    }
    return rc;
}
