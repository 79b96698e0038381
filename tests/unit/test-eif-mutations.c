/*
 * Enclave images: thousands of broken ones, rule by rule
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Each rule of the format says what becomes of an image that violates it (or
 * only looks as if).  The rules and the images are in
 * tests/nitro/eif-rules.c.  Every image is read, summed, verified, measured and
 * loaded; what is accepted has to be what an independent walk over the bytes
 * says.  None may take more memory than its size and 16 MiB.  A sample goes
 * through qemu-eif as well.
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include <malloc.h>
#include <sys/resource.h>
#include "hw/core/eif-verify.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/eif-rules.h"
#include "tests/nitro/eif-signer.h"

#define ALLOWANCE (16 * MiB)
#define SAMPLE_EVERY 120
#define VERIFY_TIME "--time=2023-11-14T22:13:20Z" /* EIF_SIGNER_NOW */

#if defined(QEMU_SANITIZE_ADDRESS) || defined(QEMU_SANITIZE_THREAD)
#define LIMIT_MEMORY false /* a sanitizer reserves memory for itself */
#else
#define LIMIT_MEMORY true
#endif

/* Of qemu-eif verify; kernels of the images are too short to be any */
static const int exit_status[EIF_NR_OUTCOMES] = { 2, 2, 3, 5 };

GRand *eif_rule_dice;

static unsigned counts[EIF_NR_OUTCOMES], total;
static unsigned allowed_now;
static char *tool;
static char *sample_path;
static size_t tool_peak;
/* Images since one went through the tool, and how many did */
static unsigned sample_wait, samples;

/* An independent reader */

static void extend(const GByteArray *content, uint8_t pcr[EIF_PCR_LEN])
{
    g_autoptr(GChecksum) outer = g_checksum_new(G_CHECKSUM_SHA384);
    g_autoptr(GChecksum) inner = g_checksum_new(G_CHECKSUM_SHA384);
    uint8_t zeros[EIF_PCR_LEN] = { 0 }, digest[EIF_PCR_LEN];
    gsize len = EIF_PCR_LEN;

    g_checksum_update(inner, content->data, content->len);
    g_checksum_get_digest(inner, digest, &len);
    g_checksum_update(outer, zeros, sizeof(zeros));
    g_checksum_update(outer, digest, sizeof(digest));
    g_checksum_get_digest(outer, pcr, &len);
}

/* An accepted image is sections in the order of its table; PCR0 and end */
static size_t walk(const GByteArray *image, uint8_t pcr0[EIF_PCR_LEN])
{
    g_autoptr(GByteArray) content = g_byte_array_new();
    unsigned count = lduw_be_p(image->data + AT_COUNT);
    size_t pos = HEADER_LEN;

    for (unsigned i = 0; i < count; i++) {
        uint64_t at = ldq_be_p(image->data + AT_OFFSETS + 8 * i);
        uint16_t type = lduw_be_p(image->data + at);
        uint64_t size = ldq_be_p(image->data + at + 4);

        g_assert_cmpuint(at, >=, pos);
        pos = at + SECTION_HEADER_LEN;
        g_assert_cmpuint(size, <=, image->len - pos);
        if (type >= 1 && type <= 3) {
            g_byte_array_append(content, image->data + pos, size);
        }
        pos += size;
    }
    extend(content, pcr0);
    return pos;
}

static void check_load(const GByteArray *bytes, const EifImage *image)
{
    g_autofree uint8_t *copy = g_malloc(image->image_size);
    int fd = eif_maker_file(bytes->data, bytes->len);

    g_assert_true(eif_image_load_fd(image, fd, copy, image->image_size,
                                    &error_abort));
    g_assert_cmpmem(copy, image->image_size, bytes->data, image->image_size);
    close(fd);
}

static void check_accepted(const GByteArray *bytes, const EifImage *image,
                           const EifMeasurements *m)
{
    uint8_t pcr0[EIF_PCR_LEN];

    g_assert_cmpuint(walk(bytes, pcr0), ==, image->image_size);
    g_assert_cmpmem(pcr0, EIF_PCR_LEN, m->pcr0, EIF_PCR_LEN);
    check_load(bytes, image);
}

/* What becomes of an image */

static bool signature_is_good(const EifImage *image, const EifSource *src,
                              const EifMeasurements *m)
{
    g_autoptr(EifSignature) sig = NULL;
    g_autoptr(EifVerification) v = NULL;
    Error *err = NULL;

    if (!image->has_signature) {
        return true;
    }
    sig = eif_image_read_signature(image, src, &err);
    g_assert_cmpint(!sig, ==, m->pcr8_unknown);
    if (!sig) {
        error_free(err);
        return false;
    }
    v = eif_signature_verify(sig, m->pcr0, EIF_SIGNER_NOW);
    if (eif_verification_check(v, &err)) {
        return true;
    }
    g_assert_cmpint(strlen(error_get_pretty(err)), >, 0);
    error_free(err);
    return false;
}

static EifOutcome read_image(const GByteArray *bytes)
{
    g_autoptr(EifImage) image = NULL;
    EifMeasurements m;
    EifSource src;
    Error *err = NULL;

    eif_source_init_buffer(&src, bytes->data, bytes->len);
    src.open_ended = false;
    image = eif_image_parse(&src, &err);
    if (!image) {
        g_assert_cmpint(strlen(error_get_pretty(err)), >, 0);
        error_free(err);
        return EIF_FAILS_PARSE;
    }
    if (!eif_image_verify_crc(image, &src, &err)) {
        error_free_or_abort(&err);
        return EIF_FAILS_CRC;
    }
    g_assert_true(eif_image_measure(image, &src, &m, &error_abort));
    check_accepted(bytes, image, &m);
    return signature_is_good(image, &src, &m) ? EIF_ACCEPTED
                                               : EIF_FAILS_SIGNATURE;
}

static size_t address_space(void)
{
    g_autofree char *text = NULL;

    g_assert(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
    return g_ascii_strtoull(text, NULL, 10) *
           qemu_real_host_page_size();
}

/* An allocation above the limit fails, which ends the process */
static EifOutcome read_within_limits(const GByteArray *bytes)
{
    struct rlimit before, limit;
    EifOutcome outcome;

    if (!LIMIT_MEMORY) {
        return read_image(bytes);
    }
    g_assert_cmpint(getrlimit(RLIMIT_AS, &before), ==, 0);
    limit = before;
    limit.rlim_cur = address_space() + bytes->len + ALLOWANCE;
    g_assert_cmpint(setrlimit(RLIMIT_AS, &limit), ==, 0);
    outcome = read_image(bytes);
    g_assert_cmpint(setrlimit(RLIMIT_AS, &before), ==, 0);
    return outcome;
}

static void run_tool(const char *command, const char *option, int expected)
{
    g_autofree char *out = NULL, *err = NULL;
    const char *argv[] = { tool, command, sample_path, option, NULL };
    int status;

    g_assert(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL,
                          NULL, &out, &err, &status, NULL));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != expected) {
        g_error("%s %s: wait status 0x%x, not exit status %d\n%s%s", tool,
                command, status, expected, out, err);
    }
    g_assert_true(expected == 0 || *out || *err);
}

static void write_sample(const GByteArray *bytes)
{
    g_assert(g_file_set_contents(sample_path, (char *)bytes->data, bytes->len,
                                 NULL));
}

static void try_tool(const GByteArray *bytes, EifOutcome outcome)
{
    if (++sample_wait < SAMPLE_EVERY) {
        return;
    }
    sample_wait = 0;
    samples++;
    write_sample(bytes);
    run_tool("verify", VERIFY_TIME, exit_status[outcome]);
}

static size_t peak_of_children(void)
{
    struct rusage usage;

    g_assert_cmpint(getrusage(RUSAGE_CHILDREN, &usage), ==, 0);
    return usage.ru_maxrss * KiB;
}

void eif_rule_describe(const GByteArray *image)
{
    write_sample(image);
    run_tool("describe", NULL, 0);
    if (LIMIT_MEMORY) {
        g_assert_cmpuint(peak_of_children(), <,
                         tool_peak + image->len + ALLOWANCE);
    }
}

/* What the tool takes for a small and good image */
static void measure_tool(void)
{
    g_autoptr(GByteArray) image = eif_maker_image(4, 0, EXAMPLE);

    write_sample(image);
    run_tool("describe", NULL, 0);
    run_tool("verify", VERIFY_TIME, exit_status[EIF_ACCEPTED]);
    tool_peak = peak_of_children();
}

void eif_rule_try(GByteArray *image)
{
    EifOutcome outcome = read_within_limits(image);

    if (!(allowed_now & (1u << outcome))) {
        g_test_message("outcome %d of an image of %u bytes", outcome,
                       image->len);
        g_test_fail();
    }
    counts[outcome]++;
    try_tool(image, outcome);
    g_byte_array_unref(image);
}

static void test_rule(gconstpointer opaque)
{
    const EifRule *rule = opaque;
    unsigned sum = 0;

    memset(counts, 0, sizeof(counts));
    if (rule == eif_rules) {
        g_test_message("| %-39s | %5s | %5s | %5s | %5s | %5s |", "rule",
                       "made", "parse", "CRC", "sign.", "good");
    }
    allowed_now = rule->allowed;
    g_rand_set_seed(eif_rule_dice, rule - eif_rules);
    rule->make();
    for (int i = 0; i < EIF_NR_OUTCOMES; i++) {
        sum += counts[i];
    }
    g_test_message("| %-39s | %5u | %5u | %5u | %5u | %5u |", rule->name, sum,
                   counts[EIF_FAILS_PARSE], counts[EIF_FAILS_CRC],
                   counts[EIF_FAILS_SIGNATURE], counts[EIF_ACCEPTED]);
    total += sum;
}

static void test_total(void)
{
    g_test_message("%u images, %u of them through qemu-eif", total, samples);
    g_assert_cmpuint(total, >=, 10000);
    g_assert_cmpuint(samples, >=, 200);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    /* Freed memory goes back, so that the limit means what is used */
    mallopt(M_MMAP_THRESHOLD, 128 * KiB);
    eif_rule_dice = g_rand_new();
    tool = g_test_build_filename(G_TEST_BUILT, "..", "..", "tools", "eif",
                                 "qemu-eif", NULL);
    sample_path = g_strdup_printf("%s/eif-mutation-%d", g_get_tmp_dir(),
                                  getpid());
    for (size_t i = 0; i < EIF_NR_RULES; i++) {
        g_autofree char *path = g_strdup_printf("/eif/mutations/%s",
                                                eif_rules[i].name);

        g_test_add_data_func(path, &eif_rules[i], test_rule);
    }
    g_test_add_func("/eif/mutations/total", test_total);
    measure_tool();
    rc = g_test_run();
    g_unlink(sample_path);
    return rc;
}
