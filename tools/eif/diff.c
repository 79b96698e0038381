/*
 * qemu-eif diff: why the registers of two images differ
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <getopt.h>
#include "qemu/units.h"
#include "diff-files.h"
#include "tool.h"

#define BUFFER (256 * KiB)
#define MAX_CMDLINE 4096    /* bytes of it that are shown */

static const char usage[] =
    "Usage: qemu-eif diff IMAGE IMAGE\n"
    "Say in which parts two images differ, and for ramdisks which file is the\n"
    "first one that does, and how; then which registers differ.\n"
    "\n"
    "  -h, --help  this text\n"
    "\n"
    "Exit status: 0 when all registers are equal, 4 when not.\n";

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' },
    { }
};

static const ToolOptions diff_options = {
    "diff", usage, "h", long_options, NULL
};

static DiffPart part_of(const ToolImage *t, const EifSection *s)
{
    return (DiffPart) { &t->src, s->data_offset, s->size };
}

/* First byte that differs; the shorter size if only that does */
static bool find_difference(const DiffPart *a, const DiffPart *b,
                            uint64_t *at, bool *same, Error **errp)
{
    g_autofree uint8_t *one = g_malloc(BUFFER), *two = g_malloc(BUFFER);
    uint64_t common = MIN(a->size, b->size);

    for (uint64_t done = 0; done < common; ) {
        size_t len = MIN(BUFFER, common - done);

        if (!eif_source_read(a->src, one, len, a->offset + done, errp) ||
            !eif_source_read(b->src, two, len, b->offset + done, errp)) {
            return false;
        }
        for (size_t i = 0; i < len; i++) {
            if (one[i] != two[i]) {
                *at = done + i;
                *same = false;
                return true;
            }
        }
        done += len;
    }
    *at = common;
    *same = a->size == b->size;
    return true;
}

static char *read_text(const DiffPart *part)
{
    size_t len = MIN(part->size, MAX_CMDLINE);
    g_autofree char *bytes = g_malloc0(len + 1);

    return eif_source_read(part->src, bytes, len, part->offset, NULL)
           ? g_strescape(bytes, NULL) : g_strdup("");
}

static void print_difference(const char *name, uint16_t type,
                             const DiffPart *a, const DiffPart *b,
                             uint64_t at)
{
    g_autofree char *file = NULL;

    if (type == EIF_SECTION_CMDLINE) {
        g_autofree char *one = read_text(a), *two = read_text(b);

        printf("%s: '%s' in the first image, '%s' in the second one\n", name,
               one, two);
        return;
    }
#ifdef CONFIG_LIBARCHIVE
    file = type == EIF_SECTION_RAMDISK ? diff_files(a, b) : NULL;
#endif
    if (file) {
        printf("%s: %s\n", name, file);
    } else {
        printf("%s: differs from byte %" PRIu64 " on; it has %" PRIu64
               " bytes in the first image, %" PRIu64 " in the second one\n",
               name, at, a->size, b->size);
    }
}

/* Returns: whether there was such a section in any of them */
static bool diff_section(ToolImage *t, uint16_t type, unsigned n,
                         bool *more, Error **errp)
{
    const EifSection *a = eif_image_section(t[0].image, type, n);
    const EifSection *b = eif_image_section(t[1].image, type, n);
    g_autofree char *name = tool_section_name(type, n);
    DiffPart one, two;
    uint64_t at;
    bool same;

    *more = a || b;
    if (!a || !b) {
        if (*more) {
            printf("%s: in the %s image only\n", name, a ? "first"
                                                         : "second");
        }
        return true;
    }
    one = part_of(&t[0], a);
    two = part_of(&t[1], b);
    if (!find_difference(&one, &two, &at, &same, errp)) {
        return false;
    }
    if (!same) {
        print_difference(name, type, &one, &two, at);
    }
    return true;
}

static bool diff_sections(ToolImage *t, Error **errp)
{
    static const uint16_t types[] = {
        EIF_SECTION_KERNEL, EIF_SECTION_CMDLINE, EIF_SECTION_RAMDISK,
        EIF_SECTION_METADATA, EIF_SECTION_SIGNATURE,
    };

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        bool more = true;

        for (unsigned n = 0; more; n++) {
            if (!diff_section(t, types[i], n, &more, errp)) {
                return false;
            }
        }
    }
    return true;
}

static int print_registers(const EifMeasurements *m)
{
    bool all = true;

    for (size_t i = 0; i < EIF_NR_PCRS; i++) {
        unsigned index = eif_pcr_index[i];
        bool known = index != 8 || !(m[0].pcr8_unknown || m[1].pcr8_unknown);
        bool same = known &&
                    !memcmp(eif_measurements_pcr(&m[0], index),
                            eif_measurements_pcr(&m[1], index), EIF_PCR_LEN);

        printf("PCR%u: %s\n", index,
               same ? "equal" : known ? "differs" : "unknown");
        all = all && same;
    }
    return all ? TOOL_OK : TOOL_OTHER_PCR;
}

static int run_diff(ToolImage *t)
{
    EifMeasurements m[2];
    Error *err = NULL;

    for (int i = 0; i < 2; i++) {
        if (!eif_image_measure(t[i].image, &t[i].src, &m[i], &err)) {
            return tool_fail(err);
        }
    }
    return diff_sections(t, &err) ? print_registers(m) : tool_fail(err);
}

/* Open the images that the last two arguments name, one after the other */
static int open_both(ToolImage *t, int argc, char **argv)
{
    int rc;

    if (argc - optind != 2) {
        return tool_bad_usage("diff", "two image files are needed, there are "
                              "%d", argc - optind);
    }
    rc = tool_image_open(&t[0], "diff", argc - 1, argv);
    if (rc == TOOL_OK) {
        optind++;
        rc = tool_image_open(&t[1], "diff", argc, argv);
    }
    return rc;
}

int tool_diff(int argc, char **argv)
{
    ToolImage t[2] = { TOOL_IMAGE_INIT, TOOL_IMAGE_INIT };
    int rc = tool_options(&diff_options, argc, argv, NULL, NULL);

    if (rc >= 0) {
        return rc;
    }
    rc = open_both(t, argc, argv);
    if (rc == TOOL_OK) {
        rc = run_diff(t);
    }
    tool_image_close(&t[0]);
    tool_image_close(&t[1]);
    return rc;
}
