/*
 * Command line of nitro-hypervisor
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "qemu/cutils.h"
#include "options.h"
#include "switch.h"
#include "tools/nitro-option-once.h"

#define MAX_CONNECTIONS (1 << 24)
#define HINT_HELP "Try --help\n"

static const char summary[] =
    "Creates in the runtime directory:\n"
    "  control.sock        for -device nitro-enclaves-pci of the parent\n"
    "  parent-vsock.sock   for its -device vhost-user-vsock-pci (CID 3)\n"
    "  enclave-UID.log     messages of the QEMU that runs an enclave\n"
    "\n"
    "and runs in the foreground, logging to stderr, until SIGTERM or SIGINT.\n"
    "\n"
    "An enclave is run by the QEMU of its image's architecture; without one\n"
    "the image is refused.\n"
    "\n"
    "  x86_64   --qemu PATH           -M nitro-enclave; --acpi, --firmware-dir\n"
    "  arm64    --qemu-aarch64 PATH   -M virt, kernel and initrd of the image\n"
    "\n"
    "Parent, where BOARD is -M q35 for qemu-system-x86_64 and\n"
    "-M virt,gic-version=3 -cpu max for qemu-system-aarch64:\n"
    "  qemu-system-ARCH BOARD -machine memory-backend=ram \\\n"
    "    -object memory-backend-memfd,id=ram,size=1G,share=on -m 1G \\\n"
    "    -chardev socket,id=ne,path=DIR/control.sock \\\n"
    "    -device nitro-enclaves-pci,chardev=ne \\\n"
    "    -chardev socket,id=vs,path=DIR/parent-vsock.sock \\\n"
    "    -device vhost-user-vsock-pci,chardev=vs ...\n";

static bool check_executable(const char *option, const char *path,
                             Error **errp)
{
    if (access(path, X_OK)) {
        error_setg_errno(errp, errno, "%s: cannot run %s", option, path);
        error_append_hint(errp, "Give the path of a built QEMU, for example "
                          "build/out/qemu-system-x86_64\n");
        return false;
    }
    return true;
}

static bool parse_max_connections(NhvOptions *opts, const char *text,
                                  Error **errp)
{
    opts->max_connections = NHV_SWITCH_MAX_CONNS;
    if (text && (qemu_strtoui(text, NULL, 10, &opts->max_connections) ||
                 opts->max_connections < 1 ||
                 opts->max_connections > MAX_CONNECTIONS)) {
        error_setg(errp, "--max-connections must be 1 to %d, not %s",
                   MAX_CONNECTIONS, text);
        return false;
    }
    return true;
}

/* QEMU judges the words after the first one, as some depend on the host */
static bool check_accel(const char *accel, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(accel ?: NHV_ACCEL_TCG, ",", 2);
    const char *name = words[0] ?: "";

    if ((g_str_equal(name, NHV_ACCEL_AUTO) && !words[1]) ||
        g_str_equal(name, "kvm") || g_str_equal(name, "tcg")) {
        return true;
    }
    error_setg(errp, "--accel %s: cannot run enclaves", accel);
    error_append_hint(errp, "Use auto, kvm or tcg; kvm and tcg with options "
                      "of QEMU's -accel\n");
    return false;
}

static bool check_pki_command(const NhvOptions *opts, Error **errp)
{
    if (!opts->pki_dir) {
        error_setg(errp, "--pki needs --pki-dir");
        error_append_hint(errp, "Give the directory of root and region\n");
        return false;
    }
    return true;
}

static bool options_check(NhvOptions *opts, const char *acpi, int rest,
                          Error **errp)
{
    ERRP_GUARD();
    int value;

    if (opts->version) {
        return true;
    }
    if (rest > 1) {
        error_setg(errp, "arguments that are not options");
        error_append_hint(errp, HINT_HELP);
        return false;
    }
    if (opts->pki_command) {
        return check_pki_command(opts, errp);
    }
    if ((!opts->runtime_dir && !opts->check_kvm) ||
        (!opts->qemu && !opts->qemu_aarch64)) {
        error_setg(errp, "--runtime-dir and --qemu or --qemu-aarch64 are "
                   "needed");
        error_append_hint(errp, HINT_HELP);
        return false;
    }
    value = qapi_enum_parse(&OnOffAuto_lookup, acpi, ON_OFF_AUTO_AUTO, errp);
    if (*errp) {
        error_prepend(errp, "--acpi: ");
        error_append_hint(errp, "Use on, off or auto\n");
        return false;
    }
    opts->acpi = value;
    return check_accel(opts->accel, errp) &&
           (!opts->qemu || check_executable("--qemu", opts->qemu, errp)) &&
           (!opts->qemu_aarch64 ||
            check_executable("--qemu-aarch64", opts->qemu_aarch64, errp));
}

static void make_absolute(char **path)
{
    if (*path) {
        char *absolute = g_canonicalize_filename(*path, NULL);

        g_free(*path);
        *path = absolute;
    }
}

static void options_defaults(NhvOptions *opts)
{
    if (!opts->accel) {
        opts->accel = g_strdup(NHV_ACCEL_TCG);
    }
    opts->host = NHV_HOST_ARCH;
    make_absolute(&opts->runtime_dir);
    make_absolute(&opts->pki_dir);
}

/* Entries as GOption knows them, and those that were given */
typedef struct OnceEntries {
    const GOptionEntry *entries;
    GHashTable *given;
} OnceEntries;

static gboolean take_once(const char *name, const char *value, gpointer opaque,
                          GError **gerr)
{
    OnceEntries *once = opaque;
    const GOptionEntry *entry = once->entries;
    Error *err = NULL;

    while (!g_str_equal(entry->long_name, name + strlen("--"))) {
        entry++;
    }
    if (!option_once(once->given, entry->long_name, &err)) {
        g_set_error_literal(gerr, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            error_get_pretty(err));
        error_free(err);
        return false;
    }
    if (entry->arg == G_OPTION_ARG_NONE) {
        *(bool *)entry->arg_data = true;
    } else {
        *(char **)entry->arg_data = g_strdup(value);
    }
    return true;
}

/* Strings, file names and switches may be given once; arrays collect */
static GOptionEntry once_entry(const GOptionEntry *entry)
{
    GOptionEntry result = *entry;

    switch (entry->arg) {
    case G_OPTION_ARG_NONE:
        result.flags |= G_OPTION_FLAG_NO_ARG;
        break;
    case G_OPTION_ARG_FILENAME:
        result.flags |= G_OPTION_FLAG_FILENAME;
        break;
    case G_OPTION_ARG_STRING:
        break;
    default:
        return result;
    }
    result.arg = G_OPTION_ARG_CALLBACK;
    result.arg_data = take_once;
    return result;
}

static GOptionGroup *once_group(OnceEntries *once)
{
    GOptionGroup *group = g_option_group_new(NULL, NULL, NULL, once, NULL);

    for (const GOptionEntry *entry = once->entries; entry->long_name;
         entry++) {
        GOptionEntry entries[] = { once_entry(entry), { NULL } };

        g_option_group_add_entries(group, entries);
    }
    return group;
}

static bool parse_entries(const GOptionEntry *entries, int *argc, char ***argv,
                          Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GHashTable) given = g_hash_table_new(g_str_hash, g_str_equal);
    OnceEntries once = { .entries = entries, .given = given };
    g_autoptr(GOptionContext) context =
        g_option_context_new("- hypervisor of an emulated EC2 parent");
    g_autoptr(GError) gerr = NULL;

    g_option_context_set_description(context, summary);
    g_option_context_set_main_group(context, once_group(&once));
    if (g_option_context_parse(context, argc, argv, &gerr)) {
        return true;
    }
    error_setg(errp, "%s", gerr->message);
    error_append_hint(errp, HINT_HELP);
    return false;
}

bool nhv_options_parse(NhvOptions *opts, int argc, char **argv,
                       Error **errp)
{
    g_autofree char *acpi = NULL, *max_connections = NULL;
    const GOptionEntry entries[] = {
        { "runtime-dir", 0, 0, G_OPTION_ARG_FILENAME, &opts->runtime_dir,
          "Directory for sockets and logs", "DIR" },
        { "qemu", 0, 0, G_OPTION_ARG_FILENAME, &opts->qemu,
          "qemu-system-x86_64, for x86_64 images", "PATH" },
        { "qemu-aarch64", 0, 0, G_OPTION_ARG_FILENAME, &opts->qemu_aarch64,
          "qemu-system-aarch64, for arm64 images", "PATH" },
        { "qemu-arg", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opts->qemu_args,
          "Argument added to every enclave's QEMU", "ARG" },
        { "accel", 0, 0, G_OPTION_ARG_STRING, &opts->accel,
          "Accelerator of the enclaves (" NHV_ACCEL_TCG "); auto: KVM "
          "where it runs guests", "ACCEL" },
        { "check-kvm", 0, 0, G_OPTION_ARG_NONE, &opts->check_kvm,
          "Try whether KVM runs guests here, print kvm if so, and exit",
          NULL },
        { "acpi", 0, 0, G_OPTION_ARG_STRING, &acpi,
          "ACPI tables for x86_64 enclaves: on, off, auto (by the image)",
          "MODE" },
        { "firmware-dir", 0, 0, G_OPTION_ARG_FILENAME_ARRAY,
          &opts->firmware_dirs,
          "Directory with qboot.rom, for x86_64 enclaves", "DIR" },
        { "no-unpack", 0, 0, G_OPTION_ARG_NONE, &opts->no_unpack,
          "Let emulated x86_64 kernels unpack themselves, as on EC2: takes "
          "seconds longer", NULL },
        { "parent-id", 0, 0, G_OPTION_ARG_STRING, &opts->parent_id,
          "Instance ID of the parent, measured in PCR4", "ID" },
        { "parent-role", 0, 0, G_OPTION_ARG_STRING, &opts->parent_role,
          "IAM role of the parent, measured in PCR3", "ARN" },
        { "max-connections", 0, 0, G_OPTION_ARG_STRING, &max_connections,
          "vsock connections one enclave may have (65536)", "N" },
        { "strict-image", 0, 0, G_OPTION_ARG_NONE, &opts->strict_image,
          "Let START fail when the image cannot boot; by default the "
          "enclave ends at once, as on EC2", NULL },
        { "pki-dir", 0, 0, G_OPTION_ARG_FILENAME, &opts->pki_dir,
          "Directory of the keys of certificates in attestation documents; "
          "made if needed", "DIR" },
        { "pki", 0, 0, G_OPTION_ARG_STRING, &opts->pki_command,
          "Do one thing with --pki-dir and exit: show, export, renew, issue",
          "COMMAND" },
        { "once", 0, 0, G_OPTION_ARG_NONE, &opts->once,
          "End when the parent has disconnected", NULL },
        { "keep-logs", 0, 0, G_OPTION_ARG_NONE, &opts->keep_logs,
          "Do not remove logs of enclaves", NULL },
        { "version", 0, 0, G_OPTION_ARG_NONE, &opts->version,
          "Print the version and exit", NULL },
        { NULL }
    };

    if (!parse_entries(entries, &argc, &argv, errp)) {
        return false;
    }
    options_defaults(opts);
    return parse_max_connections(opts, max_connections, errp) &&
           options_check(opts, acpi, argc, errp);
}

const char *nhv_options_qemu(const NhvOptions *opts, EifArch arch)
{
    return arch == EIF_ARCH_AARCH64 ? opts->qemu_aarch64 : opts->qemu;
}

const char *nhv_options_accel(const NhvOptions *opts, EifArch arch)
{
    return arch == opts->host || g_str_has_prefix(opts->accel, "tcg") ?
           opts->accel : NHV_ACCEL_TCG;
}

const char *nhv_options_id(const NhvOptions *opts)
{
    return opts->parent_id ?: "i-0";
}

void nhv_options_clear(NhvOptions *opts)
{
    g_free(opts->runtime_dir);
    g_free(opts->qemu);
    g_free(opts->qemu_aarch64);
    g_free(opts->accel);
    g_free(opts->parent_id);
    g_free(opts->parent_role);
    g_free(opts->pki_dir);
    g_free(opts->pki_command);
    g_strfreev(opts->qemu_args);
    g_strfreev(opts->firmware_dirs);
    *opts = (NhvOptions) { };
}
