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

/**
 * eif_maker_image: a whole image in one call
 * @version: version field
 * @flags: flags field
 * @sections: one letter each: K kernel, C cmdline, M metadata, R first and
 *            r second example ramdisk, S signature; k c m e s the same
 *            sections without data (e for the ramdisk)
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
