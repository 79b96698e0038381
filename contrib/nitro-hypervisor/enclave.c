/*
 * One enclave, from START to FREE
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/sockets.h"
#include "hw/nitro/nitro-control.h"
#include "child.h"
#include "enclave.h"
#include "image.h"
#include "vsock-device.h"

typedef enum EnclaveState {
    STATE_COPYING,
    STATE_CHECKING,
    STATE_STARTING,
    STATE_RUNNING,
    STATE_DOWN,
} EnclaveState;

struct NhvEnclave {
    NhvEnclaveHost host;
    NhvEnclaveConfig config;
    const NhvEnclaveOps *ops;
    void *opaque;
    EnclaveState state;
    bool stopping;
    bool answered;              /* ops->started was called */
    int rc;                     /* outcome of a failed start */
    uint32_t cause, status;     /* how it ended */
    NhvImage *image;
    NhvPkiInstance *identity; /* what it signs with, or NULL */
    Error *check_error;
    NhvChild *child;
    NhvVsockDevice *vsock;
    NhvConsole *console;
    guint step_source;          /* copying, or reporting the end */
    guint timeout_source;
};

static void enclave_answer(NhvEnclave *enclave, int rc)
{
    if (!enclave->answered) {
        enclave->answered = true;
        enclave->ops->started(enclave->opaque, enclave, rc);
    }
}

static gboolean enclave_down(gpointer opaque)
{
    NhvEnclave *enclave = opaque;
    bool by_itself = enclave->state == STATE_RUNNING && !enclave->stopping;

    enclave->step_source = 0;
    enclave->state = STATE_DOWN;
    enclave_answer(enclave, enclave->rc);
    if (by_itself) {
        enclave->ops->exited(enclave->opaque, enclave, enclave->cause,
                             enclave->status);
    }
    enclave->ops->down(enclave->opaque, enclave);
    return G_SOURCE_REMOVE;
}

/* Nothing of it runs any more */
static void enclave_finish(NhvEnclave *enclave)
{
    g_clear_handle_id(&enclave->timeout_source, g_source_remove);
    g_clear_handle_id(&enclave->step_source, g_source_remove);
    g_clear_pointer(&enclave->vsock, nhv_vsock_device_free);
    g_clear_pointer(&enclave->image, nhv_image_free);
    if (enclave->console) {
        nhv_console_end(enclave->console);
    }
    enclave->step_source = g_idle_add_full(G_PRIORITY_DEFAULT, enclave_down,
                                           enclave, NULL);
}

static void enclave_fail(NhvEnclave *enclave, int rc, Error *err)
{
    error_prepend(&err, "enclave with CID %u not started: ",
                  enclave->config.cid);
    error_report_err(err);
    enclave->rc = rc;
}

/* As on EC2: START succeeds, and then the enclave ends */
static void end_at_once(NhvEnclave *enclave)
{
    enclave->state = STATE_RUNNING;
    if (enclave->config.debug && !enclave->console) {
        enclave->console = nhv_console_open(enclave->host.consoles,
                                            enclave->config.cid);
    }
    enclave_answer(enclave, 0);
}

static bool is_lenient(const NhvEnclave *enclave)
{
    return !enclave->host.opts->strict_image && !enclave->stopping;
}

static void refuse_image(NhvEnclave *enclave, Error *err)
{
    if (!is_lenient(enclave)) {
        enclave_fail(enclave, -EINVAL, err);
        return;
    }
    error_prepend(&err, "enclave with CID %u cannot boot its image: ",
                  enclave->config.cid);
    error_report_err(err);
    enclave->cause = NITRO_CONTROL_CAUSE_IMAGE;
    end_at_once(enclave);
}

static void serial_written(void *opaque, const void *buf, size_t len)
{
    NhvEnclave *enclave = opaque;

    nhv_console_append(enclave->console, buf, len);
}

static void note_cause(NhvEnclave *enclave, int status)
{
    if (WIFSIGNALED(status)) {
        enclave->cause = NITRO_CONTROL_CAUSE_SIGNAL;
        enclave->status = WTERMSIG(status);
    } else if (WEXITSTATUS(status)) {
        enclave->cause = NITRO_CONTROL_CAUSE_ERROR;
        enclave->status = WEXITSTATUS(status);
    } else {
        enclave->cause = NITRO_CONTROL_CAUSE_SHUTDOWN;
        enclave->status = 0;
    }
}

static void report_end(NhvEnclave *enclave)
{
    uint32_t cid = enclave->config.cid;
    const char *last_words = nhv_child_last_words(enclave->child);

    if (enclave->stopping) {
        info_report("enclave with CID %u stopped", cid);
    } else if (nhv_child_gave_up(enclave->child)) {
        warn_report("enclave with CID %u: %s cannot run it (--accel tcg "
                    "emulates it, in nitro-lab ACCEL=tcg): %s", cid,
                    enclave->host.opts->accel,
                    *last_words ? last_words : "(no message)");
    } else if (enclave->cause == NITRO_CONTROL_CAUSE_SHUTDOWN) {
        info_report("enclave with CID %u ended", cid);
    } else {
        warn_report("enclave with CID %u: QEMU ended with %s %u: %s", cid,
                    enclave->cause == NITRO_CONTROL_CAUSE_SIGNAL ?
                    "signal" : "status", enclave->status,
                    *last_words ? last_words : "(no message)");
    }
}

/*
 * A QEMU that exits with a failure has refused the image.  One that could not
 * be run, or was killed, says nothing about the image.
 */
static void ended_early(NhvEnclave *enclave, int status)
{
    if (is_lenient(enclave) && WIFEXITED(status) &&
        WEXITSTATUS(status) != NHV_CHILD_NOT_RUN) {
        end_at_once(enclave);
    } else {
        enclave->rc = enclave->stopping ? -ECANCELED : -EIO;
    }
}

static void child_exited(void *opaque, int status)
{
    NhvEnclave *enclave = opaque;

    note_cause(enclave, status);
    report_end(enclave);
    if (enclave->state == STATE_STARTING && !enclave->rc) {
        ended_early(enclave, status);
    }
    g_clear_pointer(&enclave->child, nhv_child_free);
    enclave_finish(enclave);
}

static const NhvChildOps child_ops = {
    .serial = serial_written,
    .exited = child_exited,
};

static void vsock_ready(void *opaque)
{
    NhvEnclave *enclave = opaque;

    if (enclave->state != STATE_STARTING || enclave->stopping) {
        return;
    }
    g_clear_handle_id(&enclave->timeout_source, g_source_remove);
    /* QEMU has its own copy of the descriptor */
    g_clear_pointer(&enclave->image, nhv_image_free);
    enclave->state = STATE_RUNNING;
    info_report("enclave with CID %u runs: %u vCPUs, %" PRIu64 " bytes%s",
                enclave->config.cid, enclave->config.vcpus,
                enclave->config.memory.size,
                enclave->config.debug ? ", debug mode" : "");
    enclave_answer(enclave, 0);
}

static void vsock_closed(void *opaque, const char *why)
{
    NhvEnclave *enclave = opaque;

    if (!g_str_equal(why, NHV_VSOCK_CLOSED_BY_PEER)) {
        warn_report("enclave with CID %u has lost its vsock device: %s",
                    enclave->config.cid, why);
    }
    g_clear_pointer(&enclave->vsock, nhv_vsock_device_free);
}

static const NhvVsockDeviceOps vsock_ops = {
    .ready = vsock_ready,
    .closed = vsock_closed,
};

static gboolean start_timeout(gpointer opaque)
{
    NhvEnclave *enclave = opaque;
    Error *err = NULL;

    enclave->timeout_source = 0;
    error_setg(&err, "QEMU has no vsock device after %d s",
               NHV_ENCLAVE_START_MS / 1000);
    enclave_fail(enclave, -ETIMEDOUT, err);
    nhv_enclave_stop(enclave);
    return G_SOURCE_REMOVE;
}

static bool issue_identity(NhvEnclave *enclave, int *fd, Error **errp)
{
    if (!enclave->host.pki) {
        return true;
    }
    enclave->identity = nhv_pki_issue(enclave->host.pki,
                                      nhv_options_id(enclave->host.opts),
                                      errp);
    if (!enclave->identity) {
        return false;
    }
    *fd = nhv_pki_instance_fd(enclave->identity);
    return true;
}

static bool enclave_spawn(NhvEnclave *enclave, Error **errp)
{
    NhvChildConfig config = {
        .opts = enclave->host.opts,
        .slot_uid = enclave->config.slot_uid,
        .cid = enclave->config.cid,
        .vcpus = enclave->config.vcpus,
        .memory = enclave->config.memory.size,
        .debug = enclave->config.debug,
        .image = enclave->image,
        .signer_fd = -1,
    };
    int vsock[2];

    if (!issue_identity(enclave, &config.signer_fd, errp)) {
        return false;
    }

    if (qemu_socketpair(PF_UNIX, SOCK_STREAM, 0, vsock)) {
        error_setg_errno(errp, errno, "cannot create a socket");
        return false;
    }
    enclave->child = nhv_child_start(&config, vsock[1], &child_ops, enclave,
                                     errp);
    close(vsock[1]);
    if (!enclave->child) {
        close(vsock[0]);
        return false;
    }
    if (enclave->image->arch == EIF_ARCH_X86_64) {
        info_report("enclave with CID %u: kernel %s", config.cid,
                    nhv_child_kernel(&config) < 0 ? "unpacks itself"
                                                  : "unpacked here");
    }
    enclave->vsock = nhv_vsock_device_new(enclave->host.sw,
                                          enclave->config.cid, vsock[0],
                                          &vsock_ops, enclave);
    if (enclave->config.debug) {
        enclave->console = nhv_console_open(enclave->host.consoles,
                                            enclave->config.cid);
    }
    return true;
}

static bool check_arch(NhvEnclave *enclave, Error **errp)
{
    EifArch arch = enclave->image->arch;
    EifArch other = arch == EIF_ARCH_X86_64 ? EIF_ARCH_AARCH64
                                            : EIF_ARCH_X86_64;

    if (!nhv_options_qemu(enclave->host.opts, arch)) {
        error_setg(errp, "the image is for %s, enclaves here are %s",
                   eif_arch_str(arch), eif_arch_str(other));
        error_append_hint(errp, "Rebuild the image for %s\n",
                          eif_arch_str(other));
        enclave->image->unbootable = true;
        return false;
    }
    return true;
}

/* The line that proves which bytes were donated */
static void report_image(NhvEnclave *enclave)
{
    NhvImage *image = enclave->image;
    g_autofree char *pcr0 = eif_pcr_str(image->pcrs.pcr0);

    info_report("enclave with CID %u: image of %" PRIu64 " bytes in %" PRIu64
                " donated bytes, CRC 0x%08x, SHA-384 %s, PCR0 %s",
                enclave->config.cid, image->size, enclave->config.memory.size,
                image->crc, image->sha384, pcr0);
    if (image->cmdline_error) {
        warn_report("enclave with CID %u: %s", enclave->config.cid,
                    image->cmdline_error);
    }
    if (image->arch == EIF_ARCH_X86_64) {
        const char *reason;
        bool acpi = nhv_child_has_acpi(enclave->host.opts, image, &reason);

        info_report("enclave with CID %u: ACPI %s: %s", enclave->config.cid,
                    acpi ? "on" : "off", reason);
    }
}

static void start_child(NhvEnclave *enclave)
{
    Error *err = NULL;

    report_image(enclave);
    enclave->state = STATE_STARTING;
    if (enclave_spawn(enclave, &err)) {
        enclave->timeout_source = g_timeout_add(NHV_ENCLAVE_START_MS,
                                                start_timeout, enclave);
        return;
    }
    enclave_fail(enclave, -ENOMEM, err);
    enclave_finish(enclave);
}

static void image_failed(NhvEnclave *enclave, int rc, Error *err)
{
    if (enclave->image->unbootable) {
        refuse_image(enclave, err);
    } else {
        enclave_fail(enclave, rc, err);
    }
    enclave_finish(enclave);
}

static gboolean image_checked(gpointer opaque)
{
    NhvEnclave *enclave = opaque;
    Error *err = g_steal_pointer(&enclave->check_error);

    if (enclave->stopping) {
        error_free(err);
        enclave->rc = -ECANCELED;
        enclave_finish(enclave);
    } else if (err || !check_arch(enclave, &err)) {
        image_failed(enclave, -ENOMEM, err);
    } else {
        start_child(enclave);
    }
    return G_SOURCE_REMOVE;
}

static gpointer check_thread(gpointer opaque)
{
    NhvEnclave *enclave = opaque;

    nhv_image_check(enclave->image, &enclave->check_error);
    g_idle_add_full(G_PRIORITY_DEFAULT, image_checked, enclave, NULL);
    return NULL;
}

static void check_image(NhvEnclave *enclave)
{
    g_autoptr(GError) gerr = NULL;
    GThread *thread;
    Error *err = NULL;

    enclave->state = STATE_CHECKING;
    thread = g_thread_try_new("image", check_thread, enclave, &gerr);
    if (!thread) {
        error_setg(&err, "cannot check its image: %s", gerr->message);
        error_append_hint(&err, "Raise the limit of processes and threads: "
                          "ulimit -u, or TasksMax= of the service\n");
        enclave_fail(enclave, -ENOMEM, err);
        enclave_finish(enclave);
        return;
    }
    g_thread_unref(thread);
}

static gboolean copy_step(gpointer opaque)
{
    NhvEnclave *enclave = opaque;
    NhvMemory *memory = &enclave->config.memory;
    NhvImage *image = enclave->image;
    Error *err = NULL;
    bool done = false;

    if ((image->size || nhv_image_open(image, memory, &err)) &&
        nhv_image_copy(image, memory, &done, &err) && !done) {
        return G_SOURCE_CONTINUE;
    }
    enclave->step_source = 0;
    if (err) {
        image_failed(enclave, -EINVAL, err);
    } else {
        check_image(enclave);
    }
    return G_SOURCE_REMOVE;
}

NhvEnclave *nhv_enclave_start(const NhvEnclaveHost *host,
                              const NhvEnclaveConfig *config,
                              const NhvEnclaveOps *ops, void *opaque)
{
    NhvEnclave *enclave = g_new0(NhvEnclave, 1);

    enclave->host = *host;
    enclave->config = *config;
    enclave->ops = ops;
    enclave->opaque = opaque;
    enclave->image = nhv_image_new();
    enclave->step_source = g_idle_add_full(G_PRIORITY_DEFAULT, copy_step,
                                           enclave, NULL);
    return enclave;
}

void nhv_enclave_stop(NhvEnclave *enclave)
{
    if (enclave->stopping) {
        return;
    }
    enclave->stopping = true;
    if (enclave->child) {
        nhv_child_stop(enclave->child);
    } else if (enclave->state == STATE_COPYING) {
        enclave->rc = -ECANCELED;
        enclave_finish(enclave);
    }
}

bool nhv_enclave_is_down(const NhvEnclave *enclave)
{
    return enclave->state == STATE_DOWN;
}

uint64_t nhv_enclave_slot_uid(const NhvEnclave *enclave)
{
    return enclave->config.slot_uid;
}

uint32_t nhv_enclave_cid(const NhvEnclave *enclave)
{
    return enclave->config.cid;
}

bool nhv_enclave_scrub(NhvEnclave *enclave, Error **errp)
{
    return nhv_memory_scrub(&enclave->config.memory, errp);
}

void nhv_enclave_free(NhvEnclave *enclave)
{
    assert(enclave->state == STATE_DOWN);
    nhv_console_close(enclave->console);
    nhv_memory_clear(&enclave->config.memory);
    nhv_pki_instance_free(enclave->identity);
    g_free(enclave);
}
