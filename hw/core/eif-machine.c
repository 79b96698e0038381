/*
 * Enclave Image Format: take an image apart for machine nitro-enclave
 *
 * The machine boots a kernel, an initrd and a command line as other machines
 * do, so the first two are written to temporary files.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "crypto/hash.h"
#include "hw/core/eif.h"
#include "hw/core/eif-image.h"
#include "system/system.h"

#define PIECE (256 * KiB)

typedef struct Parts {
    char *kernel_path;
    char *initrd_path;
    char *cmdline;
    int kernel_fd;
    int initrd_fd;
    QCryptoHash *all; /* kernel, command line, ramdisks */
    QCryptoHash *boot; /* the same without the ramdisks of the application */
    QCryptoHash *app; /* these */
} Parts;

static void drop_file(int fd, char **path)
{
    if (fd >= 0) {
        close(fd);
    }
    if (*path) {
        unlink(*path);
    }
    g_clear_pointer(path, g_free);
}

static void parts_clear(Parts *p)
{
    drop_file(p->kernel_fd, &p->kernel_path);
    drop_file(p->initrd_fd, &p->initrd_path);
    g_free(p->cmdline);
    g_clear_pointer(&p->all, qcrypto_hash_free);
    g_clear_pointer(&p->boot, qcrypto_hash_free);
    g_clear_pointer(&p->app, qcrypto_hash_free);
}

static bool parts_init(Parts *p, Error **errp)
{
    *p = (Parts) { .kernel_fd = -1, .initrd_fd = -1 };
    p->all = qcrypto_hash_new(QCRYPTO_HASH_ALGO_SHA384, errp);
    p->boot = p->all ? qcrypto_hash_new(QCRYPTO_HASH_ALGO_SHA384, errp) : NULL;
    p->app = p->boot ? qcrypto_hash_new(QCRYPTO_HASH_ALGO_SHA384, errp) : NULL;
    return p->app != NULL;
}

static int create_file(const char *template, char **path, Error **errp)
{
    g_autoptr(GError) err = NULL;
    int fd = g_file_open_tmp(template, path, &err);

    if (fd < 0) {
        error_setg(errp, "cannot create a temporary file: %s", err->message);
    }
    return fd;
}

/* Copy a range to a file, and into two measurements */
static bool copy_range(Parts *p, const EifSource *src, uint64_t offset,
                       uint64_t size, int fd, QCryptoHash *hash, Error **errp)
{
    g_autofree char *buf = g_malloc(PIECE);

    while (size) {
        size_t n = MIN(size, PIECE);

        if (!eif_source_read(src, buf, n, offset, errp) ||
            qcrypto_hash_update(p->all, buf, n, errp) ||
            qcrypto_hash_update(hash, buf, n, errp)) {
            return false;
        }
        if (qemu_write_full(fd, buf, n) != n) {
            error_setg_errno(errp, errno, "cannot write a temporary file");
            return false;
        }
        offset += n;
        size -= n;
    }
    return true;
}

static bool take_kernel(Parts *p, const EifSource *src, const EifSection *s,
                        Error **errp)
{
    p->kernel_fd = create_file("eif-kernel-XXXXXX", &p->kernel_path, errp);
    return p->kernel_fd >= 0 &&
           copy_range(p, src, s->data_offset, s->size, p->kernel_fd, p->boot,
                      errp);
}

static bool take_cmdline(Parts *p, const EifSource *src, const EifSection *s,
                         Error **errp)
{
    p->cmdline = g_try_malloc(s->size + 1);
    if (!p->cmdline) {
        error_setg(errp, "no memory for a command line of %" PRIu64 " bytes",
                   s->size);
        return false;
    }
    p->cmdline[s->size] = '\0';
    return eif_source_read(src, p->cmdline, s->size, s->data_offset, errp) &&
           qcrypto_hash_update(p->all, p->cmdline, s->size, errp) == 0 &&
           qcrypto_hash_update(p->boot, p->cmdline, s->size, errp) == 0;
}

/* The first is the one to boot from; one without a byte counts as absent */
static bool take_ramdisk(Parts *p, const EifSource *src, uint64_t offset,
                         uint64_t size, Error **errp)
{
    QCryptoHash *hash = p->initrd_fd < 0 ? p->boot : p->app;

    if (!size) {
        return true;
    }
    if (p->initrd_fd < 0) {
        p->initrd_fd = create_file("eif-initrd-XXXXXX", &p->initrd_path, errp);
    }
    return p->initrd_fd >= 0 &&
           copy_range(p, src, offset, size, p->initrd_fd, hash, errp);
}

static bool take_section(Parts *p, const EifSource *src, const EifSection *s,
                         Error **errp)
{
    switch (s->type) {
    case EIF_SECTION_KERNEL:
        return take_kernel(p, src, s, errp);
    case EIF_SECTION_CMDLINE:
        return take_cmdline(p, src, s, errp);
    case EIF_SECTION_RAMDISK:
        return take_ramdisk(p, src, s->data_offset, s->size, errp);
    default:
        return true;
    }
}

/* The file of option -initrd follows the ramdisks of the image */
static bool take_initrd(Parts *p, const char *path, Error **errp)
{
    EifSource src;
    int fd = path ? qemu_open(path, O_RDONLY, errp) : -1;
    bool ok;

    if (fd < 0) {
        return !path;
    }
    ok = eif_source_init_fd(&src, fd, errp) &&
         take_ramdisk(p, &src, 0, src.size, errp);
    qemu_close(fd);
    return ok;
}

static bool digest(QCryptoHash *hash, uint8_t *result, Error **errp)
{
    size_t len = QCRYPTO_HASH_DIGEST_LEN_SHA384;

    return qcrypto_hash_finalize_bytes(hash, &result, &len, errp) == 0;
}

static bool take_certificate(const EifImage *image, const EifSource *src,
                             uint8_t *fingerprint, Error **errp)
{
    g_autoptr(EifSignature) sig = NULL;
    size_t len = QCRYPTO_HASH_DIGEST_LEN_SHA384;

    if (!image->has_signature) {
        return true;
    }
    sig = eif_image_read_signature(image, src, errp);
    return sig && qcrypto_hash_bytes(QCRYPTO_HASH_ALGO_SHA384,
                                     (const char *)sig->cert_der->data,
                                     sig->cert_der->len, &fingerprint, &len,
                                     errp) == 0;
}

static bool take_image(Parts *p, const EifImage *image, const EifSource *src,
                       Error **errp)
{
    for (unsigned i = 0; i < image->nr_sections; i++) {
        if (!take_section(p, src, &image->sections[i], errp)) {
            return false;
        }
    }
    return true;
}

/* The image itself, before anything of it is copied */
static EifImage *open_image(int fd, EifSource *src, Error **errp)
{
    g_autoptr(EifImage) image = eif_image_open_fd(fd, errp);

    return image && eif_image_check_arch(image, EIF_ARCH_X86_64, errp) &&
           eif_source_init_fd(src, fd, errp) &&
           eif_image_verify_crc(image, src, errp) ? g_steal_pointer(&image)
                                                  : NULL;
}

typedef struct Leftovers {
    Notifier at_exit;
    char *kernel_path;
    char *initrd_path;
} Leftovers;

static void remove_leftovers(Notifier *notifier, void *data)
{
    Leftovers *left = container_of(notifier, Leftovers, at_exit);

    unlink(left->kernel_path);
    if (left->initrd_path) {
        unlink(left->initrd_path);
    }
}

/*
 * The machine removes the files once they are loaded, but a kernel that cannot
 * be loaded ends the process
 */
static void remove_at_exit(const Parts *p)
{
    Leftovers *left = g_new0(Leftovers, 1);

    left->at_exit.notify = remove_leftovers;
    left->kernel_path = g_strdup(p->kernel_path);
    left->initrd_path = g_strdup(p->initrd_path);
    qemu_add_exit_notifier(&left->at_exit);
}

bool read_eif_file(const char *eif_path, const char *machine_initrd,
                   char **kernel_path, char **initrd_path, char **cmdline,
                   uint8_t *image_hash, uint8_t *bootstrap_hash,
                   uint8_t *app_hash, uint8_t *fingerprint_hash,
                   bool *signature_found, Error **errp)
{
    g_autoptr(EifImage) image = NULL;
    EifSource src;
    Parts p;
    bool ok = parts_init(&p, errp);
    int fd = ok ? qemu_open(eif_path, O_RDONLY, errp) : -1;

    image = fd >= 0 ? open_image(fd, &src, errp) : NULL;
    ok = image && take_image(&p, image, &src, errp) &&
         take_initrd(&p, machine_initrd, errp) &&
         digest(p.all, image_hash, errp) &&
         digest(p.boot, bootstrap_hash, errp) &&
         digest(p.app, app_hash, errp) &&
         take_certificate(image, &src, fingerprint_hash, errp);
    if (ok) {
        remove_at_exit(&p);
        *signature_found = image->has_signature;
        *kernel_path = g_steal_pointer(&p.kernel_path);
        *initrd_path = g_steal_pointer(&p.initrd_path);
        *cmdline = g_steal_pointer(&p.cmdline);
    }
    if (fd >= 0) {
        qemu_close(fd);
    }
    parts_clear(&p);
    return ok;
}
