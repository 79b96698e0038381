/*
 * Enclave images that fuzzing begins with
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "eif-seeds.h"
#include "tests/nitro/eif-maker.h"
#include "tests/nitro/eif-signer.h"

/* Everything that JSON has, within the keys of an image's metadata */
static const char rich_metadata[] =
    "{\"ImageName\":\"\\u00e9\\\"\",\"ImageVersion\":\"1\",\"BuildMetadata\":"
    "{\"BuildTime\":\"2024\",\"BuildTool\":\"a\",\"BuildToolVersion\":\"b\","
    "\"OperatingSystem\":\"c\",\"KernelVersion\":\"d\"},\"DockerInfo\":[1,-2,"
    "1e9,0.5,18446744073709551615,true,false,null,[],{}],"
    "\"CustomMetadata\":{\"b\":{\"a\":[[[0]]]},\"a\":\"\"}}";

static void seed_example(FuzzSeed *seed, const char *name, uint16_t version,
                         uint16_t flags, const char *sections)
{
    g_autoptr(GByteArray) image = eif_maker_image(version, flags, sections);

    seed(name, image->data, image->len);
}

static void seed_metadata(FuzzSeed *seed)
{
    g_autoptr(GByteArray) image = eif_maker_new(4, 0);

    eif_maker_add(image, 1, "K", 1);
    eif_maker_add(image, 2, NULL, 0);
    eif_maker_add(image, 5, rich_metadata, strlen(rich_metadata));
    eif_maker_finish(image);
    seed("rich-metadata", image->data, image->len);
}

/* With a gap before the kernel, and flags in the header */
static void seed_gap(FuzzSeed *seed)
{
    g_autoptr(GByteArray) image = eif_maker_new(3, 0x0240);

    g_byte_array_append(image, (const uint8_t *)"gap", 3);
    eif_maker_add(image, 1, "K", 1);
    eif_maker_add(image, 2, "quiet\n", 6);
    eif_maker_finish(image);
    seed("gap", image->data, image->len);
}

static void seed_signed(FuzzSeed *seed, const char *name, int curve)
{
    const EifSignerParams params = { .curve = curve };
    g_autoptr(EifSigner) signer = eif_signer_new(&params);
    g_autoptr(GByteArray) image = eif_signer_image(signer, 0);

    seed(name, image->data, image->len);
}

void eif_seeds(FuzzSeed *seed)
{
    seed_example(seed, "example", 4, 0, EXAMPLE);
    seed_example(seed, "arm64", 4, 1, EXAMPLE);
    seed_example(seed, "version-3", 3, 0, "KCR");
    seed_example(seed, "version-2", 2, 0, "KC");
    seed_example(seed, "any-order", 4, 0, "MSCKrR");
    seed_example(seed, "full", 4, 0, "KCMRrRrRrRrRrRrRrRrRrRrRrRrRrRrS");
    seed_example(seed, "bzimage", 4, 0, "BCMRr");
    seed_example(seed, "arm64-image", 4, 1, "BCMeR");
    seed_gap(seed);
    seed_metadata(seed);
    seed_signed(seed, "signed-p256", 256);
    seed_signed(seed, "signed-p384", 384);
    seed_signed(seed, "signed-p521", 521);
}
