/*
 * Nitro Enclaves driver: what its refusals mean and what helps
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The one table of causes and remedies.  A row may be meant for one request
 * only; the first row that fits is taken, so such rows come first.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "standard-headers/linux/nitro_enclaves.h"
#include "system/nitro-hints.h"
#include "ne.h"

#define NE_REQUEST_ANY NE_REQUEST__MAX

#define POOL "/sys/module/nitro_enclaves/parameters/ne_cpus"
#define KERNEL_LOG "Look at the kernel's log: dmesg | grep nitro_enclaves."

/* What more than one row says */
#define HINT_NO_DRIVER "The node has no driver behind it; load it: " \
    "modprobe nitro_enclaves."
#define HINT_DEVICE \
    "Name the driver's device node: device=" NE_DEVICE_PATH "."
#define HINT_OTHER_MEMORY "Leave out memory-backend= to get memory that fits."
#define HINT_OTHER_CPU "Pick a CPU of " POOL "."
#define HINT_RUN_AGAIN "Run QEMU again: each launch needs a new enclave."
#define CAUSE_OTHER_PROCESS "this process is not the one that created the " \
    "enclave, or the hypervisor failed"
#define HINT_OTHER_PROCESS "Do not pass the enclave on to another process. " \
    KERNEL_LOG
#define CAUSE_GONE "the Nitro Enclaves device is gone"
#define HINT_GONE "Load the driver again: modprobe nitro_enclaves."
#define CAUSE_FORBIDDEN "the request is not permitted"

typedef struct NeErrorRow {
    NeRequest request;
    int err;
    const char *name;       /* only the driver's own codes have one */
    const char *cause;      /* NULL: what strerror() says */
    const char *hint;
} NeErrorRow;

#define CODE(code, cause_, hint_) \
    { NE_REQUEST_ANY, NE_ERR_ ## code, "NE_ERR_" #code, cause_, hint_ }
#define CODE_AT(request_, code, cause_, hint_) \
    { NE_REQUEST_ ## request_, NE_ERR_ ## code, "NE_ERR_" #code, cause_, hint_ }
#define PLAIN(err_, cause_, hint_) \
    { NE_REQUEST_ANY, err_, NULL, cause_, hint_ }
#define PLAIN_AT(request_, err_, cause_, hint_) \
    { NE_REQUEST_ ## request_, err_, NULL, cause_, hint_ }

static const char *const request_names[NE_REQUEST__MAX] = {
    [NE_REQUEST_OPEN] = "open",
    [NE_REQUEST_CREATE_VM] = "NE_CREATE_VM",
    [NE_REQUEST_ADD_VCPU] = "NE_ADD_VCPU",
    [NE_REQUEST_GET_IMAGE_LOAD_INFO] = "NE_GET_IMAGE_LOAD_INFO",
    [NE_REQUEST_SET_USER_MEMORY_REGION] = "NE_SET_USER_MEMORY_REGION",
    [NE_REQUEST_START_ENCLAVE] = "NE_START_ENCLAVE",
};

static const NeErrorRow rows[] = {
    /* The device node */
    PLAIN_AT(OPEN, ENOENT, NULL,
             "Launch on an EC2 instance with enclaves enabled and load the "
             "driver: modprobe nitro_enclaves."),
    PLAIN_AT(OPEN, EACCES, NULL,
             "Add the user to group ne (usermod -aG ne USER) and log in "
             "again, or run as root."),
    PLAIN_AT(OPEN, EPERM, NULL,
             "Permit the device in the device cgroup of this service or "
             "container (libvirt: cgroup_device_acl in qemu.conf)."),
    PLAIN_AT(OPEN, ENODEV, NULL, HINT_NO_DRIVER),
    PLAIN_AT(OPEN, ENXIO, NULL, HINT_NO_DRIVER),
    PLAIN_AT(OPEN, EISDIR, NULL, HINT_DEVICE),
    PLAIN_AT(OPEN, ENOTDIR, NULL, HINT_DEVICE),

    /* The driver's own codes, by what makes them different per request */
    CODE_AT(ADD_VCPU, NO_CPUS_AVAIL_IN_POOL,
            "the enclave CPU pool has no free CPU left for it",
            "Lower -smp, end another enclave, or raise cpu_count in "
            NITRO_HINT_ALLOCATOR "."),
    CODE(NO_CPUS_AVAIL_IN_POOL,
         "the enclave CPU pool is empty or wholly in use",
         "Raise cpu_count in " NITRO_HINT_ALLOCATOR
         ", or end another enclave."),
    CODE(VCPU_ALREADY_USED,
         "the CPU belongs to this enclave already",
         "Name each CPU once, or let the driver choose."),
    CODE(VCPU_NOT_IN_CPU_POOL,
         "the CPU is not in the enclave CPU pool, or another enclave has it",
         "Pick a free one of " POOL ", or add it to cpu_pool in "
         NITRO_HINT_ALLOCATOR "."),
    CODE(VCPU_INVALID_CPU_CORE,
         "the CPU's core is outside of the enclave CPU pool",
         HINT_OTHER_CPU),
    CODE(INVALID_VCPU,
         "this instance has no CPU with that number",
         HINT_OTHER_CPU),
    CODE(INVALID_MEM_REGION_SIZE,
         "the size is not a multiple of 2 MiB",
         "Use -m with a multiple of the huge page size, e.g. -m 512M."),
    CODE(INVALID_MEM_REGION_ADDR,
         "the address range is not memory of this process",
         HINT_OTHER_MEMORY),
    CODE(UNALIGNED_MEM_REGION_ADDR,
         "the address is not a multiple of 2 MiB",
         HINT_OTHER_MEMORY),
    CODE(MEM_REGION_ALREADY_USED,
         "this memory, or a part of it, was donated before",
         HINT_RUN_AGAIN),
    CODE(MEM_NOT_HUGE_PAGE,
         "the memory is not backed by huge pages",
         "Leave out memory-backend= and -mem-path, or use "
         "memory-backend-memfd,hugetlb=on; transparent huge pages do not "
         "count."),
    CODE(INVALID_PAGE_SIZE,
         "enclaves cannot use huge pages of this size, or the memory begins "
         "inside a huge page",
         "Use pages of 2 MiB or 1 GiB (hugetlbsize=2M or hugetlbsize=1G)."),
    CODE(MEM_DIFFERENT_NUMA_NODE,
         "a page is on another NUMA node than the enclave CPU pool",
         "Bind the memory to the pool's node: numactl --membind=NODE, or "
         "host-nodes=NODE,policy=bind of the memory backend."),
    CODE(MEM_MAX_REGIONS,
         "the pages form more separate regions than the hypervisor takes",
         "Use larger pages (-M nitro,page-size=1G), or reserve the huge pages "
         "right after boot so that they are contiguous."),
    CODE(NO_MEM_REGIONS_ADDED,
         "the enclave has no memory",
         "Set its size, e.g. -m 512M."),
    CODE(ENCLAVE_MEM_MIN_SIZE,
         "the enclave has less than 64 MiB of memory",
         "Use -m 64M or more."),
    CODE(NO_VCPUS_ADDED,
         "the enclave has no vCPU",
         "Set their number, e.g. -smp 2."),
    CODE(FULL_CORES_NOT_USED,
         "the vCPUs are not a whole number of CPU cores",
         "Use -smp with a multiple of the threads per core that lscpu shows, "
         "e.g. -smp 2 or -smp 4."),
    CODE(NOT_IN_INIT_STATE,
         "the enclave was started before, or has ended",
         HINT_RUN_AGAIN),
    CODE(INVALID_FLAG_VALUE,
         "the driver does not know the flags of this request",
         "Update the kernel: its driver is older than this QEMU expects."),
    CODE(INVALID_ENCLAVE_CID,
         "the CID is reserved or out of range",
         "Use enclave-cid=0 (automatic), or a number from 4 to 4294967294."),

    /* Ordinary errors */
    PLAIN_AT(SET_USER_MEMORY_REGION, EFAULT,
             "a part of the memory has no huge page behind it",
             "Reserve more huge pages in " NITRO_HINT_HUGE_PAGES
             ", or raise the hugetlb limit of the cgroup; prealloc=on finds "
             "this out earlier."),
    PLAIN_AT(SET_USER_MEMORY_REGION, ENOMEM,
             "the kernel cannot keep the list of so many pages",
             "Use larger pages (-M nitro,page-size=1G), or a smaller -m."),
    PLAIN_AT(SET_USER_MEMORY_REGION, EINVAL,
             "the driver or the hypervisor does not take the memory's "
             "physical address or size", KERNEL_LOG),
    PLAIN_AT(START_ENCLAVE, EEXIST,
             "another enclave has this CID",
             "Use enclave-cid=0 (automatic), or a CID that is free."),
    PLAIN_AT(START_ENCLAVE, EINVAL,
             "the hypervisor does not take the image or the configuration",
             "Check that the image is an intact EIF for this architecture "
             "and that the CID is free."),
    PLAIN_AT(START_ENCLAVE, ENOMEM,
             "the hypervisor has not enough memory to start the enclave",
             "Raise -m: image and its unpacked ramdisk must fit."),
    PLAIN_AT(ADD_VCPU, EIO, CAUSE_OTHER_PROCESS, HINT_OTHER_PROCESS),
    PLAIN_AT(SET_USER_MEMORY_REGION, EIO, CAUSE_OTHER_PROCESS,
             HINT_OTHER_PROCESS),
    PLAIN(EIO, "the hypervisor failed", KERNEL_LOG),
    PLAIN(ETIMEDOUT,
          "the hypervisor did not answer within the driver's 120 seconds",
          "Launch again; if it persists, stop and start the instance. "
          KERNEL_LOG),
    PLAIN(ENOTTY, "the device does not belong to the Nitro Enclaves driver",
          HINT_DEVICE),
    PLAIN(EMFILE, "this process has too many files open",
          NITRO_HINT_FILES),
    PLAIN(ENFILE, "the system has too many files open",
          "Raise /proc/sys/fs/file-max."),
    PLAIN(ENOMEM, "out of memory in kernel or hypervisor",
          "Free memory of this instance and launch again."),
    PLAIN(ENOSPC, "the hypervisor has no room for another enclave",
          "End another enclave and launch again."),
    PLAIN(EBUSY, "the hypervisor is busy, or the resource is in use",
          "Launch again in a moment: an enclave that just ended may still "
          "hold its resources."),
    PLAIN(EAGAIN, "the hypervisor cannot do this now",
          "Launch again in a moment."),
    PLAIN(ENODEV, CAUSE_GONE, HINT_GONE),
    PLAIN(ENXIO, CAUSE_GONE, HINT_GONE),
    PLAIN(ENOENT, "the hypervisor does not know this enclave any more",
          HINT_RUN_AGAIN),
    PLAIN(EACCES, CAUSE_FORBIDDEN,
          "Check the security policy (SELinux, AppArmor) of this process."),
    PLAIN(EPERM, CAUSE_FORBIDDEN,
          "Check the security policy (SELinux, AppArmor, seccomp) of this "
          "process."),
    PLAIN(EINVAL, "driver or hypervisor do not take the request's values",
          KERNEL_LOG),
    PLAIN(EFAULT, "the driver cannot access the request's values",
          "This is a defect of QEMU or of a tool between it and the kernel; "
          "please report it."),
    PLAIN(EBADF, "the enclave's file descriptor is closed",
          "This is a defect of QEMU; please report it."),
    PLAIN(EOPNOTSUPP, "the hypervisor does not support the request",
          "Use an instance type that supports enclaves."),
};

static const NeErrorRow *find_row(NeRequest request, int err)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].err == err && (rows[i].request == request ||
                                   rows[i].request == NE_REQUEST_ANY)) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *ne_request_name(NeRequest request)
{
    return request_names[request];
}

/* The text of an ordinary errno, or NULL: nothing prints "Unknown error N" */
static const char *plain_text(int err)
{
    const char *text = strerror(err);

    return g_str_has_prefix(text, "Unknown error") ? NULL : text;
}

void ne_error_set(Error **errp, NeRequest request, int err)
{
    ERRP_GUARD();
    const NeErrorRow *row = find_row(request, err);
    const char *text = row && row->name ? row->name : plain_text(err);
    const char *cause = row ? row->cause : NULL;

    if (request == NE_REQUEST_OPEN) {
        error_setg(errp, "%s", text ?: "refused for an unknown reason");
    } else {
        error_setg(errp, "%s (%s: %s%serror %d)",
                   cause ?: "refused for a reason without an explanation",
                   ne_request_name(request), text ?: "", text ? ", " : "", err);
    }
    error_append_hint(errp, "%s\n", row ? row->hint : KERNEL_LOG);
}
