/*
 * A model of the Nitro Enclaves driver, for tests
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Rules of the kernel that it follows, in the kernel's order:
 *
 *  all       an unknown request, or one on the wrong descriptor: ENOTTY
 *  CREATE    no core left in the pool: 272; then a slot and a descriptor that
 *            polls as hung up once the enclave ended, never as anything else
 *  ADD_VCPU  not before START: 270; a number beyond the pool's: 271; number 0
 *            takes the open core's next thread, else the next core of the
 *            pool, else 272; another number twice: 256; not in the pool: 257;
 *            another process than the creator: EIO, the core stays taken
 *  LOAD_INFO after START: 270; flags other than 1: 274; the offset is 8 MiB
 *  MEMORY    flags: 274; after START: 270; another process: EIO; size no
 *            multiple of 2 MiB: 259; address: 261; range that wraps: 260;
 *            overlap: 262; size 0: ENOMEM; ordinary pages: 263, if asked to
 *            look; more regions than the limit: 265
 *  START     flags above 1: 274; CID 1, 2, 3, 0xffffffff or larger: 275; twice:
 *            270; no memory: 266; less than 64 MiB: 268; no vCPU: 267; a
 *            thread missing of a core: 269; CID 0 becomes 16, 17, ...
 *  close     whoever sees it calls ne_model_close(): the cores go back to the
 *            pool then, else when the number is used again
 *
 * Beyond that any call, and those after it, can be made to fail with any code,
 * nothing done.
 */
#include "qemu/osdep.h"
#include "standard-headers/linux/nitro_enclaves.h"
#include <sys/ioctl.h>
#include "ne-model.h"

#define MAX_FD 1024
#define MAX_CPU 64
#define MAX_REGIONS 64
#define REGION_ALIGN (2 * 1024 * 1024ULL)
#define MIN_MEMORY (64 * 1024 * 1024ULL)
#define FIRST_CID 16

typedef struct Enclave {
    pid_t creator;
    int hang_up_fd;             /* closing it makes the other end hang up */
    bool started;
    bool debug;
    bool reserved[MAX_CPU];
    bool added[MAX_CPU];
    NeModelRegion regions[MAX_REGIONS];
    unsigned nr_regions;
} Enclave;

NeModelConfig ne_model;

static Enclave *enclaves[MAX_FD];
static unsigned calls[256];
static uint64_t next_slot;
static uint64_t next_cid;

static int fail(int code)
{
    errno = code;
    return -1;
}

static Enclave *enclave_of(int fd)
{
    return fd >= 0 && fd < MAX_FD ? enclaves[fd] : NULL;
}

static unsigned pool_size(void)
{
    return ne_model.pool_cores * ne_model.threads_per_core;
}

/* The pool starts with the second core, as CPU 0 stays with the parent */
static unsigned first_cpu(void)
{
    return ne_model.threads_per_core;
}

static bool core_free(unsigned cpu)
{
    for (int fd = 0; fd < MAX_FD; fd++) {
        if (enclaves[fd] && enclaves[fd]->reserved[cpu]) {
            return false;
        }
    }
    return cpu >= first_cpu() && cpu < first_cpu() + pool_size();
}

static unsigned next_core(void)
{
    for (unsigned cpu = 0; cpu < MAX_CPU; cpu += ne_model.threads_per_core) {
        if (core_free(cpu)) {
            return cpu;
        }
    }
    return 0;
}

static void reserve_core(Enclave *enclave, unsigned cpu)
{
    unsigned first = cpu - cpu % ne_model.threads_per_core;

    for (unsigned i = 0; i < ne_model.threads_per_core; i++) {
        enclave->reserved[first + i] = true;
    }
}

static void forget(int fd)
{
    if (enclaves[fd] && enclaves[fd]->hang_up_fd >= 0) {
        close(enclaves[fd]->hang_up_fd);
    }
    g_clear_pointer(&enclaves[fd], g_free);
}

static int create_vm(uint64_t *slot_uid)
{
    int ends[2];
    Enclave *enclave;

    if (!next_core()) {
        return fail(NE_ERR_NO_CPUS_AVAIL_IN_POOL);
    }
    if (!g_unix_open_pipe(ends, FD_CLOEXEC, NULL)) {
        return fail(EMFILE);
    }
    g_assert(ends[0] < MAX_FD);
    forget(ends[0]);
    enclave = g_new0(Enclave, 1);
    enclave->creator = getpid();
    enclave->hang_up_fd = ends[1];
    enclaves[ends[0]] = enclave;
    *slot_uid = 0x1000 + next_slot++;
    return ends[0];
}

static unsigned pick_cpu(Enclave *enclave)
{
    for (unsigned cpu = 0; cpu < MAX_CPU; cpu++) {
        if (enclave->reserved[cpu] && !enclave->added[cpu]) {
            return cpu;
        }
    }
    return next_core();
}

static int add_vcpu(Enclave *enclave, uint32_t *id)
{
    unsigned cpu = *id;

    if (enclave->started) {
        return fail(NE_ERR_NOT_IN_INIT_STATE);
    }
    if (cpu >= MAX_CPU) {
        return fail(NE_ERR_INVALID_VCPU);
    }
    if (cpu && enclave->added[cpu]) {
        return fail(NE_ERR_VCPU_ALREADY_USED);
    }
    if (cpu && !enclave->reserved[cpu] && !core_free(cpu)) {
        return fail(NE_ERR_VCPU_NOT_IN_CPU_POOL);
    }
    cpu = cpu ?: pick_cpu(enclave);
    if (!cpu) {
        return fail(NE_ERR_NO_CPUS_AVAIL_IN_POOL);
    }
    reserve_core(enclave, cpu);
    if (enclave->creator != getpid()) {
        return fail(EIO);
    }
    enclave->added[cpu] = true;
    *id = cpu;
    return 0;
}

static int load_info(Enclave *enclave, struct ne_image_load_info *info)
{
    if (enclave->started) {
        return fail(NE_ERR_NOT_IN_INIT_STATE);
    }
    if (info->flags != NE_EIF_IMAGE) {
        return fail(NE_ERR_INVALID_FLAG_VALUE);
    }
    info->memory_offset = 8 * 1024 * 1024;
    return 0;
}

static bool overlaps(Enclave *enclave, uint64_t address, uint64_t size)
{
    for (unsigned i = 0; i < enclave->nr_regions; i++) {
        const NeModelRegion *region = &enclave->regions[i];

        if (address < region->address + region->size &&
            region->address < address + size) {
            return true;
        }
    }
    return false;
}

/* Page size of the mapping at @address, in KiB */
static unsigned page_kib(uint64_t address)
{
    g_autofree char *smaps = NULL;
    g_auto(GStrv) lines = NULL;
    unsigned kib = 0;
    bool found = false;

    if (!g_file_get_contents("/proc/self/smaps", &smaps, NULL, NULL)) {
        return 0;
    }
    lines = g_strsplit(smaps, "\n", 0);
    for (char **line = lines; *line; line++) {
        uint64_t from, to;

        if (sscanf(*line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
            found = address >= from && address < to;
        } else if (found && sscanf(*line, "KernelPageSize: %u kB", &kib) == 1) {
            return kib;
        }
    }
    return 0;
}

static int check_region(Enclave *enclave, struct ne_user_memory_region *region)
{
    uint64_t address = region->userspace_addr, size = region->memory_size;

    if (region->flags != NE_DEFAULT_MEMORY_REGION) {
        return -NE_ERR_INVALID_FLAG_VALUE;
    }
    if (enclave->started) {
        return -NE_ERR_NOT_IN_INIT_STATE;
    }
    if (enclave->creator != getpid()) {
        return -EIO;
    }
    if (size % REGION_ALIGN) {
        return -NE_ERR_INVALID_MEM_REGION_SIZE;
    }
    if (address % REGION_ALIGN) {
        return -NE_ERR_UNALIGNED_MEM_REGION_ADDR;
    }
    if (address + size < address) {
        return -NE_ERR_INVALID_MEM_REGION_ADDR;
    }
    if (overlaps(enclave, address, size)) {
        return -NE_ERR_MEM_REGION_ALREADY_USED;
    }
    if (!size) {
        return -ENOMEM;
    }
    if (ne_model.reject_small_pages && page_kib(address) < 2048) {
        return -NE_ERR_MEM_NOT_HUGE_PAGE;
    }
    if (enclave->nr_regions == MIN(ne_model.max_regions, MAX_REGIONS)) {
        return -NE_ERR_MEM_MAX_REGIONS;
    }
    return 0;
}

static int add_memory(Enclave *enclave, struct ne_user_memory_region *region)
{
    int code = check_region(enclave, region);

    if (code) {
        return fail(-code);
    }
    enclave->regions[enclave->nr_regions++] = (NeModelRegion) {
        .address = region->userspace_addr,
        .size = region->memory_size,
    };
    return 0;
}

static uint64_t memory_size(Enclave *enclave)
{
    uint64_t size = 0;

    for (unsigned i = 0; i < enclave->nr_regions; i++) {
        size += enclave->regions[i].size;
    }
    return size;
}

static bool cores_complete(Enclave *enclave)
{
    return !memcmp(enclave->reserved, enclave->added, sizeof(enclave->added));
}

static int check_start(Enclave *enclave, struct ne_enclave_start_info *info)
{
    uint64_t cid = info->enclave_cid;

    if (info->flags >= NE_ENCLAVE_START_MAX_FLAG_VAL) {
        return -NE_ERR_INVALID_FLAG_VALUE;
    }
    if ((cid > 0 && cid <= 3) || cid >= UINT32_MAX) {
        return -NE_ERR_INVALID_ENCLAVE_CID;
    }
    if (enclave->started) {
        return -NE_ERR_NOT_IN_INIT_STATE;
    }
    if (!enclave->nr_regions) {
        return -NE_ERR_NO_MEM_REGIONS_ADDED;
    }
    if (memory_size(enclave) < MIN_MEMORY) {
        return -NE_ERR_ENCLAVE_MEM_MIN_SIZE;
    }
    if (!memchr(enclave->added, true, sizeof(enclave->added))) {
        return -NE_ERR_NO_VCPUS_ADDED;
    }
    return cores_complete(enclave) ? 0 : -NE_ERR_FULL_CORES_NOT_USED;
}

static int start(Enclave *enclave, struct ne_enclave_start_info *info)
{
    int code = check_start(enclave, info);

    if (code) {
        return fail(-code);
    }
    enclave->started = true;
    enclave->debug = info->flags == NE_ENCLAVE_DEBUG_MODE;
    if (!info->enclave_cid) {
        info->enclave_cid = next_cid++;
    }
    if (ne_model.bad_cid != UINT64_MAX) {
        info->enclave_cid = ne_model.bad_cid;
    }
    return 0;
}

bool ne_model_request(unsigned long request)
{
    return request == NE_CREATE_VM || request == NE_ADD_VCPU ||
           request == NE_GET_IMAGE_LOAD_INFO ||
           request == NE_SET_USER_MEMORY_REGION || request == NE_START_ENCLAVE;
}

static bool must_fail(unsigned nth)
{
    return nth >= ne_model.fail_nth &&
           (!ne_model.fail_times ||
            nth - ne_model.fail_nth < ne_model.fail_times);
}

int ne_model_ioctl(int fd, unsigned long request, void *arg)
{
    Enclave *enclave = enclave_of(fd);
    unsigned nth;

    if (!ne_model_request(request) || (request == NE_CREATE_VM) == !!enclave) {
        return fail(ENOTTY);
    }
    nth = ++calls[_IOC_NR(request)];
    if (request == ne_model.fail_request && must_fail(nth)) {
        return fail(ne_model.fail_errno);
    }
    switch (request) {
    case NE_CREATE_VM:
        return create_vm(arg);
    case NE_ADD_VCPU:
        return add_vcpu(enclave, arg);
    case NE_GET_IMAGE_LOAD_INFO:
        return load_info(enclave, arg);
    case NE_SET_USER_MEMORY_REGION:
        return add_memory(enclave, arg);
    default:
        return start(enclave, arg);
    }
}

void ne_model_reset(void)
{
    for (int fd = 0; fd < MAX_FD; fd++) {
        forget(fd);
    }
    memset(calls, 0, sizeof(calls));
    next_slot = 0;
    next_cid = FIRST_CID;
    ne_model = (NeModelConfig) {
        .pool_cores = 4,
        .threads_per_core = 2,
        .max_regions = MAX_REGIONS,
        .bad_cid = UINT64_MAX,
    };
}

void ne_model_close(int enclave_fd)
{
    forget(enclave_fd);
}

void ne_model_end(int enclave_fd)
{
    Enclave *enclave = enclave_of(enclave_fd);

    g_assert(enclave && enclave->hang_up_fd >= 0);
    close(enclave->hang_up_fd);
    enclave->hang_up_fd = -1;
}

unsigned ne_model_calls(unsigned long request)
{
    return calls[_IOC_NR(request)];
}

bool ne_model_started(int enclave_fd)
{
    return enclave_of(enclave_fd)->started;
}

bool ne_model_debug(int enclave_fd)
{
    return enclave_of(enclave_fd)->debug;
}

unsigned ne_model_vcpus(int enclave_fd)
{
    unsigned count = 0;

    for (unsigned cpu = 0; cpu < MAX_CPU; cpu++) {
        count += enclave_of(enclave_fd)->added[cpu];
    }
    return count;
}

unsigned ne_model_regions(int enclave_fd, const NeModelRegion **regions)
{
    *regions = enclave_of(enclave_fd)->regions;
    return enclave_of(enclave_fd)->nr_regions;
}
