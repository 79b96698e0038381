/*
 * Fuzz target: the PCI function that the parent's driver talks to
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Input: rows of an action byte and its arguments.  The guest accesses
 * registers, the hypervisor process answers or misbehaves, time passes,
 * faults are injected.
 */

#include "qemu/osdep.h"
#include "fuzz.h"
#include "hw/nitro/limits.h"
#include "mailbox-world.h"
#include "qemu/timer.h"

enum {
    COMMAND, WRITE, READ, ENABLE, ANSWER, EXITED, BYTES, CONNECT, ROOM, TIME,
    FAULT, MSI, RESET, NR_ACTIONS
};

#define MAX_ACTIONS 300
#define REPLY_TIMEOUT_MS 1000

static const char *const faults[] = {
    "", "*", "START:1:-12", "ALLOC:*:uid=5;NEXT:*:silence", "STOP:1+:noreply",
    "FREE:*:late=10;START:*:late=20", "INFO:1:stale;COUNT:*:event",
    "ENABLE:*:0x80;DISABLE:1:1;VERSION:*:9", "EVENT:*:silence",
    "ALLOC:*:again=5", "ADD_MEM:1:7;ADD_VCPU:2:state=1;ADD_BULK:1:regions=3",
    "GET_SLOT:1:cid=3",
};

/* Slots are named by their place in the table, sometimes by any number */
static uint64_t slot_argument(FuzzInput *in)
{
    uint8_t choice = fuzz_u8(in);
    NitroSlot *slot;

    if (choice >= 0xf0) {
        return fuzz_u64(in);
    }
    QTAILQ_FOREACH(slot, &world.dev->slots.slots, next) {
        if (!choice--) {
            return slot->uid;
        }
    }
    return choice;
}

/* Multiples of 2 MiB up to the end of RAM and beyond, sometimes anything */
static uint64_t amount(FuzzInput *in)
{
    uint16_t choice = fuzz_u16(in);

    return choice >= 0xff00 ? fuzz_u64(in)
           : choice & 0x8000 ? choice & 0x7fff
           : (uint64_t)choice * NITRO_MEMORY_GRANULE;
}

static void send_command(FuzzInput *in)
{
    uint8_t command = fuzz_u8(in) % (NITRO_PCI_CMD__MAX + 2);

    world_write(NITRO_PCI_REG_SEND, slot_argument(in), 8);
    world_write(NITRO_PCI_REG_SEND + 8, amount(in), 8);
    world_write(NITRO_PCI_REG_SEND + 16, amount(in), 8);
    world_write(NITRO_PCI_REG_COMMAND, command, 4);
}

/* The memory core splits accesses that are not aligned */
static uint16_t any_address(FuzzInput *in, unsigned *size)
{
    uint16_t addr = fuzz_u16(in) % NITRO_PCI_BAR_SIZE;

    *size = 1 << (fuzz_u8(in) % 4);
    return addr & ~(*size - 1);
}

static void write_any(FuzzInput *in)
{
    unsigned size;
    uint16_t addr = any_address(in, &size);
    uint64_t value = fuzz_u64(in);

    world_write(addr, size < 8 ? extract64(value, 0, size * 8) : value, size);
}

static void read_any(FuzzInput *in)
{
    unsigned size;
    uint16_t addr = any_address(in, &size);
    uint64_t value = world_read(addr, size);

    g_assert_true(size == 8 || value >> (size * 8) == 0);
}

/* Take the oldest request that the device has sent, whole */
static bool take_request(NitroControlHeader *header)
{
    size_t size;

    if (world.sent->len < sizeof(*header)) {
        return false;
    }
    memcpy(header, world.sent->data, sizeof(*header));
    size = le32_to_cpu(header->size);
    g_assert_cmpuint(size, >=, sizeof(*header));
    g_assert_cmpuint(size, <=, NITRO_CONTROL_MAX_SIZE);
    if (world.sent->len < size) {
        return false;
    }
    g_byte_array_remove_range(world.sent, 0, size);
    return true;
}

static void answer(FuzzInput *in)
{
    NitroControlHello body = { .version = cpu_to_le32(NITRO_CONTROL_VERSION) };
    uint8_t rc = fuzz_u8(in);
    NitroControlHeader header;
    bool hello;

    if (!take_request(&header)) {
        return;
    }
    hello = le16_to_cpu(header.type) == NITRO_CONTROL_HELLO;
    header.flags = cpu_to_le16(NITRO_CONTROL_FLAG_REPLY);
    header.rc = cpu_to_le32(rc < 0x80 ? 0 : rc < 0xf0 ? -rc : rc);
    header.size = cpu_to_le32(sizeof(header) + (hello ? sizeof(body) : 0));
    world_receive((void *)&header, sizeof(header));
    if (hello) {
        world_receive((void *)&body, sizeof(body));
    }
}

static void enclave_exits(FuzzInput *in)
{
    struct {
        NitroControlHeader header;
        NitroControlExited body;
    } QEMU_PACKED message = {
        .header = {
            .size = cpu_to_le32(sizeof(message)),
            .type = cpu_to_le16(NITRO_CONTROL_EXITED),
            .slot_uid = cpu_to_le64(slot_argument(in)),
        },
        .body = { .cause = cpu_to_le32(fuzz_u8(in)) },
    };

    world_receive((void *)&message, sizeof(message));
}

static void send_bytes(FuzzInput *in)
{
    size_t len = fuzz_u8(in) % 64;
    const uint8_t *bytes = fuzz_bytes(in, &len);

    world_receive(bytes, len);
}

static void act_on_surroundings(uint8_t action, FuzzInput *in)
{
    switch (action) {
    case CONNECT:
        world_connect(!world.connected);
        g_byte_array_set_size(world.sent, 0);
        break;
    case ROOM:
        world.room = fuzz_u8(in) * 512;
        break;
    case TIME:
        world.now_ns += fuzz_u8(in) * (10ll * SCALE_MS);
        break;
    case FAULT:
        nitro_faults_set(&world.dev->faults,
                         faults[fuzz_u8(in) % ARRAY_SIZE(faults)], NULL);
        break;
    case MSI:
        world.msi_to_self = fuzz_u8(in) & 1;
        world.msi_addr = fuzz_u8(in) & 0x1c;
        world.msi_data = fuzz_u8(in);
        break;
    case RESET:
        nitro_enclaves_reset(world.dev);
        break;
    }
}

static void act(FuzzInput *in)
{
    uint8_t action = fuzz_u8(in);

    switch (action % NR_ACTIONS) {
    case COMMAND:
        send_command(in);
        break;
    case WRITE:
        write_any(in);
        break;
    case READ:
        read_any(in);
        break;
    case ENABLE:
        world_write(NITRO_PCI_REG_ENABLE, fuzz_u8(in) % 3, 1);
        break;
    case ANSWER:
        answer(in);
        break;
    case EXITED:
        enclave_exits(in);
        break;
    case BYTES:
        send_bytes(in);
        break;
    default:
        act_on_surroundings(action % NR_ACTIONS, in);
        break;
    }
    if (!(action & 0x80)) {
        world_run();
    }
}

static void check(NitroEnclavesPCIState *s)
{
    unsigned n = 0;
    NitroSlot *slot;

    QTAILQ_FOREACH(slot, &s->slots.slots, next) {
        g_assert_cmpuint(slot->regions->len, <=, s->mem_regions);
        g_assert_cmpuint(slot->vcpus->len, <=, NITRO_CONTROL_MAX_VCPUS);
        n++;
    }
    g_assert_cmpuint(n, ==, s->slots.count);
    g_assert_cmpuint(n, <=, NITRO_SLOTS_MAX);
    g_assert_cmpuint(s->control.in_len, <=, sizeof(s->control.in));
    /* What is in progress will be answered, time out, or end in a moment */
    g_assert_true(!s->pending.command || s->control.waiting->len ||
                  s->control.failed);
}

/* As the device's realize function does */
static NitroEnclavesPCIState *begin(void)
{
    NitroEnclavesPCIState *s =
        NITRO_ENCLAVES_PCI(object_new(TYPE_NITRO_ENCLAVES_PCI));


    world = (World) {
        .dev = s, .connected = true, .room = 1 << 20,
        .sent = g_byte_array_new(), .now_ns = SCALE_MS,
    };
    s->mem_regions = 16;
    s->nr_vectors = NITRO_PCI_NR_VECTORS;
    nitro_slots_init(&s->slots, s->mem_regions, 8);
    s->late_timer = timer_new_ms(QEMU_CLOCK_VIRTUAL, nitro_enclaves_late, s);
    nitro_control_init(&s->control, &s->chr, &s->parent_obj.qdev,
                       REPLY_TIMEOUT_MS, &nitro_enclaves_control_handlers, s);
    return s;
}

/* After the last chance to answer no command is in progress */
static void end(NitroEnclavesPCIState *s)
{
    world.now_ns += 2ll * REPLY_TIMEOUT_MS * SCALE_MS;
    world.msi_to_self = false;
    world.room = 1 << 20;
    world_run();
    world_run();
    g_assert_cmpint(s->pending.command, ==, 0);
    g_assert_cmpuint(s->reset_seq, ==, 0);
    nitro_enclaves_reset(s);
    g_assert_cmpuint(s->slots.count, ==, 0);
    nitro_control_cleanup(&s->control);
    timer_free(s->late_timer);
    nitro_slots_clear(&s->slots);
    nitro_faults_clear(&s->faults);
    g_byte_array_unref(world.sent);
    object_unref(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };
    NitroEnclavesPCIState *s;

    world_init();
    s = begin();
    world_run();
    for (int n = 0; in.size && n < MAX_ACTIONS; n++) {
        act(&in);
        check(s);
    }
    end(s);
    return 0;
}

static void put_command(GByteArray *in, uint8_t command, uint16_t a,
                        uint16_t b)
{
    fuzz_put8(in, COMMAND);
    fuzz_put8(in, command);
    fuzz_put8(in, 0);
    fuzz_put16(in, a);
    fuzz_put16(in, b);
}

static void put_action(GByteArray *in, uint8_t action, uint8_t argument)
{
    fuzz_put8(in, action);
    fuzz_put8(in, argument);
}

/* Up to a slot that can be started */
static void put_launch(GByteArray *in)
{
    put_action(in, ANSWER, 0);
    put_action(in, ENABLE, 1);
    put_command(in, NITRO_PCI_CMD_ALLOC, 0, 0);
    put_command(in, NITRO_PCI_CMD_ADD_MEM, 32, 32);
    put_command(in, NITRO_PCI_CMD_ADD_VCPU, 0x8002, 0);
    put_command(in, NITRO_PCI_CMD_ADD_BULK, 0x8001, 0);
    put_command(in, NITRO_PCI_CMD_START, 0, 0);
}

void fuzz_seeds(FuzzSeed *seed)
{
    g_autoptr(GByteArray) in = g_byte_array_new();

    put_launch(in);
    put_action(in, ANSWER, 0);
    put_command(in, NITRO_PCI_CMD_INFO, 0, 0);
    put_command(in, NITRO_PCI_CMD_COUNT, 0, 0);
    put_command(in, NITRO_PCI_CMD_STOP, 0, 0);
    put_action(in, ANSWER, 0);
    put_command(in, NITRO_PCI_CMD_FREE, 0, 0);
    put_action(in, ANSWER, 0);
    seed("launch", in->data, in->len);
    g_byte_array_set_size(in, 0);
    put_action(in, FAULT, 5);
    put_launch(in);
    put_action(in, TIME, 3);
    put_action(in, ANSWER, 0);
    put_action(in, MSI, 1);
    fuzz_put16(in, 0x0104);
    put_action(in, EXITED, 0);
    fuzz_put8(in, 1);
    put_action(in, TIME, 3);
    fuzz_put8(in, CONNECT);
    fuzz_put8(in, CONNECT);
    put_action(in, ANSWER, 0);
    fuzz_put8(in, RESET);
    seed("exit", in->data, in->len);
    g_byte_array_set_size(in, 0);
    put_launch(in);
    put_action(in, TIME, 255);
    put_action(in, ENABLE, 0);
    put_action(in, BYTES, 4);
    fuzz_put32(in, 24);
    seed("timeout", in->data, in->len);
}
