/*
 * Command lines of tools: refuse an option that is given twice
 *
 * getopt_long() and GOption let the last value win, which hides mistakes in
 * scripts.  Users of both can check each option with this function.
 *
 * Copyright (c) 2026 The QEMU Nitro contributors
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TOOLS_NITRO_OPTION_ONCE_H
#define TOOLS_NITRO_OPTION_ONCE_H

#include "qapi/error.h"

/**
 * option_once: note that an option was given
 * @given: options so far, from g_hash_table_new(g_str_hash, g_str_equal)
 * @name: the option without its dashes; must live as long as @given
 * @errp: filled in when it was given before
 *
 * Returns: true the first time.
 */
static inline bool option_once(GHashTable *given, const char *name,
                               Error **errp)
{
    if (!g_hash_table_add(given, (char *)name)) {
        error_setg(errp, "--%s is given more than once", name);
        return false;
    }
    return true;
}

#endif
