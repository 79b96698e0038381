/*
 * Harness for tests of nitro-enclaves-pci
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "qemu/bswap.h"
#include "libqos/pci-pc.h"
#include "hw/pci/pci_regs.h"
#include "nitro-enclaves-util.h"
#include "tests/nitro/patience.h"

#define DEVFN QPCI_DEVFN(4, 0)

#define ARM_RAM_BASE 0x40000000
#define ARM_UART_DR 0x09000000
/* On x86, a page of low RAM holds the words that the vectors write */
#define X86_IRQ_PAGE 0x10000

static char *machine_options;
static char *firmware;

const char *nitro_test_machine(void)
{
    const char zeroes[64 * 1024] = { 0 };
    int fd;

    if (machine_options) {
        return machine_options;
    }
    if (g_str_equal(qtest_get_arch(), "aarch64")) {
        machine_options = g_strdup("-M virt -cpu max");
        return machine_options;
    }
    fd = g_file_open_tmp("nitro-firmware-XXXXXX", &firmware, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, zeroes, sizeof(zeroes)), ==, sizeof(zeroes));
    close(fd);
    machine_options = g_strdup_printf("-M q35 -bios %s "
                                      "-global apic.vapic=off", firmware);
    return machine_options;
}

void nitro_test_cleanup(void)
{
    if (firmware) {
        g_unlink(firmware);
    }
    g_clear_pointer(&firmware, g_free);
    g_clear_pointer(&machine_options, g_free);
}

static void start_listening(NitroVM *vm)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    g_autofree char *path = g_build_filename(vm->dir, "control.sock", NULL);

    g_assert_cmpuint(strlen(path), <, sizeof(addr.sun_path));
    memcpy(addr.sun_path, path, strlen(path));
    vm->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(vm->listener, >=, 0);
    g_assert_cmpint(bind(vm->listener, (struct sockaddr *)&addr,
                         sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(vm->listener, 4), ==, 0);
}

static NitroVM *boot(const char *options, bool behind_port)
{
    NitroVM *vm = g_new0(NitroVM, 1);
    g_autofree char *uart = NULL;

    vm->hv = -1;
    vm->irqs = g_string_new("");
    vm->arm = g_str_equal(qtest_get_arch(), "aarch64");
    vm->dir = g_dir_make_tmp("nitro-enclaves-XXXXXX", NULL);
    g_assert_nonnull(vm->dir);
    start_listening(vm);
    if (vm->arm) {
        uart = g_strdup_printf("-serial file:%s/uart", vm->dir);
    }
    vm->qts = qtest_initf("%s %s -m 512M -smp 4 -nodefaults "
                          "-chardev socket,id=ne,path=%s/control.sock,"
                          "reconnect-ms=20 "
                          "%s"
                          "-device nitro-enclaves-pci,id=ne0,chardev=ne,%s%s",
                          nitro_test_machine(), uart ? uart : "", vm->dir,
                          behind_port ? "-device pcie-root-port,id=rp " : "",
                          behind_port ? "bus=rp" : "addr=04.0", options);
    if (vm->arm) {
        qpci_init_generic(&vm->generic, vm->qts, NULL, false);
        vm->bus = &vm->generic.bus;
    } else {
        vm->bus = qpci_new_pc(vm->qts, NULL);
    }
    return vm;
}

NitroVM *nitro_vm_boot(const char *options)
{
    NitroVM *vm = boot(options, false);

    vm->dev = qpci_device_find(vm->bus, DEVFN);
    g_assert_nonnull(vm->dev);
    return vm;
}

NitroVM *nitro_vm_boot_pluggable(void)
{
    return boot("", true);
}

NitroVM *nitro_vm_new(const char *options)
{
    NitroVM *vm = nitro_vm_boot(options);

    nitro_vm_msix_enable(vm);
    nitro_vm_handshake(vm);
    hv_accept_and_greet(vm);
    return vm;
}

void nitro_vm_free(NitroVM *vm)
{
    static const char *const files[] = { "control.sock", "uart" };

    g_free(vm->dev);
    if (!vm->arm) {
        qpci_free_pc(vm->bus);
    }
    qtest_quit(vm->qts);
    hv_close(vm);
    close(vm->listener);
    for (int i = 0; i < ARRAY_SIZE(files); i++) {
        g_autofree char *path = g_build_filename(vm->dir, files[i], NULL);

        g_unlink(path);
    }
    g_assert_cmpint(g_rmdir(vm->dir), ==, 0);
    g_free(vm->dir);
    g_string_free(vm->irqs, true);
    g_free(vm);
}

uint64_t nitro_vm_irq_addr(NitroVM *vm, unsigned vector)
{
    return vm->arm ? ARM_UART_DR : X86_IRQ_PAGE + vector * 16;
}

uint32_t nitro_vm_irq_data(NitroVM *vm, unsigned vector)
{
    return '0' + vector;
}

void nitro_vm_msix_write(NitroVM *vm, unsigned vector, uint64_t addr,
                         uint32_t data, bool masked)
{
    QPCIBar bar = vm->dev->msix_table_bar;
    uint64_t entry = vm->dev->msix_table_off + vector * PCI_MSIX_ENTRY_SIZE;

    qpci_io_writel(vm->dev, bar, entry + PCI_MSIX_ENTRY_LOWER_ADDR, addr);
    qpci_io_writel(vm->dev, bar, entry + PCI_MSIX_ENTRY_UPPER_ADDR, addr >> 32);
    qpci_io_writel(vm->dev, bar, entry + PCI_MSIX_ENTRY_DATA, data);
    nitro_vm_msix_mask(vm, vector, masked);
}

void nitro_vm_msix_mask(NitroVM *vm, unsigned vector, bool masked)
{
    qpci_io_writel(vm->dev, vm->dev->msix_table_bar,
                   vm->dev->msix_table_off + vector * PCI_MSIX_ENTRY_SIZE +
                   PCI_MSIX_ENTRY_VECTOR_CTRL,
                   masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0);
}

void nitro_vm_msix_enable(NitroVM *vm)
{
    qpci_device_enable(vm->dev);
    qpci_msix_enable(vm->dev);
    for (unsigned i = 0; i < NITRO_PCI_NR_VECTORS; i++) {
        nitro_vm_msix_write(vm, i, nitro_vm_irq_addr(vm, i),
                            nitro_vm_irq_data(vm, i), false);
    }
    vm->regs = qpci_iomap(vm->dev, NITRO_PCI_BAR, NULL);
}

static void collect_uart(NitroVM *vm)
{
    g_autofree char *path = g_build_filename(vm->dir, "uart", NULL);
    g_autofree char *text = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(path, &text, &len, NULL));
    g_string_append_len(vm->irqs, text + vm->uart_read, len - vm->uart_read);
    vm->uart_read = len;
}

static void collect_ram(NitroVM *vm)
{
    for (unsigned i = 0; i < NITRO_PCI_NR_VECTORS; i++) {
        uint64_t addr = nitro_vm_irq_addr(vm, i);
        uint32_t data = qtest_readl(vm->qts, addr);

        if (data) {
            g_assert_cmphex(data, ==, nitro_vm_irq_data(vm, i));
            g_string_append_c(vm->irqs, data);
            qtest_writel(vm->qts, addr, 0);
        }
    }
}

unsigned nitro_vm_irqs(NitroVM *vm, unsigned vector)
{
    char digit = nitro_vm_irq_data(vm, vector);
    unsigned count = 0;

    if (vm->arm) {
        collect_uart(vm);
    } else {
        collect_ram(vm);
    }
    for (gsize i = 0; i < vm->irqs->len;) {
        if (vm->irqs->str[i] == digit) {
            g_string_erase(vm->irqs, i, 1);
            count++;
        } else {
            i++;
        }
    }
    return count;
}

char *nitro_vm_irq_order(NitroVM *vm)
{
    char *order;

    g_assert_true(vm->arm);
    collect_uart(vm);
    order = g_strdup(vm->irqs->str);
    g_string_truncate(vm->irqs, 0);
    return order;
}

uint8_t nitro_vm_enable(NitroVM *vm, uint8_t value)
{
    qpci_io_writeb(vm->dev, vm->regs, NITRO_PCI_REG_ENABLE, value);
    return qpci_io_readb(vm->dev, vm->regs, NITRO_PCI_REG_ENABLE);
}

uint16_t nitro_vm_version(NitroVM *vm, uint16_t value)
{
    qpci_io_writew(vm->dev, vm->regs, NITRO_PCI_REG_VERSION, value);
    return qpci_io_readw(vm->dev, vm->regs, NITRO_PCI_REG_VERSION);
}

void nitro_vm_handshake(NitroVM *vm)
{
    g_assert_cmpuint(nitro_vm_enable(vm, 0), ==, 0);
    g_assert_cmpuint(nitro_vm_version(vm, 1), ==, 1);
    g_assert_cmpuint(nitro_vm_enable(vm, 1), ==, 1);
}

static uint32_t evtcnt(NitroVM *vm)
{
    return qpci_io_readl(vm->dev, vm->regs, NITRO_PCI_REG_EVTCNT);
}

uint16_t nitro_vm_replies(NitroVM *vm)
{
    return evtcnt(vm) & 0xffff;
}

uint16_t nitro_vm_events(NitroVM *vm)
{
    return evtcnt(vm) >> 16;
}

/* What the hypervisor's side sent is on its way through the main loop */
#define WAIT_FOR(expr, value) \
    do { \
        gint64 end_ = g_get_monotonic_time() + PATIENCE_MS * INT64_C(1000); \
        while ((expr) != (value) && g_get_monotonic_time() < end_) { \
            g_usleep(200); \
        } \
        g_assert_cmpuint(expr, ==, value); \
    } while (0)

void nitro_vm_wait_replies(NitroVM *vm, uint16_t count)
{
    WAIT_FOR(nitro_vm_replies(vm), count);
}

void nitro_vm_wait_events(NitroVM *vm, uint16_t count)
{
    WAIT_FOR(nitro_vm_events(vm), count);
}

void nitro_vm_wait_enable(NitroVM *vm, uint8_t value)
{
    WAIT_FOR(qpci_io_readb(vm->dev, vm->regs, NITRO_PCI_REG_ENABLE), value);
}

void nitro_vm_submit(NitroVM *vm, uint32_t command, const uint64_t *args,
                     size_t nr)
{
    for (size_t i = 0; i < nr; i++) {
        qpci_io_writeq(vm->dev, vm->regs, NITRO_PCI_REG_SEND + i * 8, args[i]);
    }
    qpci_io_writel(vm->dev, vm->regs, NITRO_PCI_REG_COMMAND, command);
}

NitroTestReply nitro_vm_reply(NitroVM *vm)
{
    NitroPciReply r;

    qpci_memread(vm->dev, vm->regs, NITRO_PCI_REG_RECV, &r, sizeof(r));
    return (NitroTestReply) {
        .rc = le32_to_cpu(r.rc),
        .slot_uid = le64_to_cpu(r.slot_uid),
        .enclave_cid = le64_to_cpu(r.enclave_cid),
        .slot_count = le64_to_cpu(r.slot_count),
        .mem_regions = le64_to_cpu(r.mem_regions),
        .mem_size = le64_to_cpu(r.mem_size),
        .nr_vcpus = le64_to_cpu(r.nr_vcpus),
        .flags = le64_to_cpu(r.flags),
        .state = le16_to_cpu(r.state),
    };
}

NitroTestReply nitro_vm_command(NitroVM *vm, uint32_t command, uint64_t a,
                                uint64_t b, uint64_t c)
{
    const uint64_t args[] = { a, b, c };
    uint16_t replies = nitro_vm_replies(vm);

    nitro_vm_submit(vm, command, args, ARRAY_SIZE(args));
    g_assert_cmpuint(nitro_vm_replies(vm), ==, (uint16_t)(replies + 1));
    g_assert_cmpuint(nitro_vm_irqs(vm, NITRO_PCI_VECTOR_REPLY), ==, 1);
    return nitro_vm_reply(vm);
}

int nitro_vm_rc(NitroVM *vm, uint32_t command, uint64_t a, uint64_t b,
                uint64_t c)
{
    return nitro_vm_command(vm, command, a, b, c).rc;
}

NitroTestReply nitro_vm_take_reply(NitroVM *vm)
{
    unsigned seen = 0;

    WAIT_FOR(seen += nitro_vm_irqs(vm, NITRO_PCI_VECTOR_REPLY), 1);
    return nitro_vm_reply(vm);
}

uint64_t nitro_vm_ram(NitroVM *vm, unsigned chunk)
{
    return (vm->arm ? ARM_RAM_BASE : 0) + (uint64_t)chunk * NITRO_MEM_CHUNK;
}

uint64_t nitro_vm_alloc(NitroVM *vm)
{
    NitroTestReply r = nitro_vm_command(vm, NITRO_PCI_CMD_ALLOC, 0, 0, 0);

    g_assert_cmpint(r.rc, ==, 0);
    g_assert_cmphex(r.slot_uid, !=, 0);
    return r.slot_uid;
}

uint64_t nitro_vm_slot(NitroVM *vm, unsigned n)
{
    uint64_t uid = nitro_vm_alloc(vm);

    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_MEM, uid,
                                nitro_vm_ram(vm, n), NITRO_MEM_CHUNK), ==, 0);
    g_assert_cmpint(nitro_vm_rc(vm, NITRO_PCI_CMD_ADD_VCPU, uid, n, 0), ==, 0);
    return uid;
}

void nitro_vm_submit_start(NitroVM *vm, uint64_t uid, uint64_t cid,
                           NitroTestMessage *m)
{
    const uint64_t args[] = { uid, cid, 0 };

    nitro_vm_submit(vm, NITRO_PCI_CMD_START, args, 3);
    hv_expect(vm, NITRO_CONTROL_START, m);
}

uint64_t nitro_vm_running(NitroVM *vm, unsigned n, uint64_t *cid)
{
    uint64_t uid = nitro_vm_slot(vm, n);
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);
    NitroTestReply r;

    nitro_vm_submit_start(vm, uid, 0, m);
    hv_reply(vm, m, 0);
    r = nitro_vm_take_reply(vm);
    g_assert_cmpint(r.rc, ==, 0);
    if (cid) {
        *cid = r.enclave_cid;
    }
    return uid;
}

void nitro_vm_end(NitroVM *vm, uint32_t command, uint64_t uid)
{
    uint16_t type = command == NITRO_PCI_CMD_STOP ? NITRO_CONTROL_STOP
                                                  : NITRO_CONTROL_FREE;
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);

    nitro_vm_submit(vm, command, &uid, 1);
    hv_expect(vm, type, m);
    g_assert_cmphex(m->h.slot_uid, ==, uid);
    g_assert_cmpuint(m->len, ==, 0);
    hv_reply(vm, m, 0);
    g_assert_cmpint(nitro_vm_take_reply(vm).rc, ==, 0);
}

void nitro_vm_fault(NitroVM *vm, const char *faults)
{
    qtest_qmp_assert_success(vm->qts, "{'execute': 'qom-set', 'arguments': {"
                             " 'path': '/machine/peripheral/ne0',"
                             " 'property': 'x-fault', 'value': %s}}", faults);
}

void nitro_vm_raise_events(NitroVM *vm, unsigned nr)
{
    qtest_qmp_assert_success(vm->qts, "{'execute': 'qom-set', 'arguments': {"
                             " 'path': '/machine/peripheral/ne0',"
                             " 'property': 'x-raise-events', 'value': %u}}",
                             nr);
}

bool nitro_vm_connected(NitroVM *vm)
{
    return qtest_qom_get_bool(vm->qts, "/machine/peripheral/ne0", "connected");
}

static bool readable(int fd, int timeout_ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return RETRY_ON_EINTR(poll(&p, 1, timeout_ms)) == 1;
}

void hv_accept(NitroVM *vm)
{
    g_assert_cmpint(vm->hv, ==, -1);
    g_assert_true(readable(vm->listener, PATIENCE_MS));
    vm->hv = accept(vm->listener, NULL, NULL);
    g_assert_cmpint(vm->hv, >=, 0);
}

void hv_accept_and_greet(NitroVM *vm)
{
    NitroControlHello hello = {
        .version = cpu_to_le32(NITRO_CONTROL_VERSION),
    };
    g_autofree NitroTestMessage *m = g_new(NitroTestMessage, 1);

    hv_accept(vm);
    hv_expect(vm, NITRO_CONTROL_HELLO, m);
    g_assert_cmpuint(m->len, ==, sizeof(hello));
    g_assert_cmpmem(m->body, m->len, &hello, sizeof(hello));
    g_assert_false(nitro_vm_connected(vm));
    hv_message(vm, sizeof(m->h) + sizeof(hello), NITRO_CONTROL_HELLO,
               NITRO_CONTROL_FLAG_REPLY, m->h.seq, 0, 0, &hello,
               sizeof(hello));
    WAIT_FOR(nitro_vm_connected(vm), true);
}

void hv_close(NitroVM *vm)
{
    if (vm->hv >= 0) {
        close(vm->hv);
        vm->hv = -1;
    }
}

void hv_send(NitroVM *vm, const void *buf, size_t len)
{
    const uint8_t *p = buf;

    while (len) {
        ssize_t n = RETRY_ON_EINTR(send(vm->hv, p, len, MSG_NOSIGNAL));

        /*
         * The device may hang up on the first bytes of a bad message; whoever
         * sent a good one misses the answer.
         */
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            return;
        }
        g_assert_cmpint(n, >, 0);
        p += n;
        len -= n;
    }
}

void hv_message(NitroVM *vm, uint32_t size, uint16_t type, uint16_t flags,
                uint32_t seq, int32_t rc, uint64_t uid, const void *body,
                size_t len)
{
    NitroControlHeader h = {
        .size = cpu_to_le32(size),
        .type = cpu_to_le16(type),
        .flags = cpu_to_le16(flags),
        .seq = cpu_to_le32(seq),
        .rc = cpu_to_le32(rc),
        .slot_uid = cpu_to_le64(uid),
    };

    hv_send(vm, &h, sizeof(h));
    if (len) {
        hv_send(vm, body, len);
    }
}

static void receive(NitroVM *vm, void *buf, size_t len)
{
    uint8_t *p = buf;

    while (len) {
        ssize_t n;

        g_assert_true(readable(vm->hv, PATIENCE_MS));
        n = RETRY_ON_EINTR(recv(vm->hv, p, len, 0));
        g_assert_cmpint(n, >, 0);
        p += n;
        len -= n;
    }
}

void hv_expect(NitroVM *vm, uint16_t type, NitroTestMessage *m)
{
    NitroControlHeader h;

    receive(vm, &h, sizeof(h));
    m->h.size = le32_to_cpu(h.size);
    m->h.type = le16_to_cpu(h.type);
    m->h.flags = le16_to_cpu(h.flags);
    m->h.seq = le32_to_cpu(h.seq);
    m->h.rc = le32_to_cpu(h.rc);
    m->h.slot_uid = le64_to_cpu(h.slot_uid);
    g_assert_cmpuint(m->h.type, ==, type);
    g_assert_cmpuint(m->h.flags, ==, 0);
    g_assert_cmpint(m->h.rc, ==, 0);
    g_assert_cmpuint(m->h.seq, !=, 0);
    g_assert_cmpuint(m->h.size, >=, sizeof(h));
    g_assert_cmpuint(m->h.size, <=, NITRO_CONTROL_MAX_SIZE);
    m->len = m->h.size - sizeof(h);
    receive(vm, m->body, m->len);
}

void hv_expect_silence(NitroVM *vm)
{
    /* whatever the device has to say was said once this is answered */
    nitro_vm_connected(vm);
    g_assert_false(readable(vm->hv, 0));
}

void hv_expect_eof(NitroVM *vm)
{
    uint8_t byte;
    ssize_t n;

    g_assert_true(readable(vm->hv, PATIENCE_MS));
    n = RETRY_ON_EINTR(recv(vm->hv, &byte, 1, 0));
    /* a reset: the device did not want to read the rest */
    g_assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
    hv_close(vm);
}

void hv_reply(NitroVM *vm, const NitroTestMessage *m, int32_t rc)
{
    hv_message(vm, sizeof(m->h), m->h.type, NITRO_CONTROL_FLAG_REPLY,
               m->h.seq, rc, m->h.slot_uid, NULL, 0);
}

void hv_exited(NitroVM *vm, uint64_t uid)
{
    NitroControlExited body = {
        .cause = cpu_to_le32(NITRO_CONTROL_CAUSE_ERROR),
        .status = cpu_to_le32(1),
    };

    hv_message(vm, sizeof(NitroControlHeader) + sizeof(body),
               NITRO_CONTROL_EXITED, 0, 0, 0, uid, &body, sizeof(body));
}
