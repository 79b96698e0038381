/*
 * Nitro Enclaves: huge pages of the host
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The kernel counts its pages of one size: all that exist, the free ones, how
 * many of the free ones are promised to somebody, and how many it may make
 * beyond the pool.  Per NUMA node it has only the first two.
 */

#include "qemu/osdep.h"
#include "hw/nitro/limits.h"
#include "machine-hugepages.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "system/nitro-hints.h"
#include "system/numa.h"
#include "trace.h"

#define ALL_NODES "kernel/mm"
#define NODE "devices/system/node/node%d"

/* Sizes of huge pages that any kernel has are in between; powers of 2 */
#define SMALLEST (64 * KiB)
#define LARGEST (16 * GiB)

/* Pages of one size, of all nodes or of one */
typedef struct HugePages {
    uint64_t total;
    uint64_t unused;
    uint64_t promised;
    uint64_t extra;             /* may be made when they are asked for */
} HugePages;

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

static char *counter_path(const char *sysfs, const char *where,
                          uint64_t page_size, const char *name)
{
    return g_strdup_printf("%s/%s/hugepages/hugepages-%" PRIu64 "kB/%s", sysfs,
                           where, page_size / KiB, name);
}

static bool counter(const char *sysfs, const char *where, uint64_t page_size,
                    const char *name, uint64_t *value)
{
    g_autofree char *path = counter_path(sysfs, where, page_size, name);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) &&
           qemu_strtou64(g_strchomp(text), NULL, 10, value) == 0;
}

static bool read_pages(const char *sysfs, const char *where,
                       uint64_t page_size, HugePages *pages)
{
    uint64_t overcommit, surplus;

    *pages = (HugePages) { };
    if (!counter(sysfs, where, page_size, "nr_hugepages", &pages->total) ||
        !counter(sysfs, where, page_size, "free_hugepages", &pages->unused)) {
        return false;
    }
    counter(sysfs, where, page_size, "resv_hugepages", &pages->promised);
    if (counter(sysfs, where, page_size, "nr_overcommit_hugepages",
                &overcommit) &&
        counter(sysfs, where, page_size, "surplus_hugepages", &surplus)) {
        pages->extra = overcommit - MIN(surplus, overcommit);
    }
    return true;
}

/* Sizes the kernel has, from this one on; empty when it does not say */
static char *sizes(const char *sysfs, uint64_t least, const char *separator)
{
    GString *text = g_string_new(NULL);

    for (uint64_t size = least; size <= LARGEST; size *= 2) {
        g_autofree char *page = nitro_machine_size_str(size);
        HugePages pages;

        if (read_pages(sysfs, ALL_NODES, size, &pages)) {
            g_string_append_printf(text, "%s%s", text->len ? separator : "",
                                   page);
        }
    }
    return g_string_free(text, false);
}

uint64_t nitro_hugepages_default(const char *sysfs)
{
    for (uint64_t size = NITRO_MEMORY_GRANULE; size <= LARGEST; size *= 2) {
        uint64_t count;

        if (counter(sysfs, ALL_NODES, size, "nr_hugepages", &count)) {
            return size;
        }
    }
    return NITRO_MEMORY_GRANULE;
}

char *nitro_hugepages_sizes(const char *sysfs, const char *separator)
{
    return sizes(sysfs, NITRO_MEMORY_GRANULE, separator);
}

static uint64_t available(const HugePages *pages)
{
    return pages->unused - MIN(pages->promised, pages->unused) + pages->extra;
}

/* Where the number of pages of this size is set, for all nodes */
static char *knob(uint64_t page_size)
{
    g_autofree char *meminfo = NULL;

    if (g_file_get_contents("/proc/meminfo", &meminfo, NULL, NULL)) {
        const char *found = strstr(meminfo, "\nHugepagesize:");
        uint64_t kib;

        if (found &&
            qemu_strtou64(found + strlen("\nHugepagesize:"), &found, 10,
                          &kib) == 0 && kib == page_size / KiB) {
            return g_strdup(NITRO_HINT_HUGE_PAGES);
        }
    }
    return counter_path("/sys", ALL_NODES, page_size, "nr_hugepages");
}

static void hint_reserve(uint64_t pages, const char *file, Error **errp)
{
    error_append_hint(errp, "echo %" PRIu64 " > %s\n", pages, file);
}

/* Pages of another size, of which there are enough, might do instead */
static void hint_other_size(const char *sysfs, uint64_t size, Error **errp)
{
    for (uint64_t other = NITRO_MEMORY_GRANULE; other <= LARGEST; other *= 2) {
        g_autofree char *page = nitro_machine_size_str(other);
        HugePages pages;

        if (size % other == 0 && read_pages(sysfs, ALL_NODES, other, &pages) &&
            size / other <= available(&pages)) {
            error_append_hint(errp, "Or use -M nitro,page-size=%s: %" PRIu64
                              " pages of that size are free.\n", page,
                              available(&pages));
        }
    }
}

/* What there is of each size, on each node when there are several */
static void hint_inventory(const char *sysfs, Error **errp)
{
    for (uint64_t size = NITRO_MEMORY_GRANULE; size <= LARGEST; size *= 2) {
        g_autofree char *page = nitro_machine_size_str(size);
        g_autoptr(GString) nodes = g_string_new(NULL);
        HugePages all;
        int node = 0;

        if (!read_pages(sysfs, ALL_NODES, size, &all)) {
            continue;
        }
        for (; node < MAX_NODES; node++) {
            g_autofree char *where = g_strdup_printf(NODE, node);
            HugePages here;

            if (read_pages(sysfs, where, size, &here)) {
                g_string_append_printf(nodes, ", node %d: %" PRIu64 " of %"
                                       PRIu64, node, here.unused, here.total);
            }
        }
        error_append_hint(errp, "Free pages of %s: %" PRIu64 " of %" PRIu64
                          "%s.\n", page, available(&all), all.total,
                          nodes->str);
    }
}

/* The sizes are looked at only now that there is something wrong */
static bool refuse_size(const char *sysfs, uint64_t page_size, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *page = nitro_machine_size_str(page_size);
    g_autofree char *known = sizes(sysfs, SMALLEST, ", ");
    g_autofree char *usable = sizes(sysfs, NITRO_MEMORY_GRANULE, ", ");

    if (!*known) {
        return true;
    }
    error_setg(errp, "the kernel has no huge pages of %s, only of %s",
               page, known);
    if (*usable) {
        error_append_hint(errp, "Use -M nitro,page-size= with one of: %s.\n",
                          usable);
    }
    error_append_hint(errp, "Or boot the kernel with hugepagesz=%s, if the "
                      "CPU has pages of that size.\n", page);
    return false;
}

static bool check_all(const char *sysfs, uint64_t size, uint64_t page_size,
                      const HugePages *pages, Error **errp)
{
    ERRP_GUARD();
    uint64_t needed = DIV_ROUND_UP(size, page_size);
    g_autofree char *m = nitro_machine_size_str(size);
    g_autofree char *page = nitro_machine_size_str(page_size);
    g_autofree char *file = NULL;

    trace_nitro_machine_huge_pages(needed, available(pages));
    if (needed <= available(pages)) {
        return true;
    }
    file = knob(page_size);
    error_setg(errp, "-m %s needs %" PRIu64 " huge pages of %s, %" PRIu64
               " are free (%" PRIu64 " in all, %" PRIu64 " in use, %" PRIu64
               " reserved by others)", m, needed, page, available(pages),
               pages->total, pages->total - MIN(pages->unused, pages->total),
               pages->promised);
    hint_reserve(pages->total + needed - available(pages), file, errp);
    hint_other_size(sysfs, size, errp);
    hint_inventory(sysfs, errp);
    return false;
}

static bool check_node(const char *sysfs, uint64_t size, uint64_t page_size,
                       const HugePages *all, int node, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *where = g_strdup_printf(NODE, node);
    g_autofree char *m = nitro_machine_size_str(size);
    g_autofree char *page = nitro_machine_size_str(page_size);
    g_autofree char *file = counter_path("/sys", where, page_size,
                                         "nr_hugepages");
    uint64_t needed = DIV_ROUND_UP(size, page_size);
    HugePages here;

    if (!read_pages(sysfs, where, page_size, &here) ||
        needed <= here.unused + all->extra) {
        return true;
    }
    error_setg(errp, "-m %s needs %" PRIu64 " huge pages of %s on NUMA node "
               "%d, where the enclave CPU pool is: %" PRIu64 " are free there, "
               "%" PRIu64 " in all", m, needed, page, node, here.unused,
               all->unused);
    hint_reserve(here.total + needed - here.unused, file, errp);
    hint_inventory(sysfs, errp);
    return false;
}

bool nitro_hugepages_check(const char *sysfs, uint64_t size,
                           uint64_t page_size, int node, Error **errp)
{
    HugePages all;

    if (!read_pages(sysfs, ALL_NODES, page_size, &all)) {
        return refuse_size(sysfs, page_size, errp);
    }
    return check_all(sysfs, size, page_size, &all, errp) &&
           (node < 0 ||
            check_node(sysfs, size, page_size, &all, node, errp));
}

bool nitro_hugepages_may_come(const char *sysfs, uint64_t size,
                              uint64_t page_size)
{
    HugePages all;

    return read_pages(sysfs, ALL_NODES, page_size, &all) &&
           DIV_ROUND_UP(size, page_size) <= all.total + all.extra;
}
