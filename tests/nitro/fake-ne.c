/*
 * A Nitro Enclaves driver to preload, for tests of a whole QEMU
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * LD_PRELOAD=fake-ne.so qemu-system-... -accel nitro,device=/dev/null ...
 *
 * Requests of the driver's type go to the model in ne-model.c, all others to
 * the kernel.  Memory files ask for huge pages in vain on most machines: they
 * get ordinary pages and look as if they had what they asked for.  Memory that
 * was donated cannot be accessed until the enclave is closed: whoever tries
 * gets SIGSEGV.  vsock is made of unix sockets, see fake-vsock.c; what can be
 * made to fail besides is told in fake-fault.c.
 *
 * QEMU leaves an enclave that takes long to close to the driver, and ends.  The
 * library then waits for that close, so that the log has it however busy the
 * host is, and says so on stderr.
 *
 * Environment:
 *   NE_FAKE_LOG=FILE           one line per request, and per close of an
 *                              enclave's descriptor
 *   NE_FAKE_POOL=CORES:THREADS the enclave CPU pool (4:2)
 *   NE_FAKE_FAIL=NR:NTH:ERRNO[:TIMES]
 *                              request number NR fails from its NTH call on,
 *                              for ever or this many times
 *   NE_FAKE_END=FILE           an enclave that runs ends once FILE exists and
 *                              is empty, or has its CID
 *   NE_FAKE_CID=N              START reports this CID
 *   NE_FAKE_SYS=DIR            what is read of /sys is read of here
 *   NE_FAKE_HOLD=FILE          closing an enclave takes until FILE is gone
 *   NE_FAKE_HOLD_START=FILE    START takes until FILE is gone
 *   NE_FAKE_HUGE=1             huge pages are those of the kernel
 *   NE_FAKE_TIMES=FILE         written once at START: "load" and a moment,
 *                              then name, begin and end of each request, in
 *                              ns of the monotonic clock; then status of the
 *                              process, as the kernel has it
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include "standard-headers/linux/nitro_enclaves.h"
#include "fake-fault.h"
#include "fake-vsock.h"
#include "ne-model.h"
#include "patience.h"

#define MAX_FD 1024
#define DEFAULT_PAGE_SHIFT 21
#define NODE "/dev/nitro_enclaves"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_enclave[MAX_FD];
static unsigned life[MAX_FD];           /* tells users of a number apart */
static void *donated[MAX_FD];           /* its memory, of this length */
static size_t donated_size[MAX_FD];
static unsigned huge_shift[MAX_FD];    /* log2 of the page size, 0: no */
static const char *end_file;

/* What the times need; kept until START, so that nothing is written before */
static int64_t loaded_ns;
static GString *times;

static void G_GNUC_PRINTF(1, 2) note(const char *format, ...)
{
    const char *path = getenv("NE_FAKE_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    va_list args;

    if (log) {
        va_start(args, format);
        vfprintf(log, format, args);
        va_end(args);
        fclose(log);
    }
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void note_times(unsigned long request, int64_t begin)
{
    static const char *const names[] = {
        "CREATE_VM", "ADD_VCPU", "GET_IMAGE_LOAD_INFO",
        "SET_USER_MEMORY_REGION", "START_ENCLAVE",
    };
    const char *path = getenv("NE_FAKE_TIMES");
    g_autofree char *status = NULL;

    if (!path) {
        return;
    }
    times = times ?: g_string_new(NULL);
    g_string_append_printf(times, "%s %" PRId64 " %" PRId64 "\n",
                           names[_IOC_NR(request) - 0x20], begin, now_ns());
    if (request == NE_START_ENCLAVE &&
        g_file_get_contents("/proc/self/status", &status, NULL, NULL)) {
        g_autofree char *text = g_strdup_printf("load %" PRId64 "\n%s%s",
                                                loaded_ns, times->str, status);

        g_assert(g_file_set_contents(path, text, -1, NULL));
    }
}

static void __attribute__((constructor)) configure(void)
{
    const char *fail = getenv("NE_FAKE_FAIL");
    const char *pool = getenv("NE_FAKE_POOL");
    const char *cid = getenv("NE_FAKE_CID");
    static const unsigned long requests[] = {
        NE_CREATE_VM, NE_ADD_VCPU, NE_GET_IMAGE_LOAD_INFO,
        NE_SET_USER_MEMORY_REGION, NE_START_ENCLAVE,
    };
    unsigned nr;

    loaded_ns = now_ns();
    ne_model_reset();
    if (pool) {
        g_assert(sscanf(pool, "%u:%u", &ne_model.pool_cores,
                        &ne_model.threads_per_core) == 2);
    }
    if (fail) {
        g_assert(sscanf(fail, "%i:%u:%i:%u", (int *)&nr, &ne_model.fail_nth,
                        &ne_model.fail_errno, &ne_model.fail_times) >= 3);
        g_assert(nr >= 0x20 && nr < 0x20 + ARRAY_SIZE(requests));
        ne_model.fail_request = requests[nr - 0x20];
    }
    end_file = getenv("NE_FAKE_END");
    if (cid) {
        g_assert(sscanf(cid, "%" SCNu64, &ne_model.bad_cid) == 1);
    }
}

typedef struct EndJob {
    int fd;
    unsigned life;
    uint64_t cid;
} EndJob;

static bool end_wanted(uint64_t cid)
{
    g_autofree char *own = g_strdup_printf("%" PRIu64, cid);
    g_autofree char *text = NULL;

    return g_file_get_contents(end_file, &text, NULL, NULL) &&
           (!*text || g_str_equal(text, own));
}

/* Is the enclave still there?  Ends it if it is to */
static bool end_or_wait(const EndJob *job)
{
    bool same;

    pthread_mutex_lock(&lock);
    same = is_enclave[job->fd] && life[job->fd] == job->life;
    if (same && end_wanted(job->cid)) {
        note("end fd=%d\n", job->fd);
        ne_model_end(job->fd);
        same = false;
    }
    pthread_mutex_unlock(&lock);
    return same;
}

static void *end_thread(void *opaque)
{
    g_autofree EndJob *job = opaque;

    while (end_or_wait(job)) {
        g_usleep(5000);
    }
    return NULL;
}

static void end_later(int fd, uint64_t cid)
{
    EndJob *job = g_new(EndJob, 1);
    pthread_t thread;

    *job = (EndJob) { fd, life[fd], cid };
    if (end_file && !pthread_create(&thread, NULL, end_thread, job)) {
        pthread_detach(thread);
    } else {
        g_free(job);
    }
}

/* One donation per enclave is what QEMU makes */
static void take_memory(int fd, const struct ne_user_memory_region *region)
{
    donated[fd] = (void *)(uintptr_t)region->userspace_addr;
    donated_size[fd] = region->memory_size;
    g_assert(mprotect(donated[fd], donated_size[fd], PROT_NONE) == 0);
}

static void give_memory_back(int fd)
{
    if (donated[fd]) {
        mprotect(donated[fd], donated_size[fd], PROT_READ | PROT_WRITE);
    }
    donated[fd] = NULL;
}

static void describe(int fd, unsigned long request, void *arg, int ret)
{
    struct ne_user_memory_region *region = arg;
    struct ne_enclave_start_info *info = arg;

    switch (request) {
    case NE_CREATE_VM:
        note("CREATE_VM ret=%d\n", ret < 0 ? -errno : 0);
        break;
    case NE_ADD_VCPU:
        note("ADD_VCPU ret=%d\n", ret < 0 ? -errno : 0);
        break;
    case NE_GET_IMAGE_LOAD_INFO:
        note("GET_IMAGE_LOAD_INFO ret=%d\n", ret < 0 ? -errno : 0);
        break;
    case NE_SET_USER_MEMORY_REGION:
        note("SET_USER_MEMORY_REGION ret=%d size=%" PRIu64 "\n",
             ret < 0 ? -errno : 0, (uint64_t)region->memory_size);
        break;
    default:
        note("START_ENCLAVE ret=%d cid=%" PRIu64 " flags=%" PRIu64 "\n",
             ret < 0 ? -errno : 0, (uint64_t)info->enclave_cid,
             (uint64_t)info->flags);
        break;
    }
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
    int64_t begin = now_ns();
    int ret = ne_model_ioctl(fd, request, arg);
    int err = errno;

    describe(fd, request, arg, ret);
    note_times(request, begin);
    if (request == NE_CREATE_VM && ret >= 0) {
        is_enclave[ret] = true;
        life[ret]++;
    }
    if (request == NE_SET_USER_MEMORY_REGION && ret == 0) {
        take_memory(fd, arg);
    }
    if (request == NE_START_ENCLAVE && ret == 0) {
        uint64_t cid = ((struct ne_enclave_start_info *)arg)->enclave_cid;

        fake_vsock_set_cid(cid);
        end_later(fd, cid);
    }
    errno = err;
    return ret;
}

static void wait_if_asked(const char *variable)
{
    const char *file = getenv(variable);

    while (file && access(file, F_OK) == 0) {
        g_usleep(1000);
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *arg;
    int ret;

    va_start(args, request);
    arg = va_arg(args, void *);
    va_end(args);
    if (!ne_model_request(request)) {
        return syscall(SYS_ioctl, fd, request, arg);
    }
    if (request == NE_START_ENCLAVE) {
        wait_if_asked("NE_FAKE_HOLD_START");
    }
    pthread_mutex_lock(&lock);
    ret = fake_ioctl(fd, request, arg);
    pthread_mutex_unlock(&lock);
    return ret;
}

/* The name that is used when the command line has none; open64() in effect */
int open(const char *path, int flags, ...)
{
    const char *sys = getenv("NE_FAKE_SYS");
    g_autofree char *other = NULL;
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = va_arg(args, int);
    va_end(args);
    if ((g_str_has_prefix(path, "/sys/") && fake_fault("sys")) ||
        (g_str_equal(path, NODE) && fake_fault("open"))) {
        return -1;
    }
    if (sys && g_str_has_prefix(path, "/sys/")) {
        path = other = g_strconcat(sys, path + strlen("/sys"), NULL);
    }
    return syscall(SYS_openat, AT_FDCWD,
                   strcmp(path, NODE) ? path : "/dev/null",
                   flags, mode);
}

/* What a program that was built with _FORTIFY_SOURCE calls instead */
int fortified_open(const char *path, int flags) __asm__("__open64_2");

int fortified_open(const char *path, int flags)
{
    return open(path, flags);
}

static void forget(int fd)
{
    pthread_mutex_lock(&lock);
    if (is_enclave[fd]) {
        note("close\n");
        give_memory_back(fd);
        ne_model_close(fd);
    }
    is_enclave[fd] = false;
    huge_shift[fd] = 0;
    pthread_mutex_unlock(&lock);
}

int close(int fd)
{
    bool known = fd >= 0 && fd < MAX_FD;
    bool enclave = known && is_enclave[fd];

    if (enclave) {
        wait_if_asked("NE_FAKE_HOLD");
    }
    if (enclave || (known && huge_shift[fd])) {
        forget(fd);
    }
    fake_vsock_forget(fd);
    if (syscall(SYS_close, fd)) {
        return -1;
    }
    /* A kernel that says so has closed it nevertheless */
    return enclave && fake_fault("close") ? -1 : 0;
}

static bool all_closed(void)
{
    bool closed = true;

    pthread_mutex_lock(&lock);
    for (int fd = 0; fd < MAX_FD; fd++) {
        closed = closed && !is_enclave[fd];
    }
    pthread_mutex_unlock(&lock);
    return closed;
}

/* Threads of QEMU run on while it ends */
static void __attribute__((destructor)) wait_closed(void)
{
    if (!all_closed()) {
        fprintf(stderr, "fake-ne: QEMU ends, an enclave is being closed\n");
        poll_until(all_closed());
    }
}

/* Huge pages without huge pages */

int memfd_create(const char *name, unsigned flags)
{
    int fd;

    if (getenv("NE_FAKE_HUGE")) {
        return syscall(SYS_memfd_create, name, flags);
    }
    fd = syscall(SYS_memfd_create, name, flags & 0xf & ~MFD_HUGETLB);
    if (fd >= 0 && fd < MAX_FD && (flags & MFD_HUGETLB)) {
        huge_shift[fd] = flags >> MAP_HUGE_SHIFT ?: DEFAULT_PAGE_SHIFT;
    }
    return fd;
}

int fstatfs(int fd, struct statfs *buf)
{
    int ret = syscall(SYS_fstatfs, fd, buf);

    if (ret == 0 && fd >= 0 && fd < MAX_FD && huge_shift[fd]) {
        buf->f_type = HUGETLBFS_MAGIC;
        buf->f_bsize = 1UL << huge_shift[fd];
    }
    return ret;
}
