/*
 * nitro-hypervisor: runs the enclaves of an emulated EC2 parent
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 *        parent QEMU                              enclave QEMUs
 *    nitro-enclaves-pci --- control --- slots --- enclave --- child
 *    vhost-user-vsock-pci - parent ---- switch -- vsock-device
 *                                          |
 *                                       console (CID 0)
 *
 * One thread runs everything from its main loop; only the check of an image
 * has a thread of its own.
 */

#include "qemu/osdep.h"
#include <glib-unix.h>
#include "crypto/init.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/sockets.h"
#include "accel.h"
#include "console.h"
#include "control.h"
#include "options.h"
#include "parent.h"
#include "pki.h"
#include "report.h"
#include "runtime-dir.h"
#include "slots.h"

typedef struct Hypervisor {
    NhvOptions opts;
    GMainLoop *loop;
    NhvSwitch *sw;
    NhvReport report;
    NhvConsoleService *consoles;
    NhvParent *parent;
    NhvControl *control;
    NhvSlots *slots;
    NhvPki *pki;
    NhvRuntimeDir dir;
    bool ending;
} Hypervisor;

static void guest_misbehaved(void *opaque, uint32_t cid, const char *what)
{
    Hypervisor *hv = opaque;

    nhv_report(&hv->report, "CID %u: %s", cid, what);
}

static void hypervisor_end(Hypervisor *hv)
{
    hv->ending = true;
    nhv_slots_close(hv->slots);
}

static gboolean end_signal(gpointer opaque)
{
    hypervisor_end(opaque);
    return G_SOURCE_CONTINUE;
}

/* A fault to test readers with */
static gboolean hang_up_signal(gpointer opaque)
{
    Hypervisor *hv = opaque;

    info_report("hanging up on the readers of consoles");
    nhv_console_service_hang_up(hv->consoles);
    return G_SOURCE_CONTINUE;
}

static void slots_idle(void *opaque)
{
    Hypervisor *hv = opaque;

    if (hv->ending) {
        g_main_loop_quit(hv->loop);
    } else {
        nhv_control_resume(hv->control);
    }
}

static void parent_gone(void *opaque)
{
    Hypervisor *hv = opaque;

    if (hv->opts.once) {
        hypervisor_end(hv);
    } else {
        nhv_slots_reset(hv->slots);
    }
}

static bool control_request(void *opaque, const NitroControlHeader *header,
                            const void *body)
{
    Hypervisor *hv = opaque;

    return nhv_slots_request(hv->slots, header, body);
}

static void control_lost(void *opaque, const char *why)
{
    Hypervisor *hv = opaque;

    info_report("control channel closed: %s", why);
    nhv_slots_reset(hv->slots);
}

static const NhvControlOps control_ops = {
    .request = control_request,
    .lost = control_lost,
};

static bool open_pki(Hypervisor *hv, Error **errp)
{
    g_autofree char *fingerprint = NULL;

    if (!hv->opts.pki_dir) {
        info_report("attestation documents are not signed; --pki-dir DIR "
                    "has them signed");
        return true;
    }
    hv->pki = nhv_pki_open(hv->opts.pki_dir, errp);
    if (!hv->pki) {
        return false;
    }
    fingerprint = nhv_pki_fingerprint(hv->pki);
    info_report("attestation documents lead to root %s, SHA-256 %s: not AWS",
                nhv_pki_root(hv->pki), fingerprint);
    return true;
}

static bool hypervisor_start(Hypervisor *hv, Error **errp)
{
    const char *dir = hv->opts.runtime_dir;
    g_autofree char *vsock_path = g_build_filename(dir, "parent-vsock.sock",
                                                   NULL);
    g_autofree char *control_path = g_build_filename(dir, "control.sock",
                                                     NULL);
    NhvEnclaveHost host = { .opts = &hv->opts };

    nhv_accel_resolve(NHV_KVM_DEVICE, &hv->opts);
    if (!nhv_runtime_dir_open(&hv->dir, dir, errp) || !open_pki(hv, errp)) {
        return false;
    }
    host.pki = hv->pki;
    host.sw = hv->sw = nhv_switch_new(hv->opts.max_connections,
                                      guest_misbehaved, hv);
    host.consoles = hv->consoles = nhv_console_service_new(hv->sw);
    hv->slots = nhv_slots_new(&host, slots_idle, hv);
    hv->parent = nhv_parent_new(hv->sw, vsock_path, parent_gone, hv, errp);
    if (!hv->parent) {
        return false;
    }
    hv->control = nhv_control_new(control_path, &control_ops, hv, errp);
    if (!hv->control) {
        return false;
    }
    nhv_slots_connect(hv->slots, hv->control, hv->parent);
    info_report("ready in %s, accelerator of %s enclaves: %s", dir,
                eif_arch_str(NHV_HOST_ARCH), hv->opts.accel);
    return true;
}

static void hypervisor_stop(Hypervisor *hv)
{
    nhv_control_free(hv->control);
    nhv_slots_free(hv->slots);
    nhv_parent_free(hv->parent);
    nhv_console_service_free(hv->consoles);
    nhv_switch_free(hv->sw);
    nhv_pki_free(hv->pki);
    nhv_runtime_dir_close(&hv->dir);
    nhv_options_clear(&hv->opts);
}

/* Descriptors 0 to 2 must not become sockets of ours */
static void occupy_stdio(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
}

static int hypervisor_run(Hypervisor *hv)
{
    hv->loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGTERM, end_signal, hv);
    g_unix_signal_add(SIGINT, end_signal, hv);
    g_unix_signal_add(SIGHUP, end_signal, hv);
    g_unix_signal_add(SIGUSR1, hang_up_signal, hv);
    signal(SIGPIPE, SIG_IGN);
    g_main_loop_run(hv->loop);
    g_main_loop_unref(hv->loop);
    return EXIT_SUCCESS;
}

static int run_pki_command(const NhvOptions *opts)
{
    Error *err = NULL;

    if (!nhv_pki_command(opts->pki_dir, opts->pki_command,
                         nhv_options_id(opts), &err)) {
        error_report_err(err);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

static int check_kvm(const NhvOptions *opts)
{
    Error *err = NULL;

    if (!nhv_accel_check_kvm(NHV_KVM_DEVICE, opts, &err)) {
        error_report_err(err);
        return EXIT_FAILURE;
    }
    printf("kvm\n");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    Hypervisor hv = { };
    Error *err = NULL;
    int status = EXIT_FAILURE;

    occupy_stdio();
    umask(077);     /* sockets and logs are private */
    error_init(argv[0]);
    if (qcrypto_init(&err) < 0 ||
        !nhv_options_parse(&hv.opts, argc, argv, &err)) {
        error_report_err(err);
    } else if (hv.opts.version) {
        printf("nitro-hypervisor (QEMU " QEMU_VERSION ")\n");
        status = EXIT_SUCCESS;
    } else if (hv.opts.check_kvm) {
        status = check_kvm(&hv.opts);
    } else if (hv.opts.pki_command) {
        status = run_pki_command(&hv.opts);
    } else if (hypervisor_start(&hv, &err)) {
        status = hypervisor_run(&hv);
    } else {
        error_report_err(err);
    }
    hypervisor_stop(&hv);
    return status;
}
