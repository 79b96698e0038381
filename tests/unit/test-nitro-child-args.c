/*
 * Command lines of the processes that are enclaves
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "contrib/nitro-hypervisor/child.h"

#define VSOCK_FD 7
#define SERIAL_FD 8
#define MONITOR_FD 10
#define LONG_LINE (64 * KiB)

#define HEX16(digit) digit digit digit digit digit digit digit digit \
                     digit digit digit digit digit digit digit digit
#define HEX96(digit) HEX16(digit) HEX16(digit) HEX16(digit) \
                     HEX16(digit) HEX16(digit) HEX16(digit)
#define END " -chardev socket,id=monitor,fd=10 " \
            "-mon chardev=monitor,mode=control" \
            " -display none -monitor none -nodefaults -no-user-config " \
            "-no-reboot -global virtio-mmio.force-legacy=off"
#define ENC "-enc000000000000002a"

#define ROLE "arn:aws:iam::1:role/r"
#define ID "i-1,2"
#define NO_ID "i-0000000000000000"
/* Emulated, of x86_64 */
#define CPU "max,la57=off,erms=off,fsrm=off"
/* SHA-384 of 48 zero bytes and the text */
#define ROLE_PCR \
    "500b81f4c7ffd1dbb597217f9fe4d2286e216b4957667e10" \
    "324df4306e2cf79efa46a194365bbabe363a443304b8bdbf"
#define ID_PCR \
    "bab156729844722dbdfabcd54d904689b86fabd93cf92925" \
    "5dc01ee9cacd009c55284350cec6701844fb64c991601859"

typedef struct Row {
    const char *name;
    EifArch arch;
    const char *accel;
    const char *id, *role;
    const char *firmware;
    const char *extra;          /* --qemu-arg */
    OnOffAuto acpi;
    bool needs_acpi;
    bool debug;
    bool is_signed;
    bool foreign;               /* the host has the other architecture */
    unsigned int vcpus;
    int initrd_fd;
    int signer_fd;              /* 0: none */
    const char *cmdline;        /* arm64 only */
    NhvKernel unpacked;         /* x86_64 only */
    uint64_t image_size;
    bool no_unpack;
    const char *line;
} Row;

static const Row rows[] = {
    { "x86/production", EIF_ARCH_X86_64, "kvm", .vcpus = 2, .initrd_fd = -1,
      .acpi = ON_OFF_AUTO_OFF,
      .line = "x86 -name enclave-16 -m 64M -accel kvm "
      "-M nitro-enclave,vsock=vsock,id=" NO_ID ENC ",acpi=off,debug-mode=off "
      "-smp 2,sockets=1,cores=1,threads=2 -cpu host,pmu=off "
      "-kernel /proc/self/fd/9 "
      "-chardev socket,id=vsock,fd=7 -serial null" END },
    { "x86/debug", EIF_ARCH_X86_64, "kvm", .vcpus = 3, .initrd_fd = -1,
      .acpi = ON_OFF_AUTO_OFF, .debug = true,
      .line = "x86 -name enclave-16 -m 64M -accel kvm "
      "-M nitro-enclave,vsock=vsock,id=" NO_ID ENC ",acpi=off,debug-mode=on "
      "-smp 3,sockets=1,cores=3,threads=1 -cpu host,pmu=off "
      "-kernel /proc/self/fd/9 "
      "-chardev socket,id=vsock,fd=7 -chardev socket,id=console,fd=8 "
      "-serial chardev:console" END },
    { "x86/acpi", EIF_ARCH_X86_64, "kvm", ID, ROLE, "/fw", "-S",
      ON_OFF_AUTO_AUTO, true, .vcpus = 4, .initrd_fd = -1,
      .line = "x86 -name enclave-16 -m 64M -accel kvm -L /fw "
      "-M nitro-enclave,vsock=vsock,id=i-1,,2" ENC ",acpi=on,debug-mode=off,"
      "parent-id=i-1,,2,parent-role=" ROLE " -bios qboot.rom "
      "-smp 4,sockets=1,cores=2,threads=2 -cpu host,pmu=off "
      "-kernel /proc/self/fd/9 "
      "-chardev socket,id=vsock,fd=7 -serial null" END " -S" },
    { "x86/signer", EIF_ARCH_X86_64, "kvm", ID, .vcpus = 2, .initrd_fd = -1,
      .signer_fd = 12, .acpi = ON_OFF_AUTO_OFF,
      .line = "x86 -name enclave-16 -m 64M -accel kvm "
      "-M nitro-enclave,vsock=vsock,id=i-1,,2" ENC ",acpi=off,debug-mode=off,"
      "parent-id=i-1,,2 -smp 2,sockets=1,cores=1,threads=2 -cpu host,pmu=off "
      "-kernel /proc/self/fd/9 -chardev socket,id=vsock,fd=7 "
      "-add-fd fd=12,set=9 "
      "-object nitro-nsm-signer,id=nsm-signer,file=/dev/fdset/9 "
      "-serial null" END },
    { "arm64/production", EIF_ARCH_AARCH64, "tcg,thread=multi", ID, ROLE,
      .vcpus = 2, .initrd_fd = 11, .is_signed = true,
      .cmdline = "reboot=k console=ttyAMA0 x",
      .line = "arm -name enclave-16 -m 64M -accel tcg,thread=multi "
      "-object memory-backend-memfd,id=ram,size=64M,share=on "
      "-M virt,gic-version=3,memory-backend=ram "
      "-smp 2,sockets=1,cores=2,threads=1 -cpu neoverse-n1 "
      "-kernel /proc/self/fd/10 -initrd /proc/self/fd/11 "
      "-append reboot=k console=ttyAMA0 x cryptomgr.notests "
      "-device vhost-user-vsock-device,chardev=vsock "
      "-device virtio-nsm-device,module-id=i-1,,2" ENC
      ",pcr0=" HEX96("a") ",pcr1=" HEX96("b") ",pcr2=" HEX96("c")
      ",pcr3=" ROLE_PCR ",pcr4=" ID_PCR ",pcr8=" HEX96("8")
      " -chardev socket,id=vsock,fd=7 -serial null" END },
    { "arm64/unsigned", EIF_ARCH_AARCH64, "kvm", .firmware = "/fw",
      .vcpus = 3, .initrd_fd = -1, .acpi = ON_OFF_AUTO_ON, .cmdline = "",
      .line = "arm -name enclave-16 -m 64M -accel kvm "
      "-object memory-backend-memfd,id=ram,size=64M,share=on "
      "-M virt,gic-version=host,memory-backend=ram "
      "-smp 3,sockets=1,cores=3,threads=1 -cpu host "
      "-kernel /proc/self/fd/10 -append  console=ttyAMA0 "
      "-device vhost-user-vsock-device,chardev=vsock "
      "-device virtio-nsm-device,module-id=" NO_ID ENC
      ",pcr0=" HEX96("a") ",pcr1=" HEX96("b") ",pcr2=" HEX96("c")
      " -chardev socket,id=vsock,fd=7 -serial null" END },
    { "arm64/debug", EIF_ARCH_AARCH64, "kvm", ID, ROLE,
      .vcpus = 1, .initrd_fd = -1, .debug = true, .is_signed = true,
      .cmdline = "console=ttyS0",
      .line = "arm -name enclave-16 -m 64M -accel kvm "
      "-object memory-backend-memfd,id=ram,size=64M,share=on "
      "-M virt,gic-version=host,memory-backend=ram "
      "-smp 1,sockets=1,cores=1,threads=1 -cpu host "
      "-kernel /proc/self/fd/10 -append console=ttyS0 console=ttyAMA0 "
      "-device vhost-user-vsock-device,chardev=vsock "
      "-device virtio-nsm-device,module-id=i-1,,2" ENC ",pcr0=" HEX96("0")
      ",pcr3=" ROLE_PCR ",pcr4=" ID_PCR
      " -chardev socket,id=vsock,fd=7 -chardev socket,id=console,fd=8 "
      "-serial chardev:console" END },
};

/* Registers that tell each other apart by their digit */
static EifMeasurements measured(bool is_signed)
{
    EifMeasurements m = { .has_pcr8 = is_signed };

    memset(m.pcr0, 0xaa, EIF_PCR_LEN);
    memset(m.pcr1, 0xbb, EIF_PCR_LEN);
    memset(m.pcr2, 0xcc, EIF_PCR_LEN);
    memset(m.pcr8, is_signed ? 0x88 : 0, EIF_PCR_LEN);
    return m;
}

/* Characters that the kernel takes beyond the line of the image */
static uint64_t room = 1000;

static char **row_args(const Row *row, const char *cmdline)
{
    const char *firmware[] = { row->firmware, NULL };
    const char *extra[] = { row->extra, NULL };
    const NhvOptions opts = {
        .qemu = (char *)"x86", .qemu_aarch64 = (char *)"arm",
        .accel = (char *)row->accel,
        .host = row->foreign ? !row->arch : row->arch,
        .parent_id = (char *)row->id,
        .parent_role = (char *)row->role, .acpi = row->acpi,
        .qemu_args = row->extra ? (char **)extra : NULL,
        .firmware_dirs = row->firmware ? (char **)firmware : NULL,
        .no_unpack = row->no_unpack,
    };
    const NhvImage image = {
        .arch = row->arch, .fd = 9, .kernel_fd = 10,
        .initrd_fd = row->initrd_fd, .cmdline = (char *)cmdline,
        .cmdline_room = room, .size = row->image_size,
        .unpacked = row->unpacked,
        .needs_acpi = row->needs_acpi, .pcrs = measured(row->is_signed),
    };
    const NhvChildConfig config = {
        .opts = &opts, .slot_uid = 42, .cid = 16, .vcpus = row->vcpus,
        .memory = 64 * MiB, .debug = row->debug, .image = &image,
        .signer_fd = row->signer_fd ?: -1,
    };

    const NhvChildFds fds = {
        .vsock = VSOCK_FD, .monitor = MONITOR_FD,
        .serial = row->debug ? SERIAL_FD : -1,
    };

    return nhv_child_args(&config, &fds);
}

static void test_row(const void *opaque)
{
    const Row *row = opaque;
    g_auto(GStrv) args = row_args(row, row->cmdline);
    g_autofree char *line = g_strjoinv(" ", args);

    g_assert_cmpstr(line, ==, row->line);
}

static const char *value_of(char **args, const char *option)
{
    for (; *args; args++) {
        if (g_str_equal(*args, option)) {
            return args[1];
        }
    }
    return NULL;
}

/* Emulated x86 CPUs; their clock is passed on where the host's is known */
static void test_tcg_x86(void)
{
    const Row row = {
        .arch = EIF_ARCH_X86_64, .accel = "tcg", .vcpus = 2, .initrd_fd = -1,
    };
    g_auto(GStrv) args = row_args(&row, NULL);
    const char *append = value_of(args, "-append");
    unsigned int khz, lpj;

    g_assert_cmpstr(value_of(args, "-cpu"), ==, CPU);
    g_assert_true(g_str_has_suffix(append,
                                   "no_timer_check cryptomgr.notests"));
    if (g_str_has_prefix(append, "tsc_")) {
        g_assert_cmpint(sscanf(append, "tsc_early_khz=%u tsc=reliable lpj=%u",
                               &khz, &lpj), ==, 2);
        g_assert_cmpuint(lpj, ==, khz * 4);
        g_assert_cmpuint(khz, >, 0);
    }
}

/* A kernel is booted unpacked where that saves time and changes no outcome */
static void test_unpacked(void)
{
    static const struct {
        const char *accel;
        uint64_t end, image_size;
        bool no_unpack, foreign, expected;
    } row[] = {
        { "tcg", 50 * MiB, 14 * MiB, .expected = true },
        { "kvm", 50 * MiB, 14 * MiB, .foreign = true, .expected = true },
        { "tcg", 50 * MiB, 14 * MiB + 1 },
        { "tcg", 64 * MiB, 1 },
        { "tcg", 0, 14 * MiB },
        { "tcg", 50 * MiB, 14 * MiB, .no_unpack = true },
        { "kvm", 50 * MiB, 14 * MiB },
    };

    for (int i = 0; i < ARRAY_SIZE(row); i++) {
        const Row one = {
            .arch = EIF_ARCH_X86_64, .accel = row[i].accel, .vcpus = 2,
            .foreign = row[i].foreign, .initrd_fd = -1,
            .unpacked = { .fd = 13, .end = row[i].end },
            .image_size = row[i].image_size, .no_unpack = row[i].no_unpack,
        };
        g_auto(GStrv) args = row_args(&one, NULL);

        g_assert_cmpint(g_str_has_suffix(
                            value_of(args, "-M"),
                            ",unpacked-kernel=/proc/self/fd/13"), ==,
                        row[i].expected);
        g_assert_cmpstr(value_of(args, "-kernel"), ==, "/proc/self/fd/9");
    }
}

/* KVM runs guests of the host's architecture only, the emulation all */
static void test_foreign(void)
{
    static const struct {
        EifArch arch;
        const char *accel, *used, *cpu;
    } row[] = {
        { EIF_ARCH_X86_64, "kvm", NHV_ACCEL_TCG, CPU },
        { EIF_ARCH_AARCH64, "kvm", NHV_ACCEL_TCG, "neoverse-n1" },
        { EIF_ARCH_X86_64, "tcg,thread=single", "tcg,thread=single",
          CPU },
        { EIF_ARCH_AARCH64, "tcg,thread=single", "tcg,thread=single",
          "neoverse-n1" },
    };

    for (int i = 0; i < ARRAY_SIZE(row); i++) {
        const Row one = {
            .arch = row[i].arch, .accel = row[i].accel, .foreign = true,
            .vcpus = 2, .initrd_fd = -1,
        };
        g_auto(GStrv) args = row_args(&one, "");

        g_assert_cmpstr(value_of(args, "-accel"), ==, row[i].used);
        g_assert_cmpstr(value_of(args, "-cpu"), ==, row[i].cpu);
        g_assert_null(strstr(value_of(args, "-M"), "gic-version=host"));
    }
}

/* Words for the emulation, as long as they fit behind the line */
static void test_room_arm(void)
{
    const Row row = {
        .arch = EIF_ARCH_AARCH64, .accel = "tcg", .vcpus = 2, .initrd_fd = -1,
    };
    size_t console = strlen(" console=ttyAMA0");
    size_t both = console + strlen(" cryptomgr.notests");

    for (room = 0; room < 2 * both; room++) {
        g_auto(GStrv) args = row_args(&row, "quiet");

        g_assert_cmpstr(value_of(args, "-append"), ==,
                        room < console ? "quiet" :
                        room < both ? "quiet console=ttyAMA0" :
                        "quiet console=ttyAMA0 cryptomgr.notests");
    }
    room = 1000;
}

static void test_room_x86(void)
{
    const Row row = {
        .arch = EIF_ARCH_X86_64, .accel = "tcg", .vcpus = 2, .initrd_fd = -1,
        .acpi = ON_OFF_AUTO_OFF,
    };
    g_auto(GStrv) all = row_args(&row, NULL);
    const char *append = value_of(all, "-append");
    size_t devices = strlen(" virtio_mmio.device=512@0xfeb02e00:12") * 2;

    for (room = 0; room < 200; room++) {
        g_auto(GStrv) args = row_args(&row, NULL);
        const char *clock = value_of(args, "-append");
        bool off = strstr(value_of(args, "-M"), ",auto-kernel-cmdline=off");

        g_assert(off || room >= devices);
        g_assert(!off || room < devices + 8);
        g_assert(!clock || room > devices + strlen(clock));
        g_assert(!append || clock || room < devices + strlen(append) + 8);
    }
    room = 1000;
}

/* With ACPI the machine appends nothing of its own */
static void test_room_acpi(void)
{
    const Row row = {
        .arch = EIF_ARCH_X86_64, .accel = "tcg", .vcpus = 2, .initrd_fd = -1,
        .acpi = ON_OFF_AUTO_ON,
    };

    for (room = 0; room < 100; room++) {
        g_auto(GStrv) args = row_args(&row, NULL);
        const char *clock = value_of(args, "-append");

        g_assert_null(strstr(value_of(args, "-M"), "auto-kernel-cmdline"));
        g_assert(!clock || room > strlen(clock));
    }
    room = 1000;
}

/* Whatever is in the image goes into one argument, whole */
static void test_long_line(void)
{
    const Row row = {
        .arch = EIF_ARCH_AARCH64, .accel = "tcg", .vcpus = 2, .initrd_fd = -1,
    };
    g_autofree char *filler = g_strnfill(LONG_LINE, 'x');
    g_autofree char *cmdline = g_strconcat(filler, " -M , %s \"end\"", NULL);
    g_autofree char *want = g_strconcat(cmdline, " console=ttyAMA0"
                                        " cryptomgr.notests", NULL);
    g_auto(GStrv) args = row_args(&row, cmdline);

    g_assert_cmpstr(value_of(args, "-append"), ==, want);
}

/* Who decides whether there are ACPI tables, and what is said of it */
static void test_acpi(void)
{
    static const struct {
        OnOffAuto option;
        bool needs, has;
        const char *reason;
    } choices[] = {
        { ON_OFF_AUTO_AUTO, false, false, "image" },
        { ON_OFF_AUTO_AUTO, true, true, "image" },
        { ON_OFF_AUTO_OFF, true, false, "option --acpi" },
        { ON_OFF_AUTO_OFF, false, false, "option --acpi" },
        { ON_OFF_AUTO_ON, false, true, "option --acpi" },
        { ON_OFF_AUTO_ON, true, true, "option --acpi" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
        NhvOptions opts = { .acpi = choices[i].option };
        NhvImage image = {
            .needs_acpi = choices[i].needs, .acpi_reason = "image",
        };
        const char *reason = NULL;

        g_assert_cmpint(nhv_child_has_acpi(&opts, &image, &reason), ==,
                        choices[i].has);
        g_assert_cmpstr(reason, ==, choices[i].reason);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/child-args/%s",
                                                rows[i].name);

        g_test_add_data_func(path, &rows[i], test_row);
    }
    g_test_add_func("/nitro/child-args/tcg-x86", test_tcg_x86);
    g_test_add_func("/nitro/child-args/unpacked", test_unpacked);
    g_test_add_func("/nitro/child-args/foreign", test_foreign);
    g_test_add_func("/nitro/child-args/long-line", test_long_line);
    g_test_add_func("/nitro/child-args/room/arm", test_room_arm);
    g_test_add_func("/nitro/child-args/room/x86", test_room_x86);
    g_test_add_func("/nitro/child-args/room/acpi", test_room_acpi);
    g_test_add_func("/nitro/child-args/acpi", test_acpi);
    return g_test_run();
}
