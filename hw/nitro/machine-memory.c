/*
 * Nitro Enclaves: memory of the machine
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The driver takes memory that consists of hugetlb pages only.  Everything it
 * would refuse with a bare number is found here before it is asked, and before
 * an allocation fails for lack of pages.
 */

#include "qemu/osdep.h"
#ifdef CONFIG_LINUX
#include <sys/vfs.h>
#include <linux/magic.h>
#endif
#include "machine-int.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/bitops.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "qom/object_interfaces.h"
#include "system/hostmem.h"
#include "system/nitro-hints.h"
#include "system/nitro-pool.h"
#include "system/numa.h"
#include "system/qtest.h"
#include "trace.h"

/* nitro-cli requires it: for the image, its unpacked copy, and the program */
#define NITRO_IMAGE_FACTOR 4

static uint64_t wanted_page_size(NitroMachineState *nitro)
{
    return nitro->page_size ?: nitro_hugepages_default(NITRO_SYSFS);
}

/* Pages of an enclave that just ended become free in a moment */
#define PAGES_WAIT_MS 2000
#define PAGES_POLL_MS 100

static bool wait_for_pages(uint64_t size, uint64_t page_size, Error **errp)
{
    g_autoptr(NitroPool) pool = nitro_pool_read(NITRO_SYSFS);
    int node = pool ? pool->node : -1;
    int waited_ms = 0;

    while (waited_ms < PAGES_WAIT_MS &&
           !nitro_hugepages_check(NITRO_SYSFS, size, page_size, node, NULL) &&
           nitro_hugepages_may_come(NITRO_SYSFS, size, page_size)) {
        trace_nitro_machine_huge_pages_wait(waited_ms);
        g_usleep(PAGES_POLL_MS * 1000);
        waited_ms += PAGES_POLL_MS;
    }
    return nitro_hugepages_check(NITRO_SYSFS, size, page_size, node, errp);
}

/*
 * For when the number of free pages is unknown, or the kernel would try to make
 * pages on demand: QEMU keeps a record of each page, which alone could take
 * minutes.
 */
static bool check_host_memory(uint64_t size, Error **errp)
{
    ERRP_GUARD();
    uint64_t host = qemu_get_host_physmem();
    g_autofree char *m = nitro_machine_size_str(size);
    g_autofree char *all = nitro_machine_size_str(ROUND_DOWN(host, MiB));

    if (host && size > host) {
        error_setg(errp, "-m %s is more than the memory of this host, %s", m,
                   all);
        error_append_hint(errp, "An enclave gets memory of the host: use less "
                          "of it, or a larger instance.\n");
        return false;
    }
    return true;
}

static bool check_host(uint64_t size, uint64_t page_size, Error **errp)
{
    return wait_for_pages(size, page_size, errp) &&
           check_host_memory(size, errp);
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

static bool check_whole_pages(uint64_t size, uint64_t page_size, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *m = nitro_machine_size_str(size);
    g_autofree char *page = nitro_machine_size_str(page_size);
    g_autofree char *better = NULL;

    if (size % page_size) {
        better = nitro_machine_size_str(ROUND_UP(size, page_size));
        error_setg(errp, "-m %s is not a multiple of page-size=%s", m, page);
        error_append_hint(errp, "Use -m %s, or smaller pages.\n", better);
        return false;
    }
    return true;
}

/* For a shortage of pages that was not found beforehand */
static void hint_pages(uint64_t size, uint64_t page_size, Error *const *errp)
{
    g_autofree char *m = nitro_machine_size_str(size);
    g_autofree char *page = nitro_machine_size_str(page_size);

    error_append_hint(errp, "-m %s needs %" PRIu64 " huge pages of %s: reserve "
                      "them in " NITRO_HINT_HUGE_PAGES ", and look at the "
                      "hugetlb limit of the cgroup and at ulimit -n.\n", m,
                      size / page_size, page);
}

static bool create_memfd(MachineState *machine, Error **errp)
{
    ERRP_GUARD();
    uint64_t page_size = wanted_page_size(NITRO_MACHINE(machine));
    g_autoptr(Object) obj = NULL;

    if (!check_whole_pages(machine->ram_size, page_size, errp) ||
        !check_host(machine->ram_size, page_size, errp)) {
        return false;
    }
    obj = object_new(TYPE_MEMORY_BACKEND_MEMFD);
    if (object_property_set_bool(obj, "hugetlb", true, errp) &&
        object_property_set_int(obj, "hugetlbsize", page_size, errp) &&
        create_backend(machine, obj, errp)) {
        return true;
    }
    hint_pages(machine->ram_size, page_size, errp);
    return false;
}

static bool create_file(MachineState *machine, const char *path, Error **errp)
{
    g_autoptr(Object) obj = NULL;
#ifdef CONFIG_LINUX
    struct statfs fs;

    if (!qtest_enabled() &&
        RETRY_ON_EINTR(statfs(path, &fs)) == 0 &&
        fs.f_type == HUGETLBFS_MAGIC &&
        !check_host(machine->ram_size, fs.f_bsize, errp)) {
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

    if (page_size % NITRO_MEMORY_GRANULE) {
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
        error_append_hint(errp, "Use -m %s, and the same for size= if the "
                          "backend has it.\n", better);
        return false;
    }
    return true;
}

/* Has the backend pages of the size that page-size= asks for? */
static bool check_wanted_pages(MachineState *machine, Error **errp)
{
    ERRP_GUARD();
    HostMemoryBackend *memdev = machine->memdev;
    uint64_t wanted = NITRO_MACHINE(machine)->page_size;
    uint64_t page_size = host_memory_backend_pagesize(memdev);
    g_autofree char *wanted_str = nitro_machine_size_str(wanted);
    g_autofree char *page = nitro_machine_size_str(page_size);

    if (wanted && wanted != page_size) {
        error_setg(errp, "memory backend '%s' has pages of %s, not of "
                   "page-size=%s",
                   object_get_canonical_path_component(OBJECT(memdev)), page,
                   wanted_str);
        error_append_hint(errp, "Leave out page-size= or the backend.\n");
        return false;
    }
    return true;
}

/*
 * The image is written to the memory, and what was donated must stay where it
 * is: the kernel replaces a page of a private mapping when it is written to.
 */
static bool check_mapping(HostMemoryBackend *memdev, Error **errp)
{
    ERRP_GUARD();
    Object *obj = OBJECT(memdev);
    const char *id = object_get_canonical_path_component(obj);
    bool file = object_dynamic_cast(obj, TYPE_MEMORY_BACKEND_FILE);
    bool memfd = object_dynamic_cast(obj, TYPE_MEMORY_BACKEND_MEMFD);

    if (file && object_property_get_bool(obj, "readonly", &error_abort)) {
        error_setg(errp, "memory backend '%s' is read-only", id);
        error_append_hint(errp, "Use readonly=off.\n");
        return false;
    }
    if ((file || memfd) && !memdev->share) {
        error_setg(errp, "memory backend '%s' is a private mapping of a file, "
                   "so an enclave may get stale pages", id);
        error_append_hint(errp, "Use share=on (libvirt: "
                          "<access mode='shared'/>).\n");
        return false;
    }
    return true;
}

static bool check_nodes(HostMemoryBackend *memdev, Error **errp)
{
    g_autoptr(NitroPool) pool = nitro_pool_read(NITRO_SYSFS);
    const char *id = object_get_canonical_path_component(OBJECT(memdev));
    unsigned long node = find_first_bit(memdev->host_nodes, MAX_NODES);

    while (node < MAX_NODES) {
        if (!nitro_pool_check_node(pool, node, id, errp)) {
            return false;
        }
        node = find_next_bit(memdev->host_nodes, MAX_NODES, node + 1);
    }
    return true;
}

/* Neither a core dump nor KSM may read what belongs to an enclave */
static bool memory_hide(HostMemoryBackend *memdev, Error **errp)
{
    return object_property_set_bool(OBJECT(memdev), "dump", false, errp) &&
           object_property_set_bool(OBJECT(memdev), "merge", false, errp);
}

bool nitro_machine_check_memory(MachineState *machine, Error **errp)
{
    HostMemoryBackend *memdev = machine->memdev;

    return check_size(machine, errp) && check_mapping(memdev, errp) &&
           check_nodes(memdev, errp) &&
           (qtest_enabled() || (check_page_size(machine, errp) &&
                                check_wanted_pages(machine, errp))) &&
           memory_hide(memdev, errp);
}

void nitro_machine_warn_memory(MachineState *machine, uint64_t image_size)
{
    uint64_t size = machine->ram_size;
    g_autofree char *m = nitro_machine_size_str(size);
    g_autofree char *better = NULL;

    if (image_size > size / NITRO_IMAGE_FACTOR) {
        better = nitro_machine_size_str(ROUND_UP(image_size *
                                                 NITRO_IMAGE_FACTOR,
                                                 NITRO_MEMORY_GRANULE));
        warn_report("-m %s is less than 4 times the image's %" PRIu64 " bytes: "
                    "it may be too little to boot, nitro-cli would ask for "
                    "-m %s", m, image_size, better);
    }
}

/* Property page-size */

static void get_page_size(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    uint64_t size = wanted_page_size(NITRO_MACHINE(obj));

    visit_type_size(v, name, &size, errp);
}

static void set_page_size(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *text = NULL;
    g_autofree char *sizes = NULL;
    uint64_t size;

    if (!visit_type_size(v, name, &size, errp)) {
        return;
    }
    if (size < NITRO_MEMORY_GRANULE || !is_power_of_2(size)) {
        text = nitro_machine_size_str(size);
        error_setg(errp, "page-size=%s is not a size of huge pages that an "
                   "enclave can use", text);
        sizes = nitro_hugepages_sizes(NITRO_SYSFS, " or page-size=");
        error_append_hint(errp, "The driver takes pages of 2 MiB and more.  "
                          "Use page-size=%s.\n", *sizes ? sizes : "2M");
        return;
    }
    NITRO_MACHINE(obj)->page_size = size;
}

void nitro_machine_add_memory_properties(ObjectClass *oc)
{
    object_class_property_add(oc, "page-size", "size", get_page_size,
                              set_page_size, NULL, NULL);
    object_class_property_set_description(oc, "page-size",
        "Size of the huge pages of the memory that the machine makes, 2M or "
        "more (default: the smallest of these that the kernel has)");
}
