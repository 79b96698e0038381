/*
 * Accelerator of enclaves: whether KVM runs guests on this host
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/memfd.h"
#include "qemu/units.h"
#include "accel.h"
#include "kvm-guest.h"

#define DEFAULT_SECONDS 3
#define MOST_SECONDS    600
#define MOST_OUTPUT     (64 * KiB)
#define ANSWER          "kvm\n"
/* Of machine q35; the guest is at its end */
#define FIRMWARE_SIZE   (64 * KiB)

/* A QEMU that runs the guest, and what it has written so far */
typedef struct Trial {
    pid_t pid;
    int fds[2];                 /* stdout, stderr; -1 at their end */
    GString *output[2];
} Trial;

static void add_words(GPtrArray *args, const char *words)
{
    g_auto(GStrv) all = g_strsplit(words, " ", -1);

    for (char **word = all; *word; word++) {
        g_ptr_array_add(args, g_steal_pointer(word));
    }
}

/* Options as in the lab, so that what fails there fails here */
static char **trial_args(const NhvOptions *opts, int guest_fd)
{
    const char *board =
        NHV_HOST_ARCH == EIF_ARCH_AARCH64 ?
        "-M virt,gic-version=host -cpu host -kernel" :
        "-M q35 -cpu host,pmu=off -bios";
    GPtrArray *args = g_ptr_array_new();

    g_ptr_array_add(args, g_strdup(nhv_options_qemu(opts, NHV_HOST_ARCH)));
    add_words(args, "-accel kvm -m 64 -nodefaults -no-user-config -no-reboot "
              "-display none -monitor none -serial stdio");
    for (char **dir = opts->firmware_dirs; dir && *dir; dir++) {
        g_ptr_array_add(args, g_strdup("-L"));
        g_ptr_array_add(args, g_strdup(*dir));
    }
    add_words(args, board);
    g_ptr_array_add(args, g_strdup_printf("/proc/%d/fd/%d", getpid(),
                                          guest_fd));
    g_ptr_array_add(args, NULL);
    return (char **)g_ptr_array_free(args, FALSE);
}

/* Returns: a file that QEMU loads, or -1 */
static int guest_open(Error **errp)
{
    size_t size = nhv_kvm_guest_size;
    bool is_firmware = NHV_HOST_ARCH == EIF_ARCH_X86_64;
    size_t start = is_firmware ? FIRMWARE_SIZE - size : 0;
    int fd = qemu_memfd_create("kvm-guest", 0, false, 0, 0, errp);

    if (fd >= 0 &&
        pwrite(fd, nhv_kvm_guest, size, start) != (ssize_t)size) {
        error_setg_errno(errp, errno, "cannot write the guest that tries KVM");
        close(fd);
        return -1;
    }
    return fd;
}

/*
 * Runs between fork() and exec().  A QEMU that fails may abort.  With a limit
 * of 1 byte Linux neither writes a core file nor runs the program that
 * core_pattern names.  With 0 it would still run that program.
 */
static void trial_setup(gpointer opaque)
{
    const struct rlimit no_core = { 1, 1 };

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &no_core);
}

static bool trial_start(Trial *trial, const NhvOptions *opts, int guest_fd,
                        Error **errp)
{
    g_auto(GStrv) args = trial_args(opts, guest_fd);
    g_autoptr(GError) gerr = NULL;

    if (!g_spawn_async_with_pipes(NULL, args, NULL, G_SPAWN_DO_NOT_REAP_CHILD,
                                  trial_setup, NULL, &trial->pid, NULL,
                                  &trial->fds[0], &trial->fds[1], &gerr)) {
        error_setg(errp, "cannot run %s: %s", args[0], gerr->message);
        return false;
    }
    return true;
}

/* A stream ends with QEMU, or when it says too much */
static void trial_read(Trial *trial, int i)
{
    char buf[4 * KiB];
    ssize_t n = RETRY_ON_EINTR(read(trial->fds[i], buf, sizeof(buf)));

    if (n > 0 && trial->output[i]->len < MOST_OUTPUT) {
        g_string_append_len(trial->output[i], buf, n);
        return;
    }
    close(trial->fds[i]);
    trial->fds[i] = -1;
}

/* QEMU may go on after its streams have been closed */
static bool trial_ends(const Trial *trial, int64_t end)
{
    siginfo_t info = { };

    while (waitid(P_PID, trial->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0
           && !info.si_pid && g_get_monotonic_time() < end) {
        g_usleep(1000);
    }
    return info.si_pid;
}

/* Returns: false when time is over before both streams and QEMU have ended */
static bool trial_listen(Trial *trial, int seconds)
{
    int64_t end = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;

    while (trial->fds[0] >= 0 || trial->fds[1] >= 0) {
        struct pollfd polled[] = {
            { .fd = trial->fds[0], .events = POLLIN },
            { .fd = trial->fds[1], .events = POLLIN },
        };
        int64_t left = (end - g_get_monotonic_time()) / 1000;
        int n = left > 0 ? poll(polled, ARRAY_SIZE(polled), left) : 0;

        if (n == 0 || (n < 0 && errno != EINTR)) {
            return false;
        }
        for (int i = 0; n > 0 && i < ARRAY_SIZE(polled); i++) {
            if (polled[i].revents) {
                trial_read(trial, i);
            }
        }
    }
    return trial_ends(trial, end);
}

/* Returns: the exit status as waitpid() has it; what still runs is killed */
static int trial_reap(Trial *trial, bool kill_it)
{
    int status = 0;

    if (kill_it) {
        kill(-trial->pid, SIGKILL);
    }
    RETRY_ON_EINTR(waitpid(trial->pid, &status, 0));
    for (int i = 0; i < ARRAY_SIZE(trial->fds); i++) {
        if (trial->fds[i] >= 0) {
            close(trial->fds[i]);
        }
    }
    return status;
}

/* Returns: the first line that is not a warning, or NULL; to be freed */
static char *first_error(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line; line++) {
        if (**line && !strstr(*line, "warning: ")) {
            return g_strdup(*line);
        }
    }
    return NULL;
}

static bool trial_judge(const Trial *trial, bool ended, int status,
                        int seconds, Error **errp)
{
    g_autofree char *said = first_error(trial->output[1]->str);

    if (ended && status == 0 && g_str_equal(trial->output[0]->str, ANSWER)) {
        return true;
    }
    error_setg(errp, "KVM runs no guests here: %s", said ?:
               ended ? "a small guest failed" :
               "a small guest did not end in time");
    if (!said && !ended) {
        error_append_hint(errp, "It had %d s; NITRO_KVM_SECONDS= gives it "
                          "more\n", seconds);
    }
    return false;
}

/* Root is refused in a container, others by the mode of the device */
static void permission_hint(const char *device, Error **errp)
{
    const struct passwd *user = getpwuid(geteuid());

    if (geteuid() == 0) {
        error_append_hint(errp, "Pass it into this container: docker run "
                          "--device %s\n", device);
    } else {
        error_append_hint(errp, "Join its group, and log in again: usermod "
                          "-aG kvm %s\n", user ? user->pw_name : "USER");
    }
}

/* access() knows neither the rules of a container nor a missing driver */
static bool check_device(const char *device, bool *forbidden, Error **errp)
{
    int fd = qemu_open_old(device, O_RDWR);

    if (fd >= 0) {
        close(fd);
        return true;
    }
    *forbidden = errno == EACCES || errno == EPERM;
    if (*forbidden) {
        error_setg(errp, "no permission for %s", device);
        permission_hint(device, errp);
    } else {
        error_setg_errno(errp, errno, "cannot use %s", device);
        error_append_hint(errp, "Enable virtualization in the firmware, or in "
                          "the settings of this virtual machine; modprobe "
                          "kvm_amd or kvm_intel\n");
    }
    return false;
}

static bool can_try(const char *device, const NhvOptions *opts,
                    bool *forbidden, Error **errp)
{
    if (!nhv_kvm_guest_size) {
        error_setg(errp, "KVM is not used on hosts of this architecture");
        return false;
    }
    if (!nhv_options_qemu(opts, NHV_HOST_ARCH)) {
        error_setg(errp, "KVM is for %s enclaves on this host, but no QEMU "
                   "for them is set", eif_arch_str(NHV_HOST_ARCH));
        return false;
    }
    return check_device(device, forbidden, errp);
}

static int patience(void)
{
    const char *text = g_getenv("NITRO_KVM_SECONDS");
    int seconds;

    return text && qemu_strtoi(text, NULL, 10, &seconds) == 0 &&
           seconds > 0 && seconds <= MOST_SECONDS ? seconds : DEFAULT_SECONDS;
}

static bool try_guest(const NhvOptions *opts, int guest_fd, Error **errp)
{
    Trial trial = {
        .output = { g_string_new(NULL), g_string_new(NULL) },
    };
    int seconds = patience(), status;
    bool ended, result = false;

    if (trial_start(&trial, opts, guest_fd, errp)) {
        ended = trial_listen(&trial, seconds);
        status = trial_reap(&trial, !ended);
        result = trial_judge(&trial, ended, status, seconds, errp);
    }
    g_string_free(trial.output[0], true);
    g_string_free(trial.output[1], true);
    return result;
}

/* @forbidden is set when permission for the device is what is missing */
static bool check_kvm(const char *device, const NhvOptions *opts,
                      bool *forbidden, Error **errp)
{
    int guest_fd;
    bool result;

    if (!can_try(device, opts, forbidden, errp)) {
        return false;
    }
    guest_fd = guest_open(errp);
    if (guest_fd < 0) {
        return false;
    }
    result = try_guest(opts, guest_fd, errp);
    close(guest_fd);
    return result;
}

bool nhv_accel_check_kvm(const char *device, const NhvOptions *opts,
                         Error **errp)
{
    bool forbidden;

    return check_kvm(device, opts, &forbidden, errp);
}

void nhv_accel_resolve(const char *device, NhvOptions *opts)
{
    Error *err = NULL;
    bool kvm, forbidden = false;

    if (!g_str_equal(opts->accel, NHV_ACCEL_AUTO)) {
        return;
    }
    kvm = check_kvm(device, opts, &forbidden, &err);
    g_free(opts->accel);
    opts->accel = g_strdup(kvm ? "kvm" : NHV_ACCEL_TCG);
    if (forbidden) {
        warn_report_err(err);
    } else {
        error_free(err);
    }
}
