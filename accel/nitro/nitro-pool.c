/*
 * Nitro Enclaves: the parent's CPU pool, as sysfs shows it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * CPUs of the pool are offline, so sysfs has no topology for them, only their
 * node.  The threads per core are taken from CPU 0, which the driver never
 * takes.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "system/nitro-hints.h"
#include "system/nitro-pool.h"

#define POOL_FILE "module/nitro_enclaves/parameters/ne_cpus"
#define ONLINE_FILE "devices/system/cpu/online"
#define SIBLINGS_FILE "devices/system/cpu/cpu%u/topology/thread_siblings_list"
#define NODES_FILE "devices/system/node/possible"

/* Lists of numbers */

static bool add_number(GArray *list, unsigned number)
{
    uint32_t value = number;

    for (guint i = 0; i < list->len; i++) {
        if (g_array_index(list, uint32_t, i) == value) {
            return false;
        }
    }
    g_array_append_val(list, value);
    return true;
}

static GArray *new_list(void)
{
    return g_array_new(false, false, sizeof(uint32_t));
}

/* "N" or "N-M"; @end is where the text goes on */
static bool parse_range(const char *text, const char **end, unsigned *first,
                        unsigned *last)
{
    if (!g_ascii_isdigit(*text) || qemu_strtoui(text, end, 10, first)) {
        return false;
    }
    *last = *first;
    if (**end == '-') {
        text = *end + 1;
        if (!g_ascii_isdigit(*text) || qemu_strtoui(text, end, 10, last)) {
            return false;
        }
    }
    return *first <= *last && *last <= NITRO_CPU_LAST;
}

/* ":USED/GROUP" of the kernel's lists: the first USED of every GROUP */
static bool parse_group(const char **text, unsigned *used, unsigned *group)
{
    *used = *group = 1;
    if (**text != ':') {
        return true;
    }
    return qemu_strtoui(*text + 1, text, 10, used) == 0 && **text == '/' &&
           qemu_strtoui(*text + 1, text, 10, group) == 0 &&
           *used > 0 && *used <= *group;
}

static bool parse_kernel_entry(const char *text, GArray *list)
{
    unsigned first, last, used, group;

    if (!parse_range(text, &text, &first, &last) ||
        !parse_group(&text, &used, &group) || *text) {
        return false;
    }
    for (unsigned i = first; i <= last; i++) {
        if ((i - first) % group < used) {
            add_number(list, i);
        }
    }
    return true;
}

static int pool_compare_cpus(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return left < right ? -1 : left > right;
}

/* Ascending numbers, or NULL when there is no such file or list */
static GArray *read_kernel_list(const char *sysfs, const char *name)
{
    g_autofree char *path = g_build_filename(sysfs, name, NULL);
    g_autofree char *text = NULL;
    g_autoptr(GArray) list = new_list();
    g_auto(GStrv) entries = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return NULL;
    }
    entries = g_strsplit_set(text, ", \t\n", -1);
    for (char **entry = entries; *entry; entry++) {
        if (**entry && !parse_kernel_entry(*entry, list)) {
            return NULL;
        }
    }
    g_array_sort(list, pool_compare_cpus);
    return g_steal_pointer(&list);
}

char *nitro_cpus_str(const GArray *cpus, char separator)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < cpus->len; i++) {
        uint32_t first = g_array_index(cpus, uint32_t, i);
        uint32_t last = first;

        while (i + 1 < cpus->len &&
               g_array_index(cpus, uint32_t, i + 1) == last + 1) {
            last++;
            i++;
        }
        if (text->len) {
            g_string_append_c(text, separator);
        }
        g_string_append_printf(text, "%u", first);
        if (last > first) {
            g_string_append_printf(text, "-%u", last);
        }
    }
    return g_string_free(text, false);
}

/* The pool */

static GArray *read_siblings(const char *sysfs, unsigned cpu)
{
    g_autofree char *name = g_strdup_printf(SIBLINGS_FILE, cpu);

    return read_kernel_list(sysfs, name);
}

static uint32_t thread_of_core(const NitroPool *pool, uint32_t cpu, unsigned i)
{
    uint32_t group = pool->threads * pool->step;

    return cpu / group * group + cpu % pool->step + i * pool->step;
}

static bool numbered_as_cpu0(const NitroPool *pool, uint32_t cpu,
                             const GArray *siblings)
{
    bool same = siblings->len == pool->threads;

    for (guint i = 0; same && i < siblings->len; i++) {
        same = g_array_index(siblings, uint32_t, i) ==
               thread_of_core(pool, cpu, i);
    }
    return same;
}

/*
 * CPUs that are online show how the threads of a core are numbered.  When all
 * of them are numbered like CPU 0's, so are the CPUs of the pool.
 */
static unsigned read_step(const char *sysfs, const NitroPool *pool,
                          const GArray *cpu0)
{
    g_autoptr(GArray) online = read_kernel_list(sysfs, ONLINE_FILE);
    NitroPool guess = *pool;

    guess.step = pool->threads > 1 ? g_array_index(cpu0, uint32_t, 1) : 1;
    for (guint i = 0; online && i < online->len; i++) {
        uint32_t cpu = g_array_index(online, uint32_t, i);
        g_autoptr(GArray) siblings = read_siblings(sysfs, cpu);

        if (!siblings || !numbered_as_cpu0(&guess, cpu, siblings)) {
            return 0;
        }
    }
    return online && online->len ? guess.step : 0;
}

static void read_cores(const char *sysfs, NitroPool *pool)
{
    g_autoptr(GArray) cpu0 = read_siblings(sysfs, 0);

    if (cpu0 && cpu0->len) {
        pool->threads = cpu0->len;
        pool->step = read_step(sysfs, pool, cpu0);
    }
}

/* An offline CPU keeps its link to its node */
static int read_node(const char *sysfs, unsigned cpu)
{
    g_autoptr(GArray) nodes = read_kernel_list(sysfs, NODES_FILE);

    for (guint i = 0; nodes && i < nodes->len; i++) {
        uint32_t node = g_array_index(nodes, uint32_t, i);
        g_autofree char *name =
            g_strdup_printf("devices/system/cpu/cpu%u/node%u/cpulist", cpu,
                            node);
        g_autoptr(GArray) cpus = read_kernel_list(sysfs, name);

        if (cpus) {
            return node;
        }
    }
    return -1;
}

NitroPool *nitro_pool_read(const char *sysfs)
{
    GArray *cpus = read_kernel_list(sysfs, POOL_FILE);
    NitroPool *pool;

    if (!cpus) {
        return NULL;
    }
    pool = g_new0(NitroPool, 1);
    pool->cpus = cpus;
    read_cores(sysfs, pool);
    pool->node = cpus->len ? read_node(sysfs, g_array_index(cpus, uint32_t, 0))
                           : -1;
    return pool;
}

void nitro_pool_free(NitroPool *pool)
{
    if (pool) {
        g_array_unref(pool->cpus);
        g_free(pool);
    }
}

unsigned nitro_pool_default_vcpus(const NitroPool *pool)
{
    return pool && pool->cpus->len ? pool->threads : 0;
}

/* What the user wants */

static bool parse_wanted(const char *text, GArray *cpus, Error **errp)
{
    ERRP_GUARD();
    g_auto(GStrv) entries = g_strsplit(text, ":", -1);

    for (int i = 0; i == 0 || entries[i]; i++) {
        const char *end = "?";
        unsigned first, last;

        if (!entries[i] || !parse_range(entries[i], &end, &first, &last) ||
            *end) {
            error_setg(errp, "cpus=%s is not a list of CPU numbers", text);
            error_append_hint(errp, "Use numbers and ranges, separated by "
                              "colons: cpus=2:6, cpus=2-3:6-7.\n");
            return false;
        }
        for (unsigned cpu = first; cpu <= last; cpu++) {
            if (!add_number(cpus, cpu)) {
                error_setg(errp, "cpus=%s names CPU %u twice", text, cpu);
                error_append_hint(errp, "Name each CPU once.\n");
                return false;
            }
        }
    }
    return true;
}

GArray *nitro_cpus_parse(const char *text, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GArray) cpus = new_list();

    if (!parse_wanted(text, cpus, errp)) {
        return NULL;
    }
    for (guint i = 0; i < cpus->len; i++) {
        if (g_array_index(cpus, uint32_t, i) == 0) {
            error_setg(errp, "cpus=%s names CPU 0, which always stays with "
                       "the parent", text);
            error_append_hint(errp, "Pick CPUs of " NITRO_SYSFS "/" POOL_FILE
                              ".\n");
            return NULL;
        }
    }
    return g_steal_pointer(&cpus);
}

static bool check_size(const NitroPool *pool, unsigned vcpus, Error **errp)
{
    ERRP_GUARD();
    g_autofree char *list = nitro_cpus_str(pool->cpus, ',');
    unsigned size = pool->cpus->len;

    if (size == 0) {
        error_setg(errp, "%u vCPUs requested, the enclave CPU pool is empty",
                   vcpus);
        error_append_hint(errp, "Set cpu_count in " NITRO_HINT_ALLOCATOR ".\n");
        return false;
    }
    if (vcpus > size) {
        error_setg(errp, "%u vCPUs requested, the enclave CPU pool holds %u "
                   "(CPUs %s)", vcpus, size, list);
        error_append_hint(errp, "Use -smp %u, or raise cpu_count in "
                          NITRO_HINT_ALLOCATOR ".\n", size);
        return false;
    }
    return true;
}

static bool check_cores(const NitroPool *pool, unsigned vcpus, Error **errp)
{
    ERRP_GUARD();
    unsigned threads = pool->threads;
    unsigned more = ROUND_UP(vcpus, MAX(threads, 1));
    unsigned less = more - threads;

    if (threads < 2 || vcpus % threads == 0) {
        return true;
    }
    error_setg(errp, "-smp %u is not a whole number of cores (%u threads per "
               "core)", vcpus, threads);
    if (less == 0) {
        error_append_hint(errp, "Use -smp %u.\n", more);
    } else if (more > pool->cpus->len) {
        error_append_hint(errp, "Use -smp %u.\n", less);
    } else {
        error_append_hint(errp, "Use -smp %u or -smp %u.\n", less, more);
    }
    return false;
}

static bool pool_has_cpu(const GArray *cpus, uint32_t cpu)
{
    for (guint i = 0; i < cpus->len; i++) {
        if (g_array_index(cpus, uint32_t, i) == cpu) {
            return true;
        }
    }
    return false;
}

static bool check_members(const NitroPool *pool, const GArray *cpus,
                          Error **errp)
{
    ERRP_GUARD();

    for (guint i = 0; i < cpus->len; i++) {
        uint32_t cpu = g_array_index(cpus, uint32_t, i);

        if (!pool_has_cpu(pool->cpus, cpu)) {
            g_autofree char *list = nitro_cpus_str(pool->cpus, ',');

            error_setg(errp, "CPU %u is not in the enclave CPU pool (CPUs %s)",
                       cpu, list);
            error_append_hint(errp, "Pick CPUs of the pool, or add it to "
                              "cpu_pool in " NITRO_HINT_ALLOCATOR ".\n");
            return false;
        }
    }
    return true;
}

/* As many CPUs in whole cores, those first that were named first */
static char *whole_cores(const NitroPool *pool, const GArray *cpus)
{
    g_autoptr(GArray) whole = new_list();

    for (guint i = 0; whole->len < cpus->len; i++) {
        uint32_t cpu = g_array_index(cpus, uint32_t, i);

        for (unsigned thread = 0; thread < pool->threads; thread++) {
            add_number(whole, thread_of_core(pool, cpu, thread));
        }
    }
    return nitro_cpus_str(whole, ':');
}

static bool check_whole_cores(const NitroPool *pool, const GArray *cpus,
                              Error **errp)
{
    ERRP_GUARD();

    for (guint i = 0; pool->step && i < cpus->len; i++) {
        uint32_t cpu = g_array_index(cpus, uint32_t, i);

        for (unsigned thread = 0; thread < pool->threads; thread++) {
            uint32_t sibling = thread_of_core(pool, cpu, thread);

            if (!pool_has_cpu(cpus, sibling)) {
                g_autofree char *whole = whole_cores(pool, cpus);

                error_setg(errp, "cpus= names CPU %u, but not CPU %u of the "
                           "same core (%u threads per core)", cpu, sibling,
                           pool->threads);
                error_append_hint(errp, "Name whole cores, e.g. cpus=%s.\n",
                                  whole);
                return false;
            }
        }
    }
    return true;
}

bool nitro_pool_check(const NitroPool *pool, const GArray *cpus,
                      unsigned vcpus, Error **errp)
{
    ERRP_GUARD();

    if (cpus && cpus->len && cpus->len != vcpus) {
        error_setg(errp, "cpus= names %u CPUs for %u vCPUs", cpus->len, vcpus);
        error_append_hint(errp, "Use -smp %u, or name %u CPUs.\n", cpus->len,
                          vcpus);
        return false;
    }
    if (!pool) {
        return true;
    }
    return check_size(pool, vcpus, errp) && check_cores(pool, vcpus, errp) &&
           (!cpus || (check_members(pool, cpus, errp) &&
                      check_whole_cores(pool, cpus, errp)));
}

bool nitro_pool_check_node(const NitroPool *pool, unsigned node,
                           const char *id, Error **errp)
{
    ERRP_GUARD();

    if (!pool || pool->node < 0 || node == pool->node) {
        return true;
    }
    error_setg(errp, "memory backend '%s' uses NUMA node %u, the enclave CPU "
               "pool is on node %d", id, node, pool->node);
    error_append_hint(errp, "Use host-nodes=%d,policy=bind.\n", pool->node);
    return false;
}
