/*
 * Fuzz target: values of our options and properties
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Input: a byte that picks the parser, then the text.  Whatever is accepted
 * has to survive being written out and read again.
 */

#include "qemu/osdep.h"
#include "hw/core/eif-image.h"
#include "hw/nitro/enclaves-fault.h"
#include "system/nitro-pool.h"
#include "contrib/nitro-hypervisor/options.h"
#include "fuzz.h"

enum { PARSE_CPUS, PARSE_FAULTS, PARSE_PCR, PARSE_COMMAND_LINE, NR_PARSERS };

#define MAX_ARGS 16

/* A failed call says why, a good one says nothing */
static bool check_error(bool ok, Error *err)
{
    g_assert_true(ok == !err);
    if (err) {
        g_assert_cmpint(strlen(error_get_pretty(err)), >, 0);
        error_free(err);
    }
    return ok;
}

static void check_pool(const GArray *cpus)
{
    uint32_t pool_cpus[] = { 2, 3, 6, 7 };
    NitroPool pool = { .threads = 2, .node = -1 };
    Error *err = NULL;
    bool ok;

    pool.cpus = g_array_new(false, false, sizeof(uint32_t));
    g_array_append_vals(pool.cpus, pool_cpus, ARRAY_SIZE(pool_cpus));
    ok = nitro_pool_check(&pool, cpus, cpus->len, &err);
    check_error(ok, err);
    g_array_unref(pool.cpus);
}

static void fuzz_cpus(const char *text)
{
    g_autofree char *again = NULL;
    GArray *cpus, *same;
    Error *err = NULL;

    cpus = nitro_cpus_parse(text, &err);
    if (!check_error(cpus, err)) {
        return;
    }
    g_assert_cmpuint(cpus->len, <=, NITRO_CPU_LAST);
    again = nitro_cpus_str(cpus, ':');
    if (cpus->len) {
        same = nitro_cpus_parse(again, &error_abort);
        g_assert_cmpmem(cpus->data, cpus->len * sizeof(uint32_t),
                        same->data, same->len * sizeof(uint32_t));
        g_array_unref(same);
    }
    check_pool(cpus);
    g_array_unref(cpus);
}

static void fuzz_faults(const char *text)
{
    NitroFaults faults = { 0 };
    Error *err = NULL;
    bool ok = nitro_faults_set(&faults, text, &err);

    if (check_error(ok, err)) {
        g_assert_cmpstr(faults.text ?: "", ==, text);
        for (unsigned i = 0; i < 4 * NITRO_FAULT_POINT__MAX; i++) {
            nitro_faults_take(&faults, i % NITRO_FAULT_POINT__MAX);
        }
    }
    nitro_faults_clear(&faults);
}

static void fuzz_pcr(const char *text)
{
    uint8_t pcr[EIF_PCR_LEN];
    g_autofree char *again = NULL;
    Error *err = NULL;
    bool ok = eif_pcr_parse(text, pcr, &err);

    if (check_error(ok, err)) {
        again = eif_pcr_str(pcr);
        g_assert_cmpint(g_ascii_strcasecmp(again, text), ==, 0);
    }
}

/* One argument per line; --help would end the process */
static void fuzz_command_line(const char *text)
{
    g_autofree char *all = g_strdup_printf("nitro-hypervisor\n%s", text);
    g_auto(GStrv) args = g_strsplit(all, "\n", MAX_ARGS);
    guint n = g_strv_length(args);
    g_autofree char **argv = g_memdup2(args, (n + 1) * sizeof(*args));
    NhvOptions opts = { 0 };
    Error *err = NULL;
    bool ok;

    for (char **arg = args; *arg; arg++) {
        if (g_str_has_prefix(*arg, "--help") || ((*arg)[0] == '-' &&
            (*arg)[1] != '-' && strpbrk(*arg, "h?"))) {
            return;
        }
    }
    ok = nhv_options_parse(&opts, n, argv, &err);
    check_error(ok, err);
    nhv_options_clear(&opts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput in = { data, size };
    uint8_t parser = fuzz_u8(&in) % NR_PARSERS;
    g_autofree char *text = g_strndup((const char *)in.data, in.size);

    switch (parser) {
    case PARSE_CPUS:
        fuzz_cpus(text);
        break;
    case PARSE_FAULTS:
        fuzz_faults(text);
        break;
    case PARSE_PCR:
        fuzz_pcr(text);
        break;
    default:
        fuzz_command_line(text);
        break;
    }
    return 0;
}

static void seed_text(FuzzSeed *seed, const char *name, uint8_t parser,
                      const char *text)
{
    g_autoptr(GByteArray) input = g_byte_array_new();

    fuzz_put8(input, parser);
    fuzz_put(input, text, strlen(text));
    seed(name, input->data, input->len);
}

void fuzz_seeds(FuzzSeed *seed)
{
    g_autofree char *pcr = g_strnfill(2 * EIF_PCR_LEN, 'a');

    seed_text(seed, "cpus", PARSE_CPUS, "2-3:6-7");
    seed_text(seed, "cpus-far", PARSE_CPUS, "8191:1-9");
    seed_text(seed, "faults", PARSE_FAULTS, "START:1:-12;ENABLE:*:0x55;"
              "EVENT:2+:silence;STOP:3:noreply;VERSION:1:7");
    seed_text(seed, "faults-more", PARSE_FAULTS, "ALLOC:*:late=10;INFO:*:"
              "state=0xffff;NEXT:1:stale;FREE:1:again=5;COUNT:*:event;"
              "ADD_MEM:1:uid=1;GET_SLOT:1:cid=4;ADD_VCPU:2:regions=0");
    seed_text(seed, "pcr", PARSE_PCR, pcr);
    seed_text(seed, "command-line", PARSE_COMMAND_LINE,
              "--runtime-dir=/tmp/x\n--qemu=/bin/true\n--acpi=on\n--once\n"
              "--max-connections=7\n"
              "--parent-id\ni-1\n--qemu-arg=-m\n--firmware-dir=x");
}
