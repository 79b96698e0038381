/*
 * Nitro Enclaves: memory of the machine
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver takes memory that consists of hugetlb pages only.  Everything it
 * would refuse with a bare number is found here before it is asked, and before
 * an allocation fails for want of pages.
 */

#include "qemu/osdep.h"
#ifdef CONFIG_LINUX
#include <sys/vfs.h>
#include <linux/magic.h>
#endif
#include "machine-int.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "qom/object_interfaces.h"
#include "system/hostmem.h"
#include "system/qtest.h"
#include "trace.h"

#define NITRO_PAGE_SIZE (2 * MiB)

char *nitro_machine_size_str(uint64_t size)
{
    if (size >= GiB && size % GiB == 0) {
        return g_strdup_printf("%" PRIu64 "G", size / GiB);
    }
    if (size >= MiB && size % MiB == 0) {
        return g_strdup_printf("%" PRIu64 "M", size / MiB);
    }
    return g_strdup_printf("%" PRIu64 "K", size / KiB);
}

/* Huge pages of the host */

static bool hugepage_counter(uint64_t page_size, const char *name,
                             uint64_t *value)
{
    g_autofree char *path =
        g_strdup_printf("/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/%s",
                        page_size / KiB, name);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) &&
           qemu_strtou64(g_strchomp(text), NULL, 10, value) == 0;
}

/* Where the number of pages of this size is set */
static char *hugepage_knob(uint64_t page_size)
{
    g_autofree char *meminfo = NULL;

    if (g_file_get_contents("/proc/meminfo", &meminfo, NULL, NULL)) {
        const char *found = strstr(meminfo, "\nHugepagesize:");
        uint64_t kib;

        if (found &&
            qemu_strtou64(found + strlen("\nHugepagesize:"), &found, 10,
                          &kib) == 0 && kib == page_size / KiB) {
            return g_strdup("/proc/sys/vm/nr_hugepages");
        }
    }
    return g_strdup_printf("/sys/kernel/mm/hugepages/hugepages-%" PRIu64
                           "kB/nr_hugepages", page_size / KiB);
}

/* Pages that can be had now; false when the host does not tell */
static bool hugepages_available(uint64_t page_size, uint64_t *available)
{
    uint64_t nr_free, reserved, overcommit, surplus;

    if (!hugepage_counter(page_size, "free_hugepages", &nr_free) ||
        !hugepage_counter(page_size, "resv_hugepages", &reserved)) {
        return false;
    }
    if (!hugepage_counter(page_size, "nr_overcommit_hugepages", &overcommit) ||
        !hugepage_counter(page_size, "surplus_hugepages", &surplus)) {
        overcommit = surplus = 0;
    }
    *available = nr_free - MIN(reserved, nr_free) +
                 overcommit - MIN(surplus, overcommit);
    return true;
}

static bool check_hugepages(uint64_t size, uint64_t page_size, Error **errp)
{
    ERRP_GUARD();
    uint64_t needed = DIV_ROUND_UP(size, page_size);
    uint64_t available, total = 0;
    g_autofree char *m = nitro_machine_size_str(size);
    g_autofree char *page = nitro_machine_size_str(page_size);
    g_autofree char *knob = NULL;

    if (!hugepages_available(page_size, &available)) {
        return true;
    }
    trace_nitro_machine_huge_pages(needed, available);
    if (needed <= available) {
        return true;
    }

    hugepage_counter(page_size, "nr_hugepages", &total);
    knob = hugepage_knob(page_size);
    error_setg(errp, "-m %s needs %" PRIu64 " huge pages of %s, %" PRIu64
               " are free", m, needed, page, available);
    error_append_hint(errp, "echo %" PRIu64 " > %s\n",
                      total + needed - available, knob);
    return false;
}

/* Backends */

static bool create_backend(MachineState *machine, Object *obj, Error **errp)
{
    MachineClass *mc = MACHINE_GET_CLASS(machine);

    trace_nitro_machine_memdev(object_get_typename(obj), machine->ram_size);
    if (!object_property_set_int(obj, "size", machine->ram_size, errp)) {
        return false;
    }
    object_property_add_child(object_get_objects_root(), mc->default_ram_id,
                              obj);
    /* Makes the memory region's name equal to the default id, too */
    return object_property_set_bool(obj, "x-use-canonical-path-for-ramblock-id",
                                    false, errp) &&
           user_creatable_complete(USER_CREATABLE(obj), errp) &&
           object_property_set_link(OBJECT(machine), "memory-backend", obj,
                                    errp);
}

static bool create_memfd(MachineState *machine, Error **errp)
{
    g_autoptr(Object) obj = NULL;

    if (!check_hugepages(machine->ram_size, NITRO_PAGE_SIZE, errp)) {
        return false;
    }
    obj = object_new(TYPE_MEMORY_BACKEND_MEMFD);
    return object_property_set_bool(obj, "hugetlb", true, errp) &&
           object_property_set_int(obj, "hugetlbsize", NITRO_PAGE_SIZE, errp) &&
           create_backend(machine, obj, errp);
}

static bool create_file(MachineState *machine, const char *path, Error **errp)
{
    g_autoptr(Object) obj = NULL;
#ifdef CONFIG_LINUX
    struct statfs fs;

    if (!qtest_enabled() &&
        RETRY_ON_EINTR(statfs(path, &fs)) == 0 &&
        fs.f_type == HUGETLBFS_MAGIC &&
        !check_hugepages(machine->ram_size, fs.f_bsize, errp)) {
        return false;
    }
#endif

    obj = object_new(TYPE_MEMORY_BACKEND_FILE);
    return object_property_set_str(obj, "mem-path", path, errp) &&
           object_property_set_bool(obj, "share", true, errp) &&
           create_backend(machine, obj, errp);
}

static bool create_ram(MachineState *machine, Error **errp)
{
    g_autoptr(Object) obj = object_new(TYPE_MEMORY_BACKEND_RAM);

    return create_backend(machine, obj, errp);
}

static bool check_size(MachineState *machine, Error **errp)
{
    ERRP_GUARD();
    uint64_t size = machine->ram_size;
    g_autofree char *m = nitro_machine_size_str(size);
    g_autofree char *better = NULL;

    if (size < NITRO_MEMORY_MIN) {
        error_setg(errp, "-m %s is too little, an enclave needs at least "
                   "64 MiB", m);
        error_append_hint(errp, "Use -m 64M or more.\n");
        return false;
    }
    if (size % NITRO_MEMORY_GRANULE) {
        better = nitro_machine_size_str(ROUND_UP(size, NITRO_MEMORY_GRANULE));
        error_setg(errp, "-m %s is not a multiple of 2 MiB", m);
        error_append_hint(errp, "Use -m %s.\n", better);
        return false;
    }
    return true;
}

bool nitro_machine_create_memdev(MachineState *machine, const char *path,
                                 Error **errp)
{
    if (!check_size(machine, errp)) {
        return false;
    }
    if (path) {
        return create_file(machine, path, errp);
    }
    return qtest_enabled() ? create_ram(machine, errp)
                           : create_memfd(machine, errp);
}

static bool check_page_size(MachineState *machine, Error **errp)
{
    ERRP_GUARD();
    HostMemoryBackend *memdev = machine->memdev;
    const char *id = object_get_canonical_path_component(OBJECT(memdev));
    uint64_t page_size = host_memory_backend_pagesize(memdev);
    g_autofree char *page = nitro_machine_size_str(page_size);
    g_autofree char *m = nitro_machine_size_str(machine->ram_size);
    g_autofree char *better = NULL;

    if (page_size % NITRO_PAGE_SIZE) {
        error_setg(errp, "memory backend '%s' has pages of %s, an enclave "
                   "needs huge pages of 2M or more", id, page);
        error_append_hint(errp,
            "Transparent huge pages will not do.  Use memory-backend-memfd "
            "with hugetlb=on,\na file on hugetlbfs, or leave out the backend "
            "and -mem-path.\n");
        return false;
    }
    if (machine->ram_size % page_size) {
        better = nitro_machine_size_str(ROUND_UP(machine->ram_size,
                                                 page_size));
        error_setg(errp, "-m %s is not a multiple of the page size of memory "
                   "backend '%s', %s", m, id, page);
        error_append_hint(errp, "Use -m %s, and the same size= of the backend "
                          "if it is given.\n", better);
        return false;
    }
    return true;
}

bool nitro_machine_check_memory(MachineState *machine, Error **errp)
{
    return check_size(machine, errp) &&
           (qtest_enabled() || check_page_size(machine, errp));
}
