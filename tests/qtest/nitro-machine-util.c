/*
 * Nitro Enclaves: files for the tests of the machine
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "libqtest.h"
#include "qemu/units.h"
#include "nitro-launch-util.h"
#include "nitro-machine-util.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/eif-signer.h"

char *nitro_machine_library;
char *nitro_machine_dir;

char *nitro_machine_path(const char *name)
{
    return g_build_filename(nitro_machine_dir, name, NULL);
}

static void write_file(const char *name, const void *data, size_t len)
{
    g_autofree char *path = nitro_machine_path(name);

    g_assert(g_file_set_contents(path, data, len, NULL));
}

static void write_kernel_file(void)
{
    g_autofree char *path = nitro_machine_path("kernel");
    char kernel[8192] = { };

    memset(kernel + 4096, 'k', 4096);
    write_kernel(path, kernel, sizeof(kernel));
}

static void write_broken_signature(const char *name, const void *data,
                                   size_t len)
{
    g_autoptr(GByteArray) image = eif_maker_image(4, arch_is_arm(),
                                                  LAUNCHABLE);

    eif_maker_add(image, 4, data, len);
    eif_maker_finish(image);
    write_file(name, image->data, image->len);
}

static void write_images(void)
{
    static const char large[57 * MiB];
    bool arm = arch_is_arm();
    g_autoptr(GByteArray) good = eif_maker_image(4, arm, LAUNCHABLE);
    g_autoptr(GByteArray) text = eif_maker_image(4, arm, EXAMPLE);
    g_autoptr(GByteArray) other = eif_maker_image(4, !arm, LAUNCHABLE);
    g_autoptr(GByteArray) big = eif_maker_image(4, arm, "UCM");
    g_autoptr(GByteArray) der = eif_maker_signature("0\3\2\1\5", "COSE");

    write_file("eif-text", text->data, text->len);
    write_file("eif", good->data, good->len);
    write_file("eif-other", other->data, other->len);
    write_file("eif-short", good->data, good->len - 20);
    good->data[good->len - 1] ^= 1;
    write_file("eif-broken", good->data, good->len);
    eif_maker_add(big, 3, large, sizeof(large));
    eif_maker_finish(big);
    write_file("eif-large", big->data, big->len);
    write_broken_signature("eif-junk", "junk", 4);
    write_broken_signature("eif-der", der->data, der->len);
}

static void write_signed(const char *name, int64_t valid_until,
                         const char *pcr0)
{
#ifdef CONFIG_GNUTLS
    EifSignerParams params = {
        .not_after = valid_until, .sections = LAUNCHABLE, .pcr0 = pcr0,
    };
    g_autoptr(EifSigner) signer = eif_signer_new(&params);
    g_autoptr(GByteArray) image =
        eif_signer_image(signer, arch_is_arm());

    write_file(name, image->data, image->len);
#endif
}

static void write_signed_images(void)
{
    int64_t tomorrow = time(NULL) + EIF_SIGNER_DAY;

    write_signed("eif-signed", tomorrow, LAUNCHABLE_PCR0);
    write_signed("eif-expired", EIF_SIGNER_NOW, LAUNCHABLE_PCR0);
    write_signed("eif-signed-other", tomorrow, LAUNCHABLE_PCR1);
}

static void write_files(void)
{
    g_autofree char *fifo = nitro_machine_path("fifo");

    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    write_images();
    write_signed_images();
    write_kernel_file();
    write_file("initrd", "initial ramdisk", 15);
    write_file("empty", "", 0);
    write_file("text", "just text\n", 10);
    write_file("gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00", 8);
}

static void remove_files(void)
{
    GDir *list = g_dir_open(nitro_machine_dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(list))) {
        g_autofree char *path = nitro_machine_path(name);

        unlink(path);
    }
    g_dir_close(list);
    rmdir(nitro_machine_dir);
}

char *nitro_machine_options(const char *options)
{
    g_auto(GStrv) parts = g_strsplit(options, "%s", 0);

    return g_strjoinv(nitro_machine_dir, parts);
}

void nitro_machine_setup(void)
{
    g_autofree char *asan_options = fake_driver_asan_options();

    g_setenv("ASAN_OPTIONS", asan_options, true);
    nitro_machine_library = fake_driver();
    nitro_machine_dir = g_dir_make_tmp("nitro-machine-XXXXXX", NULL);
    write_files();
}

void nitro_machine_cleanup(void)
{
    remove_files();
    g_free(nitro_machine_dir);
    g_free(nitro_machine_library);
}
