/*
 * A tool of the project, run as users run it
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "spawn-tool.h"

void spawn_tool(const char *dir, const char *line, int *status, char **out,
                char **err)
{
    g_auto(GStrv) argv = NULL;
    int wait_status;

    g_clear_pointer(out, g_free);
    g_clear_pointer(err, g_free);
    g_assert(g_shell_parse_argv(line, NULL, &argv, NULL));
    g_assert(g_spawn_sync(dir, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, out,
                          err, &wait_status, NULL));
    g_assert(WIFEXITED(wait_status));
    *status = WEXITSTATUS(wait_status);
}
