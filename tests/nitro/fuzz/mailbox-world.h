/*
 * What surrounds the Nitro Enclaves PCI function, as fakes put in at link time
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest memory is an address map without bytes; the character device is a
 * pair of byte arrays; the clock stands still until it is moved; interrupts
 * are counted, or written to the function's own registers, where a guest may
 * point them.
 */

#ifndef NITRO_FUZZ_MAILBOX_WORLD_H
#define NITRO_FUZZ_MAILBOX_WORLD_H

#include "hw/nitro/enclaves-pci.h"

/* RAM from 0 on, then a ROM, then nothing but one page of RAM far up */
#define WORLD_RAM_SIZE (1ull << 30)
#define WORLD_ROM_SIZE (2ull << 20)
#define WORLD_FAR      (1ull << 40)

typedef struct World {
    NitroEnclavesPCIState *dev;
    int64_t now_ns;
    /* The character device */
    bool connected;
    size_t room; /* bytes that it takes */
    GByteArray *sent;
    IOCanReadHandler *can_read;
    IOReadHandler *read;
    IOEventHandler *event;
    void *opaque;
    /* Where interrupts go: a register of the function, or nowhere */
    bool msi_to_self;
    uint16_t msi_addr;
    uint32_t msi_data;
    unsigned interrupts;
} World;

extern World world;

/* Before anything else, once or more often */
void world_init(void);

/* What the memory core does of a guest's access: no access within another */
void world_write(uint16_t addr, uint64_t value, unsigned size);
uint64_t world_read(uint16_t addr, unsigned size);

/* Handlers of bottom halves, watches and timers that are due */
void world_run(void);

/* The other end of the character device comes, sends, or goes */
void world_connect(bool connected);
void world_receive(const uint8_t *data, size_t len);

#endif
