/*
 * Command line of the QEMU process that is an enclave
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "child.h"

#define VIRT_CONSOLE "ttyAMA0"
/* Emulated, tests of ciphers take a third of the time until a kernel is up */
#define NO_TESTS "cryptomgr.notests"
/* Number of the set with the descriptor to sign with */
#define SIGNER_SET "9"

/*
 * Most that machine nitro-enclave appends without ACPI: a word like
 * " virtio_mmio.device=512@0xfeb02e00:12" for each of two devices
 */
#define DEVICE_WORDS_LEN (2 * 38)

/*
 * Kernels clear and copy memory by bytes where a CPU is fast at that, which the
 * emulation is not, and use one more level of page tables where there is one.
 */
#define TCG_CPU "max,la57=off,erms=off,fsrm=off"

/* A machine with more memory has a hole for devices here */
#define PVH_MAX (3 * GiB)

static void G_GNUC_PRINTF(2, 3) add(GPtrArray *args, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_ptr_array_add(args, g_strdup_vprintf(fmt, ap));
    va_end(ap);
}

/* Commas end a value in QEMU's option syntax unless doubled */
static char *escape_commas(const char *value)
{
    g_auto(GStrv) parts = g_strsplit(value, ",", -1);

    return g_strjoinv(",,", parts);
}

/* The placeholder of nitro-cli and nitro-run for a parent without an ID */
static char *parent_id(const NhvChildConfig *config)
{
    return escape_commas(config->opts->parent_id ?: "i-0000000000000000");
}

static void add_measured(GString *machine, const char *name, const char *value)
{
    if (value) {
        g_autofree char *escaped = escape_commas(value);

        g_string_append_printf(machine, ",%s=%s", name, escaped);
    }
}

bool nhv_child_has_acpi(const NhvOptions *opts, const NhvImage *image,
                        const char **reason)
{
    if (opts->acpi == ON_OFF_AUTO_AUTO) {
        *reason = image->acpi_reason;
        return image->needs_acpi;
    }
    *reason = "option --acpi";
    return opts->acpi == ON_OFF_AUTO_ON;
}

/*
 * What is appended for the emulation must not make the line longer than the
 * kernel accepts, which would cut it.  In that case the words are left out.
 */
static bool has_room(const NhvChildConfig *config, size_t len,
                     const char *words)
{
    uint64_t room = config->image->cmdline_room;

    if (len <= room) {
        return true;
    }
    warn_report("enclave with CID %u: the command line has room for %" PRIu64
                " more characters; left out: %s", config->cid, room, words);
    return false;
}

static bool is_tcg(const NhvChildConfig *config)
{
    return g_str_has_prefix(nhv_options_accel(config->opts,
                                              config->image->arch), "tcg");
}

/* Kernel and initrd have to fit; the image's size is more than the initrd's */
int nhv_child_kernel(const NhvChildConfig *config)
{
    const NhvImage *image = config->image;
    uint64_t end = image->unpacked.end;

    return !end || config->opts->no_unpack || !is_tcg(config) ||
           end + image->size > MIN(config->memory, PVH_MAX)
        ? -1 : image->unpacked.fd;
}

static void add_machine(GPtrArray *args, const NhvChildConfig *config)
{
    const char *reason;
    bool acpi = nhv_child_has_acpi(config->opts, config->image, &reason);
    GString *machine = g_string_new("nitro-enclave,vsock=vsock");
    g_autofree char *parent = parent_id(config);
    int kernel = nhv_child_kernel(config);

    g_string_append_printf(machine, ",id=%s-enc%016" PRIx64, parent,
                           config->slot_uid);
    g_string_append_printf(machine, ",acpi=%s", acpi ? "on" : "off");
    g_string_append_printf(machine, ",debug-mode=%s",
                           config->debug ? "on" : "off");
    if (!acpi && !has_room(config, DEVICE_WORDS_LEN,
                           "virtio_mmio.device=..., without which the kernel "
                           "finds no device")) {
        g_string_append(machine, ",auto-kernel-cmdline=off");
    }
    add_measured(machine, "parent-id", config->opts->parent_id);
    add_measured(machine, "parent-role", config->opts->parent_role);
    if (kernel >= 0) {
        g_string_append_printf(machine, ",unpacked-kernel=/proc/self/fd/%d",
                               kernel);
    }
    add(args, "-M");
    g_ptr_array_add(args, g_string_free(machine, FALSE));
    if (acpi) {
        /*
         * The machine's default with ACPI is SeaBIOS, which keeps its tables
         * where the initrd of a PVH kernel is put.
         */
        add(args, "-bios");
        add(args, "qboot.rom");
    }
}

static void add_smp(GPtrArray *args, unsigned int vcpus, unsigned int threads)
{
    add(args, "-smp");
    add(args, "%u,sockets=1,cores=%u,threads=%u", vcpus, vcpus / threads,
        threads);
}

/* Frequency of this host's time stamp counter, 0 when unknown */
static unsigned int tsc_khz(void)
{
    g_autofree char *text = NULL;
    char *line = NULL;

    /* x86 hosts only: elsewhere the word is spelled differently */
    if (g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL)) {
        line = strstr(text, "bogomips\t:");
    }
    return line ? g_ascii_strtod(strchr(line, ':') + 1, NULL) * 500 : 0;
}

/*
 * A guest that is not scheduled often enough fails to calibrate its time stamp
 * counter and hangs.  Under TCG the counter is the host's, whose frequency is
 * known.  For the same reason its timer seems not to work when the kernel tries
 * it.  What is appended is not measured.
 */
static void add_emulation_words(GPtrArray *args, const NhvChildConfig *config)
{
    const char *reason;
    bool acpi = nhv_child_has_acpi(config->opts, config->image, &reason);
    unsigned int khz = tsc_khz();
    g_autofree char *clock =
        khz ? g_strdup_printf("tsc_early_khz=%u tsc=reliable lpj=%u ", khz,
                              khz * 4) : g_strdup("");
    g_autofree char *words = g_strconcat(clock, "no_timer_check " NO_TESTS,
                                         NULL);
    size_t len = 1 + strlen(words) + (acpi ? 0 : DEVICE_WORDS_LEN);

    if (has_room(config, len, words)) {
        add(args, "-append");
        add(args, "%s", words);
    }
}

static void add_strings(GPtrArray *args, const char *option,
                        const char *const *values)
{
    for (; values && *values; values++) {
        if (option) {
            add(args, "%s", option);
        }
        add(args, "%s", *values);
    }
}

static void add_serial(GPtrArray *args, int serial_fd)
{
    if (serial_fd >= 0) {
        add(args, "-chardev");
        add(args, "socket,id=console,fd=%d", serial_fd);
    }
    add(args, "-serial");
    add(args, serial_fd >= 0 ? "chardev:console" : "null");
}

/* The process reports here that it cannot go on */
static void add_monitor(GPtrArray *args, int monitor_fd)
{
    add(args, "-chardev");
    add(args, "socket,id=monitor,fd=%d", monitor_fd);
    add(args, "-mon");
    add(args, "chardev=monitor,mode=control");
}

/* The machine reads the image itself */
static void add_x86_64(GPtrArray *args, const NhvChildConfig *config)
{
    add_strings(args, "-L",
                (const char *const *)config->opts->firmware_dirs);
    add_machine(args, config);
    add_smp(args, config->vcpus, config->vcpus % 2 ? 1 : 2);
    add(args, "-cpu");
    add(args, "%s", is_tcg(config) ? TCG_CPU : "host,pmu=off");
    add(args, "-kernel");
    add(args, "/proc/self/fd/%d", config->image->fd);
    /* KVM is fast, and has a clock of its own for guests */
    if (is_tcg(config)) {
        add_emulation_words(args, config);
    }
}

/* Append a word to the line of the image, unless it has it */
static void append_word(const NhvChildConfig *config, GString *line,
                        const char *word)
{
    const char *cmdline = config->image->cmdline;
    size_t len = line->len + 1 + strlen(word) - strlen(cmdline);

    if (!strstr(cmdline, word) && has_room(config, len, word)) {
        g_string_append_printf(line, " %s", word);
    }
}

/*
 * For images that name another serial port, for example the ttyS0 that
 * enclaves have elsewhere, this machine's is appended.  What is appended is
 * not measured.
 */
static void add_virt_boot(GPtrArray *args, const NhvChildConfig *config)
{
    const NhvImage *image = config->image;
    GString *line = g_string_new(image->cmdline);

    append_word(config, line, "console=" VIRT_CONSOLE);
    if (is_tcg(config)) {
        append_word(config, line, NO_TESTS);
    }
    add(args, "-kernel");
    add(args, "/proc/self/fd/%d", image->kernel_fd);
    if (image->initrd_fd >= 0) {
        add(args, "-initrd");
        add(args, "/proc/self/fd/%d", image->initrd_fd);
    }
    add(args, "-append");
    g_ptr_array_add(args, g_string_free(line, FALSE));
}

static void add_virt(GPtrArray *args, const NhvChildConfig *config)
{
    bool tcg = is_tcg(config);
    g_autofree char *parent = parent_id(config);
    g_autofree char *pcrs = nhv_child_pcrs(config);

    add(args, "-object");
    add(args, "memory-backend-memfd,id=ram,size=%" PRIu64 "M,share=on",
        config->memory / MiB);
    add(args, "-M");
    add(args, "virt,gic-version=%s,memory-backend=ram", tcg ? "3" : "host");
    add_smp(args, config->vcpus, 1);
    add(args, "-cpu");
    add(args, "%s", tcg ? "neoverse-n1" : "host");
    add_virt_boot(args, config);
    add(args, "-device");
    add(args, "vhost-user-vsock-device,chardev=vsock");
    add(args, "-device");
    add(args, "virtio-nsm-device,module-id=%s-enc%016" PRIx64 "%s", parent,
        config->slot_uid, pcrs);
}

/* A set of descriptors can be opened again, also in a chroot */
static void add_signer(GPtrArray *args, const NhvChildConfig *config)
{
    if (config->signer_fd >= 0) {
        add(args, "-add-fd");
        add(args, "fd=%d,set=" SIGNER_SET, config->signer_fd);
        add(args, "-object");
        add(args, "nitro-nsm-signer,id=nsm-signer,file=/dev/fdset/"
            SIGNER_SET);
    }
}

char **nhv_child_args(const NhvChildConfig *config,
                      const NhvChildFds *fds)
{
    static const char *const bare[] = {
        "-display", "none", "-monitor", "none",
        "-nodefaults", "-no-user-config", "-no-reboot",
        /* libvhost-user serves modern virtio devices only */
        "-global", "virtio-mmio.force-legacy=off", NULL
    };
    EifArch arch = config->image->arch;
    GPtrArray *args = g_ptr_array_new();

    add(args, "%s", nhv_options_qemu(config->opts, arch));
    add(args, "-name");
    add(args, "enclave-%u", config->cid);
    add(args, "-m");
    add(args, "%" PRIu64 "M", config->memory / MiB);
    add(args, "-accel");
    add(args, "%s", nhv_options_accel(config->opts, arch));
    if (arch == EIF_ARCH_AARCH64) {
        add_virt(args, config);
    } else {
        add_x86_64(args, config);
    }
    add(args, "-chardev");
    add(args, "socket,id=vsock,fd=%d", fds->vsock);
    add_signer(args, config);
    add_serial(args, fds->serial);
    add_monitor(args, fds->monitor);
    add_strings(args, NULL, bare);
    add_strings(args, NULL, (const char *const *)config->opts->qemu_args);
    g_ptr_array_add(args, NULL);
    return (char **)g_ptr_array_free(args, FALSE);
}
