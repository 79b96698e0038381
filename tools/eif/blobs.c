/*
 * The directory with what nitro-cli builds images from
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "blobs.h"
#include "tool.h"

#define USUAL "/usr/share/nitro_enclaves/blobs"
#define MAX_CMDLINE (64 * KiB)

static const char *const kernels[] = {
    [EIF_ARCH_X86_64] = "bzImage",
    [EIF_ARCH_AARCH64] = "Image",
};

const char *blobs_directory(const char *option)
{
    const char *environment = getenv("NITRO_CLI_BLOBS");

    return option ?: environment && *environment ? environment : USUAL;
}

char *blobs_kernel(const char *directory, const EifArch *arch, Error **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(kernels); i++) {
        g_autofree char *path = g_build_filename(directory, kernels[i], NULL);

        if ((!arch || *arch == i) && !access(path, F_OK)) {
            return g_steal_pointer(&path);
        }
    }
    error_setg(errp, "no %s%s%s in %s", kernels[arch ? *arch : 0],
               arch ? "" : " or ", arch ? "" : kernels[1], directory);
    error_append_hint(errp, "Install aws-nitro-enclaves-cli-devel, name"
                      " another directory with --blobs, or a kernel with"
                      " --kernel.\n");
    return NULL;
}

char *blobs_cmdline(const char *directory, Error **errp)
{
    g_autofree char *path = g_build_filename(directory, "cmdline", NULL);
    char *text = tool_read_text(path, MAX_CMDLINE, errp);

    return text ? g_strstrip(text) : NULL;
}
