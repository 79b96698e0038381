/*
 * Unit tests of the hypervisor's slots, enclaves, images and child processes
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The test is the device (requests go straight in, the channel's functions
 * are replaced at link time), the parent VM (a vhost-user front end with
 * memory to donate) and, when executed with -name, the QEMU of an enclave.
 * What that QEMU does is the word after -fake.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/memfd.h"
#include "qemu/sockets.h"
#include "qemu/units.h"
#include "contrib/nitro-hypervisor/child.h"
#include "contrib/nitro-hypervisor/slots.h"
#include "hw/core/eif-image.h"
#include "nitro-vhost-master.h"
#include "nitro-vsock-wire.h"
#include "tests/nitro/error-text.h"

#define KERNEL_SIZE (3 * MiB)
#define REGIONS     8
#define REGION_SIZE (2 * MiB)
#define WAIT_SECONDS 30

/* The other program: an enclave's QEMU */

static int fd_argument(int argc, char **argv, const char *prefix)
{
    int i;

    for (i = 1; i < argc; i++) {
        if (g_str_has_prefix(argv[i], prefix)) {
            return atoi(argv[i] + strlen(prefix));
        }
    }
    return -1;
}

static const char *argument(int argc, char **argv, const char *option)
{
    int i;

    for (i = 1; i < argc - 1; i++) {
        if (g_str_equal(argv[i], option)) {
            return argv[i + 1];
        }
    }
    return "";
}

static void fake_realize(int vsock)
{
    VhostUserConfig config = { .size = 8 };
    uint32_t head[3] = { VHOST_USER_GET_CONFIG, 1,
                         VHOST_USER_CONFIG_HDR_SIZE + 8 };
    struct iovec iov[2] = {
        { .iov_base = head, .iov_len = sizeof(head) },
        { .iov_base = &config, .iov_len = head[2] },
    };

    if (writev(vsock, iov, 2) < 0 || read(vsock, &config, 1) != 1) {
        _exit(99);
    }
}

static void fake_copy_image(const char *from, int to)
{
    g_autofree char *bytes = NULL;
    gsize len;

    if (!g_file_get_contents(from, &bytes, &len, NULL) ||
        write(to, bytes, len) != (ssize_t)len) {
        _exit(98);
    }
}

static int open_fds(void)
{
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    int n = 0;

    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

static int fake_qemu(int argc, char **argv)
{
    const char *act = argument(argc, argv, "-fake");
    int serial = fd_argument(argc, argv, "socket,id=console,fd=");

    /* Standard ones, vsock, console, image, and the directory just read */
    if (open_fds() != 7) {
        fprintf(stderr, "fake: %d descriptors\n", open_fds());
        return 97;
    }
    if (g_str_equal(act, "fail")) {
        fprintf(stderr, "fake: no such thing\n");
        return 7;
    }
    if (g_str_equal(act, "stubborn")) {
        signal(SIGTERM, SIG_IGN);
    }
    if (!g_str_equal(act, "mute")) {
        fake_realize(fd_argument(argc, argv, "socket,id=vsock,fd="));
    }
    if (g_str_equal(act, "image")) {
        fake_copy_image(argument(argc, argv, "-kernel"), serial);
        return 0;
    }
    if (g_str_equal(act, "crash")) {
        raise(SIGKILL);
    }
    for (;;) {
        pause();
    }
}

/* The control channel, replaced */

typedef struct Reply {
    uint16_t type;
    int rc;
} Reply;

static Reply replies[16];
static unsigned int nr_replies, nr_exited, nr_continued, nr_idle;
static uint32_t last_cause, last_status;

void nitro_control_reply(NitroControl *control,
                         const NitroControlHeader *request, int rc)
{
    g_assert_cmpuint(nr_replies, <, ARRAY_SIZE(replies));
    replies[nr_replies++] = (Reply) { request->type, rc };
}

void nitro_control_continue(NitroControl *control)
{
    nr_continued++;
}

void nitro_control_exited(NitroControl *control, uint64_t slot_uid,
                          uint32_t cause, uint32_t status)
{
    nr_exited++;
    last_cause = cause;
    last_status = status;
}

/* The test */

typedef struct Fixture {
    NitroOptions opts;
    NitroSwitch *sw;
    NitroConsoleService *consoles;
    NitroParent *parent;
    NitroSlots *slots;
    VhostMaster m;
    GByteArray *image;
    char *dir;
} Fixture;

static void idle(void *opaque)
{
    nr_idle++;
}

static void parent_gone(void *opaque)
{
}

static gboolean time_is_up(gpointer opaque)
{
    *(bool *)opaque = true;
    return G_SOURCE_REMOVE;
}

/* Run the main loop until the condition holds */
#define WAIT_FOR(condition)                                             \
    do {                                                                \
        bool late = false;                                              \
        guint timer = g_timeout_add_seconds(WAIT_SECONDS, time_is_up,   \
                                            &late);                     \
        while (!(condition) && !late) {                                 \
            g_main_context_iteration(NULL, TRUE);                       \
        }                                                               \
        g_assert_false(late);                                           \
        g_source_remove(timer);                                         \
    } while (0)

static int kernel_fd(void)
{
    int fd = qemu_memfd_create("kernel", KERNEL_SIZE, false, 0, 0,
                               &error_abort);
    g_autofree uint8_t *bytes = g_malloc(KERNEL_SIZE);
    size_t i;

    for (i = 0; i < KERNEL_SIZE; i++) {
        bytes[i] = (i * 2654435761u) >> 11;
    }
    g_assert_cmpint(pwrite(fd, bytes, KERNEL_SIZE, 0), ==, KERNEL_SIZE);
    return fd;
}

static GByteArray *build_image(EifArch arch)
{
    EifBuildParams params = {
        .arch = arch, .kernel_fd = kernel_fd(), .initrd_fd = -1,
        .cmdline = "console=ttyS0",
    };
    g_autoptr(EifBuild) build = eif_build_new(&params, &error_abort);
    GByteArray *image = g_byte_array_new();

    g_byte_array_set_size(image, eif_build_size(build));
    eif_build_write(build, image->data, image->len, &error_abort);
    close(params.kernel_fd);
    return image;
}

/* Donated region @i: descending, with holes, as no two parents are alike */
static uint64_t region_paddr(int i)
{
    return (2 * (REGIONS - i) + 2) * REGION_SIZE;
}

static void donate(Fixture *f, const GByteArray *image)
{
    size_t pos, at = NITRO_CONTROL_IMAGE_OFFSET;
    int i;

    for (i = 0; i < REGIONS; i++) {
        memset(f->m.mem + region_paddr(i), 0x5a, REGION_SIZE);
    }
    for (pos = 0; pos < image->len; pos++, at++) {
        f->m.mem[region_paddr(at / REGION_SIZE) + at % REGION_SIZE] =
            image->data[pos];
    }
}

static void setup(Fixture *f, gconstpointer data)
{
    NitroEnclaveHost host = { .opts = &f->opts };
    g_autofree char *path = NULL;

    nr_replies = nr_exited = nr_continued = nr_idle = 0;
    f->dir = g_dir_make_tmp("nitro-enclave-XXXXXX", NULL);
    path = g_build_filename(f->dir, "parent.sock", NULL);
    f->opts.runtime_dir = f->dir;
    f->opts.qemu = g_file_read_link("/proc/self/exe", NULL);
    f->opts.accel = g_strdup("tcg");
    f->opts.acpi = ON_OFF_AUTO_AUTO;
    host.sw = f->sw = nitro_switch_new(NULL, NULL);
    host.consoles = f->consoles = nitro_console_service_new(f->sw);
    f->parent = nitro_parent_new(f->sw, path, parent_gone, f, &error_abort);
    f->slots = nitro_slots_new(&host, idle, f);
    nitro_slots_connect(f->slots, NULL, f->parent);
    vm_attach(&f->m, unix_connect(path, &error_abort));
    vm_run();
    vm_start(&f->m);
    f->image = build_image(EIF_ARCH_X86_64);
    donate(f, f->image);
}

static void fake(Fixture *f, const char *act)
{
    g_strfreev(f->opts.qemu_args);
    f->opts.qemu_args = g_new0(char *, 3);
    f->opts.qemu_args[0] = g_strdup("-fake");
    f->opts.qemu_args[1] = g_strdup(act);
}

static void teardown(Fixture *f, gconstpointer data)
{
    nitro_slots_reset(f->slots);
    WAIT_FOR(nr_idle);
    nitro_slots_free(f->slots);
    nitro_parent_free(f->parent);
    vm_close(&f->m);
    nitro_console_service_free(f->consoles);
    nitro_switch_free(f->sw);
    g_byte_array_unref(f->image);
    /* Nothing of it is left */
    g_assert_cmpint(rmdir(f->dir), ==, 0);
    nitro_options_clear(&f->opts);
}

static bool request(Fixture *f, uint16_t type, uint64_t uid, const void *body)
{
    NitroControlHeader header = { .type = type, .slot_uid = uid };

    return nitro_slots_request(f->slots, &header, body);
}

typedef struct StartBody {
    NitroControlStart start;
    NitroControlRegion region[REGIONS];
    uint32_t vcpu[2];
} QEMU_PACKED StartBody;

static StartBody start_body(uint64_t cid)
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

static void start(Fixture *f, uint64_t uid, uint64_t cid)
{
    StartBody body = start_body(cid);

    g_assert_true(request(f, NITRO_CONTROL_START, uid, &body));
}

static void expect_reply(uint16_t type, int rc)
{
    WAIT_FOR(nr_replies);
    g_assert_cmpuint(replies[0].type, ==, type);
    g_assert_cmpint(replies[0].rc, ==, rc);
    memmove(replies, replies + 1, sizeof(replies) - sizeof(replies[0]));
    nr_replies--;
}

static void request_and_wait(Fixture *f, uint16_t type, uint64_t uid)
{
    unsigned int before = nr_continued;

    g_assert_false(request(f, type, uid, NULL));
    expect_reply(type, 0);
    g_assert_cmpuint(nr_continued, ==, before + 1);
}

static VsockHdr from_parent(uint16_t op, uint32_t fwd_cnt)
{
    VsockHdr hdr = wire_hdr(op, NITRO_CID_PARENT, 1000, NITRO_CID_HYPERVISOR,
                            10016);

    hdr.fwd_cnt = fwd_cnt;
    return hdr;
}

/* The guest sends a packet from tx buffer 0 */
static void guest_sends(Fixture *f, VsockHdr hdr)
{
    wire_swap(&hdr);
    memcpy(f->m.mem + VM_BUFFERS, &hdr, sizeof(hdr));
    vm_desc(&f->m, VM_TX, 0, VM_BUFFERS, sizeof(hdr), 0, 0);
    vm_post(&f->m, VM_TX, 0);
}

/* The guest fetches a packet into rx buffer 1; op 0 when there is none */
static VsockHdr guest_gets(Fixture *f, uint8_t **payload)
{
    uint8_t *buf = f->m.mem + VM_BUFFERS + VM_BUF_SIZE;
    VsockHdr hdr = { 0 };
    uint32_t len;

    if (vm_used(&f->m, VM_RX, &len) >= 0) {
        memcpy(&hdr, buf, sizeof(hdr));
        wire_swap(&hdr);
        *payload = buf + sizeof(hdr);
    }
    return hdr;
}

static void guest_offers(Fixture *f)
{
    vm_desc(&f->m, VM_RX, 1, VM_BUFFERS + VM_BUF_SIZE, VM_BUF_SIZE,
            VRING_DESC_F_WRITE, 0);
    vm_post(&f->m, VM_RX, 1);
}

/* Read the console to its end, as the debug console device does */
static GByteArray *read_console(Fixture *f)
{
    GByteArray *text = g_byte_array_new();
    uint8_t *payload = NULL;

    guest_sends(f, from_parent(VIRTIO_VSOCK_OP_REQUEST, 0));
    for (;;) {
        VsockHdr hdr;

        guest_offers(f);
        hdr = guest_gets(f, &payload);
        g_assert_cmpuint(hdr.op, !=, 0);
        if (hdr.op == VIRTIO_VSOCK_OP_SHUTDOWN) {
            guest_sends(f, from_parent(VIRTIO_VSOCK_OP_RST, 0));
            return text;
        }
        if (hdr.op == VIRTIO_VSOCK_OP_RW) {
            g_byte_array_append(text, payload, hdr.len);
            guest_sends(f, from_parent(VIRTIO_VSOCK_OP_CREDIT_UPDATE,
                                       text->len));
        }
    }
}

/* The child boots the donated bytes; its console outlives it until FREE */
static void test_image_and_console(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) text = NULL;
    int i;

    fake(f, "image");
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
    WAIT_FOR(nr_exited);
    g_assert_cmpuint(last_cause, ==, NITRO_CONTROL_CAUSE_SHUTDOWN);
    vm_run();

    /* The backlog keeps the last MiB of what the child wrote: its image */
    text = read_console(f);
    g_assert_cmpuint(text->len, ==, NITRO_CONSOLE_BACKLOG);
    g_assert_cmpmem(text->data, text->len,
                    f->image->data + f->image->len - text->len, text->len);

    request_and_wait(f, NITRO_CONTROL_STOP, 1);
    g_assert_cmphex(f->m.mem[region_paddr(0)], ==, 0x5a);
    request_and_wait(f, NITRO_CONTROL_FREE, 1);
    for (i = 0; i < REGIONS; i++) {
        g_assert_true(buffer_is_zero(f->m.mem + region_paddr(i),
                                     REGION_SIZE));
    }
    guest_sends(f, from_parent(VIRTIO_VSOCK_OP_REQUEST, 0));
    guest_offers(f);
    g_assert_cmpuint(guest_gets(f, &(uint8_t *) { NULL }).op, ==,
                     VIRTIO_VSOCK_OP_RST);
    g_assert_cmpuint(nr_exited, ==, 1);
}

static void test_stop(Fixture *f, gconstpointer data)
{
    fake(f, "run");
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
    request_and_wait(f, NITRO_CONTROL_STOP, 1);
    request_and_wait(f, NITRO_CONTROL_STOP, 1);
    request_and_wait(f, NITRO_CONTROL_FREE, 1);
    request_and_wait(f, NITRO_CONTROL_FREE, 1);
    g_assert_cmpuint(nr_exited, ==, 0);

    /* FREE of a running slot, and the CID again */
    donate(f, f->image);
    start(f, 2, 16);
    expect_reply(NITRO_CONTROL_START, 0);
    request_and_wait(f, NITRO_CONTROL_FREE, 2);
    g_assert_cmpuint(nr_exited, ==, 0);
}

static void test_crash(Fixture *f, gconstpointer data)
{
    fake(f, "crash");
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
    WAIT_FOR(nr_exited);
    g_assert_cmpuint(last_cause, ==, NITRO_CONTROL_CAUSE_SIGNAL);
    g_assert_cmpuint(last_status, ==, SIGKILL);
}

static void test_child_fails(Fixture *f, gconstpointer data)
{
    fake(f, "fail");
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, -EIO);
    /* The slot is unknown again */
    fake(f, "run");
    vm_run();
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
    g_assert_cmpuint(nr_exited, ==, 0);

    g_free(f->opts.qemu);
    f->opts.qemu = g_strdup("/nonexistent/qemu");
    start(f, 2, 17);
    expect_reply(NITRO_CONTROL_START, -EIO);
}

static void test_stop_while_starting(Fixture *f, gconstpointer data)
{
    fake(f, "mute");
    start(f, 1, 16);
    g_assert_false(request(f, NITRO_CONTROL_STOP, 1, NULL));
    expect_reply(NITRO_CONTROL_START, -ECANCELED);
    expect_reply(NITRO_CONTROL_STOP, 0);

    /* At every later moment as well */
    start(f, 2, 16);
    g_main_context_iteration(NULL, FALSE);
    g_main_context_iteration(NULL, FALSE);
    g_assert_false(request(f, NITRO_CONTROL_FREE, 2, NULL));
    expect_reply(NITRO_CONTROL_START, -ECANCELED);
    expect_reply(NITRO_CONTROL_FREE, 0);
}

static void test_reset(Fixture *f, gconstpointer data)
{
    fake(f, "stubborn");
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
    fake(f, "run");
    start(f, 2, 17);
    expect_reply(NITRO_CONTROL_START, 0);
    start(f, 3, 17);
    expect_reply(NITRO_CONTROL_START, -EEXIST);
    start(f, 2, 18);
    expect_reply(NITRO_CONTROL_START, -EEXIST);

    /* One of them has to be killed; memory is left alone */
    request_and_wait(f, NITRO_CONTROL_RESET, 0);
    g_assert_cmphex(f->m.mem[region_paddr(0)], ==, 0x5a);
    g_assert_cmpuint(nr_exited, ==, 0);
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
}

static void test_bad_requests(Fixture *f, gconstpointer data)
{
    static const uint64_t cids[] = {
        0, 1, 2, 3, UINT32_MAX, 1ULL << 32, UINT64_MAX
    };
    StartBody body;
    int i;

    fake(f, "run");
    for (i = 0; i < ARRAY_SIZE(cids); i++) {
        start(f, 1, cids[i]);
        expect_reply(NITRO_CONTROL_START, -EINVAL);
    }
    for (i = 0; i < 6; i++) {
        body = start_body(16);
        body.region[3].size = cpu_to_le64(i == 0 ? 0 :
                                          i == 1 ? REGION_SIZE + 4096 :
                                          i == 2 ? 1ULL << 63 : REGION_SIZE);
        body.region[4].paddr = cpu_to_le64(i == 3 ? 4096 :
                                           i == 4 ? -REGION_SIZE :
                                           i == 5 ? 1ULL << 40 :
                                           region_paddr(4));
        g_assert_true(request(f, NITRO_CONTROL_START, 1, &body));
        expect_reply(NITRO_CONTROL_START, -EINVAL);
        vm_run();
    }
}

static void refuse_image(Fixture *f, const GByteArray *image)
{
    donate(f, image);
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, -EINVAL);
    vm_run();
}

static void refuse_other(Fixture *f, const GByteArray *image,
                         const char *message, const char *hint)
{
    g_autofree char *text = NULL;

    error_text_begin();
    refuse_image(f, image);
    text = error_text_end();
    assert_contains(text, message);
    assert_contains(text, hint);
}

/* Without a QEMU that would run it */
static void test_other_architecture(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) arm = build_image(EIF_ARCH_AARCH64);

    fake(f, "run");
    refuse_other(f, arm, "enclave with CID 16 not started: the image is for "
                 "arm64, enclaves here are x86_64", "Rebuild the image for "
                 "x86_64");
    f->opts.qemu_aarch64 = g_steal_pointer(&f->opts.qemu);
    refuse_other(f, f->image, "enclave with CID 16 not started: the image is "
                 "for x86_64, enclaves here are arm64", "Rebuild the image "
                 "for arm64");
    g_assert_cmpuint(nr_exited, ==, 0);
}

static void test_bad_images(Fixture *f, gconstpointer data)
{
    fake(f, "run");
    f->image->data[f->image->len / 2] ^= 1;     /* CRC */
    refuse_image(f, f->image);
    f->image->data[0] = 'x';                    /* no image */
    refuse_image(f, f->image);
    g_assert_cmpuint(nr_exited, ==, 0);
}

/* The driver in the parent is not up: nobody knows its memory */
static void test_no_memory(Fixture *f, gconstpointer data)
{
    fake(f, "run");
    close(f->m.fd);
    f->m.fd = -1;
    vm_run();
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, -EINVAL);
}

static void test_arguments(Fixture *f, gconstpointer data)
{
    g_autofree char *expected = g_strdup_printf(
        "%s -name enclave-16 -m 64M -accel kvm -M nitro-enclave,vsock=vsock,"
        "id=i-1,,2-enc000000000000002a,acpi=on,debug-mode=on,parent-id=i-1,,2 "
        "-bios qboot.rom -smp 3,sockets=1,cores=3,threads=1 "
        "-cpu host -kernel /proc/self/fd/9 "
        "-chardev socket,id=vsock,fd=7 -chardev socket,id=console,fd=8 "
        "-serial chardev:console -display none -monitor none -nodefaults "
        "-no-user-config -no-reboot -global virtio-mmio.force-legacy=off "
        "-fake run", f->opts.qemu);
    NitroImage image = { .fd = 9, .needs_acpi = true };
    NitroChildConfig config = {
        .opts = &f->opts, .slot_uid = 42, .cid = 16, .vcpus = 3,
        .memory = 64 * MiB, .debug = true, .image = &image,
    };
    g_auto(GStrv) args = NULL;
    g_autofree char *line = NULL;

    fake(f, "run");
    f->opts.parent_id = g_strdup("i-1,2");
    g_free(f->opts.accel);
    f->opts.accel = g_strdup("kvm");
    args = nitro_child_args(&config, 7, 8);
    line = g_strjoinv(" ", args);
    g_assert_cmpstr(line, ==, expected);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "/nitro/enclave/image-and-console", test_image_and_console },
        { "/nitro/enclave/stop", test_stop },
        { "/nitro/enclave/crash", test_crash },
        { "/nitro/enclave/child-fails", test_child_fails },
        { "/nitro/enclave/stop-while-starting", test_stop_while_starting },
        { "/nitro/enclave/reset", test_reset },
        { "/nitro/enclave/bad-requests", test_bad_requests },
        { "/nitro/enclave/other-architecture", test_other_architecture },
        { "/nitro/enclave/bad-images", test_bad_images },
        { "/nitro/enclave/no-memory", test_no_memory },
        { "/nitro/enclave/arguments", test_arguments },
    };
    int i;

    if (argc > 1 && g_str_equal(argv[1], "-name")) {
        return fake_qemu(argc, argv);
    }
    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < ARRAY_SIZE(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, setup, tests[i].test,
                   teardown);
    }
    return g_test_run();
}
