/*
 * qemu-eif: what its commands share
 *
 * A command is a function that gets its own arguments, prints what it has to
 * say and returns an exit status.  Errors go to stderr once, here or there.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_EIF_TOOL_H
#define TOOLS_EIF_TOOL_H

#include "hw/core/eif-verify.h"
#include "qobject/json-writer.h"

/* Exit status, as in docs/tools/qemu-eif.rst */
enum {
    TOOL_OK = 0,
    TOOL_FAILED = 1, /* wrong usage; files that cannot be read or written */
    TOOL_BAD_IMAGE = 2, /* structure or CRC */
    TOOL_BAD_SIGNATURE = 3, /* missing or not valid */
    TOOL_OTHER_PCR = 4, /* not the one that is expected */
    TOOL_NO_BOOT = 5, /* kernel or command line that an enclave cannot boot */
};

int tool_build(int argc, char **argv);
int tool_describe(int argc, char **argv);
int tool_extract(int argc, char **argv);
int tool_pcr(int argc, char **argv);
int tool_sign(int argc, char **argv);
int tool_verify(int argc, char **argv);

/**
 * tool_fail: report an error of the command
 * @err: the error, freed; NULL when it has been reported already
 *
 * Returns: TOOL_FAILED.
 */
int tool_fail(Error *err);

/**
 * tool_bad_usage: say that the arguments make no sense
 * @command: name of the command
 * @fmt: why, a phrase
 *
 * Returns: TOOL_FAILED.
 */
int tool_bad_usage(const char *command, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

/**
 * tool_try_help: point to the help, when the error itself is on stderr
 * @command: name of the command
 *
 * Returns: TOOL_FAILED.
 */
int tool_try_help(const char *command);

/**
 * tool_usage: how to use a command, for --help
 * @text: all of it
 *
 * Returns: TOOL_OK.
 */
int tool_usage(const char *text);

/* The command line of a command */
typedef struct ToolOptions {
    const char *command;
    const char *usage; /* text for --help */
    const char *letters; /* for getopt_long() */
    const struct option *table; /* same; all long options have a name here */
    const char *lists; /* letters of options that can be repeated, or NULL */
} ToolOptions;

/*
 * Take option @c, as getopt_long() returned it, with its argument in optarg.
 * On failure sets @errp and returns false.
 */
typedef bool ToolTakeOption(void *opaque, int c, Error **errp);

/**
 * tool_options: go through the options of a command
 * @o: which there are; "help" is taken care of
 * @argc: as main() has it
 * @argv: same; afterwards optind is at the first argument without option
 * @take: called for each; NULL when there is no option but "help"
 * @opaque: passed to @take
 *
 * Returns: -1 to go on, or the exit status: help was printed, or an unknown,
 * repeated or refused option was reported.
 */
int tool_options(const ToolOptions *o, int argc, char **argv,
                 ToolTakeOption *take, void *opaque);

/* An image file that is being looked at */
typedef struct ToolImage {
    const char *path;
    int fd;
    EifSource src;
    EifImage *image;
} ToolImage;

/**
 * tool_image_open: open the image that the last argument names
 * @t: filled in; to be closed in any case
 * @command: name of the command, for messages
 * @argc: as main() has it, optind is at the first argument without option
 * @argv: same
 *
 * Returns: TOOL_OK, or the exit status after the error has been reported.
 */
int tool_image_open(ToolImage *t, const char *command, int argc, char **argv);
void tool_image_close(ToolImage *t);

#define TOOL_IMAGE_INIT { .fd = -1 }

/**
 * tool_write_measurements: add the object "Measurements"
 * @w: where to
 * @m: the registers
 */
void tool_write_measurements(JSONWriter *w, const EifMeasurements *m);

/**
 * tool_write_certificate: add the object "SigningCertificate"
 * @w: where to
 * @cert: the certificate
 */
void tool_write_certificate(JSONWriter *w, const EifCertificate *cert);

/**
 * tool_read_file: read a small file
 * @path: its name; a pipe is read to its end
 * @max: how many bytes it may have
 * @errp: filled in on failure, with the name
 *
 * Returns: its bytes, to be freed; NULL on failure.
 */
GByteArray *tool_read_file(const char *path, size_t max, Error **errp);

/**
 * tool_custom_metadata: read a file for CustomMetadata
 * @path: its name; it holds one JSON value, of at most 4096 bytes
 * @errp: filled in on failure
 *
 * Returns: the value as JSON with sorted members, to be freed; NULL on failure.
 */
char *tool_custom_metadata(const char *path, Error **errp);

/**
 * tool_print_json: print what was written
 * @w: a complete value
 *
 * Returns: TOOL_OK.
 */
int tool_print_json(JSONWriter *w);

/**
 * tool_finish: have all output written
 * @rc: exit status so far
 *
 * Returns: @rc, or TOOL_FAILED when all was well but for writing to stdout.
 */
int tool_finish(int rc);

#endif
