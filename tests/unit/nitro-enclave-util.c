/*
 * Tests of the hypervisor's enclaves: device and parent VM
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/memfd.h"
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "contrib/nitro-hypervisor/child.h"
#include "nitro-enclave-util.h"

#define KERNEL_SIZE (3 * MiB)

/* The control channel, replaced */

typedef struct Reply {
    uint16_t type;
    int rc;
} Reply;

static Reply replies[16];
static unsigned int nr_replies, nr_continued;
unsigned int nr_exited, nr_idle;
uint32_t last_cause, last_status;

void nhv_control_reply(NhvControl *control,
                       const NitroControlHeader *request, int rc)
{
    g_assert_cmpuint(nr_replies, <, ARRAY_SIZE(replies));
    replies[nr_replies++] = (Reply) { request->type, rc };
}

void nhv_control_continue(NhvControl *control)
{
    nr_continued++;
}

void nhv_control_exited(NhvControl *control, uint64_t slot_uid,
                        uint32_t cause, uint32_t status)
{
    nr_exited++;
    last_cause = cause;
    last_status = status;
}

/* The test */

static void idle(void *opaque)
{
    nr_idle++;
}

static void parent_gone(void *opaque)
{
}

gboolean wait_time_is_up(gpointer opaque)
{
    *(bool *)opaque = true;
    return G_SOURCE_REMOVE;
}

/* What distinguishes the kinds of kernels, and no more */
static void add_kernel_header(uint8_t *bytes, EifArch arch)
{
    memset(bytes, 0, 4096);
    if (arch == EIF_ARCH_AARCH64) {
        memcpy(bytes + 56, "ARM\x64", 4);
    } else {
        memcpy(bytes + 0x1fe, "\x55\xaa", 2);
        memcpy(bytes + 0x202, "HdrS", 4);
    }
}

static int kernel_fd(EifArch arch)
{
    int fd = qemu_memfd_create("kernel", KERNEL_SIZE, false, 0, 0,
                               &error_abort);
    g_autofree uint8_t *bytes = g_malloc(KERNEL_SIZE);
    size_t i;

    for (i = 0; i < KERNEL_SIZE; i++) {
        bytes[i] = (i * 2654435761u) >> 11;
    }
    add_kernel_header(bytes, arch);
    g_assert_cmpint(pwrite(fd, bytes, KERNEL_SIZE, 0), ==, KERNEL_SIZE);
    return fd;
}

GByteArray *build_image(EifArch arch)
{
    EifBuildParams params = {
        .arch = arch, .kernel_fd = kernel_fd(arch),
        .cmdline = "console=ttyS0",
    };
    g_autoptr(EifBuild) build = eif_build_new(&params, &error_abort);
    GByteArray *image = g_byte_array_new();

    g_byte_array_set_size(image, eif_build_size(build));
    eif_build_write(build, image->data, image->len, &error_abort);
    close(params.kernel_fd);
    return image;
}

uint64_t region_paddr(int i)
{
    return (2 * (REGIONS - i) + 2) * REGION_SIZE;
}

void donate(Fixture *f, const GByteArray *image)
{
    size_t pos, at = NITRO_IMAGE_OFFSET;
    int i;

    for (i = 0; i < REGIONS; i++) {
        memset(f->m.mem + region_paddr(i), 0x5a, REGION_SIZE);
    }
    for (pos = 0; pos < image->len; pos++, at++) {
        f->m.mem[region_paddr(at / REGION_SIZE) + at % REGION_SIZE] =
            image->data[pos];
    }
}

void setup(Fixture *f, gconstpointer data)
{
    NhvEnclaveHost host = { .opts = &f->opts };
    g_autofree char *path = NULL;

    nr_replies = nr_exited = nr_continued = nr_idle = 0;
    f->dir = g_dir_make_tmp("nitro-enclave-XXXXXX", NULL);
    path = g_build_filename(f->dir, "parent.sock", NULL);
    f->opts.runtime_dir = f->dir;
    f->opts.qemu = g_file_read_link("/proc/self/exe", NULL);
    f->opts.accel = g_strdup("tcg");
    f->opts.acpi = ON_OFF_AUTO_AUTO;
    host.sw = f->sw = nhv_switch_new(NHV_SWITCH_MAX_CONNS, NULL, NULL);
    host.consoles = f->consoles = nhv_console_service_new(f->sw);
    f->parent = nhv_parent_new(f->sw, path, parent_gone, f, &error_abort);
    f->slots = nhv_slots_new(&host, idle, f);
    nhv_slots_connect(f->slots, NULL, f->parent);
    vm_attach(&f->m, unix_connect(path, &error_abort));
    vm_run();
    vm_start(&f->m);
    f->image = build_image(EIF_ARCH_X86_64);
    donate(f, f->image);
}

void fake(Fixture *f, const char *act)
{
    g_strfreev(f->opts.qemu_args);
    f->opts.qemu_args = g_new0(char *, 3);
    f->opts.qemu_args[0] = g_strdup("-fake");
    f->opts.qemu_args[1] = g_strdup(act);
}

void teardown(Fixture *f, gconstpointer data)
{
    nr_idle = 0;
    nhv_slots_reset(f->slots);
    WAIT_FOR(nr_idle);
    nhv_slots_free(f->slots);
    nhv_parent_free(f->parent);
    vm_close(&f->m);
    nhv_console_service_free(f->consoles);
    nhv_switch_free(f->sw);
    g_byte_array_unref(f->image);
    /* Nothing of it is left */
    g_assert_cmpint(rmdir(f->dir), ==, 0);
    nhv_options_clear(&f->opts);
}

bool request(Fixture *f, uint16_t type, uint64_t uid, const void *body)
{
    NitroControlHeader header = { .type = type, .slot_uid = uid };

    return nhv_slots_request(f->slots, &header, body);
}

StartBody start_body(uint64_t cid)
{
    StartBody body = {
        .start.cid = cpu_to_le64(cid),
        .start.flags = cpu_to_le64(NITRO_CONTROL_START_DEBUG),
        .start.nr_regions = cpu_to_le32(REGIONS),
        .start.nr_vcpus = cpu_to_le32(2),
    };
    int i;

    for (i = 0; i < REGIONS; i++) {
        body.region[i].paddr = cpu_to_le64(region_paddr(i));
        body.region[i].size = cpu_to_le64(REGION_SIZE);
    }
    return body;
}

void start(Fixture *f, uint64_t uid, uint64_t cid)
{
    StartBody body = start_body(cid);

    g_assert_true(request(f, NITRO_CONTROL_START, uid, &body));
}

void expect_reply(uint16_t type, int rc)
{
    WAIT_FOR(nr_replies);
    g_assert_cmpuint(replies[0].type, ==, type);
    g_assert_cmpint(replies[0].rc, ==, rc);
    memmove(replies, replies + 1, sizeof(replies) - sizeof(replies[0]));
    nr_replies--;
}

void request_and_wait(Fixture *f, uint16_t type, uint64_t uid)
{
    unsigned int before = nr_continued;

    g_assert_false(request(f, type, uid, NULL));
    expect_reply(type, 0);
    g_assert_cmpuint(nr_continued, ==, before + 1);
}
