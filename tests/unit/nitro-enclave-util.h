/*
 * Tests of the hypervisor's enclaves: device and parent VM
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What test-nitro-hypervisor-enclave.c tests with: functions of the control
 * channel are replaced, the parent has memory to donate, and the enclave's QEMU
 * is the program itself.
 */

#ifndef TESTS_UNIT_NITRO_ENCLAVE_UTIL_H
#define TESTS_UNIT_NITRO_ENCLAVE_UTIL_H

#include "contrib/nitro-hypervisor/slots.h"
#include "hw/core/eif-image.h"
#include "nitro-vhost-master.h"
#include "tests/nitro/patience.h"

#define REGIONS     8
#define REGION_SIZE (2 * MiB)

typedef struct Fixture {
    NhvOptions opts;
    NhvSwitch *sw;
    NhvConsoleService *consoles;
    NhvParent *parent;
    NhvSlots *slots;
    VhostMaster m;
    GByteArray *image;
    char *dir;
} Fixture;

void setup(Fixture *f, gconstpointer data);
void teardown(Fixture *f, gconstpointer data);

/* A timer that sets *@opaque, for WAIT_FOR() */
gboolean wait_time_is_up(gpointer opaque);

/* Run the main loop until the condition holds */
#define WAIT_FOR(condition)                                             \
    do {                                                                \
        bool late = false;                                              \
        guint timer = g_timeout_add_seconds(PATIENCE_S,               \
                                            wait_time_is_up, &late);    \
        while (!(condition) && !late) {                                 \
            g_main_context_iteration(NULL, TRUE);                       \
        }                                                               \
        g_assert_false(late);                                           \
        g_source_remove(timer);                                         \
    } while (0)

/* Messages to the device about enclaves that ended */
extern unsigned int nr_exited, nr_idle;
extern uint32_t last_cause, last_status;

/* Images and memory */
GByteArray *build_image(EifArch arch);
void donate(Fixture *f, const GByteArray *image);

/* Donated region @i: descending, with holes, as no two parents are alike */
uint64_t region_paddr(int i);

/* Requests and their replies */

typedef struct StartBody {
    NitroControlStart start;
    NitroControlRegion region[REGIONS];
    uint32_t vcpu[2];
} QEMU_PACKED StartBody;

StartBody start_body(uint64_t cid);
bool request(Fixture *f, uint16_t type, uint64_t uid, const void *body);
void start(Fixture *f, uint64_t uid, uint64_t cid);
void expect_reply(uint16_t type, int rc);
void request_and_wait(Fixture *f, uint16_t type, uint64_t uid);

/* What the enclave's QEMU does from now on, see fake_qemu() */
void fake(Fixture *f, const char *act);

/* The enclave's QEMU; returns its exit status */
int fake_qemu(int argc, char **argv);

#endif
