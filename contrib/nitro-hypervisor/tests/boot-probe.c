/*
 * A kernel that finds its virtio devices as Nitro Enclaves kernels do
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Freestanding, the code of a bzImage that is entered in protected mode.  It
 * knows nothing of ACPI: devices are those that
 * virtio_mmio.device=SIZE@ADDRESS:IRQ on the command line names, interrupts
 * those that the MP table describes.  Prints what it finds on the serial port
 * and ends by a triple fault.
 *
 *   gcc -m32 -march=i686 -O2 -ffreestanding -fno-pie -fno-stack-protector \
 *       -nostdlib -static -no-pie -Wl,-Ttext=0x100000,--build-id=none \
 *       -Wl,--oformat=binary -o boot-probe boot-probe.c
 */

#define SERIAL_PORT     0x3f8
#define SERIAL_STATUS   (SERIAL_PORT + 5)
#define SERIAL_READY    0x20

#define MMIO_MAGIC      0x74726976      /* "virt" */
#define MMIO_VERSION    0x004
#define MMIO_DEVICE_ID  0x008

/* Address of the command line, in what the boot protocol hands over */
#define BOOT_CMDLINE    0x228

#define RSDP_MAGIC      0x20445352      /* "RSD " */
#define MP_MAGIC        0x5f504d5f      /* "_MP_" */
#define MP_TABLE_MAGIC  0x504d4350      /* "PCMP" */
#define MP_INTERRUPT    3

/* As kernels with CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES contain it */
const char device_parent[] __attribute__((used)) = "virtio-mmio-cmdline";

/* The code begins with this, whatever the compiler puts after it */
asm(".pushsection .text.unlikely, \"ax\"\n"
    ".globl _start\n"
    "_start:\n"
    "    mov $probe_stack + 4096, %esp\n"
    "    push %esi\n"
    "    call probe_main\n"
    ".popsection\n");

/* Not all zeros, so that a plain copy of the program brings it along */
char probe_stack[4096] __attribute__((used)) = "stack";

static void outb(unsigned short port, unsigned char value)
{
    asm volatile("outb %0, %1" : : "a" (value), "Nd" (port));
}

static unsigned char inb(unsigned short port)
{
    unsigned char value;

    asm volatile("inb %1, %0" : "=a" (value) : "Nd" (port));
    return value;
}

static void put(char c)
{
    while (!(inb(SERIAL_STATUS) & SERIAL_READY)) {
        /* wait */
    }
    outb(SERIAL_PORT, c);
}

static void print(const char *text)
{
    while (*text) {
        put(*text++);
    }
}

static void print_hex(unsigned int value)
{
    int shift = 28;

    while (shift && !(value >> shift)) {
        shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
        put("0123456789abcdef"[(value >> shift) & 15]);
    }
}

static unsigned int read32(unsigned int address)
{
    /* a device register: read it every time */
    return *(volatile unsigned int *)address;
}

/* Decimal or 0x..., moves @text behind it */
static unsigned int number(const char **text)
{
    unsigned int value = 0, base = 10, digit;

    if ((*text)[0] == '0' && (*text)[1] == 'x') {
        base = 16;
        *text += 2;
    }
    for (;; (*text)++) {
        char c = **text;

        digit = c >= '0' && c <= '9' ? c - '0'
              : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= base) {
            return value;
        }
        value = value * base + digit;
    }
}

/* Is the interrupt one that the MP table routes to an IOAPIC? */
static int mp_has_irq(const unsigned char *table, unsigned int irq)
{
    /* Like Linux, go by the length: the number of entries may be missing */
    const unsigned char *end = table + *(const unsigned short *)(table + 4);
    const unsigned char *entry = table + 44;

    while (entry < end) {
        if (entry[0] == MP_INTERRUPT && entry[5] == irq) {
            return 1;
        }
        entry += entry[0] ? 8 : 20;
    }
    return 0;
}

static const unsigned char *find_mp_table(void)
{
    unsigned int address;

    for (address = 0x400; address < 0x100000; address += 16) {
        if (read32(address) == MP_MAGIC &&
            read32(read32(address + 4)) == MP_TABLE_MAGIC) {
            return (const unsigned char *)read32(address + 4);
        }
    }
    return 0;
}

static void probe_device(const char *text, const unsigned char *mp)
{
    unsigned int address, irq;

    number(&text);                      /* size */
    text++;
    address = number(&text);
    text++;
    irq = number(&text);
    print("probe: device at 0x");
    print_hex(address);
    print(read32(address) == MMIO_MAGIC ? ": magic good, version "
                                        : ": magic bad, version ");
    print_hex(read32(address + MMIO_VERSION));
    print(", id 0x");
    print_hex(read32(address + MMIO_DEVICE_ID));
    print(mp && mp_has_irq(mp, irq) ? ", interrupt routed\n"
                                    : ", interrupt not routed\n");
}

static int starts_with(const char *text, const char *prefix)
{
    while (*prefix) {
        if (*text++ != *prefix++) {
            return 0;
        }
    }
    return 1;
}

static int has_acpi(void)
{
    unsigned int address;

    for (address = 0xe0000; address < 0x100000; address += 16) {
        if (read32(address) == RSDP_MAGIC) {
            return 1;
        }
    }
    return 0;
}

void probe_main(unsigned int boot) __attribute__((used));
void probe_main(unsigned int boot)
{
    static const char word[] = "virtio_mmio.device=";
    static const unsigned short null_idt[3];
    const unsigned char *mp = find_mp_table();
    const char *text = (const char *)read32(boot + BOOT_CMDLINE);

    print("probe: command line: ");
    print(text);
    print(mp ? "\nprobe: MP table\n" : "\nprobe: no MP table\n");
    print(has_acpi() ? "probe: ACPI\n" : "probe: no ACPI\n");
    for (; *text; text++) {
        if (starts_with(text, word)) {
            probe_device(text + sizeof(word) - 1, mp);
        }
    }
    print("probe: done\n");
    asm volatile("lidt %0\n\tint3" : : "m" (null_idt));
}
