/*
 * A tool of the project, run as users run it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_NITRO_SPAWN_TOOL_H
#define TESTS_NITRO_SPAWN_TOOL_H

/**
 * spawn_tool: run a command line and wait for its end
 * @dir: working directory
 * @line: program and arguments, quoted as for a shell
 * @status: filled in with the exit status
 * @out: what it has written to stdout; the former text is freed
 * @err: the same for stderr
 *
 * The test fails when the program cannot be run, or is ended by a signal.
 */
void spawn_tool(const char *dir, const char *line, int *status, char **out,
                char **err);

#endif /* TESTS_NITRO_SPAWN_TOOL_H */
