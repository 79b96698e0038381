/*
 * Enclave Image Format (EIF): definitions, reader, measurements, builder
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The one place that knows how an enclave image is laid out.  Pure code over
 * file descriptors and memory: no QOM, no main loop, no global state.  It
 * needs glib, zlib and QEMU's util and crypto libraries only, so machines,
 * tools and unit tests link the same code.  All functions may be called from
 * any thread; objects are not locked, one thread at a time may use each.
 *
 * A launch goes: eif_file_kind() finds out what the user gave us; for an image
 * eif_image_open_fd(), eif_image_check_arch(), then eif_image_load_fd() into
 * guest RAM; for a plain kernel eif_file_check_kernel(), eif_build_new(),
 * then eif_build_write() into guest RAM.
 *
 * An image is a file header, then up to 32 sections, each of them a section
 * header and its data, back to back.  Offsets and sizes of the sections are
 * repeated in two tables of the file header.  Sections stand in any order but
 * ramdisks come after the kernel; all ramdisks joined are the initramfs.  The
 * official builder writes kernel, cmdline, metadata (JSON), ramdisks,
 * signature (CBOR), and nothing in between.  Other builders leave gaps before
 * sections, or set flags that no text explains, and their images boot: the CRC
 * covers gaps, the measurements do not.
 */

#ifndef HW_CORE_EIF_IMAGE_H
#define HW_CORE_EIF_IMAGE_H

#include "qapi/error.h"

/* Definitions of the format.  Numbers in a file are big-endian, unaligned. */

#define EIF_MAGIC "\x2e\x65\x69\x66" /* ".eif" */
#define EIF_MAGIC_LEN 4
#define EIF_VERSION_MIN 2   /* 0 and 1 had no CRC and were never released */
#define EIF_VERSION_MAX 4   /* from 4 on metadata is mandatory */
#define EIF_MAX_SECTIONS 32
#define EIF_MIN_SECTIONS 2
#define EIF_FLAG_AARCH64 0x0001
#define EIF_SIGNATURE_MAX 32768 /* bytes of data in the signature section */
#define EIF_PCR_LEN 48 /* SHA-384 */

/* For files that are not what they were when they were looked at first */
#define EIF_HINT_UNCHANGED "Do not change the file during launch.\n"

/* File header; the CRC leaves out eif_crc32 only */
typedef struct QEMU_PACKED EifHeader {
    uint8_t magic[EIF_MAGIC_LEN];
    uint16_t version;
    uint16_t flags;
    uint64_t default_memory;
    uint64_t default_cpus;
    uint16_t reserved;
    uint16_t section_cnt;
    uint64_t section_offsets[EIF_MAX_SECTIONS]; /* of the section headers */
    uint64_t section_sizes[EIF_MAX_SECTIONS]; /* of the data alone */
    uint32_t unused;
    uint32_t eif_crc32;
} EifHeader;

/* Stands before the data of every section, back to back with it */
typedef struct QEMU_PACKED EifSectionHeader {
    uint16_t section_type; /* enum EifSectionTypes */
    uint16_t flags;
    uint64_t section_size; /* of the data, as in the file header's table */
} EifSectionHeader;

QEMU_BUILD_BUG_ON(sizeof(EifHeader) != 548);
QEMU_BUILD_BUG_ON(offsetof(EifHeader, section_cnt) != 26);
QEMU_BUILD_BUG_ON(offsetof(EifHeader, section_sizes) != 284);
QEMU_BUILD_BUG_ON(offsetof(EifHeader, eif_crc32) != 544);
QEMU_BUILD_BUG_ON(sizeof(EifSectionHeader) != 12);

enum EifSectionTypes {
    EIF_SECTION_INVALID = 0,
    EIF_SECTION_KERNEL = 1,
    EIF_SECTION_CMDLINE = 2,
    EIF_SECTION_RAMDISK = 3,
    EIF_SECTION_SIGNATURE = 4,
    EIF_SECTION_METADATA = 5,
    EIF_SECTION_MAX = 6, /* first number without a meaning */
};

typedef enum EifArch {
    EIF_ARCH_X86_64,
    EIF_ARCH_AARCH64,
} EifArch;

/**
 * eif_arch_str: name of an architecture for messages
 * @arch: the architecture
 *
 * Returns: "x86_64" or "arm64", static.
 */
const char *eif_arch_str(EifArch arch);

/**
 * eif_section_type_str: name of a section type for messages
 * @type: number as found in a file, any value
 *
 * Returns: "kernel", "cmdline", ... or "unknown", static.
 */
const char *eif_section_type_str(uint16_t type);

/* What kind of file is it? */

typedef enum EifFileKind {
    EIF_KIND_UNKNOWN,
    EIF_KIND_EMPTY,
    EIF_KIND_DIRECTORY,
    EIF_KIND_SPECIAL, /* pipe, socket, character device */
    EIF_KIND_EIF,
    EIF_KIND_BZIMAGE, /* x86 kernel, with or without EFI stub */
    EIF_KIND_ARM64_IMAGE, /* uncompressed arm64 kernel, same */
    EIF_KIND_EFI_ZBOOT, /* kernel packed into an EFI program */
    EIF_KIND_UIMAGE, /* U-Boot wrapper */
    EIF_KIND_ELF,
    EIF_KIND_PE,
    EIF_KIND_GZIP,
    EIF_KIND_BZIP2,
    EIF_KIND_XZ,
    EIF_KIND_LZ4,
    EIF_KIND_ZSTD,
    EIF_KIND_LZMA,
    EIF_KIND_LZO,
    EIF_KIND_CPIO,
    EIF_KIND_QCOW2,
    EIF_KIND_TEXT,
    EIF_KIND__MAX,
} EifFileKind;

/**
 * eif_file_kind: find out what a file is from its first bytes
 * @fd: open for reading; its file position is neither used nor moved
 * @kind: set on success
 * @errp: filled in when the file cannot be read
 *
 * Reads at most 4 KiB.  Never blocks on pipes and devices: those are
 * EIF_KIND_SPECIAL without being read.
 *
 * Returns: true on success.
 */
bool eif_file_kind(int fd, EifFileKind *kind, Error **errp);

/**
 * eif_buffer_kind: the same for the first bytes of something in memory
 * @buf: the bytes
 * @len: how many there are; 4096 are enough, fewer give less certainty
 *
 * Returns: the kind; never EIF_KIND_DIRECTORY or EIF_KIND_SPECIAL.
 */
EifFileKind eif_buffer_kind(const void *buf, size_t len);

/**
 * eif_file_kind_str: a kind as a phrase for messages
 * @kind: the kind
 *
 * Returns: for example "a gzip file" or "an x86 kernel (bzImage)", static.
 */
const char *eif_file_kind_str(EifFileKind kind);

/**
 * eif_file_kind_hint: what to do when a kernel was wanted
 * @kind: what there is instead
 *
 * Returns: one or two lines, each with its newline, static; NULL when there is
 * nothing to say.
 */
const char *eif_file_kind_hint(EifFileKind kind);

/**
 * eif_arch_kernel: the kind of kernel that enclaves boot
 * @arch: architecture of the enclave
 *
 * Returns: EIF_KIND_BZIMAGE or EIF_KIND_ARM64_IMAGE.
 */
EifFileKind eif_arch_kernel(EifArch arch);

/**
 * eif_file_check_kernel: can a plain kernel of this kind be started?
 * @kind: what eif_file_kind() said
 * @arch: architecture the enclave will run on
 * @name: how to call the file in the message, usually its path
 * @errp: filled in when not; says what the file is, with a hint what to do
 *
 * x86_64 takes a bzImage, arm64 an uncompressed Image.  An EIF is not a plain
 * kernel: ask for EIF_KIND_EIF first.
 *
 * Returns: true when it can.
 */
bool eif_file_check_kernel(EifFileKind kind, EifArch arch, const char *name,
                           Error **errp);

/**
 * eif_image_probe: do these bytes begin an enclave image?
 * @buf: first bytes of the file, NULL allowed when @len is 0
 * @len: how many there are
 *
 * Looks at the magic number only.
 */
bool eif_image_probe(const void *buf, size_t len);

/* Where image bytes come from */

typedef struct EifSource EifSource;

struct EifSource {
    /*
     * Read exactly @len bytes at @offset; [@offset, @offset + @len) lies
     * within @size.  May be NULL when @map is set.
     */
    bool (*read)(const EifSource *src, void *buf, size_t len,
                 uint64_t offset, Error **errp);
    const uint8_t *map; /* all bytes in memory, or NULL */
    uint64_t size; /* in bytes */
    /*
     * The end of the source says nothing about the end of the image (memory,
     * block device): bytes behind the last section are ignored.
     */
    bool open_ended;
    int fd; /* for eif_source_init_fd() */
    void *opaque; /* for other read functions */
};

/**
 * eif_source_init_fd: read an image from a file or block device
 * @src: filled in; owns nothing, needs no cleanup
 * @fd: open for reading, must stay open while @src is used; the file
 *      position is neither used nor moved
 * @errp: filled in when @fd is something that has no size (directory, pipe)
 *
 * Returns: true on success.
 */
bool eif_source_init_fd(EifSource *src, int fd, Error **errp);

/**
 * eif_source_init_buffer: read an image from memory
 * @src: filled in; owns nothing, needs no cleanup
 * @buf: start of the image, must stay valid while @src is used
 * @size: bytes that may be looked at; more than the image is fine
 */
void eif_source_init_buffer(EifSource *src, const void *buf, uint64_t size);

/**
 * eif_source_read: copy a piece of a source to memory
 * @src: the source
 * @buf: room for @len bytes
 * @len: how many bytes to read
 * @offset: where in the source they begin
 * @errp: filled in when they do not lie within the source or reading fails
 *
 * Returns: true when all bytes were read; on false @buf is undefined.
 */
bool eif_source_read(const EifSource *src, void *buf, size_t len,
                     uint64_t offset, Error **errp);

/**
 * eif_source_read_crc: eif_source_read() of any length, computing a CRC
 * @src: the source
 * @dest: room for @len bytes
 * @len: how many bytes to read
 * @offset: where in the source they begin
 * @fresh: @dest is all zeros; so holes of a file need not be read
 * @crc: CRC-32 so far (0 at the start), updated with the bytes read
 * @errp: filled in on failure
 *
 * A few threads share what is more than some MiB; they are gone at the end.
 *
 * Returns: true when all bytes were read; on false @dest is undefined.
 */
bool eif_source_read_crc(const EifSource *src, void *dest, uint64_t len,
                         uint64_t offset, bool fresh, uint32_t *crc,
                         Error **errp);

/* The reader */

typedef struct EifSection {
    uint16_t type; /* enum EifSectionTypes */
    uint16_t flags; /* as in its header; no meaning is known */
    uint64_t gap; /* bytes between this section and what is before it */
    uint64_t data_offset; /* from the start of the image */
    uint64_t size; /* of the data, in bytes */
} EifSection;

/* A structurally valid image; read-only for callers */
typedef struct EifImage {
    EifHeader header; /* exactly as in the file, so big-endian */
    uint16_t version;
    EifArch arch;
    uint16_t flags; /* of the header, those without a known meaning */
    uint32_t crc; /* as the header claims it */
    uint64_t image_size; /* header to end of the last section, in bytes */
    uint64_t tail; /* bytes that follow in a file */
    unsigned nr_sections;
    EifSection sections[EIF_MAX_SECTIONS]; /* in file order */
    unsigned nr_ramdisks;
    bool has_metadata;
    bool has_signature;
} EifImage;

/**
 * eif_image_parse: read and check the structure of an image
 * @src: where it lies
 * @errp: filled in on failure: section, offsets, sizes, and a hint
 *
 * Refuses what cannot boot: version not 2..4, sections that overlap, reach
 * beyond @src or contradict the header's tables, unknown or doubled types, a
 * ramdisk before the kernel, missing kernel, cmdline or (version 4) metadata,
 * an empty kernel, a signature section that is empty or too long, and 12 or
 * more bytes behind the last section unless the source is open-ended.  Gaps
 * before sections, and flags, are accepted.  The content of the sections is not
 * looked at, see eif-kernel.h and eif_image_read_signature(), nor is the CRC:
 * eif_image_load_fd() and eif_image_verify_crc() do that.
 *
 * Reads the headers, about 1 KiB in total.
 *
 * Returns: the image, to be freed with eif_image_free(); NULL on failure.
 */
EifImage *eif_image_parse(const EifSource *src, Error **errp);

/**
 * eif_image_open_fd: eif_image_parse() for a file
 * @fd: see eif_source_init_fd(); stays the caller's
 * @errp: filled in on failure
 *
 * A file that is no image at all is refused by what it is.
 *
 * Returns: the image, or NULL.
 */
EifImage *eif_image_open_fd(int fd, Error **errp);

/**
 * eif_image_parse_buffer: eif_image_parse() for memory
 * @buf: see eif_source_init_buffer(); not needed any more afterwards
 * @len: bytes that may be looked at; what follows the image is ignored
 * @errp: filled in on failure
 *
 * Returns: the image, or NULL.
 */
EifImage *eif_image_parse_buffer(const void *buf, size_t len, Error **errp);

void eif_image_free(EifImage *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EifImage, eif_image_free)

/**
 * eif_image_section: find a section by its type
 * @image: from eif_image_parse()
 * @type: which one
 * @n: how many of that type stand before it in the file, from 0
 *
 * Every image has a kernel and a cmdline, and at most one section of each type
 * but ramdisk.
 *
 * Returns: the section, owned by @image; NULL when there are not that many.
 */
const EifSection *eif_image_section(const EifImage *image, uint16_t type,
                                    unsigned n);

/**
 * eif_image_check_arch: is the image for this architecture?
 * @image: the image
 * @arch: architecture the enclave will run on
 * @errp: filled in when not
 */
bool eif_image_check_arch(const EifImage *image, EifArch arch, Error **errp);

/**
 * eif_image_load_fd: copy an image to its final place, verifying its CRC
 * @image: from eif_image_open_fd() on the same file
 * @fd: the file; position neither used nor moved
 * @dest: where the image begins; image_size bytes are written, no more
 * @dest_size: room at @dest in bytes
 * @errp: filled in on failure
 *
 * One copy, straight into @dest, with the CRC computed on the way; nothing is
 * allocated that grows with the image.  A file that changed since it was
 * opened is refused.  Blocks for as long as reading takes.
 *
 * Returns: true on success; on false the content of @dest is undefined.
 */
bool eif_image_load_fd(const EifImage *image, int fd, void *dest,
                       uint64_t dest_size, Error **errp);

/**
 * eif_image_load_fresh: eif_image_load_fd() into memory that is all zeros
 * @image, @fd, @dest, @dest_size, @errp: see there
 *
 * Holes of the file are left out: the memory for them is not even touched.
 */
bool eif_image_load_fresh(const EifImage *image, int fd, void *dest,
                          uint64_t dest_size, Error **errp);

/**
 * eif_image_verify_crc: compute the CRC over an image and compare
 * @image: from eif_image_parse() on the same source
 * @src: where the image lies
 * @errp: filled in when it cannot be read or differs
 *
 * Blocks for as long as reading takes; memory use is constant.
 *
 * Returns: true when the CRC in the header is right.
 */
bool eif_image_verify_crc(const EifImage *image, const EifSource *src,
                          Error **errp);

/* Values of the registers after the image has been extended into them */
typedef struct EifMeasurements {
    /* A ramdisk without a byte counts as absent */
    uint8_t pcr0[EIF_PCR_LEN]; /* kernel, cmdline, all ramdisks */
    uint8_t pcr1[EIF_PCR_LEN]; /* kernel, cmdline, first ramdisk */
    uint8_t pcr2[EIF_PCR_LEN]; /* all ramdisks but the first */
    uint8_t pcr8[EIF_PCR_LEN]; /* certificate; zeros without a signature */
    bool has_pcr8; /* the image is signed, with a certificate */
    bool pcr8_unknown; /* it is signed, but no certificate can be found */
} EifMeasurements;

/* Numbers of the registers that an image decides about: 0, 1, 2, 8 */
#define EIF_NR_PCRS 4
extern const unsigned eif_pcr_index[EIF_NR_PCRS];

/**
 * eif_image_measure: compute the registers an attestation would show
 * @image: from eif_image_parse() on the same source
 * @src: where the image lies
 * @result: filled in on success
 * @errp: filled in on failure
 *
 * Does not depend on the CRC nor on the signature: of a section that is broken
 * (see eif_image_read_signature()) PCR8 alone remains unknown.  (In
 * debug mode an attestation shows zeros instead.)  Blocks: SHA-384 over the
 * image, about a second per GiB, with a second thread; memory use is constant.
 *
 * Returns: true on success.
 */
bool eif_image_measure(const EifImage *image, const EifSource *src,
                       EifMeasurements *result, Error **errp);

/**
 * eif_source_measure: a register into which some bytes were extended
 * @src: the bytes
 * @pcr: filled in on success
 * @errp: filled in when they cannot be read
 *
 * As eif_image_measure() has it for PCR8 and a certificate in DER form.
 *
 * Returns: true on success.
 */
bool eif_source_measure(const EifSource *src, uint8_t pcr[EIF_PCR_LEN],
                        Error **errp);

/**
 * eif_pcr_str: a register as text
 * @pcr: its 48 bytes
 *
 * Returns: 96 lower case hexadecimal digits, to be freed.
 */
char *eif_pcr_str(const uint8_t pcr[EIF_PCR_LEN]);

/**
 * eif_pcr_parse: a register from text
 * @text: 96 hexadecimal digits of any case
 * @pcr: filled in on success
 * @errp: filled in when @text is anything else
 *
 * Returns: true on success.
 */
bool eif_pcr_parse(const char *text, uint8_t pcr[EIF_PCR_LEN], Error **errp);

/**
 * eif_measurements_pcr: a register by its number
 * @m: the registers
 * @index: its number
 *
 * Returns: 48 bytes within @m; NULL when an image does not decide about it.
 */
const uint8_t *eif_measurements_pcr(const EifMeasurements *m, unsigned index);

/**
 * eif_measurements_expect: compare a register with what it should be
 * @m: the registers
 * @index: 0, 1, 2 or 8
 * @expected: its value
 * @errp: filled in when it differs, with both values, or is not known
 *
 * Returns: true when it is the same.
 */
bool eif_measurements_expect(const EifMeasurements *m, unsigned index,
                             const uint8_t expected[EIF_PCR_LEN],
                             Error **errp);

/* First entry of the signature section, decoded but not verified */
typedef struct EifSignature {
    GByteArray *cert_der; /* X.509 certificate */
    GByteArray *cose; /* COSE_Sign1 over PCR0 */
} EifSignature;

/**
 * eif_image_read_signature: decode the signature section
 * @image: from eif_image_parse() on the same source, with has_signature
 * @src: where the image lies
 * @errp: filled in on failure
 *
 * Returns: to be freed with eif_signature_free(); NULL on failure.
 */
EifSignature *eif_image_read_signature(const EifImage *image,
                                       const EifSource *src, Error **errp);
/**
 * eif_signature_decode: the same for section data already in memory
 * @data: the data of the section
 * @len: its length, at most EIF_SIGNATURE_MAX
 * @errp: filled in on failure
 */
EifSignature *eif_signature_decode(const uint8_t *data, size_t len,
                                   Error **errp);
/**
 * eif_pem_certificate: find the first certificate in some text
 * @text: any bytes, for example a file with a chain of certificates
 * @der: filled in on success with the certificate in DER form, to be freed
 * @errp: filled in when @text has no certificate
 *
 * Returns: the unchanged lines of the certificate, without what stands
 * around them, to be freed; NULL on failure.
 */
GByteArray *eif_pem_certificate(const GByteArray *text, GByteArray **der,
                                Error **errp);

void eif_signature_free(EifSignature *sig);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EifSignature, eif_signature_free)

/* The builder */

typedef struct EifBuild EifBuild;

/* Kernel, cmdline and metadata are sections as well */
#define EIF_BUILD_MAX_RAMDISKS (EIF_MAX_SECTIONS - 3)

/* Strings are copied; NULL gives the default */
typedef struct EifBuildParams {
    EifArch arch;
    int kernel_fd; /* bzImage or Image, see eif_file_check_kernel() */
    int ramdisk_fds[EIF_BUILD_MAX_RAMDISKS]; /* cpio, compressed or not */
    unsigned nr_ramdisks;
    const char *cmdline; /* default empty */
    const char *name; /* metadata ImageName, default "qemu" */
    const char *image_version; /* metadata ImageVersion, default "1.0" */
    const char *tool_version; /* metadata BuildToolVersion, default QEMU's */
    /*
     * Metadata BuildTime, RFC 3339; by default the environment variable
     * SOURCE_DATE_EPOCH decides, without that 1970-01-01T00:00:00+00:00.
     */
    const char *build_time;
    /* Metadata DockerInfo, CustomMetadata: valid JSON in UTF-8, default null */
    const char *docker_info;
    const char *custom_metadata;
} EifBuildParams;

/**
 * eif_build_new: plan a version 4 image from a plain kernel
 * @params: what goes in
 * @errp: filled in on failure: empty or unreadable files, a kernel that was
 *        cut short, a command line longer than it takes (see eif-kernel.h)
 *
 * The descriptors must stay open until the last eif_build_write(), they
 * remain the caller's and their file positions are not used.  The files
 * are read by eif_build_write() only, so they must not change in between.
 *
 * Returns: the plan, to be freed with eif_build_free(); NULL on failure.
 */
EifBuild *eif_build_new(const EifBuildParams *params, Error **errp);

/**
 * eif_build_size: length of the image that will be written
 * @build: the plan
 *
 * Returns: bytes, exact.
 */
uint64_t eif_build_size(const EifBuild *build);

/**
 * eif_build_write: write the image
 * @build: the plan; can be written any number of times
 * @dest: where the image begins; eif_build_size() bytes are written
 * @dest_size: room at @dest in bytes
 * @errp: filled in on failure
 *
 * The files are read straight to their final place, nothing is allocated that
 * grows with them.  Same inputs, same bytes.  Sections: kernel, cmdline,
 * metadata, ramdisks in the order given.  Blocks for as long as reading takes.
 *
 * Returns: true on success; on false the content of @dest is undefined.
 */
bool eif_build_write(const EifBuild *build, void *dest, uint64_t dest_size,
                     Error **errp);

/**
 * eif_build_write_fresh: eif_build_write() into memory that is all zeros
 * @build, @dest, @dest_size, @errp: see there
 *
 * Holes of the files are left out: the memory for them is not even touched.
 */
bool eif_build_write_fresh(const EifBuild *build, void *dest,
                           uint64_t dest_size, Error **errp);

/**
 * eif_source_init_build: read an image that need not be written anywhere
 * @src: filled in; needs no cleanup
 * @build: the plan; it and its files stay open while @src is used
 *
 * The bytes are as eif_build_write() writes them, except the CRC, which is 0.
 * So eif_image_parse() and eif_image_measure() can be used, while
 * eif_image_verify_crc() cannot.
 */
void eif_source_init_build(EifSource *src, EifBuild *build);

void eif_build_free(EifBuild *build);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EifBuild, eif_build_free)

#endif
