/*
 * Command line of nitro-hypervisor
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NHV_OPTIONS_H
#define NHV_OPTIONS_H

#include "hw/core/eif-image.h"
#include "qapi/qapi-types-common.h"

/* KVM runs guests of this architecture only */
#ifdef HOST_AARCH64
#define NHV_HOST_ARCH EIF_ARCH_AARCH64
#else
#define NHV_HOST_ARCH EIF_ARCH_X86_64
#endif

#define NHV_ACCEL_AUTO "auto"
#define NHV_ACCEL_TCG  "tcg,thread=multi"

typedef struct NhvOptions {
    char *runtime_dir;      /* absolute */
    char *qemu;             /* qemu-system-x86_64, or NULL */
    char *qemu_aarch64;     /* qemu-system-aarch64, or NULL */
    char *accel;            /* value of -accel, or NHV_ACCEL_AUTO */
    char *parent_id;        /* goes into PCR4, or NULL */
    char *parent_role;      /* goes into PCR3, or NULL */
    char **qemu_args;       /* additional arguments, NULL terminated, or NULL */
    char **firmware_dirs;   /* the same for -L */
    char *pki_dir;          /* absolute, or NULL: documents are not signed */
    char *pki_command;      /* the only thing to do, or NULL */
    EifArch host;           /* whose enclaves KVM can run */
    OnOffAuto acpi;
    unsigned int max_connections;   /* of one enclave */
    bool strict_image;      /* START fails when the image cannot boot */
    bool no_unpack;         /* kernels unpack themselves */
    bool check_kvm;         /* the only thing to do */
    bool once;
    bool keep_logs;
    bool version;
} NhvOptions;

/**
 * nhv_options_parse: read the command line
 * @opts: filled in, to be cleared with nhv_options_clear() in any case
 * @argc: number of arguments
 * @argv: the arguments; --help prints a text and exits
 * @errp: filled in on failure
 *
 * Returns: true on success.
 */
bool nhv_options_parse(NhvOptions *opts, int argc, char **argv,
                       Error **errp);

/**
 * nhv_options_qemu: the QEMU that runs enclaves of an architecture
 * @opts: the options
 * @arch: the architecture
 *
 * Returns: its path, or NULL when such enclaves cannot be run.
 */
const char *nhv_options_qemu(const NhvOptions *opts, EifArch arch);

/**
 * nhv_options_accel: value of -accel for enclaves of an architecture
 * @opts: the options; their accelerator is not NHV_ACCEL_AUTO any more
 * @arch: the architecture
 *
 * Returns: what --accel says, or NHV_ACCEL_TCG where that cannot run them.
 */
const char *nhv_options_accel(const NhvOptions *opts, EifArch arch);

/**
 * nhv_options_id: instance ID of the parent
 * @opts: the options
 *
 * Returns: the ID of --parent-id, or a placeholder without that option.
 */
const char *nhv_options_id(const NhvOptions *opts);

void nhv_options_clear(NhvOptions *opts);

#endif
