/*
 * How does an enclave's kernel find its virtio devices?
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * With ACPI the nitro-enclave machine describes its virtio-mmio devices in
 * the DSDT and appends nothing to the command line; without, it appends
 * virtio_mmio.device= and provides an MP table, as kernels made for Nitro
 * Enclaves expect.  Offering both at once is not possible: with ACPI the
 * devices use interrupts 16 and up, which the MP table does not describe.
 *
 * The image's command line decides if it has a word with which kernels made for
 * enclaves are started: pci=off, acpi=off or a device.  Otherwise the kernel
 * does: one that takes devices from its command line contains the name of their
 * parent device.
 */

#include "qemu/osdep.h"
#include "image.h"

static bool has_word(const char *cmdline, const char *word)
{
    g_auto(GStrv) words = g_strsplit_set(cmdline, " \t\n", -1);
    int i;

    for (i = 0; words[i]; i++) {
        if (g_str_has_prefix(words[i], word)) {
            return true;
        }
    }
    return false;
}

bool nhv_kernel_needs_acpi(const NhvKernel *kernel, const char *cmdline,
                           const char **reason)
{
    if (has_word(cmdline, "acpi=off") || has_word(cmdline, "pci=off") ||
        has_word(cmdline, "virtio_mmio.device=")) {
        *reason = "command line fits a kernel made for enclaves";
        return false;
    }
    if (kernel->fd >= 0) {
        *reason = kernel->takes_devices
            ? "kernel takes devices from its command line"
            : "kernel takes no devices from its command line";
        return !kernel->takes_devices;
    }
    *reason = "command line does not look like one for a kernel made for "
              "enclaves";
    return true;
}
