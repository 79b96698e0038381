/*
 * AWS nitro-enclave machine: a guest that resets itself
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "hw/i386/nitro_enclave_reset.h"
#include "hw/loader.h"
#include "system/runstate.h"

/* The port of an i8042 for commands and status */
#define PORT 0x64
/* Commands 0xf0 to 0xff pulse the outputs whose bit is 0; 0 is the reset */
#define PULSE_MASK 0xf1
#define PULSE_RESET 0xf0
/* Ready for a command; the rest reads like a port without a device */
#define STATUS 0xfd

#define PAGE_SIZE 4096
/* The page below 1 MiB with the entry of the firmware, and its source */
#define ENTRY_PAGE 0xff000
#define FIRMWARE_PAGE 0xfffff000
#define ENTRY_OFFSET 0xff0

/* 16-bit code */
static const uint8_t reset_code[] = {
    0xb0, 0xfe,     /* mov $0xfe, %al */
    0xe6, PORT,     /* out %al, $PORT */
    0xf4,           /* hlt */
    0xeb, 0xfd,     /* jmp to the hlt */
};

static uint64_t port_read(void *opaque, hwaddr addr, unsigned size)
{
    return STATUS;
}

static void port_write(void *opaque, hwaddr addr, uint64_t value,
                       unsigned size)
{
    if ((value & PULSE_MASK) == PULSE_RESET) {
        qemu_system_reset_request(SHUTDOWN_CAUSE_GUEST_RESET);
    }
}

static const MemoryRegionOps port_ops = {
    .read = port_read,
    .write = port_write,
    .impl.min_access_size = 1,
    .impl.max_access_size = 1,
    .endianness = DEVICE_LITTLE_ENDIAN,
};

static void create_port(void)
{
    MemoryRegion *port = g_new(MemoryRegion, 1);

    memory_region_init_io(port, NULL, &port_ops, NULL, "nitro-enclave.reset",
                          1);
    memory_region_add_subregion(get_system_io(), PORT, port);
}

/*
 * The CPU starts at the top of the first 4 GiB, so the entry below 1 MiB, the
 * same bytes otherwise, is used by guests that reset themselves alone.  A page
 * of its own, because KVM maps whole pages.
 */
static void replace_entry(void)
{
    MemoryRegion *page = g_new(MemoryRegion, 1);
    g_autofree uint8_t *code = g_memdup2(rom_ptr(FIRMWARE_PAGE, PAGE_SIZE),
                                         PAGE_SIZE);

    memcpy(code + ENTRY_OFFSET, reset_code, sizeof(reset_code));
    memory_region_init_ram(page, NULL, "nitro-enclave.entry", PAGE_SIZE,
                           &error_fatal);
    /* Above the firmware, which has priority 1 */
    memory_region_add_subregion_overlap(get_system_memory(), ENTRY_PAGE, page,
                                        2);
    rom_add_blob_fixed("nitro-enclave.entry", code, PAGE_SIZE, ENTRY_PAGE);
}

void nitro_enclave_reset_init(void)
{
    create_port();
    replace_entry();
}
