/*
 * qemu-eif build --container
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "elf.h"
#include "hw/core/eif-output.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "aws.h"
#include "blobs.h"
#include "from-container.h"
#include "json-copy.h"
#include "native.h"
#include "tool.h"

#define MAX_FILES (4 * 1000 * 1000)
#define MAX_SETTINGS (64 * KiB)
#define MAX_INFO (256 * KiB)    /* bytes; what has more is left out */
#define DEFAULT_MAX_SIZE "16G"

/* An end of process 1, or a panic, resets at once: that ends the enclave */
#define CMDLINE "console=ttyS0 quiet panic=-1 reboot=k"

static bool is_aws(const FromContainer *f)
{
    return f->layout && g_str_equal(f->layout, "aws");
}

static bool is_squashfs(const FromContainer *f)
{
    return f->root && g_str_equal(f->root, "squashfs");
}

bool from_container_is_whole(const FromContainer *f, Error **errp)
{
    if (!f->source && (f->init || f->module_tree || f->modules ||
                       f->settings || f->max_size || f->command ||
                       f->layout || f->blobs || f->root)) {
        error_setg(errp, "--init, --modules, --module, --settings, --max-size,"
                   " --layout, --blobs, --root and arguments are for"
                   " --container");
        return false;
    }
    if (f->layout && !is_aws(f) && !g_str_equal(f->layout, "native")) {
        error_setg(errp, "layout '%s' is neither native nor aws", f->layout);
        return false;
    }
    if (f->root && !is_squashfs(f) && !g_str_equal(f->root, "cpio")) {
        error_setg(errp, "root '%s' is neither cpio nor squashfs", f->root);
        return false;
    }
    if (is_aws(f) && (f->module_tree || f->modules || f->settings ||
                      is_squashfs(f))) {
        error_setg(errp, "--modules, --module, --settings and a squashfs are"
                   " for nitro-init, which the layout aws does not have");
        return false;
    }
    return true;
}

static bool wants_blobs(const FromContainer *f, const char *kernel)
{
    return f->source && (!kernel || f->blobs || is_aws(f));
}

bool from_container_find(FromContainer *f, const EifArch *arch,
                         const char **kernel, EifBuildParams *params,
                         Error **errp)
{
    const char *dir = blobs_directory(f->blobs);

    if (!wants_blobs(f, *kernel)) {
        return true;
    }
    if (!*kernel) {
        f->found_kernel = blobs_kernel(dir, arch, errp);
        *kernel = f->found_kernel;
    }
    if (*kernel && !params->cmdline) {
        f->found_cmdline = blobs_cmdline(dir, errp);
        params->cmdline = f->found_cmdline;
    }
    f->found_module = g_build_filename(dir, "nsm.ko", NULL);
    if (is_aws(f) && !f->init) {
        f->found_init = g_build_filename(dir, "init", NULL);
        f->init = f->found_init;
    }
    return *kernel && params->cmdline;
}

static bool check_inputs(const FromContainer *f, const char *output,
                         Error **errp)
{
    for (guint i = 0; f->modules && i < f->modules->len; i++) {
        if (!eif_output_check_input(output, "--output",
                                    g_ptr_array_index(f->modules, i),
                                    "--module", errp)) {
            return false;
        }
    }
    return eif_output_check_input(output, "--output", f->init, "--init",
                                  errp) &&
           eif_output_check_input(output, "--output", f->found_module,
                                  "--blobs", errp) &&
           eif_output_check_input(output, "--output", f->module_tree,
                                  "--modules", errp) &&
           eif_output_check_input(output, "--output", f->settings,
                                  "--settings", errp);
}

#ifdef CONFIG_LIBARCHIVE

/* What is read in a directory: the image may well be written beside it */
static bool check_layout(const char *dir, const char *output, Error **errp)
{
    static const char *const parts[] = {
        "blobs", "index.json", "manifest.json", "oci-layout",
    };

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        g_autofree char *part = g_build_filename(dir, parts[i], NULL);

        if (!eif_output_check_input(output, "--output", part, "--container",
                                    errp)) {
            return false;
        }
    }
    return true;
}

bool from_container_check_output(const FromContainer *f, const char *output,
                                 Error **errp)
{
    g_autofree char *path = f->source ? container_path(f->source) : NULL;
    bool ok = !path ||
              (g_file_test(path, G_FILE_TEST_IS_DIR)
               ? check_layout(path, output, errp)
               : eif_output_check_input(output, "--output", path,
                                        "--container", errp));

    return ok && check_inputs(f, output, errp);
}

static bool read_limits(const FromContainer *f, FileTreeLimits *limits,
                        Error **errp)
{
    const char *text = f->max_size ?: DEFAULT_MAX_SIZE;

    limits->files = MAX_FILES;
    if (qemu_strtosz_MiB(text, NULL, &limits->bytes) < 0 ||
        !limits->bytes || limits->bytes > INT64_MAX) {
        error_setg(errp, "'%s' is not a size such as 512M or 4G", text);
        return false;
    }
    return true;
}

/* Installed, or in the build directory */
static char *find_init(Error **errp)
{
    g_autofree char *installed =
        get_relocated_path(CONFIG_QEMU_HELPERDIR "/nitro-init");
    g_autofree char *here = get_relocated_path(CONFIG_BINDIR);
    g_autofree char *built = g_build_filename(
        here, "../../contrib/nitro-init/nitro-init", NULL);

    if (!access(built, R_OK)) {
        return g_steal_pointer(&built);
    }
    if (!access(installed, R_OK)) {
        return g_steal_pointer(&installed);
    }
    error_setg(errp, "there is no %s, which is process 1 of the enclave",
               installed);
    error_append_hint(errp, "Name the program nitro-init with --init.\n");
    return NULL;
}

/* A program of another machine would only fail in the enclave */
static bool check_init(const char *path, EifArch arch, Error **errp)
{
    uint8_t head[20] = { 0 };
    int fd = qemu_open(path, O_RDONLY | O_NONBLOCK, errp);
    unsigned machine = arch == EIF_ARCH_AARCH64 ? EM_AARCH64 : EM_X86_64;
    ssize_t n;

    if (fd < 0) {
        return false;
    }
    n = RETRY_ON_EINTR(read(fd, head, sizeof(head)));
    qemu_close(fd);
    if (n != sizeof(head) || memcmp(head, ELFMAG, SELFMAG) ||
        lduw_le_p(head + offsetof(Elf64_Ehdr, e_machine)) != machine) {
        error_setg(errp, "%s is not a program for %s", path,
                   eif_arch_str(arch));
        error_append_hint(errp, "Name the init of that architecture with"
                          " --init.\n");
        return false;
    }
    return true;
}

static bool choose_init(FromContainer *f, EifArch arch, Error **errp)
{
    if (!f->init) {
        f->found_init = find_init(errp);
        f->init = f->found_init;
    }
    return f->init && check_init(f->init, arch, errp);
}

static bool read_settings(const FromContainer *f, char **text, Error **errp)
{
    if (!f->settings) {
        return true;
    }
    *text = tool_read_text(f->settings, MAX_SETTINGS, errp);
    return *text != NULL;
}

/* The last part of the source, without its tag: "docker://a/b:1" is "b" */
static char *image_name(const char *source)
{
    g_autofree char *base = g_path_get_basename(source);
    const char *colon = strrchr(base, ':');

    return g_strndup(base, colon && colon != base ? colon - base
                     : strlen(base));
}

/* NULL: SOURCE_DATE_EPOCH decides, or the image does not say */
static char *build_time(const Container *c)
{
    g_autoptr(GDateTime) time = c->created && !getenv("SOURCE_DATE_EPOCH")
        ? g_date_time_new_from_iso8601(c->created, NULL) : NULL;
    g_autoptr(GDateTime) utc = time ? g_date_time_to_utc(time) : NULL;

    return utc ? g_date_time_format(utc, "%Y-%m-%dT%H:%M:%S+00:00") : NULL;
}

/* As much as there is without a daemon; with the names that Docker uses */
static char *docker_info(const Container *c)
{
    static const char *const members[][2] = {
        { "Created", "created" }, { "Architecture", "architecture" },
        { "Os", "os" }, { "Config", "config" },
    };
    g_autoptr(JSONWriter) w = json_writer_new(false);

    json_writer_start_object(w, NULL);
    if (c->digest) {
        json_writer_str(w, "Id", c->digest);
    }
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        json_copy(w, members[i][0], qdict_get(c->image, members[i][1]));
    }
    json_writer_end_object(w);
    return strlen(json_writer_get(w)) > MAX_INFO
           ? NULL : g_strdup(json_writer_get(w));
}

static void set_metadata(FromContainer *f, const Container *c,
                         EifBuildParams *params)
{
    f->name = image_name(f->source);
    f->version = g_strdup(c->digest ? c->digest + strlen("sha256:") : "1.0");
    params->name = params->name ?: f->name;
    params->image_version = params->image_version ?: f->version;
    params->cmdline = params->cmdline ?: CMDLINE;
    f->time = build_time(c);
    f->info = docker_info(c);
    params->build_time = f->time;
    params->docker_info = f->info;
}

static ModulesNeeded modules_needed(const FromContainer *f,
                                    const char *settings)
{
    return (is_squashfs(f) ? MODULES_ROOT_IMAGE : 0) |
           (native_has_network(settings) ? MODULES_NETWORK : 0);
}

static GPtrArray *read_modules(const FromContainer *f, const char *settings,
                               Error **errp)
{
    g_autoptr(GPtrArray) list = modules_new();
    bool blob = f->found_module && !f->module_tree && !f->modules;

    if ((f->module_tree &&
         !modules_add_tree(list, f->module_tree, modules_needed(f, settings),
                           errp)) ||
        (blob && !modules_add(list, f->found_module, errp))) {
        return NULL;
    }
    for (guint i = 0; f->modules && i < f->modules->len; i++) {
        if (!modules_add(list, g_ptr_array_index(f->modules, i), errp)) {
            return NULL;
        }
    }
    return g_steal_pointer(&list);
}

static bool make_native(FromContainer *f, Container *c, const char *scratch,
                        int *fds, Error **errp)
{
    g_autofree char *settings = NULL;
    g_autoptr(GPtrArray) modules = NULL;
    NativeParams p = {
        .init = f->init,
        .command = f->command,
        .squashfs = is_squashfs(f),
    };

    if (!read_settings(f, &settings, errp)) {
        return false;
    }
    modules = read_modules(f, settings, errp);
    if (!modules) {
        return false;
    }
    p.modules = modules;
    p.settings = settings;
    return native_ramdisks(c, &p, scratch, fds, errp);
}

static bool make_aws(FromContainer *f, Container *c, const char *scratch,
                     int *fds, Error **errp)
{
    AwsParams p = {
        .init = f->init,
        .module = f->found_module,
        .command = f->command,
    };
    g_autoptr(GPtrArray) losses = aws_losses(c, &p);

    for (guint i = 0; i < losses->len; i++) {
        warn_report("%s: %s", f->source,
                    (const char *)g_ptr_array_index(losses, i));
    }
    return aws_ramdisks(c, &p, scratch, fds, errp);
}

static bool make_ramdisks(FromContainer *f, Container *c, const char *scratch,
                          EifBuildParams *params, Error **errp)
{
    int *fds = params->ramdisk_fds;

    if (!(is_aws(f) ? make_aws(f, c, scratch, fds, errp)
                    : make_native(f, c, scratch, fds, errp))) {
        return false;
    }
    params->nr_ramdisks = 2;
    return true;
}

bool from_container_open(FromContainer *f, const char *output,
                         EifBuildParams *params, Error **errp)
{
    g_autofree char *scratch = g_path_get_dirname(output);
    g_autoptr(Container) c = NULL;
    FileTreeLimits limits;

    if (!read_limits(f, &limits, errp) ||
        !choose_init(f, params->arch, errp)) {
        return false;
    }
    c = container_read(f->source, params->arch, &limits, scratch, errp);
    if (!c || !make_ramdisks(f, c, scratch, params, errp)) {
        return false;
    }
    set_metadata(f, c, params);
    return true;
}

#else

bool from_container_check_output(const FromContainer *f, const char *output,
                                 Error **errp)
{
    return check_inputs(f, output, errp);
}

bool from_container_open(FromContainer *f, const char *output,
                         EifBuildParams *params, Error **errp)
{
    error_setg(errp, "this qemu-eif was built without libarchive, which"
               " reads container images");
    error_append_hint(errp, "Install its headers (package libarchive-dev) and"
                      " build QEMU again.\n");
    return false;
}

#endif

void from_container_clear(FromContainer *f)
{
    if (f->modules) {
        g_ptr_array_unref(f->modules);
    }
    g_free(f->name);
    g_free(f->version);
    g_free(f->time);
    g_free(f->info);
    g_free(f->found_init);
    g_free(f->found_kernel);
    g_free(f->found_cmdline);
    g_free(f->found_module);
}
