/*
 * Enclave Image Format: read a lot at once, with its CRC
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The range is cut into chunks that a few threads take one after the other:
 * fresh huge pages have to be cleared by the kernel before anything can be
 * read into them, which takes as long as reading does.  The CRC is computed
 * over each piece right after it was read, while it is still in the cache;
 * the CRCs of the chunks are joined at the end.
 */

#include "qemu/osdep.h"
#include "qemu/atomic.h"
#include "qemu/units.h"
#include "hw/core/eif-crc.h"
#include "hw/core/eif-image.h"

#define PIECE (256 * KiB)
#define CHUNK (8 * MiB)
#define MAX_THREADS 4 /* more of them wait for the same memory */

typedef struct Job {
    const EifSource *src;
    uint8_t *dest;
    uint64_t len;
    uint64_t offset; /* in the source */
    bool skip_holes;
    unsigned nr_chunks;
    unsigned next; /* chunk that nobody has taken; atomic */
    uint32_t *crcs; /* one per chunk */
} Job;

typedef struct Reader {
    Job *job;
    GThread *thread; /* NULL: the caller's own */
    unsigned failed; /* chunk that error is about */
    Error *err;
} Reader;

static uint64_t chunk_len(const Job *job, unsigned chunk)
{
    return MIN(CHUNK, job->len - chunk * CHUNK);
}

/*
 * Bytes at @offset, at most @len, that are all in a hole.  Bytes of which
 * the file system does not say so, or beyond the end of a file that was cut
 * off, are not.
 */
static uint64_t hole_len(const Job *job, uint64_t offset, uint64_t len)
{
    off_t data = lseek(job->src->fd, offset, SEEK_DATA);
    struct stat st;

    if (data >= 0) {
        return MIN(data - offset, len);
    }
    if (errno != ENXIO || fstat(job->src->fd, &st) < 0 ||
        st.st_size < offset + len) {
        return 0;
    }
    return len;
}

static bool read_piece(const Job *job, uint64_t at, size_t len, uint32_t *crc,
                       Error **errp)
{
    if (!eif_source_read(job->src, job->dest + at, len, job->offset + at,
                         errp)) {
        return false;
    }
    *crc = eif_crc32(*crc, job->dest + at, len);
    return true;
}

static bool read_chunk(Job *job, unsigned chunk, Error **errp)
{
    uint64_t at = chunk * CHUNK;
    uint64_t end = at + chunk_len(job, chunk);
    uint32_t crc = 0;

    while (at < end) {
        uint64_t n = job->skip_holes
                     ? hole_len(job, job->offset + at, end - at) : 0;

        if (n) {
            crc = eif_crc32_zeros(crc, n);
        } else {
            n = MIN(PIECE, end - at);
            if (!read_piece(job, at, n, &crc, errp)) {
                return false;
            }
        }
        at += n;
    }
    job->crcs[chunk] = crc;
    return true;
}

static gpointer read_chunks(gpointer opaque)
{
    Reader *reader = opaque;
    Job *job = reader->job;

    for (;;) {
        unsigned chunk = qatomic_fetch_inc(&job->next);

        if (chunk >= job->nr_chunks) {
            break;
        }
        if (!read_chunk(job, chunk, &reader->err)) {
            reader->failed = chunk;
            qatomic_set(&job->next, job->nr_chunks);
            break;
        }
    }
    return NULL;
}

/* Whatever cannot have a thread is left to the others */
static void read_run(Job *job, Reader *readers)
{
    unsigned nr = MIN(g_get_num_processors(), MIN(job->nr_chunks, MAX_THREADS));

    for (unsigned i = 1; i < nr; i++) {
        readers[i].job = job;
        readers[i].thread = g_thread_try_new("eif-read", read_chunks,
                                             &readers[i], NULL);
    }
    readers[0].job = job;
    read_chunks(&readers[0]);
    for (unsigned i = 1; i < nr; i++) {
        if (readers[i].thread) {
            g_thread_join(readers[i].thread);
        }
    }
}

/* The error of the first chunk that failed, as if there was one thread */
static bool collect_errors(Reader *readers, Error **errp)
{
    Reader *first = NULL;

    for (unsigned i = 0; i < MAX_THREADS; i++) {
        if (readers[i].err && (!first || readers[i].failed < first->failed)) {
            first = &readers[i];
        }
    }
    if (!first) {
        return true;
    }
    error_propagate(errp, g_steal_pointer(&first->err));
    for (unsigned i = 0; i < MAX_THREADS; i++) {
        error_free(readers[i].err);
    }
    return false;
}

/* Looking for holes moves the position of the file, which is not ours */
static void run_on_file(Job *job, Reader *readers, bool zeroed)
{
    struct stat st;
    off_t position = -1;

    if (zeroed && job->src->fd >= 0 && fstat(job->src->fd, &st) == 0 &&
        S_ISREG(st.st_mode) && st.st_blocks * 512 < st.st_size) {
        position = lseek(job->src->fd, 0, SEEK_CUR);
    }
    job->skip_holes = position >= 0;
    read_run(job, readers);
    if (job->skip_holes) {
        lseek(job->src->fd, position, SEEK_SET);
    }
}

bool eif_source_read_crc(const EifSource *src, void *dest, uint64_t len,
                         uint64_t offset, bool zeroed, uint32_t *crc,
                         Error **errp)
{
    Reader readers[MAX_THREADS] = { };
    Job job = {
        .src = src,
        .dest = dest,
        .len = len,
        .offset = offset,
        .nr_chunks = DIV_ROUND_UP(len, CHUNK),
    };
    g_autofree uint32_t *crcs = g_new(uint32_t, job.nr_chunks);

    job.crcs = crcs;
    run_on_file(&job, readers, zeroed);
    if (!collect_errors(readers, errp)) {
        return false;
    }
    for (unsigned i = 0; i < job.nr_chunks; i++) {
        *crc = eif_crc32_join(*crc, crcs[i], chunk_len(&job, i));
    }
    return true;
}
