/*
 * What surrounds the Nitro Enclaves PCI function, as fakes put in at link time
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "crypto/random.h"
#include "exec/address-spaces.h"
#include "hw/pci/msix.h"
#include "mailbox-world.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "system/cpu-timers.h"
#include "system/runstate.h"

World world;

static MemoryRegion ram = { .ram = true };
static MemoryRegion rom = { .ram = true, .readonly = true };

/* Types as far as casts need them */
static const TypeInfo types[] = {
    {
        .name = TYPE_DEVICE, .parent = TYPE_OBJECT,
        .instance_size = sizeof(DeviceState),
    }, {
        .name = TYPE_PCI_DEVICE, .parent = TYPE_DEVICE,
        .instance_size = sizeof(PCIDevice),
    }, {
        .name = TYPE_NITRO_ENCLAVES_PCI, .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(NitroEnclavesPCIState),
    },
};

void world_init(void)
{
    static bool ready;

    if (!ready) {
        module_call_init(MODULE_INIT_QOM);
        type_register_static_array(types, ARRAY_SIZE(types));
        /* Numbers of slots; without GnuTLS they come from the kernel */
        g_assert_cmpint(qcrypto_random_init(&error_abort), ==, 0);
        qemu_init_main_loop(&error_abort);
        qemu_clock_enable(QEMU_CLOCK_VIRTUAL, true);
        ready = true;
    }
}

bool runstate_check(RunState state)
{
    return false;
}

int64_t cpu_get_clock(void)
{
    return world.now_ns;
}

/* Memory */

MemoryRegion *get_system_memory(void)
{
    return NULL;
}

bool memory_region_is_ram_device(MemoryRegion *mr)
{
    return false;
}

void memory_region_unref(MemoryRegion *mr)
{
}

static MemoryRegionSection section(MemoryRegion *mr, hwaddr start,
                                   hwaddr end, hwaddr addr, uint64_t size)
{
    /* The part of the range that is within the region, as the core has it */
    hwaddr from = MAX(addr, start);
    bool hit = from < end && from - addr < size;

    return (MemoryRegionSection) {
        .mr = hit ? mr : NULL,
        .offset_within_address_space = from,
        .size = int128_make64(hit ? MIN(end - from, size - (from - addr)) : 0),
        .readonly = hit && mr->readonly,
    };
}

MemoryRegionSection memory_region_find(MemoryRegion *mr, hwaddr addr,
                                       uint64_t size)
{
    const hwaddr rom_end = WORLD_RAM_SIZE + WORLD_ROM_SIZE;
    MemoryRegionSection found;

    g_assert_cmpuint(size, >, 0);
    found = section(&ram, 0, WORLD_RAM_SIZE, addr, size);
    if (!found.mr) {
        found = section(&rom, WORLD_RAM_SIZE, rom_end, addr, size);
    }
    if (!found.mr) {
        found = section(&ram, WORLD_FAR, WORLD_FAR + 0x1000, addr, size);
    }
    return found;
}

/* PCI */

int msix_enabled(PCIDevice *dev)
{
    return true;
}

void msix_clr_pending(PCIDevice *dev, int vector)
{
}

void msix_notify(PCIDevice *dev, unsigned vector)
{
    g_assert_cmpuint(vector, <, NITRO_PCI_NR_VECTORS);
    world.interrupts++;
    if (world.msi_to_self) {
        world_write(world.msi_addr, world.msi_data, 4);
    }
}

static MemReentrancyGuard *guard(void)
{
    return &world.dev->parent_obj.qdev.mem_reentrancy_guard;
}

void world_write(uint16_t addr, uint64_t value, unsigned size)
{
    if (!guard()->engaged_in_io) {
        guard()->engaged_in_io = true;
        nitro_enclaves_mmio_ops.write(world.dev, addr, value, size);
        guard()->engaged_in_io = false;
    }
}

uint64_t world_read(uint16_t addr, unsigned size)
{
    return nitro_enclaves_mmio_ops.read(world.dev, addr, size);
}

/* The character device */

void qemu_chr_fe_set_handlers(CharBackend *be, IOCanReadHandler *can_read,
                              IOReadHandler *read, IOEventHandler *event,
                              BackendChangeHandler *change, void *opaque,
                              GMainContext *context, bool set_open)
{
    world.can_read = can_read;
    world.read = read;
    world.event = event;
    world.opaque = opaque;
    if (event && world.connected) {
        event(opaque, CHR_EVENT_OPENED);
    }
}

int qemu_chr_fe_write(CharBackend *be, const uint8_t *buf, int len)
{
    size_t n = MIN(len, world.room);

    if (!world.connected) {
        return -1;
    }
    world.room -= n;
    g_byte_array_append(world.sent, buf, n);
    return n ?: -1;
}

typedef struct Watch {
    FEWatchFunc func;
    void *opaque;
} Watch;

static gboolean watch_ready(void *opaque)
{
    Watch *watch = opaque;

    return watch->func(NULL, G_IO_OUT, watch->opaque);
}

guint qemu_chr_fe_add_watch(CharBackend *be, GIOCondition cond,
                            FEWatchFunc func, void *user_data)
{
    Watch *watch = g_new(Watch, 1);

    *watch = (Watch) { func, user_data };
    return g_idle_add_full(G_PRIORITY_DEFAULT, watch_ready, watch, g_free);
}

void qemu_chr_fe_disconnect(CharBackend *be)
{
    world_connect(false);
}

void world_connect(bool connected)
{
    if (world.connected != connected) {
        world.connected = connected;
        if (world.event) {
            world.event(world.opaque, connected ? CHR_EVENT_OPENED
                                                : CHR_EVENT_CLOSED);
        }
    }
}

void world_receive(const uint8_t *data, size_t len)
{
    while (len && world.connected) {
        int n = MIN(len, world.can_read(world.opaque));

        if (!n) {
            break;
        }
        world.read(world.opaque, data, n);
        data += n;
        len -= n;
    }
}

void world_run(void)
{
    qemu_clock_run_timers(QEMU_CLOCK_VIRTUAL);
    aio_bh_poll(qemu_get_aio_context());
    while (world.room && g_main_context_iteration(NULL, false)) {
        aio_bh_poll(qemu_get_aio_context());
    }
}
