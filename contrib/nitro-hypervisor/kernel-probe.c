/*
 * How does an enclave's kernel find its virtio devices?
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * With ACPI the nitro-enclave machine describes its virtio-mmio devices in
 * the DSDT and appends nothing to the command line; without, it appends
 * virtio_mmio.device= and provides an MP table, as kernels made for Nitro
 * Enclaves expect.  Offering both at once is not possible: with ACPI the
 * devices use interrupts 16 and up, which the MP table does not describe.
 *
 * A bzImage with a gzip payload is unpacked: a kernel that takes devices from
 * its command line contains the name of their parent device.  For any other
 * the image's command line decides: pci=off, acpi=off or a device on it are
 * how kernels made for enclaves are started.
 */

#include "qemu/osdep.h"
#include <zlib.h>
#include "qemu/bswap.h"
#include "image.h"

/* Linux: the device that owns those named on the command line */
#define CMDLINE_PARENT "virtio-mmio-cmdline"

/* Linux/x86 boot protocol */
#define SETUP_SECTS     0x1f1
#define SETUP_MAGIC     0x202
#define SETUP_VERSION   0x206
#define PAYLOAD_OFFSET  0x248
#define PAYLOAD_LENGTH  0x24c
#define SETUP_END       0x250

/* More than any kernel; a bound on the work for hostile images */
#define UNPACKED_MAX    (512 * 1024 * 1024)
#define WINDOW          (64 * 1024)

static bool contains_parent(const void *bytes, size_t len)
{
    return memmem(bytes, len, CMDLINE_PARENT, strlen(CMDLINE_PARENT));
}

/* Returns: the compressed kernel inside a bzImage, or NULL */
static const uint8_t *bzimage_payload(const uint8_t *kernel, size_t len,
                                      size_t *payload_len)
{
    uint64_t start;

    if (len < SETUP_END || memcmp(kernel + SETUP_MAGIC, "HdrS", 4) ||
        lduw_le_p(kernel + SETUP_VERSION) < 0x208) {
        return NULL;
    }
    start = (kernel[SETUP_SECTS] ? kernel[SETUP_SECTS] : 4) * 512ULL + 512 +
            ldl_le_p(kernel + PAYLOAD_OFFSET);
    *payload_len = ldl_le_p(kernel + PAYLOAD_LENGTH);
    if (start > len || *payload_len > len - start) {
        return NULL;
    }
    return kernel + start;
}

static bool search_unpacked(z_stream *z, bool *found)
{
    const size_t keep = strlen(CMDLINE_PARENT) - 1;
    g_autofree uint8_t *buf = g_malloc0(keep + WINDOW);
    int ret = Z_OK;

    while (ret == Z_OK && !*found && z->total_out < UNPACKED_MAX) {
        z->next_out = buf + keep;
        z->avail_out = WINDOW;
        ret = inflate(z, Z_NO_FLUSH);
        *found = contains_parent(buf, keep + WINDOW - z->avail_out);
        memmove(buf, buf + WINDOW - z->avail_out, keep);
    }
    return *found || ret == Z_STREAM_END;
}

/* Returns: whether @found is known */
static bool search_gzip(const uint8_t *payload, size_t len, bool *found)
{
    z_stream z = { .next_in = (uint8_t *)payload, .avail_in = len };
    bool known;

    if (len < 2 || payload[0] != 0x1f || payload[1] != 0x8b ||
        inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) {
        return false;
    }
    known = search_unpacked(&z, found);
    inflateEnd(&z);
    return known;
}

/* Returns: whether @found is known */
static bool search_kernel(const uint8_t *kernel, size_t len, bool *found)
{
    const uint8_t *payload;
    size_t payload_len;

    payload = bzimage_payload(kernel, len, &payload_len);
    return payload && search_gzip(payload, payload_len, found);
}

static bool has_word(const char *cmdline, const char *word)
{
    g_auto(GStrv) words = g_strsplit_set(cmdline, " \t\n", -1);
    int i;

    for (i = 0; words[i]; i++) {
        if (g_str_has_prefix(words[i], word)) {
            return true;
        }
    }
    return false;
}

bool nhv_kernel_needs_acpi(const void *kernel, size_t len,
                           const char *cmdline, const char **reason)
{
    bool found = false;

    if (has_word(cmdline, "acpi=off")) {
        *reason = "command line has acpi=off";
        return false;
    }
    if (search_kernel(kernel, len, &found)) {
        *reason = found ? "kernel takes devices from its command line"
                        : "kernel takes no devices from its command line";
        return !found;
    }
    if (has_word(cmdline, "pci=off") ||
        has_word(cmdline, "virtio_mmio.device=")) {
        *reason = "command line fits a kernel made for enclaves";
        return false;
    }
    *reason = "command line does not look like that of a kernel made for "
              "enclaves";
    return true;
}
