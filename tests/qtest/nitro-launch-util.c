/*
 * Nitro Enclaves: what the tests of launches share
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "libqtest.h"
#include "nitro-launch-util.h"

/* No field of a kernel's header lies behind that */
#define HEADER_LEN 0x264

bool arch_is_arm(void)
{
    return g_str_equal(qtest_get_arch(), "aarch64");
}

char *fake_driver(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = g_path_get_dirname(self);

    return g_build_filename(dir, "nitro", "fake-ne.so", NULL);
}

char *fake_driver_asan_options(void)
{
    const char *before = getenv("ASAN_OPTIONS");

    return g_strdup_printf("%s%sverify_asan_link_order=0", before ?: "",
                           before ? ":" : "");
}

void write_kernel(const char *path, char *content, size_t size)
{
    memset(content, 0, MIN(size, HEADER_LEN));
    if (arch_is_arm()) {
        memcpy(content + 56, "ARM\x64", 4);
    } else {
        memcpy(content + 0x1fe, "\x55\xaa", 2);
        memcpy(content + 0x202, "HdrS", 4);
    }
    g_assert(g_file_set_contents(path, content, size, NULL));
}

unsigned count_parts(const char *text, const char *part)
{
    unsigned count = 0;

    for (; (text = strstr(text, part)); text += strlen(part)) {
        count++;
    }
    return count;
}
