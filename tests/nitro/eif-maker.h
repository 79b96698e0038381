/*
 * Enclave images made by hand, for tests of the image library
 *
 * Independent of the library: numbers are stored at literal offsets of the
 * format, the CRC is computed over the finished bytes.  There is also a fake
 * of pread(), put in at link time, for reads that are short or interrupted.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef EIF_MAKER_H
#define EIF_MAKER_H

#include "qapi/error.h"

/* Offsets of fields */
#define AT_VERSION 4
#define AT_FLAGS 6
#define AT_COUNT 26
#define AT_OFFSETS 28
#define AT_SIZES 284
#define AT_CRC 544
#define HEADER_LEN 548
#define SECTION_HEADER_LEN 12

/* Content of the sections in the example images */
#define EXAMPLE_KERNEL "KKKKKKKKKKKKKKKK"
#define UNKNOWN_KERNEL "\1KKKKKKKKKKKKKKK"
#define EXAMPLE_CMDLINE "console=ttyS0"
#define EXAMPLE_RAMDISK0 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define EXAMPLE_RAMDISK1 "BBBBBBBB"
#define EXAMPLE_METADATA \
    "{\"ImageName\":\"kernel.bin\",\"ImageVersion\":\"1.0\"," \
    "\"BuildMetadata\":{\"BuildTime\":\"2024-01-01T00:00:00+00:00\"," \
    "\"BuildTool\":\"eif_build\",\"BuildToolVersion\":\"0.3.1\"," \
    "\"OperatingSystem\":\"OS\",\"KernelVersion\":\"kernel\"}," \
    "\"DockerInfo\":null,\"CustomMetadata\":null}"

/* Two official sections and two ramdisks: "KCMRr" is the worked example */
#define EXAMPLE "KCMRr"
#define EXAMPLE_SIZE 921
#define EXAMPLE_CRC 0x74c0f551
#define EXAMPLE_CRC_ARM64 0xaac9a4d4
#define EXAMPLE_PCR0 \
    "487a9a6b400d5435522b01e1d7258e1470f56dd87036edbe" \
    "267e686428d597d805f2ed619356ef99696d43c3d6858cb7"
#define EXAMPLE_PCR1 \
    "da8c1c6816cc99dbe59c93a0f0d15e85e588d16e02d34137" \
    "ae008c2b810fb54a5a51be0656bf10813e1b33a2b1f53ca3"
#define EXAMPLE_PCR2 \
    "39e2fda8e95eaf61e2024997f2469404056ac9381b602c2e" \
    "8510aec7c23f2101d2baca5650305a3dbfecc55da3e5827f"
/* No ramdisk but the first */
#define EMPTY_PCR2 \
    "21b9efbc184807662e966d34f390821309eeac6802309798" \
    "826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a"

/*
 * The same with a kernel of a kind that nobody knows, not even for a text: it
 * can be launched, with a warning
 */
#define LAUNCHABLE "UCMRr"
#define LAUNCHABLE_CRC 0x6ca3ca04
#define LAUNCHABLE_CRC_ARM64 0xb2aa9b81
#define LAUNCHABLE_PCR0 \
    "a8517cd1da3b521401b0a0c0244f609f8eaf8b4db5aabfb5" \
    "cab0c954af18cbcd7e4248f1791a7a74e078498695826375"
#define LAUNCHABLE_PCR1 \
    "cec71928f4a614fb0fe42c8a2a1940cacf5276a9807e8043" \
    "dc7d89daeed7c18e4594175008a5290fd710be4d45973424"

/* And with what looks like a kernel of its architecture; PCRs of x86_64 */
#define BOOTABLE "BCMRr"
#define BOOTABLE_PCR0 \
    "405845dc691190fea1f97c313c32cbee1e636f6fa0931658" \
    "ce572f9625f20581f1b8b038c28ad766f7dd65bb8e217667"
#define BOOTABLE_PCR1 \
    "5196a2ace66b54310a455004361dec615e55bde2f89d0bb1" \
    "525bd8b98936fe1dca398ab3564500a8f83575dcc046aa54"

/* Certificate in example signatures: DER 30 03 02 01 05, no real one */
#define EXAMPLE_PEM \
    "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n"
#define EXAMPLE_PCR8 \
    "3a17ec3f9c5faafde6003ae7063667a6ea487cf5cf057a82" \
    "f2652ebf9d3d441e5424442f70ee0ae9dc9c5fa44914ae0a"
#define ZERO_PCR \
    "000000000000000000000000000000000000000000000000" \
    "000000000000000000000000000000000000000000000000"

/**
 * eif_maker_new: begin an image: header without sections
 * @version: version field
 * @flags: flags field
 */
GByteArray *eif_maker_new(uint16_t version, uint16_t flags);

/**
 * eif_maker_add: append a section, enter it into the tables
 * @image: the image
 * @type: type field
 * @data: its data
 * @len: how many bytes
 */
void eif_maker_add(GByteArray *image, uint16_t type, const void *data,
                   size_t len);

/**
 * eif_maker_finish: store the CRC over the image as it is now
 * @image: the image
 */
void eif_maker_finish(GByteArray *image);

/* A kernel's header in that way, and the least that a kernel must have */
#define KERNEL_HEADER_LEN 1024

/**
 * eif_maker_kernel_header: make bytes look like a kernel
 * @kernel: its first KERNEL_HEADER_LEN bytes are overwritten; 16 more follow
 * @arm64: an Image, else a bzImage
 */
void eif_maker_kernel_header(uint8_t *kernel, bool arm64);

/**
 * eif_maker_image: a whole image in one call
 * @version: version field
 * @flags: flags field
 * @sections: one letter each: K kernel, C cmdline, M metadata, R first and
 *            r second example ramdisk, S signature; k c m e s the same
 *            sections without data (e for the ramdisk); U and B other kernels:
 *            unknown, and one that looks like it boots
 */
GByteArray *eif_maker_image(uint16_t version, uint16_t flags,
                            const char *sections);

/**
 * eif_maker_signature: data of a signature section
 * @pem: certificate text
 * @cose: COSE_Sign1 text
 *
 * Returns: CBOR; "[{signing_certificate: [...], signature: [...]}]".
 */
GByteArray *eif_maker_signature(const char *pem, const char *cose);

/**
 * eif_maker_signature_bytes: the same for any bytes
 * @pem: certificate text
 * @cose: COSE_Sign1 message
 * @len: its length, at most 65535
 */
GByteArray *eif_maker_signature_bytes(const char *pem, const void *cose,
                                      size_t len);

/**
 * eif_maker_file: a temporary file that is removed already
 * @data: its content
 * @len: length of it
 *
 * Returns: descriptor, open for reading and writing.
 */
int eif_maker_file(const void *data, size_t len);

/**
 * eif_maker_assert_error: an error must have this text
 * @err: the error, freed
 * @message: all of its message
 * @hint: part of its hint; NULL when there need be none
 */
void eif_maker_assert_error(Error *err, const char *message, const char *hint);

/* How pread() behaves, which is replaced at link time; all 0: as usual */
typedef struct EifMakerReads {
    size_t most; /* bytes per call, 0: no limit */
    bool interrupt; /* every other call fails with EINTR */
    unsigned calls; /* how many there were */
} EifMakerReads;

extern EifMakerReads eif_maker_reads;

#endif
