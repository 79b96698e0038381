/*
 * Nitro Enclaves driver: why a host has no device node of it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "ne-host.h"

#define PCI_FUNCTIONS "proc/bus/pci/devices"
#define PCI_ID "\t1d0fe4c1\t"   /* vendor and device, as that file has them */
#define MODULE "sys/module/nitro_enclaves"

static char *read_functions(const char *root)
{
    g_autofree char *path = g_strdup_printf("%s/" PCI_FUNCTIONS, root);
    char *text = NULL;

    g_file_get_contents(path, &text, NULL, NULL);
    return text;
}

static bool has_module(const char *root)
{
    g_autofree char *path = g_strdup_printf("%s/" MODULE, root);

    return g_file_test(path, G_FILE_TEST_IS_DIR);
}

bool ne_host_explain(const char *root, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *functions = read_functions(root);

    if (!functions) {
        return false;
    }
    if (!strstr(functions, PCI_ID)) {
        error_setg(errp, "this is not an EC2 instance with enclaves enabled, "
                   "PCI function 1d0f:e4c1 is missing");
        error_append_hint(errp, "Launch the instance with --enclave-options "
                          "Enabled=true, or try an emulated parent: see "
                          "-device nitro-enclaves-pci.\n");
    } else if (!has_module(root)) {
        error_setg(errp, "its driver is not loaded, PCI function 1d0f:e4c1 is "
                   "there");
        error_append_hint(errp, "modprobe nitro_enclaves\n");
    } else {
        error_setg(errp, "its driver is loaded, but the node is not here");
        error_append_hint(errp, "In a container pass the device on (libvirt: "
                          "cgroup_device_acl in qemu.conf); otherwise "
                          "look at the kernel's log: dmesg | grep "
                          "nitro_enclaves.\n");
    }
    return true;
}
