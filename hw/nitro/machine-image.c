/*
 * Nitro Enclaves: where the machine puts its image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The image is read straight into the memory that will be donated, and checked
 * there before anything is donated.
 */

#include "qemu/osdep.h"
#include "machine-int.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/rcu.h"
#include "qemu/units.h"
#include "system/qtest.h"
#include "trace.h"

/* Returns where an image of @size bytes goes, or NULL when it does not fit */
static void *image_place(MachineState *machine, const char *kind,
                         uint64_t size, Error **errp)
{
    ERRP_GUARD();
    NitroLauncher *launcher = nitro_machine_launcher(machine);
    uint64_t offset = NITRO_IMAGE_OFFSET;
    uint64_t ram_size = memory_region_size(machine->ram);

    if (launcher &&
        !NITRO_LAUNCHER_GET_CLASS(launcher)->load_offset(launcher, &offset,
                                                         errp)) {
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

static bool machine_image_load(MachineState *machine, Error **errp)
{
    NitroImage *image = NITRO_MACHINE(machine)->image;
    const char *kind = NitroEnclaveImageKind_str(nitro_image_kind(image));
    void *dest = image_place(machine, kind, nitro_image_size(image), errp);

    return dest &&
           nitro_image_load(image, dest, memory_is_fresh(machine), errp);
}

static bool open_image(MachineState *machine, Error **errp)
{
    NitroMachineState *nms = NITRO_MACHINE(machine);
    const NitroImageParams params = {
        .kernel = machine->kernel_filename,
        .initrd = machine->initrd_filename,
        .cmdline = machine->kernel_cmdline,
        .arch = nitro_machine_eif_arch(),
        .policy = &nms->policy,
    };

    nms->image = nitro_image_open(&params, errp);
    return nms->image != NULL;
}

bool nitro_machine_load_image(MachineState *machine, Error **errp)
{
    ERRP_GUARD();

    if (!machine->kernel_filename) {
        if (qtest_enabled()) {
            return true;
        }
        error_setg(errp, "machine nitro needs an enclave image");
        error_append_hint(errp, "Use -kernel FILE with an enclave image (EIF) "
                          "or a Linux kernel.\n");
        return false;
    }
    if (!open_image(machine, errp) || !machine_image_load(machine, errp)) {
        return false;
    }
    nitro_machine_warn_memory(machine,
                              nitro_image_size(NITRO_MACHINE(machine)->image));
    return true;
}

bool nitro_machine_reload_image(MachineState *machine, Error **errp)
{
    ERRP_GUARD();
    bool ok;

    rcu_register_thread();
    ok = machine_image_load(machine, errp);
    rcu_unregister_thread();
    if (!ok) {
        error_prepend(errp, "cannot load the image again: ");
    }
    return ok;
}

/* Properties; the opaque pointer is a position in eif_pcr_index[] */

static void get_expect(Object *obj, Visitor *v, const char *name, void *opaque,
                       Error **errp)
{
    uintptr_t i = (uintptr_t)opaque;
    const NitroExpectedPcr *expect = &NITRO_MACHINE(obj)->policy.expect[i];
    g_autofree char *text = expect->given ? eif_pcr_str(expect->pcr)
                                          : g_strdup("");

    visit_type_str(v, name, &text, errp);
}

static void set_expect(Object *obj, Visitor *v, const char *name, void *opaque,
                       Error **errp)
{
    ERRP_GUARD();
    uintptr_t i = (uintptr_t)opaque;
    NitroExpectedPcr *expect = &NITRO_MACHINE(obj)->policy.expect[i];
    g_autofree char *text = NULL;

    if (!visit_type_str(v, name, &text, errp)) {
        return;
    }
    if (!eif_pcr_parse(text, expect->pcr, errp)) {
        error_prepend(errp, "%s: ", name);
        return;
    }
    expect->given = true;
}

static int get_signature(Object *obj, Error **errp)
{
    return NITRO_MACHINE(obj)->policy.signature;
}

static void set_signature(Object *obj, int value, Error **errp)
{
    NITRO_MACHINE(obj)->policy.signature = value;
}

static char *get_eif_out(Object *obj, Error **errp)
{
    return g_strdup(NITRO_MACHINE(obj)->policy.eif_out);
}

static void set_eif_out(Object *obj, const char *value, Error **errp)
{
    NitroImagePolicy *policy = &NITRO_MACHINE(obj)->policy;

    g_free(policy->eif_out);
    policy->eif_out = g_strdup(value);
}

static bool get_measure(Object *obj, Error **errp)
{
    return NITRO_MACHINE(obj)->policy.measure;
}

static void set_measure(Object *obj, bool value, Error **errp)
{
    NITRO_MACHINE(obj)->policy.measure = value;
}

static void add_expect(ObjectClass *oc, uintptr_t i)
{
    g_autofree char *name = g_strdup_printf("expect-pcr%u", eif_pcr_index[i]);
    g_autofree char *help = g_strdup_printf(
        "Refuse an image with another PCR%u; 96 hexadecimal digits",
        eif_pcr_index[i]);

    object_class_property_add(oc, name, "string", get_expect, set_expect,
                              NULL, (void *)i);
    object_class_property_set_description(oc, name, help);
}

void nitro_machine_add_image_properties(ObjectClass *oc)
{
    for (uintptr_t i = 0; i < EIF_NR_PCRS; i++) {
        add_expect(oc, i);
    }
    object_class_property_add_enum(oc, "signature", "NitroSignature",
                                   &NitroSignature_lookup, get_signature,
                                   set_signature);
    object_class_property_set_description(oc, "signature",
        "When the signature is not valid: nothing (off, does not look), warn, "
        "or refuse the image (check, default; require: also when unsigned)");
    object_class_property_add_str(oc, "eif-out", get_eif_out, set_eif_out);
    object_class_property_set_description(oc, "eif-out",
        "Write the image that is launched to this file");
    object_class_property_add_bool(oc, "measure", get_measure, set_measure);
    object_class_property_set_description(oc, "measure",
        "Compute the registers of the image, for query-nitro-enclave (default "
        "off: only when expect-pcrN or a signature needs them)");
}
