/*
 * Enclave Image Format: load, sum and measure the bytes of an image
 *
 * Everything here streams: one pass over the image in pieces of bounded size.
 * The CRC covers all bytes but its own field at the end of the header; the
 * measurements cover the data of kernel, cmdline and ramdisks.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "crypto/hash.h"
#include "hw/core/eif-crc.h"
#include "hw/core/eif-image.h"

#define PIECE (256 * KiB)
#define CRC_OFFSET offsetof(EifHeader, eif_crc32)

typedef bool PieceFunc(const uint8_t *data, size_t len, void *opaque,
                       Error **errp);

/* Hand a range to @func piece by piece; no copy when it is in memory */
static bool for_each_piece(const EifSource *src, uint64_t offset, uint64_t len,
                           PieceFunc *func, void *opaque, Error **errp)
{
    g_autofree uint8_t *buf = src->map ? NULL : g_malloc(PIECE);

    while (len) {
        size_t n = MIN(len, PIECE);

        if (buf && !eif_source_read(src, buf, n, offset, errp)) {
            return false;
        }
        if (!func(buf ? buf : src->map + offset, n, opaque, errp)) {
            return false;
        }
        offset += n;
        len -= n;
    }
    return true;
}

static bool compare_crc(const EifImage *image, uint32_t crc, Error **errp)
{
    ERRP_GUARD();

    if (crc == image->crc) {
        return true;
    }
    error_setg(errp, "the image is damaged: CRC over its %" PRIu64 " bytes is "
               "0x%08" PRIx32 ", its header says 0x%08" PRIx32,
               image->image_size, crc, image->crc);
    error_append_hint(errp, "Copy the image again or rebuild it with "
                      "'nitro-cli build-enclave'.\n");
    return false;
}

static bool refuse_changed_file(Error **errp)
{
    ERRP_GUARD();

    error_setg(errp, "the image file changed while it was being read");
    error_append_hint(errp, EIF_HINT_UNCHANGED);
    return false;
}

/* What was read must be what was checked before */
static bool compare_structure(const EifImage *image, const void *loaded,
                              Error **errp)
{
    g_autoptr(EifImage) again = NULL;

    if (!memcmp(loaded, &image->header, sizeof(image->header))) {
        again = eif_image_parse_buffer(loaded, image->image_size, NULL);
    }
    if (!again || memcmp(again->sections, image->sections,
                         sizeof(image->sections))) {
        return refuse_changed_file(errp);
    }
    return true;
}

static bool load_fd(const EifImage *image, int fd, void *dest,
                    uint64_t dest_size, bool fresh, Error **errp)
{
    EifSource src;
    uint32_t crc = 0;
    const uint64_t body = sizeof(EifHeader);

    if (image->image_size > dest_size) {
        error_setg(errp, "the image needs %" PRIu64 " bytes, there is room "
                   "for %" PRIu64, image->image_size, dest_size);
        return false;
    }
    if (!eif_source_init_fd(&src, fd, errp)) {
        return false;
    }
    if (src.size < image->image_size) {
        return refuse_changed_file(errp);
    }
    if (!eif_source_read(&src, dest, body, 0, errp)) {
        return false;
    }
    crc = eif_crc32(crc, dest, CRC_OFFSET);
    return eif_source_read_crc(&src, (uint8_t *)dest + body,
                               image->image_size - body, body, fresh, &crc,
                               errp) &&
           compare_structure(image, dest, errp) &&
           compare_crc(image, crc, errp);
}

bool eif_image_load_fd(const EifImage *image, int fd, void *dest,
                       uint64_t dest_size, Error **errp)
{
    return load_fd(image, fd, dest, dest_size, false, errp);
}

bool eif_image_load_fresh(const EifImage *image, int fd, void *dest,
                          uint64_t dest_size, Error **errp)
{
    return load_fd(image, fd, dest, dest_size, true, errp);
}

static bool crc_piece(const uint8_t *data, size_t len, void *opaque,
                      Error **errp)
{
    uint32_t *crc = opaque;

    *crc = eif_crc32(*crc, data, len);
    return true;
}

bool eif_image_verify_crc(const EifImage *image, const EifSource *src,
                          Error **errp)
{
    const uint64_t body = sizeof(EifHeader);
    uint32_t crc = eif_crc32(0, (const uint8_t *)&image->header, CRC_OFFSET);

    return for_each_piece(src, body, image->image_size - body, crc_piece,
                          &crc, errp) &&
           compare_crc(image, crc, errp);
}

static bool hash_piece(const uint8_t *data, size_t len, void *opaque,
                       Error **errp)
{
    return qcrypto_hash_update(opaque, (const char *)data, len, errp) == 0;
}

/* Register after extending @data into 48 zero bytes */
static bool extend_zeros(const uint8_t *data, uint8_t *pcr, Error **errp)
{
    static const uint8_t zeros[EIF_PCR_LEN];
    size_t len = EIF_PCR_LEN;
    const struct iovec iov[] = {
        { .iov_base = (void *)zeros, .iov_len = EIF_PCR_LEN },
        { .iov_base = (void *)data, .iov_len = EIF_PCR_LEN },
    };

    return qcrypto_hash_bytesv(QCRYPTO_HASH_ALGO_SHA384, iov, 2, &pcr, &len,
                               errp) == 0;
}

static bool finish_pcr(QCryptoHash *hash, uint8_t *pcr, Error **errp)
{
    uint8_t digest[EIF_PCR_LEN];
    uint8_t *result = digest;
    size_t len = sizeof(digest);

    return qcrypto_hash_finalize_bytes(hash, &result, &len, errp) == 0 &&
           extend_zeros(digest, pcr, errp);
}

bool eif_source_measure(const EifSource *src, uint8_t pcr[EIF_PCR_LEN],
                        Error **errp)
{
    QCryptoHash *hash = qcrypto_hash_new(QCRYPTO_HASH_ALGO_SHA384, errp);
    bool ok = hash &&
              for_each_piece(src, 0, src->size, hash_piece, hash, errp) &&
              finish_pcr(hash, pcr, errp);

    qcrypto_hash_free(hash);
    return ok;
}

static bool measure_certificate(const EifImage *image, const EifSource *src,
                                EifMeasurements *m, Error **errp)
{
    const EifSection *s = eif_image_section(image, EIF_SECTION_SIGNATURE, 0);
    g_autofree uint8_t *data = g_malloc(s->size);
    g_autoptr(EifSignature) sig = NULL;
    EifSource der;

    if (!eif_source_read(src, data, s->size, s->data_offset, errp)) {
        return false;
    }
    sig = eif_signature_decode(data, s->size, NULL);
    if (!sig) {
        m->pcr8_unknown = true;
        return true;
    }
    m->has_pcr8 = true;
    eif_source_init_buffer(&der, sig->cert_der->data, sig->cert_der->len);
    return eif_source_measure(&der, m->pcr8, errp);
}

/* One without a byte is as good as absent */
static bool is_ramdisk(const EifSection *s)
{
    return s->type == EIF_SECTION_RAMDISK && s->size;
}

/* Does the section go into register PCR0, PCR1, PCR2? */
static bool is_measured(const EifSection *s, unsigned pcr, bool first_ramdisk)
{
    if (s->type == EIF_SECTION_SIGNATURE || s->type == EIF_SECTION_METADATA) {
        return false;
    }
    if (s->type == EIF_SECTION_RAMDISK) {
        return pcr == 0 || first_ramdisk == (pcr == 1);
    }
    return pcr != 2;
}

static bool measure_register(const EifImage *image, const EifSource *src,
                             unsigned pcr, uint8_t *result, Error **errp)
{
    QCryptoHash *hash = qcrypto_hash_new(QCRYPTO_HASH_ALGO_SHA384, errp);
    bool first = true;
    bool ok = hash != NULL;

    for (unsigned i = 0; ok && i < image->nr_sections; i++) {
        const EifSection *s = &image->sections[i];

        if (is_measured(s, pcr, first)) {
            ok = for_each_piece(src, s->data_offset, s->size, hash_piece, hash,
                                errp);
        }
        first = first && !is_ramdisk(s);
    }
    ok = ok && finish_pcr(hash, result, errp);
    qcrypto_hash_free(hash);
    return ok;
}

static unsigned nr_ramdisks(const EifImage *image)
{
    unsigned count = 0;

    for (unsigned i = 0; i < image->nr_sections; i++) {
        count += is_ramdisk(&image->sections[i]);
    }
    return count;
}

/* PCR1 and PCR2: together they cover as many bytes as PCR0 does */
typedef struct Halves {
    const EifImage *image;
    const EifSource *src;
    EifMeasurements *m;
    bool ok;
    Error *err;
} Halves;

/* With one ramdisk PCR1 covers what PCR0 does, and is copied */
static gpointer measure_halves(gpointer opaque)
{
    Halves *h = opaque;

    h->ok = (nr_ramdisks(h->image) < 2 ||
             measure_register(h->image, h->src, 1, h->m->pcr1, &h->err)) &&
            measure_register(h->image, h->src, 2, h->m->pcr2, &h->err);
    return NULL;
}

/* A hash cannot be computed by several threads, but there are several */
static bool measure_registers(const EifImage *image, const EifSource *src,
                              EifMeasurements *m, Error **errp)
{
    Halves h = { .image = image, .src = src, .m = m };
    GThread *thread = g_thread_try_new("eif-measure", measure_halves, &h,
                                       NULL);

    bool ok = measure_register(image, src, 0, m->pcr0, errp);

    if (thread) {
        g_thread_join(thread);
    } else {
        measure_halves(&h);
    }
    if (nr_ramdisks(image) < 2) {
        memcpy(m->pcr1, m->pcr0, sizeof(m->pcr1));
    }
    error_propagate(ok ? errp : NULL, h.err);
    return ok && h.ok;
}

bool eif_image_measure(const EifImage *image, const EifSource *src,
                       EifMeasurements *result, Error **errp)
{
    EifMeasurements m = { .has_pcr8 = false };

    if (!measure_registers(image, src, &m, errp) ||
        (image->has_signature && !measure_certificate(image, src, &m, errp))) {
        return false;
    }
    *result = m;
    return true;
}
