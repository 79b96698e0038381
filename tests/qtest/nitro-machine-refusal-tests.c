/*
 * Nitro Enclaves: what machine nitro refuses
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * QEMU must end with status 1 and a message.  Where only "-accel nitro" looks
 * at it, a library takes the place of the driver (tests/nitro/fake-ne.c).
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "nitro-machine-util.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/patience.h"

#define QTEST "-accel qtest -M nitro "
#define NITRO "-accel nitro,device=/dev/null -M nitro "
#define BACKEND(type) "-M nitro,memory-backend=ram -m 64M " \
                      "-object memory-backend-" type ",id=ram,size=64M"

static const struct Refusal {
    const char *path;
    const char *options;
    const char *message;
    const char *hint;
    const char *arch; /* NULL: all */
    bool kvm, tcg; /* only a QEMU with it has the option */
} refusals[] = {
    /* options */
    { "bios", QTEST "-bios x", "-bios cannot be used with machine nitro: an "
      "enclave starts without firmware" },
    { "dtb", QTEST "-kernel %s/eif -dtb x", "-dtb cannot be used" },
    { "shim", QTEST "-kernel %s/eif -shim x", "-shim cannot be used" },
    { "option-rom", QTEST "-option-rom x", "-option-rom cannot be used" },
    { "boot-order", QTEST "-boot n", "-boot cannot be used with machine nitro: "
      "an enclave starts its image and nothing else" },
    { "boot-once", QTEST "-boot once=d", "-boot cannot be used" },
    { "boot-menu", QTEST "-boot menu=on", "-boot cannot be used" },
    { "boot-splash", QTEST "-boot splash=x", "-boot cannot be used" },
    { "boot-splash-time", QTEST "-boot splash-time=1", "-boot cannot be used" },
    { "boot-reboot", QTEST "-boot reboot-timeout=1", "-boot cannot be used" },
    { "dt-compatible", QTEST "-M dt-compatible=x", "-M dt-compatible cannot be "
      "used with machine nitro: the hypervisor describes the hardware of an "
      "enclave" },
    { "acpitable", QTEST "-acpitable sig=TEST,data=%s/text",
      "-acpitable cannot be used", .arch = "x86_64" },
    { "semihosting", QTEST "-semihosting", "-semihosting cannot be used",
      .arch = "aarch64" },
    { "smbios", QTEST "-smbios type=0,vendor=x", "-smbios cannot be used" },
    { "drive", QTEST "-drive if=none,format=raw,file=%s/text",
      "-drive cannot be used with machine nitro: an enclave has no disks" },
    { "pflash", QTEST "-drive if=pflash,format=raw,file=%s/text",
      "-drive cannot be used" },
    { "cdrom", QTEST "-cdrom %s/text", "-drive cannot be used" },
    { "hda", QTEST "-drive format=raw,file=%s/text", "-drive cannot be used" },
    { "net", QTEST "-net nic,model=virtio",
      "-nic without model=nitro-net cannot be used with machine nitro: an "
      "enclave has no other network card" },
    { "nic", QTEST "-nic hubport,hubid=1",
      "-nic without model=nitro-net cannot be used" },
    { "nics", QTEST "-nic hubport,hubid=1,model=nitro-net "
      "-nic hubport,hubid=2,model=nitro-net",
      "a second -nic cannot be used with machine nitro: an enclave has one "
      "network card, of model nitro-net" },
    { "other-nic", QTEST "-nic hubport,hubid=1,model=nitro-net "
      "-nic hubport,hubid=2,model=e1000", "a second -nic cannot be used" },
    { "usb", QTEST "-usb", "-usb cannot be used" },
    { "parallel", QTEST "-parallel null", "-parallel cannot be used" },
    { "serial", QTEST "-serial null -serial null", "a second -serial cannot "
      "be used with machine nitro: an enclave has one console" },
    { "slots", QTEST "-m 64M,slots=1,maxmem=128M",
      "-m with slots or maxmem cannot be used" },
    { "maxcpus", QTEST "-smp 2,maxcpus=4", "-smp with maxcpus cannot be used" },
    { "watchdog", QTEST "-watchdog-action none", "-action watchdog cannot be "
      "used with machine nitro: an enclave has no watchdog" },
    { "action", QTEST "-action watchdog=reset", "-action watchdog cannot be" },
    { "cpu-pm", QTEST "-overcommit cpu-pm=on", "-overcommit cpu-pm cannot be "
      "used with machine nitro: the hypervisor runs the vCPUs of an enclave" },
    { "xen-domid", QTEST "-xen-domid 3", "-xen-domid cannot be used with "
      "machine nitro: an enclave is not a guest of Xen", .kvm = true },
    { "too-many-cpus", QTEST "-smp 4097", "4096" },
    { "incoming", QTEST "-incoming defer", "-incoming cannot be used" },
    { "numa", QTEST "-numa node", "NUMA is not supported" },
    { "cpu", NITRO "-kernel %s/eif -m 64M " BACKEND("memfd,hugetlb=on")
      " -cpu max",
      "-cpu max cannot be used with machine nitro: the vCPUs of an enclave "
      "are CPUs of the host", "use -cpu host" },
    { "usbdevice", QTEST "-usbdevice tablet", "-usb cannot be used" },
    { "fw_cfg", QTEST "-fw_cfg name=opt/x,string=y",
      "fw_cfg device not available" },
    { "icount", QTEST "-icount auto",
      "-icount is not allowed with hardware virtualization", .tcg = true },
    { "loadvm", QTEST "-kernel %s/eif -m 64M -loadvm x",
      "no block device can store vmstate for snapshot" },
    { "append-alone", QTEST "-append x",
      "-append only allowed with -kernel option" },
    { "pci", QTEST "-device virtio-rng-pci", "No 'PCI' bus found" },

    /* memory */
    { "small", QTEST "-m 32M", "-m 32M is too little, an enclave needs at "
      "least 64 MiB", "Use -m 64M or more" },
    { "odd", QTEST "-m 65M", "-m 65M is not a multiple of 2 MiB",
      "Use -m 66M" },
    { "odd-kib", QTEST "-m 102408K", "-m 102408K is not a multiple of 2 MiB",
      "Use -m 102M" },
    { "backend-size", QTEST BACKEND("ram") " -m 128M", "does not match" },
    { "backend-ram", NITRO "-kernel %s/eif " BACKEND("ram"),
      "memory backend 'ram' has pages of 4K, an enclave needs huge pages of "
      "2M or more", "Transparent huge pages will not do" },
    { "backend-memfd", NITRO "-kernel %s/eif " BACKEND("memfd"),
      "memory backend 'ram' has pages of 4K", "hugetlb=on" },
    { "mem-path", NITRO "-kernel %s/eif -m 64M -mem-path %s",
      "memory backend 'ram' has pages of 4K", "hugetlbfs" },

    /* images */
    { "no-kernel", NITRO BACKEND("memfd,hugetlb=on"),
      "machine nitro needs an enclave image", "Use -kernel FILE" },
    { "missing", QTEST "-kernel %s/absent", "absent': No such file" },
    { "empty", QTEST "-kernel %s/empty", "it is an empty file" },
    { "directory", QTEST "-kernel %s", "it is a directory" },
    { "device", QTEST "-kernel /dev/null", "character device" },
    { "fifo", QTEST "-kernel %s/fifo", "it is a pipe" },
    { "text", QTEST "-kernel %s/text", "it is a text file" },
    { "gzip", QTEST "-kernel %s/gzip", "it is a gzip file" },
    { "short", QTEST "-kernel %s/eif-short", "eif-short: " },
    { "broken", QTEST "-kernel %s/eif-broken", "CRC" },
    { "architecture", QTEST "-kernel %s/eif-other", "image is for " },
    { "kernel-in-image", QTEST "-kernel %s/eif-text",
      "/eif-text: the kernel is a text file, wanted is ",
      "Build the image again" },
    { "large", QTEST "-m 64M -kernel %s/eif-large",
      "bytes at offset 8388608, RAM ends at 67108864",
      "Raise -m to at least 66M" },
    { "eif-initrd", QTEST "-kernel %s/eif -initrd %s/initrd",
      "-initrd cannot be used with an enclave image", "Leave it out" },
    { "eif-append", QTEST "-kernel %s/eif -append quiet",
      "-append cannot be used with an enclave image", "Leave it out" },
    { "initrd-missing", QTEST "-kernel %s/kernel -initrd %s/absent",
      "-initrd: Could not open" },
    { "initrd-empty", QTEST "-kernel %s/kernel -initrd %s/empty",
      "empty is an empty file, not a ramdisk" },
    { "initrd-directory", QTEST "-kernel %s/kernel -initrd %s",
      "is a directory, not a ramdisk" },
    { "initrd-eif", QTEST "-kernel %s/kernel -initrd %s/eif",
      "not a ramdisk" },
    { "initrd-second", QTEST "-kernel %s/kernel -initrd %s/initrd,%s/empty",
      "/empty is an empty file, not a ramdisk" },
    { "initrd-comma", QTEST "-kernel %s/kernel -initrd %s/initrd,",
      "-initrd: Could not open '': No such file or directory" },
    { "initrd-many", QTEST "-kernel %s/kernel -initrd a,b,c,d,e,f,g,h,i,j,k,l,"
      "m,n,o,p,q,r,s,t,u,v,w,x,y,z,1,2,3,4", "-initrd names 30 files, an "
      "enclave image has room for 29", "Join some" },

    /* which image may be launched */
    { "pcr0", QTEST "-kernel %s/eif -M expect-pcr0=" LAUNCHABLE_PCR1,
      "/eif: PCR0 of the image is " LAUNCHABLE_PCR0 ", expected is "
      LAUNCHABLE_PCR1, "Use the image that is meant" },
    { "pcr2", QTEST "-kernel %s/kernel -M expect-pcr2=" EXAMPLE_PCR2,
      "PCR2 of the image is " EMPTY_PCR2 ", expected is " EXAMPLE_PCR2 },
    { "pcr8", QTEST "-kernel %s/eif -M expect-pcr8=" EXAMPLE_PCR8,
      "the image is not signed, expected is PCR8 " EXAMPLE_PCR8 },
    { "signature-junk", QTEST "-kernel %s/eif-junk", "/eif-junk: the image is "
      "not validly signed: the signature section of the image is broken: ",
      "use -M signature=warn to launch it" },
    { "signature-der", QTEST "-kernel %s/eif-der", "/eif-der: the image is "
      "not validly signed: the certificate in the signature section of the "
      "image (5 bytes) is not an X.509 certificate in PEM form",
      "use -M signature=warn to launch it" },
    { "signature-junk-require", QTEST "-kernel %s/eif-junk -M "
      "signature=require", "the signature section of the image is broken: ",
      "'qemu-eif sign' replaces the signature" },
    { "pcr8-junk", QTEST "-kernel %s/eif-junk -M signature=off,expect-pcr8="
      EXAMPLE_PCR8, "the signature section of the image is broken, expected "
      "is PCR8 " EXAMPLE_PCR8 },
    { "pcr-short", QTEST "-M expect-pcr1=12",
      "expect-pcr1: a PCR has 96 hexadecimal digits, '12' is not one" },
    { "signature-mode", QTEST "-M signature=maybe",
      "does not accept value 'maybe'" },
    { "not-signed", QTEST "-kernel %s/eif -M signature=require",
      "signature=require, but the image is not signed", "Sign it" },
    { "kernel-not-signed", QTEST "-kernel %s/kernel -M signature=require",
      "signature=require, but the image is not signed" },
    { "eif-out", QTEST "-kernel %s/eif -M eif-out=%s",
      ": it is not a regular file" },
    { "eif-out-directory", QTEST "-kernel %s/eif -M eif-out=%s/none/out",
      "/none/out: No such file or directory" },
    { "eif-out-kernel", QTEST "-kernel %s/kernel -M eif-out=%s/kernel",
      "eif-out and -kernel name the same file: ", "Write to another file" },
    { "eif-out-initrd", QTEST "-kernel %s/kernel -initrd %s/initrd,%s/text "
      "-M eif-out=%s/text", "eif-out and -initrd name the same file: ",
      "Write to another file" },
#ifdef CONFIG_GNUTLS
    { "expired", QTEST "-kernel %s/eif-expired",
      "/eif-expired: the image is not validly signed: the certificate was "
      "valid until ", "use -M signature=warn to launch it" },
    { "expired-require", QTEST "-kernel %s/eif-expired -M signature=require",
      "/eif-expired: the image is not validly signed: the certificate was "
      "valid until ", "Set the clock" },
    { "signed-other", QTEST "-kernel %s/eif-signed-other "
      "-M signature=require", "the signature is for an image with PCR0 "
      LAUNCHABLE_PCR1 ", this one has " LAUNCHABLE_PCR0,
      "Sign an unsigned copy" },
#endif

    /* devices */
    { "heartbeats", QTEST "-device nitro-heartbeat -device nitro-heartbeat",
      "the enclave has a nitro-heartbeat already, there can be one only" },
    { "heartbeat-on", QTEST "-M heartbeat=on -device nitro-heartbeat",
      "the enclave has a nitro-heartbeat already" },
    { "consoles", QTEST "-serial null -chardev null,id=c "
      "-device nitro-serial-vsock,chardev=c",
      "the enclave has a nitro-serial-vsock already", "Use -serial none" },
    { "no-chardev", QTEST "-nodefaults -device nitro-serial-vsock",
      "nitro-serial-vsock needs a character device", "-chardev stdio" },
    { "backlog-small", QTEST "-nodefaults -chardev null,id=c "
      "-device nitro-serial-vsock,chardev=c,backlog=1K",
      "a backlog of 1024 bytes is out of range",
      "Use backlog=SIZE, from 4K to 64M" },
    { "backlog-large", QTEST "-nodefaults -chardev null,id=c "
      "-device nitro-serial-vsock,chardev=c,backlog=65M",
      "a backlog of 68157440 bytes is out of range" },
    { "overflow", QTEST "-nodefaults -chardev null,id=c "
      "-device nitro-serial-vsock,chardev=c,overflow=never",
      "does not accept value 'never'" },
    { "channel-chardev", QTEST "-device nitro-vsock-chardev,port=5005",
      "nitro-vsock-chardev needs a character device", "-chardev socket" },
    { "channel-chardev-used", QTEST "-nodefaults -chardev null,id=c "
      "-device nitro-vsock-chardev,chardev=c,port=5005 "
      "-device nitro-vsock-chardev,chardev=c,port=5006",
      "can't take value 'c': chardev 'c' is already in use" },
    { "channel-port", QTEST "-chardev null,id=c "
      "-device nitro-vsock-chardev,chardev=c",
      "nitro-vsock-chardev: 0 is not a port to connect to or to listen on",
      "Use port=PORT" },
    { "channel-port-any", QTEST "-chardev null,id=c "
      "-device nitro-vsock-chardev,chardev=c,port=4294967295",
      "4294967295 is not a port to connect to or to listen on" },
    { "channel-heartbeat", QTEST "-chardev null,id=c "
      "-device nitro-vsock-chardev,chardev=c,port=9000,direction=listen",
      "vsock port 9000 is for the heartbeat of enclaves" },
    { "channel-twice", QTEST "-chardev null,id=c -chardev null,id=d "
      "-device nitro-vsock-chardev,chardev=c,port=5006,direction=listen "
      "-device nitro-vsock-chardev,chardev=d,port=5006,direction=listen",
      "another one listens on vsock port 5006 already" },
    { "channel-direction", QTEST "-chardev null,id=c "
      "-device nitro-vsock-chardev,chardev=c,port=1,direction=both",
      "does not accept value 'both'" },
    { "no-debug-mode", NITRO "-nodefaults -kernel %s/eif "
      BACKEND("memfd,hugetlb=on") " -chardev null,id=c "
      "-device nitro-serial-vsock,chardev=c",
      "only an enclave in debug mode has a console", "debug-mode=on" },
    { "no-bus", "-accel qtest -M none -device nitro-heartbeat",
      "No 'nitro-vsock-bus' bus found" },
    { "bridge", QTEST "-device nitro-vsock-bridge",
      "expects a pluggable device type" },
};

/* Returns what QEMU said, to be freed */
static char *run(const char *options, int *status)
{
    g_autofree char *all = nitro_machine_options(options);
    g_autofree char *err = nitro_machine_path("err");
    g_autofree char *command =
        g_strdup_printf("exec timeout " PATIENCE_WORD " %s -display none "
                        "-monitor none %s < /dev/null > %s 2>&1",
                        getenv("QTEST_QEMU_BINARY"), all, err);
    char *said = NULL;
    int ret;

    g_setenv("LD_PRELOAD", nitro_machine_library, true);
    ret = system(command);
    g_unsetenv("LD_PRELOAD");
    g_assert(WIFEXITED(ret));
    *status = WEXITSTATUS(ret);
    g_assert(g_file_get_contents(err, &said, NULL, NULL));
    return said;
}

static void assert_says(const char *said, const char *part)
{
    if (part && !strstr(said, part)) {
        g_test_message("\"%s\" lacks \"%s\"", said, part);
        g_test_fail();
    }
}

static void test_refusal(const void *opaque)
{
    const struct Refusal *refusal = opaque;
    int status;
    g_autofree char *said = run(refusal->options, &status);

    g_test_message("%s", said);
    g_assert_cmpint(status, ==, 1);
    assert_says(said, refusal->message);
    assert_says(said, refusal->hint);
}

/* More pages than any host has */
static void test_huge_pages(void)
{
    int status;
    g_autofree char *said = NULL;

    if (!g_file_test("/sys/kernel/mm/hugepages/hugepages-2048kB",
                     G_FILE_TEST_IS_DIR)) {
        g_test_skip("the kernel has no huge pages of 2 MiB");
        return;
    }
    said = run(NITRO "-kernel %s/eif -m 1000000G", &status);
    g_assert_cmpint(status, ==, 1);
    assert_says(said, "-m 1000000G needs 512000000 huge pages of 2M, ");
    assert_says(said, " are free");
    assert_says(said, "\necho 512");
    assert_says(said, "/nr_hugepages");
}

static bool built_with_kvm(void)
{
    const char *targets[] = { CONFIG_KVM_TARGETS };

    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        if (g_str_has_prefix(targets[i], qtest_get_arch())) {
            return true;
        }
    }
    return false;
}

void nitro_machine_add_refusals(void)
{
    bool kvm = built_with_kvm();

    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        g_autofree char *path = g_strdup_printf("/nitro/machine/refused/%s",
                                                refusals[i].path);

        if ((!refusals[i].arch ||
             g_str_equal(refusals[i].arch, qtest_get_arch())) &&
            (!refusals[i].kvm || kvm) &&
            (!refusals[i].tcg || qtest_has_accel("tcg"))) {
            qtest_add_data_func(path, &refusals[i], test_refusal);
        }
    }
    qtest_add_func("/nitro/machine/refused/huge-pages", test_huge_pages);
}
