/*
 * Nitro Enclaves: a vsock bus for the tests of its devices
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Takes the place of nitro-vsock-bus.c, and of vsock.c where that is asked for
 * an address or who a peer is.  Unix sockets take the place of vsock.  A peer
 * binds its socket to a name that ends in its CID before it connects, so that a
 * device can ask the socket who it is, as it does with vsock:
 *
 *     peer  <dir>/<n>.<cid>  ---- connects to ---->  <dir>/port  device
 *
 * A device that listens without an address does so with the test's function.
 */

#ifndef TESTS_UNIT_NITRO_FAKE_BUS_H
#define TESTS_UNIT_NITRO_FAKE_BUS_H

#include <sys/un.h>
#include "hw/nitro/nitro-vsock-bus.h"

#define FAKE_BUS_NO_CID 0

typedef struct FakeBus {
    char *dir;
    char *port;                 /* path of the socket */
    uint32_t own_port;
    NitroVsockBridge *bridge;
    int nr_peers;
} FakeBus;

/*
 * A test has one bus at a time.  @own_port: the vsock port that devices listen
 * on with nitro_peer_listen(), 0 when they do not.
 */
FakeBus *fake_bus_new(uint32_t own_port);
void fake_bus_free(FakeBus *bus);

/* A device, not realized; to be removed before the bus is freed */
NitroVsockDevice *fake_bus_add(FakeBus *bus, const char *type);
void fake_bus_remove(NitroVsockDevice *dev);

void fake_bus_address(struct sockaddr_un *addr, const char *path);

/* Connect as this CID; returns -1 when nobody listens.  Never blocks. */
int fake_bus_connect(FakeBus *bus, uint32_t cid);

#endif
