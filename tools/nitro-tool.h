/*
 * Command line tools for Nitro Enclaves: what they share
 *
 * A tool has commands.  A command is a function that gets its own arguments,
 * prints what it has to say and returns an exit status.  Errors go to stderr
 * once, here or there.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_NITRO_TOOL_H
#define TOOLS_NITRO_TOOL_H

#include "qapi/error.h"
#include "qobject/json-writer.h"

/* Exit status of every tool; each adds its own from 2 on */
enum {
    TOOL_OK = 0,
    TOOL_FAILED = 1, /* wrong usage; files that cannot be read or written */
};

typedef struct ToolCommand {
    const char *name;
    int (*run)(int argc, char **argv);
} ToolCommand;

/**
 * tool_main: run the command that the first argument names
 * @name: name of the tool, static
 * @usage: how to use it, for --help
 * @commands: what there is, ends with an entry without name
 * @argc: as main() has it
 * @argv: same
 *
 * Writes all output before it returns.
 *
 * Returns: exit status of the process.
 */
int tool_main(const char *name, const char *usage,
              const ToolCommand *commands, int argc, char **argv);

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
 * tool_read_text: tool_read_file() for text
 * @path, @max: see there
 * @errp: filled in on failure, also when there is a NUL byte
 *
 * Returns: the text, to be freed; NULL on failure.
 */
char *tool_read_text(const char *path, size_t max, Error **errp);

/**
 * tool_parse_time: a time from text
 * @text: like 2026-01-31T12:00:00Z
 * @when: seconds since 1970, set on success
 * @errp: filled in when @text is anything else
 *
 * Returns: true on success.
 */
bool tool_parse_time(const char *text, int64_t *when, Error **errp);

/**
 * tool_print_json: print what was written
 * @w: a complete value
 *
 * Returns: TOOL_OK.
 */
int tool_print_json(JSONWriter *w);

#endif
