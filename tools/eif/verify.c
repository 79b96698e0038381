/*
 * qemu-eif verify: check an image
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include "hw/core/eif-kernel.h"
#include "hw/core/eif-remark.h"
#include "hw/core/eif-verify.h"
#include "tool.h"

static const char usage[] =
    "Usage: qemu-eif verify [OPTION]... IMAGE\n"
    "Check an image: its CRC, its kernel and command line, its signature when\n"
    "it has one, and registers. Prints one line per check, and one for each\n"
    "thing that is unusual but no fault: a remark.\n"
    "\n"
    "  -s, --require-signature  an image that is not signed is not valid\n"
    "  -t, --time=TIME          when the certificate must be valid, like\n"
    "                           2026-01-31T12:00:00Z (default: now)\n"
    "      --pcr0=HEX           what PCR0 must be; the same for --pcr1,\n"
    "                           --pcr2 and --pcr8\n"
    "  -h, --help               this text\n"
    "\n"
    "Exit status: 0 all is well, 1 cannot be checked, 2 the image is broken,\n"
    "3 the signature is missing or not valid, 4 a register is another one,\n"
    "5 an enclave cannot boot it.\n";

enum {
    OPTION_PCR = 256, /* plus the number of the register */
};

static const struct option long_options[] = {
    { "require-signature", no_argument, NULL, 's' },
    { "time", required_argument, NULL, 't' },
    { "pcr0", required_argument, NULL, OPTION_PCR + 0 },
    { "pcr1", required_argument, NULL, OPTION_PCR + 1 },
    { "pcr2", required_argument, NULL, OPTION_PCR + 2 },
    { "pcr8", required_argument, NULL, OPTION_PCR + 8 },
    { "help", no_argument, NULL, 'h' },
    { }
};

typedef struct VerifyOptions {
    bool require_signature;
    int64_t when;
    uint8_t *expected[9]; /* by number of the register, NULL: any value */
} VerifyOptions;

static void print_line(const char *what, const char *verdict,
                       const char *reason)
{
    printf("%s: %s%s%s\n", what, verdict, reason ? ": " : "", reason ?: "");
}

/* Prints the verdict; frees @err, the reason when it is bad */
static int print_check(const char *what, Error *err, int status)
{
    if (!err) {
        print_line(what, "good", NULL);
        return TOOL_OK;
    }
    print_line(what, "bad", error_get_pretty(err));
    error_free(err);
    return status;
}

static int check_crc(ToolImage *t)
{
    Error *err = NULL;

    eif_image_verify_crc(t->image, &t->src, &err);
    return print_check("crc", err, TOOL_BAD_IMAGE);
}

static int check_kernel(ToolImage *t)
{
    EifKernel kernel;
    uint64_t len;
    Error *err = NULL, *line_err = NULL;
    int rc;

    if (!eif_image_probe_kernel(t->image, &t->src, &kernel, &err) ||
        !eif_image_cmdline_len(t->image, &t->src, &len, &err)) {
        return tool_fail(err);
    }
    eif_kernel_check(&kernel, t->image->arch, &err);
    eif_kernel_check_cmdline(&kernel, len, &line_err);
    rc = print_check("kernel", err, TOOL_NO_BOOT);
    return print_check("cmdline", line_err, TOOL_NO_BOOT) ?: rc;
}

static int print_verification(const EifVerification *v)
{
    int rc = TOOL_OK;

    for (int i = 0; i < EIF_CHECK__MAX; i++) {
        const EifCheck *check = &v->checks[i];

        print_line(eif_check_str(i), eif_verdict_str(check->verdict),
                   check->reason);
        if (check->verdict == EIF_VERDICT_BAD) {
            rc = TOOL_BAD_SIGNATURE;
        } else if (check->verdict == EIF_VERDICT_UNKNOWN && rc == TOOL_OK) {
            rc = TOOL_FAILED;
        }
    }
    return rc;
}

static int check_signature(ToolImage *t, const EifMeasurements *m,
                           const VerifyOptions *o)
{
    g_autoptr(EifSignature) sig = NULL;
    g_autoptr(EifVerification) v = NULL;
    Error *err = NULL;

    if (!t->image->has_signature) {
        print_line("signature", "absent", NULL);
        return o->require_signature ? TOOL_BAD_SIGNATURE : TOOL_OK;
    }
    sig = eif_image_read_signature(t->image, &t->src, &err);
    if (!sig) {
        return print_check(eif_check_str(EIF_CHECK_FORM), err,
                           TOOL_BAD_SIGNATURE);
    }
    v = eif_signature_verify(sig, m->pcr0, o->when);
    return print_verification(v);
}

static int check_pcrs(const EifMeasurements *m, const VerifyOptions *o)
{
    int rc = TOOL_OK;

    for (size_t i = 0; i < EIF_NR_PCRS; i++) {
        g_autofree char *what = g_strdup_printf("pcr%u", eif_pcr_index[i]);
        const uint8_t *expected = o->expected[eif_pcr_index[i]];
        Error *err = NULL;

        if (!expected) {
            continue;
        }
        eif_measurements_expect(m, eif_pcr_index[i], expected, &err);
        rc = print_check(what, err, TOOL_OTHER_PCR) ?: rc;
    }
    return rc;
}

static int print_remarks(ToolImage *t)
{
    g_autoptr(GPtrArray) remarks = NULL;
    Error *err = NULL;

    remarks = eif_image_remarks(t->image, &t->src, &err);
    if (!remarks) {
        return tool_fail(err);
    }
    for (guint i = 0; i < remarks->len; i++) {
        printf("remark: %s\n", (char *)remarks->pdata[i]);
    }
    return TOOL_OK;
}

static int run_verify(ToolImage *t, const VerifyOptions *o)
{
    EifMeasurements m;
    Error *err = NULL;
    int crc, kernel, signature, pcrs, remarks;

    crc = check_crc(t);
    kernel = check_kernel(t);
    if (!eif_image_measure(t->image, &t->src, &m, &err)) {
        return tool_fail(err);
    }
    signature = check_signature(t, &m, o);
    pcrs = check_pcrs(&m, o);
    remarks = print_remarks(t);
    return crc ?: signature ?: pcrs ?: kernel ?: remarks;
}

static bool take_verify(void *opaque, int c, Error **errp)
{
    VerifyOptions *o = opaque;
    uint8_t pcr[EIF_PCR_LEN];

    switch (c) {
    case 's':
        o->require_signature = true;
        return true;
    case 't':
        return tool_parse_time(optarg, &o->when, errp);
    case OPTION_PCR ... OPTION_PCR + 8:
        if (!eif_pcr_parse(optarg, pcr, errp)) {
            return false;
        }
        o->expected[c - OPTION_PCR] = g_memdup2(pcr, sizeof(pcr));
        return true;
    default:
        g_assert_not_reached();
    }
}

static const ToolOptions verify_options = {
    "verify", usage, "st:h", long_options, NULL
};

int tool_verify(int argc, char **argv)
{
    VerifyOptions o = { .when = g_get_real_time() / G_USEC_PER_SEC };
    ToolImage t = TOOL_IMAGE_INIT;
    int rc = tool_options(&verify_options, argc, argv, take_verify, &o);

    if (rc < 0) {
        rc = tool_image_open(&t, "verify", argc, argv);
        if (rc == TOOL_OK) {
            rc = run_verify(&t, &o);
        }
        tool_image_close(&t);
    }
    for (size_t i = 0; i < ARRAY_SIZE(o.expected); i++) {
        g_free(o.expected[i]);
    }
    return rc;
}
