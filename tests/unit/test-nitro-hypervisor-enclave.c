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
#include <sys/syscall.h>
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/units.h"
#include "contrib/nitro-hypervisor/child.h"
#include "nitro-enclave-util.h"
#include "nitro-no-threads.h"
#include "nitro-vsock-wire.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/eif-signer.h"
#include "tests/nitro/error-text.h"

/* So often the copy of an image cannot be sealed */
static int busy_seals;

/* libc's, replaced */
int fcntl(int fd, int cmd, ...)
{
    va_list list;
    long arg;

    va_start(list, cmd);
    arg = va_arg(list, long);
    va_end(list);
    if (cmd == F_ADD_SEALS && (arg & F_SEAL_WRITE) && busy_seals) {
        busy_seals--;
        errno = EBUSY;
        return -1;
    }
    return syscall(SYS_fcntl, fd, cmd, arg);
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
    g_assert_cmpuint(text->len, ==, NHV_CONSOLE_BACKLOG);
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

/* A guest that KVM cannot run is not left paused for ever */
static void test_gave_up(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;

    fake(f, "pause");
    g_free(f->opts.accel);
    f->opts.accel = g_strdup("kvm");
    error_text_begin();
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
    WAIT_FOR(nr_exited);
    text = error_text_end();
    g_assert_cmpuint(last_cause, ==, NITRO_CONTROL_CAUSE_SIGNAL);
    assert_contains(text, "enclave with CID 16: kvm cannot run it (--accel "
                    "tcg emulates it, in nitro-lab ACCEL=tcg): KVM internal "
                    "error. Suberror: 1");
}

static void test_child_fails(Fixture *f, gconstpointer data)
{
    fake(f, "fail");
    f->opts.strict_image = true;
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, -EIO);
    g_assert_cmpuint(nr_exited, ==, 0);
    /* The slot is unknown again */
    f->opts.strict_image = false;
    vm_run();
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
    WAIT_FOR(nr_exited);
    g_assert_cmpuint(last_cause, ==, NITRO_CONTROL_CAUSE_ERROR);
    g_assert_cmpuint(last_status, ==, 7);
    request_and_wait(f, NITRO_CONTROL_FREE, 1);
    g_assert_cmpuint(nr_exited, ==, 1);
}

/* That is this host's failure, and no image's */
static void test_no_qemu(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;

    g_free(f->opts.qemu);
    f->opts.qemu = g_strdup("/nonexistent/qemu");
    error_text_begin();
    start(f, 2, 17);
    expect_reply(NITRO_CONTROL_START, -EIO);
    text = error_text_end();
    assert_contains(text, "enclave with CID 17: QEMU ended with status 127: "
                    "cannot run /nonexistent/qemu: No such file or directory");
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

/* While they end, and afterwards */
static void test_start_while_closing(Fixture *f, gconstpointer data)
{
    fake(f, "run");
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
    nhv_slots_close(f->slots);
    start(f, 2, 17);
    expect_reply(NITRO_CONTROL_START, -ECANCELED);
    WAIT_FOR(nr_idle);
    start(f, 3, 18);
    expect_reply(NITRO_CONTROL_START, -ECANCELED);
}

/* A reset refuses while it lasts: nobody would end what is started then */
static void test_start_while_resetting(Fixture *f, gconstpointer data)
{
    fake(f, "run");
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
    nhv_slots_reset(f->slots);
    start(f, 2, 17);
    expect_reply(NITRO_CONTROL_START, -ECANCELED);
    WAIT_FOR(nr_idle);
    start(f, 3, 18);
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

/* As on EC2 */
static void expect_end_at_once(Fixture *f)
{
    nr_exited = 0;
    expect_reply(NITRO_CONTROL_START, 0);
    WAIT_FOR(nr_exited);
    g_assert_cmpuint(last_cause, ==, NITRO_CONTROL_CAUSE_IMAGE);
    g_assert_cmpuint(last_status, ==, 0);
    request_and_wait(f, NITRO_CONTROL_STOP, 1);
    request_and_wait(f, NITRO_CONTROL_FREE, 1);
    g_assert_cmpuint(nr_exited, ==, 1);
    vm_run();
}

static void refuse_image(Fixture *f, const GByteArray *image)
{
    donate(f, image);
    f->opts.strict_image = true;
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, -EINVAL);
    vm_run();
    f->opts.strict_image = false;
    start(f, 1, 16);
    expect_end_at_once(f);
}

static void refuse_other(Fixture *f, const GByteArray *image,
                         const char *message, const char *hint)
{
    g_autofree char *text = NULL;

    error_text_begin();
    refuse_image(f, image);
    text = error_text_end();
    assert_contains(text, "enclave with CID 16 not started: ");
    assert_contains(text, "enclave with CID 16 cannot boot its image: ");
    assert_contains(text, message);
    assert_contains(text, hint);
}

/* Without a QEMU that would run it */
static void test_other_architecture(Fixture *f, gconstpointer data)
{
    g_autoptr(GByteArray) arm = build_image(EIF_ARCH_AARCH64);

    fake(f, "run");
    refuse_other(f, arm, "image: the image is for arm64, enclaves here are "
                 "x86_64", "Rebuild the image for x86_64");
    f->opts.qemu_aarch64 = g_steal_pointer(&f->opts.qemu);
    refuse_other(f, f->image, "image: the image is for x86_64, enclaves here "
                 "are arm64", "Rebuild the image for arm64");
}

static void test_bad_images(Fixture *f, gconstpointer data)
{
    fake(f, "run");
    f->image->data[f->image->len / 2] ^= 1;     /* CRC */
    refuse_image(f, f->image);
    f->image->data[0] = 'x';                    /* no image */
    refuse_image(f, f->image);
}

/* There is no byte where the image would begin */
static void test_little_memory(Fixture *f, gconstpointer data)
{
    StartBody body = start_body(16);

    fake(f, "run");
    body.start.nr_regions = cpu_to_le32(NITRO_IMAGE_OFFSET /
                                        REGION_SIZE);
    g_assert_true(request(f, NITRO_CONTROL_START, 1, &body));
    expect_end_at_once(f);
}

/* A wish to stop it comes before the outcome */
static void test_stop_bad_image(Fixture *f, gconstpointer data)
{
    fake(f, "run");
    f->image->data[0] = 'x';
    donate(f, f->image);
    start(f, 1, 16);
    g_assert_false(request(f, NITRO_CONTROL_STOP, 1, NULL));
    expect_reply(NITRO_CONTROL_START, -ECANCELED);
    expect_reply(NITRO_CONTROL_STOP, 0);
    g_assert_cmpuint(nr_exited, ==, 0);
}

#ifdef CONFIG_GNUTLS
static GByteArray *signed_image(int64_t not_after)
{
    EifSignerParams params = {
        .not_after = not_after, .sections = BOOTABLE, .pcr0 = BOOTABLE_PCR0,
    };
    g_autoptr(EifSigner) signer = eif_signer_new(&params);

    return eif_signer_image(signer, 0);
}

/* It boots as long as its certificate is valid */
static void test_signature(Fixture *f, gconstpointer data)
{
    int64_t now = g_get_real_time() / G_USEC_PER_SEC;
    g_autoptr(GByteArray) expired = signed_image(now - EIF_SIGNER_DAY);
    g_autoptr(GByteArray) valid = signed_image(now + EIF_SIGNER_DAY);

    fake(f, "run");
    refuse_other(f, expired, "image: the image is not validly signed: the "
                 "certificate was valid until", "Set the clock, or sign");
    donate(f, valid);
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
}
#endif

/* That is no reason for all other enclaves to end */
static void test_no_threads(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;

    fake(f, "run");
    no_threads = true;
    error_text_begin();
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, -ENOMEM);
    text = error_text_end();
    no_threads = false;
    assert_contains(text, "enclave with CID 16 not started: cannot check its "
                    "image: no more threads");
    assert_contains(text, "ulimit -u");
    vm_run();
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
}

/* The host's kernel holds pages of the copy, for moments or for ever */
static void test_busy_copy(Fixture *f, gconstpointer data)
{
    g_autofree char *text = NULL;

    fake(f, "run");
    busy_seals = 1000;
    error_text_begin();
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, -EINVAL);
    text = error_text_end();
    assert_contains(text, "enclave with CID 16 not started: cannot seal the "
                    "copy of the image: Device or resource busy");
    busy_seals = 3;
    vm_run();
    start(f, 1, 16);
    expect_reply(NITRO_CONTROL_START, 0);
    g_assert_cmpint(busy_seals, ==, 0);
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
        "-cpu host,pmu=off -kernel /proc/self/fd/9 "
        "-chardev socket,id=vsock,fd=7 -chardev socket,id=console,fd=8 "
        "-serial chardev:console -chardev socket,id=monitor,fd=10 "
        "-mon chardev=monitor,mode=control -display none -monitor none -nodefaults "
        "-no-user-config -no-reboot -global virtio-mmio.force-legacy=off "
        "-fake run", f->opts.qemu);
    NhvImage image = { .fd = 9, .needs_acpi = true };
    NhvChildConfig config = {
        .opts = &f->opts, .slot_uid = 42, .cid = 16, .vcpus = 3,
        .memory = 64 * MiB, .debug = true, .image = &image, .signer_fd = -1,
    };
    const NhvChildFds fds = { .vsock = 7, .serial = 8, .monitor = 10 };
    g_auto(GStrv) args = NULL;
    g_autofree char *line = NULL;

    fake(f, "run");
    f->opts.parent_id = g_strdup("i-1,2");
    g_free(f->opts.accel);
    f->opts.accel = g_strdup("kvm");
    args = nhv_child_args(&config, &fds);
    line = g_strjoinv(" ", args);
    g_assert_cmpstr(line, ==, expected);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "/nitro/hypervisor/image-and-console", test_image_and_console },
        { "/nitro/hypervisor/stop", test_stop },
        { "/nitro/hypervisor/crash", test_crash },
        { "/nitro/hypervisor/gave-up", test_gave_up },
        { "/nitro/hypervisor/child-fails", test_child_fails },
        { "/nitro/hypervisor/no-qemu", test_no_qemu },
        { "/nitro/hypervisor/stop-while-starting", test_stop_while_starting },
        { "/nitro/hypervisor/reset", test_reset },
        { "/nitro/hypervisor/start-while-closing", test_start_while_closing },
        { "/nitro/hypervisor/start-while-resetting",
          test_start_while_resetting },
        { "/nitro/hypervisor/bad-requests", test_bad_requests },
        { "/nitro/hypervisor/other-architecture", test_other_architecture },
        { "/nitro/hypervisor/bad-images", test_bad_images },
        { "/nitro/hypervisor/little-memory", test_little_memory },
        { "/nitro/hypervisor/stop-bad-image", test_stop_bad_image },
#ifdef CONFIG_GNUTLS
        { "/nitro/hypervisor/signature", test_signature },
#endif
        { "/nitro/hypervisor/no-threads", test_no_threads },
        { "/nitro/hypervisor/busy-copy", test_busy_copy },
        { "/nitro/hypervisor/no-memory", test_no_memory },
        { "/nitro/hypervisor/arguments", test_arguments },
    };
    int i;

    if (argc > 1 && g_str_equal(argv[1], "-name")) {
        return fake_qemu(argc, argv);
    }
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);           /* as the hypervisor process does */
    for (i = 0; i < ARRAY_SIZE(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, setup, tests[i].test,
                   teardown);
    }
    return g_test_run();
}
