/*
 * Unit tests of the choice between ACPI and command line
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "contrib/nitro-hypervisor/image.h"

#define AWS "reboot=k panic=30 pci=off nomodules console=ttyS0"

static const NhvKernel unknown = { .fd = -1 };
static const NhvKernel takes = { .fd = 3, .takes_devices = true };
static const NhvKernel takes_none = { .fd = 3 };

static const struct {
    const char *name;
    const NhvKernel *kernel;
    const char *cmdline;
    bool acpi;
} rows[] = {
    { "line/acpi", &takes_none, "quiet acpi=off", false },
    { "line/aws", &takes_none, AWS, false },
    { "line/device", &takes_none, "virtio_mmio.device=512@0xd0000000:5",
      false },
    { "takes-devices", &takes, "console=ttyS0", false },
    { "takes-none", &takes_none, "console=ttyS0", true },
    { "unknown/aws", &unknown, AWS, false },
    { "unknown/plain", &unknown, "console=ttyS0 quiet", true },
    { "unknown/other-word", &unknown, "xpci=off", true },
    { "unknown/empty", &unknown, "", true },
};

static void test_row(const void *opaque)
{
    size_t i = GPOINTER_TO_SIZE(opaque);
    const char *reason = NULL;

    g_assert_cmpint(nhv_kernel_needs_acpi(rows[i].kernel, rows[i].cmdline,
                                          &reason), ==, rows[i].acpi);
    g_assert_nonnull(reason);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/kernel-probe/%s",
                                                rows[i].name);

        g_test_add_data_func(path, GSIZE_TO_POINTER(i), test_row);
    }
    return g_test_run();
}
